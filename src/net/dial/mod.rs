//! [`Dialer`]: connects to a server, for both websockets and HTTP: DNS, TCP, the proxy's tunnel and TLS, under one
//! deadline.

mod dns;
mod proxy;
pub(crate) mod stream;
mod tcp;
mod tls;
mod tunnel;

use std::fmt;
use std::time::Instant;

pub use self::proxy::Proxy;
use self::stream::Stream;
use self::tls::Tls;
use crate::error::Result;
use crate::net::cancel::Cancel;
use crate::net::endpoint::Endpoint;

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
                tunnel::open(&proxy, endpoint, &self.tls, deadline, cancel)?
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
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}
