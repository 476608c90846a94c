//! Korifi: a Cloud Controller on Kubernetes that is its own Log Cache. It reads the log files of an app's containers
//! for each request.
//!
//! Source: Korifi's `api/handlers/log_cache.go`, `api/repositories/log_repository.go` and `api/presenter`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::authorization::{Authorization, authorize};
use super::cloud_controller;
use crate::envelope::{Body, Envelope};
use crate::message::LogMessage;
use crate::testing::protocol::log_entry::LogEntry;
use crate::testing::protocol::request::{Request, RequestKind, is_guid};
use crate::testing::protocol::response::Response;
use crate::testing::state::SharedState;

/// The query parameters that it knows.
const PARAMETERS: [&str; 5] = ["start_time", "end_time", "envelope_types", "limit", "descending"];

/// Answers any request.
pub(crate) fn answer(shared: &SharedState, request: &Request) -> Response {
    match request.kind {
        RequestKind::ApiRoot => root(shared),
        RequestKind::LogCacheInfo => json_response(200, &json!({ "version": "2.11.4+cf-k8s", "vm_uptime": "0" })),
        RequestKind::LogCacheRead if request.method == "GET" => read(shared, request),
        RequestKind::Api => cloud_controller::answer(shared, request),
        _ => error(404, 10000, "CF-NotFound", "Unknown request"),
    }
}

fn root(shared: &SharedState) -> Response {
    let url = shared.http_url();
    let link = |url: &str| json!({ "href": url, "meta": { "version": "" } });
    json_response(
        200,
        &json!({
            "links": {
                "app_ssh": null, "bits_service": null, "cloud_controller_v2": null,
                "cloud_controller_v3": { "href": format!("{url}/v3"), "meta": { "version": "3.117.0+cf-k8s" } },
                "credhub": null, "log_cache": link(&url), "log_stream": null, "logging": null, "login": link(&url),
                "network_policy_v0": null, "network_policy_v1": null, "routing": null, "self": link(&url), "uaa": null,
            },
            "cf_on_k8s": true,
        }),
    )
}

/// Answers `/api/v1/read/<app>`.
fn read(shared: &SharedState, request: &Request) -> Response {
    let app = request.app();
    match authorize(shared, request) {
        Authorization::Granted | Authorization::Admin if is_guid(&app) => {}
        Authorization::NoToken => return error(401, 10002, "CF-NotAuthenticated", "Authentication error"),
        Authorization::InvalidToken => return error(401, 1000, "CF-InvalidAuthToken", "Invalid Auth Token"),
        Authorization::Unavailable => return error(500, 10001, "UnknownError", "An unknown error occurred."),
        Authorization::Granted | Authorization::Admin | Authorization::Hidden => {
            let message = "App not found. Ensure it exists and you have access to it.";
            return error(404, 10010, "CF-ResourceNotFound", message);
        }
    }
    match envelopes(shared, request, &app) {
        Ok(envelopes) => {
            json_response(200, &json!({ "envelopes": { "batch": envelopes } })).framing(shared.settings.body_framing)
        }
        Err(response) => response,
    }
}

fn envelopes(shared: &SharedState, request: &Request, app: &str) -> Result<Vec<Value>, Response> {
    if request.query().any(|(name, _)| !PARAMETERS.contains(&&*name)) {
        let names = PARAMETERS.map(|name| format!("'{name}'")).join(", ");
        return Err(bad_parameter(&format!("Valid parameters are: {names}")));
    }
    let types = request.query_values("envelope_types");
    if types.iter().any(|name| name != "LOG" && name != "GAUGE") {
        return Err(bad_parameter("envelope_types can only be: 'LOG', 'GAUGE'"));
    }
    let number = |name| match request.query_values(name).first() {
        None => Ok(None),
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| unknown_error()),
    };
    let (start, limit) = (number("start_time")?, number("limit")?);
    let descending = match request.query_values("descending").first().map(String::as_str) {
        None | Some("" | "0" | "f" | "F" | "false" | "FALSE" | "False") => false,
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
        Some(_) => return Err(unknown_error()),
    };
    if !types.is_empty() && !types.iter().any(|name| name == "LOG") {
        return Ok(shared.container_metrics(app).iter().filter_map(|entry| gauge(app, entry)).collect());
    }

    let entries = shared.stored(app);
    let mut messages = last_of_each_container(&entries, limit);
    messages.retain(|message| start.is_none_or(|start| start < 0 || message.timestamp >= start));
    messages.sort_by_key(|message| message.timestamp);
    if descending {
        messages.reverse();
    }
    if let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit < messages.len()) {
        // This is what the real server does, although it is hardly what it means to do.
        messages.truncate(messages.len() - limit);
    }
    Ok(messages.into_iter().map(envelope).collect())
}

/// Returns the last messages of each container: of each instance of the app, and of what stages it.
fn last_of_each_container(entries: &[Arc<LogEntry>], limit: Option<i64>) -> Vec<&LogMessage> {
    let mut containers: BTreeMap<_, Vec<&LogMessage>> = BTreeMap::new();
    for message in entries.iter().filter_map(|entry| entry.message()) {
        containers.entry((source_type(message), &message.source_id)).or_default().push(message);
    }
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let last = |messages: Vec<_>| {
        let skipped = limit.map_or(0, |limit| messages.len().saturating_sub(limit));
        messages.into_iter().skip(skipped)
    };
    containers.into_values().flat_map(last).collect()
}

fn source_type(message: &LogMessage) -> &'static str {
    if message.source_name.as_deref() == Some("STG") { "STG" } else { "APP" }
}

fn envelope(message: &LogMessage) -> Value {
    let end = message.message.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    json!({
        "timestamp": message.timestamp,
        "tags": { "source_type": source_type(message) },
        "log": { "payload": BASE64_STANDARD.encode(&message.message[..end]), "type": 0 },
    })
}

/// The metrics of a container. Their time is in seconds.
fn gauge(app: &str, entry: &LogEntry) -> Option<Value> {
    let LogEntry::Envelope(Envelope { timestamp, instance_id, tags, body: Body::Gauge(values), .. }) = entry else {
        return None;
    };
    let mut tags = tags.clone();
    for (name, value) in [("app_id", app), ("source_id", app), ("instance_id", instance_id)] {
        tags.insert(name.to_owned(), value.to_owned());
    }
    let metrics: BTreeMap<_, _> =
        values.iter().map(|(name, value)| (name, json!({ "unit": value.unit, "value": value.value }))).collect();
    Some(json!({ "timestamp": timestamp / 1_000_000_000, "tags": tags, "gauge": { "metrics": metrics } }))
}

fn bad_parameter(message: &str) -> Response {
    error(400, 10005, "CF-BadQueryParameter", &format!("The query parameter is invalid: {message}"))
}

fn unknown_error() -> Response {
    error(500, 10001, "UnknownError", "An unknown error occurred.")
}

fn error(status: u16, code: u32, title: &str, detail: &str) -> Response {
    json_response(status, &json!({ "errors": [{ "detail": detail, "title": title, "code": code }] }))
}

fn json_response(status: u16, body: &Value) -> Response {
    Response::with_body(status, "application/json", format!("{body}\n"))
}
