//! Reads a response of Log Cache as it arrives: [`read_response`].
//!
//! Two readers share the work. The fast one decodes complete envelopes where they lie in a buffer. At anything else it
//! hands over to the slow one, which reads any JSON byte by byte: an error, the end, an unusual form. So everything that
//! is not a plain envelope is decided in one place, and the slow reader alone gives the same result.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;

use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use super::{Elements, FromV2, Member, decode};
use crate::error::Result;

/// How much is read at once, in bytes.
pub(super) const BUFFER: usize = 64 * 1024;

/// How servers begin a response that has envelopes.
pub(super) const START: &str = r#"{"envelopes":{"batch":["#;

/// Reads a response of Log Cache, `{"envelopes":{"batch":[…]}}`, and calls `each` for each envelope: with its
/// item, with `None` if it holds something else, or with an error if it cannot be decoded. Stops when `each` returns
/// `Break`.
///
/// Only one envelope is in memory at a time, with up to `max_envelope` bytes of JSON, plus one buffer of 64 KiB.
///
/// # Errors
///
/// The errors of reading `body`, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the body is truncated,
/// [`FileTooLarge`](io::ErrorKind::FileTooLarge) if an envelope is too large, and
/// [`InvalidData`](io::ErrorKind::InvalidData) if the JSON is not such a response.
pub(crate) fn read_response<T: FromV2>(
    body: impl Read,
    max_envelope: usize,
    each: impl FnMut(Result<Option<T>>) -> ControlFlow<()>,
) -> io::Result<()> {
    read_buffered(body, BUFFER, max_envelope, each)
}

/// Does the same with a buffer of this size.
pub(crate) fn read_buffered<T: FromV2>(
    mut body: impl Read,
    buffer: usize,
    max_envelope: usize,
    mut each: impl FnMut(Result<Option<T>>) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut unread = Vec::new();
    let mut is_first = true;
    let end = loop {
        // As much again as was not enough, so that a large envelope is not parsed too often.
        let wanted = unread.len().min(max_envelope - unread.len());
        let result = read_more(&mut body, &mut unread, wanted, buffer);
        let (used, stop) = decode_plain(&unread, &mut is_first, &mut each);
        unread.drain(..used);
        match (stop, result) {
            (Stop::Break, _) => return Ok(()),
            (Stop::Incomplete, Ok(true)) if unread.len() <= max_envelope => {}
            (_, result) => break result,
        }
    };
    let rest = (&*unread).chain(Failing(end.err())).chain(body);
    if is_first {
        return read_slowly(rest, max_envelope, each);
    }
    // An empty envelope takes the place of those that are already decoded.
    read_slowly(START.as_bytes().chain(&b"{}"[..]).chain(rest), max_envelope, |envelope| {
        let is_ours = !std::mem::replace(&mut is_first, true);
        if is_ours { ControlFlow::Continue(()) } else { each(envelope) }
    })
}

/// Reads until there are more than `wanted` further bytes, with reads of up to `size` bytes. Returns false at the end.
fn read_more(body: &mut impl Read, bytes: &mut Vec<u8>, wanted: usize, size: usize) -> io::Result<bool> {
    let before = bytes.len();
    while bytes.len() - before <= wanted {
        let length = bytes.len();
        bytes.resize(length + size, 0);
        let result = body.read(&mut bytes[length..]);
        bytes.truncate(length + result.as_ref().map_or(0, |&read| read));
        match result {
            Ok(0) => return Ok(false),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    Ok(true)
}

/// Why the fast reader has stopped.
enum Stop {
    /// Its buffer ends here, or in the middle of an envelope.
    Incomplete,
    /// Here is something other than a plain envelope.
    Unusual,
    /// The callback breaks.
    Break,
}

/// Decodes the plain envelopes at the front of a buffer. Returns how many bytes they have.
fn decode_plain<T: FromV2>(
    buffer: &[u8],
    is_first: &mut bool,
    each: &mut impl FnMut(Result<Option<T>>) -> ControlFlow<()>,
) -> (usize, Stop) {
    // Checks the UTF-8 of everything at once, which is faster than serde_json's check of each string.
    let (text, after_text) = match str::from_utf8(buffer) {
        Ok(text) => (text, Stop::Incomplete),
        Err(error) => (
            str::from_utf8(&buffer[..error.valid_up_to()]).unwrap_or_default(),
            if error.error_len().is_some() { Stop::Unusual } else { Stop::Incomplete },
        ),
    };
    let mut rest = text;
    let stop = loop {
        let Some(json) = rest.strip_prefix(if *is_first { START } else { "," }) else {
            break if rest.is_empty() { after_text } else { Stop::Unusual };
        };
        let mut envelopes = serde_json::Deserializer::from_str(json).into_iter();
        match envelopes.next() {
            Some(Ok(envelope)) => {
                *is_first = false;
                rest = &json[envelopes.byte_offset()..];
                if each(Ok(T::from_json(envelope))).is_break() {
                    break Stop::Break;
                }
            }
            Some(Err(error)) if !error.is_eof() => break Stop::Unusual,
            _ => break after_text,
        }
    };
    (text.len() - rest.len(), stop)
}

/// Does the same as [`read_response`], with the slow reader alone.
pub(crate) fn read_slowly<T: FromV2>(
    body: impl Read,
    max_envelope: usize,
    mut each: impl FnMut(Result<Option<T>>) -> ControlFlow<()>,
) -> io::Result<()> {
    let left = Cell::new(max_envelope);
    let mut stopped = false;
    let envelopes = Elements::new(|envelope: Box<RawValue>| {
        left.set(max_envelope);
        let flow = each(decode(envelope.get()));
        stopped = flow.is_break();
        flow
    });
    let body = BufReader::with_capacity(BUFFER, Limited { inner: body, left: &left });
    let mut input = serde_json::Deserializer::from_reader(body);
    let result = Member::required("envelopes", Member::new("batch", envelopes)).deserialize(&mut input);
    if stopped { Ok(()) } else { result.map_err(io::Error::from) }
}

/// A reader that fails once `left` bytes have been read. The last read may exceed them.
struct Limited<'a, R> {
    inner: R,
    left: &'a Cell<usize>,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "an envelope is too large"));
        }
        let amount = self.inner.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(amount));
        Ok(amount)
    }
}

/// A reader that fails once, with this error, and is empty otherwise.
pub(crate) struct Failing(pub(crate) Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
