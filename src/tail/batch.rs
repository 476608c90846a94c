//! [`Batch`]: messages that arrived together, decoded one by one.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::mem;

use crossbeam_channel::Sender;

use crate::error::{Error, Result};
use crate::message::LogMessage;
use crate::server::source::Decoded;
use crate::wire::format::Decoder;
use crate::wire::frames::Frames;

/// A buffer with more bytes than this is not recycled. Only a large message makes it grow so far.
const MAX_RECYCLED: usize = 512 * 1024;

/// Messages that arrived together, as an iterator. Each message is decoded when it is taken.
pub struct Batch<T = LogMessage> {
    frames: Frames,
    /// `None`: there are no frames.
    decoder: Option<Decoder<T>>,
    /// Where the buffer goes when all frames have been decoded.
    recycle: Option<Sender<Frames>>,
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
    pub(super) fn new(frames: Frames, decoder: Option<Decoder<T>>, recycle: &Sender<Frames>) -> Self {
        Batch { frames, decoder, recycle: Some(recycle.clone()), ..Batch::default() }
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
            recycle: None,
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
                let frames = mem::take(&mut self.frames);
                if let Some(recycle) = self.recycle.take().filter(|_| frames.bytes.capacity() <= MAX_RECYCLED) {
                    // If the channel is full, there are enough buffers.
                    let _ = recycle.try_send(frames);
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
