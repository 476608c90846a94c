//! What goes wrong while `follow` polls Log Cache: errors, limits, timeouts and rejected tokens lose nothing.

mod common;

use std::time::{Duration, Instant};

use common::messages::{APP, TOKEN, message_of_now};
use common::{DEADLINE, within};
use loggregator_consumer::testing::{Fault, Generation, RequestKind, RouterError, TrafficController};
use loggregator_consumer::{Builder, Consumer, Ending, ErrorKind, LogMessage, Polling, Proxy, Tail};

const TIMEOUT: Duration = Duration::from_millis(200);

/// Polls often and does not wait long, so that the tests are quick.
fn builder(server: &TrafficController) -> Builder {
    let polling = Polling::default().every(Duration::from_millis(20)).idle(Duration::from_millis(50));
    let builder = Builder::new().log_cache(&server.api()).proxy(Proxy::none()).polling(polling);
    builder.connect_timeout(TIMEOUT).read_timeout(TIMEOUT)
}

fn follow(server: &TrafficController) -> Tail {
    builder(server).build().unwrap().follow(APP, TOKEN).unwrap()
}

/// A line of this second, or of another one.
fn line(text: impl Into<String>, second: i64) -> LogMessage {
    LogMessage::new(APP, text.into()).timestamp(1_700_000_000_000_000_000 + second * 1_000_000_000)
}

#[track_caller]
fn assert_next(tail: &mut Tail, text: &str) {
    assert_eq!(tail.next().unwrap().unwrap().text(), text);
}

fn errors() -> Vec<Fault> {
    let status = |status| Fault::RefuseStatus { status, body: "away".into() };
    vec![
        status(500),
        status(503),
        Fault::Router(RouterError::UnknownRoute),
        Fault::Router(RouterError::EndpointFailure),
        Fault::Router(RouterError::NoEndpoints),
        Fault::RateLimit { status: 429, retry_after: "0".into() },
        // Timeouts: no answer, half a head, and half a body.
        Fault::SilentAccept,
        Fault::StallAfter(10),
        Fault::StallAfter(200),
        Fault::Truncate,
    ]
}

#[test]
fn an_error_of_the_first_request_is_that_of_the_call() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.send(line("first", 0));
        for fault in errors() {
            server.fault_at(RequestKind::LogCacheRead, fault.clone());
            let error = builder(&server).build().unwrap().follow(APP, TOKEN).unwrap_err();
            assert!(!error.to_string().is_empty() && error.kind() != ErrorKind::InvalidInput, "{fault:?}: {error}");
        }
        assert_next(&mut follow(&server), "first");
    });
}

#[test]
fn an_error_of_a_poll_loses_nothing_and_is_no_gap() {
    within(DEADLINE, || {
        // At the same time, because there is a pause after each error.
        std::thread::scope(|scope| {
            for fault in errors() {
                scope.spawn(move || {
                    let server = TrafficController::of(Generation::Today).unwrap();
                    server.send(line("first", 0));
                    let mut tail = follow(&server);
                    assert_next(&mut tail, "first");
                    for second in 1..3 {
                        server.always_at(RequestKind::LogCacheRead, fault.clone());
                        let before = server.requests().len();
                        assert!(server.wait_for_requests(before + 1, DEADLINE));
                        server.send(line("meanwhile", second));
                        server.always_at(RequestKind::LogCacheRead, []);
                        assert_next(&mut tail, "meanwhile");
                    }
                });
            }
        });
    });
}

#[test]
fn an_error_of_the_question_for_the_oldest_envelope_loses_nothing() {
    within(DEADLINE, || {
        std::thread::scope(|scope| {
            for fault in errors() {
                scope.spawn(move || {
                    let server = TrafficController::of(Generation::Today).unwrap();
                    server.send(line("first", 0));
                    let mut tail = follow(&server);
                    assert_next(&mut tail, "first");
                    // The next page is empty, so that the oldest envelope is asked for. That fails once.
                    let is_question =
                        |n: usize| server.requests()[n..].iter().any(|request| !request.target.contains("start_time"));
                    server.set_node_away(true);
                    let before = server.requests().len();
                    common::wait_until("the oldest envelope is asked for", || is_question(before));
                    server.fault_at(RequestKind::LogCacheRead, fault);
                    server.send(line("meanwhile", 1));
                    server.set_node_away(false);
                    assert_next(&mut tail, "meanwhile");
                });
            }
        });
    });
}

#[test]
fn retry_after_is_obeyed() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.send(line("first", 0));
        let mut tail = follow(&server);
        assert_next(&mut tail, "first");
        server.fault_at(RequestKind::LogCacheRead, Fault::RateLimit { status: 429, retry_after: "2".into() });
        server.send(line("second", 1));
        let began = Instant::now();
        let mut text = tail.next().unwrap().unwrap().text().into_owned();
        if text == "second" && began.elapsed() < Duration::from_secs(1) {
            // It was under way before the limit.
            server.send(line("third", 2));
            text = tail.next().unwrap().unwrap().text().into_owned();
        }
        assert!(began.elapsed() >= Duration::from_millis(1900), "{text} after {:?}", began.elapsed());
    });
}

#[test]
fn a_page_that_is_too_large_is_read_in_smaller_ones() {
    within(DEADLINE, || {
        let server = TrafficController::builder().generation(Generation::Today).largest_answer(20_000).start().unwrap();
        // The first request already has more than that.
        (0..300).for_each(|n| _ = server.send(line(n.to_string(), n)));
        let mut tail = follow(&server);
        (0..300).for_each(|n| assert_next(&mut tail, &n.to_string()));
        (300..600).for_each(|n| _ = server.send(line(n.to_string(), n)));
        (300..600).for_each(|n| assert_next(&mut tail, &n.to_string()));
    });
}

#[test]
fn a_token_that_is_rejected_for_a_moment_does_not_end_it() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.send(line("first", 0));
        let mut tail = follow(&server);
        assert_next(&mut tail, "first");
        server.refuse_tokens(2);
        server.send(line("second", 1));
        assert_next(&mut tail, "second");
    });
}

#[test]
fn a_token_that_is_rejected_and_cannot_be_renewed_ends_it_after_a_while() {
    within(3 * DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.send(line("first", 0));
        // So that it is the rejections that end it.
        let mut tail = builder(&server).idle_timeout(3 * DEADLINE).build().unwrap().follow(APP, TOKEN).unwrap();
        assert_next(&mut tail, "first");
        server.refuse_tokens(usize::MAX);
        let began = Instant::now();
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(404)), "{error}");
        // UAA and CAPI may be restarting meanwhile.
        assert!(began.elapsed() > Duration::from_secs(6), "{:?}", began.elapsed());
        assert!(tail.next().is_none());
        assert!(matches!(tail.ending(), Some(Ending::Failed(_))));
    });
}

/// Closes a tail in some state several times. One of them has to take less than 0.1 s, and all less than a second: other
/// tests run at the same time.
fn assert_prompt(mut open: impl FnMut() -> (Consumer, Tail)) {
    let times = (0..3).map(|_| {
        let (consumer, tail) = open();
        let began = Instant::now();
        consumer.close().unwrap();
        let time = began.elapsed();
        assert!(time < Duration::from_secs(1), "{time:?}");
        drop(tail);
        time
    });
    let quickest = times.min().unwrap();
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}

#[test]
fn a_close_takes_less_than_a_tenth_of_a_second_in_a_pause() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.send(line("first", 0));
        let far = Polling::default().every(Duration::from_secs(3600)).idle(Duration::from_secs(3600));
        assert_prompt(|| {
            let consumer = builder(&server).polling(far).build().unwrap();
            let mut tail = consumer.follow(APP, TOKEN).unwrap();
            assert_next(&mut tail, "first");
            (consumer, tail)
        });
    });
}

#[test]
fn a_close_takes_less_than_a_tenth_of_a_second_while_a_request_is_under_way() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.send(line("first", 0));
        for stalled_after in [0, 10, 200] {
            assert_prompt(|| {
                server.always_at(RequestKind::LogCacheRead, []);
                let consumer = builder(&server).connect_timeout(DEADLINE).read_timeout(DEADLINE).build().unwrap();
                let mut tail = consumer.follow(APP, TOKEN).unwrap();
                assert_next(&mut tail, "first");
                server.always_at(RequestKind::LogCacheRead, Fault::StallAfter(stalled_after));
                let before = server.requests().len();
                assert!(server.wait_for_requests(before + 1, DEADLINE));
                (consumer, tail)
            });
        }
    });
}

#[test]
fn a_close_takes_less_than_a_tenth_of_a_second_while_the_caller_takes_nothing() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        assert_prompt(|| {
            let consumer = builder(&server).connect_timeout(DEADLINE).read_timeout(DEADLINE).build().unwrap();
            let tail = consumer.follow(APP, TOKEN).unwrap();
            // Each poll finds a line, until the channel is full.
            let mut requests = 0;
            while server.requests().len() > requests {
                requests = server.requests().len();
                server.send(message_of_now(APP, "more"));
                server.wait_for_requests(requests + 1, Duration::from_millis(500));
            }
            (consumer, tail)
        });
    });
}
