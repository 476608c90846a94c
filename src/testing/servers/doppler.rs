//! Generation 2: Doppler without legacy paths. It streams an app's logs, and returns the recent ones until Log Cache.

use super::authorization::{Authorization, authorize};
use super::multipart;
use crate::testing::config::fault::Endless;
use crate::testing::protocol::log_entry::WireFormat;
use crate::testing::protocol::reply::{HandshakeError, Reply, WebsocketKind, WebsocketUpgrade};
use crate::testing::protocol::request::{Request, is_guid};
use crate::testing::protocol::response::Response;
use crate::testing::state::SharedState;

const FORMAT: WireFormat = WireFormat::Doppler { is_converted: true };

/// Answers `/apps/<guid>/stream`.
pub(crate) fn stream(shared: &SharedState, request: &Request) -> Reply {
    if let Some(response) = rejection(shared, request) {
        return response.into();
    }
    upgrade(shared, request, FORMAT)
}

fn upgrade(shared: &SharedState, request: &Request, format: WireFormat) -> Reply {
    let error = |error| {
        let (status, text) = match error {
            HandshakeError::Malformed => (400, "Bad Request\n"),
            HandshakeError::NotGet => (405, "Method Not Allowed\n"),
        };
        Response::text(status, text).header("Sec-Websocket-Version", "13").header("X-Content-Type-Options", "nosniff")
    };
    WebsocketUpgrade::accept(request, WebsocketKind::Tail, format, shared.settings.generation)
        .map_or_else(|problem| error(problem).into(), Reply::Websocket)
}

/// Answers `/apps/<guid>/recentlogs`.
pub(crate) fn recent(shared: &SharedState, endless: Option<Endless>, request: &Request) -> Response {
    rejection(shared, request).unwrap_or_else(|| multipart::recent(shared, endless, &request.app(), FORMAT))
}

/// Answers `/apps/<guid>/containermetrics`.
pub(crate) fn container_metrics(shared: &SharedState, endless: Option<Endless>, request: &Request) -> Response {
    rejection(shared, request).unwrap_or_else(|| multipart::container_metrics(shared, endless, &request.app(), FORMAT))
}

/// Answers `/firehose/<subscription id>`, which only an admin may read.
pub(crate) fn firehose(shared: &SharedState, request: &Request) -> Reply {
    let is_old = shared.settings.generation.has_legacy();
    let message = match authorize(shared, request) {
        Authorization::Admin if is_old => {
            return upgrade(shared, request, WireFormat::Doppler { is_converted: false });
        }
        Authorization::Admin => return upgrade(shared, request, FORMAT),
        Authorization::NoToken if is_old => "Error: Authorization not provided",
        Authorization::NoToken => "authorization not provided",
        _ if is_old => "Error: Invalid authorization",
        _ => "invalid authorization",
    };
    let response = Response::text(401, format!("You are not authorized. {message}"));
    response.header("Www-Authenticate", "Basic").into()
}

/// Returns the error response to a request that is not allowed.
fn rejection(shared: &SharedState, request: &Request) -> Option<Response> {
    if !is_guid(&request.app()) {
        return Some(Response::empty(401));
    }
    match authorize(shared, request) {
        Authorization::Granted | Authorization::Admin => None,
        Authorization::NoToken | Authorization::InvalidToken => {
            Some(Response::empty(401).header("Www-Authenticate", "Basic"))
        }
        Authorization::Hidden => Some(Response::empty(404)),
        Authorization::Unavailable => Some(Response::empty(500)),
    }
}
