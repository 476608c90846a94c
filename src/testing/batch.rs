//! [`Batch`]: the RLP gateway sends envelopes in batches, each an event.

use std::time::{Duration, Instant};

use super::http::write_chunk;

/// As many envelopes as a batch may have.
const LARGEST: usize = 100;
/// What an event with a batch has before its envelopes, and behind them.
pub(super) const BEGIN: &[u8] = b"data: {\"batch\":[";
const END: &[u8] = b"]}\n\n";

/// The batch that is being filled.
pub(super) struct Batch {
    /// With commas between them.
    envelopes: Vec<u8>,
    count: usize,
    /// For how long it is filled.
    window: Duration,
    /// When it goes out, full or not.
    pub(super) due: Option<Instant>,
}

impl Batch {
    pub(super) fn new(window: Duration) -> Self {
        Batch { envelopes: Vec::new(), count: 0, window, due: None }
    }

    /// Takes the envelopes of an event in, and writes the batch if that fills it. Another event is written as it is.
    pub(super) fn add(&mut self, event: &[u8], out: &mut Vec<u8>) {
        let Some(envelopes) = event.strip_prefix(BEGIN).and_then(|event| event.strip_suffix(END)) else {
            self.flush(out);
            write_chunk(event, out);
            return;
        };
        if self.count > 0 {
            self.envelopes.push(b',');
        } else {
            self.due = Instant::now().checked_add(self.window);
        }
        self.envelopes.extend_from_slice(envelopes);
        self.count += 1;
        if self.count == LARGEST || self.window.is_zero() {
            self.flush(out);
        }
    }

    /// Writes it, if there is anything in it.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        if self.count > 0 {
            write_chunk(&[BEGIN, &self.envelopes, END].concat(), out);
            self.envelopes.clear();
            self.count = 0;
            self.due = None;
        }
    }
}
