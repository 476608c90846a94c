//! Reads a request from a connection.

use crate::testing::connection::{Connection, Disconnect};
use crate::testing::protocol::request::{Request, RequestKind};

/// The maximum size of a request head, and of a form. No client sends more.
const LARGEST_HEAD: usize = 64 * 1024;

/// Reads a request: its head, and the form if it is a request for a token. Also returns whether the client has sent
/// more than that. `None`: it is not an HTTP request.
pub(super) fn read_request(connection: &mut Connection) -> Result<Option<(Request, bool)>, Disconnect> {
    let mut bytes = Vec::new();
    let (mut request, head) = loop {
        match Request::parse(&bytes) {
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

/// Waits for bytes of the client and appends them.
fn read_more(connection: &mut Connection, bytes: &mut Vec<u8>) -> Result<(), Disconnect> {
    let mut buffer = [0; 4096];
    loop {
        match connection.socket.read(&mut buffer)? {
            None => connection.wait(false, None)?,
            Some(0) => return Err(Disconnect::ClientGone),
            Some(read) => {
                bytes.extend_from_slice(&buffer[..read]);
                return Ok(());
            }
        }
    }
}
