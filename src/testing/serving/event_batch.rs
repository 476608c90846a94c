//! [`EventBatch`]: collects envelopes that the RLP gateway sends together in one event.

use std::time::{Duration, Instant};

use crate::testing::protocol::events::{BATCH_END, BATCH_START};
use crate::testing::protocol::response::StreamFraming;

/// The maximum number of envelopes in a batch.
const LARGEST_BATCH: usize = 100;

/// The batch that is being filled.
pub(super) struct EventBatch {
    /// Separated by commas.
    envelopes: Vec<u8>,
    count: usize,
    framing: StreamFraming,
    /// How long envelopes are collected.
    window: Duration,
    /// When the batch is sent, even if it is not full. `None`: it is empty.
    pub(super) due: Option<Instant>,
}

impl EventBatch {
    pub(super) fn new(window: Duration, framing: StreamFraming) -> Self {
        EventBatch { envelopes: Vec::new(), count: 0, framing, window, due: None }
    }

    /// Adds the envelopes of an event, and writes the batch if it is then full. An event without envelopes is written
    /// unchanged, after the batch.
    pub(super) fn add(&mut self, event: &[u8], out: &mut Vec<u8>) {
        let Some(envelopes) = event.strip_prefix(BATCH_START).and_then(|event| event.strip_suffix(BATCH_END)) else {
            self.flush(out);
            self.framing.write(event, out);
            return;
        };
        if self.count > 0 {
            self.envelopes.push(b',');
        } else {
            self.due = Instant::now().checked_add(self.window);
        }
        self.envelopes.extend_from_slice(envelopes);
        self.count += 1;
        if self.count == LARGEST_BATCH || self.window.is_zero() {
            self.flush(out);
        }
    }

    /// Writes the batch unless it is empty.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        if self.count > 0 {
            self.framing.write(&[BATCH_START, &self.envelopes, BATCH_END].concat(), out);
            self.envelopes.clear();
            self.count = 0;
            self.due = None;
        }
    }
}
