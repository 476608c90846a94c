//! Generation 1: `/tail/`, `/dump/` and `/recent`, and, in 2015 and 2016, Doppler's paths with the same manners.

use jiff::Timestamp;

use super::access::{Access, Case};
use super::config::generation::Generation;
use super::connection::Connection;
use super::http::Response;
use super::logged::Wire;
use super::multipart::{recent, recent_between};
use super::record::{Request, RequestKind};
use super::routes::Answer;
use super::tail::{Kind, upgrade};

pub(super) fn answer(connection: &Connection, request: Request) -> Answer {
    match connection.shared().settings.generation {
        Generation::April2014 | Generation::May2014 => answer_of_2014(connection, request),
        _ => answer_of_2015(connection, request),
    }
}

fn answer_of_2014(connection: &Connection, request: Request) -> Answer {
    let app = request.app();
    let refused = if app.is_empty() { Some("Error: Invalid target") } else { refusal(connection, &request) };
    if let Some(words) = refused {
        // The text form of a protobuf message, with the space that ends it.
        let now = Timestamp::now().as_nanosecond();
        let body = format!(
            "You are not authorized. message:{words:?} message_type:ERR timestamp:{now} app_id:{app:?} \
             source_name:\"LGR\" "
        );
        return Response::text(401, body).header("Www-Authenticate", "Basic").into();
    }
    let is_may = connection.shared().settings.generation == Generation::May2014;
    if is_may && request.kind == RequestKind::Recent {
        return recent_between(connection, &app, Wire::Legacy, "loggregator-message", "\"loggregator-message\"").into();
    }
    let kind = if request.kind == RequestKind::Tail { Kind::Tail } else { Kind::Dump };
    upgrade(connection, request, kind, Wire::Legacy)
        .map_or_else(|| Response::go_error(400, "Not a websocket handshake").into(), Answer::Websocket)
}

fn answer_of_2015(connection: &Connection, request: Request) -> Answer {
    let of_2016 = connection.shared().settings.generation == Generation::Y2016;
    let app = request.app();
    let wire = match request.kind {
        RequestKind::Recent | RequestKind::Tail | RequestKind::Dump => Some(Wire::Legacy),
        RequestKind::Stream | RequestKind::RecentLogs => Some(Wire::Doppler),
        _ => None,
    };
    let Some(wire) = wire.filter(|_| !app.is_empty()) else {
        let path = if of_2016 { "" } else { request.path() };
        return Response::text(404, format!("Resource Not Found. {path}").trim_end()).into();
    };
    if request.method == "HEAD" {
        return Response::headless(200).into();
    }
    if let Some(words) = refusal(connection, &request) {
        return if of_2016 {
            Response::text(401, "Unauthorized").into()
        } else {
            Response::text(401, format!("You are not authorized. {words}")).header("Www-Authenticate", "Basic").into()
        };
    }
    match request.kind {
        RequestKind::Tail | RequestKind::Stream => upgrade(connection, request, Kind::Tail, wire)
            .map_or_else(|| Response::go_error(400, "Bad Request").into(), Answer::Websocket),
        _ => recent(connection, &app, wire).into(),
    }
}

/// Why the request is refused, if it is.
fn refusal(connection: &Connection, request: &Request) -> Option<&'static str> {
    match connection.shared().access(request, Case::Matters) {
        Access::Granted => None,
        Access::NoToken => Some("Error: Authorization not provided"),
        Access::Refused | Access::Hidden => Some("Error: Invalid authorization"),
    }
}
