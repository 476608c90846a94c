//! Generation 2, Doppler's protocol of 2014 to today: its paths and its error responses.
//!
//! Source: the Traffic Controller of loggregator-release. Version 107, of December 2022, removed `/recentlogs`.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::server::call::Call;
use crate::server::multipart::Parts;
use crate::server::source::{LiveSource, RecentSource};
use crate::server::websocket::WebSocketSource;
use crate::wire::format::Format;

/// The idle timeout if the caller sets none. The server pings four times as often.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Opens the websocket on which an app's envelopes arrive.
pub(crate) fn tail(call: &Call<'_>) -> Result<Box<dyn LiveSource>> {
    let no_path = " (Is this the address of Doppler, such as wss://doppler.example.com?)";
    let websocket =
        call.websocket(&format!("/apps/{}/stream", call.guid()?)).map_err(|error| advise(error, no_path))?;
    Ok(Box::new(WebSocketSource { websocket, format: Format::Doppler, default_idle_timeout: Some(IDLE_TIMEOUT) }))
}

/// Requests an app's recent messages. Only foundations without Log Cache have them here.
pub(crate) fn recent(call: &Call<'_>) -> Result<Box<dyn RecentSource>> {
    let response = call.get(&format!("/apps/{}/recentlogs", call.guid()?))?;
    match response.status {
        200 => Ok(Box::new(Parts::new(call, response, Format::Doppler)?)),
        _ => Err(advise(
            response.into_error(),
            ": Doppler has no recent messages since the end of 2022, but Log Cache has: see Builder::log_cache and \
             Consumer::discover",
        )),
    }
}

/// Adds a hint to an error response. A 404 has an empty body if the user may not see the app, and a message if the path
/// does not exist.
fn advise(error: Error, no_path: &str) -> Error {
    if error.is_from_router() {
        return error;
    }
    match (error.status(), error.body().map(str::trim)) {
        (Some(401), Some("")) => error.with_hint(": is the token expired? `cf oauth-token` prints a new one"),
        (Some(404), Some("")) => error.with_hint(": there is no such app, or the token's user may not see it"),
        (Some(404), _) => error.with_hint(no_path),
        _ => error,
    }
}
