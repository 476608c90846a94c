//! [`Cancel`]: cancels a call or a tail from any thread, in any state of its connection.

use std::convert::Infallible;
use std::fmt;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use socket2::SockRef;

use crate::error::{Error, Result};

/// Cancels everything that waits on this handle. Each call and each tail has one.
///
/// Code that waits on a channel also waits on the [`signal`](Cancel::signal). Code that waits on a socket registers it
/// with [`shut_down_on_cancel`](Cancel::shut_down_on_cancel): shutting it down wakes the wait.
#[derive(Debug)]
pub(crate) struct Cancel {
    state: Mutex<State>,
    signal: Receiver<Infallible>,
}

#[derive(Debug)]
struct State {
    /// Dropped by `cancel`, which disconnects all receivers of the signal. `None` from then on.
    live: Option<Sender<Infallible>>,
    socket: Weak<TcpStream>,
    on_cancel: Option<OnCancel>,
    children: Vec<Weak<Cancel>>,
}

impl State {
    fn shut_down(&self) {
        if let Some(socket) = self.socket.upgrade() {
            // Linger 0: without a reset, a server that we stopped reading from would take a minute to notice. Errors
            // mean that the connection is already gone.
            let _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

struct OnCancel(Box<dyn FnOnce() + Send>);

impl fmt::Debug for OnCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnCancel(..)")
    }
}

impl Cancel {
    pub(crate) fn new() -> Arc<Self> {
        let (live, signal) = bounded(0);
        let state = State { live: Some(live), socket: Weak::new(), on_cancel: None, children: Vec::new() };
        Arc::new(Cancel { state: Mutex::new(state), signal })
    }

    /// Returns a handle that is cancelled together with this one, but can be cancelled alone. It has a socket of its own.
    pub(crate) fn child(&self) -> Arc<Self> {
        let child = Cancel::new();
        let mut state = self.state.lock();
        if state.live.is_none() {
            drop(state);
            child.cancel();
        } else {
            state.children.retain(|child| child.strong_count() > 0);
            state.children.push(Arc::downgrade(&child));
        }
        child
    }

    /// Cancels. A second call does nothing. Never blocks.
    pub(crate) fn cancel(&self) {
        let mut state = self.state.lock();
        state.live = None;
        state.shut_down();
        let (hook, children) = (state.on_cancel.take(), std::mem::take(&mut state.children));
        drop(state);
        if let Some(OnCancel(hook)) = hook {
            hook();
        }
        children.iter().filter_map(Weak::upgrade).for_each(|child| child.cancel());
    }

    /// Shuts the socket down that is registered. Nothing is cancelled.
    pub(crate) fn disconnect(&self) {
        self.state.lock().shut_down();
    }

    /// Registers a hook that `cancel` runs. Runs it at once if this is already cancelled. A hook that was registered
    /// earlier runs now, because there is room for only one.
    pub(crate) fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock();
        let hook = OnCancel(Box::new(hook));
        let due = if state.live.is_some() { state.on_cancel.replace(hook) } else { Some(hook) };
        drop(state);
        if let Some(OnCancel(hook)) = due {
            hook();
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.state.lock().live.is_none()
    }

    /// Returns an error if this is cancelled.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::closed()) } else { Ok(()) }
    }

    /// A receiver that is disconnected when this is cancelled. Nothing is ever sent on it.
    pub(crate) fn signal(&self) -> &Receiver<Infallible> {
        &self.signal
    }

    /// From now on, `cancel` also shuts this socket down.
    pub(crate) fn shut_down_on_cancel(&self, socket: &Arc<TcpStream>) -> Result<()> {
        let mut state = self.state.lock();
        if state.live.is_none() {
            return Err(Error::closed());
        }
        state.socket = Arc::downgrade(socket);
        Ok(())
    }

    /// From now on, `cancel` leaves the socket open. The thread that waits for the signal closes it with a close frame.
    pub(crate) fn keep_open_on_cancel(&self) -> Result<()> {
        let mut state = self.state.lock();
        state.socket = Weak::new();
        if state.live.is_none() { Err(Error::closed()) } else { Ok(()) }
    }
}
