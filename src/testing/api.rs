//! The Cloud Controller's API, as far as it tells where the logs are.

use serde_json::{Value, json};

use super::connection::Connection;
use super::http::Response;

/// The links at the root, which there are since 2016.
pub(super) fn root(connection: &Connection) -> Response {
    let settings = &connection.shared().settings;
    let (address, logging) = (connection.shared().http_url(), connection.shared().websocket_url());
    let link = |url: &str| json!({ "href": url });
    let of_log_cache = || if settings.generation.has_log_cache() { link(&address) } else { Value::Null };
    json_response(&json!({
        "links": {
            "self": link(&address),
            "cloud_controller_v2": link(&format!("{address}/v2")),
            "cloud_controller_v3": link(&format!("{address}/v3")),
            "login": link(&address),
            "uaa": link(&address),
            "logging": link(&logging),
            "log_cache": of_log_cache(),
            "log_stream": of_log_cache(),
        }
    }))
}

pub(super) fn info(connection: &Connection) -> Response {
    let generation = connection.shared().settings.generation;
    let (address, logging) = (connection.shared().http_url(), connection.shared().websocket_url());
    let mut info = json!({
        "name": "testing",
        "authorization_endpoint": address,
        "token_endpoint": address,
        "api_version": "2.293.0",
    });
    if generation.has_legacy() {
        info["logging_endpoint"] = logging.clone().into();
    }
    if generation.has_doppler() {
        info["doppler_logging_endpoint"] = logging.into();
    }
    json_response(&info)
}

fn json_response(body: &Value) -> Response {
    Response::of(200, "application/json;charset=utf-8", body.to_string())
}
