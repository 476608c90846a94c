//! TLS for the tests' servers, with the crate's own self-signed certificate for `localhost`, `127.0.0.1` and `::1`.

use std::net::TcpStream;

use native_tls::{Certificate, Identity, TlsAcceptor, TlsConnector, TlsStream};

const CERTIFICATE: &[u8] = include_bytes!("../../src/testing/tls/cert.pem");
const KEY: &[u8] = include_bytes!("../../src/testing/tls/key.pem");

/// Performs the server's side of a handshake. `None` if the client aborts it.
pub fn accept(socket: TcpStream) -> Option<TlsStream<TcpStream>> {
    acceptor().accept(socket).ok()
}

pub fn acceptor() -> TlsAcceptor {
    TlsAcceptor::new(Identity::from_pkcs8(CERTIFICATE, KEY).unwrap()).unwrap()
}

/// A connector that trusts the certificate.
pub fn trusting() -> TlsConnector {
    let certificate = Certificate::from_pem(CERTIFICATE).unwrap();
    TlsConnector::builder().add_root_certificate(certificate).build().unwrap()
}

/// A connector that accepts any certificate.
pub fn unverifying() -> TlsConnector {
    TlsConnector::builder().danger_accept_invalid_certs(true).build().unwrap()
}
