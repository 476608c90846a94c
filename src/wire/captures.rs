//! For the tests: what real servers sent, and what they were to send. See `tests/fixtures/modern`.

use serde_json::Value;

use crate::net::head::dechunked;

/// The bytes of a capture.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/modern/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the captures that begin so.
pub(crate) fn names(prefix: &str) -> Vec<String> {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/modern")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(prefix) && !name.ends_with(".json")).collect()
}

/// The body of a captured HTTP answer.
pub(crate) fn body(name: &str) -> Vec<u8> {
    let (head, body) = split(name);
    if head.contains("Transfer-Encoding: chunked") { dechunked(&body).0 } else { body }
}

/// A captured HTTP answer's head, and all behind it.
pub(crate) fn split(name: &str) -> (String, Vec<u8>) {
    let bytes = bytes(name);
    let end = 4 + bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head ends");
    (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end..].to_vec())
}

/// What the binary frames of a captured websocket hold.
pub(crate) fn frames(name: &str) -> Vec<Vec<u8>> {
    const BINARY: u8 = 0x82;
    let bytes = split(name).1;
    let mut rest = &*bytes;
    let mut frames = Vec::new();
    while let [kind, length, behind @ ..] = rest {
        let (length, behind) = match length {
            126 => (u16::from_be_bytes(behind[..2].try_into().unwrap()).into(), &behind[2..]),
            127 => (usize::try_from(u64::from_be_bytes(behind[..8].try_into().unwrap())).unwrap(), &behind[8..]),
            length => (usize::from(*length), behind),
        };
        if *kind == BINARY {
            frames.push(behind[..length].to_vec());
        }
        rest = &behind[length..];
    }
    frames
}

/// What the server's side of a capture wrote down, one value a message.
pub(crate) fn sent(name: &str) -> Vec<Value> {
    let mut sidecar: Value = serde_json::from_slice(&bytes(&format!("{name}.sent.json"))).unwrap();
    let list = if sidecar["messages"].is_null() { "envelopes" } else { "messages" };
    match sidecar[list].take() {
        Value::Array(values) => values,
        other => panic!("{name}: {other}"),
    }
}
