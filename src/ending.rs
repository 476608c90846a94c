//! [`Ending`]: how a connection ended.

use std::fmt;
use std::io;

use crate::error::{Error, ErrorKind};
use crate::secrets::{hide, printable};

/// How a connection ended.
///
/// ```
/// use loggregator_consumer::Ending;
///
/// let policy = Ending::ClosedByServer { code: Some(1008), reason: "Client did not respond to ping".into() };
/// assert!(!policy.is_clean());
/// assert_eq!(policy.to_string(), "the server closed the connection with 1008: Client did not respond to ping");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The connection was closed locally.
    Closed,
    /// The server sent a close frame.
    ///
    /// 1000 or no code is a normal end. Some servers of 2015 also close with 1000 when they missed a pong.
    ClosedByServer {
        /// The code of the close frame (RFC 6455, section 7.4), if it has one.
        code: Option<u16>,
        /// The reason in the close frame, often empty.
        reason: String,
    },
    /// The RLP gateway announced the end of the stream. By default it does so after 14 minutes.
    Closing {
        /// The reason that the gateway gives.
        reason: String,
    },
    /// The stream ended unexpectedly, because the server died or dropped the connection: a websocket without a close
    /// frame, a stream of the RLP gateway without its `closing` event.
    Eof,
    /// The connection was reset.
    Reset,
    /// Nothing arrived within the [idle timeout](crate::Builder::idle_timeout), or TCP gave up.
    TimedOut,
    /// A message, or a frame of it, was larger than [`max_message_size`](crate::Builder::max_message_size).
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Log Cache no longer holds the lines that a tail returned last, so it may have dropped others after them. This is
    /// the ending of a [gap](crate::Gap), and never that of a tail.
    Forgotten,
    /// The server dropped envelopes, because this reader was too slow. This is the ending of a [gap](crate::Gap) in a
    /// [stream](crate::Consumer::stream) of Doppler of before 2018, and never that of a tail.
    Dropped {
        /// How many envelopes were dropped. Some of them may not have been selected.
        count: u64,
    },
    /// The server broke the protocol, or the network failed. The text says how.
    Failed(String),
}

impl Ending {
    /// Returns true if the connection ended without an error: closed locally, or by the server with code 1000 or none.
    pub fn is_clean(&self) -> bool {
        matches!(self, Ending::Closed | Ending::ClosedByServer { code: None | Some(1000), .. })
    }

    /// Returns the error for the caller, or `None` if the end is clean.
    pub(crate) fn error(&self) -> Option<Error> {
        let kind = match self {
            _ if self.is_clean() => return None,
            Ending::ClosedByServer { .. } | Ending::Closing { .. } => ErrorKind::ClosedByServer,
            Ending::Closed | Ending::Eof | Ending::Reset | Ending::Forgotten | Ending::Dropped { .. } => {
                ErrorKind::ConnectionLost
            }
            Ending::TimedOut => ErrorKind::Timeout,
            Ending::TooLarge { .. } => ErrorKind::TooLarge,
            Ending::Failed(_) => ErrorKind::BadResponse,
        };
        Some(Error::new(kind, self.to_string()))
    }

    /// Returns the error for the caller if the connection ended because TLS failed.
    pub(crate) fn tls_error(&self) -> Error {
        Error::new(ErrorKind::Tls, self.to_string())
    }

    /// Hides a secret that the server repeats in its reason.
    pub(crate) fn hiding(self, secret: &str) -> Self {
        match self {
            Ending::ClosedByServer { code, reason } => Ending::ClosedByServer { code, reason: hide(&reason, secret) },
            Ending::Closing { reason } => Ending::Closing { reason: hide(&reason, secret) },
            Ending::Failed(text) => Ending::Failed(hide(&text, secret)),
            _ => self,
        }
    }

    /// Returns the ending that a failed read stands for.
    pub(crate) fn of_read(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Ending::Reset
            }
            // The connection ended in the middle of something, such as a chunk.
            io::ErrorKind::UnexpectedEof => Ending::Eof,
            io::ErrorKind::TimedOut => Ending::TimedOut,
            _ => Ending::Failed(format!("the connection failed: {error}")),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Closed => f.write_str("the connection was closed from this side"),
            Ending::ClosedByServer { code, reason } => {
                f.write_str("the server closed the connection")?;
                if let Some(code) = code {
                    write!(f, " with {code}")?;
                }
                if !reason.is_empty() {
                    write!(f, ": {}", printable(reason))?;
                }
                Ok(())
            }
            Ending::Closing { reason } => write!(f, "the server ended the stream: {}", printable(reason)),
            Ending::Eof => f.write_str("the connection ended unexpectedly; messages may be missing"),
            Ending::Reset => f.write_str("the connection was reset; messages may be missing"),
            Ending::TimedOut => f.write_str("nothing came from the server for too long; messages may be missing"),
            Ending::TooLarge { limit } => {
                write!(f, "a message is larger than {limit} bytes: see Builder::max_message_size")
            }
            Ending::Forgotten => f.write_str("Log Cache no longer holds the messages that were returned last"),
            Ending::Dropped { count } => {
                write!(f, "the server dropped {count} envelopes, because this reader is too slow")
            }
            Ending::Failed(text) => f.write_str(&printable(text)),
        }
    }
}
