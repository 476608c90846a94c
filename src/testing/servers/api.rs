//! The Cloud Controller's API: the endpoints that say where the logs are.

use serde_json::{Value, json};

use crate::testing::protocol::response::Response;
use crate::testing::state::SharedState;

/// Answers `/` with links, as the API has done since 2016.
pub(crate) fn root(shared: &SharedState) -> Response {
    let (http_url, websocket_url) = (shared.http_url(), shared.websocket_url());
    let link = |url: &str| json!({ "href": url });
    let log_cache_link = || if shared.settings.generation.has_log_cache() { link(&http_url) } else { Value::Null };
    json_response(&json!({
        "links": {
            "self": link(&http_url),
            "cloud_controller_v2": link(&format!("{http_url}/v2")),
            "cloud_controller_v3": link(&format!("{http_url}/v3")),
            "login": link(&http_url),
            "uaa": link(&http_url),
            "logging": link(&websocket_url),
            "log_cache": log_cache_link(),
            "log_stream": log_cache_link(),
        }
    }))
}

/// Answers `/v2/info`.
pub(crate) fn info(shared: &SharedState) -> Response {
    let generation = shared.settings.generation;
    let (http_url, websocket_url) = (shared.http_url(), shared.websocket_url());
    let mut info = json!({
        "name": "testing",
        "authorization_endpoint": http_url,
        "token_endpoint": http_url,
        "api_version": "2.293.0",
    });
    if generation.has_legacy() {
        info["logging_endpoint"] = websocket_url.clone().into();
    }
    if generation.has_doppler() {
        info["doppler_logging_endpoint"] = websocket_url.into();
    }
    json_response(&info)
}

fn json_response(body: &Value) -> Response {
    Response::with_body(200, "application/json;charset=utf-8", body.to_string())
}
