//! Deadlines that no duration can overflow.

use std::time::{Duration, Instant};

/// Beyond this a deadline is as good as none.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The instant that is `duration` from now.
pub(crate) fn after(duration: Duration) -> Instant {
    Instant::now() + duration.min(FAR)
}
