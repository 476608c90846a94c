//! `read`: what Log Cache holds of a source, page by page.

use loggregator_consumer::testing::{Fault, Generation, RequestKind, TrafficController};
use loggregator_consumer::{Body, Builder, Consumer, Envelope, EnvelopeType, ErrorKind, GaugeValue, LogMessage};
use loggregator_consumer::{Proxy, Selection, TokenSource, Uaa, Window};

use crate::common::messages::head;
use crate::common::{DEADLINE, ScriptedServer, read_head, send, send_endlessly, within};
use crate::{APP, OTHER, TOKEN, answering, gauge, log, log_cache, of};

/// Some 3000 envelopes of all types, with runs of equal times across the ends of pages.
fn fill(server: &TrafficController) -> usize {
    let mut count = 0;
    for second in 0..500_i64 {
        for n in 0..1 + second % 11 {
            let time = 1_700_000_000_000_000_000 + second * 1_000_000_000;
            let envelope = match n % 3 {
                0 => log(time, &format!("{second}-{n}")),
                1 => gauge("0", time, &[("temperature", n as f64)]),
                _ => {
                    let body = Body::Counter { name: format!("c{n}"), delta: 1, total: 2 };
                    Envelope::new(APP, body).timestamp(time)
                }
            };
            server.send_envelope(envelope);
            count += 1;
        }
    }
    count
}

fn collect(consumer: &Consumer, selection: &Selection, window: &Window) -> Vec<Envelope> {
    consumer.read(selection, window, "").unwrap().map(Result::unwrap).collect()
}

fn key(envelope: &Envelope) -> (i64, String) {
    (envelope.timestamp, format!("{envelope:?}"))
}

#[test]
fn every_envelope_comes_once_in_both_directions_on_each_generation() {
    within(3 * DEADLINE, || {
        for generation in [Generation::LogCache1, Generation::Today] {
            let server = TrafficController::builder().generation(generation).retain(10_000).start().unwrap();
            let count = fill(&server);
            let consumer = of(&server);
            let mut oldest_first = collect(&consumer, &Selection::app(APP), &Window::all());
            let mut newest_first = collect(&consumer, &Selection::app(APP), &Window::all().newest_first());
            assert!(oldest_first.is_sorted_by_key(|envelope| envelope.timestamp));
            assert!(newest_first.iter().rev().is_sorted_by_key(|envelope| envelope.timestamp));
            assert_eq!((oldest_first.len(), newest_first.len()), (count, count), "{generation:?}");
            oldest_first.sort_by_key(key);
            newest_first.sort_by_key(key);
            assert_eq!(oldest_first, newest_first);
            oldest_first.dedup();
            assert_eq!(oldest_first.len(), count);
        }
    });
}

#[test]
fn a_window_and_a_selection_bound_what_comes() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let second = |n: i64| 1_700_000_000_000_000_000 + n * 1_000_000_000;
        for n in 0..10 {
            server.send_envelope(log(second(n), &n.to_string()));
            server.send_envelope(gauge("0", second(n), &[("a", 1.0), ("b", 2.0)]));
        }
        let (consumer, app) = (of(&server), Selection::app(APP));
        let times = |window| collect(&consumer, &app, &window).iter().map(|it| it.timestamp).collect::<Vec<_>>();
        assert_eq!(times(Window::all().start(second(8))), [8, 8, 9, 9].map(second));
        assert_eq!(times(Window::all().start(second(2)).end(second(3))), [2, 2].map(second));
        assert_eq!(times(Window::all().limit(3).newest_first()), [9, 9, 8].map(second));
        assert_eq!(times(Window::all().limit(0)), [0; 0]);
        assert_eq!(times(Window::all().end(0)), [0; 0]);

        let gauges = Selection::app(APP).types([EnvelopeType::Gauge]).gauge_names(["b"]);
        let gauges = collect(&consumer, &gauges, &Window::all().limit(2));
        let only_b = Body::Gauge([("b".to_owned(), GaugeValue::new(2.0, "bytes"))].into());
        assert_eq!(gauges.iter().map(|it| &it.body).collect::<Vec<_>>(), [&only_b, &only_b]);
        let query = server.requests().last().unwrap().target.clone();
        assert!(query.ends_with("?limit=2&envelope_types=GAUGE&name_filter=%5E%28%3F%3Ab%29%24"), "{query}");

        collect(&consumer, &app, &Window::all().name_filter("^b$|c d"));
        let query = server.requests().last().unwrap().target.clone();
        assert!(query.ends_with("&name_filter=%5Eb%24%7Cc%20d"), "{query}");
        let error = consumer.read(&app, &Window::all().name_filter("["), "").unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::ServerError, Some(500)));
        assert!(error.to_string().contains("missing closing ]"), "{error}");
    });
}

#[test]
fn only_one_source_can_be_read() {
    let consumer = Builder::new().log_cache("https://log-cache.example.com").build().unwrap();
    let error = |selection, window| consumer.read(&selection, &window, TOKEN).unwrap_err();
    for selection in [
        Selection::all(),
        Selection::apps([APP, OTHER]),
        Selection::apps([""; 0]),
        Selection::app(APP).shard("x"),
        Selection::app("a b"),
    ] {
        assert_eq!(error(selection, Window::all()).kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(error(Selection::app(APP), Window::all().start(2).end(1)).kind(), ErrorKind::InvalidInput);
}

#[test]
fn korifi_gives_its_newest_envelopes() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Korifi).unwrap();
        let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
        server.add_recent(APP, (0..5).map(|n| LogMessage::new(APP, n.to_string()).timestamp(n * 1_000_000_000)));
        let window = Window::all().newest_first();
        let found = consumer.read(&Selection::app(APP), &window, TOKEN).unwrap();
        let found: Vec<_> = found.map(Result::unwrap).collect();
        assert_eq!((found.len(), &*found[0].source_id), (5, APP));
        let error = consumer.read(&Selection::app(APP), &window.name_filter("x"), TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest);
        assert!(error.to_string().contains("Valid parameters are"), "{error}");

        // Names are selected on this side.
        let container = ["cpu", "memory", "disk", "memory_quota", "disk_quota"].map(|name| (name, 1.0));
        server.send_envelope(gauge("0", 1_700_000_000_000_000_000, &container));
        let cpu = Selection::app(APP).types([EnvelopeType::Gauge]).gauge_names(["cpu"]);
        let found: Vec<_> = consumer.read(&cpu, &Window::all(), TOKEN).unwrap().map(Result::unwrap).collect();
        let [Body::Gauge(values)] = &found.iter().map(|it| it.body.clone()).collect::<Vec<_>>()[..] else {
            panic!("{found:?}")
        };
        assert!(values.keys().eq(["cpu"]), "{values:?}");
    });
}

#[test]
fn a_failure_between_two_pages_is_the_last_item() {
    within(DEADLINE, || {
        let server = TrafficController::builder().generation(Generation::Today).retain(10_000).start().unwrap();
        fill(&server);
        let consumer = of(&server);
        let mut envelopes = consumer.read(&Selection::app(APP), &Window::all(), "").unwrap();
        server.always_at(RequestKind::LogCacheRead, Fault::RefuseStatus { status: 503, body: Vec::new() });
        let items: Vec<_> = envelopes.by_ref().collect();
        let (last, before) = items.split_last().unwrap();
        assert!(before.len() >= 1000 && before.iter().all(Result::is_ok));
        assert_eq!(last.as_ref().unwrap_err().kind(), ErrorKind::ServerError);
        assert!(envelopes.next().is_none());
    });
}

#[test]
fn a_token_that_expires_between_two_pages_is_renewed() {
    within(DEADLINE, || {
        let server = TrafficController::builder().generation(Generation::Today).retain(10_000).start().unwrap();
        let count = fill(&server);
        let session = Uaa::new(&server.api()).refresh_token(&server.issue_refresh_token());
        let tokens = TokenSource::uaa(session).unwrap();
        let consumer = Builder::new().api(&server.api()).tokens(tokens).proxy(Proxy::none()).build().unwrap();
        let mut envelopes = consumer.read(&Selection::app(APP), &Window::all(), "").unwrap();
        assert!(envelopes.next().unwrap().is_ok());
        server.expire_tokens();
        assert_eq!(envelopes.map(Result::unwrap).count(), count - 1);
        assert_eq!(server.refreshes(), 2);
    });
}

#[test]
fn a_close_ends_it_at_the_next_page() {
    within(DEADLINE, || {
        let server = TrafficController::builder().generation(Generation::Today).retain(10_000).start().unwrap();
        fill(&server);
        let consumer = of(&server);
        let mut envelopes = consumer.read(&Selection::app(APP), &Window::all(), "").unwrap();
        consumer.close().unwrap();
        let error = envelopes.find_map(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(envelopes.next().is_none());
        drop(envelopes);
        assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn pages_that_are_too_large_for_the_server_are_requested_in_smaller_ones() {
    within(DEADLINE, || {
        let builder = TrafficController::builder().generation(Generation::Today);
        let server = builder.retain(10_000).largest_answer(40_000).start().unwrap();
        let count = fill(&server);
        assert_eq!(collect(&of(&server), &Selection::app(APP), &Window::all()).len(), count);
    });
}

#[test]
fn a_page_without_an_end_is_too_large() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![Box::new(|mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[&head("200 OK", &["Content-Type: application/json"]), br#"{"envelopes":{"batch":["#]);
            send_endlessly(&mut socket, br#"{"event":{"title":"t","body":"b"}},"#);
        })]);
        let consumer = log_cache(&server).max_recent_size(100_000).build().unwrap();
        let error = consumer.read(&Selection::app(APP), &Window::all(), TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().ends_with("see Builder::max_recent_size"), "{error}");
    });
}

#[test]
fn envelopes_of_a_later_server_are_kept_out_of_the_way() {
    within(DEADLINE, || {
        let batch = r#"[{"timestamp":"1","span":{"id":7}},{"timestamp":"2","event":{"title":"t","body":"b","new":1}},
            {"timestamp":"x"},{"timestamp":"3","log":{"payload":"aGk=","type":"OUT"},"links":[]}]"#;
        let consumer = log_cache(&answering(&format!(r#"{{"envelopes":{{"batch":{batch}}}}}"#))).build().unwrap();
        let found = consumer.read(&Selection::app(APP), &Window::all(), TOKEN).unwrap();
        let times: Vec<_> = found.map(|envelope| envelope.unwrap().timestamp).collect();
        assert_eq!(times, [2, 3]);
    });
}
