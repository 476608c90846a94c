//! Tails of every kind of server, directly, through a proxy and over TLS.

use loggregator_consumer::{Builder, Ending, Proxy};

use crate::common::messages::{APP, chunk, envelope, head, message};
use crate::common::{BINARY, CLOSE, CONTINUATION, PING, TEXT, builder, frame, not_final, switching_protocols, tls};
use crate::server::{Effect, Piece};
use crate::{Call, Session};

/// A tail's frames of every kind, and a close frame.
fn frames(encoded: fn(&str) -> Vec<u8>, code: u16, reason: &str) -> Vec<Piece> {
    let fragmented = encoded("two");
    let (start, rest) = fragmented.split_at(7);
    let ending = Ending::ClosedByServer { code: Some(code), reason: reason.into() };
    vec![
        Piece::new(Effect::Nothing, frame(PING, b"")),
        Piece::new(Effect::Message("one"), frame(BINARY, &encoded("one"))),
        Piece::new(Effect::Nothing, not_final(BINARY, start)),
        Piece::new(Effect::Nothing, frame(PING, b"between")),
        Piece::new(Effect::Nothing, not_final(CONTINUATION, b"")),
        Piece::new(Effect::Message("two"), frame(CONTINUATION, rest)),
        Piece::new(Effect::Message("three"), frame(TEXT, &encoded("three"))),
        Piece::new(Effect::End(Some(ending)), frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())),
    ]
}

fn handshake(path: &'static str) -> Piece {
    Piece::response(path, switching_protocols)
}

const LEGACY: &str = "the websocket handshake at /tail/";
const DOPPLER: &str = "the websocket handshake at /apps/";

#[test]
fn a_legacy_server_at_every_byte_of_a_tail() {
    let frames = frames(message, 1000, "");
    let pieces = [vec![handshake(LEGACY)], frames].concat();
    let settings = Box::new(|address| builder(&format!("ws://{address}")));
    Session { call: Call::Tail, settings, pieces, from: 0 }.dies_at_every_byte();
}

#[test]
fn a_proxy_at_every_byte_of_a_tail() {
    let proxy = Piece::response("asking the proxy", |request| {
        assert!(request.starts_with("CONNECT loggregator.example.com:80 "), "{request}");
        head("200 Connection established", &["Proxy-Agent: x"])
    });
    let pieces = [vec![proxy, handshake(LEGACY)], frames(message, 1000, "done")].concat();
    let settings = Box::new(|address| {
        let proxy = Proxy::url(&format!("http://{address}")).unwrap();
        builder("ws://loggregator.example.com").proxy(proxy)
    });
    Session { call: Call::Tail, settings, pieces, from: 0 }.dies_at_every_byte();
}

#[test]
fn a_socks5_proxy_at_every_byte_of_a_tail() {
    let end = frames(message, 1000, "done").pop().unwrap();
    let pieces = [&Piece::socks5()[..], &[handshake(LEGACY), end]].concat();
    let settings = Box::new(|address| builder("ws://localhost").proxy(Piece::socks5_proxy(address)));
    Session { call: Call::Tail, settings, pieces, from: 0 }.dies_at_every_byte();
}

#[test]
fn a_legacy_server_at_every_byte_of_a_tail_over_tls() {
    let pieces = [vec![Piece::tls(tls::acceptor()), handshake(LEGACY)], frames(message, 1000, "")].concat();
    let connector = tls::trusting();
    let settings = Box::new(move |address| builder(&format!("wss://{address}")).tls_connector(connector.clone()));
    Session { call: Call::Tail, settings, pieces, from: 0 }.dies_at_every_byte();
}

#[test]
fn doppler_at_every_byte_of_a_tail() {
    let reason = "Client did not respond to ping before keep-alive timeout expired.";
    let pieces = [vec![handshake(DOPPLER)], frames(envelope, 1008, reason)].concat();
    let settings = Box::new(|address| Builder::new().doppler(&format!("ws://{address}")).proxy(Proxy::none()));
    Session { call: Call::Tail, settings, pieces, from: 0 }.dies_at_every_byte();
}

const GATEWAY: &str = "the request for /v2/read";

/// A gateway's chunked stream. An event is complete at its blank line, before the chunk's end.
fn events() -> Vec<Piece> {
    let event = |effect, text: &str| {
        let chunk = chunk(format!("{text}\n\n").as_bytes());
        let (event, line_end) = chunk.split_at(chunk.len() - 2);
        [Piece::new(effect, event), Piece::new(Effect::Nothing, line_end)]
    };
    let envelope = |payload| format!(r#"{{"timestamp":"1","source_id":"{APP}","log":{{"payload":"{payload}"}}}}"#);
    let ending = Ending::Closing { reason: "closing due to stream timeout".into() };
    let response = |_: &str| head("200 OK", &["Content-Type: text/event-stream", "Transfer-Encoding: chunked"]);
    [
        vec![Piece::response(GATEWAY, response)],
        event(Effect::Nothing, "event: heartbeat\ndata: 1795343667").into(),
        event(Effect::Message("one"), &format!(r#"data: {{"batch":[{}]}}"#, envelope("b25l"))).into(),
        event(Effect::Message("two"), &format!(r#"data: {{"batch":[{}]}}"#, envelope("dHdv"))).into(),
        event(Effect::End(Some(ending)), "event: closing\ndata: closing due to stream timeout").into(),
        vec![Piece::new(Effect::Nothing, "0\r\n\r\n")],
    ]
    .concat()
}

#[test]
fn the_rlp_gateway_at_every_byte_of_a_tail() {
    let settings = Box::new(|address| Builder::new().rlp_gateway(&format!("http://{address}")).proxy(Proxy::none()));
    Session { call: Call::Tail, settings, pieces: events(), from: 0 }.dies_at_every_byte();
}

#[test]
fn the_rlp_gateway_at_every_byte_of_a_tail_over_tls() {
    let connector = tls::trusting();
    let settings = Box::new(move |address| {
        let builder = Builder::new().rlp_gateway(&format!("https://{address}"));
        builder.tls_connector(connector.clone()).proxy(Proxy::none())
    });
    let pieces = [vec![Piece::tls(tls::acceptor())], events()].concat();
    Session { call: Call::Tail, settings, pieces, from: 1 }.dies_at_every_byte();
}
