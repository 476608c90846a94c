//! [`Inbox`]: what has come over a websocket, taken apart where it lies (RFC 6455, section 5).
//!
//! tungstenite reads headers for it, but not messages: that would cost a copy of each, a buffer as large as any burst for
//! each idle connection, and a message cut short by a close frame would be lost without a word.

use std::io::Cursor;
use std::ops::Range;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::ending::Ending;
use crate::frames::Frames;

/// What is read into at first: an app that says a line now and then needs no more.
pub(crate) const SMALL: usize = 4 * 1024;

/// What is read into when much more than that comes at once. A single message that needs it makes it larger.
pub(crate) const LARGE: usize = 256 * 1024;

/// How many messages are handed over at a time, at the most.
const MAX_FRAMES: usize = 1024;

/// What the payload of a control frame can have.
const MAX_CONTROL: usize = 125;

/// What has been read: messages that are complete, and the beginning of another.
pub(crate) struct Inbox {
    /// The complete messages. All of the memory can be read into.
    frames: Frames,
    /// As far has been read.
    filled: usize,
    /// As far has been taken apart. What follows is the beginning of a frame.
    parsed: usize,
    /// Where that frame ends, as soon as its header tells.
    frame_end: usize,
    /// The fragments so far of a message in fragments, one behind the other.
    unfinished: Option<Range<usize>>,
    /// Whether that message is one of text.
    is_text: bool,
    max_message_size: usize,
}

/// What [`Inbox::step`] came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// All that has been read is taken apart.
    Read,
    /// So many messages are complete that they should be taken first.
    Full,
    Ping(Vec<u8>),
    Close {
        code: Option<u16>,
        reason: String,
    },
    /// What came can't be understood, nor what would come behind it.
    Fail(Ending),
}

impl Inbox {
    /// `rest` is what has been read already.
    pub(crate) fn new(rest: Vec<u8>, max_message_size: usize) -> Self {
        let filled = rest.len();
        let frames = Frames { bytes: rest, payloads: Vec::new() };
        Inbox { frames, filled, parsed: 0, frame_end: 0, unfinished: None, is_text: false, max_message_size }
    }

    /// Where to read to. What was read is for [`fill`](Inbox::fill) to know.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.compact();
        let length = self.frames.bytes.len();
        if length - self.filled < SMALL / 4 {
            // No faster than it fills, whatever a header says of what is to come.
            let larger = if length < LARGE { 4 * length } else { self.frame_end.min(2 * length) };
            self.frames.bytes.resize(larger.max(self.filled + SMALL), 0);
        }
        let mut end = self.frames.bytes.len();
        if self.frame_end > self.filled + SMALL {
            // What came behind a large frame would have to be moved to other memory.
            end = end.min(self.frame_end);
        }
        &mut self.frames.bytes[self.filled..end]
    }

    /// Counts what has been read into the [`room`](Inbox::room).
    pub(crate) fn fill(&mut self, length: usize) {
        self.filled += length;
    }

    /// Takes apart what has been read, up to the first thing to be done.
    pub(crate) fn step(&mut self) -> Step {
        while self.frames.payloads.len() < MAX_FRAMES {
            match self.next_frame() {
                Ok(None) => return Step::Read,
                Ok(Some((header, payload))) => match header.opcode {
                    OpCode::Data(data) => {
                        if let Err(ending) = self.add(data, payload, header.is_final) {
                            return Step::Fail(ending);
                        }
                    }
                    OpCode::Control(Control::Ping) => return Step::Ping(self.frames.bytes[payload].to_vec()),
                    OpCode::Control(Control::Close) => return self.close(payload),
                    OpCode::Control(_) => {}
                },
                Err(ending) => return Step::Fail(ending),
            }
        }
        Step::Full
    }

    /// The header of the next frame and where its payload lies, when it is complete.
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

    /// Checks what a header says, before what it announces has come.
    fn check(&self, header: &FrameHeader, length: u64) -> Result<usize, Ending> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(broken("a frame uses an extension that was not agreed on"));
        }
        if header.mask.is_some() {
            return Err(broken("a frame is masked, which only a client's are"));
        }
        match (header.opcode, &self.unfinished) {
            (OpCode::Control(_), _) if !header.is_final => Err(broken("a control frame is fragmented")),
            (OpCode::Control(_), _) if length > MAX_CONTROL => Err(broken("a control frame is too long")),
            (OpCode::Control(_), _) => Ok(length),
            (OpCode::Data(Data::Continue), None) => Err(broken("a fragment continues no message")),
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

    /// Adds a message, or a fragment of one.
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
            return Err(broken("a message of text is no UTF-8"));
        } else {
            self.frames.payloads.push(message);
        }
        Ok(())
    }

    fn close(&self, payload: Range<usize>) -> Step {
        if self.unfinished.is_some() {
            return Step::Fail(broken("the server closed the connection in the middle of a message"));
        }
        match self.frames.bytes[payload.clone()].split_at_checked(2) {
            Some((code, reason)) => match std::str::from_utf8(reason) {
                Ok(reason) => {
                    Step::Close { code: Some(u16::from_be_bytes([code[0], code[1]])), reason: reason.to_owned() }
                }
                Err(_) => Step::Fail(broken("the reason in the close frame is no UTF-8")),
            },
            None if payload.is_empty() => Step::Close { code: None, reason: String::new() },
            None => Step::Fail(broken("the close frame has half a code")),
        }
    }

    /// Takes the complete messages, if there are any, for memory to read on into.
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

    /// Lets go of memory that was needed for a burst, when there is nothing in it.
    pub(crate) fn rest(&mut self) {
        if self.frames.is_empty() && self.unfinished.is_none() && self.parsed == self.filled {
            (self.filled, self.parsed) = (0, 0);
            if self.frames.bytes.len() > SMALL {
                self.frames = Frames::default();
            }
        }
    }

    /// Moves what is still needed to the front, over the headers and control frames between.
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

    /// From where on what has been read is no complete message.
    fn start(&self) -> usize {
        self.unfinished.as_ref().map_or(self.parsed, |message| message.start)
    }

    /// Has all places count from `start`.
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
