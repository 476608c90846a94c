//! [`Error`] and [`ErrorKind`]: what went wrong, and what a caller can do about it.

use std::sync::Arc;
use std::time::SystemTime;
use std::{fmt, io};

use crate::ending::Ending;
use crate::message::LogMessage;
use crate::secrets::hide;

/// A boxed error of any type, as a [proxy function](crate::Proxy::custom) returns it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
///
/// [`kind`](Error::kind) says what a caller can do about it, the text (by [`Display`](fmt::Display)) says what was
/// wrong and what a person can do. The text holds the cause's text too; the cause itself, often an
/// [`std::io::Error`], is the [`source`](std::error::Error::source).
///
/// No error holds a token or a proxy's password, in its text or in its `Debug` form.
///
/// ```
/// use loggregator_consumer::{Consumer, ErrorKind};
///
/// let error = Consumer::new("https://loggregator.example.com").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// assert!(error.to_string().contains("ws:// or wss://"));
/// ```
// Boxed, so that a `Result<LogMessage>` is not made larger by the error.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    text: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    status: Option<u16>,
    body: Option<String>,
    recovered: Vec<LogMessage>,
    gap: Option<Gap>,
}

/// A break in a tail that [reconnects](crate::Builder::reconnect): between the messages before and behind it, others
/// may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// When the break was seen.
    pub at: SystemTime,
    /// Why: how the connection ended.
    pub ending: Ending,
}

/// The kinds of [`Error`], each with what a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument can't be used: an endpoint, an app GUID, a token or a proxy. Nothing was sent; mend the argument.
    InvalidInput,
    /// The server, or the proxy before it, could not be reached: name resolution or TCP failed. Check the endpoint,
    /// or try again.
    Dial,
    /// The proxy function failed, or the proxy refused the connection. Check the proxy's settings.
    Proxy,
    /// The TLS handshake failed: often a certificate that does not verify. See
    /// [`Builder::tls_connector`](crate::Builder::tls_connector).
    Tls,
    /// A time limit ran out. Try again, or set a longer one.
    Timeout,
    /// The server refused the token (401, or 404 from servers that don't tell the two apart), or there is none: nobody
    /// is logged in, or the session has expired. The text and [`Error::body`] hold the server's words. Get a new token.
    Unauthorized,
    /// The server knows no such path or app (404). The text says which of the two is likely.
    NotFound,
    /// The server could not make sense of the request (400).
    BadRequest,
    /// The server answered, but not in the protocol. Is the endpoint a Loggregator server?
    BadResponse,
    /// The server answered with another status, such as 503; [`Error::status`] has it.
    ServerError,
    /// One message was no log message. The stream goes on behind it.
    Undecodable,
    /// The answer ended before it was complete. [`Error::recovered`] has the messages that had come by then.
    Truncated,
    /// The connection ended without a word: a reset, or an end of the stream without a close frame. Messages may be
    /// missing; tail again.
    ConnectionLost,
    /// The server closed the connection for a reason that is no normal end, such as 1008 (policy) when a client
    /// did not answer its pings. Messages may be missing; tail again.
    ClosedByServer,
    /// The connection of a tail that [reconnects](crate::Builder::reconnect) broke here: messages may be missing. The
    /// tail goes on behind it. [`Error::as_gap`] says more.
    Gap,
    /// The connection was closed from this side while the call was under way.
    Closed,
    /// There was nothing to close.
    NotConnected,
    /// The server sent more than the limits allow: a message than
    /// [`Builder::max_message_size`](crate::Builder::max_message_size), or recent messages, all together, than
    /// [`Builder::max_recent_size`](crate::Builder::max_recent_size).
    TooLarge,
}

impl ErrorKind {
    /// Whether a server said no, and may go on saying so.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(self, ErrorKind::Unauthorized | ErrorKind::NotFound | ErrorKind::BadRequest)
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            text: text.into(),
            source: None,
            status: None,
            body: None,
            recovered: Vec::new(),
            gap: None,
        }))
    }

    /// An error with a cause, whose text is added to the error's own.
    pub(crate) fn caused(kind: ErrorKind, text: impl fmt::Display, cause: impl Into<BoxError>) -> Self {
        let cause = cause.into();
        let mut error = Error::new(kind, format!("{text}: {}", CauseText(&*cause)));
        error.0.source = Some(cause.into());
        error
    }

    /// The error of a response that is not a success. The kind follows from the status. The text shows `message` if the
    /// body has one, else the body.
    pub(crate) fn response(
        status: u16,
        reason: &str,
        what: impl fmt::Display,
        body: String,
        message: Option<&str>,
    ) -> Self {
        let kind = match status {
            400 => ErrorKind::BadRequest,
            401 => ErrorKind::Unauthorized,
            404 => ErrorKind::NotFound,
            100..=399 => ErrorKind::BadResponse,
            _ => ErrorKind::ServerError,
        };
        let mut text = format!("{what}: the server answered {status} {reason}").trim_end().to_owned();
        let message = message.unwrap_or(&body).trim();
        if !message.is_empty() {
            text.push_str(": ");
            text.push_str(message);
        }
        let mut error = Error::new(kind, text);
        error.0.status = Some(status);
        error.0.body = Some(body);
        error
    }

    /// A tail's connection has broken, and another will be made.
    pub(crate) fn gap(ending: Ending) -> Self {
        let mut error =
            Error::new(ErrorKind::Gap, format!("{ending}. Connecting again: what is logged meanwhile is missed"));
        error.0.gap = Some(Gap { at: SystemTime::now(), ending });
        error
    }

    /// The connection was closed from this side while a call was under way.
    pub(crate) fn closed() -> Self {
        Error::new(ErrorKind::Closed, "the connection was closed from this side")
    }

    /// Says what the error is, where the status alone would mislead.
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_recovered(mut self, messages: Vec<LogMessage>) -> Self {
        self.0.recovered = messages;
        self
    }

    /// Hides a token that the server repeats in its words.
    pub(crate) fn hiding(mut self, token: &str) -> Self {
        self.0.text = hide(&self.0.text, token);
        self.0.body = self.0.body.map(|body| hide(&body, token));
        self
    }

    /// Says before the text what was being done.
    pub(crate) fn with_context(mut self, context: &str) -> Self {
        self.0.text.insert_str(0, context);
        self
    }

    /// Adds to the text, such as what to do next.
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        self.0.text.push_str(hint);
        self
    }

    /// What sort of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The HTTP status that the server answered with, if this error comes from such an answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The body of the answer that this error comes from: the server's own words, cut at 64 KiB, with what is no
    /// UTF-8 replaced.
    pub fn body(&self) -> Option<&str> {
        self.0.body.as_deref()
    }

    /// The messages that a call of [`recent`](crate::Consumer::recent) had got before it failed, in the order in which
    /// it would have given them. Any error in the middle of the answers may have some:
    /// [`Truncated`](ErrorKind::Truncated), [`Timeout`](ErrorKind::Timeout), [`TooLarge`](ErrorKind::TooLarge),
    /// [`ConnectionLost`](ErrorKind::ConnectionLost), [`Closed`](ErrorKind::Closed) and, where Log Cache is asked for
    /// several pages, all that the request for one of them can fail with.
    pub fn recovered(&self) -> &[LogMessage] {
        &self.0.recovered
    }

    /// Where and why a tail that reconnects broke, if this is an item that tells of it.
    pub fn as_gap(&self) -> Option<&Gap> {
        self.0.gap.as_ref()
    }

    /// [`recovered`](Error::recovered), taken out.
    pub fn into_recovered(self) -> Vec<LogMessage> {
        self.0.recovered
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The messages are counted, not printed: they are the caller's data.
        let Inner { kind, text, source, status, body, recovered, gap } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("text", text)
            .field("source", source)
            .field("status", status)
            .field("body", body)
            .field("recovered", &recovered.len())
            .field("gap", gap)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// A cause's text. An `io::Error` of the system begins with the words of its kind ("connection refused"), which are the
/// same on every system, where the system's own are not.
struct CauseText<'a>(&'a (dyn std::error::Error + Send + Sync + 'static));

impl fmt::Display for CauseText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let kind = match self.0.downcast_ref::<io::Error>() {
            Some(error) if error.raw_os_error().is_some() => error.kind().to_string(),
            _ => return f.write_str(&text),
        };
        match text.get(..kind.len()) {
            Some(start) if start.eq_ignore_ascii_case(&kind) => write!(f, "{kind}{}", &text[kind.len()..]),
            _ => write!(f, "{kind}: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_holds_the_cause_in_words_that_every_system_shares() {
        let refused = io::Error::from_raw_os_error(if cfg!(windows) { 10061 } else { libc_econnrefused() });
        let error = Error::caused(ErrorKind::Dial, "dialing", refused);
        assert!(error.to_string().starts_with("dialing: connection refused"), "{error}");
        assert_eq!(error.to_string().matches("efused").count(), 1, "{error}");
        assert!(std::error::Error::source(&error).unwrap().is::<io::Error>());
    }

    fn libc_econnrefused() -> i32 {
        rustix::io::Errno::CONNREFUSED.raw_os_error()
    }

    #[test]
    fn the_status_gives_the_kind_and_the_body_its_words() {
        let error = Error::response(401, "Unauthorized", "recent", "You are not authorized. x\n".into(), None);
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert_eq!(error.to_string(), "recent: the server answered 401 Unauthorized: You are not authorized. x");
        assert_eq!(error.body(), Some("You are not authorized. x\n"));
        assert_eq!(error.status(), Some(401));
        for (status, kind) in [(404, ErrorKind::NotFound), (400, ErrorKind::BadRequest), (503, ErrorKind::ServerError)]
        {
            assert_eq!(Error::response(status, "", "x", String::new(), None).kind(), kind);
        }
    }

    #[test]
    fn a_token_that_the_server_repeats_is_hidden() {
        let words = |token: &str| Error::response(401, "", "x", format!("bad token: {token}."), None).hiding(token);
        let error = words("bearer abcdefgh");
        assert_eq!(error.body(), Some("bad token: bearer [PRIVATE DATA HIDDEN]."));
        assert!(!format!("{error} {error:?}").contains("abcdefgh"));
        for word in ["bearer token", "token", ""] {
            assert!(words(word).body().unwrap().starts_with("bad token: "));
        }
    }
}
