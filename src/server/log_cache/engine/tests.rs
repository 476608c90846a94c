//! The guarantee, in random worlds. `FOLLOW_CASES` sets how many of them are tried, `FOLLOW_SEED` which.

use super::model::*;
use super::*;

/// A random world. All of it follows from these numbers, so that a failing one can be made smaller.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    seed: u64,
    start: CaseStart,
    instances: i64,
    /// Lines in 100 s, of all instances together.
    lines_per_100_s: i64,
    seconds: i64,
    /// Per mille of the lines.
    twins: i64,
    bursts: i64,
    late_ms: i64,
    very_late: i64,
    skew_ms: i64,
    stall_ms: i64,
    /// 0 is none.
    metrics_every_ms: i64,
    capacity: usize,
    depth_ms: i64,
    is_strict: bool,
    page: usize,
    largest: usize,
    horizon_s: i64,
    hold_ms: i64,
    errors: i64,
    timeouts: i64,
    round_trip_ms: i64,
    drift_ppm: i64,
    outages: i64,
    aways: i64,
    restarts: i64,
    blocks: i64,
    memory: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum CaseStart {
    Tail,
    Follow(usize),
    /// From this long before the call.
    Since(i64),
}

/// Lines are logged before the call, too.
const BEFORE: i64 = 20 * SECOND;

impl Case {
    fn random(seed: u64) -> Case {
        let mut dice = Dice(seed);
        let dice = &mut dice;
        let start = match dice.range(0, 3) {
            0 | 1 => CaseStart::Tail,
            2 => CaseStart::Follow(dice.pick(&[0, 1, 7, 100, 1000])),
            _ => CaseStart::Since(dice.range(0, 30) * SECOND),
        };
        let lines_per_100_s = dice.pick(&[1, 10, 30, 100, 500, 1000, 2000]);
        let is_deep = dice.chance(500);
        let unless_deep = |value: i64| if is_deep { 0 } else { value };
        let (capacity, depth_ms, restarts) = (
            dice.pick(&[0, 0, 20, 100, 300]),
            dice.pick(&[0, 0, 1000, 5000, 12_000, 40_000]),
            dice.pick(&[0, 0, 1, 2]),
        );
        let horizon_s = dice.pick(&[10, 10, 10, 1, 3, 60]);
        let round_trip_ms = dice.pick(&[2, 30, 30, 200]);
        let is_strict = dice.chance(300);
        let (errors, timeouts) = (dice.pick(&[0, 0, 20, 200]), dice.pick(&[0, 0, 0, 10]));
        // Pages of one line or two, if a poll's few requests are enough for an app, and if a server that is strict does
        // not keep the rest of a run back.
        let bursts = dice.pick(&[0, 0, 1, 3]);
        let is_quiet = lines_per_100_s <= 100 && bursts == 0 && round_trip_ms < 200;
        let may_be_small = is_quiet && !is_strict && errors + timeouts == 0;
        let small = dice.range(1, 3);
        let (mut page, mut largest) = (dice.pick(&[20, 50, 100, 1000]), dice.pick(&[usize::MAX, usize::MAX, 100, 30]));
        match dice.range(0, 3) {
            0 if may_be_small => page = small,
            1 if may_be_small => largest = small as usize,
            _ => {}
        }
        // An envelope that comes very late into a store that has just been emptied hides what was lost.
        let latest = if is_deep { i64::MAX } else { (1000 * horizon_s / 5).min(2000) };
        Case {
            seed,
            start,
            instances: dice.pick(&[1, 1, 2, 5, 20]),
            lines_per_100_s,
            seconds: dice.pick(&[5, 15, 30, 60]),
            twins: dice.pick(&[0, 0, 30, 300]),
            bursts,
            late_ms: dice.pick(&[5, 100, 300, 300, 2000, 9000]).min(latest),
            very_late: dice.pick(&[0, 0, 10, 100]) * i64::from(is_deep || horizon_s >= 10),
            skew_ms: dice.pick(&[0, 50, 50, 2000]).min(latest / 2),
            stall_ms: dice.pick(&[0, 0, 2000, 5000]).min(latest),
            metrics_every_ms: dice.pick(&[0, 200, 1000, 15_000]),
            capacity: unless_deep(capacity as i64) as usize,
            depth_ms: unless_deep(depth_ms),
            restarts: unless_deep(restarts),
            is_strict,
            page: page as usize,
            largest,
            horizon_s,
            hold_ms: dice.pick(&[0, 0, 0, 500, 3000]),
            errors,
            timeouts,
            round_trip_ms,
            drift_ppm: dice.pick(&[0, 0, 500, -500]),
            outages: dice.pick(&[0, 0, 0, 1, 2]),
            aways: dice.pick(&[0, 0, 1, 3]),
            blocks: dice.pick(&[0, 0, 0, 1]),
            memory: dice.pick(&[100_000, 100_000, 100_000, 5000]),
        }
    }

    fn envelopes(&self, dice: &mut Dice) -> Vec<Envelope> {
        let end = EPOCH + self.seconds * SECOND;
        let begin = EPOCH - BEFORE;
        let mut envelopes: Vec<Envelope> = Vec::new();
        let mut text = 0;
        for _ in 0..self.instances {
            let skew = dice.range(-self.skew_ms, self.skew_ms) * MS;
            let stall_at = dice.range(0, 30 * SECOND);
            let mean = 100 * SECOND * self.instances / self.lines_per_100_s;
            let bursts: Vec<i64> = (0..self.bursts).map(|_| dice.range(EPOCH, end)).collect();
            let mut times = Vec::new();
            let mut at = begin + dice.range(0, mean);
            while at < end {
                times.push(at);
                at += dice.range(1, 2 * mean);
            }
            for burst in bursts {
                times.extend((0..40 / self.instances).map(|_| burst + dice.range(0, 100) * MS));
            }
            for written in times {
                let mut late = dice.range(5, self.late_ms.max(5)) * MS;
                if dice.chance(self.very_late) {
                    late += dice.range(2000, 5000) * MS;
                }
                // Once in 30 s an instance keeps its lines back for a while.
                let into_stall = (written - stall_at).rem_euclid(30 * SECOND);
                late += (self.stall_ms * MS - into_stall).max(0);
                let mut envelope =
                    Envelope { arrives: written + late, time: (written + skew) / 1000 * 1000, text: Some(text) };
                if let Some(last) = envelopes.last().filter(|last| last.time <= written && dice.chance(self.twins)) {
                    envelope.time = last.time;
                    // A line that is removed, and an equal one that comes after that, can't be told from one line.
                    let is_equal = dice.chance(500) && self.is_deep();
                    envelope.text = if is_equal { last.text } else { envelope.text };
                }
                // What is ahead of the server's clock gets there as well, and is readable when its time has come.
                envelopes.push(envelope);
                text += 1;
            }
        }
        if self.metrics_every_ms > 0 {
            let count = (self.seconds * SECOND + BEFORE) / (self.metrics_every_ms * MS);
            let metric = |n: i64| begin + n * self.metrics_every_ms * MS;
            envelopes.extend((0..count).map(|n| Envelope {
                arrives: metric(n) + 150 * MS,
                time: metric(n),
                text: None,
            }));
        }
        envelopes
    }

    fn faults(&self, dice: &mut Dice) -> Vec<Fault> {
        let mut faults = Vec::new();
        let kinds = [
            (FaultKind::Errors, self.outages, 8000),
            (FaultKind::Away, self.aways, 6000),
            (FaultKind::Restart, self.restarts, 6000),
            (FaultKind::Blocked, self.blocks, 30_000),
        ];
        for (kind, count, longest) in kinds {
            for _ in 0..count {
                let from = EPOCH + dice.range(0, self.seconds * SECOND);
                faults.push(Fault { from, until: from + dice.range(1, longest) * MS, kind });
            }
        }
        faults.sort_by_key(|fault| fault.from);
        faults
    }

    fn world(&self) -> World {
        let mut dice = Dice(self.seed ^ 0x5eed);
        let (start, recent_limit) = match self.start {
            CaseStart::Tail => (Start::Tail, 0),
            CaseStart::Follow(limit) => (Start::Follow, limit),
            CaseStart::Since(ago) => (Start::Since(EPOCH - ago), 0),
        };
        let config = Config {
            horizon: Duration::from_secs(self.horizon_s.unsigned_abs()),
            hold: Duration::from_millis(self.hold_ms.unsigned_abs()),
            recent_limit,
            page: self.page,
            memory: self.memory,
            ..Config::default()
        };
        let mut world = World::new(&config, start, self.envelopes(&mut dice));
        world.store.capacity = self.capacity;
        world.store.depth = self.depth_ms * MS;
        world.store.is_strict = self.is_strict;
        world.faults = self.faults(&mut dice);
        world.dice = dice;
        world.errors = self.errors;
        world.timeouts = self.timeouts;
        world.round_trip = (self.round_trip_ms * MS * 2 / 3, self.round_trip_ms * MS * 4 / 3);
        world.largest = self.largest;
        world.drift = self.drift_ppm;
        world
    }

    /// Nothing is ever removed before it has been read for the last time.
    fn is_deep(&self) -> bool {
        self.capacity == 0 && self.depth_ms == 0 && self.restarts == 0
    }

    fn run(&self) -> Result<Outcome, String> {
        self.run_in(&mut self.world())
    }

    fn run_in(&self, world: &mut World) -> Result<Outcome, String> {
        let horizon = self.horizon_s * SECOND;
        let last = world.arrivals.last().map_or(EPOCH, |envelope| envelope.arrives).max(EPOCH);
        let last = world.faults.iter().map(|fault| fault.until).fold(last, i64::max);
        world.run(last);
        // The end of a case is undisturbed, so that everything that can be given is.
        (world.errors, world.timeouts) = (0, 0);
        let end = world.now.max(last) + 2 * horizon + 40 * SECOND;
        world.run(end);
        world.close();

        let mut outcome = check(world, horizon)?;
        outcome.is_deep = self.is_deep();
        if self.is_deep() && !world.gaps.is_empty() {
            return Err(format!("gaps, though nothing was removed: {:?}", relative(&world.gaps)));
        }
        let seconds = (world.now - EPOCH) / SECOND;
        let most = 8 * seconds as usize + 3 * world.lines_read / self.page.min(self.largest / 2).max(1) + 100;
        if world.requests > most {
            return Err(format!("{} requests in {seconds} s, for {} lines", world.requests, world.lines_read));
        }
        if world.most_seen > self.memory {
            return Err(format!("{} lines are remembered", world.most_seen));
        }
        if self.is_deep() && world.first_seen.is_some() {
            let behind = self.behind(world);
            if behind > horizon / 2 + 5 * SECOND {
                return Err(format!("a window is {} ms behind", behind / MS));
            }
        }
        if let (CaseStart::Tail, false, Some(began)) = (self.start, self.is_strict, world.began) {
            let early = |time: i64, text: u32| {
                let mut same = world.arrivals.iter().filter(|line| line.time == time && line.text == Some(text));
                same.all(|line| line.arrives.max(line.time + 1) < EPOCH) && began > EPOCH
            };
            let is_complete = !self.faults_before(began) && self.errors == 0 && self.timeouts == 0;
            if let Some((time, ..)) = world.given.iter().find(|(time, text, _)| is_complete && early(*time, *text)) {
                return Err(format!("the line of {} ms was there before the call", (time - EPOCH) / MS));
            }
        }
        Ok(outcome)
    }

    /// How long the slowest window has not got on. It is read when half its age has passed.
    fn behind(&self, world: &World) -> i64 {
        let clock = world.engine.clock.earliest(world.monotonic()).unwrap_or(EPOCH);
        let newest = world.engine.seen.newest().unwrap_or(EPOCH);
        let windows = (0..world.engine.windows.count()).map(|index| world.engine.windows.get(index));
        let stuck_at = |mark| match self.page.min(self.largest) {
            // What follows a full page of one time may be empty, and proves nothing then until there is a line in it.
            ..=3 => world.engine.seen.first_anchor(mark, newest).map_or(i64::MAX, |(time, _)| time),
            _ => mark,
        };
        windows.map(|window| (clock - window.age).saturating_sub(stuck_at(window.mark))).max().unwrap_or(0)
    }

    fn faults_before(&self, began: i64) -> bool {
        self.world().faults.iter().any(|fault| fault.from <= began)
    }

    /// Cases that are a step simpler.
    fn simpler(&self) -> Vec<Case> {
        let mut all = Vec::new();
        let mut add = |change: &dyn Fn(&mut Case)| {
            let mut case = self.clone();
            change(&mut case);
            if case != *self {
                all.push(case);
            }
        };
        add(&|case| case.seconds = (case.seconds / 2).max(1));
        add(&|case| case.lines_per_100_s = (case.lines_per_100_s / 2).max(1));
        add(&|case| case.instances = (case.instances / 2).max(1));
        add(&|case| case.seconds = (case.seconds - 1).max(1));
        add(&|case| case.start = CaseStart::Tail);
        add(&|case| case.twins = 0);
        add(&|case| case.bursts = 0);
        add(&|case| case.late_ms = 5);
        add(&|case| case.very_late = 0);
        add(&|case| case.skew_ms = 0);
        add(&|case| case.stall_ms = 0);
        add(&|case| case.metrics_every_ms = 0);
        add(&|case| case.capacity = 0);
        add(&|case| case.depth_ms = 0);
        add(&|case| case.is_strict = false);
        add(&|case| case.page = 1000);
        add(&|case| case.largest = usize::MAX);
        add(&|case| case.horizon_s = 10);
        add(&|case| case.hold_ms = 0);
        add(&|case| case.errors = 0);
        add(&|case| case.timeouts = 0);
        add(&|case| case.round_trip_ms = 30);
        add(&|case| case.drift_ppm = 0);
        add(&|case| case.outages = 0);
        add(&|case| case.aways = 0);
        add(&|case| case.restarts = 0);
        add(&|case| case.blocks = 0);
        add(&|case| case.memory = 100_000);
        all
    }

    /// The simplest case that still fails, and how.
    fn shrink(self, error: String) -> (Case, String) {
        let mut smallest = (self, error);
        while let Some(next) =
            smallest.0.simpler().into_iter().find_map(|case| case.run().err().map(|error| (case, error)))
        {
            smallest = next;
        }
        smallest
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn each_line_is_given_once_or_is_in_a_gap() {
    let (cases, seed) = (number("FOLLOW_CASES", 300), number("FOLLOW_SEED", 1));
    let mut sum = Outcome::default();
    let mut deep = Outcome::default();
    let mut deep_cases = 0;
    for seed in seed..seed + cases {
        let case = Case::random(seed);
        match case.run() {
            Ok(outcome) => {
                if outcome.is_deep {
                    deep_cases += 1;
                    deep.lost += outcome.lost;
                    deep.gaps += outcome.gaps;
                    deep.lines += outcome.lines;
                }
                sum.lines += outcome.lines;
                sum.lost += outcome.lost;
                sum.gaps += outcome.gaps;
                sum.requests += outcome.requests;
                sum.lines_read += outcome.lines_read;
            }
            Err(error) => {
                let (smaller, why) = case.clone().shrink(error.clone());
                let mut world = smaller.world();
                world.log = Some(Vec::new());
                let _ = smaller.run_in(&mut world);
                if let Ok(path) = std::env::var("FOLLOW_LOG") {
                    std::fs::write(path, world.log.unwrap_or_default().join("\n")).unwrap();
                }
                panic!("FOLLOW_SEED={seed} FOLLOW_CASES=1: {error}\nsmaller: {smaller:#?}\n{why}");
            }
        }
    }
    println!("{cases} cases, {sum:?}; of these {deep_cases} in which nothing can be lost: {deep:?}");
}
