//! [`Response`]: an HTTP response as Go's servers write it.

use std::mem;

use http::StatusCode;
use jiff::Timestamp;

use super::request::Request;
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

/// What a request says about how its response is sent.
#[derive(Clone, Copy)]
pub(crate) struct Exchange {
    is_http_1_0: bool,
    is_head: bool,
    /// The client wants the connection to end after the response.
    closes: bool,
}

impl Exchange {
    pub(crate) fn new(request: &Request) -> Self {
        let is_http_1_0 = request.version == 0;
        let lists = |word| request.header_lists("Connection", word);
        let closes = lists("close") || is_http_1_0 && !lists("keep-alive");
        Exchange { is_http_1_0, is_head: request.method == "HEAD", closes }
    }

    /// Returns the header that says whether the connection is kept open, if there is one.
    pub(crate) fn connection_header(self, keeps_alive: bool) -> &'static str {
        match (keeps_alive, self.is_http_1_0) {
            (true, true) => "Connection: keep-alive\r\n",
            (false, false) => "Connection: close\r\n",
            _ => "",
        }
    }

    /// Returns the version in the status line.
    pub(crate) fn version(self) -> &'static str {
        if self.is_http_1_0 { "HTTP/1.0" } else { "HTTP/1.1" }
    }

    /// Returns true if the connection may be used for another request.
    pub(crate) fn may_keep_alive(self) -> bool {
        !self.closes
    }

    /// Returns true if the client understands chunks.
    pub(crate) fn may_chunk(self) -> bool {
        !self.is_http_1_0
    }
}

/// The bytes of a response.
pub(crate) struct EncodedResponse {
    /// The connection can be used for another request afterwards.
    pub(crate) keeps_alive: bool,
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

    pub(crate) fn encode(mut self, exchange: Exchange) -> EncodedResponse {
        let is_endless = !self.repeated.is_empty();
        let has_unusable_framing = match self.framing {
            BodyFraming::ContentLength => is_endless,
            BodyFraming::Chunked => !exchange.may_chunk(),
            BodyFraming::UntilClose => false,
        };
        if has_unusable_framing {
            self.framing = BodyFraming::UntilClose;
        }
        let keeps_alive = exchange.may_keep_alive() && (exchange.is_head || self.framing != BodyFraming::UntilClose);
        let head = self.head(exchange, keeps_alive);
        let (mut body, mut repeated) = (self.body, self.repeated);
        if exchange.is_head {
            return EncodedResponse { keeps_alive, head, body: Vec::new(), repeated: Vec::new() };
        }
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
        EncodedResponse { keeps_alive, head, body, repeated }
    }

    fn head(&self, exchange: Exchange, keeps_alive: bool) -> Vec<u8> {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut head = format!("{} {} {}\r\n", exchange.version(), self.status, reason.unwrap_or_default());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&date_header());
        match self.framing {
            // Go's servers know the length of a body only if they have written one.
            BodyFraming::ContentLength if exchange.is_head && self.body.is_empty() => {}
            BodyFraming::Chunked if exchange.is_head => {}
            BodyFraming::ContentLength => head.push_str(&format!("Content-Length: {}\r\n", self.body.len())),
            BodyFraming::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            BodyFraming::UntilClose => {}
        }
        head.push_str(exchange.connection_header(keeps_alive));
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// How the pieces of a response without a known length are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamFraming {
    Chunked,
    UntilClose,
}

impl StreamFraming {
    pub(crate) fn write(self, piece: &[u8], out: &mut Vec<u8>) {
        match self {
            StreamFraming::Chunked => write_chunk(piece, out),
            StreamFraming::UntilClose => out.extend_from_slice(piece),
        }
    }
}

/// Returns the header line with the current time.
pub(crate) fn date_header() -> String {
    Timestamp::now().strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string()
}

/// Appends a chunk of a body with `Transfer-Encoding: chunked`. An empty chunk ends the body.
fn write_chunk(chunk: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
    out.extend_from_slice(chunk);
    out.extend_from_slice(b"\r\n");
}
