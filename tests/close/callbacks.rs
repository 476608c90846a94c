//! Callbacks may close the consumer, and may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, Consumer, DebugPrinter, ErrorKind, Proxy, Reconnect, Tail};

use crate::common::{DEADLINE, wait_until, within};
use crate::states::{self, APP, Call, SOON, TOKEN, start, without_timeouts};

/// A debug printer that calls a function.
struct Printer<F>(F);

impl<F: Fn() + Send + Sync> DebugPrinter for Printer<F> {
    fn print(&self, _: &str, _: &str) {
        (self.0)();
    }
}

type Callback = Box<dyn Fn() + Send + Sync>;

/// The ways to register a callback.
const CALLBACKS: [fn(Builder, Callback) -> Builder; 3] = [
    |builder, callback| builder.on_connect(callback),
    |builder, callback| builder.debug_printer(Printer(callback)),
    |builder, callback| {
        builder.proxy(Proxy::custom(move |_| {
            callback();
            Ok(None)
        }))
    },
];

/// With a server of this generation `recent` uses a websocket, too, so both calls run every callback.
fn server() -> TrafficController {
    TrafficController::builder().generation(Generation::April2014).start().unwrap()
}

#[test]
fn a_callback_may_close_the_consumer() {
    within(DEADLINE, || {
        for with_callback in CALLBACKS {
            for call in Call::ALL {
                let server = server();
                let itself = Arc::new(OnceLock::<Consumer>::new());
                let callback = Box::new({
                    let itself = Arc::clone(&itself);
                    move || _ = itself.get().unwrap().close()
                });
                let consumer = with_callback(without_timeouts(&server.endpoint()), callback).build().unwrap();
                itself.set(consumer.clone()).unwrap();
                assert_eq!(call.make(&consumer).unwrap_err().kind(), ErrorKind::Closed);
                assert!(server.wait_until_idle(SOON));
                assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
            }
        }
    });
}

#[test]
fn a_tail_closed_by_on_connect_is_closed_cleanly() {
    within(DEADLINE, || {
        for tls in [false, true] {
            let server = start(TrafficController::builder(), tls);
            let itself = Arc::new(OnceLock::<Consumer>::new());
            let callback = {
                let itself = Arc::clone(&itself);
                move || itself.get().unwrap().close().unwrap()
            };
            let consumer = without_timeouts(&server.endpoint()).on_connect(callback).build().unwrap();
            itself.set(consumer.clone()).unwrap();
            assert_eq!(Call::Tail.make(&consumer).unwrap_err().kind(), ErrorKind::Closed);
            states::assert_closed_cleanly(&server);
        }
    });
}

#[test]
fn a_callback_that_panics_leaves_nothing_open_and_the_consumer_still_works() {
    within(DEADLINE, || {
        for with_callback in CALLBACKS {
            for call in Call::ALL {
                let server = server();
                let panics = Arc::new(AtomicBool::new(true));
                let callback = Box::new({
                    let panics = Arc::clone(&panics);
                    move || assert!(!panics.load(Ordering::SeqCst), "a panic for the test")
                });
                let consumer = with_callback(without_timeouts(&server.endpoint()), callback).build().unwrap();
                assert!(catch_unwind(AssertUnwindSafe(|| call.make(&consumer))).is_err());
                assert!(server.wait_until_idle(SOON));
                assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);

                panics.store(false, Ordering::SeqCst);
                call.make(&consumer).unwrap();
            }
        }
    });
}

#[test]
fn a_callback_may_drop_the_tail_that_reconnects() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let slot = Arc::new(Mutex::new(None::<Tail>));
        let (dropped, wait_until_dropped) = channel();
        let callback = {
            let slot = Arc::clone(&slot);
            move || {
                if let Some(tail) = slot.lock().unwrap().take() {
                    drop(tail);
                    dropped.send(()).unwrap();
                }
            }
        };
        let reconnect = Reconnect::default().first(Duration::from_millis(1));
        let consumer = without_timeouts(&server.endpoint()).on_connect(callback).reconnect(reconnect).build().unwrap();
        *slot.lock().unwrap() = Some(consumer.tail(APP, TOKEN).unwrap());
        server.drop_tails(APP);
        wait_until_dropped.recv_timeout(SOON).unwrap();
        assert!(server.wait_until_idle(SOON));
        wait_until("the tail is forgotten", || consumer.close().is_err());
    });
}
