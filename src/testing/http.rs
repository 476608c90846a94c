//! HTTP as the servers spoke it: reading a [`Request`], and sending a [`Response`].

use http::StatusCode;
use jiff::Timestamp;

use super::config::fault::{Endless, FaultPlan, Interruption};
use super::config::settings::BodyFraming;
use super::connection::Connection;
use super::record::{Request, RequestKind};
use super::stream::Broken;

/// More than any client's request head, or form.
const LARGEST_HEAD: usize = 64 * 1024;
const MOST_HEADERS: usize = 128;
/// As Go cuts bodies into chunks.
const CHUNK: usize = 2048;
const FILLER: usize = 16 * 1024;

/// Reads a request: its head, and the form that a request for a token has. Says also whether there came more than
/// that; `None` when it is no request.
pub(super) fn read_request(connection: &mut Connection) -> Result<Option<(Request, bool)>, Broken> {
    let mut bytes = Vec::new();
    let (mut request, head) = loop {
        match parse(&bytes) {
            Ok(Some(parsed)) => break parsed,
            Ok(None) if bytes.len() < LARGEST_HEAD => read_more(connection, &mut bytes)?,
            _ => return Ok(None),
        }
    };
    bytes.drain(..head);
    if request.kind == RequestKind::Token {
        let length = request.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if length > LARGEST_HEAD {
            return Ok(None);
        }
        while bytes.len() < length {
            read_more(connection, &mut bytes)?;
        }
        request.body = bytes.drain(..length).collect();
    }
    Ok(Some((request, !bytes.is_empty())))
}

/// The head, and its length, when all of it is there.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    Ok(match parsed.parse(bytes)? {
        httparse::Status::Partial => None,
        httparse::Status::Complete(length) => {
            let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
            Some((Request::new(method, target, parsed.headers), length))
        }
    })
}

/// Waits for some bytes of the client.
fn read_more(connection: &mut Connection, bytes: &mut Vec<u8>) -> Result<(), Broken> {
    let mut buffer = [0; 4096];
    loop {
        match connection.stream.read(&mut buffer)? {
            None => connection.wait(false, None)?,
            Some(0) => return Err(Broken::Gone),
            Some(read) => {
                bytes.extend_from_slice(&buffer[..read]);
                return Ok(());
            }
        }
    }
}

pub(super) struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    framing: BodyFraming,
    body: Vec<u8>,
    filler: Vec<u8>,
}

impl Response {
    /// Without a body, and without saying so.
    pub(super) fn headless(status: u16) -> Self {
        let (headers, body, filler) = Default::default();
        Response { status, headers, framing: BodyFraming::UntilClose, body, filler }
    }

    pub(super) fn empty(status: u16) -> Self {
        Response::headless(status).framing(BodyFraming::ContentLength)
    }

    pub(super) fn of(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Response { body: body.into(), ..Response::empty(status) }.header("Content-Type", content_type)
    }

    pub(super) fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Response::of(status, "text/plain; charset=utf-8", body)
    }

    /// What Go's `http.Error` sends.
    pub(super) fn go_error(status: u16, words: &str) -> Self {
        Response::text(status, format!("{words}\n")).header("X-Content-Type-Options", "nosniff")
    }

    /// What Go's routers send for a path that they do not know.
    pub(super) fn no_such_path() -> Self {
        Response::go_error(404, "404 page not found")
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn framing(mut self, framing: BodyFraming) -> Self {
        self.framing = framing;
        self
    }

    /// What comes behind the body over and over, if it is not empty.
    pub(super) fn filler(mut self, filler: Vec<u8>) -> Self {
        self.filler = filler;
        self
    }

    pub(super) fn send(mut self, connection: &mut Connection) -> Result<(), Broken> {
        let FaultPlan { endless, truncate, delayed_body, .. } = connection.plan;
        if endless == Some(Endless::Part) {
            self.filler = vec![b'x'; FILLER];
        }
        if !self.filler.is_empty() && self.framing == BodyFraming::ContentLength {
            self.framing = BodyFraming::UntilClose;
        }
        let mut bytes = self.head();
        let head = bytes.len();
        match self.framing {
            BodyFraming::Chunked => self.body.chunks(CHUNK).for_each(|chunk| write_chunk(chunk, &mut bytes)),
            BodyFraming::ContentLength | BodyFraming::UntilClose => bytes.extend_from_slice(&self.body),
        }
        if self.framing == BodyFraming::Chunked && self.filler.is_empty() {
            write_chunk(b"", &mut bytes);
        }
        if truncate {
            connection.stream.cut_at((head + (bytes.len() - head) / 2) as u64, Interruption::Drop);
        }
        if let Some(delay) = delayed_body {
            connection.send(&bytes[..head])?;
            connection.pause(delay)?;
            bytes.drain(..head);
        }
        connection.send(&bytes)?;
        if !self.filler.is_empty() {
            self.send_filler(connection)?;
        }
        connection.hang_up()
    }

    fn send_filler(self, connection: &mut Connection) -> Result<(), Broken> {
        let mut bytes = Vec::new();
        match self.framing {
            BodyFraming::Chunked => write_chunk(&self.filler, &mut bytes),
            BodyFraming::ContentLength | BodyFraming::UntilClose => bytes = self.filler,
        }
        loop {
            connection.send(&bytes)?;
        }
    }

    fn head(&self) -> Vec<u8> {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or_default());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&date());
        match self.framing {
            BodyFraming::ContentLength => head.push_str(&format!("Content-Length: {}\r\n", self.body.len())),
            BodyFraming::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            BodyFraming::UntilClose => {}
        }
        head.push_str("Connection: close\r\n\r\n");
        head.into_bytes()
    }
}

/// The header that says what time it is.
pub(super) fn date() -> String {
    Timestamp::now().strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string()
}

pub(super) fn write_chunk(chunk: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
    out.extend_from_slice(chunk);
    out.extend_from_slice(b"\r\n");
}
