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
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use loggregator_consumer::{Builder, ErrorKind, LogMessage, Reconnect};

/// How often the recent messages are looked through.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

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
    let no_line = || {
        eprintln!("wait_for: no line with {text:?} came in {seconds} s");
        ExitCode::FAILURE
    };
    match wait_for(app, text, Duration::from_secs(seconds)) {
        Ok(Some(line)) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Ok(None) => no_line(),
        Err(error) if is_closed(&*error) => no_line(),
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

    // Whatever waits at the deadline, be it for a connection or for a token, waits no longer.
    let closing = consumer.clone();
    thread::spawn(move || {
        thread::sleep(timeout);
        let _ = closing.close();
    });

    // The tail first, so that a line between the two is in both rather than in none. Then, whenever the tail is silent,
    // what may have been logged while it was not listening: before it was, or while it was broken.
    let mut tail = consumer.tail(app, "")?;
    loop {
        if let Some(message) = consumer.recent(app, "")?.into_iter().find(holds) {
            return Ok(Some(message));
        }
        let look_again = Instant::now() + LOOK_AGAIN;
        loop {
            match tail.recv_timeout(look_again.min(deadline).saturating_duration_since(Instant::now())) {
                Ok(Ok(message)) if holds(&message) => return Ok(Some(message)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) if matches!(error.kind(), ErrorKind::Gap | ErrorKind::Undecodable) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => break,
                // Without an error before it, the end is our own.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

/// Whether the deadline came in the middle of a call.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<loggregator_consumer::Error>().is_some_and(|error| error.kind() == ErrorKind::Closed)
}
