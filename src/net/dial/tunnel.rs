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
    let dial = || dial(proxy, deadline, cancel);
    match proxy.protocol {
        Protocol::Http => connect(proxy, dial()?, to, deadline),
        Protocol::Https => {
            let stream = tls.handshake(&proxy.host, dial()?, deadline).map_err(|error| through(proxy, error))?;
            connect(proxy, stream, to, deadline)
        }
        Protocol::Socks5h => {
            socks5(proxy, dial()?, &to.host, to.port, &asking(proxy, to), deadline).map_err(|failure| failure.error)
        }
        Protocol::Socks5 => {
            let addresses = dns::resolve(&to.host, to.port, deadline, cancel).map_err(|error| {
                error.with_hint(" (socks5:// resolves names on this side, socks5h:// at the proxy)")
            })?;
            let hosts: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
            socks5_by_address(proxy, dial, to, &hosts, deadline)
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

/// Asks for a tunnel to one address of the server after the other, by SOCKS5. Each attempt needs a new connection to the
/// proxy, which serves one request only. Returns the first error if all fail.
fn socks5_by_address(
    proxy: &ProxyServer,
    dial: impl Fn() -> Result<Stream>,
    to: &Endpoint,
    addresses: &[String],
    deadline: Instant,
) -> Result<Stream> {
    let mut first_error = None;
    for (n, address) in addresses.iter().enumerate() {
        let mut what = asking(proxy, to);
        if *address != to.host {
            what += &format!(" ({address})");
        }
        let attempt = || {
            let stream = dial()?;
            // An address for which the proxy never answers leaves the next ones their share of the time.
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / (addresses.len() - n) as u32;
            socks5(proxy, stream, address, to.port, &what, now + share)
        };
        match attempt() {
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
    mut stream: Stream,
    host: &str,
    port: u16,
    what: &str,
    deadline: Instant,
) -> Result<Stream, Failure> {
    let refused = |Refusal { why, is_of_address }| Failure {
        error: Error::new(ErrorKind::Proxy, format!("{what}: {why}")),
        is_of_address,
    };
    let mut handshake = proxy.socks5_handshake(host, port).map_err(refused)?;
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
    Failure { error: io_error(what, cause).with_hint(handshake.suspicion(is_timeout)), is_of_address: is_timeout }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, copy, sink};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::net::deadline::after;
    use crate::net::dial::Proxy;
    use crate::net::endpoint::Scheme;

    const LONG: Duration = Duration::from_secs(20);

    /// Tries these addresses at a proxy that never answers a request for 10.0.0.1, sends the code 2 for 10.0.0.2 and 5
    /// for 10.0.0.3, and opens the tunnel to any other, with its last number as the first byte.
    fn try_addresses(addresses: &[&str], limit: Duration) -> Result<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("socks5://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for socket in listener.incoming() {
                thread::spawn(move || {
                    let mut socket = socket.unwrap();
                    socket.read_exact(&mut [0; 3]).unwrap();
                    socket.write_all(&[5, 0]).unwrap();
                    let mut request = [0; 10];
                    socket.read_exact(&mut request).unwrap();
                    let _ = match request[7] {
                        1 => Ok(()),
                        2 => socket.write_all(&[5, 2]),
                        3 => socket.write_all(&[5, 5]),
                        other => socket.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0, other]),
                    };
                    let _ = copy(&mut socket, &mut sink());
                });
            }
        });
        let proxy = Proxy::url(&url).unwrap().for_target(&"http://x".parse().unwrap()).unwrap().unwrap();
        let to = Endpoint::parse("http://example.com", Scheme::Http).unwrap();
        let addresses: Vec<_> = addresses.iter().map(|address| (*address).to_owned()).collect();
        let deadline = after(limit);
        let dial = || dial(&proxy, deadline, &Cancel::new());
        let mut stream = socks5_by_address(&proxy, dial, &to, &addresses, deadline)?;
        let mut first = [0];
        stream.until(deadline).read_exact(&mut first).unwrap();
        Ok(first[0])
    }

    #[test]
    fn an_address_that_the_proxy_cannot_reach_is_followed_by_the_next_one() {
        assert_eq!(try_addresses(&["10.0.0.3", "10.0.0.3", "10.0.0.4", "10.0.0.5"], LONG).unwrap(), 4);
        let error = try_addresses(&["10.0.0.3", "10.0.0.3"], LONG).unwrap_err();
        assert!(error.to_string().contains("the code 5"), "{error}");
    }

    #[test]
    fn an_address_for_which_the_proxy_never_answers_leaves_time_for_the_next_one() {
        assert_eq!(try_addresses(&["10.0.0.1", "10.0.0.4"], Duration::from_secs(2)).unwrap(), 4);
        let error = try_addresses(&["10.0.0.1", "10.0.0.1"], Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }

    #[test]
    fn a_refusal_that_is_not_of_the_address_is_final() {
        let error = try_addresses(&["10.0.0.2", "10.0.0.4"], LONG).unwrap_err();
        assert!(error.to_string().contains("the code 2"), "{error}");
    }
}
