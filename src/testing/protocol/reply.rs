//! [`Reply`]: how the foundation answers a request.

use super::log_entry::WireFormat;
use super::request::Request;
use super::response::Response;

pub(crate) enum Reply {
    /// An HTTP response. The connection ends after it.
    Response(Response),
    /// These bytes. The connection ends after them.
    Raw(Vec<u8>),
    /// A websocket.
    Websocket(WebsocketUpgrade),
    /// A stream of server-sent events. The connection stays open after it.
    EventStream(EventSubscription),
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Reply::Response(response)
    }
}

/// A websocket handshake that the server accepts.
pub(crate) struct WebsocketUpgrade {
    pub(crate) request: Request,
    pub(crate) kind: WebsocketKind,
    pub(crate) format: WireFormat,
}

/// What is sent on a websocket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebsocketKind {
    /// What the app logs from now on.
    Tail,
    /// What is kept of the app, and then a close frame.
    Dump,
}

impl WebsocketUpgrade {
    /// Accepts the request if it is a websocket handshake.
    pub(crate) fn accept(request: Request, kind: WebsocketKind, format: WireFormat) -> Option<Self> {
        let is_handshake = request.header("Sec-WebSocket-Key").is_some_and(|key| !key.is_empty())
            && request.method == "GET"
            && request.header_lists("Upgrade", "websocket")
            && request.header_lists("Connection", "Upgrade")
            && request.header("Sec-WebSocket-Version") == Some("13");
        is_handshake.then_some(WebsocketUpgrade { request, kind, format })
    }
}

/// A stream of the RLP gateway that the server grants.
pub(crate) struct EventSubscription {
    /// The apps whose logs are sent.
    pub(crate) apps: Vec<String>,
}
