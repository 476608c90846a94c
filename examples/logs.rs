//! Prints the logs of apps, using the session of the `cf` CLI:
//!
//! ```text
//! cargo run --example logs -- my-app [another-app ...] [--recent | --tail] [--json]
//! ```
//!
//! An app is given by its name in the space that `cf target` has set, or by its GUID. It prints the recent lines and then
//! all further ones, each once, until Ctrl-C. With `--recent` it prints only the recent lines, and with `--tail` only
//! further ones, as soon as an app logs them. It reconnects when a connection ends. If there are several apps, each line
//! begins with the name of its app, and an app that fails does not end the others.
//!
//! With `--json` it prints each message as one line of JSON, in the form of Log Cache. On a terminal, lines of standard
//! error are red. The exit code is 0 on success, 1 on an error, and 2 on wrong arguments.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use loggregator_consumer::{
    App, Builder, Choice, Consumer, Ending, ErrorKind, LogMessage, MessageType, Reconnect, Tail, sort_recent,
};

const USAGE: &str =
    "usage: logs APP [APP ...] [--recent | --tail] [--json]     (APP is the name of an app, or its GUID)";

fn main() -> ExitCode {
    let (mut options, names): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|arg| arg.starts_with('-'));
    let count = options.len();
    options.retain(|option| option != "--json");
    let is_json = options.len() < count;
    if names.is_empty() {
        return wrong_arguments();
    }
    let result = match options.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => print_live(&names, is_json, follow, Consumer::recent_choice),
        ["--tail"] => print_live(&names, is_json, tail, Consumer::tail_choice),
        ["--recent"] => print_recent(&names, is_json),
        _ => return wrong_arguments(),
    };
    match result {
        Ok(code) => code,
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

fn find(consumer: &Consumer, names: &[String]) -> loggregator_consumer::Result<Vec<App>> {
    names.iter().map(|name| consumer.app(name, "")).collect()
}

fn follow(consumer: &Consumer, apps: &[App]) -> loggregator_consumer::Result<Tail> {
    match apps {
        [app] => consumer.follow(&app.guid, ""),
        _ => consumer.follow_apps(apps.iter().map(|app| &app.guid), ""),
    }
}

fn tail(consumer: &Consumer, apps: &[App]) -> loggregator_consumer::Result<Tail> {
    match apps {
        [app] => consumer.tail(&app.guid, ""),
        _ => consumer.tail_apps(apps.iter().map(|app| &app.guid), ""),
    }
}

fn print_recent(names: &[String], is_json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let consumer = consumer()?;
    let apps = find(&consumer, names)?;
    let (mut messages, mut error) = (Vec::new(), None);
    for app in &apps {
        match consumer.recent(&app.guid, "") {
            Ok(recent) => messages.extend(recent),
            // If the response was incomplete, print the messages that arrived before the error.
            Err(cause) => {
                messages.extend_from_slice(cause.recovered());
                error = error.or(Some(cause));
            }
        }
    }
    sort_recent(&mut messages);
    let printer = Printer { apps, is_json };
    messages.iter().try_for_each(|message| printer.print(message))?;
    error.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}

/// Prints what a call returns. `choice` says from which server.
fn print_live(
    names: &[String],
    is_json: bool,
    call: fn(&Consumer, &[App]) -> loggregator_consumer::Result<Tail>,
    choice: fn(&Consumer) -> loggregator_consumer::Result<Choice>,
) -> Result<ExitCode, Box<dyn Error>> {
    let consumer = consumer()?;
    // Ctrl-C closes the tail, or interrupts the calls before it.
    let closing = consumer.clone();
    ctrlc::set_handler(move || _ = closing.close())?;
    let opened = find(&consumer, names).and_then(|apps| Ok((call(&consumer, &apps)?, apps)));
    let (mut tail, apps) = match opened {
        Err(error) if error.kind() == ErrorKind::Closed => return Ok(ExitCode::SUCCESS),
        opened => opened?,
    };
    if let [_] = apps[..] {
        eprintln!("Logs from {}", choice(&consumer)?);
    }
    let printer = Printer { apps, is_json };
    for message in tail.by_ref() {
        match message {
            Ok(message) => printer.print(&message)?,
            // The tail continues after a gap, after a message that could not be decoded, and if others of several apps are
            // left.
            Err(error) => eprintln!("logs: {error}"),
        }
    }
    Ok(if tail.ending().is_some_and(Ending::is_clean) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Printer {
    apps: Vec<App>,
    is_json: bool,
}

impl Printer {
    fn print(&self, message: &LogMessage) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.is_json {
            return writeln!(out, "{}", serde_json::to_string(message)?);
        }
        let app = self.apps.iter().find(|app| app.guid == message.app_id).filter(|_| self.apps.len() > 1);
        let is_red = message.message_type == MessageType::Err && out.is_terminal();
        for line in message.to_string().lines() {
            let line = app.map_or_else(|| line.to_owned(), |app| format!("{}{line}", app.name));
            if is_red { writeln!(out, "\x1b[31m{line}\x1b[0m")? } else { writeln!(out, "{line}")? }
        }
        Ok(())
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
