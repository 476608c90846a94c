//! An open tail can be closed from any thread and in any state, with a close frame.

use std::iter;
use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use loggregator_consumer::testing::TrafficController;
use loggregator_consumer::{Ending, ErrorKind, LogMessage};

use crate::common::messages::message;
use crate::common::{
    BINARY, CLOSE, DEADLINE, ScriptedServer, frame, read_frame, send_endlessly, upgrading, wait_until, within,
};
use crate::states::{self, APP, Open, PROMPT, SOON, TOKEN, Way, consumer_of, without_timeouts};

fn assert_closes_cleanly(state: fn(bool) -> Open) {
    for tls in [false, true] {
        for way in Way::ALL {
            within(DEADLINE, move || state(tls).close(way));
        }
    }
}

#[test]
fn an_idle_tail_closes_cleanly() {
    assert_closes_cleanly(states::idle_tail);
}

#[test]
fn a_tail_under_load_closes_cleanly() {
    assert_closes_cleanly(states::tail_under_load);
}

#[test]
fn a_tail_whose_caller_is_stalled_closes_cleanly() {
    assert_closes_cleanly(states::tail_of_a_stalled_caller);
}

#[test]
fn a_tail_whose_server_is_stalled_closes_cleanly() {
    assert_closes_cleanly(states::tail_of_a_stalled_server);
}

fn assert_closes_promptly(state: fn() -> Open) {
    for way in Way::ALL {
        within(DEADLINE, move || _ = state().close_promptly(way));
    }
}

#[test]
fn a_tail_that_waits_to_reconnect_is_closed_at_once() {
    assert_closes_promptly(states::tail_waiting_to_reconnect);
}

#[test]
fn a_tail_that_is_reconnecting_is_closed_at_once() {
    assert_closes_promptly(states::tail_reconnecting);
}

#[test]
fn a_server_that_does_not_read_does_not_delay_a_close_and_gets_the_close_frame_later() {
    for way in Way::ALL {
        within(DEADLINE, move || {
            let (go_on, wait_to_go_on) = channel::<()>();
            let (sent, what_the_client_sent_last) = channel();
            let server = ScriptedServer::start(vec![upgrading(move |mut socket| {
                wait_to_go_on.recv().unwrap();
                sent.send(iter::from_fn(|| read_frame(&mut socket)).last()).unwrap();
            })]);
            let consumer = without_timeouts(&server.endpoint()).build().unwrap();
            let tail = consumer.tail(APP, TOKEN).unwrap();
            let begin = Instant::now();
            way.close(&consumer, tail);
            assert!(begin.elapsed() < PROMPT);
            go_on.send(()).unwrap();
            let last = what_the_client_sent_last.recv_timeout(SOON).unwrap();
            assert_eq!(last, Some((CLOSE, 1000_u16.to_be_bytes().to_vec())));
        });
    }
}

#[test]
fn a_server_that_only_sends_notices_the_close() {
    for way in Way::ALL {
        within(DEADLINE, move || {
            let (fails, wait_until_it_fails) = channel();
            let server = ScriptedServer::start(vec![upgrading(move |mut socket| {
                send_endlessly(&mut socket, &frame(BINARY, &message("hi")).repeat(10_000));
                fails.send(()).unwrap();
            })]);
            let consumer = without_timeouts(&server.endpoint()).build().unwrap();
            let tail = consumer.tail(APP, TOKEN).unwrap();
            wait_until("the queue is full", || tail.receiver().is_full());
            let begin = Instant::now();
            way.close(&consumer, tail);
            wait_until_it_fails.recv_timeout(SOON).unwrap();
            assert!(begin.elapsed() < PROMPT);
        });
    }
}

#[test]
fn a_close_wakes_a_caller_that_waits_for_a_message() {
    within(DEADLINE, || {
        let Open { server: _server, consumer, mut tail } = states::idle_tail(false);
        let closer = tail.closer();
        let (waits, wait_until_it_waits) = channel();
        let caller = thread::spawn(move || {
            waits.send(()).unwrap();
            tail.next()
        });
        wait_until_it_waits.recv().unwrap();
        closer.close().unwrap();
        assert!(caller.join().unwrap().is_none());
        assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn a_second_close_is_not_an_error() {
    within(DEADLINE, || {
        let Open { server: _server, consumer: _, mut tail } = states::tail_under_load(false);
        let closer = tail.closer();
        closer.close().unwrap();
        closer.close().unwrap();
        tail.by_ref().for_each(drop);
        closer.clone().close().unwrap();
        tail.close().unwrap();
        closer.close().unwrap();
    });
}

#[test]
fn concurrent_closes_act_as_one() {
    within(DEADLINE, || {
        let Open { server, consumer, tail } = states::tail_under_load(false);
        let closers = [tail.closer(), tail.closer(), tail.closer()];
        let at_once = Barrier::new(closers.len() + 2);
        thread::scope(|scope| {
            for closer in closers {
                let at_once = &at_once;
                scope.spawn(move || {
                    at_once.wait();
                    closer.close().unwrap();
                });
            }
            scope.spawn(|| {
                at_once.wait();
                // It may be the last one, and find nothing left to close.
                let _ = consumer.close();
            });
            at_once.wait();
            tail.close().unwrap();
        });
        assert!(server.wait_until_idle(SOON));
        states::assert_closed_cleanly(&server);
    });
}

#[test]
fn a_tail_can_be_closed_from_inside_the_loop_over_it() {
    within(DEADLINE, || {
        for close_consumer in [false, true] {
            let Open { server, consumer, mut tail } = states::tail_under_load(false);
            let closer = tail.closer();
            let mut closed = false;
            for message in tail.by_ref() {
                message.unwrap();
                if !closed {
                    if close_consumer { consumer.close() } else { closer.close() }.unwrap();
                    closed = true;
                }
            }
            assert_eq!(tail.ending(), Some(&Ending::Closed));
            states::assert_closed_cleanly(&server);
        }
    });
}

#[test]
fn messages_that_arrived_before_a_close_are_given_without_a_gap() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let consumer = consumer_of(&server);
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                // Until there is no tail any more.
                let mut numbers = 0_i64..;
                while server.send(LogMessage::new(APP, "x").timestamp(numbers.next().unwrap())) > 0 {}
            });
            wait_until("the queue is full", || tail.receiver().is_full());
            tail.closer().close().unwrap();
            let numbers: Vec<i64> = tail.by_ref().map(|message| message.unwrap().timestamp).collect();
            // At least one message from each batch.
            assert!(numbers.len() >= 8, "{}", numbers.len());
            assert!(numbers.iter().copied().eq(0..numbers.len() as i64));
        });
    });
}

#[test]
fn closing_one_clone_closes_the_tails_of_all_clones() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let consumer = consumer_of(&server);
        let mut tails = ["one", "other"].map(|app| consumer.clone().tail(app, TOKEN).unwrap());
        consumer.close().unwrap();
        for tail in &mut tails {
            assert!(tail.next().is_none());
            assert_eq!(tail.ending(), Some(&Ending::Closed));
        }
        states::assert_closed_cleanly(&server);
    });
}

#[test]
fn a_consumer_can_be_used_after_a_close() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let consumer = consumer_of(&server);
        for round in 0..3 {
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            server.send(LogMessage::new(APP, format!("line {round}")));
            assert_eq!(tail.next().unwrap().unwrap().text(), format!("line {round}"));
            assert_eq!(consumer.recent(APP, TOKEN).unwrap().len(), round + 1);
            consumer.close().unwrap();
            assert!(tail.next().is_none());
            assert!(server.wait_for_tails(APP, 0, DEADLINE));
            assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
        }
        states::assert_closed_cleanly(&server);
    });
}
