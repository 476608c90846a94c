//! Records log lines and debug prints of the crate.

use std::sync::{Arc, Mutex, Once};

use loggregator_consumer::DebugPrinter;

/// A debug printer that records what it prints.
#[derive(Debug, Clone, Default)]
pub struct Prints(Arc<Mutex<String>>);

impl Prints {
    pub fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl DebugPrinter for Prints {
    fn print(&self, title: &str, dump: &str) {
        *self.0.lock().unwrap() += &format!("{title}\n{dump}\n");
    }
}

/// Starts to record everything that is logged in this process, from every crate and at every level.
pub fn keep_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&LOGS).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Returns what was logged since [`keep_logs`].
pub fn logs() -> String {
    LOGS.0.lock().unwrap().clone()
}

static LOGS: Logs = Logs(Mutex::new(String::new()));

struct Logs(Mutex<String>);

impl log::Log for Logs {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        *self.0.lock().unwrap() += &format!("{} {}: {}\n", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}
