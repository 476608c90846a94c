//! HTTP requests: the only file that names ureq.
//!
//! ureq speaks HTTP over our own [`Dialer`], so that TLS, proxies, deadlines and cancelling work as for websockets. At
//! the level TRACE it logs every byte of a request that it has. So it never has the token, which
//! [`transmit_output`](Connection::transmit_output) adds to the request.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{StatusCode, Uri};
use parking_lot::Mutex;
use ureq::Error as UreqError;
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::chunks::{ChunkFilter, Start};
use crate::net::deadline::ReadTimeouts;
use crate::net::dial::Dialer;
use crate::net::dial::stream::{Stream, TlsFailure};
use crate::net::endpoint::Endpoint;
use crate::net::failure::{ErrorResponse, ROUTER_ERROR, io_error};
use crate::net::head::{ACCEPT_ENCODING, MAX_ERROR_BODY, coding};
use crate::net::retry_after::{date_in_nanoseconds, retry_after};
use crate::secrets::hide;

/// A response whose body has not been read yet.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    /// The server's clock (`Date`), in nanoseconds since the Unix epoch.
    pub(crate) date: Option<i64>,
    pub(crate) body: Body,
    is_encoded: bool,
    retry_after: Option<Duration>,
    router_error: Option<String>,
    reason: String,
    what: String,
    /// Hidden in the error, because the server may repeat it.
    token: String,
}

/// A body that is read as it arrives. [`body_error`] converts its errors.
pub(crate) type Body = ureq::BodyReader<'static>;

/// The time limits of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// When the response head must have been read.
    pub(crate) head: Instant,
    /// The time limits of the body.
    pub(crate) body: ReadTimeouts,
}

/// Makes one GET request over a connection of its own. `cancel` interrupts it, and reading its body, at any time.
pub(crate) fn get(
    dialer: &Arc<Dialer>,
    endpoint: &Endpoint,
    path: &str,
    token: &str,
    timeouts: Timeouts,
    cancel: &Arc<Cancel>,
) -> Result<Response> {
    Client::of_call(dialer, endpoint, cancel).get(path, token, timeouts)
}

/// Makes GET requests to one server, one after the other, and keeps the connection open between them.
///
/// A connection is kept only if the body of the last response was read to its end.
pub(crate) struct Client {
    /// `None` only while it is dropped.
    agent: Option<Agent>,
    cancel: Arc<Cancel>,
    /// Gets the agent when the client is dropped.
    pool: Option<Arc<Pool>>,
}

impl Client {
    /// Returns a client whose connection is closed with the client.
    pub(crate) fn of_call(dialer: &Arc<Dialer>, endpoint: &Endpoint, cancel: &Arc<Cancel>) -> Self {
        Client::new(Agent::new(dialer, endpoint), cancel, None)
    }

    fn new(agent: Agent, cancel: &Arc<Cancel>, pool: Option<Arc<Pool>>) -> Self {
        Client { agent: Some(agent), cancel: Arc::clone(cancel), pool }
    }

    /// Makes a GET request. `cancel` interrupts it, and reading its body, at any time.
    pub(crate) fn get(&self, path: &str, token: &str, timeouts: Timeouts) -> Result<Response> {
        let agent = self.agent.as_ref().ok_or_else(Error::closed)?;
        let response = agent.get(path, token, timeouts, &self.cancel);
        if let (Err(_), Some(pool)) = (&response, &self.pool) {
            // The other connections may be dead, too, such as after a change of the network.
            pool.clear();
        }
        response
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // From here on, `cancel` must not reach the connection: it may serve another call.
        if let (Some(pool), Some(agent)) = (&self.pool, self.agent.take())
            && agent.can_be_kept()
            && self.cancel.keep_open_on_cancel().is_ok()
        {
            *agent.current.cancel.lock() = None;
            pool.put(agent);
            // A `close` at this moment may have cleared the pool before.
            if self.cancel.is_cancelled() {
                pool.clear();
            }
        }
    }
}

/// Connections that are kept open between the calls of a consumer.
#[derive(Default)]
pub(crate) struct Pool {
    /// Each with the time since when it is idle, the oldest first.
    idle: Mutex<Vec<(Agent, Instant)>>,
}

/// The most connections that are kept: of calls that were made at the same time.
const MAX_IDLE: usize = 8;

impl Pool {
    /// Returns a client whose connection may have served other calls, and may serve further ones.
    pub(crate) fn client(self: &Arc<Self>, dialer: &Arc<Dialer>, endpoint: &Endpoint, cancel: &Arc<Cancel>) -> Client {
        let mut idle = self.idle.lock();
        idle.retain(|(_, since)| since.elapsed() < MAX_IDLE_AGE);
        let kept = idle.iter().rposition(|(agent, _)| agent.endpoint == *endpoint).map(|at| idle.remove(at).0);
        drop(idle);
        let agent = kept.unwrap_or_else(|| Agent::new(dialer, endpoint));
        Client::new(agent, cancel, Some(Arc::clone(self)))
    }

    fn put(&self, agent: Agent) {
        let mut idle = self.idle.lock();
        if idle.len() == MAX_IDLE {
            idle.remove(0);
        }
        idle.push((agent, Instant::now()));
    }

    /// Closes all idle connections.
    pub(crate) fn clear(&self) {
        self.idle.lock().clear();
    }
}

/// ureq's agent for one server, with at most one connection.
struct Agent {
    agent: ureq::Agent,
    endpoint: Endpoint,
    current: Arc<CurrentRequest>,
}

impl Agent {
    fn new(dialer: &Arc<Dialer>, endpoint: &Endpoint) -> Self {
        let current = Arc::new(CurrentRequest::default());
        let connector =
            DialConnector { dialer: Arc::clone(dialer), endpoint: endpoint.clone(), current: Arc::clone(&current) };
        let config = Config::builder()
            .http_status_as_error(false)
            // The target of a redirect would receive the token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(1)
            .max_idle_age(MAX_IDLE_AGE)
            // ureq takes a head that fills the buffer for the end of the connection.
            .max_response_header_size(INPUT_BUFFER / 2)
            .proxy(None)
            .user_agent(crate::USER_AGENT)
            .accept_encoding(ACCEPT_ENCODING)
            .build();
        Agent { agent: ureq::Agent::with_parts(config, connector, NoResolver), endpoint: endpoint.clone(), current }
    }

    /// Returns true if the connection is open, and the last response was no error.
    fn can_be_kept(&self) -> bool {
        self.current.is_connected.load(Ordering::Relaxed) && self.current.in_body.load(Ordering::Relaxed)
    }

    fn get(&self, path: &str, token: &str, timeouts: Timeouts, cancel: &Arc<Cancel>) -> Result<Response> {
        let what = format!("the request for {}", self.endpoint.path(path));
        let call = || {
            self.current.begin(token, timeouts, cancel);
            self.agent.get(self.endpoint.http_url(path)).call()
        };
        let response = match call() {
            // The server closed the kept connection before it saw the request. A GET can be repeated.
            Err(UreqError::Io(error))
                if error.kind() != io::ErrorKind::TimedOut
                    && self.current.is_on_stale_connection()
                    && !cancel.is_cancelled() =>
            {
                call()
            }
            response => response,
        };
        let response = response.map_err(|error| self.endpoint.explain(head_error(&what, error), cancel))?;

        let status = response.status();
        // The body of an error response gets no more time than the head.
        self.current.in_body.store(status == StatusCode::OK, Ordering::Relaxed);
        let header =
            |name| response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let mut reason = status.canonical_reason().unwrap_or_default().to_owned();
        if let Some(location) = header("location").filter(|_| status.is_redirection()) {
            reason.push_str(&format!(" (redirects to {location}, not followed because the token is for this server)"));
        }
        let headers = response.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let date = header("date");
        let retry_after = retry_after(header("retry-after").as_deref(), date.as_deref());
        let date = date.as_deref().and_then(date_in_nanoseconds);
        let coding = coding(headers).map(str::to_owned);
        if let Some(coding) = coding.as_ref().filter(|_| status == StatusCode::OK) {
            let text = format!("{what}: the response is encoded ({coding}), which was not requested");
            return Err(Error::new(ErrorKind::BadResponse, text));
        }
        let content_type = header("content-type");
        let router_error = header(ROUTER_ERROR);
        let body = response.into_body().into_reader();
        let is_encoded = coding.is_some();
        Ok(Response {
            status: status.as_u16(),
            reason,
            content_type,
            date,
            is_encoded,
            retry_after,
            router_error,
            body,
            what,
            token: token.to_owned(),
        })
    }
}

impl Response {
    /// Reads the body of an error response, and returns the error with it.
    pub(crate) fn into_error(self) -> Error {
        let mut body = Vec::new();
        // A body that does not arrive or cannot be read is left out: the status says more than it does.
        if !self.is_encoded {
            let _ = self.body.take(MAX_ERROR_BODY as u64).read_to_end(&mut body);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        let response = ErrorResponse {
            status: self.status,
            reason: &self.reason,
            body,
            retry_after: self.retry_after,
            router_error: self.router_error.as_deref(),
        };
        response.into_error(self.what, |text| hide(text, &self.token))
    }
}

/// Converts an error that came before the end of the response head.
fn head_error(what: &str, error: UreqError) -> Error {
    match error {
        // Our own error, from the dialer.
        UreqError::Other(error) => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::caused(ErrorKind::BadResponse, what, error),
        },
        UreqError::Io(error) => io_error(what, error),
        error => Error::caused(ErrorKind::BadResponse, what, error),
    }
}

/// Converts an error of reading a body.
pub(crate) fn body_error(what: &str, error: io::Error, cancel: &Cancel) -> Error {
    if cancel.is_cancelled() {
        return Error::closed();
    }
    let kind = match error.kind() {
        _ if TlsFailure::is(&error) => ErrorKind::Tls,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Truncated,
    };
    Error::caused(kind, format_args!("{what}: its body broke off"), error)
}

/// The request that a client makes now. Its connection, which may have served others before, looks here.
#[derive(Debug, Default)]
struct CurrentRequest {
    /// Counts the requests of the client.
    number: AtomicU64,
    /// `None` once it has been sent.
    authorization: Mutex<Option<String>>,
    timeouts: Mutex<Option<Timeouts>>,
    cancel: Mutex<Option<Arc<Cancel>>>,
    is_connected: AtomicBool,
    /// The response head has been read.
    in_body: AtomicBool,
    /// The request was sent on a connection that has served another request before.
    is_on_kept_connection: AtomicBool,
    /// Some of the response has arrived.
    has_response: AtomicBool,
}

impl CurrentRequest {
    fn begin(&self, token: &str, timeouts: Timeouts, cancel: &Arc<Cancel>) {
        self.number.fetch_add(1, Ordering::Relaxed);
        *self.authorization.lock() = Some(token.to_owned()).filter(|value| !value.is_empty());
        *self.timeouts.lock() = Some(timeouts);
        *self.cancel.lock() = Some(Arc::clone(cancel));
        for flag in [&self.in_body, &self.is_on_kept_connection, &self.has_response] {
            flag.store(false, Ordering::Relaxed);
        }
    }

    fn deadline(&self) -> Instant {
        let Some(timeouts) = *self.timeouts.lock() else { return Instant::now() };
        if self.in_body.load(Ordering::Relaxed) { timeouts.body.idle_deadline() } else { timeouts.head }
    }

    /// Returns the handle that cancels the request.
    fn cancel(&self) -> Result<Arc<Cancel>, UreqError> {
        self.cancel.lock().clone().ok_or_else(|| UreqError::Other(Error::closed().into()))
    }

    fn is_on_stale_connection(&self) -> bool {
        self.is_on_kept_connection.load(Ordering::Relaxed) && !self.has_response.load(Ordering::Relaxed)
    }
}

/// Connects ureq through our dialer.
struct DialConnector {
    dialer: Arc<Dialer>,
    endpoint: Endpoint,
    current: Arc<CurrentRequest>,
}

impl Connector for DialConnector {
    type Out = Connection;

    fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<Connection>, UreqError> {
        let stream = self
            .dialer
            .dial(&self.endpoint, self.current.deadline(), &*self.current.cancel()?)
            .map_err(|error| UreqError::Other(error.into()))?;
        self.current.is_connected.store(true, Ordering::Relaxed);
        let buffers = LazyBuffers::new(INPUT_BUFFER, OUTPUT_BUFFER);
        Ok(Some(Connection {
            stream,
            buffers,
            received: Received::Head,
            request: 0,
            current: Arc::clone(&self.current),
        }))
    }
}

impl fmt::Debug for DialConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialConnector").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A connection that has not been used for this long is not used again, and closed at a later call. Routers close it after
/// a minute or more.
const MAX_IDLE_AGE: Duration = Duration::from_secs(30);

const INPUT_BUFFER: usize = 64 * 1024;
const OUTPUT_BUFFER: usize = 16 * 1024;

/// A connection for ureq. It ignores ureq's own time limits.
struct Connection {
    stream: Stream,
    buffers: LazyBuffers,
    received: Received,
    /// The number of the request that it serves. 0 before the first.
    request: u64,
    current: Arc<CurrentRequest>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.current.is_connected.store(false, Ordering::Relaxed);
    }
}

/// How far a response has been received.
#[derive(Debug)]
enum Received {
    /// The final head is not complete.
    Head,
    /// The body is in chunks.
    Chunks(ChunkFilter),
    /// The body has no framing that must be filtered.
    Plain,
    /// The body exceeds a limit. The bytes before that are passed on first.
    Failed(io::Error),
}

impl Connection {
    /// Reads once. Returns true if there is something new for ureq.
    fn read(&mut self) -> Result<bool, UreqError> {
        let buffer = self.buffers.input_append_buf();
        if let Received::Failed(error) = &mut self.received {
            return Err(std::mem::replace(error, io::ErrorKind::InvalidData.into()).into());
        }
        let amount = self.stream.read_by(buffer, self.current.deadline()).map_err(mask_reset)?;
        if amount == 0 {
            // As an error, because ureq would otherwise miss an end in the middle of a chunk's size.
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.current.has_response.store(true, Ordering::Relaxed);
        let mut kept = amount;
        if let Received::Chunks(filter) = &mut self.received {
            let (filtered, result) = filter.filter(&mut buffer[..amount]);
            kept = filtered;
            self.received.fail(result);
        }
        self.buffers.input_appended(kept);
        if let Received::Head = self.received {
            return Ok(self.skip_interim_responses());
        }
        Ok(kept > 0)
    }

    /// Removes complete interim responses from the buffer (RFC 9110, section 15.2), because ureq rejects some of them.
    /// When the final head is complete, filters what was read of the body. Returns true if something is left.
    fn skip_interim_responses(&mut self) -> bool {
        loop {
            match Start::of(self.buffers.input()) {
                Start::Incomplete => return !self.buffers.input().is_empty(),
                Start::Interim(length) => self.buffers.input_consume(length),
                Start::Final { is_chunked: false, .. } => {
                    self.received = Received::Plain;
                    return true;
                }
                Start::Final { length, is_chunked: true } => {
                    let mut bytes = self.buffers.input().to_vec();
                    self.buffers.input_consume(bytes.len());
                    let mut filter = ChunkFilter::new();
                    let (filtered, result) = filter.filter(&mut bytes[length..]);
                    self.received = Received::Chunks(filter);
                    self.received.fail(result);
                    let bytes = &bytes[..length + filtered];
                    self.buffers.input_append_buf()[..bytes.len()].copy_from_slice(bytes);
                    self.buffers.input_appended(bytes.len());
                    return true;
                }
            }
        }
    }
}

impl Received {
    fn fail(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            *self = Received::Failed(error);
        }
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), UreqError> {
        let deadline = self.current.deadline();
        let number = self.current.number.load(Ordering::Relaxed);
        if self.request != number {
            let is_kept = self.request > 0;
            self.current.is_on_kept_connection.store(is_kept, Ordering::Relaxed);
            if is_kept {
                let registered = self.current.cancel()?.shut_down_on_cancel(self.stream.socket());
                registered.map_err(|error| UreqError::Other(error.into()))?;
            }
            self.request = number;
            self.received = Received::Head;
        }
        let authorization = self.current.authorization.lock().take();
        let mut bytes = &self.buffers.output()[..amount];
        if let Some(value) = authorization {
            // The first write contains the whole request line.
            let line_end = memchr::memchr(b'\n', bytes).map_or(amount, |at| at + 1);
            let (line, rest) = bytes.split_at(line_end);
            self.stream.write_all_by(&[line, b"Authorization: ", value.as_bytes(), b"\r\n"].concat(), deadline)?;
            bytes = rest;
        }
        Ok(self.stream.write_all_by(bytes, deadline)?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, UreqError> {
        if self.buffers.input_append_buf().is_empty() {
            // A protocol element is longer than the buffer, such as the line of a chunk's size.
            return Ok(false);
        }
        // ureq takes a read of nothing for the end.
        while !self.read()? {}
        Ok(true)
    }

    fn is_open(&mut self) -> bool {
        // Nothing is requested now, so whatever can be read is the end of the connection, or nothing to rely on.
        self.stream.is_quiet()
    }

    fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }
}

/// Turns a reset into a broken pipe, because ureq takes a reset in a body for a normal end of the connection.
fn mask_reset(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            io::Error::new(io::ErrorKind::BrokenPipe, "connection reset")
        }
        _ => error,
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// Resolves nothing. The dialer resolves names, and behind a proxy they must not be resolved here at all.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, UreqError> {
        Ok(self.empty())
    }
}
