//! Prints how long lines take and what it costs, for apps and networks of several kinds:
//! `cargo test --release --lib figures -- --ignored --nocapture`.

use std::collections::HashMap;

use super::model::*;
use super::*;

/// An app as it is on a foundation.
#[derive(Clone, Copy)]
struct App {
    per_100_s: i64,
    instances: i64,
    seconds: i64,
    /// Instances' clocks differ by up to this, in milliseconds.
    skew: i64,
    stalls: bool,
    /// Per mille of the lines that are 2 to 5 s late.
    very_late: i64,
    /// Lines that come in 0.1 s, every 20 s.
    burst: i64,
}

const APP: App = App { per_100_s: 100, instances: 1, seconds: 300, skew: 50, stalls: true, very_late: 0, burst: 0 };

impl App {
    fn envelopes(&self, dice: &mut Dice) -> Vec<Envelope> {
        let mut lines = Vec::new();
        for instance in 0..self.instances {
            let skew = if self.skew > 1000 && instance % 2 == 0 { -self.skew } else { self.skew } * MS;
            let skew = if self.skew > 1000 { skew } else { dice.range(-skew, skew) };
            let offset = dice.range(0, 30 * SECOND);
            let mean = 100 * SECOND * self.instances / self.per_100_s.max(1);
            let mut at = EPOCH - 20 * SECOND + dice.range(0, mean);
            let mut stall = (i64::MIN, 0);
            let mut late = 0;
            while at < EPOCH + self.seconds * SECOND && self.per_100_s > 0 {
                let period = (at - EPOCH + offset).div_euclid(30 * SECOND);
                if self.stalls && period != stall.0 {
                    let length = if dice.chance(150) { dice.range(2000, 5000) } else { dice.range(200, 2000) };
                    stall = (period, EPOCH - offset + period * 30 * SECOND + length * MS);
                }
                // The lines of one instance mostly keep their order.
                late =
                    if self.instances == 1 { (late + dice.range(-30, 30)).clamp(5, 300) } else { dice.range(5, 300) };
                let very_late = if dice.chance(self.very_late) { dice.range(2000, 5000) * MS } else { 0 };
                let arrives = (at + late * MS + very_late).max(if self.stalls { stall.1 } else { 0 });
                lines.push(Envelope { arrives, time: at + skew, text: Some(lines.len() as u32) });
                at += dice.range(1, 2 * mean);
            }
        }
        if self.burst > 0 {
            for second in (5..self.seconds).step_by(20) {
                for _ in 0..self.burst {
                    let time = EPOCH + second * SECOND + dice.range(0, 100 * MS);
                    let arrives = time + dice.range(5, 300) * MS;
                    lines.push(Envelope { arrives, time, text: Some(lines.len() as u32) });
                }
            }
        }
        lines
    }
}

fn row(name: &str, app: App, change: impl Fn(&mut World)) {
    let mut delays = Vec::new();
    let (mut lost, mut logged, mut given, mut read, mut requests, mut seconds, mut gaps) = (0, 0, 0, 0, 0, 0, 0);
    for seed in 1..=3 {
        let mut dice = Dice(seed);
        let mut world = World::new(&Config::default(), Start::Tail, app.envelopes(&mut dice));
        world.dice = dice;
        change(&mut world);
        world.run(EPOCH + app.seconds * SECOND);
        (requests, read, seconds) = (requests + world.requests, read + world.lines_read, seconds + app.seconds);
        world.run(EPOCH + (app.seconds + 40) * SECOND);
        world.close();
        let outcome = check(&world, 10 * SECOND);
        let readable: HashMap<_, _> =
            world.stored.iter().map(|line| (line.text, line.arrives.max(line.time))).collect();
        delays.extend(world.given.iter().map(|(_, text, at)| (at - readable[&Some(*text)]) / MS));
        given += world.given.len();
        logged += world.stored.iter().filter(|line| line.text.is_some() && line.arrives > EPOCH + SECOND).count();
        gaps += world.gaps.len();
        match outcome {
            Ok(outcome) => lost += outcome.lost,
            Err(error) => println!("{name}: {error}"),
        }
    }
    delays.sort_unstable();
    let delay = |per_mille: usize| delays.get(delays.len().saturating_sub(1) * per_mille / 1000).copied().unwrap_or(0);
    println!(
        "| {name} | {:.2} %, {gaps} gaps; {}/{} ms, longest {}; {:.1}; {:.1} |",
        100.0 * lost as f64 / logged.max(1) as f64,
        delay(500),
        delay(990),
        delay(1000),
        requests as f64 / seconds as f64,
        read as f64 / given.max(1) as f64,
    );
}

#[test]
#[ignore = "prints figures, and takes a minute"]
fn figures() {
    let app = |per_100_s, instances, seconds| App { per_100_s, instances, seconds, ..APP };
    let fault = |from: i64, until: i64, kind| Fault { from: EPOCH + from * MS, until: EPOCH + until * MS, kind };
    println!("| lines/s, instances | lost; delay median/99 %; requests/s; lines read for each given |");
    row("0.1, 1", app(10, 1, 900), |_| {});
    row("5, 2", app(500, 2, 300), |_| {});
    row("100, 5", app(10_000, 5, 120), |_| {});
    row("200, 1", app(20_000, 1, 120), |_| {});
    row("1000, 20", app(100_000, 20, 60), |_| {});
    row("5000, 20", app(500_000, 20, 60), |_| {});
    row("bursts of 3000", App { burst: 3000, ..app(100, 1, 300) }, |_| {});
    row("100, clocks 2 s off", App { skew: 2000, ..app(10_000, 2, 120) }, |_| {});
    row("100, 1 % late", App { very_late: 10, stalls: false, ..app(10_000, 5, 120) }, |_| {});
    row("100, errors, 4 s of 503", app(10_000, 5, 120), |world| {
        world.errors = 30;
        world.faults = vec![fault(60_000, 64_000, FaultKind::Errors)];
    });
    row("50, store emptied, 6 s away", app(5000, 2, 120), |world| {
        world.faults = vec![fault(60_000, 66_000, FaultKind::Restart)];
    });
    row("2000, store keeps 1000", app(200_000, 5, 60), |world| world.store.capacity = 1000);
    row("2000, store keeps 20000", app(200_000, 5, 60), |world| world.store.capacity = 20_000);
    row("100, slow network", app(10_000, 5, 120), |world| {
        world.round_trip = (200 * MS, 200 * MS);
        world.per_line = 400_000;
    });
    row("silent", app(0, 1, 900), |_| {});
}
