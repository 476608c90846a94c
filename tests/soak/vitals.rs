//! What the process has of the system, as Linux tells it. (Elsewhere it is all 0.)

use std::fs;
use std::ops::AddAssign;

#[derive(Clone, Copy, Debug, Default)]
pub struct Vitals {
    /// Resident memory.
    pub kib: f64,
    pub threads: f64,
    /// Open descriptors.
    pub files: f64,
}

impl Vitals {
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        let count = |directory| fs::read_dir(directory).map_or(0.0, |entries| entries.count() as f64);
        Vitals { kib: resident.unwrap_or_default(), threads: count("/proc/self/task"), files: count("/proc/self/fd") }
    }

    pub fn mean(of: &[Vitals]) -> Self {
        let mut sum = Vitals::default();
        of.iter().for_each(|vitals| sum += *vitals);
        let count = of.len().max(1) as f64;
        Vitals { kib: sum.kib / count, threads: sum.threads / count, files: sum.files / count }
    }

    /// Whether this is no more than that was, but for what chance makes of it.
    pub fn is_as_flat_as(&self, that: &Vitals) -> bool {
        self.kib <= that.kib * 1.1 + 4096.0
            && self.threads <= that.threads * 1.1 + 8.0
            && self.files <= that.files * 1.1 + 8.0
    }
}

impl AddAssign for Vitals {
    fn add_assign(&mut self, other: Self) {
        self.kib += other.kib;
        self.threads += other.threads;
        self.files += other.files;
    }
}
