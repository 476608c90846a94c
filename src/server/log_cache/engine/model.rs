//! A Log Cache, its network and an app, all behind one fake clock, to run an [`Engine`] against.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{Config, Engine, Failure, Gap, Item, Next, Page, Range, Start};
use crate::message::LogMessage;

/// The server's time at the beginning of a run.
pub(super) const EPOCH: i64 = 1_700_000_000_000_000_000;
pub(super) const MS: i64 = 1_000_000;
pub(super) const SECOND: i64 = 1000 * MS;

/// Random numbers from a seed (SplitMix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included.
    pub(super) fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1).unsigned_abs()) as i64
    }

    pub(super) fn chance(&mut self, per_mille: i64) -> bool {
        self.range(0, 999) < per_mille
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.range(0, choices.len() as i64 - 1) as usize]
    }
}

/// Something that is put into the store. Times are the server's, from [`EPOCH`] on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    /// When it reaches the store.
    pub(super) arrives: i64,
    pub(super) time: i64,
    /// What a log line says; `None` is a metric. Lines of one time that say the same are equal.
    pub(super) text: Option<u32>,
}

/// What Log Cache holds of an app (log-cache-release 702107c, `store.go`).
#[derive(Debug, Default)]
pub(super) struct Store {
    /// By key: the time, or the next free nanosecond after it.
    held: BTreeMap<i64, (i64, Option<u32>)>,
    /// Of envelopes; 0 is no limit.
    pub(super) capacity: usize,
    /// Under memory pressure everything older than this is removed, in nanoseconds; 0 is never.
    pub(super) depth: i64,
    /// Whether a page never has more lines than asked for. Log Cache adds the rest of a run of one time.
    pub(super) is_strict: bool,
    /// As Korifi: the newest lines instead of the oldest, and the end is ignored.
    pub(super) is_korifi: bool,
    pub(super) removed: Vec<(i64, Option<u32>)>,
    /// Lines that were ahead of the clock, and removed before that reached them.
    pub(super) never_readable: Vec<(i64, u32)>,
    /// The age of the youngest line that was pruned.
    pub(super) youngest_pruned: Option<i64>,
}

impl Store {
    pub(super) fn put(&mut self, envelope: Envelope, now: i64) {
        if self.capacity > 0 && self.held.len() >= self.capacity {
            self.remove_oldest(now);
        }
        let mut key = envelope.time;
        while self.held.contains_key(&key) && key < envelope.time + 4000 {
            key += 1;
        }
        self.held.insert(key, (envelope.time, envelope.text));
    }

    fn remove_oldest(&mut self, now: i64) {
        if let Some((_, envelope)) = self.held.pop_first() {
            self.note_removed(envelope, now);
            if envelope.1.is_some() {
                let age = now - envelope.0;
                self.youngest_pruned = Some(self.youngest_pruned.map_or(age, |youngest| youngest.min(age)));
            }
        }
    }

    pub(super) fn prune(&mut self, now: i64) {
        while self.depth > 0 && self.held.first_key_value().is_some_and(|(_, (time, _))| *time < now - self.depth) {
            self.remove_oldest(now);
        }
    }

    pub(super) fn empty(&mut self, now: i64) {
        for envelope in std::mem::take(&mut self.held).into_values() {
            self.note_removed(envelope, now);
        }
    }

    fn note_removed(&mut self, (time, text): (i64, Option<u32>), now: i64) {
        if time < now {
            self.removed.push((time, text));
        } else {
            self.never_readable.extend(text.map(|text| (time, text)));
        }
    }

    /// The time of the oldest envelope.
    pub(super) fn oldest(&self, now: i64) -> Option<i64> {
        self.held.values().map(|(time, _)| *time).next().filter(|time| *time < now)
    }

    /// The lines of a page, and how many there are.
    pub(super) fn read(&self, range: Range, now: i64) -> Vec<(i64, u32)> {
        assert!(range.start < now, "the server answers 500 if a range begins after its clock");
        assert!(range.start >= 0 && range.limit > 0 && range.end.is_none_or(|end| end > range.start && end <= now));
        let end = if self.is_korifi { now } else { range.end.unwrap_or(now) };
        if self.is_korifi {
            let keys = self.held.range(range.start..end).rev();
            let mut lines: Vec<_> =
                keys.filter_map(|(_, (time, text))| Some((*time, (*text)?))).take(range.limit).collect();
            if !range.newest_first {
                lines.reverse();
            }
            return lines;
        }
        let mut lines = Vec::new();
        if range.newest_first {
            for (key, (time, text)) in self.held.range(range.start..end + 4000).rev() {
                if *time >= range.start && *time < end {
                    lines.extend(text.map(|text| (*time, text)));
                }
                if lines.len() >= range.limit && (self.is_strict || key == time) {
                    break;
                }
            }
        } else {
            let mut entries = self.held.range(range.start..).peekable();
            while let Some((key, (time, text))) = entries.next() {
                if *time >= end && key == time {
                    break;
                }
                if *time >= range.start && *time < end {
                    lines.extend(text.map(|text| (*time, text)));
                }
                let is_in_run = key != time || entries.peek().is_some_and(|(key, (time, _))| *key != time);
                if lines.len() >= range.limit && (self.is_strict || !is_in_run) {
                    break;
                }
            }
        }
        lines
    }
}

/// A stretch of time in which something is wrong, `[from, until)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) kind: FaultKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// Each request fails.
    Errors,
    /// The node can't be reached: empty answers. The store goes on.
    Away,
    /// The node restarts: its store is emptied, answers are empty, and what arrives is stored nowhere.
    Restart,
    /// The caller takes nothing.
    Blocked,
}

pub(super) struct World {
    pub(super) now: i64,
    pub(super) store: Store,
    /// Sorted by arrival.
    pub(super) arrivals: Vec<Envelope>,
    arrived: usize,
    /// Those that the store took. While its node restarts, it takes nothing.
    pub(super) stored: Vec<Envelope>,
    /// How many restarts have begun. The faults are sorted.
    restarts: usize,
    pub(super) faults: Vec<Fault>,
    pub(super) dice: Dice,
    /// Per mille of the requests.
    pub(super) errors: i64,
    pub(super) timeouts: i64,
    /// Per mille of a request's time, in nanoseconds.
    pub(super) round_trip: (i64, i64),
    pub(super) per_line: i64,
    /// An answer of more lines is a 429, unless one line was asked for.
    pub(super) largest: usize,
    /// The client's monotonic clock gains so many ppm.
    pub(super) drift: i64,
    pub(super) engine: Engine,

    /// What was returned, in order, with the server's time of that.
    pub(super) given: Vec<(i64, u32, i64)>,
    pub(super) gaps: Vec<Gap>,
    /// The number of lines given when each gap was.
    pub(super) gap_positions: Vec<usize>,
    pub(super) requests: usize,
    pub(super) asks: usize,
    pub(super) lines_read: usize,
    pub(super) most_seen: usize,
    /// When the seed was complete.
    pub(super) began: Option<i64>,
    /// When the first line was read.
    pub(super) first_seen: Option<i64>,
    pub(super) log: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(config: &Config, start: Start, arrivals: Vec<Envelope>) -> World {
        let mut arrivals = arrivals;
        arrivals.sort_by_key(|envelope| envelope.arrives);
        World {
            now: EPOCH,
            store: Store::default(),
            arrivals,
            arrived: 0,
            stored: Vec::new(),
            restarts: 0,
            faults: Vec::new(),
            dice: Dice(1),
            errors: 0,
            timeouts: 0,
            round_trip: (20 * MS, 40 * MS),
            per_line: 60_000,
            largest: usize::MAX,
            drift: 0,
            engine: Engine::new(config, start, 1),
            given: Vec::new(),
            gaps: Vec::new(),
            gap_positions: Vec::new(),
            requests: 0,
            asks: 0,
            lines_read: 0,
            most_seen: 0,
            began: None,
            first_seen: None,
            log: None,
        }
    }

    pub(super) fn monotonic(&self) -> Duration {
        let elapsed = self.now - EPOCH;
        Duration::from_nanos((elapsed + elapsed / 1000 * self.drift / 1000).unsigned_abs())
    }

    fn fault(&self, kind: FaultKind) -> Option<Fault> {
        self.faults.iter().copied().find(|fault| fault.kind == kind && (fault.from..fault.until).contains(&self.now))
    }

    /// Lets time pass, and the app log.
    pub(super) fn advance(&mut self, to: i64) {
        let to = to.max(self.now);
        loop {
            let restart = self.faults.iter().filter(|fault| fault.kind == FaultKind::Restart).nth(self.restarts);
            let restart = restart.map_or(i64::MAX, |fault| fault.from);
            let arrival = self.arrivals.get(self.arrived).map_or(i64::MAX, |envelope| envelope.arrives);
            if restart.min(arrival) > to {
                break;
            }
            self.now = self.now.max(restart.min(arrival));
            if restart <= arrival {
                self.restarts += 1;
                self.store.empty(self.now);
            } else {
                if self.fault(FaultKind::Restart).is_none() {
                    self.store.put(self.arrivals[self.arrived], self.now);
                    self.stored.push(self.arrivals[self.arrived]);
                    self.store.prune(self.now);
                }
                self.arrived += 1;
            }
        }
        self.now = to;
        self.store.prune(to);
    }

    /// Runs until the server's time `until`.
    pub(super) fn run(&mut self, until: i64) {
        while self.now < until {
            self.step(until);
        }
    }

    /// Does what the engine wants next.
    pub(super) fn step(&mut self, until: i64) {
        self.take();
        if self.began.is_none() && self.engine.complete_until().is_some() {
            self.began = Some(self.now);
        }
        if self.first_seen.is_none() && self.engine.seen.newest().is_some() {
            self.first_seen = Some(self.now);
        }
        self.most_seen = self.most_seen.max(self.engine.seen.len());
        match self.engine.next(self.monotonic()) {
            Next::Wait(at) => {
                let pause = i64::try_from(at.saturating_sub(self.monotonic()).as_nanos()).unwrap();
                self.advance((self.now + pause.max(1000)).min(until.max(self.now + 1)));
            }
            Next::Read(range) => self.answer(Some(range)),
            Next::Oldest => self.answer(None),
        }
    }

    fn answer(&mut self, range: Option<Range>) {
        self.requests += 1;
        self.asks += usize::from(range.is_none());
        let sent = self.now;
        let half = self.dice.range(self.round_trip.0, self.round_trip.1) / 2;
        let is_timeout = self.dice.chance(self.timeouts);
        self.advance(sent + half);
        let at = self.now;
        if is_timeout || self.fault(FaultKind::Errors).is_some() || self.dice.chance(self.errors) {
            self.advance(at + if is_timeout { 5 * SECOND } else { half });
            self.note(|| format!("{range:?}: error"));
            return self.engine.failed(Failure::Transient { retry_after: None }, self.monotonic());
        }
        let is_away = self.fault(FaultKind::Away).or(self.fault(FaultKind::Restart)).is_some();
        let Some(range) = range else {
            let oldest = if is_away { None } else { self.store.oldest(at) };
            self.advance(at + half);
            self.note(|| format!("oldest: {:?}", oldest.map(|time| time - EPOCH)));
            return self.engine.oldest(oldest, self.monotonic());
        };
        let lines = if is_away { Vec::new() } else { self.store.read(range, at) };
        self.lines_read += lines.len();
        self.advance(at + half + self.per_line * lines.len() as i64);
        if lines.len() > self.largest && range.limit > 1 {
            return self.engine.failed(Failure::TooLarge, self.monotonic());
        }
        self.note(|| {
            let text: Vec<_> = lines.iter().map(|(time, text)| format!("{text}@{}", time - EPOCH)).collect();
            format!("{} {:?} {}: {text:?}", range.start - EPOCH, range.end.map(|end| end - EPOCH), range.limit)
        });
        let envelopes = lines.len();
        let lines = lines.into_iter().map(|(time, text)| line(time, text)).collect();
        self.engine.page(Page { lines, envelopes, date: Some(at / SECOND * SECOND) }, self.monotonic());
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now - EPOCH;
        if let Some(log) = &mut self.log {
            log.push(format!("{:>8} ms  {}", now / MS, text()));
        }
    }

    /// Takes what the engine gives.
    pub(super) fn take(&mut self) {
        while let Some(item) = self.engine.take(self.monotonic()) {
            self.add(item);
            if let Some(fault) = self.fault(FaultKind::Blocked) {
                self.advance(fault.until);
            }
        }
    }

    /// The tail is closed.
    pub(super) fn close(&mut self) {
        self.take();
        while let Some(item) = self.engine.take_last() {
            self.add(item);
        }
    }

    fn add(&mut self, item: Item) {
        match item {
            Item::Gap(gap) => {
                self.note(|| format!("gap {} to {}", (gap.from - EPOCH) / MS, (gap.until - EPOCH) / MS));
                self.gap_positions.push(self.given.len());
                self.gaps.push(gap);
            }
            Item::Lines(lines) => {
                assert!(lines.is_sorted_by_key(|line| line.timestamp) && !lines.is_empty());
                let now = self.now;
                self.given.extend(lines.iter().map(|line| (line.timestamp, text(line), now)));
            }
        }
    }

    pub(super) fn texts(&self) -> Vec<u32> {
        self.given.iter().map(|(_, text, _)| *text).collect()
    }
}

pub(super) fn line(time: i64, text: u32) -> LogMessage {
    LogMessage::new("", text.to_be_bytes()).timestamp(time)
}

fn text(line: &LogMessage) -> u32 {
    u32::from_be_bytes(line.message.as_slice().try_into().unwrap())
}

/// What became of the lines of a run.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) lines: usize,
    pub(super) lost: usize,
    pub(super) gaps: usize,
    pub(super) requests: usize,
    pub(super) lines_read: usize,
    pub(super) is_deep: bool,
}

/// Checks the guarantee. `horizon` is the configured one.
pub(super) fn check(world: &World, horizon: i64) -> Result<Outcome, String> {
    #[derive(Default)]
    struct Group {
        stored: usize,
        expected: usize,
        given: usize,
        removed: usize,
        too_old: usize,
    }
    let began = world.began.ok_or("the seed never came to its end")?;
    let mut groups: HashMap<(i64, u32), Group> = HashMap::new();
    for envelope in &world.stored {
        let Some(text) = envelope.text else { continue };
        let group = groups.entry((envelope.time, text)).or_default();
        group.stored += 1;
        let readable = envelope.arrives.max(envelope.time + 1);
        if readable > began && envelope.time >= world.engine.floor && readable - envelope.time <= horizon {
            group.expected += 1;
        }
    }
    for line in &world.store.never_readable {
        if let Some(group) = groups.get_mut(line) {
            group.expected = group.expected.saturating_sub(1);
        }
    }
    for (time, text) in &world.store.removed {
        if let Some(text) = text {
            groups.entry((*time, *text)).or_default().removed += 1;
        }
    }
    for (time, text, _) in &world.given {
        let group = groups.get_mut(&(*time, *text)).ok_or("a line that was never logged")?;
        group.given += 1;
        group.too_old += usize::from(*time < world.engine.floor);
    }
    let mut outcome = Outcome {
        gaps: world.gaps.len(),
        requests: world.requests,
        lines_read: world.lines_read,
        ..Outcome::default()
    };
    for ((time, text), group) in groups {
        let name = format!("line {text} of {} ms", (time - EPOCH) as f64 / MS as f64);
        outcome.lines += group.given;
        if group.given > group.stored {
            return Err(format!("{name}: given {} times, logged {} times", group.given, group.stored));
        }
        if group.too_old > 0 {
            return Err(format!("{name}: from before the floor"));
        }
        let expected = group.expected;
        if group.given >= expected || (group.removed > 0 && group.given > 0) {
            continue;
        }
        outcome.lost += expected - group.given;
        // What was removed before the first line was read can't be told from the past of a new app. And what may still
        // be looked for is not settled: without a further envelope, an emptied store is like a node that is away.
        let is_open = world.engine.complete_until().is_none_or(|until| time >= until);
        if group.removed > 0 && (world.first_seen.is_none_or(|first| time <= first) || is_open) {
            continue;
        }
        if group.removed == 0 {
            return Err(format!("{name}: not given, though it is in the store"));
        }
        if !world.gaps.iter().any(|gap| (gap.from..gap.until).contains(&time)) {
            return Err(format!("{name}: lost, and in none of the gaps {:?}", relative(&world.gaps)));
        }
    }
    Ok(outcome)
}

pub(super) fn relative(gaps: &[Gap]) -> Vec<(f64, f64)> {
    let ms = |time: i64| (time - EPOCH) as f64 / MS as f64;
    gaps.iter().map(|gap| (ms(gap.from), ms(gap.until))).collect()
}
