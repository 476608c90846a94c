//! [`KeepAlive`]: the second thread of a tail over a websocket.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use crate::net::cancel::Cancel;
use crate::net::deadline::after;
use crate::net::websocket::{CLOSE_GRACE, NORMAL_CLOSE, WriteHalf};

/// How often keep-alive texts and unsolicited pongs are sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intervals {
    pub(super) text: Duration,
    pub(super) pong: Duration,
}

/// Sends keep-alive texts and pongs, and closes the connection when the tail is cancelled.
pub(super) struct KeepAlive {
    pub(super) write_half: Arc<WriteHalf>,
    pub(super) intervals: Intervals,
    pub(super) cancel: Arc<Cancel>,
    /// Disconnected when the reader has seen the end of the connection.
    pub(super) reader_done: Receiver<Infallible>,
}

impl KeepAlive {
    pub(super) fn run(self) {
        if self.run_until_cancelled() {
            self.write_half.close(Some(NORMAL_CLOSE));
            // The server's close frame ends the reader.
            let _ = self.reader_done.recv_timeout(CLOSE_GRACE);
        }
    }

    /// Returns true if the tail was cancelled, false if the connection has ended.
    fn run_until_cancelled(&self) -> bool {
        let mut next_text = Instant::now();
        let mut next_pong = after(self.intervals.pong);
        loop {
            let now = Instant::now();
            if now >= next_text {
                self.write_half.send_keep_alive();
                next_text = after(self.intervals.text);
            }
            if now >= next_pong {
                self.write_half.send_pong_if_needed();
                next_pong = after(self.intervals.pong);
            }
            select! {
                recv(self.cancel.signal()) -> _ => return true,
                recv(self.reader_done) -> _ => return false,
                default(next_text.min(next_pong).saturating_duration_since(now)) => {}
            }
        }
    }
}

impl Drop for KeepAlive {
    /// Shuts the connection down however the thread ends, and even if it never starts. Nothing else would.
    fn drop(&mut self) {
        self.write_half.shutdown();
    }
}
