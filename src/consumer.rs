//! [`Consumer`] and [`Builder`]: a server, and how to speak to it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use native_tls::TlsConnector;
use parking_lot::Mutex;

use crate::cancel::Cancel;
use crate::deadline::{Patience, after};
use crate::debug::DebugPrinter;
use crate::dial::{Dialer, Proxy};
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{Error, ErrorKind, Result};
use crate::legacy;
use crate::message::LogMessage;
use crate::recent::Recent;
use crate::tail::{Settings, Tail};
use crate::websocket::Request;

const KEEP_ALIVE: Duration = Duration::from_secs(25);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const RECENT_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const MAX_MESSAGE_SIZE: usize = 16 << 20;
const MAX_RECENT_SIZE: usize = 256 << 20;

/// A loggregator server: [`tail`](Consumer::tail) an app's logs, or get its [`recent`](Consumer::recent) ones.
///
/// Making one connects to nothing; each call makes a connection of its own. A consumer can be cloned and shared
/// between threads: the clones are one consumer, whose [`close`](Consumer::close) closes what any of them has open.
///
/// ```no_run
/// use loggregator_consumer::{Consumer, sort_recent};
///
/// let consumer = Consumer::new("wss://loggregator.example.com:4443")?;
/// let (app, token) = ("app-guid", "bearer eyJ...");
/// let mut recent = consumer.recent(app, token)?;
/// sort_recent(&mut recent);
/// for message in recent {
///     println!("{message}");
/// }
/// for message in consumer.tail(app, token)? {
///     println!("{}", message?);
/// }
/// # Ok::<(), loggregator_consumer::Error>(())
/// ```
#[derive(Clone)]
pub struct Consumer {
    inner: Arc<Inner>,
}

/// What a consumer's clones share.
pub(crate) struct Inner {
    pub(crate) endpoint: Endpoint,
    pub(crate) dialer: Arc<Dialer>,
    on_connect: Option<Box<dyn Fn() + Send + Sync>>,
    pub(crate) max_message_size: usize,
    read_timeout: Duration,
    debug_printer: Option<Box<dyn DebugPrinter>>,
    keep_alive: Duration,
    connect_timeout: Duration,
    idle_timeout: Option<Duration>,
    recent_timeout: Duration,
    max_recent_size: usize,
    open: Arc<Open>,
}

impl Consumer {
    /// A consumer of the server at `endpoint`, such as `wss://loggregator.example.com:443`, with the defaults of
    /// [`builder`](Consumer::builder).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the endpoint is no `ws://` or `wss://` URL.
    pub fn new(endpoint: &str) -> Result<Consumer> {
        Consumer::builder(endpoint).build()
    }

    /// The same with settings of one's own.
    pub fn builder(endpoint: &str) -> Builder {
        Builder {
            endpoint: endpoint.to_owned(),
            tls_connector: None,
            proxy: None,
            on_connect: None,
            debug_printer: None,
            keep_alive: KEEP_ALIVE,
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: None,
            read_timeout: READ_TIMEOUT,
            recent_timeout: RECENT_TIMEOUT,
            max_message_size: MAX_MESSAGE_SIZE,
            max_recent_size: MAX_RECENT_SIZE,
        }
    }

    /// Connects to the stream of an app's messages.
    ///
    /// `auth_token` is what goes into the `Authorization` header, so it begins with `bearer `; `cf oauth-token`
    /// prints such a token. An empty one sends no such header.
    ///
    /// Blocks until the connection is there, for the [connect timeout](Builder::connect_timeout) at the most.
    /// [`close`](Consumer::close) interrupts it. Then two threads read the connection and keep it alive until the
    /// [`Tail`] is closed or dropped.
    ///
    /// # Errors
    ///
    /// [`Unauthorized`](ErrorKind::Unauthorized) if the server refuses the token, with its words;
    /// [`NotFound`](ErrorKind::NotFound) if it has no such path; [`Dial`](ErrorKind::Dial),
    /// [`Proxy`](ErrorKind::Proxy), [`Tls`](ErrorKind::Tls) or [`Timeout`](ErrorKind::Timeout) if it can't be
    /// reached; [`InvalidInput`](ErrorKind::InvalidInput) for an empty GUID, or a token that is no header value;
    /// [`Closed`](ErrorKind::Closed) if the consumer was closed meanwhile.
    pub fn tail(&self, app_guid: &str, auth_token: &str) -> Result<Tail> {
        check_token(auth_token)?;
        let (cancel, registration) = self.inner.open.register();
        let websocket = legacy::tail(&self.inner, app_guid, auth_token, &cancel)?;
        let settings = Settings { keep_alive: self.inner.keep_alive, idle_timeout: self.inner.idle_timeout };
        let tail = Tail::spawn(websocket, settings, Arc::clone(&cancel), registration)?;
        // Now that it can take its time, panic and close us: the connection is kept alive, and closed well.
        self.inner.connected();
        cancel.check().map(|()| tail)
    }

    /// Gets the messages that the server holds of an app, in the server's order:
    /// [`sort_recent`](crate::sort_recent) sorts them by time.
    ///
    /// `auth_token` is the one of [`tail`](Consumer::tail). Blocks until the answer is complete, and is bounded in
    /// time by the [connect timeout](Builder::connect_timeout), the [read timeout](Builder::read_timeout) and the
    /// [recent timeout](Builder::recent_timeout), and in size by [`max_recent_size`](Builder::max_recent_size).
    /// [`close`](Consumer::close) interrupts it.
    ///
    /// A part of the answer that is no log message is skipped, with a warning in the log.
    ///
    /// # Errors
    ///
    /// Those of [`tail`](Consumer::tail), and [`BadResponse`](ErrorKind::BadResponse) if the answer is none that a
    /// loggregator server gives; [`Truncated`](ErrorKind::Truncated), [`Timeout`](ErrorKind::Timeout) or
    /// [`TooLarge`](ErrorKind::TooLarge) if it was not complete: then [`Error::recovered`] has what came.
    pub fn recent(&self, app_guid: &str, auth_token: &str) -> Result<Vec<LogMessage>> {
        let deadline = after(self.inner.recent_timeout);
        self.open_recent(app_guid, auth_token, Some(deadline))?.collect_all(self.inner.max_recent_size)
    }

    /// [`recent`](Consumer::recent), giving each message as soon as it has come. No more than one message is held at
    /// a time, so neither [`max_recent_size`](Builder::max_recent_size) nor the
    /// [recent timeout](Builder::recent_timeout) applies.
    ///
    /// ```
    /// # use loggregator_consumer::{testing::TrafficController, LogMessage, Proxy};
    /// # let server = TrafficController::start()?;
    /// # server.add_recent("app-guid", [LogMessage::new("app-guid", "hello")]);
    /// # let consumer = loggregator_consumer::Consumer::builder(&server.endpoint()).proxy(Proxy::none()).build()?;
    /// for message in consumer.recent_iter("app-guid", "bearer token")? {
    ///     println!("{}", message?);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`recent`](Consumer::recent); the ones that come after the first message are the iterator's.
    pub fn recent_iter(&self, app_guid: &str, auth_token: &str) -> Result<Recent> {
        self.open_recent(app_guid, auth_token, None)
    }

    fn open_recent(&self, app_guid: &str, auth_token: &str, end: Option<Instant>) -> Result<Recent> {
        check_token(auth_token)?;
        let patience = Patience { silence: self.inner.read_timeout, end };
        let (cancel, registration) = self.inner.open.register();
        legacy::recent(&self.inner, app_guid, auth_token, patience, cancel, registration)
    }

    /// Closes all that this consumer and its clones have open: tails, calls that are still connecting, and calls of
    /// [`recent`](Consumer::recent). Does not wait for it: the tails end within 0.1 s, the calls at once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotConnected`] if nothing is open.
    pub fn close(&self) -> Result<()> {
        if self.inner.open.close_all() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::NotConnected, "connection does not exist"))
        }
    }
}

impl Inner {
    /// When the head of the answer to a call that begins now must be there.
    pub(crate) fn head_deadline(&self) -> Instant {
        after(self.connect_timeout)
    }

    /// Tells the caller that a websocket is up.
    pub(crate) fn connected(&self) {
        if let Some(on_connect) = &self.on_connect {
            on_connect();
        }
    }

    pub(crate) fn websocket_request<'a>(&'a self, path: &'a str, token: &'a str) -> Request<'a> {
        Request {
            endpoint: &self.endpoint,
            path,
            token,
            max_message_size: self.max_message_size,
            debug_printer: self.debug_printer.as_deref(),
        }
    }
}

/// A token goes into a header as it is: with a line break in it, it would be two.
fn check_token(token: &str) -> Result<()> {
    match HeaderValue::from_str(token) {
        Ok(_) => Ok(()),
        // Neither the token nor the cause, which could hold a part of it, goes into the text.
        Err(_) => Err(Error::new(
            ErrorKind::InvalidInput,
            "the token holds a line break or another control character: is there one at its end?",
        )),
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("endpoint", &self.inner.endpoint.to_string())
            .field("dialer", &self.inner.dialer)
            .finish_non_exhaustive()
    }
}

/// What a consumer has open, so that it can be closed.
#[derive(Debug, Default)]
struct Open {
    switches: Mutex<HashMap<u64, Arc<Cancel>>>,
    last_key: std::sync::atomic::AtomicU64,
}

impl Open {
    fn register(self: &Arc<Self>) -> (Arc<Cancel>, Registration) {
        let cancel = Cancel::new();
        let key = self.last_key.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.switches.lock().insert(key, Arc::clone(&cancel));
        (cancel, Registration { open: Arc::clone(self), key })
    }

    /// Whether there was anything.
    fn close_all(&self) -> bool {
        let switches = self.switches.lock();
        switches.values().for_each(|cancel| cancel.throw());
        !switches.is_empty()
    }
}

/// Takes an open call or tail off the consumer's list when it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    open: Arc<Open>,
    key: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.open.switches.lock().remove(&self.key);
    }
}

/// The settings of a [`Consumer`].
///
/// ```
/// use std::time::Duration;
/// use loggregator_consumer::{Consumer, Proxy};
///
/// let consumer = Consumer::builder("wss://loggregator.example.com")
///     .proxy(Proxy::none())
///     .connect_timeout(Duration::from_secs(3))
///     .on_connect(|| eprintln!("connected"))
///     .build()?;
/// # Ok::<(), loggregator_consumer::Error>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    endpoint: String,
    tls_connector: Option<TlsConnector>,
    proxy: Option<Proxy>,
    on_connect: Option<Box<dyn Fn() + Send + Sync>>,
    debug_printer: Option<Box<dyn DebugPrinter>>,
    keep_alive: Duration,
    connect_timeout: Duration,
    idle_timeout: Option<Duration>,
    read_timeout: Duration,
    recent_timeout: Duration,
    max_message_size: usize,
    max_recent_size: usize,
}

impl Builder {
    /// How TLS is made, for `wss://` endpoints and `https://` proxies: which certificates are trusted, with which
    /// one's own. By default the system's certificates are, with TLS 1.2 or later.
    pub fn tls_connector(mut self, c: TlsConnector) -> Self {
        self.tls_connector = Some(c);
        self
    }

    /// Through which proxy the server is reached. By default [`Proxy::from_env`].
    pub fn proxy(mut self, p: Proxy) -> Self {
        self.proxy = Some(p);
        self
    }

    /// How often a tail sends the text that keeps its connection. By default every 25 s, and first at once.
    ///
    /// A websocket pong is sent as often, or every 10 s if that is more often: it tells a server that we are there even
    /// when a caller takes nothing, so that the server's pings lie unread.
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.keep_alive = every;
        self
    }

    /// How long it may take to connect, from name resolution to the end of the answer's head, with the proxy and TLS
    /// in between. By default 10 s.
    pub fn connect_timeout(mut self, d: Duration) -> Self {
        self.connect_timeout = d;
        self
    }

    /// After how long a silence, pings included, a tail ends with [`Ending::TimedOut`](crate::Ending::TimedOut). By
    /// default never: servers of 2014 are silent for as long as an app is. Those of 2015 and later ping every 15 s,
    /// so that a minute without a byte from them means that they are gone.
    pub fn idle_timeout(mut self, d: Duration) -> Self {
        self.idle_timeout = Some(d);
        self
    }

    /// How long the server may be silent in the middle of the recent messages. By default 30 s.
    pub fn read_timeout(mut self, d: Duration) -> Self {
        self.read_timeout = d;
        self
    }

    /// How long [`Consumer::recent`] may take in all. By default 5 minutes.
    pub fn recent_timeout(mut self, d: Duration) -> Self {
        self.recent_timeout = d;
        self
    }

    /// The largest message, in bytes as they come over the wire, that is accepted. By default 16 MiB. A larger one
    /// ends a tail with [`Ending::TooLarge`](crate::Ending::TooLarge), and the recent messages with
    /// [`ErrorKind::TooLarge`].
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// How large, in bytes of memory, the messages that [`Consumer::recent`] collects may be in all. By default
    /// 256 MiB.
    pub fn max_recent_size(mut self, bytes: usize) -> Self {
        self.max_recent_size = bytes;
        self
    }

    /// A function to be called when a websocket has been connected, in the thread that called
    /// [`tail`](Consumer::tail), before `tail` returns. The connection is kept alive meanwhile. It may close the
    /// consumer. If it panics, so does `tail`.
    pub fn on_connect(mut self, f: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_connect = Some(Box::new(f));
        self
    }

    /// Who gets the websocket handshakes to print. By default nobody.
    pub fn debug_printer(mut self, p: impl DebugPrinter + 'static) -> Self {
        self.debug_printer = Some(Box::new(p));
        self
    }

    /// The consumer with these settings. Connects to nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the endpoint is no `ws://` or `wss://` URL, or the keep-alive is zero.
    pub fn build(self) -> Result<Consumer> {
        let endpoint = Endpoint::parse(&self.endpoint, Scheme::WebSocket)?;
        if self.keep_alive.is_zero() {
            return Err(Error::new(ErrorKind::InvalidInput, "the keep-alive must be longer than nothing"));
        }
        let dialer = Dialer::new(self.tls_connector, self.proxy.unwrap_or_default());
        Ok(Consumer {
            inner: Arc::new(Inner {
                endpoint,
                dialer: Arc::new(dialer),
                on_connect: self.on_connect,
                max_message_size: self.max_message_size,
                read_timeout: self.read_timeout,
                debug_printer: self.debug_printer,
                keep_alive: self.keep_alive,
                connect_timeout: self.connect_timeout,
                idle_timeout: self.idle_timeout,
                recent_timeout: self.recent_timeout,
                max_recent_size: self.max_recent_size,
                open: Arc::default(),
            }),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The endpoint is not parsed yet, and may hold a password by mistake.
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}
