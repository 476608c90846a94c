//! Log Caches other than today's: version 1.x of March 2018 to March 2019, which has other paths and another error for a
//! response that is too large, and Korifi's.

mod common;

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::messages::{APP, TOKEN, response, texts};
use common::{DEADLINE, ScriptedServer, drain, hang_up, read_head, reset, send, within};
use loggregator_consumer::{Builder, Consumer, ErrorKind, LogMessage, Proxy};

/// The status and body of a response.
type Response = (&'static str, String);

/// A server that responds to each path and query, and records them.
struct Server {
    url: String,
    targets: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(respond: impl Fn(&str) -> Response + Send + Sync + 'static) -> Self {
        let targets = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&targets);
        let server = ScriptedServer::always(move |mut socket| {
            let request = read_head(&mut socket);
            let target = request.split(' ').nth(1).unwrap();
            recorded.lock().unwrap().push(target.to_owned());
            let (status, body) = respond(target);
            send(&mut socket, &[&response(status, &[], body.as_bytes())]);
            hang_up(socket);
        });
        Server { url: format!("http://{}", server.address), targets }
    }

    fn builder(&self) -> Builder {
        Builder::new().log_cache(&self.url).proxy(Proxy::none())
    }

    fn consumer(&self) -> Consumer {
        self.builder().build().unwrap()
    }

    /// Returns the paths that were requested since the last call, without the app.
    fn paths(&self) -> Vec<String> {
        let targets = std::mem::take(&mut *self.targets.lock().unwrap());
        targets.iter().map(|target| target.split(APP).next().unwrap().to_owned()).collect()
    }
}

const NEW: &str = "/api/v1/read/";
const OLD: &str = "/v1/read/";

fn ok(envelopes: &str) -> Response {
    ("200 OK", format!(r#"{{"envelopes":{{"batch":[{envelopes}]}}}}"#))
}

fn one_line() -> Response {
    ok(r#"{"timestamp":"1","log":{"payload":"aGk="}}"#)
}

fn unknown_path() -> Response {
    ("404 Not Found", "404 page not found\n".to_owned())
}

#[test]
fn the_path_of_log_cache_1_is_found_once_and_remembered() {
    within(DEADLINE, || {
        let server = Server::start(|target| if target.starts_with(OLD) { one_line() } else { unknown_path() });
        let consumer = server.consumer();
        assert_eq!(texts(&consumer.recent(APP, TOKEN).unwrap()), ["hi"]);
        assert_eq!(server.paths(), [NEW, OLD]);
        assert_eq!(texts(&consumer.clone().recent(APP, TOKEN).unwrap()), ["hi"]);
        let iterated: Result<Vec<LogMessage>, _> = consumer.recent_iter(APP, TOKEN).unwrap().collect();
        assert_eq!(texts(&iterated.unwrap()), ["hi"]);
        assert_eq!(server.paths(), [OLD, OLD]);
    });
}

#[test]
fn a_log_cache_that_is_upgraded_meanwhile_is_found_again() {
    within(DEADLINE, || {
        let known = Arc::new(Mutex::new(OLD));
        let server = Server::start({
            let known = Arc::clone(&known);
            move |target| if target.starts_with(*known.lock().unwrap()) { one_line() } else { unknown_path() }
        });
        let consumer = server.consumer();
        consumer.recent(APP, TOKEN).unwrap();
        *known.lock().unwrap() = NEW;
        server.paths();
        consumer.recent(APP, TOKEN).unwrap();
        consumer.recent(APP, TOKEN).unwrap();
        assert_eq!(server.paths(), [OLD, NEW, NEW]);
    });
}

#[test]
fn log_cache_1_that_rejects_the_token_is_remembered_too() {
    within(DEADLINE, || {
        let rejected = || ("404 Not Found", String::new());
        let server = Server::start(move |target| if target.starts_with(OLD) { rejected() } else { unknown_path() });
        let consumer = server.consumer();
        for paths in [&[NEW, OLD][..], &[OLD]] {
            let error = consumer.recent(APP, TOKEN).unwrap_err();
            assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(404)), "{error}");
            assert_eq!(server.paths(), paths);
        }
    });
}

#[test]
fn a_server_that_knows_neither_path_is_not_a_log_cache() {
    within(DEADLINE, || {
        for respond in [unknown_path, || ("503 No", String::new())] {
            let server = Server::start(move |target| if target.starts_with(NEW) { unknown_path() } else { respond() });
            let consumer = server.consumer();
            let error = consumer.recent(APP, TOKEN).unwrap_err();
            let is_unavailable = respond().0 == "503 No";
            let kind = if is_unavailable { ErrorKind::ServerError } else { ErrorKind::NotFound };
            assert_eq!(error.kind(), kind, "{error}");
            if !is_unavailable {
                let text = error.to_string();
                assert!(text.starts_with(&format!("the request for {NEW}{APP}?")), "{text}");
                assert!(text.ends_with(": 404 page not found (Is this the address of a Log Cache?)"), "{text}");
            }
            // Nothing is known, so nothing is remembered.
            server.paths();
            consumer.recent(APP, TOKEN).unwrap_err();
            assert_eq!(server.paths(), [NEW, OLD]);
        }
    });
}

#[test]
fn the_failure_of_the_second_request_is_not_taken_for_a_wrong_address() {
    within(DEADLINE, || {
        for (then, kind) in [(reset as fn(TcpStream), ErrorKind::ConnectionLost), (drain, ErrorKind::Timeout)] {
            let server = ScriptedServer::always(move |mut socket| {
                if read_head(&mut socket).starts_with(&format!("GET {OLD}")) {
                    return then(socket);
                }
                send(&mut socket, &[&response("404 Not Found", &[], b"404 page not found\n")]);
                hang_up(socket);
            });
            let builder = Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none());
            let consumer = builder.connect_timeout(Duration::from_millis(200)).build().unwrap();
            let error = consumer.recent(APP, TOKEN).unwrap_err();
            assert_eq!((error.kind(), error.status()), (kind, None), "{error}");
            assert!(!error.to_string().contains("Is this the address"), "{error}");
        }
    });
}

#[test]
fn a_timeout_on_a_connection_that_was_kept_names_the_request() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[&response("404 Not Found", &[], b"404 page not found\n")]);
            drain(socket);
        });
        let builder = Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none());
        let consumer = builder.connect_timeout(Duration::from_millis(200)).build().unwrap();
        let error = consumer.recent(APP, TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.to_string().contains(&format!("the request for {OLD}{APP}")), "{error}");
    });
}

#[test]
fn a_rate_limit_or_a_router_does_not_tell_the_version() {
    within(DEADLINE, || {
        let no_route = "404 Not Found: Requested route ('log-cache.example.com') does not exist.\n";
        for (status, body) in [("429 Too Many Requests", "slow down"), ("404 Not Found", no_route)] {
            let (response, is_upgraded) = ((status, body.to_owned()), Arc::new(AtomicBool::new(false)));
            let server = Server::start({
                let is_upgraded = Arc::clone(&is_upgraded);
                move |target| match is_upgraded.load(Ordering::SeqCst) {
                    true => one_line(),
                    false if target.starts_with(NEW) => unknown_path(),
                    false => response.clone(),
                }
            });
            let consumer = server.consumer();
            let error = consumer.recent(APP, TOKEN).unwrap_err();
            assert!(error.to_string().contains(body.trim()), "{error}");
            assert_eq!(server.paths(), [NEW, OLD]);
            is_upgraded.store(true, Ordering::SeqCst);
            consumer.recent(APP, TOKEN).unwrap();
            assert_eq!(server.paths(), [NEW], "{status}");
        }
    });
}

#[test]
fn another_404_than_that_of_an_unknown_path_says_nothing_about_the_path() {
    within(DEADLINE, || {
        for body in ["", "404 Not Found: Requested route ('log-cache.example.com') does not exist.\n", "{}"] {
            let server = Server::start(move |_| ("404 Not Found", body.to_owned()));
            server.consumer().recent(APP, TOKEN).unwrap_err();
            assert_eq!(server.paths(), [NEW], "{body}");
        }
    });
}

#[test]
fn a_response_that_is_too_large_is_requested_in_smaller_pages() {
    within(DEADLINE, || {
        for (status, body) in [
            ("429 Too Many Requests", r#"{"code":8,"message":"too large","details":[]}"#),
            ("403 Forbidden", r#"{"error":"too large","code":8}"#),
        ] {
            let server = Server::start(move |target| {
                let limit = target.split("limit=").nth(1).unwrap().split('&').next().unwrap().parse::<usize>().unwrap();
                let times = if target.contains("end_time=") { 0..0 } else { 0..limit };
                let line = |time| format!(r#"{{"timestamp":"{time}","log":{{"payload":"aGk="}}}}"#);
                let lines: Vec<_> = times.rev().map(line).collect();
                if limit > 30 { (status, body.to_owned()) } else { ok(&lines.join(",")) }
            });
            let consumer = server.builder().recent_limit(100).build().unwrap();
            assert_eq!(consumer.recent(APP, TOKEN).unwrap().len(), 25, "{status}");
            assert_eq!(server.paths().len(), 4, "{status}");
        }
    });
}

/// A page of Korifi: its newest lines, whatever time is requested.
fn korifi(limit: usize) -> Response {
    let line = |number: usize| {
        let (time, payload) = (1_652_713_883_018_191_820 + number, BASE64_STANDARD.encode(number.to_string()));
        format!(r#"{{"timestamp":{time},"tags":{{"source_type":"APP"}},"log":{{"payload":"{payload}","type":0}}}}"#)
    };
    ok(&(0..limit).rev().map(line).collect::<Vec<_>>().join(","))
}

#[test]
fn the_lines_of_korifi_have_the_app_that_was_requested() {
    within(DEADLINE, || {
        let server = Server::start(|_| korifi(2));
        let lines = server.consumer().recent(&format!(" {APP}\n"), TOKEN).unwrap();
        let expected = |time, text: &str| {
            let mut line = LogMessage::new(APP, text).timestamp(time);
            line.source_name = Some("APP".into());
            line
        };
        assert_eq!(lines, [expected(1_652_713_883_018_191_820, "0"), expected(1_652_713_883_018_191_821, "1")]);
        let iterated: Result<Vec<LogMessage>, _> = server.consumer().recent_iter(APP, TOKEN).unwrap().collect();
        assert_eq!(iterated.unwrap(), lines);
    });
}

#[test]
fn a_source_id_that_the_server_sends_is_kept() {
    within(DEADLINE, || {
        let server = Server::start(|_| ok(r#"{"source_id":"gorouter","log":{"payload":"aGk="}}"#));
        assert_eq!(server.consumer().recent(APP, TOKEN).unwrap()[0].app_id, "gorouter");
    });
}

#[test]
fn a_server_that_ignores_the_end_of_a_page_is_asked_twice_and_no_line_is_doubled() {
    within(DEADLINE, || {
        let server = Server::start(|_| korifi(1000));
        let lines = server.builder().recent_limit(5000).build().unwrap().recent(APP, TOKEN).unwrap();
        assert_eq!(lines.len(), 1000);
        assert!(lines.is_sorted_by(|a, b| a.timestamp < b.timestamp));
        assert_eq!(server.paths().len(), 2);
        // More than requested are cut.
        assert_eq!(server.builder().recent_limit(10).build().unwrap().recent(APP, TOKEN).unwrap(), lines[990..]);
    });
}

#[test]
fn an_error_of_a_cloud_controller_says_what_is_missing_and_does_not_doubt_the_address() {
    within(DEADLINE, || {
        let not_found = r#"{"errors":[{"detail":"App not found.","title":"CF-ResourceNotFound","code":10010}]}"#;
        let old_not_found =
            r#"{"code":100004,"description":"The app could not be found","error_code":"CF-AppNotFound"}"#;
        let rejected = r#"{"errors":[{"detail":"Invalid Auth Token","title":"CF-InvalidAuthToken","code":1000}]}"#;
        for (status, body, kind, message) in [
            ("404 Not Found", not_found, ErrorKind::NotFound, "App not found."),
            ("404 Not Found", old_not_found, ErrorKind::NotFound, "The app could not be found"),
            ("401 Unauthorized", rejected, ErrorKind::Unauthorized, "Invalid Auth Token"),
        ] {
            let server = Server::start(move |_| (status, body.to_owned()));
            let error = server.consumer().recent(APP, TOKEN).unwrap_err();
            assert_eq!((error.kind(), error.body()), (kind, Some(body)));
            assert!(error.to_string().ends_with(&format!(": the server answered {status}: {message}")), "{error}");
            assert_eq!(server.paths(), [NEW]);
        }
        // A path that does not exist: the API of a foundation without a Log Cache of its own.
        let unknown = r#"{"errors":[{"detail":"Unknown request","title":"CF-NotFound","code":10000}]}"#;
        let server = Server::start(move |_| ("404 Not Found", unknown.to_owned()));
        let text = server.consumer().recent(APP, TOKEN).unwrap_err().to_string();
        assert!(text.ends_with(": Unknown request (Is this the address of a Log Cache?)"), "{text}");
    });
}
