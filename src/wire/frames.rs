//! [`Frames`]: what a reader hands over at a time, payloads in the memory that they were read into.

use std::ops::Range;

use crate::ending::Ending;

/// The payloads of frames, and the memory that they lie in. Only who decodes them copies them.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Longer than what has been read, mostly, so that the memory can be read into again.
    pub(crate) bytes: Vec<u8>,
    pub(crate) payloads: Vec<Range<usize>>,
}

impl Frames {
    pub(crate) fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// Adds a copy of a payload, if nothing but such copies is in the memory.
    pub(crate) fn push(&mut self, payload: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.payloads.push(start..self.bytes.len());
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.payloads.clear();
    }

    pub(crate) fn get(&self, n: usize) -> Option<&[u8]> {
        self.payloads.get(n).map(|payload| &self.bytes[payload.clone()])
    }
}

/// How far a reader got.
#[derive(Debug)]
pub(crate) enum Progress {
    /// There may be more at once.
    More,
    /// There is no more now.
    Idle,
    /// There will be no more.
    Ended(Ending),
}
