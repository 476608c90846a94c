//! [`Seed`]: the first reading of a tail, backwards from the newest line.

use super::driver::Range;
use super::stored::Stored;

/// A tail that does not return old lines reads no further back than this many pages.
const MOST_PAGES: usize = 10;

/// How far back to read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// To this long before the newest line, in nanoseconds. The lines are not returned.
    Horizon(i64),
    /// Until there are so many lines, or bytes of them. They are returned.
    Lines { count: usize, size: usize },
}

#[derive(Debug)]
pub(super) struct Seed<T> {
    goal: Goal,
    newest_first: Vec<T>,
    size: usize,
    newest: Option<i64>,
    oldest: i64,
    /// How many lines of the oldest time have been read. The next page begins with them.
    at_oldest: usize,
    end: Option<i64>,
    pages: usize,
}

impl<T: Stored> Seed<T> {
    pub(super) fn new(goal: Goal) -> Self {
        Seed {
            goal,
            newest_first: Vec::new(),
            size: 0,
            newest: None,
            oldest: i64::MAX,
            at_oldest: 0,
            end: None,
            pages: 0,
        }
    }

    pub(super) fn range(&self, limit: usize) -> Range {
        let limit = match self.goal {
            Goal::Horizon(_) => limit,
            Goal::Lines { count, .. } => {
                let missing = count.saturating_sub(self.newest_first.len());
                limit.min(missing.saturating_add(self.at_oldest)).max(1)
            }
        };
        Range { start: self.start(), end: self.end, limit, newest_first: true }
    }

    fn start(&self) -> i64 {
        match (self.goal, self.newest) {
            (Goal::Horizon(horizon), Some(newest)) => newest.saturating_sub(horizon).max(0),
            _ => 0,
        }
    }

    /// Adds the lines of a page that are new, newest first. Returns true if it was the last page.
    ///
    /// `times` are those of all lines of the page. A full page begins the next one with its oldest time once more: a
    /// strict server may have cut lines of that time off.
    pub(super) fn add(&mut self, times: &[i64], new: Vec<T>, is_full: bool) -> bool {
        self.pages += 1;
        let has_new = !new.is_empty();
        for line in new {
            self.newest = Some(self.newest.map_or(line.timestamp(), |newest| newest.max(line.timestamp())));
            if line.timestamp() < self.oldest {
                self.oldest = line.timestamp();
                self.at_oldest = 0;
            }
            self.at_oldest += usize::from(line.timestamp() == self.oldest);
            if let Goal::Lines { .. } = self.goal {
                self.size += line.size();
                self.newest_first.push(line);
            }
        }
        let is_one_time = times.iter().all(|time| *time == self.oldest);
        let is_stuck = !has_new && self.end == Some(self.oldest);
        self.end = Some(if has_new && !is_one_time { self.oldest.saturating_add(1) } else { self.oldest });

        !is_full || is_stuck || self.end <= Some(self.start()) || self.has_enough()
    }

    fn has_enough(&self) -> bool {
        match self.goal {
            Goal::Horizon(_) => self.pages >= MOST_PAGES,
            Goal::Lines { count, size } => self.newest_first.len() >= count || self.size >= size,
        }
    }

    /// Returns the time from which on the tail returns lines, and the lines to return at once, newest last. There is
    /// at least one line. `is_end` says that the last page had all that there was.
    pub(super) fn finish(mut self, is_end: bool) -> (i64, Vec<T>) {
        let newest = self.newest.unwrap_or_default();
        match self.goal {
            Goal::Horizon(horizon) => {
                let from = newest.saturating_sub(horizon);
                (if is_end { from } else { self.oldest.max(from) }, Vec::new())
            }
            Goal::Lines { count, .. } => {
                self.newest_first.truncate(count);
                let floor = self.newest_first.iter().map(|line| line.timestamp()).min().unwrap_or(newest);
                self.newest_first.reverse();
                (floor, self.newest_first)
            }
        }
    }
}
