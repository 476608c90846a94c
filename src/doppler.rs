//! Generation 2, Doppler's protocol of 2014 to today: its paths.
//!
//! Source: the Traffic Controller of loggregator-release. `/recentlogs` went with its version 107.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::consumer::Inner;
use crate::endpoint::{Endpoint, escaped_guid};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::recent::Source;
use crate::token::normalised;
use crate::websocket::WebSocket;

/// Opens the websocket on which an app's envelopes arrive.
pub(crate) fn tail(
    inner: &Inner,
    server: &Endpoint,
    app_guid: &str,
    token: &str,
    cancel: &Cancel,
) -> Result<WebSocket> {
    let path = format!("/apps/{}/stream", escaped_guid(app_guid)?);
    inner.websocket(server, &path, &normalised(token), cancel).map_err(advise)
}

/// Asks for an app's recent messages, which only foundations without Log Cache still have here.
pub(crate) fn recent(
    inner: &Inner,
    server: &Endpoint,
    app_guid: &str,
    token: &str,
    cancel: &Arc<Cancel>,
) -> Result<Source> {
    let path = format!("/apps/{}/recentlogs", escaped_guid(app_guid)?);
    let answer = inner.get(server, &path, &normalised(token), cancel)?;
    match answer.status {
        200 => Source::parts(answer, Format::Doppler, inner.settings.max_message_size),
        _ => Err(advise(answer.into_error())),
    }
}

/// The server's 404 has no words when the app is not to be seen, and other words when the path is not there.
fn advise(error: Error) -> Error {
    match (error.status(), error.body().map(str::trim)) {
        (Some(401), Some("")) => error.with_hint(": is the token expired? `cf oauth-token` prints a new one"),
        (Some(404), Some("")) => error.with_hint(": there is no such app, or the token's user may not see it"),
        (Some(404), _) => error.with_hint(
            ". Doppler has no recent messages since 2019, Log Cache has: see Builder::log_cache and Consumer::discover",
        ),
        _ => error,
    }
}
