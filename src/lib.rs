//! A blocking client for Loggregator, the log system of Cloud Foundry: [tail](Consumer::tail) an app's logs, or get its
//! [recent](Consumer::recent) ones, from a foundation of any year since 2013. For sync tools and scripts: no async
//! runtime is needed, and none is pulled in.
//!
//! # From the top
//!
//! There are three types to know:
//!
//! * [`Consumer`]: a foundation, and how to speak to it. [`Consumer::discover`] takes the address of its API and finds
//!   the rest; [`Consumer::from_cf_cli`] needs not even that, but a `cf login`. A [`Builder`] has the settings: tokens,
//!   TLS, [proxies](Proxy), [reconnecting](Reconnect), limits, and each address by hand.
//! * [`Tail`]: the live messages of an app. An iterator that blocks; [`Tail::recv_timeout`], [`Tail::try_recv`] and
//!   [`Tail::receiver`] are for those who can't, and [`Tail::closer`] ends it from another thread.
//! * [`LogMessage`]: one message. [Displayed](LogMessage#impl-Display-for-LogMessage) it is the line that `cf logs`
//!   prints.
//!
//! ```no_run
//! use loggregator_consumer::{Consumer, sort_recent};
//!
//! let consumer = Consumer::discover("https://api.example.com")?;
//! let (app, token) = ("11111111-1111-1111-1111-111111111111", "bearer eyJ...");
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
//! An access token is good for minutes. Where that is not enough, give an empty one to the calls, and the consumer a
//! [`TokenSource`], which gets others: from a UAA, from the session of the `cf` command line, or from a function.
//!
//! # The way the data goes
//!
//! ```text
//! by hand, API, cf CLI ──► addresses ──► dial (DNS → TCP → proxy CONNECT → TLS)
//!   ├──► websocket: legacy, Doppler ──► frames ───┐
//!   ├──► http: RLP gateway ──► events ────────────┴──► channel ──► decode ──► caller    tail
//!   ├──► http: legacy, Doppler ──► multipart ────────────────────► decode ──► caller    recent
//!   └──► http: Log Cache ──► pages of JSON ──────────────────────► decode ──► caller    recent
//! ```
//!
//! ([`Via`] has the generations. Legacy servers of April 2014 give recent messages over a websocket.)
//!
//! # Threads
//!
//! A tail over a websocket has two: one reads, and hands frames over in batches; the other sends keep-alives and, in
//! the end, closes the connection. A tail over the RLP gateway has only the one that reads. What waits between it and
//! the caller is [bounded](Tail); then TCP slows the server down. Messages are decoded in the caller's thread. A tail
//! that reconnects does so in the thread that reads.
//!
//! A call uses the caller's thread, and a short-lived one that resolves the server's name. When a token is to be
//! renewed, another short-lived one does that for all who need it.
//!
//! # Errors and endings
//!
//! There is one [`Error`] type; its [`kind`](Error::kind) tells what a caller can do. Nothing that ended badly looks
//! like a clean end: an answer of [`recent`](Consumer::recent) that is cut short is an error, which has the messages
//! that [came before](Error::recovered), and a tail tells apart [how it ended](Ending). Where a tail that reconnects
//! was broken, it has a [gap](ErrorKind::Gap).
//!
//! The module [`faults`] has a table of all that can go wrong, and what a caller sees of it.
//!
//! The opposite can't be had: messages have no number and no id, on any wire, and no server resumes a stream. So an end
//! that looks good is no proof that nothing was lost before it.
//!
//! # Limits
//!
//! Nothing that a server, a proxy or a UAA sends takes unbounded memory or time.
//!
//! | of | limit | set by | beyond it |
//! |---|---|---|---|
//! | connecting, from name resolution to the end of the answer's head | 10 s | [`Builder::connect_timeout`] | [`Timeout`](ErrorKind::Timeout) |
//! | a UAA's answer, its head and then its body | 10 s each | [`Uaa::timeout`] | [`Timeout`](ErrorKind::Timeout), in the body [`BadResponse`](ErrorKind::BadResponse); or the token that is there, if still good |
//! | the silence of a tail | a minute; none on legacy servers | [`Builder::idle_timeout`] | [`Ending::TimedOut`] |
//! | the silence in recent messages | 30 s | [`Builder::read_timeout`] | [`Timeout`](ErrorKind::Timeout) |
//! | recent messages in all | 5 minutes | [`Builder::recent_timeout`] | [`Timeout`](ErrorKind::Timeout) |
//! | one message | 16 MiB | [`Builder::max_message_size`] | [`TooLarge`](ErrorKind::TooLarge) |
//! | one event of the RLP gateway | four messages of that size | [`Builder::max_message_size`] | [`TooLarge`](ErrorKind::TooLarge) |
//! | all recent messages | 256 MiB | [`Builder::max_recent_size`] | [`TooLarge`](ErrorKind::TooLarge) |
//! | how many of them Log Cache is asked for | 1000 | [`Builder::recent_limit`] | older ones are left |
//! | what waits for a slow caller of a tail | see [`Tail`] | [`Builder::max_message_size`] | TCP slows the server down |
//! | pongs and keep-alives for a server that does not read | 64 KiB | | they are dropped |
//! | the head of an answer | 32 KiB (64 KiB of a handshake), 128 headers | | [`BadResponse`](ErrorKind::BadResponse), [`Proxy`](ErrorKind::Proxy) |
//! | the line that tells a chunk's size | 20 bytes | | [`Truncated`](ErrorKind::Truncated), [`Ending::Failed`] |
//! | the words of a refusal | 64 KiB | | they are cut |
//! | the answer of an API; of a UAA | 1 MiB; 64 KiB | | [`BadResponse`](ErrorKind::BadResponse) |
//! | what comes before the first part of recent messages; a part's headers | 64 KiB; 16 KiB | | [`BadResponse`](ErrorKind::BadResponse) |
//! | recent messages that are none, of Log Cache in a page | 1000 | | [`BadResponse`](ErrorKind::BadResponse) |
//! | messages in one event of the RLP gateway; fields in one message | 10,000; 4096 | | [`Undecodable`](ErrorKind::Undecodable) |
//! | an address, an app's GUID | 1024 bytes | | [`InvalidInput`](ErrorKind::InvalidInput) |
//! | name look-ups that were given up and still hang | 64 in this process | | [`Dial`](ErrorKind::Dial) |
//! | refusals in a row of a tail that connects again | 3 | | the tail ends with the last |
//!
//! [`Consumer::recent_iter`] holds one message at a time, and so has no limit in all. Redirects are not followed.
//! Nothing is decompressed: an answer that is compressed, though none is asked to be, is a
//! [`BadResponse`](ErrorKind::BadResponse).
//!
//! # Secrets
//!
//! A token, a client's secret or a proxy's password is in no error, no `Debug` form, no [debug print](DebugPrinter) and
//! no line that this crate logs (through the `log` crate, under its own name). The crates that it is made of log too:
//! ureq and tungstenite never see a token, but ureq logs what it reads, which is an app's messages, at the level TRACE.
//!
//! # Features
//!
//! * `testing`: an in-process foundation, of any generation, to test a tool against: the module [`testing`].
#![cfg_attr(docsrs, feature(doc_cfg))]

// From the top floor to the ground. A lower room never imports a higher one: `tests/floors.rs` checks that.
mod builder;
mod consumer;
mod recent;
mod tail;
mod server;
mod settings;
mod auth;
mod net;
mod wire;
mod ending;
mod error;
mod message;
mod secrets;
// Nothing but docs.
#[cfg(doc)]
pub mod faults;
#[cfg(any(test, all(fuzzing, feature = "testing")))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

/// The crates whose types are in this one's API, so that a tool need not match their versions.
#[doc(no_inline)]
pub use {crossbeam_channel, native_tls};

pub use ::http::Uri;
pub use auth::{TokenSource, Uaa};
pub use builder::Builder;
pub use consumer::Consumer;
pub use ending::Ending;
pub use error::{BoxError, Error, ErrorKind, Gap, Result};
pub use message::{LogMessage, MessageType, sort_recent};
pub use net::debug::DebugPrinter;
pub use net::dial::Proxy;
pub use recent::Recent;
pub use server::foundation::{Choice, Via};
pub use settings::Reconnect;
pub use tail::{Batch, Closer, Tail};

/// How we name ourselves to servers and proxies.
const USER_AGENT: &str = concat!("loggregator-consumer/", env!("CARGO_PKG_VERSION"));

/// Has the README's examples tested with those of the docs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
