//! What an [`Engine`] makes of a page: what it proves, and what is returned of it.

use std::time::Duration;

use super::Engine;
use super::gaps::Gap;
use super::seen::Key;
use super::step::{Answer, Poll, Reading, Step};
use super::stored::Stored;

/// How often the oldest envelope is asked for while nothing changes.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// So many times in a row the oldest envelope may say that an anchor is still there while it is in no page.
const MOST_CONTRADICTIONS: u32 = 3;

impl<T: Stored> Engine<T> {
    /// Takes the lines of a page that were asked for and says how far it reaches.
    pub(super) fn open(
        &mut self,
        reading: Reading,
        mut lines: Vec<T>,
        is_full: bool,
        sent: Duration,
        now: Duration,
    ) -> Answer<T> {
        let end = reading.end.unwrap_or(i64::MAX);
        if lines.iter().any(|line| line.timestamp() >= end) {
            self.ignores_end = true;
        }
        // What is before the beginning may have been forgotten, and would be returned once more.
        lines.retain(|line| line.timestamp() >= reading.from);
        let newest = lines.iter().map(|line| line.timestamp()).max();
        if let Some(newest) = newest {
            self.clock.reached(newest, now);
        }
        let clock = self.clock.earliest(sent).unwrap_or(i64::MIN);
        let keys = lines.iter().map(|line| self.seen.key(line)).collect();
        let until = match newest.filter(|_| is_full) {
            // There may be more lines of the last time.
            Some(last) if last > reading.from => last,
            // If the page has no other time, they are out of reach.
            Some(last) => last.saturating_add(1),
            None => end,
        };
        Answer { lines, keys, until, clock }
    }

    /// Looks for the anchors of a page.
    pub(super) fn judge(&mut self, poll: Poll, reading: Reading, answer: Answer<T>, now: Duration) {
        let has_anchor = self.has_anchor(&answer);
        if has_anchor {
            self.asked = None;
            self.is_in_doubt = false;
            self.contradictions = 0;
        }
        let is_sound = if has_anchor {
            // A page may end between lines of one time, so that any of them proves as much.
            let is_shown = |first: Key| answer.keys.iter().any(|key| key.0 == first.0 && self.seen.is_anchor(key));
            self.first_expected(reading, &answer).is_none_or(is_shown)
        } else {
            !self.expects_anchor(reading, &answer)
        };
        if is_sound {
            let has_lines = !answer.lines.is_empty();
            self.accept(poll, reading, answer, has_lines, now);
        } else if reading.is_older && !has_anchor {
            // The next front begins where this page does. It shows the anchors that are left.
            self.drop_page(&poll, now);
        } else if answer.lines.is_empty() && self.asked.is_some_and(|asked| now.saturating_sub(asked) < ASK_EVERY) {
            self.drop_page(&poll, now);
        } else {
            self.asked = Some(now);
            self.step = Step::Ask(poll, reading, answer);
        }
    }

    fn has_anchor(&self, answer: &Answer<T>) -> bool {
        answer.keys.iter().any(|key| self.seen.is_anchor(key))
    }

    /// Returns true if the page should show a line that was seen before.
    fn expects_anchor(&self, reading: Reading, answer: &Answer<T>) -> bool {
        let has_anchor = |until| self.seen.first_anchor(reading.from, until).is_some();
        // After a gap there may be no anchor at all. Then only the oldest envelope tells of another one. A page that
        // begins after the newest line has none either, and needs none: the page before it has.
        let is_after_gap = self.seen.newest().is_some_and(|newest| reading.from <= newest) && !has_anchor(i64::MAX);
        has_anchor(answer.until) || is_after_gap
    }

    /// Returns the line that proves that none of those which are still looked for has been removed: the one before them
    /// or, right after a gap, the first of them. Only a page that begins there can show it.
    fn first_expected(&self, reading: Reading, answer: &Answer<T>) -> Option<Key> {
        let settled = self.windows.settled();
        let before = self.seen.last_anchor(reading.from, settled);
        let first = before.or_else(|| self.seen.first_anchor(settled, answer.until));
        first.filter(|_| reading.from <= settled)
    }

    /// Decides by the oldest envelope what it means that a page does not show the anchor that it should.
    pub(super) fn decide(
        &mut self,
        poll: Poll,
        reading: Reading,
        answer: Answer<T>,
        oldest: Option<i64>,
        now: Duration,
    ) {
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
        // An older envelope is there, but not the anchor. Either the node was away when the page was read, which is then
        // empty. Or that envelope came late, into a store that had removed the anchor.
        let is_contradiction = expected.is_some_and(|(time, _)| reading.from <= time && oldest <= time);
        if is_contradiction && answer.lines.is_empty() && self.contradictions < MOST_CONTRADICTIONS {
            self.contradictions += 1;
            return self.drop_page(&poll, now);
        }
        let is_whole = if let Some((anchor, _)) = expected {
            // Only settled lines were removed, or none since the anchor, which is before the page.
            !is_contradiction && oldest <= self.windows.settled().max(anchor)
        } else {
            // No line has been read since the last gap. The store is still the same if it has the same oldest envelope, or
            // another one from before this was last asked. A new line is no witness of that: it may have come late.
            let is_new = answer.lines.iter().any(|line| line.timestamp() <= oldest);
            self.oldest
                .is_some_and(|(before, clock)| oldest == before || (!is_new && (before..=clock).contains(&oldest)))
        };
        if !is_whole {
            self.gap(now);
        }
        self.oldest = self.clock.earliest(now).map(|clock| (oldest, clock));
        self.accept(poll, reading, answer, is_whole, now);
    }

    /// Does not use a page, as if it had not come. The marks stay, so it will be read again.
    fn drop_page(&mut self, poll: &Poll, now: Duration) {
        self.is_in_doubt = true;
        self.end_poll(poll, now);
    }

    /// Returns the new lines of a page, moves the marks and goes on to the next page.
    fn accept(&mut self, mut poll: Poll, reading: Reading, answer: Answer<T>, moves_marks: bool, now: Duration) {
        self.report_gap(now);
        let next = (answer.until < reading.end.unwrap_or(i64::MAX)).then_some(answer.until);
        let new = self.seen.judge(answer.lines, &answer.keys);
        poll.has_new |= !new.is_empty();
        self.outbox.push(new);
        if moves_marks {
            self.windows.have_read(reading.from, answer.until, answer.clock);
            if self.ignores_end {
                self.windows.settle(answer.clock.saturating_sub(self.horizon));
            }
        }
        self.forget();

        if reading.is_older {
            poll.older_pages += 1;
            return self.go_on(poll, next, now);
        }
        poll.pages += 1;
        match next {
            Some(from) => self.step = Step::Read(poll, Reading { from: from.max(self.floor), ..reading }),
            None => self.go_on(poll, None, now),
        }
    }

    /// Notes that lines which are still looked for have been removed.
    fn gap(&mut self, now: Duration) {
        let from = self.windows.settled();
        if let Some(until) = self.clock.latest(now) {
            self.gaps.add(Gap { from, until });
        }
        self.seen.begin_era();
    }

    /// Returns a gap to the caller, if one is to be reported now.
    pub(super) fn report_gap(&mut self, now: Duration) {
        if let Some(gap) = self.gaps.take(now) {
            log::warn!(
                "lines of {} to {} (nanoseconds since 1970) may be missing: Log Cache removed them before they were read",
                gap.from,
                gap.until
            );
            self.outbox.push_gap(gap);
        }
    }

    /// Forgets what is never read again, and what is too much.
    fn forget(&mut self) {
        if let Some(time) = self.seen.shrink_to(self.memory) {
            self.windows.settle(time);
            self.floor = self.floor.max(time);
        }
        self.seen.forget_before(self.windows.settled());
    }
}
