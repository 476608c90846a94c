//! [`WebSocketSource`]: a tail over a websocket, from a legacy server or from Doppler.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::websocket::{WebSocket, WriteHalf};
use crate::server::source::LiveSource;
use crate::wire::format::Decoder;
use crate::wire::frames::{Frames, Progress};

pub(crate) struct WebSocketSource<T> {
    pub(crate) websocket: WebSocket,
    pub(crate) decoder: Decoder<T>,
    pub(crate) default_idle_timeout: Option<Duration>,
}

impl<T> LiveSource<T> for WebSocketSource<T> {
    fn receive(&mut self) -> Progress {
        self.websocket.receive()
    }

    fn take(&mut self, recycled: &mut dyn FnMut() -> Frames) -> Option<Frames> {
        self.websocket.take(recycled)
    }

    fn decoder(&self) -> Option<Decoder<T>> {
        Some(Arc::clone(&self.decoder))
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.websocket.wait(deadline)
    }

    fn default_idle_timeout(&self) -> Option<Duration> {
        self.default_idle_timeout
    }

    fn write_half(&self) -> Option<&Arc<WriteHalf>> {
        Some(self.websocket.write_half())
    }
}
