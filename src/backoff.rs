//! [`Reconnect`] and [`Backoff`]: how long to wait before a broken tail is connected again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// How a tail connects again when its connection breaks: see [`Builder::reconnect`](crate::Builder::reconnect).
///
/// The first pause is 500 ms; each further one is twice as long, up to 60 s, until messages have come again. Of each
/// pause a random part, up to a half, is left out, so that the clients of a server that has broken down do not all
/// come back at once. A [`close`](crate::Closer::close) interrupts it.
///
/// That goes for every end that the server or the network makes, be it a normal close frame, or the RLP gateway's word
/// after 14 minutes that it is closing. A refusal (of the token, the app or the request) is final: the tail ends with
/// it.
///
/// Each break is an item of the tail: an error of the kind [`ErrorKind::Gap`](crate::ErrorKind::Gap), which says
/// [when it was and why](crate::Error::as_gap). Behind it messages may be missing: no server of logs can be asked for
/// those that were written meanwhile, other than by [`recent`](crate::Consumer::recent).
///
/// ```
/// use std::time::Duration;
/// use loggregator_consumer::{Builder, Reconnect};
///
/// let consumer = Builder::new()
///     .doppler("wss://doppler.example.com")
///     .reconnect(Reconnect::default().longest(Duration::from_secs(10)).max_attempts(20))
///     .build()?;
/// # Ok::<(), loggregator_consumer::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it takes effect when it is given to Builder::reconnect"]
pub struct Reconnect {
    first: Duration,
    longest: Duration,
    max_attempts: Option<u32>,
}

impl Default for Reconnect {
    fn default() -> Self {
        Reconnect { first: Duration::from_millis(500), longest: Duration::from_secs(60), max_attempts: None }
    }
}

impl Reconnect {
    /// The first pause. By default 500 ms; 10 ms at the least.
    pub fn first(mut self, pause: Duration) -> Self {
        self.first = pause;
        self
    }

    /// The longest pause. By default 60 s.
    pub fn longest(mut self, pause: Duration) -> Self {
        self.longest = pause;
        self
    }

    /// After how many attempts, without a message in between, a tail ends with the last attempt's error. By default
    /// it never does.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }
}

/// No setting has a tail try again and again without a pause.
const SHORTEST: Duration = Duration::from_millis(10);

/// The pauses before the attempts that follow each other without success.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: Reconnect,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(policy: Reconnect) -> Self {
        Backoff { policy, attempts: 0 }
    }

    /// Data has come: the next break is the first again.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    fn full_pause(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.attempts);
        self.policy.first.saturating_mul(doubled).min(self.policy.longest).max(SHORTEST)
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    /// The next pause; `None` when there have been enough.
    fn next(&mut self) -> Option<Duration> {
        if self.policy.max_attempts.is_some_and(|most| self.attempts >= most) {
            return None;
        }
        let pause = self.full_pause();
        self.attempts = self.attempts.saturating_add(1);
        // A random number from the standard library: each of these hashers has keys of its own.
        let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        Some(pause.mul_f64(1.0 - random / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again_after_a_reset() {
        let mut backoff = Backoff::new(Reconnect::default());
        for full in [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000].map(Duration::from_millis) {
            assert_eq!(backoff.full_pause(), full);
            let pause = backoff.next().unwrap();
            assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
        }
        for _ in 0..100 {
            assert!(backoff.next().unwrap() <= Duration::from_secs(60));
        }
        backoff.reset();
        assert_eq!(backoff.full_pause(), Duration::from_millis(500));
    }

    #[test]
    fn there_are_as_many_attempts_as_allowed() {
        let mut backoff = Backoff::new(Reconnect::default().max_attempts(2));
        assert_eq!(backoff.by_ref().count(), 2);
        backoff.reset();
        assert_eq!(backoff.by_ref().count(), 2);
        assert_eq!(Backoff::new(Reconnect::default().max_attempts(0)).next(), None);
    }

    #[test]
    fn pauses_differ() {
        let pauses: Vec<_> = (0..20).filter_map(|_| Backoff::new(Reconnect::default()).next()).collect();
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
