//! A tail whose gaps are filled from the recent messages, so that each line comes once, also if its connection breaks:
//!
//! ```text
//! cargo run --example fill_gaps
//! ```
//!
//! It needs no Cloud Foundry: like `quickstart`, it starts a foundation in its own process, and takes its connections
//! away for a while. `Filled` is what a tool of your own would need.
//!
//! Prefer `Consumer::follow`, which does all of this, and more: it finds lines that are late, and says when the server has
//! dropped some. But it reads from Log Cache where there is one, some tenths of a second later than a stream.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{
    BoxError, Builder, Consumer, ErrorKind, LogMessage, Proxy, Reconnect, Result, Tail, TokenSource, sort_recent,
};

/// How many recent messages are read at a gap, and about how many lines are remembered.
const RECENT: usize = 1000;

/// A line can be read from Log Cache about half a second after it was logged. Until then, what the tail receives waits.
const SETTLE: Duration = Duration::from_millis(700);

/// For how long a call is retried that fails because the foundation is away.
const PATIENCE: Duration = Duration::from_secs(60);

const APP: &str = "11111111-1111-1111-1111-111111111111";

/// How many lines the app of this example logs.
const LINES: usize = 60;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output, such as `head`, has read enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fill_gaps: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), BoxError> {
    let mut out = io::stdout();
    let foundation = TrafficController::builder()
        .generation(Generation::Today)
        .apps([APP])
        .log_cache_delay(Duration::from_millis(300))
        .start()?;
    let consumer = Builder::new()
        .api(&foundation.api())
        .tokens(TokenSource::fixed(&foundation.issue_token()))
        .reconnect(Reconnect::default().first(Duration::from_millis(100)))
        .proxy(Proxy::none())
        .build()?;
    let mut lines = Filled::open(&consumer, APP, &[])?;
    thread::scope(|scope| -> Result<(), BoxError> {
        scope.spawn(|| log_lines(&foundation));
        for line in lines.by_ref().take(LINES) {
            writeln!(out, "{}", line?)?;
        }
        Ok(())
    })?;
    writeln!(out, "\n{LINES} lines, each once. {} of them filled the gaps.", lines.filled)?;
    Ok(())
}

/// Logs a line every 50 ms, and takes all connections away twice.
fn log_lines(foundation: &TrafficController) {
    for n in 1..=LINES {
        match n {
            10 => foundation.stop(),
            15 => foundation.restart().expect("the port is still free"),
            30 => _ = foundation.close_tails(APP, Some(1000), ""),
            _ => {}
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = LogMessage::new(APP, format!("line {n}")).source("APP/PROC/WEB", "0");
        foundation.send(line.timestamp(now.as_nanos() as i64));
        thread::sleep(Duration::from_millis(50));
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Recent messages, and then the messages of a tail, with its gaps filled.
///
/// An error is an item, as in a tail. A gap is an item only if it could not be filled.
pub struct Filled {
    consumer: Consumer,
    app: String,
    tail: Tail,
    /// How often each line has been returned, and how often it came from the stream. By time.
    lines: BTreeMap<Line, Counts>,
    ready: VecDeque<Result<LogMessage>>,
    /// How many messages came from the recent ones, to fill gaps.
    pub filled: usize,
}

#[derive(Default)]
struct Counts {
    returned: usize,
    streamed: usize,
}

impl Filled {
    /// Opens a tail with the consumer's own token. `returned` has the messages of an earlier run, which are not returned
    /// again.
    pub fn open(consumer: &Consumer, app: &str, returned: &[LogMessage]) -> Result<Self> {
        // The tail comes first: a line that is logged between the two calls is then in both, and not in none.
        let tail = patiently(|| consumer.tail(app, ""))?;
        let (lines, ready) = (BTreeMap::new(), VecDeque::new());
        let mut filled = Filled { consumer: consumer.clone(), app: app.to_owned(), tail, lines, ready, filled: 0 };
        for message in returned {
            filled.lines.entry(Line::of(message)).or_default().returned += 1;
        }
        filled.add_recent()?;
        Ok(filled)
    }

    fn add(&mut self, item: Result<LogMessage>) {
        match item {
            Ok(message) => {
                let counts = self.lines.entry(Line::of(&message)).or_default();
                counts.streamed += 1;
                // Otherwise, it was among the recent messages.
                if counts.streamed > counts.returned {
                    counts.returned = counts.streamed;
                    self.ready.push_back(Ok(message));
                }
            }
            Err(gap) if gap.kind() == ErrorKind::Gap => {
                let before = self.ready.len();
                let result = self.add_recent();
                self.filled += self.ready.len() - before;
                match result {
                    Ok(true) => {}
                    // The consumer is being closed, and the tail ends.
                    Err(error) if error.kind() == ErrorKind::Closed => {}
                    Ok(false) | Err(_) => self.ready.push_back(Err(gap)),
                }
            }
            Err(error) => self.ready.push_back(Err(error)),
        }
        while self.lines.len() > 2 * RECENT {
            self.lines.pop_first();
        }
    }

    /// Adds the recent messages that have not been returned. Returns true if they go back to one that had been.
    fn add_recent(&mut self) -> Result<bool> {
        thread::sleep(SETTLE);
        let mut recent = patiently(|| self.consumer.recent(&self.app, ""))?;
        sort_recent(&mut recent);
        let mut is_filled = recent.len() < RECENT;
        let mut found: BTreeMap<Line, usize> = BTreeMap::new();
        for message in recent {
            let line = Line::of(&message);
            let count = found.entry(line.clone()).or_default();
            *count += 1;
            let counts = self.lines.entry(line).or_default();
            if *count > counts.returned {
                counts.returned = *count;
                self.ready.push_back(Ok(message));
            } else {
                is_filled = true;
            }
        }
        Ok(is_filled)
    }
}

impl Iterator for Filled {
    type Item = Result<LogMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            let item = self.tail.next()?;
            self.add(item);
        }
        self.ready.pop_front()
    }
}

/// What a stream and Log Cache have in common of a line. Log Cache may cut the time to microseconds, and remove NULs and
/// the white space around the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    microseconds: i64,
    rest: String,
}

impl Line {
    fn of(message: &LogMessage) -> Self {
        let LogMessage { timestamp, message_type, source_name, source_id, .. } = message;
        let text = message.text().replace('\0', "");
        let rest = format!("{source_name:?} {source_id:?} {message_type} {}", text.trim());
        Line { microseconds: timestamp.div_euclid(1000), rest }
    }
}

/// Makes a call, and makes it again if the foundation is away for a moment.
fn patiently<T>(call: impl Fn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call() {
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                thread::sleep(error.retry_after().unwrap_or(Duration::from_millis(200)));
            }
            result => return result,
        }
    }
}
