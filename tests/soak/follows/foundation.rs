//! A foundation whose logs are followed, and what goes wrong there: it stops and starts again, its Log Cache is emptied,
//! loses its node or is out of reach, responses are errors or break off, and tokens expire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use loggregator_consumer::testing::{
    EqualTimes, Fault, Generation, RequestKind, RouterError, Server, Target, TrafficController,
};
use loggregator_consumer::{Builder, TokenSource, Via};
use parking_lot::{RwLock, RwLockReadGuard};

use crate::random::Random;
use crate::run::Run;

/// What a foundation is.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub generation: Generation,
    pub streams: Streams,
    /// How many lines of an app are kept.
    pub kept: usize,
    /// How long it takes until Log Cache returns a line, at least.
    pub delay: Duration,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Streams {
    Speak,
    /// They accept a tail and give no line.
    Mute,
    /// There is only Log Cache.
    None,
}

pub struct Foundation {
    pub kind: Kind,
    /// Locked for writing while the held lines are removed, so that each line is logged before or after that.
    server: RwLock<Arc<TrafficController>>,
    /// When the held lines were removed last.
    emptied: AtomicI64,
    /// Held for writing while requests fail, and for reading while a call needs that none does.
    calm: RwLock<()>,
    /// Nothing goes wrong any more.
    is_calm_for_good: AtomicBool,
}

impl Foundation {
    pub fn start(kind: Kind, random: &mut Random) -> Self {
        Foundation {
            kind,
            server: RwLock::new(Arc::new(start(kind, 0, random))),
            emptied: AtomicI64::new(0),
            calm: RwLock::default(),
            is_calm_for_good: AtomicBool::new(false),
        }
    }

    /// Returns the server. While the guard lives, no line is removed but by pruning.
    pub fn server(&self) -> RwLockReadGuard<'_, Arc<TrafficController>> {
        self.server.read()
    }

    /// Returns when all lines were removed last, in nanoseconds since the Unix epoch.
    pub fn emptied(&self) -> i64 {
        self.emptied.load(Ordering::Relaxed)
    }

    /// Waits until no request fails. That stays so while the guard lives, but connections may end.
    pub fn calm(&self) -> RwLockReadGuard<'_, ()> {
        self.calm.read()
    }

    pub fn is_calm_for_good(&self) -> bool {
        self.is_calm_for_good.load(Ordering::Relaxed)
    }

    /// Returns the settings of a consumer of this foundation.
    pub fn builder(self: &Arc<Self>) -> Builder {
        let server = self.server();
        let builder = match (self.kind.generation, self.kind.streams) {
            (Generation::Y2015, _) => Builder::new().legacy(&server.endpoint()),
            (Generation::Y2018, _) => Builder::new().doppler(&server.endpoint()),
            // Where there is a Doppler with recent messages, `follow` would use it when Log Cache is out of reach.
            (Generation::LogCache1, _) => Builder::new().log_cache(&server.api()),
            (_, Streams::Speak | Streams::None) => Builder::new().api(&server.api()),
            (_, Streams::Mute) => Builder::new().doppler(&server.endpoint()).log_cache(&server.api()),
        };
        let foundation = Arc::clone(self);
        builder.tokens(TokenSource::from_fn(move |_| Ok(foundation.server().issue_token())))
    }

    /// Returns the server whose lines are followed.
    pub fn via(&self) -> Via {
        match self.kind.generation {
            Generation::Y2015 => Via::Legacy,
            Generation::Y2018 => Via::Doppler,
            _ => Via::LogCache,
        }
    }

    pub fn has_log_cache(&self) -> bool {
        self.via() == Via::LogCache
    }

    /// Lets things go wrong until the run is over.
    pub fn disturb(&self, run: &Run, mut random: Random) {
        while !run.is_over() {
            thread::sleep(random.millis_below(2000));
            match random.below(12) {
                0 => self.restart(run, false, &mut random),
                1 => self.restart(run, true, &mut random),
                2 if self.has_log_cache() => {
                    self.empty(|server| server.empty_log_cache());
                    run.count("follow: Log Cache emptied");
                }
                3 if self.has_log_cache() => {
                    run.count("follow: node away");
                    self.server().set_node_away(true);
                    thread::sleep(random.millis_below(4000));
                    self.server().set_node_away(false);
                }
                4 => {
                    run.count("follow: tokens expired");
                    self.server().expire_tokens();
                }
                5 => {
                    run.count("follow: out of reach");
                    let error = random.pick(&[
                        RouterError::UnknownRoute,
                        RouterError::EndpointFailure,
                        RouterError::NoEndpoints,
                    ]);
                    let _disturbed = self.calm.write();
                    self.server().take_away(self.log_server(), error);
                    thread::sleep(random.millis_below(3000));
                    self.server().bring_back(self.log_server());
                }
                6..9 => {
                    run.count("follow: failing requests");
                    let fault = fault(&mut random);
                    let _disturbed = self.calm.write();
                    for target in self.targets() {
                        self.server().always_at(target, fault.clone());
                    }
                    thread::sleep(random.millis_below(3000));
                    for target in self.targets() {
                        self.server().always_at(target, []);
                    }
                }
                // It may wait for its request, and must not meet the opening of a tail that may turn out to be mute.
                _ if self.kind.streams != Streams::Mute => {
                    run.count("follow: failing request");
                    self.server().fault(fault(&mut random));
                }
                _ => {}
            }
        }
        self.is_calm_for_good.store(true, Ordering::Relaxed);
    }

    fn log_server(&self) -> Server {
        match self.via() {
            Via::Legacy => Server::Legacy,
            Via::Doppler => Server::Doppler,
            _ => Server::LogCache,
        }
    }

    /// What the requests of a call are.
    fn targets(&self) -> Vec<Target> {
        match self.via() {
            Via::Legacy => vec![Target::tails(), RequestKind::Recent.into()],
            Via::Doppler => vec![Target::tails(), RequestKind::RecentLogs.into()],
            _ => vec![RequestKind::LogCacheRead.into()],
        }
    }

    /// Stops the foundation for a while. It comes back with all that it held and what was logged meanwhile, or empty.
    fn restart(&self, run: &Run, is_emptied: bool, random: &mut Random) {
        let _disturbed = self.calm.write();
        // Whoever waits for room in a tail's queue goes on, and lets go of the lock.
        let old = Arc::clone(&self.server());
        old.stop();
        thread::sleep(random.millis_below(4000));
        if is_emptied {
            // A new one also has none of the records that the old one has made.
            let new = start(self.kind, old.address().port(), random);
            self.empty(|server| *server = Arc::new(new));
            run.count("follow: foundation restarted, and emptied");
        } else {
            old.restart().expect("the server starts at the same address");
            run.count("follow: foundation restarted");
        }
    }

    fn empty(&self, empty: impl FnOnce(&mut Arc<TrafficController>)) {
        let mut server = self.server.write();
        self.emptied.store(now(), Ordering::Relaxed);
        empty(&mut server);
    }
}

fn start(kind: Kind, port: u16, random: &mut Random) -> TrafficController {
    let mut builder = TrafficController::builder()
        .generation(kind.generation)
        .port(port)
        .token_life(Duration::from_secs(20))
        .ping(Duration::from_millis(300), Duration::from_secs(30))
        .equal_times(random.pick(&[EqualTimes::Together, EqualTimes::Together, EqualTimes::Parted]))
        .log_cache_delay(kind.delay)
        .retain(kind.kept);
    match kind.streams {
        Streams::Speak => {}
        Streams::Mute => builder = builder.disable_logs(),
        Streams::None => builder = builder.log_cache_only(),
    }
    builder.start().expect("the server starts")
}

/// Returns the faults of a request.
fn fault(random: &mut Random) -> Vec<Fault> {
    let status = |status| vec![Fault::RefuseStatus { status, body: b"trouble".into() }];
    match random.below(12) {
        0 => status(500),
        1 => status(502),
        2 => status(503),
        3 => vec![Fault::RateLimit { status: 429, retry_after: "1".into() }],
        4 => vec![Fault::Router(RouterError::UnknownRoute)],
        5 => vec![Fault::Garbage(b"SSH-2.0-OpenSSH_9.6\r\n".into())],
        6 => vec![Fault::SilentAccept],
        7 => vec![Fault::Truncate],
        8 => vec![Fault::DropAfter(random.below(20_000))],
        9 => vec![Fault::ResetAfter(random.below(20_000))],
        10 => vec![Fault::StallAfter(random.below(20_000))],
        _ => vec![Fault::Drip { every: random.micros_below(100) }],
    }
}

/// Returns the time in nanoseconds since the Unix epoch, in whole microseconds, as syslog has it.
pub fn now() -> i64 {
    let micros = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_micros());
    i64::try_from(micros).unwrap_or(i64::MAX / 1000) * 1000
}
