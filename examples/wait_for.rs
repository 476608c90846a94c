//! Waits until an app logs a line that contains a text, or until a timeout. Useful in a deployment script.
//!
//! ```text
//! cargo run --example wait_for -- my-app "listening on" 60
//! ```
//!
//! The app is given by its name in the space that `cf target` has set, or by its GUID.
//! Recent lines, logged before the start, count too. It uses the session of the `cf` CLI and prints the line. The exit
//! code is 0 if the line was found, 1 on a timeout or an error, and 2 on wrong arguments.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use loggregator_consumer::{Builder, Consumer, ErrorKind, LogMessage, Reconnect, Result, Tail};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [app, text, seconds] = args.as_slice() else {
        eprintln!("usage: wait_for APP TEXT SECONDS");
        return ExitCode::from(2);
    };
    let Ok(seconds) = seconds.parse() else {
        eprintln!("wait_for: {seconds:?} is not a number of seconds");
        return ExitCode::from(2);
    };
    match wait_for(app, text, Duration::from_secs(seconds)) {
        Ok(Some(line)) => {
            // It was found, whether somebody reads it or not.
            let _ = writeln!(io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Ok(None) => {
            eprintln!("wait_for: no line with {text:?} within {seconds} s");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("wait_for: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wait_for(app: &str, text: &str, timeout: Duration) -> Result<Option<LogMessage>, Box<dyn Error>> {
    let deadline = Instant::now().checked_add(timeout).ok_or("the timeout is too long")?;
    let consumer = Builder::new().cf_cli()?.connect_timeout(timeout).reconnect(Reconnect::default()).build()?;
    close_from(deadline, &consumer);
    let lines = match follow(&consumer, app, deadline) {
        Err(error) if error.kind() == ErrorKind::Closed => return Ok(None),
        lines => lines?,
    };
    for item in lines {
        match item {
            Ok(line) if line.text().contains(text) => return Ok(Some(line)),
            Ok(_) => {}
            // The tail continues.
            Err(error) if matches!(error.kind(), ErrorKind::Gap | ErrorKind::Undecodable) => {
                eprintln!("wait_for: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    // Closed at the deadline.
    Ok(None)
}

/// From the deadline on, interrupts whatever is waiting: for a connection, for a token or for a line.
fn close_from(deadline: Instant, consumer: &Consumer) {
    let consumer = consumer.clone();
    thread::spawn(move || {
        thread::sleep(deadline.saturating_duration_since(Instant::now()));
        loop {
            // A close does not reach a call that is made after it.
            let _ = consumer.close();
            thread::sleep(Duration::from_millis(100));
        }
    });
}

/// Follows an app, also if the foundation is away for a moment or limits its requests.
fn follow(consumer: &Consumer, app: &str, deadline: Instant) -> Result<Tail> {
    loop {
        match consumer.app(app, "").and_then(|app| consumer.follow(&app.guid, "")) {
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                let pause = error.retry_after().unwrap_or(Duration::from_secs(1));
                thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
            }
            result => return result,
        }
    }
}
