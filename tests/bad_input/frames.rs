//! Invalid frames, and some that are unusual but valid.

use std::net::TcpStream;
use std::sync::mpsc;

use loggregator_consumer::{Builder, Ending, Error, ErrorKind, Proxy};

use crate::common::messages::{APP, TOKEN, envelope, message, texts};
use crate::common::{
    BINARY, CLOSE, CONTINUATION, DEADLINE, PING, ScriptedServer, TEXT, builder, close_frame, consumer, frame, hang_up,
    not_final, read_frame, read_head, reset, send, send_endlessly, streaming, switching_protocols, tls, upgrading,
    within,
};
use crate::promptly;

const PONG: u8 = 10;

/// Changes the first byte of a frame, which has its flags and its opcode.
fn with_flags(mut frame: Vec<u8>, change: impl Fn(u8) -> u8) -> Vec<u8> {
    frame[0] = change(frame[0]);
    frame
}

/// The head of a frame that announces this many bytes.
fn announce(opcode: u8, length: u64) -> Vec<u8> {
    [&[0x80 | opcode, 127], &length.to_be_bytes()[..]].concat()
}

/// Returns how tails of a legacy server and of Doppler end if the server sends a message and then only these bytes.
fn ends_by(bytes: &[u8]) -> [(Error, Ending); 2] {
    let legacy: fn(&str) -> Builder = |address| Builder::new().legacy(address);
    let doppler: fn(&str) -> Builder = |address| Builder::new().doppler(address);
    [(legacy, message("before")), (doppler, envelope("before"))].map(|(builder, message)| {
        let server = ScriptedServer::start(vec![streaming([&frame(BINARY, &message), bytes].concat())]);
        let consumer = builder(&server.endpoint()).proxy(Proxy::none()).build().unwrap();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        assert_eq!(tail.next().unwrap().unwrap().text(), "before");
        let error = promptly(|| tail.next()).expect("an end that is not clean").unwrap_err();
        assert!(tail.next().is_none());
        (error, tail.ending().unwrap().clone())
    })
}

#[track_caller]
fn assert_breaks_the_protocol(bytes: &[u8]) {
    let bytes = bytes.to_vec();
    within(DEADLINE, move || {
        for (error, ending) in ends_by(&bytes) {
            assert_eq!(error.kind(), ErrorKind::BadResponse, "{error}");
            assert!(error.to_string().contains("protocol"), "{error}");
            assert!(matches!(ending, Ending::Failed(_)), "{ending:?}");
        }
    });
}

#[test]
fn a_frame_whose_announced_length_is_too_large_is_refused_before_it_arrives() {
    within(DEADLINE, || {
        for length in [1 << 63, (1 << 63) - 1, u64::MAX, 17 << 20] {
            for (error, ending) in ends_by(&announce(BINARY, length)) {
                assert_eq!(error.kind(), ErrorKind::TooLarge, "{length}: {error}");
                assert_eq!(ending, Ending::TooLarge { limit: 16 << 20 });
                assert!(error.to_string().contains("16777216"), "{error}");
            }
        }
    });
}

#[test]
fn max_message_size_limits_a_message() {
    within(DEADLINE, || {
        let large = frame(BINARY, &message(&"x".repeat(1000)));
        let server = ScriptedServer::always(move |socket| streaming(large.clone())(socket));
        let tail =
            |limit| builder(&server.endpoint()).max_message_size(limit).build().unwrap().tail(APP, TOKEN).unwrap();
        assert_eq!(tail(2000).next().unwrap().unwrap().text().len(), 1000);
        assert_eq!(tail(1000).next().unwrap().unwrap_err().kind(), ErrorKind::TooLarge);
    });
}

#[test]
fn a_frame_too_large_for_memory_is_refused_even_without_a_limit() {
    within(DEADLINE, || {
        for length in [(1 << 63) - 1, 1 << 62, 1 << 40] {
            let server = ScriptedServer::start(vec![streaming(announce(BINARY, length))]);
            let consumer = builder(&server.endpoint()).max_message_size(usize::MAX).build().unwrap();
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            assert_eq!(promptly(|| tail.next()).unwrap().unwrap_err().kind(), ErrorKind::TooLarge);
        }
    });
}

#[test]
fn endless_fragments_are_too_large() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![upgrading(|mut socket| {
            send(&mut socket, &[&not_final(BINARY, &[b'x'; 1000])]);
            send_endlessly(&mut socket, &not_final(CONTINUATION, &[b'x'; 1000]));
        })]);
        let mut tail = builder(&server.endpoint()).max_message_size(1 << 20).build().unwrap().tail(APP, TOKEN).unwrap();
        assert_eq!(promptly(|| tail.next()).unwrap().unwrap_err().kind(), ErrorKind::TooLarge);
    });
}

#[test]
fn a_masked_frame_breaks_the_protocol() {
    for opcode in [BINARY, TEXT, PING, CLOSE] {
        let mut masked = frame(opcode, b"");
        masked[1] |= 0x80;
        masked.extend(b"mask");
        assert_breaks_the_protocol(&masked);
    }
}

#[test]
fn reserved_bits_break_the_protocol() {
    for bit in [0x40, 0x20, 0x10] {
        assert_breaks_the_protocol(&with_flags(frame(BINARY, &message("x")), |first| first | bit));
    }
}

#[test]
fn reserved_opcodes_break_the_protocol() {
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        assert_breaks_the_protocol(&frame(opcode, b"x"));
    }
}

#[test]
fn a_fragmented_control_frame_breaks_the_protocol() {
    for opcode in [PING, PONG, CLOSE] {
        assert_breaks_the_protocol(&not_final(opcode, b""));
    }
}

#[test]
fn a_control_frame_that_is_too_long_breaks_the_protocol() {
    for opcode in [PING, PONG, CLOSE] {
        assert_breaks_the_protocol(&frame(opcode, &[0; 126]));
    }
}

#[test]
fn a_continuation_without_a_first_fragment_breaks_the_protocol() {
    assert_breaks_the_protocol(&frame(CONTINUATION, b"x"));
    assert_breaks_the_protocol(&not_final(CONTINUATION, b"x"));
    assert_breaks_the_protocol(&[frame(PING, b""), frame(CONTINUATION, b"x")].concat());
}

#[test]
fn a_message_within_a_fragmented_one_breaks_the_protocol() {
    assert_breaks_the_protocol(&[not_final(BINARY, b"x"), frame(BINARY, b"x")].concat());
}

#[test]
fn a_close_frame_within_a_fragmented_message_is_not_a_clean_end() {
    within(DEADLINE, || {
        let start = not_final(BINARY, &message("x")[..3]);
        let fragments = [start.clone(), [start, not_final(CONTINUATION, b"")].concat(), not_final(BINARY, b"")];
        for fragments in fragments {
            for close in [close_frame(), frame(CLOSE, b"")] {
                for (error, ending) in ends_by(&[&*fragments, &close].concat()) {
                    assert!(!ending.is_clean(), "{error}: {ending:?}");
                }
            }
        }
    });
}

#[test]
fn invalid_utf8_in_a_text_frame_breaks_the_protocol() {
    assert_breaks_the_protocol(&frame(TEXT, b"\xff\xfe"));
    assert_breaks_the_protocol(&[not_final(TEXT, b"\xc3"), frame(CONTINUATION, b"x")].concat());
    assert_breaks_the_protocol(&[not_final(TEXT, b"x"), frame(CONTINUATION, b"\xc3")].concat());
}

#[test]
fn a_close_frame_of_one_byte_breaks_the_protocol() {
    assert_breaks_the_protocol(&frame(CLOSE, b"\x03"));
}

#[test]
fn a_close_frame_with_an_invalid_code_is_not_a_clean_end() {
    within(DEADLINE, || {
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
            for (_, ending) in ends_by(&frame(CLOSE, &code.to_be_bytes())) {
                assert!(!ending.is_clean(), "{code}: {ending:?}");
            }
        }
    });
}

#[test]
fn a_close_frame_with_invalid_utf8_in_its_reason_is_not_a_clean_end() {
    within(DEADLINE, || {
        for (_, ending) in ends_by(&frame(CLOSE, b"\x03\xe8\xff")) {
            assert!(!ending.is_clean(), "{ending:?}");
        }
    });
}

#[test]
fn frames_after_a_close_frame_are_not_read() {
    within(DEADLINE, || {
        for more in [frame(BINARY, &message("more")), close_frame(), frame(CLOSE, b"\x03\xf0no"), b"\xff\xff".to_vec()]
        {
            assert_eq!(messages_of(&[close_frame(), more].concat()), [""; 0]);
        }
        let (server, _) = flooding(close_frame(), frame(BINARY, &message("more")));
        let mut tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        assert!(promptly(|| tail.next()).is_none());
        assert_eq!(tail.ending(), Some(&Ending::ClosedByServer { code: Some(1000), reason: String::new() }));
    });
}

/// Returns the messages of a tail to which the server sends these bytes and then a normal close frame.
fn messages_of(bytes: &[u8]) -> Vec<String> {
    let server = ScriptedServer::start(vec![streaming([bytes, &close_frame()].concat())]);
    let tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
    texts(&tail.map(Result::unwrap).collect::<Vec<_>>())
}

#[test]
fn a_fragmented_message_is_reassembled() {
    within(DEADLINE, || {
        let whole = message("in pieces");
        let (one, other) = whole.split_at(5);
        let fragments = [
            not_final(BINARY, one),
            frame(PING, b"between"),
            not_final(CONTINUATION, b""),
            frame(CONTINUATION, other),
            frame(BINARY, &message("whole")),
        ];
        assert_eq!(messages_of(&fragments.concat()), ["in pieces", "whole"]);
    });
}

#[test]
fn fragments_of_one_byte_with_pings_between_take_linear_time() {
    within(DEADLINE, || {
        let text = "x".repeat(200_000);
        let whole = message(&text);
        let fragments =
            whole[1..].iter().flat_map(|byte| [frame(PING, b"p"), not_final(CONTINUATION, &[*byte])].concat());
        let bytes: Vec<u8> = not_final(BINARY, &whole[..1]).into_iter().chain(fragments).collect();
        assert_eq!(promptly(|| messages_of(&[bytes, frame(CONTINUATION, b"")].concat())), [text]);
    });
}

#[test]
fn a_message_in_a_text_frame_is_decoded() {
    within(DEADLINE, || assert_eq!(messages_of(&frame(TEXT, &message("text"))), ["text"]));
}

#[test]
fn an_empty_frame_is_undecodable_and_the_tail_goes_on() {
    within(DEADLINE, || {
        let bytes = [frame(BINARY, b""), frame(BINARY, &message("after"))].concat();
        let server = ScriptedServer::start(vec![streaming(bytes)]);
        let mut tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Undecodable);
        assert_eq!(tail.next().unwrap().unwrap().text(), "after");
    });
}

/// Starts a server that sends `before` and then endless repetitions of `bytes`. The receiver gets a signal after the
/// first thousand.
fn flooding(before: Vec<u8>, bytes: Vec<u8>) -> (ScriptedServer, mpsc::Receiver<()>) {
    let (sender, under_way) = mpsc::channel();
    let flood = move |mut socket: TcpStream| {
        let many = bytes.repeat(1000);
        send(&mut socket, &[&before, &many]);
        let _ = sender.send(());
        send_endlessly(&mut socket, &many);
    };
    (ScriptedServer::start(vec![upgrading(flood)]), under_way)
}

#[test]
fn a_close_is_prompt_in_a_flood_of_pings() {
    within(DEADLINE, || {
        let (server, under_way) = flooding(Vec::new(), frame(PING, b"ping"));
        let tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        under_way.recv().unwrap();
        promptly(|| tail.close()).unwrap();
    });
}

#[test]
fn a_close_is_prompt_in_a_flood_of_empty_fragments() {
    within(DEADLINE, || {
        let (server, under_way) = flooding(not_final(BINARY, b""), not_final(CONTINUATION, b""));
        let tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        under_way.recv().unwrap();
        promptly(|| tail.close()).unwrap();
    });
}

#[test]
fn a_close_is_prompt_in_a_flood_of_messages_that_nobody_reads() {
    within(DEADLINE, || {
        let (server, under_way) = flooding(Vec::new(), frame(BINARY, &message("x")));
        let tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        under_way.recv().unwrap();
        promptly(|| tail.close()).unwrap();
    });
}

#[test]
fn a_message_gets_through_a_flood_of_pings() {
    within(DEADLINE, || {
        let pings = frame(PING, b"ping").repeat(10_000);
        assert_eq!(messages_of(&[pings, frame(BINARY, &message("after"))].concat()), ["after"]);
    });
}

/// Returns how a tail ends if the server sends a message and then does this.
fn end_at(then: fn(TcpStream)) -> (Error, Ending) {
    let server = ScriptedServer::start(vec![upgrading(move |mut socket| {
        send(&mut socket, &[&frame(BINARY, &message("before"))]);
        // Reads the client's first frame: by then the client has read all our bytes, and a reset cannot discard any.
        read_frame(&mut socket).unwrap();
        then(socket);
    })]);
    let mut tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
    let error = tail.find_map(Result::err).expect("an end that is not clean");
    assert!(tail.next().is_none());
    (error, tail.ending().unwrap().clone())
}

#[test]
fn an_eof_without_a_close_frame_is_a_lost_connection() {
    within(DEADLINE, || {
        let (error, ending) = end_at(hang_up);
        assert_eq!((error.kind(), ending), (ErrorKind::ConnectionLost, Ending::Eof));
    });
}

#[test]
fn an_eof_over_tls_without_close_notify_is_a_lost_connection() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![Box::new(|socket| {
            let mut stream = tls::accept(socket).unwrap();
            let response = switching_protocols(&read_head(&mut stream));
            send(&mut stream, &[&response, &frame(BINARY, &message("before"))]);
            hang_up(stream.get_ref().try_clone().unwrap());
        })]);
        let settings = builder(&server.tls_endpoint()).tls_connector(tls::trusting());
        let mut tail = settings.build().unwrap().tail(APP, TOKEN).unwrap();
        assert_eq!(tail.next().unwrap().unwrap().text(), "before");
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
        assert_eq!(tail.ending(), Some(&Ending::Eof));
    });
}

#[test]
fn an_eof_in_the_middle_of_a_frame_is_a_lost_connection() {
    within(DEADLINE, || {
        let (error, ending) = end_at(|mut socket| {
            send(&mut socket, &[&announce(BINARY, 100), b"not all"]);
            hang_up(socket);
        });
        assert_eq!((error.kind(), ending), (ErrorKind::ConnectionLost, Ending::Eof));
    });
}

#[test]
fn a_reset_is_a_lost_connection() {
    within(DEADLINE, || {
        let (error, ending) = end_at(reset);
        assert_eq!((error.kind(), ending), (ErrorKind::ConnectionLost, Ending::Reset));
    });
}
