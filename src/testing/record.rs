//! What the clients sent: [`Request`], [`Received`].

use std::fmt;
use std::time::Instant;

use percent_encoding::percent_decode_str;

/// A request that a client sent, as [`TrafficController::requests`](super::TrafficController::requests) gives it.
///
/// Its `Debug` form leaves out the values of the headers that hold secrets, and the body.
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
    /// The form in the body of a request for a [token](RequestKind::Token). Other bodies are not read.
    pub body: Vec<u8>,
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
    /// `/apps/<guid>/stream`
    Stream,
    /// `/apps/<guid>/recentlogs`
    RecentLogs,
    /// `/api/v1/read/<guid>`, Log Cache's
    LogCacheRead,
    /// `/api/v1/meta`, Log Cache's
    LogCacheMeta,
    /// `/api/v1/info`, Log Cache's
    LogCacheInfo,
    /// `/v2/read`, the RLP gateway's
    Gateway,
    /// `/`, the API's
    ApiRoot,
    /// `/v2/info`, the API's
    ApiInfo,
    /// `/oauth/token`, the UAA's
    Token,
    /// Another path, which no server knows.
    Other,
}

impl Request {
    pub(super) fn new(method: &str, target: &str, headers: &[httparse::Header<'_>]) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
            kind: RequestKind::of(target.split('?').next().unwrap_or_default()),
            body: Vec::new(),
            at: Instant::now(),
        }
    }

    /// The target without its query, as it was sent.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The GUID of the app that it asks about, decoded: from its path, or the query's `app` or `source_id`. Empty when
    /// there is none.
    pub fn app(&self) -> String {
        self.apps().into_iter().next().unwrap_or_default()
    }

    /// The GUIDs of all the apps that it asks about: the RLP gateway streams several.
    pub(super) fn apps(&self) -> Vec<String> {
        let in_path = match self.kind {
            RequestKind::Gateway => return self.query_values("source_id"),
            RequestKind::Stream | RequestKind::RecentLogs => app_in_path(self.path()).map(|(app, _)| app),
            RequestKind::LogCacheRead => self.path().strip_prefix(LOG_CACHE_READ),
            _ => return self.query_values("app"),
        };
        in_path.map(|app| percent_decode_str(app).decode_utf8_lossy().into_owned()).into_iter().collect()
    }

    /// The values of this name in the query, decoded.
    pub(super) fn query_values(&self, name: &str) -> Vec<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        form_values(query, name).collect()
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

const LOG_CACHE_READ: &str = "/api/v1/read/";

/// The app of one of Doppler's paths, and what is asked for of it.
fn app_in_path(path: &str) -> Option<(&str, &str)> {
    let (app, what) = path.strip_prefix("/apps/")?.split_once('/')?;
    (!app.is_empty()).then_some((app, what))
}

impl RequestKind {
    fn of(path: &str) -> Self {
        match path {
            "/recent" => RequestKind::Recent,
            "/tail/" => RequestKind::Tail,
            "/dump/" => RequestKind::Dump,
            "/api/v1/meta" => RequestKind::LogCacheMeta,
            "/api/v1/info" => RequestKind::LogCacheInfo,
            "/v2/read" => RequestKind::Gateway,
            "/" => RequestKind::ApiRoot,
            "/v2/info" => RequestKind::ApiInfo,
            "/oauth/token" => RequestKind::Token,
            _ if path.strip_prefix(LOG_CACHE_READ).is_some_and(|source| !source.is_empty()) => {
                RequestKind::LogCacheRead
            }
            _ => match app_in_path(path) {
                Some((_, "stream")) => RequestKind::Stream,
                Some((_, "recentlogs")) => RequestKind::RecentLogs,
                _ => RequestKind::Other,
            },
        }
    }
}

/// The values of this name in a form or a query, decoded.
pub(super) fn form_values(form: &str, name: &str) -> impl Iterator<Item = String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    form.split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(move |(key, _)| decode(key) == name)
        .map(move |(_, value)| decode(value))
}

/// Whether an id has the form of a GUID, as those of apps have.
pub(super) fn is_guid(id: &str) -> bool {
    let parts = || id.split('-');
    parts().map(str::len).eq([8, 4, 4, 4, 12]) && parts().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { method, target, headers, kind, body, at } = self;
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
            .field("body", &format_args!("{} bytes", body.len()))
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
