//! A Cloud Foundry to test against, in this process (feature `testing`): as much of it as has to do with logs.
//!
//! A [`TrafficController`] is a server on a free port of 127.0.0.1. By default it is the legacy Loggregator server of
//! 2015; by its [`Generation`] it is another one, or a foundation of today: an API that tells where the logs are, a UAA
//! that gives tokens, Doppler's streams, Log Cache and the RLP gateway, all at one address. It answers as the real ones
//! do, byte for byte where it matters, and it can be told to [fail](Fault): to refuse, to stall, to break off at any
//! byte, to drip. What clients sent is [recorded](TrafficController::received).
//!
//! ```
//! use loggregator_consumer::testing::TrafficController;
//! use loggregator_consumer::{Consumer, LogMessage, Proxy};
//!
//! let server = TrafficController::start()?;
//! let consumer = Consumer::builder(&server.endpoint()).proxy(Proxy::none()).build()?;
//! let mut tail = consumer.tail("my-app", "bearer token")?;
//! server.send(LogMessage::new("my-app", "hello"));
//! assert_eq!(tail.next().unwrap()?.message, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The same on a foundation of today, where an app's id must be a GUID:
//!
//! ```
//! use loggregator_consumer::testing::{Generation, TrafficController};
//! use loggregator_consumer::{Builder, LogMessage, Proxy};
//!
//! const APP: &str = "11111111-1111-1111-1111-111111111111";
//!
//! let server = TrafficController::of(Generation::Today)?;
//! let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
//! let mut tail = consumer.tail(APP, &server.issue_token())?; // over Doppler
//! server.send(LogMessage::new(APP, "hello"));
//! assert_eq!(tail.next().unwrap()?.message, b"hello");
//! assert_eq!(consumer.recent(APP, &server.issue_token())?[0].message, b"hello"); // from Log Cache
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Any client will do, even a bare socket:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use loggregator_consumer::LogMessage;
//! use loggregator_consumer::testing::TrafficController;
//!
//! let server = TrafficController::builder().token("bearer secret").start()?;
//! server.add_recent("my-app", [LogMessage::new("my-app", "hello")]);
//!
//! let mut client = TcpStream::connect(server.address())?;
//! client.write_all(b"GET /recent?app=my-app HTTP/1.1\r\nHost: x\r\nAuthorization: bearer secret\r\n\r\n")?;
//! let mut answer = Vec::new();
//! client.read_to_end(&mut answer)?;
//! assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-protobuf; boundary="));
//! assert_eq!(server.requests()[0].header("authorization"), Some("bearer secret"));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! How the parts hang together: one thread accepts; each connection has a thread of its own, which waits in `poll` for
//! its non-blocking socket and for being woken. The [`Builder`] says how the server behaves for all its life, a
//! [`Fault`] what goes wrong with one connection, and the [`TrafficController`]'s methods send, break and look, at any
//! time and from any thread.
//!
//! It is made for tests: it keeps a record of every request and frame for as long as it lives, and its TLS key is
//! public.

mod access;
mod api;
mod batch;
mod config;
mod connection;
mod doppler;
mod foundation;
mod frames;
mod gateway;
mod http;
mod legacy;
mod log_cache;
mod logged;
mod multipart;
mod outbox;
mod random;
mod record;
mod routes;
mod shared;
mod stream;
mod tail;
mod tls;
mod uaa;
mod wake;

pub use config::builder::Builder;
pub use config::fault::Fault;
pub use config::generation::Generation;
pub use config::settings::{BodyFraming, EqualTimes};
pub use record::{Ending, Frame, Received, ReceivedFrame, Request, RequestKind};
pub use tls::certificate_pem;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use native_tls::TlsConnector;
use parking_lot::Mutex;

use crate::message::LogMessage;
use config::settings::Settings;
use logged::{Logged, Wire};
use outbox::{Last, Outbox};
use shared::Shared;
use wake::Waker;

/// A Loggregator server, or a whole foundation's, in this process. See the [module](self) for the whole picture.
///
/// It stops when it is dropped: then every connection ends without a word, and all its threads are joined.
pub struct TrafficController {
    shared: Arc<Shared>,
    address: SocketAddr,
    accept_waker: Arc<Waker>,
    accept_thread: Mutex<Option<JoinHandle<()>>>,
}

impl TrafficController {
    /// Starts a server of 2015, which accepts any token, on a free port of 127.0.0.1.
    ///
    /// ```
    /// use loggregator_consumer::testing::TrafficController;
    ///
    /// let server = TrafficController::start()?;
    /// assert_eq!(server.endpoint(), format!("ws://{}", server.address()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the system gives no socket or thread.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Starts a server of this generation, with all other settings as they are by default.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// assert_eq!(server.api(), format!("http://{}", server.address()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`start`](TrafficController::start).
    pub fn of(generation: Generation) -> io::Result<Self> {
        Self::builder().generation(generation).start()
    }

    /// Settings for another server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn with_settings(settings: Settings) -> io::Result<Self> {
        let acceptor = if settings.tls { Some(tls::acceptor()?) } else { None };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(settings, address));
        let accept_waker = Arc::new(Waker::new()?);
        let accept_thread = thread::Builder::new().name("traffic controller".into()).spawn({
            let (shared, waker) = (Arc::clone(&shared), Arc::clone(&accept_waker));
            move || connection::accept_all(listener, acceptor, &waker, &shared)
        })?;
        Ok(TrafficController { shared, address, accept_waker, accept_thread: Mutex::new(Some(accept_thread)) })
    }

    /// What to give to a client: `ws://127.0.0.1:<port>`, or `wss://` with [TLS](Builder::tls). The certificate holds
    /// for the address.
    pub fn endpoint(&self) -> String {
        self.shared.websocket_url()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connector that trusts the [built-in certificate](certificate_pem), and nothing else.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    /// use loggregator_consumer::testing::TrafficController;
    ///
    /// let server = TrafficController::builder().tls().start()?;
    /// let socket = TcpStream::connect(server.address())?;
    /// let mut client = server.tls_connector().connect("localhost", socket)?;
    /// client.write_all(b"GET /recent?app=a HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer)?;
    /// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When the system's TLS library refuses the certificate.
    pub fn tls_connector(&self) -> TlsConnector {
        tls::connector().expect("the built-in certificate is sound")
    }

    /// Adds messages to what is kept for an app: what `/recent`, `/dump/` and `/recentlogs` answer with, in this order,
    /// and Log Cache in the order of their times. They are not sent to tails. Only the [latest ones](Builder::retain)
    /// are kept.
    pub fn add_recent(&self, app: &str, messages: impl IntoIterator<Item = LogMessage>) {
        for message in messages {
            self.shared.keep(app, Arc::new(Logged::Message(message)));
        }
    }

    /// Logs a message: sends it to every open tail of its app, be it a websocket or a stream of the RLP gateway, keeps
    /// it as a [recent](TrafficController::add_recent) one, and says to how many tails it was sent.
    ///
    /// A tail is open from before its client can know it, so what is sent once a client is connected is not missed.
    ///
    /// When too many bytes [wait](Builder::backlog) for a tail whose client does not read, this waits for it: until
    /// the client reads, or the tail or the server ends. (The real servers drop messages instead.)
    pub fn send(&self, message: LogMessage) -> usize {
        self.log(&message.app_id.clone(), Logged::Message(message))
    }

    /// [`send`](TrafficController::send), with a payload that need not be a message: it is what a frame or a part
    /// holds, or, on the RLP gateway, the data of an event. Log Cache does without it.
    ///
    /// ```
    /// use loggregator_consumer::testing::TrafficController;
    ///
    /// let server = TrafficController::start()?;
    /// // Nobody tails the app, but `/recent` will have a part that is no protobuf.
    /// assert_eq!(server.send_raw("my-app", "garbage"), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_raw(&self, app: &str, payload: impl Into<Vec<u8>>) -> usize {
        self.log(app, Logged::Raw(payload.into()))
    }

    fn log(&self, app: &str, logged: Logged) -> usize {
        let logged = Arc::new(logged);
        let mut tails = self.shared.keep(app, Arc::clone(&logged));
        // It is encoded once for each kind of them.
        tails.sort_by_key(|tail| tail.wire);
        let kinds = tails.chunk_by(|one, other| one.wire == other.wire);
        kinds.map(|tails| push_to_each(tails, &logged.frame(tails[0].wire))).sum()
    }

    /// Sends bytes to every open tail of an app as they are, behind the frames sent before: for frames that no server
    /// sends, such as fragments, and for many frames with one call. On the RLP gateway they are events, or pieces of
    /// them. They are not kept. Says to how many tails they were sent, and waits as [`send`](TrafficController::send)
    /// does.
    ///
    /// The server's own pings and pongs may come behind the bytes of each call, so a call should send whole frames.
    pub fn send_bytes(&self, app: &str, bytes: &[u8]) -> usize {
        push_to_each(&self.tails(app), bytes)
    }

    /// Closes every open tail of an app, behind what was sent before: with a close frame of this code and reason, or
    /// with an empty one (the reason counts only with a code). A stream of the RLP gateway has no such frames: its
    /// answer just ends, as when what is behind the gateway dies. Says how many there were. They are open no longer
    /// when this returns, though what was sent may still be on its way.
    pub fn close_tails(&self, app: &str, code: Option<u16>, reason: &str) -> usize {
        self.end_tails(app, Last::Close, |out| frames::close(code, reason, out))
    }

    /// [Ends](TrafficController::close_tails) every open tail of an app without a close frame: TCP's FIN comes behind
    /// what was sent, without TLS's `close_notify`.
    pub fn drop_tails(&self, app: &str) -> usize {
        self.end_tails(app, Last::Drop, |_| {})
    }

    /// [Ends](TrafficController::close_tails) every open tail of an app with a reset: TCP's RST comes behind what was
    /// sent. What the client had not read by then may be lost.
    pub fn reset_tails(&self, app: &str) -> usize {
        self.end_tails(app, Last::Reset, |_| {})
    }

    fn end_tails(&self, app: &str, last: Last, write: impl Fn(&mut Vec<u8>)) -> usize {
        let tails = self.shared.update(|state| state.tails.remove(app)).unwrap_or_default();
        let write_frame = |tail: &Outbox, out: &mut Vec<u8>| {
            if tail.wire != Wire::Gateway {
                write(out)
            }
        };
        tails.iter().filter(|tail| tail.end(last, |out| write_frame(tail, out))).count()
    }

    fn tails(&self, app: &str) -> Vec<Arc<Outbox>> {
        self.shared.with(|state| state.tails.get(app).cloned()).unwrap_or_default()
    }

    /// How many tails of an app are open.
    pub fn open_tails(&self, app: &str) -> usize {
        self.tails(app).len()
    }

    /// Waits until exactly so many tails of an app are open, and says whether they are.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    /// use loggregator_consumer::testing::TrafficController;
    ///
    /// let server = TrafficController::start()?;
    /// let mut client = TcpStream::connect(server.address())?;
    /// client.write_all(
    ///     b"GET /tail/?app=my-app HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    ///       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    /// )?;
    /// assert!(server.wait_for_tails("my-app", 1, Duration::from_secs(5)));
    /// drop(client);
    /// assert!(server.wait_for_tails("my-app", 0, Duration::from_secs(5)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_for_tails(&self, app: &str, tails: usize, timeout: Duration) -> bool {
        self.shared.wait_for(timeout, |state| state.tails.get(app).map_or(0, Vec::len) == tails)
    }

    /// Every request so far, in the order in which they came. Requests that were cut off, and what was no HTTP, are not
    /// among them.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.with(|state| state.requests.clone())
    }

    /// Waits until there were so many [requests](TrafficController::requests) at least, and says whether there were.
    pub fn wait_for_requests(&self, requests: usize, timeout: Duration) -> bool {
        self.shared.wait_for(timeout, |state| state.requests.len() >= requests)
    }

    /// What clients sent on each websocket so far, in the order in which the websockets began; those that have ended
    /// are among them.
    pub fn received(&self) -> Vec<Received> {
        self.shared.with(|state| state.received.clone())
    }

    /// Waits until what was [received](TrafficController::received) is `enough`, and says whether it is. `enough` must
    /// not use the server.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use loggregator_consumer::testing::{Frame, TrafficController};
    ///
    /// # fn connect(server: &TrafficController) {}
    /// let server = TrafficController::start()?;
    /// connect(&server);
    /// // Two keep-alives have come.
    /// assert!(server.wait_for_received(Duration::from_secs(5), |received| {
    ///     let keep_alive = Frame::Text("I'm alive!".into());
    ///     received.iter().flat_map(|one| &one.frames).filter(|received| received.frame == keep_alive).count() >= 2
    /// }));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_for_received(&self, timeout: Duration, mut enough: impl FnMut(&[Received]) -> bool) -> bool {
        self.shared.wait_for(timeout, |state| enough(&state.received))
    }

    /// Makes things go wrong for the next connection that finds no earlier fault waiting: each call is for one
    /// connection. An empty list (`[]`) leaves a connection alone. See [`Fault`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use loggregator_consumer::testing::{Fault, TrafficController};
    ///
    /// let server = TrafficController::start()?;
    /// server.fault(Fault::SilentAccept); // the first connection
    /// server.fault([]); // the second
    /// server.fault([Fault::Drip { every: Duration::from_millis(1) }, Fault::DropAfter(100)]); // the third
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fault(&self, faults: impl Into<Vec<Fault>>) {
        let faults = faults.into();
        self.shared.with(|state| state.faults.push_back(faults));
    }

    /// Makes things go wrong for every connection for which no single [`fault`](TrafficController::fault) waits, from
    /// the next one on. An empty list (`[]`) ends it.
    pub fn always(&self, faults: impl Into<Vec<Fault>>) {
        let faults = faults.into();
        self.shared.with(|state| state.always = faults);
    }

    /// How many connections are open now.
    ///
    /// After an answer over HTTP, and after a close frame of the client, a connection counts until the client has
    /// closed its socket, too.
    pub fn connections(&self) -> usize {
        self.shared.with(|state| state.connections.len())
    }

    /// Waits until no [connection](TrafficController::connections) is open, and says whether none is: a test's last
    /// question, whether a socket was left behind.
    pub fn wait_until_idle(&self, timeout: Duration) -> bool {
        self.shared.wait_for(timeout, |state| state.connections.is_empty())
    }

    /// Stops the server: every connection ends without a word, and all its threads are joined. Whoever waits in
    /// [`send`](TrafficController::send) is let go. What was recorded can still be looked at. Dropping the server stops
    /// it, too.
    pub fn stop(&self) {
        // Held while the thread is joined, so that each call returns only when all have ended.
        let mut thread = self.accept_thread.lock();
        self.shared.stop();
        self.accept_waker.wake();
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

/// Gives the bytes to each tail, waiting for room, and counts those that took them.
fn push_to_each(tails: &[Arc<Outbox>], bytes: &[u8]) -> usize {
    tails.iter().filter(|outbox| outbox.push(|out| out.extend_from_slice(bytes))).count()
}

impl Builder {
    /// Starts the server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When the system gives no socket or thread, or its TLS library refuses the built-in certificate.
    pub fn start(self) -> io::Result<TrafficController> {
        TrafficController::with_settings(self.settings)
    }
}

impl Drop for TrafficController {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for TrafficController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrafficController")
            .field("endpoint", &self.endpoint())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn stopping_leaves_no_thread_behind() {
        const DEADLINE: Duration = Duration::from_secs(10);
        let server = TrafficController::builder().tls().start().unwrap();
        server.fault([]);
        server.fault(Fault::SilentAccept);
        // One is in the TLS handshake, one is never answered.
        let mut clients = [(); 2].map(|()| TcpStream::connect(server.address()).unwrap());
        clients[0].write_all(b"\x16\x03\x01").unwrap();
        assert!(server.shared.wait_for(DEADLINE, |state| state.connections.len() == 2));
        server.stop();
        // Every thread held on to this.
        assert_eq!(Arc::strong_count(&server.shared), 1);
    }
}
