//! [`WebSocket`]: a connected websocket (RFC 6455). Bytes only: it knows no protobuf.
//!
//! Two threads use it. One owns the [`WebSocket`] and reads. The other has the [`WriteHalf`], sends keep-alives and
//! closes.
//!
//! Nothing that logs runs under their lock, because a logger is the caller's code. So tungstenite encodes only single
//! frames, before the lock is taken.

pub(crate) mod handshake;
pub(crate) mod frame_reader;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use parking_lot::Mutex;
use rustix::event::PollFlags;
use tungstenite::handshake::client::generate_key;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use crate::ending::Ending;
use crate::net::dial::stream::{Stream, TlsFailure, wait};
use crate::secrets::hide;
use crate::wire::frames::{Frames, Progress};
use frame_reader::{FrameReader, LARGE, Parsed, SMALL};
pub(crate) use handshake::Request;

/// The keep-alive text of the legacy clients.
const KEEP_ALIVE: &str = "I'm alive!";

/// How many bytes of pongs and keep-alives may wait for a server that does not read. Further ones are dropped.
const WRITE_BUFFER: usize = 64 * 1024;

/// When this many bytes arrived at once, more are on the way.
const FLOW: usize = 32 * 1024;

/// The reading side of a connected websocket.
pub(crate) struct WebSocket {
    reader: FrameReader,
    write_half: Arc<WriteHalf>,
    /// Hidden in the reason of a close frame, which may repeat it.
    token: String,
}

impl WebSocket {
    fn new(stream: Stream, rest: Vec<u8>, max_message_size: usize, token: &str) -> Self {
        let (reader, write_half) = (FrameReader::new(rest, max_message_size), Arc::new(WriteHalf::new(stream)));
        WebSocket { reader, write_half, token: token.to_owned() }
    }

    /// What a second thread needs to keep the connection alive and to close it.
    pub(crate) fn write_half(&self) -> &Arc<WriteHalf> {
        &self.write_half
    }

    /// Reads what has arrived, without waiting, and answers pings.
    pub(crate) fn receive(&mut self) -> Progress {
        let (mut received, mut is_drained, mut has_yielded) = (0, false, false);
        let mut ping = None;
        let progress = loop {
            match self.reader.parse() {
                // The caller must be able to send a batch even if the server is faster than we are.
                Parsed::NeedMore if received > LARGE - SMALL => break Progress::More,
                Parsed::NeedMore if is_drained && (received < FLOW || has_yielded) => break Progress::Idle,
                Parsed::NeedMore => {
                    if is_drained {
                        // Bytes that arrive during the yield need no wake-up, and the batch wakes the caller only
                        // once.
                        thread::yield_now();
                        has_yielded = true;
                    }
                    let buffer = self.reader.read_buffer();
                    match self.write_half.read(buffer) {
                        Ok(0) => break Progress::Ended(Ending::Eof),
                        Ok(length) => {
                            // With TLS, the rest of a record may already be decrypted while the socket is quiet.
                            is_drained = length < buffer.len() && !self.write_half.is_tls;
                            received += length;
                            self.reader.advance(length);
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => is_drained = true,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) if TlsFailure::is(&error) => break Progress::TlsFailed(Ending::of_read(&error)),
                        Err(error) => break Progress::Ended(Ending::of_read(&error)),
                    }
                }
                Parsed::BatchFull => break Progress::More,
                Parsed::Ping(payload) => ping = Some(payload),
                Parsed::Close { code, reason } => {
                    self.write_half.close(code);
                    break Progress::Ended(Ending::ClosedByServer { code, reason: hide(&reason, &self.token) });
                }
                Parsed::Failed(ending) => break Progress::Ended(ending),
            }
        };
        // One pong answers all pings before it (RFC 6455, section 5.5.3).
        if let Some(payload) = ping {
            self.write_half.send(Frame::pong(payload));
        }
        progress
    }

    /// Takes the received messages, if there are any. `spare` returns memory to read further frames into.
    pub(crate) fn take(&mut self, spare: impl FnOnce() -> Frames) -> Option<Frames> {
        self.reader.take(spare)
    }

    /// Waits until there is something to [`receive`](WebSocket::receive). `TimedOut` at the deadline.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.write_half.wait(deadline)
    }

    /// Frees the buffer if nothing is in it.
    pub(crate) fn shrink(&mut self) {
        self.reader.shrink();
    }
}

/// The write half of a websocket, shared by two threads.
///
/// The reader reads through it, too, because a TLS stream cannot be split. The socket is non-blocking, so nothing
/// blocks under the lock.
pub(crate) struct WriteHalf {
    // parking_lot's lock is fair: a reader under load must not lock the other thread out.
    locked: Mutex<Locked>,
    socket: Arc<TcpStream>,
    is_tls: bool,
    /// Encoded frames wait for room in the socket's buffer.
    unflushed: AtomicBool,
    /// `shutdown` was called.
    is_shut_down: AtomicBool,
}

struct Locked {
    stream: Stream,
    /// Encoded frames that the socket had no room for.
    queue: Vec<u8>,
    /// A close frame is the last that is sent (RFC 6455, section 5.5.1).
    close_sent: bool,
}

impl WriteHalf {
    fn new(stream: Stream) -> Self {
        let (socket, is_tls) = (Arc::clone(stream.socket()), stream.is_tls());
        let locked = Mutex::new(Locked { stream, queue: Vec::new(), close_sent: false });
        let (unflushed, is_shut_down) = Default::default();
        WriteHalf { locked, socket, is_tls, unflushed, is_shut_down }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut locked = self.locked.lock();
        if self.is_shut_down.load(Ordering::Relaxed) {
            return Ok(0);
        }
        if self.unflushed.load(Ordering::Relaxed) {
            self.flush(&mut locked);
        }
        locked.stream.read(buffer)
    }

    fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        let unflushed = self.unflushed.load(Ordering::Relaxed);
        let ready = if unflushed { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        wait(&self.socket, ready, deadline)
    }

    pub(crate) fn send_keep_alive(&self) {
        self.send(Frame::message(KEEP_ALIVE, OpCode::Data(Data::Text), true));
    }

    /// Sends an unsolicited pong.
    pub(crate) fn send_pong(&self) {
        self.send(Frame::pong(""));
    }

    /// Sends a close frame, or answers the server's with the same code. Does nothing if one was sent before.
    pub(crate) fn close(&self, code: Option<u16>) {
        let code = code.map(CloseCode::from);
        // A server may send a code that no endpoint is allowed to send. It is not echoed.
        let code = code.map(|code| if code.is_allowed() { code } else { CloseCode::Protocol });
        let code = code.map(|code| CloseFrame { code, reason: Default::default() });
        let frame = encode(Frame::close(code));
        let mut locked = self.locked.lock();
        if !locked.close_sent {
            locked.close_sent = true;
            // However full the queue is: a close frame is short, and there is only one.
            locked.queue.extend_from_slice(&frame);
        }
        self.flush(&mut locked);
    }

    fn send(&self, frame: Frame) {
        let frame = encode(frame);
        let mut locked = self.locked.lock();
        if !locked.close_sent && locked.queue.len() + frame.len() <= WRITE_BUFFER {
            locked.queue.extend_from_slice(&frame);
        }
        self.flush(&mut locked);
    }

    /// Writes what is queued, as far as the socket has room for it.
    fn flush(&self, locked: &mut Locked) {
        let Locked { stream, queue, .. } = locked;
        let mut written = 0;
        let flushed = loop {
            if written == queue.len() {
                break stream.flush();
            }
            match stream.write(&queue[written..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        queue.drain(..written);
        let is_blocked = flushed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if flushed.is_err() && !is_blocked {
            // The reader will see the failure. It must first be able to read what the server sent before.
            queue.clear();
        }
        if queue.is_empty() {
            // An idle tail keeps no memory for it.
            *queue = Vec::new();
        }
        self.unflushed.store(is_blocked, Ordering::Relaxed);
    }

    /// Shuts the connection down at once, and wakes the thread that waits for it.
    ///
    /// Bytes that have already arrived stay unread, so that the system sends a reset when the socket is closed. Without
    /// one, a server that only sends would take a minute to notice.
    pub(crate) fn shutdown(&self) {
        // Locked, so that the other thread cannot read in between.
        let _locked = self.locked.lock();
        self.is_shut_down.store(true, Ordering::Relaxed);
        // An error means that the connection has already ended.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Encodes a frame, and masks it with random bytes, as a client must (RFC 6455, section 5.3).
fn encode(mut frame: Frame) -> Vec<u8> {
    // tungstenite's own generator of masks is private. A key is 16 random bytes.
    let random = BASE64_STANDARD.decode(generate_key()).expect("a key is Base64");
    frame.header_mut().mask = Some(*random.first_chunk().expect("a key is longer than a mask"));
    let mut encoded = Vec::with_capacity(frame.len());
    frame.format(&mut encoded).expect("writing to memory does not fail");
    encoded
}

/// The code of a normal close (RFC 6455, section 7.4.1).
pub(crate) const NORMAL_CLOSE: u16 = 1000;

/// How long the server has to answer our close frame.
pub(crate) const CLOSE_GRACE: Duration = Duration::from_millis(100);
