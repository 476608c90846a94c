//! Generation 3, Log Cache, which holds the newest lines of each app. They are read page by page, newest first.
//!
//! Source: log-cache-release 702107c (v3.2.12): its gateway, its auth proxy and its store. Version 1.x (March 2018 to
//! March 2019): cloudfoundry/log-cache before commit 17bd844. Korifi, which has a Log Cache of its own:
//! `api/handlers/log_cache.go`, `api/presenter/log_cache.go` and `api/repositories/log_repository.go`.

pub(crate) mod engine;
pub(crate) mod polling;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read};
use std::ops::ControlFlow;

use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::http::{Response, body_error};
use crate::server::app_guid::warn_of_no_guid;
use crate::server::call::Call;
use crate::server::source::{RecentSource, Skipped, explain_timeout, recent_timeout_error};
use crate::wire::v2;

/// The largest page that Log Cache accepts, in envelopes. It returns more than requested if the page would otherwise
/// end between envelopes with the same timestamp.
const PAGE_SIZE: usize = 1000;

/// The path of an app's messages, before its GUID.
const PATH: &str = "/api/v1/read/";
/// The same in version 1.x.
const OLD_PATH: &str = "/v1/read/";

/// gRPC's code of an error for a response that would be too large.
const RESOURCE_EXHAUSTED: i64 = 8;
/// A Cloud Controller's code of the error for a path that does not exist.
const UNKNOWN_REQUEST: i64 = 10_000;

/// Reads an app's newest lines, up to the limit in the settings. They are returned oldest first. An error contains the
/// lines that were read before it, in the same order.
pub(crate) fn recent(call: &Call<'_>) -> Result<Box<dyn RecentSource>> {
    Ok(Box::new(Lines(read_newest(call)?.into_iter())))
}

/// Lines that have already been read.
struct Lines(std::vec::IntoIter<LogMessage>);

impl RecentSource for Lines {
    fn read(&mut self, messages: &mut VecDeque<Result<LogMessage>>) -> Result<bool> {
        let line = self.0.next();
        let is_some = line.is_some();
        messages.extend(line.map(Ok));
        Ok(is_some)
    }
}

fn read_newest(call: &Call<'_>) -> Result<Vec<LogMessage>> {
    let client = call.keeping_alive();
    let call = &Call { client: Some(&client), ..*call };
    let limit = call.settings().recent_limit;
    // Checked even if no page is requested.
    call.guid()?;
    let lines = collect_newest(limit, PAGE_SIZE, call.settings().max_recent_size, |end, limit, page| {
        let end = end.map_or_else(String::new, |end| format!("&end_time={end}"));
        read_page(call, &format!("envelope_types=LOG&descending=true&limit={limit}{end}"), page)
    })?;
    if lines.is_empty() && limit > 0 {
        warn_of_no_guid("Log Cache has no messages", call.app_guid);
    }
    Ok(lines)
}

/// Requests the messages of the call's app that a query selects.
///
/// Tries the path of version 1.x if the server does not know that of later versions, and remembers which one it knows.
///
/// # Errors
///
/// The error of every response that is not a success, with a hint.
fn request(call: &Call<'_>, query: &str) -> Result<Response> {
    let guid = call.guid()?;
    let get = |path: &str| {
        let response = call.get(&format!("{path}{guid}?{query}"))?;
        if response.status == 200 { Ok(response) } else { Err(advise(response.into_error().hiding(call.token))) }
    };
    let learned = call.requester.learned;
    let was_old = learned.is_old_log_cache(call.server);
    let (path, other_path) = if was_old { (OLD_PATH, PATH) } else { (PATH, OLD_PATH) };
    let error = match get(path) {
        Err(error) if is_unknown_path(&error) => error,
        result => return result,
    };
    log::debug!("{} has no {path}, trying {other_path}", call.server);
    match get(other_path) {
        Err(other) if is_unknown_path(&other) => Err(if was_old { other } else { error }),
        result => {
            if result.as_ref().err().is_none_or(is_of_known_path) {
                learned.set_old_log_cache(call.server, !was_old);
            }
            result
        }
    }
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
fn is_too_large(error: &Error) -> bool {
    matches!(error.status(), Some(403 | 429))
        && error.retry_after().is_none()
        && error.body().and_then(v2::grpc_code) == Some(RESOURCE_EXHAUSTED)
}

/// Reads one page and returns the number of envelopes in it.
fn read_page(call: &Call<'_>, query: &str, page: &mut Page) -> Result<usize> {
    if call.timeouts.is_expired() {
        return Err(recent_timeout_error());
    }
    let response = request(call, query)?;
    read_lines(call, response, |line| page.add(line))
}

/// Reads the lines of a response, to its end. Returns the number of envelopes in it.
fn read_lines(
    call: &Call<'_>,
    mut response: Response,
    mut each: impl FnMut(LogMessage) -> Result<()>,
) -> Result<usize> {
    let app_guid = call.app_guid.trim();
    let mut count = 0;
    let mut skipped = Skipped::default();
    let mut add = |envelope: Result<Option<LogMessage>>| {
        count += 1;
        // Without this, megabytes that the system has already received would still be read.
        call.cancel().check()?;
        match envelope {
            Ok(Some(mut line)) => {
                // Korifi sends no source id. The response is about one app only.
                if line.app_id.is_empty() {
                    app_guid.clone_into(&mut line.app_id);
                }
                each(line)
            }
            Ok(None) => skipped.add(None),
            Err(error) => skipped.add(Some(error)),
        }
    };
    let mut result = Ok(());
    v2::read_response(&mut response.body, call.settings().max_message_size, |envelope| {
        result = add(envelope);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .map_err(|error| explain_timeout(response_error(error, call.cancel()), call.timeouts))?;
    if result.is_ok() {
        finish(response.body);
    }
    result.map(|()| count)
}

/// Reads the end of a body behind its JSON, so that the connection can be used again.
fn finish(body: impl Read) {
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
fn response_error(error: io::Error, cancel: &Cancel) -> Error {
    let what = "the recent messages";
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

/// Pages back in time until there are `limit` lines, or no more. Returns them oldest first.
///
/// `read` is called with the time, in nanoseconds, before which the page ends, and with its size. It fills the page
/// with the newest lines of that range, newest first, and returns the number of envelopes in it.
///
/// Lines have no id, and several can have the same time. So a page starts with the oldest time of the previous pages
/// once more, and each line is left out as often as it is already known. That way no line is lost or returned twice,
/// even if lines are logged or expire between two pages.
///
/// If more lines than a page holds have the same time, the rest of them cannot be read from a server that never returns
/// more than requested. Log Cache does return more: all lines of that time.
fn collect_newest(
    limit: usize,
    page_size: usize,
    max_size: usize,
    read: impl FnMut(Option<i64>, usize, &mut Page) -> Result<usize>,
) -> Result<Vec<LogMessage>> {
    let mut collected = Collected::default();
    let result = collected.page_back(limit, page_size, max_size, read);
    let mut lines = collected.newest_first;
    lines.truncate(limit);
    lines.reverse();
    match result {
        Ok(()) => Ok(lines),
        Err(error) => Err(error.with_recovered(lines)),
    }
}

/// The lines of one page, in the order of the response.
struct Page {
    lines: Vec<LogMessage>,
    /// How much memory further lines may take, in bytes.
    remaining_size: usize,
    max_size: usize,
}

impl Page {
    fn add(&mut self, line: LogMessage) -> Result<()> {
        let remaining_size = self.remaining_size.checked_sub(line.size());
        self.lines.push(line);
        let too_large = || {
            let text =
                format!("the recent messages are larger than {} bytes: see Builder::max_recent_size", self.max_size);
            Error::new(ErrorKind::TooLarge, text)
        };
        self.remaining_size = remaining_size.ok_or_else(too_large)?;
        Ok(())
    }
}

/// The lines of all pages so far.
#[derive(Default)]
struct Collected {
    newest_first: Vec<LogMessage>,
    size: usize,
    oldest_time: i64,
    /// The indices of the lines with the oldest time.
    oldest_lines: Vec<usize>,
}

impl Collected {
    fn page_back(
        &mut self,
        limit: usize,
        mut page_size: usize,
        max_size: usize,
        mut read: impl FnMut(Option<i64>, usize, &mut Page) -> Result<usize>,
    ) -> Result<()> {
        let mut end = None;
        // Log Cache ignores an end of 0.
        while self.newest_first.len() < limit && end.is_none_or(|end| end > 0) {
            let missing = limit - self.newest_first.len();
            let requested = missing.saturating_add(self.lines_repeated_before(end).len()).min(page_size);
            let remaining_size = max_size.saturating_sub(self.size);
            let mut page = Page { lines: Vec::new(), remaining_size, max_size };
            let result = read(end, requested, &mut page);
            let ignores_end = end.is_some_and(|end| page.lines.iter().any(|line| line.timestamp >= end));
            let new_lines = self.add_new_lines(page.lines, end);

            match result {
                Ok(count) if count < requested => return Ok(()),
                // As Korifi does: further pages would be the same.
                Ok(_) if ignores_end => {
                    log::warn!(
                        "Log Cache ignored `end_time`: there may be older recent messages, but they cannot be read"
                    );
                    return Ok(());
                }
                Ok(_) if new_lines > 0 => end = Some(self.oldest_time.saturating_add(1)),
                Ok(count) if !self.lines_repeated_before(end).is_empty() => {
                    if count == requested {
                        log::warn!(
                            "Log Cache returned {count} recent messages with the time {} (nanoseconds since 1970): \
                             there may be more of them, but they cannot be read",
                            self.oldest_time
                        );
                    }
                    end = Some(self.oldest_time);
                }
                Ok(_) => return Ok(()),
                Err(error) if is_too_large(&error) && requested > 1 => page_size = requested / 2,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the indices of the lines that a page before `end` contains once more.
    fn lines_repeated_before(&self, end: Option<i64>) -> &[usize] {
        if end.is_some_and(|end| end > self.oldest_time) { &self.oldest_lines } else { &[] }
    }

    /// Adds the lines of a page that are new. Returns their number.
    fn add_new_lines(&mut self, mut page: Vec<LogMessage>, end: Option<i64>) -> usize {
        let mut repeated: HashMap<&LogMessage, usize> = HashMap::new();
        for &index in self.lines_repeated_before(end) {
            *repeated.entry(&self.newest_first[index]).or_default() += 1;
        }
        page.retain(|line| match repeated.get_mut(line) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => end.is_none_or(|end| line.timestamp < end),
        });
        let new_lines = page.len();
        page.into_iter().for_each(|line| self.add(line));
        new_lines
    }

    fn add(&mut self, line: LogMessage) {
        if self.newest_first.is_empty() || line.timestamp < self.oldest_time {
            self.oldest_time = line.timestamp;
            self.oldest_lines.clear();
        }
        if line.timestamp == self.oldest_time {
            self.oldest_lines.push(self.newest_first.len());
        }
        self.size += line.size();
        self.newest_first.push(line);
    }
}
