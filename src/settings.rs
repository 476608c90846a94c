//! [`Settings`]: the settings of a consumer, with their defaults. [`Reconnect`] is one of them.

use std::time::Duration;

use crate::net::debug::DebugPrinter;

/// The settings that calls and tails use. See the methods of [`Builder`](crate::Builder).
pub(crate) struct Settings {
    pub(crate) keep_alive: Duration,
    pub(crate) pong_every: Duration,
    pub(crate) connect_timeout: Duration,
    /// `None`: the default depends on the server.
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) read_timeout: Duration,
    pub(crate) recent_timeout: Duration,
    pub(crate) recent_limit: usize,
    pub(crate) max_message_size: usize,
    pub(crate) max_recent_size: usize,
    pub(crate) reconnect: Option<Reconnect>,
    pub(crate) polling: Polling,
    pub(crate) on_connect: Option<Box<dyn Fn() + Send + Sync>>,
    pub(crate) debug_printer: Option<Box<dyn DebugPrinter>>,
}

impl Settings {
    /// Calls the caller's `on_connect`, if there is one.
    pub(crate) fn connected(&self) {
        if let Some(on_connect) = &self.on_connect {
            on_connect();
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            keep_alive: Duration::from_secs(25),
            pong_every: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: None,
            read_timeout: Duration::from_secs(30),
            recent_timeout: Duration::from_secs(5 * 60),
            recent_limit: 1000,
            max_message_size: 16 << 20,
            max_recent_size: 256 << 20,
            reconnect: None,
            polling: Polling::default(),
            on_connect: None,
            debug_printer: None,
        }
    }
}

/// How a tail reconnects when its connection ends. See [`Builder::reconnect`](crate::Builder::reconnect).
///
/// The first pause is 500 ms. Each further pause is twice as long, up to 60 s, until messages arrive again. Each pause
/// is shortened at random by up to a half, so that the clients of a failed server do not all come back at once. If the
/// server [says how long to wait](crate::Error::retry_after), the pause is at least that long, even if that is more than
/// [`longest`](Reconnect::longest). A [`close`](crate::Closer::close) interrupts it.
///
/// A tail reconnects after every end of a connection that the server or the network causes, including a normal close
/// frame and the RLP gateway's `closing` event after 14 minutes. It does so once it has been connected: the **first**
/// connection is made by [`tail`](crate::Consumer::tail) itself, which returns the error if that fails. The docs of
/// [`Error::is_transient`](crate::Error::is_transient) show how to retry it.
///
/// | an attempt to reconnect fails because | the tail |
/// |---|---|
/// | of a [transient](crate::Error::is_transient) error: the server cannot be reached, or answers 500, 502, 503 or 429 | tries again, up to [`max_attempts`](Reconnect::max_attempts) |
/// | the system cannot start the thread that connects, for now | the same |
/// | the platform's router has no route to the server, for now (its 404, 502 or 503 with the header `X-Cf-Routererror`) | the same |
/// | the server rejects the token, the app or the request: 400, 401, 404, or another 4xx such as 403 | ends with the third of these errors since it was connected |
/// | a UAA rejects the session | the same |
/// | the RLP gateway answers 404 `not_found`, which it does for a bad token, and also for every token while it cannot ask the UAA or the Cloud Controller | ends with this error when that has lasted for 15 s in a row, or for a minute in total, and for three attempts |
/// | the [token function](crate::TokenSource::from_fn) fails, or nobody is logged in to `cf` any more | the same |
/// | the address or the token cannot be used ([`InvalidInput`](crate::ErrorKind::InvalidInput)) | ends with the first |
///
/// Failures of the first three rows between rejections are not counted, and they do not reset the count of rejections.
/// Only a new connection does.
///
/// If the server's address came from the [API](crate::Builder::api) and the server does not answer there, the API is
/// asked again, at most once per attempt, because the server may have another address now.
///
/// Each reconnect adds an item to the tail: an error of the kind [`ErrorKind::Gap`](crate::ErrorKind::Gap), which says
/// [when and why](crate::Error::as_gap) the connection ended, and when the tail was connected again. It comes when it is.
/// Messages may be missing there. No stream can be asked for the messages of that time, but
/// [`recent`](crate::Consumer::recent) can.
///
/// ```
/// use std::time::Duration;
/// use loggregator_consumer::{Builder, Reconnect};
///
/// let consumer = Builder::new()
///     .doppler("wss://doppler.example.com")
///     .reconnect(Reconnect::default().longest(Duration::from_secs(10)).max_attempts(20))
///     .build()?;
/// # Ok::<(), loggregator_consumer::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it does nothing until it is passed to `Builder::reconnect`"]
pub struct Reconnect {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
    pub(crate) max_attempts: Option<u32>,
}

impl Default for Reconnect {
    fn default() -> Self {
        Reconnect { first: Duration::from_millis(500), longest: Duration::from_secs(60), max_attempts: None }
    }
}

impl Reconnect {
    /// Sets the first pause. Default: 500 ms. Minimum: 10 ms.
    pub fn first(mut self, pause: Duration) -> Self {
        self.first = pause;
        self
    }

    /// Sets the longest pause. Default: 60 s.
    pub fn longest(mut self, pause: Duration) -> Self {
        self.longest = pause;
        self
    }

    /// Sets the number of consecutive attempts, without a message in between, after which the tail ends with the error
    /// of the last one. Default: no limit.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }
}

/// How a tail over Log Cache polls: see [`Builder::polling`](crate::Builder::polling).
///
/// Log Cache keeps lines and does not push them, so a tail over it requests them again and again: the last second at
/// each poll, and each stretch of time once more when it is 2 s old and once more when it is as old as the
/// [horizon](Polling::horizon). A line that is late for one of them is found by the next. While the requests of a poll take
/// more than 0.6 s on average, the stretch that is 2 s old is left out.
///
/// What a tail costs with the defaults, as `cargo bench -- follow` measured it (two instances, lines that are readable 0.17
/// to 0.5 s after their time and one in a hundred 2 to 4 s later; on two cores, with the server on the same machine, so
/// without the round trip of a network):
///
/// | lines/s | requests/s | lines read for each one returned | from readable to returned: median, 99 % | CPU |
/// |---|---|---|---|---|
/// | 0 | 0.6 | | | 0.1 % |
/// | 0.1 | 1.3 | 17 | 1.4 s, 1.9 s | 0.1 % |
/// | 5 | 4.8 | 5 | 0.13 s, 0.3 s | 0.2 % |
/// | 100 | 4.9 | 5 | 0.13 s, 0.25 s | 0.4 % |
/// | 1000 | 5.3 | 5 | 0.14 s, 0.35 s | 1.6 % |
/// | 5000 | 23 | 5 | 0.13 s, 0.6 s | 8 % |
///
/// ```
/// use std::time::Duration;
/// use loggregator_consumer::{Builder, Polling};
///
/// let consumer = Builder::new()
///     .log_cache("https://log-cache.example.com")
///     .polling(Polling::default().idle(Duration::from_secs(5)))
///     .build()?;
/// # Ok::<(), loggregator_consumer::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it takes effect when it is given to Builder::polling"]
pub struct Polling {
    pub(crate) every: Duration,
    pub(crate) idle: Duration,
    pub(crate) horizon: Duration,
    pub(crate) hold: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        Polling {
            every: Duration::from_millis(250),
            idle: Duration::from_secs(2),
            horizon: Duration::from_secs(10),
            hold: Duration::ZERO,
        }
    }
}

impl Polling {
    /// Sets the time from one poll to the next while new lines arrive. Default: 250 ms.
    ///
    /// A line is returned about half of it after it has become readable, and each poll is a request at least. There is no
    /// lower limit, so leave some time to the server.
    pub fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// Sets the longest time from one poll to the next. Without new lines, it grows to this by a quarter at each poll.
    /// Default: 2 s, so an app that logs nothing costs 0.5 requests a second, and its next line may come 2 s late.
    pub fn idle(mut self, pause: Duration) -> Self {
        self.idle = pause;
        self
    }

    /// Sets how late a line may become readable, after its timestamp, and still be returned. Default: 10 s. Minimum: 1 s.
    /// Maximum: 10 minutes.
    ///
    /// A longer horizon costs no requests, but memory: some 24 bytes for each line of the last one and a half horizons. At
    /// most 100,000 lines are remembered, and if there are more, the horizon is shorter. Log Cache must hold the lines of this
    /// time, too, or there are [gaps](crate::Gap), and [`Tail::complete_until`](crate::Tail::complete_until) is that far
    /// behind.
    pub fn horizon(mut self, d: Duration) -> Self {
        self.horizon = d.clamp(Duration::from_secs(1), Duration::from_secs(600));
        self
    }

    /// Sets how old a line must be before it is returned, by the server's clock. Default: 0.
    ///
    /// Lines of one poll are sorted, but a line that becomes readable later than a newer one comes after it. With this
    /// setting, lines are held back and sorted, at most 10,000 of them, so each comes that much later. Simulated with 5
    /// instances and 100 lines/s: without it 22 % of the lines are out of order, with 0.5 s about 5 %, with 1 s 3 %. A line
    /// that is later than this comes out of order, but it comes.
    pub fn hold(mut self, d: Duration) -> Self {
        self.hold = d;
        self
    }
}
