//! A blocking client for Loggregator.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod decode;
mod error;
mod message;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

pub use error::{BoxError, Error, ErrorKind, Result};
pub use message::{LogMessage, MessageType, sort_recent};
