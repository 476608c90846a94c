//! HTTP as the Traffic Controllers spoke it: one request a connection, and what it is answered with.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use http::StatusCode;
use jiff::Timestamp;
use tungstenite::handshake::derive_accept_key;

use super::builder::{BodyFraming, Generation, Settings};
use super::connection::Connection;
use super::fault::{Endless, Plan};
use super::record::{Request, RequestKind};
use super::stream::{Broken, Cut};
use super::tail::{Kind, Opening};

/// More than any client's request head.
const LARGEST_HEAD: usize = 64 * 1024;
const MOST_HEADERS: usize = 128;
/// As Go cuts bodies into chunks.
const CHUNK: usize = 2048;
const FILLER: usize = 16 * 1024;

pub(super) enum Answer {
    Http(Response),
    Raw(Vec<u8>),
    Websocket(Opening),
}

/// Reads the connection's request, and decides on the answer.
pub(super) fn answer(connection: &mut Connection) -> Result<Answer, Broken> {
    let Some((request, early)) = read_request(connection)? else {
        return Ok(Answer::Http(Response::text(400, "400 Bad Request")));
    };
    connection.shared().update(|state| state.requests.push(request.clone()));
    let Connection { plan, .. } = connection;
    if let Some(bytes) = plan.garbage.take() {
        return Ok(Answer::Raw(bytes));
    }
    if let Some((status, body)) = plan.refuse.take() {
        return Ok(Answer::Http(Response::text(status, body)));
    }
    let answer = match connection.shared().settings.generation {
        Generation::April2014 | Generation::May2014 => answer_of_2014(connection, request),
        Generation::Y2015 | Generation::Y2016 => answer_of_2015(connection, request),
    };
    // The real servers, too, drop clients that do not wait for the handshake's end.
    let is_early = |connection: &mut Connection| early || matches!(connection.stream.read(&mut [0]), Ok(Some(_)));
    match answer {
        Answer::Websocket(_) if is_early(connection) => Err(Broken::Drop),
        answer => Ok(answer),
    }
}

/// Reads the head of a request. Says also whether there came more than that; `None` when it is no request.
fn read_request(connection: &mut Connection) -> Result<Option<(Request, bool)>, Broken> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while head.len() < LARGEST_HEAD {
        match connection.stream.read(&mut buffer)? {
            None => connection.wait(false, None)?,
            Some(0) => return Err(Broken::Gone),
            Some(read) => {
                head.extend_from_slice(&buffer[..read]);
                let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
                let mut parsed = httparse::Request::new(&mut headers);
                match parsed.parse(&head) {
                    Ok(httparse::Status::Partial) => {}
                    Ok(httparse::Status::Complete(length)) => {
                        let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
                        return Ok(Some((Request::new(method, target, parsed.headers), head.len() > length)));
                    }
                    Err(_) => return Ok(None),
                }
            }
        }
    }
    Ok(None)
}

fn answer_of_2014(connection: &Connection, request: Request) -> Answer {
    let settings = &connection.shared().settings;
    let app = request.app();
    let refused = if app.is_empty() { Some("Error: Invalid target") } else { refusal(settings, &request) };
    if let Some(words) = refused {
        // The text form of a protobuf message, with the space that ends it.
        let now = Timestamp::now().as_nanosecond();
        let body = format!(
            "You are not authorized. message:{words:?} message_type:ERR timestamp:{now} app_id:{app:?} \
             source_name:\"LGR\" "
        );
        return Answer::Http(Response::text(401, body).header("Www-Authenticate", "Basic"));
    }
    if settings.generation == Generation::May2014 && request.kind == RequestKind::Recent {
        return Answer::Http(recent(connection, &app, "loggregator-message", "\"loggregator-message\""));
    }
    let kind = if request.kind == RequestKind::Tail { Kind::Tail } else { Kind::Dump };
    upgrade(connection, request, kind)
        .unwrap_or_else(|| Answer::Http(Response::go_error(400, "Not a websocket handshake")))
}

fn answer_of_2015(connection: &Connection, request: Request) -> Answer {
    let settings = &connection.shared().settings;
    let of_2016 = settings.generation == Generation::Y2016;
    let app = request.app();
    if app.is_empty() || request.kind == RequestKind::Other {
        let path = if of_2016 { "" } else { request.path() };
        return Answer::Http(Response::text(404, format!("Resource Not Found. {path}").trim_end()));
    }
    if request.method == "HEAD" {
        return Answer::Http(Response::empty(200));
    }
    if let Some(words) = refusal(settings, &request) {
        return Answer::Http(if of_2016 {
            Response::text(401, "Unauthorized")
        } else {
            Response::text(401, format!("You are not authorized. {words}")).header("Www-Authenticate", "Basic")
        });
    }
    if request.kind == RequestKind::Tail {
        return upgrade(connection, request, Kind::Tail)
            .unwrap_or_else(|| Answer::Http(Response::go_error(400, "Bad Request")));
    }
    let boundary = random_boundary();
    Answer::Http(recent(connection, &app, &boundary, &boundary))
}

/// Why the request's token is refused, if it is.
fn refusal(settings: &Settings, request: &Request) -> Option<&'static str> {
    let tokens = settings.tokens.as_ref()?;
    match request.header("Authorization").unwrap_or_default() {
        "" => Some("Error: Authorization not provided"),
        token if tokens.iter().any(|accepted| accepted == token) => None,
        _ => Some("Error: Invalid authorization"),
    }
}

/// The 101, when the request is a websocket handshake.
fn upgrade(connection: &Connection, request: Request, kind: Kind) -> Option<Answer> {
    let key = request.header("Sec-WebSocket-Key").filter(|key| !key.is_empty())?;
    let is_handshake = request.method == "GET"
        && request.header_lists("Upgrade", "websocket")
        && request.header_lists("Connection", "Upgrade")
        && request.header("Sec-WebSocket-Version") == Some("13");
    if !is_handshake {
        return None;
    }
    let key = if connection.plan.wrong_accept_key { "another key" } else { key };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    Some(Answer::Websocket(Opening { request, kind, head }))
}

/// The multipart answer with the messages that are kept for an app.
fn recent(connection: &Connection, app: &str, boundary: &str, shown_boundary: &str) -> Response {
    let messages = connection.shared().with(|state| state.recent.get(app).cloned().unwrap_or_default());
    let opening = format!("\r\n--{boundary}\r\n\r\n");
    let mut body = Vec::new();
    for message in &messages {
        body.extend_from_slice(opening.as_bytes());
        body.extend_from_slice(message);
    }
    let mut filler = Vec::new();
    match connection.plan.endless {
        Some(Endless::Part) => body.extend_from_slice(opening.as_bytes()),
        Some(Endless::Messages) if !messages.is_empty() => filler.clone_from(&body),
        _ => body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes()),
    }
    // The first part's delimiter begins at once, but Go's writer leaves the line end before a lone closing one.
    if !messages.is_empty() {
        body.drain(..2);
    }
    Response {
        status: 200,
        headers: vec![("Content-Type", format!("multipart/x-protobuf; boundary={shown_boundary}"))],
        framing: connection.shared().settings.framing,
        body,
        filler,
    }
}

/// 60 hexadecimal digits, as Go's multipart writer has them.
fn random_boundary() -> String {
    let digits: String = (0..4).map(|_| format!("{:016x}", RandomState::new().build_hasher().finish())).collect();
    digits[..60].to_owned()
}

pub(super) struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    framing: BodyFraming,
    body: Vec<u8>,
    /// What comes behind the body over and over, if it is not empty.
    filler: Vec<u8>,
}

impl Response {
    fn empty(status: u16) -> Self {
        let (headers, body, filler) = Default::default();
        Response { status, headers, framing: BodyFraming::UntilClose, body, filler }
    }

    fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let framing = BodyFraming::ContentLength;
        Response { framing, body: body.into(), ..Response::empty(status) }
            .header("Content-Type", "text/plain; charset=utf-8")
    }

    /// What Go's `http.Error` sends.
    fn go_error(status: u16, words: &str) -> Self {
        Response::text(status, format!("{words}\n")).header("X-Content-Type-Options", "nosniff")
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn send(mut self, connection: &mut Connection) -> Result<(), Broken> {
        let Plan { endless, truncate, delayed_body, .. } = connection.plan;
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
            connection.stream.cut_at((head + (bytes.len() - head) / 2) as u64, Cut::Drop);
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
        head.push_str(&Timestamp::now().strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string());
        match self.framing {
            BodyFraming::ContentLength => head.push_str(&format!("Content-Length: {}\r\n", self.body.len())),
            BodyFraming::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            BodyFraming::UntilClose => {}
        }
        head.push_str("Connection: close\r\n\r\n");
        head.into_bytes()
    }
}

fn write_chunk(chunk: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
    out.extend_from_slice(chunk);
    out.extend_from_slice(b"\r\n");
}
