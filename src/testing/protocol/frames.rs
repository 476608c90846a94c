//! Websocket frames as a server reads and writes them: bytes only, no sockets.
//!
//! The frames are handled one by one instead of by a `tungstenite::WebSocket`, because the real servers answer a close
//! frame with an empty one and never fragment, and because tests send frames that no server would send.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::received::Frame;

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

/// Splits the bytes that a client sent into frames.
#[derive(Default)]
pub(crate) struct FrameReader(Vec<u8>);

/// The client sent something that is not a valid frame.
pub(crate) struct ProtocolError;

impl FrameReader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Removes and returns the next frame. `None`: it is incomplete.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, ProtocolError> {
        let mut cursor = Cursor::new(&self.0);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| ProtocolError)? else {
            return Ok(None);
        };
        let mask = header.mask.ok_or(ProtocolError)?;
        let largest = if matches!(header.opcode, OpCode::Control(_)) { 125 } else { LARGEST_FRAME };
        if length > largest || header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(ProtocolError);
        }
        let start = cursor.position() as usize;
        let end = start + length as usize;
        let Some(masked) = self.0.get(start..end) else { return Ok(None) };
        let payload: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        self.0.drain(..end);
        Ok(Some(match header.opcode {
            OpCode::Control(Control::Ping) => Frame::Ping(payload),
            OpCode::Control(Control::Pong) => Frame::Pong(payload),
            OpCode::Control(_) => Frame::Close(code_and_reason(&payload)),
            OpCode::Data(Data::Text) if header.is_final => Frame::Text(lossy(&payload)),
            OpCode::Data(Data::Binary) if header.is_final => Frame::Binary(payload),
            OpCode::Data(_) => Frame::Fragment(payload),
        }))
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
