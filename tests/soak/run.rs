//! What the run has seen so far, and whether it is over.

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
    /// Of all that was sent, each number is in one of the next four.
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// What was no message, and was told of.
    pub undecodable: AtomicU64,
    /// Between two that came, where a break was told of, or the caller had closed the tail.
    pub lost: AtomicU64,
    /// Behind the last that came.
    pub undelivered: AtomicU64,
    /// Nobody tailed then. These are part of those that were lost, or of the rest.
    pub without_tail: AtomicU64,
    /// How often each of the rarer things happened.
    events: Mutex<BTreeMap<String, u64>>,
    failures: AtomicU64,
}

impl Run {
    /// Moves the clock, for ever.
    pub fn keep_time(&self) {
        const TICK: Duration = Duration::from_millis(10);
        loop {
            let began = Instant::now();
            thread::sleep(TICK);
            add(&self.clock, began.elapsed().min(5 * TICK).as_micros() as u64);
        }
    }

    /// How much time there was to do things in. On a machine that is busy, or stands still for a while, it passes more
    /// slowly: what is late there need not be our fault.
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

    /// How often events of this beginning happened.
    pub fn count_of(&self, beginning: &str) -> u64 {
        self.events.lock().iter().filter(|(event, _)| event.starts_with(beginning)).map(|(_, count)| count).sum()
    }

    /// Something that must not happen has. The run goes on, to see what else there is.
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
