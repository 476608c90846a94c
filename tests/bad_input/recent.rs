//! Bodies of recent messages, and dumps, that end too early or never.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use loggregator_consumer::{Builder, Error, ErrorKind, Proxy};

use crate::common::messages::{
    APP, BOUNDARY, CONTENT_TYPE, TOKEN, chunk, envelope, head, message, metric, multipart, part, response, texts,
};
use crate::common::{
    BINARY, CLOSE, DEADLINE, PING, Script, ScriptedServer, builder, close_frame, consumer, drain, frame, hang_up,
    read_head, reset, responding, send, send_endlessly, streaming, tls, upgrading, within,
};
use crate::{SHORT, promptly};

/// Returns the error of `recent`, which must be prompt, at a server that runs the first script on the first connection,
/// and the second one on the next.
fn error_at(settings: fn(Builder) -> Builder, scripts: Vec<Script>) -> Error {
    let server = ScriptedServer::start(scripts);
    let consumer = settings(builder(&server.endpoint())).build().unwrap();
    promptly(|| consumer.recent(APP, TOKEN).unwrap_err())
}

/// Sends a good head, and then runs `then`.
fn after_the_head(then: impl FnOnce(TcpStream) + Send + 'static) -> Vec<Script> {
    vec![Box::new(|mut socket| {
        read_head(&mut socket);
        send(&mut socket, &[&head("200 OK", &[CONTENT_TYPE])]);
        then(socket);
    })]
}

/// Sends two good messages, and then runs `then`.
fn after_two(then: impl FnOnce(TcpStream) + Send + 'static) -> Vec<Script> {
    after_the_head(move |mut socket| {
        send(&mut socket, &[&two()]);
        then(socket);
    })
}

fn two() -> Vec<u8> {
    [part(&message("one")), part(&message("two"))].concat()
}

/// Sends two good messages in a dump over a websocket, and then runs `then`.
fn after_two_of_a_dump(then: impl FnOnce(TcpStream) + Send + 'static) -> Vec<Script> {
    vec![
        responding(response("400 Bad Request", &[], b"")),
        upgrading(move |mut socket| {
            send(&mut socket, &[&["one", "two"].map(|text| frame(BINARY, &message(text))).concat()]);
            then(socket);
        }),
    ]
}

/// Asserts that the error has this kind, and the two messages that came before it.
#[track_caller]
fn assert_recovered(error: Error, kind: ErrorKind) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert_eq!(texts(error.recovered()), ["one", "two"]);
    assert_eq!(texts(&error.into_recovered()), ["one", "two"]);
}

// Bodies that end too early.

#[test]
fn a_body_with_a_content_length_that_is_cut_short_is_truncated() {
    within(DEADLINE, || {
        let whole = response("200 OK", &[CONTENT_TYPE], &multipart(&["one", "two", "three"]));
        let error = error_at(|b| b, vec![responding(&whole[..whole.len() - 45])]);
        assert_recovered(error, ErrorKind::Truncated);
    });
}

#[test]
fn a_chunked_body_that_is_cut_short_is_truncated() {
    within(DEADLINE, || {
        let head = head("200 OK", &[CONTENT_TYPE, "Transfer-Encoding: chunked"]);
        let begun = [two(), part(b"not all")].concat();
        // Cut between two chunks, in the middle of one, in the size of one; and complete, but without the closing
        // delimiter.
        for end in [&b""[..], b"10\r\nabc", b"1", b"0\r\n\r\n"] {
            let error = error_at(|b| b, vec![responding([&head, &*chunk(&begun), end].concat())]);
            assert_recovered(error, ErrorKind::Truncated);
        }
    });
}

#[test]
fn a_malformed_chunk_is_truncated() {
    within(DEADLINE, || {
        for no_chunk in ["no size\r\n", "-1\r\n", "fffffffffffffffffffff\r\n", "\r\n", "1\r\nxyz\r\n"] {
            // What is read together with the malformed chunk is lost: see the table in `faults`. So the client reads
            // the messages first.
            let (taken, has_taken) = mpsc::channel();
            let server = ScriptedServer::start(vec![Box::new(move |mut socket| {
                read_head(&mut socket);
                let begun = [two(), part(b"not all")].concat();
                let head = head("200 OK", &[CONTENT_TYPE, "Transfer-Encoding: chunked"]);
                send(&mut socket, &[&head, &chunk(&begun)]);
                has_taken.recv().unwrap();
                send(&mut socket, &[no_chunk.as_bytes()]);
                drain(socket);
            })]);
            let mut messages = consumer(&server.endpoint()).recent_iter(APP, TOKEN).unwrap();
            let first: Vec<_> = messages.by_ref().take(2).collect::<Result<_, _>>().unwrap();
            assert_eq!(texts(&first), ["one", "two"]);
            taken.send(()).unwrap();
            assert_eq!(messages.next().unwrap().unwrap_err().kind(), ErrorKind::Truncated, "{no_chunk:?}");
            assert!(messages.next().is_none());
        }
    });
}

#[test]
fn a_body_delimited_by_eof_that_is_cut_short_is_truncated() {
    within(DEADLINE, || {
        for (end, complete) in [
            ("", 1),
            ("\r\n--0123456789abcdef", 1),
            ("\r\n--0123456789abcdef-", 1),
            ("\r\n--0123456789abcdef\r\n", 2),
            ("\r\n--0123456789abcdef\r\n\r\nnot all", 2),
        ] {
            let body = [&*two(), end.as_bytes()].concat();
            let error = error_at(|b| b, vec![responding([head("200 OK", &[CONTENT_TYPE]), body].concat())]);
            assert_eq!(error.kind(), ErrorKind::Truncated, "{end:?}: {error}");
            assert_eq!(texts(error.recovered()), ["one", "two"][..complete]);
        }
    });
}

#[test]
fn a_body_over_tls_that_ends_without_close_notify_is_truncated() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![Box::new(|socket| {
            let mut stream = tls::accept(socket).unwrap();
            read_head(&mut stream);
            send(&mut stream, &[&head("200 OK", &[CONTENT_TYPE]), &two(), &part(b"not all")]);
            hang_up(stream.get_ref().try_clone().unwrap());
        })]);
        let consumer = builder(&server.tls_endpoint()).tls_connector(tls::trusting()).build().unwrap();
        assert_recovered(consumer.recent(APP, TOKEN).unwrap_err(), ErrorKind::Truncated);
    });
}

#[test]
fn a_body_without_any_delimiter_is_truncated() {
    within(DEADLINE, || {
        for body in ["", "no multipart", "\r\n"] {
            let error = error_at(|b| b, vec![responding(response("200 OK", &[CONTENT_TYPE], body.as_bytes()))]);
            assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
            assert!(error.recovered().is_empty());
        }
    });
}

#[test]
fn a_reset_in_the_body_is_truncated() {
    within(DEADLINE, || {
        // The client may not have read all that was sent before the reset.
        let error = error_at(|b| b, after_two(reset));
        assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    });
}

#[test]
fn a_dump_that_ends_without_a_close_frame_is_a_lost_connection() {
    within(DEADLINE, || {
        assert_recovered(error_at(|b| b, after_two_of_a_dump(hang_up)), ErrorKind::ConnectionLost);
    });
}

#[test]
fn a_dump_that_the_server_closes_with_an_error_code_is_an_error() {
    within(DEADLINE, || {
        let error = error_at(
            |b| b,
            after_two_of_a_dump(|mut socket| {
                send(&mut socket, &[&frame(CLOSE, b"\x03\xf3out of memory")]);
                drain(socket);
            }),
        );
        assert!(error.to_string().contains("1011: out of memory"), "{error}");
        assert_recovered(error, ErrorKind::ClosedByServer);
    });
}

// Bodies that never end.

#[test]
fn an_endless_part_is_too_large() {
    within(DEADLINE, || {
        let error = error_at(
            |b| b.max_message_size(1 << 20),
            after_two(|mut socket| {
                send(&mut socket, &[&part(b"")]);
                send_endlessly(&mut socket, &[b'x'; 1000]);
            }),
        );
        assert_recovered(error, ErrorKind::TooLarge);
    });
}

#[test]
fn endless_parts_are_too_large() {
    within(DEADLINE, || {
        let error = error_at(
            |b| b.max_recent_size(100_000),
            after_the_head(|mut socket| {
                send_endlessly(&mut socket, &part(&message("x")));
            }),
        );
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.to_string().contains("max_recent_size"), "{error}");
        assert!((100..10_000).contains(&error.recovered().len()), "{}", error.recovered().len());
    });
}

#[test]
fn an_endless_dump_is_too_large() {
    within(DEADLINE, || {
        let error = error_at(
            |b| b.max_recent_size(100_000),
            after_two_of_a_dump(|mut socket| {
                send_endlessly(&mut socket, &frame(BINARY, &message("x")));
            }),
        );
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!((100..10_000).contains(&error.recovered().len()), "{}", error.recovered().len());
    });
}

#[test]
fn an_endless_preamble_is_a_bad_response() {
    within(DEADLINE, || {
        let error = error_at(|b| b, after_the_head(|mut socket| send_endlessly(&mut socket, &[b'x'; 1000])));
        assert_eq!(error.kind(), ErrorKind::BadResponse, "{error}");
    });
}

#[test]
fn endless_part_headers_are_an_error() {
    within(DEADLINE, || {
        let error = error_at(
            |b| b.max_message_size(1 << 20),
            after_two(|mut socket| {
                send(&mut socket, &[format!("\r\n--{BOUNDARY}\r\n").as_bytes()]);
                send_endlessly(&mut socket, b"X-Header: value\r\n");
            }),
        );
        assert!(matches!(error.kind(), ErrorKind::BadResponse | ErrorKind::TooLarge), "{error:?}");
        assert_eq!(texts(error.recovered()), ["one", "two"]);
    });
}

#[test]
fn recent_does_not_wait_for_an_epilogue() {
    within(DEADLINE, || {
        let epilogues: [fn(TcpStream); 2] = [drain, |mut socket| send_endlessly(&mut socket, &[b'x'; 1000])];
        for epilogue in epilogues {
            let server = ScriptedServer::start(after_the_head(move |mut socket| {
                send(&mut socket, &[&multipart(&["one", "two"])]);
                epilogue(socket);
            }));
            let messages = promptly(|| consumer(&server.endpoint()).recent(APP, TOKEN).unwrap());
            assert_eq!(texts(&messages), ["one", "two"]);
        }
    });
}

#[test]
fn a_server_that_falls_silent_in_the_body_is_a_timeout() {
    within(DEADLINE, || {
        // A third part begins, so that the client sees the end of the second message.
        let error = error_at(
            |b| b.read_timeout(SHORT),
            after_two(|mut socket| {
                send(&mut socket, &[&part(b"")]);
                drain(socket);
            }),
        );
        assert_recovered(error, ErrorKind::Timeout);
    });
}

#[test]
fn a_server_that_falls_silent_in_a_dump_is_a_timeout() {
    within(DEADLINE, || {
        let error = error_at(|b| b.read_timeout(SHORT), after_two_of_a_dump(drain));
        assert_recovered(error, ErrorKind::Timeout);
    });
}

#[test]
fn a_caller_that_pauses_in_a_dump_does_not_cause_a_timeout() {
    within(DEADLINE, || {
        let rest = |mut socket: TcpStream| {
            thread::sleep(SHORT / 2);
            send(&mut socket, &[&frame(BINARY, &message("three")), &close_frame()]);
            drain(socket);
        };
        let server = ScriptedServer::start(after_two_of_a_dump(rest));
        let consumer = builder(&server.endpoint()).read_timeout(SHORT).build().unwrap();
        let mut messages = consumer.recent_iter(APP, TOKEN).unwrap();
        let mut all = vec![messages.next().unwrap().unwrap(), messages.next().unwrap().unwrap()];
        thread::sleep(2 * SHORT);
        all.extend(messages.map(Result::unwrap));
        assert_eq!(texts(&all), ["one", "two", "three"]);
    });
}

/// A short limit for the whole call, but long enough for two messages to arrive on a machine under load.
fn short_in_all(builder: Builder) -> Builder {
    builder.recent_timeout(Duration::from_secs(1))
}

/// Writes the same bytes over and over, slowly.
fn drip(mut socket: TcpStream, bytes: &[u8]) {
    while socket.write_all(bytes).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_endless_part_that_drips_in_is_a_timeout() {
    within(DEADLINE, || {
        let error = error_at(
            short_in_all,
            after_two(|mut socket| {
                send(&mut socket, &[&part(b"")]);
                drip(socket, b"x");
            }),
        );
        assert_recovered(error, ErrorKind::Timeout);
    });
}

#[test]
fn endless_parts_that_drip_in_are_a_timeout() {
    within(DEADLINE, || {
        let error = error_at(short_in_all, after_the_head(|socket| drip(socket, &part(&message("x")))));
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(!error.recovered().is_empty());
    });
}

#[test]
fn endless_undecodable_parts_are_a_bad_response() {
    within(DEADLINE, || {
        let error = error_at(|builder| builder, after_two(|mut socket| send_endlessly(&mut socket, &part(b""))));
        assert_recovered(error, ErrorKind::BadResponse);
    });
}

#[test]
fn endless_parts_without_logs_are_a_bad_response() {
    within(DEADLINE, || {
        let script = after_two_of_doppler(|mut socket| send_endlessly(&mut socket, &part(&metric())));
        let server = ScriptedServer::always(script);
        let consumer = Builder::new().doppler(&server.endpoint()).proxy(Proxy::none()).build().unwrap();
        let error = promptly(|| consumer.recent(APP, TOKEN).unwrap_err());
        assert_recovered(error, ErrorKind::BadResponse);
        let last = promptly(|| consumer.recent_iter(APP, TOKEN).unwrap().last().unwrap());
        assert_eq!(last.unwrap_err().kind(), ErrorKind::BadResponse);
    });
}

/// Sends two good messages of Doppler, and then runs `then`.
fn after_two_of_doppler(then: fn(TcpStream)) -> impl Fn(TcpStream) {
    move |mut socket| {
        read_head(&mut socket);
        send(&mut socket, &[&head("200 OK", &[CONTENT_TYPE]), &part(&envelope("one")), &part(&envelope("two"))]);
        then(socket);
    }
}

/// The iterator has no limit for the whole call, but pings do not count as messages.
#[test]
fn a_dump_that_only_pings_is_a_timeout_for_the_iterator_too() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(after_two_of_a_dump(|socket| drip(socket, &frame(PING, b""))));
        let consumer = builder(&server.endpoint()).read_timeout(Duration::from_millis(300)).build().unwrap();
        let last = promptly(|| consumer.recent_iter(APP, TOKEN).unwrap().last().unwrap());
        assert_eq!(last.unwrap_err().kind(), ErrorKind::Timeout);
    });
}

#[test]
fn a_dump_that_only_pings_is_a_timeout() {
    within(DEADLINE, || {
        let error = error_at(short_in_all, after_two_of_a_dump(|socket| drip(socket, &frame(PING, b""))));
        assert_recovered(error, ErrorKind::Timeout);
    });
}

#[test]
fn a_dump_that_floods_with_pings_is_a_timeout() {
    within(DEADLINE, || {
        let error = error_at(
            short_in_all,
            after_two_of_a_dump(|mut socket| {
                send_endlessly(&mut socket, &frame(PING, b"").repeat(1000));
            }),
        );
        assert_recovered(error, ErrorKind::Timeout);
    });
}

#[test]
fn recent_timeout_includes_the_wait_for_the_head() {
    within(DEADLINE, || {
        let server = ScriptedServer::silent();
        let consumer = builder(&server.endpoint()).recent_timeout(SHORT).build().unwrap();
        let error = promptly(|| consumer.recent(APP, TOKEN).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    });
}

// Responses of an unexpected form.

#[test]
fn a_content_type_without_a_usable_boundary_is_a_bad_response() {
    within(DEADLINE, || {
        let long = format!("multipart/x-protobuf; boundary={}", "x".repeat(71));
        for content_type in [
            "",
            "multipart/x-protobuf",
            "multipart/x-protobuf; boundary=",
            "multipart/x-protobuf; boundary=\"\"",
            "multipart/x-protobuf; boundary=\" \"",
            "text/html; boundary=0123456789abcdef",
            &long,
        ] {
            let headers = [&*format!("Content-Type: {content_type}")];
            let error = error_at(|b| b, vec![responding(response("200 OK", &headers, &multipart(&["one"])))]);
            assert_eq!(error.kind(), ErrorKind::BadResponse, "{content_type}: {error}");
        }
    });
}

#[test]
fn an_invalid_content_length_is_a_bad_response() {
    within(DEADLINE, || {
        for length in ["", "x", "-1", "+1", "1, 2", "100000000000000000000"] {
            let head = head("200 OK", &[CONTENT_TYPE, &format!("Content-Length: {length}")]);
            let error = error_at(|b| b, vec![responding([head, multipart(&["one"])].concat())]);
            assert_eq!(error.kind(), ErrorKind::BadResponse, "{length}: {error}");
        }
    });
}

#[test]
fn a_body_in_unusual_chunks_after_interim_responses_is_accepted() {
    within(DEADLINE, || {
        let body = multipart(&["one", "two"]);
        let mut response = [head("103 Early Hints", &["Link: </x>"]), head("100 Continue", &[])].concat();
        response.extend(head("200 OK", &[CONTENT_TYPE, "content-length: 3", "transfer-encoding: Chunked"]));
        for (n, piece) in body.chunks(11).enumerate() {
            let extension = ["", ";x", " ; x=\"y\""][n % 3];
            response.extend(format!("{}{:X}{extension}\r\n", "0".repeat(n % 9), piece.len()).bytes());
            response.extend(piece);
            response.extend(b"\r\n");
        }
        response.extend(b"0\r\nX-Trailer: y\r\n\r\n");
        let server = ScriptedServer::responding(response);
        assert_eq!(texts(&consumer(&server.endpoint()).recent(APP, TOKEN).unwrap()), ["one", "two"]);
    });
}

#[test]
fn undecodable_parts_are_skipped() {
    within(DEADLINE, || {
        let body = [part(b"\xff\xff"), part(&message("one")), part(b""), multipart(&["two"])].concat();
        let server = ScriptedServer::responding(response("200 OK", &[CONTENT_TYPE], &body));
        assert_eq!(texts(&consumer(&server.endpoint()).recent(APP, TOKEN).unwrap()), ["one", "two"]);
    });
}

#[test]
fn undecodable_frames_of_a_dump_are_skipped() {
    within(DEADLINE, || {
        let frames = [frame(BINARY, b"\xff\xff"), frame(BINARY, &message("one")), close_frame()].concat();
        let dump = streaming(frames);
        let server = ScriptedServer::start(vec![responding(response("400 Bad Request", &[], b"")), dump]);
        assert_eq!(texts(&consumer(&server.endpoint()).recent(APP, TOKEN).unwrap()), ["one"]);
    });
}
