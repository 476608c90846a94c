//! Closes at random moments, in a race with everything else: connecting, callbacks, reading, back-pressure,
//! keep-alives, reconnecting and dropping, over TCP and over TLS. A close must end everything, and leak nothing.
//!
//! The rounds follow from a seed: `RACES_SEED` sets it, and `RACES_ROUNDS` sets their number over TCP (a third of it
//! over TLS). One test, because it counts the threads and descriptors of the whole process.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use common::leftovers::assert_leaks_nothing;
use common::messages::{APP, TOKEN};
use common::wait_until;
use loggregator_consumer::testing::{Fault, Generation, TrafficController};
use loggregator_consumer::{
    Builder, Consumer, DebugPrinter, Ending, ErrorKind, LogMessage, Proxy, Reconnect, Result, Tail, TokenSource,
};
use native_tls::TlsConnector;

/// The default number of rounds over TCP. Over TLS, where each needs a handshake, it is a third.
const ROUNDS: u64 = 3000;

/// Longer than any round takes, on any machine.
const STUCK: Duration = Duration::from_secs(20);

/// A close takes 0.1 s. The rest allows for a machine under load.
const PROMPT: Duration = Duration::from_secs(3);

/// A lane gets new servers after this many rounds, because they remember each request.
const ROUNDS_PER_SERVER: u64 = 250;

#[test]
fn a_close_at_any_moment_ends_everything_and_leaks_nothing() {
    hide_intended_panics();
    let seed = number("RACES_SEED").unwrap_or_else(|| SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    let rounds = number("RACES_ROUNDS").unwrap_or(ROUNDS);
    // The first uses open descriptors that stay open, such as a source of random numbers.
    Lane::new("warm-up over TCP", false, seed).run(10);
    Lane::new("warm-up over TLS", true, seed).run(10);
    assert_leaks_nothing("the races", || {
        thread::scope(|scope| {
            scope.spawn(|| Lane::new("TCP", false, seed).run(rounds));
            scope.spawn(|| Lane::new("TLS", true, !seed).run(rounds / 3));
        });
    });
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

const INTENDED: &str = "a panic for the test";

fn hide_intended_panics() {
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&INTENDED) {
            others(panic);
        }
    }));
}

/// SplitMix64: short, and random enough.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// Returns a delay of up to 4 ms, as likely between 1 and 2 µs as between 1 and 2 ms.
    fn delay(&mut self) -> Duration {
        let magnitude = 1 << self.below(12);
        Duration::from_micros(magnitude + self.below(magnitude))
    }
}

/// What one round does.
#[derive(Debug, Clone, Copy)]
struct Round {
    server: Server,
    call: Call,
    load: Load,
    caller: Caller,
    way: Way,
    /// The delay between the start of the call and the close.
    delay: Duration,
    callback: Option<(Callback, Act)>,
    /// Which call of the callback acts, from 0.
    acts_at: usize,
    reconnect: bool,
    /// Whether the server's name has to be resolved.
    resolve: bool,
    keep_alive: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Server {
    Legacy,
    /// A server of April 2014, whose recent messages come over a websocket.
    Oldest,
    Doppler,
    Gateway,
    Discovered,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Tail,
    Recent,
    RecentIter,
}

/// What the server does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Load {
    Idle,
    Flood,
    /// Closes tails after this time.
    CloseAfter(Duration),
    Silent,
    StallAfter(u64),
    DropAfter(u64),
    ResetAfter(u64),
}

/// What the caller does with the messages of a tail, until it is closed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Caller {
    Takes,
    Polls,
    TakesNone,
    WaitsForBackPressure,
}

/// How and from which thread it is closed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// By the consumer, from another thread, from the beginning of the call on.
    Consumer,
    /// By a closer, from another thread, once the tail is connected.
    Closer,
    Tail,
    Drop,
    DropInAnotherThread,
    /// In all ways at once.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Callback {
    OnConnect,
    Printer,
    Proxy,
    Token,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Close,
    Panic,
}

impl Round {
    fn random(random: &mut Random) -> Self {
        let position = random.below(2000);
        // The client waits 0.1 s for a server that does not answer a close frame, so these rounds are rare.
        let load = match random.below(100) {
            0 => Load::StallAfter(position),
            1..5 => Load::Silent,
            5..15 => Load::DropAfter(position),
            15..25 => Load::ResetAfter(position),
            25..35 => Load::CloseAfter(random.delay()),
            35..65 => Load::Flood,
            _ => Load::Idle,
        };
        let callback = (
            random.pick(&[Callback::OnConnect, Callback::Printer, Callback::Proxy, Callback::Token]),
            random.pick(&[Act::Close, Act::Panic]),
        );
        Round {
            server: random.pick(&[
                Server::Legacy,
                Server::Oldest,
                Server::Doppler,
                Server::Gateway,
                Server::Discovered,
            ]),
            call: random.pick(&[Call::Tail, Call::Tail, Call::Tail, Call::Tail, Call::Recent, Call::RecentIter]),
            load,
            caller: random.pick(&[Caller::Takes, Caller::Polls, Caller::TakesNone, Caller::WaitsForBackPressure]),
            way: random.pick(&[
                Way::Consumer,
                Way::Consumer,
                Way::Closer,
                Way::Tail,
                Way::Drop,
                Way::DropInAnotherThread,
                Way::All,
            ]),
            delay: random.delay(),
            callback: random.one_in(4).then_some(callback),
            acts_at: random.below(3) as usize,
            reconnect: random.one_in(3),
            resolve: random.one_in(3),
            keep_alive: random.delay(),
        }
    }

    fn faults(&self) -> Vec<Fault> {
        match self.load {
            Load::Idle | Load::CloseAfter(_) => vec![],
            Load::Flood => vec![Fault::EndlessMessages],
            Load::Silent => vec![Fault::SilentAccept],
            Load::StallAfter(bytes) => vec![Fault::EndlessMessages, Fault::StallAfter(bytes)],
            Load::DropAfter(bytes) => vec![Fault::EndlessMessages, Fault::DropAfter(bytes)],
            Load::ResetAfter(bytes) => vec![Fault::EndlessMessages, Fault::ResetAfter(bytes)],
        }
    }

    /// Whether the server itself ends connections, possibly before they are established.
    fn breaks(&self) -> bool {
        matches!(self.load, Load::CloseAfter(_) | Load::DropAfter(_) | Load::ResetAfter(_))
    }

    fn acts(&self, act: Act) -> bool {
        self.callback.is_some_and(|callback| callback.1 == act)
    }

    /// Whether only a close during the call can end it.
    fn needs_an_early_close(&self) -> bool {
        self.way == Way::Consumer || self.call != Call::Tail || matches!(self.load, Load::Silent | Load::StallAfter(_))
    }

    /// Returns a consumer of the server, and the slot in which its callback finds it. The slot must be emptied in the
    /// end.
    fn consumer(&self, server: &TrafficController, tls: &TlsConnector) -> (Consumer, Arc<Mutex<Option<Consumer>>>) {
        let itself = Arc::new(Mutex::new(None::<Consumer>));
        let address = |url: String| if self.resolve { url.replace("127.0.0.1", "localhost") } else { url };
        let (websocket, http) = (address(server.endpoint()), address(server.api()));
        let builder = match self.server {
            Server::Legacy | Server::Oldest => Builder::new().legacy(&websocket),
            Server::Doppler => Builder::new().doppler(&websocket).log_cache(&http),
            Server::Gateway => Builder::new().rlp_gateway(&http).log_cache(&http),
            Server::Discovered => Builder::new().api(&http),
        };
        let mut builder = builder
            .tls_connector(tls.clone())
            .proxy(Proxy::none())
            .connect_timeout(STUCK * 2)
            .read_timeout(STUCK * 2)
            .recent_timeout(STUCK * 2)
            .idle_timeout(STUCK * 2)
            .max_recent_size(usize::MAX)
            .keep_alive(self.keep_alive)
            .pong_every(self.keep_alive);
        if self.reconnect {
            builder = builder.reconnect(Reconnect::default().first(self.delay).longest(self.delay));
        }
        let Some((callback, act)) = self.callback else { return (builder.build().unwrap(), itself) };
        let (calls, delay) = (AtomicUsize::new(0), self.delay);
        let act = {
            let (itself, acts_at) = (Arc::clone(&itself), self.acts_at);
            move || match act {
                _ if calls.fetch_add(1, Ordering::Relaxed) != acts_at => {}
                Act::Close => {
                    let consumer = itself.lock().unwrap().clone();
                    consumer.map(|consumer| consumer.close());
                }
                Act::Panic => panic::panic_any(INTENDED),
            }
        };
        let builder = match callback {
            Callback::OnConnect => builder.on_connect(act),
            Callback::Printer => builder.debug_printer(Printer(act)),
            Callback::Proxy => builder.proxy(Proxy::custom(move |_| {
                act();
                Ok(None)
            })),
            Callback::Token => builder.tokens(TokenSource::from_fn(move |_| {
                wait(delay);
                act();
                Ok(TOKEN.to_owned())
            })),
        };
        let consumer = builder.build().unwrap();
        *itself.lock().unwrap() = Some(consumer.clone());
        (consumer, itself)
    }

    /// An empty token means that the consumer's own token source is used.
    fn token(&self) -> &'static str {
        if matches!(self.callback, Some((Callback::Token, _))) { "" } else { TOKEN }
    }

    #[track_caller]
    fn assert_may_fail(&self, kind: ErrorKind) {
        let closed = kind == ErrorKind::Closed;
        let panicked = self.acts(Act::Panic) && kind == ErrorKind::Unauthorized;
        assert!(closed || panicked || self.breaks(), "{kind:?}");
    }
}

struct Printer<F>(F);

impl<F: Fn() + Send + Sync> DebugPrinter for Printer<F> {
    fn print(&self, _: &str, _: &str) {
        (self.0)();
    }
}

impl Round {
    fn run(&self, server: &TrafficController, tls: &TlsConnector, watch: &Watch) {
        server.always(self.faults());
        let (consumer, itself) = self.consumer(server, tls);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            if self.needs_an_early_close() {
                scope.spawn(|| {
                    wait(self.delay);
                    // The close may come before there is anything to close. One that found something must be enough.
                    while consumer.close().is_err() && !over.load(Ordering::Relaxed) {
                        wait(self.delay);
                    }
                });
            }
            if let Load::CloseAfter(delay) = self.load {
                scope.spawn(move || {
                    wait(delay);
                    server.close_tails(APP, Some(1000), "");
                });
            }
            let result = catch_unwind(AssertUnwindSafe(|| self.call(&consumer, watch)));
            over.store(true, Ordering::Relaxed);
            if let Err(panic) = result {
                let intended = self.acts(Act::Panic) && panic.downcast_ref::<&str>() == Some(&INTENDED);
                if !intended {
                    panic::resume_unwind(panic);
                }
            }
        });
        *itself.lock().unwrap() = None;
        watch.enters("waiting for the server to see the end of the connection");
        assert!(server.wait_until_idle(STUCK), "a socket is still open");
        assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
    }

    fn call(&self, consumer: &Consumer, watch: &Watch) {
        watch.enters("the call");
        let result = match self.call {
            Call::Tail => consumer.tail(APP, self.token()).map(|tail| self.use_and_close(tail, consumer, watch)),
            Call::Recent => consumer.recent(APP, self.token()).map(drop),
            Call::RecentIter => consumer.recent_iter(APP, self.token()).and_then(|mut recent| {
                watch.enters("reading recent messages");
                recent.try_for_each(|message| message.map(drop))
            }),
        };
        if let Err(error) = result {
            self.assert_may_fail(error.kind());
        }
    }

    fn use_and_close(&self, mut tail: Tail, consumer: &Consumer, watch: &Watch) {
        let closer = tail.closer();
        let close_by_closer = || {
            wait(self.delay);
            // The server may have ended it before.
            let _ = closer.close();
        };
        let close_by_consumer = || {
            wait(self.delay);
            let _ = consumer.close();
        };
        thread::scope(|scope| match self.way {
            Way::Consumer => self.take_to_the_end(&mut tail, watch),
            Way::Closer => {
                scope.spawn(close_by_closer);
                self.take_to_the_end(&mut tail, watch);
            }
            Way::Tail => {
                self.take_for_a_moment(&mut tail, watch);
                watch.enters("Tail::close");
                let result = promptly(|| tail.close());
                assert!(result.is_ok() || self.breaks() || self.acts(Act::Panic), "{result:?}");
            }
            Way::Drop => {
                self.take_for_a_moment(&mut tail, watch);
                watch.enters("a tail being dropped");
                promptly(|| drop(tail));
            }
            Way::DropInAnotherThread => {
                self.take_for_a_moment(&mut tail, watch);
                watch.enters("a tail being dropped in another thread");
                promptly(|| scope.spawn(|| drop(tail)).join().unwrap());
            }
            Way::All => {
                scope.spawn(close_by_closer);
                scope.spawn(close_by_consumer);
                self.take_for_a_moment(&mut tail, watch);
                watch.enters("a tail being closed in every way");
                let _ = promptly(|| tail.close());
            }
        });
    }

    /// Receives messages in the caller's way until somebody closes the tail, and then those that had come before.
    fn take_to_the_end(&self, tail: &mut Tail, watch: &Watch) {
        match self.caller {
            Caller::Takes => {}
            Caller::Polls => {
                watch.enters("a caller that polls");
                while tail.ending().is_none() {
                    let _ = tail.try_recv();
                    let _ = tail.recv_timeout(self.delay);
                }
            }
            Caller::TakesNone | Caller::WaitsForBackPressure => {
                watch.enters("a caller that reads nothing");
                wait_until("the tail has ended", || tail.ending().is_some());
            }
        }
        watch.enters("a caller that reads everything");
        tail.by_ref().for_each(|message| self.check(message));
        let ending = tail.ending().expect("it has ended");
        assert!(*ending == Ending::Closed || self.breaks() || self.acts(Act::Panic), "{ending}");
    }

    fn take_for_a_moment(&self, tail: &mut Tail, watch: &Watch) {
        watch.enters("a caller that is about to close its tail");
        let end = Instant::now() + self.delay;
        match self.caller {
            Caller::Takes | Caller::Polls => {
                while let Some(left) = end.checked_duration_since(Instant::now()) {
                    match tail.recv_timeout(left) {
                        Ok(message) => self.check(message),
                        Err(_) => break,
                    }
                }
            }
            Caller::WaitsForBackPressure if self.load == Load::Flood && !self.reconnect => {
                wait_until("the queue is full", || tail.receiver().is_full() || tail.ending().is_some());
            }
            Caller::TakesNone | Caller::WaitsForBackPressure => wait(self.delay),
        }
    }

    fn check(&self, message: Result<LogMessage>) {
        if let Err(error) = message {
            assert!(self.breaks() || self.acts(Act::Panic), "{error:?}");
        }
    }
}

/// Sleeps, or spins if the time is too short for a sleep.
fn wait(delay: Duration) {
    let end = Instant::now() + delay;
    if delay > Duration::from_micros(200) {
        thread::sleep(delay);
    }
    while Instant::now() < end {
        thread::yield_now();
    }
}

#[track_caller]
fn promptly<T>(act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = act();
    assert!(began.elapsed() < PROMPT, "it took {:?}", began.elapsed());
    result
}

/// A sequence of rounds, with its own servers.
struct Lane {
    name: &'static str,
    tls: bool,
    seed: u64,
}

impl Lane {
    fn new(name: &'static str, tls: bool, seed: u64) -> Self {
        Lane { name, tls, seed }
    }

    fn run(&self, rounds: u64) {
        let began = Instant::now();
        let mut random = Random(self.seed);
        let watch = Watch::default();
        thread::scope(|scope| {
            scope.spawn(|| watch.until_over());
            // Ends the watch even if a round panics.
            let _over = Over(&watch);
            let mut servers = None;
            for number in 0..rounds {
                if number % ROUNDS_PER_SERVER == 0 {
                    servers = Some(Servers::start(self.tls));
                }
                let round = Round::random(&mut random);
                watch.begins(format!("round {number} over {} of the seed {}: {round:?}", self.name, self.seed));
                servers.as_ref().unwrap().play(&round, &watch);
            }
        });
        println!("{rounds} rounds over {} of the seed {}: {:?}", self.name, self.seed, began.elapsed());
    }
}

struct Servers {
    legacy: TrafficController,
    oldest: TrafficController,
    today: TrafficController,
    tls: TlsConnector,
}

impl Servers {
    fn start(tls: bool) -> Self {
        let every = Duration::from_millis(1);
        let start = |generation| {
            let server = TrafficController::builder().generation(generation).ping(every, STUCK).heartbeat(every);
            let server = if tls { server.tls() } else { server }.start().unwrap();
            server.add_recent(APP, ["one", "two", "three"].map(|text| LogMessage::new(APP, text.repeat(100))));
            server
        };
        let [legacy, oldest, today] = [Generation::Y2015, Generation::April2014, Generation::Today].map(start);
        let tls = today.tls_connector();
        Servers { legacy, oldest, today, tls }
    }

    fn play(&self, round: &Round, watch: &Watch) {
        let server = match round.server {
            Server::Legacy => &self.legacy,
            Server::Oldest => &self.oldest,
            Server::Doppler | Server::Gateway | Server::Discovered => &self.today,
        };
        round.run(server, &self.tls, watch);
    }
}

/// What a lane is doing, to find out why it is stuck.
struct Watch {
    doing: Mutex<Doing>,
    over: AtomicBool,
}

struct Doing {
    round: String,
    step: &'static str,
    since: Instant,
}

impl Default for Watch {
    fn default() -> Self {
        let doing = Doing { round: String::new(), step: "nothing", since: Instant::now() };
        Watch { doing: Mutex::new(doing), over: AtomicBool::new(false) }
    }
}

impl Watch {
    fn begins(&self, round: String) {
        *self.doing.lock().unwrap() = Doing { round, step: "the beginning", since: Instant::now() };
    }

    fn enters(&self, step: &'static str) {
        self.doing.lock().unwrap().step = step;
    }

    /// Aborts the process if a round is stuck: nothing else could end its threads.
    fn until_over(&self) {
        while !self.over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
            let doing = self.doing.lock().unwrap();
            if doing.since.elapsed() > STUCK {
                // Written directly, because the harness would lose captured output in the abort.
                let _ = writeln!(std::io::stderr(), "stuck in {} in {}\n{}", doing.step, doing.round, threads());
                process::abort();
            }
        }
    }
}

/// Returns the names of this process's threads, and the kernel functions that they wait in.
fn threads() -> String {
    let mut lines = String::new();
    for thread in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        lines += &format!("{} in {}\n", read("comm").trim_end(), read("wchan"));
    }
    lines
}

/// Ends the watch when it is dropped, and prints the round in which a test failed.
struct Over<'a>(&'a Watch);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
        if thread::panicking() {
            let doing = self.0.doing.lock().unwrap();
            eprintln!("it failed in {} in {}", doing.step, doing.round);
        }
    }
}
