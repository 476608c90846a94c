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
//! How it works: one thread accepts connections. Each connection has its own thread, which waits in `poll` for its
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
