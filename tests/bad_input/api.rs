//! Bad responses of an API to discovery, and of a UAA to a request for a token.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use loggregator_consumer::{Builder, Error, ErrorKind, Proxy, TokenSource, Uaa};

use crate::common::foundation::{failing_endpoint, no_route};
use crate::common::messages::{APP, TOKEN, head, response};
use crate::common::{DEADLINE, Refusing, ScriptedServer, drain, hang_up, read_head, send, send_endlessly, within};
use crate::{SHORT, dribble, promptly};

/// Returns the errors of discovery, which must be prompt: once where the API's root responds with this, and once where
/// `/v2/info` does.
fn errors(script: impl Fn(&mut TcpStream) + Send + Sync + Copy + 'static) -> [Error; 2] {
    [false, true].map(|has_root| {
        let server = ScriptedServer::always(move |mut socket| {
            match read_head(&mut socket).starts_with("GET / ") == has_root {
                true => script(&mut socket),
                false => send(&mut socket, &[&response("404 Not Found", &[], b"")]),
            }
            hang_up(socket);
        });
        let builder = Builder::new().api(&format!("http://{}", server.address)).proxy(Proxy::none());
        let consumer = builder.connect_timeout(10 * SHORT).build().unwrap();
        promptly(|| consumer.tail_choice().unwrap_err())
    })
}

#[test]
fn an_endless_response_is_a_bad_response() {
    within(DEADLINE, || {
        for (begin, endless) in [("{\"links\":\"", "x"), ("", " "), ("", "["), ("{\"links\":{", "\"x\":1,")] {
            let errors = errors(|socket| {
                send(socket, &[&head("200 OK", &[]), begin.as_bytes()]);
                send_endlessly(socket, endless.repeat(1000).as_bytes());
            });
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::BadResponse, "{begin}{endless}: {error}");
            }
        }
    });
}

#[test]
fn a_response_that_trickles_in_is_a_timeout() {
    within(DEADLINE, || {
        let errors = errors(|socket| {
            send(socket, &[&head("200 OK", &[])]);
            dribble(socket, &[b' '; 10_000]);
        });
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        }
    });
}

#[test]
fn a_response_that_names_no_server_is_a_bad_response() {
    within(DEADLINE, || {
        for body in [
            &b""[..],
            b"null",
            b"[]",
            b"{}",
            b"{\"links\":{\"logging\":{\"href\":\"wss://\xff\"}},\"logging_endpoint\":\"wss://\xff\"}",
            b"{\"links\":{\"logging\":{\"href\":7}},\"logging_endpoint\":[\"wss://x\"]}",
            b"{\"links\":{\"logging\":{\"href\":\"https://x\"}},\"logging_endpoint\":\"https://x\"}",
            b"{\"links\":{\"logging\":{\"href\":\"wss://x\\r\\ny\"}},\"logging_endpoint\":\"wss://x\\r\\ny\"}",
            b"{\"links\":{\"logging\":{\"href\":\"wss://u:p@x\"}},\"logging_endpoint\":\"wss://u:p@x\"}",
        ] {
            for error in errors(move |socket| send(socket, &[&response("200 OK", &[], body)])) {
                assert_eq!(error.kind(), ErrorKind::BadResponse, "{}: {error}", String::from_utf8_lossy(body));
            }
        }
    });
}

#[test]
fn an_api_behind_a_router_without_a_route_says_so() {
    within(DEADLINE, || {
        for (response, status, said) in
            [(no_route as fn() -> _, 404, "Requested route"), (failing_endpoint, 502, "endpoint_failure")]
        {
            for error in errors(move |socket| send(socket, &[&response()])) {
                assert_eq!(error.status(), Some(status), "{error}");
                let text = error.to_string();
                assert!(text.contains("asking the API http://127.0.0.1") && text.contains("router"), "{text}");
                assert!(text.contains(&format!("answered {status}")) && text.contains(said), "{text}");
                assert!(!text.contains("lists no log server"), "{text}");
            }
        }
    });
}

#[test]
fn what_is_no_api_is_quoted() {
    within(DEADLINE, || {
        for error in errors(|socket| send(socket, &[&response("404 Not Found", &[], b"nginx is here")])) {
            assert_eq!((error.kind(), error.status()), (ErrorKind::BadResponse, Some(404)), "{error}");
            let text = error.to_string();
            assert!(text.contains("lists no log server"), "{text}");
        }
    });
}

#[test]
fn an_api_that_can_not_be_reached_is_called_the_api() {
    within(DEADLINE, || {
        let refusing = Refusing::start();
        let api = format!("http://{}/base/path", refusing.address);
        let consumer = Builder::new().api(&api).proxy(Proxy::none()).build().unwrap();
        for error in [consumer.tail(APP, TOKEN).unwrap_err(), consumer.recent(APP, TOKEN).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Dial);
            let text = error.to_string();
            assert!(text.contains(&format!("asking the API {api} ")), "{text}");
            assert!(!text.contains("loggregator"), "{text}");
        }
    });
}

#[test]
fn both_requests_to_an_api_share_one_connect_timeout() {
    within(DEADLINE, || {
        const TIMEOUT: Duration = Duration::from_secs(2);
        let api = ScriptedServer::always(|mut socket| {
            if read_head(&mut socket).starts_with("GET / ") {
                thread::sleep(TIMEOUT * 3 / 4);
                send(&mut socket, &[&response("404 Not Found", &[], b"")]);
                return hang_up(socket);
            }
            drain(socket);
        });
        let builder = Builder::new().api(&format!("http://{}", api.address)).proxy(Proxy::none());
        let consumer = builder.connect_timeout(TIMEOUT).build().unwrap();
        let begin = Instant::now();
        assert_eq!(consumer.tail(APP, TOKEN).unwrap_err().kind(), ErrorKind::Timeout);
        assert!(begin.elapsed() < TIMEOUT * 3 / 2, "it took {:?}", begin.elapsed());
    });
}

#[test]
fn asking_an_api_for_recent_messages_ends_by_their_timeout() {
    within(DEADLINE, || {
        let api = ScriptedServer::silent();
        let builder = Builder::new().api(&format!("http://{}", api.address)).proxy(Proxy::none());
        let consumer = builder.recent_timeout(SHORT).build().unwrap();
        assert_eq!(promptly(|| consumer.recent(APP, TOKEN).unwrap_err()).kind(), ErrorKind::Timeout);
    });
}

#[test]
fn an_invalid_token_is_a_bad_response_and_is_not_shown() {
    within(DEADLINE, || {
        for token in ["hunter2\\r\\nX-Admin: 1", "hunter2\\u0000", "hunter2\" \""] {
            let body = format!("{{\"access_token\":\"{token}\"}}").into_bytes();
            assert_no_token(body);
        }
        assert_no_token(b"{\"access_token\":[[[".iter().copied().chain([b'['; 100_000]).collect());
    });
}

fn assert_no_token(body: Vec<u8>) {
    let server = ScriptedServer::always(move |mut socket| {
        read_head(&mut socket);
        send(&mut socket, &[&response("200 OK", &[], &body)]);
        hang_up(socket);
    });
    let tokens = TokenSource::uaa(Uaa::new(&format!("http://{}", server.address)).refresh_token("x")).unwrap();
    let consumer = Builder::new().doppler("ws://server.invalid").tokens(tokens).proxy(Proxy::none()).build().unwrap();
    let error = promptly(|| consumer.tail(APP, "").unwrap_err());
    assert_eq!(error.kind(), ErrorKind::BadResponse, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}
