//! What the process uses of the system, as Linux reports it. (All 0 on other systems.)

use std::fs;
use std::ops::AddAssign;

/// Restarts this program so that all its threads share one heap. glibc gives threads separate heaps, and memory that
/// one thread has freed cannot be used by another, so for some minutes resident memory grows although nothing leaks.
#[cfg(target_os = "linux")]
pub fn restart_with_one_heap() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const HEAPS: &str = "MALLOC_ARENA_MAX";
    // Unless this threshold is set, it grows, and large messages then fragment the heap.
    const LARGE: &str = "MALLOC_MMAP_THRESHOLD_";
    if env::var_os(HEAPS).is_none() {
        let program = env::current_exe().expect("the program has a path");
        let error = Command::new(program).args(env::args_os().skip(1)).env(HEAPS, "1").env(LARGE, "131072").exec();
        panic!("the soak could not be restarted: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
pub fn restart_with_one_heap() {}

#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident memory.
    pub kib: f64,
    pub threads: f64,
    /// Open descriptors.
    pub files: f64,
}

impl Usage {
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        let count = |directory| fs::read_dir(directory).map_or(0.0, |entries| entries.count() as f64);
        Usage { kib: resident.unwrap_or_default(), threads: count("/proc/self/task"), files: count("/proc/self/fd") }
    }

    pub fn mean(of: &[Usage]) -> Self {
        let mut sum = Usage::default();
        of.iter().for_each(|usage| sum += *usage);
        let count = of.len().max(1) as f64;
        Usage { kib: sum.kib / count, threads: sum.threads / count, files: sum.files / count }
    }

    /// Returns true if this is no higher than `that`, apart from random variation.
    pub fn is_as_low_as(&self, that: &Usage) -> bool {
        self.kib <= that.kib * 1.1 + 4096.0
            && self.threads <= that.threads * 1.1 + 8.0
            && self.files <= that.files * 1.1 + 8.0
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.kib += other.kib;
        self.threads += other.threads;
        self.files += other.files;
    }
}
