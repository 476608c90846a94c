//! A blocking client for Loggregator, the log system of Cloud Foundry: [tail](Consumer::tail) an app's logs, or get its
//! [recent](Consumer::recent) ones. For sync tools and scripts: no async runtime is needed, and none is pulled in.
//!
//! # From the top
//!
//! There are three types to know:
//!
//! * [`Consumer`]: a server, and how to speak to it. [`Consumer::new`] takes its endpoint; [`Consumer::builder`] also TLS,
//!   [proxies](Proxy) and time limits.
//! * [`Tail`]: the live messages of an app. An iterator that blocks; [`Tail::recv_timeout`], [`Tail::try_recv`] and
//!   [`Tail::receiver`] are for those who can't, and [`Tail::closer`] ends it from another thread.
//! * [`LogMessage`]: one message. [Displayed](LogMessage#impl-Display-for-LogMessage) it is the line that `cf logs`
//!   prints.
//!
//! ```no_run
//! use loggregator_consumer::{Consumer, sort_recent};
//!
//! let consumer = Consumer::new("wss://loggregator.example.com:443")?;
//! let (app, token) = ("app-guid", "bearer eyJ...");
//!
//! let mut recent = consumer.recent(app, token)?;
//! sort_recent(&mut recent);
//! for message in recent {
//!     println!("{message}");
//! }
//!
//! for message in consumer.tail(app, token)? {
//!     println!("{}", message?);
//! }
//! # Ok::<(), loggregator_consumer::Error>(())
//! ```
//!
//! # The way the data goes
//!
//! ```text
//! endpoint ──► dial (DNS → TCP → proxy CONNECT → TLS) ──► websocket ──► frames ──► channel ──► decode ──► caller   tail
//!                └──────────────────────────────────────► http (ureq) ──► multipart ──► decode ──► caller        recent
//! ```
//!
//! A tail has two threads: one reads its websocket and hands frames over in batches, the other sends keep-alives and,
//! in the end, closes the connection. What waits between them and the caller is bounded; then TCP slows the server
//! down. Messages are decoded in the caller's thread. A call of [`recent`](Consumer::recent) uses only the caller's
//! thread, and a short-lived one that resolves the host's name.
//!
//! # Errors and endings
//!
//! There is one [`Error`] type; its [`kind`](Error::kind) tells what a caller can do. Nothing that ended badly looks like
//! a clean end: an answer of [`recent`](Consumer::recent) that is cut short is an error, which has the messages that
//! [came before](Error::recovered), and a tail tells apart [how it ended](Ending).
//!
//! # Secrets
//!
//! A token or a proxy's password is in no error, no `Debug` form, no [debug print](DebugPrinter) and no line that this
//! crate logs (through the `log` crate, under its own name). The crates that it is made of log too: ureq and tungstenite
//! never see a token, but log what they read, which is an app's messages, at the level TRACE.
//!
//! # Features
//!
//! * `testing`: an in-process server, of any generation, to test a tool against: the module [`testing`].
#![cfg_attr(docsrs, feature(doc_cfg))]

// In the order in which the data goes.
mod builder;
mod consumer;
mod foundation;
mod token;
mod cf_cli;
mod open;
mod cancel;
mod endpoint;
mod deadline;
mod dial;
mod head;
mod debug;
mod websocket;
mod http;
mod sse;
mod multipart;
mod legacy;
mod doppler;
mod log_cache;
mod rlp_gateway;
mod format;
mod decode;
mod v2;
mod message;
mod recent;
mod tail;
mod backoff;
mod error;
#[cfg(test)]
mod captures;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

pub use ::http::Uri;
pub use backoff::Reconnect;
pub use builder::Builder;
pub use consumer::Consumer;
pub use debug::DebugPrinter;
pub use dial::Proxy;
pub use error::{BoxError, Error, ErrorKind, Gap, Result};
pub use foundation::{Choice, Via};
pub use message::{LogMessage, MessageType, sort_recent};
pub use recent::Recent;
pub use tail::{Batch, Closer, Tail};
pub use token::{TokenSource, Uaa};
pub use websocket::Ending;

/// How we name ourselves to servers and proxies.
const USER_AGENT: &str = concat!("loggregator-consumer/", env!("CARGO_PKG_VERSION"));

/// Has the README's examples tested with those of the docs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
