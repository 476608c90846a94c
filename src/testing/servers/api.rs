//! The Cloud Controller's API: the endpoints that say where the logs are.

use serde_json::{Value, json};

use crate::testing::protocol::response::Response;
use crate::testing::state::SharedState;

/// The versions of the API.
const V2_VERSION: &str = "2.293.0";
pub(crate) const V3_VERSION: &str = "3.228.0";

/// Answers `/` with links, as the API has done since 2016.
pub(crate) fn root(shared: &SharedState) -> Response {
    let (http_url, websocket_url) = (shared.http_url(), shared.websocket_url());
    let settings = &shared.settings;
    let link = |url: &str| json!({ "href": url });
    let link_if = |exists, url: &str| if exists { link(url) } else { Value::Null };
    json_response(&json!({
        "links": {
            "self": link(&http_url),
            "bits_service": null,
            "cloud_controller_v2": { "href": format!("{http_url}/v2"), "meta": { "version": V2_VERSION } },
            "cloud_controller_v3": { "href": format!("{http_url}/v3"), "meta": { "version": V3_VERSION } },
            "network_policy_v0": link(&format!("{http_url}/networking/v0/external")),
            "network_policy_v1": link(&format!("{http_url}/networking/v1/external")),
            "login": link(&http_url),
            "uaa": link(&http_url),
            "credhub": null,
            "routing": link(&format!("{http_url}/routing")),
            "logging": link_if(settings.has_doppler(), &websocket_url),
            "log_cache": link_if(settings.generation.has_log_cache(), &http_url),
            "log_stream": link_if(settings.has_rlp_gateway(), &http_url),
            "app_ssh": {
                "href": format!("{}:2222", shared.host()),
                "meta": { "host_key_fingerprint": "testing", "oauth_client": "ssh-proxy" },
            },
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
        "api_version": V2_VERSION,
        "min_cli_version": null,
        "min_recommended_cli_version": null,
    });
    if generation.has_legacy() {
        info["logging_endpoint"] = websocket_url.clone().into();
    }
    if shared.settings.has_doppler() {
        info["doppler_logging_endpoint"] = websocket_url.into();
    }
    json_response(&info)
}

/// Rejects a request as a Cloud Controller does that has had too many.
pub(crate) fn too_many_requests(status: u16, retry_after: &str) -> Response {
    let errors = match status {
        503 => json!([{ "detail": "Service Unavailable", "title": "CF-ServiceUnavailable", "code": 10015 }]),
        _ => json!([{ "detail": "Rate Limit Exceeded", "title": "CF-RateLimitExceeded", "code": 10013 }]),
    };
    let body = json!({ "errors": errors }).to_string();
    Response::with_body(status, "application/json;charset=utf-8", body).header("Retry-After", retry_after)
}

fn json_response(body: &Value) -> Response {
    Response::with_body(200, "application/json;charset=utf-8", body.to_string())
}
