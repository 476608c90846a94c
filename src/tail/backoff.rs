//! [`Backoff`]: the pauses before the attempts to reconnect.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::settings::Reconnect;

/// The minimum pause, whatever the settings: without it, a tail could reconnect in a busy loop.
const MIN_PAUSE: Duration = Duration::from_millis(10);

/// The pauses before consecutive attempts without success. Each is twice as long as the previous one.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    policy: Reconnect,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(policy: Reconnect) -> Self {
        Backoff { policy, attempts: 0 }
    }

    /// Starts again with the first pause. Called after data has arrived.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    fn full_pause(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.attempts);
        self.policy.first.saturating_mul(doubled).min(self.policy.longest).max(MIN_PAUSE)
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    /// Returns the next pause, or `None` after the maximum number of attempts.
    fn next(&mut self) -> Option<Duration> {
        if self.policy.max_attempts.is_some_and(|max| self.attempts >= max) {
            return None;
        }
        let pause = self.full_pause();
        self.attempts = self.attempts.saturating_add(1);
        // A random number from the standard library: each of these hashers has its own random keys.
        let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        Some(pause.mul_f64(1.0 - random / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_reset() {
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
