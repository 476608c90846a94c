//! Compares our frame reader with tungstenite's own reading.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error as WsError, Message};

use super::frame_reader::{FrameReader, Parsed};
use super::*;

/// The message size limit. Larger than one read.
const LIMIT: usize = LARGE + 10_000;

/// How the bytes ended. The error texts are not compared.
#[derive(Debug, Clone, PartialEq)]
enum End {
    Eof,
    Closed(Option<u16>),
    TooLarge,
    Broken,
}

/// The messages, the pings and the end.
type Outcome = (Vec<Vec<u8>>, Vec<Vec<u8>>, End);

/// Reads bytes with our reader, in pieces of these sizes.
fn read_with_ours(mut bytes: &[u8], pieces: &[usize], take_each: bool) -> Outcome {
    let mut reader = FrameReader::new(Vec::new(), LIMIT);
    let (mut messages, mut pings, mut spare) = (Vec::new(), Vec::new(), Frames::default());
    let mut pieces = pieces.iter().copied().cycle();
    let end = loop {
        let step = reader.parse();
        let is_full = matches!(step, Parsed::BatchFull);
        let mut end = None;
        match step {
            Parsed::BatchFull => {}
            Parsed::NeedMore => {
                let buffer = reader.read_buffer();
                assert!(!buffer.is_empty(), "the buffer is never empty");
                let length = bytes.len().min(buffer.len()).min(pieces.next().unwrap_or(usize::MAX));
                buffer[..length].copy_from_slice(&bytes[..length]);
                reader.advance(length);
                end = bytes.is_empty().then_some(End::Eof);
                bytes = &bytes[length..];
            }
            Parsed::Ping(payload) => pings.push(payload),
            Parsed::Close { code, .. } => end = Some(End::Closed(code)),
            Parsed::Failed(Ending::TooLarge { .. }) => end = Some(End::TooLarge),
            Parsed::Failed(_) => end = Some(End::Broken),
        }
        if (is_full || take_each || end.is_some())
            && let Some(frames) = reader.take(|| std::mem::take(&mut spare))
        {
            messages.extend((0..).map_while(|n| frames.get(n).map(<[u8]>::to_vec)));
            spare = frames;
        }
        reader.shrink();
        if let Some(end) = end {
            break end;
        }
    };
    (messages, pings, end)
}

/// A peer that sends these bytes and accepts everything that is written.
struct Peer<'a>(Cursor<&'a [u8]>);

impl Read for Peer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads bytes with tungstenite.
fn read_with_tungstenite(bytes: &[u8]) -> Outcome {
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let mut websocket = tungstenite::WebSocket::from_raw_socket(Peer(Cursor::new(bytes)), Role::Client, Some(config));
    let (mut messages, mut pings) = (Vec::new(), Vec::new());
    let end = loop {
        match websocket.read() {
            Ok(Message::Binary(payload)) => messages.push(payload.to_vec()),
            Ok(Message::Text(payload)) => messages.push(payload.as_bytes().to_vec()),
            Ok(Message::Ping(payload)) => pings.push(payload.to_vec()),
            Ok(Message::Pong(_) | Message::Frame(_)) => {}
            Ok(Message::Close(frame)) => break End::Closed(frame.map(|frame| frame.code.into())),
            Err(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => break End::Eof,
            Err(WsError::Capacity(CapacityError::MessageTooLong { .. })) => break End::TooLarge,
            Err(_) => break End::Broken,
        }
    };
    (messages, pings, end)
}

fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = FrameHeader { is_final, opcode, ..FrameHeader::default() };
    Frame::from_payload(header, payload.to_vec().into()).format(&mut bytes).unwrap();
    bytes
}

fn binary(payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Data(Data::Binary), true, payload)
}

fn payload(end: usize) -> impl Strategy<Value = Vec<u8>> + Clone {
    (any::<u8>(), 0..end).prop_map(|(byte, length)| vec![byte; length])
}

/// Frames of any kind, valid and invalid.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let data_payload = prop_oneof![8 => payload(200), 1 => payload(LIMIT + 10)];
    let control = payload(130);
    let data = prop_oneof![Just(Data::Binary), Just(Data::Continue)];
    prop_oneof![
        8 => data_payload.clone().prop_map(|payload| binary(&payload)),
        4 => (data, prop::bool::weighted(0.3), data_payload)
            .prop_map(|(data, is_final, payload)| frame(OpCode::Data(data), is_final, &payload)),
        1 => ".{0,100}".prop_map(|text| frame(OpCode::Data(Data::Text), true, text.as_bytes())),
        2 => control.clone().prop_map(|payload| frame(OpCode::Control(Control::Ping), true, &payload)),
        1 => control.prop_map(|payload| frame(OpCode::Control(Control::Pong), true, &payload)),
    ]
}

/// Messages in fragments, with pings between them.
fn fragmented() -> impl Strategy<Value = Vec<u8>> {
    let fragment = (payload(3000), any::<bool>());
    prop::collection::vec(fragment, 1..30).prop_map(|fragments| {
        let last = fragments.len() - 1;
        let mut bytes = Vec::new();
        for (n, (payload, with_ping)) in fragments.iter().enumerate() {
            let data = if n == 0 { Data::Binary } else { Data::Continue };
            bytes.extend(frame(OpCode::Data(data), n == last, payload));
            if *with_ping {
                bytes.extend(frame(OpCode::Control(Control::Ping), true, b"?"));
            }
        }
        bytes
    })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![any_frame(), fragmented()], 0..20).prop_map(|frames| frames.concat())
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..100usize, 1..5000usize, Just(usize::MAX)], 1..20)
}

proptest! {
    #[test]
    fn frames_are_read_as_tungstenite_reads_them(bytes in stream(), pieces in pieces(), take_each: bool) {
        prop_assert_eq!(read_with_ours(&bytes, &pieces, take_each), read_with_tungstenite(&bytes));
    }

    #[test]
    fn damaged_frames_are_read_as_tungstenite_reads_them(
        mut bytes in stream(), at: prop::sample::Index, byte: u8, pieces in pieces(),
    ) {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (ours, theirs) = (read_with_ours(&bytes, &pieces, true), read_with_tungstenite(&bytes));
        match theirs.2 {
            // We check the UTF-8 of a text message only at its end.
            End::Broken => prop_assert!(ours.0.starts_with(&theirs.0) && ours.1.starts_with(&theirs.1)),
            // We check a header before its payload has arrived, tungstenite after that.
            End::Eof if ours.2 == End::Broken => prop_assert_eq!((ours.0, ours.1), (theirs.0, theirs.1)),
            // The tests of close frames below compare the codes.
            End::Closed(_) => prop_assert_eq!((ours.0, ours.1), (theirs.0, theirs.1)),
            _ => prop_assert_eq!(ours, theirs),
        }
    }
}

#[test]
fn a_close_frame_in_the_middle_of_a_message_is_an_error() {
    let begun = frame(OpCode::Data(Data::Binary), false, b"half a mess");
    let close = frame(OpCode::Control(Control::Close), true, &1000u16.to_be_bytes());
    let (messages, _, end) = read_with_ours(&[binary(b"one"), begun, close].concat(), &[usize::MAX], false);
    assert_eq!((messages, end), (vec![b"one".to_vec()], End::Broken));
}

#[test]
fn a_close_frame_keeps_its_code() {
    for code in [1000, 1001, 1005, 1006, 1008, 4000, 65535] {
        let close = frame(OpCode::Control(Control::Close), true, &[&u16::to_be_bytes(code)[..], b"why"].concat());
        assert_eq!(read_with_ours(&close, &[1], false).2, End::Closed(Some(code)));
    }
    assert_eq!(read_with_ours(&frame(OpCode::Control(Control::Close), true, b""), &[1], false).2, End::Closed(None));
    assert_eq!(read_with_ours(&frame(OpCode::Control(Control::Close), true, b"\x03"), &[1], false).2, End::Broken);
    let no_utf8 = [&u16::from(CloseCode::Normal).to_be_bytes()[..], b"\xff"].concat();
    assert_eq!(read_with_ours(&frame(OpCode::Control(Control::Close), true, &no_utf8), &[1], false).2, End::Broken);
}

#[test]
fn endless_empty_fragments_take_no_memory() {
    let mut reader = FrameReader::new(frame(OpCode::Data(Data::Binary), false, b"x"), LIMIT);
    let fragment = frame(OpCode::Data(Data::Continue), false, b"");
    let many = fragment.repeat(10_000);
    for _ in 0..100 {
        let mut bytes = &many[..];
        while !bytes.is_empty() {
            assert!(matches!(reader.parse(), Parsed::NeedMore));
            let buffer = reader.read_buffer();
            assert!(buffer.len() <= LARGE, "{}", buffer.len());
            let length = buffer.len().min(bytes.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            reader.advance(length);
            bytes = &bytes[length..];
        }
    }
}

#[test]
fn a_flood_needs_no_larger_buffer_than_the_largest() {
    let frame = [[0x82, 100].as_slice(), &[b'x'; 100]].concat();
    for rest in [0, 1, 150, 5_000, LARGE - 1] {
        let mut flood = frame.iter().copied().cycle();
        let mut reader = FrameReader::new(flood.by_ref().take(rest).collect(), LIMIT);
        for _ in 0..100 {
            while !matches!(reader.parse(), Parsed::NeedMore) {
                reader.take(Frames::default);
            }
            let buffer = reader.read_buffer();
            buffer.fill_with(|| flood.next().unwrap());
            let length = buffer.len();
            reader.advance(length);
            if let Parsed::BatchFull = reader.parse() {
                let frames = reader.take(Frames::default).unwrap();
                assert!(frames.bytes.len() <= LARGE + SMALL, "{} bytes after {rest}", frames.bytes.len());
            }
        }
    }
}
