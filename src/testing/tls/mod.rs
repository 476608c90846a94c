//! The built-in certificate. Its key is public, so it protects nothing: use it in tests only.
//!
//! Both files were made with OpenSSL 3.0. The key is RSA because native-tls imports only RSA keys on macOS and Windows.
//! The certificate is valid from 2019 because macOS rejects certificates that start later and are valid for more than
//! 825 days.
//!
//! ```sh
//! cat > ca.conf <<'END'
//! [ca]
//! default_ca = self
//! [self]
//! database = index.txt
//! new_certs_dir = .
//! policy = any
//! rand_serial = yes
//! default_md = sha256
//! x509_extensions = server
//! [any]
//! commonName = supplied
//! [server]
//! basicConstraints = critical, CA:TRUE
//! keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
//! extendedKeyUsage = serverAuth
//! subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
//! subjectKeyIdentifier = hash
//! END
//! touch index.txt
//! openssl req -new -newkey rsa:2048 -nodes -keyout key.pem -subj '/CN=loggregator-consumer testing' -out server.csr
//! openssl ca -batch -selfsign -config ca.conf -keyfile key.pem -in server.csr -notext -out cert.pem \
//!     -startdate 20190101000000Z -enddate 21190101000000Z
//! ```

use std::io;

use native_tls::{Certificate, Identity, TlsAcceptor, TlsConnector};

const CERTIFICATE: &str = include_str!("cert.pem");
const KEY: &str = include_str!("key.pem");

/// Returns the certificate, in PEM, that a [`TrafficController`](crate::testing::TrafficController) with
/// [`tls`](crate::testing::TrafficControllerBuilder::tls) presents: for clients that take a file instead of a
/// [connector](crate::testing::TrafficController::tls_connector).
///
/// It is self-signed, is its own CA, and is valid for `localhost`, `127.0.0.1` and `::1`. **Its key is public**: trust
/// it in tests only.
///
/// ```
/// use loggregator_consumer::testing;
///
/// assert!(testing::certificate_pem().starts_with("-----BEGIN CERTIFICATE-----"));
/// ```
pub fn certificate_pem() -> &'static str {
    CERTIFICATE
}

/// Returns an acceptor that presents the built-in certificate.
pub(crate) fn acceptor() -> io::Result<TlsAcceptor> {
    Identity::from_pkcs8(CERTIFICATE.as_bytes(), KEY.as_bytes())
        .and_then(|identity| TlsAcceptor::builder(identity).build())
        .map_err(io::Error::other)
}

/// Returns a connector that trusts the built-in certificate and no other.
pub(crate) fn connector() -> io::Result<TlsConnector> {
    Certificate::from_pem(CERTIFICATE.as_bytes())
        .and_then(|certificate| {
            TlsConnector::builder().disable_built_in_roots(true).add_root_certificate(certificate).build()
        })
        .map_err(io::Error::other)
}
