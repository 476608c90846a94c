//! Deadlines that no duration can overflow.

use std::time::{Duration, Instant};

/// A longer duration counts as this one, so that adding it to an instant cannot overflow.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Timeouts that apply while a response body is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadTimeouts {
    /// How long the server may send nothing.
    pub(crate) idle: Duration,
    /// When the whole body must have been read, if there is such a limit.
    pub(crate) deadline: Option<Instant>,
}

impl ReadTimeouts {
    /// Returns when to give up if nothing arrives from now on.
    pub(crate) fn idle_deadline(&self) -> Instant {
        self.deadline_after(self.idle)
    }

    /// Returns when a step that starts now and may take `duration` must be finished.
    pub(crate) fn deadline_after(&self, duration: Duration) -> Instant {
        let step = after(duration);
        self.deadline.map_or(step, |deadline| deadline.min(step))
    }

    /// Returns true if the deadline of the whole body has passed.
    pub(crate) fn is_expired(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Returns the instant that is `duration` from now.
pub(crate) fn after(duration: Duration) -> Instant {
    Instant::now() + duration.min(LONGEST)
}
