//! Fuzzes the frame reader of a websocket against a model.

use std::io::Read;

use super::input::{Choices, Pieces};
use super::splitter::stretched;
use crate::net::websocket::frame_reader::{FrameReader, LARGE, Parsed};
use crate::wire::frames::Frames;

/// Checks that a websocket has the same messages as in the model, whatever the pieces in which its frames arrive, and
/// however often the messages are taken.
pub fn frames(input: &[u8]) {
    let mut choices = Choices(input);
    let sizes: Vec<_> = choices.sizes().into_iter().filter(|&size| size > 0).collect();
    let (max_size, take_each) = (usize::from(choices.byte()) << 9, usize::from(choices.byte()));
    let (at, times) = (choices.byte(), choices.byte());
    let input = choices.rest();
    let bytes = stretched(input, at.into(), times.into());
    let already_read = take_each.min(bytes.len());
    // Each time the messages are taken, the bytes after them move. Many times would only be slow.
    let take_each = if bytes.len() > input.len() { usize::MAX } else { take_each };

    let expected = read_at_once(&bytes, max_size);
    assert_eq!(read(FrameReader::new(Vec::new(), max_size), &bytes, &sizes, take_each), expected);
    let reader = FrameReader::new(bytes[..already_read].to_vec(), max_size);
    assert_eq!(read(reader, &bytes[already_read..], &[], usize::MAX), expected);
}

type Messages = Vec<Vec<u8>>;

fn read(mut reader: FrameReader, bytes: &[u8], sizes: &[usize], take_each: usize) -> (Messages, bool) {
    let (mut messages, mut spare) = (Vec::new(), Frames::default());
    let mut pieces = Pieces::new(bytes, sizes);
    for n in 1.. {
        let mut is_clean = None;
        let mut is_full = false;
        match reader.parse() {
            Parsed::NeedMore => {
                let room = reader.read_buffer();
                assert!((1..=2 * LARGE + bytes.len()).contains(&room.len()));
                match pieces.read(room).unwrap() {
                    0 => is_clean = Some(false),
                    length => reader.advance(length),
                }
            }
            Parsed::BatchFull => is_full = true,
            Parsed::Ping(payload) => assert!(payload.len() <= MAX_CONTROL),
            Parsed::Close { code, .. } => is_clean = Some(matches!(code, None | Some(1000))),
            Parsed::Failed(ending) => is_clean = Some(ending.is_clean()),
        }
        if is_full || is_clean.is_some() || n % take_each.max(1) == 0 {
            if let Some(taken) = reader.take(|| std::mem::take(&mut spare)) {
                messages.extend((0..).map_while(|n| taken.get(n).map(<[u8]>::to_vec)));
                spare = taken;
            }
            reader.shrink();
        }
        if let Some(is_clean) = is_clean {
            return (messages, is_clean);
        }
    }
    unreachable!("an empty read is the end")
}

/// Returns the messages in a server's frames, and true if they end cleanly. This is the model: the simplest code that
/// reads them (RFC 6455, section 5).
pub(super) fn read_at_once(mut bytes: &[u8], max_size: usize) -> (Messages, bool) {
    let mut messages = Vec::new();
    // True if the incomplete message is a text message, and its fragments.
    let mut unfinished: Option<(bool, Vec<u8>)> = None;
    while let Some((frame, rest)) = Frame::read(bytes, max_size) {
        bytes = rest;
        let (is_text, mut message) = match (frame.opcode, unfinished.take()) {
            (CONTINUATION, Some(message)) => message,
            (TEXT | BINARY, None) => (frame.opcode == TEXT, Vec::new()),
            (CLOSE, None) => return (messages, frame.is_valid_control() && is_normal(frame.payload)),
            (PING | PONG, message) if frame.is_valid_control() => {
                unfinished = message;
                continue;
            }
            // This includes a message that is cut short by a close frame.
            _ => break,
        };
        message.extend_from_slice(frame.payload);
        if message.len() > max_size || (frame.is_last && is_text && str::from_utf8(&message).is_err()) {
            break;
        }
        if frame.is_last {
            messages.push(message);
        } else {
            unfinished = Some((is_text, message));
        }
    }
    (messages, false)
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const MAX_CONTROL: usize = 125;

struct Frame<'a> {
    is_last: bool,
    opcode: u8,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Returns the first frame and the bytes after it, or `None` if the frame is incomplete or invalid from a server.
    fn read(bytes: &'a [u8], max_size: usize) -> Option<(Self, &'a [u8])> {
        let (&[first, length], rest) = bytes.split_first_chunk()?;
        let (length, rest) = match length {
            0..126 => (length.into(), rest),
            126 => rest.split_first_chunk().map(|(length, rest)| (u16::from_be_bytes(*length).into(), rest))?,
            127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
            // Only clients mask frames.
            128.. => return None,
        };
        let length = usize::try_from(length).ok().filter(|&length| length <= max_size.max(MAX_CONTROL))?;
        let (payload, rest) = rest.split_at_checked(length)?;
        // The reserved bits are for extensions, and none was agreed on.
        let is_reserved = first & 0x70 != 0;
        (!is_reserved).then_some((Frame { is_last: first & 0x80 != 0, opcode: first & 0x0f, payload }, rest))
    }

    /// Returns true if this is valid as a control frame.
    fn is_valid_control(&self) -> bool {
        self.is_last && self.payload.len() <= MAX_CONTROL
    }
}

/// Returns true if a close frame ends a connection cleanly.
fn is_normal(close: &[u8]) -> bool {
    match close {
        [] => true,
        [_] => false,
        [high, low, reason @ ..] => [*high, *low] == 1000_u16.to_be_bytes() && str::from_utf8(reason).is_ok(),
    }
}
