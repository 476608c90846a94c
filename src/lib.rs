//! A blocking client for Loggregator.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod decode;
mod dial;
mod error;
mod message;
#[cfg_attr(not(test), expect(dead_code))] // Until its caller is here.
mod multipart;

pub use dial::Proxy;
pub use error::{BoxError, Error, ErrorKind, Result};
pub use http::Uri;
pub use message::{LogMessage, MessageType, sort_recent};
