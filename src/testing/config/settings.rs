//! [`Settings`]: how a server behaves during its whole life, with the defaults.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::generation::Generation;
use super::spaces::Spaces;

/// Default number of messages that are kept for each app.
const RETAIN: usize = 1000;
/// Default number of bytes that may wait for each tail.
const BACKLOG: usize = 8 << 20;
/// Default lifetime of an access token: the real one.
const TOKEN_LIFE: Duration = Duration::from_secs(600);
/// Default limit of a response of Log Cache, in bytes: the limit of the real gateway for what Log Cache sends to it.
const LARGEST_ANSWER: usize = 50 << 20;
/// Default interval of the RLP gateway's heartbeats: the real one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Default time after which the RLP gateway closes a stream: the real one.
const STREAM_TIMEOUT: Duration = Duration::from_secs(14 * 60);
/// Default ping interval and pong timeout: the real ones.
const PING: PingSettings = PingSettings { interval: Duration::from_secs(15), pong_timeout: Duration::from_secs(30) };

/// The settings of a server. Each is documented at the method of
/// [`TrafficControllerBuilder`](super::builder::TrafficControllerBuilder) that sets it.
pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    pub(crate) generation: Generation,
    pub(crate) tls: bool,
    /// The tokens that are accepted. `None`: any token, and requests without one if the generation is not strict.
    pub(crate) tokens: Option<Vec<String>>,
    /// The GUIDs of the apps that exist. `None`: every app exists.
    pub(crate) apps: Option<HashSet<String>>,
    pub(crate) app_names: HashMap<String, String>,
    pub(crate) spaces: Spaces,
    /// The clients of the UAA, besides `cf`, with their secrets.
    pub(crate) clients: Vec<(String, String)>,
    /// The users of the UAA with their passwords.
    pub(crate) users: Vec<(String, String)>,
    pub(crate) ping: PingSettings,
    pub(crate) body_framing: BodyFraming,
    pub(crate) retain: usize,
    pub(crate) backlog: usize,
    /// `None`: each server does what the real one does.
    pub(crate) slow_reader: Option<SlowReader>,
    pub(crate) token_life: Duration,
    pub(crate) rotate_refresh_tokens: bool,
    pub(crate) equal_times: EqualTimes,
    pub(crate) largest_answer: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) stream_timeout: Duration,
    pub(crate) most_streams: Option<usize>,
    pub(crate) batch_window: Duration,
    pub(crate) has_streams: bool,
    pub(crate) disable_logs: bool,
    /// `None`: as many as of every app.
    pub(crate) max_per_source: Option<usize>,
    /// How long it takes until Log Cache returns a message. `None`: it does at once.
    pub(crate) log_cache_delay: Option<Duration>,
}

impl Settings {
    pub(crate) fn has_doppler(&self) -> bool {
        self.generation.has_doppler() && self.has_streams
    }

    /// Returns how many messages Log Cache keeps of each app.
    pub(crate) fn max_per_source(&self) -> usize {
        self.max_per_source.unwrap_or(self.retain)
    }

    pub(crate) fn has_rlp_gateway(&self) -> bool {
        self.generation.has_rlp_gateway() && self.has_streams
    }
}

/// How websockets are pinged.
#[derive(Clone, Copy)]
pub(crate) struct PingSettings {
    /// The time from a pong to the next ping.
    pub(crate) interval: Duration,
    /// How long a client may take to answer a ping.
    pub(crate) pong_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            generation: Generation::Y2015,
            tls: false,
            tokens: None,
            apps: None,
            app_names: HashMap::new(),
            spaces: Spaces::default(),
            clients: Vec::new(),
            users: Vec::new(),
            ping: PING,
            body_framing: BodyFraming::ContentLength,
            retain: RETAIN,
            backlog: BACKLOG,
            slow_reader: Some(SlowReader::Wait),
            token_life: TOKEN_LIFE,
            rotate_refresh_tokens: false,
            equal_times: EqualTimes::Together,
            largest_answer: LARGEST_ANSWER,
            heartbeat: HEARTBEAT,
            stream_timeout: STREAM_TIMEOUT,
            most_streams: None,
            batch_window: Duration::ZERO,
            has_streams: true,
            disable_logs: false,
            max_per_source: None,
            log_cache_delay: None,
        }
    }
}

/// How the end of a response body with recent messages is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyFraming {
    /// The header `Content-Length` announces the length.
    ContentLength,
    /// The body is sent in chunks.
    Chunked,
    /// The body ends when the connection ends.
    UntilClose,
}

/// What Log Cache does with messages of one app that have equal timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EqualTimes {
    /// As today's Log Cache, which does not end a response within a run of equal times, even if it then has more messages
    /// than its limit. A response that is full ends, if its order is ascending, with exactly one message of its last
    /// time: the first message after the run. If its order is descending, it ends with all messages of its last time. In
    /// some places, an ascending one has one message more than needed. Of more than 4000 messages with the same time,
    /// each overwrites the one before.
    Together,
    /// The limit of a response may separate them, so paging by time can skip or repeat messages.
    Parted,
    /// Each is moved to the next unused nanosecond. No real server is known to do this to the times that it returns:
    /// today's Log Cache only does it to the keys of its store.
    Spread,
}

/// What happens to a tail whose client does not read fast enough. See
/// [`TrafficControllerBuilder::slow_reader`](crate::testing::TrafficControllerBuilder::slow_reader).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlowReader {
    /// [`send`](crate::testing::TrafficController::send) waits until the client reads. No real server does this, but no
    /// message is lost.
    Wait,
    /// Messages are dropped while too many bytes wait. When nothing could be sent for this long, the stream ends without
    /// a close frame. Doppler does this, since 2018, after about 5 s.
    CutOff(Duration),
    /// Messages are dropped while too many bytes wait. The RLP gateway does this.
    Drop,
    /// Messages are dropped while too many bytes wait. Then a message of the source `LGR` says so; the number in it is not
    /// the number of dropped messages. The servers until 2016 do this.
    DropAndTell,
}
