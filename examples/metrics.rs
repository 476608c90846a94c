//! Shows what an app's instances use, like `top`, using the session of the `cf` CLI:
//!
//! ```text
//! cargo run --example metrics -- my-app [--once | --every SECONDS]
//! ```
//!
//! An app is given by its name in the space that `cf target` has set, or by its GUID. On a terminal it shows a table, and
//! draws it anew every 5 s, or as often as told, until Ctrl-C. Into a pipe or a file it prints plain lines:
//! one for each instance, and another one whenever its figures are new, which is every 15 s. With `--once` it shows the
//! latest figures only. A failure that may pass is shown, and the next attempt goes on. The exit code is 0 on success, 1
//! on an error, and 2 on wrong arguments.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use loggregator_consumer::crossbeam_channel::{Receiver, bounded};
use loggregator_consumer::{Consumer, ErrorKind, InstanceMetrics};

const USAGE: &str = "usage: metrics APP [--once | --every SECONDS]     (APP is the name of an app, or its GUID)";

const COLUMNS: [&str; 7] = ["instance", "cpu", "entitlement", "memory", "disk", "logging", "uptime"];

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let (app, every) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [app] if !app.starts_with('-') => (app, Some(5)),
        [app, "--once"] => (app, None),
        [app, "--every", seconds] => match seconds.parse() {
            Ok(seconds) if seconds > 0 => (app, Some(seconds)),
            _ => return wrong_arguments(),
        },
        _ => return wrong_arguments(),
    };
    match show(app, every.map(Duration::from_secs)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output, such as `head`, has read enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metrics: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wrong_arguments() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// Shows the figures at once, and then after each interval.
fn show(app: &str, every: Option<Duration>) -> Result<(), Box<dyn Error>> {
    let consumer = Consumer::from_cf_cli()?;
    let interrupted = on_interrupt(&consumer)?;
    let app = &consumer.app(app, "")?.guid;
    let is_table = io::stdout().is_terminal();
    let mut lines = Lines::default();
    let mut has_shown = false;
    loop {
        match consumer.metrics(app, "") {
            Ok(metrics) if is_table => draw(&metrics, every.is_some())?,
            Ok(metrics) => lines.print(&metrics)?,
            Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
            Err(error) if has_shown && error.is_transient() => eprintln!("metrics: {error}"),
            Err(error) => return Err(error.into()),
        }
        has_shown = true;
        match every {
            Some(every) if interrupted.recv_timeout(every).is_err() => {}
            _ => return Ok(()),
        }
    }
}

/// On Ctrl-C, interrupts the call that is waiting, and then the pause.
fn on_interrupt(consumer: &Consumer) -> Result<Receiver<()>, ctrlc::Error> {
    let (interrupt, interrupted) = bounded(1);
    let consumer = consumer.clone();
    ctrlc::set_handler(move || {
        let _ = interrupt.try_send(());
        let _ = consumer.close();
    })?;
    Ok(interrupted)
}

/// Draws the table, in place of the one before.
fn draw(metrics: &[InstanceMetrics], in_place: bool) -> io::Result<()> {
    let rows: Vec<_> = [COLUMNS.map(str::to_owned)].into_iter().chain(metrics.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut table = String::new();
    if in_place {
        // To the upper left corner, and clear everything.
        table.push_str("\x1b[H\x1b[2J");
    }
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:0$}", width(column)));
        table.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
        table.push('\n');
    }
    if metrics.is_empty() {
        table.push_str("no instance has reported metrics in the last 2 minutes\n");
    }
    let mut out = io::stdout().lock();
    out.write_all(table.as_bytes())?;
    out.flush()
}

/// Prints a line for each instance whose figures are new.
#[derive(Default)]
struct Lines {
    /// When each instance was last measured.
    printed: HashMap<String, i64>,
}

impl Lines {
    fn print(&mut self, metrics: &[InstanceMetrics]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for one in metrics {
            let key = format!("{} {:?}", name(one), one.process_id);
            if self.printed.insert(key, one.timestamp) != Some(one.timestamp) {
                let cells = COLUMNS.iter().zip(row(one)).map(|(column, cell)| format!("{column}={cell}"));
                writeln!(out, "{}", cells.collect::<Vec<_>>().join("  "))?;
            }
        }
        out.flush()
    }
}

fn row(one: &InstanceMetrics) -> [String; COLUMNS.len()] {
    [
        name(one),
        percent(one.cpu),
        percent(one.cpu_entitlement),
        of(one.memory.map(bytes), one.memory_quota.map(bytes)),
        of(one.disk.map(bytes), one.disk_quota.map(bytes)),
        of(one.log_rate.map(per_second), one.log_rate_limit.map(limit)),
        one.uptime.map_or_else(unknown, uptime),
    ]
}

fn name(one: &InstanceMetrics) -> String {
    one.process_type.as_ref().map_or_else(|| format!("#{}", one.index), |process| format!("{process}#{}", one.index))
}

fn unknown() -> String {
    "?".to_owned()
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(unknown, |value| format!("{value:.1}%"))
}

/// What is used of what may be used.
fn of(used: Option<String>, quota: Option<String>) -> String {
    match (used, quota) {
        (None, None) => unknown(),
        (used, None) => used.unwrap_or_else(unknown),
        (used, Some(quota)) => format!("{} of {quota}", used.unwrap_or_else(unknown)),
    }
}

/// The number of bytes as `cf` shows it.
fn bytes(number: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match UNITS.iter().find(|(size, _)| number >= *size) {
        None => format!("{number}B"),
        Some((size, unit)) => {
            let text = format!("{:.1}", number as f64 / *size as f64);
            format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
        }
    }
}

fn per_second(number: u64) -> String {
    format!("{}/s", bytes(number))
}

fn limit(rate: i64) -> String {
    u64::try_from(rate).map_or_else(|_| "unlimited".to_owned(), per_second)
}

fn uptime(uptime: Duration) -> String {
    let seconds = uptime.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
