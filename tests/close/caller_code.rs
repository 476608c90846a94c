//! The caller's functions may block, wait for a lock or need stack: a drop and a close return all the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use loggregator_consumer::crossbeam_channel::{Receiver, Sender, bounded};
use loggregator_consumer::testing::TrafficController;
use loggregator_consumer::{Builder, DebugPrinter, ErrorKind, LogMessage, Proxy, Reconnect, Tail, TokenSource};

use crate::common::{DEADLINE, wait_until, within};
use crate::states::{APP, SOON, TOKEN, without_timeouts};

/// Blocks in every call but the first, until the test ends.
#[derive(Clone)]
struct Blocker {
    calls: Arc<AtomicUsize>,
    entered: Sender<()>,
    test_ends: Receiver<()>,
}

impl Blocker {
    /// The blocker, what tells that it blocks, and what ends the blocking when it is dropped.
    fn new() -> (Self, Receiver<()>, Sender<()>) {
        let (entered, wait_until_entered) = bounded(100);
        let (end_of_test, test_ends) = bounded(0);
        (Blocker { calls: Arc::default(), entered, test_ends }, wait_until_entered, end_of_test)
    }

    fn call(&self) {
        if self.calls.fetch_add(1, Ordering::SeqCst) > 0 {
            let _ = self.entered.send(());
            let _ = self.test_ends.recv();
        }
    }
}

impl DebugPrinter for Blocker {
    fn print(&self, title: &str, _: &str) {
        if title.contains("REQUEST") {
            self.call();
        }
    }
}

fn at_once() -> Reconnect {
    Reconnect::default().first(Duration::from_millis(1))
}

/// Gives a function of the caller, one that blocks, to a builder.
type Install = fn(Builder, Blocker) -> Builder;

/// The functions of a caller that a tail runs when it reconnects.
const FUNCTIONS: [(&str, Install); 4] = [
    ("proxy function", |builder, blocker| {
        builder.proxy(Proxy::custom(move |_| {
            blocker.call();
            Ok(None)
        }))
    }),
    ("on_connect", |builder, blocker| builder.on_connect(move || blocker.call())),
    ("debug printer", |builder, blocker| builder.debug_printer(blocker)),
    ("token function", |builder, blocker| {
        builder.tokens(TokenSource::from_fn(move |refused| {
            blocker.call();
            Ok(refused.map_or_else(|| TOKEN.to_owned(), |refused| format!("{refused}0")))
        }))
    }),
];

#[test]
fn a_drop_and_a_close_do_not_wait_for_a_function_that_blocks() {
    for (name, with_function) in FUNCTIONS {
        for by_drop in [true, false] {
            within(DEADLINE, move || {
                let server = TrafficController::start().unwrap();
                let (blocker, wait_until_entered, end_of_test) = Blocker::new();
                let consumer =
                    with_function(without_timeouts(&server.endpoint()).reconnect(at_once()), blocker).build().unwrap();
                let tail = consumer.tail(APP, if name == "token function" { "" } else { TOKEN }).unwrap();
                if name == "token function" {
                    // The token of the first connection is refused from now on.
                    server.refuse_tokens(1);
                }
                server.drop_tails(APP);
                wait_until_entered.recv_timeout(SOON).unwrap_or_else(|_| panic!("the {name} is not called"));
                let start = Instant::now();
                if by_drop {
                    drop(tail)
                } else {
                    tail.close().map(drop).unwrap_or_default()
                }
                assert!(start.elapsed() < Duration::from_millis(450), "{name}: {:?}", start.elapsed());
                // The tail counts as closed, though the function still blocks.
                assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected, "{name}");
                drop(end_of_test);
                assert!(server.wait_until_idle(SOON), "{name}");
            });
        }
    }
}

#[test]
fn a_drop_under_a_lock_that_on_connect_wants_does_not_deadlock() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let (wants_lock, wait_until_it_wants) = bounded(100);
        let shelf = Arc::new(Mutex::new(None::<Tail>));
        let on_connect = {
            let shelf = Arc::clone(&shelf);
            move || {
                let _ = wants_lock.send(());
                drop(shelf.lock().unwrap());
            }
        };
        let consumer =
            without_timeouts(&server.endpoint()).on_connect(on_connect).reconnect(at_once()).build().unwrap();
        let tail = consumer.tail(APP, TOKEN).unwrap();
        wait_until_it_wants.recv_timeout(SOON).unwrap();
        let mut shelf = shelf.lock().unwrap();
        *shelf = Some(tail);
        server.drop_tails(APP);
        wait_until_it_wants.recv_timeout(SOON).unwrap();
        let start = Instant::now();
        *shelf = None;
        assert!(start.elapsed() < Duration::from_millis(450), "{:?}", start.elapsed());
        drop(shelf);
        assert!(server.wait_until_idle(SOON));
    });
}

#[test]
fn on_connect_has_a_stack_for_large_arrays_when_a_tail_reconnects() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let (connected, wait_until_connected) = bounded(100);
        let on_connect = move || {
            let mut array = [1_u8; 400_000];
            std::hint::black_box(&mut array);
            connected.send(array.len()).unwrap();
        };
        let consumer =
            without_timeouts(&server.endpoint()).on_connect(on_connect).reconnect(at_once()).build().unwrap();
        let _tail = consumer.tail(APP, TOKEN).unwrap();
        server.drop_tails(APP);
        for _ in 0..2 {
            assert_eq!(wait_until_connected.recv_timeout(SOON).unwrap(), 400_000);
        }
    });
}

#[test]
fn a_tail_whose_caller_pauses_reconnects_meanwhile() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let (connected, wait_until_connected) = bounded(100);
        let on_connect = move || _ = connected.send(());
        let consumer =
            without_timeouts(&server.endpoint()).on_connect(on_connect).reconnect(at_once()).build().unwrap();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        wait_until_connected.recv_timeout(SOON).unwrap();
        // As many batches as wait for a caller.
        for n in 0..tail.receiver().capacity().unwrap() {
            server.send(LogMessage::new(APP, n.to_string()));
            wait_until("the batch waits", || tail.receiver().len() > n);
        }
        server.drop_tails(APP);
        wait_until_connected.recv_timeout(SOON).expect("the tail reconnects while its caller pauses");
        server.send(LogMessage::new(APP, "after the gap"));
        let mut expected = 0;
        let gap = loop {
            match tail.next().unwrap() {
                Ok(message) => assert_eq!(message.text(), expected.to_string()),
                Err(gap) => break gap,
            }
            expected += 1;
        };
        assert_eq!(gap.kind(), ErrorKind::Gap, "{gap}");
        assert_eq!(tail.next().unwrap().unwrap().text(), "after the gap");
    });
}
