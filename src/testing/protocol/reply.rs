//! [`Reply`]: how the foundation answers a request.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::envelope_filter::EnvelopeFilter;
use super::log_entry::WireFormat;
use super::request::Request;
use super::response::Response;
use crate::testing::config::generation::Generation;

pub(crate) enum Reply {
    /// An HTTP response.
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
    /// Accepts the request if it is a websocket handshake, as gorilla/websocket does in the servers of this generation.
    pub(crate) fn accept(
        request: &Request,
        kind: WebsocketKind,
        format: WireFormat,
        generation: Generation,
    ) -> Result<Self, HandshakeError> {
        if !request.header_lists("Upgrade", "websocket") || !request.header_lists("Connection", "Upgrade") {
            return Err(HandshakeError::Malformed);
        }
        if generation.checks_handshake_method() && request.method != "GET" {
            return Err(HandshakeError::NotGet);
        }
        let key = request.header("Sec-WebSocket-Key").unwrap_or_default();
        let is_valid_key = match generation.checks_handshake_key() {
            true => BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == 16),
            false => !key.is_empty(),
        };
        if !is_valid_key || request.header("Sec-WebSocket-Version") != Some("13") {
            return Err(HandshakeError::Malformed);
        }
        Ok(WebsocketUpgrade { request: request.clone(), kind, format })
    }
}

/// Why a request is not an acceptable websocket handshake.
pub(crate) enum HandshakeError {
    Malformed,
    NotGet,
}

/// A stream of the RLP gateway that the server grants.
pub(crate) struct EventSubscription {
    /// The apps whose envelopes are sent.
    pub(crate) apps: Vec<String>,
    /// Which of them.
    pub(crate) filter: EnvelopeFilter,
    /// Streams of the same shard share what comes.
    pub(crate) shard: Option<String>,
}
