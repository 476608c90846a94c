//! Foundations whose streams give no lines (`disable_logs`), while Log Cache has them all.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::messages::{APP, TOKEN, message_of_now};
use common::{DEADLINE, wait_until, within};
use loggregator_consumer::crossbeam_channel::bounded;
use loggregator_consumer::testing::{Fault, Generation, RequestKind, RouterError, Server, TrafficController};
use loggregator_consumer::{
    Body, Builder, Consumer, Envelope, EnvelopeType, ErrorKind, GaugeValue, LogMessage, MessageType, Proxy, Reconnect,
    Selection, Tail, Via,
};

const STREAMS: [Via; 2] = [Via::Doppler, Via::RlpGateway];

/// Streams give no lines, and Log Cache has one of the past.
fn serve() -> TrafficController {
    let server = TrafficController::builder().generation(Generation::Today).disable_logs().start().unwrap();
    server.add_recent(APP, [message_of_the_past()]);
    server
}

/// Reads from this kind of stream, and knows Log Cache.
fn builder(server: &TrafficController, via: Via) -> Builder {
    let builder = Builder::new().log_cache(&server.api()).proxy(Proxy::none());
    match via {
        Via::Doppler => builder.doppler(&server.endpoint()),
        _ => builder.rlp_gateway(&server.api()),
    }
}

fn consumer(server: &TrafficController, via: Via) -> Consumer {
    builder(server, via).build().unwrap()
}

/// A message of more than a second ago: what is younger may come if a stream is mute.
fn message_of_the_past() -> LogMessage {
    let message = message_of_now(APP, "of the past");
    let time = message.timestamp - 3_000_000_000;
    message.timestamp(time)
}

#[track_caller]
fn assert_next(tail: &mut Tail, text: &str) {
    assert_eq!(tail.next().unwrap().unwrap().text(), text);
}

fn reads_of_log_cache(server: &TrafficController) -> usize {
    server.requests().iter().filter(|request| request.kind == RequestKind::LogCacheRead).count()
}

#[test]
fn a_mute_stream_is_noticed_within_seconds_and_no_line_is_lost() {
    within(2 * DEADLINE, || {
        for via in STREAMS {
            let server = serve();
            let consumer = consumer(&server, via);
            assert_eq!(consumer.tail_choice().unwrap().via(), via);
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            let began = Instant::now();
            let (count, logging) = (40, Duration::from_millis(100));
            thread::scope(|scope| {
                scope.spawn(|| {
                    for n in 0..count {
                        server.send(message_of_now(APP, &n.to_string()));
                        thread::sleep(logging);
                    }
                });
                for n in 0..count {
                    assert_next(&mut tail, &n.to_string());
                    assert!(n > 0 || began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
                }
            });
            // From now on, all tails of the consumer are read from Log Cache.
            let choice = consumer.tail_choice().unwrap();
            assert_eq!(choice.via(), Via::LogCache);
            assert!(choice.why().contains("give no lines"), "{choice}");
            wait_until("the stream is closed", || server.open_tails(APP) == 0);
            let mut other = consumer.tail(APP, TOKEN).unwrap();
            assert_eq!(server.open_tails(APP), 0);
            server.send(message_of_now(APP, "more"));
            assert_next(&mut other, "more");
            assert_next(&mut tail, "more");
            drop((tail, other));
            assert!(server.wait_until_idle(DEADLINE));
        }
    });
}

#[test]
fn what_log_cache_has_dropped_since_the_opening_is_in_a_named_gap() {
    within(DEADLINE, || {
        let server = serve();
        let mut tail = consumer(&server, Via::Doppler).tail(APP, TOKEN).unwrap();
        let lost = message_of_now(APP, "lost");
        server.send(lost.clone());
        server.empty_log_cache();
        server.send(message_of_now(APP, "after it was emptied"));
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
        let gap = error.as_gap().unwrap();
        assert!(gap.from.unwrap() <= lost.timestamp && gap.until.unwrap() > lost.timestamp, "{gap:?}");
        assert_next(&mut tail, "after it was emptied");
    });
}

#[test]
fn one_line_lets_a_tail_go_over_but_proves_nothing_for_the_others() {
    within(DEADLINE, || {
        let server = serve();
        let consumer = consumer(&server, Via::Doppler);
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        server.send(message_of_now(APP, "one"));
        assert_next(&mut tail, "one");
        wait_until("it is read from Log Cache", || server.open_tails(APP) == 0);
        assert_eq!(consumer.tail_choice().unwrap().via(), Via::Doppler);
    });
}

/// Logs until the streams of the consumer are known to be mute.
fn show_that_streams_are_mute(server: &TrafficController, consumer: &Consumer) {
    let mut tail = consumer.tail(APP, TOKEN).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..50 {
                server.send(message_of_now(APP, &n.to_string()));
                thread::sleep(Duration::from_millis(100));
            }
        });
        assert_next(&mut tail, "0");
    });
    assert_eq!(consumer.tail_choice().unwrap().via(), Via::LogCache);
}

#[test]
fn a_mute_stream_takes_the_place_of_log_cache_neither_for_a_moment_nor_by_its_address() {
    within(2 * DEADLINE, || {
        let server = serve();
        // Log Cache is known by an earlier call, and Doppler by hand.
        let builder = Builder::new().api(&server.api()).doppler(&server.endpoint()).proxy(Proxy::none());
        let consumer = builder.build().unwrap();
        consumer.recent(APP, TOKEN).unwrap();
        show_that_streams_are_mute(&server, &consumer);
        server.take_away(Server::LogCache, RouterError::NoEndpoints);
        let error = consumer.tail(APP, TOKEN).unwrap_err();
        assert_eq!(error.status(), Some(503), "{error}");
        server.bring_back(Server::LogCache);
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        server.send(message_of_now(APP, "more"));
        assert_next(&mut tail, "more");
    });
}

#[test]
fn late_lines_of_before_the_call_are_no_proof() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.add_recent(APP, [message_of_the_past()]);
        // Log Cache tells its time in full seconds. So that "two" does not look older than the call by more than that, the
        // call is made in the middle of one.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        thread::sleep(Duration::from_millis((1400 - u64::from(now.subsec_millis())) % 1000));
        server.send_late(message_of_now(APP, "one"), Duration::from_millis(1600));
        thread::sleep(Duration::from_millis(1100));
        server.send_late(message_of_now(APP, "two"), Duration::from_millis(500));
        let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        assert_next(&mut tail, "two");
        assert_eq!(consumer.tail_choice().unwrap().via(), Via::Doppler);
    });
}

#[test]
fn a_stream_that_is_not_read_is_not_mute() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let calls = AtomicUsize::new(0);
        let pause = Duration::from_millis(10);
        let consumer = Builder::new()
            .api(&server.api())
            .proxy(Proxy::none())
            .reconnect(Reconnect::default().first(pause).longest(pause))
            .on_connect(move || {
                if calls.fetch_add(1, Ordering::SeqCst) == 1 {
                    thread::sleep(Duration::from_secs(6));
                }
            })
            .build()
            .unwrap();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        server.drop_tails(APP);
        let streams = || server.requests().iter().filter(|request| request.kind == RequestKind::Stream).count();
        wait_until("it is connected again", || streams() == 2);
        assert!(server.wait_for_tails(APP, 1, DEADLINE));
        for n in 0..4 {
            server.send(message_of_now(APP, &n.to_string()));
            thread::sleep(Duration::from_millis(500));
        }
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Gap);
        (0..4).for_each(|n| assert_next(&mut tail, &n.to_string()));
        assert_eq!(consumer.tail_choice().unwrap().via(), Via::Doppler);
        assert_eq!(server.open_tails(APP), 1);
    });
}

#[test]
fn a_function_of_the_caller_that_blocks_costs_only_the_watch() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let (unblock, blocked) = bounded::<()>(0);
        let caller = thread::current().id();
        let proxy = Proxy::custom(move |_| {
            if thread::current().id() != caller {
                let _ = blocked.recv();
            }
            Ok(None)
        });
        let consumer = Builder::new().api(&server.api()).proxy(proxy).build().unwrap();
        consumer.tail_choice().unwrap();
        let began = Instant::now();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        server.send(message_of_now(APP, "hello"));
        assert_next(&mut tail, "hello");
        drop(unblock);
    });
}

/// Uses more than the stack of a thread that reads a stream.
#[inline(never)]
fn use_stack() {
    std::hint::black_box([1_u8; 1_300_000]);
}

#[test]
fn the_callers_functions_have_a_large_stack_when_a_stream_goes_on_over_log_cache() {
    within(DEADLINE, || {
        let server = Arc::new(TrafficController::of(Generation::Today).unwrap());
        let in_the_tail = Arc::new(AtomicUsize::new(0));
        let calls = Arc::clone(&in_the_tail);
        let proxy = Proxy::custom(move |_| {
            if thread::current().name() == Some("loggregator-read") {
                use_stack();
                calls.fetch_add(1, Ordering::SeqCst);
            }
            Ok(None)
        });
        let pause = Duration::from_millis(10);
        let reconnect = Reconnect::default().first(pause).longest(pause);
        let consumer = Builder::new().api(&server.api()).proxy(proxy).reconnect(reconnect).build().unwrap();
        let mut speaking = consumer.tail(APP, TOKEN).unwrap();
        server.send(message_of_now(APP, "hello"));
        assert_next(&mut speaking, "hello");
        drop(speaking);
        // It is not watched any more, and so it reads on a small stack.
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        server.take_away(Server::Doppler, RouterError::UnknownRoute);
        server.take_away(Server::RlpGateway, RouterError::UnknownRoute);
        server.drop_tails(APP);
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Gap);
        server.stop();
        server.restart().unwrap();
        server.send(message_of_now(APP, "after"));
        assert_next(&mut tail, "after");
        assert!(in_the_tail.load(Ordering::SeqCst) > 0);
    });
}

#[test]
fn a_stream_of_an_app_that_logs_nothing_is_kept() {
    within(DEADLINE, || {
        for via in STREAMS {
            let server = serve();
            let mut tail = consumer(&server, via).tail(APP, TOKEN).unwrap();
            // An empty line reaches no stream.
            server.send(message_of_now(APP, " "));
            assert!(tail.recv_timeout(Duration::from_millis(5500)).is_err());
            assert_eq!(server.open_tails(APP), 1);
            // After 1, 2 and 4 s: first the time is asked for, and at last, what is 2 s old is read once more.
            assert!((4..=6).contains(&reads_of_log_cache(&server)), "{}", reads_of_log_cache(&server));
            drop(tail);
            assert!(server.wait_until_idle(DEADLINE));
        }
    });
}

#[test]
fn a_stream_that_has_given_a_line_is_never_watched_again() {
    within(DEADLINE, || {
        for via in STREAMS {
            let server = TrafficController::of(Generation::Today).unwrap();
            let consumer = consumer(&server, via);
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            server.send(message_of_now(APP, "hello"));
            assert_next(&mut tail, "hello");
            let mut other = consumer.tail(APP, TOKEN).unwrap();
            assert!(other.recv_timeout(Duration::from_millis(1500)).is_err());
            assert_eq!(reads_of_log_cache(&server), 0);
            // What only Log Cache has is not missed by a stream that speaks.
            server.add_recent(APP, [message_of_now(APP, "only in Log Cache")]);
            server.send(message_of_now(APP, "again"));
            assert_next(&mut tail, "again");
            assert_next(&mut other, "again");
        }
    });
}

#[test]
fn a_stream_that_speaks_after_seconds_is_kept_and_gives_each_line_once() {
    within(DEADLINE, || {
        let server = serve();
        let consumer = consumer(&server, Via::Doppler);
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        thread::sleep(Duration::from_millis(2500));
        server.enable_logs();
        server.send(message_of_now(APP, "late"));
        assert_next(&mut tail, "late");
        assert!(tail.recv_timeout(Duration::from_millis(4000)).is_err());
        assert_eq!(server.open_tails(APP), 1);
        assert_eq!(consumer.tail_choice().unwrap().via(), Via::Doppler);
    });
}

#[test]
fn a_mute_stream_is_noticed_although_log_cache_could_not_be_read_for_a_while() {
    within(2 * DEADLINE, || {
        for via in STREAMS {
            let server = serve();
            // A tail over Log Cache would end with the first failure.
            let policy = Reconnect::default().max_attempts(0);
            let mut tail = builder(&server, via).reconnect(policy).build().unwrap().tail(APP, TOKEN).unwrap();
            server.fault_at(Server::LogCache, Fault::RefuseStatus { status: 503, body: "away".into() });
            server.send(message_of_now(APP, "hello"));
            assert_next(&mut tail, "hello");
        }
    });
}

#[test]
fn without_log_cache_or_with_a_forced_server_nothing_is_watched() {
    within(DEADLINE, || {
        let server = serve();
        let forced = builder(&server, Via::Doppler).tail_via(Via::Doppler).build().unwrap();
        let alone = Builder::new().doppler(&server.endpoint()).proxy(Proxy::none()).build().unwrap();
        let mut tails = [forced, alone].map(|consumer| consumer.tail(APP, TOKEN).unwrap());
        server.send(message_of_now(APP, "hello"));
        assert!(tails[0].recv_timeout(Duration::from_millis(4500)).is_err());
        assert!(tails[1].try_recv().is_err());
        assert_eq!(reads_of_log_cache(&server), 0);
        assert_eq!(server.open_tails(APP), 2);
    });
}

#[test]
fn a_tail_goes_without_log_cache_if_that_is_away_or_hangs() {
    within(DEADLINE, || {
        for fault in [Fault::RefuseStatus { status: 503, body: "no".into() }, Fault::StallAfter(0)] {
            let server = TrafficController::of(Generation::Today).unwrap();
            server.always_at(Server::LogCache, fault);
            let began = Instant::now();
            let mut tail = consumer(&server, Via::Doppler).tail(APP, TOKEN).unwrap();
            assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
            server.send(message_of_now(APP, "hello"));
            assert_next(&mut tail, "hello");
        }
    });
}

#[test]
fn a_break_of_a_watched_stream_is_a_gap_and_the_next_one_is_watched() {
    within(DEADLINE, || {
        let server = serve();
        let pause = Duration::from_millis(10);
        let reconnect = Reconnect::default().first(pause).longest(pause);
        let consumer = builder(&server, Via::RlpGateway).reconnect(reconnect).build().unwrap();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        server.drop_tails(APP);
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Gap);
        server.send(message_of_now(APP, "hello"));
        assert_next(&mut tail, "hello");
        wait_until("it is read from Log Cache", || server.open_tails(APP) == 0);
    });
}

#[test]
fn a_close_is_prompt_while_a_stream_is_watched() {
    within(DEADLINE, || {
        for via in STREAMS {
            let server = serve();
            let mut tail = consumer(&server, via).tail(APP, TOKEN).unwrap();
            // The first reading after the opening gets no answer.
            let requests = server.requests().len();
            server.always_at(Server::LogCache, Fault::StallAfter(0));
            assert!(server.wait_for_requests(requests + 1, DEADLINE));
            let began = Instant::now();
            tail.closer().close().unwrap();
            assert!(tail.next().is_none());
            drop(tail);
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            assert!(server.wait_until_idle(DEADLINE));
        }
    });
}

#[test]
fn metrics_of_a_stream_are_no_lines() {
    within(DEADLINE, || {
        let server = serve();
        let mut tail = consumer(&server, Via::Doppler).tail(APP, TOKEN).unwrap();
        // An envelope with a counter event, and nothing else.
        server.send_raw(APP, b"\x0a\x01x\x30\x07".to_vec());
        server.send(LogMessage::new(APP, "hello").timestamp(message_of_now(APP, "").timestamp));
        assert_next(&mut tail, "hello");
        wait_until("it is read from Log Cache", || server.open_tails(APP) == 0);
    });
}

const OTHER: &str = "22222222-2222-3333-4444-555555555555";

fn log(app: &str, text: &str) -> Envelope {
    let message_type = MessageType::Out;
    emitted(app, Body::Log { payload: text.as_bytes().to_vec(), message_type })
}

/// What an instance uses, which both kinds of streams give.
fn usage(app: &str, cpu: f64) -> Envelope {
    let zeros = ["memory", "disk", "memory_quota", "disk_quota"].map(|name| (name, 0.0, "bytes"));
    let values = zeros.into_iter().chain([("cpu", cpu, "percentage")]);
    emitted(
        app,
        Body::Gauge(values.map(|(name, value, unit)| (name.to_owned(), GaugeValue::new(value, unit))).collect()),
    )
}

fn emitted(app: &str, body: Body) -> Envelope {
    Envelope::new(app, body).instance_id("0").timestamp(message_of_now(app, "").timestamp)
}

/// What an envelope is, in short: the text of a log, or the value of a gauge.
fn short(envelope: &Envelope) -> String {
    match &envelope.body {
        Body::Log { payload, .. } => String::from_utf8_lossy(payload).into_owned(),
        Body::Gauge(values) => format!("cpu {}", values["cpu"].value),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_next_envelope(tail: &mut Tail<Envelope>, expected: &str) {
    assert_eq!(short(&tail.next().unwrap().unwrap()), expected);
}

#[test]
fn a_stream_of_logs_goes_on_over_log_cache_if_it_is_mute() {
    within(2 * DEADLINE, || {
        for via in STREAMS {
            let server = serve();
            let consumer = consumer(&server, via);
            let logs = Selection::app(APP).types([EnvelopeType::Log]);
            let mut tail = consumer.stream(&logs, TOKEN).unwrap();
            let (count, pause) = (40, Duration::from_millis(100));
            thread::scope(|scope| {
                scope.spawn(|| {
                    for n in 0..count {
                        server.send_envelope(log(APP, &n.to_string()));
                        thread::sleep(pause);
                    }
                });
                (0..count).for_each(|n| assert_next_envelope(&mut tail, &n.to_string()));
            });
            wait_until("the stream is closed", || server.open_tails(APP) == 0);
            // It is known now, for all kinds of tails.
            assert_eq!(consumer.tail_choice().unwrap().via(), Via::LogCache);
            server.send_envelope(log(APP, "more"));
            assert_next_envelope(&mut tail, "more");
        }
    });
}

#[test]
fn a_stream_that_gives_only_metrics_goes_on_over_log_cache_and_gives_each_envelope_once() {
    within(2 * DEADLINE, || {
        for via in STREAMS {
            let server = serve();
            let consumer = consumer(&server, via);
            let mut tail = consumer.stream(&Selection::app(APP), TOKEN).unwrap();
            let (count, pause) = (50, Duration::from_millis(100));
            let mut given = Vec::new();
            thread::scope(|scope| {
                scope.spawn(|| {
                    for n in 0..count {
                        server.send_envelope(usage(APP, f64::from(n)));
                        if n % 2 == 0 {
                            server.send_envelope(log(APP, &n.to_string()));
                        }
                        thread::sleep(pause);
                    }
                });
                while given.len() < 75 {
                    given.push(short(&tail.next().unwrap().unwrap()));
                }
            });
            assert_eq!(server.open_tails(APP), 0);
            server.send_envelope(usage(APP, 1000.0));
            assert_next_envelope(&mut tail, "cpu 1000");
            // The first ones came at once, over the stream.
            assert!(given.iter().take(10).all(|it| it.starts_with("cpu")), "{given:?}");
            let of = |is_metric| given.iter().filter(move |it| it.starts_with("cpu") == is_metric).cloned();
            let evens = (0..count).step_by(2).map(|n| n.to_string());
            assert!(of(false).eq(evens), "{given:?}");
            assert!(of(true).eq((0..count).map(|n| format!("cpu {n}"))), "{given:?}");
        }
    });
}

#[test]
fn a_stream_without_logs_is_kept_and_one_that_has_given_a_log_is_not_watched() {
    within(DEADLINE, || {
        for via in STREAMS {
            let server = TrafficController::of(Generation::Today).unwrap();
            let consumer = consumer(&server, via);
            let metrics = Selection::app(APP).types([EnvelopeType::Gauge]);
            let mut without = consumer.stream(&metrics, TOKEN).unwrap();
            server.add_recent(APP, [message_of_now(APP, "is in Log Cache alone")]);
            assert!(without.recv_timeout(Duration::from_millis(1500)).is_err());
            assert_eq!(reads_of_log_cache(&server), 0);
            let mut tail = consumer.stream(&Selection::app(APP), TOKEN).unwrap();
            server.send_envelope(log(APP, "hello"));
            assert_next_envelope(&mut tail, "hello");
            assert!(tail.recv_timeout(Duration::from_millis(1500)).is_err());
            assert_eq!((reads_of_log_cache(&server), server.open_tails(APP)), (0, 2));
        }
    });
}

#[test]
fn a_tail_of_several_apps_goes_on_over_log_cache_if_it_is_mute() {
    within(2 * DEADLINE, || {
        let server = serve();
        server.add_recent(OTHER, [message_of_the_past()]);
        let consumer = consumer(&server, Via::RlpGateway);
        let mut tail = consumer.tail_apps([APP, OTHER], TOKEN).unwrap();
        let mut envelopes = consumer.stream(&Selection::apps([APP, OTHER]), TOKEN).unwrap();
        let (count, pause) = (40, Duration::from_millis(100));
        let mut given = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..count {
                    server.send(message_of_now([APP, OTHER][n % 2], &n.to_string()));
                    thread::sleep(pause);
                }
            });
            given.extend(tail.by_ref().take(count).map(|item| item.unwrap().text().into_owned()));
        });
        let mut streamed: Vec<_> = envelopes.by_ref().take(count).map(|item| short(&item.unwrap())).collect();
        for given in [&mut given, &mut streamed] {
            given.sort_by_key(|text| text.parse::<usize>().unwrap());
            assert!(given.iter().eq(&(0..count).map(|n| n.to_string()).collect::<Vec<_>>()), "{given:?}");
        }
        wait_until("the streams are closed", || server.open_tails(APP) + server.open_tails(OTHER) == 0);
    });
}

#[test]
fn an_app_of_which_log_cache_has_nothing_has_no_gap_when_a_mute_stream_is_left() {
    within(2 * DEADLINE, || {
        let server = serve();
        let mut tail = consumer(&server, Via::RlpGateway).tail_apps([OTHER, APP], TOKEN).unwrap();
        server.send(message_of_now(APP, "hello"));
        assert_next(&mut tail, "hello");
        server.send(message_of_now(OTHER, "its first"));
        assert_next(&mut tail, "its first");
    });
}

#[test]
fn a_quiet_foundation_of_many_apps_is_read_ten_at_a_time_and_the_last_one_is_noticed() {
    within(2 * DEADLINE, || {
        let server = serve();
        let apps: Vec<_> = (0..25).map(|n| format!("{n:08}-2222-3333-4444-555555555555")).collect();
        for app in &apps {
            server.add_recent(app, [message_of_the_past()]);
        }
        let mut tail = consumer(&server, Via::RlpGateway).tail_apps(&apps, TOKEN).unwrap();
        server.send(message_of_now(&apps[24], "hello"));
        // The first time, the server's time is asked for, too.
        wait_until("the first ones are read", || reads_of_log_cache(&server) >= 11);
        assert_eq!(reads_of_log_cache(&server), 11);
        assert_next(&mut tail, "hello");
    });
}

#[test]
fn an_app_that_log_cache_rejects_does_not_hide_that_a_stream_is_mute() {
    within(2 * DEADLINE, || {
        let server =
            TrafficController::builder().generation(Generation::Today).apps([APP]).disable_logs().start().unwrap();
        server.add_recent(APP, [message_of_the_past()]);
        let token = server.issue_token();
        let mut tail = consumer(&server, Via::RlpGateway).tail_apps([OTHER, APP], &token).unwrap();
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!(error.app_id(), Some(OTHER), "{error}");
        server.send(message_of_now(APP, "hello"));
        assert_next(&mut tail, "hello");
    });
}

#[test]
fn all_kinds_of_tails_use_log_cache_once_streams_are_known_to_be_mute() {
    within(2 * DEADLINE, || {
        for via in STREAMS {
            let server = serve();
            server.add_recent(OTHER, [message_of_the_past()]);
            let consumer = consumer(&server, via);
            show_that_streams_are_mute(&server, &consumer);
            let mut tail = consumer.tail_apps([APP, OTHER], TOKEN).unwrap();
            let mut one = consumer.stream(&Selection::app(APP), TOKEN).unwrap();
            let mut several = consumer.stream(&Selection::apps([APP, OTHER]), TOKEN).unwrap();
            assert_eq!((server.open_tails(APP), server.open_tails(OTHER)), (0, 0));
            server.send(message_of_now(APP, "hello"));
            assert_next(&mut tail, "hello");
            assert_next_envelope(&mut one, "hello");
            assert_next_envelope(&mut several, "hello");
            // Metrics come over streams all the same.
            let metrics = Selection::app(APP).types([EnvelopeType::Gauge]);
            let mut metrics = consumer.stream(&metrics, TOKEN).unwrap();
            assert_eq!(server.open_tails(APP), 1);
            server.send_envelope(usage(APP, 5.0));
            assert_next_envelope(&mut metrics, "cpu 5");
        }
    });
}
