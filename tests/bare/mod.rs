//! Clients of the testing server that are bare sockets.
#![allow(dead_code)] // Each test file uses its own part.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use loggregator_consumer::testing::TrafficController;

/// The longest wait for something that must happen.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long to watch for something that must not happen.
pub const QUIET: Duration = Duration::from_millis(60);

/// A time that no test reaches.
pub const NEVER: Duration = Duration::from_secs(3600);

pub const PING: (u8, &[u8]) = (0x89, b"");

pub fn connect(server: &TrafficController) -> TcpStream {
    let client = TcpStream::connect(server.address()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.set_write_timeout(Some(DEADLINE)).unwrap();
    client
}

/// Sends the head of a request with these headers. Unless they say otherwise, the connection ends after the response.
pub fn request(client: &mut impl Write, line: &str, headers: &[&str]) {
    let mut head = format!("{line} HTTP/1.1\r\nHost: x\r\n");
    if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("connection:")) {
        head.push_str("Connection: close\r\n");
    }
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    client.write_all((head + "\r\n").as_bytes()).unwrap();
}

/// Reads a head, and no byte after it.
pub fn head(client: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.extend_from_slice(&byte);
    }
    String::from_utf8(head).unwrap()
}

/// Sends a GET request, and returns the head and the body of the response. A handshake is not accepted.
pub fn get(server: &TrafficController, target: &str, headers: &[&str]) -> (String, Vec<u8>) {
    let mut client = connect(server);
    let mut headers = headers.to_vec();
    for header in headers.iter_mut().filter(|header| **header == HANDSHAKE[1]) {
        *header = "Connection: Upgrade, close";
    }
    request(&mut client, &format!("GET {target}"), &headers);
    let head = head(&mut client);
    let mut body = Vec::new();
    client.read_to_end(&mut body).unwrap();
    (head, body)
}

/// Like [`get`]. Returns the status line, the headers without the date, and the body as text.
pub fn get_text(server: &TrafficController, target: &str, headers: &[&str]) -> (String, Vec<String>, String) {
    let (head, body) = get(server, target, headers);
    let mut lines = head.trim_end().split("\r\n").map(str::to_owned);
    let status = lines.next().unwrap();
    let (dates, headers): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("Date: "));
    assert_eq!(dates.len(), 1);
    (status, headers, String::from_utf8(body).unwrap())
}

pub const HANDSHAKE: [&str; 4] = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    // The key and the accept key below are RFC 6455's example.
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

pub const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

pub fn open_websocket(server: &TrafficController, target: &str) -> TcpStream {
    open_websocket_with(server, target, &[])
}

pub fn open_websocket_with(server: &TrafficController, target: &str, headers: &[&str]) -> TcpStream {
    let mut client = connect(server);
    request(&mut client, &format!("GET {target}"), &[&HANDSHAKE[..], headers].concat());
    assert_eq!(head(&mut client), SWITCHING);
    client
}

/// Reads a frame, and returns its first byte and its payload.
pub fn frame(client: &mut impl Read) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    client.read_exact(&mut head).unwrap();
    assert!(head[1] & 0x80 == 0, "servers do not mask");
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            client.read_exact(&mut length).unwrap();
            u16::from_be_bytes(length).into()
        }
        127 => {
            let mut length = [0; 8];
            client.read_exact(&mut length).unwrap();
            u64::from_be_bytes(length)
        }
        length => length.into(),
    };
    let mut payload = Vec::new();
    client.take(length).read_to_end(&mut payload).unwrap();
    assert_eq!(payload.len() as u64, length);
    (head[0], payload)
}

/// A short frame as a client sends it: masked.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

pub fn rest(client: &mut impl Read) -> Vec<u8> {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    rest
}

pub fn assert_quiet(client: &TcpStream) {
    client.set_read_timeout(Some(QUIET)).unwrap();
    let error = { client }.read(&mut [0]).expect_err("there should be nothing to read");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    client.set_read_timeout(Some(DEADLINE)).unwrap();
}

pub fn assert_reset(result: io::Result<usize>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// Builds a multipart body, independently of the server's own encoder.
pub fn multipart(boundary: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n\r\n").as_bytes());
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    if parts.is_empty() {
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

/// Returns the boundary in the head of a 200 response.
pub fn boundary(head: &str) -> &str {
    let (_, rest) = head.split_once("\r\nContent-Type: multipart/x-protobuf; boundary=").unwrap();
    rest.split("\r\n").next().unwrap()
}
