//! Fuzzes the handshake with a SOCKS5 proxy.

use crate::net::dial::Proxy;

const SECRET: &str = "s3cr3t-p4ssw0rd";

/// Checks that a handshake has the same outcome as in a [model](expected), reads no byte too much, and shows nothing of
/// the password.
///
/// The first byte of the input says whether the proxy's URL has a password. The others are what the proxy sends.
pub fn socks5(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    let has_login = choice % 2 == 1;
    let url = if has_login { format!("socks5h://user:{SECRET}@proxy") } else { "socks5h://proxy".to_owned() };
    let target = "https://example.com".parse().unwrap();
    let server = Proxy::url(&url).unwrap().for_target(&target).unwrap().unwrap();
    let mut handshake = server.socks5_handshake("example.com", 443).unwrap();
    let (mut next, mut rest) = (Some(handshake.start()), bytes);
    let outcome = loop {
        let Some(exchange) = next else { break Outcome::Open(bytes.len() - rest.len()) };
        let Some((answer, later)) = rest.split_at_checked(exchange.receive) else { break Outcome::Incomplete };
        rest = later;
        match handshake.receive(answer) {
            Ok(exchange) => next = exchange,
            Err(refusal) => {
                assert!(refusal.why.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{refusal:?}");
                assert!(!refusal.why.contains(SECRET), "{refusal:?}");
                break Outcome::Refused;
            }
        }
    };
    assert_eq!(outcome, expected(bytes, has_login));
}

#[derive(Debug, PartialEq)]
enum Outcome {
    /// The tunnel is open after this many bytes.
    Open(usize),
    Refused,
    /// More bytes are needed.
    Incomplete,
}

/// Returns the outcome for a proxy that sends these bytes.
fn expected(bytes: &[u8], has_login: bool) -> Outcome {
    let start = match bytes {
        [5, 0, ..] => 2,
        [5, 2, 1, 0, ..] if has_login => 4,
        [5, 2] | [5, 2, _] if has_login => return Outcome::Incomplete,
        [_, _, ..] => return Outcome::Refused,
        _ => return Outcome::Incomplete,
    };
    let length = match &bytes[start..] {
        [5, 0, 0, 1, _, ..] => 4 + 4 + 2,
        [5, 0, 0, 3, length, ..] => 4 + 1 + usize::from(*length) + 2,
        [5, 0, 0, 4, _, ..] => 4 + 16 + 2,
        [5, 0, _, _, _, ..] => return Outcome::Refused,
        [5, 0, ..] => return Outcome::Incomplete,
        [_, _, ..] => return Outcome::Refused,
        _ => return Outcome::Incomplete,
    };
    if bytes.len() < start + length { Outcome::Incomplete } else { Outcome::Open(start + length) }
}
