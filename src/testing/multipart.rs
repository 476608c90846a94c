//! The multipart answers of `/recent`, `/dump/` and `/recentlogs`.

use super::config::fault::Endless;
use super::connection::Connection;
use super::http::Response;
use super::logged::Wire;
use super::random::hex_digits;

/// The messages that are kept for an app, between boundaries of 60 hexadecimal digits as Go's multipart writer has them.
pub(super) fn recent(connection: &Connection, app: &str, wire: Wire) -> Response {
    let boundary = hex_digits(60);
    recent_between(connection, app, wire, &boundary, &boundary)
}

/// The same with a boundary that is set, and shown in another way than it is.
pub(super) fn recent_between(
    connection: &Connection,
    app: &str,
    wire: Wire,
    boundary: &str,
    shown_boundary: &str,
) -> Response {
    let messages = connection.shared().kept(app);
    let opening = format!("\r\n--{boundary}\r\n\r\n");
    let mut body = Vec::new();
    for message in &messages {
        body.extend_from_slice(opening.as_bytes());
        body.extend_from_slice(&message.payload(wire));
    }
    let mut filler = Vec::new();
    match connection.plan.endless {
        Some(Endless::Part) => body.extend_from_slice(opening.as_bytes()),
        Some(Endless::Messages) if !messages.is_empty() => filler.clone_from(&body),
        _ => body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes()),
    }
    // The first part's delimiter begins at once, but Go's writer leaves the line end before a lone closing one.
    if !messages.is_empty() {
        body.drain(..2);
    }
    Response::of(200, &format!("multipart/x-protobuf; boundary={shown_boundary}"), body)
        .framing(connection.shared().settings.body_framing)
        .filler(filler)
}
