//! Opens a tunnel to a server through a proxy: by CONNECT, or by SOCKS5.

use std::io::{self, Read};
use std::time::Instant;

use super::dns;
use super::proxy::socks5::{Exchange, Handshake, Refusal};
use super::proxy::{Protocol, ProxyServer};
use super::stream::Stream;
use super::tcp;
use super::tls::Tls;
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::endpoint::Endpoint;
use crate::net::failure::io_error;
use crate::net::head::Head;

/// Opens a tunnel to the server. `tls` is for the connection to the proxy itself.
pub(super) fn open(
    proxy: &ProxyServer,
    to: &Endpoint,
    tls: &Tls,
    deadline: Instant,
    cancel: &Cancel,
) -> Result<Stream> {
    match proxy.protocol {
        Protocol::Http => connect(proxy, dial(proxy, deadline, cancel)?, to, deadline),
        Protocol::Https => {
            let stream = dial(proxy, deadline, cancel)?;
            let stream = tls.handshake(&proxy.host, stream, deadline).map_err(|error| through(proxy, error))?;
            connect(proxy, stream, to, deadline)
        }
        Protocol::Socks5 => socks5_by_address(proxy, to, deadline, cancel),
        Protocol::Socks5h => {
            socks5(proxy, &to.host, to.port, &asking(proxy, to), deadline, cancel).map_err(|failure| failure.error)
        }
    }
}

fn dial(proxy: &ProxyServer, deadline: Instant, cancel: &Cancel) -> Result<Stream> {
    let socket = tcp::connect(&proxy.host, proxy.port, deadline, cancel).map_err(|error| through(proxy, error))?;
    Ok(Stream::plain(socket))
}

fn through(proxy: &ProxyServer, error: Error) -> Error {
    error.with_hint(&format!(" (through the proxy {proxy})"))
}

/// Asks for the tunnel by CONNECT (RFC 9110, section 9.3.6).
fn connect(proxy: &ProxyServer, mut stream: Stream, to: &Endpoint, deadline: Instant) -> Result<Stream> {
    let what = asking(proxy, to);
    stream.write_all_by(&proxy.connect_request(&to.host, to.port), deadline).map_err(|cause| io_error(&what, cause))?;
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

fn asking(proxy: &ProxyServer, to: &Endpoint) -> String {
    format!("asking the proxy {proxy} for a connection to {}:{}", to.host, to.port)
}

/// Resolves the server's name, and asks for a tunnel to one address after the other, until one works. Each has a new
/// connection to the proxy, which serves one request only.
fn socks5_by_address(proxy: &ProxyServer, to: &Endpoint, deadline: Instant, cancel: &Cancel) -> Result<Stream> {
    let addresses = dns::resolve(&to.host, to.port, deadline, cancel)
        .map_err(|error| error.with_hint(" (socks5:// resolves names on this side, socks5h:// at the proxy)"))?;
    let mut first_error = None;
    for (n, address) in addresses.iter().enumerate() {
        // An address for which the proxy never answers leaves the others their share of the time.
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / (addresses.len() - n) as u32;
        let host = address.ip().to_string();
        let mut what = asking(proxy, to);
        if host != to.host {
            what += &format!(" ({host})");
        }
        match socks5(proxy, &host, to.port, &what, now + share, cancel) {
            Ok(stream) => return Ok(stream),
            Err(Failure { error, is_of_address }) => {
                first_error.get_or_insert(error);
                if !is_of_address {
                    break;
                }
            }
        }
    }
    Err(first_error.expect("a name that was resolved has an address"))
}

/// Why there is no tunnel.
struct Failure {
    error: Error,
    /// True if another address of the same server may work.
    is_of_address: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, is_of_address: false }
    }
}

/// Asks for the tunnel by SOCKS5.
fn socks5(
    proxy: &ProxyServer,
    host: &str,
    port: u16,
    what: &str,
    deadline: Instant,
    cancel: &Cancel,
) -> Result<Stream, Failure> {
    let refused = |Refusal { why, is_of_address }| Failure {
        error: Error::new(ErrorKind::Proxy, format!("{what}: {why}")),
        is_of_address,
    };
    let mut handshake = proxy.socks5_handshake(host, port).map_err(refused)?;
    let mut stream = dial(proxy, deadline, cancel)?;
    let mut next = Some(handshake.start());
    while let Some(Exchange { send, receive }) = next {
        let mut answer = vec![0; receive];
        stream
            .write_all_by(&send, deadline)
            .and_then(|()| stream.until(deadline).read_exact(&mut answer))
            .map_err(|cause| broken(what, &handshake, cause))?;
        next = handshake.receive(&answer).map_err(refused)?;
    }
    Ok(stream)
}

/// Returns the failure that an I/O failure during a handshake means.
fn broken(what: &str, handshake: &Handshake, cause: io::Error) -> Failure {
    let is_timeout = cause.kind() == io::ErrorKind::TimedOut;
    let cause = match cause.kind() {
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(cause.kind(), "the proxy closed the connection before its answer was complete")
        }
        _ => cause,
    };
    let mut error = io_error(what, cause);
    if handshake.is_logging_in() && !is_timeout {
        error = error.with_hint(" (perhaps the user or the password is wrong)");
    }
    Failure { error, is_of_address: is_timeout }
}
