//! [`Pace`]: when the next poll is made. [`Load`]: whether polls take too long.

use std::time::Duration;

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(8);
/// A server can't stop a tail for longer than this with `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// The pauses between polls.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    idle: Duration,
    pause: Duration,
    /// Failures since the last response.
    failures: u32,
    random: u64,
}

impl Pace {
    pub(super) fn new(every: Duration, idle: Duration, random: u64) -> Self {
        Pace { every, idle: idle.max(every), pause: every, failures: 0, random }
    }

    /// Returns the time from the beginning of a poll to that of the next one. Without new lines it grows by a quarter.
    pub(super) fn after_poll(&mut self, found_lines: bool) -> Duration {
        self.pause = if found_lines { self.every } else { self.pause.saturating_add(self.pause / 4).min(self.idle) };
        self.pause
    }

    /// Notes a response.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Returns the pause after a failed request: 0.5, 1, 2, 4, 8 s, of which up to a half is left out at random so that
    /// the clients of a server that failed don't come back together.
    pub(super) fn after_failure(&mut self, retry_after: Option<Duration>) -> Duration {
        let full = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_RETRY);
        self.failures = self.failures.saturating_add(1);
        let pause = full.mul_f64(1.0 - self.fraction() / 2.0);
        pause.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// A random number from 0 to 1 (SplitMix64).
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
    }
}

const TOO_SLOW: Duration = Duration::from_millis(600);
const FAST_AGAIN: Duration = Duration::from_millis(400);
const LEAST_SHEDDING: Duration = Duration::from_secs(30);

/// Whether the young window is skipped, because polls take too long.
#[derive(Debug, Default)]
pub(super) struct Load {
    average: Duration,
    shedding_since: Option<Duration>,
}

impl Load {
    /// Notes how long the requests of a poll took. The time in which the caller was busy does not count.
    pub(super) fn poll_took(&mut self, duration: Duration, now: Duration) {
        self.average = (self.average * 4 + duration) / 5;
        match self.shedding_since {
            None if self.average > TOO_SLOW => self.shedding_since = Some(now),
            Some(since) if self.average < FAST_AGAIN && now.saturating_sub(since) >= LEAST_SHEDDING => {
                self.shedding_since = None;
            }
            _ => {}
        }
    }

    pub(super) fn is_shedding(&self) -> bool {
        self.shedding_since.is_some()
    }
}
