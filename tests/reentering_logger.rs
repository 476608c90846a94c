//! A logger that uses the consumer which logs.
//!
//! A test binary of its own: there is one logger in a process.

mod common;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::SystemTime;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use common::messages::APP;
use common::{DEADLINE, wait_until, within};
use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, Consumer, Proxy, TokenSource, Uaa};

/// Calls the consumer for each record of the tokens.
struct Logger {
    consumer: Mutex<Option<Consumer>>,
    /// The records, and whether the call in them succeeded.
    records: Mutex<BTreeSet<(String, bool)>>,
}

static LOGGER: Logger = Logger { consumer: Mutex::new(None), records: Mutex::new(BTreeSet::new()) };

thread_local! {
    static IS_LOGGING: Cell<bool> = const { Cell::new(false) };
}

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        if !record.target().starts_with("loggregator_consumer::auth") || IS_LOGGING.replace(true) {
            return;
        }
        let consumer = self.consumer.lock().unwrap().clone().unwrap();
        let is_ok = consumer.recent(APP, "").is_ok();
        let text = record.args().to_string().split(['(', ':']).next().unwrap().to_owned();
        self.records.lock().unwrap().insert((text, is_ok));
        IS_LOGGING.set(false);
    }

    fn flush(&self) {}
}

/// A token that is about to expire.
fn ending_token() -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let payload = format!(r#"{{"iat":{},"exp":{}}}"#, now - 575, now + 25);
    format!("eyJhbGciOiJub25lIn0.{}.c2lnbmF0dXJl", BASE64_URL_SAFE_NO_PAD.encode(payload))
}

/// Uses these tokens, and waits until this has been logged.
fn log_with(server: &TrafficController, tokens: TokenSource, text: &str, is_ok: bool) {
    let consumer = Builder::new().log_cache(&server.api()).proxy(Proxy::none()).tokens(tokens).build().unwrap();
    *LOGGER.consumer.lock().unwrap() = Some(consumer.clone());
    assert_eq!(consumer.recent(APP, "").unwrap(), []);
    wait_until(text, || LOGGER.records.lock().unwrap().iter().any(|record| record.0.contains(text)));
    let records = std::mem::take(&mut *LOGGER.records.lock().unwrap());
    assert!(records.iter().any(|record| record.0.contains(text) && record.1 == is_ok), "{text}: {records:?}");
}

#[test]
fn a_logger_may_use_the_consumer_whatever_is_logged_about_its_tokens() {
    log::set_logger(&LOGGER).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let refresh_token = server.issue_refresh_token();
        let uaa = || Uaa::new(&server.api());
        // There is no token yet.
        let tokens = TokenSource::uaa(uaa().refresh_token(&refresh_token)).unwrap();
        log_with(&server, tokens, "requesting a token", false);
        // There is one that is still valid.
        let tokens = uaa().refresh_token(&refresh_token).access_token(&ending_token());
        log_with(&server, TokenSource::uaa(tokens).unwrap(), "requesting a token", true);
        let tokens = uaa().refresh_token("dead").access_token(&ending_token());
        log_with(&server, TokenSource::uaa(tokens).unwrap(), "could not be renewed", true);
    });
}
