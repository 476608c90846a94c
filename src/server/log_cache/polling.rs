//! [`PollingSource`]: live messages or envelopes from Log Cache, which keeps lines and does not push them. The
//! [engine](super::engine) decides what to request; this file makes the requests and waits between them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::{Config, Engine, Failure, Item, Next, Page, Range, Start, Stored};
use super::name_filter::name_filter;
use super::requests::{Readable, read_page};
use super::{finish, is_too_large, request, walk};
use crate::ending::Ending;
use crate::envelope::Envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::http::body_error;
use crate::selection::Selection;
use crate::server::call::Call;
use crate::server::source::{Decoded, LastReport, LiveSource};
use crate::settings::{Polling, Settings};
use crate::wire::frames::Progress;
use crate::wire::v2;

/// Without [`Builder::reconnect`](crate::Builder::reconnect), a tail ends when every request has failed for this long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// A rejected tail ends after this time. Log Cache answers 404 to every token while its UAA or CAPI is away, which was
/// seen for 6 s at a restart.
const REJECTED_FOR: Duration = Duration::from_secs(15);

/// When lines of this size are held for a tail that may go on with this source, in bytes, no more are read.
pub(crate) const MAX_HELD: usize = 1 << 20;

/// The largest response to the request for the oldest envelope, in bytes.
const MAX_OLDEST: u64 = 16 << 20;

/// A response to a request of the engine.
pub(crate) enum Answer<T = LogMessage> {
    Page(Page<T>),
    Oldest(Option<i64>),
}

/// Makes a request of the engine with a valid token.
type Request<T> = Box<dyn Fn(Next) -> Result<Answer<T>> + Send>;

/// Returns true for what is selected, and removes those of its parts that are not.
type Filter<T> = Box<dyn Fn(&mut T) -> bool + Send>;

pub(crate) struct PollingSource<T = LogMessage> {
    engine: Engine<T>,
    request: Request<T>,
    /// `None`: everything is selected.
    is_selected: Option<Filter<T>>,
    cancel: Arc<Cancel>,
    /// The engine's times count from here.
    started: Instant,
    /// Since when every request has failed. The last success may be long ago: a quiet app of many is asked rarely.
    failing_since: Option<Instant>,
    /// Since when the server has rejected every request.
    rejected_since: Option<Instant>,
    /// `None`: the tail never gives up.
    give_up_after: Option<Duration>,
    max_attempts: Option<u32>,
    decoded: Decoded<T>,
    /// The memory that the decoded messages take, in bytes.
    decoded_size: usize,
    last_report: LastReport,
}

impl<T: Stored> PollingSource<T> {
    /// Makes the first requests, by `first`. All further ones are made by `request`, in the thread that reads.
    pub(crate) fn open(
        settings: &Settings,
        polling: Polling,
        start: Start,
        cancel: &Arc<Cancel>,
        first: impl Fn(Next) -> Result<Answer<T>>,
        request: Request<T>,
    ) -> Result<Self> {
        let mut source = PollingSource::new(settings, polling, start, cancel, request);
        loop {
            let next = source.engine.next(source.started.elapsed());
            match first(next) {
                Ok(answer) => source.succeeded(answer),
                Err(error) if is_too_large(&error) => source.engine.failed(Failure::TooLarge, source.started.elapsed()),
                Err(error) => return Err(error),
            }
            // What is there now is not returned by a tail, so it must all be known before the call returns.
            let must_go_on = matches!(start, Start::Tail) && source.engine.complete_until().is_none();
            if !must_go_on || matches!(source.engine.next(source.started.elapsed()), Next::Wait(_)) {
                return Ok(source);
            }
        }
    }

    /// Makes no request yet.
    pub(crate) fn new(
        settings: &Settings,
        polling: Polling,
        start: Start,
        cancel: &Arc<Cancel>,
        request: Request<T>,
    ) -> Self {
        let config = Config {
            every: polling.every,
            idle: polling.idle,
            horizon: polling.horizon,
            hold: polling.hold,
            recent_limit: settings.recent_limit,
            recent_size: settings.max_recent_size,
            ..Config::default()
        };
        // A random number from the standard library: each of these hashers has its own keys.
        let random = RandomState::new().build_hasher().finish();
        let now = Instant::now();
        PollingSource {
            engine: Engine::new(&config, start, random),
            request,
            is_selected: None,
            cancel: Arc::clone(cancel),
            started: now,
            failing_since: None,
            rejected_since: None,
            give_up_after: settings.reconnect.is_none().then(|| settings.idle_timeout.unwrap_or(GIVE_UP_AFTER)),
            max_attempts: settings.reconnect.and_then(|policy| policy.max_attempts),
            decoded: Decoded::default(),
            decoded_size: 0,
            last_report: LastReport::now(),
        }
    }

    /// Makes the requests that are due, without waiting. The lines are held for the tail that goes on with this source. If
    /// there are many, the others stay with Log Cache.
    ///
    /// # Errors
    ///
    /// The error with which a tail would end.
    pub(crate) fn poll(&mut self) -> Result<()> {
        loop {
            self.take_items();
            match self.engine.next(self.started.elapsed()) {
                Next::Wait(_) => return Ok(()),
                _ if self.decoded_size >= MAX_HELD => return Ok(()),
                next => self.request(next)?,
            }
        }
    }

    /// Returns the times of the lines that are held, in nanoseconds since the Unix epoch, except for blank ones, which
    /// streams do not give.
    pub(crate) fn held_times(&self) -> impl Iterator<Item = i64> {
        let lines = self.decoded.messages.iter().filter_map(|item| item.as_ref().ok());
        lines.filter(|line| !line.is_blank()).map(Stored::timestamp)
    }

    /// Returns the size of the lines that are held, in bytes.
    pub(crate) fn held_size(&self) -> usize {
        self.decoded_size
    }

    /// From now on, also leaves these out.
    pub(crate) fn leave_out(&mut self, is_out: impl Fn(&T) -> bool + Send + 'static)
    where
        T: 'static,
    {
        let is_selected = self.is_selected.take();
        self.is_selected = Some(Box::new(move |item| {
            !is_out(item) && is_selected.as_ref().is_none_or(|is_selected| is_selected(item))
        }));
    }

    /// Returns the time of the oldest envelope that Log Cache has of the source, in nanoseconds since the Unix epoch.
    pub(crate) fn oldest(&mut self) -> Result<Option<i64>> {
        match (self.request)(Next::Oldest)? {
            Answer::Oldest(oldest) => Ok(oldest),
            Answer::Page(_) => Ok(None),
        }
    }

    /// Begins a tail: from now on, failures count. If Log Cache may have dropped something since a moment, the tail begins
    /// with a gap. `may_lack` has that moment, and between which of the server's times it was, in nanoseconds since the
    /// Unix epoch.
    pub(crate) fn begin_tail(&mut self, may_lack: Option<(Instant, &std::ops::Range<i64>)>) {
        if let Some((begun, begun_at)) = may_lack {
            let elapsed = i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX);
            let gap = Error::forgotten(begun_at.start, begun_at.end.saturating_add(elapsed));
            self.decoded.messages.push_front(Err(gap));
        }
        (self.failing_since, self.rejected_since) = (None, None);
    }

    /// Makes a request of the engine. Returns the error if it ends the tail.
    fn request(&mut self, next: Next) -> Result<()> {
        match (self.request)(next) {
            Ok(answer) => {
                self.succeeded(answer);
                Ok(())
            }
            Err(error) => self.failed(error),
        }
    }

    fn succeeded(&mut self, answer: Answer<T>) {
        (self.failing_since, self.rejected_since) = (None, None);
        let now = self.started.elapsed();
        match answer {
            Answer::Page(page) => self.engine.page(page, now),
            Answer::Oldest(oldest) => self.engine.oldest(oldest, now),
        }
    }

    /// Returns the error if it ends the tail.
    fn failed(&mut self, error: Error) -> Result<()> {
        let now = Instant::now();
        let failure = match error.kind() {
            _ if self.cancel.is_cancelled() => return Err(Error::closed()),
            _ if is_too_large(&error) => Failure::TooLarge,
            ErrorKind::InvalidInput | ErrorKind::BadRequest => return Err(error),
            kind if kind.is_refusal() && !error.is_from_router() => {
                let since = *self.rejected_since.get_or_insert(now);
                if now.duration_since(since) >= REJECTED_FOR {
                    return Err(error);
                }
                Failure::Transient { retry_after: error.retry_after() }
            }
            _ => Failure::Transient { retry_after: error.retry_after() },
        };
        self.engine.failed(failure, self.started.elapsed());
        let since = *self.failing_since.get_or_insert(now);
        let is_late = self.give_up_after.is_some_and(|limit| now.duration_since(since) >= limit);
        let is_out_of_attempts = self.max_attempts.is_some_and(|most| self.engine.failures() > most);
        if is_late || is_out_of_attempts {
            return Err(error.with_hint(" (given up: no request has succeeded for too long)"));
        }
        log::info!("a poll of Log Cache failed: {error}");
        Ok(())
    }

    /// Makes one request if it is due. Returns when the next one is due if it is not.
    ///
    /// # Errors
    ///
    /// The error that ends the tail.
    pub(super) fn step(&mut self) -> Result<Option<Instant>> {
        self.take_items();
        match self.engine.next(self.started.elapsed()) {
            Next::Wait(until) => Ok(Some(self.started + until)),
            next => self.request(next).map(|()| None),
        }
    }

    /// Takes the messages that are there, and the time up to which they are complete.
    pub(super) fn take_all(&mut self) -> Decoded<T> {
        self.take_items();
        self.decoded_size = 0;
        let complete_until = self.decoded.complete_until;
        Decoded { messages: std::mem::take(&mut self.decoded.messages), complete_until }
    }

    /// Returns the time up to which the messages were complete when they were last taken. `None`: none have been taken yet.
    pub(super) fn complete_until(&self) -> Option<i64> {
        // The engine's own time is ahead of it by the lines that wait to be taken.
        self.decoded.complete_until
    }

    /// Takes everything that is left when the source has given up.
    pub(super) fn take_last(&mut self) -> Decoded<T> {
        while let Some(item) = self.engine.take_last() {
            self.decode(item);
        }
        self.take_all()
    }

    /// Moves what the engine has to return to `decoded`.
    fn take_items(&mut self) {
        while let Some(item) = self.engine.take(self.started.elapsed()) {
            self.decode(item);
        }
        self.decoded.complete_until = self.engine.complete_until();
    }

    fn decode(&mut self, item: Item<T>) {
        match item {
            Item::Lines(mut lines) => {
                // Only now: the engine must see all that Log Cache returns, to see that nothing is missing.
                if let Some(is_selected) = &self.is_selected {
                    lines.retain_mut(is_selected);
                }
                self.decoded_size += lines.iter().map(Stored::size).sum::<usize>();
                self.decoded.messages.extend(lines.into_iter().map(Ok));
            }
            Item::Gap(gap) => self.decoded.messages.push_back(Err(Error::forgotten(gap.from, gap.until))),
        }
    }

    /// Ends the tail with an error, after everything that is held back.
    fn give_up(&mut self, error: Error) -> Progress {
        while let Some(item) = self.engine.take_last() {
            self.decode(item);
        }
        Progress::Failed(error)
    }
}

impl PollingSource<Envelope> {
    /// Leaves out what is not selected.
    pub(crate) fn selecting(self, selection: &Arc<Selection>) -> Self {
        let selection = Arc::clone(selection);
        PollingSource { is_selected: Some(Box::new(move |envelope| selection.admits(envelope))), ..self }
    }
}

impl<T: Stored + Send> LiveSource<T> for PollingSource<T> {
    fn receive(&mut self) -> Progress {
        self.take_items();
        if !self.decoded.messages.is_empty() {
            return Progress::More;
        }
        match self.engine.next(self.started.elapsed()) {
            Next::Wait(until) => {
                // Nothing is ever sent: this waits for the time to pass, or for a cancel.
                let _ = self.cancel.signal().recv_timeout(until.saturating_sub(self.started.elapsed()));
            }
            next => match self.request(next) {
                Err(error) if error.kind() == ErrorKind::Closed => return Progress::Ended(Ending::Closed),
                Err(error) => return self.give_up(error),
                Ok(()) => {}
            },
        }
        Progress::More
    }

    fn take_decoded(&mut self) -> Option<Decoded<T>> {
        self.take_items();
        if !self.last_report.is_next_due(!self.decoded.messages.is_empty()) {
            return None;
        }
        Some(self.take_all())
    }

    fn runs_callers_functions(&self) -> bool {
        true
    }
}

/// Returns between which of the server's times a moment was, in nanoseconds since the Unix epoch.
pub(crate) fn time_at(call: &Call<'_>, moment: Instant) -> Result<std::ops::Range<i64>> {
    let page: Page = request_page(call, LOGS, Range { start: 0, end: None, limit: 1, newest_first: true })?;
    // No line is ahead of the server's clock, which it tells in full seconds.
    let newest = page.lines.iter().map(|line| line.timestamp).max();
    let Some(earliest) = newest.max(page.date) else {
        return Err(Error::new(ErrorKind::BadResponse, "Log Cache does not tell its time"));
    };
    let latest = page.date.map_or(earliest, |date| date.saturating_add(1_000_000_000));
    let elapsed = i64::try_from(moment.elapsed().as_nanos()).unwrap_or(i64::MAX);
    let before = |time: i64| time.saturating_sub(elapsed);
    Ok(before(earliest)..before(latest.max(earliest)))
}

/// The parameter of requests for log messages.
pub(crate) const LOGS: &str = "envelope_types=LOG&";

/// Returns the parameters of requests for the types and names that are selected.
pub(crate) fn selected(selection: &Selection) -> String {
    let types = walk::types(selection).into_iter().map(|name| format!("envelope_types={name}&"));
    types.chain(name_filter(selection).map(|filter| format!("name_filter={filter}&"))).collect()
}

/// Makes a request of the engine, with the parameters for what is selected.
pub(crate) fn read<T: Readable + Stored>(call: &Call<'_>, selected: &str, next: Next) -> Result<Answer<T>> {
    match next {
        Next::Read(range) => request_page(call, selected, range).map(Answer::Page),
        Next::Oldest | Next::Wait(_) => read_oldest(call).map(Answer::Oldest),
    }
}

fn request_page<T: Readable + Stored>(call: &Call<'_>, selected: &str, range: Range) -> Result<Page<T>> {
    let Range { start, end, limit, newest_first } = range;
    let mut query = format!("{selected}start_time={start}&limit={limit}");
    if let Some(end) = end {
        query.push_str(&format!("&end_time={end}"));
    }
    if newest_first {
        query.push_str("&descending=true");
    }
    let response = request(call, &query)?;
    let date = response.date;
    let (lines, envelopes) = read_page(call, response.body)?;
    Ok(Page { lines, envelopes, date })
}

/// Returns the time of the oldest envelope of any type, in nanoseconds since the Unix epoch.
fn read_oldest(call: &Call<'_>) -> Result<Option<i64>> {
    let mut response = request(call, "limit=1")?;
    let mut body = Vec::new();
    let what = "the oldest envelope";
    (&mut response.body)
        .take(MAX_OLDEST)
        .read_to_end(&mut body)
        .map_err(|error| body_error(what, error, call.cancel()))?;
    finish(response.body);
    v2::first_timestamp(&body).map_err(|cause| Error::caused(ErrorKind::BadResponse, what, cause))
}
