//! [`Dump`]: recent messages as the frames of a websocket that the server closes after the last, from legacy servers of
//! April 2014 (`/dump/`).

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use crate::ending::Ending;
use crate::error::{Error, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::deadline::ReadTimeouts;
use crate::net::websocket::WebSocket;
use crate::server::call::Call;
use crate::server::source::{RecentSource, recent_timeout_error};
use crate::wire::format::Format;
use crate::wire::frames::{Frames, Progress};

pub(crate) struct Dump {
    websocket: WebSocket,
    timeouts: ReadTimeouts,
    cancel: Arc<Cancel>,
    frames: Frames,
    next: usize,
    /// How the connection ended: `None` within is a normal close.
    end: Option<Option<Error>>,
}

impl Dump {
    pub(crate) fn new(call: &Call<'_>, websocket: WebSocket) -> Self {
        let (timeouts, cancel) = (call.timeouts, Arc::clone(call.cancel()));
        Dump { websocket, timeouts, cancel, frames: Frames::default(), next: 0, end: None }
    }

    /// Returns the next frame, or `None` after the server has closed the connection normally.
    fn next_frame(&mut self) -> Result<Option<&[u8]>> {
        // Starts now: the time that the caller spent between two calls does not count as silence of the server.
        let idle_deadline = self.timeouts.idle_deadline();
        while self.frames.get(self.next).is_none() {
            if let Some(end) = &self.end {
                return match end.clone() {
                    None => Ok(None),
                    Some(_) if self.cancel.is_cancelled() => Err(Error::closed()),
                    Some(error) => Err(error),
                };
            }
            if self.timeouts.is_expired() {
                return Err(recent_timeout_error());
            }
            // Pings are not messages: a server that sends only pings counts as silent.
            if Instant::now() >= idle_deadline {
                self.end = Some(Ending::TimedOut.error());
                continue;
            }
            let progress = self.websocket.receive();
            let read = mem::take(&mut self.frames);
            if let Some(frames) = self.websocket.take(|| read) {
                (self.frames, self.next) = (frames, 0);
            }
            match progress {
                Progress::More => {}
                Progress::Ended(ending) => self.end = Some(ending.error()),
                Progress::TlsFailed(ending) => self.end = Some(Some(ending.tls_error())),
                Progress::Failed(error) => return Err(error),
                Progress::Idle if !self.frames.is_empty() => {}
                Progress::Idle => {
                    if self.websocket.wait(Some(idle_deadline)).is_err() {
                        self.end = Some(Ending::TimedOut.error());
                    }
                }
            }
        }
        self.next += 1;
        Ok(self.frames.get(self.next - 1))
    }
}

impl RecentSource for Dump {
    fn read(&mut self, messages: &mut VecDeque<Result<LogMessage>>) -> Result<bool> {
        let frame = self.next_frame()?;
        if let Some(frame) = frame {
            Format::Legacy.decode(frame, messages);
        }
        Ok(frame.is_some())
    }
}
