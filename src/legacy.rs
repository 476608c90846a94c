//! Generation 1, the servers of 2013 to 2016: their paths, and the fallback from `/recent` to `/dump/`.
//!
//! Source: the Traffic Controller of loggregator up to its commit 9480878 of September 2016, the last with these paths.

use std::sync::Arc;
use std::time::Instant;

use crate::cancel::Cancel;
use crate::consumer::{Inner, Registration};
use crate::deadline::Patience;
use crate::endpoint::escaped_guid;
use crate::error::{Error, ErrorKind, Result};
use crate::http;
use crate::multipart::{self, Splitter};
use crate::recent::{Dump, Recent, Source};
use crate::websocket::WebSocket;

/// Opens the websocket on which an app's messages arrive.
pub(crate) fn tail(inner: &Inner, app_guid: &str, token: &str, cancel: &Cancel) -> Result<WebSocket> {
    connect(inner, &format!("/tail/?app={}", escaped_guid(app_guid)?), token, inner.head_deadline(), cancel)
}

/// Asks for an app's recent messages: over HTTP, or, as servers of early 2014 want it, over a websocket.
pub(crate) fn recent(
    inner: &Inner,
    app_guid: &str,
    token: &str,
    patience: Patience,
    cancel: Arc<Cancel>,
    registration: Registration,
) -> Result<Recent> {
    let guid = escaped_guid(app_guid)?;
    let deadline = inner.head_deadline();
    let deadline = patience.end.map_or(deadline, |end| end.min(deadline));
    let limits = http::Limits { head: deadline, body: patience };
    let answer = http::get(&inner.dialer, &inner.endpoint, &format!("/recent?app={guid}"), token, limits, &cancel)?;
    let source = match answer.status {
        200 => {
            let boundary = boundary(answer.content_type.as_deref())?;
            Source::Parts(Box::new(Splitter::new(answer.body, &boundary, inner.max_message_size)))
        }
        400 => {
            log::debug!("{} has no /recent, trying /dump/", inner.endpoint);
            drop(answer);
            let websocket = connect(inner, &format!("/dump/?app={guid}"), token, deadline, &cancel)?;
            inner.connected();
            Source::Frames(Box::new(Dump::new(websocket, patience)))
        }
        _ => return Err(answer.into_error().hiding(token)),
    };
    Ok(Recent::new(source, patience, cancel, registration))
}

fn connect(inner: &Inner, path: &str, token: &str, deadline: Instant, cancel: &Cancel) -> Result<WebSocket> {
    inner.websocket_request(path, token).connect(&inner.dialer, deadline, cancel)
}

fn boundary(content_type: Option<&str>) -> Result<String> {
    let Some(content_type) = content_type else {
        return Err(Error::new(ErrorKind::BadResponse, "the recent messages: the server's answer has no Content-Type"));
    };
    multipart::boundary(content_type)
        .map_err(|cause| Error::caused(ErrorKind::BadResponse, "the recent messages", cause))
}
