//! Which of the foundation's servers answers a request: they share one address, and are told apart by their paths.

use super::connection::Connection;
use super::gateway::{self, Subscription};
use super::http::{self, Response};
use super::record::{Request, RequestKind};
use super::stream::Broken;
use super::tail::Opening;
use super::{api, doppler, legacy, log_cache, uaa};

pub(super) enum Answer {
    Http(Response),
    Raw(Vec<u8>),
    Websocket(Opening),
    Events(Subscription),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Answer::Http(response)
    }
}

/// Reads a request, and decides on the answer.
pub(super) fn answer(connection: &mut Connection) -> Result<Answer, Broken> {
    let Some((request, early)) = http::read_request(connection)? else {
        return Ok(Response::text(400, "400 Bad Request").into());
    };
    connection.shared().update(|state| state.requests.push(request.clone()));
    let plan = &mut connection.plan;
    if let Some(bytes) = plan.garbage.take() {
        return Ok(Answer::Raw(bytes));
    }
    if let Some((status, body)) = plan.error_response.take() {
        return Ok(Response::text(status, body).into());
    }
    // The real servers, too, drop clients that do not wait for the handshake's end.
    let is_early = |connection: &mut Connection| early || matches!(connection.stream.read(&mut [0]), Ok(Some(_)));
    match route(connection, request) {
        Answer::Websocket(_) if is_early(connection) => Err(Broken::Drop),
        answer => Ok(answer),
    }
}

fn route(connection: &Connection, request: Request) -> Answer {
    let generation = connection.shared().settings.generation;
    match request.kind {
        RequestKind::Token => uaa::answer(connection, &request).into(),
        RequestKind::ApiInfo => api::info(connection).into(),
        RequestKind::ApiRoot if !generation.has_legacy() => api::root(connection).into(),
        // It is not the Traffic Controller of 2014, which finds nothing but refuses everything, that says so.
        RequestKind::ApiRoot if generation.is_of_2014() => Response::no_such_path().into(),
        _ if generation.has_legacy() => legacy::answer(connection, request),
        RequestKind::Stream => doppler::stream(connection, request),
        RequestKind::RecentLogs if generation.has_recent_logs() => doppler::recent(connection, &request).into(),
        RequestKind::LogCacheRead if generation.has_log_cache() => log_cache::read(connection, &request).into(),
        RequestKind::LogCacheMeta if generation.has_log_cache() => log_cache::meta(connection, &request).into(),
        RequestKind::LogCacheInfo if generation.has_log_cache() => log_cache::info().into(),
        RequestKind::Gateway if generation.has_log_cache() => gateway::answer(connection, request),
        _ => Response::no_such_path().into(),
    }
}
