//! Routing: which of the foundation's servers answers a request. All of them share one address; the path decides.

use super::config::fault::Endless;
use super::protocol::reply::Reply;
use super::protocol::request::{Request, RequestKind};
use super::protocol::response::Response;
use super::servers::{api, doppler, legacy, log_cache, rlp_gateway, uaa};
use super::state::SharedState;

/// Has a request answered by the server to which it belongs. `endless` is a fault of responses with recent messages.
pub(crate) fn route(shared: &SharedState, endless: Option<Endless>, request: Request) -> Reply {
    let generation = shared.settings.generation;
    match request.kind {
        RequestKind::Token => uaa::token(shared, &request).into(),
        RequestKind::ApiInfo => api::info(shared).into(),
        RequestKind::ApiRoot if !generation.has_legacy() => api::root(shared).into(),
        // The API answers, not the Traffic Controller of 2014, which would answer unknown paths with 401.
        RequestKind::ApiRoot if generation.is_of_2014() => Response::unknown_path().into(),
        _ if generation.has_legacy() => legacy::answer(shared, endless, request),
        RequestKind::Stream => doppler::stream(shared, request),
        RequestKind::RecentLogs if generation.has_recent_logs() => doppler::recent(shared, endless, &request).into(),
        RequestKind::LogCacheRead if generation.has_log_cache() => log_cache::read(shared, endless, &request).into(),
        RequestKind::LogCacheMeta if generation.has_log_cache() => log_cache::meta(shared, &request).into(),
        RequestKind::LogCacheInfo if generation.has_log_cache() => log_cache::info().into(),
        RequestKind::Gateway if generation.has_log_cache() => rlp_gateway::read(shared, &request),
        _ => Response::unknown_path().into(),
    }
}
