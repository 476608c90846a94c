//! [`Batch`]: messages that arrived together, decoded as they are taken.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::mem;

use crossbeam_channel::Sender;

use crate::error::{Error, Result};
use crate::message::LogMessage;
use crate::wire::format::Format;
use crate::wire::frames::Frames;

/// A larger buffer is not kept: one large message made it so.
const MAX_RECYCLED: usize = 512 * 1024;

/// Some messages that arrived together: an iterator over them, each decoded when it is taken.
#[derive(Default)]
pub struct Batch {
    frames: Frames,
    format: Format,
    /// Takes the memory of the frames back when they have been decoded.
    recycle: Option<Sender<Frames>>,
    next: usize,
    /// What the frame before `next` held, and has not been taken.
    decoded: VecDeque<Result<LogMessage>>,
    /// Comes behind the messages.
    error: Option<Error>,
    last: bool,
}

impl Batch {
    pub(super) fn new(frames: Frames, format: Format, recycle: &Sender<Frames>) -> Self {
        Batch { frames, format, recycle: Some(recycle.clone()), ..Batch::default() }
    }

    /// Tells of a break, behind which the tail goes on.
    pub(super) fn gap(error: Error) -> Self {
        Batch { error: Some(error), ..Batch::default() }
    }

    /// Tells of the end.
    pub(super) fn end(error: Error) -> Self {
        Batch { error: Some(error), last: true, ..Batch::default() }
    }

    /// Returns true if this batch tells of the end of the tail.
    pub(super) fn is_last(&self) -> bool {
        self.last
    }
}

impl Iterator for Batch {
    type Item = Result<LogMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(message) = self.decoded.pop_front() {
                return Some(message);
            }
            let Some(frame) = self.frames.get(self.next) else {
                let frames = mem::take(&mut self.frames);
                if let Some(recycle) = self.recycle.take().filter(|_| frames.bytes.capacity() <= MAX_RECYCLED) {
                    // What there is no room for is not needed.
                    let _ = recycle.try_send(frames);
                }
                return self.error.take().map(Err);
            };
            self.next += 1;
            self.format.decode(frame, &mut self.decoded);
        }
    }
}

impl FusedIterator for Batch {}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("next", &self.next).field("error", &self.error).finish_non_exhaustive()
    }
}
