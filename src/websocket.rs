//! The websocket: frames, keep-alive and close (RFC 6455). Bytes only, it knows no protobuf.
//!
//! Two threads use it: one owns the [`WebSocket`], and reads; the other has its [`Line`], and writes. tungstenite makes
//! what is written.

pub(crate) mod handshake;
pub(crate) mod inbox;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::PollFlags;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error as WsError, Message};

use crate::debug::hide;
use crate::dial::stream::{Stream, wait};
use crate::ending::Ending;
use crate::frames::{Frames, Progress};
pub(crate) use handshake::Request;
use inbox::{Inbox, LARGE, SMALL, Step};

/// The text that a legacy client sends to keep its connection.
const KEEP_ALIVE: &str = "I'm alive!";

/// What may wait to be written: pongs and keep-alives to a server that does not read them.
const WRITE_BUFFER: usize = 64 * 1024;

/// When so much has come at once, there is more to come.
const FLOW: usize = 32 * 1024;

/// A connected websocket, to be read.
pub(crate) struct WebSocket {
    inbox: Inbox,
    line: Arc<Line>,
    /// The server's last words may repeat it.
    token: String,
}

impl WebSocket {
    fn new(stream: Stream, rest: Vec<u8>, max_message_size: usize, token: &str) -> Self {
        let (inbox, line) = (Inbox::new(rest, max_message_size), Arc::new(Line::new(stream)));
        WebSocket { inbox, line, token: token.to_owned() }
    }

    /// What another thread needs to keep the connection alive, and to close it.
    pub(crate) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Reads what has come, without waiting for any, and answers pings.
    pub(crate) fn receive(&mut self) -> Progress {
        let (mut received, mut is_drained, mut has_yielded) = (0, false, false);
        let mut ping = None;
        let progress = loop {
            match self.inbox.step() {
                // A server that is faster than we are must not keep us from all else.
                Step::Read if received > LARGE - SMALL => break Progress::More,
                Step::Read if is_drained && (received < FLOW || has_yielded) => break Progress::Idle,
                Step::Read => {
                    if is_drained {
                        // What comes now need not wake us, and what we hand over then wakes the caller once.
                        thread::yield_now();
                        has_yielded = true;
                    }
                    let room = self.inbox.room();
                    match self.line.read(room) {
                        Ok(0) => break Progress::Ended(Ending::Eof),
                        Ok(length) => {
                            // Of TLS the rest of a record can wait behind what was read.
                            is_drained = length < room.len() && !self.line.is_tls;
                            received += length;
                            self.inbox.fill(length);
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => is_drained = true,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => break Progress::Ended(Ending::of_read(&error)),
                    }
                }
                Step::Full => break Progress::More,
                Step::Ping(payload) => ping = Some(payload),
                Step::Close { code, reason } => {
                    self.line.close(code);
                    break Progress::Ended(Ending::ClosedByServer { code, reason: hide(&reason, &self.token) });
                }
                Step::Fail(ending) => break Progress::Ended(ending),
            }
        };
        // One pong answers all pings before it (RFC 6455, section 5.5.3).
        if let Some(payload) = ping {
            self.line.send(Message::Pong(payload.into()));
        }
        progress
    }

    /// Takes the messages that have been received, if there are any, for memory to receive others in.
    pub(crate) fn take(&mut self, spare: impl FnOnce() -> Frames) -> Option<Frames> {
        self.inbox.take(spare)
    }

    /// Waits until there is something to [`receive`](WebSocket::receive), or the deadline has come (`TimedOut`).
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.inbox.rest();
        self.line.wait(deadline)
    }
}

/// What a websocket is written to, and read from. Nothing blocks under its lock.
pub(crate) struct Line {
    // A fair lock: a reader under load must not keep the other thread out.
    ends: Mutex<Ends>,
    socket: Arc<TcpStream>,
    is_tls: bool,
    /// Something waits for room in the socket's buffer.
    unflushed: AtomicBool,
    /// We have ended the connection ourselves.
    is_shut_down: AtomicBool,
}

struct Ends {
    stream: Stream,
    /// Masks, and keeps what there is no room for. It reads nothing.
    outbox: WebSocketContext,
}

impl Line {
    fn new(stream: Stream) -> Self {
        let config =
            WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0).max_write_buffer_size(WRITE_BUFFER);
        let (socket, is_tls) = (Arc::clone(stream.socket()), stream.is_tls());
        let ends = Mutex::new(Ends { stream, outbox: WebSocketContext::new(Role::Client, Some(config)) });
        let (unflushed, is_shut_down) = Default::default();
        Line { ends, socket, is_tls, unflushed, is_shut_down }
    }

    fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        let Ends { stream, outbox } = &mut *self.ends.lock();
        if self.is_shut_down.load(Ordering::Relaxed) {
            return Ok(0);
        }
        if self.unflushed.load(Ordering::Relaxed) {
            self.flush(stream, outbox);
        }
        stream.read(room)
    }

    fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        let unflushed = self.unflushed.load(Ordering::Relaxed);
        wait(&self.socket, if unflushed { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }, deadline)
    }

    pub(crate) fn send_keep_alive(&self) {
        self.send(Message::text(KEEP_ALIVE));
    }

    /// A pong that no ping asked for: it tells a server that we are there while its pings lie unread.
    pub(crate) fn send_pong(&self) {
        self.send(Message::Pong(Default::default()));
    }

    /// Sends a close frame, or answers the server's with the same code, unless one has been sent before.
    pub(crate) fn close(&self, code: Option<u16>) {
        let code = code.map(CloseCode::from);
        // A code that must not be sent is not sent back.
        let code = code.map(|code| if code.is_allowed() { code } else { CloseCode::Protocol });
        self.send(Message::Close(code.map(|code| CloseFrame { code, reason: Default::default() })));
    }

    fn send(&self, message: Message) {
        let Ends { stream, outbox } = &mut *self.ends.lock();
        // A failure is the reader's to find: until it has read what came before, the connection is of use.
        let _ = outbox.write(stream, message);
        self.flush(stream, outbox);
    }

    fn flush(&self, stream: &mut Stream, outbox: &mut WebSocketContext) {
        let blocked =
            matches!(outbox.flush(stream), Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock);
        self.unflushed.store(blocked, Ordering::Relaxed);
    }

    /// Ends the connection at once, and wakes who waits for it.
    ///
    /// What has come by then stays unread. The system makes a reset of that when the socket is closed, for a server
    /// that does nothing but send. Of room that is made later it would not be told, and wait for a minute.
    pub(crate) fn shutdown(&self) {
        let _nobody_reads = self.ends.lock();
        self.is_shut_down.store(true, Ordering::Relaxed);
        // An error means that it has ended already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// The code of a close that nothing is wrong with (RFC 6455, section 7.4.1).
pub(crate) const NORMAL_CLOSE: u16 = 1000;

/// How long a server has to answer our close frame.
pub(crate) const CLOSE_GRACE: Duration = Duration::from_millis(100);
