//! A logger also runs in the crate's threads. One that blocks there, or calls the consumer, hangs no other call.
//!
//! A test binary of its own, because a process has only one logger.

mod common;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::messages::{APP, TOKEN};
use common::{DEADLINE, consumer, wait_until, within};
use loggregator_consumer::crossbeam_channel::{Receiver, bounded};
use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, Consumer, ErrorKind, LogMessage, Proxy, Tail};

/// A drop and a close of a tail must return within this time.
const BOUND: Duration = Duration::from_secs(1);

type Action = Box<dyn Fn() + Send + Sync>;

/// Does what the test sets, in each of the crate's threads or in all threads.
struct Logger {
    /// Blocks until this is disconnected, in the threads that read tails.
    gate: Mutex<Option<Receiver<()>>>,
    /// The number of threads that block.
    blocked: AtomicUsize,
    /// Called in every thread, for each log line of the crate itself.
    action: Mutex<Option<Arc<Action>>>,
    /// The calls in the keep-alive thread.
    in_keep_alive: AtomicUsize,
}

static LOGGER: Logger = Logger {
    gate: Mutex::new(None),
    blocked: AtomicUsize::new(0),
    action: Mutex::new(None),
    in_keep_alive: AtomicUsize::new(0),
};

thread_local! {
    static IN_ACTION: Cell<bool> = const { Cell::new(false) };
}

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        let thread = thread::current();
        let name = thread.name().unwrap_or_default();
        if name == "loggregator-keep-alive" {
            self.in_keep_alive.fetch_add(1, Ordering::SeqCst);
        }
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate.filter(|_| name == "loggregator-read") {
            self.blocked.fetch_add(1, Ordering::SeqCst);
            let _ = gate.recv();
            self.blocked.fetch_sub(1, Ordering::SeqCst);
        }
        let action = self.action.lock().unwrap().clone();
        if let Some(action) = action.filter(|_| record.target().starts_with("loggregator_consumer"))
            && !IN_ACTION.replace(true)
        {
            action();
            IN_ACTION.set(false);
        }
    }

    fn flush(&self) {}
}

fn assert_quick<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = call();
    assert!(start.elapsed() < BOUND, "{what}: {:?}", start.elapsed());
    result
}

// One test, because the logger is that of the whole process.
#[test]
fn a_logger_that_blocks_or_calls_the_consumer_hangs_no_other_call() {
    log::set_logger(&LOGGER).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    for by_drop in [true, false] {
        within(DEADLINE, move || a_tail_closes_while_the_logger_blocks(by_drop));
    }
    within(DEADLINE, the_keep_alive_thread_does_not_log);
    within(DEADLINE, a_logger_may_call_the_consumer);
}

fn a_tail_closes_while_the_logger_blocks(by_drop: bool) {
    let server = TrafficController::start().unwrap();
    let consumer = consumer(&server.endpoint());
    let tail = consumer.tail(APP, TOKEN).unwrap();
    let (end, gate) = bounded(0);
    *LOGGER.gate.lock().unwrap() = Some(gate);
    server.send(LogMessage::new(APP, "read, and logged by tungstenite"));
    wait_until("the logger blocks", || LOGGER.blocked.load(Ordering::SeqCst) > 0);
    assert_quick("a close of the consumer", || consumer.close()).unwrap();
    if by_drop {
        assert_quick("a drop", || drop(tail));
    } else {
        assert_quick("a close", || tail.close()).unwrap();
    }
    let error = consumer.close().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected, "the tail is not open any more");
    // The connection is closed, although its reader is still in the logger.
    assert!(server.wait_until_idle(DEADLINE));
    assert_eq!(LOGGER.blocked.load(Ordering::SeqCst), 1);
    *LOGGER.gate.lock().unwrap() = None;
    drop(end);
    wait_until("the reader has ended", || LOGGER.blocked.load(Ordering::SeqCst) == 0);
}

/// So the connection is kept alive, and closed, whatever a logger does.
fn the_keep_alive_thread_does_not_log() {
    let server = TrafficController::start().unwrap();
    let quick = Consumer::builder(&server.endpoint()).proxy(Proxy::none()).keep_alive(Duration::from_millis(1));
    let tail = quick.pong_every(Duration::from_millis(1)).build().unwrap().tail(APP, TOKEN).unwrap();
    assert!(server.wait_for_received(DEADLINE, |received| received.iter().any(|one| one.frames.len() > 10)));
    tail.close().unwrap();
    assert_eq!(LOGGER.in_keep_alive.load(Ordering::SeqCst), 0);
}

/// It may do so at any log line of a call: nothing is locked then.
fn a_logger_may_call_the_consumer() {
    let foundation = TrafficController::builder().generation(Generation::Today).token(TOKEN).tls().start().unwrap();
    foundation.add_recent(APP, [LogMessage::new(APP, "hello").timestamp(1)]);
    let consumer = Builder::new().api(&foundation.api()).proxy(Proxy::none()).tls_connector(foundation.tls_connector());
    let consumer = consumer.build().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let action: Action = {
        let (consumer, calls) = (consumer.clone(), calls.clone());
        Box::new(move || {
            calls.fetch_add(1, Ordering::SeqCst);
            let _ = consumer.close();
            match consumer.recent(APP, TOKEN) {
                // The logger of another thread closed it.
                Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
                Ok(messages) => assert_eq!(messages.len(), 1),
            }
        })
    };
    *LOGGER.action.lock().unwrap() = Some(Arc::new(action));
    let _ = consumer.recent(APP, TOKEN);
    let _ = consumer.tail(APP, TOKEN).map(Tail::close);
    *LOGGER.action.lock().unwrap() = None;
    assert!(calls.load(Ordering::SeqCst) > 0);
}
