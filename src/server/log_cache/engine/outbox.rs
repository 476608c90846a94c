//! [`Outbox`]: what is to be returned, in its order.

use std::collections::{BTreeMap, VecDeque};

use super::gaps::Gap;
use super::stored::Stored;
use crate::message::LogMessage;

/// No more lines than this are held back to be sorted.
const MOST_HELD: usize = 10_000;

/// What an engine returns.
#[derive(Debug)]
pub(crate) enum Item<T = LogMessage> {
    /// Lines of the given range may be missing. It comes before the lines of the response that told of it.
    Gap(Gap),
    /// New lines of one response, sorted by time.
    Lines(Vec<T>),
}

#[derive(Debug)]
pub(super) struct Outbox<T> {
    /// In nanoseconds.
    hold: i64,
    /// By time, then in the order in which they came.
    held: BTreeMap<(i64, u64), T>,
    count: u64,
    ready: VecDeque<Item<T>>,
}

impl<T: Stored> Outbox<T> {
    pub(super) fn new(hold: i64) -> Self {
        Outbox { hold, held: BTreeMap::new(), count: 0, ready: VecDeque::new() }
    }

    pub(super) fn push(&mut self, mut lines: Vec<T>) {
        if self.hold > 0 {
            for line in lines {
                self.count += 1;
                self.held.insert((line.timestamp(), self.count), line);
            }
            let excess = self.held.len().saturating_sub(MOST_HELD);
            self.release_first(excess);
        } else if !lines.is_empty() {
            // The store's order is that of its keys, which are up to 4000 ns after the time.
            lines.sort_by_key(|line| line.timestamp());
            self.ready.push_back(Item::Lines(lines));
        }
    }

    /// Lines that came before the gap are returned before it.
    pub(super) fn push_gap(&mut self, gap: Gap) {
        self.release_all();
        self.ready.push_back(Item::Gap(gap));
    }

    /// Releases the lines that are as old as `hold`.
    pub(super) fn release(&mut self, clock: Option<i64>) {
        let until = clock.map_or(i64::MIN, |clock| clock.saturating_sub(self.hold));
        let count = self.held.range(..=(until, u64::MAX)).count();
        self.release_first(count);
    }

    pub(super) fn release_all(&mut self) {
        self.release_first(self.held.len());
    }

    fn release_first(&mut self, count: usize) {
        if count > 0 {
            let lines = std::iter::from_fn(|| self.held.pop_first()).take(count).map(|(_, line)| line).collect();
            self.ready.push_back(Item::Lines(lines));
        }
    }

    pub(super) fn take(&mut self) -> Option<Item<T>> {
        self.ready.pop_front()
    }

    /// The time of the oldest line that is held back.
    pub(super) fn oldest_held(&self) -> Option<i64> {
        self.held.first_key_value().map(|(key, _)| key.0)
    }

    /// The server's time at which the next line is to be released.
    pub(super) fn due(&self) -> Option<i64> {
        self.oldest_held().map(|time| time.saturating_add(self.hold))
    }
}
