//! [`KeepAlive`]: the second thread of a tail over a websocket. [`Pongs`]: what the first one sends while it does not read.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, never, select};

use crate::net::cancel::Cancel;
use crate::net::deadline::after;
use crate::net::websocket::{CLOSE_GRACE, NORMAL_CLOSE, WriteHalf};

/// Sends keep-alive texts, and closes the connection when the tail is cancelled.
pub(super) struct KeepAlive {
    pub(super) write_half: Arc<WriteHalf>,
    pub(super) every: Duration,
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
        loop {
            self.write_half.send_keep_alive();
            select! {
                recv(self.cancel.signal()) -> _ => return true,
                recv(self.reader_done) -> _ => return false,
                default(self.every) => {}
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

/// The unsolicited pongs of a connection. They show a server that this client is alive, while its pings wait to be read.
pub(super) struct Pongs {
    /// `None`: the connection has no pings.
    write_half: Option<Arc<WriteHalf>>,
    every: Duration,
    next: Instant,
}

impl Pongs {
    pub(super) fn new(write_half: Option<&Arc<WriteHalf>>, every: Duration) -> Self {
        Pongs { write_half: write_half.map(Arc::clone), every, next: Instant::now() }
    }

    /// Returns what becomes ready when the next one is due, also if that was while the connection was read.
    pub(super) fn due(&self) -> Receiver<Instant> {
        if self.write_half.is_some() { at(self.next) } else { never() }
    }

    pub(super) fn send(&mut self) {
        if let Some(write_half) = &self.write_half {
            write_half.send_pong();
        }
        self.next = after(self.every);
    }
}
