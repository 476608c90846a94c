//! Prints an app's logs as `cf logs` does, using the session of the `cf` CLI:
//!
//! ```text
//! cargo run --example logs -- "$(cf app my-app --guid)" [--recent]
//! ```
//!
//! Without `--recent` it tails until Ctrl-C, and reconnects when the connection ends. On a terminal, lines of standard
//! error are red. The exit code is 0 on success, 1 on an error, and 2 on wrong arguments.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use loggregator_consumer::{Builder, Consumer, ErrorKind, LogMessage, MessageType, Reconnect, sort_recent};

const USAGE: &str = "usage: logs APP_GUID [--recent]     (`cf app NAME --guid` prints an app's GUID)";

fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().skip(1).collect();
    let recent = args.iter().position(|arg| arg == "--recent").map(|at| args.remove(at)).is_some();
    let [app] = args.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(app, recent) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output, such as `head`, has read enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("logs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(app: &str, recent: bool) -> Result<(), Box<dyn Error>> {
    let consumer = Builder::new().cf_cli()?.reconnect(Reconnect::default()).build()?;
    if recent {
        // If the response was incomplete, print the messages that arrived before the error.
        let (mut messages, error) = match consumer.recent(app, "") {
            Ok(messages) => (messages, None),
            Err(error) => (error.recovered().to_vec(), Some(error)),
        };
        sort_recent(&mut messages);
        messages.iter().try_for_each(print)?;
        return error.map_or(Ok(()), |error| Err(error.into()));
    }
    tail(&consumer, app)
}

fn tail(consumer: &Consumer, app: &str) -> Result<(), Box<dyn Error>> {
    // Ctrl-C closes the tail, or interrupts the call that is connecting it.
    let closing = consumer.clone();
    ctrlc::set_handler(move || _ = closing.close())?;
    let mut tail = match consumer.tail(app, "") {
        Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
        tail => tail?,
    };
    eprintln!("Tailing logs from {}", consumer.tail_choice()?);
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
