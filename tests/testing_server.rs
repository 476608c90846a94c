//! The testing server, tested with bare sockets.

mod bare;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use loggregator_consumer::testing::{
    BodyFraming, Fault, Frame, Generation, Received, RequestKind, Server, SlowReader, Target, TrafficController,
    WebsocketEnding,
};
use loggregator_consumer::{LogMessage, MessageType};

use bare::*;

/// The message's protobuf: 0a 02 "hi", 10 01, 18 02 (1 in zigzag), 22 03 "app".
const HI: &[u8] = b"\x0a\x02hi\x10\x01\x18\x02\x22\x03app";

fn hi() -> LogMessage {
    LogMessage::new("app", "hi").timestamp(1)
}

/// Opens a tail of `app`, and reads its first ping.
fn tail(server: &TrafficController) -> TcpStream {
    let mut client = open_websocket(server, "/tail/?app=app");
    assert_eq!(frame(&mut client), (PING.0, PING.1.to_vec()));
    client
}

fn ending(server: &TrafficController) -> Option<WebsocketEnding> {
    let is_over = |received: &[Received]| received.first().is_some_and(|one| one.ended.is_some());
    server.wait_for_received(DEADLINE, is_over);
    server.received()[0].ended
}

mod recent {
    use super::*;

    #[test]
    fn is_multipart_with_the_messages_in_their_order() {
        let server = TrafficController::start().unwrap();
        server.add_recent("app", [hi()]);
        server.send_raw("app", "no protobuf");
        server.send(hi());
        for target in ["/recent?app=app", "/dump/?x=y&app=%61pp"] {
            let (head, body) = get(&server, target, &[]);
            let boundary = boundary(&head);
            assert!(boundary.len() == 60 && boundary.bytes().all(|byte| byte.is_ascii_hexdigit()), "{boundary}");
            assert_eq!(body, multipart(boundary, &[HI, b"no protobuf", HI]));
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
            assert!(head.ends_with("\r\nConnection: close\r\n\r\n"), "{head}");
        }
        let (first, second) = (get(&server, "/recent?app=app", &[]), get(&server, "/recent?app=app", &[]));
        assert_ne!(boundary(&first.0), boundary(&second.0));
    }

    #[test]
    fn of_an_unknown_app_is_empty() {
        let server = TrafficController::start().unwrap();
        server.add_recent("app", [hi()]);
        let (head, body) = get(&server, "/recent?app=other", &[]);
        assert_eq!(body, multipart(boundary(&head), &[]));
    }

    #[test]
    fn holds_every_field_of_a_message() {
        let server = TrafficController::start().unwrap();
        let mut message = hi().message_type(MessageType::Err).source("App", "7");
        message.drain_urls = vec!["d".into()];
        server.add_recent("app", [message]);
        let (head, body) = get(&server, "/recent?app=app", &[]);
        let fields = b"\x0a\x02hi\x10\x02\x18\x02\x22\x03app\x32\x017\x3a\x01d\x42\x03App";
        assert_eq!(body, multipart(boundary(&head), &[fields]));
    }

    #[test]
    fn keeps_the_latest_messages_of_each_app() {
        let server = TrafficController::builder().retain(2).start().unwrap();
        for n in 0..4 {
            server.send_raw("app", [b'0' + n]);
            server.send_raw("other", "x");
        }
        let (head, body) = get(&server, "/recent?app=app", &[]);
        assert_eq!(body, multipart(boundary(&head), &[b"2", b"3"]));
    }

    #[test]
    fn can_be_chunked() {
        let server = TrafficController::builder().body_framing(BodyFraming::Chunked).start().unwrap();
        let long = vec![b'y'; 3000];
        server.send_raw("app", long.clone());
        let (head, body) = get(&server, "/recent?app=app", &[]);
        assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n") && !head.contains("Content-Length"), "{head}");
        let whole = multipart(boundary(&head), &[&long]);
        let mut chunked = b"800\r\n".to_vec();
        chunked.extend_from_slice(&whole[..0x800]);
        chunked.extend_from_slice(format!("\r\n{:x}\r\n", whole.len() - 0x800).as_bytes());
        chunked.extend_from_slice(&whole[0x800..]);
        chunked.extend_from_slice(b"\r\n0\r\n\r\n");
        assert_eq!(body, chunked);
    }

    #[test]
    fn can_end_with_the_connection() {
        let server = TrafficController::builder().body_framing(BodyFraming::UntilClose).start().unwrap();
        server.add_recent("app", [hi()]);
        let (head, body) = get(&server, "/recent?app=app", &[]);
        assert!(!head.contains("Transfer-Encoding") && !head.contains("Content-Length"), "{head}");
        assert_eq!(body, multipart(boundary(&head), &[HI]));
    }

    #[test]
    fn of_may_2014_has_its_boundary_in_quotes() {
        let server = TrafficController::builder().generation(Generation::May2014).start().unwrap();
        server.add_recent("app", [hi()]);
        let (head, body) = get(&server, "/recent?app=app", &[]);
        assert_eq!(boundary(&head), "\"loggregator-message\"");
        assert_eq!(body, multipart("loggregator-message", &[HI]));
    }
}

mod error_responses {
    use super::*;

    const TEXT: &str = "Content-Type: text/plain; charset=utf-8";
    const BASIC: &str = "Www-Authenticate: Basic";

    fn of(generation: Generation) -> TrafficController {
        TrafficController::builder().generation(generation).token("bearer good").tokens(["b", "c"]).start().unwrap()
    }

    #[test]
    fn unknown_paths_and_missing_apps_are_404() {
        for (generation, says_path) in [(Generation::Y2015, true), (Generation::Y2016, false)] {
            let server = of(generation);
            for target in ["/recent", "/recent?app=", "/recent/?app=a", "/tail?app=a", "/nowhere?app=a", "/?app=a"] {
                let (status, headers, body) = get_text(&server, target, &[]);
                assert_eq!(status, "HTTP/1.1 404 Not Found");
                let path = target.split('?').next().unwrap();
                let text =
                    if says_path { format!("Resource Not Found. {path}") } else { "Resource Not Found.".to_owned() };
                assert_eq!(body, text);
                assert_eq!(headers, [TEXT, &format!("Content-Length: {}", text.len()), "Connection: close"]);
            }
        }
    }

    #[test]
    fn tokens_that_are_not_accepted_are_401() {
        let server = of(Generation::Y2015);
        for (header, text) in [
            ("X: y", "Authorization not provided"),
            ("Authorization: bearer bad", "Invalid authorization"),
            ("Authorization: Bearer good", "Invalid authorization"),
        ] {
            for target in ["/recent?app=a", "/dump/?app=a", "/tail/?app=a"] {
                let headers = [&HANDSHAKE[..], &[header]].concat();
                let (status, headers, body) = get_text(&server, target, &headers);
                assert_eq!(status, "HTTP/1.1 401 Unauthorized");
                assert_eq!(body, format!("You are not authorized. Error: {text}"));
                assert_eq!(headers, [TEXT, BASIC, &format!("Content-Length: {}", body.len()), "Connection: close"]);
            }
        }
        for token in ["bearer good", "b", "c"] {
            let (head, _) = get(&server, "/recent?app=a", &[&format!("authorization: {token}")]);
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        }
    }

    #[test]
    fn of_2016_say_only_unauthorized() {
        let (status, headers, body) = get_text(&of(Generation::Y2016), "/recent?app=a", &["Authorization: bad"]);
        assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 401 Unauthorized", "Unauthorized"));
        assert_eq!(headers, [TEXT, "Content-Length: 12", "Connection: close"]);
    }

    #[test]
    fn of_2014_hold_a_message_in_text_form() {
        let server = of(Generation::April2014);
        for (target, header, text, app) in [
            ("/recent", "Authorization: b", "Invalid target", ""),
            ("/recent?app=a", "X: y", "Authorization not provided", "a"),
            ("/tail/?app=a", "Authorization: x", "Invalid authorization", "a"),
        ] {
            let (status, headers, body) = get_text(&server, target, &[header]);
            assert_eq!(status, "HTTP/1.1 401 Unauthorized");
            assert!(headers.contains(&BASIC.to_owned()));
            let start = format!("You are not authorized. message:\"Error: {text}\" message_type:ERR timestamp:");
            let end = format!(" app_id:\"{app}\" source_name:\"LGR\" ");
            let time = body.strip_prefix(&start).and_then(|body| body.strip_suffix(&end));
            assert!(time.is_some_and(|time| time.parse::<i64>().is_ok()), "{body}");
        }
    }

    #[test]
    fn requests_that_are_not_handshakes_are_400() {
        for (generation, target, text) in [
            (Generation::Y2015, "/tail/?app=a", "Bad Request\n"),
            (Generation::April2014, "/recent?app=a", "Not a websocket handshake\n"),
            (Generation::May2014, "/dump/?app=a", "Not a websocket handshake\n"),
        ] {
            let server = of(generation);
            let without_one = (0..4).map(|n| {
                let mut headers = HANDSHAKE.to_vec();
                headers[n] = "X: y";
                headers
            });
            let mut of_version_8 = HANDSHAKE;
            of_version_8[2] = "Sec-WebSocket-Version: 8";
            for mut headers in without_one.chain([of_version_8.to_vec()]) {
                headers.push("Authorization: b");
                let (status, headers, body) = get_text(&server, target, &headers);
                assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 400 Bad Request", text));
                assert_eq!(headers[1], "X-Content-Type-Options: nosniff");
            }
        }
    }

    #[test]
    fn requests_that_are_not_http_are_400() {
        let server = of(Generation::Y2015);
        let mut client = connect(&server);
        client.write_all(b"\0\r\n\r\n").unwrap();
        assert!(head(&mut client).starts_with("HTTP/1.1 400 Bad Request\r\n"));
        let endless = vec![b'a'; 64 * 1024];
        let mut client = connect(&server);
        client.write_all(&endless).unwrap();
        assert!(head(&mut client).starts_with("HTTP/1.1 400 Bad Request\r\n"));
        assert_eq!(server.requests(), []);
    }

    #[test]
    fn head_requests_are_answered_without_a_token() {
        let server = of(Generation::Y2015);
        let mut client = connect(&server);
        request(&mut client, "HEAD /recent?app=a", &[]);
        let head = head(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nDate: ") && !head.contains("Content-"), "{head}");
        assert_eq!(rest(&mut client), b"");
    }
}

mod websockets {
    use super::*;

    #[test]
    fn are_pinged_and_get_what_is_sent() {
        let server = TrafficController::start().unwrap();
        assert_eq!(server.send(hi()), 0);
        let mut clients = [tail(&server), tail(&server)];
        assert_eq!(server.open_tails("app"), 2);
        assert_eq!(server.send(hi()), 2);
        assert_eq!(server.send_raw("app", ""), 2);
        assert_eq!(server.send_raw("other", "x"), 0);
        let long = vec![b'z'; 70_000];
        assert_eq!(server.send_raw("app", &long[..200]), 2);
        assert_eq!(server.send_raw("app", &long[..]), 2);
        assert_eq!(server.send_bytes("app", b"\x01\x01a\x80\x01b"), 2);
        for client in &mut clients {
            assert_eq!(frame(client), (0x82, HI.to_vec()));
            assert_eq!(frame(client), (0x82, vec![]));
            assert_eq!(frame(client), (0x82, long[..200].to_vec()));
            assert_eq!(frame(client), (0x82, long.clone()));
            assert_eq!(frame(client), (0x01, b"a".to_vec()));
            assert_eq!(frame(client), (0x80, b"b".to_vec()));
        }
    }

    #[test]
    fn miss_nothing_that_is_sent_once_they_are_open() {
        let server = TrafficController::builder().ping(NEVER, NEVER).start().unwrap();
        for _ in 0..50 {
            let mut client = open_websocket(&server, "/tail/?app=app");
            assert_eq!(server.send(hi()), 1);
            let frames = [frame(&mut client), frame(&mut client)];
            assert!(frames.contains(&(0x82, HI.to_vec())), "{frames:?}");
            assert_eq!(server.close_tails("app", None, ""), 1);
        }
    }

    #[test]
    fn of_2014_are_not_pinged() {
        for generation in [Generation::April2014, Generation::May2014] {
            let tiny = Duration::from_nanos(1);
            let server = TrafficController::builder().generation(generation).ping(tiny, tiny).start().unwrap();
            let mut client = open_websocket(&server, "/tail/?app=app");
            assert_quiet(&client);
            server.send(hi());
            assert_eq!(frame(&mut client), (0x82, HI.to_vec()));
        }
    }

    #[test]
    fn of_2014_dump_what_is_kept_and_end_with_an_empty_close_frame() {
        let server = TrafficController::builder().generation(Generation::April2014).start().unwrap();
        server.add_recent("app", [hi()]);
        server.send_raw("app", "x");
        let mut client = open_websocket(&server, "/dump/?app=app");
        assert_eq!(frame(&mut client), (0x82, HI.to_vec()));
        assert_eq!(rest(&mut client), b"\x82\x01x\x88\x00");
        let mut client = open_websocket(&server, "/dump/?app=other");
        assert_eq!(rest(&mut client), b"\x88\x00");
        assert_eq!(server.open_tails("app"), 0);
    }

    #[test]
    fn are_closed_dropped_and_reset_after_what_was_sent() {
        let server = TrafficController::builder().ping(NEVER, NEVER).start().unwrap();
        for (code, reason, payload) in [
            (None, "unheard", vec![]),
            (Some(1000), "", close_payload(1000, "")),
            (Some(4001), "why", close_payload(4001, "why")),
        ] {
            let mut client = tail(&server);
            server.send(hi());
            assert_eq!(server.close_tails("app", code, reason), 1);
            assert_eq!((server.open_tails("app"), server.send(hi())), (0, 0));
            assert_eq!(frame(&mut client), (0x82, HI.to_vec()));
            assert_eq!(frame(&mut client), (0x88, payload));
            assert_eq!(rest(&mut client), b"");
        }
        let mut client = tail(&server);
        server.send(hi());
        assert_eq!(server.drop_tails("app"), 1);
        assert_eq!(frame(&mut client), (0x82, HI.to_vec()));
        assert_eq!(rest(&mut client), b"");

        let mut client = tail(&server);
        server.send(hi());
        assert_eq!(frame(&mut client), (0x82, HI.to_vec()));
        assert_eq!(server.reset_tails("app"), 1);
        assert_reset(client.read(&mut [0]));
        assert_eq!(server.reset_tails("app"), 0);

        assert!(server.wait_until_idle(DEADLINE));
        assert!(server.received().iter().all(|received| received.ended == Some(WebsocketEnding::ClosedByServer)));
    }

    #[test]
    fn are_dropped_with_an_end_and_not_with_a_reset() {
        let server = TrafficController::builder().ping(NEVER, NEVER).start().unwrap();
        let keep_alive = masked(0x81, b"I'm alive!");
        for _ in 0..300 {
            let mut client = open_websocket(&server, "/tail/?app=app");
            server.send(hi());
            thread::scope(|scope| {
                // The server may or may not have read these when it drops the tail.
                let mut sender = client.try_clone().unwrap();
                let keep_alive = &keep_alive;
                scope.spawn(move || (0..3).for_each(|_| _ = sender.write_all(keep_alive)));
                assert_eq!(server.drop_tails("app"), 1);
            });
            let received = rest(&mut client);
            let frames = [&[0x82, HI.len() as u8][..], HI].concat();
            assert!(received.windows(frames.len()).any(|window| window == frames), "{received:?}");
            // Nor does it reset afterwards.
            client.write_all(&keep_alive).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
    }

    #[test]
    fn answer_the_clients_close_with_an_empty_one_and_wait_for_its_end() {
        let server = TrafficController::start().unwrap();
        let mut client = tail(&server);
        client.write_all(&masked(0x88, &close_payload(1001, "bye"))).unwrap();
        assert_eq!(rest(&mut client), b"\x88\x00");
        assert_eq!(server.open_tails("app"), 0);
        assert_eq!(ending(&server), Some(WebsocketEnding::ClosedByClient));
        assert_eq!(server.received()[0].frames[0].frame, Frame::Close(Some((1001, "bye".into()))));
        // The client's socket is still open, and counted.
        assert!(!server.wait_until_idle(QUIET));
        assert_eq!(server.connections(), 1);
        drop(client);
        assert!(server.wait_until_idle(DEADLINE));
    }

    #[test]
    fn of_a_client_that_leaves_without_a_close_frame_are_closed() {
        for (generation, close) in [(Generation::Y2015, &b"\x88\x02\x03\xe8"[..]), (Generation::April2014, b"\x88\x00")]
        {
            let server = TrafficController::builder().generation(generation).start().unwrap();
            let mut client = open_websocket(&server, "/tail/?app=app");
            client.shutdown(Shutdown::Write).unwrap();
            assert!(rest(&mut client).ends_with(close));
            assert_eq!(ending(&server), Some(WebsocketEnding::Eof));
            assert!(server.wait_for_tails("app", 0, DEADLINE));
        }
    }

    #[test]
    fn distinguish_a_clients_reset_from_its_eof() {
        let server = TrafficController::start().unwrap();
        let client = tail(&server);
        // If the client has unread bytes, its close is a reset.
        server.send(hi());
        client.peek(&mut [0]).unwrap();
        drop(client);
        assert_eq!(ending(&server), Some(WebsocketEnding::Reset));
        assert!(server.wait_until_idle(DEADLINE));
    }

    #[test]
    fn are_closed_when_the_client_breaks_the_protocol() {
        let server = TrafficController::start().unwrap();
        let mut client = tail(&server);
        client.write_all(&masked(0x89, &[0; 125])).unwrap();
        assert_eq!(frame(&mut client), (0x8a, vec![0; 125]));

        let fragment = masked(0x01, b"a");
        let close_999 = masked(0x88, &close_payload(999, ""));
        for (frames, of_2015, of_2018, of_today) in [
            (b"\x81\x01a".to_vec(), "incorrect mask flag", "incorrect mask flag", "bad MASK"),
            (masked(0xc1, b"a"), "unexpected reserved bits 4", "unexpected reserved bits 0x40", "RSV1 set"),
            (
                masked(0xb3, b"a"),
                "unexpected reserved bits 3",
                "unexpected reserved bits 0x30",
                "RSV2 set, RSV3 set, bad opcode 3",
            ),
            (masked(0x83, b"a"), "unknown opcode 3", "unknown opcode 3", "bad opcode 3"),
            (masked(0x09, b"a"), "control frame not final", "control frame not final", "FIN not set on control"),
            (
                b"\x89\xfe\0\x7e".to_vec(),
                "control frame length > 125",
                "control frame length > 125",
                "len > 125 for control",
            ),
            (
                masked(0x80, b"a"),
                "continuation after final message frame",
                "continuation after final message frame",
                "continuation after FIN",
            ),
            (
                [&fragment[..], &fragment].concat(),
                "message start before final message frame",
                "message start before final message frame",
                "data before FIN",
            ),
            (close_999, "", "invalid close code", "bad close code 999"),
        ] {
            const APP: &str = "11111111-aaaa-bbbb-cccc-000000000001";
            for (generation, reason) in
                [(Generation::Y2015, of_2015), (Generation::Y2018, of_2018), (Generation::Today, of_today)]
            {
                let server = TrafficController::builder().generation(generation).ping(NEVER, NEVER).start().unwrap();
                let mut client =
                    open_websocket_with(&server, &format!("/apps/{APP}/stream"), &["Authorization: bearer any"]);
                assert_eq!(frame(&mut client), (PING.0, PING.1.to_vec()));
                client.write_all(&frames).unwrap();
                // The servers of 2015 accept any code.
                let is_accepted = reason.is_empty();
                let payload = if is_accepted { Vec::new() } else { close_payload(1002, reason) };
                assert_eq!(frame(&mut client), (0x88, payload), "{generation:?} {frames:?}");
                let expected =
                    if is_accepted { WebsocketEnding::ClosedByClient } else { WebsocketEnding::ProtocolError };
                assert_eq!(ending(&server), Some(expected));
            }
        }
    }

    #[test]
    fn record_what_the_client_sends() {
        let server = TrafficController::builder().ping(NEVER, NEVER).start().unwrap();
        let before = Instant::now();
        let mut client = tail(&server);
        let frames = [
            masked(0x81, b"I'm alive!"),
            masked(0x82, b"\x00\xff"),
            masked(0x01, b"a"),
            masked(0x80, b"b"),
            masked(0x8a, b"unsolicited"),
            masked(0x89, b"?"),
        ]
        .concat();
        // Byte by byte, so that no frame arrives whole.
        for byte in &frames {
            client.write_all(std::slice::from_ref(byte)).unwrap();
        }
        assert_eq!(frame(&mut client), (0x8a, b"?".to_vec()));
        let received = server.received();
        assert_eq!((received.len(), received[0].ended), (1, None));
        assert_eq!(received[0].request.target, "/tail/?app=app");
        let frames: Vec<_> = received[0].frames.iter().map(|received| received.frame.clone()).collect();
        assert_eq!(
            frames,
            [
                Frame::Text("I'm alive!".into()),
                Frame::Binary(vec![0, 255]),
                Frame::Fragment(b"a".to_vec()),
                Frame::Fragment(b"b".to_vec()),
                Frame::Pong(b"unsolicited".to_vec()),
                Frame::Ping(b"?".to_vec()),
            ]
        );
        assert!(received[0].frames.iter().map(|received| received.at).is_sorted());
        assert!(received[0].frames[0].at >= before);
    }

    #[test]
    fn are_dropped_when_the_client_does_not_wait_for_the_handshake() {
        let server = TrafficController::start().unwrap();
        let mut client = connect(&server);
        let mut head_and_text = Vec::new();
        request(&mut head_and_text, "GET /tail/?app=app", &HANDSHAKE);
        head_and_text.extend_from_slice(&masked(0x81, b"I'm alive!"));
        client.write_all(&head_and_text).unwrap();
        assert_eq!(rest(&mut client), b"");
        assert!(server.received().is_empty());
    }
}

mod pings {
    use super::*;

    const SHORT: Duration = Duration::from_millis(40);
    /// Long enough for a client to send something in between.
    const LONGER: Duration = Duration::from_millis(300);

    #[test]
    fn come_again_after_each_pong() {
        let server = TrafficController::builder().ping(SHORT, NEVER).start().unwrap();
        let mut client = tail(&server);
        for _ in 0..3 {
            // Without a pong there is no further ping.
            assert_quiet(&client);
            let answered = Instant::now();
            client.write_all(&masked(0x8a, b"")).unwrap();
            assert_eq!(frame(&mut client), (PING.0, PING.1.to_vec()));
            assert!(answered.elapsed() >= SHORT);
        }
    }

    #[test]
    fn that_are_not_answered_end_the_websocket() {
        for (generation, code, reason) in [
            (Generation::Y2015, 1000, ""),
            (Generation::Y2016, 1008, "Client did not respond to ping before keep-alive timeout expired."),
        ] {
            let server = TrafficController::builder().generation(generation).ping(NEVER, LONGER).start().unwrap();
            let begun = Instant::now();
            let mut client = tail(&server);
            // Keep-alive texts do not count as pongs.
            client.write_all(&masked(0x81, b"I'm alive!")).unwrap();
            assert_eq!(frame(&mut client), (0x88, close_payload(code, reason)));
            assert!(begun.elapsed() >= LONGER);
            assert_eq!(rest(&mut client), b"");
            assert_eq!(ending(&server), Some(WebsocketEnding::ClosedByServer));
            assert_eq!(server.open_tails("app"), 0);
        }
    }

    #[test]
    fn are_answered_by_an_unsolicited_pong_too() {
        let server = TrafficController::builder().ping(SHORT, NEVER).start().unwrap();
        let mut client = tail(&server);
        // The second pong comes before the second ping and counts for it, so a third ping follows by itself.
        client.write_all(&[masked(0x8a, b"x"), masked(0x8a, b"y")].concat()).unwrap();
        assert_eq!(frame(&mut client), (PING.0, PING.1.to_vec()));
        assert_eq!(frame(&mut client), (PING.0, PING.1.to_vec()));
        assert_quiet(&client);
    }
}

mod faults {
    use super::*;

    /// A server with a fixed boundary, and its complete response without a fault.
    fn server() -> (TrafficController, Vec<u8>) {
        let server = TrafficController::builder().generation(Generation::May2014).start().unwrap();
        server.add_recent("app", [hi(), hi(), hi()]);
        let (head, body) = get(&server, "/recent?app=app", &[]);
        (server, [head.into_bytes(), body].concat())
    }

    fn ask(server: &TrafficController) -> TcpStream {
        let mut client = connect(server);
        request(&mut client, "GET /recent?app=app", &[]);
        client
    }

    /// Asserts the first bytes of a response, whose date may differ.
    fn assert_begins(bytes: &[u8], whole: &[u8], length: usize) {
        let until_date = whole.windows(6).position(|window| window == b"Date: ").unwrap().min(length);
        assert_eq!(bytes.len(), length);
        assert_eq!(bytes[..until_date], whole[..until_date]);
    }

    #[test]
    fn drop_ends_an_answer_at_every_byte() {
        let (server, whole) = server();
        for length in (0..=whole.len()).step_by(7).chain([whole.len()]) {
            server.fault(Fault::DropAfter(length as u64));
            assert_begins(&rest(&mut ask(&server)), &whole, length);
        }
        // A fault after the end has no effect, and neither does it affect another connection.
        server.fault(Fault::DropAfter(NEVER.as_secs()));
        assert_eq!(rest(&mut ask(&server)).len(), whole.len());
        assert_eq!(rest(&mut ask(&server)).len(), whole.len());
        assert!(server.wait_until_idle(DEADLINE));
    }

    #[test]
    fn drop_ends_a_websocket_at_every_byte() {
        let server = TrafficController::builder().generation(Generation::April2014).start().unwrap();
        let whole = [SWITCHING.as_bytes(), b"\x82\x04abcd\x82\x04efgh"].concat();
        for length in SWITCHING.len()..=whole.len() {
            server.fault(Fault::DropAfter(length as u64));
            let mut client = connect(&server);
            request(&mut client, "GET /tail/?app=app", &HANDSHAKE);
            assert!(server.wait_for_received(DEADLINE, |received| received.len() > length - SWITCHING.len()));
            server.send_raw("app", "abcd");
            server.send_raw("app", "efgh");
            assert_eq!(rest(&mut client), whole[..length]);
        }
        assert!(server.wait_until_idle(DEADLINE));
        assert!(server.received().iter().all(|received| received.ended == Some(WebsocketEnding::ClosedByServer)));
    }

    #[test]
    fn reset_is_not_a_clean_end() {
        let (server, _) = server();
        for length in [0, 20, 250] {
            server.fault(Fault::ResetAfter(length));
            let (mut client, mut bytes) = (connect(&server), Vec::new());
            // At the first byte the reset can come before the request has been written.
            let asked = client.write_all(b"GET /recent?app=app HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_reset(asked.and_then(|()| client.read_to_end(&mut bytes)));
            assert!(bytes.len() as u64 <= length);
        }
        assert!(server.wait_until_idle(DEADLINE));
    }

    #[test]
    fn stall_sends_no_more_and_stays_open_until_the_client_leaves() {
        let (server, whole) = server();
        for length in [0, 20, 250] {
            server.fault(Fault::StallAfter(length as u64));
            let mut client = ask(&server);
            let mut bytes = vec![0; length];
            client.read_exact(&mut bytes).unwrap();
            assert_begins(&bytes, &whole, length);
            assert_quiet(&client);
            client.write_all(b"still there?").unwrap();
            assert_quiet(&client);
            assert_eq!(server.connections(), 1);
            drop(client);
            assert!(server.wait_until_idle(DEADLINE));
        }
    }

    #[test]
    fn stalled_websockets_still_read_from_their_client() {
        let server = TrafficController::start().unwrap();
        server.fault(Fault::StallAfter(SWITCHING.len() as u64));
        let mut client = open_websocket(&server, "/tail/?app=app");
        server.send(hi());
        client.write_all(&masked(0x81, b"I'm alive!")).unwrap();
        assert!(server.wait_for_received(DEADLINE, |received| received[0].frames.len() == 1));
        assert_quiet(&client);
        drop(client);
        assert_eq!(ending(&server), Some(WebsocketEnding::Eof));
        assert!(server.wait_until_idle(DEADLINE));
    }

    #[test]
    fn drip_pauses_between_the_bytes() {
        let (server, whole) = server();
        let every = Duration::from_millis(10);
        server.fault(Fault::Drip { every });
        let begun = Instant::now();
        let mut bytes = [0; 10];
        ask(&server).read_exact(&mut bytes).unwrap();
        assert!(begun.elapsed() >= every * 9, "{:?}", begun.elapsed());
        assert_eq!(bytes, whole[..10]);
        server.fault([Fault::Drip { every: Duration::ZERO }, Fault::DropAfter(200)]);
        assert_begins(&rest(&mut ask(&server)), &whole, 200);
    }

    #[test]
    fn truncate_sends_less_than_the_head_announces() {
        for framing in [BodyFraming::ContentLength, BodyFraming::Chunked, BodyFraming::UntilClose] {
            let server = TrafficController::builder().body_framing(framing).start().unwrap();
            server.add_recent("app", [hi(), hi(), hi()]);
            let (_, whole) = get(&server, "/recent?app=app", &[]);
            server.fault(Fault::Truncate);
            let (head, body) = get(&server, "/recent?app=app", &[]);
            assert_eq!(body.len(), whole.len() / 2);
            let promised = head.contains(&format!("\r\nContent-Length: {}\r\n", whole.len()));
            assert_eq!(promised, framing == BodyFraming::ContentLength);
        }
        let server = TrafficController::builder().generation(Generation::April2014).start().unwrap();
        server.send_raw("app", "abcd");
        server.send_raw("app", "efgh");
        server.fault(Fault::Truncate);
        let mut client = open_websocket(&server, "/dump/?app=app");
        assert_eq!(rest(&mut client), b"\x82\x04abcd\x82");
    }

    #[test]
    fn refuse_status_applies_to_every_request() {
        let server = TrafficController::start().unwrap();
        server.always(Fault::RefuseStatus { status: 418, body: b"no\xff".to_vec() });
        for target in ["/recent?app=app", "/tail/?app=app", "/"] {
            let (head, body) = get(&server, target, &HANDSHAKE);
            assert!(head.starts_with("HTTP/1.1 418 I'm a teapot\r\nContent-Type: text/plain"), "{head}");
            assert_eq!(body, b"no\xff");
        }
        // A fault for one connection takes precedence over those for all, which then apply again.
        server.fault([]);
        assert!(get(&server, "/recent?app=app", &[]).0.starts_with("HTTP/1.1 200 "));
        assert!(get(&server, "/recent?app=app", &[]).0.starts_with("HTTP/1.1 418 "));
        server.always([]);
        assert!(get(&server, "/recent?app=app", &[]).0.starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn can_be_aimed_at_a_kind_of_request_a_server_or_an_app() {
        let server = TrafficController::start().unwrap();
        let refuse = |status| Fault::RefuseStatus { status, body: Vec::new() };
        let status = |target: &str| -> u16 {
            let (head, _) = get(&server, target, &[]);
            head.split(' ').nth(1).unwrap().parse().unwrap()
        };
        server.fault_at(Target::tails(), refuse(501));
        server.fault_at(RequestKind::Recent, refuse(502));
        server.fault_at(Server::Api, refuse(503));
        server.fault_at(Target::from(Server::Legacy).of_app("b"), refuse(504));
        assert_eq!([status("/dump/?app=a"), status("/recent?app=a"), status("/recent?app=a")], [200, 502, 200]);
        assert_eq!([status("/v2/info"), status("/v2/info")], [503, 200]);
        assert_eq!([status("/tail/?app=a"), status("/tail/?app=a")], [501, 400]);
        assert_eq!([status("/dump/?app=b"), status("/dump/?app=b")], [504, 200]);

        // Those for all requests of a kind. A fault that is queued for a connection takes precedence.
        server.always(refuse(400));
        server.always_at(Target::app("a"), refuse(500));
        server.always_at(Target::app("a"), refuse(501));
        assert_eq!([status("/recent?app=a"), status("/dump/?app=a"), status("/recent?app=b")], [501, 501, 400]);
        server.fault([]);
        assert_eq!([status("/recent?app=a"), status("/recent?app=a")], [200, 501]);
        server.always_at(Target::app("a"), []);
        server.always([]);
        assert_eq!(status("/recent?app=a"), 200);

        // Positions count from the response, and a silent server has read the request.
        server.fault_at(RequestKind::Recent, Fault::DropAfter(9));
        server.fault_at(RequestKind::Recent, Fault::SilentAccept);
        let mut client = ask(&server);
        assert_eq!(rest(&mut client), b"HTTP/1.1 ");
        let requests = server.requests().len();
        let client = ask(&server);
        assert!(server.wait_for_requests(requests + 1, DEADLINE));
        assert_quiet(&client);
    }

    #[test]
    fn bodies_can_be_delayed() {
        let server = TrafficController::builder().token("good").start().unwrap();
        server.fault(Fault::DelayedBody(NEVER));
        let mut client = ask(&server);
        assert!(head(&mut client).contains("\r\nContent-Length: 57\r\n"));
        assert_quiet(&client);
        let delay = Duration::from_millis(50);
        server.fault(Fault::DelayedBody(delay));
        let asked = Instant::now();
        let (_, body) = get(&server, "/recent?app=app", &[]);
        assert_eq!(body, b"You are not authorized. Error: Authorization not provided");
        assert!(asked.elapsed() >= delay);
        // The server notices a client that hangs up in the meantime.
        drop(client);
    }

    #[test]
    fn silent_servers_accept_and_send_nothing() {
        for tls in [false, true] {
            let builder = TrafficController::builder();
            let server = if tls { builder.tls() } else { builder }.start().unwrap();
            server.fault(Fault::SilentAccept);
            let client = ask(&server);
            assert_quiet(&client);
            assert_eq!((server.connections(), server.requests().len()), (1, 0));
            drop(client);
            assert!(server.wait_until_idle(DEADLINE));
        }
    }

    #[test]
    fn garbage_is_sent_instead_of_a_response() {
        let server = TrafficController::start().unwrap();
        server.fault(Fault::Garbage(b"\0\xff garbage".to_vec()));
        assert_eq!(rest(&mut ask(&server)), b"\0\xff garbage");
        assert_eq!(server.requests().len(), 1);
    }

    #[test]
    fn wrong_accept_keys_are_wrong() {
        let server = TrafficController::start().unwrap();
        server.fault(Fault::WrongAcceptKey);
        let mut client = connect(&server);
        request(&mut client, "GET /tail/?app=app", &HANDSHAKE);
        let head = head(&mut client);
        assert!(head.starts_with("HTTP/1.1 101 ") && head.len() == SWITCHING.len() && head != SWITCHING, "{head}");
    }

    #[test]
    fn endless_bodies_do_not_end() {
        const MUCH: usize = 3 << 20;
        for framing in [BodyFraming::ContentLength, BodyFraming::Chunked] {
            let server = TrafficController::builder().body_framing(framing).start().unwrap();
            server.add_recent("app", [hi()]);
            server.fault(Fault::EndlessBody);
            let mut client = ask(&server);
            let head = head(&mut client);
            assert_eq!(head.contains("chunked"), framing == BodyFraming::Chunked);
            assert!(!head.contains("Content-Length"));
            let mut body = vec![0; MUCH];
            client.read_exact(&mut body).unwrap();
            assert!(body.ends_with(b"xxxxxxxxxx") || framing == BodyFraming::Chunked);
            if framing == BodyFraming::ContentLength {
                let begin = multipart(boundary(&head), &[HI, b"xxxxx"]);
                let begin = begin.strip_suffix(format!("\r\n--{}--\r\n", boundary(&head)).as_bytes()).unwrap();
                assert!(body.starts_with(begin));
            }
            drop(client);
            assert!(server.wait_until_idle(DEADLINE));
        }
    }

    #[test]
    fn endless_messages_do_not_end() {
        let server = TrafficController::start().unwrap();
        server.add_recent("app", [hi()]);
        server.fault(Fault::EndlessMessages);
        let mut client = ask(&server);
        let head = head(&mut client);
        let five = multipart(boundary(&head), &[HI; 5]);
        let five = five.strip_suffix(b"--\r\n").unwrap();
        let mut body = vec![0; five.len()];
        client.read_exact(&mut body).unwrap();
        assert_eq!(body, five);
        drop(client);

        server.fault(Fault::EndlessMessages);
        let mut client = open_websocket(&server, "/tail/?app=app");
        let frames: Vec<_> = (0..100_000).map(|_| frame(&mut client)).collect();
        let pings = frames.iter().filter(|frame| frame.0 == PING.0).count();
        assert_eq!(pings, 1);
        assert_eq!(frames.iter().filter(|frame| **frame == (0x82, HI.to_vec())).count(), frames.len() - pings);
        // The server still accepts connections.
        client.write_all(&masked(0x88, b"")).unwrap();
        assert!(rest(&mut client).ends_with(b"\x88\x00"));
        drop(client);
        assert!(server.wait_until_idle(DEADLINE));

        server.fault(Fault::EndlessBody);
        let mut client = open_websocket(&server, "/tail/?app=other");
        let mut begin = [0; 12];
        client.read_exact(&mut begin).unwrap();
        assert_eq!(begin, *b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffxx");
    }
}

mod records {
    use super::*;

    #[test]
    fn hold_every_request_in_order() {
        let server = TrafficController::start().unwrap();
        for (target, kind) in [
            ("/recent?app=a", RequestKind::Recent),
            ("/tail/?app=%C3%A9+b", RequestKind::Tail),
            ("/dump/", RequestKind::Dump),
            ("/tail", RequestKind::Other),
        ] {
            get(&server, target, &["authorization: bearer secret", "X-Y: a", "X-Y: b"]);
            let request = server.requests().pop().unwrap();
            assert_eq!((request.method.as_str(), request.target.as_str(), request.kind), ("GET", target, kind));
            assert_eq!(request.header("Authorization"), Some("bearer secret"));
            assert_eq!(request.header("x-y"), Some("a"));
            assert_eq!(request.headers[0], ("Host".to_owned(), "x".to_owned()));
            assert_eq!((request.version, request.headers.len()), (1, 5));
            assert!(!format!("{request:?}").contains("secret"));
        }
        let apps: Vec<_> = server.requests().iter().map(|request| request.app()).collect();
        assert_eq!(apps, ["a", "\u{e9} b", "", ""]);
        assert!(server.wait_for_requests(4, Duration::ZERO));
        assert!(!server.wait_for_requests(5, Duration::ZERO));
    }

    #[test]
    fn hold_a_request_that_arrives_in_pieces() {
        let server = TrafficController::start().unwrap();
        let mut client = connect(&server);
        for byte in b"POST /recent?app=a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" {
            client.write_all(&[*byte]).unwrap();
        }
        assert!(head(&mut client).starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(server.requests()[0].method, "POST");
    }
}

mod tls {
    use super::*;

    #[test]
    fn certificate_holds_for_every_name_of_this_machine() {
        let server = TrafficController::builder().tls().start().unwrap();
        assert_eq!(server.endpoint(), format!("wss://{}", server.address()));
        server.add_recent("app", [hi()]);
        for name in ["localhost", "127.0.0.1", "::1"] {
            let mut client = server.tls_connector().connect(name, connect(&server)).unwrap();
            request(&mut client, "GET /recent?app=app", &[]);
            let head = head(&mut client);
            assert_eq!(rest(&mut client), multipart(boundary(&head), &[HI]));
        }
        server.tls_connector().connect("example.com", connect(&server)).unwrap_err();
        native_tls::TlsConnector::new().unwrap().connect("localhost", connect(&server)).unwrap_err();
        assert!(server.wait_until_idle(DEADLINE));
    }

    #[test]
    fn carries_websockets_and_faults() {
        let server = TrafficController::builder().tls().ping(NEVER, NEVER).start().unwrap();
        let open = || {
            let mut client = server.tls_connector().connect("localhost", connect(&server)).unwrap();
            request(&mut client, "GET /tail/?app=app", &HANDSHAKE);
            assert_eq!(head(&mut client), SWITCHING);
            assert_eq!(frame(&mut client), (PING.0, PING.1.to_vec()));
            client
        };
        let mut client = open();
        let long = vec![b'z'; 1 << 20];
        server.send_raw("app", &long[..]);
        client.write_all(&masked(0x89, b"?")).unwrap();
        let frames = [frame(&mut client), frame(&mut client)];
        assert!(frames.contains(&(0x82, long)) && frames.contains(&(0x8a, b"?".to_vec())));
        server.close_tails("app", Some(1000), "");
        assert_eq!(frame(&mut client), (0x88, close_payload(1000, "")));
        assert_eq!(rest(&mut client), b"");

        // The ping arrives, and one byte of the frame after it.
        server.fault(Fault::DropAfter(SWITCHING.len() as u64 + 3));
        let mut client = open();
        server.send(hi());
        let mut bytes = Vec::new();
        // How an EOF without `close_notify` appears differs between TLS libraries.
        let _ = client.read_to_end(&mut bytes);
        assert_eq!(bytes, b"\x82");

        let mut client = open();
        server.reset_tails("app");
        client.read(&mut [0]).unwrap_err();
    }
}

mod flow {
    use super::*;

    fn server() -> TrafficController {
        TrafficController::builder().backlog(1000).retain(0).ping(NEVER, NEVER).start().unwrap()
    }

    #[test]
    fn sending_waits_for_a_client_that_does_not_read() {
        const MESSAGES: usize = 200;
        let server = server();
        let client = tail(&server);
        let payload = vec![b'p'; 1 << 20];
        thread::scope(|scope| {
            // Created here, so that a failure ends the sender, too.
            let mut client = client;
            let sender = scope.spawn(|| (0..MESSAGES).map(|_| server.send_raw("app", &payload[..])).sum::<usize>());
            assert!(!server.wait_for_tails("app", 0, QUIET));
            assert!(!sender.is_finished());
            for _ in 0..MESSAGES {
                assert_eq!(frame(&mut client), (0x82, payload.clone()));
            }
            assert_eq!(sender.join().unwrap(), MESSAGES);
        });
    }

    /// Sends until a message is dropped, and returns how many were not.
    fn send_until_one_is_dropped(server: &TrafficController, app: &str) -> usize {
        let payload = vec![b'p'; 1 << 20];
        (0..1000).position(|_| server.send_raw(app, &payload[..]) == 0).expect("a message should be dropped")
    }

    #[test]
    fn messages_for_a_slow_reader_can_be_dropped_with_a_notice() {
        let server = TrafficController::builder().backlog(1000).real_slow_readers().ping(NEVER, NEVER).start().unwrap();
        let mut client = tail(&server);
        let sent = send_until_one_is_dropped(&server, "app");
        assert_eq!(server.open_tails("app"), 1);
        for _ in 0..sent {
            assert_eq!(frame(&mut client).1.len(), 1 << 20);
        }
        let (_, notice) = frame(&mut client);
        assert!(
            notice.starts_with(b"\x0a\x37Log message output too high. We've dropped 100 messages\x10\x02"),
            "{notice:?}"
        );
        assert!(notice.ends_with(b"\x42\x03LGR"));
        server.send(hi());
        assert_eq!(frame(&mut client), (0x82, HI.to_vec()));
    }

    #[test]
    fn a_slow_reader_can_be_cut_off() {
        const APP: &str = "11111111-aaaa-bbbb-cccc-000000000001";
        let timeout = Duration::from_millis(300);
        for (target, is_websocket) in
            [(format!("/apps/{APP}/stream"), true), (format!("/v2/read?log&source_id={APP}"), false)]
        {
            let server = TrafficController::builder().generation(Generation::Today).backlog(1000).start().unwrap();
            server.fault(Fault::SlowReader(SlowReader::CutOff(timeout)));
            let mut client = connect(&server);
            let headers = if is_websocket { &HANDSHAKE[..] } else { &[] };
            request(&mut client, &format!("GET {target}"), &[headers, &["Authorization: bearer any"]].concat());
            head(&mut client);
            assert!(server.wait_for_tails(APP, 1, DEADLINE));
            let started = Instant::now();
            // A reader that stands still, but not one that has nothing to read.
            let payload = vec![b'p'; 1 << 20];
            while server.open_tails(APP) == 1 {
                server.send_raw(APP, &payload[..]);
                assert!(started.elapsed() < DEADLINE, "{target}");
            }
            assert!(started.elapsed() >= timeout);
            let received = rest(&mut client);
            assert!(received.len() > 1 << 20 && received.ends_with(b"pppp"));

            server.fault(Fault::SlowReader(SlowReader::CutOff(timeout)));
            let mut client = connect(&server);
            request(&mut client, &format!("GET {target}"), &[headers, &["Authorization: bearer any"]].concat());
            head(&mut client);
            assert!(!server.wait_for_tails(APP, 0, timeout * 2));
        }
    }

    #[test]
    fn the_gateway_drops_messages_silently() {
        const APP: &str = "11111111-aaaa-bbbb-cccc-000000000001";
        let server = TrafficController::builder()
            .generation(Generation::Today)
            .backlog(1000)
            .real_slow_readers()
            .start()
            .unwrap();
        let mut client = connect(&server);
        request(&mut client, &format!("GET /v2/read?log&source_id={APP}"), &["Authorization: bearer any"]);
        head(&mut client);
        let sent = send_until_one_is_dropped(&server, APP);
        assert_eq!(server.open_tails(APP), 1);
        let mut received = 0;
        let mut buffer = vec![0; 1 << 20];
        while received < sent << 20 {
            received += client.read(&mut buffer).unwrap();
        }
        server.send_raw(APP, "after");
        server.close_tails(APP, None, "");
        let rest = rest(&mut client);
        assert!(
            rest.ends_with(b"data: after\n\n\r\n0\r\n\r\n"),
            "{}",
            String::from_utf8_lossy(&rest[rest.len().saturating_sub(100)..])
        );
    }

    #[test]
    fn sending_stops_waiting_when_the_client_leaves_or_is_dropped() {
        let server = server();
        let payload = vec![b'p'; 1 << 20];
        for leave in [true, false] {
            let client = tail(&server);
            thread::scope(|scope| {
                let client = client;
                let sender = scope.spawn(|| while server.send_raw("app", &payload[..]) == 1 {});
                assert!(!server.wait_for_tails("app", 0, QUIET));
                if leave {
                    drop(client);
                } else {
                    assert_eq!(server.drop_tails("app"), 1);
                }
                sender.join().unwrap();
            });
            assert!(server.wait_for_tails("app", 0, DEADLINE));
        }
    }

    #[test]
    fn sending_stops_waiting_when_the_server_stops() {
        let server = server();
        let _client = tail(&server);
        let payload = vec![b'p'; 1 << 20];
        thread::scope(|scope| {
            let sender = scope.spawn(|| while server.send_raw("app", &payload[..]) == 1 {});
            let has_waited = !server.wait_for_tails("app", 0, QUIET);
            server.stop();
            sender.join().unwrap();
            assert!(has_waited);
        });
        assert_eq!(server.received().len(), 1);
    }

    #[test]
    fn a_server_can_stop_and_start_again_at_its_address() {
        for tls in [false, true] {
            let builder = TrafficController::builder();
            let server = if tls { builder.tls() } else { builder }.start().unwrap();
            let address = server.address();
            server.send_raw("app", "kept");
            let mut tail = connect(&server);
            if !tls {
                request(&mut tail, "GET /tail/?app=app", &HANDSHAKE);
                assert!(server.wait_for_tails("app", 1, DEADLINE));
            }
            server.stop();
            assert_eq!(server.open_tails("app"), 0);
            TcpStream::connect(address).unwrap_err();
            // Twice: a server that runs is stopped first.
            for _ in 0..2 {
                server.restart().unwrap();
                assert_eq!(server.address(), address);
                let ask = |client: &mut dyn ReadAndWrite| {
                    client.write_all(b"GET /recent?app=app HTTP/1.0\r\n\r\n").unwrap();
                    rest(&mut { client })
                };
                let mut client = connect(&server);
                let response = match tls {
                    true => ask(&mut server.tls_connector().connect("localhost", client).unwrap()),
                    false => ask(&mut client),
                };
                assert!(String::from_utf8(response).unwrap().contains("kept"));
            }
            drop(server);
            let builder = TrafficController::builder().address(address);
            assert_eq!(builder.start().unwrap().address(), address);
            let server = TrafficController::builder().port(address.port()).start().unwrap();
            assert_eq!(server.address(), address);
            // The port is taken.
            TrafficController::builder().port(address.port()).start().unwrap_err();
        }
    }

    trait ReadAndWrite: Read + Write {}
    impl<T: Read + Write> ReadAndWrite for T {}

    #[test]
    fn stopping_ends_every_connection_promptly() {
        let server = TrafficController::builder().ping(NEVER, NEVER).start().unwrap();
        server.add_recent("app", [hi()]);
        let mut clients = Vec::new();
        for fault in [
            vec![],
            vec![Fault::SilentAccept],
            vec![Fault::StallAfter(10)],
            vec![Fault::Drip { every: NEVER }],
            vec![Fault::DelayedBody(NEVER)],
            vec![Fault::EndlessBody],
            vec![Fault::EndlessMessages],
        ] {
            for target in ["/recent?app=app", "/tail/?app=app"] {
                server.fault(fault.clone());
                let mut client = connect(&server);
                request(&mut client, &format!("GET {target}"), &HANDSHAKE);
                clients.push(client);
            }
        }
        // A client that has sent no request yet.
        clients.push(connect(&server));
        assert!(server.wait_for_requests(12, DEADLINE));
        let address = server.address();
        let begun = Instant::now();
        server.stop();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        for mut client in clients {
            // A reset is an end, too. Any other error is a timeout.
            if let Err(error) = client.read_to_end(&mut Vec::new()) {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
        }
        TcpStream::connect(address).unwrap_err();
    }
}
