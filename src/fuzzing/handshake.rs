//! Fuzzes reading the response to a websocket handshake.

use std::io::Read;

use super::input::{Choices, Pieces};
use crate::error::ErrorKind;
use crate::net::debug::dump;
use crate::net::head::{Head, MAX_ERROR_BODY};
use crate::net::websocket::handshake::check_upgrade;

/// The key in the example of RFC 6455, and the matching Sec-WebSocket-Accept.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Checks that the response to a handshake is read the same, whatever the pieces in which it arrives.
pub fn handshake(input: &[u8]) {
    let mut choices = Choices(input);
    let sizes: Vec<_> = choices.sizes().into_iter().filter(|&size| size > 0).collect();
    let response = choices.rest();
    assert_eq!(read(response, &sizes), read(response, &[]));
}

#[derive(Debug, PartialEq)]
enum Outcome {
    /// Status 101: true if the upgrade is valid for our key, and the bytes after the head.
    Upgrade(bool, Vec<u8>),
    /// Any other status, and the body.
    ErrorResponse(u16, String),
    Error(ErrorKind),
}

fn read(response: &[u8], sizes: &[usize]) -> Outcome {
    let mut pieces = Pieces::new(response, sizes);
    let mut head = match Head::read_final(&mut pieces, "the handshake") {
        Ok(head) => head,
        Err(error) => return Outcome::Error(error.kind()),
    };
    // Each header is printed on one line.
    assert_eq!(dump("", head.headers()).lines().count(), 1 + head.headers().count());
    if head.status != 101 {
        let body = head.read_body(&mut pieces);
        // Each invalid byte becomes a U+FFFD of three bytes.
        assert!(body.len() <= 3 * MAX_ERROR_BODY);
        return Outcome::ErrorResponse(head.status, body);
    }
    let is_valid = check_upgrade(&head, KEY).is_ok();
    if is_valid {
        let text = String::from_utf8_lossy(response).to_lowercase();
        assert!([&*ACCEPT.to_lowercase(), "websocket", "upgrade"].iter().all(|word| text.contains(word)), "{text}");
    }
    let mut rest = head.rest;
    pieces.read_to_end(&mut rest).unwrap();
    Outcome::Upgrade(is_valid, rest)
}
