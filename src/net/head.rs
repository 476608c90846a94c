//! [`Head`]: the head of an HTTP response that is read without ureq: to a CONNECT request, a websocket handshake or a
//! token request.
//!
//! Pure over [`Read`]: it knows no sockets and no deadlines.

use std::io::{self, Read};

use crate::error::{Error, ErrorKind, Result};
use crate::net::failure::io_error;

/// The longest head, in bytes. The last read may exceed it.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;

/// The most bytes of a response body that an error holds, or that is read here.
pub(crate) const MAX_ERROR_BODY: usize = 64 * 1024;

/// The status line and the headers of a response, and the bytes after them that were read along with them.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// The minor version of HTTP/1.
    version: u8,
    headers: Vec<(String, String)>,
    pub(crate) rest: Vec<u8>,
}

impl Head {
    /// Reads the head of the response to `what`. It may arrive in pieces of any size.
    pub(crate) fn read(mut stream: impl Read, what: &str) -> Result<Self> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = stream.read(&mut buffer).map_err(|cause| io_error(what, cause))?;
            // Do not parse after every byte of a head that arrives slowly: only at the start, to reject what is not
            // HTTP at once, after a line end, and at the end of the stream.
            let is_early = bytes.len() < 16;
            bytes.extend_from_slice(&buffer[..read]);
            if (read == 0 || is_early || buffer[..read].contains(&b'\n'))
                && let Some((head, length)) = Self::parse(&bytes).map_err(|why| bad_response(what, why))?
            {
                return Ok(Head { rest: bytes.split_off(length), ..head });
            }
            if read == 0 {
                let when = if bytes.is_empty() { "without a response" } else { "in the middle of the response head" };
                return Err(closed_early(what, when));
            }
            if bytes.len() > MAX_HEAD {
                return Err(bad_response(what, &format!("the response head is longer than {MAX_HEAD} bytes")));
            }
        }
    }

    /// Reads the head of the final response to `what`, and skips the interim responses before it (RFC 9110, section
    /// 15.2). 101 is final: it ends HTTP on this connection. Only the reader's deadline limits the number of interim
    /// responses.
    pub(crate) fn read_final(mut stream: impl Read, what: &str) -> Result<Self> {
        let mut head = Self::read(&mut stream, what)?;
        while head.is_interim() {
            let rest = std::mem::take(&mut head.rest);
            // What was read together with the interim response.
            let mut rest = &rest[..];
            head = Self::read((&mut rest).chain(&mut stream), what)?;
            head.rest.extend_from_slice(rest);
        }
        Ok(head)
    }

    /// Returns true if this is not the final response to a request. 101 is final.
    pub(crate) fn is_interim(&self) -> bool {
        matches!(self.status, 100..=199) && self.status != 101
    }

    /// Returns true if the body is in chunks, as ureq decides it. HTTP/1.0 has no chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        let mut encodings = self.headers().filter(|header| header.0.eq_ignore_ascii_case("transfer-encoding"));
        let is_chunked = |value: &str| value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
        self.version > 0 && encodings.any(|header| header.1.is_ascii() && is_chunked(header.1))
    }

    /// Parses a head without the bytes after it. Returns it with its length, or `None` if it is incomplete.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, &'static str> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err("the response has too many headers"),
            Err(_) => return Err("the response is not HTTP"),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let head = Head {
            status: response.code.unwrap_or_default(),
            reason: response.reason.unwrap_or_default().to_owned(),
            version: response.version.unwrap_or(1),
            headers: response.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
            rest: Vec::new(),
        };
        Ok(Some((head, length)))
    }

    /// Returns the value of the first header of this name, ignoring case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0.eq_ignore_ascii_case(name)).map(|header| &*header.1)
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Reads a short body, such as that of an error response, up to [`MAX_ERROR_BODY`] bytes.
    ///
    /// Returns what arrives if the body breaks off, and nothing if it is [encoded](coding): the status matters more
    /// than the body.
    pub(crate) fn read_body(&mut self, mut stream: impl Read) -> String {
        let chunked = self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let length = self.header("content-length").and_then(|value| value.trim().parse().ok());
        // Responses with these statuses have no body.
        if matches!(self.status, 100..=199 | 204 | 304) || coding(self.headers()).is_some() {
            return String::new();
        }
        let mut body = std::mem::take(&mut self.rest);
        let mut buffer = [0; 4096];
        loop {
            let complete =
                if chunked { decode_chunks(&body).1 } else { length.is_some_and(|length| body.len() >= length) };
            if complete || body.len() > MAX_ERROR_BODY {
                break;
            }
            match stream.read(&mut buffer) {
                Ok(n) if n > 0 => body.extend_from_slice(&buffer[..n]),
                _ => break,
            }
        }
        if chunked {
            body = decode_chunks(&body).0;
        }
        body.truncate(length.unwrap_or(MAX_ERROR_BODY).min(MAX_ERROR_BODY));
        String::from_utf8_lossy(&body).into_owned()
    }
}

/// The `Accept-Encoding` header of every request. Without it, a server may compress its response (RFC 9110, section
/// 12.5.3).
pub(crate) const ACCEPT_ENCODING: &str = "identity";

/// Returns the coding of the body of a response with these headers, such as gzip, if it has one.
///
/// We [ask](ACCEPT_ENCODING) for no coding and have no decoder, so encoded bytes must not be parsed.
pub(crate) fn coding<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<&'a str> {
    let is_coding =
        |name: &str| ["content-encoding", "transfer-encoding"].iter().any(|it| it.eq_ignore_ascii_case(name));
    let is_identity = |coding: &str| ["", "identity", "chunked"].iter().any(|it| it.eq_ignore_ascii_case(coding));
    let codings = headers.into_iter().filter(|header| is_coding(header.0)).flat_map(|header| header.1.split(','));
    codings.map(str::trim).find(|coding| !is_identity(coding))
}

/// Decodes the chunks that have arrived. Returns their content, and true if the last chunk is among them or one is
/// malformed.
pub(crate) fn decode_chunks(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    loop {
        match httparse::parse_chunk_size(bytes) {
            Ok(httparse::Status::Complete((_, 0))) | Err(_) => return (content, true),
            Ok(httparse::Status::Complete((start, size))) => {
                let chunk = &bytes[start..];
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                if chunk.len() < size.saturating_add(2) {
                    content.extend_from_slice(&chunk[..chunk.len().min(size)]);
                    return (content, false);
                }
                content.extend_from_slice(&chunk[..size]);
                bytes = &chunk[size + 2..];
            }
            Ok(httparse::Status::Partial) => return (content, false),
        }
    }
}

fn closed_early(what: &str, when: &str) -> Error {
    let text = format!("the connection was closed {when}");
    io_error(what, io::Error::new(io::ErrorKind::UnexpectedEof, text))
}

fn bad_response(what: &str, why: &str) -> Error {
    Error::new(ErrorKind::BadResponse, format!("{what}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_that_is_not_http_is_rejected_at_once_and_not_taken_for_a_truncated_head() {
        let kind = |response: &mut dyn Read| Head::read(response, "the request").unwrap_err().kind();
        let (garbage, late) = (b"\x15\x03\x01 long, with no line end", b"HTTP/1.1 200 a reason \0 with no line end");
        assert_eq!(kind(&mut garbage.chain(NoRead)), ErrorKind::BadResponse);
        assert_eq!(kind(&mut late.chain(NoRead)), ErrorKind::BadResponse);
        for cut in 1..garbage.len() {
            assert_eq!(kind(&mut garbage[..cut].chain(&garbage[cut..])), ErrorKind::BadResponse, "cut at {cut}");
        }
        for cut in 1..late.len() {
            assert_eq!(kind(&mut late[..cut].chain(&late[cut..])), ErrorKind::BadResponse, "cut at {cut}");
        }
        assert_eq!(kind(&mut &late[..20]), ErrorKind::ConnectionLost);
    }

    #[test]
    fn interim_responses_are_skipped_in_any_pieces() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
        for (status, body) in [(200, "hello"), (101, "\x01\0frame"), (404, "")] {
            let response = format!("{}HTTP/1.1 {status} \r\nA: b\r\n\r\n{body}", interim.repeat(3));
            for cut in 0..=response.len() {
                let mut stream = response.as_bytes()[..cut].chain(&response.as_bytes()[cut..]);
                let head = Head::read_final(&mut stream, "the response").unwrap();
                assert_eq!((head.status, head.header("a")), (status, Some("b")), "cut at {cut}");
                let mut rest = head.rest.clone();
                stream.read_to_end(&mut rest).unwrap();
                assert_eq!(rest, body.as_bytes(), "cut at {cut}");
            }
        }
        let kind = |answer: &mut dyn Read| Head::read_final(answer, "the response").unwrap_err().kind();
        assert_eq!(kind(&mut interim.as_bytes()), ErrorKind::ConnectionLost);
        assert_eq!(kind(&mut interim.as_bytes().chain(NoRead)), ErrorKind::Timeout);
        let endless = std::iter::repeat_n(interim, 10_000).collect::<String>();
        assert_eq!(kind(&mut endless.as_bytes().chain(NoRead)), ErrorKind::Timeout);
    }

    /// A server that sends nothing more and does not close the connection.
    struct NoRead;

    impl Read for NoRead {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::TimedOut.into())
        }
    }

    #[test]
    fn a_coding_is_found_in_each_header_that_can_name_one() {
        for (headers, expected) in [
            (&[("Content-Type", "gzip"), ("Transfer-Encoding", "chunked"), ("Content-Encoding", "Identity")][..], None),
            (&[("content-encoding", "")], None),
            (&[("content-encoding", "gzip")], Some("gzip")),
            (&[("Transfer-Encoding", "gzip, chunked")], Some("gzip")),
            (&[("Transfer-Encoding", "chunked"), ("Content-Encoding", "identity , br")], Some("br")),
        ] {
            assert_eq!(coding(headers.iter().copied()), expected, "{headers:?}");
        }
    }

    #[test]
    fn chunks_are_joined_up_to_the_last_one() {
        let whole = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n";
        assert_eq!(decode_chunks(whole), (b"hello world".to_vec(), true));
        assert_eq!(decode_chunks(&whole[..20]), (b"hello wo".to_vec(), false));
        assert_eq!(decode_chunks(b"ffffffffffffffff\r\nx"), (b"x".to_vec(), false));
        assert_eq!(decode_chunks(b"no chunk"), (Vec::new(), true));
    }
}
