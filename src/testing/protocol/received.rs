//! [`Received`]: what a client sent on its websocket.

use std::time::Instant;

use super::request::Request;

/// What one client sent on its websocket. Returned by
/// [`TrafficController::received`](crate::testing::TrafficController::received).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Received {
    /// The request that started the websocket.
    pub request: Request,
    /// The frames that the client sent, in order.
    pub frames: Vec<ReceivedFrame>,
    /// How the connection ended. `None` while it is open.
    pub ended: Option<WebsocketEnding>,
}

/// A frame that a client sent, and when it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedFrame {
    /// The frame.
    pub frame: Frame,
    /// When it arrived.
    pub at: Instant,
}

/// A frame, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// A text, such as the clients' keep-alive `I'm alive!`. Invalid UTF-8 is replaced by U+FFFD.
    Text(String),
    /// Binary data.
    Binary(Vec<u8>),
    /// One frame of a message that the client sent in several frames.
    Fragment(Vec<u8>),
    /// A ping. The server answers it.
    Ping(Vec<u8>),
    /// A pong, whether it answers a ping or is unsolicited.
    Pong(Vec<u8>),
    /// A close frame with its code and reason.
    Close(Option<(u16, String)>),
}

/// How a websocket ended, as the server saw it. The client's view is [`Ending`](crate::Ending).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WebsocketEnding {
    /// The client sent a close frame.
    ClosedByClient,
    /// This server ended it: with a close frame, a drop, a reset or a fault, because of missing pongs, or because the
    /// server stopped.
    ClosedByServer,
    /// The client ended the stream without a close frame.
    Eof,
    /// The client reset the connection, or left without reading what was sent to it.
    Reset,
    /// The client sent something that no client may send, such as a frame without a mask.
    ProtocolError,
}
