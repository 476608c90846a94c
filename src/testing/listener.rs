//! The thread that accepts connections and starts a thread for each.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use native_tls::TlsAcceptor;
use rustix::event::PollFlags;

use super::connection::{Connection, Registration};
use super::serving::serve;
use super::state::SharedState;
use super::state::waker::Waker;

/// How long to wait before accepting again if the system has no resources for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Accepts connections until the server stops. Then ends all connections and joins their threads.
pub(crate) fn accept_all(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    waker: &Waker,
    shared: &Arc<SharedState>,
) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for id in 0.. {
        let Some(tcp) = accept(&listener, waker, shared) else { break };
        threads.retain(|thread| !thread.is_finished());
        let plan = shared.next_fault_plan();
        let Ok(registration) = Registration::new(id, shared) else { continue };
        let acceptor = acceptor.clone();
        let run = move || {
            // An error only says how the connection ended.
            let _ = Connection::accept(tcp, plan, acceptor, registration).and_then(serve);
        };
        threads.extend(thread::Builder::new().name("traffic controller connection".into()).spawn(run));
    }
    drop(listener);
    shared.stop_connections();
    for thread in threads {
        let _ = thread.join();
    }
}

/// Returns the next connection. `None`: the server stops.
fn accept(listener: &TcpListener, waker: &Waker, shared: &SharedState) -> Option<TcpStream> {
    while !shared.is_stopping() {
        let deadline = match listener.accept() {
            Ok((tcp, _)) => return Some(tcp),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            // The client has already left, or too many files are open.
            Err(_) => Some(Instant::now() + ACCEPT_PAUSE),
        };
        let events = if deadline.is_none() { PollFlags::IN } else { PollFlags::empty() };
        waker.wait(listener, events, deadline).ok()?;
    }
    None
}
