//! [`PageSize`]: how many lines to ask for.

use super::stored::Stored;

/// What a response should hold at most, in bytes. A line can have 65 KiB, so that 1000 of them are too many at once.
const RESPONSE: usize = 1 << 20;
/// What a line takes in JSON besides its text: about, and in bytes.
const OVERHEAD: usize = 400;

/// The size of a page: as configured, less if lines are long, and less if the server says that a response is too large.
#[derive(Debug)]
pub(super) struct PageSize {
    most: usize,
    /// Halved when a response is too large, doubled after each that is not.
    accepted: usize,
    /// Of a line's JSON, in bytes.
    mean: usize,
}

impl PageSize {
    pub(super) fn new(most: usize) -> Self {
        PageSize { most, accepted: most, mean: OVERHEAD }
    }

    pub(super) fn limit(&self) -> usize {
        self.accepted.min(RESPONSE / self.mean).max(1)
    }

    /// Notes that a response to a request for `limit` lines was too large. Returns false if it can't be smaller.
    pub(super) fn too_large(&mut self, limit: usize) -> bool {
        self.accepted = (limit / 2).max(1);
        limit > 1
    }

    pub(super) fn received(&mut self, lines: &[impl Stored]) {
        self.accepted = (self.accepted * 2).min(self.most);
        if !lines.is_empty() {
            let size: usize = lines.iter().map(|line| OVERHEAD + line.text_size()).sum();
            // Half of what it was and half of what came, so that one page of long lines does not decide alone.
            self.mean = self.mean.midpoint(size / lines.len());
        }
    }
}
