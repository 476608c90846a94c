//! The answer to a handshake.

use std::io::Read;

use super::{Choices, Pieces};
use crate::error::ErrorKind;
use crate::net::debug::dump;
use crate::net::head::{Head, MAX_ERROR_BODY};
use crate::net::websocket::handshake::check_upgrade;

/// The key and the answer to it that RFC 6455 has for an example.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An answer to a handshake says the same, in whatever pieces it comes.
pub fn handshake(input: &[u8]) {
    let mut choices = Choices(input);
    let sizes: Vec<_> = choices.sizes().into_iter().filter(|&size| size > 0).collect();
    let answer = choices.rest();
    assert_eq!(read(answer, &sizes), read(answer, &[]));
}

#[derive(Debug, PartialEq)]
enum Answer {
    /// Whether it is the one to our key, and all that comes behind it.
    Switching(bool, Vec<u8>),
    /// Any other status, and the server's words.
    Refusal(u16, String),
    None(ErrorKind),
}

fn read(answer: &[u8], sizes: &[usize]) -> Answer {
    let mut pieces = Pieces::new(answer, sizes);
    let mut head = match Head::read(&mut pieces, "the handshake") {
        Ok(head) => head,
        Err(error) => return Answer::None(error.kind()),
    };
    // A header is one line of what is printed.
    assert_eq!(dump("", head.headers()).lines().count(), 1 + head.headers().count());
    if head.status != 101 {
        let words = head.read_body(&mut pieces);
        // Each byte that is no UTF-8 becomes three.
        assert!(words.len() <= 3 * MAX_ERROR_BODY);
        return Answer::Refusal(head.status, words);
    }
    let is_ours = check_upgrade(&head, KEY).is_ok();
    if is_ours {
        let text = String::from_utf8_lossy(answer).to_lowercase();
        assert!([&*ACCEPT.to_lowercase(), "websocket", "upgrade"].iter().all(|word| text.contains(word)), "{text}");
    }
    let mut behind = head.rest;
    pieces.read_to_end(&mut behind).unwrap();
    Answer::Switching(is_ours, behind)
}
