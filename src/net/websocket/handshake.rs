//! [`Request`]: the handshake that makes a websocket of a stream (RFC 6455, section 4).
//!
//! tungstenite's takes a head that dribbles in for an attack, and does not read the words of a server that refuses.

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
use crate::net::failure::{ROUTER_ERROR, error_response, io_error, mark_router};
use crate::net::head::Head;
use crate::secrets::hide;

/// How a connection is asked for.
pub(crate) struct Request<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) path: &'a str,
    /// As the `Authorization` header has it; empty for none.
    pub(crate) token: &'a str,
    pub(crate) max_message_size: usize,
    pub(crate) debug_printer: Option<&'a dyn DebugPrinter>,
}

impl Request<'_> {
    /// Dials the server and makes the handshake, all before `deadline`.
    pub(crate) fn connect(&self, dialer: &Dialer, deadline: Instant, cancel: &Cancel) -> Result<WebSocket> {
        let connected = dialer
            .dial(self.endpoint, deadline, cancel)
            .and_then(|mut stream| Ok((self.handshake(&mut stream, deadline)?, stream)))
            // Thrown as late as the answer arrived, the switch has shut the socket down.
            .and_then(|connected| cancel.check().map(|()| connected));
        let (rest, stream) = connected.map_err(|error| self.endpoint.explain(error, cancel))?;
        Ok(WebSocket::new(stream, rest, self.max_message_size, self.token))
    }

    /// Gives what the server sent behind its response.
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

        let mut response = Head::read(stream.until(deadline), &what)?;
        self.print("WEBSOCKET RESPONSE:", || {
            dump(&format!("HTTP/1.1 {} {}", response.status, response.reason), response.headers())
        });
        if response.status != 101 {
            let body = response.read_body(stream.until(deadline));
            let error = error_response(response.status, &response.reason, what, body);
            return Err(mark_router(error, response.header(ROUTER_ERROR)).hiding(self.token));
        }
        check_upgrade(&response, &key)
            .map_err(|why| Error::new(ErrorKind::BadResponse, format!("{what}: the server's 101 {why}")))?;
        Ok(response.rest)
    }

    fn print(&self, title: &str, dump: impl FnOnce() -> String) {
        if let Some(printer) = self.debug_printer {
            printer.print(title, &hide(&dump(), self.token));
        }
    }
}

/// What a client must check (RFC 6455, section 4.1).
pub(crate) fn check_upgrade(response: &Head, key: &str) -> Result<(), &'static str> {
    let has_token = |name: &str, token: &str| {
        let mut values = response.headers().filter(|header| header.0.eq_ignore_ascii_case(name));
        values.any(|header| header.1.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    };
    if !has_token("upgrade", "websocket") || !has_token("connection", "upgrade") {
        return Err("is no upgrade to websocket");
    }
    if response.header("sec-websocket-accept").map(str::trim) != Some(&derive_accept_key(key.as_bytes())) {
        return Err("has a Sec-WebSocket-Accept that does not fit our key");
    }
    if response.header("sec-websocket-extensions").is_some() || response.header("sec-websocket-protocol").is_some() {
        return Err("chooses an extension or a protocol that was not offered");
    }
    Ok(())
}
