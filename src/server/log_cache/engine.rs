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

mod clock;
mod gaps;
mod outbox;
mod pace;
mod page_size;
mod seed;
mod seen;
mod windows;

use std::time::Duration;

pub(crate) use self::gaps::Gap;
pub(crate) use self::outbox::Item;

use self::clock::{ServerClock, nanoseconds};
use self::gaps::Gaps;
use self::outbox::Outbox;
use self::pace::{Load, Pace};
use self::page_size::PageSize;
use self::seed::{Goal, Seed};
use self::seen::{Key, Seen};
use self::windows::Windows;
use crate::message::LogMessage;

/// The stretch before the server's clock that every poll reads.
const OVERLAP: i64 = 1_000_000_000;
/// How often the oldest envelope is asked for while nothing changes.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// So many times in a row the oldest envelope may say that an anchor is still there while it is in no page.
const MOST_CONTRADICTIONS: u32 = 3;
/// An older window of so many lines is read before half its age has passed.
const DUE_LINES: usize = 1000;
/// A poll reads so many pages more of older windows than of the front.
const SPARE_PAGES: usize = 2;
/// An empty Log Cache has a `Date` in full seconds.
const DATE_PRECISION: i64 = 1_000_000_000;

/// The settings of an engine.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// From one poll to the next while there are new lines. Default: 250 ms.
    pub(crate) every: Duration,
    /// The longest time from one poll to the next. Default: 2 s.
    pub(crate) idle: Duration,
    /// How late a line may become readable and still be returned. Default: 10 s.
    pub(crate) horizon: Duration,
    /// How old a line must be, by the server's clock, to be returned. Default: 0. Late lines are sorted in meanwhile.
    pub(crate) hold: Duration,
    /// How many lines [`Start::Follow`] returns at once. Default: 1000.
    pub(crate) recent_limit: usize,
    /// After so many bytes of lines it returns no further ones. Default: 256 MiB.
    pub(crate) recent_size: usize,
    /// The most lines to ask for in a request. Default: 1000, the most that Log Cache allows.
    pub(crate) page: usize,
    /// How many lines are remembered at most, about 24 bytes each. Default: 100,000. With more, the horizon is shorter.
    pub(crate) memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            every: Duration::from_millis(250),
            idle: Duration::from_secs(2),
            horizon: Duration::from_secs(10),
            hold: Duration::ZERO,
            recent_limit: 1000,
            recent_size: 256 << 20,
            page: 1000,
            memory: 100_000,
        }
    }
}

/// Which lines a tail begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// Those that become readable from now on.
    Tail,
    /// The newest ones, as many as configured.
    Follow,
    /// All from this time on, in nanoseconds since the epoch.
    Since(i64),
}

/// What the driver is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read a page of log lines, and call [`Engine::page`] or [`Engine::failed`].
    Read(Range),
    /// Read the oldest envelope of any type (`limit=1` and no `envelope_types`), and call [`Engine::oldest`] or
    /// [`Engine::failed`].
    Oldest,
    /// Call [`Engine::next`] again at this time.
    Wait(Duration),
}

/// The parameters of a request: `start_time`, `end_time` if there is one, `limit`, and `descending`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: i64,
    pub(crate) end: Option<i64>,
    pub(crate) limit: usize,
    pub(crate) newest_first: bool,
}

/// A response to [`Next::Read`].
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// In the order of the server.
    pub(crate) lines: Vec<LogMessage>,
    /// The number of envelopes in the response, with those that are no log line.
    pub(crate) envelopes: usize,
    /// The `Date` of the response, in nanoseconds since the epoch.
    pub(crate) date: Option<i64>,
}

/// Why there is no response.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure {
    /// It would be too large: 429, or 403 with gRPC's code 8.
    TooLarge,
    /// The request may succeed later.
    Transient { retry_after: Option<Duration> },
}

/// The state of a tail. All times are monotonic and count from any moment that the driver chooses.
#[derive(Debug)]
pub(crate) struct Engine {
    horizon: i64,
    memory: usize,
    clock: ServerClock,
    seen: Seen,
    windows: Windows,
    /// Nothing before it is ever asked for.
    floor: i64,
    gaps: Gaps,
    outbox: Outbox,
    pace: Pace,
    load: Load,
    sizes: PageSize,
    step: Step,
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

#[derive(Debug)]
enum Step {
    Seed(Seed),
    Pause,
    Read(Poll, Reading),
    /// A page without the expected anchors waits for the oldest envelope.
    Ask(Poll, Reading, Answer),
}

/// One round: the front, then the older windows that are due.
#[derive(Debug)]
struct Poll {
    started: Duration,
    /// How long its requests took.
    busy: Duration,
    /// Where the front begins, and how many pages it had.
    front: i64,
    pages: usize,
    /// The older window to look at next, and how many pages of such have been read.
    window: usize,
    older_pages: usize,
    has_new: bool,
}

/// A page that is to be read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Of an older window; else it is the front.
    is_older: bool,
    from: i64,
    end: Option<i64>,
}

/// A page that has been read.
#[derive(Debug)]
struct Answer {
    lines: Vec<LogMessage>,
    keys: Vec<Key>,
    /// All lines of `[from, until)` are in it.
    until: i64,
    is_full: bool,
    /// A lower bound of the server's clock when it made this answer.
    clock: i64,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Duration,
    limit: usize,
}

impl Engine {
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
            memory: config.memory.max(1),
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
            return Next::Wait(release.map_or(self.not_before, |at| at.clamp(now, self.not_before)));
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
        self.sent.get_or_insert(Sent { at: now, limit });
        next
    }

    /// The response to [`Next::Read`].
    pub(crate) fn page(&mut self, page: Page, now: Duration) {
        let Some(sent) = self.sent.take() else { return };
        self.pace.succeeded();
        self.sizes.received(&page.lines);
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
        self.pace.succeeded();
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
    pub(crate) fn take(&mut self, now: Duration) -> Option<Item> {
        self.outbox.release(self.clock.earliest(now));
        self.outbox.take()
    }

    /// Takes what is left to return when the tail ends: lines that were held back, and a gap.
    pub(crate) fn take_last(&mut self) -> Option<Item> {
        self.outbox.release_all();
        if let Some(gap) = self.gaps.take_last() {
            self.outbox.push_gap(gap);
        }
        self.outbox.take()
    }

    /// The time up to which all lines have been taken or are in a gap, as far as they can still be expected: nothing
    /// older is looked for. `None` until the first lines have been read.
    pub(crate) fn complete_until(&self) -> Option<i64> {
        let settled = self.windows.settled();
        let complete = self.outbox.oldest_held().map_or(settled, |held| held.min(settled));
        (!matches!(self.step, Step::Seed(_))).then_some(complete)
    }

    /// The number of failures since the last response.
    pub(crate) fn failures(&self) -> u32 {
        self.pace.failures()
    }

    // The start.

    fn seed(&mut self, mut seed: Seed, page: Page, is_full: bool, now: Duration) {
        let lines = page.lines;
        if let Some(newest) = lines.iter().map(|line| line.timestamp).max() {
            self.clock.reached(newest, now);
        }
        let times: Vec<i64> = lines.iter().map(|line| line.timestamp).collect();
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
        self.forget();
        self.not_before = now.saturating_add(self.pace.after_poll(true));
    }

    // A poll.

    fn begin_poll(&mut self, now: Duration) {
        let clock = self.clock.earliest(now);
        if let Some(clock) = clock.filter(|_| self.load.is_shedding()) {
            self.windows.skip_young(clock);
        }
        let mut front = self.front(clock);
        for index in 0..self.windows.count() {
            let window = self.windows.get(index);
            let from = self.with_anchor(window.mark);
            // Alone it would have no anchor, and an empty answer would prove nothing. With the front it has one, and
            // costs no request.
            if let Some(end) = self.due(window.mark, window.age, front, now)
                && self.seen.first_anchor(from, end).is_none()
            {
                front = front.min(from);
            }
        }
        let poll =
            Poll { started: now, busy: Duration::ZERO, front, pages: 0, window: 0, older_pages: 0, has_new: false };
        self.step = Step::Read(poll, Reading { is_older: false, from: front, end: None });
    }

    /// Where the front begins: a second ago, and with the newest line if that is older, so that it has an anchor. In
    /// doubt it is all that is read, so it begins where lines are still looked for.
    fn front(&self, clock: Option<i64>) -> i64 {
        let settled = self.windows.settled();
        match (self.seen.newest(), clock) {
            _ if self.is_in_doubt => self.with_anchor(settled),
            (Some(newest), Some(clock)) => newest.min(clock.saturating_sub(OVERLAP).max(settled)),
            _ => settled,
        }
    }

    /// Begins the next reading of an older window, if one is due, or ends the poll.
    fn go_on(&mut self, mut poll: Poll, now: Duration) {
        while poll.window < self.windows.count() {
            let window = self.windows.get(poll.window);
            poll.window += 1;
            let Some(end) = self.due(window.mark, window.age, poll.front, now) else { continue };
            let from = self.with_anchor(window.mark);
            if poll.older_pages < poll.pages + SPARE_PAGES && self.seen.first_anchor(from, end).is_some() {
                self.step = Step::Read(poll, Reading { is_older: true, from, end: Some(end) });
                return;
            }
        }
        self.end_poll(&poll, now);
    }

    /// Returns where a reading from `mark` on begins. One of all that is not settled begins with the line before that. If
    /// this line is still there, nothing after it has been removed.
    fn with_anchor(&self, mark: i64) -> i64 {
        let line = self.seen.newest_until(mark).filter(|_| mark <= self.windows.settled());
        line.map_or(mark, |line| line.max(self.floor))
    }

    /// Returns where an older window ends, if it is to be read. What is after the front's beginning, the front reads.
    fn due(&self, mark: i64, age: i64, front: i64, now: Duration) -> Option<i64> {
        let old_enough = self.clock.earliest(now)?.saturating_sub(age);
        let end = old_enough.min(front);
        let is_due = old_enough.saturating_sub(mark) >= age / 2 || self.seen.has_lines(DUE_LINES, mark, end);
        let is_due = is_due && end > mark;
        (is_due && !self.is_in_doubt && !self.ignores_end).then_some(end)
    }

    fn end_poll(&mut self, poll: &Poll, now: Duration) {
        self.load.poll_took(poll.busy, now);
        self.not_before = poll.started.saturating_add(self.pace.after_poll(poll.has_new));
        self.step = Step::Pause;
    }

    // A page of a poll.

    /// Takes the lines of a page that were asked for and says how far it reaches.
    fn open(
        &mut self,
        reading: Reading,
        mut lines: Vec<LogMessage>,
        full: bool,
        sent: Duration,
        now: Duration,
    ) -> Answer {
        let end = reading.end.unwrap_or(i64::MAX);
        if reading.end.is_some() && lines.iter().any(|line| line.timestamp >= end) {
            self.ignores_end = true;
        }
        // What is before the beginning may have been forgotten, and would be returned once more.
        lines.retain(|line| (reading.from..end).contains(&line.timestamp));
        let newest = lines.iter().map(|line| line.timestamp).max();
        if let Some(newest) = newest {
            self.clock.reached(newest, now);
        }
        let clock = self.clock.earliest(sent).into_iter().chain(newest).max().unwrap_or(i64::MIN);
        let keys = lines.iter().map(|line| self.seen.key(line)).collect();
        let is_full = full && newest.is_some() && !(self.ignores_end && reading.is_older);
        let until = newest.filter(|_| is_full).unwrap_or(end);
        Answer { lines, keys, until, is_full, clock }
    }

    /// Looks for the anchors of a page.
    fn judge(&mut self, poll: Poll, reading: Reading, answer: Answer, now: Duration) {
        let has_anchor = self.has_anchor(&answer);
        if has_anchor {
            self.asked = None;
            self.is_in_doubt = false;
            self.contradictions = 0;
        }
        let is_sound = if has_anchor {
            self.first_expected(reading, &answer).is_none_or(|first| answer.keys.contains(&first))
        } else {
            !self.expects_anchor(reading, &answer)
        };
        if is_sound {
            let has_lines = !answer.lines.is_empty();
            self.accept(poll, reading, answer, has_lines, now);
        } else if answer.lines.is_empty() && self.asked.is_some_and(|asked| now.saturating_sub(asked) < ASK_EVERY) {
            self.drop_page(&poll, now);
        } else {
            self.asked = Some(now);
            self.step = Step::Ask(poll, reading, answer);
        }
    }

    fn has_anchor(&self, answer: &Answer) -> bool {
        answer.keys.iter().any(|key| self.seen.is_anchor(key))
    }

    /// Returns true if the page should show a line that was seen before.
    fn expects_anchor(&self, reading: Reading, answer: &Answer) -> bool {
        let has_anchor = |until| self.seen.first_anchor(reading.from, until).is_some();
        // After a gap there may be no anchor at all. Then only the oldest envelope tells of another one.
        has_anchor(answer.until) || (!self.seen.is_empty() && !has_anchor(i64::MAX))
    }

    /// Returns the line that proves that none of those which are still looked for has been removed: the one before them
    /// or, right after a gap, the first of them. Only a page that begins there can show it.
    fn first_expected(&self, reading: Reading, answer: &Answer) -> Option<Key> {
        let settled = self.windows.settled();
        let before = self.seen.last_anchor(reading.from, settled.saturating_add(1));
        let first = before.or_else(|| self.seen.first_anchor(settled, answer.until));
        first.filter(|first| reading.from <= settled && first.0 < answer.until)
    }

    /// Decides by the oldest envelope what it means that a page does not show the anchor that it should.
    fn decide(&mut self, poll: Poll, reading: Reading, answer: Answer, oldest: Option<i64>, now: Duration) {
        let Some(oldest) = oldest else {
            // The node may be away.
            return self.drop_page(&poll, now);
        };
        // It is not ahead of the server's clock either, and a gap must reach beyond it.
        self.clock.reached(oldest, now);
        let has_anchor = self.has_anchor(&answer);
        let expected = if has_anchor {
            self.first_expected(reading, &answer)
        } else {
            self.seen.last_anchor(i64::MIN, answer.until)
        };
        // An older envelope is there, but not the anchor: the page was not read from this store, because the node was
        // away. Or that envelope came late, into a store that had removed the anchor.
        let is_contradiction = expected.is_some_and(|(time, _)| reading.from <= time && oldest <= time);
        if is_contradiction && !has_anchor && self.contradictions < MOST_CONTRADICTIONS {
            self.contradictions += 1;
            self.asked = None;
            return self.drop_page(&poll, now);
        }
        self.contradictions = 0;
        self.is_in_doubt = false;
        let is_whole = if let Some((anchor, _)) = expected {
            // Only settled lines were removed, or none since the anchor, which is before the page.
            !is_contradiction && oldest <= self.windows.settled().max(anchor)
        } else {
            // No line has been read since the last gap. The store is still the same if it has the same oldest envelope, or
            // another one from before this was last asked. A new line is no witness of that: it may have come late.
            let is_new = answer.lines.iter().any(|line| line.timestamp <= oldest);
            self.oldest
                .is_some_and(|(before, clock)| oldest == before || (!is_new && (before..=clock).contains(&oldest)))
        };
        if !is_whole {
            self.gap(now);
        }
        self.oldest = self.clock.earliest(now).map(|clock| (oldest, clock));
        let moves_marks = has_anchor || is_whole;
        self.accept(poll, reading, answer, moves_marks, now);
    }

    /// Does not use a page, as if it had not come. The marks stay, so it will be read again.
    fn drop_page(&mut self, poll: &Poll, now: Duration) {
        self.is_in_doubt = true;
        self.end_poll(poll, now);
    }

    fn accept(&mut self, mut poll: Poll, reading: Reading, answer: Answer, moves_marks: bool, now: Duration) {
        self.report_gap(now);
        let next = next_start(reading, &answer);
        let new = self.seen.judge(answer.lines, &answer.keys);
        poll.has_new |= !new.is_empty();
        self.outbox.push(new);
        if moves_marks && self.ignores_end {
            self.windows.settle(answer.clock.saturating_sub(self.horizon));
        }
        if moves_marks {
            self.windows.have_read(reading.from, answer.until, answer.clock);
        }
        self.forget();

        if reading.is_older {
            poll.older_pages += 1;
            // The mark has come to where the next page begins. That one is read if it is worth a request.
            poll.window -= usize::from(next.is_some() && moves_marks);
            return self.go_on(poll, now);
        }
        poll.pages += 1;
        match next {
            Some(from) => self.step = Step::Read(poll, Reading { from: from.max(self.floor), ..reading }),
            None => self.go_on(poll, now),
        }
    }

    fn gap(&mut self, now: Duration) {
        let from = self.windows.settled();
        if let Some(until) = self.clock.latest(now) {
            log::warn!(
                "log lines of {from} to {until} (nanoseconds since 1970) may be missing: Log Cache removed them"
            );
            self.gaps.add(Gap { from, until });
        }
        self.seen.begin_era();
    }

    fn report_gap(&mut self, now: Duration) {
        if let Some(gap) = self.gaps.take(now) {
            self.outbox.push_gap(gap);
        }
    }

    fn forget(&mut self) {
        if let Some(time) = self.seen.shrink_to(self.memory) {
            self.windows.settle(time);
            if self.seen.is_empty() {
                self.floor = self.floor.max(time);
            }
        }
        self.seen.forget_before(self.windows.settled());
    }
}

/// Where the next page begins, if there is one: with the last time of this page, of which it may not have all lines.
fn next_start(reading: Reading, answer: &Answer) -> Option<i64> {
    let last = answer.is_full.then_some(answer.until)?;
    // If the page has no other time, the rest of that time is out of reach.
    let from = if last > reading.from { last } else { last.saturating_add(1) };
    (from < reading.end.unwrap_or(i64::MAX)).then_some(from)
}
