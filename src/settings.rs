//! [`Settings`]: what a builder sets and the calls use, with the defaults. [`Reconnect`] is one of them.

use std::time::Duration;

use crate::net::debug::DebugPrinter;

/// The settings that calls and tails use. See the methods of [`Builder`](crate::Builder).
pub(crate) struct Settings {
    pub(crate) keep_alive: Duration,
    pub(crate) pong_every: Duration,
    pub(crate) connect_timeout: Duration,
    /// `None`: each server has a default of its own.
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

/// How a tail connects again when its connection breaks: see [`Builder::reconnect`](crate::Builder::reconnect).
///
/// The first pause is 500 ms; each further one is twice as long, up to 60 s, until messages have come again. Of each
/// pause a random part, up to a half, is left out, so that the clients of a server that has broken down do not all
/// come back at once. A [`close`](crate::Closer::close) interrupts it.
///
/// That goes for every end that the server or the network makes, be it a normal close frame, or the RLP gateway's word
/// after 14 minutes that it is closing. A refusal (of the token, the app or the request) is final: the tail ends with
/// it.
///
/// Each break is an item of the tail: an error of the kind [`ErrorKind::Gap`](crate::ErrorKind::Gap), which says
/// [when it was and why](crate::Error::as_gap). Behind it messages may be missing: no server of logs can be asked for
/// those that were written meanwhile, other than by [`recent`](crate::Consumer::recent).
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
#[must_use = "it takes effect when it is given to Builder::reconnect"]
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
    /// The first pause. By default 500 ms; 10 ms at the least.
    pub fn first(mut self, pause: Duration) -> Self {
        self.first = pause;
        self
    }

    /// The longest pause. By default 60 s.
    pub fn longest(mut self, pause: Duration) -> Self {
        self.longest = pause;
        self
    }

    /// After how many attempts, without a message in between, a tail ends with the last attempt's error. By default
    /// it never does.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }
}
