//! HTTP requests, over the same [`Dialer`] as the websockets, and the bodies of their answers.

use std::io::{self, Read};
use std::ops::Range;
use std::time::Instant;

use crate::cancel::Cancel;
use crate::deadline::Patience;
use crate::dial::stream::Stream;
use crate::dial::{Dialer, io_error};
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::head::{Head, coding};

/// How long the line may be that tells a chunk's size.
const MAX_CHUNK_LINE: usize = 4096;

/// What one read of the stream takes, unless it goes straight to the caller.
const READ_SIZE: usize = 64 * 1024;

/// A request's answer, whose body is still to be read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    head: Head,
    stream: Stream,
    limits: Limits,
    what: String,
}

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// When the head of the answer must be there.
    pub(crate) head: Instant,
    /// How long the body may take.
    pub(crate) body: Patience,
}

/// Makes a GET request. `cancel` interrupts it, and the reading of its body, at any time.
pub(crate) fn get(
    dialer: &Dialer,
    endpoint: &Endpoint,
    path: &str,
    token: &str,
    limits: Limits,
    cancel: &Cancel,
) -> Result<Answer> {
    let what = format!("the request for {path}");
    let answer = dialer.dial(endpoint, limits.head, cancel).and_then(|mut stream| {
        Ok((exchange(&mut stream, &request(endpoint, path, token), &what, limits.head)?, stream))
    });
    let (head, stream) = answer.map_err(|error| endpoint.explain(error, cancel))?;
    let content_type = head.header("content-type").map(str::to_owned);
    Ok(Answer { status: head.status, content_type, head, stream, limits, what })
}

fn request(endpoint: &Endpoint, path: &str, token: &str) -> String {
    let mut headers = vec![("Host", &*endpoint.authority), ("Accept", "*/*"), ("User-Agent", crate::USER_AGENT)];
    if !token.is_empty() {
        headers.push(("Authorization", token));
    }
    let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {} HTTP/1.1\r\n{head}\r\n", endpoint.path(path))
}

fn exchange(stream: &mut Stream, request: &str, what: &str, deadline: Instant) -> Result<Head> {
    stream.write_all_by(request.as_bytes(), deadline).map_err(|cause| io_error(what, cause))?;
    let mut head = Head::read(stream.until(deadline), what)?;
    // These say that the answer is still to come.
    while matches!(head.status, 100 | 102..=199) {
        head = Head::read(head.rest.chain(stream.until(deadline)), what)?;
    }
    Ok(head)
}

impl Answer {
    /// The body of an answer that is a success.
    pub(crate) fn into_body(self) -> Result<Body> {
        let bad = |why: &str| Error::new(ErrorKind::BadResponse, format!("{}: {why}", self.what));
        if let Some(coding) = coding(self.head.headers()) {
            return Err(bad(&format!("the answer is encoded ({coding}), which was not asked for")));
        }
        let (left, framing) = match content_length(&self.head).map_err(bad)? {
            _ if is_chunked(&self.head) => (0, Framing::Chunks { begun: false }),
            Some(length) => (length, Framing::Length),
            None => (u64::MAX, Framing::Connection),
        };
        let read = self.head.rest;
        let unread = 0..read.len();
        Ok(Body { stream: self.stream, patience: self.limits.body, read, unread, left, framing })
    }

    /// The error of an answer that is no success, with the server's words.
    pub(crate) fn into_error(mut self) -> Error {
        let mut reason = self.head.reason.clone();
        if let Some(location) = self.head.header("location").filter(|_| (300..400).contains(&self.status)) {
            reason += &format!(" (it points to {location}, which is not followed: the token is for this server)");
        }
        // The words are not worth more time than the head had.
        let words = self.head.read_words(self.stream.until(self.limits.head));
        Error::status_answer(self.status, &reason, self.what, words)
    }
}

fn is_chunked(head: &Head) -> bool {
    let mut codings = head.headers().filter(|header| header.0.eq_ignore_ascii_case("transfer-encoding"));
    codings.any(|header| header.1.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("chunked")))
}

/// What a head says of its body's length (RFC 9112, section 6.3). Of two that differ, either may be wrong.
fn content_length(head: &Head) -> Result<Option<u64>, &'static str> {
    let mut length = None;
    let values = head.headers().filter(|header| header.0.eq_ignore_ascii_case("content-length"));
    for value in values.flat_map(|header| header.1.split(',')).map(str::trim) {
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        let Some(value) = value.parse().ok().filter(|_| is_number) else {
            return Err("the answer has a Content-Length that is none");
        };
        if length.replace(value).is_some_and(|other| other != value) {
            return Err("the answer has more than one Content-Length");
        }
    }
    Ok(length)
}

/// A body, read as it comes. It ends only where the answer says that it does: an end of the connection before that is
/// an [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
pub(crate) struct Body {
    stream: Stream,
    patience: Patience,
    /// What has been read of the stream and is still to be taken is `read[unread]`.
    read: Vec<u8>,
    unread: Range<usize>,
    /// How much of the body, or of a chunk, is still to come.
    left: u64,
    framing: Framing,
}

/// What tells where a body ends.
enum Framing {
    Length,
    Chunks {
        begun: bool,
    },
    /// The end of the connection.
    Connection,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0
            && let Framing::Chunks { begun } = self.framing
        {
            if begun && self.line()? != b"" {
                return Err(io::Error::other("a chunk is longer than it says"));
            }
            self.left = self.chunk_size()?;
            self.framing = if self.left == 0 { Framing::Length } else { Framing::Chunks { begun: true } };
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        // What fills the buffer need not go through ours.
        let taken = if self.unread.is_empty() && most == buffer.len() {
            self.stream.read_by(buffer, self.patience.deadline())?
        } else {
            if self.unread.is_empty() {
                self.read_more()?;
            }
            let taken = self.unread.len().min(most);
            buffer[..taken].copy_from_slice(&self.unread()[..taken]);
            self.unread.start += taken;
            taken
        };
        match self.framing {
            Framing::Connection => {}
            _ if taken == 0 => return Err(cut_short()),
            _ => self.left -= taken as u64,
        }
        Ok(taken)
    }
}

impl Body {
    fn chunk_size(&mut self) -> io::Result<u64> {
        let line = self.line()?;
        // What follows a semicolon is an extension.
        let size = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let is_number = size.iter().all(u8::is_ascii_hexdigit);
        let size = str::from_utf8(size).ok().filter(|_| is_number);
        size.and_then(|size| u64::from_str_radix(size, 16).ok())
            .ok_or_else(|| io::Error::other("the size of a chunk is none"))
    }

    /// The next line, without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', self.unread()) {
                let line = &self.unread()[..end];
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.unread.start += end + 1;
                return Ok(line);
            }
            if self.unread().len() > MAX_CHUNK_LINE {
                return Err(io::Error::other("the size of a chunk has no end"));
            }
            if self.read_more()? == 0 {
                return Err(cut_short());
            }
        }
    }

    fn unread(&self) -> &[u8] {
        &self.read[self.unread.clone()]
    }

    /// Reads more behind what is unread, and says how much; 0 at the end of the connection.
    fn read_more(&mut self) -> io::Result<usize> {
        self.read.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        self.read.resize(READ_SIZE, 0);
        let read = self.stream.read_by(&mut self.read[self.unread.end..], self.patience.deadline())?;
        self.unread.end += read;
        Ok(read)
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before the body did")
}

/// Why a body broke off.
pub(crate) fn body_error(what: &str, error: io::Error, cancel: &Cancel) -> Error {
    if cancel.is_thrown() {
        return Error::closed();
    }
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Truncated,
    };
    Error::caused(kind, format_args!("{what}: its body broke off"), error)
}
