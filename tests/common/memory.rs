//! Measures the memory of this process.

use std::fs;

/// The resident memory of this process, in bytes.
pub struct Resident {
    pub current: usize,
    pub peak: usize,
}

impl Resident {
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let kilobytes = |name| -> usize {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_end_matches("kB").trim().parse().unwrap()
        };
        Resident { current: kilobytes("VmRSS:") * 1024, peak: kilobytes("VmHWM:") * 1024 }
    }

    /// Resets the peak to the current value.
    pub fn reset_peak() {
        fs::write("/proc/self/clear_refs", "5").unwrap();
    }
}
