//! [`Fault`]: what can go wrong with a connection, on demand.

use std::time::Duration;

use super::server::RouterError;
use super::settings::SlowReader;

/// A fault of a connection.
///
/// Faults are passed to [`TrafficController::fault`](crate::testing::TrafficController::fault) for the next connection,
/// to [`fault_at`](crate::testing::TrafficController::fault_at) for the next request of some kind, or to
/// [`always`](crate::testing::TrafficController::always) for all connections. One connection can have several:
/// `[Fault::Drip { every }, Fault::Truncate]`. If two contradict each other, the later one applies. A connection that is
/// kept open counts as the next one when it is used for another request.
///
/// Positions are numbers of bytes that the server has sent on the connection, before encryption, counted from the first
/// byte of the response head. A position after the end of the response has no effect.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use loggregator_consumer::testing::{Fault, TrafficController};
///
/// let server = TrafficController::start()?;
/// server.fault(Fault::RefuseStatus { status: 503, body: "try again".into() });
/// let get = |server: &TrafficController| -> std::io::Result<String> {
///     let mut client = TcpStream::connect(server.address())?;
///     client.write_all(b"GET /recent?app=a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
///     let mut response = String::new();
///     client.read_to_string(&mut response)?;
///     Ok(response)
/// };
/// assert!(get(&server)?.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
/// assert!(get(&server)?.starts_with("HTTP/1.1 200 OK\r\n")); // the fault is used up
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is accepted, but there is neither a TLS handshake nor a response. If it is aimed at a kind of
    /// request, the request is read, but not answered.
    SilentAccept,
    /// Every request, for any path and with any token, gets a response with this status and body.
    RefuseStatus {
        /// The status.
        status: u16,
        /// The body, served as `text/plain`.
        body: Vec<u8>,
    },
    /// Every request, for any path and with any token, is rejected because the client has sent too many, or because the
    /// server is too busy. The body of a 429 is that of a Cloud Controller.
    RateLimit {
        /// The status, usually 429 or 503.
        status: u16,
        /// The value of the header `Retry-After`: a number of seconds, or a date.
        retry_after: String,
    },
    /// The router in front of the server cannot forward the request to it.
    Router(RouterError),
    /// The response to a websocket handshake contains a wrong `Sec-WebSocket-Accept`.
    WrongAcceptKey,
    /// These bytes are sent instead of an HTTP response.
    Garbage(Vec<u8>),
    /// The response body is sent this long after the head, for successes and errors alike. Websockets are not delayed,
    /// but streams of the RLP gateway are.
    DelayedBody(Duration),
    /// The response body never ends: after its normal content follows one more part without an end (on a websocket: a
    /// frame; from Log Cache: an envelope; on the RLP gateway: an event). There is no `Content-Length`.
    EndlessBody,
    /// The messages that are kept for the app are sent again and again without end, in responses with recent messages
    /// and on tails. Requires [`add_recent`](crate::testing::TrafficController::add_recent).
    EndlessMessages,
    /// The connection ends, without a reset, in the middle of the body, although the head announced all of it: with a
    /// `Content-Length`, or with a last chunk or a closing delimiter that is missing. Streams of the RLP gateway are
    /// not affected, because they have no middle.
    Truncate,
    /// The connection ends after this many bytes: TCP's FIN, without a close frame and without TLS's `close_notify`.
    DropAfter(u64),
    /// The connection is reset after this many bytes: TCP's RST. What the client has not read by then may be lost.
    ResetAfter(u64),
    /// Nothing is sent after this many bytes, but the connection stays open.
    StallAfter(u64),
    /// What happens to a tail whose client does not read fast enough, instead of what
    /// [`TrafficControllerBuilder::slow_reader`](crate::testing::TrafficControllerBuilder::slow_reader) says.
    SlowReader(SlowReader),
    /// The bytes are sent one at a time.
    Drip {
        /// The pause between two bytes.
        every: Duration,
    },
}

impl From<Fault> for Vec<Fault> {
    fn from(fault: Fault) -> Self {
        vec![fault]
    }
}

/// The faults of one connection, one field for each place in the code that looks for faults.
#[derive(Default)]
pub(crate) struct FaultPlan {
    /// It was queued for this connection, rather than set for all.
    pub(crate) is_queued: bool,
    pub(crate) silent: bool,
    /// What is sent instead of the response of a server.
    pub(crate) error_response: Option<ErrorResponse>,
    pub(crate) wrong_accept_key: bool,
    pub(crate) garbage: Option<Vec<u8>>,
    pub(crate) delayed_body: Option<Duration>,
    pub(crate) endless: Option<Endless>,
    pub(crate) truncate: bool,
    /// Where the sending is interrupted, as a number of bytes, and how.
    pub(crate) interruption: Option<(u64, Interruption)>,
    /// The pause between two bytes.
    pub(crate) drip: Option<Duration>,
    pub(crate) slow_reader: Option<SlowReader>,
}

/// An error response that does not depend on the request.
pub(crate) enum ErrorResponse {
    Status { status: u16, body: Vec<u8> },
    RateLimit { status: u16, retry_after: String },
    Router(RouterError),
}

/// How a response has no end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endless {
    /// Its last part never ends.
    Part,
    /// Its messages are repeated.
    Messages,
}

/// What happens when a connection has sent a certain number of bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// It ends without a reset.
    Drop,
    /// It is reset.
    Reset,
    /// It stays open, but nothing more is sent.
    Stall,
}

impl From<Vec<Fault>> for FaultPlan {
    fn from(faults: Vec<Fault>) -> Self {
        let mut plan = FaultPlan::default();
        for fault in faults {
            match fault {
                Fault::SilentAccept => plan.silent = true,
                Fault::RefuseStatus { status, body } => {
                    plan.error_response = Some(ErrorResponse::Status { status, body });
                }
                Fault::RateLimit { status, retry_after } => {
                    plan.error_response = Some(ErrorResponse::RateLimit { status, retry_after });
                }
                Fault::Router(error) => plan.error_response = Some(ErrorResponse::Router(error)),
                Fault::WrongAcceptKey => plan.wrong_accept_key = true,
                Fault::Garbage(bytes) => plan.garbage = Some(bytes),
                Fault::DelayedBody(delay) => plan.delayed_body = Some(delay),
                Fault::EndlessBody => plan.endless = Some(Endless::Part),
                Fault::EndlessMessages => plan.endless = Some(Endless::Messages),
                Fault::Truncate => plan.truncate = true,
                Fault::DropAfter(bytes) => plan.interruption = Some((bytes, Interruption::Drop)),
                Fault::ResetAfter(bytes) => plan.interruption = Some((bytes, Interruption::Reset)),
                Fault::StallAfter(bytes) => plan.interruption = Some((bytes, Interruption::Stall)),
                Fault::SlowReader(slow_reader) => plan.slow_reader = Some(slow_reader),
                Fault::Drip { every } => plan.drip = Some(every),
            }
        }
        plan
    }
}
