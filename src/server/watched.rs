//! [`WatchedStream`]: a stream that may be mute, and Log Cache beside it to find out.
//!
//! With `disable_logs` of the platform's agents, Doppler and the RLP gateway accept a tail, ping, and never give a line,
//! while Log Cache has them all. So as long as no stream of a foundation has given a line, Log Cache is read beside a
//! silent stream. If it has a line from after the opening, and the stream stays silent, the tail goes on over Log Cache,
//! from the opening on. So no line is lost that Log Cache still holds, and what it may have dropped is in a gap.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use crate::error::{Missing, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::websocket::{NORMAL_CLOSE, WriteHalf};
use crate::server::log_cache::polling::PollingSource;
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

/// What became of a watch.
enum Verdict {
    Open,
    /// The stream has given a line, or has ended.
    Over,
    /// The stream is mute. The tail goes on with this source.
    Mute(Option<Box<PollingSource>>),
}

pub(crate) struct WatchedStream {
    stream: Box<dyn LiveSource>,
    decoder: Option<Decoder<LogMessage>>,
    streams: Arc<Streams>,
    verdict: Arc<Mutex<Verdict>>,
    /// Not started yet.
    watcher: Option<Watcher>,
    /// Dropped with the stream, or when it has given a line. Then the watcher ends.
    watched: Option<Sender<Infallible>>,
    /// Interrupts a request of the watcher.
    watcher_cancel: Arc<Cancel>,
    is_being_read: Arc<AtomicBool>,
}

/// Log Cache beside a stream.
pub(crate) struct Beside {
    /// Returns what was logged since the stream was opened, or shortly before.
    pub(crate) log_cache: Box<PollingSource>,
    /// Between which of the server's times the stream was opened, in nanoseconds since the Unix epoch.
    pub(crate) opened_at: Range<i64>,
}

/// Opens Log Cache beside a stream that was opened at this moment.
type Open = Box<dyn Fn(Instant) -> Result<Beside> + Send>;

/// Reads Log Cache while a stream is silent.
struct Watcher {
    opened: Instant,
    open: Open,
    beside: Option<Beside>,
    streams: Arc<Streams>,
    verdict: Arc<Mutex<Verdict>>,
    watched: Receiver<Infallible>,
    /// Whether the reader waits for the stream.
    is_being_read: Arc<AtomicBool>,
    /// How the stream is ended.
    write_half: Option<Arc<WriteHalf>>,
    cancel: Arc<Cancel>,
}

impl WatchedStream {
    /// Watches a stream that has just been opened. `cancel` is that of the stream, `watcher_cancel` that of Log Cache.
    pub(crate) fn new(
        stream: Box<dyn LiveSource>,
        open: Open,
        streams: &Arc<Streams>,
        cancel: &Arc<Cancel>,
        watcher_cancel: Arc<Cancel>,
    ) -> Self {
        let (sender, watched) = bounded(0);
        let verdict = Arc::new(Mutex::new(Verdict::Open));
        let is_being_read = Arc::new(AtomicBool::new(false));
        let watcher = Watcher {
            opened: Instant::now(),
            open,
            beside: None,
            streams: Arc::clone(streams),
            verdict: Arc::clone(&verdict),
            watched,
            is_being_read: Arc::clone(&is_being_read),
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
            is_being_read,
        }
    }

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

impl LiveSource for WatchedStream {
    fn receive(&mut self) -> Progress {
        self.is_being_read.store(true, Ordering::Relaxed);
        let progress = self.stream.receive();
        self.is_being_read.store(false, Ordering::Relaxed);
        progress
    }

    fn take(&mut self, recycled: &mut dyn FnMut() -> Frames) -> Option<Frames> {
        let frames = self.stream.take(recycled)?;
        if self.watched.is_some() && has_line(&frames, self.decoder.as_ref()) {
            self.streams.set_speaking();
            if !self.end_watch() {
                // Too late. Log Cache has this line, too.
                return None;
            }
        }
        Some(frames)
    }

    fn take_decoded(&mut self) -> Option<Decoded> {
        self.stream.take_decoded()
    }

    fn decoder(&self) -> Option<Decoder<LogMessage>> {
        self.decoder.clone()
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.is_being_read.store(true, Ordering::Relaxed);
        let result = self.stream.wait(deadline);
        self.is_being_read.store(false, Ordering::Relaxed);
        result
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

    fn successor(&mut self) -> Option<Box<dyn LiveSource>> {
        self.end_watch();
        match &mut *self.verdict.lock() {
            Verdict::Mute(source) => source.take().map(|source| source as Box<dyn LiveSource>),
            Verdict::Open | Verdict::Over => None,
        }
    }
}

impl Drop for WatchedStream {
    fn drop(&mut self) {
        self.end_watch();
    }
}

/// Returns true if one of the frames has a log message.
fn has_line(frames: &Frames, decoder: Option<&Decoder<LogMessage>>) -> bool {
    let Some(decode) = decoder else { return false };
    let mut messages = VecDeque::<Result<LogMessage>>::new();
    (0..).map_while(|n| frames.get(n)).any(|frame| {
        messages.clear();
        decode(frame, &mut messages);
        messages.iter().any(Result::is_ok)
    })
}

impl Beside {
    /// Returns true if two lines are there that were logged after the opening, and far enough apart.
    fn has_proof(&self) -> bool {
        let times = self.log_cache.held_times().filter(|time| *time > self.opened_at.end);
        let (first, last) = times.fold((i64::MAX, i64::MIN), |(first, last), time| (first.min(time), last.max(time)));
        last.saturating_sub(first) >= APART
    }
}

impl Watcher {
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
                if self.is_being_read.load(Ordering::Relaxed) {
                    return self.go_over(proof_since.is_some());
                }
                // The caller takes nothing, so the stream has not been read: its silence proves nothing.
                let now = Instant::now();
                (line_since, proof_since) = (line_since.and(Some(now)), proof_since.and(Some(now)));
                continue;
            }
            schedule.next();
            // The watch goes on, whatever the error is: a stream that is mute would never be noticed without it.
            match self.read() {
                Ok(beside) => {
                    let now = Instant::now();
                    line_since = line_since.or(beside.log_cache.held_times().next().map(|_| now));
                    proof_since = proof_since.or(beside.has_proof().then_some(now));
                }
                Err(error) => log::debug!("Log Cache could not be read beside a silent stream: {error}"),
            }
        }
    }

    /// Reads what Log Cache has.
    fn read(&mut self) -> Result<&Beside> {
        let beside = match self.beside.take() {
            Some(beside) => beside,
            None => (self.open)(self.opened)?,
        };
        let beside = self.beside.insert(beside);
        beside.log_cache.poll()?;
        Ok(beside)
    }

    /// Returns false if the watch is over.
    fn sleep_until(&self, wake: Instant) -> bool {
        self.watched.recv_deadline(wake) == Err(RecvTimeoutError::Timeout) && !self.streams.speak()
    }

    /// Lets the tail go on over Log Cache.
    fn go_over(self, are_all_mute: bool) {
        let Watcher { beside, opened, streams, verdict, write_half, cancel, .. } = self;
        let Some(Beside { mut log_cache, opened_at }) = beside else { return };
        log_cache.begin_tail(opened, &opened_at);
        {
            let mut verdict = verdict.lock();
            if !matches!(*verdict, Verdict::Open) {
                return;
            }
            *verdict = Verdict::Mute(Some(log_cache));
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
