//! Routing: which of the foundation's servers answers a request. All of them share one address; the path decides.

use super::config::fault::Endless;
use super::config::generation::Generation;
use super::protocol::reply::Reply;
use super::protocol::request::{Request, RequestKind};
use super::protocol::response::Response;
use super::servers::{api, cloud_controller, doppler, korifi, legacy, log_cache, promql, rlp_gateway, router, uaa};
use super::state::SharedState;

/// Has a request answered by the server to which it belongs. `endless` is a fault of responses with recent messages.
pub(crate) fn route(shared: &SharedState, endless: Option<Endless>, request: &Request) -> Reply {
    let settings = &shared.settings;
    let generation = settings.generation;
    if let Some(error) = request.kind.server().and_then(|server| shared.away(server)) {
        return router::error(error, request).into();
    }
    let is_log_cache = generation.has_log_cache() && request.path().starts_with(generation.log_cache_root());
    // At the same paths in version 1.4.7 and in later ones.
    let is_query = generation.has_log_cache() && request.path().starts_with("/api/v1/");
    match request.kind {
        _ if generation == Generation::Korifi => korifi::answer(shared, request).into(),
        RequestKind::Token if generation.has_uaa() => uaa::token(shared, request).into(),
        RequestKind::Login if generation.has_uaa() => uaa::login(shared).into(),
        RequestKind::ApiInfo => api::info(shared).into(),
        RequestKind::Api => cloud_controller::answer(shared, request).into(),
        RequestKind::ApiRoot if !generation.has_legacy() => api::root(shared).into(),
        // The API answers, not the Traffic Controller of 2014, which would answer unknown paths with 401.
        RequestKind::ApiRoot if generation.is_of_2014() => Response::unknown_path().into(),
        _ if generation.has_legacy() => legacy::answer(shared, endless, request),
        RequestKind::Stream if settings.has_doppler() => doppler::stream(shared, request),
        RequestKind::RecentLogs if generation.has_recent_logs() => doppler::recent(shared, endless, request).into(),
        RequestKind::ContainerMetrics if generation.has_recent_logs() => {
            doppler::container_metrics(shared, endless, request).into()
        }
        RequestKind::Firehose if settings.has_doppler() => doppler::firehose(shared, request),
        RequestKind::LogCacheQuery if is_query => promql::query(shared, request).into(),
        RequestKind::LogCacheRead if is_log_cache => log_cache::read(shared, endless, request).into(),
        RequestKind::LogCacheMeta if is_log_cache => log_cache::meta(shared, request).into(),
        RequestKind::LogCacheInfo if is_query => log_cache::info(shared).into(),
        RequestKind::Gateway if settings.has_rlp_gateway() => rlp_gateway::read(shared, request),
        _ => Response::unknown_path().into(),
    }
}
