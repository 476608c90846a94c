//! The RLP gateway: streams envelopes as server-sent events.

use super::authorization::{Authorization, authorize};
use crate::testing::protocol::envelope_filter::EnvelopeFilter;
use crate::testing::protocol::reply::{EventSubscription, Reply};
use crate::testing::protocol::request::{Request, is_guid};
use crate::testing::protocol::response::Response;
use crate::testing::state::{ALL_APPS, SharedState};

/// The parameters of which a request must have at least one.
const ENVELOPE_TYPES: [&str; 7] = ["log", "counter", "gauge", "timer", "event", "counter.name", "gauge.name"];

/// Answers `/v2/read`. Go's `url.Query` leaves out malformed parameters, and takes the others.
pub(crate) fn read(shared: &SharedState, request: &Request) -> Reply {
    let apps = request.apps();
    let authorization = authorize(shared, request);
    let is_allowed = match authorization {
        // Only an admin may omit the apps, or ask for a source that is not an app.
        Authorization::Admin => true,
        Authorization::Granted => !apps.is_empty() && apps.iter().all(|app| is_guid(app)),
        _ => false,
    };
    if !is_allowed {
        return error(404, "not_found", "resource not found").into();
    }
    if request.method != "GET" {
        return error(405, "method_not_allowed", "method not allowed").into();
    }
    if request.query().next().is_none() {
        return error(400, "empty_query", "query cannot be empty").into();
    }
    if ENVELOPE_TYPES.iter().all(|name| request.query_values(name).is_empty()) {
        return error(400, "missing_envelope_type", "query must provide at least one envelope type").into();
    }
    let apps = if apps.is_empty() { vec![ALL_APPS.to_owned()] } else { apps };
    let filter = EnvelopeFilter::of(request);
    let shard = request.query_values("shard_id").into_iter().next().filter(|shard| !shard.is_empty());
    Reply::EventStream(EventSubscription { apps, filter, shard })
}

/// Creates an error response: JSON served as text, with one line end from Go's encoder and one from its `http.Error`.
fn error(status: u16, name: &str, message: &str) -> Response {
    Response::go_error(status, &format!("{{\"message\":\"{message}\",\"error\":\"{name}\"}}\n"))
}
