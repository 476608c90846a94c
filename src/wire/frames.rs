//! [`Frames`]: a batch of received payloads, in the buffer that they were read into.

use std::ops::Range;

use crate::ending::Ending;
use crate::error::Error;

/// A batch of payloads, and the buffer that they lie in. They are not copied until they are decoded.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The buffer. It usually extends beyond the payloads, so that it can be read into again.
    pub(crate) bytes: Vec<u8>,
    /// Where in the buffer the payloads are.
    pub(crate) payloads: Vec<Range<usize>>,
}

impl Frames {
    pub(crate) fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// Adds a copy of a payload at the end of the buffer. The buffer must contain nothing but such copies.
    pub(crate) fn push(&mut self, payload: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.payloads.push(start..self.bytes.len());
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.payloads.clear();
    }

    /// Returns where the last payload ends.
    pub(crate) fn end(&self) -> usize {
        self.payloads.last().map_or(0, |payload| payload.end)
    }

    pub(crate) fn get(&self, n: usize) -> Option<&[u8]> {
        self.payloads.get(n).map(|payload| &self.bytes[payload.clone()])
    }
}

/// The result of receiving.
#[derive(Debug)]
pub(crate) enum Progress {
    /// More may be available at once.
    More,
    /// Everything that arrived has been received.
    Idle,
    /// The connection has ended.
    Ended(Ending),
    /// The connection has ended because TLS failed, which the ending alone does not tell.
    TlsFailed(Ending),
    /// The source has given up with this error. The tail ends with it, and does not reconnect.
    Failed(Error),
}
