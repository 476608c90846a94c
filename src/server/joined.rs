//! [`JoinedStream`]: an app's recent messages and then its stream, each message once, for servers without Log Cache.
//!
//! First the stream is opened, and then the recent messages are requested, so that nothing lies between them. What is in
//! both is returned once: on the servers of 2013 to 2018 a message is the same on both wires. After a break the same
//! happens again, and the recent messages show what the stream missed.
//!
//! Source: the Traffic Controller and Doppler of loggregator up to version 107. Each Doppler keeps the newest messages of
//! an app in a ring, 100 by default, and `/recent` and `/recentlogs` return what all of them keep.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{ErrorKind, Missing, Result};
use crate::message::{LogMessage, sort_recent};
use crate::net::websocket::WriteHalf;
use crate::server::source::{Decoded, LiveSource, REPORT_EVERY};
use crate::wire::format::Format;
use crate::wire::frames::{Frames, Progress};

/// How much later than a newer message one may arrive, in nanoseconds. Returned messages are remembered for so long.
const HORIZON: i64 = 10_000_000_000;

/// How long after the recent messages the stream may still bring one of them.
const OVERLAP: Duration = Duration::from_secs(30);

/// A message's time, and a hash of its content.
type Key = (i64, u64);

/// The maximum number of returned messages that are remembered, some 40 bytes each.
const MAX_REMEMBERED: usize = 100_000;

/// What a call has returned so far, over all of its connections.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    /// Keyed at random, so that nobody can write messages whose hashes collide.
    hasher: RandomState,
    /// How often each of the newest messages was returned.
    counts: BTreeMap<Key, u32>,
    /// No recent message before it is returned.
    floor: Option<i64>,
    has_begun: bool,
}

impl Returned {
    fn key(&self, message: &LogMessage) -> Key {
        let content = (&message.source_name, &message.source_id, message.message_type, &message.message);
        (message.timestamp, self.hasher.hash_one(content))
    }

    fn add(&mut self, key: Key) {
        *self.counts.entry(key).or_default() += 1;
        // The newest one is kept in any case.
        let from = self.complete_until().unwrap_or(i64::MIN);
        if self.counts.first_key_value().is_some_and(|(first, _)| first.0 < from) {
            self.counts = self.counts.split_off(&(from.min(self.newest().unwrap_or(from)), 0));
        }
        while self.counts.len() > MAX_REMEMBERED
            && let Some((forgotten, _)) = self.counts.pop_first()
        {
            self.floor = self.floor.max(Some(forgotten.0.saturating_add(1)));
        }
    }

    fn newest(&self) -> Option<i64> {
        self.counts.last_key_value().map(|(key, _)| key.0)
    }

    /// Returns the time before which no message is expected any more.
    fn complete_until(&self) -> Option<i64> {
        self.newest().map(|newest| newest.saturating_sub(HORIZON)).max(self.floor)
    }

    /// Takes the recent messages that were not returned before, and notes them as returned. `recent` is sorted by time.
    fn take_new(&mut self, recent: Vec<LogMessage>) -> Vec<(Key, LogMessage)> {
        let from = self.complete_until().unwrap_or(i64::MIN);
        let mut known = self.counts.clone();
        let mut new = Vec::new();
        for message in recent.into_iter().filter(|message| message.timestamp >= from) {
            let key = self.key(&message);
            match known.get_mut(&key).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => new.push((key, message)),
            }
        }
        new.iter().for_each(|(key, _)| self.add(*key));
        new
    }

    /// Returns what the recent messages no longer hold of the time since the stream broke. `None`: they hold all of it.
    /// `recent` is sorted by time.
    ///
    /// A ring drops its oldest messages first. So if a message that was returned is still there, its ring has dropped
    /// nothing since. Which ring a message is from cannot be seen. So all returned messages must be there that are not
    /// older than the oldest recent one: then no ring has a later beginning than the others.
    fn missing_from(&self, recent: &[LogMessage]) -> Option<Missing> {
        let from = self.complete_until();
        let (Some(oldest), Some(newest)) = (recent.first(), recent.last()) else {
            return Some(Missing { from, until: None });
        };
        let mut held: BTreeMap<Key, u32> = BTreeMap::new();
        recent.iter().for_each(|message| *held.entry(self.key(message)).or_default() += 1);
        let mut expected = self.counts.range((oldest.timestamp, 0)..).peekable();
        if expected.peek().is_none() {
            return Some(Missing { from, until: Some(oldest.timestamp) });
        }
        // Of the oldest time, some may have been dropped.
        let is_held = |(key, count): (&Key, &u32)| key.0 == oldest.timestamp || held.get(key) >= Some(count);
        let has_anchor = self.counts.keys().any(|key| held.contains_key(key));
        let until = newest.timestamp.saturating_add(1);
        (!has_anchor || !expected.all(is_held)).then_some(Missing { from, until: Some(until) })
    }
}

/// Which recent messages a call returns at first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beginning {
    /// The newest ones, at most this many.
    Newest(usize),
    /// All with this time or a later one, in nanoseconds since the Unix epoch.
    Since(i64),
}

/// A stream, and the recent messages that were requested after it had been opened.
pub(crate) struct JoinedStream {
    stream: Box<dyn LiveSource>,
    format: Format,
    returned: Arc<Mutex<Returned>>,
    recent: Vec<LogMessage>,
    /// How often the stream may still bring a recent message once more.
    overlap: BTreeMap<Key, u32>,
    overlap_ends: Instant,
    missing: Option<Missing>,
    last_report: Instant,
}

impl JoinedStream {
    /// Joins an open stream with the recent messages. An error means that they could not be read after a break: the tail
    /// goes on with the stream.
    pub(crate) fn new(
        stream: Box<dyn LiveSource>,
        recent: Result<Vec<LogMessage>>,
        beginning: Beginning,
        returned: &Arc<Mutex<Returned>>,
    ) -> Result<Self> {
        let format = stream.format();
        let mut state = returned.lock();
        let is_first = !std::mem::replace(&mut state.has_begun, true);
        let (recent, missing) = match recent {
            Ok(mut recent) => {
                sort_recent(&mut recent);
                let missing = if is_first { None } else { state.missing_from(&recent) };
                if is_first {
                    state.floor = begin(&mut recent, beginning);
                }
                (recent, missing)
            }
            Err(error) if is_first || error.kind() == ErrorKind::Closed => return Err(error),
            Err(error) => {
                log::warn!("the recent messages could not be read after a break: {error}");
                (Vec::new(), Some(Missing { from: state.complete_until(), until: None }))
            }
        };
        let (keys, recent): (Vec<_>, Vec<_>) = state.take_new(recent).into_iter().unzip();
        let mut overlap = BTreeMap::new();
        keys.into_iter().for_each(|key| *overlap.entry(key).or_default() += 1);
        drop(state);
        let (returned, now) = (Arc::clone(returned), Instant::now());
        let overlap_ends = now + OVERLAP;
        Ok(JoinedStream { stream, format, returned, recent, overlap, overlap_ends, missing, last_report: now })
    }

    /// Notes a message of the stream. Returns false if it has been returned as a recent one.
    fn is_new(&mut self, payload: &[u8]) -> bool {
        let mut messages = VecDeque::new();
        self.format.decode(payload, &mut messages);
        // A frame of these servers has one message. What is not a message is passed on.
        let Some(Ok(message)) = messages.pop_front() else { return true };
        let mut returned = self.returned.lock();
        let key = returned.key(&message);
        if let Some(count) = self.overlap.get_mut(&key).filter(|count| **count > 0) {
            *count -= 1;
            return false;
        }
        returned.add(key);
        true
    }
}

/// Leaves only the messages with which a call begins. Returns the time before which it returns none.
fn begin(recent: &mut Vec<LogMessage>, beginning: Beginning) -> Option<i64> {
    match beginning {
        Beginning::Newest(limit) => {
            recent.drain(..recent.len().saturating_sub(limit));
            recent.first().map(|oldest| oldest.timestamp)
        }
        Beginning::Since(since) => Some(since),
    }
}

impl LiveSource for JoinedStream {
    fn receive(&mut self) -> Progress {
        if self.recent.is_empty() { self.stream.receive() } else { Progress::More }
    }

    fn take(&mut self, recycled: &mut dyn FnMut() -> Frames) -> Option<Frames> {
        let mut frames = self.stream.take(recycled)?;
        if Instant::now() >= self.overlap_ends {
            self.overlap.clear();
        }
        let payloads = std::mem::take(&mut frames.payloads);
        frames.payloads = payloads.into_iter().filter(|range| self.is_new(&frames.bytes[range.clone()])).collect();
        Some(frames).filter(|frames| !frames.is_empty())
    }

    fn take_decoded(&mut self) -> Option<Decoded> {
        if self.recent.is_empty() && self.last_report.elapsed() < REPORT_EVERY {
            return None;
        }
        self.last_report = Instant::now();
        let messages = std::mem::take(&mut self.recent).into_iter().map(Ok).collect();
        Some(Decoded { messages, complete_until: self.returned.lock().complete_until() })
    }

    fn format(&self) -> Format {
        self.format
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.stream.wait(deadline)
    }

    fn default_idle_timeout(&self) -> Option<Duration> {
        self.stream.default_idle_timeout()
    }

    fn missing(&self) -> Option<Missing> {
        self.missing
    }

    fn write_half(&self) -> Option<&Arc<WriteHalf>> {
        self.stream.write_half()
    }
}
