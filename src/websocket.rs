//! The websocket: handshake, frames, keep-alive and close (RFC 6455). Bytes only, it knows no protobuf.
//!
//! tungstenite does the frames. The handshake is our own: tungstenite's takes a head that dribbles in for an attack,
//! and does not read the words of a server that refuses.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::PollFlags;
use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error as WsError, Message};

use crate::cancel::Cancel;
use crate::debug::{DebugPrinter, dump, hide};
use crate::dial::stream::{Stream, wait};
use crate::dial::{Dialer, io_error};
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::head::Head;

/// The text that a legacy client sends to keep its connection.
const KEEP_ALIVE: &str = "I'm alive!";

/// What one read of the socket takes, and so what an idle connection holds.
const READ_BUFFER: usize = 16 * 1024;

/// What may wait to be written: pongs and keep-alives to a server that does not read them.
const WRITE_BUFFER: usize = 64 * 1024;

/// What one [`receive`](WebSocket::receive) takes at the most: it holds the lock that the keep-alive waits for.
const MAX_FRAMES: usize = 1024;
const MAX_BYTES: usize = 64 * 1024;

/// How a connection is asked for.
pub(crate) struct Request<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) path: &'a str,
    /// As the `Authorization` header has it; empty for none.
    pub(crate) token: &'a str,
    pub(crate) max_message_size: usize,
    pub(crate) debug_printer: Option<&'a dyn DebugPrinter>,
}

impl Request<'_> {
    /// Dials the server and makes the handshake, all before `deadline`.
    pub(crate) fn connect(&self, dialer: &Dialer, deadline: Instant, cancel: &Cancel) -> Result<WebSocket> {
        let connected = dialer
            .dial(self.endpoint, deadline, cancel)
            .and_then(|mut stream| Ok((self.handshake(&mut stream, deadline)?, stream)))
            // Thrown as late as the answer arrived, the switch has shut the socket down.
            .and_then(|connected| cancel.check().map(|()| connected));
        let (rest, stream) = connected.map_err(|error| self.endpoint.explain(error, cancel))?;
        Ok(WebSocket::new(stream, rest, self.max_message_size))
    }

    /// Gives what the server sent behind its answer.
    fn handshake(&self, stream: &mut Stream, deadline: Instant) -> Result<Vec<u8>> {
        let key = generate_key();
        let first_line = format!("GET {} HTTP/1.1", self.endpoint.path(self.path));
        let mut headers = vec![
            ("Host", &*self.endpoint.authority),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", &*key),
            ("Sec-WebSocket-Version", "13"),
            ("Origin", "http://localhost"),
            ("User-Agent", crate::USER_AGENT),
        ];
        if !self.token.is_empty() {
            headers.push(("Authorization", self.token));
        }
        self.print("WEBSOCKET REQUEST:", || dump(&first_line, headers.iter().copied()));
        let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let what = format!("the websocket handshake at {}", self.path);
        stream
            .write_all_by(format!("{first_line}\r\n{head}\r\n").as_bytes(), deadline)
            .map_err(|cause| io_error(&what, cause))?;

        let mut answer = Head::read(stream, &what, deadline)?;
        self.print("WEBSOCKET RESPONSE:", || {
            dump(&format!("HTTP/1.1 {} {}", answer.status, answer.reason), answer.headers())
        });
        if answer.status != 101 {
            let words = answer.read_words(stream, deadline);
            return Err(Error::status_answer(answer.status, &answer.reason, what, words).hiding(self.token));
        }
        check_upgrade(&answer, &key)
            .map_err(|why| Error::new(ErrorKind::BadResponse, format!("{what}: the server's 101 {why}")))?;
        Ok(answer.rest)
    }

    fn print(&self, title: &str, dump: impl FnOnce() -> String) {
        if let Some(printer) = self.debug_printer {
            printer.print(title, &hide(&dump(), self.token));
        }
    }
}

/// What a client must check (RFC 6455, section 4.1).
fn check_upgrade(answer: &Head, key: &str) -> Result<(), &'static str> {
    let has_token = |name: &str, token: &str| {
        let mut values = answer.headers().filter(|header| header.0.eq_ignore_ascii_case(name));
        values.any(|header| header.1.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    };
    if !has_token("upgrade", "websocket") || !has_token("connection", "upgrade") {
        return Err("is no upgrade to websocket");
    }
    if answer.header("sec-websocket-accept").map(str::trim) != Some(&derive_accept_key(key.as_bytes())) {
        return Err("has a Sec-WebSocket-Accept that does not fit our key");
    }
    if answer.header("sec-websocket-extensions").is_some() || answer.header("sec-websocket-protocol").is_some() {
        return Err("chooses an extension or a protocol that was not offered");
    }
    Ok(())
}

/// A connected websocket, used by two threads: one reads, one keeps it alive. Nothing blocks under its lock.
pub(crate) struct WebSocket {
    // A fair lock: a reader under load must not keep the other thread out.
    inner: Mutex<tungstenite::WebSocket<Rationed>>,
    socket: Arc<TcpStream>,
    /// Something waits for room in the socket's buffer.
    unflushed: AtomicBool,
    /// We have ended the connection ourselves.
    is_shut_down: AtomicBool,
    max_message_size: usize,
}

/// A stream of which one [`receive`](WebSocket::receive) reads only so much: a message that comes in without end, and be
/// it in empty fragments, must not hold the lock for ever.
struct Rationed {
    stream: Stream,
    left: usize,
}

impl Read for Rationed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = buffer.len().min(self.left);
        let read = self.stream.read(&mut buffer[..most])?;
        self.left -= read;
        Ok(read)
    }
}

impl Write for Rationed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// How far one [`receive`](WebSocket::receive) got.
#[derive(Debug)]
pub(crate) enum Progress {
    /// There may be more at once.
    More,
    /// There is no more now.
    Idle,
    /// There will be no more.
    Ended(Ending),
}

/// How a connection ended.
///
/// ```
/// use loggregator_consumer::Ending;
///
/// let policy = Ending::ClosedByServer { code: Some(1008), reason: "Client did not respond to ping".into() };
/// assert!(!policy.is_clean());
/// assert_eq!(policy.to_string(), "the server closed the connection with 1008: Client did not respond to ping");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// It was closed from this side.
    Closed,
    /// The server sent a close frame.
    ///
    /// 1000, or no code, is a normal end; but some servers of 2015 also close with 1000 when they missed a pong.
    ClosedByServer {
        /// The close frame's code (RFC 6455, section 7.4), if it had one. For a code that no server may send, 1002
        /// stands here.
        code: Option<u16>,
        /// The server's words; mostly empty.
        reason: String,
    },
    /// The RLP gateway said that it ends the stream, which it does by default after 14 minutes.
    Closing {
        /// The gateway's words.
        reason: String,
    },
    /// The stream ended without a close frame: the server died, or dropped the connection.
    Eof,
    /// The connection was reset.
    Reset,
    /// Nothing came for as long as the [idle timeout](crate::Builder::idle_timeout) allows, or the network gave up.
    TimedOut,
    /// A message, or a frame of it, was larger than the [limit](crate::Builder::max_message_size), in bytes.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The server broke the protocol, or the network failed, in the way that the text says.
    Failed(String),
}

impl Ending {
    /// Whether nothing went wrong: closed from this side, or by a server that said no more than that it was done.
    pub fn is_clean(&self) -> bool {
        matches!(self, Ending::Closed | Ending::ClosedByServer { code: None | Some(1000), .. })
    }

    /// The error that tells a caller of an end that is not clean.
    pub(crate) fn error(&self) -> Option<Error> {
        let kind = match self {
            _ if self.is_clean() => return None,
            Ending::ClosedByServer { .. } | Ending::Closing { .. } => ErrorKind::ClosedByServer,
            Ending::Closed | Ending::Eof | Ending::Reset => ErrorKind::ConnectionLost,
            Ending::TimedOut => ErrorKind::Timeout,
            Ending::TooLarge { .. } => ErrorKind::TooLarge,
            Ending::Failed(_) => ErrorKind::BadResponse,
        };
        Some(Error::new(kind, self.to_string()))
    }

    fn from_error(error: WsError, limit: usize) -> Self {
        match error {
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ending::Eof,
            WsError::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                    Ending::Reset
                }
                io::ErrorKind::UnexpectedEof => Ending::Eof,
                io::ErrorKind::TimedOut => Ending::TimedOut,
                _ => Ending::Failed(format!("the connection failed: {error}")),
            },
            WsError::Capacity(CapacityError::MessageTooLong { .. }) => Ending::TooLarge { limit },
            error => Ending::Failed(format!("the server broke the websocket protocol: {error}")),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Closed => f.write_str("the connection was closed from this side"),
            Ending::ClosedByServer { code, reason } => {
                f.write_str("the server closed the connection")?;
                if let Some(code) = code {
                    write!(f, " with {code}")?;
                }
                if !reason.is_empty() {
                    write!(f, ": {reason}")?;
                }
                Ok(())
            }
            Ending::Closing { reason } => write!(f, "the server ended the stream: {reason}"),
            Ending::Eof => f.write_str("the connection ended without a close frame; messages may be missing"),
            Ending::Reset => f.write_str("the connection was reset; messages may be missing"),
            Ending::TimedOut => f.write_str("nothing came from the server for too long; messages may be missing"),
            Ending::TooLarge { limit } => {
                write!(f, "a message is larger than {limit} bytes: see Builder::max_message_size")
            }
            Ending::Failed(text) => f.write_str(text),
        }
    }
}

/// The payloads of frames, one behind the other in one piece of memory: what a reader hands over at a time.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Frames {
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn is_full(&self) -> bool {
        self.ends.len() >= MAX_FRAMES || self.bytes.len() >= MAX_BYTES
    }

    pub(crate) fn push(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn get(&self, n: usize) -> Option<&[u8]> {
        let end = *self.ends.get(n)?;
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        Some(&self.bytes[start..end])
    }

    /// Gives away what is there, and makes room for as much again.
    pub(crate) fn take(&mut self) -> Self {
        let room = Frames {
            bytes: Vec::with_capacity(self.bytes.len().min(MAX_BYTES)),
            ends: Vec::with_capacity(self.ends.len()),
        };
        std::mem::replace(self, room)
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

impl WebSocket {
    fn new(stream: Stream, rest: Vec<u8>, max_message_size: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(max_message_size))
            .max_frame_size(Some(max_message_size));
        let socket = Arc::clone(stream.socket());
        let stream = Rationed { stream, left: 0 };
        let inner = tungstenite::WebSocket::from_partially_read(stream, rest, Role::Client, Some(config));
        let (unflushed, is_shut_down) = Default::default();
        WebSocket { inner: Mutex::new(inner), socket, unflushed, is_shut_down, max_message_size }
    }

    /// Adds the frames that have come to `frames`, without waiting for any, and answers pings.
    pub(crate) fn receive(&self, frames: &mut Frames) -> Progress {
        let mut websocket = self.inner.lock();
        if self.is_shut_down.load(Ordering::Relaxed) {
            return Progress::Ended(Ending::Eof);
        }
        websocket.get_mut().left = MAX_BYTES;
        // Counted, so that a flood of control frames, which fill nothing, does not hold the lock for ever.
        for _ in 0..MAX_FRAMES {
            match websocket.read() {
                Ok(Message::Binary(payload)) => frames.push(&payload),
                Ok(Message::Text(payload)) => frames.push(payload.as_bytes()),
                // The pong is queued, and must not wait until there is room in `frames` again.
                Ok(Message::Ping(_)) => self.flush(&mut websocket),
                Ok(Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Close(frame)) => {
                    self.flush(&mut websocket);
                    return Progress::Ended(Ending::ClosedByServer {
                        code: frame.as_ref().map(|frame| frame.code.into()),
                        reason: frame.map(|frame| frame.reason.to_string()).unwrap_or_default(),
                    });
                }
                Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.flush(&mut websocket);
                    return if websocket.get_ref().left == 0 { Progress::More } else { Progress::Idle };
                }
                Err(WsError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Progress::Ended(Ending::from_error(error, self.max_message_size)),
            }
            if frames.is_full() {
                break;
            }
        }
        Progress::More
    }

    /// Waits until there is something to [`receive`](WebSocket::receive), or the deadline has come (`TimedOut`).
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
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

    fn send(&self, message: Message) {
        let mut websocket = self.inner.lock();
        // A failure is the reader's to find: until it has read what came before, the connection is of use.
        let _ = websocket.write(message);
        self.flush(&mut websocket);
    }

    fn flush(&self, websocket: &mut tungstenite::WebSocket<Rationed>) {
        let blocked = matches!(websocket.flush(), Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock);
        self.unflushed.store(blocked, Ordering::Relaxed);
    }

    /// Sends a close frame, once. The server's answer ends what is to be received.
    pub(crate) fn close(&self) {
        let normal = tungstenite::protocol::CloseFrame {
            code: tungstenite::protocol::frame::coding::CloseCode::Normal,
            reason: Default::default(),
        };
        let mut websocket = self.inner.lock();
        let _ = websocket.close(Some(normal));
        self.flush(&mut websocket);
    }

    /// Ends the connection at once, and wakes who waits for it.
    ///
    /// What has come by then stays unread. The system makes a reset of that when the socket is closed, for a server
    /// that does nothing but send. Of room that is made later it would not be told, and wait for a minute.
    pub(crate) fn shutdown(&self) {
        let _nobody_reads = self.inner.lock();
        self.is_shut_down.store(true, Ordering::Relaxed);
        // An error means that it has ended already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// How long a server has to answer our close frame.
pub(crate) const CLOSE_GRACE: Duration = Duration::from_millis(100);
