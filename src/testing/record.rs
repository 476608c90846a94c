//! What the clients sent: [`Request`], [`Received`].

use std::fmt;
use std::time::Instant;

use percent_encoding::percent_decode_str;

/// A request that a client sent, as [`TrafficController::requests`](super::TrafficController::requests) gives it.
///
/// Its `Debug` form leaves out the values of the headers that hold secrets.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// The target as it was sent, such as `/tail/?app=my-app-guid`.
    pub target: String,
    /// The headers' names and values in their order, with what is no UTF-8 in a value replaced by U+FFFD.
    pub headers: Vec<(String, String)>,
    /// What it asks for.
    pub kind: RequestKind,
    /// When its head was complete.
    pub at: Instant,
}

/// What a [`Request`] asks for: its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// `/recent`
    Recent,
    /// `/tail/`
    Tail,
    /// `/dump/`
    Dump,
    /// Another path, which the server does not know.
    Other,
}

impl Request {
    pub(super) fn new(method: &str, target: &str, headers: &[httparse::Header<'_>]) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let mut request = Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
            kind: RequestKind::Other,
            at: Instant::now(),
        };
        request.kind = match request.path() {
            "/recent" => RequestKind::Recent,
            "/tail/" => RequestKind::Tail,
            "/dump/" => RequestKind::Dump,
            _ => RequestKind::Other,
        };
        request
    }

    /// The target without its query, as it was sent.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The GUID of the app that it asks about: the query's `app`, decoded. Empty when there is none.
    pub fn app(&self) -> String {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let app = query.split('&').find_map(|pair| pair.strip_prefix("app="));
        percent_decode_str(&app.unwrap_or_default().replace('+', " ")).decode_utf8_lossy().into_owned()
    }

    /// The value of the first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether a header is a list that holds this word, in whatever case.
    pub(super) fn header_lists(&self, name: &str, word: &str) -> bool {
        self.header(name).is_some_and(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { method, target, headers, kind, at } = self;
        let secret = |name: &str| {
            ["authorization", "proxy-authorization", "cookie"].iter().any(|other| name.eq_ignore_ascii_case(other))
        };
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name, if secret(name) { "[left out]" } else { value.as_str() }))
            .collect();
        f.debug_struct("Request")
            .field("method", method)
            .field("target", target)
            .field("headers", &headers)
            .field("kind", kind)
            .field("at", at)
            .finish()
    }
}

/// What one client sent on its websocket, as [`TrafficController::received`](super::TrafficController::received)
/// gives it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Received {
    /// The request that the websocket began with.
    pub request: Request,
    /// The frames that the client sent, in their order.
    pub frames: Vec<ReceivedFrame>,
    /// How the connection ended; `None` while it is open.
    pub ended: Option<Ending>,
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
    /// A text, such as the clients' keep-alive `I'm alive!`, with what is no UTF-8 replaced by U+FFFD.
    Text(String),
    /// Binary data.
    Binary(Vec<u8>),
    /// One of the frames of a message that the client sent in several.
    Fragment(Vec<u8>),
    /// A ping. It is answered.
    Ping(Vec<u8>),
    /// A pong, be it an answer or unsolicited.
    Pong(Vec<u8>),
    /// A close frame: its code and reason.
    Close(Option<(u16, String)>),
}

/// How a websocket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The client sent a close frame.
    ClosedByClient,
    /// This server ended it: by a close frame, a drop, a reset or a fault, for want of pongs, or because it stopped.
    ClosedByServer,
    /// The client ended the stream without a close frame.
    Eof,
    /// The client reset the connection, or left without reading what it was sent.
    Reset,
    /// The client sent what no client may, such as a frame without a mask.
    ProtocolError,
}
