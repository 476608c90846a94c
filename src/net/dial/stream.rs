//! [`Stream`]: a connected byte stream, plain or TLS, on a non-blocking socket.
//!
//! It never blocks, so that [`wait`] can apply every deadline, and another thread can wake every wait by shutting the
//! socket down.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use native_tls::TlsStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A connected stream. Its [`Read`] and [`Write`] never block: they return `WouldBlock`.
pub(crate) struct Stream {
    layer: Layer,
    socket: Arc<TcpStream>,
}

/// What the bytes pass through. TLS can be nested: to a server, through a proxy with TLS.
enum Layer {
    Plain(Plain),
    Tls(Box<TlsStream<Stream>>),
}

/// The socket. It reports a failed write only when nothing is left to read.
///
/// A peer that closed the connection may have sent the reason first. An earlier error would lose it.
struct Plain {
    socket: Arc<TcpStream>,
    write_error: Option<io::Error>,
}

impl Stream {
    /// Makes a plain stream of a socket, which must be non-blocking.
    pub(crate) fn plain(socket: Arc<TcpStream>) -> Self {
        Stream { layer: Layer::Plain(Plain { socket: Arc::clone(&socket), write_error: None }), socket }
    }

    pub(crate) fn tls(tls: TlsStream<Stream>) -> Self {
        let socket = Arc::clone(&tls.get_ref().socket);
        Stream { layer: Layer::Tls(Box::new(tls)), socket }
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.layer, Layer::Tls(_))
    }

    /// The underlying socket, to wait on and to shut down.
    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// Reads what has arrived, waiting until `deadline` for the first byte. Reads nothing after the deadline, so that a
    /// peer that sends all the time cannot get around it.
    pub(crate) fn read_by(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            if Instant::now() >= deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            match self.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait(&self.socket, PollFlags::IN, Some(deadline))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Returns a blocking [`Read`] that fails with `TimedOut` at the deadline.
    pub(crate) fn until(&mut self, deadline: Instant) -> ReadUntil<'_> {
        ReadUntil { stream: self, deadline }
    }

    /// Returns true if there is nothing to read now, not even the end of the stream.
    pub(crate) fn is_quiet(&self) -> bool {
        let no_time = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&no_time)) == Ok(0)
    }

    /// Writes all of `bytes`, waiting until `deadline` for room in the socket's buffer.
    pub(crate) fn write_all_by(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait(&self.socket, PollFlags::OUT, Some(deadline))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A failure of the TLS layer after the handshake: an alert from the peer, or a record that cannot be decrypted. It is
/// the inner error of an [`io::Error`].
///
/// In TLS 1.3 the client's handshake is complete before the server has checked the client's certificate. So an alert
/// about it arrives with the first read.
#[derive(Debug)]
pub(crate) struct TlsFailure(io::Error);

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS failed: {}", self.0)
    }
}

impl Error for TlsFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl TlsFailure {
    /// Marks an error that comes from the TLS layer and not from the socket below it.
    fn mark(error: io::Error) -> io::Error {
        // The socket's errors are never `Other`. On Windows, TLS errors are negative codes of the system.
        let is_from_tls = match error.raw_os_error() {
            Some(code) => code < 0,
            None => error.kind() == ErrorKind::Other && !Self::is(&error),
        };
        if is_from_tls { io::Error::other(TlsFailure(error)) } else { error }
    }

    pub(crate) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<TlsFailure>())
    }
}

/// See [`Stream::until`].
pub(crate) struct ReadUntil<'a> {
    stream: &'a mut Stream,
    deadline: Instant,
}

impl Read for ReadUntil<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read_by(buffer, self.deadline)
    }
}

/// Waits until the socket is ready or shut down. Returns `TimedOut` at the deadline.
pub(crate) fn wait(socket: &TcpStream, ready: PollFlags, deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let timeout = match deadline {
            None => None,
            Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => Some(timespec(left)),
                _ => return Err(ErrorKind::TimedOut.into()),
            },
        };
        match poll(&mut [PollFd::new(socket, ready)], timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Converts a duration for the system. One that the system cannot represent becomes `i32::MAX` seconds.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 })
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (&*self.socket).read(buffer)? {
            0 if !buffer.is_empty() => self.write_error.take().map_or(Ok(0), Err),
            n => Ok(n),
        }
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.write_error.is_some() {
            return Ok(bytes.len());
        }
        match (&*self.socket).write(bytes) {
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                self.write_error = Some(error);
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.layer {
            Layer::Plain(plain) => plain.read(buffer),
            Layer::Tls(tls) => tls.read(buffer).map_err(TlsFailure::mark),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.layer {
            Layer::Plain(plain) => plain.write(bytes),
            Layer::Tls(tls) => tls.write(bytes).map_err(TlsFailure::mark),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.layer {
            Layer::Plain(_) => Ok(()),
            Layer::Tls(tls) => tls.flush().map_err(TlsFailure::mark),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("socket", &self.socket).field("tls", &self.is_tls()).finish()
    }
}
