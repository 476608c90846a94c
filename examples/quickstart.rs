//! Shows the whole crate in one command, without a Cloud Foundry:
//!
//! ```text
//! cargo run --example quickstart
//! ```
//!
//! It starts a present-day foundation in its own process, and discovers its log servers. It prints an app's recent
//! messages, tails its live ones, and follows it: recent messages and then all further ones, with one that is late and a
//! gap that is named.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, ErrorKind, LogMessage, MessageType, Proxy, sort_recent};

const APP: &str = "11111111-1111-1111-1111-111111111111";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output, such as `head`, has read enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    // Unlike `println!`, `writeln!` returns an error if nobody reads the output any more.
    let mut out = io::stdout();

    // This stands in for Cloud Foundry: a foundation, a user who is logged in, and an app that has logged a few lines.
    let foundation = TrafficController::builder().generation(Generation::Today).apps([APP]).start()?;
    let token = foundation.issue_token();
    foundation.add_recent(
        APP,
        [
            message("RTR", "GET / 200", 200),
            message("APP/PROC/WEB", "listening on :8080", 300),
            message("APP/PROC/WEB", "a warning", 100).message_type(MessageType::Err),
        ],
    );

    // Your tool starts here, usually with `Consumer::discover`. (Here the foundation runs in this process, so it must
    // not be reached through a proxy.)
    let consumer = Builder::new().api(&foundation.api()).recent_limit(3).proxy(Proxy::none()).build()?;

    writeln!(out, "Recent messages of the app, by time, from {:?}:", consumer.recent_choice()?.via())?;
    let mut recent = consumer.recent(APP, &token)?;
    sort_recent(&mut recent);
    for message in recent {
        writeln!(out, "{message}")?;
    }

    writeln!(out, "\nLive messages, as the app logs them, from {:?}:", consumer.tail_choice()?.via())?;
    let mut tail = consumer.tail(APP, &token)?;
    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        scope.spawn(|| {
            for n in 1..=3 {
                thread::sleep(Duration::from_millis(200));
                foundation.send(message("APP/PROC/WEB", &format!("tick {n}"), 0));
            }
        });
        for message in tail.by_ref().take(3) {
            writeln!(out, "{}", message?)?;
        }
        Ok(())
    })?;
    tail.close()?;

    writeln!(out, "\nRecent messages and then all further ones, each once:")?;
    let mut tail = consumer.follow(APP, &token)?;
    // Log Cache has the first of these only when it has had the second for 1.5 s. It still comes.
    foundation.send_late(message("APP/PROC/WEB", "late", 0), Duration::from_millis(1500));
    foundation.send(message("APP/PROC/WEB", "on time", 0));
    for message in tail.by_ref().take(5) {
        writeln!(out, "{}", message?)?;
    }
    // What Log Cache has lost, it cannot return. So there is a gap.
    foundation.empty_log_cache();
    foundation.send(message("APP/PROC/WEB", "after a restart of Log Cache", 0));
    for item in tail.by_ref().take(2) {
        match item {
            Ok(message) => writeln!(out, "{message}")?,
            Err(error) if error.kind() == ErrorKind::Gap => writeln!(out, "   {error}")?,
            Err(error) => return Err(error.into()),
        }
    }
    tail.close()?;

    writeln!(out, "\nClosed. Next, on your own foundation:")?;
    writeln!(out, "  cf login")?;
    writeln!(out, "  cargo run --example logs -- my-app")?;
    writeln!(out, "Or test your own tool as this example does: loggregator_consumer::testing, feature `testing`.")?;
    Ok(())
}

fn message(source: &str, text: &str, ms_ago: u64) -> LogMessage {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LogMessage::new(APP, text)
        .source(source, "0")
        .timestamp(now.saturating_sub(Duration::from_millis(ms_ago)).as_nanos() as i64)
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
