//! `follow`: apps whose logs are followed on foundations with Log Cache, and on some without, while everything goes
//! wrong. A line that never comes must lie inside a gap that was reported.

mod foundation;
mod ledger;

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use loggregator_consumer::crossbeam_channel::RecvTimeoutError;
use loggregator_consumer::testing::Generation::{self, *};
use loggregator_consumer::{Builder, Consumer, LogMessage, MessageType, Polling, Proxy, Reconnect, Result, Tail};
use parking_lot::Mutex;

use self::foundation::{Foundation, Kind, Streams, now};
use self::ledger::{Ledger, Totals};
use crate::random::Random;
use crate::run::Run;
use crate::tails::LONGEST_CLOSE;

/// The foundations, and the apps of each: how many lines each of them logs in a second.
const FOUNDATIONS: [(Kind, &[f64]); 6] = [
    (kind("today", Today, Streams::Speak, 10_000, 200), &[0.2, 20.0, 300.0]),
    (kind("Log Cache only", Today, Streams::None, 400, 50), &[5.0, 100.0, 30.0]),
    (kind("Log Cache 1.x", LogCache1, Streams::Speak, 2000, 500), &[1.0, 50.0]),
    (kind("mute streams", Today, Streams::Mute, 3000, 300), &[2.0, 30.0]),
    (kind("2015", Y2015, Streams::Speak, 200, 0), &[10.0]),
    (kind("2018", Y2018, Streams::Speak, 100, 0), &[40.0]),
];

const fn kind(name: &'static str, generation: Generation, streams: Streams, kept: usize, delay: u64) -> Kind {
    Kind { name, generation, streams, kept, delay: Duration::from_millis(delay) }
}

/// How late a line becomes readable, or arrives out of order, at most.
const LATEST: u64 = 5000;
/// The longest time without an event. A foundation may be away several times in a row.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// How long it may take until all lines have come once nothing goes wrong any more. A gap may wait for 10 s.
const LONGEST_DRAIN: Duration = Duration::from_secs(40);

/// All apps that are followed.
pub struct Follows {
    foundations: Vec<Arc<Foundation>>,
    apps: Vec<App>,
}

impl Follows {
    pub fn start(run: &Arc<Run>, random: &mut Random) -> Self {
        let (mut foundations, mut apps) = (Vec::new(), Vec::new());
        for (kind, rates) in FOUNDATIONS {
            let foundation = Arc::new(Foundation::start(kind, random));
            for rate in rates {
                apps.push(App::new(apps.len(), *rate, &foundation, run));
            }
            foundations.push(foundation);
        }
        Follows { foundations, apps }
    }

    /// Starts the threads. They end some seconds after the run, when all lines have come.
    pub fn spawn<'a>(&'a self, scope: &'a thread::Scope<'a, '_>, run: &'a Run, random: &mut Random) {
        for foundation in &self.foundations {
            let random = random.split();
            scope.spawn(move || foundation.disturb(run, random));
        }
        for app in &self.apps {
            let (logging, following) = (random.split(), random.split());
            scope.spawn(move || app.log(logging));
            scope.spawn(move || app.follow(following));
        }
    }

    pub fn check_activity(&self) {
        self.apps.iter().for_each(App::check_activity);
    }

    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        self.apps.iter().for_each(|app| sum += app.ledger.lock().totals);
        sum
    }

    /// Prints what became of the lines of each foundation.
    pub fn report(&self, run: &Run) {
        let mut by_foundation: BTreeMap<&str, Totals> = BTreeMap::new();
        for app in &self.apps {
            *by_foundation.entry(app.foundation.kind.name).or_default() += app.ledger.lock().totals;
        }
        println!(
            "\nfollow                sent   returned  missing in gaps  removed before a tail   gaps     pruned   repeated"
        );
        for (name, totals) in by_foundation.into_iter().chain([("all", self.totals())]) {
            let Totals { sent, returned, repeated, missing_in_gaps, excused, gaps, pruned } = totals;
            println!(
                "{name:<16} {sent:>9} {returned:>10} {missing_in_gaps:>16} {excused:>22} {gaps:>6} {pruned:>10} {repeated:>10}"
            );
            if sent != returned + missing_in_gaps + excused {
                run.fail("follow", format!("the sums of {name} do not add up"));
            }
        }
        let [closes, tools, foundations, emptied] =
            ["close", "tool restarted", "foundation restarted", "Log Cache emptied"]
                .map(|event| run.count_of(&format!("follow: {event}")));
        println!(
            "{closes} closes, {tools} restarts of a tool, {foundations} of a foundation, {emptied} of Log Cache alone"
        );
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        let Totals { sent, returned, repeated, missing_in_gaps, excused, gaps, pruned } = other;
        self.sent += sent;
        self.returned += returned;
        self.repeated += repeated;
        self.missing_in_gaps += missing_in_gaps;
        self.excused += excused;
        self.gaps += gaps;
        self.pruned += pruned;
    }
}

/// An app, and the tool that follows its logs.
struct App {
    name: String,
    guid: String,
    lines_per_second: f64,
    foundation: Arc<Foundation>,
    run: Arc<Run>,
    reconnects: bool,
    /// Whether the caller pauses for seconds now and then.
    is_slow: bool,
    /// Lines are held back, and returned in order.
    hold: Duration,
    ledger: Mutex<Ledger>,
    /// The time of the last event, in milliseconds.
    last_activity: AtomicU64,
    /// The first tail is open: what is logged from now on must come.
    is_followed: AtomicBool,
    /// The last line has been logged, and nothing goes wrong any more.
    has_said_all: AtomicBool,
}

impl App {
    fn new(n: usize, lines_per_second: f64, foundation: &Arc<Foundation>, run: &Arc<Run>) -> Self {
        App {
            name: format!("follow {n} ({}, {lines_per_second} lines/s)", foundation.kind.name),
            guid: format!("22222222-2222-2222-2222-{n:012}"),
            lines_per_second,
            foundation: Arc::clone(foundation),
            run: Arc::clone(run),
            reconnects: n % 4 != 1,
            is_slow: n.is_multiple_of(3),
            hold: if n % 5 == 4 { Duration::from_millis(500) } else { Duration::ZERO },
            ledger: Mutex::default(),
            last_activity: AtomicU64::new(0),
            is_followed: AtomicBool::new(false),
            has_said_all: AtomicBool::new(false),
        }
    }

    // What the app logs.

    fn log(&self, mut random: Random) {
        while !self.is_followed.load(Ordering::Relaxed) && !self.run.is_over() {
            thread::sleep(Duration::from_millis(1));
        }
        let mut last_time = 0;
        while !self.run.is_over() {
            // About the time of one line, or of several if that is short.
            let of_one_line = Duration::from_secs_f64(random.below(2000) as f64 / 1000.0 / self.lines_per_second);
            let pause = random.millis_below(200).max(of_one_line);
            self.sleep(pause);
            // Now and then a burst.
            let seconds = if random.one_in(200) { 5.0 } else { pause.as_secs_f64() };
            for _ in 0..((seconds * self.lines_per_second) as u64).max(1) {
                last_time = self.log_line(last_time, &mut random);
            }
        }
        while !self.foundation.is_calm_for_good() {
            thread::sleep(Duration::from_millis(10));
        }
        // If Log Cache was emptied, only a further line shows it.
        self.log_line(0, &mut random);
        self.has_said_all.store(true, Ordering::Relaxed);
    }

    /// Logs a line: in time, late, out of order, or with the time of the last one. Returns its time.
    fn log_line(&self, last_time: i64, random: &mut Random) -> i64 {
        let is_late = random.one_in(20);
        let late = if is_late { random.millis_below(LATEST) } else { Duration::ZERO };
        // Held until the line is logged: it is logged before the others are removed, or its time is after that.
        let server = self.foundation.server();
        let mut time = if random.one_in(10) && last_time > self.foundation.emptied() { last_time } else { now() };
        let delay = late.max(self.foundation.kind.delay);
        let has_log_cache = self.foundation.has_log_cache();
        if !has_log_cache {
            // The same message is on both wires at once. So it is its time that is out of order.
            time -= late.as_nanos() as i64 / 1000 * 1000;
        }
        let (emptied, kept) = (self.foundation.emptied(), self.foundation.kind.kept);
        let number = self.ledger.lock().sending(time, emptied, kept);
        let message = message(&self.guid, number, time);
        if is_late && has_log_cache {
            server.send_late(message, delay);
        } else {
            server.send(message);
        }
        time
    }

    fn sleep(&self, mut pause: Duration) {
        const STEP: Duration = Duration::from_millis(200);
        while !pause.is_zero() && !self.run.is_over() {
            thread::sleep(pause.min(STEP));
            pause = pause.saturating_sub(STEP);
        }
    }

    // What the tool does.

    fn builder(&self) -> Builder {
        let builder = self
            .foundation
            .builder()
            .proxy(Proxy::none())
            .polling(Polling::default().hold(self.hold))
            .connect_timeout(Duration::from_millis(1500))
            .idle_timeout(Duration::from_secs(4))
            .read_timeout(Duration::from_millis(1500))
            .recent_timeout(Duration::from_secs(5))
            .recent_limit(2000);
        match self.reconnects {
            true => builder.reconnect(Reconnect::default().first(Duration::ZERO).longest(Duration::from_millis(500))),
            false => builder,
        }
    }

    /// Opens one tail after the other.
    fn follow(&self, mut random: Random) {
        self.note_activity();
        let mut consumer = self.builder().build().expect("the settings are valid");
        loop {
            match self.open(&mut consumer, &mut random) {
                Ok(tail) => {
                    self.is_followed.store(true, Ordering::Relaxed);
                    if self.read(&consumer, tail, &mut random) {
                        return;
                    }
                }
                Err(error) => {
                    self.run.count(format!("follow: no tail: {:?}", error.kind()));
                    thread::sleep(random.millis_below(200));
                }
            }
            self.note_activity();
        }
    }

    fn open(&self, consumer: &mut Consumer, random: &mut Random) -> Result<Tail> {
        let is_first = !self.is_followed.load(Ordering::Relaxed);
        let since = self.ledger.lock().since();
        if self.foundation.kind.streams == Streams::Mute && (is_first || random.one_in(3)) {
            // A new consumer, which does not know yet that the streams are mute.
            *consumer = self.builder().build().expect("the settings are valid");
            let _calm = self.foundation.calm();
            let tail = consumer.tail(&self.guid, "")?;
            self.ledger.lock().opened_with_new_lines(now());
            self.run.count("follow: tail of a mute stream");
            return Ok(tail);
        }
        let tail = match is_first {
            true => consumer.follow(&self.guid, "")?,
            false => consumer.follow_since(&self.guid, "", since)?,
        };
        self.ledger.lock().opened_since();
        self.run.count(if is_first { "follow: begun" } else { "follow: tool restarted" });
        Ok(tail)
    }

    /// Reads a tail until it ends or is closed. Returns true if all lines have come.
    fn read(&self, consumer: &Consumer, mut tail: Tail, random: &mut Random) -> bool {
        const STEP: Duration = Duration::from_millis(100);
        let closes_at = self.run.time() + Duration::from_secs(2) + random.millis_below(40_000);
        let mut drained_by = None;
        loop {
            match tail.recv_timeout(STEP) {
                Ok(item) => self.take(item),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.run.count(format!("follow: ended: {}", ending(&tail)));
                    self.complete(&tail);
                    return false;
                }
            }
            self.complete(&tail);
            if self.has_said_all.load(Ordering::Relaxed) {
                let deadline = *drained_by.get_or_insert(self.run.time() + LONGEST_DRAIN);
                let open = self.ledger.lock().open();
                if open.is_empty() || self.run.time() > deadline {
                    if let Some(first) = open.first() {
                        let text = format!("{} lines never came, and are in no gap: {first} is the first", open.len());
                        self.run.fail(&self.name, text);
                    }
                    self.close(consumer, tail, random);
                    self.ledger.lock().end();
                    return true;
                }
            } else if self.run.time() > closes_at && !self.run.is_over() {
                self.close(consumer, tail, random);
                return false;
            } else if self.is_slow && random.one_in(2000) {
                thread::sleep(random.millis_below(5000));
            }
        }
    }

    fn take(&self, item: Result<LogMessage>) {
        self.note_activity();
        match item {
            Ok(got) => {
                let Some(number) = got.text().split(' ').next().and_then(|number| number.parse().ok()) else {
                    return self.run.fail(&self.name, format!("a line that was not sent: {:.60}", got.text()));
                };
                if got != message(&self.guid, number, got.timestamp) {
                    self.run.fail(&self.name, format!("line {number} is damaged: {got:?}"));
                }
                let (emptied, kept) = (self.foundation.emptied(), self.foundation.kind.kept);
                let is_removed = |time, newer| time <= emptied || newer >= kept;
                let checked = self.ledger.lock().line(number, got.timestamp, is_removed);
                checked.unwrap_or_else(|why| self.run.fail(&self.name, why));
            }
            Err(error) => match error.as_gap() {
                Some(gap) => self.ledger.lock().gap(gap, now()),
                None => self.run.count(format!("follow: last error: {:?}", error.kind())),
            },
        }
    }

    fn complete(&self, tail: &Tail) {
        for lost in self.ledger.lock().complete(tail.complete_until()) {
            self.run.fail(&self.name, lost);
        }
    }

    fn close(&self, consumer: &Consumer, mut tail: Tail, random: &mut Random) {
        self.run.count("follow: close");
        let began = self.run.time();
        match random.below(4) {
            0 => drop(tail),
            // An error only says how the tail had ended before.
            1 => _ = tail.close(),
            by_consumer => {
                let _ = if by_consumer == 2 { consumer.close() } else { tail.closer().close() };
                tail.by_ref().for_each(|item| self.take(item));
                self.complete(&tail);
            }
        }
        let took = self.run.time() - began;
        if took > LONGEST_CLOSE {
            self.run.fail(&self.name, format!("a close took {took:?}"));
        }
    }

    fn note_activity(&self) {
        self.last_activity.store(self.run.time().as_millis() as u64, Ordering::Relaxed);
    }

    fn check_activity(&self) {
        let silence = self.run.time().saturating_sub(Duration::from_millis(self.last_activity.load(Ordering::Relaxed)));
        if silence > LONGEST_SILENCE {
            self.run.fail(&self.name, format!("had no event for {silence:?}"));
        }
    }
}

fn ending(tail: &Tail) -> String {
    let ending = format!("{:?}", tail.ending());
    ending.split(['(', ' ', '{', ')']).nth(1).unwrap_or_default().to_owned()
}

/// A line: all of it follows from its number.
fn message(app: &str, number: u64, time: i64) -> LogMessage {
    let filler: String = (0..number * 7919 % 200).map(|n| char::from(b'a' + ((number + n) % 26) as u8)).collect();
    LogMessage::new(app, format!("{number} {filler}."))
        .message_type(if number.is_multiple_of(2) { MessageType::Out } else { MessageType::Err })
        .timestamp(time)
        .source("APP/PROC/WEB", "0")
}
