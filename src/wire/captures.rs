//! Captures of real servers, and the messages that those servers were told to send, for tests. See
//! `tests/fixtures/modern`.

use serde_json::Value;

use crate::net::head::decode_chunks;

/// Returns the bytes of a capture.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/modern/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the names of the captures that begin with `prefix`.
pub(crate) fn names(prefix: &str) -> Vec<String> {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/modern")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(prefix) && !name.ends_with(".json")).collect()
}

/// Returns the body of a captured HTTP response, without its chunks.
pub(crate) fn body(name: &str) -> Vec<u8> {
    let (head, body) = split(name);
    if head.contains("Transfer-Encoding: chunked") { decode_chunks(&body).0 } else { body }
}

/// Splits a captured HTTP response into its head and everything after it.
pub(crate) fn split(name: &str) -> (String, Vec<u8>) {
    let bytes = bytes(name);
    let end = 4 + bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("the head is complete");
    (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end..].to_vec())
}

/// Returns the payloads of the binary frames of a captured websocket.
pub(crate) fn frames(name: &str) -> Vec<Vec<u8>> {
    const BINARY: u8 = 0x82;
    let bytes = split(name).1;
    let mut rest = &*bytes;
    let mut frames = Vec::new();
    while let [kind, length, after @ ..] = rest {
        let (length, after) = match length {
            126 => (u16::from_be_bytes(after[..2].try_into().unwrap()).into(), &after[2..]),
            127 => (usize::try_from(u64::from_be_bytes(after[..8].try_into().unwrap())).unwrap(), &after[8..]),
            length => (usize::from(*length), after),
        };
        if *kind == BINARY {
            frames.push(after[..length].to_vec());
        }
        rest = &after[length..];
    }
    frames
}

/// Returns the messages that the server of a capture was told to send, one value per message.
pub(crate) fn sent(name: &str) -> Vec<Value> {
    let mut sidecar: Value = serde_json::from_slice(&bytes(&format!("{name}.sent.json"))).unwrap();
    let list = if sidecar["messages"].is_null() { "envelopes" } else { "messages" };
    match sidecar[list].take() {
        Value::Array(values) => values,
        other => panic!("{name}: {other}"),
    }
}
