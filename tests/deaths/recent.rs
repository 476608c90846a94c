//! Recent messages, in each of HTTP's framings of a body.

use loggregator_consumer::{Builder, Proxy};

use crate::common::messages::{APP, BOUNDARY, CONTENT_TYPE, head, message};
use crate::common::{builder, tls};
use crate::server::{Effect, Piece};
use crate::{Call, Session};

/// A body, cut after each item that is then complete.
type Body = Vec<(Effect, Vec<u8>)>;

/// The body of a legacy server. A part is complete at the end of the delimiter line after it.
fn multipart() -> Body {
    let delimiter = format!("\r\n--{BOUNDARY}\r\n");
    let last = format!("\r\n--{BOUNDARY}--");
    let part =
        |text, delimiter: &str| (Effect::Message(text), [b"\r\n", &*message(text), delimiter.as_bytes()].concat());
    vec![
        (Effect::Nothing, delimiter.clone().into()),
        part("one", &delimiter),
        part("two", &delimiter),
        part("three", &last),
        (Effect::End(None), Vec::new()),
        (Effect::Nothing, b"\r\n".into()),
    ]
}

/// The body of Log Cache, which has the newest line first.
fn json() -> Body {
    let envelope = |before, text, payload, time| {
        let json = format!(
            r#"{before}{{"timestamp":"{time}","source_id":"{APP}","tags":{{"x":"y"}},"log":{{"payload":"{payload}"}}}}"#
        );
        (Effect::Older(text), json.into())
    };
    vec![
        envelope(r#"{"envelopes":{"batch":["#, "three", "dGhyZWU=", 3),
        envelope(",", "two", "dHdv", 2),
        envelope(", ", "one", "b25l", 1),
        (Effect::End(None), b"]}}".into()),
        (Effect::Nothing, b"\n".into()),
    ]
}

const LEGACY: &str = "the request for /recent?app=";
const LOG_CACHE: &str = "the request for /api/v1/read/";

/// A response whose body has a Content-Length.
fn of_a_length(step: &'static str, body: Body) -> Vec<Piece> {
    let length = body.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    response(step, format!("Content-Length: {length}"), body)
}

/// A response whose body ends with the connection.
fn until_the_end(step: &'static str, body: Body) -> Vec<Piece> {
    response(step, "Connection: close".into(), body)
}

/// A response whose body is chunked. The chunks do not match the items of the body.
fn in_chunks(step: &'static str, body: Body) -> Vec<Piece> {
    const SIZE: usize = 20;
    let length = body.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    let mut at = 0;
    let chunked = body.into_iter().map(|(effect, bytes)| {
        let mut wire = Vec::new();
        for byte in bytes {
            if at % SIZE == 0 {
                let line_end = if at == 0 { "" } else { "\r\n" };
                wire.extend(format!("{line_end}{:x}\r\n", SIZE.min(length - at)).bytes());
            }
            wire.push(byte);
            at += 1;
        }
        (effect, wire)
    });
    let last = (Effect::Nothing, b"\r\n0\r\n\r\n".into());
    response(step, "Transfer-Encoding: chunked".into(), chunked.chain([last]).collect())
}

fn response(step: &'static str, header: String, body: Body) -> Vec<Piece> {
    let head = Piece::response(step, move |_| head("200 OK", &[CONTENT_TYPE, &header]));
    [head].into_iter().chain(body.into_iter().map(|(effect, bytes)| Piece::new(effect, bytes))).collect()
}

fn legacy_dies_at_every_byte(pieces: Vec<Piece>) {
    let settings = Box::new(|address| builder(&format!("ws://{address}")));
    Session { call: Call::Recent, settings, pieces, from: 0 }.dies_at_every_byte();
}

fn legacy_dies_at_every_byte_over_tls(pieces: Vec<Piece>) {
    let connector = tls::trusting();
    let settings = Box::new(move |address| builder(&format!("wss://{address}")).tls_connector(connector.clone()));
    let pieces = [vec![Piece::tls(tls::acceptor())], pieces].concat();
    Session { call: Call::Recent, settings, pieces, from: 1 }.dies_at_every_byte();
}

fn log_cache_dies_at_every_byte(pieces: Vec<Piece>) {
    let settings = Box::new(|address| Builder::new().log_cache(&format!("http://{address}")).proxy(Proxy::none()));
    Session { call: Call::Recent, settings, pieces, from: 0 }.dies_at_every_byte();
}

#[test]
fn a_legacy_server_at_every_byte_of_a_body_with_a_content_length() {
    legacy_dies_at_every_byte(of_a_length(LEGACY, multipart()));
}

#[test]
fn a_legacy_server_at_every_byte_of_a_chunked_body() {
    legacy_dies_at_every_byte(in_chunks(LEGACY, multipart()));
}

#[test]
fn a_legacy_server_at_every_byte_of_a_body_delimited_by_eof() {
    legacy_dies_at_every_byte(until_the_end(LEGACY, multipart()));
}

#[test]
fn a_legacy_server_at_every_byte_of_a_chunked_body_over_tls() {
    legacy_dies_at_every_byte_over_tls(in_chunks(LEGACY, multipart()));
}

#[test]
fn a_legacy_server_at_every_byte_of_a_body_delimited_by_eof_over_tls() {
    legacy_dies_at_every_byte_over_tls(until_the_end(LEGACY, multipart()));
}

#[test]
fn log_cache_at_every_byte_of_a_body_with_a_content_length() {
    log_cache_dies_at_every_byte(of_a_length(LOG_CACHE, json()));
}

#[test]
fn log_cache_at_every_byte_of_a_chunked_body() {
    log_cache_dies_at_every_byte(in_chunks(LOG_CACHE, json()));
}

#[test]
fn log_cache_at_every_byte_of_a_body_delimited_by_eof() {
    log_cache_dies_at_every_byte(until_the_end(LOG_CACHE, json()));
}

#[test]
fn log_cache_at_every_byte_through_a_socks5_proxy() {
    let settings = Box::new(|address| Builder::new().log_cache("http://localhost").proxy(Piece::socks5_proxy(address)));
    let body = vec![(Effect::End(None), br#"{"envelopes":{"batch":[]}}"#.into())];
    let pieces = [&Piece::socks5()[..], &of_a_length(LOG_CACHE, body)].concat();
    Session { call: Call::Recent, settings, pieces, from: 0 }.dies_at_every_byte();
}
