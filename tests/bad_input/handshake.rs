//! Heads of responses: those that do not upgrade, endless ones, and some that are unusual but valid.

use loggregator_consumer::{Error, ErrorKind};

use crate::common::messages::{APP, CONTENT_TYPE, TOKEN, head, message, multipart, recent_response, response, texts};
use crate::common::{
    BINARY, DEADLINE, ScriptedServer, Untouched, accept_key, assert_dial_error, builder, close_frame, consumer, drain,
    failures, frame, hang_up, read_head, responding, send, send_endlessly, switching_protocols, within,
};
use crate::{SHORT, dribble, promptly};

/// Returns the error of a tail at a server with this response to the handshake. `KEY` stands for the right accept key.
fn tail_error(response: &str) -> Error {
    let response = response.to_owned();
    let server = ScriptedServer::start(vec![Box::new(move |mut socket| {
        let key = accept_key(&read_head(&mut socket));
        send(&mut socket, &[response.replace("KEY", &key).as_bytes()]);
        hang_up(socket);
    })]);
    let error = promptly(|| consumer(&server.endpoint()).tail(APP, TOKEN).unwrap_err());
    if error.status().is_none() {
        assert_dial_error(&error, ErrorKind::BadResponse, &server.endpoint());
    }
    error
}

#[test]
fn a_101_with_a_wrong_accept_key_is_a_bad_response() {
    within(DEADLINE, || {
        for accept in ["", "Sec-WebSocket-Accept:\r\n", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"] {
            let error =
                tail_error(&format!("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{accept}\r\n"));
            assert!(error.to_string().contains("Sec-WebSocket-Accept"), "{error}");
        }
    });
}

#[test]
fn a_101_that_does_not_upgrade_to_websocket_is_a_bad_response() {
    within(DEADLINE, || {
        for headers in [
            "Connection: Upgrade\r\n",
            "Upgrade: websocket\r\n",
            "Upgrade: h2c\r\nConnection: Upgrade\r\n",
            "Upgrade: websocket\r\nConnection: keep-alive\r\n",
        ] {
            let error = tail_error(&format!("HTTP/1.1 101 X\r\n{headers}Sec-WebSocket-Accept: KEY\r\n\r\n"));
            assert!(error.to_string().contains("upgrade"), "{error}");
        }
    });
}

#[test]
fn a_101_with_an_extension_or_a_protocol_that_was_not_offered_is_a_bad_response() {
    within(DEADLINE, || {
        for header in ["Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: chat"] {
            let error = tail_error(&format!(
                "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n\
                 {header}\r\n\r\n"
            ));
            assert!(error.to_string().contains("not offered"), "{error}");
        }
    });
}

#[test]
fn a_200_to_the_handshake_is_a_bad_response() {
    within(DEADLINE, || {
        let error = tail_error("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nHello there.");
        assert_eq!(error.kind(), ErrorKind::BadResponse);
        assert_eq!(error.status(), Some(200));
        assert_eq!(error.body(), Some("Hello there."));
    });
}

#[test]
fn a_101_to_a_request_for_recent_messages_is_a_bad_response() {
    within(DEADLINE, || {
        let server = ScriptedServer::responding("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
        let error = promptly(|| consumer(&server.endpoint()).recent(APP, TOKEN).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::BadResponse, "{error}");
    });
}

#[test]
fn a_response_that_is_not_http_is_a_bad_response() {
    within(DEADLINE, || {
        for garbage in ["SSH-2.0-OpenSSH_9.6\r\n", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "HTTP/1.1 abc\r\n\r\n"] {
            let server = ScriptedServer::always(|mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[garbage.as_bytes()]);
                hang_up(socket);
            });
            for error in promptly(|| failures(&consumer(&server.endpoint()))) {
                assert_dial_error(&error, ErrorKind::BadResponse, &server.endpoint());
            }
        }
    });
}

#[test]
fn an_endless_head_is_a_bad_response() {
    within(DEADLINE, || {
        for endless in [&b"X-Header: value\r\n"[..], b"x"] {
            let server = ScriptedServer::always(|mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[b"HTTP/1.1 200 OK\r\n"]);
                send_endlessly(&mut socket, endless);
            });
            for error in promptly(|| failures(&consumer(&server.endpoint()))) {
                assert_dial_error(&error, ErrorKind::BadResponse, &server.endpoint());
            }
        }
    });
}

#[test]
fn endless_interim_responses_are_an_error() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            read_head(&mut socket);
            send_endlessly(&mut socket, b"HTTP/1.1 100 Continue\r\n\r\n");
        });
        let consumer = builder(&server.endpoint()).connect_timeout(SHORT).build().unwrap();
        for error in promptly(|| failures(&consumer)) {
            assert!(matches!(error.kind(), ErrorKind::BadResponse | ErrorKind::Timeout), "{error:?}");
        }
    });
}

/// Interim responses of all kinds. 101 is none.
const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\nX-Header: value\r\n\r\n\
    HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\nHTTP/1.1 199 X\r\n\r\n";

#[test]
fn interim_responses_before_the_final_one_are_skipped() {
    within(DEADLINE, || {
        let many = INTERIM.repeat(100);
        for (interim, pieces_of) in [(INTERIM, 1), (INTERIM, usize::MAX), (&*many, 1000), (&*many, usize::MAX)] {
            let interim = interim.to_owned();
            let server = ScriptedServer::always(move |mut socket| {
                let request = read_head(&mut socket);
                let good = if request.starts_with("GET /tail/") {
                    [switching_protocols(&request), frame(BINARY, &message("hello")), close_frame()].concat()
                } else {
                    // A body that is read together with the head.
                    recent_response(&["hello", &"x".repeat(40_000)])
                };
                let response = [interim.as_bytes(), &good].concat();
                send(&mut socket, &response.chunks(pieces_of.min(response.len())).collect::<Vec<_>>());
                drain(socket);
            });
            let consumer = consumer(&server.endpoint());
            let tail = consumer.tail(APP, TOKEN).unwrap();
            assert_eq!(texts(&tail.map(Result::unwrap).collect::<Vec<_>>()), ["hello"]);
            assert_eq!(texts(&consumer.recent(APP, TOKEN).unwrap())[0], "hello");
        }
    });
}

#[test]
fn an_interim_response_alone_is_a_lost_connection_or_a_timeout() {
    within(DEADLINE, || {
        for (hangs_up, kind) in [(true, ErrorKind::ConnectionLost), (false, ErrorKind::Timeout)] {
            let server = ScriptedServer::always(move |mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[INTERIM.as_bytes()]);
                if hangs_up { hang_up(socket) } else { drain(socket) }
            });
            let consumer = builder(&server.endpoint()).connect_timeout(SHORT).build().unwrap();
            for error in promptly(|| failures(&consumer)) {
                assert_dial_error(&error, kind, &server.endpoint());
            }
        }
    });
}

#[test]
fn a_base_path_in_the_address_is_in_the_text() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[&response("500 Oh", &[], b"no")]);
            hang_up(socket);
        });
        let consumer = consumer(&format!("{}/base/", server.endpoint()));
        let [tail, recent] = failures(&consumer).map(|error| error.to_string());
        assert!(tail.contains("the websocket handshake at /base/tail/?app="), "{tail}");
        assert!(recent.contains("the request for /base/recent?app="), "{recent}");
    });
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_accepted() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![Box::new(|mut socket| {
            let key = accept_key(&read_head(&mut socket));
            let accept = format!("Sec-WebSocket-Accept: {key}");
            dribble(&mut socket, &head("101 X", &["Upgrade: websocket", "Connection: Upgrade", &accept]));
            dribble(&mut socket, &frame(BINARY, &message("hello")));
            drain(socket);
        })]);
        let mut tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        assert_eq!(tail.next().unwrap().unwrap().text(), "hello");

        let server = ScriptedServer::start(vec![Box::new(|mut socket| {
            read_head(&mut socket);
            dribble(&mut socket, &recent_response(&["hello"]));
            drain(socket);
        })]);
        let messages = consumer(&server.endpoint()).recent(APP, TOKEN).unwrap();
        assert_eq!(texts(&messages), ["hello"]);
    });
}

#[test]
fn unusual_but_valid_upgrade_headers_are_accepted() {
    within(DEADLINE, || {
        for headers in [
            &["Upgrade: websocket", "Connection: keep-alive, Upgrade"][..],
            &["upgrade: WebSocket", "CONNECTION: upgrade"],
            &["Upgrade: websocket", "Connection: keep-alive", "Connection: Upgrade"],
        ] {
            let headers: Vec<_> = headers.iter().map(|header| header.to_string()).collect();
            let server = ScriptedServer::start(vec![Box::new(move |mut socket| {
                let accept = format!("sec-websocket-accept:{}", accept_key(&read_head(&mut socket)));
                let headers: Vec<_> = headers.iter().map(|header| &**header).chain([&*accept]).collect();
                send(&mut socket, &[&head("101 Switching Protocols", &headers)]);
                drain(socket);
            })]);
            consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        }
    });
}

#[test]
fn frames_in_the_same_segment_as_the_101_are_not_lost() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![Box::new(|mut socket| {
            let response = switching_protocols(&read_head(&mut socket));
            send(&mut socket, &[&[response, frame(BINARY, &message("hello")), close_frame()].concat()]);
            drain(socket);
        })]);
        let tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        assert_eq!(texts(&tail.map(Result::unwrap).collect::<Vec<_>>()), ["hello"]);
    });
}

#[test]
fn a_redirect_is_not_followed_and_does_not_leak_the_token() {
    within(DEADLINE, || {
        for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
            let other = Untouched::start();
            let location = format!("Location: http://{}/tail/", other.address());
            let server = ScriptedServer::always(move |mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[&response(status, &[&location], b"over there")]);
                hang_up(socket);
            });
            for error in failures(&consumer(&server.endpoint())) {
                assert_eq!(error.kind(), ErrorKind::BadResponse, "{error}");
                assert_eq!(error.status(), status[..3].parse().ok());
            }
            other.assert_untouched();
        }
    });
}

#[test]
fn a_redirect_on_the_same_server_is_not_followed_either() {
    within(DEADLINE, || {
        // A second request would get a good response.
        let redirect = response("302 Found", &["Location: /recent?app=other"], b"");
        let good = response("200 OK", &[CONTENT_TYPE], &multipart(&["of another app"]));
        let server = ScriptedServer::start(vec![responding(redirect), responding(good)]);
        let error = consumer(&server.endpoint()).recent(APP, TOKEN).unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::BadResponse, Some(302)));
    });
}
