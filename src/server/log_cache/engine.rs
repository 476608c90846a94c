//! [`Engine`]: a tail over Log Cache, which keeps lines and does not push them. It has no socket, no clock and no
//! thread: a driver asks it what to do next, tells it what became of that, and takes the lines.
//!
//! # How it reads
//!
//! Lines become readable late and out of order, so "everything after the newest line" misses some. Three windows are
//! read over and over: the last second at each poll, and each stretch of time once more when it is 2 s old and once
//! more when it is as old as the horizon (10 s). A line that is late for one is found by the next. Lines have no id.
//! So each is counted by its time and a hash of its content, and returned as often as the server holds it.
//!
//! # Why it loses nothing
//!
//! A *mark* says up to where everything has been read at an age. A page moves it if it begins at or before it, and not
//! further than the page reached, nor than what was old enough before the request was sent. So no stretch is left out,
//! and a line that becomes readable within the horizon is read at the latest when the horizon's mark passes it.
//!
//! That holds if the server kept the line. Three facts, read in log-cache-release 702107c, tell whether it did:
//!
//! * Pruning removes the oldest first (`store.go`). A line that is read again, an *anchor*, proves that nothing newer
//!   has been removed. Every reading begins at or before a line that was seen, so that it has an anchor.
//! * A node that can't be reached is a 200 with an empty batch (`egress_reverse_proxy.go`). So an empty page proves
//!   nothing and moves no mark.
//! * A reading without an end ends at the server's clock (`local_store_reader.go`). So no line is ahead of that clock,
//!   and the newest line is a lower bound of it.
//!
//! If none of the expected anchors is in a page, the oldest envelope of any type decides: it is newer than all of them
//! if they were removed, older if a node was away for a moment, and there is none if the node is still away.

#[cfg(test)]
mod figures;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

mod answer;
mod clock;
mod driver;
mod gaps;
mod outbox;
mod pace;
mod page_size;
mod poll;
mod seed;
mod seen;
mod step;
mod stored;
mod windows;

use std::time::Duration;

pub(crate) use self::driver::{Config, Failure, Next, Page, Range, Start};
#[cfg(test)]
use self::gaps::Gap;
pub(crate) use self::outbox::Item;
pub(crate) use self::stored::Stored;

use self::clock::{ServerClock, nanoseconds};
use self::gaps::Gaps;
use self::outbox::Outbox;
use self::pace::{Load, Pace};
use self::page_size::PageSize;
use self::seed::{Goal, Seed};
use self::seen::{Key, Seen};
use self::step::Step;
use self::windows::Windows;
use crate::message::LogMessage;

/// An empty Log Cache has a `Date` in full seconds.
const DATE_PRECISION: i64 = 1_000_000_000;

/// The state of a tail of log messages, or of envelopes. All times are monotonic and count from any moment that the driver chooses.
#[derive(Debug)]
pub(crate) struct Engine<T = LogMessage> {
    horizon: i64,
    memory: usize,
    clock: ServerClock,
    seen: Seen,
    windows: Windows,
    /// Nothing before it is ever asked for.
    floor: i64,
    gaps: Gaps,
    outbox: Outbox<T>,
    pace: Pace,
    load: Load,
    sizes: PageSize,
    step: Step<T>,
    /// Nothing is requested before.
    not_before: Duration,
    sent: Option<Sent>,
    /// Since when the server's answers have shown no anchor: when the oldest envelope was asked for.
    asked: Option<Duration>,
    /// The last front reading showed no anchor. Until one does, older windows are not read.
    is_in_doubt: bool,
    contradictions: u32,
    /// What the oldest envelope last said: its time, and the server's clock then.
    oldest: Option<(i64, i64)>,
    /// The server ignores `end_time`, as Korifi does. It reads the pods' files at each request, so that no line is
    /// late, and older windows would be read in vain.
    ignores_end: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Duration,
    limit: usize,
}

impl<T: Stored> Engine<T> {
    /// `random` is any number, and another one for each tail: the pauses after failures depend on it.
    pub(crate) fn new(config: &Config, start: Start, random: u64) -> Self {
        let horizon = nanoseconds(config.horizon);
        let (floor, step) = match start {
            Start::Tail => (0, Step::Seed(Seed::new(Goal::Horizon(horizon)))),
            Start::Follow => {
                let goal = Goal::Lines { count: config.recent_limit, size: config.recent_size };
                (0, Step::Seed(Seed::new(goal)))
            }
            Start::Since(since) => (since.max(0), Step::Pause),
        };
        Engine {
            horizon,
            memory: config.memory,
            clock: ServerClock::default(),
            seen: Seen::default(),
            windows: Windows::new(horizon, floor, floor),
            floor,
            gaps: Gaps::default(),
            outbox: Outbox::new(nanoseconds(config.hold)),
            pace: Pace::new(config.every, config.idle, random),
            load: Load::default(),
            sizes: PageSize::new(config.page),
            step,
            not_before: Duration::ZERO,
            sent: None,
            asked: None,
            is_in_doubt: false,
            contradictions: 0,
            oldest: None,
            ignores_end: false,
        }
    }

    /// What to do next. Take the items first: they may be due because time has passed.
    pub(crate) fn next(&mut self, now: Duration) -> Next {
        if now < self.not_before {
            let release = self.outbox.due().and_then(|due| self.clock.when(due));
            return Next::Wait(release.map_or(self.not_before, |at| at.min(self.not_before)));
        }
        if let Step::Pause = self.step {
            self.begin_poll(now);
        }
        let limit = self.sizes.limit();
        let next = match &self.step {
            Step::Seed(seed) => Next::Read(seed.range(limit)),
            Step::Read(_, read) => Next::Read(Range { start: read.from, end: read.end, limit, newest_first: false }),
            Step::Ask(..) | Step::Pause => Next::Oldest,
        };
        let limit = if let Next::Read(range) = &next { range.limit } else { 1 };
        self.sent = Some(Sent { at: now, limit });
        next
    }

    /// The response to [`Next::Read`].
    pub(crate) fn page(&mut self, page: Page<T>, now: Duration) {
        let Some(sent) = self.sent.take() else { return };
        self.pace.succeeded();
        self.sizes.received(&page.lines);
        if let Some(date) = page.date {
            self.clock.dated(date, sent.at);
        }
        let is_full = page.envelopes >= sent.limit;
        match std::mem::replace(&mut self.step, Step::Pause) {
            Step::Seed(seed) => self.seed(seed, page, is_full, now),
            Step::Read(mut poll, reading) => {
                poll.busy += now.saturating_sub(sent.at);
                let answer = self.open(reading, page.lines, is_full, sent.at, now);
                self.judge(poll, reading, answer, now);
            }
            step => self.step = step,
        }
        self.report_gap(now);
    }

    /// The response to [`Next::Oldest`]: the oldest envelope's time, or `None` if there is no envelope.
    pub(crate) fn oldest(&mut self, oldest: Option<i64>, now: Duration) {
        let Some(sent) = self.sent.take() else { return };
        match std::mem::replace(&mut self.step, Step::Pause) {
            Step::Ask(mut poll, reading, answer) => {
                poll.busy += now.saturating_sub(sent.at);
                self.decide(poll, reading, answer, oldest, now);
            }
            step => self.step = step,
        }
        self.report_gap(now);
    }

    /// There is no response.
    pub(crate) fn failed(&mut self, failure: Failure, now: Duration) {
        let Some(sent) = self.sent.take() else { return };
        let retry_after = match failure {
            Failure::TooLarge if self.sizes.too_large(sent.limit) => return,
            Failure::TooLarge => None,
            Failure::Transient { retry_after } => retry_after,
        };
        self.not_before = now.saturating_add(self.pace.after_failure(retry_after));
        // Nothing is lost by beginning a new poll: the marks have moved with each page that came.
        if !matches!(self.step, Step::Seed(_)) {
            self.step = Step::Pause;
        }
    }

    /// Takes what is to be returned next.
    pub(crate) fn take(&mut self, now: Duration) -> Option<Item<T>> {
        self.outbox.release(self.clock.earliest(now));
        self.outbox.take()
    }

    /// Takes what is left to return when the tail ends: lines that were held back, and a gap.
    pub(crate) fn take_last(&mut self) -> Option<Item<T>> {
        self.outbox.release_all();
        if let Some(gap) = self.gaps.take_last() {
            self.outbox.push_gap(gap);
        }
        self.outbox.take()
    }

    /// The time up to which all lines have been taken or are in a gap, as far as they can still be expected: nothing
    /// older is looked for. `None` until the first lines have been read.
    pub(crate) fn complete_until(&self) -> Option<i64> {
        // Neither a line that is held back nor a gap that waits has been taken.
        let untaken = [self.outbox.oldest_held(), self.gaps.waiting_from()].into_iter().flatten();
        let complete = untaken.fold(self.windows.settled(), i64::min);
        (!matches!(self.step, Step::Seed(_))).then_some(complete)
    }

    /// The number of failures since the last response.
    pub(crate) fn failures(&self) -> u32 {
        self.pace.failures()
    }

    // The start.

    fn seed(&mut self, mut seed: Seed<T>, page: Page<T>, is_full: bool, now: Duration) {
        let mut lines = page.lines;
        // The server knows no times before the epoch.
        lines.retain(|line| line.timestamp() >= 0);
        if let Some(newest) = lines.iter().map(|line| line.timestamp()).max() {
            self.clock.reached(newest, now);
        }
        let times: Vec<i64> = lines.iter().map(|line| line.timestamp()).collect();
        let keys: Vec<Key> = lines.iter().map(|line| self.seen.key(line)).collect();
        let new = self.seen.judge(lines, &keys);
        if !seed.add(&times, new, is_full && !times.is_empty()) {
            self.step = Step::Seed(seed);
            return;
        }
        let clock = match (self.seen.newest(), page.date) {
            (Some(newest), _) => {
                let (floor, lines) = seed.finish(!is_full);
                self.floor = floor.max(0);
                self.outbox.push(lines);
                newest
            }
            // No line yet, or a node that is away and will come back with all of its past.
            (None, Some(date)) => {
                let clock = date.saturating_sub(DATE_PRECISION);
                self.clock.reached(clock, now);
                self.floor = clock.saturating_sub(self.horizon).max(0);
                clock
            }
            (None, None) => {
                self.step = Step::Seed(seed);
                self.not_before = now.saturating_add(self.pace.after_failure(None));
                return;
            }
        };
        self.windows = Windows::new(self.horizon, self.floor, clock);
        self.not_before = now.saturating_add(self.pace.after_poll(true));
    }
}
