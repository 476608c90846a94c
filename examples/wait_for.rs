//! Waits until an app logs a line that contains a text, or until a timeout. Useful in a deployment script.
//!
//! ```text
//! cargo run --example wait_for -- "$(cf app my-app --guid)" "listening on" 60
//! ```
//!
//! Recent lines, logged before the start, count too. It uses the session of the `cf` CLI and prints the line. The exit
//! code is 0 if the line was found, 1 on a timeout or an error, and 2 on wrong arguments.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use loggregator_consumer::crossbeam_channel::RecvTimeoutError;
use loggregator_consumer::{Builder, ErrorKind, LogMessage, Reconnect};

/// How often the recent messages are searched.
const SEARCH_INTERVAL: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [app, text, seconds] = args.as_slice() else {
        eprintln!("usage: wait_for APP_GUID TEXT SECONDS");
        return ExitCode::from(2);
    };
    let Ok(seconds) = seconds.parse() else {
        eprintln!("wait_for: {seconds:?} is not a number of seconds");
        return ExitCode::from(2);
    };
    let no_line = || {
        eprintln!("wait_for: no line with {text:?} within {seconds} s");
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
    let deadline = Instant::now().checked_add(timeout).ok_or("the timeout is too long")?;
    let matches_text = |message: &LogMessage| message.text().contains(text);
    let consumer = Builder::new()
        .cf_cli()?
        .connect_timeout(timeout)
        .recent_timeout(timeout)
        .reconnect(Reconnect::default())
        .build()?;

    // At the deadline, interrupt whatever is waiting, for a connection or for a token.
    let closing = consumer.clone();
    thread::spawn(move || {
        thread::sleep(timeout);
        let _ = closing.close();
    });

    // The tail starts first: a line that is logged between the two calls is then in both, not in none. While the tail is
    // silent, the recent messages are searched for lines from before its start or from a gap.
    let mut tail = consumer.tail(app, "")?;
    loop {
        let pause = match consumer.recent(app, "") {
            Ok(messages) => match messages.into_iter().find(matches_text) {
                Some(message) => return Ok(Some(message)),
                None => SEARCH_INTERVAL,
            },
            // The server limits the number of requests, or is away, and says when to come back.
            Err(error) => match error.retry_after() {
                Some(pause) => pause.max(SEARCH_INTERVAL),
                None => return Err(error.into()),
            },
        };
        let next_search = Instant::now() + pause;
        loop {
            match tail.recv_timeout(next_search.min(deadline).saturating_duration_since(Instant::now())) {
                Ok(Ok(message)) if matches_text(&message) => return Ok(Some(message)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) if matches!(error.kind(), ErrorKind::Gap | ErrorKind::Undecodable) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => break,
                // An end without an error is our own close.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

/// Returns true if the deadline interrupted a call.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<loggregator_consumer::Error>().is_some_and(|error| error.kind() == ErrorKind::Closed)
}
