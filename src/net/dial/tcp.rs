//! Connects a TCP socket to a host: DNS, then an attempt for each address, staggered.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::dns;
use super::stream::timespec;
use crate::error::{Error, Result};
use crate::net::cancel::Cancel;
use crate::net::failure::io_error;

/// The delay between the start of one connection attempt and the next (RFC 8305: "Happy Eyeballs").
const STAGGER: Duration = Duration::from_millis(250);

/// How often a connection attempt checks whether it is cancelled. Shutting down a socket that is not connected yet does
/// not wake the wait on every system.
const CANCEL_CHECK: Duration = Duration::from_millis(20);

/// Connects to the first address of `host` that accepts. The socket is non-blocking.
pub(crate) fn connect(host: &str, port: u16, deadline: Instant, cancel: &Cancel) -> Result<Arc<TcpStream>> {
    let addresses = dns::resolve(host, port, deadline, cancel)?;
    let socket = race(&addresses, deadline, cancel).map_err(|failure| match failure {
        Failure::Closed(error) => error,
        Failure::Io(cause) => io_error(format_args!("TCP connection to {host}:{port}"), cause),
    })?;
    let socket = Arc::new(socket);
    cancel.shut_down_on_cancel(&socket)?;
    Ok(socket)
}

enum Failure {
    Closed(Error),
    Io(io::Error),
}

/// Tries the addresses in order, each [`STAGGER`] after the one before, or at once when no attempt is left running.
/// Returns the first socket that connects, or the first error if all attempts fail.
fn race(addresses: &[SocketAddr], deadline: Instant, cancel: &Cancel) -> Result<TcpStream, Failure> {
    let mut untried = addresses.iter();
    let mut attempts: Vec<Socket> = Vec::new();
    let mut next_try = Instant::now();
    let mut first_error = None;
    loop {
        cancel.check().map_err(Failure::Closed)?;
        let now = Instant::now();
        if now >= deadline {
            return Err(Failure::Io(io::ErrorKind::TimedOut.into()));
        }
        if attempts.is_empty() || now >= next_try {
            match untried.next().map(|&address| start_connect(address)) {
                Some(Ok(socket)) => attempts.push(socket),
                Some(Err(error)) => _ = first_error.get_or_insert(error),
                None if attempts.is_empty() => {
                    let error = first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
                    return Err(Failure::Io(error));
                }
                None => {}
            }
            next_try = now + STAGGER;
        }
        if attempts.is_empty() {
            continue;
        }
        let pause = CANCEL_CHECK.min(deadline - now);
        for n in ready(&attempts, pause).map_err(Failure::Io)?.into_iter().rev() {
            let socket = attempts.swap_remove(n);
            match socket.take_error() {
                Ok(None) => return connected(socket).map_err(Failure::Io),
                Ok(Some(error)) | Err(error) => _ = first_error.get_or_insert(error),
            }
        }
    }
}

/// Starts to connect, without waiting.
fn start_connect(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if !is_in_progress(&error) => Err(error),
        _ => Ok(socket),
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// Waits up to `pause`. Returns the indices of the sockets that have connected or failed.
fn ready(sockets: &[Socket], pause: Duration) -> io::Result<Vec<usize>> {
    let mut polled: Vec<_> = sockets.iter().map(|socket| PollFd::new(socket, PollFlags::OUT)).collect();
    match poll(&mut polled, Some(&timespec(pause))) {
        Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
        polled => polled?,
    };
    Ok((0..polled.len()).filter(|&n| !polled[n].revents().is_empty()).collect())
}

fn connected(socket: Socket) -> io::Result<TcpStream> {
    // Pongs and keep-alives are small, and a late one can cost the connection.
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// A socket that is bound to a free port and does not listen.
    fn bound() -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    fn race_to(addresses: &[SocketAddr], timeout: Duration) -> io::Result<SocketAddr> {
        match race(addresses, Instant::now() + timeout, &Cancel::new()) {
            Ok(socket) => socket.peer_addr(),
            Err(Failure::Io(error)) => Err(error),
            Err(Failure::Closed(error)) => panic!("{error}"),
        }
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn after_a_refused_address_the_next_one_is_tried() {
        let (_socket, refusing) = bound();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = listener.local_addr().unwrap();
        assert_eq!(race_to(&[refusing, refusing, listening], LONG).unwrap(), listening);
        assert_eq!(race_to(&[refusing, refusing], LONG).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    // On other systems a full backlog refuses connections.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_silent_address_does_not_delay_the_next_one() {
        let (socket, silent) = bound();
        socket.listen(0).unwrap();
        let _waiting = TcpStream::connect(silent).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = listener.local_addr().unwrap();
        assert_eq!(race_to(&[silent, listening], LONG).unwrap(), listening);
        assert_eq!(race_to(&[silent], 2 * STAGGER).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
