//! Generation 2, without the legacy paths beside it: an app's stream, and its recent messages until Log Cache had them.

use super::access::{Access, Case};
use super::connection::Connection;
use super::http::Response;
use super::logged::Wire;
use super::multipart;
use super::record::{Request, is_guid};
use super::routes::Answer;
use super::tail::{Kind, upgrade};

pub(super) fn stream(connection: &Connection, request: Request) -> Answer {
    if let Some(refusal) = refusal(connection, &request) {
        return refusal.into();
    }
    let bad_request = || {
        Response::text(400, "Bad Request\n")
            .header("Sec-Websocket-Version", "13")
            .header("X-Content-Type-Options", "nosniff")
    };
    upgrade(connection, request, Kind::Tail, Wire::Doppler).map_or_else(|| bad_request().into(), Answer::Websocket)
}

pub(super) fn recent(connection: &Connection, request: &Request) -> Response {
    let app = request.app();
    refusal(connection, request).unwrap_or_else(|| multipart::recent(connection, &app, Wire::Doppler))
}

fn refusal(connection: &Connection, request: &Request) -> Option<Response> {
    if !is_guid(&request.app()) {
        return Some(Response::empty(401));
    }
    match connection.shared().access(request, Case::IsIgnored) {
        Access::Granted => None,
        Access::NoToken | Access::Refused => Some(Response::empty(401).header("Www-Authenticate", "Basic")),
        Access::Hidden => Some(Response::empty(404)),
    }
}
