//! [`SharedState`]: what the test and the threads of the connections share, behind one lock.

pub(crate) mod log_store;
pub(crate) mod send_queue;
pub(crate) mod tokens;
pub(crate) mod waker;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use self::log_store::LogStore;
use self::send_queue::SendQueue;
use self::tokens::Tokens;
use self::waker::Waker;
use super::config::fault::{Fault, FaultPlan};
use super::config::server::{RouterError, Server};
use super::config::settings::Settings;
use super::protocol::envelope_filter::is_container_metric;
use super::protocol::log_entry::LogEntry;
use super::protocol::received::Received;
use super::protocol::request::Request;
use super::protocol::target::Target;

/// The key of the tails that get the logs of all apps.
pub(crate) const ALL_APPS: &str = "*";

pub(crate) struct SharedState {
    pub(crate) settings: Settings,
    address: SocketAddr,
    state: Mutex<State>,
    /// Notified when something changes that a test may wait for.
    changed: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
pub(crate) struct State {
    /// What each app has logged, as far as it is kept.
    pub(crate) recent: HashMap<String, VecDeque<Arc<LogEntry>>>,
    /// The latest metrics of each container of each app, and when they came.
    containers: HashMap<String, BTreeMap<String, (Instant, Arc<LogEntry>)>>,
    /// What Log Cache holds of each app.
    pub(crate) log_cache: HashMap<String, LogStore>,
    /// The node of Log Cache that holds all of it cannot be reached.
    pub(crate) is_node_away: bool,
    /// The open tails of each app.
    pub(crate) tails: HashMap<String, Vec<Arc<SendQueue>>>,
    pub(crate) shards: Shards,
    /// How many streams of the RLP gateway are open.
    pub(crate) open_streams: usize,
    /// The apps that no token may see.
    pub(crate) hidden_apps: HashSet<String>,
    /// The servers that are away, and what the router responds for each.
    pub(crate) away: HashMap<Server, RouterError>,
    /// Doppler and the RLP gateway get no logs.
    pub(crate) are_logs_disabled: bool,
    pub(crate) tokens: Tokens,
    /// How many of the next tokens are rejected without a check.
    pub(crate) tokens_to_reject: usize,
    /// The open connections.
    pub(crate) connections: HashMap<u64, Arc<Waker>>,
    /// The faults of the next connections, one item for each connection.
    pub(crate) next_faults: VecDeque<Vec<Fault>>,
    /// The faults of each connection for which `next_faults` has no item.
    pub(crate) default_faults: Vec<Fault>,
    /// The faults of the next requests that match, each for one of them.
    pub(crate) next_faults_at: Vec<(Target, Vec<Fault>)>,
    /// The faults of each request that matches.
    pub(crate) default_faults_at: Vec<(Target, Vec<Fault>)>,
    pub(crate) requests: Vec<Request>,
    pub(crate) received: Vec<Received>,
}

/// Which of the tails of a shard gets the next message.
#[derive(Default)]
pub(crate) struct Shards {
    /// How many messages were shared so far.
    count: usize,
}

impl Shards {
    /// Leaves one tail of each shard, another one each time, and all tails that belong to none.
    fn choose(&mut self, tails: Vec<Arc<SendQueue>>) -> Vec<Arc<SendQueue>> {
        let (sharing, mut chosen): (Vec<_>, Vec<_>) = tails.into_iter().partition(|tail| tail.shard.is_some());
        if sharing.is_empty() {
            return chosen;
        }
        let mut shards: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for tail in sharing {
            shards.entry((tail.format, tail.shard.clone())).or_default().push(tail);
        }
        let turn = self.count;
        self.count = turn.wrapping_add(1);
        chosen.extend(shards.into_values().map(|mut tails| tails.swap_remove(turn % tails.len())));
        chosen
    }
}

impl State {
    pub(crate) fn add_tail(&mut self, app: &str, tail: &Arc<SendQueue>) {
        self.tails.entry(app.to_owned()).or_default().push(Arc::clone(tail));
    }

    pub(crate) fn remove_tail(&mut self, app: &str, tail: &Arc<SendQueue>) {
        if let Some(tails) = self.tails.get_mut(app) {
            tails.retain(|other| !Arc::ptr_eq(other, tail));
        }
    }
}

impl SharedState {
    pub(crate) fn new(settings: Settings, address: SocketAddr) -> Self {
        let state = State { are_logs_disabled: settings.disable_logs, ..State::default() };
        SharedState {
            settings,
            address,
            state: Mutex::new(state),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn websocket_url(&self) -> String {
        format!("{}://{}", if self.settings.tls { "wss" } else { "ws" }, self.address)
    }

    pub(crate) fn host(&self) -> IpAddr {
        self.address.ip()
    }

    pub(crate) fn http_url(&self) -> String {
        format!("{}://{}", if self.settings.tls { "https" } else { "http" }, self.address)
    }

    /// Reads the state, or changes something that nobody waits for.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock())
    }

    /// Changes the state and notifies everyone who waits for a change.
    pub(crate) fn update<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let result = self.with(f);
        self.changed.notify_all();
        result
    }

    /// Waits until `condition` is true. Returns false if it is still false after `timeout`.
    pub(crate) fn wait_for(&self, timeout: Duration, mut condition: impl FnMut(&State) -> bool) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.state.lock();
        while !condition(&state) {
            match deadline {
                Some(deadline) if self.changed.wait_until(&mut state, deadline).timed_out() => {
                    return condition(&state);
                }
                Some(_) => {}
                None => self.changed.wait(&mut state),
            }
        }
        true
    }

    /// Keeps a log entry. Returns the tails of the app that are open at this moment and get logs.
    /// Log Cache returns it from `readable` on.
    pub(crate) fn store(&self, app: &str, entry: Arc<LogEntry>, readable: Option<Instant>) -> Vec<Arc<SendQueue>> {
        let settings = &self.settings;
        self.with(|state| {
            if settings.generation.has_store()
                && let Some(time) = entry.timestamp()
            {
                // Syslog has microseconds.
                let time = time.saturating_sub(time.rem_euclid(1000));
                let store = state.log_cache.entry(app.to_owned()).or_default();
                match readable.or_else(|| Instant::now().checked_add(settings.log_cache_delay?)) {
                    Some(readable) => store.delay(readable, time, Arc::clone(&entry)),
                    None => store.insert(time, Arc::clone(&entry), settings.max_per_source()),
                }
            }
            if let LogEntry::Envelope(envelope) = &*entry
                && is_container_metric(envelope)
            {
                let containers = state.containers.entry(app.to_owned()).or_default();
                containers.insert(envelope.instance_id.clone(), (Instant::now(), Arc::clone(&entry)));
            }
            if !state.recent.contains_key(app) {
                state.recent.insert(app.to_owned(), VecDeque::new());
            }
            if let Some(stored) = state.recent.get_mut(app).filter(|_| entry.is_log()) {
                stored.push_back(Arc::clone(&entry));
                while stored.len() > self.settings.retain {
                    stored.pop_front();
                }
            }
            if state.are_logs_disabled && entry.is_log() {
                return Vec::new();
            }
            let tails = state.tails.get(app).into_iter().chain(state.tails.get(ALL_APPS)).flatten();
            let tails = tails.filter(|tail| tail.filter.admits(&entry)).cloned().collect();
            state.shards.choose(tails)
        })
    }

    /// Returns the latest metrics of each of an app's containers. Doppler forgets them after 2 minutes.
    pub(crate) fn container_metrics(&self, app: &str) -> Vec<Arc<LogEntry>> {
        const KEPT: Duration = Duration::from_secs(2 * 60);
        self.with(|state| {
            let containers = state.containers.get(app).into_iter().flatten();
            let recent = containers.filter(|(_, (came, _))| came.elapsed() < KEPT);
            recent.map(|(_, (_, entry))| Arc::clone(entry)).collect()
        })
    }

    /// Returns the log entries that are kept of an app, in the order of their arrival.
    pub(crate) fn stored(&self, app: &str) -> Vec<Arc<LogEntry>> {
        self.with(|state| state.recent.get(app).into_iter().flatten().cloned().collect())
    }

    /// Returns what the router responds for a server if it is away.
    pub(crate) fn away(&self, server: Server) -> Option<RouterError> {
        self.with(|state| state.away.get(&server).copied())
    }

    /// Returns the faults of the connection that has just been accepted.
    pub(crate) fn next_fault_plan(&self) -> FaultPlan {
        self.with(|state| match state.next_faults.pop_front() {
            Some(faults) => FaultPlan { is_queued: true, ..faults.into() },
            None => state.default_faults.clone().into(),
        })
    }

    /// Returns the faults that are aimed at a request. They replace those of its connection.
    pub(crate) fn fault_plan_at(&self, request: &Request, connection: &FaultPlan) -> Option<FaultPlan> {
        self.with(|state| {
            if let Some(next) = state.next_faults_at.iter().position(|(target, _)| target.matches(request)) {
                return Some(state.next_faults_at.remove(next).1.into());
            }
            let mut defaults = state.default_faults_at.iter().filter(|_| !connection.is_queued);
            defaults.find(|(target, _)| target.matches(request)).map(|(_, faults)| faults.clone().into())
        })
    }

    /// Undoes `stop`, before the server starts again.
    pub(crate) fn resume(&self) {
        self.stopping.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Tells the accept thread to end all connections. It must be woken after this call.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Ends all open connections. No connection may be accepted after this call.
    pub(crate) fn stop_connections(&self) {
        self.stop();
        self.with(|state| state.connections.values().for_each(|waker| waker.wake()));
    }
}
