//! [`WatchedStream`]: a stream that may be mute, and Log Cache beside it to find out.
//!
//! With `disable_logs` of the platform's agents, Doppler and the RLP gateway accept a tail, ping, and never give a line,
//! while Log Cache has them all. So as long as no stream of a foundation has given a line, Log Cache is read beside a
//! silent stream. If it has a line from after the opening, and the stream stays silent, the tail goes on over Log Cache,
//! from the opening on. So no line is lost that Log Cache still holds, and what it may have dropped is in a gap.
//!
//! Metrics and events are no proof: a stream of envelopes may give them and be mute all the same. Log Cache has them, too,
//! and those that the stream has [given](Given) are left out there.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use crate::envelope::EnvelopeType;
use crate::error::{Missing, Result};
use crate::net::cancel::Cancel;
use crate::net::websocket::{NORMAL_CLOSE, WriteHalf};
use crate::server::log_cache::engine::Stored;
use crate::server::log_cache::polling::{MAX_HELD, PollingSource};
use crate::server::log_cache::polling_group::PollingGroup;
use crate::server::source::{Decoded, LiveSource};
use crate::wire::format::Decoder;
use crate::wire::frames::{Frames, Progress};

/// After how much silence of a stream Log Cache is read, and then how often.
const READ_AFTER: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];
const READ_EVERY: Duration = Duration::from_secs(15);

/// How much later than Log Cache a stream may give its first line.
const LATENESS: Duration = Duration::from_secs(3);

/// How much later it may give a second one, which is a proof against all streams.
const PROOF_LATENESS: Duration = Duration::from_secs(1);

/// The lines that prove that all streams are mute are at least this far apart. A single one may have been logged between
/// the opening and the moment at which the server subscribed to the app. In nanoseconds.
const APART: i64 = 1_000_000_000;

/// How many apps of a stream are read each time.
const READ_AT_ONCE: usize = 10;

/// A caller who lets the reader wait for so long may be behind the stream by more than the lateness.
const PAUSE: Duration = Duration::from_millis(100);

/// How many of the newest metrics and events of a stream are remembered.
const MAX_GIVEN: usize = 10_000;

/// Whether the streams of a foundation give lines, as far as its tails have shown.
#[derive(Debug, Default)]
pub(crate) struct Streams(AtomicU8);

const SPEAK: u8 = 1;
const MUTE: u8 = 2;

impl Streams {
    pub(crate) fn are_unknown(&self) -> bool {
        !self.speak() && !self.are_mute()
    }

    pub(crate) fn are_mute(&self) -> bool {
        self.0.load(Ordering::Relaxed) == MUTE
    }

    fn speak(&self) -> bool {
        self.0.load(Ordering::Relaxed) == SPEAK
    }

    /// A line is a proof. It also refutes that they are mute.
    fn set_speaking(&self) {
        self.0.store(SPEAK, Ordering::Relaxed);
    }

    fn set_mute(&self) {
        // A line of another stream may have come meanwhile.
        let _ = self.0.compare_exchange(0, MUTE, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The sources of a stream, each with its id.
type Sources<T> = Vec<(String, PollingSource<T>)>;

/// What became of a watch.
enum Verdict<T> {
    Open,
    /// The stream has given a line, or has ended.
    Over,
    /// The stream is mute. The tail goes on with these sources.
    Mute(Option<Sources<T>>),
}

pub(crate) struct WatchedStream<T> {
    stream: Box<dyn LiveSource<T>>,
    decoder: Option<Decoder<T>>,
    streams: Arc<Streams>,
    verdict: Arc<Mutex<Verdict<T>>>,
    /// Not started yet.
    watcher: Option<Watcher<T>>,
    /// Dropped with the stream, or when it has given a line. Then the watcher ends.
    watched: Option<Sender<Infallible>>,
    /// Interrupts a request of the watcher, and what the tail goes on with.
    watcher_cancel: Arc<Cancel>,
    reading: Arc<Reading>,
    /// When the stream was last read.
    was_read: Option<Instant>,
    given: Given,
    rejected: Rejected,
}

/// The ids of sources that the stream has nothing of, and has said so.
type Rejected = Arc<Mutex<HashSet<String>>>;

/// Log Cache beside a stream. Each of its sources returns what was logged since the stream was opened, or shortly before.
pub(crate) struct Beside<T> {
    pub(crate) logs: Sources<T>,
    /// The same with all types that are selected. `None`: only logs are.
    pub(crate) all: Option<Sources<T>>,
    /// Between which of the server's times the stream was opened, in nanoseconds since the Unix epoch.
    pub(crate) opened_at: Range<i64>,
}

/// Opens Log Cache beside a stream that was opened at this moment.
type Open<T> = Box<dyn Fn(Instant) -> Result<Beside<T>> + Send>;

/// Whether the reader keeps up with the stream.
#[derive(Default)]
struct Reading {
    /// It waits for the stream.
    is_waiting: AtomicBool,
    /// It has made the stream wait.
    has_paused: AtomicBool,
}

/// Reads Log Cache while a stream is silent.
struct Watcher<T> {
    opened: Instant,
    open: Open<T>,
    beside: Option<Beside<T>>,
    streams: Arc<Streams>,
    verdict: Arc<Mutex<Verdict<T>>>,
    watched: Receiver<Infallible>,
    reading: Arc<Reading>,
    rejected: Rejected,
    /// How the stream is ended.
    write_half: Option<Arc<WriteHalf>>,
    cancel: Arc<Cancel>,
}

impl<T: Stored + Send + 'static> WatchedStream<T> {
    /// Watches a stream that has just been opened. `cancel` is that of the stream, `watcher_cancel` that of Log Cache.
    pub(crate) fn new(
        stream: Box<dyn LiveSource<T>>,
        open: Open<T>,
        streams: &Arc<Streams>,
        cancel: &Arc<Cancel>,
        watcher_cancel: Arc<Cancel>,
    ) -> Self {
        let (sender, watched) = bounded(0);
        let verdict = Arc::new(Mutex::new(Verdict::Open));
        let (reading, rejected) = (Arc::<Reading>::default(), Rejected::default());
        let watcher = Watcher {
            opened: Instant::now(),
            open,
            beside: None,
            streams: Arc::clone(streams),
            verdict: Arc::clone(&verdict),
            watched,
            reading: Arc::clone(&reading),
            rejected: Arc::clone(&rejected),
            write_half: stream.write_half().map(Arc::clone),
            cancel: Arc::clone(cancel),
        };
        WatchedStream {
            decoder: stream.decoder(),
            stream,
            streams: Arc::clone(streams),
            verdict,
            watcher: Some(watcher),
            watched: Some(sender),
            watcher_cancel,
            reading,
            was_read: None,
            given: Given::default(),
            rejected,
        }
    }

    /// Reads the stream, in the reader's thread.
    fn read<R>(&mut self, read: impl FnOnce(&mut dyn LiveSource<T>) -> R) -> R {
        if self.watched.is_none() {
            return read(&mut *self.stream);
        }
        if self.was_read.is_some_and(|at| at.elapsed() > PAUSE) {
            self.reading.has_paused.store(true, Ordering::Relaxed);
        }
        self.reading.is_waiting.store(true, Ordering::Relaxed);
        let result = read(&mut *self.stream);
        self.reading.is_waiting.store(false, Ordering::Relaxed);
        self.was_read = Some(Instant::now());
        result
    }

    /// Returns true if one of the frames has a line. Otherwise remembers what they have.
    fn has_line(&mut self, frames: &Frames) -> bool {
        let Some(decode) = &self.decoder else { return false };
        let (mut items, mut others) = (VecDeque::<Result<T>>::new(), Vec::new());
        for frame in (0..).map_while(|n| frames.get(n)) {
            decode(frame, &mut items);
            for item in items.drain(..).flatten() {
                if item.envelope_type() == EnvelopeType::Log {
                    return true;
                }
                others.push(key(&item));
            }
        }
        others.into_iter().for_each(|key| self.given.add(key));
        false
    }
}

impl<T> WatchedStream<T> {
    /// Ends the watch, unless its verdict is that the stream is mute. Returns false then.
    fn end_watch(&mut self) -> bool {
        let mut verdict = self.verdict.lock();
        if let Verdict::Mute(_) = *verdict {
            return false;
        }
        *verdict = Verdict::Over;
        drop(verdict);
        self.watched = None;
        self.watcher_cancel.cancel();
        true
    }
}

impl<T: Stored + Send + 'static> LiveSource<T> for WatchedStream<T> {
    fn receive(&mut self) -> Progress {
        self.read(|stream| stream.receive())
    }

    fn take(&mut self, recycled: &mut dyn FnMut() -> Frames) -> Option<Frames> {
        let frames = self.stream.take(recycled)?;
        if self.watched.is_some() {
            if self.has_line(&frames) {
                self.streams.set_speaking();
                if !self.end_watch() {
                    // Too late. Log Cache has these, too.
                    return None;
                }
            } else if self.streams.speak() {
                // Too late or not, these are given: Log Cache's are left out.
                self.end_watch();
            }
        }
        Some(frames)
    }

    fn take_decoded(&mut self) -> Option<Decoded<T>> {
        let decoded = self.stream.take_decoded()?;
        let errors = decoded.messages.iter().filter_map(|item| item.as_ref().err());
        self.rejected.lock().extend(errors.filter_map(|error| error.app_id()).map(str::to_owned));
        Some(decoded)
    }

    fn decoder(&self) -> Option<Decoder<T>> {
        self.decoder.clone()
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.read(|stream| stream.wait(deadline))
    }

    fn shrink(&mut self) {
        self.stream.shrink();
    }

    fn default_idle_timeout(&self) -> Option<Duration> {
        self.stream.default_idle_timeout()
    }

    fn missing(&self) -> Option<Missing> {
        self.stream.missing()
    }

    fn write_half(&self) -> Option<&Arc<WriteHalf>> {
        self.stream.write_half()
    }

    fn background(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        let watcher = self.watcher.take()?;
        Some(Box::new(move || watcher.run()))
    }

    fn successor(&mut self) -> Option<Box<dyn LiveSource<T>>> {
        self.end_watch();
        let Verdict::Mute(sources) = &mut *self.verdict.lock() else { return None };
        let mut sources = sources.take()?;
        if !self.given.is_empty() {
            let given = Arc::new(std::mem::take(&mut self.given));
            for (_, source) in &mut sources {
                let given = Arc::clone(&given);
                source.leave_out(move |item| given.has(item));
            }
        }
        if sources.len() == 1 {
            return sources.pop().map(|(_, source)| Box::new(source) as Box<dyn LiveSource<T>>);
        }
        Some(Box::new(PollingGroup::new(sources, Vec::new(), &self.watcher_cancel)))
    }
}

impl<T> Drop for WatchedStream<T> {
    fn drop(&mut self) {
        self.end_watch();
    }
}

fn leave_out_rejected<T>(sources: &mut Sources<T>, rejected: &Rejected) {
    let rejected = rejected.lock();
    sources.retain(|(id, _)| !rejected.contains(id));
}

/// Begins tails of what was logged since a moment. `begun_at` has the server's time of that moment, in nanoseconds since
/// the Unix epoch.
///
/// If what was there before has been dropped, what came after it may have been, too, so there is a gap. A source of which
/// there is nothing is new or silent, if Log Cache still has older envelopes of another one. It need not be so if Log
/// Cache has several nodes, and that of the source was restarted within the seconds since that moment.
fn begin_tails<T: Stored>(sources: &mut Sources<T>, begun: Instant, begun_at: &Range<i64>) {
    let oldest: Vec<_> = sources.iter_mut().map(|(_, source)| source.oldest()).collect();
    let is_old = |oldest: &Option<i64>| oldest.is_some_and(|oldest| oldest <= begun_at.start);
    let has_old = oldest.iter().flatten().any(is_old);
    for ((_, source), oldest) in sources.iter_mut().zip(oldest) {
        let is_complete = oldest
            .is_ok_and(|oldest| is_old(&oldest) || oldest.is_none() && has_old && source.held_times().next().is_none());
        source.begin_tail(if is_complete { None } else { Some((begun, begun_at)) });
    }
}

/// What a stream without lines has given: metrics and events.
#[derive(Default)]
struct Given {
    /// It has given this and everything before it.
    until: Option<Key>,
    /// What it has given after that.
    newest: BTreeSet<Key>,
}

/// What tells a metric or an event from another one on every server: its time in microseconds, because Log Cache may have
/// it without the nanoseconds, its type and its source.
type Key = (i64, EnvelopeType, String);

fn key(item: &impl Stored) -> Key {
    (item.timestamp().div_euclid(1000), item.envelope_type(), item.source().to_owned())
}

impl Given {
    fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    fn add(&mut self, key: Key) {
        self.newest.insert(key);
        if self.newest.len() > MAX_GIVEN {
            self.until = self.until.take().max(self.newest.pop_first());
        }
    }

    fn has(&self, item: &impl Stored) -> bool {
        if item.envelope_type() == EnvelopeType::Log {
            return false;
        }
        let key = key(item);
        self.until.as_ref().is_some_and(|until| key <= *until) || self.newest.contains(&key)
    }
}

impl<T: Stored> Beside<T> {
    /// Reads the logs of some of the sources, and of others the next time.
    fn read(&mut self) {
        let held: usize = self.logs.iter().map(|(_, source)| source.held_size()).sum();
        if held >= MAX_HELD {
            return;
        }
        let count = self.logs.len().min(READ_AT_ONCE);
        for (_, source) in &mut self.logs[..count] {
            // The watch goes on, whatever the error is: a stream that is mute would never be noticed without it.
            if let Err(error) = source.poll() {
                log::debug!("Log Cache could not be read beside a silent stream: {error}");
            }
        }
        self.logs.rotate_left(count);
    }

    /// Returns the times of the lines that are there.
    fn times(&self) -> impl Iterator<Item = i64> {
        self.logs.iter().flat_map(|(_, source)| source.held_times())
    }

    /// Returns true if two lines are there that were logged after the opening, and far enough apart.
    fn has_proof(&self) -> bool {
        let times = self.times().filter(|time| *time > self.opened_at.end);
        let (first, last) = times.fold((i64::MAX, i64::MIN), |(first, last), time| (first.min(time), last.max(time)));
        last.saturating_sub(first) >= APART
    }
}

impl<T: Stored> Watcher<T> {
    fn run(mut self) {
        let started = Instant::now();
        let every = (1..).map(|n| READ_AFTER[READ_AFTER.len() - 1] + READ_EVERY * n);
        let mut schedule = READ_AFTER.into_iter().chain(every).map(|after| started + after).peekable();
        // Since when there has been a line, and another one that proves that all streams are mute.
        let (mut line_since, mut proof_since) = (None, None);
        loop {
            let decision = line_since.map(|since: Instant| since + LATENESS);
            let decision = decision.max(proof_since.map(|since: Instant| since + PROOF_LATENESS));
            let reading = schedule.peek().copied();
            let Some(wake) = decision.into_iter().chain(reading).min() else { return };
            if !self.sleep_until(wake) {
                return;
            }
            if decision.is_some_and(|decision| Instant::now() >= decision) {
                let Reading { is_waiting, has_paused } = &*self.reading;
                if is_waiting.load(Ordering::Relaxed) && !has_paused.swap(false, Ordering::Relaxed) {
                    return self.go_over(proof_since.is_some());
                }
                // The caller takes little or nothing, so not all of the stream has been read: its silence proves nothing.
                let now = Instant::now();
                (line_since, proof_since) = (line_since.and(Some(now)), proof_since.and(Some(now)));
                continue;
            }
            let read = self.read();
            // What has become due meanwhile is not made up for: the server may be in trouble.
            while schedule.next_if(|due| *due <= Instant::now()).is_some() {}
            if let Some(beside) = read {
                let now = Instant::now();
                line_since = line_since.or(beside.times().next().map(|_| now));
                proof_since = proof_since.or(beside.has_proof().then_some(now));
            }
        }
    }

    /// Reads what Log Cache has.
    fn read(&mut self) -> Option<&Beside<T>> {
        let beside = match self.beside.take() {
            Some(beside) => beside,
            None => (self.open)(self.opened)
                .inspect_err(|error| log::debug!("Log Cache could not be opened beside a silent stream: {error}"))
                .ok()?,
        };
        let beside = self.beside.insert(beside);
        leave_out_rejected(&mut beside.logs, &self.rejected);
        beside.read();
        Some(beside)
    }

    /// Returns false if the watch is over.
    fn sleep_until(&self, wake: Instant) -> bool {
        self.watched.recv_deadline(wake) == Err(RecvTimeoutError::Timeout) && !self.streams.speak()
    }

    /// Lets the tail go on over Log Cache.
    fn go_over(self, are_all_mute: bool) {
        let Watcher { beside, opened, streams, verdict, rejected, write_half, cancel, .. } = self;
        let Some(Beside { logs, all, opened_at }) = beside else { return };
        let mut sources = all.unwrap_or(logs);
        leave_out_rejected(&mut sources, &rejected);
        if sources.is_empty() {
            return;
        }
        begin_tails(&mut sources, opened, &opened_at);
        {
            let mut verdict = verdict.lock();
            if !matches!(*verdict, Verdict::Open) || streams.speak() {
                return;
            }
            *verdict = Verdict::Mute(Some(sources));
        }
        if are_all_mute {
            streams.set_mute();
        }
        // This wakes the reader.
        match write_half {
            Some(write_half) => {
                write_half.close(Some(NORMAL_CLOSE));
                write_half.shutdown();
            }
            None => cancel.disconnect(),
        }
        // Last, because a logger is the caller's code.
        log::warn!("a stream gives no lines, though Log Cache has some: its tail goes on over Log Cache");
    }
}
