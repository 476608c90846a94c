//! [`SendQueue`]: what waits to be sent to one tail.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::waker::Waker;
use crate::testing::config::settings::{Settings, SlowReader};
use crate::testing::protocol::envelope_filter::EnvelopeFilter;
use crate::testing::protocol::log_entry::WireFormat;

/// A queue of encoded frames or events. They are stored back to back, so that the tail's thread can write many of them
/// with one call.
pub(crate) struct SendQueue {
    /// The format of the queued bytes.
    pub(crate) format: WireFormat,
    /// Which envelopes of its sources the tail gets.
    pub(crate) filter: EnvelopeFilter,
    /// Tails of the same shard share what comes.
    pub(crate) shard: Option<String>,
    queue: Mutex<Queue>,
    /// Notified when there is room again, or when the queue is closed.
    drained: Condvar,
    waker: Arc<Waker>,
    /// The number of waiting bytes from which nothing can be added.
    limit: usize,
    slow_reader: SlowReader,
    /// What says that messages were dropped.
    drop_notice: Vec<u8>,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    has_dropped: bool,
    /// How the tail ends after the bytes, if it does. Nothing can be added then.
    end: Option<TailEnd>,
    /// The tail's thread has been woken for these bytes, but has not taken them yet.
    woken: bool,
    /// The tail sends nothing any more.
    abandoned: bool,
}

/// How the server ends a tail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TailEnd {
    /// The way the protocol provides for.
    Close,
    /// TCP's FIN without more.
    Drop,
    /// TCP's RST.
    Reset,
}

impl SendQueue {
    /// Restricts what is added.
    pub(crate) fn filtered(mut self, filter: EnvelopeFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Adds the queue to a shard.
    pub(crate) fn of_shard(mut self, shard: Option<String>) -> Self {
        self.shard = shard;
        self
    }

    /// Creates a queue for a tail of `app`. `slow_reader`: what a fault says about it.
    pub(crate) fn new(
        format: WireFormat,
        app: &str,
        waker: Arc<Waker>,
        settings: &Settings,
        slow_reader: Option<SlowReader>,
    ) -> Self {
        SendQueue {
            format,
            filter: EnvelopeFilter::default(),
            shard: None,
            queue: Mutex::default(),
            drained: Condvar::new(),
            waker,
            limit: settings.backlog,
            slow_reader: slow_reader.or(settings.slow_reader).unwrap_or_else(|| format.slow_reader()),
            drop_notice: format.drop_notice(app),
        }
    }

    /// Adds what `write` appends. If there is no room, waits for it or drops it, as configured. Returns false if it was
    /// not added.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut queue = self.queue.lock();
        while queue.bytes.len() >= self.limit && !queue.is_closed() {
            if self.slow_reader != SlowReader::Wait {
                queue.has_dropped = true;
                return false;
            }
            self.drained.wait(&mut queue);
        }
        if queue.is_closed() {
            return false;
        }
        write(&mut queue.bytes);
        self.wake(&mut queue);
        true
    }

    /// Adds what `write` appends, without waiting, and ends the tail after it. Returns false if the queue was already
    /// closed.
    pub(crate) fn end(&self, end: TailEnd, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut queue = self.queue.lock();
        if queue.is_closed() {
            return false;
        }
        write(&mut queue.bytes);
        queue.end = Some(end);
        self.drained.notify_all();
        self.wake(&mut queue);
        true
    }

    /// Returns when a client is cut off to which something could be sent last at this instant.
    pub(crate) fn cut_off_at(&self, last_sent: Instant) -> Option<Instant> {
        match self.slow_reader {
            SlowReader::CutOff(timeout) => last_sent.checked_add(timeout),
            _ => None,
        }
    }

    fn wake(&self, queue: &mut Queue) {
        if !mem::replace(&mut queue.woken, true) {
            self.waker.wake();
        }
    }

    /// Moves everything that waits into `out`, which must be empty. Returns how the tail ends after it, if it does.
    pub(crate) fn take(&self, out: &mut Vec<u8>) -> Option<TailEnd> {
        let mut queue = self.queue.lock();
        mem::swap(&mut queue.bytes, out);
        if mem::take(&mut queue.has_dropped) && self.slow_reader == SlowReader::DropAndTell {
            out.extend_from_slice(&self.drop_notice);
        }
        queue.woken = false;
        self.drained.notify_all();
        queue.end
    }

    /// Discards everything that waits and closes the queue.
    pub(crate) fn abandon(&self) {
        let mut queue = self.queue.lock();
        queue.bytes = Vec::new();
        queue.abandoned = true;
        self.drained.notify_all();
    }
}

impl Queue {
    fn is_closed(&self) -> bool {
        self.abandoned || self.end.is_some()
    }
}
