//! Invalid streams from an RLP gateway.

use std::net::TcpStream;
use std::sync::mpsc;

use loggregator_consumer::{Builder, Ending, ErrorKind, Proxy, Tail};

use crate::common::messages::{APP, TOKEN, chunk, head, response, texts};
use crate::common::{DEADLINE, ScriptedServer, hang_up, read_head, responding, send, send_endlessly, within};
use crate::promptly;

const EVENTS: &str = "Content-Type: text/event-stream";

/// An event with a batch of one envelope, whose log is `hi`.
const HI: &str = "data: {\"batch\":[{\"log\":{\"payload\":\"aGk=\"}}]}\n\n";
const CLOSING: &str = "event: closing\ndata: bye\n\n";

/// Opens a tail at a server that sends the head of a stream, and then does this.
fn tail(limit: usize, then: impl FnOnce(&mut TcpStream) + Send + 'static) -> Tail {
    let server = ScriptedServer::start(vec![Box::new(move |mut socket| {
        read_head(&mut socket);
        send(&mut socket, &[&head("200 OK", &[EVENTS])]);
        then(&mut socket);
        hang_up(socket);
    })]);
    let builder = Builder::new().rlp_gateway(&format!("http://{}", server.address)).proxy(Proxy::none());
    builder.max_message_size(limit).build().unwrap().tail(APP, TOKEN).unwrap()
}

/// Opens a tail of a stream with these bytes, which the gateway ends with a closing event.
fn tail_of(bytes: impl AsRef<[u8]>) -> Tail {
    let bytes = [bytes.as_ref(), CLOSING.as_bytes()].concat();
    tail(1 << 24, move |socket| send(socket, &[&bytes]))
}

#[test]
fn an_endless_event_is_too_large() {
    within(DEADLINE, || {
        for (begin, endless) in
            [("data: ", "x"), ("", "data: x\n"), ("", "data\n"), ("event: ", "x"), (": ", "x"), ("x: ", "x")]
        {
            let mut tail = tail(100_000, move |socket| {
                send(socket, &[HI.as_bytes(), begin.as_bytes()]);
                send_endlessly(socket, endless.repeat(1000).as_bytes());
            });
            assert_eq!(tail.next().unwrap().unwrap().text(), "hi");
            let error = promptly(|| tail.next()).unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{begin}{endless}: {error}");
            assert!(error.to_string().contains("max_message_size"), "{error}");
            assert_eq!(tail.ending(), Some(&Ending::TooLarge { limit: 100_000 }));
        }
    });
}

#[test]
fn a_close_is_prompt_in_a_flood_of_events_without_messages() {
    within(DEADLINE, || {
        let batch = "data: {\"batch\":[]}\n\n";
        for flood in
            ["\n", "\r", ":\n", "data\n\n", "event: heartbeat\ndata: 1\n\n", "event: unknown\ndata: x\n\n", batch]
        {
            let (sender, under_way) = mpsc::channel();
            let tail = tail(1 << 20, move |socket| {
                let flood = flood.repeat(1000);
                send(socket, &[flood.as_bytes()]);
                sender.send(()).unwrap();
                send_endlessly(socket, flood.as_bytes());
            });
            under_way.recv().unwrap();
            promptly(|| tail.close()).unwrap();
        }
    });
}

#[test]
fn endless_trailers_are_an_error() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![Box::new(move |mut socket| {
            read_head(&mut socket);
            let head = head("200 OK", &[EVENTS, "Transfer-Encoding: chunked"]);
            send(&mut socket, &[&head, &chunk(HI.as_bytes()), b"0\r\n"]);
            send_endlessly(&mut socket, &b"X: y\r\n".repeat(1000));
        })]);
        let builder = Builder::new().rlp_gateway(&format!("http://{}", server.address)).proxy(Proxy::none());
        let mut tail = builder.build().unwrap().tail(APP, TOKEN).unwrap();
        assert_eq!(tail.next().unwrap().unwrap().text(), "hi");
        let error = promptly(|| tail.next()).unwrap().unwrap_err();
        assert!(error.to_string().contains("the trailers are longer than 32768 bytes"), "{error}");
        assert!(matches!(tail.ending(), Some(Ending::Failed(_))), "{:?}", tail.ending());
    });
}

#[test]
fn a_million_empty_envelopes_give_no_messages() {
    within(DEADLINE, || {
        let batch = format!("data: {{\"batch\":[{}{{}}]}}\n\n", "{},".repeat(1_000_000));
        let mut tail = tail_of(batch + HI);
        let messages: Vec<_> = tail.by_ref().map_while(Result::ok).collect();
        assert_eq!(texts(&messages), ["hi"]);
        assert_eq!(tail.ending(), Some(&Ending::Closing { reason: "bye".into() }));
    });
}

/// A decoded message takes many times the memory of its shortest JSON, so the messages of a batch are limited.
#[test]
fn a_batch_gives_at_most_10_000_messages() {
    within(DEADLINE, || {
        let batch = format!("data: {{\"batch\":[{}{{}}]}}\n\n", "{\"log\":{}},".repeat(1_000_000));
        let mut tail = tail_of(batch + HI);
        assert_eq!(tail.by_ref().take_while(Result::is_ok).count(), 10_000);
        assert_eq!(tail.next().unwrap().unwrap().text(), "hi");
    });
}

/// Asserts that an event with this data is one `Undecodable` item, and that the next event is decoded.
#[track_caller]
fn assert_undecodable(data: &[u8]) {
    let mut tail = tail_of([b"data: ", data, b"\n\n", HI.as_bytes()].concat());
    let error = tail.next().unwrap().unwrap_err();
    let shown = String::from_utf8_lossy(&data[..data.len().min(100)]).into_owned();
    assert_eq!(error.kind(), ErrorKind::Undecodable, "{shown}: {error}");
    assert!(error.to_string().len() < 1000, "{error}");
    assert_eq!(tail.next().unwrap().unwrap().text(), "hi", "{shown}");
}

#[test]
fn endless_nesting_makes_only_its_own_event_undecodable() {
    within(DEADLINE, || {
        for open in ["[", "{\"batch\":", "{\"batch\":[", "{\"x\":"] {
            assert_undecodable(open.repeat(100_000).as_bytes());
        }
        let within_an_envelope = format!("{{\"batch\":[{{\"log\":{}", "{\"payload\":".repeat(100_000));
        assert_undecodable(within_an_envelope.as_bytes());
    });
}

#[test]
fn invalid_utf8_makes_only_its_own_event_undecodable() {
    within(DEADLINE, || {
        for envelope in [
            &b"{\"source_id\":\"\xff\",\"log\":{}}"[..],
            b"{\"instance_id\":\"\xff\",\"log\":{}}",
            b"{\"tags\":{\"source_type\":\"\xff\"},\"log\":{}}",
            b"{\"tags\":{\"\xff\":\"x\"},\"log\":{}}",
            b"{\"deprecated_tags\":{\"source_type\":{\"text\":\"\xc3\"}},\"log\":{}}",
            b"{\"log\":{\"payload\":\"\xff\"}}",
            b"{\"log\":{\"type\":\"\xff\"}}",
            b"{\"timestamp\":\"\xff\",\"log\":{}}",
            b"{\"\xff\":1,\"log\":{}}",
            b"\xff",
        ] {
            assert_undecodable(&[b"{\"batch\":[", envelope, b"]}"].concat());
        }
    });
}

#[test]
fn a_closing_reason_with_invalid_utf8_is_shown_as_text() {
    within(DEADLINE, || {
        let mut tail = tail(1 << 20, |socket| send(socket, &[b"event: closing\ndata: b\xffye\n\n"]));
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::ClosedByServer);
        assert_eq!(tail.ending(), Some(&Ending::Closing { reason: "b\u{fffd}ye".into() }));
    });
}

#[test]
fn a_closing_event_ends_the_tail_even_if_more_events_follow() {
    within(DEADLINE, || {
        let mut tail = tail(1 << 20, |socket| {
            send(socket, &[[HI, CLOSING, HI].concat().as_bytes()]);
            send_endlessly(socket, HI.as_bytes());
        });
        assert_eq!(tail.next().unwrap().unwrap().text(), "hi");
        // Events that arrive in one read with the closing event may still be delivered.
        let error = promptly(|| tail.find_map(Result::err)).unwrap();
        assert_eq!(error.kind(), ErrorKind::ClosedByServer);
        assert_eq!(tail.ending(), Some(&Ending::Closing { reason: "bye".into() }));
    });
}

#[test]
fn a_response_that_is_not_an_event_stream_is_a_bad_response() {
    within(DEADLINE, || {
        for content_type in ["Content-Type: text/html", "Content-Type: text/html; text/event-stream", "X: y"] {
            let server = ScriptedServer::start(vec![responding(response("200 OK", &[content_type], HI.as_bytes()))]);
            let builder = Builder::new().rlp_gateway(&format!("http://{}", server.address)).proxy(Proxy::none());
            let error = builder.build().unwrap().tail(APP, TOKEN).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadResponse, "{content_type}: {error}");
        }
    });
}

#[test]
fn a_stream_that_just_ends_is_not_said_to_lack_a_close_frame() {
    within(DEADLINE, || {
        let mut tail = tail(1 << 20, |socket| send(socket, &[HI.as_bytes()]));
        assert_eq!(tail.next().unwrap().unwrap().text(), "hi");
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
        assert_eq!(error.to_string(), "the connection ended unexpectedly; messages may be missing");
        assert_eq!(tail.ending(), Some(&Ending::Eof));
        assert_eq!(tail.ending().unwrap().to_string(), error.to_string());
    });
}
