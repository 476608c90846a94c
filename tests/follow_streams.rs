//! `follow_stream`, and `stream` over Log Cache: envelopes of all types, each once, with gaps that are named.

mod common;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::envelopes;
use common::messages::{APP, TOKEN};
use common::{DEADLINE, within};
use loggregator_consumer::testing::{Generation, RouterError, Server, TrafficController};
use loggregator_consumer::{
    Body, Builder, Consumer, Ending, Envelope, EnvelopeType, ErrorKind, GaugeValue, LogMessage, MessageType, Polling,
    Proxy, Reconnect, Selection, Tail, Via,
};
use proptest::prelude::*;

const OTHER: &str = "11111111-aaaa-bbbb-cccc-000000000002";

const SECOND: i64 = 1_000_000_000;

fn serve() -> TrafficController {
    TrafficController::of(Generation::Today).unwrap()
}

/// Polls often, so that the tests are quick.
fn builder(server: &TrafficController) -> Builder {
    let polling = Polling::default().every(Duration::from_millis(20)).idle(Duration::from_millis(50));
    Builder::new().log_cache(&server.api()).proxy(Proxy::none()).polling(polling)
}

fn consumer(server: &TrafficController) -> Consumer {
    builder(server).build().unwrap()
}

/// Now, in full microseconds, and each time later than before.
fn now() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap() * 1000;
    let later = |last: i64| Some(now.max(last + 1000));
    let last = LAST.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later).unwrap();
    now.max(last + 1000)
}

fn envelope(body: Body) -> Envelope {
    Envelope::new(APP, body).instance_id("0").tag("app_name", "shop").timestamp(now())
}

fn log(text: &str) -> Body {
    Body::Log { payload: text.as_bytes().to_vec(), message_type: MessageType::Out }
}

fn counter(name: &str, total: u64) -> Body {
    Body::Counter { name: name.to_owned(), delta: 1, total }
}

fn gauge(values: &[(&str, f64)]) -> Body {
    Body::Gauge(values.iter().map(|(name, value)| ((*name).to_owned(), GaugeValue::new(*value, "bytes"))).collect())
}

fn one_of_each_type() -> Vec<Envelope> {
    let timer = Body::Timer { name: "http".to_owned(), start: SECOND, stop: 2 * SECOND };
    let event = Body::Event { title: "crash".to_owned(), body: "exit 1".to_owned() };
    [log("hello"), counter("requests", u64::MAX), gauge(&[("cpu", 0.5), ("memory", 1e9)]), timer, event]
        .map(envelope)
        .to_vec()
}

fn send(server: &TrafficController, envelopes: &[Envelope]) {
    envelopes.iter().for_each(|envelope| _ = server.send_envelope(envelope.clone()));
}

#[track_caller]
fn assert_next(tail: &mut Tail<Envelope>, expected: &[Envelope]) {
    let found: Vec<_> = tail.by_ref().take(expected.len()).collect::<Result<_, _>>().unwrap();
    assert_eq!(found, expected);
}

#[track_caller]
fn assert_silent(tail: &mut Tail<Envelope>) {
    if let Ok(item) = tail.recv_timeout(Duration::from_millis(300)) {
        panic!("{item:?}");
    }
}

#[test]
fn stored_envelopes_come_first_and_then_all_further_ones_each_once() {
    within(DEADLINE, || {
        let server = serve();
        let stored = one_of_each_type();
        send(&server, &stored);
        let consumer = builder(&server).recent_limit(3).build().unwrap();
        let mut tail = consumer.follow_stream(&Selection::app(APP), TOKEN).unwrap();
        assert_next(&mut tail, &stored[2..]);
        for _ in 0..10 {
            let live = one_of_each_type();
            send(&server, &live);
            assert_next(&mut tail, &live);
        }
        assert_silent(&mut tail);
        tail.close().unwrap();
        assert!(server.wait_until_idle(DEADLINE));
    });
}

#[test]
fn envelopes_that_become_readable_late_are_not_lost() {
    within(DEADLINE, || {
        let server = serve();
        let first = envelope(log("first"));
        let first = first.clone().timestamp(first.timestamp - 4 * SECOND);
        send(&server, std::slice::from_ref(&first));
        let polling = Polling::default().every(Duration::from_millis(20)).horizon(Duration::from_secs(3));
        let consumer = builder(&server).polling(polling).build().unwrap();
        let mut tail = consumer.follow_stream(&Selection::app(APP), TOKEN).unwrap();
        let newer = envelope(counter("newer", 1));
        send(&server, std::slice::from_ref(&newer));
        assert_next(&mut tail, &[first, newer]);
        // Older than the second that each poll reads.
        let late: Vec<_> =
            one_of_each_type().into_iter().map(|it| it.clone().timestamp(it.timestamp - 3 * SECOND / 2)).collect();
        send(&server, &late);
        assert_next(&mut tail, &late);
        assert_silent(&mut tail);
    });
}

#[test]
fn equal_envelopes_of_one_time_come_as_often_as_they_were_emitted() {
    within(DEADLINE, || {
        let server = serve();
        let mut tail = consumer(&server).follow_stream(&Selection::app(APP), TOKEN).unwrap();
        let time = now();
        let mut sent: Vec<_> = one_of_each_type().into_iter().map(|it| it.timestamp(time)).collect();
        sent.push(sent[2].clone());
        // They differ in one part only.
        sent.push(sent[2].clone().tag("app_name", "cart"));
        sent.push(sent[2].clone().instance_id("1"));
        let mut other_value = sent[2].clone();
        other_value.body = gauge(&[("cpu", 0.25), ("memory", 1e9)]);
        sent.push(other_value);
        send(&server, &sent);
        let mut found: Vec<_> = tail.by_ref().take(sent.len()).collect::<Result<_, _>>().unwrap();
        let text = |envelope: &Envelope| format!("{envelope:?}");
        found.sort_by_key(text);
        sent.sort_by_key(text);
        assert_eq!(found, sent);
        let again = sent[0].clone();
        send(&server, std::slice::from_ref(&again));
        assert_next(&mut tail, &[again]);
        assert_silent(&mut tail);
    });
}

#[test]
fn envelopes_that_log_cache_has_dropped_are_in_a_named_gap() {
    within(DEADLINE, || {
        let server = serve();
        let all = one_of_each_type();
        send(&server, &all);
        for selection in [Selection::app(APP), Selection::apps([APP, OTHER])] {
            let mut tail = consumer(&server).follow_stream(&selection, TOKEN).unwrap();
            let stored = tail.by_ref().take(all.len()).collect::<Result<Vec<_>, _>>().unwrap();
            assert_eq!(stored.len(), all.len());
            // Log Cache restarts.
            let lost = now();
            server.empty_log_cache();
            let after = one_of_each_type();
            send(&server, &after);
            let error = tail.next().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
            let gap = error.as_gap().unwrap();
            assert_eq!(gap.ending, Ending::Forgotten);
            assert!((gap.from.unwrap()..gap.until.unwrap()).contains(&lost), "{gap:?}");
            let app = selection.clone() != Selection::app(APP);
            assert_eq!(error.app_id(), app.then_some(APP));
            assert_next(&mut tail, &after);
        }
    });
}

#[test]
fn types_and_names_are_asked_of_log_cache() {
    within(DEADLINE, || {
        let server = serve();
        let selection = Selection::app(APP)
            .types([EnvelopeType::Counter, EnvelopeType::Gauge])
            .counter_names(["requests"])
            .gauge_names(["cpu"]);
        let mut tail = consumer(&server).follow_stream(&selection, TOKEN).unwrap();
        let target = server.requests().last().unwrap().target.clone();
        assert!(
            target.starts_with(&format!(
                "/api/v1/read/{APP}?envelope_types=COUNTER&envelope_types=GAUGE&name_filter=%5E%28%3F%3Acpu%7Crequests%29%24&"
            )),
            "{target}"
        );
        for n in 0..10 {
            // Also a counter with the name of a gauge that is selected, which passes the filter.
            let others = (0..50).map(|other| envelope(counter("other", other)));
            let others: Vec<_> = others
                .chain([envelope(gauge(&[("disk", 1.0)])), envelope(counter("cpu", 1))])
                .chain(one_of_each_type())
                .collect();
            send(&server, &others);
            for expected in [counter("requests", u64::MAX), gauge(&[("cpu", 0.5)])] {
                assert_eq!(tail.next().unwrap().unwrap().body, expected);
            }
            let counter = envelope(counter("requests", n));
            send(&server, std::slice::from_ref(&counter));
            assert_next(&mut tail, &[counter]);
        }
        assert_silent(&mut tail);
        tail.close().unwrap();

        let _all = consumer(&server).follow_stream(&Selection::app(APP), TOKEN).unwrap();
        let target = server.requests().last().unwrap().target.clone();
        assert!(target.starts_with(&format!("/api/v1/read/{APP}?start_time=")), "{target}");
    });
}

#[test]
fn several_sources_are_one_tail_and_one_that_is_rejected_is_named() {
    within(DEADLINE, || {
        let server = TrafficController::builder().generation(Generation::Today).apps([APP, OTHER]).start().unwrap();
        let gone = "11111111-aaaa-bbbb-cccc-000000000003";
        let token = server.issue_token();
        let selection = Selection::apps([APP, gone, OTHER]).types([EnvelopeType::Counter]);
        let mut tail = consumer(&server).follow_stream(&selection, &token).unwrap();
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.app_id()), (ErrorKind::Unauthorized, Some(gone)), "{error}");
        for n in 0..5 {
            for source in [APP, OTHER] {
                let one = Envelope::new(source, counter("a", n)).timestamp(now());
                send(&server, std::slice::from_ref(&one));
                assert_next(&mut tail, &[one]);
            }
        }
    });
}

#[test]
fn a_tool_that_restarts_goes_on_where_it_was_complete() {
    within(DEADLINE, || {
        let server = serve();
        let before = one_of_each_type();
        send(&server, &before);
        let consumer = consumer(&server);
        let mut tail = consumer.follow_stream(&Selection::app(APP), TOKEN).unwrap();
        assert_next(&mut tail, &before);
        while tail.complete_until().is_none() {
            assert!(tail.recv_timeout(Duration::from_millis(100)).is_err());
        }
        let until = tail.complete_until().unwrap();
        drop(tail);
        let meanwhile = one_of_each_type();
        send(&server, &meanwhile);
        let mut tail = consumer.follow_stream_since(&Selection::app(APP), TOKEN, until).unwrap();
        let mut found = Vec::new();
        while found.last() != meanwhile.last() {
            found.push(tail.next().unwrap().unwrap());
        }
        // Those that could still have got company come once more, and none is missing.
        assert!([before, meanwhile].concat().ends_with(&found), "{found:?}");
    });
}

#[test]
fn a_stream_over_log_cache_has_only_what_is_new() {
    within(DEADLINE, || {
        let server = serve();
        send(&server, &one_of_each_type());
        // No other server is known, or this one is asked for.
        for consumer in
            [consumer(&server), builder(&server).api(&server.api()).tail_via(Via::LogCache).build().unwrap()]
        {
            let mut tail = consumer.stream(&Selection::app(APP), TOKEN).unwrap();
            let live = one_of_each_type();
            send(&server, &live);
            assert_next(&mut tail, &live);
            assert_silent(&mut tail);
        }
        assert_eq!(server.open_tails(APP), 0);
    });
}

#[test]
fn a_stream_is_polled_while_no_other_server_has_a_route() {
    within(DEADLINE, || {
        let server = serve();
        server.take_away(Server::Doppler, RouterError::UnknownRoute);
        server.take_away(Server::RlpGateway, RouterError::UnknownRoute);
        let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
        let mut tail = consumer.stream(&Selection::apps([APP, OTHER]), TOKEN).unwrap();
        let live = one_of_each_type();
        send(&server, &live);
        assert_next(&mut tail, &live);
    });
}

#[test]
fn korifi_has_logs_and_says_that_it_holds_no_metrics() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Korifi).unwrap();
        let consumer = builder(&server).api(&server.api()).reconnect(Reconnect::default()).build().unwrap();
        let line = |text: &str| LogMessage::new(APP, text).timestamp(now()).source("APP", "");
        let old = line("old");
        server.send(old.clone());
        let mut stream = consumer.stream(&Selection::app(APP), TOKEN).unwrap();
        let mut followed = consumer.follow_stream(&Selection::app(APP), TOKEN).unwrap();
        assert_next(&mut followed, &[Envelope::from(old).instance_id("")]);
        let new = line("new");
        server.send(new.clone());
        for tail in [&mut stream, &mut followed] {
            assert_next(tail, &[Envelope::from(new.clone())]);
        }
        let error = |types: &[EnvelopeType]| {
            let selection = Selection::app(APP).types(types.iter().copied());
            let errors = [consumer.stream(&selection, TOKEN), consumer.follow_stream(&selection, TOKEN)];
            errors.map(|result| result.map(|_| ()).unwrap_err())
        };
        for error in error(&[EnvelopeType::Gauge]).into_iter().chain(error(&[EnvelopeType::Counter])) {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains("Korifi holds only logs: see Consumer::metrics"), "{error}");
        }
        // It says itself that it does not know a type.
        for error in error(&[EnvelopeType::Log, EnvelopeType::Event]) {
            assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
            assert!(error.to_string().contains("envelope_types can only be"), "{error}");
        }
    });
}

#[test]
fn what_log_cache_does_not_have_is_an_error_that_says_so() {
    within(DEADLINE, || {
        let server = serve();
        let via_log_cache = builder(&server).tail_via(Via::LogCache).build().unwrap();
        for (selection, text) in [
            (Selection::all(), "Log Cache has no firehose"),
            (Selection::app(APP).shard("x"), "Log Cache does not share envelopes"),
            (Selection::apps([""; 0]), "no app is selected"),
            (Selection::app("my app"), "white space"),
        ] {
            let errors = [
                consumer(&server).follow_stream(&selection, TOKEN).unwrap_err(),
                consumer(&server).follow_stream_since(&selection, TOKEN, 0).unwrap_err(),
                via_log_cache.stream(&selection, TOKEN).unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                assert!(error.to_string().contains(text), "{error}");
            }
        }
        assert!(server.requests().is_empty());
        let old = TrafficController::of(Generation::Y2016).unwrap();
        let without = Builder::new().api(&old.api()).proxy(Proxy::none()).build().unwrap();
        let error = without.follow_stream(&Selection::app(APP), TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("no other server holds envelopes: use Consumer::stream"), "{error}");
        let error = consumer(&server).follow_stream(&Selection::app(APP), "").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    });
}

/// Any envelope that version 1 and Log Cache can carry without a loss, with its time after some moment.
fn any_envelope() -> impl Strategy<Value = Envelope> {
    // White space around a message is lost.
    let payload = "[!-~]([ -~é]{0,200}[!-~])?".prop_map(String::into_bytes);
    let envelope = envelopes::any_envelope(Just(APP.to_owned()), payload);
    (envelope, 0..1000_i64).prop_map(|(envelope, microseconds)| envelope.timestamp(microseconds * 1000))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn doppler_the_gateway_and_log_cache_give_equal_envelopes(sent in prop::collection::vec(any_envelope(), 1..20)) {
        within(DEADLINE, move || {
            let server = serve();
            let token = server.issue_admin_token();
            let via = |via| builder(&server).api(&server.api()).tail_via(via).build().unwrap();
            let tails = [
                via(Via::Doppler).stream(&Selection::all(), &token).unwrap(),
                via(Via::RlpGateway).stream(&Selection::app(APP), &token).unwrap(),
                via(Via::LogCache).stream(&Selection::app(APP), &token).unwrap(),
                consumer(&server).follow_stream(&Selection::app(APP), &token).unwrap(),
            ];
            let begin = now();
            let sent: Vec<_> =
                sent.into_iter().map(|it| it.clone().timestamp(begin + it.timestamp)).collect();
            send(&server, &sent);
            let sorted = |mut envelopes: Vec<Envelope>| {
                envelopes.sort_by_key(|envelope| format!("{envelope:?}"));
                envelopes
            };
            let sent = sorted(sent);
            for mut tail in tails {
                let found = tail.by_ref().take(sent.len()).collect::<Result<Vec<_>, _>>().unwrap();
                assert_eq!(sorted(found), sent);
            }
        });
    }
}
