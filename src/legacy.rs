//! Generation 1, the servers of 2013 to 2016: their paths, and the fallback from `/recent` to `/dump/`.
//!
//! Source: the Traffic Controller of loggregator up to its commit 9480878 of September 2016, the last with these paths.

use crate::consumer::Call;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::recent::{Dump, Source};
use crate::websocket::WebSocket;

/// Opens the websocket on which an app's messages arrive.
pub(crate) fn tail(call: &Call<'_>) -> Result<WebSocket> {
    call.websocket(&format!("/tail/?app={}", call.guid()?)).map_err(advise)
}

/// Asks for an app's recent messages: over HTTP, or, as servers of early 2014 want it, over a websocket.
pub(crate) fn recent(call: &Call<'_>) -> Result<Source> {
    let guid = call.guid()?;
    let answer = call.get(&format!("/recent?app={guid}"))?;
    match answer.status {
        200 => Source::parts(answer, Format::Legacy, call.inner.settings.max_message_size),
        400 => {
            log::debug!("{} has no /recent, trying /dump/", call.server);
            drop(answer);
            let websocket = call.websocket(&format!("/dump/?app={guid}"))?;
            call.inner.connected();
            Ok(Source::Frames(Box::new(Dump::new(websocket, call.patience))))
        }
        _ => Err(advise(answer.into_error())),
    }
}

/// The legacy server's own 404 says `Resource Not Found.`; another's means that the paths are not there at all.
fn advise(error: Error) -> Error {
    if error.status() != Some(404) || error.body().unwrap_or_default().starts_with("Resource Not Found") {
        return error;
    }
    error.with_hint(
        ". This is no legacy loggregator server: Cloud Foundry has had none since September 2016. Use \
         Consumer::discover(\"https://api.<system domain>\") or Consumer::from_cf_cli()",
    )
}
