//! Servers that repeat the token where an error or the log could show it: in what is decoded, cut off, and in a header.

mod common;

use common::messages::{APP, response};
use common::watch::{keep_logs, logs};
use common::{DEADLINE, ScriptedServer, hang_up, read_head, send, within};
use loggregator_consumer::{Builder, Consumer, Error, ErrorKind, Proxy};

const SECRET: &str = concat!("eyJhbGciOiJIUzI1NiJ9", ".", "eyJzdWIiOiJhIGIgYyJ9", ".", "c2lnbmF0dXJlLW9mLWl0");

fn token() -> String {
    format!("bearer {SECRET}")
}

fn serving(bytes: Vec<u8>) -> (ScriptedServer, Consumer) {
    let server = ScriptedServer::always(move |mut socket| {
        read_head(&mut socket);
        send(&mut socket, &[&bytes]);
        hang_up(socket);
    });
    let url = format!("http://{}", server.address);
    let builder = Builder::new().log_cache(&url).rlp_gateway(&url).proxy(Proxy::none());
    (server, builder.build().unwrap())
}

/// Asserts that neither the token nor a long part of it is in any form of the error.
#[track_caller]
fn assert_hidden(error: &Error) {
    let cause = error.get_ref().map(|cause| format!("{cause} {cause:?}"));
    let forms = format!("{error} {error:#} {error:?} {:?} {cause:?}", error.body());
    for part in SECRET.split('.').chain([&SECRET[..30]]) {
        assert!(!forms.contains(part), "{part} is in {}", &forms[..forms.len().min(2000)]);
    }
}

#[test]
fn a_token_in_what_cannot_be_decoded_is_not_quoted() {
    within(DEADLINE, || {
        keep_logs();
        let envelope = format!(r#"{{"timestamp":"{}","log":{{}}}}"#, token());
        let events = format!("data: {{\"batch\":[{envelope}]}}\n\n");
        let (_server, consumer) = serving(response("200 OK", &["Content-Type: text/event-stream"], events.as_bytes()));
        let error = consumer.tail(APP, &token()).unwrap().next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undecodable);
        assert_hidden(&error);

        let page = format!(r#"{{"envelopes":{{"batch":[{envelope}]}}}}"#);
        let (_server, consumer) = serving(response("200 OK", &[], page.as_bytes()));
        assert_eq!(consumer.recent(APP, &token()).unwrap(), []);
        let logs = logs();
        assert!(logs.contains("skipped a recent message"), "{logs}");
        assert!(!logs.lines().filter(|line| !line.contains(" ureq")).any(|line| line.contains(SECRET)), "{logs}");
    });
}

#[test]
fn a_token_that_is_cut_off_before_a_hint_is_hidden() {
    within(DEADLINE, || {
        // The body is cut at 64 KiB, in the middle of the token.
        for kept in [10, 30, SECRET.len() - 1] {
            let body = format!("{}{SECRET}{}", "x".repeat(64 * 1024 - kept), "y".repeat(100));
            let (_server, consumer) = serving(response("503 Away", &["Retry-After: 5"], body.as_bytes()));
            for error in [consumer.recent(APP, &token()).unwrap_err(), consumer.tail(APP, &token()).unwrap_err()] {
                assert_hidden(&error);
                assert!(!error.to_string().contains(&SECRET[..10]), "the beginning of the token is shown");
            }
        }
    });
}

#[test]
fn the_header_of_a_router_is_hidden_and_escaped_too() {
    within(DEADLINE, || {
        let header = format!("X-Cf-Routererror: {SECRET} \u{9b}31m\u{202e}");
        let (_server, consumer) = serving(response("404 Not Found", &[&header], b"no"));
        for error in [consumer.recent(APP, &token()).unwrap_err(), consumer.tail(APP, &token()).unwrap_err()] {
            assert_hidden(&error);
            let text = error.to_string();
            assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
        }
    });
}
