//! [`Shared`]: what the connections' threads and the test share, behind one lock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::builder::Settings;
use super::fault::{Fault, Plan};
use super::outbox::Outbox;
use super::record::{Received, Request};
use super::wake::Waker;

pub(super) struct Shared {
    pub(super) settings: Settings,
    state: Mutex<State>,
    /// Something changed that a test may wait for.
    changed: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
pub(super) struct State {
    /// What each app has logged, encoded.
    pub(super) recent: HashMap<String, VecDeque<Vec<u8>>>,
    pub(super) tails: HashMap<String, Vec<Arc<Outbox>>>,
    /// The connections that are open.
    pub(super) connections: HashMap<u64, Arc<Waker>>,
    /// For the next connections, one each.
    pub(super) faults: VecDeque<Vec<Fault>>,
    /// For the connections that find no fault waiting.
    pub(super) always: Vec<Fault>,
    pub(super) requests: Vec<Request>,
    pub(super) received: Vec<Received>,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        Shared { settings, state: Mutex::default(), changed: Condvar::new(), stopping: AtomicBool::new(false) }
    }

    /// Looks at the state, or changes what nobody waits for.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock())
    }

    /// Changes the state and tells those that wait for it.
    pub(super) fn update<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let result = self.with(f);
        self.changed.notify_all();
        result
    }

    /// Waits until the state is as wanted, for `timeout` at most, and says whether it is.
    pub(super) fn wait_for(&self, timeout: Duration, mut wanted: impl FnMut(&State) -> bool) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.state.lock();
        while !wanted(&state) {
            match deadline {
                Some(deadline) if self.changed.wait_until(&mut state, deadline).timed_out() => return wanted(&state),
                Some(_) => {}
                None => self.changed.wait(&mut state),
            }
        }
        true
    }

    /// Keeps a message for `/recent`, and says who tails the app at this moment.
    pub(super) fn keep(&self, app: &str, payload: Vec<u8>) -> Vec<Arc<Outbox>> {
        self.with(|state| {
            if !state.recent.contains_key(app) {
                state.recent.insert(app.to_owned(), VecDeque::new());
            }
            if let Some(kept) = state.recent.get_mut(app) {
                kept.push_back(payload);
                while kept.len() > self.settings.retain {
                    kept.pop_front();
                }
            }
            state.tails.get(app).cloned().unwrap_or_default()
        })
    }

    /// What is to happen to the connection that has just come.
    pub(super) fn next_plan(&self) -> Plan {
        self.with(|state| state.faults.pop_front().unwrap_or_else(|| state.always.clone())).into()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Makes the thread that accepts end the connections, once it is woken.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Ends every connection that is open. There must be no new ones from now on.
    pub(super) fn stop_connections(&self) {
        self.stop();
        self.with(|state| state.connections.values().for_each(|waker| waker.wake()));
    }
}
