//! No thread, socket or other descriptor is leaked, whatever is opened and however it is closed.
//!
//! One test, because it counts the threads and descriptors of the whole process.
#![cfg(target_os = "linux")]

mod common;
#[path = "close/states.rs"]
mod states;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use common::leftovers::{Open, assert_leaks_nothing};
use common::{DEADLINE, wait_until, within};
use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, ErrorKind, LogMessage, Proxy};
use states::{APP, BROKEN_TAILS, CALLS, Call, RECENT_CALLS, TAILS, TOKEN, Way, consumer_of, start, without_timeouts};

#[test]
fn no_thread_or_descriptor_is_leaked() {
    within(6 * DEADLINE, || {
        // The first uses open descriptors that stay open, such as a source of random numbers.
        for tls in [false, true] {
            states::idle_tail(tls).close(Way::Tail);
        }
        assert_leaks_nothing("a thousand tails", a_thousand_tails);
        for (state, call) in CALLS {
            for kind in Call::ALL {
                assert_leaks_nothing(state, || _ = call(kind).close());
            }
        }
        for (state, call) in RECENT_CALLS {
            assert_leaks_nothing(state, || _ = call().close());
        }
        for (state, tail) in TAILS {
            for way in Way::ALL {
                assert_leaks_nothing(state, || tail(false).close(way));
                assert_leaks_nothing(state, || tail(true).close(way));
            }
        }
        for (state, tail) in BROKEN_TAILS {
            for way in Way::ALL {
                assert_leaks_nothing(state, || _ = tail().close_promptly(way));
            }
        }
        assert_leaks_nothing("a panic", a_callback_that_panics);
        assert_leaks_nothing("lookups of apps", lookups_of_apps);
        a_tail_that_has_ended_and_is_not_read();
    });
}

/// 1,000 rounds over TCP and as many over TLS: opens a tail, uses it a little, and closes it from another thread.
fn a_thousand_tails() {
    let servers = [false, true].map(|tls| start(TrafficController::builder(), tls));
    // A name instead of an address, so that it has to be resolved.
    let consumers = [&servers[0], &servers[1]]
        .map(|server| without_timeouts(&server.endpoint().replace("127.0.0.1", "localhost")).build().unwrap());
    for round in 0..2000 {
        let (server, consumer) = (&servers[round % 2], &consumers[round % 2]);
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        server.send(LogMessage::new(APP, "hello"));
        assert_eq!(tail.next().unwrap().unwrap().text(), "hello");
        let closer = tail.closer();
        thread::spawn(move || closer.close().unwrap());
        assert!(tail.next().is_none());
    }
}

fn a_callback_that_panics() {
    let server = TrafficController::start().unwrap();
    let consumer = without_timeouts(&server.endpoint()).on_connect(|| panic!("a panic for the test")).build().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| consumer.tail(APP, TOKEN))).is_err());
}

fn lookups_of_apps() {
    let app = "11111111-1111-1111-1111-111111111111";
    let server = TrafficController::builder().generation(Generation::Today).app(app, "web").start().unwrap();
    let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
    assert_eq!(consumer.app("web", TOKEN).unwrap().guid, app);
    assert_eq!(consumer.app("wbe", TOKEN).unwrap_err().kind(), ErrorKind::NotFound);
}

/// A tail that the server has ended keeps no socket open, however long its caller waits to read the rest of its
/// messages.
fn a_tail_that_has_ended_and_is_not_read() {
    let server = TrafficController::start().unwrap();
    let consumer = consumer_of(&server);
    let before = Open::now();
    let mut tail = consumer.tail(APP, TOKEN).unwrap();
    let mut sent = 0;
    while !tail.receiver().is_full() {
        // Large enough for a batch of its own.
        sent += server.send(LogMessage::new(APP, [b'x'; 70_000]));
        wait_until("it has come", || tail.receiver().len() == sent);
    }
    server.drop_tails(APP);
    wait_until("the tail has ended", || tail.ending().is_some());
    wait_until("the socket is closed", || Open::now().files <= before.files);
    assert_eq!(tail.by_ref().take(sent).filter(|message| message.is_ok()).count(), sent);
    assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
    assert!(tail.next().is_none());
}
