//! Deadlines that no duration can overflow.

use std::time::{Duration, Instant};

/// Beyond this a deadline is as good as none.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// How long the body of an answer may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How long it may be silent.
    pub(crate) silence: Duration,
    /// When it must be there, if ever.
    pub(crate) end: Option<Instant>,
}

impl Patience {
    /// When to give up if nothing comes from now on.
    pub(crate) fn deadline(&self) -> Instant {
        self.within(self.silence)
    }

    /// When what begins now and may take so long must be over.
    pub(crate) fn within(&self, duration: Duration) -> Instant {
        let deadline = after(duration);
        self.end.map_or(deadline, |end| end.min(deadline))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }
}

/// The instant that is `duration` from now.
pub(crate) fn after(duration: Duration) -> Instant {
    Instant::now() + duration.min(FAR)
}
