//! [`Builder`]: how a [`TrafficController`] is to behave.

use std::io;
use std::time::Duration;

use super::TrafficController;

/// How many messages are kept for each app, as long as [`Builder::retain`] says nothing else.
pub(super) const RETAIN: usize = 1000;
/// How many bytes may wait for each tail, as long as [`Builder::backlog`] says nothing else.
pub(super) const BACKLOG: usize = 8 << 20;
/// The real servers' ping interval and deadline.
pub(super) const PING: Ping = Ping { every: Duration::from_secs(15), deadline: Duration::from_secs(30) };

/// Settings of a [`TrafficController`].
///
/// ```
/// use std::time::Duration;
/// use loggregator_consumer::testing::{BodyFraming, Generation, TrafficController};
///
/// let server = TrafficController::builder()
///     .generation(Generation::Y2016)
///     .token("bearer secret")
///     .ping(Duration::from_millis(50), Duration::from_millis(100))
///     .body_framing(BodyFraming::Chunked)
///     .tls()
///     .start()?;
/// assert!(server.endpoint().starts_with("wss://127.0.0.1:"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a builder does nothing until it is started"]
#[derive(Default)]
pub struct Builder {
    settings: Settings,
}

pub(super) struct Settings {
    pub(super) generation: Generation,
    pub(super) tls: bool,
    /// The tokens that are accepted; `None`: any, and none at all.
    pub(super) tokens: Option<Vec<String>>,
    pub(super) ping: Ping,
    pub(super) framing: BodyFraming,
    pub(super) retain: usize,
    pub(super) backlog: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Ping {
    pub(super) every: Duration,
    pub(super) deadline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            generation: Generation::Y2015,
            tls: false,
            tokens: None,
            ping: PING,
            framing: BodyFraming::ContentLength,
            retain: RETAIN,
            backlog: BACKLOG,
        }
    }
}

/// The servers that differ in what a client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Generation {
    /// April 2014: `/recent` is answered with 400, `/dump/` is a websocket, close frames are empty, there are no pings,
    /// and the body of a 401 holds a protobuf message in text form.
    April2014,
    /// May 2014: `/recent` is multipart over HTTP with its boundary in quotes; all else is as in April.
    May2014,
    /// 2015: `/recent` and `/dump/` are multipart over HTTP, websockets are pinged, and the server closes them with
    /// 1000 and no reason, for want of pongs too.
    Y2015,
    /// 2016: as 2015, but it closes with 1008 and a reason for want of pongs, and has other words for 401 and 404.
    Y2016,
}

/// How the body of a multipart answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyFraming {
    /// Its length is announced.
    ContentLength,
    /// It is sent in chunks.
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

impl Builder {
    /// Which servers to behave like. Default: [`Generation::Y2015`].
    pub fn generation(mut self, generation: Generation) -> Self {
        self.settings.generation = generation;
        self
    }

    /// Serves TLS, with the [built-in certificate](super::certificate_pem), so that the endpoint is `wss://`.
    pub fn tls(mut self) -> Self {
        self.settings.tls = true;
        self
    }

    /// Accepts this `Authorization` (the whole value, with its `bearer `) besides those given before, and refuses the
    /// others with 401. Default: any is accepted, and none at all.
    pub fn token(self, token: impl Into<String>) -> Self {
        self.tokens([token])
    }

    /// Accepts each of these [tokens](Builder::token). With no token given at all, every request is refused.
    pub fn tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.tokens.get_or_insert_default().extend(tokens.into_iter().map(Into::into));
        self
    }

    /// How websockets are pinged: at once, and then `every` after each pong; a client whose pong does not come within
    /// `deadline` of a ping is closed. Any pong counts, an unsolicited one too. Defaults: 15 s and 30 s, as the real
    /// servers have them. The generations of 2014 do not ping.
    pub fn ping(mut self, every: Duration, deadline: Duration) -> Self {
        self.settings.ping = Ping { every, deadline };
        self
    }

    /// How the bodies of `/recent` and `/dump/` end. Default: [`BodyFraming::ContentLength`].
    pub fn body_framing(mut self, framing: BodyFraming) -> Self {
        self.settings.framing = framing;
        self
    }

    /// How many messages, the latest ones, are kept for each app for `/recent` and `/dump/`, however they came.
    /// Default: 1000.
    pub fn retain(mut self, messages: usize) -> Self {
        self.settings.retain = messages;
        self
    }

    /// How many bytes may wait for a tail whose client does not read, before
    /// [`send`](TrafficController::send) waits for it. (About twice as many may be held in all, and what the system
    /// buffers comes on top.) Default: 8 MiB.
    pub fn backlog(mut self, bytes: usize) -> Self {
        self.settings.backlog = bytes.max(1);
        self
    }

    /// Starts the server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When the system gives no socket or thread, or its TLS library refuses the built-in certificate.
    pub fn start(self) -> io::Result<TrafficController> {
        TrafficController::with_settings(self.settings)
    }
}
