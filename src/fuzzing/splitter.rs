//! Fuzzes the multipart splitter against a model.

use std::io::Read;

use memchr::memmem;

use super::input::{Choices, Pieces};
use crate::wire::multipart::{MAX_HEADERS, MAX_PREAMBLE, Splitter};

pub(super) const BOUNDARY: &str = "B";

/// Checks that a body has the same parts as in the model, whatever the pieces in which it arrives.
pub fn splitter(input: &[u8]) {
    let mut choices = Choices(input);
    let sizes = choices.sizes();
    let max_part = usize::from(choices.byte()) << 8;
    let (at, times) = (choices.byte(), choices.byte());
    let body = stretched(choices.rest(), at.into(), times.into());

    let whole = split(&*body, max_part);
    assert_eq!(split(Pieces::new(&body, &sizes), max_part), whole);
    let (parts, end) = whole;
    assert_eq!((parts, end.is_ok()), split_at_once(&body, BOUNDARY, max_part));
}

/// Repeats one of the bytes many times, in half of the cases. This reaches the limits, which are larger than an input.
pub(super) fn stretched(bytes: &[u8], at: usize, times: usize) -> Vec<u8> {
    let mut body = bytes.to_vec();
    if let Some(&byte) = bytes.get(at) {
        body.splice(at..at, std::iter::repeat_n(byte, times.saturating_sub(127) << 10));
    }
    body
}

fn split(body: impl Read, max_part: usize) -> (Vec<Vec<u8>>, Result<(), String>) {
    let mut splitter = Splitter::new(body, BOUNDARY, max_part);
    let mut parts = Vec::new();
    let end = loop {
        match splitter.next_part() {
            Ok(Some(part)) => parts.push(part.to_vec()),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.to_string()),
        }
    };
    // The end does not change.
    assert_eq!(splitter.next_part().map(|part| part.is_some()).ok(), end.is_ok().then_some(false));
    (parts, end)
}

/// Returns the parts of a body, and true if it ends cleanly. This is the model: the simplest code that splits it.
pub(super) fn split_at_once(body: &[u8], boundary: &str, max_part: usize) -> (Vec<Vec<u8>>, bool) {
    let body = [b"\r\n", body].concat();
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let mut parts = Vec::new();
    let Some((_, mut rest)) = until_delimiter(&body, &delimiter, MAX_PREAMBLE) else { return (parts, false) };
    while let Some(bytes) = rest {
        let Some((part, next)) = until_delimiter(bytes, &delimiter, max_part + MAX_HEADERS) else {
            return (parts, false);
        };
        let content = match memmem::find(&part[..part.len().min(MAX_HEADERS)], b"\r\n\r\n") {
            Some(at) => &part[at + 4..],
            None if part.len() > MAX_HEADERS => return (parts, false),
            None => &[],
        };
        if content.len() > max_part {
            return (parts, false);
        }
        parts.push(content.to_vec());
        rest = next;
    }
    (parts, true)
}

/// Returns the bytes before the next delimiter, and the bytes after it unless it is the closing one.
fn until_delimiter<'a>(bytes: &'a [u8], delimiter: &[u8], limit: usize) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    memmem::find_iter(bytes, delimiter).take_while(|&at| at <= limit).find_map(|at| {
        let line = &bytes[at + delimiter.len()..];
        if line.starts_with(b"--") {
            return Some((&bytes[..at], None));
        }
        let padding = line.iter().take_while(|byte| b" \t".contains(byte)).count();
        // More padding than the limit counts as data.
        let is_delimiter = line[padding..].starts_with(b"\r\n") && at + padding <= limit;
        is_delimiter.then_some((&bytes[..at], Some(&line[padding..])))
    })
}
