//! [`WebSocketSource`]: a tail over a websocket, from a legacy server or from Doppler.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ending::Ending;
use crate::error::{Error, ErrorKind};
use crate::net::websocket::{WebSocket, WriteHalf};
use crate::server::source::LiveSource;
use crate::wire::format::Format;
use crate::wire::frames::{Frames, Progress};

pub(crate) struct WebSocketSource {
    pub(crate) websocket: WebSocket,
    pub(crate) format: Format,
    pub(crate) default_idle_timeout: Option<Duration>,
}

impl LiveSource for WebSocketSource {
    fn receive(&mut self) -> Progress {
        self.websocket.receive()
    }

    fn take(&mut self, recycled: &mut dyn FnMut() -> Frames) -> Option<Frames> {
        self.websocket.take(recycled)
    }

    fn format(&self) -> Format {
        self.format
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.websocket.wait(deadline)
    }

    fn default_idle_timeout(&self) -> Option<Duration> {
        self.default_idle_timeout
    }

    fn end_error(&self, ending: &Ending) -> Option<Error> {
        match ending {
            Ending::Eof => Some(eof_error()),
            ending => ending.error(),
        }
    }

    fn write_half(&self) -> Option<&Arc<WriteHalf>> {
        Some(self.websocket.write_half())
    }
}

/// The error of a websocket that ended without a close frame.
pub(crate) fn eof_error() -> Error {
    let text = "the connection ended without a close frame; messages may be missing";
    Error::new(ErrorKind::ConnectionLost, text)
}
