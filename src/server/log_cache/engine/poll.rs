//! The polls of an [`Engine`]: which stretches of time are read, and in which order.

use std::time::Duration;

use super::Engine;
use super::step::{Poll, Reading, Step};
use super::stored::Stored;

/// The stretch before the server's clock that every poll reads.
const OVERLAP: i64 = 1_000_000_000;
/// An older window of so many lines is read before half its age has passed.
const DUE_LINES: usize = 1000;
/// A poll reads so many pages more of older windows than of the front.
const SPARE_PAGES: usize = 2;

impl<T: Stored> Engine<T> {
    pub(super) fn begin_poll(&mut self, now: Duration) {
        self.shed(now);
        let mut front = self.front(self.clock.earliest(now));
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
        let poll = Poll {
            started: now,
            busy: Duration::ZERO,
            front,
            pages: 0,
            window: 0,
            older_pages: 0,
            has_new: false,
            has_more: false,
        };
        self.step = Step::Read(poll, Reading { is_older: false, from: front, end: None });
    }

    /// Skips the young window while polls take too long.
    fn shed(&mut self, now: Duration) {
        if let Some(clock) = self.clock.earliest(now).filter(|_| self.load.is_shedding()) {
            self.windows.skip_young(clock);
        }
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

    /// Begins the next reading of an older window, if one is due, or ends the poll. `next` is where the next page of the
    /// last one begins: it is read if it is worth a request.
    pub(super) fn go_on(&mut self, mut poll: Poll, mut next: Option<i64>, now: Duration) {
        // Once more, because the poll may have taken long.
        self.shed(now);
        poll.window -= usize::from(next.is_some());
        while poll.window < self.windows.count() {
            let window = self.windows.get(poll.window);
            poll.window += 1;
            let next = next.take();
            let Some(end) = self.due(window.mark, window.age, poll.front, now) else { continue };
            if poll.older_pages < poll.pages + SPARE_PAGES {
                let from = next.unwrap_or_else(|| self.with_anchor(window.mark));
                self.step = Step::Read(poll, Reading { is_older: true, from, end: Some(end) });
                return;
            }
            poll.has_more = true;
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
        (is_due && !self.ignores_end).then_some(end)
    }

    pub(super) fn end_poll(&mut self, poll: &Poll, now: Duration) {
        self.load.poll_took(poll.busy, now);
        self.not_before = poll.started.saturating_add(self.pace.after_poll(poll.has_new || poll.has_more));
        self.step = Step::Pause;
    }
}
