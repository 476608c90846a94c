//! [`Outbox`]: what waits to be sent to one tail.

use std::mem;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::logged::Wire;
use super::wake::Waker;

/// Frames or events in their wire form, one behind the other, so that the tail's thread writes many of them with one call.
pub(super) struct Outbox {
    /// What the frames are in.
    pub(super) wire: Wire,
    queue: Mutex<Queue>,
    /// There is room again, or the tail is over.
    drained: Condvar,
    waker: Arc<Waker>,
    /// How many bytes may wait before senders do.
    limit: usize,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// What comes behind the bytes; nothing else does.
    last: Option<Last>,
    /// The tail's thread was woken for what is here, and has not come yet.
    woken: bool,
    /// The tail takes nothing any more.
    over: bool,
}

/// How the server ends a tail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Close,
    Drop,
    Reset,
}

impl Outbox {
    pub(super) fn new(wire: Wire, waker: Arc<Waker>, limit: usize) -> Self {
        Outbox { wire, queue: Mutex::default(), drained: Condvar::new(), waker, limit }
    }

    /// Adds what `write` writes, waiting for room first. Says whether it will be sent.
    pub(super) fn push(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut queue = self.queue.lock();
        while queue.bytes.len() >= self.limit && !queue.is_closed() {
            self.drained.wait(&mut queue);
        }
        if queue.is_closed() {
            return false;
        }
        write(&mut queue.bytes);
        self.wake(&mut queue);
        true
    }

    /// Ends the tail behind what was pushed, with what `write` writes. Says whether it was this that ended it.
    pub(super) fn end(&self, last: Last, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut queue = self.queue.lock();
        if queue.is_closed() {
            return false;
        }
        write(&mut queue.bytes);
        queue.last = Some(last);
        self.drained.notify_all();
        self.wake(&mut queue);
        true
    }

    fn wake(&self, queue: &mut Queue) {
        if !mem::replace(&mut queue.woken, true) {
            self.waker.wake();
        }
    }

    /// Moves all that waits into `out`, which must be empty. Says how the tail ends behind it, if it does.
    pub(super) fn take(&self, out: &mut Vec<u8>) -> Option<Last> {
        let mut queue = self.queue.lock();
        mem::swap(&mut queue.bytes, out);
        queue.woken = false;
        self.drained.notify_all();
        queue.last
    }

    /// Forgets what waits and takes nothing any more.
    pub(super) fn abandon(&self) {
        let mut queue = self.queue.lock();
        queue.bytes = Vec::new();
        queue.over = true;
        self.drained.notify_all();
    }
}

impl Queue {
    fn is_closed(&self) -> bool {
        self.over || self.last.is_some()
    }
}
