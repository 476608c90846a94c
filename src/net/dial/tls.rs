//! The TLS handshake, over a stream that is there already.

use std::time::Instant;

use native_tls::{HandshakeError, MidHandshakeTlsStream, Protocol, TlsConnector};
use parking_lot::Mutex;
use rustix::event::PollFlags;

use super::stream::{Stream, wait};
use crate::error::{Error, ErrorKind, Result};
use crate::net::failure::io_error;

/// The caller's `TlsConnector`, or our own.
pub(crate) struct Tls {
    /// Our own is made when it is first needed: it reads the system's certificates, which takes long.
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
                .map_err(|cause| Error::caused(ErrorKind::Tls, "setting TLS up", cause))?;
            *connector = Some(own);
        }
        Ok(connector.clone().expect("it was made just now"))
    }

    /// Makes the handshake with `host`, whose name the certificate must have.
    pub(crate) fn handshake(&self, host: &str, stream: Stream, deadline: Instant) -> Result<Stream> {
        let mut handshake = self.connector()?.connect(host, stream);
        loop {
            match handshake {
                Ok(tls) => return Ok(Stream::tls(tls)),
                Err(HandshakeError::WouldBlock(unfinished)) => handshake = go_on(unfinished, host, deadline)?,
                Err(HandshakeError::Failure(cause)) => {
                    return Err(Error::caused(ErrorKind::Tls, format_args!("the TLS handshake with {host}"), cause));
                }
            }
        }
    }
}

type Handshake = std::result::Result<native_tls::TlsStream<Stream>, HandshakeError<Stream>>;

fn go_on(unfinished: MidHandshakeTlsStream<Stream>, host: &str, deadline: Instant) -> Result<Handshake> {
    // Always for reading: what a client writes in a handshake fits into an empty socket's buffer.
    wait(unfinished.get_ref().socket(), PollFlags::IN, Some(deadline))
        .map_err(|cause| io_error(format_args!("the TLS handshake with {host}"), cause))?;
    Ok(unfinished.handshake())
}
