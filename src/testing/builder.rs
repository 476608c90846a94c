//! [`Builder`]: how a [`TrafficController`] is to behave.

use std::io;
use std::time::Duration;

use super::TrafficController;
use super::generation::Generation;

/// How many messages are kept for each app, as long as [`Builder::retain`] says nothing else.
pub(super) const RETAIN: usize = 1000;
/// How many bytes may wait for each tail, as long as [`Builder::backlog`] says nothing else.
pub(super) const BACKLOG: usize = 8 << 20;
/// How long an access token lives, as long as [`Builder::token_life`] says nothing else: as long as the real ones.
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(600);
/// As much as the real Log Cache's gateway takes from behind it, in bytes.
pub(super) const LARGEST_ANSWER: usize = 50 << 20;
/// The real RLP gateway's.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
pub(super) const STREAM_TIMEOUT: Duration = Duration::from_secs(14 * 60);
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
///
/// And of a foundation of today, in a hurry:
///
/// ```
/// use std::time::Duration;
/// use loggregator_consumer::testing::{EqualTimes, Generation, TrafficController};
///
/// let server = TrafficController::builder()
///     .generation(Generation::Today)
///     .token_life(Duration::from_secs(1))
///     .rotate_refresh_tokens()
///     .retain(100_000)
///     .equal_times(EqualTimes::Parted)
///     .largest_answer(1 << 20)
///     .heartbeat(Duration::from_millis(50))
///     .stream_timeout(Duration::from_secs(2))
///     .batch_window(Duration::from_millis(10))
///     .start()?;
/// assert!(server.api().starts_with("http://127.0.0.1:"));
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
    pub(super) token_life: Duration,
    pub(super) rotate_refresh_tokens: bool,
    pub(super) equal_times: EqualTimes,
    pub(super) largest_answer: usize,
    pub(super) heartbeat: Duration,
    pub(super) stream_timeout: Duration,
    pub(super) most_streams: Option<usize>,
    pub(super) batch_window: Duration,
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
            token_life: TOKEN_LIFE,
            rotate_refresh_tokens: false,
            equal_times: EqualTimes::Together,
            largest_answer: LARGEST_ANSWER,
            heartbeat: HEARTBEAT,
            stream_timeout: STREAM_TIMEOUT,
            most_streams: None,
            batch_window: Duration::ZERO,
        }
    }
}

/// How the body of an answer with recent messages ends.
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

/// What Log Cache does with messages of one app that have equal times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EqualTimes {
    /// They are in one answer, even if it then has more messages than its limit: Log Cache of today.
    Together,
    /// A limit parts them, so that no time tells where to go on.
    Parted,
    /// Each is moved to the next nanosecond that is free.
    Spread,
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
    /// others as the real servers do. Default: any is accepted, and none at all.
    ///
    /// The [tokens of the server's own UAA](TrafficController::issue_token) are accepted besides, until they expire.
    /// Only the legacy paths insist on the case of `bearer`.
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

    /// How the bodies of answers with recent messages end. Default: [`BodyFraming::ContentLength`].
    pub fn body_framing(mut self, framing: BodyFraming) -> Self {
        self.settings.framing = framing;
        self
    }

    /// How many messages, the latest ones, are kept for each app, however they came: for `/recent`, `/dump/`,
    /// `/recentlogs` and Log Cache. Default: 1000.
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

    /// How long the [tokens of the server's UAA](TrafficController::issue_token) live. Default: 10 minutes. What they
    /// say of it is in whole seconds, cut, and one at least.
    pub fn token_life(mut self, life: Duration) -> Self {
        self.settings.token_life = life;
        self
    }

    /// Gives another refresh token with each access token, and refuses the one before from then on.
    pub fn rotate_refresh_tokens(mut self) -> Self {
        self.settings.rotate_refresh_tokens = true;
        self
    }

    /// What Log Cache does with messages of equal times. Default: [`EqualTimes::Together`].
    pub fn equal_times(mut self, equal_times: EqualTimes) -> Self {
        self.settings.equal_times = equal_times;
        self
    }

    /// How large an answer of Log Cache may be: a request for a larger one is answered with 429. Default: 50 MiB.
    pub fn largest_answer(mut self, bytes: usize) -> Self {
        self.settings.largest_answer = bytes;
        self
    }

    /// How often a stream of the RLP gateway has a heartbeat while there is nothing else. Default: 15 s.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.settings.heartbeat = every;
        self
    }

    /// After how long the RLP gateway [closes](TrafficController::close_streams) a stream. Default: 14 minutes.
    pub fn stream_timeout(mut self, timeout: Duration) -> Self {
        self.settings.stream_timeout = timeout;
        self
    }

    /// How many streams of the RLP gateway may be open at a time: one more ends as soon as it has begun. Default: any
    /// number.
    pub fn most_streams(mut self, streams: usize) -> Self {
        self.settings.most_streams = Some(streams);
        self
    }

    /// How long the RLP gateway collects messages before it sends them in one batch, of which each has 100 at most.
    /// Default: not at all, so that every message is a batch of its own. The real one takes 100 ms.
    pub fn batch_window(mut self, window: Duration) -> Self {
        self.settings.batch_window = window;
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
