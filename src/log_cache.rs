//! Generation 3's Log Cache, which holds the newest lines of each app: reads them, page by page, newest first.
//!
//! Source: log-cache-release 702107c (v3.2.12), its gateway, its auth proxy and its store.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::Cancel;
use crate::consumer::Call;
use crate::deadline::Patience;
use crate::dial::Dialer;
use crate::endpoint::{Endpoint, escaped_guid};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{self, body_error};
use crate::message::LogMessage;
use crate::recent::{Skipped, explain_timeout, late};
use crate::v2;

/// The most that Log Cache gives at a time, unless the rest are of one time.
const PAGE: usize = 1000;

/// A Log Cache, and how long and how much it may say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access<'a> {
    pub(crate) dialer: &'a Arc<Dialer>,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) connect_timeout: Duration,
    /// How long one answer may be silent, and when all must be there.
    pub(crate) patience: Patience,
    /// Of one line, as it comes over the wire.
    pub(crate) max_message_size: usize,
    /// Of all lines, in memory.
    pub(crate) max_size: usize,
}

/// The newest lines of an app, as many as the settings say, oldest first. An error has what came before it, in the same
/// order.
pub(crate) fn recent(call: &Call<'_>) -> Result<Vec<LogMessage>> {
    let settings = &call.inner.settings;
    let access = Access {
        dialer: &call.inner.dialer,
        endpoint: call.server,
        connect_timeout: settings.connect_timeout,
        patience: call.patience,
        max_message_size: settings.max_message_size,
        max_size: settings.max_recent_size,
    };
    access.newest(call.app_guid, call.token, settings.recent_limit, call.cancel)
}

impl Access<'_> {
    fn newest(&self, app_guid: &str, token: &str, limit: usize, cancel: &Arc<Cancel>) -> Result<Vec<LogMessage>> {
        let guid = escaped_guid(app_guid)?;
        newest(limit, PAGE, self.max_size, |end, limit, page| {
            let end = end.map_or_else(String::new, |end| format!("&end_time={end}"));
            let path = format!("/api/v1/read/{guid}?envelope_types=LOG&descending=true&limit={limit}{end}");
            self.read_page(&path, token, cancel, page)
        })
    }

    /// Reads one page, and says how many envelopes it had.
    fn read_page(&self, path: &str, token: &str, cancel: &Arc<Cancel>, page: &mut Page) -> Result<usize> {
        if self.patience.is_over() {
            return Err(late());
        }
        let limits = http::Limits { head: self.patience.within(self.connect_timeout), body: self.patience };
        let answer = http::get(self.dialer, self.endpoint, path, token, limits, cancel)?;
        if answer.status != 200 {
            return Err(refusal(answer.into_error().hiding(token)));
        }
        let mut count = 0;
        let mut skipped = Skipped::default();
        let mut add = |envelope: Result<Option<LogMessage>>| {
            count += 1;
            // What the system holds of the answer, megabytes at times, would still come.
            cancel.check()?;
            match envelope {
                Ok(Some(line)) => page.add(line),
                Ok(None) => skipped.one(None),
                Err(error) => skipped.one(Some(error)),
            }
        };
        let mut result = Ok(());
        v2::read_response(answer.body, self.max_message_size, |envelope| {
            result = add(envelope);
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .map_err(|error| explain_timeout(answer_error(error, cancel), self.patience))?;
        result.map(|()| count)
    }
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

/// Why an answer could not be read to its end.
fn answer_error(error: io::Error, cancel: &Cancel) -> Error {
    let what = "the recent messages";
    match error.kind() {
        io::ErrorKind::InvalidData if !cancel.is_thrown() => {
            Error::caused(ErrorKind::BadResponse, format_args!("{what}: this is no answer of a Log Cache"), error)
        }
        io::ErrorKind::FileTooLarge if !cancel.is_thrown() => {
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
    let mut lines = Lines::default();
    let result = lines.page_back(limit, page_size, max_size, read);
    let mut lines = lines.newest_first;
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
struct Lines {
    newest_first: Vec<LogMessage>,
    size: usize,
    oldest: i64,
    /// Where those are that have the oldest time.
    at_oldest: Vec<usize>,
}

impl Lines {
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
                // The answer would be too large.
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
