//! The threads: one that accepts, and one for each [`Connection`].

use crate::net::deadline::after;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use native_tls::{HandshakeError, TlsAcceptor};
use rustix::event::PollFlags;

use super::config::fault::FaultPlan;
use super::gateway;
use super::routes::{self, Answer};
use super::shared::Shared;
use super::stream::{Broken, Gate, Stream, Transport};
use super::tail;
use super::wake::Waker;

/// How long to wait before accepting again when the system has nothing to accept with.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Accepts until the server stops; then ends the connections and joins their threads.
pub(super) fn accept_all(listener: TcpListener, acceptor: Option<TlsAcceptor>, waker: &Waker, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for id in 0.. {
        let Some(tcp) = accept(&listener, waker, shared) else { break };
        threads.retain(|thread| !thread.is_finished());
        let plan = shared.next_plan();
        let Ok(registration) = Registration::new(id, shared) else { continue };
        let acceptor = acceptor.clone();
        let serve = move || {
            // Whatever broke the connection, it is over.
            let _ = serve(tcp, plan, acceptor, registration);
        };
        threads.extend(thread::Builder::new().name("traffic controller connection".into()).spawn(serve));
    }
    drop(listener);
    shared.stop_connections();
    for thread in threads {
        let _ = thread.join();
    }
}

/// The next connection; `None` when the server stops.
fn accept(listener: &TcpListener, waker: &Waker, shared: &Shared) -> Option<TcpStream> {
    while !shared.is_stopping() {
        let deadline = match listener.accept() {
            Ok((tcp, _)) => return Some(tcp),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            // The connection is gone already, or there are too many open files.
            Err(_) => Some(Instant::now() + ACCEPT_PAUSE),
        };
        let events = if deadline.is_none() { PollFlags::IN } else { PollFlags::empty() };
        waker.wait(listener, events, deadline).ok()?;
    }
    None
}

/// A connection's place among those that are open, until it is dropped.
struct Registration {
    id: u64,
    waker: Arc<Waker>,
    shared: Arc<Shared>,
}

impl Registration {
    fn new(id: u64, shared: &Arc<Shared>) -> std::io::Result<Self> {
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

/// Serves a connection from its first byte to its last.
fn serve(
    tcp: TcpStream,
    plan: FaultPlan,
    acceptor: Option<TlsAcceptor>,
    registration: Registration,
) -> Result<(), Broken> {
    tcp.set_nonblocking(true)?;
    tcp.set_nodelay(true)?;
    let transport = match acceptor {
        Some(acceptor) if !plan.silent => handshake(tcp, &acceptor, &registration)?,
        _ => Transport::Plain(tcp),
    };
    let mut connection = Connection { stream: Stream::new(transport, &plan), plan, registration };
    let result = connection.answer();
    match result {
        Err(Broken::Reset) => connection.stream.reset_on_close(),
        // With nothing left unread, the close that follows sends a FIN; else it would be a reset.
        _ => connection.stream.discard_input()?,
    }
    result
}

fn handshake(tcp: TcpStream, acceptor: &TlsAcceptor, registration: &Registration) -> Result<Transport, Broken> {
    let mut result = acceptor.accept(tcp);
    loop {
        match result {
            Ok(tls) => return Ok(Transport::Tls(Box::new(tls))),
            Err(HandshakeError::Failure(_)) => return Err(Broken::Gone),
            Err(HandshakeError::WouldBlock(handshake)) => {
                registration.waker.wait(handshake.get_ref(), PollFlags::IN, None)?;
                if registration.shared.is_stopping() {
                    return Err(Broken::Drop);
                }
                result = handshake.handshake();
            }
        }
    }
}

/// One client. Dropped, it closes the socket first, and then is no longer among the open ones.
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) plan: FaultPlan,
    registration: Registration,
}

impl Connection {
    fn answer(&mut self) -> Result<(), Broken> {
        if self.plan.silent {
            return self.linger();
        }
        loop {
            match routes::answer(self)? {
                Answer::Http(response) => return response.send(self),
                Answer::Raw(bytes) => {
                    self.send(&bytes)?;
                    return self.hang_up();
                }
                Answer::Websocket(opening) => return tail::serve(self, opening),
                // The one answer that leaves the connection open behind its end.
                Answer::Events(subscription) => gateway::serve(self, subscription)?,
            }
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.registration.shared
    }

    pub(super) fn waker(&self) -> &Arc<Waker> {
        &self.registration.waker
    }

    /// Writes all the bytes. What the client sends meanwhile is thrown away.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            self.send_some(&mut bytes)?;
        }
        self.check()
    }

    /// Writes some of the bytes, or waits until that may be possible, or the client has ended.
    pub(super) fn send_some(&mut self, bytes: &mut &[u8]) -> Result<(), Broken> {
        match self.stream.write(bytes)? {
            Some(written) => *bytes = &bytes[written..],
            None => {
                self.wait(true, None)?;
                self.stream.discard_input()?;
            }
        }
        Ok(())
    }

    /// An error when it is time to end.
    pub(super) fn check(&self) -> Result<(), Broken> {
        if self.shared().is_stopping() { Err(Broken::Drop) } else { self.stream.check() }
    }

    pub(super) fn pause(&mut self, pause: Duration) -> Result<(), Broken> {
        let end = after(pause);
        while Instant::now() < end {
            self.stream.discard_input()?;
            self.wait(false, Some(end))?;
        }
        Ok(())
    }

    /// Ends the sending side, and waits for the client to end its own: so a test sees whether its client left a socket
    /// behind.
    pub(super) fn hang_up(&mut self) -> Result<(), Broken> {
        self.stream.shut_down();
        self.linger()
    }

    fn linger(&mut self) -> Result<(), Broken> {
        loop {
            self.stream.discard_input()?;
            if self.stream.ended() {
                return Ok(());
            }
            self.wait(false, None)?;
        }
    }

    /// Waits until there is something to read, or to write if that is wanted, for a wake or for the deadline. It may
    /// return early.
    pub(super) fn wait(&mut self, to_write: bool, mut deadline: Option<Instant>) -> Result<(), Broken> {
        self.check()?;
        let mut events = PollFlags::empty();
        if !self.stream.ended() {
            events |= PollFlags::IN;
        }
        match self.stream.gate() {
            Gate::Open if to_write => events |= PollFlags::OUT,
            Gate::Until(then) if to_write => deadline = Some(deadline.map_or(then, |deadline| deadline.min(then))),
            // The client has left, and nothing will ever be sent that could tell it from one that only reads.
            Gate::Shut if self.stream.ended() => return Err(Broken::Gone),
            _ => {}
        }
        let ready = self.waker().wait(self.stream.tcp(), events, deadline)?;
        self.check()?;
        // No reading or writing will report it, and it would end every later wait at once.
        if !ready.intersects(PollFlags::IN | PollFlags::OUT) && ready.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(Broken::Gone);
        }
        Ok(())
    }
}
