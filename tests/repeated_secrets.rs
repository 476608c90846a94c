//! Servers that repeat a secret where an error or the log could show it: the token in what is decoded, cut off, and in a
//! header; a user's password in the response of a UAA.

mod common;

use std::io::Read;

use common::messages::{APP, response};
use common::watch::{keep_logs, logs};
use common::{DEADLINE, ScriptedServer, hang_up, header, read_head, send, within};
use loggregator_consumer::{Builder, Consumer, Error, ErrorKind, Proxy, TokenSource, Uaa};

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
        assert!(logs.contains("skipped a part of the response"), "{logs}");
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

#[test]
fn a_password_that_a_uaa_repeats_is_hidden() {
    const PASSWORD: &str = "Tr0ub4dor&3 ü/%";
    const ENCODED: &str = "Tr0ub4dor%263%20%C3%BC%2F%25";
    within(DEADLINE, || {
        keep_logs();
        let json = "{\"error\":\"unauthorized\",\"error_description\":\"no <FORM> <PLAIN>\"}";
        for (status, body) in [
            ("401 Unauthorized", json),
            ("400 <PLAIN>", json),
            ("401 Unauthorized", "<FORM>"),
            ("500 <FORM>", "<PLAIN> <FORM>"),
            ("200 OK", "<PLAIN> <FORM>"),
            ("200 OK", "{\"access_token\":\"<PLAIN>\\n\"}"),
        ] {
            let repeated = |text: &str, form: &str| text.replace("<FORM>", form).replace("<PLAIN>", PASSWORD);
            let uaa = ScriptedServer::always(move |mut socket| {
                let head = read_head(&mut socket);
                let mut form = vec![0; header(&head, "content-length").unwrap().parse().unwrap()];
                socket.read_exact(&mut form).unwrap();
                let form = String::from_utf8(form).unwrap();
                assert_eq!(form, format!("grant_type=password&username=marie&password={ENCODED}"));
                send(&mut socket, &[&response(&repeated(status, &form), &[], repeated(body, &form).as_bytes())]);
                hang_up(socket);
            });
            let uaa = format!("http://{}", uaa.address);
            let tokens = TokenSource::uaa(Uaa::new(&uaa).password("marie", PASSWORD)).unwrap();
            let consumer = Builder::new().log_cache(&uaa).rlp_gateway(&uaa).tokens(tokens).proxy(Proxy::none());
            let consumer = consumer.build().unwrap();
            for error in [consumer.recent(APP, "").unwrap_err(), consumer.tail(APP, "").unwrap_err()] {
                let cause = error.get_ref().map(|cause| format!("{cause} {cause:?}"));
                let shown = format!("{error} {error:#} {error:?} {error:#?} {:?} {cause:?}\n{}", error.body(), logs());
                assert!(!shown.contains("Tr0ub4dor"), "{shown}");
            }
        }
    });
}
