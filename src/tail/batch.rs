//! [`Batch`]: messages that arrived together, decoded one by one.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::message::LogMessage;
use crate::server::source::Decoded;
use crate::wire::format::Decoder;
use crate::wire::frames::Frames;

/// The maximum number of batches that wait for a slow caller. Together with the size of a batch, it limits the memory
/// of a tail. When it is reached, nothing more is read, and TCP slows the server down.
pub(super) const WAITING_BATCHES: usize = 8;

/// The maximum number of spare buffers: enough for all batches that can be under way, because a new buffer is filled with
/// zeros first.
const MAX_SPARES: usize = WAITING_BATCHES + 2;

/// A buffer with more bytes than this is not kept. Only a large message makes it grow so far.
const MAX_SPARE: usize = 512 * 1024;

/// The buffers of decoded batches, to be read into again. `None`: none are kept, because the tail is quiet.
#[derive(Default)]
pub(super) struct Spares(Mutex<Option<Vec<Frames>>>);

impl Spares {
    /// Returns a buffer to read a batch into. From now on, buffers are kept.
    pub(super) fn take(&self) -> Frames {
        self.0.lock().get_or_insert_default().pop().unwrap_or_default()
    }

    fn put(&self, frames: Frames) {
        if let Some(spares) = &mut *self.0.lock()
            && spares.len() < MAX_SPARES
            && frames.bytes.capacity() <= MAX_SPARE
        {
            spares.push(frames);
        }
    }

    /// Frees all of them, and those that are still in use when they have been decoded.
    pub(super) fn free(&self) {
        let spares = self.0.lock().take();
        drop(spares);
    }
}

/// Messages that arrived together, as an iterator. Each message is decoded when it is taken.
pub struct Batch<T = LogMessage> {
    frames: Frames,
    /// `None`: there are no frames.
    decoder: Option<Decoder<T>>,
    /// Gets the buffer when all frames have been decoded.
    spares: Option<Arc<Spares>>,
    next: usize,
    /// Messages of the frame before `next` that have not been taken yet.
    decoded: VecDeque<Result<T>>,
    /// Returned after the messages.
    error: Option<Error>,
    last: bool,
    /// Over Log Cache: nothing before this time is still looked for when these messages have been taken.
    complete_until: Option<i64>,
}

impl<T> Batch<T> {
    pub(super) fn new(frames: Frames, decoder: Option<Decoder<T>>, spares: &Arc<Spares>) -> Self {
        Batch { frames, decoder, spares: Some(Arc::clone(spares)), ..Batch::default() }
    }

    /// Makes a batch of messages that the source has decoded.
    pub(super) fn decoded(decoded: Decoded<T>) -> Self {
        let Decoded { messages, complete_until } = decoded;
        Batch { decoded: messages, complete_until, ..Batch::default() }
    }

    pub(super) fn complete_until(&self) -> Option<i64> {
        self.complete_until
    }

    /// Makes a batch that reports a gap.
    pub(super) fn gap(error: Error) -> Self {
        Batch { error: Some(error), ..Batch::default() }
    }

    /// Makes the last batch, with the error that ended the tail.
    pub(super) fn end(error: Error) -> Self {
        Batch { error: Some(error), last: true, ..Batch::default() }
    }

    /// Returns true if this is the last batch of a tail that ended with an error.
    pub(super) fn is_last(&self) -> bool {
        self.last
    }
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Batch {
            frames: Frames::default(),
            decoder: None,
            spares: None,
            next: 0,
            decoded: VecDeque::new(),
            error: None,
            last: false,
            complete_until: None,
        }
    }
}

impl<T> Iterator for Batch<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(message) = self.decoded.pop_front() {
                return Some(message);
            }
            let Some(frame) = self.frames.get(self.next) else {
                // A tail keeps its last batch while it waits for the next.
                self.decoded = VecDeque::new();
                if let Some(spares) = self.spares.take() {
                    spares.put(mem::take(&mut self.frames));
                }
                return self.error.take().map(Err);
            };
            self.next += 1;
            if let Some(decode) = &self.decoder {
                decode(frame, &mut self.decoded);
            }
        }
    }
}

impl<T> FusedIterator for Batch<T> {}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("next", &self.next).field("error", &self.error).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Frames {
        Frames { bytes: vec![0; 1000], payloads: Vec::new() }
    }

    #[test]
    fn spare_buffers_are_kept_while_batches_come_and_all_are_freed_when_they_stop() {
        let spares = Spares::default();
        let in_use: Vec<_> = (0..=MAX_SPARES).map(|_| spares.take()).collect();
        in_use.iter().for_each(|_| spares.put(frames()));
        assert_eq!((0..=MAX_SPARES).filter(|_| !spares.take().bytes.is_empty()).count(), MAX_SPARES);
        spares.put(Frames { bytes: vec![0; MAX_SPARE + 1], payloads: Vec::new() });
        assert!(spares.take().bytes.is_empty(), "a large one is not kept");

        spares.put(frames());
        spares.free();
        // The caller decodes the last batch later.
        spares.put(frames());
        assert!(spares.take().bytes.is_empty());
    }
}
