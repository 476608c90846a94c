//! Reads requests from a connection.

use crate::testing::connection::{Connection, Disconnect};
use crate::testing::protocol::request::{Request, RequestKind};

/// The maximum size of a request head, and of a form. No client sends more.
const LARGEST_HEAD: usize = 64 * 1024;

/// A request as far as it has been read.
pub(super) enum Incoming {
    Request(Request),
    /// It is not a valid HTTP request, for this reason if there is one.
    Invalid(Option<&'static str>),
}

/// Waits for the first byte of a request.
pub(super) fn wait_for_request(connection: &mut Connection) -> Result<(), Disconnect> {
    while connection.input.is_empty() {
        read_more(connection)?;
    }
    Ok(())
}

/// Reads a request: its head, and the form if it is a request for a token.
pub(super) fn read_request(connection: &mut Connection) -> Result<Incoming, Disconnect> {
    let (mut request, head) = loop {
        match Request::parse(&connection.input) {
            Ok(Some(parsed)) => break parsed,
            Ok(None) if connection.input.len() < LARGEST_HEAD => read_more(connection)?,
            _ => return Ok(Incoming::Invalid(None)),
        }
    };
    connection.input.drain(..head);
    let hosts = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Host")).count();
    if hosts == 0 && request.version > 0 {
        return Ok(Incoming::Invalid(Some("missing required Host header")));
    }
    if hosts > 1 {
        return Ok(Incoming::Invalid(Some("too many Host headers")));
    }
    if !request.has_valid_path() {
        return Ok(Incoming::Invalid(None));
    }
    if request.kind == RequestKind::Token {
        let Some(length) = body_length(&request).filter(|length| *length <= LARGEST_HEAD) else {
            return Ok(Incoming::Invalid(None));
        };
        if request.header("Expect").is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue")) {
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        while connection.input.len() < length {
            read_more(connection)?;
        }
        request.body = connection.input.drain(..length).collect();
    }
    Ok(Incoming::Request(request))
}

/// Discards the body of a request that has been answered. Returns false if its end is unknown, or far away.
pub(super) fn discard_body(connection: &mut Connection, request: &Request) -> Result<bool, Disconnect> {
    let Some(length) = body_length(request).filter(|length| *length <= LARGEST_HEAD) else { return Ok(false) };
    let length = length - request.body.len();
    while connection.input.len() < length {
        read_more(connection)?;
    }
    connection.input.drain(..length);
    Ok(true)
}

/// Returns the length of a body. `None`: it is not known.
fn body_length(request: &Request) -> Option<usize> {
    if request.header("Transfer-Encoding").is_some() {
        return None;
    }
    request.header("Content-Length").map_or(Some(0), |length| length.parse().ok())
}

/// Waits for bytes of the client and appends them to the input.
fn read_more(connection: &mut Connection) -> Result<(), Disconnect> {
    let mut buffer = [0; 4096];
    loop {
        match connection.socket.read(&mut buffer)? {
            None => connection.wait(false, None)?,
            Some(0) => return Err(Disconnect::ClientGone),
            Some(read) => {
                connection.input.extend_from_slice(&buffer[..read]);
                return Ok(());
            }
        }
    }
}
