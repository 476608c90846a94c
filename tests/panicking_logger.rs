//! A logger also runs in the crate's threads. One that panics there ends a tail, but does not hang it.
//!
//! A test binary of its own, because a process has only one logger.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{DEADLINE, consumer, wait_until, within};
use loggregator_consumer::testing::{self, Frame, TrafficController};
use loggregator_consumer::{ErrorKind, LogMessage};

/// Panics in the keep-alive thread or in the reading thread of a tail.
struct Logger {
    keep_alive: AtomicBool,
    read: AtomicBool,
}

static LOGGER: Logger = Logger { keep_alive: AtomicBool::new(false), read: AtomicBool::new(false) };

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, _: &log::Record) {
        let panics = match thread::current().name() {
            Some("loggregator-keep-alive") => &self.keep_alive,
            Some("loggregator-read") => &self.read,
            _ => return,
        };
        assert!(!panics.load(Ordering::SeqCst), "a panic for the test");
    }

    fn flush(&self) {}
}

#[test]
fn a_logger_that_panics_ends_a_tail_without_hanging_it() {
    log::set_logger(&LOGGER).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        LOGGER.read.store(true, Ordering::SeqCst);
        let mut tail = consumer(&server.endpoint()).tail("app", "bearer token").unwrap();
        server.send(LogMessage::new("app", "hello"));
        wait_until("the tail has ended", || tail.ending().is_some());
        LOGGER.read.store(false, Ordering::SeqCst);
        assert!(!tail.ending().unwrap().is_clean());
        assert_eq!(tail.find_map(|message| message.err()).unwrap().kind(), ErrorKind::BadResponse);
        drop(tail);
        assert!(server.wait_until_idle(DEADLINE));
    });
    // The keep-alive thread logs nothing.
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        LOGGER.keep_alive.store(true, Ordering::SeqCst);
        let mut tail = consumer(&server.endpoint()).tail("app", "bearer token").unwrap();
        wait_for_text(&server);
        server.send(LogMessage::new("app", "hello"));
        assert_eq!(tail.next().unwrap().unwrap().text(), "hello");
        tail.close().unwrap();
        assert!(server.wait_until_idle(DEADLINE));
    });
}

fn wait_for_text(server: &TrafficController) {
    let is_text = |received: &testing::ReceivedFrame| matches!(received.frame, Frame::Text(_));
    assert!(server.wait_for_received(DEADLINE, |received| received.iter().any(|one| one.frames.iter().any(is_text))));
}
