//! [`Connection`]: one client, seen from the thread that serves it. It reads, writes and waits.

mod socket;

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use native_tls::{HandshakeError, TlsAcceptor};
use rustix::event::PollFlags;

pub(crate) use self::socket::Disconnect;
use self::socket::{Socket, Transport, WriteAllowed};
use super::config::fault::FaultPlan;
use super::state::SharedState;
use super::state::waker::Waker;
use crate::net::deadline::after;

/// How long a dropped connection waits for the end of its client.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

// The order of the fields matters: the socket must be closed before the registration is removed, so that a test that
// sees no open connection can rely on it.
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    pub(crate) plan: FaultPlan,
    /// What has been read from the client, but not used yet.
    pub(crate) input: Vec<u8>,
    registration: Registration,
}

/// Counts a connection as open until it is dropped.
pub(crate) struct Registration {
    id: u64,
    waker: Arc<Waker>,
    shared: Arc<SharedState>,
}

impl Registration {
    pub(crate) fn new(id: u64, shared: &Arc<SharedState>) -> io::Result<Self> {
        let waker = Arc::new(Waker::new()?);
        shared.update(|state| state.connections.insert(id, Arc::clone(&waker)));
        Ok(Registration { id, waker, shared: Arc::clone(shared) })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.update(|state| state.connections.remove(&self.id));
    }
}

impl Connection {
    /// Takes over an accepted socket. Performs the TLS handshake, except if a fault says that the server is silent.
    pub(crate) fn accept(
        tcp: TcpStream,
        plan: FaultPlan,
        acceptor: Option<TlsAcceptor>,
        registration: Registration,
    ) -> Result<Self, Disconnect> {
        tcp.set_nonblocking(true)?;
        tcp.set_nodelay(true)?;
        let transport = match acceptor {
            Some(acceptor) if !plan.silent => tls_handshake(tcp, &acceptor, &registration)?,
            _ => Transport::Plain(tcp),
        };
        Ok(Connection { socket: Socket::new(transport, &plan), plan, input: Vec::new(), registration })
    }

    /// Replaces the faults. Their positions count from here.
    pub(crate) fn set_plan(&mut self, plan: FaultPlan) {
        self.socket.set_faults(&plan);
        self.plan = plan;
    }

    pub(crate) fn shared(&self) -> &Arc<SharedState> {
        &self.registration.shared
    }

    pub(crate) fn waker(&self) -> &Arc<Waker> {
        &self.registration.waker
    }

    /// Writes all the bytes. Discards what the client sends meanwhile.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> Result<(), Disconnect> {
        while !bytes.is_empty() {
            self.send_some(&mut bytes, None)?;
        }
        self.check()
    }

    /// Writes some of the bytes and advances the slice. If nothing can be written, waits until that may have changed,
    /// until the client has ended, or until the deadline.
    pub(crate) fn send_some(&mut self, bytes: &mut &[u8], deadline: Option<Instant>) -> Result<(), Disconnect> {
        match self.socket.write(bytes)? {
            Some(written) => *bytes = &bytes[written..],
            None => {
                self.wait(true, deadline)?;
                self.socket.discard_input()?;
            }
        }
        Ok(())
    }

    /// Returns an error if the server stops, or if a fault ends the connection.
    pub(crate) fn check(&self) -> Result<(), Disconnect> {
        if self.shared().is_stopping() { Err(Disconnect::Drop) } else { self.socket.check() }
    }

    /// Sends nothing for this time.
    pub(crate) fn pause(&mut self, pause: Duration) -> Result<(), Disconnect> {
        let end = after(pause);
        while Instant::now() < end {
            self.socket.discard_input()?;
            self.wait(false, Some(end))?;
        }
        Ok(())
    }

    /// Ends the sending side and waits until the client has ended its own. A test can thus see whether a client leaves
    /// a socket open.
    pub(crate) fn hang_up(&mut self) -> Result<(), Disconnect> {
        self.socket.shut_down();
        self.wait_for_client_end()
    }

    /// Ends the sending side with TCP's FIN, without TLS's `close_notify`. Then reads what the client still sends, until
    /// it has ended its side, too: a socket that is closed before that answers with a reset, which can overtake the FIN.
    pub(crate) fn drop_without_reset(&mut self) -> Result<(), Disconnect> {
        self.socket.drop_sending_side();
        let deadline = after(DROP_TIMEOUT);
        while !self.socket.ended() && Instant::now() < deadline {
            self.wait(false, Some(deadline))?;
            self.socket.discard_input()?;
        }
        Ok(())
    }

    /// Waits until the client has ended its sending side.
    pub(crate) fn wait_for_client_end(&mut self) -> Result<(), Disconnect> {
        loop {
            self.socket.discard_input()?;
            if self.socket.ended() {
                return Ok(());
            }
            self.wait(false, None)?;
        }
    }

    /// Waits until something can be read, or written if `to_write`, until the waker wakes it, or until the deadline. It
    /// may return early.
    pub(crate) fn wait(&mut self, to_write: bool, mut deadline: Option<Instant>) -> Result<(), Disconnect> {
        self.check()?;
        let mut events = PollFlags::empty();
        if !self.socket.ended() {
            events |= PollFlags::IN;
        }
        match self.socket.write_allowed() {
            WriteAllowed::Now if to_write => events |= PollFlags::OUT,
            WriteAllowed::From(then) if to_write => {
                deadline = Some(deadline.map_or(then, |deadline| deadline.min(then)));
            }
            // The client has ended its side. Because nothing more will be sent, no failing write can ever show whether
            // it has left or still reads, so it counts as gone.
            WriteAllowed::Never if self.socket.ended() => return Err(Disconnect::ClientGone),
            _ => {}
        }
        let ready = self.waker().wait(self.socket.tcp(), events, deadline)?;
        self.check()?;
        // Neither reading nor writing would report this, and it would end every later wait at once.
        if !ready.intersects(PollFlags::IN | PollFlags::OUT) && ready.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(Disconnect::ClientGone);
        }
        Ok(())
    }
}

fn tls_handshake(tcp: TcpStream, acceptor: &TlsAcceptor, registration: &Registration) -> Result<Transport, Disconnect> {
    let mut result = acceptor.accept(tcp);
    loop {
        match result {
            Ok(tls) => return Ok(Transport::Tls(Box::new(tls))),
            Err(HandshakeError::Failure(_)) => return Err(Disconnect::ClientGone),
            Err(HandshakeError::WouldBlock(handshake)) => {
                registration.waker.wait(handshake.get_ref(), PollFlags::IN, None)?;
                if registration.shared.is_stopping() {
                    return Err(Disconnect::Drop);
                }
                result = handshake.handshake();
            }
        }
    }
}
