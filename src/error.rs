//! [`Error`] and [`ErrorKind`]: what went wrong, and what the caller can do about it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fmt, io};

use jiff::Timestamp;

use crate::ending::Ending;
use crate::message::LogMessage;
use crate::secrets::{all_forms, hide, printable};

/// A boxed error of any type: what a [proxy function](crate::Proxy::custom) or a
/// [token function](crate::TokenSource::from_fn) returns.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error type of this crate.
///
/// [`kind`](Error::kind) is for programs: it tells what the caller can do. The text ([`Display`](fmt::Display)) is for
/// people: it says what was wrong, what the server said about it, and what a person can do. It is one line, and includes
/// the texts of all causes. So `source()` returns `None`, as [`std::error::Error`] asks, and a printer of error chains
/// says nothing twice. The cause itself, often a [`std::io::Error`], is available from [`get_ref`](Error::get_ref).
///
/// Neither the text nor the `Debug` form contains a token, a client's secret or a proxy's password, even if the server
/// repeats it. Control characters in a server's message are escaped.
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
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
    status: Option<u16>,
    body: Option<String>,
    retry_after: Option<Duration>,
    recovered: Vec<LogMessage>,
    gap: Option<Gap>,
    error_type: Option<String>,
    app: Option<String>,
    is_from_router: bool,
}

/// A place in a tail where messages may be missing.
///
/// A tail that [reconnects](crate::Builder::reconnect) reports a gap when it is connected again. So
/// [`recent`](crate::Consumer::recent), called at that moment, returns what was logged meanwhile, as far as the server
/// still holds it, and the tail continues behind it: the two overlap, and leave no hole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// When the break was noticed.
    pub at: SystemTime,
    /// How the connection ended.
    pub ending: Ending,
    /// When the tail was connected again. `None` if it was not: the next item is the error that ends the tail. Also
    /// `None` if the server has dropped messages, which has nothing to do with the connection.
    pub connected_at: Option<SystemTime>,
    /// Messages with this time or a later one may be missing, in nanoseconds since the Unix epoch. `None` for a stream,
    /// which cannot tell. [`follow`](crate::Consumer::follow) can.
    pub from: Option<i64>,
    /// No message with this time or a later one is missing, in nanoseconds since the Unix epoch. `None` if that is not
    /// known.
    pub until: Option<i64>,
}

/// The times between which messages may be missing, as far as they are known: see [`Gap`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) from: Option<i64>,
    pub(crate) until: Option<i64>,
}

/// The kind of an [`Error`]: what happened, and what the caller can do.
///
/// Its [`Display`](fmt::Display) form is a few plain words, such as `connection lost`, to count or group errors by. The
/// text of an [`Error`] says much more.
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
    /// TLS failed: in the handshake, often because the certificate does not verify, or later, by an alert from the
    /// server or a record that cannot be decrypted. To trust another certificate, or to send a client's, see
    /// [`Builder::tls_connector`](crate::Builder::tls_connector). [`Error::recovered`] has the messages before it.
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
    /// and do what the text says. Or no app has the [name](crate::Consumer::app) that was given: then there is no status,
    /// and the text lists similar names.
    NotFound,
    /// Several apps or spaces have the name that was given. The text lists them. Give the [space](crate::Consumer::app_in),
    /// too, or the app's GUID.
    Ambiguous,
    /// The server did not understand the request (400). Check that the endpoint is a Loggregator server.
    BadRequest,
    /// The response breaks the protocol. Check that the endpoint is a Loggregator server.
    BadResponse,
    /// The server responded with another status, such as 503. [`Error::status`] returns it. Try again later; if the
    /// server says when, [`Error::retry_after`] returns it.
    ServerError,
    /// One message could not be decoded. The tail continues with the next message.
    Undecodable,
    /// The response ended before it was complete. Use the messages in [`Error::recovered`], or try again.
    Truncated,
    /// The connection was reset, or it ended without a close frame or another announcement. Messages may be missing. Tail
    /// again.
    ConnectionLost,
    /// The server ended a tail for another reason than a normal end: a close frame with a code such as 1008 (policy,
    /// for a client that did not answer pings), or the `closing` event of the RLP gateway. Messages may be missing.
    /// Tail again.
    ClosedByServer,
    /// Messages may be missing here, and the tail continues: its connection broke, and it is
    /// [connected again](crate::Builder::reconnect), or the server has dropped messages. [`Error::as_gap`] returns the
    /// details.
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

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ErrorKind::InvalidInput => "invalid input",
            ErrorKind::Dial => "server not reachable",
            ErrorKind::Proxy => "proxy failed",
            ErrorKind::Tls => "TLS failed",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Unauthorized => "token rejected",
            ErrorKind::NotFound => "not found",
            ErrorKind::Ambiguous => "ambiguous name",
            ErrorKind::BadRequest => "bad request",
            ErrorKind::BadResponse => "bad response",
            ErrorKind::ServerError => "server error",
            ErrorKind::Undecodable => "undecodable message",
            ErrorKind::Truncated => "response cut short",
            ErrorKind::ConnectionLost => "connection lost",
            ErrorKind::ClosedByServer => "closed by the server",
            ErrorKind::Gap => "messages may be missing",
            ErrorKind::Closed => "closed",
            ErrorKind::NotConnected => "not connected",
            ErrorKind::TooLarge => "too large",
        })
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            text: printable(&text.into()).into_owned(),
            cause: None,
            status: None,
            body: None,
            retry_after: None,
            recovered: Vec::new(),
            gap: None,
            error_type: None,
            app: None,
            is_from_router: false,
        }))
    }

    /// Creates an error with a cause. The text of the cause is appended to `text`.
    pub(crate) fn caused(kind: ErrorKind, text: impl fmt::Display, cause: impl Into<BoxError>) -> Self {
        let cause = cause.into();
        let mut text = format!("{text}: {}", CauseText(&*cause));
        let mut deeper = cause.source();
        while let Some(cause) = deeper {
            // Some errors print their own causes, some do not.
            let cause_text = cause.to_string();
            if !text.to_lowercase().contains(&cause_text.to_lowercase()) {
                text = format!("{text}: {cause_text}");
            }
            deeper = cause.source();
        }
        let mut error = Error::new(kind, text);
        error.0.cause = Some(cause.into());
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

    /// Creates the item of a tail that is connected again, or that could not be.
    pub(crate) fn gap(ending: Ending, at: SystemTime, connected_at: Option<SystemTime>, missing: Missing) -> Self {
        let what = match (missing, connected_at) {
            (Missing { from: Some(from), until }, _) => messages_between(from, until),
            (_, Some(_)) => "connected again: messages logged meanwhile are missing".to_owned(),
            (_, None) => "not connected again: messages logged since then are missing".to_owned(),
        };
        let Missing { from, until } = missing;
        Error::with_gap(format!("{ending} ({what})"), Gap { at, ending, connected_at, from, until })
    }

    /// Creates the item of a tail over Log Cache where lines of `from..until` may be missing, in nanoseconds since the
    /// Unix epoch.
    pub(crate) fn forgotten(from: i64, until: i64) -> Self {
        let missing = Missing { from: Some(from), until: Some(until) };
        Error::gap(Ending::Forgotten, SystemTime::now(), None, missing)
    }

    /// Creates the item of a stream whose server has dropped this number of envelopes.
    pub(crate) fn dropped(count: u64) -> Self {
        let ending = Ending::Dropped { count };
        let gap = Gap { at: SystemTime::now(), ending, connected_at: None, from: None, until: None };
        Error::with_gap(gap.ending.to_string(), gap)
    }

    fn with_gap(text: String, gap: Gap) -> Self {
        let mut error = Error::new(ErrorKind::Gap, text);
        error.0.gap = Some(gap);
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

    /// Adds the time after which the server allows another attempt, if its response names one.
    pub(crate) fn with_retry_after(mut self, time: Option<Duration>) -> Self {
        self.0.retry_after = time;
        match time {
            Some(time) => self.with_hint(&format!(" (the server allows another attempt after {} s)", time.as_secs())),
            None => self,
        }
    }

    pub(crate) fn with_recovered(mut self, messages: Vec<LogMessage>) -> Self {
        self.0.recovered = messages;
        self
    }

    /// Hides the token of a call, because the server may repeat it. Every error of a call with a token passes here.
    ///
    /// An error response has been hidden before, by [`ErrorResponse`](crate::net::failure::ErrorResponse): hints that
    /// follow a token which was cut off would prevent it here.
    pub(crate) fn hiding(mut self, secret: &str) -> Self {
        let Inner {
            text,
            cause,
            body,
            gap,
            error_type,
            app: _,
            kind: _,
            status: _,
            retry_after: _,
            recovered: _,
            is_from_router: _,
        } = &mut *self.0;
        *text = hide(text, secret);
        *body = body.take().map(|body| hide(&body, secret));
        *error_type = error_type.take().map(|error_type| hide(&error_type, secret));
        *gap = gap.take().map(|gap| Gap { ending: gap.ending.hiding(secret), ..gap });
        // The text has what can be shown of it.
        *cause = cause.take().filter(|cause| {
            let forms = all_forms(&**cause);
            hide(&forms, secret) == forms
        });
        self
    }

    /// Adds the type that a server gives to the error of a PromQL query.
    pub(crate) fn with_error_type(mut self, error_type: String) -> Self {
        self.0.error_type = Some(error_type);
        self
    }

    /// Names the app that the error is about.
    pub(crate) fn of_app(mut self, app: &str) -> Self {
        self.0.app = Some(app.to_owned());
        self.with_context(&format!("app {app}: "))
    }

    /// Puts what was being done in front of the text.
    pub(crate) fn with_context(mut self, context: &str) -> Self {
        self.0.text.insert_str(0, &printable(context));
        self
    }

    /// Appends to the text, for example what to do next: `: …` to a text of this crate, ` (…)` to one that may end with
    /// a server's message.
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        if hint.starts_with(['.', ':']) {
            // No full stop comes directly before other punctuation.
            self.0.text.truncate(self.0.text.trim_end_matches('.').len());
        }
        self.0.text.push_str(&printable(hint));
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

    /// Returns the app that an item of a tail of [several apps](crate::Consumer::tail_apps) is about: the app has a
    /// [gap](ErrorKind::Gap), or nothing more comes from it, because it was rejected, or its connection ended. The tail
    /// continues with the others.
    pub fn app_id(&self) -> Option<&str> {
        self.0.app.as_deref()
    }

    /// Returns the cause of the error, if there is one: for example a [`std::io::Error`], or the error that a proxy
    /// function or a token function returned. A cause that repeats a secret is left out.
    ///
    /// ```
    /// # use loggregator_consumer::{Consumer, Proxy};
    /// let proxy = Proxy::custom(|_| Err(std::io::Error::other("no proxy today").into()));
    /// let consumer = Consumer::builder("wss://loggregator.example.com").proxy(proxy).build()?;
    /// let error = consumer.tail("app-guid", "bearer token").unwrap_err();
    /// assert!(error.get_ref().unwrap().is::<std::io::Error>());
    /// assert!(error.to_string().contains("no proxy today"));
    /// # Ok::<(), loggregator_consumer::Error>(())
    /// ```
    pub fn get_ref(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.cause.as_deref()
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

    /// Returns how long the server asks to wait before another attempt, if its response says so: the `Retry-After` of
    /// an error response, whatever its status (usually 429, too many requests, or 503), which is a number of seconds or
    /// a date. At most one hour, even if the server asks for more.
    ///
    /// No call waits for that time: it fails at once, so that the caller decides. A tail that
    /// [reconnects](crate::Builder::reconnect) waits for it before its next attempt.
    ///
    /// ```
    /// use std::thread;
    /// use loggregator_consumer::{Consumer, Error, LogMessage};
    ///
    /// fn recent_when_allowed(consumer: &Consumer, app: &str, token: &str) -> Result<Vec<LogMessage>, Error> {
    ///     loop {
    ///         match consumer.recent(app, token) {
    ///             Err(error) if error.retry_after().is_some() => thread::sleep(error.retry_after().unwrap()),
    ///             result => return result,
    ///         }
    ///     }
    /// }
    /// ```
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns true if the same call may succeed later although nobody changes anything: it is worth another attempt.
    ///
    /// | [`kind`](Error::kind) | transient? |
    /// |---|---|
    /// | any, if the platform's router answered (its header `X-Cf-Routererror`), also with a 404 | yes: it has no route to the server, for now |
    /// | [`Dial`](ErrorKind::Dial), [`Timeout`](ErrorKind::Timeout), [`ConnectionLost`](ErrorKind::ConnectionLost), [`ClosedByServer`](ErrorKind::ClosedByServer), [`Truncated`](ErrorKind::Truncated) | yes |
    /// | [`Proxy`](ErrorKind::Proxy), [`Tls`](ErrorKind::Tls), [`BadResponse`](ErrorKind::BadResponse) | yes: a server or a proxy that restarts causes them, too. If they stay, the address or a setting is wrong |
    /// | [`ServerError`](ErrorKind::ServerError): 5xx, 408, 425, 429, and any status with [`retry_after`](Error::retry_after) | yes |
    /// | [`ServerError`](ErrorKind::ServerError): any other 4xx, such as 403 | no |
    /// | [`Unauthorized`](ErrorKind::Unauthorized) with status 404, from the RLP gateway or Log Cache | yes, for a while: they answer so to a bad token and to an app that is gone, but also to every token while they cannot ask the UAA or the Cloud Controller, which was seen for 6 s at a restart |
    /// | [`Unauthorized`](ErrorKind::Unauthorized) without a status: a token function failed, or nobody is logged in to `cf` | yes, for a while |
    /// | [`Unauthorized`](ErrorKind::Unauthorized) with another status: 401, from a server or a UAA | no |
    /// | [`NotFound`](ErrorKind::NotFound), [`Ambiguous`](ErrorKind::Ambiguous), [`BadRequest`](ErrorKind::BadRequest), [`InvalidInput`](ErrorKind::InvalidInput) | no |
    /// | [`TooLarge`](ErrorKind::TooLarge) | no: raise the limit |
    /// | [`Undecodable`](ErrorKind::Undecodable), [`Gap`](ErrorKind::Gap) | no: the tail goes on by itself |
    /// | [`Closed`](ErrorKind::Closed), [`NotConnected`](ErrorKind::NotConnected) | no |
    ///
    /// Set a limit, because no error says that it will pass: a host name with a typing error cannot be dialled, either.
    /// For *a while*, 15 s are enough. A tail that [reconnects](crate::Builder::reconnect) goes by the same table when an
    /// attempt fails, and [`Reconnect`](crate::Reconnect) has its limits. It retries neither its first connection, whose
    /// error [`tail`](crate::Consumer::tail) returns, nor other calls:
    ///
    /// ```
    /// use std::thread;
    /// use std::time::{Duration, Instant};
    ///
    /// use loggregator_consumer::{Consumer, Error, Tail};
    ///
    /// /// Tails an app, also if the foundation is away for a minute.
    /// fn tail_patiently(consumer: &Consumer, app: &str) -> Result<Tail, Error> {
    ///     let deadline = Instant::now() + Duration::from_secs(60);
    ///     let mut pause = Duration::from_millis(500);
    ///     loop {
    ///         match consumer.tail(app, "") {
    ///             Err(error) if error.is_transient() && Instant::now() < deadline => {
    ///                 eprintln!("trying again: {error}");
    ///                 thread::sleep(pause.max(error.retry_after().unwrap_or_default()));
    ///                 pause = (pause * 2).min(Duration::from_secs(10));
    ///             }
    ///             result => return result,
    ///         }
    ///     }
    /// }
    /// # use loggregator_consumer::testing::{Fault, Generation, TrafficController};
    /// # use loggregator_consumer::{Builder, Proxy, TokenSource};
    /// # const APP: &str = "11111111-1111-1111-1111-111111111111";
    /// # let server = TrafficController::of(Generation::Today)?;
    /// # let tokens = TokenSource::fixed(&server.issue_token());
    /// # let consumer = Builder::new().doppler(&server.endpoint()).tokens(tokens).proxy(Proxy::none()).build()?;
    /// # server.fault(Fault::RefuseStatus { status: 503, body: Vec::new() });
    /// # tail_patiently(&consumer, APP)?;
    /// # assert_eq!(server.requests().len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_transient(&self) -> bool {
        if self.is_from_router() || self.is_ambiguous_rejection() {
            return true;
        }
        match self.kind() {
            ErrorKind::Dial
            | ErrorKind::Proxy
            | ErrorKind::Tls
            | ErrorKind::Timeout
            | ErrorKind::BadResponse
            | ErrorKind::Truncated
            | ErrorKind::ConnectionLost
            | ErrorKind::ClosedByServer => true,
            ErrorKind::ServerError => {
                let is_clients_fault =
                    matches!(self.status(), Some(400..=499)) && !matches!(self.status(), Some(408 | 425 | 429));
                !is_clients_fault || self.retry_after().is_some()
            }
            ErrorKind::InvalidInput
            | ErrorKind::Unauthorized
            | ErrorKind::NotFound
            | ErrorKind::Ambiguous
            | ErrorKind::BadRequest
            | ErrorKind::Undecodable
            | ErrorKind::Gap
            | ErrorKind::Closed
            | ErrorKind::NotConnected
            | ErrorKind::TooLarge => false,
        }
    }

    /// Returns true if a good token may have been rejected: by the 404 with which the RLP gateway and Log Cache answer
    /// both a bad token and the failure to check a good one, or by a token function that could not get another one.
    pub(crate) fn is_ambiguous_rejection(&self) -> bool {
        self.kind() == ErrorKind::Unauthorized && matches!(self.status(), None | Some(404)) && !self.is_from_router()
    }

    /// Returns the messages that [`recent`](crate::Consumer::recent) received before it failed, in the order in which
    /// it would have returned them.
    ///
    /// Every error in the middle of a response may have some: [`Truncated`](ErrorKind::Truncated),
    /// [`Timeout`](ErrorKind::Timeout), [`Tls`](ErrorKind::Tls), [`TooLarge`](ErrorKind::TooLarge),
    /// [`ConnectionLost`](ErrorKind::ConnectionLost) and [`Closed`](ErrorKind::Closed). When several pages are read
    /// from Log Cache, so may every error of a request for a page.
    pub fn recovered(&self) -> &[LogMessage] {
        &self.0.recovered
    }

    /// Returns where messages may be missing, and why, if the kind is [`Gap`](ErrorKind::Gap).
    pub fn as_gap(&self) -> Option<&Gap> {
        self.0.gap.as_ref()
    }

    /// Returns Prometheus' `errorType`, if the server has answered a [query](crate::Consumer::query) with an error in
    /// the form of Prometheus: `bad_data` for a query that it does not understand, or `execution`, `timeout`, `canceled`,
    /// `internal`, or another word.
    pub fn error_type(&self) -> Option<&str> {
        self.0.error_type.as_deref()
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
        // The cause is left out, because the text has what can be shown of it.
        let Inner { kind, text, cause: _, status, body, retry_after, recovered, gap, error_type, app, is_from_router } =
            &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("text", text)
            .field("status", status)
            .field("body", body)
            .field("retry_after", retry_after)
            .field("recovered", &recovered.len())
            .field("gap", gap)
            .field("error_type", error_type)
            .field("app", app)
            .field("is_from_router", is_from_router)
            .finish()
    }
}

/// Without a `source`, because the text includes the texts of all causes.
impl std::error::Error for Error {}

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

/// Says between which times messages may be missing.
fn messages_between(from: i64, until: Option<i64>) -> String {
    let time = |nanoseconds: i64| {
        let time = Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default();
        time.strftime("%FT%T.%3fZ").to_string()
    };
    match until {
        Some(until) => format!("messages from {} to {} may be missing", time(from), time(until)),
        None => format!("messages from {} on may be missing", time(from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists all kinds, each with its text and whether an error of it is transient. A kind that is missing does not
    /// compile.
    macro_rules! all_kinds {
        ($($kind:ident, $text:literal, $is_transient:literal;)*) => {{
            fn _is_complete(kind: ErrorKind) {
                match kind {
                    $(ErrorKind::$kind => {})*
                }
            }
            [$((ErrorKind::$kind, $text, $is_transient)),*]
        }};
    }

    #[test]
    fn every_kind_has_its_words_and_is_transient_or_not() {
        let kinds = all_kinds! {
            InvalidInput, "invalid input", false;
            Dial, "server not reachable", true;
            Proxy, "proxy failed", true;
            Tls, "TLS failed", true;
            Timeout, "timeout", true;
            Unauthorized, "token rejected", true; // without a status
            NotFound, "not found", false;
            Ambiguous, "ambiguous name", false;
            BadRequest, "bad request", false;
            BadResponse, "bad response", true;
            ServerError, "server error", true;
            Undecodable, "undecodable message", false;
            Truncated, "response cut short", true;
            ConnectionLost, "connection lost", true;
            ClosedByServer, "closed by the server", true;
            Gap, "messages may be missing", false;
            Closed, "closed", false;
            NotConnected, "not connected", false;
            TooLarge, "too large", false;
        };
        for (kind, text, is_transient) in kinds {
            assert_eq!(kind.to_string(), text);
            assert_eq!(Error::new(kind, "x").is_transient(), is_transient, "{kind:?}");
        }
        assert_eq!(format!("[{:>7}]", ErrorKind::Timeout), "[timeout]");
        assert_eq!(format!("[{:8}]", ErrorKind::Timeout), "[timeout ]");
    }

    #[test]
    fn the_status_the_router_and_retry_after_decide_where_the_kind_does_not() {
        let response = |status| Error::response(status, "", "tail", String::new(), None);
        for status in [408, 425, 429, 500, 501, 502, 503, 504, 599, 600] {
            assert!(response(status).is_transient(), "{status}");
        }
        for status in [400, 401, 402, 403, 404, 405, 407, 409, 410, 413, 424, 426, 428, 430, 431, 451, 499] {
            assert!(!response(status).is_transient(), "{status}");
            assert!(response(status).with_router("unknown_route").is_transient(), "{status}");
        }
        let soon = Some(Duration::from_secs(1));
        assert!(response(403).with_retry_after(soon).is_transient());
        for status in [400, 401, 404] {
            assert!(!response(status).with_retry_after(soon).is_transient(), "{status}");
        }
        assert!(response(404).with_kind(ErrorKind::Unauthorized).is_transient());
    }

    fn gap(ending: Ending) -> Error {
        Error::gap(ending, SystemTime::now(), None, Missing::default())
    }

    #[test]
    fn the_text_names_the_cause_in_the_same_way_on_every_system() {
        let refused = io::Error::from_raw_os_error(if cfg!(windows) { 10061 } else { libc_econnrefused() });
        let error = Error::caused(ErrorKind::Dial, "dialing", refused);
        assert!(error.to_string().starts_with("dialing: connection refused"), "{error}");
        assert_eq!(error.to_string().matches("efused").count(), 1, "{error}");
        assert!(error.get_ref().unwrap().is::<io::Error>());
        assert!(std::error::Error::source(&error).is_none());
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
    fn the_text_has_each_cause_once() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("outer")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Error::caused(ErrorKind::Proxy, "dialing", Outer(io::Error::other("Inner")));
        assert_eq!(error.to_string(), "dialing: outer: Inner");
        assert_eq!(format!("{error:#}"), error.to_string());
        let error = Error::caused(ErrorKind::Proxy, "again", error);
        assert_eq!(error.to_string(), "again: dialing: outer: Inner");
    }

    #[test]
    fn a_servers_control_characters_are_escaped_in_the_text() {
        let body = "no\r\nERROR forged \u{1b}[2J";
        let error = Error::response(500, "Oh\u{7}", "recent", body.into(), None);
        assert_eq!(error.to_string(), r"recent: the server answered 500 Oh\u{7}: no  ERROR forged \u{1b}[2J");
        assert_eq!(error.body(), Some(body));
        let ending = Ending::ClosedByServer { code: Some(1008), reason: "a\nb\u{9b}".into() };
        for text in [ending.to_string(), ending.error().unwrap().to_string(), gap(ending).to_string()] {
            assert!(text.contains(r"a b\u{9b}") && !text.contains(char::is_control), "{text}");
        }
    }

    #[test]
    fn a_token_is_hidden_in_every_form_of_an_error() {
        let token = "bearer abcdefgh";
        let ending = Ending::ClosedByServer { code: None, reason: "abcdefgh".into() };
        let cause = io::Error::other("abcdefgh");
        for error in [Error::caused(ErrorKind::Dial, "x", cause), gap(ending)] {
            let error = error.hiding(token);
            let forms = format!("{error} {error:#} {error:?} {error:#?} {:?} {:?}", error.get_ref(), error.as_gap());
            assert!(!forms.contains("abcdefgh"), "{forms}");
            assert!(forms.contains(crate::secrets::HIDDEN), "{forms}");
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
