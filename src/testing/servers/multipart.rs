//! The multipart responses of `/recent`, `/dump/`, `/recentlogs` and `/containermetrics`.

use std::sync::Arc;

use crate::testing::config::fault::Endless;
use crate::testing::protocol::log_entry::{LogEntry, WireFormat};
use crate::testing::protocol::response::Response;
use crate::testing::random::hex_digits;
use crate::testing::state::SharedState;

/// Creates a response with what is kept of an app. Its boundary is 60 hexadecimal digits, as in Go's multipart writer.
pub(super) fn recent(shared: &SharedState, endless: Option<Endless>, app: &str, format: WireFormat) -> Response {
    let boundary = hex_digits(60);
    recent_with_boundary(shared, endless, app, format, &boundary, &boundary)
}

/// Creates a response with the latest metrics of each of an app's containers.
pub(super) fn container_metrics(
    shared: &SharedState,
    endless: Option<Endless>,
    app: &str,
    format: WireFormat,
) -> Response {
    let boundary = hex_digits(60);
    response(shared, endless, &shared.container_metrics(app), format, &boundary, &boundary)
}

/// Creates the same response with this boundary. The `Content-Type` contains it as `boundary_in_header`, which may be
/// quoted.
pub(super) fn recent_with_boundary(
    shared: &SharedState,
    endless: Option<Endless>,
    app: &str,
    format: WireFormat,
    boundary: &str,
    boundary_in_header: &str,
) -> Response {
    let mut entries = shared.stored(app);
    entries.retain(|entry| entry.reaches(format));
    response(shared, endless, &entries, format, boundary, boundary_in_header)
}

fn response(
    shared: &SharedState,
    endless: Option<Endless>,
    entries: &[Arc<LogEntry>],
    format: WireFormat,
    boundary: &str,
    boundary_in_header: &str,
) -> Response {
    let delimiter = format!("\r\n--{boundary}\r\n\r\n");
    let mut body = Vec::new();
    for entry in entries {
        body.extend_from_slice(delimiter.as_bytes());
        body.extend_from_slice(&entry.payload(format));
    }
    let mut repeated = Vec::new();
    match endless {
        Some(Endless::Part) => body.extend_from_slice(delimiter.as_bytes()),
        Some(Endless::Messages) if !entries.is_empty() => repeated.clone_from(&body),
        _ => body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes()),
    }
    // As Go's writer has it: a body begins with the delimiter of its first part, but a body without parts with a line
    // end before the closing delimiter.
    if !entries.is_empty() {
        body.drain(..2);
    }
    Response::with_body(200, &format!("multipart/x-protobuf; boundary={boundary_in_header}"), body)
        .framing(shared.settings.body_framing)
        .repeat_forever(repeated)
}
