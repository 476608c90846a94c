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
        let mut connector = self.connector.lock();
        if connector.is_none() {
            let own = TlsConnector::builder()
                .min_protocol_version(Some(Protocol::Tlsv12))
                .build()
                .map_err(|cause| Error::caused(ErrorKind::Tls, "setting up TLS", cause))?;
            *connector = Some(own);
        }
        Ok(connector.clone().expect("the connector was just created"))
    }

    /// Performs the handshake with `host`. The certificate must be valid for this name.
    pub(crate) fn handshake(&self, host: &str, stream: Stream, deadline: Instant) -> Result<Stream> {
        let mut handshake = self.connector()?.connect(host, stream);
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

type Handshake = std::result::Result<native_tls::TlsStream<Stream>, HandshakeError<Stream>>;

/// Waits for the server, and continues the handshake.
fn resume(unfinished: MidHandshakeTlsStream<Stream>, host: &str, deadline: Instant) -> Result<Handshake> {
    // Never waits to write: what a client writes in a handshake fits into the socket's empty buffer.
    wait(unfinished.get_ref().socket(), PollFlags::IN, Some(deadline))
        .map_err(|cause| io_error(format_args!("the TLS handshake with {host}"), cause))?;
    Ok(unfinished.handshake())
}
