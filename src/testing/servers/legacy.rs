//! Generation 1: `/tail/`, `/dump/` and `/recent`; in 2015 and 2016 also Doppler's paths, with the same error
//! responses.

use jiff::Timestamp;

use super::authorization::{Authorization, authorize};
use super::doppler;
use super::multipart::{self, recent, recent_with_boundary};
use crate::testing::config::fault::Endless;
use crate::testing::config::generation::Generation;
use crate::testing::config::server::Server;
use crate::testing::protocol::log_entry::WireFormat;
use crate::testing::protocol::reply::{Reply, WebsocketKind, WebsocketUpgrade};
use crate::testing::protocol::request::{Request, RequestKind};
use crate::testing::protocol::response::Response;
use crate::testing::state::SharedState;

/// Answers any request.
pub(crate) fn answer(shared: &SharedState, endless: Option<Endless>, request: &Request) -> Reply {
    match shared.settings.generation {
        Generation::April2014 | Generation::May2014 => answer_of_2014(shared, endless, request),
        _ => answer_of_2015(shared, endless, request),
    }
}

fn answer_of_2014(shared: &SharedState, endless: Option<Endless>, request: &Request) -> Reply {
    let app = request.app();
    let rejection = if app.is_empty() { Some("Error: Invalid target") } else { rejection(shared, request) };
    if let Some(message) = rejection {
        // A protobuf message in text form, including the space at its end.
        let now = Timestamp::now().as_nanosecond();
        let body = format!(
            "You are not authorized. message:{message:?} message_type:ERR timestamp:{now} app_id:{app:?} \
             source_name:\"LGR\" "
        );
        return Response::text(401, body).header("Www-Authenticate", "Basic").into();
    }
    let is_may = shared.settings.generation == Generation::May2014;
    if is_may && request.kind == RequestKind::Recent {
        let (boundary, quoted) = ("loggregator-message", "\"loggregator-message\"");
        return recent_with_boundary(shared, endless, &app, WireFormat::Legacy, boundary, quoted).into();
    }
    let kind = if request.kind == RequestKind::Tail { WebsocketKind::Tail } else { WebsocketKind::Dump };
    WebsocketUpgrade::accept(request, kind, WireFormat::Legacy, shared.settings.generation)
        .map_or_else(|_| Response::go_error(400, "Not a websocket handshake").into(), Reply::Websocket)
}

fn answer_of_2015(shared: &SharedState, endless: Option<Endless>, request: &Request) -> Reply {
    let is_2016 = shared.settings.generation == Generation::Y2016;
    // The legacy paths need a well-formed query.
    let app = if request.query_error().is_some() && request.kind.server() == Some(Server::Legacy) {
        String::new()
    } else {
        request.app()
    };
    let format = match request.kind {
        RequestKind::Recent | RequestKind::Tail | RequestKind::Dump => Some(WireFormat::Legacy),
        RequestKind::Stream | RequestKind::RecentLogs | RequestKind::ContainerMetrics => {
            Some(WireFormat::Doppler { is_converted: false })
        }
        _ => None,
    };
    if request.kind == RequestKind::Firehose && request.method != "HEAD" {
        return doppler::firehose(shared, request);
    }
    let Some(format) = format.filter(|_| !app.is_empty()) else {
        let path = if is_2016 { "" } else { request.path() };
        return Response::text(404, format!("Resource Not Found. {path}").trim_end()).into();
    };
    if request.method == "HEAD" {
        return Response::without_length(200).into();
    }
    if is_2016 {
        match authorize(shared, request) {
            Authorization::Granted | Authorization::Admin => {}
            Authorization::NoToken | Authorization::InvalidToken => return Response::text(401, "Unauthorized").into(),
            Authorization::Hidden => return Response::text(404, "Not Found").into(),
            Authorization::Unavailable => return Response::text(500, "Internal Server Error").into(),
        }
    } else if let Some(message) = rejection(shared, request) {
        let response = Response::text(401, format!("You are not authorized. {message}"));
        return response.header("Www-Authenticate", "Basic").into();
    }
    match request.kind {
        RequestKind::ContainerMetrics => multipart::container_metrics(shared, endless, &app, format).into(),
        RequestKind::Tail | RequestKind::Stream => {
            WebsocketUpgrade::accept(request, WebsocketKind::Tail, format, shared.settings.generation)
                .map_or_else(|_| Response::go_error(400, "Bad Request").into(), Reply::Websocket)
        }
        _ => recent(shared, endless, &app, format).into(),
    }
}

/// Returns why the request is not allowed.
fn rejection(shared: &SharedState, request: &Request) -> Option<&'static str> {
    match authorize(shared, request) {
        Authorization::Granted | Authorization::Admin => None,
        Authorization::NoToken => Some("Error: Authorization not provided"),
        // The servers of 2015 and before do not tell why the API refuses.
        Authorization::InvalidToken | Authorization::Hidden | Authorization::Unavailable => {
            Some("Error: Invalid authorization")
        }
    }
}
