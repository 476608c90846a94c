//! Fuzzes the parser of server-sent events against a model.

use std::io::Read;

use super::input::{Choices, Pieces};
use crate::wire::sse::{Event, Parser};

type Events = Vec<(String, Vec<u8>)>;

/// Checks that a stream has the same events as in the model, whatever the pieces in which it arrives.
pub fn events(input: &[u8]) {
    let mut choices = Choices(input);
    let sizes = choices.sizes();
    let small = choices.byte().into();
    let stream = choices.rest();

    let expected = parse_at_once(stream);
    assert_eq!(parse(stream, &sizes, usize::MAX), (expected.clone(), true));
    // With a limit, only the first events are returned. How many depends on the pieces, because the limit applies to
    // the part of a line that has arrived.
    let (events, complete) = parse(stream, &sizes, small);
    assert!(expected.starts_with(&events));
    assert!(!complete || events == expected);
    assert!(events.iter().all(|(_, data)| data.len() <= small + 1));
}

/// Returns the events, and true if nothing was too large.
fn parse(stream: &[u8], sizes: &[usize], max_size: usize) -> (Events, bool) {
    let mut events = Vec::new();
    let mut parser = Parser::new(max_size);
    let mut pieces = Pieces::new(stream, sizes);
    let mut buffer = [0; 1024];
    loop {
        match pieces.read(&mut buffer) {
            Ok(0) => return (events, true),
            Ok(n) => {
                let collect = |event: Event<'_>| events.push((event.name.to_owned(), event.data.to_vec()));
                if parser.push(&buffer[..n], collect).is_err() {
                    return (events, false);
                }
            }
            Err(_) => {}
        }
    }
}

/// Returns the events of a stream. This is the model: the simplest code that parses them.
pub(super) fn parse_at_once(stream: &[u8]) -> Events {
    let mut events = Vec::new();
    let (mut name, mut data) = (String::new(), Vec::new());
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    // Each line end becomes an LF.
    let mut normalized: Vec<u8> = Vec::new();
    for (n, &byte) in stream.iter().enumerate() {
        match byte {
            b'\n' if n > 0 && stream[n - 1] == b'\r' => {}
            b'\r' => normalized.push(b'\n'),
            byte => normalized.push(byte),
        }
    }
    let mut lines: Vec<_> = normalized.split(|&byte| byte == b'\n').collect();
    // The last line is incomplete.
    lines.pop();
    for line in lines {
        let mut halves = line.splitn(2, |&byte| byte == b':');
        let (field, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"" if line.is_empty() => {
                if !data.is_empty() {
                    events.push((name.clone(), data.join(&b'\n')));
                }
                name.clear();
                data.clear();
            }
            b"event" => name = String::from_utf8_lossy(value).into_owned(),
            b"data" => data.push(value),
            _ => {}
        }
    }
    events
}
