//! Websocket frames as a server reads and writes them: bytes only, no sockets.
//!
//! The servers answer a close frame with an empty one and never fragment, and tests want to send frames that no server
//! would, so the frames are handled one by one instead of by a `tungstenite::WebSocket`, which has its own mind.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::record::Frame;

/// What a client may send in one frame: far more than a keep-alive.
const LARGEST_FRAME: u64 = 1 << 20;

pub(super) fn binary(payload: &[u8], out: &mut Vec<u8>) {
    frame(OpCode::Data(Data::Binary), payload, out);
}

pub(super) fn ping(out: &mut Vec<u8>) {
    frame(OpCode::Control(Control::Ping), b"", out);
}

pub(super) fn pong(payload: &[u8], out: &mut Vec<u8>) {
    frame(OpCode::Control(Control::Pong), payload, out);
}

/// A close frame, empty when there is no code.
pub(super) fn close(code: Option<u16>, reason: &str, out: &mut Vec<u8>) {
    let payload = code.map_or(Vec::new(), |code| [&code.to_be_bytes(), reason.as_bytes()].concat());
    frame(OpCode::Control(Control::Close), &payload, out);
}

/// The head of a binary frame as long as a frame can be.
pub(super) fn endless_binary(out: &mut Vec<u8>) {
    header(OpCode::Data(Data::Binary), i64::MAX as u64, out);
}

fn frame(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    header(opcode, payload.len() as u64, out);
    out.extend_from_slice(payload);
}

fn header(opcode: OpCode, length: u64, out: &mut Vec<u8>) {
    FrameHeader { opcode, ..FrameHeader::default() }.format(length, out).expect("memory is no writer that fails");
}

/// The bytes that a client sent, to be taken out as frames.
#[derive(Default)]
pub(super) struct FrameReader(Vec<u8>);

/// The client sent what is no frame of a client.
pub(super) struct ProtocolError;

impl FrameReader {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next frame, when all of it is there.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, ProtocolError> {
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

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
