//! Generation 1, the servers of 2013 to 2016: their paths, and the fallback from `/recent` to `/dump/`.
//!
//! Source: the Traffic Controller of loggregator. Commit 9480878 of September 2016 is the last with these paths.

use crate::error::{Error, Result};
use crate::server::call::Call;
use crate::server::doppler::{NO_APP, NO_APP_BODY};
use crate::server::dump::Dump;
use crate::server::multipart::Parts;
use crate::server::source::{LiveSource, RecentSource};
use crate::server::websocket::WebSocketSource;
use crate::wire::format::Format;

/// Opens the websocket on which an app's messages arrive.
pub(crate) fn tail(call: &Call<'_>) -> Result<Box<dyn LiveSource>> {
    let websocket = call.websocket(&format!("/tail/?app={}", call.guid()?)).map_err(advise)?;
    // No idle timeout: servers of 2014 send no pings, so nothing arrives while the app logs nothing.
    Ok(Box::new(WebSocketSource { websocket, decoder: Format::Legacy.decoder(), default_idle_timeout: None }))
}

/// Requests an app's recent messages: over HTTP or, from servers of early 2014, over a websocket.
pub(crate) fn recent(call: &Call<'_>) -> Result<Box<dyn RecentSource>> {
    let guid = call.guid()?;
    let response = call.get(&format!("/recent?app={guid}"))?;
    match response.status {
        200 => Ok(Box::new(Parts::new(call, response, Format::Legacy)?)),
        400 => {
            log::debug!("{} has no /recent, trying /dump/", call.server);
            drop(response);
            let websocket = call.websocket(&format!("/dump/?app={guid}"))?;
            call.settings().connected();
            Ok(Box::new(Dump::new(call, websocket)))
        }
        _ => Err(advise(response.into_error())),
    }
}

/// Adds a hint to a 404. A legacy server says `Resource Not Found.`, from June 2016 on `Not Found` for an app that does
/// not exist or that the token's user may not see. The platform's router answers for a server that has no route for now,
/// and also for one that is gone. Anything else is not from a legacy server.
fn advise(error: Error) -> Error {
    match (error.status(), error.body().map(str::trim)) {
        (Some(404), _) if error.is_from_router() => error.with_hint(
            " (or Cloud Foundry has no legacy server since September 2016: use \
             Consumer::discover(\"https://api.<system domain>\") or Consumer::from_cf_cli())",
        ),
        (Some(404), Some(NO_APP_BODY)) => error.with_hint(NO_APP),
        (Some(404), Some(body)) if body.starts_with("Resource Not Found") => error,
        (Some(404), _) => error.with_hint(
            " (this is not a legacy loggregator server, which Cloud Foundry removed in September 2016: use \
             Consumer::discover(\"https://api.<system domain>\") or Consumer::from_cf_cli())",
        ),
        _ => error,
    }
}
