//! Counts the threads and descriptors of this process, to find leaks.

use std::fs;

use super::wait_until;

#[derive(Debug)]
pub struct Open {
    pub threads: usize,
    pub files: usize,
}

impl Open {
    pub fn now() -> Self {
        let count = |directory| fs::read_dir(directory).unwrap().count();
        Open { threads: count("/proc/self/task"), files: count("/proc/self/fd") }
    }
}

#[track_caller]
pub fn assert_leaks_nothing(what: &str, act: impl FnOnce()) {
    let before = Open::now();
    act();
    let is_gone = || {
        let now = Open::now();
        now.threads <= before.threads && now.files <= before.files
    };
    wait_until(&format!("after {what}, no more is open than {before:?}"), is_gone);
}
