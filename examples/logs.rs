//! Prints an app's logs, using the session of the `cf` CLI:
//!
//! ```text
//! cargo run --example logs -- my-app [--recent | --tail]
//! ```
//!
//! The app is given by its name in the space that `cf target` has set, or by its GUID. It prints the recent lines and then all further ones, each once, until Ctrl-C. With `--recent` it prints only the
//! recent lines, and with `--tail` only further ones, as soon as the app logs them. It reconnects when a connection ends.
//! On a terminal, lines of standard error are red. The exit code is 0 on success, 1 on an error, and 2 on wrong
//! arguments.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use loggregator_consumer::{
    Builder, Choice, Consumer, ErrorKind, LogMessage, MessageType, Reconnect, Tail, sort_recent,
};

const USAGE: &str = "usage: logs APP [--recent | --tail]     (APP is the name of an app, or its GUID)";

fn main() -> ExitCode {
    let (options, apps): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|arg| arg.starts_with('-'));
    let [app] = apps.as_slice() else { return wrong_arguments() };
    let result = match options.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => print_live(app, Consumer::follow, Consumer::recent_choice),
        ["--tail"] => print_live(app, Consumer::tail, Consumer::tail_choice),
        ["--recent"] => print_recent(app),
        _ => return wrong_arguments(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output, such as `head`, has read enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("logs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wrong_arguments() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn consumer() -> loggregator_consumer::Result<Consumer> {
    Builder::new().cf_cli()?.reconnect(Reconnect::default()).build()
}

fn print_recent(app: &str) -> Result<(), Box<dyn Error>> {
    let consumer = consumer()?;
    let app = consumer.app(app, "")?;
    // If the response was incomplete, print the messages that arrived before the error.
    let (mut messages, error) = match consumer.recent(&app.guid, "") {
        Ok(messages) => (messages, None),
        Err(error) => (error.recovered().to_vec(), Some(error)),
    };
    sort_recent(&mut messages);
    messages.iter().try_for_each(print)?;
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// Prints what a call returns. `choice` says from which server.
fn print_live(
    app: &str,
    call: fn(&Consumer, &str, &str) -> loggregator_consumer::Result<Tail>,
    choice: fn(&Consumer) -> loggregator_consumer::Result<Choice>,
) -> Result<(), Box<dyn Error>> {
    let consumer = consumer()?;
    // Ctrl-C closes the tail, or interrupts the calls before it.
    let closing = consumer.clone();
    ctrlc::set_handler(move || _ = closing.close())?;
    let mut tail = match consumer.app(app, "").and_then(|app| call(&consumer, &app.guid, "")) {
        Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
        tail => tail?,
    };
    eprintln!("Logs from {}", choice(&consumer)?);
    for message in tail.by_ref() {
        match message {
            Ok(message) => print(&message)?,
            // The tail continues after a gap, and after a message that could not be decoded.
            Err(error) if matches!(error.kind(), ErrorKind::Gap | ErrorKind::Undecodable) => eprintln!("logs: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn print(message: &LogMessage) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if message.message_type == MessageType::Err && out.is_terminal() {
        for line in message.to_string().lines() {
            writeln!(out, "\x1b[31m{line}\x1b[0m")?;
        }
        return Ok(());
    }
    writeln!(out, "{message}")
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
