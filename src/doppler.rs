//! Generation 2, Doppler's protocol of 2014 to today: its paths.
//!
//! Source: the Traffic Controller of loggregator-release. `/recentlogs` went with its version 107, of December 2022.

use crate::consumer::Call;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::recent::Source;
use crate::websocket::WebSocket;

/// Opens the websocket on which an app's envelopes arrive.
pub(crate) fn tail(call: &Call<'_>) -> Result<WebSocket> {
    let no_path = ". Is this the address of Doppler, such as wss://doppler.example.com?";
    call.websocket(&format!("/apps/{}/stream", call.guid()?)).map_err(|error| advise(error, no_path))
}

/// Asks for an app's recent messages, which only foundations without Log Cache still have here.
pub(crate) fn recent(call: &Call<'_>) -> Result<Source> {
    let answer = call.get(&format!("/apps/{}/recentlogs", call.guid()?))?;
    match answer.status {
        200 => Source::parts(answer, Format::Doppler, call.inner.settings.max_message_size),
        _ => Err(advise(
            answer.into_error(),
            ". Doppler has no recent messages since the end of 2022, Log Cache has: see Builder::log_cache and \
             Consumer::discover",
        )),
    }
}

/// The server's 404 has no words when the app is not to be seen, and other words when the path is not there.
fn advise(error: Error, no_path: &str) -> Error {
    match (error.status(), error.body().map(str::trim)) {
        (Some(401), Some("")) => error.with_hint(": is the token expired? `cf oauth-token` prints a new one"),
        (Some(404), Some("")) => error.with_hint(": there is no such app, or the token's user may not see it"),
        (Some(404), _) => error.with_hint(no_path),
        _ => error,
    }
}
