//! A Cloud Foundry to test against, in this process (feature `testing`): the parts of it that have to do with logs.
//!
//! A [`TrafficController`] is a server on a free port of 127.0.0.1. By default it is the legacy Loggregator server of
//! 2015. Its [`Generation`] makes it another one, or one of today's foundations: an API that says where the logs are, a
//! UAA that issues tokens, Doppler's streams, Log Cache and the RLP gateway, all at one address. It answers as the real
//! servers do, byte for byte where that matters, and it can be told to [fail](Fault): to reject, to stall, to break off
//! after any byte, to send slowly. It [records](TrafficController::received) what clients send.
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
//! The same on one of today's foundations, where an app's id must be a GUID, and a request needs a token. Only the apps
//! that are named exist, and only the tokens of its UAA are accepted:
//!
//! ```
//! use loggregator_consumer::testing::{Generation, TrafficController};
//! use loggregator_consumer::{Builder, LogMessage, Proxy};
//!
//! const APP: &str = "11111111-1111-1111-1111-111111111111";
//!
//! let no_others: [&str; 0] = [];
//! let server =
//!     TrafficController::builder().generation(Generation::Today).apps([APP]).tokens(no_others).start()?;
//! let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
//! let mut tail = consumer.tail(APP, &server.issue_token())?; // over Doppler
//! server.send(LogMessage::new(APP, "hello"));
//! assert_eq!(tail.next().unwrap()?.message, b"hello");
//! assert_eq!(consumer.recent(APP, &server.issue_token())?[0].message, b"hello"); // from Log Cache
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Any client can be tested, even a bare socket:
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
//! client.write_all(b"GET /recent?app=my-app HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
//!       Authorization: bearer secret\r\n\r\n")?;
//! let mut response = Vec::new();
//! client.read_to_end(&mut response)?;
//! assert!(response.starts_with(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-protobuf; boundary="));
//! assert_eq!(server.requests()[0].header("authorization"), Some("bearer secret"));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Metrics
//!
//! [`TrafficController::send_envelope`] also takes the metrics of containers: a gauge with `cpu`, `memory`, `disk`,
//! `memory_quota` and `disk_quota`. They are in Log Cache, on old generations in `/containermetrics`, and in PromQL, which
//! evaluates selectors such as `cpu{source_id="…"}` and rejects other expressions:
//!
//! ```
//! use loggregator_consumer::testing::{Generation, TrafficController};
//! use loggregator_consumer::{Body, Builder, Envelope, GaugeValue, Proxy};
//!
//! const APP: &str = "11111111-1111-1111-1111-111111111111";
//!
//! let server = TrafficController::of(Generation::Y2016)?;
//! let metrics = [("cpu", 12.5), ("memory", 1e6), ("disk", 1e6), ("memory_quota", 2e6), ("disk_quota", 2e6)];
//! let metrics = metrics.map(|(name, value)| (name.to_owned(), GaugeValue::new(value, "x")));
//! server.send_envelope(Envelope::new(APP, Body::Gauge(metrics.into())).instance_id("0"));
//! let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
//! assert_eq!(consumer.metrics(APP, "bearer token")?[0].cpu, Some(12.5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The troubles of Log Cache
//!
//! A tool that reads from Log Cache must cope with all of these. The real server has them, too:
//!
//! | trouble | set by | what [`follow`](crate::Consumer::follow) returns |
//! |---|---|---|
//! | lines become readable late, and out of order | [`send_late`], [`log_cache_delay`] for all | the lines, when they are readable |
//! | it holds few lines, and drops the oldest | [`max_per_source`], and more lines than that between two polls | a [`Gap`], and what is left |
//! | it restarts, and has lost everything | [`empty_log_cache`] | a [`Gap`], with the next line |
//! | its node is away: responses are empty | [`set_node_away`] | nothing; then all lines, and no gap |
//! | it limits requests, fails or hangs | [`fault_at`] or [`always_at`] [`RequestKind::LogCacheRead`] a [`Fault`] | an error of the first call; later nothing, then all lines, and no gap |
//! | it is the only server of logs | [`log_cache_only`] | the same. [`tail`](crate::Consumer::tail) polls Log Cache, too |
//! | streams give no lines | [`disable_logs`] | the same. `tail`, `tail_apps` and `stream` go on over Log Cache after some 5 s |
//! | it is Korifi's | [`Generation::Korifi`] | the same. Lines have other sources, and all are of the type OUT |
//!
//! [`send_late`]: TrafficController::send_late
//! [`log_cache_delay`]: TrafficControllerBuilder::log_cache_delay
//! [`max_per_source`]: TrafficControllerBuilder::max_per_source
//! [`empty_log_cache`]: TrafficController::empty_log_cache
//! [`set_node_away`]: TrafficController::set_node_away
//! [`fault_at`]: TrafficController::fault_at
//! [`always_at`]: TrafficController::always_at
//! [`log_cache_only`]: TrafficControllerBuilder::log_cache_only
//! [`disable_logs`]: TrafficControllerBuilder::disable_logs
//! [`Gap`]: crate::ErrorKind::Gap
//!
//! ```
//! use std::time::{Duration, SystemTime, UNIX_EPOCH};
//! use loggregator_consumer::testing::{Fault, Generation, RequestKind, TrafficController};
//! use loggregator_consumer::{Builder, ErrorKind, LogMessage, Polling, Proxy};
//!
//! const APP: &str = "11111111-1111-1111-1111-111111111111";
//!
//! /// A line that is logged now.
//! fn line(text: &str) -> LogMessage {
//!     let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
//!     LogMessage::new(APP, text).timestamp(now.as_nanos() as i64)
//! }
//!
//! let server = TrafficController::of(Generation::Today)?;
//! // So that the test is quick.
//! let polling = Polling::default().every(Duration::from_millis(10)).idle(Duration::from_millis(20));
//! let consumer = Builder::new().api(&server.api()).polling(polling).proxy(Proxy::none()).build()?;
//! server.send(line("recent"));
//! let mut tail = consumer.follow(APP, "bearer token")?;
//! assert_eq!(tail.next().unwrap()?.text(), "recent");
//!
//! // A line that is late, behind a newer one.
//! server.send_late(line("late"), Duration::from_millis(500));
//! server.send(line("on time"));
//! assert_eq!(tail.next().unwrap()?.text(), "on time");
//! assert_eq!(tail.next().unwrap()?.text(), "late");
//!
//! // A rate limit, and then a node that is away.
//! server.fault_at(RequestKind::LogCacheRead, Fault::RateLimit { status: 429, retry_after: "1".into() });
//! server.set_node_away(true);
//! server.send(line("meanwhile"));
//! assert!(tail.recv_timeout(Duration::from_millis(200)).is_err());
//! server.set_node_away(false);
//! assert_eq!(tail.next().unwrap()?.text(), "meanwhile");
//!
//! // A restart, which loses what it held.
//! server.empty_log_cache();
//! server.send(line("after the restart"));
//! assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Gap);
//! assert_eq!(tail.next().unwrap()?.text(), "after the restart");
//!
//! // Foundations without streams.
//! for builder in [
//!     TrafficController::builder().generation(Generation::Today).log_cache_only(),
//!     TrafficController::builder().generation(Generation::Korifi),
//! ] {
//!     let server = builder.start()?;
//!     let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
//!     let mut tail = consumer.tail(APP, "bearer token")?;
//!     server.send(line("polled"));
//!     assert_eq!(tail.next().unwrap()?.text(), "polled");
//! }
//!
//! // A foundation whose streams give no lines.
//! let server = TrafficController::builder().generation(Generation::Today).disable_logs().start()?;
//! let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
//! // An older message, whose presence proves that Log Cache has lost nothing since. Else there would be a gap.
//! server.send(LogMessage::new(APP, "before the tail").timestamp(1));
//! let mut tail = consumer.tail(APP, "bearer token")?;
//! server.send(line("not in the stream"));
//! assert_eq!(tail.next().unwrap()?.text(), "not in the stream");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! One thread accepts connections. Each connection has its own thread, which waits in `poll` for its
//! non-blocking socket and for a wake-up. The [`TrafficControllerBuilder`] sets how the server behaves during its whole
//! life, a [`Fault`] what goes wrong with one connection. The methods of the [`TrafficController`] send, fail and
//! observe, at any time and from any thread.
//!
//! Use it in tests only: it keeps a record of every request and frame as long as it lives, and its TLS key is public.

// From the top floor to the ground. Imports go down only.
mod traffic_controller;
mod listener;
mod serving;
mod connection;
mod routing;
mod servers;
mod state;
mod protocol;
mod config;
mod tls;
mod random;

pub use config::builder::TrafficControllerBuilder;
pub use config::fault::Fault;
pub use config::generation::Generation;
pub use config::server::{RouterError, Server};
pub use config::settings::{BodyFraming, EqualTimes, SlowReader};
pub use protocol::received::{Frame, Received, ReceivedFrame, WebsocketEnding};
pub use protocol::request::{Request, RequestKind};
pub use protocol::target::Target;
pub use tls::certificate_pem;
pub use traffic_controller::TrafficController;
