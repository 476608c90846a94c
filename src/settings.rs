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
/// frame and the RLP gateway's `closing` event after 14 minutes. If the server rejects the token, the app or the
/// request three times in a row, the tail ends with that error.
///
/// Each reconnect adds an item to the tail: an error of the kind [`ErrorKind::Gap`](crate::ErrorKind::Gap), which says
/// [when and why](crate::Error::as_gap) the connection ended. Messages may be missing there. No log server can be asked
/// for the messages of that time, other than by [`recent`](crate::Consumer::recent).
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
