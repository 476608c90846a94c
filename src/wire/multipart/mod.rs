//! [`Splitter`]: splits a multipart body into its parts as it arrives. Pure over [`Read`]: it knows no sockets and no
//! HTTP.
//!
//! This is our own code because the parts from legacy servers have no headers (`--B CRLF CRLF data CRLF --B …`), which
//! form-data parsers reject. Here a part may have headers or not. They are skipped.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use memchr::memmem::{self, Finder};

/// The latest position of the first delimiter, in bytes.
pub(crate) const MAX_PREAMBLE: usize = 64 * 1024;
/// The longest headers of a part, in bytes, with the line ends before and after them.
pub(crate) const MAX_HEADERS: usize = 16 * 1024;
/// The longest boundary that RFC 2046 allows.
const MAX_BOUNDARY: usize = 70;
/// The size of the buffer for the first read, in bytes.
const INITIAL_BUFFER: usize = 64 * 1024;

/// Returns the boundary in a Content-Type.
///
/// The value may be in quotes, as a server of 2014 sends it. A value without quotes may contain characters that require
/// them, such as `=` and `/`, because servers forget the quotes.
pub(crate) fn boundary(content_type: &str) -> Result<String, BoundaryError> {
    let (media_type, mut parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let (main_type, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    if !main_type.trim().eq_ignore_ascii_case("multipart") {
        return Err(BoundaryError::NotMultipart);
    }
    while let Some(at) = parameters.find(['=', ';']) {
        let (name, rest) = parameters.split_at(at);
        let Some(rest) = rest.strip_prefix('=') else {
            parameters = &rest[1..];
            continue;
        };
        let (value, rest) = parameter_value(rest);
        if name.trim().eq_ignore_ascii_case("boundary") {
            return check_boundary(value);
        }
        parameters = rest;
    }
    Err(BoundaryError::Missing)
}

/// Returns the unquoted value of a parameter, and the text after the parameter.
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

fn check_boundary(boundary: String) -> Result<String, BoundaryError> {
    if boundary.trim().is_empty() {
        return Err(BoundaryError::Blank);
    }
    if boundary.len() > MAX_BOUNDARY {
        return Err(BoundaryError::TooLong);
    }
    // A space at the end would be ambiguous with the padding of a delimiter line.
    if boundary.ends_with(' ') || !boundary.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(BoundaryError::BadCharacter);
    }
    Ok(boundary)
}

/// Why a Content-Type has no valid boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BoundaryError {
    NotMultipart,
    Missing,
    Blank,
    TooLong,
    BadCharacter,
}

impl fmt::Display for BoundaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoundaryError::NotMultipart => f.write_str("the Content-Type is not multipart"),
            BoundaryError::Missing => f.write_str("the Content-Type has no boundary"),
            BoundaryError::Blank => f.write_str("the boundary is blank"),
            BoundaryError::TooLong => write!(f, "the boundary is longer than {MAX_BOUNDARY} characters"),
            BoundaryError::BadCharacter => f.write_str("the boundary contains an invalid character"),
        }
    }
}

impl std::error::Error for BoundaryError {}

/// Splits a body into its parts as it arrives.
///
/// A delimiter is `CRLF --boundary`, followed by `--`, which closes the body, or by optional spaces and tabs and CRLF.
/// `CRLF --boundary` followed by anything else is data. The CRLF that ends a delimiter line or the headers of a part
/// may also begin the next delimiter. The part between them is then empty.
pub(crate) struct Splitter<R> {
    body: R,
    /// Searches for `CRLF --boundary`.
    delimiter: Finder<'static>,
    max_part: usize,
    next: Next,
    /// `buffer[start..filled]` has been read but not split. The rest is free.
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
}

/// What the unsplit bytes begin with.
enum Next {
    Preamble,
    /// The CRLF at the end of a delimiter line, and then a part.
    Part,
    /// The bytes after the closing delimiter. They are not read.
    Epilogue,
    /// Nothing further can be split after an error.
    Error,
}

impl<R: Read> Splitter<R> {
    pub(crate) fn new(body: R, boundary: &str, max_part: usize) -> Self {
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        // A CRLF is put before the body, so that a delimiter at its start is like every other.
        let buffer = b"\r\n".to_vec();
        Splitter { body, delimiter, max_part, next: Next::Preamble, start: 0, filled: buffer.len(), buffer }
    }

    /// Returns the content of the next part, without its headers, or `None` after the closing delimiter.
    ///
    /// Reads only as far as needed to find the end of the part. After an error, every call returns an error.
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
                self.take_until_delimiter(MAX_PREAMBLE)?.ok_or(SplitError::PreambleTooLong)?;
                self.advance()
            }
            Next::Part => self.take_part().map(Some),
            Next::Epilogue => Ok(None),
            Next::Error => Err(SplitError::Truncated),
        }
    }

    /// Takes the next part. Returns the range of its content in the buffer.
    fn take_part(&mut self) -> Result<Range<usize>, SplitError> {
        let too_large = SplitError::PartTooLarge { limit: self.max_part };
        let Some(mut part) = self.take_until_delimiter(self.max_part.saturating_add(MAX_HEADERS))? else {
            headers_len(self.unsplit())?;
            return Err(too_large);
        };
        part.start += headers_len(&self.buffer[part.clone()])?;
        if part.len() > self.max_part { Err(too_large) } else { Ok(part) }
    }

    /// Takes the bytes before the next delimiter, and the delimiter. Returns the range of these bytes in the buffer, or
    /// `None` if no delimiter begins within `limit` bytes.
    fn take_until_delimiter(&mut self, limit: usize) -> Result<Option<Range<usize>>, SplitError> {
        let delimiter_len = self.delimiter.needle().len();
        let mut searched = 0; // No delimiter begins before this. Bytes are not searched twice.
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
            if let Some((line_end, next)) = self.parse_delimiter_line(line, limit.saturating_add(delimiter_len))? {
                let taken = self.start..self.start + searched;
                self.start += line_end;
                self.next = next;
                return Ok(Some(taken));
            }
            searched = line;
        }
    }

    /// Parses what follows `CRLF --boundary`. Returns where the rest begins and what it is, or `None` if this is data.
    ///
    /// Spaces and tabs up to `limit` are also data, because the part before the next delimiter is then too long anyway.
    fn parse_delimiter_line(&mut self, from: usize, limit: usize) -> Result<Option<(usize, Next)>, SplitError> {
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

    /// Returns one of the unsplit bytes. Reads until it has arrived.
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

    /// Makes room for the next read: discards the bytes that are already split, or grows the buffer if there are none.
    fn make_room(&mut self) {
        if self.start > 0 {
            // Only the incomplete part moves, and it moves only once.
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        } else {
            let len = (2 * self.buffer.len()).max(INITIAL_BUFFER).min(self.max_buffer());
            self.buffer.reserve_exact(len - self.buffer.len());
            self.buffer.resize(len, 0);
        }
    }

    /// Returns the largest buffer that is needed: the most bytes before a delimiter, and the delimiter.
    fn max_buffer(&self) -> usize {
        let before = self.max_part.saturating_add(MAX_HEADERS).max(MAX_PREAMBLE);
        before.saturating_add(self.delimiter.needle().len() + 2)
    }
}

/// Returns the length of the headers of a part, from the CRLF of the delimiter line before them to the end of the blank
/// line. A part without a blank line consists of headers only.
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
    /// The body ended before the closing delimiter, or an earlier call returned an error.
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
