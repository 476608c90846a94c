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
use crate::server::source::{Decoded, LastReport, LiveSource};
use crate::wire::format::Decoder;
use crate::wire::frames::{Frames, Progress};

/// How much later than a newer message one may arrive. Messages of this time are returned again after a restart.
const HORIZON: Duration = Duration::from_secs(10);

/// How long after the recent messages the stream may still bring one of them.
const OVERLAP: Duration = Duration::from_secs(30);

/// How many messages are remembered at least, some 100 bytes each. Or twice as many as there are recent ones.
const MIN_REMEMBERED: usize = 10_000;

/// A message's time, and a hash of its content.
type Key = (i64, u64);

/// What a call has returned so far, over all of its connections.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    /// Keyed at random, so that nobody can write messages whose hashes collide.
    hasher: RandomState,
    /// The last messages, in the order in which they were returned. Their times are not to be relied on for that: the
    /// clock of an instance may be wrong.
    last: VecDeque<(Instant, Key)>,
    /// How often each of them was returned.
    counts: BTreeMap<Key, Count>,
    most: usize,
    /// No recent message before it is returned.
    floor: Option<i64>,
    has_begun: bool,
}

/// How often a message was returned.
#[derive(Debug, Default)]
struct Count {
    count: usize,
    /// Loggregator itself made it, for this stream only: it is not among the recent messages.
    is_notice: bool,
}

impl Returned {
    fn key(&self, message: &LogMessage) -> Key {
        let content = (&message.source_name, &message.source_id, message.message_type, &message.message);
        (message.timestamp, self.hasher.hash_one(content))
    }

    fn add(&mut self, key: Key, message: &LogMessage) {
        self.last.push_back((Instant::now(), key));
        let entry = self.counts.entry(key).or_default();
        entry.count += 1;
        entry.is_notice = message.source_name.as_deref() == Some("LGR");
        if self.last.len() > self.most.max(MIN_REMEMBERED)
            && let Some((_, forgotten)) = self.last.pop_front()
            && let Some(entry) = self.counts.get_mut(&forgotten)
        {
            entry.count -= 1;
            if entry.count == 0 {
                self.counts.remove(&forgotten);
            }
        }
    }

    /// Returns the time of the message after the newest one. `None` if none was returned.
    pub(crate) fn next_time(&self) -> Option<i64> {
        self.counts.last_key_value().map(|(key, _)| key.0.saturating_add(1))
    }

    /// Returns the time before which no message is expected any more.
    fn complete_until(&self) -> Option<i64> {
        // The oldest of the last ones, because the clock of an instance may run ahead.
        let recently = self.last.iter().rev().take_while(|(at, _)| at.elapsed() < HORIZON).map(|(_, key)| key.0).min();
        let oldest = recently.or(self.last.back().map(|(_, key)| key.0));
        oldest.map(|oldest| oldest.saturating_sub(HORIZON.as_nanos() as i64)).max(self.floor)
    }

    /// Returns the recent messages that were not returned before. `recent` is sorted by time.
    fn new_ones(&mut self, recent: Vec<LogMessage>) -> Vec<(Key, LogMessage)> {
        self.most = recent.len().saturating_mul(2);
        let mut known: BTreeMap<Key, usize> = self.counts.iter().map(|(key, entry)| (*key, entry.count)).collect();
        let mut new = Vec::new();
        for message in recent.into_iter().filter(|message| Some(message.timestamp) >= self.floor) {
            let key = self.key(&message);
            match known.get_mut(&key).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => new.push((key, message)),
            }
        }
        new
    }

    /// Returns what the recent messages no longer hold of the time since the stream broke. `None`: they hold all of it.
    /// `recent` is sorted by time.
    ///
    /// A ring drops its oldest messages first. So if a message that was returned is still there, its ring has dropped
    /// nothing since. Which ring a message is from cannot be seen. So all returned messages must be there that are not
    /// older than the oldest recent one: then no ring that had one of them has a later beginning than the others.
    fn missing_from(&self, recent: &[LogMessage]) -> Option<Missing> {
        let from = self.complete_until();
        let (Some(oldest), Some(newest)) = (recent.first(), recent.last()) else {
            return Some(Missing { from, until: None });
        };
        let mut held: BTreeMap<Key, usize> = BTreeMap::new();
        recent.iter().for_each(|message| *held.entry(self.key(message)).or_default() += 1);
        // Of the oldest time, some may have been dropped.
        let after_the_oldest = (oldest.timestamp.saturating_add(1), 0);
        let mut expected = self.counts.range(after_the_oldest..).filter(|(_, entry)| !entry.is_notice);
        let has_anchor = self.counts.keys().any(|key| held.contains_key(key));
        if has_anchor && expected.all(|(key, entry)| held.get(key) >= Some(&entry.count)) {
            return None;
        }
        // What was dropped had arrived before the newest one, which may itself have been late.
        let until = newest.timestamp.saturating_add(HORIZON.as_nanos() as i64);
        Some(Missing { from: from.map(|from| from.min(until)), until: Some(until) })
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
    decoder: Option<Decoder<LogMessage>>,
    returned: Arc<Mutex<Returned>>,
    recent: Vec<(Key, LogMessage)>,
    /// How often the stream may still bring a recent message once more.
    overlap: BTreeMap<Key, u32>,
    overlap_ends: Instant,
    missing: Option<Missing>,
    last_report: LastReport,
}

impl JoinedStream {
    /// Joins an open stream with the recent messages. If these could not be read after a break, the tail goes on with the
    /// stream alone.
    ///
    /// # Errors
    ///
    /// That of the recent messages, at first.
    pub(crate) fn new(
        stream: Box<dyn LiveSource>,
        recent: Result<Vec<LogMessage>>,
        beginning: Beginning,
        returned: &Arc<Mutex<Returned>>,
    ) -> Result<Self> {
        let decoder = stream.decoder();
        let mut state = returned.lock();
        let is_first = !state.has_begun;
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
        state.has_begun = true;
        let recent = state.new_ones(recent);
        drop(state);
        let mut overlap = BTreeMap::new();
        recent.iter().for_each(|(key, _)| *overlap.entry(*key).or_default() += 1);
        let (returned, now) = (Arc::clone(returned), Instant::now());
        let overlap_ends = now + OVERLAP;
        Ok(JoinedStream {
            stream,
            decoder,
            returned,
            recent,
            overlap,
            overlap_ends,
            missing,
            last_report: LastReport::now(),
        })
    }

    /// Notes a message of the stream. Returns false if it has been returned as a recent one.
    fn is_new(&mut self, payload: &[u8]) -> bool {
        let mut messages = VecDeque::new();
        if let Some(decode) = &self.decoder {
            decode(payload, &mut messages);
        }
        // A frame of these servers has one message. What is not a message is passed on.
        let Some(Ok(message)) = messages.pop_front() else { return true };
        let mut returned = self.returned.lock();
        let key = returned.key(&message);
        if let Some(count) = self.overlap.get_mut(&key).filter(|count| **count > 0) {
            *count -= 1;
            return false;
        }
        returned.add(key, &message);
        true
    }
}

/// Leaves only the messages with which a call begins. Returns the time before which it returns none.
fn begin(recent: &mut Vec<LogMessage>, beginning: Beginning) -> Option<i64> {
    match beginning {
        Beginning::Newest(limit) => {
            let newest_left_out = recent.drain(..recent.len().saturating_sub(limit)).next_back();
            let after = newest_left_out.map(|message| message.timestamp.saturating_add(1));
            recent.first().map(|oldest| oldest.timestamp).or(after)
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
        if !self.last_report.is_next_due(!self.recent.is_empty()) {
            return None;
        }
        let recent = std::mem::take(&mut self.recent);
        let mut returned = self.returned.lock();
        // Not before they are on their way: if this source is dropped first, the next one returns them.
        recent.iter().for_each(|(key, message)| returned.add(*key, message));
        let messages = recent.into_iter().map(|(_, message)| Ok(message)).collect();
        Some(Decoded { messages, complete_until: returned.complete_until() })
    }

    fn decoder(&self) -> Option<Decoder<LogMessage>> {
        self.decoder.clone()
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.stream.wait(deadline)
    }

    fn shrink(&mut self) {
        self.stream.shrink();
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn messages(times: impl IntoIterator<Item = i64>) -> Vec<LogMessage> {
        times.into_iter().map(|time| LogMessage::new("app", time.to_string()).timestamp(time)).collect()
    }

    fn times(new: &[(Key, LogMessage)]) -> Vec<i64> {
        new.iter().map(|(_, message)| message.timestamp).collect()
    }

    fn returned(times: impl IntoIterator<Item = i64>) -> Returned {
        let mut returned = Returned::default();
        for message in messages(times) {
            let key = returned.key(&message);
            returned.add(key, &message);
        }
        returned
    }

    fn missing(from: i64, until: i64) -> Option<Missing> {
        Some(Missing { from: Some(from), until: Some(until) })
    }

    #[test]
    fn recent_messages_that_reach_back_to_a_returned_one_miss_nothing() {
        let returned = returned(10 * SECOND..10 * SECOND + 5);
        let begin = 10 * SECOND;
        assert_eq!(returned.missing_from(&messages(begin - 3..begin + 9)), None);
        assert_eq!(returned.missing_from(&messages(begin + 4..begin + 9)), None, "the newest one is there");
        assert_eq!(returned.missing_from(&messages(begin + 5..begin + 9)), missing(0, begin + 8 + 10 * SECOND));
        assert_eq!(returned.missing_from(&[]), Some(Missing { from: Some(0), until: None }));
    }

    #[test]
    fn a_ring_that_begins_later_than_another_one_is_noticed() {
        let begin = 10 * SECOND;
        let returned = returned(begin..begin + 10);
        // The even times are from a ring that has dropped all that is older than 16.
        let recent = messages((begin..begin + 20).filter(|time| time % 2 == 1 || *time > begin + 15));
        assert_eq!(returned.missing_from(&recent), missing(0, begin + 19 + 10 * SECOND));
    }

    #[test]
    fn a_notice_of_the_server_is_not_expected_among_the_recent_messages() {
        let mut returned = returned(0..3);
        let notice = LogMessage::new("app", "dropped 100 messages").source("LGR", "0").timestamp(2);
        let key = returned.key(&notice);
        returned.add(key, &notice);
        assert_eq!(returned.missing_from(&messages(0..9)), None);
    }

    #[test]
    fn only_what_was_not_returned_is_new_as_often_as_it_is_there() {
        let mut returned = returned([5, 5, 7]);
        assert_eq!(times(&returned.new_ones(messages([5, 5, 5, 6, 7, 8]))), [5, 6, 8]);
        assert_eq!(times(&returned.new_ones(messages([4, 5, 7]))), [4]);
    }

    #[test]
    fn a_line_whose_clock_runs_ahead_hides_nothing() {
        let mut returned = returned([10 * SECOND, i64::MAX, 11 * SECOND]);
        assert_eq!(returned.complete_until(), Some(0));
        let recent = messages([10 * SECOND, 11 * SECOND, 12 * SECOND, i64::MAX]);
        assert_eq!(returned.missing_from(&recent), None);
        assert_eq!(times(&returned.new_ones(recent)), [12 * SECOND]);
    }

    #[test]
    fn no_time_makes_it_panic_and_memory_is_bounded() {
        let mut returned = returned([i64::MAX, i64::MIN, 0, i64::MAX, -1]);
        for recent in [messages([i64::MIN, 0, i64::MAX]), messages([i64::MIN]), Vec::new()] {
            let _ = returned.missing_from(&recent);
            let _ = returned.new_ones(recent);
        }
        let mut returned = self::returned((0..MIN_REMEMBERED as i64 + 10).map(|n| n % 100));
        assert_eq!((returned.last.len(), returned.counts.len()), (MIN_REMEMBERED, 100));
        // Recent messages can only be told from new ones if they are all remembered.
        assert_eq!(returned.new_ones(messages(0..MIN_REMEMBERED as i64)).len(), MIN_REMEMBERED - 100);
        assert_eq!(returned.most, 2 * MIN_REMEMBERED);
    }

    #[test]
    fn the_beginning_is_limited_and_nothing_older_comes_later() {
        let begin_at = |limit| {
            let mut recent = messages(1..6);
            let floor = begin(&mut recent, Beginning::Newest(limit));
            (recent.len(), floor)
        };
        assert_eq!((begin_at(2), begin_at(9), begin_at(0)), ((2, Some(4)), (5, Some(1)), (0, Some(6))));
    }
}
