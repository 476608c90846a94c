//! [`Response`]: an HTTP response as Go's servers write it.

use std::mem;

use http::StatusCode;
use jiff::Timestamp;

use crate::testing::config::settings::BodyFraming;

/// The size of the chunks into which Go splits bodies.
const CHUNK: usize = 2048;

pub(crate) struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    framing: BodyFraming,
    body: Vec<u8>,
    repeated: Vec<u8>,
}

/// The bytes of a response.
pub(crate) struct EncodedResponse {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// What follows the body again and again, without end. Empty: the response ends after the body.
    pub(crate) repeated: Vec<u8>,
}

impl Response {
    /// Creates a response with neither a body nor a `Content-Length`.
    pub(crate) fn without_length(status: u16) -> Self {
        let (headers, body, repeated) = Default::default();
        Response { status, headers, framing: BodyFraming::UntilClose, body, repeated }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Response::without_length(status).framing(BodyFraming::ContentLength)
    }

    pub(crate) fn with_body(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Response { body: body.into(), ..Response::empty(status) }.header("Content-Type", content_type)
    }

    pub(crate) fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Response::with_body(status, "text/plain; charset=utf-8", body)
    }

    /// Creates the response of Go's `http.Error`.
    pub(crate) fn go_error(status: u16, message: &str) -> Self {
        Response::text(status, format!("{message}\n")).header("X-Content-Type-Options", "nosniff")
    }

    /// Creates the response of Go's routers to a path that they do not know.
    pub(crate) fn unknown_path() -> Self {
        Response::go_error(404, "404 page not found")
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn framing(mut self, framing: BodyFraming) -> Self {
        self.framing = framing;
        self
    }

    /// Makes the response endless: these bytes follow the body again and again. Empty: they do not.
    pub(crate) fn repeat_forever(mut self, bytes: Vec<u8>) -> Self {
        self.repeated = bytes;
        self
    }

    pub(crate) fn encode(mut self) -> EncodedResponse {
        let is_endless = !self.repeated.is_empty();
        if is_endless && self.framing == BodyFraming::ContentLength {
            self.framing = BodyFraming::UntilClose;
        }
        let head = self.head();
        let (mut body, mut repeated) = (self.body, self.repeated);
        if self.framing == BodyFraming::Chunked {
            let content = mem::take(&mut body);
            content.chunks(CHUNK).for_each(|chunk| write_chunk(chunk, &mut body));
            if is_endless {
                let content = mem::take(&mut repeated);
                write_chunk(&content, &mut repeated);
            } else {
                write_chunk(b"", &mut body);
            }
        }
        EncodedResponse { head, body, repeated }
    }

    fn head(&self) -> Vec<u8> {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or_default());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&date_header());
        match self.framing {
            BodyFraming::ContentLength => head.push_str(&format!("Content-Length: {}\r\n", self.body.len())),
            BodyFraming::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            BodyFraming::UntilClose => {}
        }
        head.push_str("Connection: close\r\n\r\n");
        head.into_bytes()
    }
}

/// Returns the header line with the current time.
pub(crate) fn date_header() -> String {
    Timestamp::now().strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string()
}

/// Appends a chunk of a body with `Transfer-Encoding: chunked`. An empty chunk ends the body.
pub(crate) fn write_chunk(chunk: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
    out.extend_from_slice(chunk);
    out.extend_from_slice(b"\r\n");
}
