//! [`FrameReader`]: splits received bytes into messages in place (RFC 6455, section 5).
//!
//! tungstenite parses the frame headers for it, but does not read the messages. That would copy each message, keep a
//! buffer as large as the largest burst for each idle connection, and silently drop a message that a close frame cuts
//! short.

use std::io::Cursor;
use std::ops::Range;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::ending::Ending;
use crate::wire::frames::Frames;

/// The size of the first buffer. An app that logs a line now and then needs no more.
pub(crate) const SMALL: usize = 1024;

/// The size of the buffer when much more arrives at once. It grows further only for a message that needs it.
pub(crate) const LARGE: usize = 256 * 1024;

/// The most messages in one batch.
const MAX_FRAMES: usize = 4096;

/// The longest payload of a control frame, in bytes.
const MAX_CONTROL: usize = 125;

/// Splits received bytes into complete messages without copying them.
///
/// Read into [`read_buffer`](FrameReader::read_buffer), report the length to [`advance`](FrameReader::advance), then
/// call [`parse`](FrameReader::parse) until it needs more, and [`take`](FrameReader::take) the complete messages.
pub(crate) struct FrameReader {
    /// The complete messages, and the buffer that they lie in.
    frames: Frames,
    /// The buffer is filled up to here.
    filled: usize,
    /// The buffer is parsed up to here. A frame begins here.
    parsed: usize,
    /// Where that frame ends. 0 until its header is complete.
    frame_end: usize,
    /// The fragments of an incomplete message, moved together.
    unfinished: Option<Range<usize>>,
    /// That message is a text message.
    is_text: bool,
    max_message_size: usize,
}

/// Why [`FrameReader::parse`] returned.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Everything that was read is parsed.
    NeedMore,
    /// A batch of messages is complete and must be taken first.
    BatchFull,
    Ping(Vec<u8>),
    Close {
        code: Option<u16>,
        reason: String,
    },
    /// The server broke the protocol. Nothing further can be parsed.
    Failed(Ending),
}

impl FrameReader {
    /// `rest` was already read with the response to the handshake.
    pub(crate) fn new(rest: Vec<u8>, max_message_size: usize) -> Self {
        let filled = rest.len();
        let frames = Frames { bytes: rest, payloads: Vec::new() };
        FrameReader { frames, filled, parsed: 0, frame_end: 0, unfinished: None, is_text: false, max_message_size }
    }

    /// Returns the buffer to read into. It is never empty.
    pub(crate) fn read_buffer(&mut self) -> &mut [u8] {
        self.compact();
        let length = self.frames.bytes.len();
        if length - self.filled < SMALL / 4 {
            // Grows no faster than it fills, whatever length a header announces.
            let larger = if length < LARGE { LARGE.min(4 * length) } else { self.frame_end.min(2 * length) };
            self.frames.bytes.resize(larger.max(self.filled + SMALL), 0);
        }
        let mut end = self.frames.bytes.len();
        if self.frame_end > self.filled + SMALL {
            // Bytes after a large frame would have to be moved to the next buffer.
            end = end.min(self.frame_end);
        }
        &mut self.frames.bytes[self.filled..end]
    }

    /// Reports how many bytes were read into the [`read_buffer`](FrameReader::read_buffer).
    pub(crate) fn advance(&mut self, length: usize) {
        self.filled += length;
    }

    /// Parses what was read, up to the first thing that the caller must handle.
    pub(crate) fn parse(&mut self) -> Parsed {
        while self.frames.payloads.len() < MAX_FRAMES {
            match self.next_frame() {
                Ok(None) => return Parsed::NeedMore,
                Ok(Some((header, payload))) => match header.opcode {
                    OpCode::Data(data) => {
                        if let Err(ending) = self.add(data, payload, header.is_final) {
                            return Parsed::Failed(ending);
                        }
                    }
                    OpCode::Control(Control::Ping) => return Parsed::Ping(self.frames.bytes[payload].to_vec()),
                    OpCode::Control(Control::Close) => return self.close(payload),
                    OpCode::Control(_) => {}
                },
                Err(ending) => return Parsed::Failed(ending),
            }
        }
        Parsed::BatchFull
    }

    /// Returns the header and the payload's range of the next frame, or `None` if it is incomplete.
    fn next_frame(&mut self) -> Result<Option<(FrameHeader, Range<usize>)>, Ending> {
        let mut unparsed = Cursor::new(&self.frames.bytes[self.parsed..self.filled]);
        self.frame_end = 0;
        let Some((header, length)) = FrameHeader::parse(&mut unparsed).map_err(broken)? else {
            return Ok(None);
        };
        let length = self.check(&header, length)?;
        let start = self.parsed + unparsed.position() as usize;
        let end = start.saturating_add(length);
        if end > self.filled {
            self.frame_end = end;
            return Ok(None);
        }
        self.parsed = end;
        Ok(Some((header, start..end)))
    }

    /// Checks a header before its payload has arrived. Returns the payload's length.
    fn check(&self, header: &FrameHeader, length: u64) -> Result<usize, Ending> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(broken("a frame uses an extension that was not agreed on"));
        }
        if header.mask.is_some() {
            return Err(broken("a frame is masked, which only a client's frames may be"));
        }
        match (header.opcode, &self.unfinished) {
            (OpCode::Control(_), _) if !header.is_final => Err(broken("a control frame is fragmented")),
            (OpCode::Control(_), _) if length > MAX_CONTROL => Err(broken("a control frame is too long")),
            (OpCode::Control(_), _) => Ok(length),
            (OpCode::Data(Data::Continue), None) => Err(broken("a continuation frame without a message")),
            (OpCode::Data(Data::Text | Data::Binary), Some(_)) => {
                Err(broken("a message begins before the one before it has ended"))
            }
            (OpCode::Data(_), unfinished) => {
                let before = unfinished.as_ref().map_or(0, Range::len);
                if length > self.max_message_size.saturating_sub(before) {
                    return Err(Ending::TooLarge { limit: self.max_message_size });
                }
                Ok(length)
            }
        }
    }

    /// Adds a message or a fragment of one.
    fn add(&mut self, data: Data, payload: Range<usize>, is_final: bool) -> Result<(), Ending> {
        let message = match self.unfinished.take() {
            None => {
                self.is_text = data == Data::Text;
                payload
            }
            Some(before) => {
                let end = before.end + payload.len();
                self.frames.bytes.copy_within(payload, before.end);
                before.start..end
            }
        };
        if !is_final {
            self.unfinished = Some(message);
        } else if self.is_text && std::str::from_utf8(&self.frames.bytes[message.clone()]).is_err() {
            return Err(broken("a text message is not UTF-8"));
        } else {
            self.frames.payloads.push(message);
        }
        Ok(())
    }

    fn close(&self, payload: Range<usize>) -> Parsed {
        if self.unfinished.is_some() {
            return Parsed::Failed(broken("the server closed the connection in the middle of a message"));
        }
        match self.frames.bytes[payload.clone()].split_at_checked(2) {
            Some((code, reason)) => match std::str::from_utf8(reason) {
                Ok(reason) => {
                    Parsed::Close { code: Some(u16::from_be_bytes([code[0], code[1]])), reason: reason.to_owned() }
                }
                Err(_) => Parsed::Failed(broken("the reason in the close frame is not UTF-8")),
            },
            None if payload.is_empty() => Parsed::Close { code: None, reason: String::new() },
            None => Parsed::Failed(broken("the close frame has half a code")),
        }
    }

    /// Takes the complete messages, if there are any. `spare` returns memory to read further frames into.
    pub(crate) fn take(&mut self, spare: impl FnOnce() -> Frames) -> Option<Frames> {
        if self.frames.is_empty() {
            return None;
        }
        self.compact();
        let start = self.start();
        let mut next = spare();
        next.payloads.clear();
        let rest = &self.frames.bytes[start..self.filled];
        if next.bytes.len() < rest.len() {
            next.bytes.resize(rest.len(), 0);
        }
        next.bytes[..rest.len()].copy_from_slice(rest);
        self.shift(start);
        Some(std::mem::replace(&mut self.frames, next))
    }

    /// Frees the buffer if nothing is in it, so that a waiting connection needs none.
    pub(crate) fn shrink(&mut self) {
        if self.frames.is_empty() && self.unfinished.is_none() && self.parsed == self.filled {
            (self.filled, self.parsed) = (0, 0);
            self.frames = Frames::default();
        }
    }

    /// Moves incomplete data to the front of the buffer, over parsed headers and control frames.
    fn compact(&mut self) {
        let start = self.start();
        if self.frames.is_empty() && start > 0 {
            self.frames.bytes.copy_within(start..self.filled, 0);
            self.shift(start);
        }
        if let Some(message) = &self.unfinished
            && message.end < self.parsed
        {
            let gap = self.parsed - message.end;
            self.frames.bytes.copy_within(self.parsed..self.filled, message.end);
            self.parsed -= gap;
            self.filled -= gap;
            self.frame_end = self.frame_end.saturating_sub(gap);
        }
    }

    /// Where the first incomplete message begins.
    fn start(&self) -> usize {
        self.unfinished.as_ref().map_or(self.parsed, |message| message.start)
    }

    /// Makes all positions relative to `start`.
    fn shift(&mut self, start: usize) {
        self.filled -= start;
        self.parsed -= start;
        self.frame_end = self.frame_end.saturating_sub(start);
        if let Some(message) = &mut self.unfinished {
            *message = message.start - start..message.end - start;
        }
    }
}

fn broken(how: impl std::fmt::Display) -> Ending {
    Ending::Failed(format!("the server broke the websocket protocol: {how}"))
}
