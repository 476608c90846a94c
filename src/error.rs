//! [`Error`] and [`ErrorKind`]: what went wrong, and what the caller can do about it.

use std::sync::Arc;
use std::time::SystemTime;
use std::{fmt, io};

use crate::ending::Ending;
use crate::message::LogMessage;
use crate::secrets::hide;

/// A boxed error of any type: what a [proxy function](crate::Proxy::custom) or a
/// [token function](crate::TokenSource::from_fn) returns.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error type of this crate.
///
/// [`kind`](Error::kind) is for programs: it tells what the caller can do. The text ([`Display`](fmt::Display)) is for
/// people: it says what was wrong, what the server said about it, and what a person can do. The text includes the text
/// of the cause. The cause itself, often a [`std::io::Error`], is the [`source`](std::error::Error::source).
///
/// Neither the text nor the `Debug` form contains a token or a proxy's password.
///
/// ```
/// use loggregator_consumer::{Consumer, ErrorKind};
///
/// let error = Consumer::new("https://loggregator.example.com").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// assert!(error.to_string().contains("ws:// or wss://"));
/// ```
// Boxed, so that the error does not make a `Result<LogMessage>` larger.
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
    is_from_router: bool,
}

/// A break in a tail that [reconnects](crate::Builder::reconnect). Messages may be missing at this point.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// When the break was noticed.
    pub at: SystemTime,
    /// How the connection ended.
    pub ending: Ending,
}

/// The kind of an [`Error`]: what happened, and what the caller can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is invalid: an endpoint, an app GUID, a token or a proxy. Nothing was sent. Fix the argument.
    InvalidInput,
    /// The server, or the proxy in front of it, could not be reached: name resolution or TCP failed. Check the
    /// endpoint, or try again later.
    Dial,
    /// The proxy function failed, or the proxy rejected the connection. Check the proxy settings.
    Proxy,
    /// The TLS handshake failed, often because the certificate does not verify. To trust another certificate see
    /// [`Builder::tls_connector`](crate::Builder::tls_connector).
    Tls,
    /// A timeout expired. Try again, or set a longer timeout.
    Timeout,
    /// The server rejected the token, or there is no token: nobody is logged in, or the session has expired. The text
    /// and [`Error::body`] contain the server's message. Get a new token (`cf login`), and check that its user may see
    /// the app.
    ///
    /// The status is 401, or 404 from Log Cache and the RLP gateway, which answer every bad token with 404.
    Unauthorized,
    /// The server does not know the path or the app (404). The text says which of the two is likely. Check the GUID,
    /// and do what the text says.
    NotFound,
    /// The server did not understand the request (400). Check that the endpoint is a Loggregator server.
    BadRequest,
    /// The response breaks the protocol. Check that the endpoint is a Loggregator server.
    BadResponse,
    /// The server responded with another status, such as 503. [`Error::status`] returns it. Try again later.
    ServerError,
    /// One message could not be decoded. The tail continues with the next message.
    Undecodable,
    /// The response ended before it was complete. Use the messages in [`Error::recovered`], or try again.
    Truncated,
    /// The connection was reset, or it ended without a close frame. Messages may be missing. Tail again.
    ConnectionLost,
    /// The server ended a tail for another reason than a normal end: a close frame with a code such as 1008 (policy,
    /// for a client that did not answer pings), or the `closing` event of the RLP gateway. Messages may be missing.
    /// Tail again.
    ClosedByServer,
    /// The connection of a tail that [reconnects](crate::Builder::reconnect) broke here. Messages may be missing, and
    /// the tail continues. [`Error::as_gap`] returns the details.
    Gap,
    /// The call was cancelled by [`close`](crate::Consumer::close).
    Closed,
    /// Nothing was open that could be closed.
    NotConnected,
    /// The server sent more than a limit allows: one message above
    /// [`Builder::max_message_size`](crate::Builder::max_message_size), or recent messages above
    /// [`Builder::max_recent_size`](crate::Builder::max_recent_size) in total. Raise the limit.
    TooLarge,
}

impl ErrorKind {
    /// Returns true if a server rejected the request, and is likely to reject it again.
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
            is_from_router: false,
        }))
    }

    /// Creates an error with a cause. The text of the cause is appended to `text`.
    pub(crate) fn caused(kind: ErrorKind, text: impl fmt::Display, cause: impl Into<BoxError>) -> Self {
        let cause = cause.into();
        let mut error = Error::new(kind, format!("{text}: {}", CauseText(&*cause)));
        error.0.source = Some(cause.into());
        error
    }

    /// Creates the error for an error response. The kind follows from the status. The text shows `message`, the message
    /// extracted from the body, or else the whole body.
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

    /// Creates the item of a tail that reconnects after its connection ended.
    pub(crate) fn gap(ending: Ending) -> Self {
        let mut error =
            Error::new(ErrorKind::Gap, format!("{ending} (reconnecting: messages logged meanwhile are missed)"));
        error.0.gap = Some(Gap { at: SystemTime::now(), ending });
        error
    }

    /// Creates the error of a call that was cancelled by a close.
    pub(crate) fn closed() -> Self {
        Error::new(ErrorKind::Closed, "the connection was closed from this side")
    }

    /// Replaces the kind where the status alone would mislead.
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_recovered(mut self, messages: Vec<LogMessage>) -> Self {
        self.0.recovered = messages;
        self
    }

    /// Hides the token, because the server may repeat it in its response.
    pub(crate) fn hiding(mut self, token: &str) -> Self {
        self.0.text = hide(&self.0.text, token);
        self.0.body = self.0.body.map(|body| hide(&body, token));
        self
    }

    /// Puts what was being done in front of the text.
    pub(crate) fn with_context(mut self, context: &str) -> Self {
        self.0.text.insert_str(0, context);
        self
    }

    /// Appends to the text, for example what to do next.
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        self.0.text.push_str(hint);
        self
    }

    /// Marks the error response of a platform's router, which answers while it has no route to the server. `code` is
    /// the value of its header `X-Cf-Routererror`, such as `unknown_route`.
    pub(crate) fn with_router(mut self, code: &str) -> Self {
        self.0.is_from_router = true;
        self.with_hint(&format!(" (the platform's router has no route to this server, at least for now: {code})"))
    }

    /// Returns true if the platform's router answered, and not the server.
    pub(crate) fn is_from_router(&self) -> bool {
        self.0.is_from_router
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the HTTP status if this error comes from an HTTP response.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns the body of the error response that this error comes from. It is cut after 64 KiB, and invalid UTF-8 is
    /// replaced.
    pub fn body(&self) -> Option<&str> {
        self.0.body.as_deref()
    }

    /// Returns the messages that [`recent`](crate::Consumer::recent) received before it failed, in the order in which
    /// it would have returned them.
    ///
    /// Every error in the middle of a response may have some: [`Truncated`](ErrorKind::Truncated),
    /// [`Timeout`](ErrorKind::Timeout), [`TooLarge`](ErrorKind::TooLarge),
    /// [`ConnectionLost`](ErrorKind::ConnectionLost) and [`Closed`](ErrorKind::Closed). When several pages are read
    /// from Log Cache, so may every error of a request for a page.
    pub fn recovered(&self) -> &[LogMessage] {
        &self.0.recovered
    }

    /// Returns when and why a tail that reconnects broke, if the kind is [`Gap`](ErrorKind::Gap).
    pub fn as_gap(&self) -> Option<&Gap> {
        self.0.gap.as_ref()
    }

    /// Returns the [recovered](Error::recovered) messages by value.
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
        // Messages are only counted, because they are the caller's data.
        let Inner { kind, text, source, status, body, recovered, gap, is_from_router } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("text", text)
            .field("source", source)
            .field("status", status)
            .field("body", body)
            .field("recovered", &recovered.len())
            .field("gap", gap)
            .field("is_from_router", is_from_router)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// The text of a cause. For an `io::Error` of the operating system it begins with the text of its kind ("connection
/// refused"), because that is the same on every system, and the system's own text is not.
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
    fn the_text_names_the_cause_in_the_same_way_on_every_system() {
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
    fn the_kind_follows_from_the_status_and_the_text_quotes_the_body() {
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
        let rejected = |token: &str| Error::response(401, "", "x", format!("bad token: {token}."), None).hiding(token);
        let error = rejected("bearer abcdefgh");
        assert_eq!(error.body(), Some("bad token: bearer [PRIVATE DATA HIDDEN]."));
        assert!(!format!("{error} {error:?}").contains("abcdefgh"));
        for too_short in ["bearer token", "token", ""] {
            assert!(rejected(too_short).body().unwrap().starts_with("bad token: "));
        }
    }
}
