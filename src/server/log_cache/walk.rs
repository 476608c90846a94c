//! [`Walk`]: reads what Log Cache holds of a source page by page, in either direction.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasher, Hasher, RandomState};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::engine::Stored;
use super::is_too_large;
use super::name_filter::name_filter;
use super::recent::PAGE_SIZE;
use crate::envelope::{Envelope, EnvelopeType};
use crate::error::{Error, ErrorKind, Result};
use crate::selection::Selection;
use crate::window::Window;

const NAMES: [(EnvelopeType, &str); 5] = [
    (EnvelopeType::Log, "LOG"),
    (EnvelopeType::Counter, "COUNTER"),
    (EnvelopeType::Gauge, "GAUGE"),
    (EnvelopeType::Timer, "TIMER"),
    (EnvelopeType::Event, "EVENT"),
];

/// The envelopes of one page, in the order of the response.
pub(crate) struct Page {
    pub(crate) envelopes: Vec<Envelope>,
    /// How many envelopes the response had, with those that could not be decoded.
    pub(crate) count: usize,
    /// The server's clock, in nanoseconds since the Unix epoch.
    pub(crate) date: Option<i64>,
}

/// The request for a page.
pub(crate) struct PageRequest<'a> {
    selection: &'a Selection,
    window: &'a Window,
    start: Option<i64>,
    end: Option<i64>,
    limit: usize,
    /// Instead of the window's own, escaped for the query.
    name_filter: Option<&'a str>,
}

/// What is left to be read of a window.
///
/// Envelopes have no id, and several can have the same time. So a page starts with the last time of the page before it
/// once more, and each envelope is left out as often as it is already known. That way none is lost or returned twice, even
/// if some are added or expire between two pages.
///
/// If more envelopes than a page holds have the same time, the rest of them cannot be read from a server that never
/// returns more than requested. Log Cache does return more: all of that time.
pub(crate) struct Walk {
    selection: Selection,
    window: Window,
    start: Option<i64>,
    end: Option<i64>,
    left: usize,
    page_size: usize,
    /// Asks for the names of the selection, if the window asks for none.
    name_filter: Option<String>,
    /// The time with which the next page begins once more.
    edge: Option<i64>,
    /// Keyed at random, so that nobody can write envelopes whose hashes collide.
    hasher: RandomState,
    /// How often each envelope of that time is known, by a hash of its content.
    repeated: HashMap<u64, usize>,
    is_over: bool,
}

impl Walk {
    /// Of the selection, the sources do not matter.
    pub(crate) fn new(selection: &Selection, window: &Window) -> Result<Self> {
        let Window { start, end, limit, newest_first: _, name_filter: _ } = *window;
        if let (Some(start), Some(end)) = (start, end)
            && start > end
        {
            return Err(Error::new(ErrorKind::InvalidInput, "the end of the window is before its start"));
        }
        Ok(Walk {
            selection: selection.clone(),
            window: window.clone(),
            start,
            end,
            left: limit.unwrap_or(usize::MAX),
            page_size: PAGE_SIZE,
            name_filter: if window.name_filter.is_none() { name_filter(selection) } else { None },
            edge: None,
            hasher: RandomState::new(),
            repeated: HashMap::new(),
            is_over: false,
        })
    }

    /// Reads the next page that has something new. `None`: there is nothing left. After an error, too.
    pub(crate) fn next_page(
        &mut self,
        mut read: impl FnMut(&PageRequest<'_>) -> Result<Page>,
    ) -> Result<Option<Vec<Envelope>>> {
        let mut least = 0;
        // Log Cache takes an end of 0 for none.
        while !self.is_over && self.left > 0 && self.end.is_none_or(|end| end > 0) {
            let again: usize = self.repeated.values().sum();
            let limit = self.left.saturating_add(again).max(least).min(self.page_size);
            let Walk { selection, window, start, end, name_filter, .. } = &*self;
            let name_filter = name_filter.as_deref();
            let request = PageRequest { selection, window, start: *start, end: *end, limit, name_filter };
            let page = match read(&request) {
                // What is beyond what cannot be decoded may be of the same time.
                Ok(page) if page.envelopes.len() < page.count && page.count >= limit && limit < self.page_size => {
                    least = self.page_size;
                    continue;
                }
                Ok(page) if page.envelopes.is_empty() && page.count >= limit => {
                    self.is_over = true;
                    return Err(Error::new(
                        ErrorKind::BadResponse,
                        format!(
                            "none of the {limit} envelopes of a page can be decoded, so those beyond it cannot be read"
                        ),
                    ));
                }
                Err(error) if is_too_large(&error) && limit > 1 => {
                    self.page_size = limit / 2;
                    continue;
                }
                // Korifi does not know the parameter.
                Err(error) if error.kind() == ErrorKind::BadRequest && self.name_filter.is_some() => {
                    self.name_filter = None;
                    continue;
                }
                Err(error) => {
                    self.is_over = true;
                    return Err(error);
                }
                Ok(page) => page,
            };
            let envelopes = self.take(page, limit);
            if !envelopes.is_empty() {
                return Ok(Some(envelopes));
            }
        }
        Ok(None)
    }

    /// Returns what is new in a page, and goes on behind it.
    fn take(&mut self, page: Page, requested: usize) -> Vec<Envelope> {
        let Page { mut envelopes, count, date: _ } = page;
        // As Korifi does: further pages would be the same.
        let ignores_end = self.window.newest_first
            && self.end.is_some_and(|end| envelopes.iter().any(|envelope| envelope.timestamp >= end));
        if ignores_end && count >= requested {
            log::warn!("Log Cache ignored `end_time`: there may be older envelopes, but they cannot be read");
        }
        self.is_over = count < requested || ignores_end;

        let mut known = self.repeated.clone();
        envelopes.retain(|envelope| {
            let time = envelope.timestamp;
            let is_inside = self.start.is_none_or(|start| time >= start) && self.end.is_none_or(|end| time < end);
            is_inside && !(Some(time) == self.edge && take_one(&mut known, self.key(envelope)))
        });
        let times = envelopes.iter().map(|envelope| envelope.timestamp);
        match (if self.window.newest_first { times.min() } else { times.max() }, self.edge) {
            (Some(last), _) => self.go_on_at(last, &envelopes),
            // Everything of this time that can be read is known.
            (None, Some(edge)) => {
                if count == requested {
                    log::warn!(
                        "Log Cache returned {count} envelopes with the time {edge} (nanoseconds since 1970): there may \
                         be more of them, but they cannot be read"
                    );
                }
                self.go_past(edge);
            }
            (None, None) => self.is_over = true,
        }

        // Log Cache may not have selected the names.
        envelopes.retain_mut(|envelope| self.selection.admits(envelope));
        envelopes.truncate(self.left);
        self.left -= envelopes.len();
        envelopes
    }

    /// Begins the next page with a time that this one has, too.
    fn go_on_at(&mut self, time: i64, envelopes: &[Envelope]) {
        if self.edge != Some(time) {
            self.repeated.clear();
        }
        for envelope in envelopes.iter().filter(|envelope| envelope.timestamp == time) {
            *self.repeated.entry(self.key(envelope)).or_default() += 1;
        }
        self.edge = Some(time);
        if self.window.newest_first {
            self.end = time.checked_add(1).or(self.end);
        } else {
            self.start = Some(time);
        }
    }

    fn key(&self, envelope: &Envelope) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        envelope.hash_content(&mut hasher);
        hasher.finish()
    }

    /// Begins the next page behind a time.
    fn go_past(&mut self, time: i64) {
        self.repeated.clear();
        self.edge = None;
        match time.checked_add(1) {
            _ if self.window.newest_first => self.end = Some(time),
            Some(next) => self.start = Some(next),
            None => self.is_over = true,
        }
    }
}

/// Returns the types to ask for. Empty: all.
pub(super) fn types(selection: &Selection) -> Vec<&'static str> {
    let selected: Vec<_> = NAMES.iter().filter(|(it, _)| selection.has(*it)).map(|(_, name)| *name).collect();
    if selected.len() < NAMES.len() { selected } else { Vec::new() }
}

/// Returns true if an envelope is known, and counts it once less.
fn take_one(known: &mut HashMap<u64, usize>, key: u64) -> bool {
    match known.get_mut(&key) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

impl PageRequest<'_> {
    /// Returns the query of the request.
    pub(crate) fn query(&self) -> String {
        let Window { newest_first, name_filter, start: _, end: _, limit: _ } = self.window;
        let mut query = format!("limit={}", self.limit);
        let mut add = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string does not fail.
            let _ = write!(query, "&{name}={value}");
        };
        if *newest_first {
            add("descending", &true);
        }
        self.start.inspect(|start| add("start_time", start));
        self.end.inspect(|end| add("end_time", end));
        types(self.selection).iter().for_each(|name| add("envelope_types", name));
        if let Some(pattern) = name_filter {
            add("name_filter", &utf8_percent_encode(pattern, NON_ALPHANUMERIC));
        }
        if let Some(filter) = self.name_filter {
            add("name_filter", &filter);
        }
        query
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::LogMessage;

    fn envelope(time: i64, text: &str) -> Envelope {
        LogMessage::new("app", text).timestamp(time).into()
    }

    /// A Log Cache of these envelopes, in the order of their times. It returns at most the limit, and if `together`, all
    /// of the last time.
    fn answer(all: &[Envelope], request: &PageRequest<'_>, together: bool) -> Page {
        let inside = |envelope: &&Envelope| {
            let time = envelope.timestamp;
            request.start.is_none_or(|start| time >= start) && request.end.is_none_or(|end| time < end)
        };
        let mut found: Vec<_> = all.iter().filter(inside).cloned().collect();
        if request.window.newest_first {
            found.reverse();
        }
        let mut length = request.limit.min(found.len());
        while together && length > 0 && length < found.len() && found[length].timestamp == found[length - 1].timestamp {
            length += 1;
        }
        found.truncate(length);
        Page { count: found.len(), envelopes: found, date: None }
    }

    fn walk(all: &[Envelope], window: &Window, page_size: usize, together: bool) -> Vec<Envelope> {
        walk_selected(all, &Selection::all(), window, page_size, together)
    }

    fn walk_selected(
        all: &[Envelope],
        selection: &Selection,
        window: &Window,
        page_size: usize,
        together: bool,
    ) -> Vec<Envelope> {
        let mut walk = Walk { page_size, ..Walk::new(selection, window).unwrap() };
        let mut found = Vec::new();
        while let Some(page) = walk.next_page(|request| Ok(answer(all, request, together))).unwrap() {
            assert!(!page.is_empty());
            found.extend(page);
        }
        found
    }

    #[test]
    fn a_page_of_one_envelope_that_cannot_be_decoded_is_read_again_with_those_behind_it() {
        let window = Window::default().limit(1);
        let mut walk = Walk { page_size: 3, ..Walk::new(&Selection::all(), &window).unwrap() };
        let mut limits = Vec::new();
        let page = walk.next_page(|request| {
            limits.push(request.limit);
            let envelopes = if request.limit == 1 { Vec::new() } else { vec![envelope(1, "a"), envelope(2, "b")] };
            Ok(Page { count: request.limit, envelopes, date: None })
        });
        assert_eq!((page.unwrap(), limits), (Some(vec![envelope(1, "a")]), vec![1, 3]));
    }

    #[test]
    fn a_full_page_of_which_nothing_can_be_decoded_is_no_clean_end() {
        let window = Window::default();
        for (count, is_end) in [(3, false), (2, true)] {
            let mut walk = Walk { page_size: 3, ..Walk::new(&Selection::all(), &window).unwrap() };
            let page = walk.next_page(|_| Ok(Page { count, envelopes: Vec::new(), date: None }));
            match page {
                Ok(None) => assert!(is_end),
                page => assert_eq!((page.unwrap_err().kind(), is_end), (ErrorKind::BadResponse, false)),
            }
            assert_eq!(walk.next_page(|_| panic!("it is over")).unwrap(), None);
        }
    }

    proptest! {
        #[test]
        fn every_envelope_of_the_window_is_returned_once_and_in_order(
            mut times in prop::collection::vec(0..12_i64, 0..40),
            texts in prop::collection::vec(0..3_u8, 40),
            (start, end) in (prop::option::of(0..8_i64), prop::option::of(8..12_i64)),
            limit in prop::option::of(0..40_usize),
            newest_first: bool,
            together: bool,
            page_size in 1..50_usize,
        ) {
            times.sort_unstable();
            let all: Vec<_> = times.iter().zip(&texts).map(|(time, text)| envelope(*time, &text.to_string())).collect();
            let window = Window { start, end, limit, newest_first, ..Window::default() };
            let request = PageRequest { selection: &Selection::all(), window: &window, start, end, limit: usize::MAX, name_filter: None };
            let mut expected = answer(&all, &request, false).envelopes;
            expected.truncate(limit.unwrap_or(usize::MAX));
            let longest = times.chunk_by(|one, other| one == other).map(<[i64]>::len).max().unwrap_or(0);
            // A page of one time must end before the next.
            let page_size = if together { page_size } else { page_size.max(longest + 1) };
            let mut found = walk(&all, &window, page_size, together);
            prop_assert!(found.iter().map(|envelope| envelope.timestamp).eq(expected.iter().map(|it| it.timestamp)));
            // Which of equal times come first is up to the server.
            if limit.is_none() {
                let sort = |list: &mut Vec<Envelope>| list.sort_by_key(|it| format!("{it:?}"));
                sort(&mut found);
                sort(&mut expected);
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn more_envelopes_of_one_time_than_a_page_holds_do_not_stop_a_walk() {
        let all: Vec<_> =
            [1, 2, 2, 2, 2, 3].iter().enumerate().map(|(n, time)| envelope(*time, &n.to_string())).collect();
        for (window, expected) in [(Window::all(), vec![1, 2, 2, 3]), (Window::all().newest_first(), vec![3, 2, 2, 1])]
        {
            let found = walk(&all, &window, 2, false);
            assert!(found.iter().map(|envelope| envelope.timestamp).eq(expected), "{found:?}");
        }
    }

    #[test]
    fn a_server_that_ignores_the_end_is_asked_twice() {
        let all: Vec<_> = (0..4).map(|time| envelope(time, "x")).collect();
        let mut walk = Walk { page_size: 2, ..Walk::new(&Selection::all(), &Window::all().newest_first()).unwrap() };
        let mut requests = 0;
        let mut read = |request: &PageRequest<'_>| {
            requests += 1;
            Ok(answer(&all, &PageRequest { end: None, ..*request }, false))
        };
        let page = walk.next_page(&mut read).unwrap().unwrap();
        assert!(page.iter().map(|envelope| envelope.timestamp).eq([3, 2]));
        assert_eq!(walk.next_page(&mut read).unwrap(), None);
        assert_eq!(requests, 2);
    }

    #[test]
    fn types_that_a_server_does_not_filter_are_left_out_and_do_not_end_a_walk() {
        let mut all: Vec<_> = (0..6).map(|time| envelope(time, "x")).collect();
        let event = crate::envelope::Body::Event { title: "t".into(), body: "b".into() };
        all[4].body = event;
        let events = Selection::all().types([EnvelopeType::Event]);
        let found = walk_selected(&all, &events, &Window::all(), 2, false);
        assert!(found.iter().map(|envelope| envelope.timestamp).eq([4]));
    }

    #[test]
    fn what_is_remembered_of_an_envelope_does_not_grow_with_it() {
        let mut walk = Walk::new(&Selection::all(), &Window::all()).unwrap();
        let large = || vec![envelope(1, &"x".repeat(100_000)), envelope(1, &"y".repeat(100_000))];
        walk.take(Page { count: 2, envelopes: large(), date: None }, 2);
        let remembered = format!("{:?}", walk.repeated);
        assert!(remembered.len() < 100, "{} bytes", remembered.len());
        assert!(walk.take(Page { count: 2, envelopes: large(), date: None }, 2).is_empty());
    }

    #[test]
    fn numbers_that_are_none_do_not_double_an_envelope() {
        let value = crate::envelope::GaugeValue { unit: String::new(), value: f64::NAN };
        let mut all = vec![envelope(1, "a"), envelope(2, "b"), envelope(3, "c")];
        all[1].body = crate::envelope::Body::Gauge([("x".to_owned(), value)].into());
        assert_eq!(walk(&all, &Window::all(), 2, false).len(), 3);
    }

    #[test]
    fn the_query_has_what_is_set() {
        let selection = &Selection::all().types([EnvelopeType::Timer, EnvelopeType::Gauge]);
        let window = &Window::all().name_filter("a b").newest_first();
        let request = PageRequest { selection, window, start: Some(-5), end: Some(7), limit: 9, name_filter: None };
        assert_eq!(
            request.query(),
            "limit=9&descending=true&start_time=-5&end_time=7&envelope_types=GAUGE&envelope_types=TIMER&name_filter=a%20b"
        );
        let (selection, window) = (&Selection::all(), &Window::all());
        assert_eq!(
            PageRequest { selection, window, start: None, end: None, limit: 1000, name_filter: None }.query(),
            "limit=1000"
        );
        assert!(Walk::new(selection, &Window::all().start(2).end(1)).is_err());
    }
}
