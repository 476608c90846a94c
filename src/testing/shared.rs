//! [`Shared`]: what the connections' threads and the test share, behind one lock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::config::fault::{Fault, FaultPlan};
use super::config::settings::Settings;
use super::logged::Logged;
use super::outbox::Outbox;
use super::record::{Received, Request};
use super::uaa::Tokens;
use super::wake::Waker;

pub(super) struct Shared {
    pub(super) settings: Settings,
    address: SocketAddr,
    state: Mutex<State>,
    /// Something changed that a test may wait for.
    changed: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
pub(super) struct State {
    /// What each app has logged.
    pub(super) recent: HashMap<String, VecDeque<Arc<Logged>>>,
    pub(super) tails: HashMap<String, Vec<Arc<Outbox>>>,
    /// How many of the tails are streams of events.
    pub(super) streams: usize,
    /// The apps that nobody may see.
    pub(super) hidden: HashSet<String>,
    pub(super) tokens: Tokens,
    /// How many tokens more are refused whatever they are.
    pub(super) refusals: usize,
    /// The connections that are open.
    pub(super) connections: HashMap<u64, Arc<Waker>>,
    /// For the next connections, one each.
    pub(super) faults: VecDeque<Vec<Fault>>,
    /// For the connections that find no fault waiting.
    pub(super) always: Vec<Fault>,
    pub(super) requests: Vec<Request>,
    pub(super) received: Vec<Received>,
}

impl State {
    pub(super) fn remove_tail(&mut self, app: &str, tail: &Arc<Outbox>) {
        if let Some(tails) = self.tails.get_mut(app) {
            tails.retain(|other| !Arc::ptr_eq(other, tail));
        }
    }
}

impl Shared {
    pub(super) fn new(settings: Settings, address: SocketAddr) -> Self {
        Shared { settings, address, state: Mutex::default(), changed: Condvar::new(), stopping: AtomicBool::new(false) }
    }

    pub(super) fn websocket_url(&self) -> String {
        format!("{}://{}", if self.settings.tls { "wss" } else { "ws" }, self.address)
    }

    pub(super) fn http_url(&self) -> String {
        format!("{}://{}", if self.settings.tls { "https" } else { "http" }, self.address)
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

    /// Keeps a message, and says who tails the app at this moment.
    pub(super) fn keep(&self, app: &str, logged: Arc<Logged>) -> Vec<Arc<Outbox>> {
        self.with(|state| {
            if !state.recent.contains_key(app) {
                state.recent.insert(app.to_owned(), VecDeque::new());
            }
            if let Some(kept) = state.recent.get_mut(app) {
                kept.push_back(logged);
                while kept.len() > self.settings.retain {
                    kept.pop_front();
                }
            }
            state.tails.get(app).cloned().unwrap_or_default()
        })
    }

    /// What is kept of an app, in the order in which it came.
    pub(super) fn kept(&self, app: &str) -> Vec<Arc<Logged>> {
        self.with(|state| state.recent.get(app).into_iter().flatten().cloned().collect())
    }

    /// What is to happen to the connection that has just come.
    pub(super) fn next_plan(&self) -> FaultPlan {
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
