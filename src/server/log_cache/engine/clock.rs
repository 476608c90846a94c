//! [`ServerClock`]: the server's time, estimated from the lines that it gives.

use std::time::Duration;

/// How much slower than the client's monotonic clock the estimate runs: 1 ms a second, twice what NTP may correct. So
/// a fast clock can't push the estimate ahead of the server's time, not even while an app is silent for a month.
const DRIFT: u32 = 1000;
/// How late a line usually becomes readable, at most. So much is the estimate behind the server's time. It is also the
/// precision of a `Date`.
const USUAL_DELAY: i64 = 1_000_000_000;
/// A `Date` that is further ahead of the estimate than this, in nanoseconds, is not believed.
const MOST_AHEAD: i64 = 600_000_000_000;

/// A lower bound of the server's clock, in nanoseconds since the epoch.
///
/// Log Cache never returns a line from its future. So the time of a line is a lower bound at the moment when the line
/// is read, and it grows with the monotonic clock. The client's wall clock, which may be wrong, is never used.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    /// A time of the server, and the monotonic time when it had certainly come.
    known: Option<(i64, Duration)>,
    /// A response's `Date`, and when its request was sent.
    date: Option<(i64, Duration)>,
}

impl ServerClock {
    /// Notes that the server's clock has reached `time`.
    pub(super) fn reached(&mut self, time: i64, now: Duration) {
        if self.earliest(now).is_none_or(|earliest| time > earliest) {
            self.known = Some((time, now));
        }
    }

    /// Returns the lower bound, or `None` if nothing has been read yet.
    pub(super) fn earliest(&self, now: Duration) -> Option<i64> {
        self.known.map(|(time, at)| {
            let elapsed = now.saturating_sub(at);
            time.saturating_add(nanoseconds(elapsed - elapsed / DRIFT))
        })
    }

    /// Notes the `Date` of a response to a request that was sent at `sent`.
    pub(super) fn dated(&mut self, date: i64, sent: Duration) {
        self.date = Some((date, sent));
    }

    /// Returns a time that the server's clock has not passed: the end of a gap. If all lines come late, the estimate is
    /// too early for that, so the last `Date` counts, too.
    pub(super) fn latest(&self, now: Duration) -> Option<i64> {
        let later = |(time, at): (i64, Duration)| {
            let elapsed = now.saturating_sub(at);
            time.saturating_add(nanoseconds(elapsed + elapsed / DRIFT)).saturating_add(USUAL_DELAY)
        };
        let estimate = later(self.known?);
        let date = self.date.map(later).filter(|date| date.saturating_sub(estimate) <= MOST_AHEAD);
        Some(date.map_or(estimate, |date| date.max(estimate)))
    }

    /// Returns when the lower bound reaches `time`.
    pub(super) fn when(&self, time: i64) -> Option<Duration> {
        self.known.map(|(known, at)| {
            let missing = Duration::from_nanos(time.saturating_sub(known).max(0).unsigned_abs());
            at.saturating_add(missing).saturating_add(missing / (DRIFT - 1)).saturating_add(Duration::from_nanos(2))
        })
    }
}

pub(super) fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
