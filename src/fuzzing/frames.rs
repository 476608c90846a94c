//! The frames of a websocket, and a model of their reader.

use std::io::Read;

use super::splitter::stretched;
use super::{Choices, Pieces};
use crate::net::websocket::frame_reader::{FrameReader, LARGE, Parsed};
use crate::wire::frames::Frames;

/// A websocket gives the messages that its frames hold, in whatever pieces they come, and however often they are taken.
pub fn frames(input: &[u8]) {
    let mut choices = Choices(input);
    let sizes: Vec<_> = choices.sizes().into_iter().filter(|&size| size > 0).collect();
    let (max_size, take_each) = (usize::from(choices.byte()) << 9, usize::from(choices.byte()));
    let (at, times) = (choices.byte(), choices.byte());
    let input = choices.rest();
    let bytes = stretched(input, at.into(), times.into());
    let already_read = take_each.min(bytes.len());
    // What is taken moves what comes behind it: many times would be for nothing but the time it takes.
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
    unreachable!("a read of nothing is the end")
}

/// The messages that a server's frames hold, and whether they end well, in the plainest way there is (RFC 6455, section
/// 5).
pub(super) fn read_at_once(mut bytes: &[u8], max_size: usize) -> (Messages, bool) {
    let mut messages = Vec::new();
    // Whether it is text, and its fragments.
    let mut begun: Option<(bool, Vec<u8>)> = None;
    while let Some((frame, rest)) = Frame::read(bytes, max_size) {
        bytes = rest;
        let (is_text, mut message) = match (frame.opcode, begun.take()) {
            (CONTINUATION, Some(message)) => message,
            (TEXT | BINARY, None) => (frame.opcode == TEXT, Vec::new()),
            (CLOSE, None) => return (messages, frame.is_control() && is_normal(frame.payload)),
            (PING | PONG, message) if frame.is_control() => {
                begun = message;
                continue;
            }
            // Among these is a message that is cut by a close frame.
            _ => break,
        };
        message.extend_from_slice(frame.payload);
        if message.len() > max_size || (frame.is_last && is_text && str::from_utf8(&message).is_err()) {
            break;
        }
        if frame.is_last {
            messages.push(message);
        } else {
            begun = Some((is_text, message));
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
    /// The first frame and what is behind it; `None` if there is none that a server may send, or not all of it.
    fn read(bytes: &'a [u8], max_size: usize) -> Option<(Self, &'a [u8])> {
        let (&[first, length], rest) = bytes.split_first_chunk()?;
        let (length, rest) = match length {
            0..126 => (length.into(), rest),
            126 => rest.split_first_chunk().map(|(length, rest)| (u16::from_be_bytes(*length).into(), rest))?,
            127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
            // Only a client masks.
            128.. => return None,
        };
        let length = usize::try_from(length).ok().filter(|&length| length <= max_size.max(MAX_CONTROL))?;
        let (payload, rest) = rest.split_at_checked(length)?;
        // No extension has been chosen.
        let is_reserved = first & 0x70 != 0;
        (!is_reserved).then_some((Frame { is_last: first & 0x80 != 0, opcode: first & 0x0f, payload }, rest))
    }

    fn is_control(&self) -> bool {
        self.is_last && self.payload.len() <= MAX_CONTROL
    }
}

fn is_normal(close: &[u8]) -> bool {
    match close {
        [] => true,
        [_] => false,
        [high, low, reason @ ..] => [*high, *low] == 1000_u16.to_be_bytes() && str::from_utf8(reason).is_ok(),
    }
}
