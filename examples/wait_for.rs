//! Waits until an app logs a line that holds a text, or until a deadline: what a deployment's script needs.
//!
//! ```text
//! cargo run --example wait_for -- "$(cf app my-app --guid)" "listening on" 60
//! ```
//!
//! The lines that were logged before it was started count too. It uses the session of the `cf` command line, prints the
//! line, and ends with 0; with 1 if the line has not come in so many seconds or something went wrong, and with 2 if it
//! was called wrong.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use loggregator_consumer::{Builder, ErrorKind, LogMessage, Reconnect};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [app, text, seconds] = args.as_slice() else {
        eprintln!("usage: wait_for APP_GUID TEXT SECONDS");
        return ExitCode::from(2);
    };
    let Ok(seconds) = seconds.parse() else {
        eprintln!("wait_for: {seconds:?} is no number of seconds");
        return ExitCode::from(2);
    };
    match wait_for(app, text, Duration::from_secs(seconds)) {
        Ok(Some(line)) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Ok(None) => {
            eprintln!("wait_for: no line with {text:?} came in {seconds} s");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("wait_for: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wait_for(app: &str, text: &str, timeout: Duration) -> Result<Option<LogMessage>, Box<dyn Error>> {
    let deadline = Instant::now().checked_add(timeout).ok_or("that is too long")?;
    let holds = |message: &LogMessage| message.text().contains(text);
    let consumer = Builder::new()
        .cf_cli()?
        .connect_timeout(timeout)
        .recent_timeout(timeout)
        .reconnect(Reconnect::default())
        .build()?;

    // The tail first: a line between the two is in both rather than in none.
    let mut tail = consumer.tail(app, "")?;
    let find_recent = || Ok::<_, loggregator_consumer::Error>(consumer.recent(app, "")?.into_iter().find(holds));
    if let Some(message) = find_recent()? {
        return Ok(Some(message));
    }
    loop {
        match tail.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Ok(message)) if holds(&message) => return Ok(Some(message)),
            Ok(Ok(_)) => {}
            // The line may have been logged while the tail was broken.
            Ok(Err(error)) if error.kind() == ErrorKind::Gap => {
                if let Some(message) = find_recent()? {
                    return Ok(Some(message));
                }
            }
            Ok(Err(error)) if error.kind() == ErrorKind::Undecodable => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => return Err("the server ended the stream".into()),
        }
    }
}
