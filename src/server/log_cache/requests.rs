//! The requests for an app's messages, and what their errors mean.

use std::io::{self, Read};
use std::ops::ControlFlow;

use super::engine::Stored;
use crate::envelope::Envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::http::{Response, body_error};
use crate::server::call::Call;
use crate::server::source::{Skipped, explain_timeout};
use crate::wire::v2::{self, FromV2};

/// How the paths begin.
pub(super) const ROOT: &str = "/api/v1/";
/// The same of `read` and `meta` in version 1.x.
const OLD_ROOT: &str = "/v1/";

/// gRPC's code of an error for a response that would be too large.
const RESOURCE_EXHAUSTED: i64 = 8;
/// A Cloud Controller's code of the error for a path that does not exist.
const UNKNOWN_REQUEST: i64 = 10_000;

/// Requests what the server holds of the call's app, as far as a query selects it.
///
/// # Errors
///
/// The error of every response that is not a success, with a hint.
pub(super) fn request(call: &Call<'_>, query: &str) -> Result<Response> {
    request_any_version(call, &format!("read/{}?{query}", call.guid()?))
}

/// Requests a target that version 1.x has at another path. Tries that if the server does not know the path of later
/// versions, and remembers which one it knows.
pub(super) fn request_any_version(call: &Call<'_>, target: &str) -> Result<Response> {
    let learned = call.requester.learned;
    let was_old = learned.is_old_log_cache(call.server);
    let (root, other_root) = if was_old { (OLD_ROOT, ROOT) } else { (ROOT, OLD_ROOT) };
    let error = match get(call, &format!("{root}{target}")) {
        Err(error) if is_unknown_path(&error) => error,
        result => return result,
    };
    log::debug!("{} has no paths at {root}, trying {other_root}", call.server);
    match get(call, &format!("{other_root}{target}")) {
        Err(other) if is_unknown_path(&other) => Err(if was_old { other } else { error }),
        result => {
            if result.as_ref().err().is_none_or(is_of_known_path) {
                learned.set_old_log_cache(call.server, !was_old);
            }
            result
        }
    }
}

/// Makes a request. The error of every response that is not a success has a hint.
pub(super) fn get(call: &Call<'_>, target: &str) -> Result<Response> {
    let response = call.get(target)?;
    if response.status == 200 { Ok(response) } else { Err(advise(response.into_error().hiding(call.token))) }
}

/// Returns true if the server itself has answered, and has looked at the path: not a router, a rate limit or a fault.
fn is_of_known_path(error: &Error) -> bool {
    !error.is_from_router() && error.status().is_some_and(|status| status < 500 && status != 429)
}

/// Returns true if the server has answered that it does not know the path, as servers written in Go do.
fn is_unknown_path(error: &Error) -> bool {
    error.status() == Some(404) && error.body().is_some_and(|body| body.trim() == "404 page not found")
}

/// Returns true if the server has answered that its response would be too large, so that a smaller page may succeed:
/// 429, or 403 from version 1.x, with gRPC's code. Another 429 limits the number of requests.
pub(super) fn is_too_large(error: &Error) -> bool {
    matches!(error.status(), Some(403 | 429))
        && error.retry_after().is_none()
        && error.body().and_then(v2::grpc_code) == Some(RESOURCE_EXHAUSTED)
}

/// What a response is read to: log messages, or envelopes.
pub(crate) trait Readable: FromV2 {
    /// What they are called in an error.
    const WHAT: &'static str;

    /// Adds what Korifi leaves out, or has in another place. The response is about one source only.
    fn complete(&mut self, source: &str);
}

impl Readable for LogMessage {
    const WHAT: &'static str = "the recent messages";

    fn complete(&mut self, source: &str) {
        if self.app_id.is_empty() {
            source.clone_into(&mut self.app_id);
        }
    }
}

impl Readable for Envelope {
    const WHAT: &'static str = "the envelopes";

    fn complete(&mut self, source: &str) {
        if self.source_id.is_empty() {
            source.clone_into(&mut self.source_id);
        }
        if self.instance_id.is_empty()
            && let Some(instance) = self.tags.get("instance_id")
        {
            instance.clone_into(&mut self.instance_id);
        }
    }
}

/// Reads a page, as far as it may be in memory. Returns the number of envelopes in the response, too.
pub(super) fn read_page<T: Readable + Stored>(call: &Call<'_>, body: impl Read) -> Result<(Vec<T>, usize)> {
    let (mut items, mut size) = (Vec::new(), 0_usize);
    let max_size = call.settings().max_recent_size;
    let count = read_items(call, &[], body, |item: T| {
        size = size.saturating_add(item.size());
        items.push(item);
        if size > max_size {
            let text = format!("a page of Log Cache is larger than {max_size} bytes: see Builder::max_recent_size");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        Ok(())
    })?;
    Ok((items, count))
}

/// Reads the body of a response to its end. The beginning of the body may already have been received. Returns the number of
/// envelopes in it.
pub(super) fn read_items<T: Readable>(
    call: &Call<'_>,
    received: &[u8],
    mut body: impl Read,
    mut each: impl FnMut(T) -> Result<()>,
) -> Result<usize> {
    let source = call.app_guid.trim();
    let mut count = 0;
    let mut skipped = Skipped::default();
    let mut add = |item: Result<Option<T>>| {
        count += 1;
        // Without this, megabytes that the system has already received would still be read.
        call.cancel().check()?;
        match item {
            Ok(Some(mut item)) => {
                item.complete(source);
                each(item)
            }
            Ok(None) => skipped.add(None),
            Err(error) => skipped.add(Some(error)),
        }
    };
    let mut result = Ok(());
    v2::read_response(received, &mut body, call.settings().max_message_size, |item| {
        result = add(item);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .map_err(|error| explain_timeout(response_error(T::WHAT, error, call.cancel()), call.timeouts))?;
    if result.is_ok() {
        finish(body);
    }
    result.map(|()| count)
}

/// Reads the end of a body behind its JSON, so that the connection can be used again.
pub(super) fn finish(body: impl Read) {
    // A longer rest costs more than another connection. A failure shows in the next request.
    let _ = io::copy(&mut body.take(1024), &mut io::sink());
}

/// Adds a hint to an error response. Log Cache's auth proxy answers 404 with an empty body to every token that it
/// rejects, or that is not valid for the app. Korifi answers it with a Cloud Controller's error, which says what is not
/// there.
fn advise(error: Error) -> Error {
    if error.is_from_router() {
        return error;
    }
    let is_empty = error.body().is_some_and(|body| body.trim().is_empty());
    let code = error.body().and_then(v2::cloud_controller_code);
    match error.status() {
        Some(404) if is_empty => error.with_kind(ErrorKind::Unauthorized).with_hint(
            " (Log Cache answers 404 to every token that it rejects: has the token expired, and may its user see the \
             app? `cf oauth-token` prints a new one)",
        ),
        Some(404) if code.is_some_and(|code| code != UNKNOWN_REQUEST) => error,
        Some(404) => error.with_hint(" (Is this the address of a Log Cache?)"),
        _ => error,
    }
}

/// Returns the error of a response that could not be read to its end.
fn response_error(what: &str, error: io::Error, cancel: &Cancel) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData if !cancel.is_cancelled() => {
            Error::caused(ErrorKind::BadResponse, format_args!("{what}: this is not a response of Log Cache"), error)
        }
        io::ErrorKind::FileTooLarge if !cancel.is_cancelled() => {
            Error::caused(ErrorKind::TooLarge, what, error).with_hint(": see Builder::max_message_size")
        }
        _ => body_error(what, error, cancel),
    }
}
