//! Replays captures of real servers: the captures, the ways to split them, and a server that sends the pieces.

use std::fs;
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use loggregator_consumer::Ending;
use memchr::memmem;
use serde_json::Value;

use super::{DEADLINE, Script, fit_accept_key, fixture, read_head, send, send_in_two};

/// The bytes that a server sent on one connection.
#[derive(Clone)]
pub struct Capture {
    /// The file's name.
    pub name: String,
    folder: &'static str,
    pub bytes: Arc<[u8]>,
}

impl Capture {
    pub fn load(folder: &'static str, name: &str) -> Self {
        Capture { name: name.to_owned(), folder, bytes: fixture(&format!("{folder}{name}")).into() }
    }

    /// Loads all captures in a folder of the fixtures. The folder's name ends with a slash.
    pub fn all(folder: &'static str) -> Vec<Capture> {
        let names = fs::read_dir(format!("{}/tests/fixtures/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".http") || name.ends_with(".ws")).collect();
        names.sort();
        names.iter().map(|name| Capture::load(folder, name)).collect()
    }

    pub fn starts_with(&self, start: &str) -> bool {
        self.bytes.starts_with(start.as_bytes())
    }

    pub fn contains(&self, text: &str) -> bool {
        memmem::find(&self.bytes, text.as_bytes()).is_some()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    /// Returns the status and the body of an error response.
    pub fn error_response(&self) -> (u16, &str) {
        let (head, body) = self.text().split_once("\r\n\r\n").unwrap();
        (head["HTTP/1.1 ".len()..][..3].parse().unwrap(), body)
    }

    /// Returns the capture's sidecar: what the server's side recorded as it sent.
    pub fn sidecar(&self) -> Value {
        serde_json::from_slice(&fixture(&format!("{}{}.sent.json", self.folder, self.name))).unwrap()
    }

    /// Returns the ending of a tail that reads this websocket, unless the server ends it with a reset.
    pub fn ending(&self) -> Ending {
        match frames(&self.bytes).last() {
            Some(Frame { opcode: super::CLOSE, payload, .. }) => {
                let payload = &self.bytes[payload.clone()];
                let code = payload.first_chunk().map(|&code| u16::from_be_bytes(code));
                Ending::ClosedByServer {
                    code,
                    reason: String::from_utf8(payload[payload.len().min(2)..].into()).unwrap(),
                }
            }
            _ => Ending::Eof,
        }
    }

    /// Returns the script of a server that sends this capture in response to a request that `check` accepts, and then
    /// runs `end`.
    pub fn script(
        &self,
        split: &Split,
        check: impl FnOnce(&str) + Send + 'static,
        end: impl FnOnce(TcpStream) + Send + 'static,
    ) -> Script {
        let (bytes, cuts) = (Arc::clone(&self.bytes), Arc::clone(&split.cuts));
        Box::new(move |mut socket| {
            let request = read_head(&mut socket);
            check(&request);
            let response = fit_accept_key(&bytes, &request);
            match *super::pieces(&response, &cuts) {
                [first, second] => send_in_two(&mut socket, [first, second]),
                ref pieces => send(&mut socket, pieces),
            }
            end(socket);
        })
    }
}

/// Replays captures, with a deadline for each split. A failure names the capture and the split.
pub fn each(captures: Vec<Capture>, replay: impl Fn(&Capture, &Progress) + Clone + Send + 'static) {
    assert!(!captures.is_empty());
    for capture in captures {
        let name = capture.name.clone();
        let mut split = String::from("before the first replay");
        let (progress, splits) = mpsc::channel();
        let replay = replay.clone();
        let thread = thread::spawn(move || replay(&capture, &Progress(progress)));
        loop {
            match splits.recv_timeout(DEADLINE) {
                Ok(next) => split = next,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{name}, {split}: took longer than {DEADLINE:?}"),
            }
        }
        if let Err(panic) = thread.join() {
            eprintln!("failed: {name}, {split}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Reports which split is next.
pub struct Progress(mpsc::Sender<String>);

impl Progress {
    pub fn at(&self, split: &Split) {
        self.0.send(split.name.clone()).unwrap();
    }
}

/// A frame in a capture.
pub struct Frame {
    pub start: usize,
    pub opcode: u8,
    pub payload: Range<usize>,
}

/// Returns the frames after the handshake. A server's frames are not masked.
pub fn frames(capture: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut start = memmem::find(capture, b"\r\n\r\n").unwrap() + 4;
    while start < capture.len() {
        let length_bytes = match capture[start + 1] {
            126 => &capture[start + 2..start + 4],
            127 => &capture[start + 2..start + 10],
            _ => &capture[start + 1..start + 2],
        };
        let length = length_bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        let payload = if length_bytes.len() == 1 { start + 2 } else { start + 2 + length_bytes.len() };
        frames.push(Frame { start, opcode: capture[start] & 0x0f, payload: payload..payload + length });
        start = payload + length;
    }
    assert_eq!(start, capture.len(), "the last frame is complete");
    frames
}

/// The positions at which a capture is cut.
pub struct Split {
    pub name: String,
    pub cuts: Arc<[usize]>,
}

impl Split {
    fn new(name: impl Into<String>, cuts: impl IntoIterator<Item = usize>) -> Self {
        Split { name: name.into(), cuts: cuts.into_iter().collect() }
    }

    pub fn whole() -> Self {
        Split::new("whole", [])
    }
}

/// Returns the ways to split a capture: the regular ones, and in two. A small capture is cut in two at every byte, a
/// larger one at some of the interesting positions.
pub fn splits(bytes: &[u8]) -> Vec<Split> {
    const SMALL: usize = 1024;
    const REPLAYED_IN_TWO: usize = 1024 * 1024;

    let places = if bytes.len() <= SMALL { (1..bytes.len()).collect() } else { odd_places(bytes) };
    let at_most = (REPLAYED_IN_TWO / bytes.len()).max(1);
    let places = places.iter().step_by(places.len().div_ceil(at_most));
    let in_two = places.map(|&at| Split::new(format!("cut in two at {at}"), [at]));
    regular_splits(bytes).into_iter().chain(in_two).collect()
}

/// Returns the splits into many pieces. Large captures are not split into the smallest pieces, which would take too
/// long.
pub fn regular_splits(bytes: &[u8]) -> Vec<Split> {
    const MAX_PIECES: usize = 32 * 1024;

    let mut splits = vec![Split::whole(), Split::new("cut at the odd places", odd_places(bytes))];
    for size in [1, 2, 3, 7, 1000, 4095, 16385] {
        if bytes.len() / size <= MAX_PIECES {
            splits.push(Split::new(format!("in pieces of {size}"), (size..bytes.len()).step_by(size)));
        }
    }
    splits
}

/// Returns the positions before, within and after everything that a parser looks for: line ends, delimiters, the ends
/// of events and the heads of frames.
fn odd_places(bytes: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    for at in memmem::find_iter(bytes, b"\r\n") {
        places.extend([at, at + 1, at + 2]);
    }
    if memmem::find(bytes, b"\r\nContent-Type: text/event-stream\r\n").is_some() {
        for at in memmem::find_iter(bytes, b"\n\n") {
            places.extend([at - 1, at, at + 1, at + 2, at + 7, at + 8]);
        }
    }
    if let Some(boundary) = boundary(bytes) {
        for at in memmem::find_iter(bytes, boundary) {
            let end = at + boundary.len();
            places.extend([at - 1, at, at + 1, at + boundary.len() / 2, end - 1, end, end + 1]);
        }
    }
    if bytes.starts_with(b"HTTP/1.1 101") {
        for frame in frames(bytes) {
            places.extend(frame.start..=frame.payload.start);
            places.extend([frame.payload.start + frame.payload.len() / 2, frame.payload.end]);
        }
    }
    places.retain(|&at| 0 < at && at < bytes.len());
    places.sort_unstable();
    places.dedup();
    places
}

/// Returns the boundary from the head, without its quotes.
fn boundary(bytes: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"boundary=";
    let value = &bytes[memmem::find(bytes, NAME)? + NAME.len()..];
    value.split(|byte| b"\"\r".contains(byte)).find(|part| !part.is_empty())
}
