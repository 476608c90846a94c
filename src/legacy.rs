//! Generation 1, the servers of 2013 to 2016: their paths, and the fallback from `/recent` to `/dump/`.
//!
//! Source: the Traffic Controller of loggregator up to its commit 9480878 of September 2016, the last with these paths.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::consumer::Inner;
use crate::endpoint::{Endpoint, escaped_guid};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::recent::{Dump, Source};
use crate::websocket::WebSocket;

/// Opens the websocket on which an app's messages arrive.
pub(crate) fn tail(
    inner: &Inner,
    server: &Endpoint,
    app_guid: &str,
    token: &str,
    cancel: &Cancel,
) -> Result<WebSocket> {
    let path = format!("/tail/?app={}", escaped_guid(app_guid)?);
    inner.websocket(server, &path, token, cancel).map_err(advise)
}

/// Asks for an app's recent messages: over HTTP, or, as servers of early 2014 want it, over a websocket.
pub(crate) fn recent(
    inner: &Inner,
    server: &Endpoint,
    app_guid: &str,
    token: &str,
    cancel: &Arc<Cancel>,
) -> Result<Source> {
    let guid = escaped_guid(app_guid)?;
    let answer = inner.get(server, &format!("/recent?app={guid}"), token, cancel)?;
    match answer.status {
        200 => Source::parts(answer, Format::Legacy, inner.settings.max_message_size),
        400 => {
            log::debug!("{server} has no /recent, trying /dump/");
            drop(answer);
            let websocket = inner.websocket(server, &format!("/dump/?app={guid}"), token, cancel)?;
            Ok(Source::Frames(Box::new(Dump::new(websocket, inner.settings.read_timeout))))
        }
        _ => Err(advise(answer.into_error())),
    }
}

/// The legacy server's own 404 says `Resource Not Found.`; another's means that the paths are not there at all.
fn advise(error: Error) -> Error {
    let foreign = error.status() == Some(404) && !error.body().unwrap_or_default().starts_with("Resource Not Found");
    if !foreign {
        return error;
    }
    error.with_hint(
        ". This is no legacy loggregator server: Cloud Foundry has had none since September 2016. Use \
         Consumer::discover(\"https://api.<system domain>\") or Consumer::from_cf_cli()",
    )
}
