//! The TLS handshake over a connected stream.

use std::time::Instant;

use native_tls::{HandshakeError, MidHandshakeTlsStream, Protocol, TlsConnector};
use parking_lot::Mutex;
use rustix::event::PollFlags;

use super::stream::{Stream, wait};
use crate::error::{Error, ErrorKind, Result};
use crate::net::failure::io_error;

/// The caller's `TlsConnector`, or our own.
pub(crate) struct Tls {
    /// Our own is created on first use, because reading the system's certificates is slow.
    connector: Mutex<Option<TlsConnector>>,
}

impl Tls {
    pub(crate) fn new(connector: Option<TlsConnector>) -> Self {
        Tls { connector: Mutex::new(connector) }
    }

    fn connector(&self) -> Result<TlsConnector> {
        if let Some(connector) = &*self.connector.lock() {
            return Ok(connector.clone());
        }
        // Not under the lock: this may log, and the caller's logger may connect, too.
        let own = TlsConnector::builder()
            .min_protocol_version(Some(Protocol::Tlsv12))
            .build()
            .map_err(|cause| Error::caused(ErrorKind::Tls, "setting up TLS", cause))?;
        Ok(self.connector.lock().get_or_insert(own).clone())
    }

    /// Performs the handshake with `host`. The certificate must be valid for its [name](certificate_name).
    pub(crate) fn handshake(&self, host: &str, stream: Stream, deadline: Instant) -> Result<Stream> {
        let mut handshake = self.connector()?.connect(certificate_name(host), stream);
        loop {
            match handshake {
                Ok(tls) => return Ok(Stream::tls(tls)),
                Err(HandshakeError::WouldBlock(unfinished)) => handshake = resume(unfinished, host, deadline)?,
                Err(HandshakeError::Failure(cause)) => {
                    return Err(Error::caused(ErrorKind::Tls, format_args!("the TLS handshake with {host}"), cause));
                }
            }
        }
    }
}

/// Returns the name by which a host's certificate is requested (SNI) and verified: a host name without the dot at its
/// end (RFC 6066, section 3), or an IPv6 address without its zone.
fn certificate_name(host: &str) -> &str {
    match host.split_once('%') {
        Some((address, _zone)) => address,
        None => host.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(host),
    }
}

type Handshake = std::result::Result<native_tls::TlsStream<Stream>, HandshakeError<Stream>>;

/// Waits for the server, and continues the handshake.
fn resume(unfinished: MidHandshakeTlsStream<Stream>, host: &str, deadline: Instant) -> Result<Handshake> {
    // Never waits to write: what a client writes in a handshake fits into the socket's empty buffer.
    wait(unfinished.get_ref().socket(), PollFlags::IN, Some(deadline))
        .map_err(|cause| io_error(format_args!("the TLS handshake with {host}"), cause))?;
    Ok(unfinished.handshake())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_has_a_name_without_the_dot_and_an_address_without_the_zone() {
        for (host, name) in [
            ("example.com", "example.com"),
            ("example.com.", "example.com"),
            (".", "."),
            ("10.0.0.1", "10.0.0.1"),
            ("fe80::1", "fe80::1"),
            ("fe80::1%eth0", "fe80::1"),
        ] {
            assert_eq!(certificate_name(host), name);
        }
    }
}
