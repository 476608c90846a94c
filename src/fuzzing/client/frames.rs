//! A model of the frames of a websocket (RFC 6455, section 5), in the plainest way there is.

/// The messages that a server's frames hold, and whether they end well: with a close frame that says no more than that
/// the server is done. `None` where tungstenite does not tell us enough: of a message that is cut by a close frame.
pub(super) fn read(mut bytes: &[u8], max_size: usize) -> Option<(Vec<Vec<u8>>, bool)> {
    let mut messages = Vec::new();
    let mut begun: Option<Message> = None;
    while let Some((frame, rest)) = Frame::read(bytes, max_size) {
        bytes = rest;
        let mut message = match (frame.opcode, begun.take()) {
            (CONTINUATION, Some(message)) => message,
            (TEXT | BINARY, None) => Message { is_text: frame.opcode == TEXT, bytes: Vec::new() },
            (CLOSE, None) => return Some((messages, frame.is_control() && is_normal(frame.payload))),
            (CLOSE, Some(_)) => return None,
            (PING | PONG, message) if frame.is_control() => {
                begun = message;
                continue;
            }
            _ => return Some((messages, false)),
        };
        message.bytes.extend_from_slice(frame.payload);
        if message.bytes.len() > max_size || !message.is_good(frame.is_last) {
            return Some((messages, false));
        }
        if frame.is_last {
            messages.push(message.bytes);
        } else {
            begun = Some(message);
        }
    }
    Some((messages, false))
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

struct Message {
    is_text: bool,
    bytes: Vec<u8>,
}

impl Message {
    /// Whether it can still become one, or is one, if it is whole.
    fn is_good(&self, is_whole: bool) -> bool {
        match str::from_utf8(&self.bytes) {
            Err(error) if self.is_text => error.error_len().is_none() && !is_whole,
            _ => true,
        }
    }
}

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
        let length = usize::try_from(length).ok().filter(|&length| length <= max_size)?;
        let (payload, rest) = rest.split_at_checked(length)?;
        // No extension has been chosen.
        let is_reserved = first & 0x70 != 0;
        (!is_reserved).then_some((Frame { is_last: first & 0x80 != 0, opcode: first & 0x0f, payload }, rest))
    }

    fn is_control(&self) -> bool {
        self.is_last && self.payload.len() <= 125
    }
}

fn is_normal(close: &[u8]) -> bool {
    match close {
        [] => true,
        [_] => false,
        [high, low, reason @ ..] => [*high, *low] == 1000_u16.to_be_bytes() && str::from_utf8(reason).is_ok(),
    }
}
