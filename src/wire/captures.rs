//! Captures of real servers, and the messages that those servers were told to send, for tests. See
//! `tests/fixtures/modern`.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;

use crate::envelope::{Body, Envelope, GaugeValue};
use crate::message::MessageType;
use crate::net::head::decode_chunks;
use crate::wire::multipart::{self, Splitter};

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

/// Returns the parts of a captured multipart response.
pub(crate) fn parts(name: &str) -> Vec<Vec<u8>> {
    let (head, _) = split(name);
    let content_type = head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap();
    let body = body(name);
    let mut splitter = Splitter::new(&*body, &multipart::boundary(content_type).unwrap(), 1 << 20);
    std::iter::from_fn(|| splitter.next_part().unwrap().map(<[u8]>::to_vec)).collect()
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

/// Returns what has been sent as envelopes of v2. Sidecars have protobuf's JSON in its shortest form.
pub(crate) fn sent_envelopes(name: &str) -> Vec<Envelope> {
    sent(name).iter().map(|sent| envelope(&sent["v2"])).collect()
}

fn envelope(v2: &Value) -> Envelope {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let time = |value: &Value| value.as_str().map_or(0, |text| text.parse().unwrap());
    let count = |value: &Value| value.as_str().map_or(0, |text| text.parse().unwrap());
    let entries =
        |value: &Value| value.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    let entries = |value: &Value| -> Vec<(String, Value)> { entries(value) };
    let has = |kind: &str| !v2[kind].is_null();
    let body = if has("log") {
        Body::Log {
            payload: BASE64_STANDARD.decode(text(&v2["log"]["payload"])).unwrap(),
            message_type: if v2["log"]["type"] == "ERR" { MessageType::Err } else { MessageType::Out },
        }
    } else if has("counter") {
        let counter = &v2["counter"];
        Body::Counter { name: text(&counter["name"]), delta: count(&counter["delta"]), total: count(&counter["total"]) }
    } else if has("gauge") {
        let value = |value: &Value| GaugeValue {
            unit: text(&value["unit"]),
            value: value["value"].as_f64().unwrap_or_default(),
        };
        Body::Gauge(entries(&v2["gauge"]["metrics"]).into_iter().map(|(name, v)| (name, value(&v))).collect())
    } else if has("timer") {
        let timer = &v2["timer"];
        Body::Timer { name: text(&timer["name"]), start: time(&timer["start"]), stop: time(&timer["stop"]) }
    } else {
        Body::Event { title: text(&v2["event"]["title"]), body: text(&v2["event"]["body"]) }
    };
    Envelope {
        timestamp: time(&v2["timestamp"]),
        source_id: text(&v2["source_id"]),
        instance_id: text(&v2["instance_id"]),
        tags: entries(&v2["tags"]).into_iter().map(|(name, tag)| (name, text(&tag))).collect(),
        body,
    }
}
