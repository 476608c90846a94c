//! A multipart body, split into its parts while it comes: pure over [`Read`], it knows no sockets and no HTTP.
//!
//! Written by hand, because the parts of the legacy servers have no headers (`--B CRLF CRLF data CRLF --B …`), which
//! readers of form data take for an error. Here a part may have headers or none; they are skipped.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use memchr::memmem::{self, Finder};

/// How far into the body the first delimiter may begin, in bytes.
pub(crate) const MAX_PREAMBLE: usize = 64 * 1024;
/// How long a part's headers may be, with the line ends around them, in bytes.
pub(crate) const MAX_HEADERS: usize = 16 * 1024;
/// The longest boundary that RFC 2046 allows.
const MAX_BOUNDARY: usize = 70;
/// How much room the first read gets, in bytes.
const FIRST_ROOM: usize = 64 * 1024;

/// The boundary that a Content-Type names.
///
/// The value may be in quotes, as one server of 2014 sends it. Without quotes it may hold what a token can't, such as
/// `=` and `/`: servers forget the quotes.
pub(crate) fn boundary(content_type: &str) -> Result<String, NoBoundary> {
    let (media_type, mut parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let (main_type, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    if !main_type.trim().eq_ignore_ascii_case("multipart") {
        return Err(NoBoundary::NotMultipart);
    }
    while let Some(at) = parameters.find(['=', ';']) {
        let (name, rest) = parameters.split_at(at);
        let Some(rest) = rest.strip_prefix('=') else {
            parameters = &rest[1..];
            continue;
        };
        let (value, rest) = parameter_value(rest);
        if name.trim().eq_ignore_ascii_case("boundary") {
            return checked(value);
        }
        parameters = rest;
    }
    Err(NoBoundary::Missing)
}

/// A parameter's value, out of its quotes if it has any, and what follows the parameter.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return (value.trim().to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => break,
            '\\' => value.extend(chars.next()),
            char => value.push(char),
        }
    }
    let (_, rest) = chars.as_str().split_once(';').unwrap_or_default();
    (value, rest)
}

fn checked(boundary: String) -> Result<String, NoBoundary> {
    if boundary.trim().is_empty() {
        return Err(NoBoundary::Blank);
    }
    if boundary.len() > MAX_BOUNDARY {
        return Err(NoBoundary::TooLong);
    }
    // A space at the end could not be told from the padding of a delimiter's line.
    if boundary.ends_with(' ') || !boundary.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(NoBoundary::BadCharacter);
    }
    Ok(boundary)
}

/// Why a Content-Type gave no boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBoundary {
    NotMultipart,
    Missing,
    Blank,
    TooLong,
    BadCharacter,
}

impl fmt::Display for NoBoundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoBoundary::NotMultipart => f.write_str("the Content-Type is not multipart"),
            NoBoundary::Missing => f.write_str("the Content-Type names no boundary"),
            NoBoundary::Blank => f.write_str("the boundary is blank"),
            NoBoundary::TooLong => write!(f, "the boundary is longer than {MAX_BOUNDARY} characters"),
            NoBoundary::BadCharacter => f.write_str("the boundary holds a character that a boundary can't have"),
        }
    }
}

impl std::error::Error for NoBoundary {}

/// Splits a body into its parts while it comes.
///
/// A delimiter is `CRLF --boundary` and then either `--`, which closes the body, or spaces and tabs, if any, and CRLF.
/// With anything else behind it, `CRLF --boundary` is data. The CRLF that ends a delimiter's line or a part's headers
/// can begin the next delimiter: the part between is empty.
pub(crate) struct Splitter<R> {
    body: R,
    /// Finds `CRLF --boundary`.
    delimiter: Finder<'static>,
    max_part: usize,
    next: Next,
    /// `buffer[start..filled]` was read and is not split yet, the rest is room.
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
}

/// What the unsplit bytes begin with.
enum Next {
    Preamble,
    /// The CRLF at the end of a delimiter's line, and then a part.
    Part,
    /// What follows the closing delimiter, and is left unread.
    Epilogue,
    /// An error was found in them.
    Error,
}

impl<R: Read> Splitter<R> {
    pub(crate) fn new(body: R, boundary: &str, max_part: usize) -> Self {
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        // With a CRLF before the body, a delimiter that it begins with is like every other.
        let buffer = b"\r\n".to_vec();
        Splitter { body, delimiter, max_part, next: Next::Preamble, start: 0, filled: buffer.len(), buffer }
    }

    /// The next part's content, without its headers if it has any. `None` after the closing delimiter.
    ///
    /// Reads no further than to what shows where the part ends. After an error, every call gives an error.
    pub(crate) fn next_part(&mut self) -> Result<Option<&[u8]>, SplitError> {
        match self.advance() {
            Ok(content) => Ok(content.map(|content| &self.buffer[content])),
            Err(error) => {
                self.next = Next::Error;
                Err(error)
            }
        }
    }

    fn advance(&mut self) -> Result<Option<Range<usize>>, SplitError> {
        match self.next {
            Next::Preamble => {
                self.until_delimiter(MAX_PREAMBLE)?.ok_or(SplitError::PreambleTooLong)?;
                self.advance()
            }
            Next::Part => self.part().map(Some),
            Next::Epilogue => Ok(None),
            Next::Error => Err(SplitError::Truncated),
        }
    }

    /// Takes the next part; gives where in the buffer its content is.
    fn part(&mut self) -> Result<Range<usize>, SplitError> {
        let too_large = SplitError::PartTooLarge { limit: self.max_part };
        let Some(mut part) = self.until_delimiter(self.max_part.saturating_add(MAX_HEADERS))? else {
            headers_len(self.unsplit())?;
            return Err(too_large);
        };
        part.start += headers_len(&self.buffer[part.clone()])?;
        if part.len() > self.max_part { Err(too_large) } else { Ok(part) }
    }

    /// Takes what comes before the next delimiter, and the delimiter; gives where in the buffer the former is. `None`
    /// when no delimiter begins within `limit` bytes.
    fn until_delimiter(&mut self, limit: usize) -> Result<Option<Range<usize>>, SplitError> {
        let delimiter_len = self.delimiter.needle().len();
        let mut searched = 0; // No delimiter begins before this: what was searched is not searched again.
        loop {
            let found = self.delimiter.find(&self.unsplit()[searched..]);
            searched = match found {
                Some(at) => searched + at,
                None => searched.max(self.unsplit().len().saturating_sub(delimiter_len)),
            };
            if searched > limit {
                return Ok(None);
            }
            if found.is_none() {
                self.read()?;
                continue;
            }
            let line = searched + delimiter_len;
            if let Some((line_end, next)) = self.delimiter_line(line, limit.saturating_add(delimiter_len))? {
                let taken = self.start..self.start + searched;
                self.start += line_end;
                self.next = next;
                return Ok(Some(taken));
            }
            searched = line;
        }
    }

    /// Decides what follows `CRLF --boundary`: gives where the rest begins and what it is, or `None` if this is data.
    ///
    /// So are spaces as far as `limit`: with that many, what is before the next delimiter is too long in any case.
    fn delimiter_line(&mut self, from: usize, limit: usize) -> Result<Option<(usize, Next)>, SplitError> {
        let mut at = from;
        while at < limit && matches!(self.byte(at)?, b' ' | b'\t') {
            at += 1;
        }
        Ok(match self.byte(at)? {
            b'\r' if self.byte(at + 1)? == b'\n' => Some((at, Next::Part)),
            b'-' if at == from && self.byte(at + 1)? == b'-' => Some((at + 2, Next::Epilogue)),
            _ => None,
        })
    }

    /// One of the unsplit bytes, read first if need be.
    fn byte(&mut self, at: usize) -> Result<u8, SplitError> {
        while self.unsplit().len() <= at {
            self.read()?;
        }
        Ok(self.unsplit()[at])
    }

    fn unsplit(&self) -> &[u8] {
        &self.buffer[self.start..self.filled]
    }

    fn read(&mut self) -> Result<(), SplitError> {
        if self.filled == self.buffer.len() {
            self.make_room();
        }
        let read = loop {
            match self.body.read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if read == 0 {
            return Err(SplitError::Truncated);
        }
        self.filled += read;
        Ok(())
    }

    /// Drops what is split; if there is nothing to drop, makes the buffer larger.
    fn make_room(&mut self) {
        if self.start > 0 {
            // All that moves is the part that is still coming in, and until its end it moves only once.
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        } else {
            let len = (2 * self.buffer.len()).max(FIRST_ROOM).min(self.max_room());
            self.buffer.reserve_exact(len - self.buffer.len());
            self.buffer.resize(len, 0);
        }
    }

    /// As much as can be unsplit before it is too much: what may come before a delimiter, and the delimiter.
    fn max_room(&self) -> usize {
        let before = self.max_part.saturating_add(MAX_HEADERS).max(MAX_PREAMBLE);
        before.saturating_add(self.delimiter.needle().len() + 2)
    }
}

/// How long the headers of a part are, from the CRLF of the delimiter's line before them to the end of the blank line.
/// Without a blank line the part is all headers.
fn headers_len(part: &[u8]) -> Result<usize, SplitError> {
    const BLANK_LINE: &[u8] = b"\r\n\r\n";
    match memmem::find(&part[..part.len().min(MAX_HEADERS)], BLANK_LINE) {
        Some(at) => Ok(at + BLANK_LINE.len()),
        None if part.len() > MAX_HEADERS => Err(SplitError::HeadersTooLong),
        None => Ok(part.len()),
    }
}

/// Why a body could not be split to its end.
#[derive(Debug)]
pub(crate) enum SplitError {
    /// The body ended before the closing delimiter, or was given up after an error.
    Truncated,
    PartTooLarge {
        limit: usize,
    },
    PreambleTooLong,
    HeadersTooLong,
    Io(io::Error),
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SplitError::Truncated => f.write_str("the multipart body ended before its closing delimiter"),
            SplitError::PartTooLarge { limit } => write!(f, "a part is larger than {limit} bytes"),
            SplitError::PreambleTooLong => {
                write!(f, "no part begins in the first {MAX_PREAMBLE} bytes of the multipart body")
            }
            SplitError::HeadersTooLong => write!(f, "the headers of a part are longer than {MAX_HEADERS} bytes"),
            SplitError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SplitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SplitError::Io(error) => error.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for SplitError {
    fn from(error: io::Error) -> Self {
        SplitError::Io(error)
    }
}

#[cfg(test)]
mod tests;
