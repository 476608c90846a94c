//! [`Seen`]: the lines that have been returned, so that none is returned twice.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};

use super::stored::Stored;

/// A line's time, and a hash of its content.
pub(super) type Key = (i64, u64);

/// How often each line has been read. A line has no id on the wire, so time and content stand for it, and two equal
/// lines are told from one by counting.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Keyed at random, so that nobody can write lines whose hashes collide.
    hasher: RandomState,
    lines: BTreeMap<Key, Entry>,
    /// The number of breaks so far.
    era: u32,
}

/// With its key this is 24 bytes.
#[derive(Debug, Default)]
struct Entry {
    count: u32,
    /// The era in which the line was last read. In the current one, the line is an *anchor*: it was in the store after
    /// the last break, so that its absence proves another one.
    era: u32,
}

impl Seen {
    pub(super) fn key(&self, line: &impl Stored) -> Key {
        let mut hasher = self.hasher.build_hasher();
        line.hash_content(&mut hasher);
        (line.timestamp(), hasher.finish())
    }

    /// Counts a page's lines and returns those that are new, in the order of the page. `keys` are those of `lines`.
    ///
    /// A page may end between equal lines and so hold fewer of them than the store. That does no harm: as many as the
    /// fullest page held are returned.
    pub(super) fn judge<T>(&mut self, lines: Vec<T>, keys: &[Key]) -> Vec<T> {
        let mut in_page: HashMap<Key, u32> = HashMap::with_capacity(keys.len());
        let mut is_new = |key: &Key| {
            let occurrence = in_page.entry(*key).or_default();
            *occurrence = occurrence.saturating_add(1);
            let entry = self.lines.entry(*key).or_default();
            entry.era = self.era;
            let is_new = *occurrence > entry.count;
            entry.count = entry.count.max(*occurrence);
            is_new
        };
        lines.into_iter().zip(keys).filter(|(_, key)| is_new(key)).map(|(line, _)| line).collect()
    }

    /// Notes that lines may have been removed from the store. Those read so far are no anchors any more.
    pub(super) fn begin_era(&mut self) {
        self.era = self.era.wrapping_add(1);
    }

    pub(super) fn is_anchor(&self, key: &Key) -> bool {
        self.lines.get(key).is_some_and(|entry| entry.era == self.era)
    }

    /// The oldest anchor in `[from, until)`.
    pub(super) fn first_anchor(&self, from: i64, until: i64) -> Option<Key> {
        self.anchors(from, until).next()
    }

    /// The newest anchor in `[from, until)`.
    pub(super) fn last_anchor(&self, from: i64, until: i64) -> Option<Key> {
        self.anchors(from, until).next_back()
    }

    fn anchors(&self, from: i64, until: i64) -> impl DoubleEndedIterator<Item = Key> {
        let range = (from, 0)..(until.max(from), 0);
        self.lines.range(range).filter(|(_, entry)| entry.era == self.era).map(|(key, _)| *key)
    }

    /// Returns true if there are at least `count` different lines in `[from, until)`.
    pub(super) fn has_lines(&self, count: usize, from: i64, until: i64) -> bool {
        self.lines.range((from, 0)..(until.max(from), 0)).nth(count.saturating_sub(1)).is_some()
    }

    /// The newest line's time.
    pub(super) fn newest(&self) -> Option<i64> {
        self.lines.last_key_value().map(|(key, _)| key.0)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The time of the newest line that is not newer than `time`.
    pub(super) fn newest_until(&self, time: i64) -> Option<i64> {
        self.lines.range(..=(time, u64::MAX)).next_back().map(|(key, _)| key.0)
    }

    /// Forgets the lines before `time`, but for the newest of them: the next reading from `time` on begins with it.
    pub(super) fn forget_before(&mut self, time: i64) {
        if let Some(kept) = self.newest_until(time)
            && self.lines.first_key_value().is_some_and(|(key, _)| key.0 < kept)
        {
            self.lines = self.lines.split_off(&(kept, 0));
        }
    }

    /// Forgets the oldest times until at most `count` lines are left, and returns the time from which on all lines are
    /// still known, if it forgot any.
    pub(super) fn shrink_to(&mut self, count: usize) -> Option<i64> {
        let mut forgotten = None;
        while let Some((key, _)) = self.lines.first_key_value()
            && (self.lines.len() > count || forgotten == Some(key.0))
        {
            forgotten = Some(key.0);
            self.lines.pop_first();
        }
        forgotten.map(|time| time.saturating_add(1))
    }
}
