//! Generation 3's Log Cache, which holds the newest lines of each app: reads them, page by page, newest first.
//!
//! Source: log-cache-release 702107c (v3.2.12), its gateway, its auth proxy and its store.

// To be used by the polling source.
#[cfg_attr(not(test), expect(dead_code, unused_imports))]
mod engine;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::ControlFlow;

use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::http::body_error;
use crate::server::call::Call;
use crate::server::source::{RecentSource, Skipped, explain_timeout, late};
use crate::wire::v2;

/// The most envelopes that Log Cache returns at a time. It adds the rest of a run of one timestamp.
const PAGE: usize = 1000;

/// Reads an app's newest lines, as many as the settings say. They come oldest first. An error has what was read before
/// it, in the same order.
pub(crate) fn recent(call: &Call<'_>) -> Result<Box<dyn RecentSource>> {
    Ok(Box::new(Lines(read_newest(call)?.into_iter())))
}

/// Lines that have all been read.
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
    let guid = call.guid()?;
    newest(call.settings().recent_limit, PAGE, call.settings().max_recent_size, |end, limit, page| {
        let end = end.map_or_else(String::new, |end| format!("&end_time={end}"));
        let path = format!("/api/v1/read/{guid}?envelope_types=LOG&descending=true&limit={limit}{end}");
        read_page(call, &path, page)
    })
}

/// Reads one page and returns the number of envelopes in it.
fn read_page(call: &Call<'_>, path: &str, page: &mut Page) -> Result<usize> {
    if call.timeouts.is_expired() {
        return Err(late());
    }
    let response = call.get(path)?;
    if response.status != 200 {
        return Err(refusal(response.into_error().hiding(call.token)));
    }
    let mut count = 0;
    let mut skipped = Skipped::default();
    let mut add = |envelope: Result<Option<LogMessage>>| {
        count += 1;
        // Without this, megabytes that the system has already received would still be read.
        call.cancel().check()?;
        match envelope {
            Ok(Some(line)) => page.add(line),
            Ok(None) => skipped.add(None),
            Err(error) => skipped.add(Some(error)),
        }
    };
    let mut result = Ok(());
    v2::read_response(response.body, call.settings().max_message_size, |envelope| {
        result = add(envelope);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .map_err(|error| explain_timeout(response_error(error, call.cancel()), call.timeouts))?;
    result.map(|()| count)
}

/// Why Log Cache gives no lines. For a token that it refuses, or that is not for the app, its auth proxy answers 404
/// without a word, as if to say that it has never heard of the app.
fn refusal(error: Error) -> Error {
    let is_silent = error.body().is_some_and(|body| body.trim().is_empty());
    match error.status() {
        Some(404) if is_silent => error.with_kind(ErrorKind::Unauthorized).with_hint(
            ". So Log Cache answers to every token that it refuses: has the token expired, and may its user see the \
             app? `cf oauth-token` prints a fresh one",
        ),
        Some(404) => error.with_hint(". Is this the address of a Log Cache?"),
        _ => error,
    }
}

/// Why an response could not be read to its end.
fn response_error(error: io::Error, cancel: &Cancel) -> Error {
    let what = "the recent messages";
    match error.kind() {
        io::ErrorKind::InvalidData if !cancel.is_cancelled() => {
            Error::caused(ErrorKind::BadResponse, format_args!("{what}: this is no response of a Log Cache"), error)
        }
        io::ErrorKind::FileTooLarge if !cancel.is_cancelled() => {
            Error::caused(ErrorKind::TooLarge, what, error).with_hint(": see Builder::max_message_size")
        }
        _ => body_error(what, error, cancel),
    }
}

/// Pages back in time until there are `limit` lines, or no more. `read` gets the time, in nanoseconds, before which
/// the next page begins, and its size; it fills it with the newest lines of that range, newest first, and says how
/// many envelopes there were.
///
/// Nothing tells lines apart but what they say, and several may have one time. So a page begins with the oldest time of
/// those before it once more, and as many of each line as are known are left out. That way nothing is lost or doubled,
/// whatever is logged, or expires, between two pages.
///
/// Of lines of one time that are more than a page has, the rest is out of reach, if a server is strict about the size.
/// Log Cache is not: it gives all of them.
fn newest(
    limit: usize,
    page_size: usize,
    max_size: usize,
    read: impl FnMut(Option<i64>, usize, &mut Page) -> Result<usize>,
) -> Result<Vec<LogMessage>> {
    let mut pages = Pages::default();
    let result = pages.page_back(limit, page_size, max_size, read);
    let mut lines = pages.newest_first;
    lines.truncate(limit);
    lines.reverse();
    match result {
        Ok(()) => Ok(lines),
        Err(error) => Err(error.with_recovered(lines)),
    }
}

/// The lines of one page, as they come.
struct Page {
    lines: Vec<LogMessage>,
    /// In bytes of memory.
    room: usize,
    max_size: usize,
}

impl Page {
    fn add(&mut self, line: LogMessage) -> Result<()> {
        let room = self.room.checked_sub(line.size());
        self.lines.push(line);
        let too_large = || {
            let text =
                format!("the recent messages are larger than {} bytes: see Builder::max_recent_size", self.max_size);
            Error::new(ErrorKind::TooLarge, text)
        };
        self.room = room.ok_or_else(too_large)?;
        Ok(())
    }
}

/// The lines of all pages.
#[derive(Default)]
struct Pages {
    newest_first: Vec<LogMessage>,
    size: usize,
    oldest: i64,
    /// Where those are that have the oldest time.
    at_oldest: Vec<usize>,
}

impl Pages {
    fn page_back(
        &mut self,
        limit: usize,
        mut page_size: usize,
        max_size: usize,
        mut read: impl FnMut(Option<i64>, usize, &mut Page) -> Result<usize>,
    ) -> Result<()> {
        let mut end = None;
        // An end of 0 would be none, to Log Cache.
        while self.newest_first.len() < limit && end.is_none_or(|end| end > 0) {
            let missing = limit - self.newest_first.len();
            let ask = missing.saturating_add(self.known(end).len()).min(page_size);
            let mut page = Page { lines: Vec::new(), room: max_size.saturating_sub(self.size), max_size };
            let result = read(end, ask, &mut page);
            let new = self.add_new(page.lines, end);

            match result {
                Ok(count) if count < ask => return Ok(()),
                Ok(_) if new > 0 => end = Some(self.oldest.saturating_add(1)),
                Ok(count) if !self.known(end).is_empty() => {
                    if count == ask {
                        log::warn!(
                            "there may be more recent messages than {count} of the time {} (nanoseconds since 1970), \
                             but Log Cache does not give them",
                            self.oldest
                        );
                    }
                    end = Some(self.oldest);
                }
                Ok(_) => return Ok(()),
                // The response would be too large.
                Err(error) if error.status() == Some(429) && ask > 1 => page_size = ask / 2,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Where those lines are that come once more in a page of what is before `end`.
    fn known(&self, end: Option<i64>) -> &[usize] {
        if end.is_some_and(|end| end > self.oldest) { &self.at_oldest } else { &[] }
    }

    /// Adds what is new in a page, and says how much that is.
    fn add_new(&mut self, mut page: Vec<LogMessage>, end: Option<i64>) -> usize {
        let mut known: HashMap<&LogMessage, usize> = HashMap::new();
        for &index in self.known(end) {
            *known.entry(&self.newest_first[index]).or_default() += 1;
        }
        page.retain(|line| match known.get_mut(line) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => end.is_none_or(|end| line.timestamp < end),
        });
        let new = page.len();
        page.into_iter().for_each(|line| self.add(line));
        new
    }

    fn add(&mut self, line: LogMessage) {
        if self.newest_first.is_empty() || line.timestamp < self.oldest {
            self.oldest = line.timestamp;
            self.at_oldest.clear();
        }
        if line.timestamp == self.oldest {
            self.at_oldest.push(self.newest_first.len());
        }
        self.size += line.size();
        self.newest_first.push(line);
    }
}
