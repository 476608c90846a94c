//! A soak test: tails and recent messages of every generation, for any length of time, over networks and with servers
//! that fail at random. Every message is numbered, and every lost one must lie at a break that was reported. Memory,
//! threads and descriptors must not grow.
//!
//! At the same time it follows apps on foundations of their own (`follows/`). Every line that never comes must lie inside
//! a gap with its times. The run ends when that is known of each line: some seconds after the given time.
//!
//! ```sh
//! cargo test --release --test soak -- 600      # 10 minutes
//! cargo test --release --test soak -- 600 7    # with the seed 7
//! ```
//!
//! With the other tests it runs for some seconds, which is too short to judge whether anything grows.

mod follows;
mod random;
mod ledger;
mod numbered;
mod recents;
mod relay;
mod run;
mod site;
mod tails;
mod usage;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use std::{env, panic, thread};

use loggregator_consumer::Via;
use loggregator_consumer::testing::Generation::{self, *};

use follows::Follows;
use random::Random;
use recents::RecentCaller;
use run::{Run, add, value};
use site::Site;
use tails::AppTail;
use usage::Usage;

const SECONDS: u64 = 10;

/// What runs at each address: the generations that take turns, whether they speak TLS, the kinds of tails, and the kind
/// of recent messages.
const SITES: [(&[Generation], bool, &[Via], Via); 6] = [
    (&[April2014, May2014], false, &[Via::Legacy], Via::Legacy),
    (&[Y2015, Y2016], false, &[Via::Legacy], Via::Legacy),
    (&[May2014, Y2015, Y2016], true, &[Via::Legacy], Via::Legacy),
    (&[Y2015, Y2016, Y2018], true, &[Via::Doppler], Via::Doppler),
    (&[Today], false, &[Via::Doppler, Via::RlpGateway], Via::LogCache),
    (&[Today], true, &[Via::Doppler, Via::RlpGateway], Via::LogCache),
];

/// The kinds of tails at each site: reconnecting or not, slow or not, through a proxy or not.
const KINDS: usize = 8;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let numbers: Vec<u64> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let mut filters =
        arguments.iter().filter(|argument| !argument.starts_with('-') && argument.parse::<u64>().is_err());
    // `cargo test` runs this binary, too, and may pass a filter or `--list`.
    if filters.clone().count() > 0 && !filters.any(|filter| "soak".contains(&**filter))
        || env::args().any(|a| a == "--list")
    {
        return ExitCode::SUCCESS;
    }
    usage::restart_with_one_heap();
    let by_time = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs());
    let seconds = numbers.first().copied().unwrap_or(SECONDS);
    let seed = numbers.get(1).copied().unwrap_or_else(by_time);
    println!("A soak of {seconds} s, with the seed {seed}");

    let run = Arc::new(Run::default());
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new({
        let run = Arc::clone(&run);
        move |info| {
            run.fail(thread::current().name().unwrap_or_default(), "panicked");
            default_hook(info);
        }
    }));
    thread::spawn({
        let run = Arc::clone(&run);
        move || run.keep_time()
    });
    let before = Usage::now();
    let samples = soak(&run, Duration::from_secs(seconds), Random::new(seed));
    check_leftovers(&run, before);
    report(&run, &samples);
    match run.failures() {
        0 => {
            println!("\nPASSED: every loss is accounted for");
            ExitCode::SUCCESS
        }
        failures => {
            println!("\nFAILED: {failures} failures, with the seed {seed}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the soak, and returns the usage of the process in each second.
fn soak(run: &Arc<Run>, time: Duration, mut random: Random) -> Vec<Usage> {
    let mut sites = Vec::new();
    let (mut app_tails, mut recent_callers) = (Vec::new(), Vec::new());
    for (generations, tls, tails, recent) in SITES {
        let site = Arc::new(Site::start(generations, tls, &mut random));
        for via in tails {
            for _ in 0..KINDS {
                app_tails.push(AppTail::new(app_tails.len(), &site, run, *via, &mut random));
            }
        }
        recent_callers.push(RecentCaller::new(recent_callers.len(), &site, run, recent, &mut random));
        sites.push(site);
    }
    let follows = Follows::start(run, &mut random);
    let mut samples = Vec::new();
    thread::scope(|scope| {
        follows.spawn(scope, run, &mut random);
        for site in &sites {
            let random = random.split();
            scope.spawn(move || site.inject_faults(run, random));
        }
        for app_tail in &app_tails {
            let (app, caller) = (random.split(), random.split());
            scope.spawn(move || app_tail.log(app));
            scope.spawn(move || app_tail.follow(caller));
        }
        for recent_caller in &recent_callers {
            let random = random.split();
            scope.spawn(move || recent_caller.ask(random));
        }
        let began = Instant::now();
        while began.elapsed() < time {
            thread::sleep(Duration::from_secs(1));
            samples.push(Usage::now());
            if samples.len() == 1 || samples.len() % 10 == 0 {
                print_line(run, samples.len(), samples[samples.len() - 1]);
                app_tails.iter().for_each(AppTail::check_activity);
                follows.check_activity();
            }
        }
        run.end();
    });
    add(&run.undelivered, app_tails.iter().map(AppTail::undelivered).sum());
    follows.report(run);
    samples
}

fn print_line(run: &Run, seconds: usize, usage: Usage) {
    if seconds == 1 {
        println!(
            "   time       sent   received       lost   breaks  restarts   recent   failures  memory MiB  threads  files"
        );
    }
    println!(
        "{seconds:>5} s {:>10} {:>10} {:>10} {:>8} {:>9} {:>8} {:>10} {:>11.1} {:>8} {:>6}",
        value(&run.sent),
        value(&run.received),
        value(&run.lost),
        run.count_of("break"),
        run.count_of("server restarted"),
        run.count_of("recent"),
        run.failures(),
        usage.kib / 1024.0,
        usage.threads,
        usage.files,
    );
}

/// Asserts that no thread and no descriptor is left once everything is closed and dropped.
fn check_leftovers(run: &Run, before: Usage) {
    /// Descriptors that stay open after their first use, such as a source of random numbers.
    const FOR_GOOD: f64 = 3.0;
    let deadline = run.time() + Duration::from_secs(10);
    loop {
        let now = Usage::now();
        if now.threads <= before.threads && now.files <= before.files + FOR_GOOD {
            return;
        }
        if run.time() > deadline {
            return run.fail("the process", format!("before: {before:?}, with everything closed: {now:?}"));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn report(run: &Run, samples: &[Usage]) {
    println!();
    for (event, count) in run.events() {
        println!("{count:>10}  {event}");
    }
    let [sent, received, undecodable, lost, undelivered, without_tail] =
        [&run.sent, &run.received, &run.undecodable, &run.lost, &run.undelivered, &run.without_tail].map(value);
    println!(
        "\nOf {sent} messages {received} arrived, {undecodable} were reported as undecodable, {lost} were lost at reported \
         breaks, and {undelivered} were sent after the last one that arrived. ({without_tail} were sent without a tail.)"
    );
    if sent != received + undecodable + lost + undelivered {
        run.fail("the sums", "do not add up");
    }
    let window = (samples.len() / 4).min(60);
    let [first, last] = [&samples[window..2 * window], &samples[samples.len() - window..]].map(Usage::mean);
    println!("\n{window} s each:          memory MiB  threads  files");
    for (when, usage) in [("after the first", first), ("at the end", last)] {
        println!("{when:<20} {:>10.1} {:>8.1} {:>6.1}", usage.kib / 1024.0, usage.threads, usage.files);
    }
    if window >= 20 && !last.is_as_low_as(&first) {
        run.fail("the process", "grows");
    }
}
