//! [`recent`]: reads an app's newest lines, and requests a page while the one before it is being decoded.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::thread;

use super::pages::{Page, collect_newest};
use super::requests::{read_items, request};
use crate::error::Result;
use crate::message::LogMessage;
use crate::net::on_behalf::OnBehalf;
use crate::server::app_guid::warn_of_no_guid;
use crate::server::call::Call;
use crate::server::source::{RecentSource, recent_timeout_error};
use crate::wire::v2::{self, Failing};

/// The largest page that Log Cache accepts, in envelopes. It returns more than requested if the page would otherwise
/// end between envelopes with the same timestamp.
pub(super) const PAGE_SIZE: usize = 1000;

/// The largest page that is held in memory as JSON, in bytes.
const MAX_HELD: u64 = 4 << 20;

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

    fn take_all(&mut self) -> Option<Vec<LogMessage>> {
        Some(std::mem::take(&mut self.0).collect())
    }
}

pub(super) fn read_newest(call: &Call<'_>) -> Result<Vec<LogMessage>> {
    let client = call.requester.client(call.server);
    let call = &Call { client: Some(&client), ..*call };
    let limit = call.settings().recent_limit;
    // Checked even if no page is requested.
    call.guid()?;
    let mut pages = Pages { call, missing: limit, next: None };
    let lines = collect_newest(limit, PAGE_SIZE, call.settings().max_recent_size, |end, limit, page| {
        pages.read(Query { end, limit }, page)
    })?;
    if lines.is_empty() && limit > 0 {
        warn_of_no_guid("Log Cache has no messages", call.app_guid);
    }
    Ok(lines)
}

/// The request for a page.
#[derive(Clone, Copy, PartialEq)]
struct Query {
    /// The time before which the page ends, in nanoseconds since the Unix epoch.
    end: Option<i64>,
    limit: usize,
}

/// Reads pages. While one is decoded, the next is requested and received: the one that will probably be wanted.
///
/// A page is returned only for its own request, so a wrong guess costs a request, and changes nothing.
struct Pages<'a> {
    call: &'a Call<'a>,
    /// At least so many lines are still wanted.
    missing: usize,
    /// The page that was requested in advance.
    next: Option<(Query, Result<Received>)>,
}

impl Pages<'_> {
    /// Reads one page and returns the number of envelopes in it.
    fn read(&mut self, query: Query, page: &mut Page) -> Result<usize> {
        if self.call.timeouts.is_expired() {
            return Err(recent_timeout_error());
        }
        let received = match self.next.take() {
            Some((guess, received)) if guess == query => received?,
            wrong => {
                // No further guesses: this server is not as expected.
                self.missing = if wrong.is_some() { 0 } else { self.missing };
                self.receive(query, self.missing)?
            }
        };
        let count = match received {
            Received { json, rest: None } => match self.guess(query, &json) {
                Some(next) => self.decode_while_receiving(next, &json, page),
                None => decode(self.call, &json, io::empty(), page),
            },
            Received { json, rest: Some(rest) } => decode(self.call, &json, rest, page),
        }?;
        self.missing = self.missing.saturating_sub(count);
        Ok(count)
    }

    /// Decodes a page in a second thread, and meanwhile receives the next one. So the first thread makes all requests.
    fn decode_while_receiving(&mut self, next: Query, json: &[u8], page: &mut Page) -> Result<usize> {
        let call = self.call;
        let on_behalf = OnBehalf::current();
        let both = thread::scope(|scope| {
            let decode = || on_behalf.run(|| decode(call, json, io::empty(), page));
            let decoding = thread::Builder::new().name("loggregator-decode".into()).spawn_scoped(scope, decode)?;
            let received = self.receive(next, self.missing.saturating_sub(next.limit));
            io::Result::Ok((decoding.join().unwrap_or_else(|panic| resume_unwind(panic)), received))
        });
        match both {
            Ok((count, received)) => {
                self.next = Some((next, received));
                count
            }
            // There is no further thread.
            Err(_) => decode(call, json, io::empty(), page),
        }
    }

    /// Requests a page. Receives it, too, if it is likely that another follows: if this many lines are missing.
    fn receive(&self, query: Query, missing: usize) -> Result<Received> {
        let Query { end, limit } = query;
        let end = end.map_or_else(String::new, |end| format!("&end_time={end}"));
        let mut rest = request(self.call, &format!("envelope_types=LOG&descending=true&limit={limit}{end}"))?.body;
        let mut json = Vec::new();
        if missing < limit.saturating_mul(2) {
            return Ok(Received { json, rest: Some(Box::new(rest)) });
        }
        let error = match (&mut rest).take(MAX_HELD).read_to_end(&mut json) {
            Ok(length) if (length as u64) < MAX_HELD => return Ok(Received { json, rest: None }),
            result => result.err(),
        };
        Ok(Received { json, rest: Some(Box::new(Failing(error).chain(rest))) })
    }

    /// Returns the request that will probably follow this one and its response. `None`: this was the last one, or there
    /// is no telling.
    fn guess(&self, query: Query, json: &[u8]) -> Option<Query> {
        let (count, oldest) = v2::glance(json)?;
        let end = oldest.checked_add(1)?;
        let is_full = count >= query.limit && self.missing.saturating_sub(count) >= query.limit;
        let goes_back = end > 0 && query.end.is_none_or(|before| end < before);
        (is_full && goes_back).then_some(Query { end: Some(end), ..query })
    }
}

fn decode(call: &Call<'_>, received: &[u8], body: impl Read, page: &mut Page) -> Result<usize> {
    read_items(call, received, body, |line| page.add(line))
}

/// The body of a page.
struct Received {
    /// As much of its JSON as has been received.
    json: Vec<u8>,
    /// The rest. `None`: there is no more.
    rest: Option<Box<dyn Read>>,
}
