//! Collects what apps log, in one file for each app. It loses and repeats no line, even if it is killed and started
//! again, as long as Log Cache holds what was logged meanwhile:
//!
//! ```text
//! cargo run --example collector -- [--horizon SECONDS] logs web worker
//! ```
//!
//! Apps are given by their names in the space that `cf target` has set, or by their GUIDs. It uses the session of the `cf`
//! CLI, and runs until it is killed. Lines that become readable later than the horizon
//! after their time, 10 s by default, are lost. For an app, the directory (here `logs`) has two files. `<guid>.log` has
//! the lines, each with its time in nanoseconds since 1970. `<guid>.state` says up to which time they are complete. Log
//! Cache can still have late lines after that time, so from there it is read once more after a restart, and the lines
//! that are in the file already are left out.
//!
//! The exit code is 1 if an app cannot be collected any more, after all others have ended, too, and 2 on wrong arguments.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind::NotFound, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, thread};

use loggregator_consumer::crossbeam_channel::RecvTimeoutError;
use loggregator_consumer::{BoxError, Builder, Consumer, Error, ErrorKind, LogMessage, Polling, Reconnect};

/// How long the calls up to the first connection are tried for. Later ones are retried by the tail itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the state is saved, in nanoseconds of the time up to which the lines are complete.
const SAVE_EVERY: i64 = 1_000_000_000;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (polling, files) = match args.as_slice() {
        [option, seconds, rest @ ..] if option == "--horizon" => {
            let seconds = seconds.parse().ok().map(Duration::from_secs);
            (seconds.map(|horizon| Polling::default().horizon(horizon)), rest)
        }
        rest => (Some(Polling::default()), rest),
    };
    let (Some(polling), [directory, apps @ ..]) = (polling, files) else {
        eprintln!("usage: collector [--horizon SECONDS] DIRECTORY APP...");
        return ExitCode::from(2);
    };
    match run(polling, Path::new(directory), apps) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("collector: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(polling: Polling, directory: &Path, apps: &[String]) -> Result<(), BoxError> {
    let consumer = &Builder::new().cf_cli()?.polling(polling).reconnect(Reconnect::default()).build()?;
    fs::create_dir_all(directory)?;
    // A thread for each app, so that each is retried, fails and writes on its own.
    thread::scope(|scope| {
        let threads: Vec<_> = apps
            .iter()
            .map(|app| {
                scope.spawn(move || collect(consumer, directory, app).inspect_err(|error| eprintln!("{app}: {error}")))
            })
            .collect();
        let failed = threads.into_iter().map(|thread| thread.join()).filter(|end| !matches!(end, Ok(Ok(())))).count();
        if failed == 0 { Ok(()) } else { Err(format!("{failed} apps are not collected any more").into()) }
    })
}

fn collect(consumer: &Consumer, directory: &Path, app: &str) -> Result<(), BoxError> {
    let guid = patiently(app, || consumer.app(app, ""))?.guid;
    let mut log = Log::open(directory, &guid)?;
    let mut tail = patiently(app, || match log.complete_until {
        Some(since) => consumer.follow_since(&guid, "", since),
        None => consumer.follow(&guid, ""),
    })?;
    loop {
        match tail.recv_timeout(Duration::from_secs(1)) {
            Ok(Ok(message)) => log.add(&message)?,
            // The tail continues. Only a gap is a loss: Log Cache has dropped lines before they could be read.
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::Gap | ErrorKind::Undecodable) => {
                eprintln!("{app}: {error}");
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        // It moves when all lines before it have been taken, so they are in the file.
        if let Some(until) = tail.complete_until() {
            log.complete(until)?;
        }
    }
}

/// Makes a call. A foundation that is away for a moment is no reason to give up.
fn patiently<T>(app: &str, call: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call() {
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                eprintln!("{app}: trying again: {error}");
                thread::sleep(error.retry_after().unwrap_or(Duration::from_millis(500)));
            }
            result => return result,
        }
    }
}

/// The files of an app.
struct Log {
    lines: File,
    state: PathBuf,
    /// All lines before this time are in the file. In nanoseconds since 1970.
    complete_until: Option<i64>,
    /// The time and the position of each line that is not older.
    recent: Vec<(i64, u64)>,
    /// The length of the file.
    length: u64,
    /// How often each recent line was in the file at the start. Log Cache will return them once more.
    repeated: HashMap<String, usize>,
}

impl Log {
    /// Opens the files, and reads the lines that Log Cache will return once more.
    fn open(directory: &Path, guid: &str) -> Result<Self, BoxError> {
        let state = directory.join(format!("{guid}.state"));
        let (complete_until, mut position) = match fs::read_to_string(&state) {
            Ok(text) => {
                let (until, position) = text.trim().split_once(' ').ok_or("the file of the state is broken")?;
                (Some(until.parse()?), position.parse()?)
            }
            Err(error) if error.kind() == NotFound => (None, 0),
            Err(error) => return Err(error.into()),
        };
        let path = directory.join(format!("{guid}.log"));
        let mut lines = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        lines.seek(SeekFrom::Start(position))?;
        let mut text = String::new();
        lines.read_to_string(&mut text)?;
        // The disk was full in the middle of a line, which was therefore never complete.
        text.truncate(text.rfind('\n').map_or(0, |last| last + 1));
        let length = position + text.len() as u64;
        lines.set_len(length)?;

        let (mut recent, mut repeated) = (Vec::new(), HashMap::new());
        for line in text.split_inclusive('\n') {
            let time = line.split(' ').next().unwrap_or_default().parse()?;
            if complete_until.is_none_or(|until| time >= until) {
                recent.push((time, position));
                *repeated.entry(line.to_owned()).or_default() += 1;
            }
            position += line.len() as u64;
        }
        Ok(Log { lines, state, complete_until, recent, length, repeated })
    }

    /// Writes a message, unless it is in the file already.
    fn add(&mut self, message: &LogMessage) -> io::Result<()> {
        let line = line(message);
        if let Some(count) = self.repeated.get_mut(&line) {
            *count -= 1;
            if *count == 0 {
                self.repeated.remove(&line);
            }
            return Ok(());
        }
        self.lines.write_all(line.as_bytes())?;
        self.recent.push((message.timestamp, self.length));
        self.length += line.len() as u64;
        Ok(())
    }

    /// Saves up to when the lines are complete, and where in the file to look for those that come once more.
    fn complete(&mut self, until: i64) -> io::Result<()> {
        if self.complete_until.is_some_and(|last| until < last + SAVE_EVERY) {
            return Ok(());
        }
        self.complete_until = Some(until);
        self.recent.retain(|(time, _)| *time >= until);
        let position = self.recent.first().map_or(self.length, |(_, position)| *position);
        // A kill leaves either the old state or the new one.
        let new = self.state.with_extension("new");
        fs::write(&new, format!("{until} {position}\n"))?;
        fs::rename(new, &self.state)
    }
}

/// One line of a file: the time, the source, the type and the text.
fn line(message: &LogMessage) -> String {
    let LogMessage { timestamp, message_type, source_name, source_id, .. } = message;
    let [name, id] = [source_name, source_id].map(|part| part.as_deref().unwrap_or("-"));
    let text = message.text().replace('\\', r"\\").replace('\n', r"\n");
    format!("{timestamp} [{name}/{id}] {message_type} {text}\n")
}
