//! [`Dialer`]: connects to a server, for both websockets and HTTP: DNS, TCP, the proxy's CONNECT and TLS, under one
//! deadline.

mod dns;
mod proxy;
pub(crate) mod stream;
mod tcp;
mod tls;

use std::fmt;
use std::time::Instant;

pub use self::proxy::Proxy;
use self::proxy::ProxyServer;
use self::stream::Stream;
use self::tls::Tls;
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::endpoint::Endpoint;
use crate::net::failure::io_error;
use crate::net::head::Head;

/// The TLS and proxy settings with which servers are dialled.
pub(crate) struct Dialer {
    tls: Tls,
    proxy: Proxy,
}

impl Dialer {
    pub(crate) fn new(connector: Option<native_tls::TlsConnector>, proxy: Proxy) -> Self {
        Dialer { tls: Tls::new(connector), proxy }
    }

    /// Connects to a server. `cancel` interrupts this at any time, and afterwards shuts the stream down.
    pub(crate) fn dial(&self, endpoint: &Endpoint, deadline: Instant, cancel: &Cancel) -> Result<Stream> {
        let target = endpoint.http_url("/").parse().expect("an endpoint's URL is valid");
        let mut stream = match self.proxy.for_target(&target)? {
            Some(proxy) => {
                log::debug!("dialing {endpoint} through the proxy {proxy}");
                self.tunnel(&proxy, endpoint, deadline, cancel)?
            }
            None => {
                log::debug!("dialing {endpoint}");
                Stream::plain(tcp::connect(&endpoint.host, endpoint.port, deadline, cancel)?)
            }
        };
        if endpoint.secure {
            stream = self.tls.handshake(&endpoint.host, stream, deadline)?;
        }
        Ok(stream)
    }

    /// Opens a tunnel to the server through the proxy (RFC 9110, section 9.3.6).
    fn tunnel(&self, proxy: &ProxyServer, to: &Endpoint, deadline: Instant, cancel: &Cancel) -> Result<Stream> {
        let through = |error: Error| error.with_hint(&format!(" (through the proxy {proxy})"));
        let socket = tcp::connect(&proxy.host, proxy.port, deadline, cancel).map_err(through)?;
        let mut stream = Stream::plain(socket);
        if proxy.tls {
            stream = self.tls.handshake(&proxy.host, stream, deadline).map_err(through)?;
        }
        let what = format!("asking the proxy {proxy} for a connection to {}:{}", to.host, to.port);
        stream
            .write_all_by(&proxy.connect_request(&to.host, to.port), deadline)
            .map_err(|cause| io_error(&what, cause))?;
        // A malformed response comes from the proxy, not from the server.
        let head = Head::read_final(stream.until(deadline), &what).map_err(|error| match error.kind() {
            ErrorKind::BadResponse => error.with_kind(ErrorKind::Proxy),
            _ => error,
        })?;
        if !(200..300).contains(&head.status) {
            let reason = proxy.without_credentials(&head.reason);
            let text = format!("{what}: the proxy answered {} {reason}", head.status);
            return Err(Error::new(ErrorKind::Proxy, text.trim_end()));
        }
        if !head.rest.is_empty() {
            return Err(Error::new(ErrorKind::Proxy, format!("{what}: the proxy sent data after its response head")));
        }
        Ok(stream)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}
