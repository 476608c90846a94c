//! The whole crate in one command, with no Cloud Foundry at hand:
//!
//! ```text
//! cargo run --example quickstart
//! ```
//!
//! It starts an in-process loggregator server, prints an app's recent messages in the order of their times, tails its
//! live ones, and closes.

use std::error::Error;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loggregator_consumer::testing::TrafficController;
use loggregator_consumer::{Consumer, LogMessage, MessageType, Proxy, sort_recent};

const APP: &str = "11111111-1111-1111-1111-111111111111";
const TOKEN: &str = "bearer quickstart";

fn main() -> Result<(), Box<dyn Error>> {
    // What a foundation is otherwise: a server, and an app that has logged a few lines.
    let server = TrafficController::builder().token(TOKEN).start()?;
    server.add_recent(
        APP,
        [
            message("RTR", "GET / 200", 2),
            message("App", "listening on :8080", 1),
            message("App", "a warning", 3).message_type(MessageType::Err),
        ],
    );

    // Your tool begins here. (The server is in this process, so no proxy must be asked for it.)
    let consumer = Consumer::builder(&server.endpoint()).proxy(Proxy::none()).build()?;

    println!("Recent messages of the app, by time:");
    let mut recent = consumer.recent(APP, TOKEN)?;
    sort_recent(&mut recent);
    for message in recent {
        println!("{message}");
    }

    println!("\nLive messages, as the app writes them:");
    let mut tail = consumer.tail(APP, TOKEN)?;
    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        scope.spawn(|| {
            for n in 1..=5 {
                thread::sleep(Duration::from_millis(200));
                server.send(message("App", &format!("tick {n}"), 4));
            }
        });
        for message in tail.by_ref().take(5) {
            println!("{}", message?);
        }
        Ok(())
    })?;
    tail.close()?;

    println!("\nClosed. Next, on a real foundation of 2013 to 2016:");
    println!("  CF_ACCESS_TOKEN=\"$(cf oauth-token)\" APP_GUID=\"$(cf app my-app --guid)\" \\");
    println!("      cargo run --example sample_consumer wss://loggregator.<system domain>:443");
    println!("Or test your own tool as this example does: loggregator_consumer::testing, feature `testing`.");
    Ok(())
}

fn message(source: &str, text: &str, order: u64) -> LogMessage {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + Duration::from_millis(order);
    LogMessage::new(APP, text).source(source, "0").timestamp(now.as_nanos() as i64)
}
