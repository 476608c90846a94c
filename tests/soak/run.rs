//! The counters of the run, and whether it is over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

#[derive(Default)]
pub struct Run {
    /// In microseconds.
    clock: AtomicU64,
    is_over: AtomicBool,
    /// All messages that were sent: the sum of the next four.
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// Reported as undecodable.
    pub undecodable: AtomicU64,
    /// Lost between two received ones, where a break was reported or the caller had closed the tail.
    pub lost: AtomicU64,
    /// Sent after the last one that arrived.
    pub undelivered: AtomicU64,
    /// Sent while there was no tail. They are also counted as lost or undelivered.
    pub without_tail: AtomicU64,
    /// How often each of the rarer events happened.
    events: Mutex<BTreeMap<String, u64>>,
    failures: AtomicU64,
}

impl Run {
    /// Runs the clock, forever.
    pub fn keep_time(&self) {
        const TICK: Duration = Duration::from_millis(10);
        loop {
            let began = Instant::now();
            thread::sleep(TICK);
            add(&self.clock, began.elapsed().min(5 * TICK).as_micros() as u64);
        }
    }

    /// Returns the time that the process could use. On a machine that is busy or suspended it passes more slowly, so
    /// that a delay that is the machine's fault is no failure.
    pub fn time(&self) -> Duration {
        Duration::from_micros(value(&self.clock))
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub fn count(&self, event: impl Into<String>) {
        *self.events.lock().entry(event.into()).or_default() += 1;
    }

    pub fn events(&self) -> BTreeMap<String, u64> {
        self.events.lock().clone()
    }

    /// Returns how many events have a name with this beginning.
    pub fn count_of(&self, beginning: &str) -> u64 {
        self.events.lock().iter().filter(|(event, _)| event.starts_with(beginning)).map(|(_, count)| count).sum()
    }

    /// Records a failure. The run continues, to find others.
    pub fn fail(&self, who: &str, what: impl AsRef<str>) {
        if self.failures.fetch_add(1, Ordering::Relaxed) < 20 {
            println!("FAILURE: {who}: {}", what.as_ref());
        }
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

pub fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

pub fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
