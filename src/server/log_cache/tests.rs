use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::pages::{Page, collect_newest};
use super::recent::{PAGE_SIZE, read_newest};
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::deadline::{ReadTimeouts, after};
use crate::net::dial::{Dialer, Proxy};
use crate::net::endpoint::{Endpoint, Scheme};
use crate::server::call::{Call, Requester};
use crate::server::learned::Learned;
use crate::settings::Settings;
use crate::wire::{captures, v2};

const APP: &str = "00000021-aaaa-bbbb-cccc-000000000021";
const TOKEN: &str = "bearer hunter2";
/// The body of the response to a request for a page that is too large.
const TOO_LARGE: &str = r#"{"code":8,"message":"grpc: received message larger than max","details":[]}"#;
/// A test that waits longer than this fails.
const DEADLINE: Duration = Duration::from_secs(20);

// Paging through a store.

/// An app's lines in Log Cache, in the order of their keys: oldest first, lines with the same time in order of arrival.
struct Store {
    lines: Vec<LogMessage>,
    /// Whether a page is never larger than requested. Log Cache itself adds the rest of the lines with the same time.
    strict: bool,
    /// Larger pages are answered with 429.
    largest_page: usize,
}

impl Store {
    fn strict(lines: Vec<LogMessage>) -> Self {
        Store { lines, strict: true, largest_page: usize::MAX }
    }

    fn read(&self, end: Option<i64>, limit: usize, page: &mut Page) -> Result<usize> {
        assert!(limit > 0 && end != Some(0));
        if limit > self.largest_page {
            return Err(Error::response(429, "Too Many Requests", "reading", TOO_LARGE.into(), None));
        }
        let before = self.lines.partition_point(|line| end.is_none_or(|end| line.timestamp < end));
        let mut start = before.saturating_sub(limit);
        while !self.strict && start > 0 && self.lines[start - 1].timestamp == self.lines[start].timestamp {
            start -= 1;
        }
        let lines = &self.lines[start..before];
        lines.iter().rev().try_for_each(|line| page.add(line.clone()))?;
        Ok(lines.len())
    }

    fn newest(&self, limit: usize, page_size: usize) -> Vec<LogMessage> {
        collect_newest(limit, page_size, usize::MAX, |end, limit, page| self.read(end, limit, page)).unwrap()
    }
}

fn line(time: i64, text: impl ToString) -> LogMessage {
    LogMessage::new(APP, text.to_string()).timestamp(time)
}

/// Returns runs of lines, the lines of a run with the same time. The text of a line is its number, or its number modulo
/// 2.
fn lines(runs: &[(i64, usize)], distinct: bool) -> Vec<LogMessage> {
    let mut time = 1_700_000_000_000_000_000;
    let mut lines = Vec::new();
    for &(gap, length) in runs {
        time += gap;
        for _ in 0..length {
            let number = lines.len();
            lines.push(line(time, if distinct { number } else { number % 2 }));
        }
    }
    lines
}

fn last(lines: &[LogMessage], count: usize) -> &[LogMessage] {
    &lines[lines.len().saturating_sub(count)..]
}

const LONGEST_RUN: usize = 20;

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn paging_loses_and_repeats_no_line(
        runs in prop::collection::vec((1_i64..3, 1..=LONGEST_RUN), 0..1000),
        distinct: bool,
        strict: bool,
        page_size in LONGEST_RUN..100,
        largest_page in LONGEST_RUN..100,
        limit in 0..20_000_usize,
    ) {
        let store = Store { lines: lines(&runs, distinct), strict, largest_page };
        // A page size that is halved may become less than the longest run. Then a strict store cannot be read
        // completely.
        prop_assume!(!strict || page_size <= largest_page || largest_page >= 2 * LONGEST_RUN);
        prop_assert!(store.newest(limit, page_size) == last(&store.lines, limit));
    }

    #[test]
    fn lines_that_are_logged_or_expire_meanwhile_do_not_cause_a_loss_or_a_repetition(
        runs in prop::collection::vec((1_i64..3, 1..=LONGEST_RUN), 1..100),
        page_size in LONGEST_RUN + 10..LONGEST_RUN * 3,
        meanwhile in prop::collection::vec((0..40_usize, any::<prop::sample::Index>()), 0..10),
    ) {
        let mut store = Store::strict(lines(&runs, true));
        let mut meanwhile = meanwhile.iter();
        let mut expired = 0;
        let got = collect_newest(usize::MAX, page_size, usize::MAX, |end, limit, page| {
            let count = store.read(end, limit, page)?;
            if let Some((expire, late)) = meanwhile.next() {
                expired += expire.min(&(store.lines.len() - 1));
                store.lines.drain(..*expire.min(&(store.lines.len() - 1)));
                // An old line arrives late, and a new one is logged.
                let at = late.index(store.lines.len());
                let time = store.lines[at].timestamp;
                let at = store.lines.partition_point(|line| line.timestamp <= time);
                store.lines.insert(at, line(time, format!("late {limit} {at} {time} {expired}")));
                let now = store.lines.last().unwrap().timestamp + 1;
                store.lines.push(line(now, "new"));
            }
            Ok(count)
        });
        let got = got.unwrap();
        prop_assert!(got.is_sorted_by_key(|line| line.timestamp));
        let numbers: Vec<usize> = got.iter().filter_map(|line| line.text().parse().ok()).collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "in order, and none repeated");
        let total = lines(&runs, true).len();
        let held = |number: usize| store.lines.iter().any(|line| line.text() == number.to_string());
        prop_assert!((0..total).all(|number| !held(number) || numbers.contains(&number)));
        let mut late: Vec<_> = got.iter().filter(|line| line.text().starts_with("late")).collect();
        let count = late.len();
        late.dedup();
        prop_assert_eq!(late.len(), count);
    }
}

#[test]
fn of_a_run_longer_than_a_page_only_its_own_rest_is_lost() {
    let runs = [(1, 3), (1, 25), (1, 3)];
    let mut store = Store::strict(lines(&runs, true));
    let got = store.newest(usize::MAX, 10);
    // The three newest, the ten newest of the run, and all older ones.
    assert_eq!(got, [&store.lines[..3], &store.lines[18..]].concat());
    // Log Cache itself returns the whole run.
    store.strict = false;
    assert_eq!(store.newest(usize::MAX, 10), store.lines);
}

#[test]
fn the_page_size_is_halved_until_it_is_accepted_and_stays_small() {
    let store = Store { largest_page: 30, ..Store::strict(lines(&[(1, 1); 100], true)) };
    let mut requested = Vec::new();
    let got = collect_newest(100, 100, usize::MAX, |end, limit, page| {
        requested.push(limit);
        store.read(end, limit, page)
    });
    assert_eq!(got.unwrap(), store.lines);
    // From the second page on, one line of each page is repeated.
    assert_eq!(requested, [100, 50, 25, 25, 25, 25, 4]);
}

#[test]
fn a_page_of_one_line_that_is_too_large_is_an_error_with_the_lines_before_it() {
    let store = Store::strict(lines(&[(1, 1); 20], true));
    let mut requested = Vec::new();
    let error = collect_newest(20, 10, usize::MAX, |end, limit, page| {
        requested.push(limit);
        match end {
            None => store.read(end, limit, page),
            Some(_) => Store { largest_page: 0, ..Store::strict(Vec::new()) }.read(end, limit, page),
        }
    });
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::ServerError, Some(429)));
    assert_eq!(error.recovered(), last(&store.lines, 10));
    assert_eq!(requested, [10, 10, 5, 2, 1]);
}

#[test]
fn paging_ends_on_a_server_that_always_returns_the_same_page() {
    for runs in [[(1, 1); 20], [(0, 1); 20]] {
        let store = Store::strict(lines(&runs, true));
        let mut requests = 0;
        let got = collect_newest(100, 20, usize::MAX, |_, limit, page| {
            requests += 1;
            assert!(requests < 5);
            store.read(None, limit, page)
        });
        assert_eq!(got.unwrap(), store.lines);
    }
}

#[test]
fn extreme_times_are_paged_through() {
    let all = vec![line(0, "0"), line(1, "1"), line(i64::MAX, "max")];
    assert_eq!(Store::strict(all.clone()).newest(10, 2), all);
    // Paging stops at the epoch, because Log Cache has no times before it.
    let before = vec![line(i64::MIN, "min"), line(-1, "-1"), line(0, "0")];
    assert_eq!(Store::strict(before.clone()).newest(10, 2), last(&before, 2));
}

#[test]
fn lines_larger_than_allowed_are_an_error_with_the_lines_that_fit() {
    let store = Store::strict(lines(&[(1, 1); 20], true));
    let size = store.lines[19].size();
    let error = collect_newest(20, 10, size * 12, |end, limit, page| store.read(end, limit, page)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("max_recent_size"), "{error}");
    assert!((12..=13).contains(&error.recovered().len()));
    assert_eq!(error.recovered(), last(&store.lines, error.recovered().len()));
}

// Responses over sockets.

/// A server that sends the next of its responses on each connection.
struct Server {
    endpoint: Endpoint,
    requests: mpsc::Receiver<String>,
}

/// What the server sends on a connection, and whether it then closes it.
struct Script {
    bytes: Vec<u8>,
    closes: bool,
}

impl Server {
    fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for script in scripts {
                let (mut socket, _) = listener.accept().unwrap();
                socket.set_read_timeout(Some(DEADLINE)).unwrap();
                let _ = sender.send(read_head(&mut socket));
                // The client may have closed the connection already.
                let _ = socket.write_all(&script.bytes);
                if script.closes {
                    let _ = socket.shutdown(Shutdown::Write);
                }
                // Keep the connection open until the client closes it.
                thread::spawn(move || io::copy(&mut socket, &mut io::sink()));
            }
        });
        Server { endpoint: Endpoint::parse(&endpoint, Scheme::Http).unwrap(), requests }
    }

    fn responding(responses: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::start(responses.into_iter().map(|bytes| Script { bytes, closes: true }).collect())
    }

    fn recent(&self, app: &str, limit: usize) -> Result<Vec<LogMessage>> {
        self.recent_with(|_, _| {}, app, limit)
    }

    fn recent_with(
        &self,
        set: impl FnOnce(&mut Settings, &mut ReadTimeouts),
        app: &str,
        limit: usize,
    ) -> Result<Vec<LogMessage>> {
        let mut settings = Settings {
            connect_timeout: DEADLINE,
            max_message_size: 1 << 20,
            max_recent_size: 1 << 30,
            recent_limit: limit,
            ..Settings::default()
        };
        let mut timeouts = ReadTimeouts { idle: DEADLINE, deadline: Some(after(DEADLINE)) };
        set(&mut settings, &mut timeouts);
        read(&self.endpoint, &settings, timeouts, app, &Cancel::new())
    }

    /// Returns the request line of the next request.
    fn request(&self) -> String {
        self.requests.recv_timeout(DEADLINE).unwrap().lines().next().unwrap().to_owned()
    }
}

fn read(
    server: &Endpoint,
    settings: &Settings,
    timeouts: ReadTimeouts,
    app_guid: &str,
    cancel: &Arc<Cancel>,
) -> Result<Vec<LogMessage>> {
    let dialer = Arc::new(Dialer::new(None, Proxy::none()));
    let (learned, pool) = (Learned::default(), Arc::default());
    let requester = Requester { dialer: &dialer, pool: &pool, settings, learned: &learned, cancel };
    read_newest(&Call { requester, client: None, server, app_guid, token: TOKEN, timeouts })
}

fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Returns a response with these lines, newest first.
fn response(lines: &[LogMessage]) -> Vec<u8> {
    let batch = lines.iter().rev().map(v2::encode).collect::<Vec<_>>().join(",");
    let body = format!(r#"{{"envelopes":{{"batch":[{batch}]}}}}"#);
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn status(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn the_newest_lines_are_returned_oldest_first() {
    let server = Server::responding([captures::bytes("lc-read-logs-desc-10.http")]);
    let got = server.recent(APP, 10).unwrap();
    assert_eq!(got.len(), 10);
    assert!(got.is_sorted_by_key(|line| line.timestamp));
    assert_eq!(got[9].text(), "tab\there");
    let head = server.requests.recv().unwrap();
    let line = format!("GET /api/v1/read/{APP}?envelope_types=LOG&descending=true&limit=10 HTTP/1.1\r\n");
    assert!(head.starts_with(&line), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\nauthorization: bearer hunter2\r\n"), "{head}");
}

#[test]
fn more_lines_than_a_page_are_read_page_by_page() {
    let all = lines(&[[(5, 1); 1001].as_slice(), &[(5, 2), (5, 1)]].concat(), true);
    let page = |end: usize, size: usize| response(&all[end.saturating_sub(size)..end]);
    // The second of the two lines with the same time is the last of the second page, so it is repeated.
    let server = Server::responding([status("429 No", TOO_LARGE), page(1004, 500), page(505, 500), page(6, 500)]);
    assert!(server.recent(APP, 2000).unwrap() == all);
    let first = format!("GET /api/v1/read/{APP}?envelope_types=LOG&descending=true");
    assert_eq!(server.request(), format!("{first}&limit=1000 HTTP/1.1"));
    assert_eq!(server.request(), format!("{first}&limit=500 HTTP/1.1"));
    assert_eq!(server.request(), format!("{first}&limit=500&end_time={} HTTP/1.1", all[504].timestamp + 1));
    assert_eq!(server.request(), format!("{first}&limit=500&end_time={} HTTP/1.1", all[5].timestamp + 1));
}

#[test]
fn the_next_page_is_requested_before_the_last_one_is_decoded() {
    let all = lines(&[(5, 1); 2000], true);
    let server = Server::responding([response(&all[1000..]), response(&all[1..1001])]);
    // Decoding the first page fails.
    let error = server.recent_with(|settings, _| settings.max_recent_size = 1000, APP, 5000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.recovered(), last(&all, error.recovered().len()));
    server.request();
    assert!(server.request().ends_with(&format!("&limit=1000&end_time={} HTTP/1.1", all[1000].timestamp + 1)));
}

#[test]
fn no_page_is_requested_that_is_not_needed() {
    let all = lines(&[(5, 1); 3000], true);
    let page = |end: usize, size: usize| response(&all[end - size..end]);
    for (limit, pages, returned) in [
        (1000, vec![page(3000, 1000)], 1000),
        (1999, vec![page(3000, 1000), page(2001, 1000)], 1999),
        (2000, vec![page(3000, 1000), page(2001, 1000), page(1002, 2)], 2000),
        // A page that is not full is the last one.
        (9000, vec![page(3000, 1000), page(2001, 1000), page(1002, 700)], 2698),
    ] {
        let count = pages.len();
        let server = Server::responding([pages, vec![status("500 Not needed", "")]].concat());
        assert!(server.recent(APP, limit).unwrap() == last(&all, returned), "{limit}");
        assert_eq!(server.requests.try_iter().count(), count, "{limit}");
    }
}

#[test]
fn a_wrong_guess_of_the_next_page_costs_one_request_and_no_line() {
    let all = lines(&[(5, 1); 3500], true);
    let page = |end: usize, size: usize| {
        // The oldest line of a page is not the last one.
        let mut page = all[end - size..end].to_vec();
        page.swap(0, 1);
        response(&page)
    };
    let pages = [page(3500, 1000), page(2502, 1000), page(2501, 1000), page(1502, 1000), page(503, 503)];
    let server = Server::responding(pages);
    let mut got = server.recent(APP, 9000).unwrap();
    got.sort_by_key(|line| line.timestamp);
    assert!(got == all);
    let ends: Vec<_> = server
        .requests
        .try_iter()
        .skip(1)
        .map(|head| head.split("end_time=").nth(1).unwrap().split(' ').next().unwrap().parse::<i64>().unwrap() - 1)
        .collect();
    assert_eq!(ends, [2501, 2500, 1501, 502].map(|number: usize| all[number].timestamp));
}

#[test]
fn pages_that_are_too_large_to_be_held_are_decoded_as_they_arrive() {
    let mut all = lines(&[(5, 1); 2500], true);
    all.iter_mut().for_each(|line| line.message.resize(4000, b'x'));
    let page = |end: usize, size: usize| response(&all[end - size..end]);
    let server = Server::responding([page(2500, 1000), page(1501, 1000), page(502, 502)]);
    assert!(server.recent(APP, 9000).unwrap() == all);
    assert_eq!(server.requests.try_iter().count(), 3);
}

#[test]
fn a_limit_of_0_makes_no_request() {
    let server = Server::responding([]);
    assert_eq!(server.recent(APP, 0).unwrap(), []);
}

/// Returns the number of lines that [`recent`] reads from a capture.
fn outcome(name: &str) -> Result<usize> {
    let server = Server::responding([captures::bytes(name)]);
    server.recent(APP, PAGE_SIZE).map(|lines| lines.len())
}

#[test]
fn every_response_of_a_real_server_is_understood() {
    let lines = |name: &str| match name {
        "lc-read-all.http" => Some(40),
        "lc-read-default.http" | "lc-err-unknown-param.http" => Some(25),
        "lc-read-logs-start.http" => Some(20),
        "lc-read-logs-desc-10.http" => Some(10),
        "cfap-read-logs-desc-3.http" => Some(3),
        "cfap-200-Bearer.http" | "cfap-200-raw-jwt.http" => Some(1),
        "lc-read-name-filter.http" | "lc-read-unknown-source.http" | "lc-read-source-with-slash.http" => Some(0),
        _ => None,
    };
    let error = |name: &str| match name {
        "cfap-404-bad-token.http"
        | "cfap-404-expired.http"
        | "cfap-404-no-token.http"
        | "cfap-404-not-authorized.http" => (ErrorKind::Unauthorized, "may its user see the app?"),
        "lc-err-404.http" => (ErrorKind::NotFound, "404 Not Found: Not Found (Is this the address of a Log Cache?)"),
        "lc-err-499-half-close.http" => (ErrorKind::ServerError, "context canceled"),
        "lc-err-limit-1001.http" => (ErrorKind::ServerError, ": limit (1001) must be 1000 or less"),
        "lc-err-limit-neg.http" => (ErrorKind::ServerError, ": limit (-1) must be greater than zero"),
        "lc-err-limit-text.http" => (ErrorKind::BadRequest, r#": parsing field "limit": strconv.ParseInt"#),
        "lc-err-post.http" => (ErrorKind::ServerError, ": Method Not Allowed"),
        "lc-err-regexp.http" => (ErrorKind::ServerError, ": name filter must be a valid regular expression"),
        "lc-err-type-lower.http" => (ErrorKind::BadRequest, r#""log" is not a valid value"#),
        "lc-err-type.http" => (ErrorKind::BadRequest, r#""NOPE" is not a valid value"#),
        "lc-err-window.http" => (ErrorKind::ServerError, ": StartTime (20) must be before EndTime (10)"),
        "lc-promql-err.http" => (ErrorKind::ServerError, "parse error at char 2"),
        "lc-info.http"
        | "cfap-info-no-token.http"
        | "lc-meta.http"
        | "cfap-meta-admin.http"
        | "lc-promql-instant.http" => (ErrorKind::BadResponse, "not a response of Log Cache"),
        _ => panic!("unknown capture {name}"),
    };
    for name in [captures::names("lc-"), captures::names("cfap-")].concat() {
        match (outcome(&name), lines(&name)) {
            (Ok(count), Some(expected)) => assert_eq!(count, expected, "{name}"),
            (Ok(count), None) => panic!("{name} returned {count} lines"),
            (Err(got), _) => {
                let (kind, text) = error(&name);
                assert_eq!(got.kind(), kind, "{name}: {got}");
                assert!(got.to_string().contains(text), "{name}: {got}");
                if got.status().is_some() {
                    assert_eq!(got.body().unwrap().as_bytes(), captures::body(&name), "{name}");
                }
            }
        }
    }
}

#[test]
fn a_rejected_token_differs_from_a_wrong_address() {
    let unknown_path = || status("404 Not Found", "404 page not found\n");
    let server = Server::responding([status("404 Not Found", ""), unknown_path(), unknown_path()]);
    let error = server.recent(APP, 10).unwrap_err();
    assert_eq!((error.kind(), error.status(), error.body()), (ErrorKind::Unauthorized, Some(404), Some("")));
    assert!(error.to_string().contains("`cf oauth-token`"), "{error}");
    assert!(!error.to_string().contains("GUID"), "{error}");
    let error = server.recent(APP, 10).unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::NotFound, Some(404)));
    assert!(error.to_string().ends_with(": 404 page not found (Is this the address of a Log Cache?)"), "{error}");
}

#[test]
fn an_empty_guid_is_an_error() {
    let server = Server::responding([]);
    assert_eq!(server.recent("", 10).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn no_error_contains_the_token() {
    for response in
        [status("404 Not Found", ""), status("500 Oh", ""), b"HTTP/1.1 200 OK\r\n\r\nx".to_vec(), Vec::new()]
    {
        let error = Server::responding([response]).recent(APP, 10).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_truncated_response_is_an_error_with_the_lines_before_its_end() {
    let all = lines(&[(1, 1); 1005], true);
    let whole = response(&all[..7]);
    // Of more lines, the second page is received before it is decoded.
    for (cut, limit) in [1, 2, 3, 4, 60].into_iter().flat_map(|cut| [(cut, 2000), (cut, 5000)]) {
        let broken = whole[..whole.len() - cut].to_vec();
        let server = Server::responding([response(&all[5..]), broken]);
        let error = server.recent(APP, limit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
        // Three brackets follow the last line.
        let incomplete = usize::from(cut > 3);
        assert!(error.recovered() == last(&all, 1005 - incomplete), "cut by {cut}");
    }
}

#[test]
fn a_server_that_stalls_in_its_response_causes_a_timeout() {
    let all = lines(&[(1, 1); 3], true);
    let whole = response(&all);
    for limit in [10, 5000] {
        let start = |length| Script { bytes: whole[..length].to_vec(), closes: false };
        let server = Server::start(vec![start(whole.len() - 3), start(whole.len() - 3), start(20)]);
        let short = Duration::from_millis(200);
        let error = server.recent_with(|_, timeouts| timeouts.idle = short, APP, limit).unwrap_err();
        assert_eq!((error.kind(), error.recovered()), (ErrorKind::Timeout, &*all));
        assert!(error.to_string().contains("Builder::read_timeout"), "{error}");
        let error = server.recent_with(|_, timeouts| timeouts.deadline = Some(after(short)), APP, limit).unwrap_err();
        assert_eq!((error.kind(), error.recovered()), (ErrorKind::Timeout, &*all));
        assert!(error.to_string().contains("Builder::recent_timeout"), "{error}");
        let error = server.recent_with(|settings, _| settings.connect_timeout = short, APP, limit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let error =
            server.recent_with(|_, timeouts| timeouts.deadline = Some(after(Duration::ZERO)), APP, limit).unwrap_err();
        assert!(error.to_string().contains("Builder::recent_timeout"), "{error}");
    }
}

#[test]
fn close_interrupts_it() {
    let all = lines(&[(1, 1); 3], true);
    let whole = response(&all);
    let pages = lines(&[(1, 1); 2000], true);
    // In the only page, in the first of several, and in the second while the first is decoded.
    for (complete, recent_limit) in [(0, 1000), (0, 5000), (1, 5000)] {
        let mut scripts = vec![Script { bytes: response(&pages[1000..]), closes: true }];
        scripts.truncate(complete);
        scripts.push(Script { bytes: whole[..whole.len() - 4].to_vec(), closes: false });
        let server = Server::start(scripts);
        let cancel = Cancel::new();
        let endpoint = &server.endpoint;
        let error = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let timeouts = ReadTimeouts { idle: DEADLINE, deadline: Some(after(DEADLINE)) };
                read(endpoint, &Settings { recent_limit, ..Settings::default() }, timeouts, APP, &cancel).unwrap_err()
            });
            (0..=complete).for_each(|_| _ = server.request());
            cancel.cancel();
            thread.join().unwrap()
        });
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}

#[test]
fn a_line_larger_than_allowed_is_an_error() {
    let server = Server::responding([response(&[line(1, "x".repeat(1 << 20))])]);
    let error = server.recent_with(|settings, _| settings.max_message_size = 1000, APP, 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("Builder::max_message_size"), "{error}");
}

#[test]
fn a_line_that_cannot_be_decoded_is_skipped() {
    let bad = r#"{"log":{"payload":"?"}}"#;
    let body = format!(r#"{{"envelopes":{{"batch":[{bad},{},{bad}]}}}}"#, v2::encode(&line(1, "good")));
    let server = Server::responding([status("200 OK", &body)]);
    assert_eq!(server.recent(APP, 10).unwrap(), [line(1, "good")]);
}
