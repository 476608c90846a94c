//! [`Request`]: the handshake that turns a stream into a websocket (RFC 6455, section 4).
//!
//! tungstenite's own handshake treats a head that arrives slowly as an attack, and does not read the body of an error
//! response.

use std::time::Instant;

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use super::WebSocket;
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::debug::{DebugPrinter, dump};
use crate::net::dial::Dialer;
use crate::net::dial::stream::Stream;
use crate::net::endpoint::Endpoint;
use crate::net::failure::{ErrorResponse, io_error};
use crate::net::head::{ACCEPT_ENCODING, Head};
use crate::secrets::hide;

/// The parameters of a websocket connection.
pub(crate) struct Request<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) path: &'a str,
    /// The value of the `Authorization` header. Empty: no header.
    pub(crate) token: &'a str,
    pub(crate) max_message_size: usize,
    pub(crate) debug_printer: Option<&'a dyn DebugPrinter>,
}

impl Request<'_> {
    /// Dials the server and performs the handshake, both before `deadline`.
    pub(crate) fn connect(&self, dialer: &Dialer, deadline: Instant, cancel: &Cancel) -> Result<WebSocket> {
        let connected = dialer
            .dial(self.endpoint, deadline, cancel)
            .and_then(|mut stream| Ok((self.handshake(&mut stream, deadline)?, stream)))
            // A `cancel` that came while the response arrived has shut the socket down.
            .and_then(|connected| cancel.check().map(|()| connected));
        let (rest, stream) = connected.map_err(|error| self.endpoint.explain(error, cancel))?;
        Ok(WebSocket::new(stream, rest, self.max_message_size, self.token))
    }

    /// Performs the handshake. Returns the bytes that were read after the response head.
    fn handshake(&self, stream: &mut Stream, deadline: Instant) -> Result<Vec<u8>> {
        let key = generate_key();
        let first_line = format!("GET {} HTTP/1.1", self.endpoint.path(self.path));
        let mut headers = vec![
            ("Host", &*self.endpoint.authority),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", &*key),
            ("Sec-WebSocket-Version", "13"),
            ("Origin", "http://localhost"),
            ("Accept-Encoding", ACCEPT_ENCODING),
            ("User-Agent", crate::USER_AGENT),
        ];
        if !self.token.is_empty() {
            headers.push(("Authorization", self.token));
        }
        self.print("WEBSOCKET REQUEST:", || dump(&first_line, headers.iter().copied()));
        let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let what = format!("the websocket handshake at {}", self.endpoint.path(self.path));
        stream
            .write_all_by(format!("{first_line}\r\n{head}\r\n").as_bytes(), deadline)
            .map_err(|cause| io_error(&what, cause))?;

        let mut response = Head::read_final(stream.until(deadline), &what)?;
        self.print("WEBSOCKET RESPONSE:", || {
            dump(&format!("HTTP/1.1 {} {}", response.status, response.reason), response.headers())
        });
        if response.status != 101 {
            let body = response.read_body(stream.until(deadline));
            let error = ErrorResponse::of(&response, body).into_error(what, |text| hide(text, self.token));
            return Err(error);
        }
        check_upgrade(&response, &key)
            .map_err(|why| Error::new(ErrorKind::BadResponse, format!("{what}: the 101 response {why}")))?;
        Ok(response.rest)
    }

    fn print(&self, title: &str, dump: impl FnOnce() -> String) {
        if let Some(printer) = self.debug_printer {
            printer.print(title, &hide(&dump(), self.token));
        }
    }
}

/// Checks what a client must check in a 101 response (RFC 6455, section 4.1). An error completes "the 101 response ".
pub(crate) fn check_upgrade(response: &Head, key: &str) -> Result<(), &'static str> {
    let has_token = |name: &str, token: &str| {
        let mut values = response.headers().filter(|header| header.0.eq_ignore_ascii_case(name));
        values.any(|header| header.1.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    };
    if !has_token("upgrade", "websocket") || !has_token("connection", "upgrade") {
        return Err("is not an upgrade to websocket");
    }
    if response.header("sec-websocket-accept").map(str::trim) != Some(&derive_accept_key(key.as_bytes())) {
        return Err("has no Sec-WebSocket-Accept header that matches the key");
    }
    if response.header("sec-websocket-extensions").is_some() || response.header("sec-websocket-protocol").is_some() {
        return Err("selects an extension or a protocol that was not offered");
    }
    Ok(())
}
