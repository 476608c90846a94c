//! Websocket frames as a server reads and writes them: bytes only, no sockets.
//!
//! The frames are handled one by one instead of by a `tungstenite::WebSocket`, because the real servers answer a close
//! frame with an empty one and never fragment, and because tests send frames that no server would send.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::received::Frame;
use crate::testing::config::generation::Generation;

/// The maximum payload of a client's frame: far more than a keep-alive text.
const LARGEST_FRAME: u64 = 1 << 20;

pub(crate) fn write_binary(payload: &[u8], out: &mut Vec<u8>) {
    write_frame(OpCode::Data(Data::Binary), payload, out);
}

pub(crate) fn write_ping(out: &mut Vec<u8>) {
    write_frame(OpCode::Control(Control::Ping), b"", out);
}

pub(crate) fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write_frame(OpCode::Control(Control::Pong), payload, out);
}

/// Appends a close frame. Without a code it is empty, and the reason is ignored.
pub(crate) fn write_close(code: Option<u16>, reason: &str, out: &mut Vec<u8>) {
    let payload = code.map_or(Vec::new(), |code| [&code.to_be_bytes(), reason.as_bytes()].concat());
    write_frame(OpCode::Control(Control::Close), &payload, out);
}

/// Appends the header of a binary frame of the maximum length, which is practically endless.
pub(crate) fn write_endless_binary_header(out: &mut Vec<u8>) {
    write_header(OpCode::Data(Data::Binary), i64::MAX as u64, out);
}

fn write_frame(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    write_header(opcode, payload.len() as u64, out);
    out.extend_from_slice(payload);
}

fn write_header(opcode: OpCode, length: u64, out: &mut Vec<u8>) {
    FrameHeader { opcode, ..FrameHeader::default() }.format(length, out).expect("writing to a Vec cannot fail");
}

/// Splits the bytes that a client sent into frames. It checks them as gorilla/websocket does in the servers of a
/// generation.
pub(crate) struct FrameReader {
    generation: Generation,
    bytes: Vec<u8>,
    /// The first frame of a message has been read, but not its last one.
    is_in_message: bool,
}

/// The client sent something that is not a valid frame. This is the reason in the close frame that answers it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProtocolError(pub(crate) String);

impl FrameReader {
    pub(crate) fn new(generation: Generation) -> Self {
        FrameReader { generation, bytes: Vec::new(), is_in_message: false }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Removes and returns the next frame. `None`: it is incomplete.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, ProtocolError> {
        let &[first, second, ..] = self.bytes.as_slice() else { return Ok(None) };
        self.check(first, second)?;
        let mut cursor = Cursor::new(&self.bytes);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| ProtocolError(String::new()))? else {
            return Ok(None);
        };
        let mask = header.mask.ok_or_else(|| ProtocolError("incorrect mask flag".into()))?;
        if length > LARGEST_FRAME {
            return Err(ProtocolError(String::new()));
        }
        let start = cursor.position() as usize;
        let end = start + length as usize;
        let Some(masked) = self.bytes.get(start..end) else { return Ok(None) };
        let payload: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        self.bytes.drain(..end);
        Ok(Some(match header.opcode {
            OpCode::Control(Control::Ping) => Frame::Ping(payload),
            OpCode::Control(Control::Pong) => Frame::Pong(payload),
            OpCode::Control(_) => Frame::Close(code_and_reason(&payload)),
            OpCode::Data(data) => {
                self.is_in_message = !header.is_final;
                match data {
                    Data::Text if header.is_final => Frame::Text(lossy(&payload)),
                    Data::Binary if header.is_final => Frame::Binary(payload),
                    _ => Frame::Fragment(payload),
                }
            }
        }))
    }

    /// Checks the first two bytes of a frame.
    fn check(&self, first: u8, second: u8) -> Result<(), ProtocolError> {
        let is_today = self.generation >= Generation::Today;
        let (opcode, is_final, reserved) = (first & 0x0f, first & 0x80 != 0, first & 0x70);
        let mut problems = Vec::new();
        if is_today {
            let bits = [(0x40, "RSV1 set"), (0x20, "RSV2 set"), (0x10, "RSV3 set")];
            problems.extend(bits.iter().filter(|(bit, _)| reserved & bit != 0).map(|(_, text)| (*text).to_owned()));
        } else if reserved != 0 && self.generation.has_legacy() {
            problems.push(format!("unexpected reserved bits {}", reserved >> 4));
        } else if reserved != 0 {
            problems.push(format!("unexpected reserved bits {reserved:#x}"));
        }
        let mut check = |is_wrong: bool, before: &str, today: &str| {
            if is_wrong {
                problems.push(if is_today { today.to_owned() } else { before.to_owned() });
            }
        };
        match opcode {
            8..=10 => {
                check(second & 0x7f > 125, "control frame length > 125", "len > 125 for control");
                check(!is_final, "control frame not final", "FIN not set on control");
            }
            1 | 2 => check(self.is_in_message, "message start before final message frame", "data before FIN"),
            0 => check(!self.is_in_message, "continuation after final message frame", "continuation after FIN"),
            _ => check(true, &format!("unknown opcode {opcode}"), &format!("bad opcode {opcode}")),
        }
        // The servers before check the mask last.
        check(is_today && second & 0x80 == 0, "", "bad MASK");
        match problems.first() {
            None => Ok(()),
            Some(_) if is_today => Err(ProtocolError(problems.join(", "))),
            Some(first) => Err(ProtocolError(first.clone())),
        }
    }
}

/// Returns why the servers of a generation do not accept the code of a client's close frame.
pub(crate) fn close_code_error(generation: Generation, code: u16) -> Option<String> {
    let is_valid = matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999);
    match generation {
        _ if is_valid || generation.has_legacy() => None,
        Generation::Y2018 | Generation::LogCache1 => Some("invalid close code".into()),
        _ => Some(format!("bad close code {code}")),
    }
}

fn code_and_reason(payload: &[u8]) -> Option<(u16, String)> {
    let (code, reason) = payload.split_first_chunk()?;
    Some((u16::from_be_bytes(*code), lossy(reason)))
}

/// Replaces invalid UTF-8 by U+FFFD.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
