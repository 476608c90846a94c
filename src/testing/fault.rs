//! [`Fault`]: what can go wrong with a connection, on demand.

use std::time::Duration;

use super::stream::Cut;

/// What is to go wrong with a connection.
///
/// Faults are given to [`TrafficController::fault`](super::TrafficController::fault) for the next connection, or to
/// [`always`](super::TrafficController::always) for all. Several may strike one connection: `[Fault::Drip { every },
/// Fault::Truncate]`. Of two that contradict each other the later one counts.
///
/// Positions count the bytes that the server has sent on the connection from the first byte of its answer's head,
/// before they are encrypted. A position behind the end of the answer never strikes.
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
///     client.write_all(b"GET /recent?app=a HTTP/1.1\r\nHost: x\r\n\r\n")?;
///     let mut answer = String::new();
///     client.read_to_string(&mut answer)?;
///     Ok(answer)
/// };
/// assert!(get(&server)?.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
/// assert!(get(&server)?.starts_with("HTTP/1.1 200 OK\r\n")); // the fault is used up
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is accepted, and nothing else: no TLS handshake, no answer.
    SilentAccept,
    /// Every request, whatever its path and token, is answered with this status and body.
    RefuseStatus {
        /// The status.
        status: u16,
        /// The body, served as `text/plain`.
        body: Vec<u8>,
    },
    /// The answer to a websocket handshake holds a wrong `Sec-WebSocket-Accept`.
    WrongAcceptKey,
    /// These bytes are the answer, instead of HTTP.
    Garbage(Vec<u8>),
    /// The body of the answer comes so much later than its head, be it a success or a refusal. Websockets are not
    /// delayed, but streams of the RLP gateway are.
    DelayedBody(Duration),
    /// The body has no end: behind what the answer holds comes one more part, which never ends (on a websocket: one more
    /// frame; from Log Cache: an envelope; on the RLP gateway: an event). The length is not announced, for there is
    /// none.
    EndlessBody,
    /// The messages that are kept for the app come over and over without end, in answers with recent messages and on
    /// tails. It needs [`add_recent`](super::TrafficController::add_recent).
    EndlessMessages,
    /// The connection ends (without a reset) in the middle of the body. The head promised all of it: by
    /// Content-Length, by a chunked body's last chunk that is missing, or by the closing delimiter that is. Streams of
    /// the RLP gateway, which have no middle, are left alone.
    Truncate,
    /// The connection ends after so many bytes: TCP's FIN, without a close frame and without TLS's `close_notify`.
    DropAfter(u64),
    /// The connection is reset after so many bytes: TCP's RST. What the client had not read by then may be lost.
    ResetAfter(u64),
    /// After so many bytes nothing is sent any more, while the connection stays open.
    StallAfter(u64),
    /// The bytes come one at a time, with this pause between them.
    Drip {
        /// The pause.
        every: Duration,
    },
}

impl From<Fault> for Vec<Fault> {
    fn from(fault: Fault) -> Self {
        vec![fault]
    }
}

/// What is to happen to one connection.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) silent: bool,
    pub(super) refuse: Option<(u16, Vec<u8>)>,
    pub(super) wrong_accept_key: bool,
    pub(super) garbage: Option<Vec<u8>>,
    pub(super) delayed_body: Option<Duration>,
    pub(super) endless: Option<Endless>,
    pub(super) truncate: bool,
    pub(super) cut: Option<(u64, Cut)>,
    pub(super) drip: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Endless {
    Part,
    Messages,
}

impl From<Vec<Fault>> for Plan {
    fn from(faults: Vec<Fault>) -> Self {
        let mut plan = Plan::default();
        for fault in faults {
            match fault {
                Fault::SilentAccept => plan.silent = true,
                Fault::RefuseStatus { status, body } => plan.refuse = Some((status, body)),
                Fault::WrongAcceptKey => plan.wrong_accept_key = true,
                Fault::Garbage(bytes) => plan.garbage = Some(bytes),
                Fault::DelayedBody(delay) => plan.delayed_body = Some(delay),
                Fault::EndlessBody => plan.endless = Some(Endless::Part),
                Fault::EndlessMessages => plan.endless = Some(Endless::Messages),
                Fault::Truncate => plan.truncate = true,
                Fault::DropAfter(bytes) => plan.cut = Some((bytes, Cut::Drop)),
                Fault::ResetAfter(bytes) => plan.cut = Some((bytes, Cut::Reset)),
                Fault::StallAfter(bytes) => plan.cut = Some((bytes, Cut::Stall)),
                Fault::Drip { every } => plan.drip = Some(every),
            }
        }
        plan
    }
}
