//! [`Cancel`]: the switch that `close` throws, from any thread and in any state of a connection.

use std::convert::Infallible;
use std::fmt;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use socket2::SockRef;

use crate::error::{Error, Result};

/// One switch a connection. Whoever waits while the connection is made or used waits for this too, in the way that
/// fits what it waits for: on the [`signal`](Cancel::signal) beside another channel, or on a socket that is
/// [shut down](Cancel::wake_by_shutdown) when the switch is thrown.
#[derive(Debug)]
pub(crate) struct Cancel {
    state: Mutex<State>,
    signal: Receiver<Infallible>,
}

#[derive(Debug)]
struct State {
    /// Dropped when the switch is thrown: that wakes all receivers.
    armed: Option<Sender<Infallible>>,
    socket: Weak<TcpStream>,
    also: Option<Also>,
}

/// What else is to be called off.
struct Also(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Also {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Also(..)")
    }
}

impl Cancel {
    pub(crate) fn new() -> Arc<Self> {
        let (armed, signal) = bounded(0);
        let state = State { armed: Some(armed), socket: Weak::new(), also: None };
        Arc::new(Cancel { state: Mutex::new(state), signal })
    }

    /// Throws the switch; a second time does nothing. Never blocks.
    pub(crate) fn throw(&self) {
        let mut state = self.state.lock();
        state.armed = None;
        if let Some(socket) = state.socket.upgrade() {
            // Errors mean that the connection is gone already. Closed without a reset, a server that we have stopped to
            // read from could take a minute to learn of it.
            let _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
            let _ = socket.shutdown(Shutdown::Both);
        }
        let also = state.also.take();
        drop(state);
        if let Some(Also(call_off)) = also {
            call_off();
        }
    }

    /// Has the switch call something else off, too, when it is thrown, or at once if it has been. What was to be called
    /// off before is called off now.
    pub(crate) fn also(&self, call_off: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock();
        let call_off = Also(Box::new(call_off));
        let now = if state.armed.is_some() { state.also.replace(call_off) } else { Some(call_off) };
        drop(state);
        if let Some(Also(call_off)) = now {
            call_off();
        }
    }

    pub(crate) fn is_thrown(&self) -> bool {
        self.state.lock().armed.is_none()
    }

    /// An error if the switch has been thrown.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_thrown() { Err(Error::closed()) } else { Ok(()) }
    }

    /// Disconnected as soon as the switch is thrown; nothing is ever sent.
    pub(crate) fn signal(&self) -> &Receiver<Infallible> {
        &self.signal
    }

    /// From here on, throwing the switch also shuts this socket down.
    pub(crate) fn wake_by_shutdown(&self, socket: &Arc<TcpStream>) -> Result<()> {
        let mut state = self.state.lock();
        if state.armed.is_none() {
            return Err(Error::closed());
        }
        state.socket = Arc::downgrade(socket);
        Ok(())
    }

    /// From here on, throwing the switch leaves the socket open: somebody waits for the signal, to close it well.
    pub(crate) fn wake_by_signal(&self) -> Result<()> {
        let mut state = self.state.lock();
        state.socket = Weak::new();
        if state.armed.is_none() { Err(Error::closed()) } else { Ok(()) }
    }
}
