//! Invalid responses from a Log Cache.

use std::net::TcpStream;

use loggregator_consumer::{Builder, Consumer, Error, ErrorKind, Proxy};

use crate::common::messages::{APP, TOKEN, head, texts};
use crate::common::{DEADLINE, ScriptedServer, hang_up, read_head, send, send_endlessly, within};
use crate::{SHORT, dribble, promptly};

const BEGIN: &str = "{\"envelopes\":{\"batch\":[";
/// An envelope whose log is `hi`.
const HI: &str = "{\"log\":{\"payload\":\"aGk=\"}},";

/// Returns a consumer of a server that sends the start of a response, and then does this.
fn consumer(settings: impl Fn(Builder) -> Builder, then: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Consumer {
    let server = ScriptedServer::always(move |mut socket| {
        read_head(&mut socket);
        send(&mut socket, &[&head("200 OK", &["Content-Type: application/json"]), BEGIN.as_bytes(), HI.as_bytes()]);
        then(&mut socket);
        hang_up(socket);
    });
    let builder = Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none());
    settings(builder).build().unwrap()
}

/// Returns the errors of both forms of `recent` at such a server. Both must be prompt.
fn errors(settings: impl Fn(Builder) -> Builder, then: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> [Error; 2] {
    let consumer = consumer(settings, then);
    [promptly(|| consumer.recent(APP, TOKEN).unwrap_err()), promptly(|| consumer.recent_iter(APP, TOKEN).unwrap_err())]
}

fn endless(text: impl AsRef<[u8]>) -> impl Fn(&mut TcpStream) {
    let many = text.as_ref().repeat(1000);
    move |socket| send_endlessly(socket, &many)
}

#[test]
fn an_endless_envelope_is_too_large() {
    within(DEADLINE, || {
        for (begin, text) in [
            ("{\"log\":{\"payload\":\"", "x"),
            ("{\"log\":{\"payload\":\"\\", "\\\\"),
            ("{\"x\":", "1"),
            ("{", "\"x\":1,"),
            ("", " "),
            ("{\"tags\":{", "\"x\":\"y\","),
        ] {
            let errors = errors(
                |builder| builder.max_message_size(100_000),
                move |socket| {
                    send(socket, &[begin.as_bytes()]);
                    endless(text)(socket);
                },
            );
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::TooLarge, "{begin}{text}: {error}");
                assert!(error.to_string().contains("max_message_size"), "{error}");
                assert_eq!(texts(error.recovered()), ["hi"], "{begin}{text}");
            }
        }
    });
}

#[test]
fn endless_messages_are_too_large() {
    within(DEADLINE, || {
        for error in errors(|builder| builder.max_recent_size(1_000_000), endless(HI)) {
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
            assert!(error.to_string().contains("max_recent_size"), "{error}");
            assert!((1000..100_000).contains(&error.recovered().len()), "{}", error.recovered().len());
        }
    });
}

#[test]
fn endless_envelopes_without_messages_are_a_bad_response() {
    within(DEADLINE, || {
        for no_message in ["{},", "{\"counter\":{\"name\":\"x\"}},", "{\"log\":7},", "{\"log\":{\"payload\":\"?\"}},"] {
            for error in errors(|builder| builder, endless(no_message)) {
                assert_eq!(error.kind(), ErrorKind::BadResponse, "{no_message}: {error}");
                assert!(error.to_string().contains("too many"), "{no_message}: {error}");
                assert_eq!(texts(error.recovered()), ["hi"], "{no_message}");
            }
        }
    });
}

#[test]
fn a_response_that_trickles_in_is_a_timeout() {
    within(DEADLINE, || {
        let trickle = |socket: &mut TcpStream| dribble(socket, &HI.as_bytes().repeat(1000));
        let consumer = consumer(|builder| builder.recent_timeout(5 * SHORT), trickle);
        let error = promptly(|| consumer.recent(APP, TOKEN).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.to_string().contains("recent_timeout"), "{error}");
        assert!(texts(error.recovered()).iter().all(|text| text == "hi"));
    });
}

#[test]
fn invalid_json_is_an_error_with_the_messages_before_it() {
    within(DEADLINE, || {
        let deep = "[".repeat(100_000);
        let deep_in_an_envelope = format!("{{\"log\":{}", "{\"payload\":".repeat(100_000));
        for bad in [
            &b"{\"source_id\":\"\xff\",\"log\":{}},"[..],
            b"{\"instance_id\":\"\xff\",\"log\":{}},",
            b"{\"tags\":{\"source_type\":\"\xff\"},\"log\":{}},",
            b"{\"log\":{\"payload\":\"\xff\"}},",
            b"{\"\xff\":1,\"log\":{}},",
            b"\xff",
            b"\0",
            b"],",
            deep.as_bytes(),
            deep_in_an_envelope.as_bytes(),
        ] {
            let sent = bad.to_vec();
            for error in errors(|builder| builder, move |socket| send(socket, &[&sent, HI.as_bytes()])) {
                let shown = String::from_utf8_lossy(&bad[..bad.len().min(60)]);
                assert!(matches!(error.kind(), ErrorKind::BadResponse | ErrorKind::Truncated), "{shown}: {error}");
                assert_eq!(texts(error.recovered())[0], "hi", "{shown}");
            }
        }
    });
}
