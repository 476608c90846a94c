//! Log messages and multipart responses as the legacy servers send them, encoded by hand: the crate's own encoder could
//! hide a mistake that its decoder makes, too.

use std::time::{SystemTime, UNIX_EPOCH};

use loggregator_consumer::LogMessage;

pub const APP: &str = "11111111-2222-3333-4444-555555555555";
pub const TOKEN: &str = "bearer a-token";

pub const BOUNDARY: &str = "0123456789abcdef";
pub const CONTENT_TYPE: &str = "Content-Type: multipart/x-protobuf; boundary=0123456789abcdef";

/// A protobuf `LogMessage` with only the required fields.
pub fn message(text: &str) -> Vec<u8> {
    message_at(text, 0)
}

pub fn message_at(text: &str, nanoseconds: i64) -> Vec<u8> {
    let mut bytes = bytes_field(1, text.as_bytes());
    bytes.extend([2 << 3, 1]);
    bytes.push(3 << 3);
    bytes.extend(varint(((nanoseconds << 1) ^ (nanoseconds >> 63)) as u64));
    bytes.extend(bytes_field(4, APP.as_bytes()));
    bytes
}

/// A dropsonde `Envelope` with a log, and only the required fields.
pub fn envelope(text: &str) -> Vec<u8> {
    let log = [bytes_field(1, text.as_bytes()), vec![2 << 3, 1, 3 << 3, 0]].concat();
    [bytes_field(1, b"origin"), vec![2 << 3, 5], bytes_field(8, &log)].concat()
}

/// A dropsonde `Envelope` with a metric.
pub fn metric() -> Vec<u8> {
    [bytes_field(1, b"origin"), vec![2 << 3, 6]].concat()
}

fn bytes_field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(content.len() as u64));
    field.extend_from_slice(content);
    field
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A part, with the delimiter before it.
pub fn part(content: &[u8]) -> Vec<u8> {
    [format!("\r\n--{BOUNDARY}\r\n\r\n").as_bytes(), content].concat()
}

/// A complete multipart body with these messages.
pub fn multipart(texts: &[&str]) -> Vec<u8> {
    let parts: Vec<u8> = texts.iter().flat_map(|text| part(&message(text))).collect();
    [&parts, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat()
}

/// A complete response with these messages.
pub fn recent_response(texts: &[&str]) -> Vec<u8> {
    response("200 OK", &[CONTENT_TYPE], &multipart(texts))
}

/// A response with a `Content-Length`.
pub fn response(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    [head(status, &[headers, &[&length]].concat()), body.to_vec()].concat()
}

/// The head of a response.
pub fn head(status: &str, headers: &[&str]) -> Vec<u8> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{headers}\r\n").into_bytes()
}

/// A chunk of a chunked body.
pub fn chunk(content: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat()
}

pub fn texts(messages: &[LogMessage]) -> Vec<String> {
    messages.iter().map(|message| message.text().into_owned()).collect()
}

/// Returns a message that is logged now, for a tail over Log Cache: that returns no messages of the past.
pub fn message_of_now(app: &str, text: &str) -> LogMessage {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    LogMessage::new(app, text).timestamp(now.as_nanos() as i64)
}
