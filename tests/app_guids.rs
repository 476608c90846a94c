//! The GUID of an app, as callers get it wrong: with white space around it, as a part of a path, or the app's name.

mod common;

use std::sync::{Arc, Mutex};

use common::messages::{APP, TOKEN, recent_response, response, texts};
use common::watch::{keep_logs, logs};
use common::{DEADLINE, ScriptedServer, Untouched, hang_up, header, read_head, send, switching_protocols, within};
use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, Consumer, Error, ErrorKind, Proxy};

type Call = fn(&Consumer, &str) -> Result<(), Error>;

fn tail(consumer: &Consumer, app: &str) -> Result<(), Error> {
    consumer.tail(app, TOKEN).map(drop)
}

fn recent(consumer: &Consumer, app: &str) -> Result<(), Error> {
    consumer.recent(app, TOKEN).map(drop)
}

fn recent_iter(consumer: &Consumer, app: &str) -> Result<(), Error> {
    consumer.recent_iter(app, TOKEN).map(drop)
}

/// Each call on each generation, with the start of the path that it requests, which the GUID follows.
fn calls(address: std::net::SocketAddr) -> Vec<(Consumer, Call, &'static str)> {
    let (http, websocket) = (format!("http://{address}"), format!("ws://{address}"));
    let build = |builder: Builder| builder.proxy(Proxy::none()).build().unwrap();
    let log_cache = build(Builder::new().log_cache(&http));
    let (gateway, doppler) = (build(Builder::new().rlp_gateway(&http)), build(Builder::new().doppler(&websocket)));
    let legacy = build(Builder::new().legacy(&websocket));
    vec![
        (log_cache.clone(), recent, "/api/v1/read/"),
        (log_cache, recent_iter, "/api/v1/read/"),
        (gateway, tail, "/v2/read?log&source_id="),
        (doppler.clone(), tail, "/apps/"),
        (doppler.clone(), recent, "/apps/"),
        (doppler, recent_iter, "/apps/"),
        (legacy.clone(), tail, "/tail/?app="),
        (legacy.clone(), recent, "/recent?app="),
        (legacy, recent_iter, "/recent?app="),
    ]
}

#[test]
fn white_space_around_a_guid_does_not_reach_a_server() {
    within(DEADLINE, || {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&requests);
        let server = ScriptedServer::always(move |mut socket| {
            let request = read_head(&mut socket);
            let target = request.split(' ').nth(1).unwrap().to_owned();
            let response = if header(&request, "upgrade").is_some() {
                switching_protocols(&request)
            } else if target.starts_with("/api/v1/read/") {
                response("200 OK", &[], b"{}")
            } else if target.starts_with("/v2/read") {
                response("200 OK", &["Content-Type: text/event-stream"], b"")
            } else {
                recent_response(&[])
            };
            recorded.lock().unwrap().push(target);
            send(&mut socket, &[&response]);
            hang_up(socket);
        });
        for given in [format!("{APP}\n"), format!("{APP}\r\n"), format!("\t {APP} ")] {
            for (consumer, call, start) in calls(server.address) {
                call(&consumer, &given).unwrap();
                let target = requests.lock().unwrap().pop().unwrap();
                let rest = target.strip_prefix(&format!("{start}{APP}"));
                let is_whole = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
                assert!(is_whole, "{given:?}: {target}");
            }
        }
    });
}

#[test]
fn the_hint_for_a_name_shows_it_without_the_white_space_around_it() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[&response("404 Not Found", &[], b"")]);
            hang_up(socket);
        });
        for (consumer, call, _) in calls(server.address) {
            let text = call(&consumer, "my-app\n").unwrap_err().to_string();
            let hint = " (`my-app` is no GUID: is it the app's name? `cf app my-app --guid` prints its GUID)";
            assert!(text.ends_with(hint), "{text}");
        }
    });
}

#[test]
fn what_cannot_be_a_guid_is_refused_before_anything_is_sent() {
    let server = Untouched::start();
    for (consumer, call, _) in calls(server.address()) {
        for given in [".", "..", " ..\n", "my app", "a\nb", "a\u{a0}b", "a\0b", "a\u{1b}[2J"] {
            let error = call(&consumer, given).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{given:?}: {error}");
            let text = error.to_string();
            assert!(text.contains("`cf app NAME --guid`") && !text.contains(char::is_control), "{text:?}");
        }
    }
    // Not even the API is asked.
    let api = Builder::new().api(&format!("http://{}", server.address())).proxy(Proxy::none()).build().unwrap();
    for call in [tail, recent, recent_iter] {
        assert_eq!(call(&api, "..").unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    server.assert_untouched();
}

#[test]
fn a_slash_in_a_guid_makes_no_other_path() {
    within(DEADLINE, || {
        let (found, target) = std::sync::mpsc::channel();
        let server = ScriptedServer::start(vec![Box::new(move |mut socket| {
            found.send(read_head(&mut socket).split(' ').nth(1).unwrap().to_owned()).unwrap();
            send(&mut socket, &[&response("200 OK", &[], b"{}")]);
            hang_up(socket);
        })]);
        let log_cache = Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none());
        assert_eq!(log_cache.build().unwrap().recent("../meta", TOKEN).unwrap(), []);
        assert!(target.recv().unwrap().starts_with("/api/v1/read/..%2Fmeta?"));
    });
}

/// Log Cache has an empty response for a source that it does not know, and the RLP gateway a silent stream.
#[test]
fn where_a_server_says_nothing_about_a_name_the_log_does() {
    keep_logs();
    within(DEADLINE, || {
        let lines = r#"{"envelopes":{"batch":[{"source_id":"x","log":{"payload":"aGk="}}]}}"#;
        let server = ScriptedServer::always(move |mut socket| {
            let request = read_head(&mut socket);
            let target = request.split(' ').nth(1).unwrap();
            let response = match target {
                _ if target.starts_with("/v2/read") => response("200 OK", &["Content-Type: text/event-stream"], b""),
                _ if target.contains("gorouter") => response("200 OK", &[], lines.as_bytes()),
                _ => response("200 OK", &[], b"{}"),
            };
            send(&mut socket, &[&response]);
            hang_up(socket);
        });
        let hint =
            |name: &str| format!("`{name}` is no GUID: is it the app's name? `cf app {name} --guid` prints its GUID");
        let url = format!("http://{}", server.address);
        let consumer = Builder::new().log_cache(&url).rlp_gateway(&url).proxy(Proxy::none()).build().unwrap();

        assert_eq!(consumer.recent("an-app", TOKEN).unwrap(), []);
        assert!(logs().contains(&format!("Log Cache has no messages: {}", hint("an-app"))), "{}", logs());
        consumer.tail("another-app", TOKEN).unwrap();
        let warning = format!("a tail from the RLP gateway may stay silent: {}", hint("another-app"));
        assert!(logs().contains(&warning), "{}", logs());

        // A source that has messages is not an app's name, and an app without messages has a GUID.
        assert_eq!(texts(&consumer.recent("gorouter", TOKEN).unwrap()), ["hi"]);
        assert_eq!(consumer.recent(APP, TOKEN).unwrap(), []);
        consumer.tail(APP, TOKEN).unwrap();
        for name in ["gorouter", APP] {
            assert!(!logs().contains(&hint(name)), "{}", logs());
        }
    });
}

#[test]
fn an_app_that_does_not_exist_is_rejected_and_one_that_has_logged_nothing_is_empty() {
    within(DEADLINE, || {
        const UNKNOWN: &str = "99999999-9999-9999-9999-999999999999";
        let server = TrafficController::builder().generation(Generation::Today).apps([APP]).start().unwrap();
        let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
        let (token, admin) = (server.issue_token(), server.issue_admin_token());
        assert_eq!(consumer.recent(APP, &token).unwrap(), []);
        for unknown in [UNKNOWN, "my-app"] {
            let error = consumer.recent(unknown, &token).unwrap_err();
            assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(404)), "{error}");
            assert_eq!(error.to_string().contains("cf app my-app --guid"), unknown == "my-app", "{error}");
            assert_eq!(consumer.recent(unknown, &admin).unwrap(), []);
        }
    });
}
