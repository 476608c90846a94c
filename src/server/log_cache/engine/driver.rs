//! What an engine and its driver say to each other.

use std::time::Duration;

use crate::message::LogMessage;

/// The settings of an engine.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// From one poll to the next while there are new lines. Default: 250 ms.
    pub(crate) every: Duration,
    /// The longest time from one poll to the next. Default: 2 s.
    pub(crate) idle: Duration,
    /// How late a line may become readable and still be returned. Default: 10 s.
    pub(crate) horizon: Duration,
    /// How old a line must be, by the server's clock, to be returned. Default: 0. Late lines are sorted in meanwhile.
    pub(crate) hold: Duration,
    /// How many lines [`Start::Follow`] returns at once. Default: 1000.
    pub(crate) recent_limit: usize,
    /// After so many bytes of lines it returns no further ones. Default: 256 MiB.
    pub(crate) recent_size: usize,
    /// The most lines to ask for in a request. Default: 1000, the most that Log Cache allows.
    pub(crate) page: usize,
    /// How many lines are remembered at most, about 24 bytes each. Default: 100,000. With more, the horizon is shorter.
    pub(crate) memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            every: Duration::from_millis(250),
            idle: Duration::from_secs(2),
            horizon: Duration::from_secs(10),
            hold: Duration::ZERO,
            recent_limit: 1000,
            recent_size: 256 << 20,
            page: 1000,
            memory: 100_000,
        }
    }
}

/// Which lines a tail begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// Those that become readable from now on.
    Tail,
    /// The newest ones, as many as configured.
    Follow,
    /// All from this time on, in nanoseconds since the epoch.
    Since(i64),
}

/// What the driver is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read a page of log lines, and call [`Engine::page`](super::Engine::page) or [`Engine::failed`](super::Engine::failed).
    Read(Range),
    /// Read the oldest envelope of any type (`limit=1` and no `envelope_types`), and call [`Engine::oldest`](super::Engine::oldest) or
    /// [`Engine::failed`](super::Engine::failed).
    Oldest,
    /// Call [`Engine::next`](super::Engine::next) again at this time.
    Wait(Duration),
}

/// The parameters of a request: `start_time`, `end_time` if there is one, `limit`, and `descending`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: i64,
    pub(crate) end: Option<i64>,
    pub(crate) limit: usize,
    pub(crate) newest_first: bool,
}

/// A response to [`Next::Read`].
#[derive(Debug)]
pub(crate) struct Page<T = LogMessage> {
    /// In the order of the server.
    pub(crate) lines: Vec<T>,
    /// The number of envelopes in the response, with those that are no log line.
    pub(crate) envelopes: usize,
    /// The `Date` of the response, in nanoseconds since the epoch: where a tail begins if there are no lines, and how far
    /// a gap reaches at most.
    pub(crate) date: Option<i64>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Page { lines: Vec::new(), envelopes: 0, date: None }
    }
}

/// Why there is no response.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure {
    /// It would be too large: 429, or 403 with gRPC's code 8.
    TooLarge,
    /// The request may succeed later.
    Transient { retry_after: Option<Duration> },
}
