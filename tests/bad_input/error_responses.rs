//! Bodies of error responses, in every framing and at every speed.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::thread;

use loggregator_consumer::{Builder, DebugPrinter, Error, ErrorKind, Proxy};

use crate::common::foundation::no_route;
use crate::common::messages::{APP, TOKEN, chunk, head, response};
use crate::common::{
    CLOSE, DEADLINE, ScriptedServer, builder, consumer, drain, failures, frame, hang_up, header, read_head, send,
    send_endlessly, switching_protocols, within,
};
use crate::{SHORT, promptly};

const BODY: &str = "You are not authorized. Get a new token.";

/// Returns the errors of a tail and of a call of `recent` at a server that responds with these pieces, and then hangs
/// up.
fn failures_at(pieces: Vec<Vec<u8>>) -> [Error; 2] {
    let server = ScriptedServer::always(move |mut socket| {
        read_head(&mut socket);
        send(&mut socket, &pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
        hang_up(socket);
    });
    failures(&consumer(&server.endpoint()))
}

fn assert_unauthorized(error: &Error) {
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(401)));
    assert_eq!(error.body(), Some(BODY));
    assert!(error.to_string().contains(BODY), "{error}");
}

/// The head and the body of a 401, in each framing.
fn framings() -> [(Vec<u8>, Vec<Vec<u8>>); 3] {
    let (one, other) = BODY.as_bytes().split_at(10);
    [
        (head("401 Unauthorized", &["Content-Length: 40"]), vec![one.to_vec(), other.to_vec()]),
        (head("401 Unauthorized", &["Transfer-Encoding: chunked"]), vec![chunk(one), chunk(other), chunk(b"")]),
        (head("401 Unauthorized", &[]), vec![one.to_vec(), other.to_vec()]),
    ]
}

#[test]
fn the_body_of_a_401_is_read_in_each_framing() {
    within(DEADLINE, || {
        for (head, body) in framings() {
            failures_at([vec![head], body].concat()).iter().for_each(assert_unauthorized);
        }
    });
}

/// Signals that the head of the response has been read.
struct AtResponse(Mutex<mpsc::Sender<()>>);

impl DebugPrinter for AtResponse {
    fn print(&self, title: &str, _: &str) {
        if title == "WEBSOCKET RESPONSE:" {
            self.0.lock().unwrap().send(()).unwrap();
        }
    }
}

#[test]
fn the_body_of_a_401_to_a_tail_may_come_later_than_its_head() {
    within(DEADLINE, || {
        for (head, body) in framings() {
            let (at_response, head_was_read) = mpsc::channel();
            let server = ScriptedServer::start(vec![Box::new(move |mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[&head]);
                head_was_read.recv().unwrap();
                send(&mut socket, &body.iter().map(Vec::as_slice).collect::<Vec<_>>());
                hang_up(socket);
            })]);
            let printer = AtResponse(Mutex::new(at_response));
            let consumer = builder(&server.endpoint()).debug_printer(printer).build().unwrap();
            assert_unauthorized(&consumer.tail(APP, TOKEN).unwrap_err());
        }
    });
}

#[test]
fn the_body_of_a_401_to_recent_may_come_later_than_its_head() {
    within(DEADLINE, || {
        for (head, body) in framings() {
            let server = ScriptedServer::start(vec![Box::new(move |mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[&head]);
                for piece in body {
                    // There is no sign that the client has read the head, so it gets some time for it.
                    thread::sleep(SHORT / 10);
                    send(&mut socket, &[&piece]);
                }
                hang_up(socket);
            })]);
            assert_unauthorized(&consumer(&server.endpoint()).recent(APP, TOKEN).unwrap_err());
        }
    });
}

#[test]
fn a_body_with_a_content_length_does_not_wait_for_eof() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[&response("401 Unauthorized", &[], BODY.as_bytes())]);
            drain(socket);
        });
        promptly(|| failures(&consumer(&server.endpoint()))).iter().for_each(assert_unauthorized);
    });
}

/// Asserts that a tail and a call of `recent` fail promptly and pass `check`, at a server that sends the head of a 401
/// with no length or a huge one, and then does this.
fn assert_fails_before_an_end(then: fn(TcpStream), check: fn(Error)) {
    let headers = [&[][..], &["Content-Length: 18446744073709551615"], &["Transfer-Encoding: chunked"]];
    let attempts = headers.map(|headers| {
        let server = ScriptedServer::always(move |mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[&head("401 Unauthorized", headers)]);
            then(socket);
        });
        let consumer = builder(&server.endpoint()).connect_timeout(5 * SHORT).build().unwrap();
        thread::spawn(move || promptly(|| failures(&consumer)).into_iter().for_each(check))
    });
    attempts.into_iter().for_each(|attempt| attempt.join().unwrap());
}

#[test]
fn a_401_with_an_endless_body_is_cut() {
    within(DEADLINE, || {
        let flood = |mut socket: TcpStream| send_endlessly(&mut socket, b"6\r\nno no!\r\n");
        assert_fails_before_an_end(flood, |error| {
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
            let body = error.body().unwrap();
            assert!(body.contains("no no!"), "{body:.80}");
            assert!(body.len() <= 64 * 1024, "{}", body.len());
        });
    });
}

#[test]
fn a_401_whose_body_does_not_arrive_is_still_unauthorized() {
    within(DEADLINE, || {
        assert_fails_before_an_end(drain, |error| assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}"));
    });
}

#[test]
fn a_401_with_an_endless_body_that_drips_in_is_cut_by_the_connect_timeout() {
    within(DEADLINE, || {
        let drip = |mut socket: TcpStream| {
            while socket.write_all(b"1\r\nx\r\n").is_ok() {
                thread::sleep(SHORT / 10);
            }
        };
        assert_fails_before_an_end(drip, |error| {
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
            assert!(error.body().unwrap().contains('x'), "{error}");
        });
    });
}

#[test]
fn a_body_with_invalid_utf8_is_shown_as_text() {
    within(DEADLINE, || {
        for error in failures_at(vec![response("401 Unauthorized", &[], b"no \xff\xfe\0!")]) {
            assert_eq!(error.body(), Some("no \u{fffd}\u{fffd}\0!"));
        }
        for error in failures_at(vec![head("401 Unauthorized", &["Transfer-Encoding: chunked"]), b"xyz\r\n".to_vec()]) {
            assert_eq!(error.kind(), ErrorKind::Unauthorized);
        }
    });
}

#[test]
fn a_token_that_the_server_repeats_is_hidden() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            let request = read_head(&mut socket);
            let body = format!("invalid token: {}!", header(&request, "authorization").unwrap());
            send(&mut socket, &[&response("401 Unauthorized", &[], body.as_bytes())]);
            hang_up(socket);
        });
        let consumer = consumer(&server.endpoint());
        let token = "bearer s3cr3t-t0ken";
        for error in [consumer.tail(APP, token).unwrap_err(), consumer.recent(APP, token).unwrap_err()] {
            assert_eq!(error.body(), Some("invalid token: bearer [PRIVATE DATA HIDDEN]!"));
            assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
        }
    });
}

#[test]
fn a_token_that_a_close_reason_repeats_is_hidden() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            let request = read_head(&mut socket);
            let body = format!("invalid token: {}!", header(&request, "authorization").unwrap());
            let (code, closing) = (1008u16.to_be_bytes(), format!("event: closing\ndata: {body}\n\n"));
            if header(&request, "upgrade").is_some() {
                let close = frame(CLOSE, &[&code, body.as_bytes()].concat());
                send(&mut socket, &[&switching_protocols(&request), &close]);
            } else {
                send(&mut socket, &[&response("200 OK", &["Content-Type: text/event-stream"], closing.as_bytes())]);
            }
            hang_up(socket);
        });
        let token = "bearer s3cr3t-t0ken";
        let gateway = Builder::new().rlp_gateway(&format!("http://{}", server.address)).proxy(Proxy::none());
        for consumer in [consumer(&server.endpoint()), gateway.build().unwrap()] {
            let mut tail = consumer.tail(APP, token).unwrap();
            let error = tail.next().unwrap().unwrap_err();
            assert!(error.to_string().contains("invalid token: bearer [PRIVATE DATA HIDDEN]!"), "{error}");
            assert!(!format!("{error:?} {:?}", tail.ending()).contains("s3cr3t"), "{error:?}");
        }
    });
}

#[test]
fn a_5xx_or_429_is_a_server_error_with_its_status_and_body() {
    within(DEADLINE, || {
        for (status, code) in [("500 Internal Server Error", 500), ("503 Service Unavailable", 503), ("429 No", 429)] {
            for error in failures_at(vec![response(status, &[], b"come back later")]) {
                assert_eq!(error.kind(), ErrorKind::ServerError);
                assert_eq!(error.status(), Some(code));
                assert_eq!(error.body(), Some("come back later"));
                let text = error.to_string();
                assert!(text.contains(&code.to_string()) && text.contains("come back later"), "{text}");
            }
        }
    });
}

#[test]
fn a_404_is_not_found_in_a_tail_too() {
    within(DEADLINE, || {
        for error in failures_at(vec![response("404 Not Found", &[], b"Resource Not Found. /tail")]) {
            assert_eq!((error.kind(), error.status()), (ErrorKind::NotFound, Some(404)));
        }
    });
}

/// The errors of each call on each generation, at a server that gives every request this response, and whose addresses
/// have this path.
fn errors_everywhere(response: Vec<u8>, base: &str) -> Vec<Error> {
    let server = ScriptedServer::always(move |mut socket| {
        read_head(&mut socket);
        send(&mut socket, &[&response]);
        hang_up(socket);
    });
    let (http, websocket) = (format!("http://{}{base}", server.address), format!("ws://{}{base}", server.address));
    let build = |builder: Builder| builder.proxy(Proxy::none()).build().unwrap();
    let mut errors = vec![
        build(Builder::new().log_cache(&http)).recent(APP, TOKEN).unwrap_err(),
        build(Builder::new().rlp_gateway(&http)).tail(APP, TOKEN).unwrap_err(),
    ];
    errors.extend(failures(&build(Builder::new().doppler(&websocket))));
    errors.extend(failures(&build(Builder::new().legacy(&websocket))));
    errors
}

#[test]
fn a_404_for_a_missing_app_on_a_server_of_2016_does_not_doubt_the_address() {
    within(DEADLINE, || {
        for error in errors_everywhere(response("404 Not Found", &[], b"Not Found\n"), "").split_off(2) {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let hint = ": Not Found (there is no such app, or the token's user may not see it)";
            assert!(error.to_string().ends_with(hint), "{error}");
        }
    });
}

#[test]
fn a_legacy_server_without_a_route_for_now_is_not_called_another_server() {
    within(DEADLINE, || {
        for error in errors_everywhere(no_route(), "").split_off(4) {
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(text.contains("no route to this server, at least for now: unknown_route"), "{text}");
            assert!(text.contains("(or Cloud Foundry has no legacy server since September 2016: use "), "{text}");
            assert!(!text.contains("this is not a legacy"), "{text}");
        }
    });
}

#[test]
fn a_path_in_the_address_is_in_the_text() {
    within(DEADLINE, || {
        let texts = |response| errors_everywhere(response, "/base/path").into_iter().map(|error| error.to_string());
        let starts = [
            "the request for /base/path/api/v1/read/",
            "the request for /base/path/v2/read?",
            "the websocket handshake at /base/path/apps/",
            "the request for /base/path/apps/",
            "the websocket handshake at /base/path/tail/?",
            "the request for /base/path/recent?",
        ];
        for (text, start) in texts(response("500 Oh", &[], b"")).zip(starts) {
            assert!(text.starts_with(start), "{text}");
        }
        // The gateway's, about a success that is none.
        let text = texts(response("200 OK", &[], b"")).nth(1).unwrap();
        assert!(text.starts_with("the request for /base/path/v2/read?"), "{text}");
    });
}

#[test]
fn no_hint_follows_a_full_stop_with_other_punctuation() {
    within(DEADLINE, || {
        for status in ["400 Bad Request", "401 Unauthorized", "404 Not Found", "429 No", "503 No"] {
            for body in ["No. Not today.", "{\"message\":\"No.\",\"error\":\"not_found\"}", ""] {
                for error in errors_everywhere(response(status, &["Retry-After: 1"], body.as_bytes()), "") {
                    let text = error.to_string();
                    assert!(!text.contains("..") && !text.contains(".:") && !text.contains(":."), "{text}");
                    // It ends with the server's message, or with hints in parentheses.
                    assert!(text.ends_with(['.', ')']) || body.is_empty(), "{text}");
                }
            }
        }
    });
}
