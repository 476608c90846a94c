//! [`Consumer::close`](loggregator_consumer::Consumer::close) ends a call that waits.

use std::sync::Barrier;
use std::thread;

use loggregator_consumer::ErrorKind;
use loggregator_consumer::testing::{Fault, Generation, TrafficController};

use crate::common::{DEADLINE, within};
use crate::states::{self, APP, BlockedCall, Call, SOON, TOKEN, consumer_of, recent_server};

fn assert_close_ends(calls: impl IntoIterator<Item = BlockedCall> + Send + 'static) {
    within(DEADLINE, || {
        for stuck in calls {
            assert_eq!(stuck.close().unwrap_err().kind(), ErrorKind::Closed);
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn close_ends_a_call_that_is_connecting() {
    assert_close_ends(Call::ALL.into_iter().map(states::connecting));
}

#[test]
fn close_ends_a_call_that_waits_for_a_proxy() {
    assert_close_ends(Call::ALL.into_iter().map(states::asking_a_proxy));
    assert_close_ends(Call::ALL.into_iter().map(states::asking_a_socks5_proxy));
}

#[test]
fn close_ends_a_call_in_the_tls_handshake_with_a_proxy() {
    assert_close_ends(Call::ALL.into_iter().map(states::in_the_tls_handshake_with_a_proxy));
}

#[test]
fn close_ends_a_call_in_the_tls_handshake() {
    assert_close_ends(Call::ALL.into_iter().map(states::in_the_tls_handshake));
}

#[test]
fn close_ends_a_call_that_waits_for_a_response() {
    assert_close_ends(Call::ALL.into_iter().map(|call| states::before_the_response(call, false)));
    assert_close_ends(Call::ALL.into_iter().map(|call| states::before_the_response(call, true)));
}

#[test]
fn close_ends_a_call_in_the_middle_of_a_response_head() {
    assert_close_ends(Call::ALL.into_iter().map(|call| states::in_the_response_head(call, false)));
    assert_close_ends(Call::ALL.into_iter().map(|call| states::in_the_response_head(call, true)));
}

#[test]
fn close_ends_a_call_that_waits_for_an_error_body() {
    within(DEADLINE, || {
        for call in Call::ALL {
            let kind = states::in_an_error_body(call).close().unwrap_err().kind();
            // The status alone is enough for `Unauthorized`.
            assert!(matches!(kind, ErrorKind::Closed | ErrorKind::Unauthorized), "{call:?}: {kind:?}");
        }
    });
}

#[test]
fn close_ends_recent_in_the_middle_of_the_messages() {
    assert_close_ends([false, true].into_iter().map(|tls| states::in_the_recent_messages(Generation::Y2015, tls)));
}

#[test]
fn close_ends_recent_when_the_messages_are_endless() {
    assert_close_ends([false, true].into_iter().map(|tls| states::in_endless_recent_messages(Generation::Y2015, tls)));
}

#[test]
fn close_ends_recent_when_a_part_is_endless() {
    assert_close_ends([false, true].into_iter().map(states::in_an_endless_part));
}

#[test]
fn close_ends_recent_when_it_waits_for_the_dump() {
    assert_close_ends([false, true].into_iter().map(states::before_the_dump));
}

#[test]
fn close_ends_recent_in_the_middle_of_the_dump() {
    assert_close_ends([false, true].into_iter().map(|tls| states::in_the_recent_messages(Generation::April2014, tls)));
}

#[test]
fn close_ends_recent_when_the_dump_is_endless() {
    assert_close_ends(
        [false, true].into_iter().map(|tls| states::in_endless_recent_messages(Generation::April2014, tls)),
    );
}

#[test]
fn recent_that_is_closed_between_two_messages_gives_no_more_messages() {
    within(DEADLINE, || {
        for generation in [Generation::Y2015, Generation::April2014] {
            let server = recent_server(generation, false, [Fault::EndlessMessages]);
            let consumer = consumer_of(&server);
            let mut recent = consumer.recent_iter(APP, TOKEN).unwrap();
            recent.next().unwrap().unwrap();
            consumer.close().unwrap();
            let next = recent.next().map(|message| message.map_err(|error| error.kind()));
            assert!(matches!(next, Some(Err(ErrorKind::Closed))));
            assert!(recent.next().is_none());
            drop(recent);
            assert!(server.wait_until_idle(SOON));
        }
    });
}

#[test]
fn recent_that_is_dropped_in_the_middle_leaves_no_connection() {
    within(DEADLINE, || {
        for generation in [Generation::Y2015, Generation::April2014] {
            for fault in [Fault::EndlessMessages, Fault::StallAfter(40_000)] {
                let server = recent_server(generation, false, [fault]);
                let consumer = consumer_of(&server);
                let mut recent = consumer.recent_iter(APP, TOKEN).unwrap();
                recent.next().unwrap().unwrap();
                drop(recent);
                assert!(server.wait_until_idle(SOON));
                assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
            }
        }
    });
}

#[test]
fn closes_from_two_threads_end_every_call_of_every_clone() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        server.always([Fault::StallAfter(0)]);
        let consumer = consumer_of(&server);
        let calls = [Call::Tail, Call::Recent, Call::Tail, Call::Recent].map(|call| {
            let clone = consumer.clone();
            thread::spawn(move || call.make(&clone))
        });
        assert!(server.wait_for_requests(calls.len(), SOON));

        let at_once = Barrier::new(2);
        let closed = thread::scope(|scope| {
            let closes = [(); 2].map(|()| {
                scope.spawn(|| {
                    at_once.wait();
                    consumer.close()
                })
            });
            closes.map(|close| close.join().unwrap())
        });
        // The later close may find nothing left to close.
        assert!(closed.iter().any(|result| result.is_ok()), "{closed:?}");
        for call in calls {
            assert_eq!(call.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        }
        assert!(server.wait_until_idle(SOON));
    });
}

#[test]
fn a_closed_consumer_can_be_used_again() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        server.fault([Fault::StallAfter(0)]);
        let consumer = consumer_of(&server);
        let call = thread::spawn({
            let consumer = consumer.clone();
            move || Call::Tail.make(&consumer)
        });
        assert!(server.wait_for_requests(1, SOON));
        consumer.close().unwrap();
        assert_eq!(call.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);

        for call in Call::ALL {
            call.make(&consumer).unwrap();
        }
    });
}

#[test]
fn recent_messages_that_have_ended_leave_nothing_open() {
    within(DEADLINE, || {
        for generation in [Generation::Y2015, Generation::April2014] {
            let server = recent_server(generation, false, []);
            let consumer = consumer_of(&server);
            let mut recent = consumer.recent_iter(APP, TOKEN).unwrap();
            assert_eq!(recent.by_ref().filter(|message| message.is_ok()).count(), 3);
            assert!(server.wait_until_idle(SOON));
            assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
            drop(recent);
        }
    });
}

#[test]
fn a_close_with_nothing_open_is_a_not_connected_error() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let consumer = consumer_of(&server);
        for call in Call::ALL {
            let error = consumer.close().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
            assert_eq!(error.to_string(), "connection does not exist");
            call.make(&consumer).unwrap();
        }
        assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}
