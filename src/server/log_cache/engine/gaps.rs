//! [`Gaps`]: the ranges in which lines may be missing, not more often than every ten seconds.

use std::time::Duration;

const BETWEEN: Duration = Duration::from_secs(10);

/// A range of times, `[from, until)` in nanoseconds since the epoch, of which Log Cache has removed lines before they
/// were read. Lines of this range may be missing; no others are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

/// Merges gaps that follow each other within ten seconds. A store that is too small for its app makes one at each poll.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    reported: Option<Duration>,
    /// What has been found since the last report.
    waiting: Option<Gap>,
    /// The end of the last one, reported or waiting.
    named_until: Option<i64>,
}

impl Gaps {
    pub(super) fn add(&mut self, gap: Gap) {
        let from = self.named_until.map_or(gap.from, |until| until.max(gap.from));
        if gap.until <= from {
            return;
        }
        self.named_until = Some(gap.until);
        let waiting = self.waiting.get_or_insert(Gap { from, until: gap.until });
        waiting.until = gap.until;
    }

    /// Returns the next gap to report, if its time has come.
    pub(super) fn take(&mut self, now: Duration) -> Option<Gap> {
        if self.reported.is_some_and(|reported| now < reported.saturating_add(BETWEEN)) {
            return None;
        }
        let gap = self.waiting.take()?;
        self.reported = Some(now);
        Some(gap)
    }

    /// Returns where the gap begins that is still to be reported, if there is one.
    pub(super) fn waiting_from(&self) -> Option<i64> {
        self.waiting.map(|gap| gap.from)
    }

    /// Returns what is left to report when the tail ends.
    pub(super) fn take_last(&mut self) -> Option<Gap> {
        self.waiting.take()
    }
}
