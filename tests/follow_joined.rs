//! `follow` on foundations without Log Cache: the recent messages joined with the stream, each message once.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::messages::{APP, TOKEN, message_of_now};
use common::{DEADLINE, wait_until, within};
use loggregator_consumer::testing::{Fault, Generation, RequestKind, RouterError, Server, Target, TrafficController};
use loggregator_consumer::{Builder, Ending, Error, ErrorKind, LogMessage, Proxy, Reconnect, Tail, TokenSource, Via};

const GENERATIONS: [Generation; 5] =
    [Generation::April2014, Generation::May2014, Generation::Y2015, Generation::Y2016, Generation::Y2018];

fn builder(server: &TrafficController) -> Builder {
    let pause = Duration::from_millis(20);
    Builder::new().api(&server.api()).proxy(Proxy::none()).reconnect(Reconnect::default().first(pause).longest(pause))
}

/// An app that logs numbers until it is stopped.
struct App {
    server: Arc<TrafficController>,
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl App {
    fn start(server: &Arc<TrafficController>) -> Self {
        let (logs_to, is_stopped) = (Arc::clone(server), Arc::new(AtomicBool::new(false)));
        let stops = Arc::clone(&is_stopped);
        let thread = thread::spawn(move || {
            let mut count = 0;
            while !stops.load(Ordering::SeqCst) {
                logs_to.send(message_of_now(APP, &count.to_string()));
                count += 1;
                thread::sleep(Duration::from_millis(1));
            }
            count
        });
        App { server: Arc::clone(server), is_stopped, thread }
    }

    /// Returns how many numbers it has logged.
    fn stop(self) -> usize {
        self.is_stopped.store(true, Ordering::SeqCst);
        let count = self.thread.join().unwrap();
        self.server.send(message_of_now(APP, "the end"));
        count
    }
}

/// Returns the numbers up to the end, and the errors between them.
fn drain(tail: &mut Tail) -> (Vec<usize>, Vec<Error>) {
    let (mut numbers, mut errors) = (Vec::new(), Vec::new());
    loop {
        match tail.next().expect("it has not ended") {
            Ok(message) if message.text() == "the end" => return (numbers, errors),
            Ok(message) => numbers.push(message.text().parse().unwrap()),
            Err(error) => errors.push(error),
        }
    }
}

#[track_caller]
fn assert_each_once(mut numbers: Vec<usize>, expected: std::ops::Range<usize>) {
    numbers.sort_unstable();
    assert_eq!(numbers, expected.collect::<Vec<_>>());
}

fn take(tail: &mut Tail, count: usize) -> Vec<String> {
    tail.take(count).map(|item| item.unwrap().text().into_owned()).collect()
}

#[test]
fn recent_messages_come_first_and_then_the_stream_each_message_once() {
    for generation in GENERATIONS {
        within(DEADLINE, move || {
            let server = Arc::new(TrafficController::of(generation).unwrap());
            let app = App::start(&server);
            let consumer = builder(&server).build().unwrap();
            for _ in 0..5 {
                drop(consumer.follow(APP, TOKEN).unwrap());
            }
            let mut tail = consumer.follow(APP, TOKEN).unwrap();
            let count = app.stop();
            let (numbers, errors) = drain(&mut tail);
            assert!(errors.is_empty(), "{generation:?}: {errors:?}");
            assert_each_once(numbers, 0..count);
            tail.close().unwrap();
            assert!(server.wait_until_idle(DEADLINE));
        });
    }
}

#[test]
fn the_newest_messages_are_returned_in_the_order_of_their_times() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Y2015).unwrap();
        let at = |time: i64| LogMessage::new(APP, time.to_string()).timestamp(time);
        server.add_recent(APP, [3, 1, 5, 2, 4].map(at));
        let consumer = builder(&server).recent_limit(3).build().unwrap();
        assert_eq!(take(&mut consumer.follow(APP, TOKEN).unwrap(), 3), ["3", "4", "5"]);
        assert_eq!(take(&mut consumer.follow_since(APP, TOKEN, 2).unwrap(), 4), ["2", "3", "4", "5"]);
    });
}

#[test]
fn after_each_break_the_recent_messages_fill_the_gap() {
    for generation in GENERATIONS {
        within(2 * DEADLINE, move || {
            let server = Arc::new(TrafficController::builder().generation(generation).retain(5000).start().unwrap());
            let consumer = builder(&server).recent_limit(5000).build().unwrap();
            let app = App::start(&server);
            let mut tail = consumer.follow(APP, TOKEN).unwrap();
            for _ in 0..5 {
                assert!(server.wait_for_tails(APP, 1, DEADLINE));
                server.fault_at(Target::tails(), Fault::DropAfter(0));
                server.drop_tails(APP);
                let requests = server.requests().len();
                assert!(server.wait_for_requests(requests + 3, DEADLINE), "a failed stream, a stream, recent messages");
            }
            let count = app.stop();
            let (numbers, errors) = drain(&mut tail);
            assert!(errors.is_empty(), "{generation:?}: {errors:?}");
            assert_each_once(numbers, 0..count);
        });
    }
}

#[test]
fn what_the_recent_messages_no_longer_hold_is_in_a_named_gap() {
    within(DEADLINE, || {
        let server = TrafficController::builder().generation(Generation::Y2018).retain(10).start().unwrap();
        let mut tail = builder(&server).build().unwrap().follow(APP, TOKEN).unwrap();
        server.send(message_of_now(APP, "before"));
        assert_eq!(take(&mut tail, 1), ["before"]);
        server.stop();
        let missed: Vec<_> = (0..20).map(|n| message_of_now(APP, &n.to_string())).collect();
        server.add_recent(APP, missed.clone());
        server.restart().unwrap();
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
        let gap = error.as_gap().unwrap();
        assert!(gap.connected_at.unwrap() >= gap.at);
        assert!(matches!(gap.ending, Ending::Eof | Ending::Reset), "{gap:?}");
        let (from, until) = (gap.from.unwrap(), gap.until.unwrap());
        assert!(missed[..10].iter().all(|message| (from..until).contains(&message.timestamp)), "{gap:?}");
        assert_eq!(take(&mut tail, 10), (10..20).map(|n| n.to_string()).collect::<Vec<_>>());
        server.send(message_of_now(APP, "after"));
        assert_eq!(take(&mut tail, 1), ["after"]);
    });
}

#[test]
fn a_break_in_silence_is_no_gap() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Y2015).unwrap();
        server.add_recent(APP, [message_of_now(APP, "recent")]);
        let mut tail = builder(&server).build().unwrap().follow(APP, TOKEN).unwrap();
        assert_eq!(take(&mut tail, 1), ["recent"]);
        for n in 0..3 {
            server.drop_tails(APP);
            assert!(server.wait_for_requests(3 + 2 * (n + 1), DEADLINE));
            assert!(server.wait_for_tails(APP, 1, DEADLINE));
            server.send(message_of_now(APP, &n.to_string()));
            assert_eq!(take(&mut tail, 1), [n.to_string()]);
        }
    });
}

#[test]
fn recent_messages_that_cannot_be_read_are_an_error_at_first_and_then_a_gap() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Y2018).unwrap();
        let refusal = || Fault::RefuseStatus { status: 503, body: "no".into() };
        let consumer = builder(&server).build().unwrap();
        server.fault_at(RequestKind::RecentLogs, refusal());
        assert_eq!(consumer.follow(APP, TOKEN).unwrap_err().status(), Some(503));
        assert!(server.wait_until_idle(DEADLINE), "the stream is closed");

        let mut tail = consumer.follow(APP, TOKEN).unwrap();
        server.send(message_of_now(APP, "before"));
        assert_eq!(take(&mut tail, 1), ["before"]);
        server.fault_at(RequestKind::RecentLogs, refusal());
        server.drop_tails(APP);
        let error = tail.next().unwrap().unwrap_err();
        let gap = error.as_gap().unwrap();
        assert!(gap.from.is_some() && gap.until.is_none(), "{gap:?}");
        server.send(message_of_now(APP, "after"));
        assert_eq!(take(&mut tail, 1), ["after"]);
    });
}

#[test]
fn a_token_that_is_renewed_for_the_recent_messages_changes_nothing() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Y2016).unwrap();
        let at = |time: i64| LogMessage::new(APP, time.to_string()).timestamp(time);
        server.add_recent(APP, [1, 2, 3, 4, 5].map(at));
        let renewals = AtomicUsize::new(0);
        let tokens = TokenSource::from_fn(move |_| {
            Ok(format!("bearer token-number-{}", renewals.fetch_add(1, Ordering::SeqCst)))
        });
        let consumer = builder(&server).tokens(tokens).build().unwrap();
        server.fault_at(RequestKind::RecentLogs, Fault::RefuseStatus { status: 401, body: "expired".into() });
        assert_eq!(consumer.follow_since(APP, "", 4).map(|mut tail| take(&mut tail, 2)).unwrap(), ["4", "5"]);

        let refusal = |status| Fault::RefuseStatus { status, body: "no".into() };
        server.fault_at(RequestKind::RecentLogs, refusal(401));
        server.fault_at(RequestKind::RecentLogs, refusal(503));
        assert_eq!(consumer.follow(APP, "").unwrap_err().status(), Some(503), "it is still the first attempt");
    });
}

#[test]
fn a_log_cache_that_is_back_returns_nothing_twice() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::LogCache1).unwrap();
        server.add_recent(APP, ["one", "two"].map(|text| message_of_now(APP, text)));
        let consumer = builder(&server).build().unwrap();
        server.take_away(Server::LogCache, RouterError::NoEndpoints);
        let mut tail = consumer.follow(APP, TOKEN).unwrap();
        assert_eq!(take(&mut tail, 2), ["one", "two"]);
        server.bring_back(Server::LogCache);
        // Doppler is away for one attempt, so that what is known of routes is forgotten.
        server.take_away(Server::Doppler, RouterError::EndpointFailure);
        server.drop_tails(APP);
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Gap);
        server.send(message_of_now(APP, "three"));
        assert_eq!(take(&mut tail, 1), ["three"]);
        wait_until("it is read from Log Cache", || server.open_tails(APP) == 0);
    });
}

#[test]
fn a_message_from_a_clock_that_is_ahead_hides_nothing() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Y2018).unwrap();
        let mut tail = builder(&server).build().unwrap().follow(APP, TOKEN).unwrap();
        let ahead = message_of_now(APP, "ahead");
        let time = ahead.timestamp + 15_000_000_000;
        server.send(ahead.timestamp(time));
        assert_eq!(take(&mut tail, 1), ["ahead"]);
        server.stop();
        server.add_recent(APP, [message_of_now(APP, "in the break")]);
        server.restart().unwrap();
        assert_eq!(take(&mut tail, 1), ["in the break"]);
    });
}

#[test]
fn without_recent_messages_none_comes_after_a_break_either() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Y2018).unwrap();
        server.add_recent(APP, (0..5).map(|n| message_of_now(APP, &n.to_string())));
        let mut tail = builder(&server).recent_limit(0).build().unwrap().follow(APP, TOKEN).unwrap();
        server.drop_tails(APP);
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Gap, "nothing was returned before");
        server.send(message_of_now(APP, "live"));
        assert_eq!(take(&mut tail, 1), ["live"]);
    });
}

#[test]
fn where_there_are_no_recent_messages_the_error_says_so() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let consumer = Builder::new().doppler(&server.endpoint()).proxy(Proxy::none()).build().unwrap();
        let error = consumer.follow(APP, TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("Builder::log_cache"), "{error}");
        assert_eq!(consumer.tail_choice().unwrap().via(), Via::Doppler);
    });
}

#[test]
fn it_says_up_to_when_it_is_complete_and_another_one_goes_on_there() {
    within(DEADLINE, || {
        let server = Arc::new(TrafficController::of(Generation::Y2016).unwrap());
        let consumer = builder(&server).build().unwrap();
        let app = App::start(&server);
        let mut tail = consumer.follow(APP, TOKEN).unwrap();
        let mut numbers: Vec<usize> = take(&mut tail, 50).iter().map(|text| text.parse().unwrap()).collect();
        let since = tail.complete_until().unwrap();
        drop(tail);
        let mut tail = consumer.follow_since(APP, TOKEN, since).unwrap();
        let count = app.stop();
        numbers.extend(drain(&mut tail).0);
        numbers.sort_unstable();
        numbers.dedup();
        assert_each_once(numbers, 0..count);
    });
}

#[test]
fn a_close_is_prompt_while_the_recent_messages_are_requested() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Y2015).unwrap();
        server.fault_at(RequestKind::Recent, Fault::StallAfter(0));
        let consumer = builder(&server).build().unwrap();
        let call = {
            let consumer = consumer.clone();
            thread::spawn(move || consumer.follow(APP, TOKEN).map(drop))
        };
        assert!(server.wait_for_requests(3, DEADLINE), "the API, the stream and the recent messages");
        let began = Instant::now();
        consumer.close().unwrap();
        assert_eq!(call.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(server.wait_until_idle(DEADLINE));
    });
}
