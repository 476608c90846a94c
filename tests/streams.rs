//! Streams of envelopes: of one app, of several, and of a whole foundation, shared between processes.

mod common;

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::envelopes::any_envelope;
use common::{DEADLINE, within};
use loggregator_consumer::testing::{
    Frame, Generation, RequestKind, RouterError, Server, SlowReader, TrafficController,
};
use loggregator_consumer::{
    Body, Builder, Consumer, Ending, Envelope, EnvelopeType, ErrorKind, GaugeValue, LogMessage, MessageType, Polling,
    Proxy, Reconnect, Selection, Tail, Via,
};
use proptest::prelude::*;

const APP: &str = "11111111-aaaa-bbbb-cccc-000000000001";
const OTHER: &str = "11111111-aaaa-bbbb-cccc-000000000002";

fn builder(server: &TrafficController) -> Builder {
    Builder::new().api(&server.api()).proxy(Proxy::none())
}

fn via(server: &TrafficController, via: Via) -> Consumer {
    builder(server).tail_via(via).build().unwrap()
}

fn log(text: &str) -> Body {
    Body::Log { payload: text.as_bytes().to_vec(), message_type: MessageType::Out }
}

fn counter(name: &str) -> Body {
    Body::Counter { name: name.to_owned(), delta: 3, total: u64::MAX }
}

fn gauge(values: &[(&str, f64)]) -> Body {
    Body::Gauge(values.iter().map(|(name, value)| ((*name).to_owned(), GaugeValue::new(*value, "bytes"))).collect())
}

/// Now, in full microseconds.
fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap() * 1000
}

fn timer() -> Body {
    Body::Timer { name: "http".to_owned(), start: 1_700_000_000_000_000_000, stop: 1_700_000_000_123_456_789 }
}

/// What both Doppler and the gateway can carry. All of it names the app, also in version 1.
fn of_app() -> Vec<Envelope> {
    let envelope = |body| Envelope::new(APP, body).instance_id("3").tag("app_name", "shop").timestamp(1_000_000);
    let metrics = [("cpu", 12.5), ("memory", 1e9), ("disk", 2e9), ("memory_quota", 3e9), ("disk_quota", 4e9)];
    let mut metrics = gauge(&metrics);
    if let Body::Gauge(values) = &mut metrics {
        values.insert("cpu".to_owned(), GaugeValue::new(12.5, "percentage"));
    }
    let request = envelope(timer())
        .tag("method", "POST")
        .tag("peer_type", "Server")
        .tag("request_id", "01234567-89ab-cdef-0123-456789abcdef")
        .tag("uri", "http://shop.example.com/cart")
        .tag("remote_address", "10.0.0.1:443")
        .tag("user_agent", "curl")
        .tag("status_code", "201")
        .tag("content_length", "17")
        .tag("routing_instance_id", "cell")
        .tag("forwarded", "10.0.0.1\n10.0.0.2");
    vec![
        envelope(log("one")).tag("source_type", "APP/PROC/WEB").tag("origin", "rep"),
        envelope(Body::Log { payload: b"\xff".to_vec(), message_type: MessageType::Err }),
        envelope(metrics),
        request,
    ]
}

fn take<T>(tail: &mut Tail<T>, count: usize) -> Vec<T> {
    tail.by_ref().take(count).collect::<Result<_, _>>().unwrap()
}

#[test]
fn an_app_gives_equal_envelopes_over_doppler_and_the_gateway() {
    within(DEADLINE, || {
        for server in [Via::Doppler, Via::RlpGateway] {
            let foundation = TrafficController::of(Generation::Today).unwrap();
            let mut tail = via(&foundation, server).stream(&Selection::app(APP), "bearer token").unwrap();
            for envelope in of_app() {
                assert_eq!(foundation.send_envelope(envelope), 1, "{server:?}");
            }
            // Of another app.
            assert_eq!(foundation.send_envelope(Envelope::new(OTHER, log("other"))), 0);
            assert_eq!(take(&mut tail, of_app().len()), of_app(), "{server:?}");
            tail.close().unwrap();
        }
    });
}

#[test]
fn a_log_message_and_its_envelope_are_the_same_message() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let consumer = builder(&server).build().unwrap();
        let mut messages = consumer.tail(APP, "bearer token").unwrap();
        let mut envelopes = consumer.stream(&Selection::app(APP), "bearer token").unwrap();
        let message = LogMessage::new(APP, "hello").source("APP/PROC/WEB", "0").timestamp(7);
        assert_eq!(server.send(message.clone()), 2);
        assert_eq!(server.send_envelope(message.clone().into()), 2);
        for _ in 0..2 {
            assert_eq!(messages.next().unwrap().unwrap(), message);
            assert_eq!(LogMessage::try_from(envelopes.next().unwrap().unwrap()), Ok(message.clone()));
        }
        assert_eq!(server.open_tails("*"), 0);
    });
}

#[test]
fn the_gateway_has_all_types() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let mut tail = builder(&server).build().unwrap().stream(&Selection::app(APP), "bearer token").unwrap();
        let event = Body::Event { title: "crash".to_owned(), body: "exit 1".to_owned() };
        let bodies = [log(""), counter("requests"), gauge(&[("a", 1.0), ("b", -0.5)]), timer(), event];
        let sent = bodies.map(|body| Envelope::new(APP, body).timestamp(i64::MAX));
        sent.iter().for_each(|envelope| assert_eq!(server.send_envelope(envelope.clone()), 1));
        assert_eq!(take(&mut tail, sent.len()), sent);
        assert_eq!(
            server.requests().last().unwrap().target,
            format!("/v2/read?log&counter&gauge&timer&event&source_id={APP}")
        );
    });
}

/// The selections, each with the targets of its requests to the gateway and to Doppler, and the names that it leaves.
fn selections() -> Vec<(Selection, &'static str, &'static str, Vec<&'static str>)> {
    use EnvelopeType::{Counter, Gauge, Log};
    let all = Selection::all().shard("s/1");
    let typed = |types: &[EnvelopeType]| all.clone().types(types.iter().copied());
    vec![
        (
            all.clone(),
            "log&counter&gauge&timer&event&shard_id=s%2F1",
            "/firehose/s%2F1",
            vec!["log", "c", "d", "a", "b", "http"],
        ),
        (typed(&[Log]), "log&shard_id=s%2F1", "/firehose/s%2F1?filter-type=logs", vec!["log"]),
        (typed(&[Counter]), "counter&shard_id=s%2F1", "/firehose/s%2F1?filter-type=metrics", vec!["c", "d"]),
        (
            typed(&[Counter, Gauge]).counter_names(["d", "d"]).gauge_names(["b"]),
            "counter.name=d&gauge.name=b&shard_id=s%2F1",
            "/firehose/s%2F1?filter-type=metrics",
            vec!["d", "b"],
        ),
        (
            // The gateway would send a gauge with both names twice, and split a name at its comma.
            typed(&[Gauge]).gauge_names(["a", "b"]),
            "gauge&shard_id=s%2F1",
            "/firehose/s%2F1?filter-type=metrics",
            vec!["a", "b"],
        ),
        (
            typed(&[Log, Gauge]).gauge_names(["x,y"]).counter_names(["c"]),
            "log&gauge&shard_id=s%2F1",
            "/firehose/s%2F1",
            vec!["log"],
        ),
    ]
}

/// The names in an envelope.
fn names(envelope: &Envelope) -> Vec<String> {
    match &envelope.body {
        Body::Counter { name, .. } | Body::Timer { name, .. } => vec![name.clone()],
        Body::Gauge(values) => values.keys().cloned().collect(),
        _ => vec!["log".to_owned()],
    }
}

#[test]
fn what_a_server_can_select_is_asked_of_it_and_the_rest_is_left_out_here() {
    within(DEADLINE, || {
        for (selection, query, path, expected) in selections() {
            for server in [Via::RlpGateway, Via::Doppler] {
                let foundation = TrafficController::of(Generation::Today).unwrap();
                let token = foundation.issue_admin_token();
                let mut tail = via(&foundation, server).stream(&selection, &token).unwrap();
                let target = if server == Via::Doppler { path.to_owned() } else { format!("/v2/read?{query}") };
                assert_eq!(foundation.requests().last().unwrap().target, target);
                let bodies = [log("log"), counter("c"), counter("d"), gauge(&[("a", 1.0), ("b", 2.0)]), timer()];
                for body in bodies {
                    // Version 1 has no requests without an id.
                    let id = "01234567-89ab-cdef-0123-456789abcdef";
                    foundation.send_envelope(Envelope::new("gorouter", body).tag("request_id", id));
                }
                foundation.close_tails("*", Some(1000), "");
                let items: Vec<_> = tail.by_ref().filter_map(Result::ok).collect();
                let left: Vec<_> = items.iter().flat_map(names).collect();
                assert_eq!(left, expected, "{server:?} {selection:?}");
            }
        }
    });
}

#[test]
fn the_firehose_names_the_scope_that_is_missing() {
    within(DEADLINE, || {
        let server = TrafficController::builder().generation(Generation::Today).tokens(["bearer x"]).start().unwrap();
        for (via_server, status, scope) in
            [(Via::Doppler, 401, "scope doppler.firehose"), (Via::RlpGateway, 404, "doppler.firehose or logs.admin")]
        {
            for token in [server.issue_token(), "bearer bad".to_owned()] {
                let error = via(&server, via_server).stream(&Selection::all(), &token).unwrap_err();
                assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(status)), "{error}");
                assert!(error.to_string().contains(scope), "{error}");
                assert!(!error.to_string().contains(&token), "{error}");
            }
            assert!(via(&server, via_server).stream(&Selection::all(), &server.issue_admin_token()).is_ok());
        }
    });
}

#[test]
fn a_firehose_of_events_is_read_from_the_gateway_because_doppler_has_none() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let (token, events) = (server.issue_admin_token(), Selection::all().types([EnvelopeType::Event]));
        let mut tail = builder(&server).build().unwrap().stream(&events, &token).unwrap();
        assert_eq!(server.requests().last().unwrap().target, "/v2/read?event");
        let event = Envelope::new(APP, Body::Event { title: "crash".to_owned(), body: "exit 1".to_owned() });
        assert_eq!(server.send_envelope(event.clone()), 1);
        assert_eq!(tail.next().unwrap().unwrap().body, event.body);
        let doppler = Builder::new().doppler(&server.endpoint()).proxy(Proxy::none()).build().unwrap();
        let error = doppler.stream(&events, &token).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("RLP gateway"), "{error}");
    });
}

/// Selections of an app of which Doppler's stream of the app has nothing.
fn not_in_doppler() -> Vec<(Selection, Body)> {
    use EnvelopeType::{Counter, Event, Gauge};
    let event = || Body::Event { title: "crash".to_owned(), body: "exit 1".to_owned() };
    let app = |types: &[EnvelopeType]| Selection::app(APP).types(types.iter().copied());
    vec![
        (app(&[Event]), event()),
        (app(&[Event, Counter]), counter("requests")),
        (app(&[Counter]), counter("requests")),
        // Of gauges, it has only the metrics of containers.
        (app(&[Gauge]).gauge_names(["queue"]), gauge(&[("queue", 1.0)])),
        (Selection::apps([APP, OTHER]).types([Event]), event()),
    ]
}

#[test]
fn what_doppler_does_not_carry_is_never_read_from_it() {
    within(DEADLINE, || {
        let consumer = |server: &TrafficController| {
            let polling = Polling::default().every(Duration::from_millis(20)).idle(Duration::from_millis(50));
            builder(server).polling(polling).build().unwrap()
        };
        for (selection, body) in not_in_doppler() {
            for has_gateway in [true, false] {
                let server = TrafficController::of(Generation::Today).unwrap();
                if !has_gateway {
                    server.take_away(Server::RlpGateway, RouterError::UnknownRoute);
                }
                let mut tail = consumer(&server).stream(&selection, "bearer token").unwrap();
                assert!(server.requests().iter().all(|request| request.kind != RequestKind::Stream), "{selection:?}");
                server.send_envelope(Envelope::new(APP, body.clone()).timestamp(now()));
                assert_eq!(tail.next().unwrap().unwrap().body, body, "{selection:?}");
            }
        }
        // What it carries a part of is read from it, if there is nothing better.
        for selection in [
            Selection::app(APP).types([EnvelopeType::Gauge]).gauge_names(["queue", "cpu"]),
            Selection::app(APP).types([EnvelopeType::Counter, EnvelopeType::Timer]),
        ] {
            let server = TrafficController::of(Generation::Today).unwrap();
            server.take_away(Server::RlpGateway, RouterError::UnknownRoute);
            let _tail = consumer(&server).stream(&selection, "bearer token").unwrap();
            assert_eq!(server.open_tails(APP), 1, "{selection:?}");
        }
    });
}

#[test]
fn where_only_doppler_could_be_asked_for_what_it_does_not_carry_the_error_says_so() {
    within(DEADLINE, || {
        let old = TrafficController::of(Generation::Y2016).unwrap();
        let today = TrafficController::of(Generation::Today).unwrap();
        let consumers = [
            builder(&old).build().unwrap(),
            Builder::new().doppler(&today.endpoint()).proxy(Proxy::none()).build().unwrap(),
            via(&today, Via::Doppler),
        ];
        let events = (Selection::all().types([EnvelopeType::Event]), counter("any"));
        for (selection, _) in not_in_doppler().into_iter().chain([events]) {
            for consumer in &consumers {
                let error = consumer.stream(&selection, "bearer token").unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                assert!(error.to_string().contains("Doppler has no events"), "{error}");
                assert!(error.to_string().contains("RLP gateway"), "{error}");
            }
        }
        for server in [&old, &today] {
            assert!(server.requests().iter().all(|request| request.kind != RequestKind::Stream));
        }
    });
}

#[test]
fn a_selection_that_no_known_server_has_is_invalid() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let error = |consumer: &Consumer, selection: Selection| {
            let error = consumer.stream(&selection, "bearer token").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            error.to_string()
        };
        let [doppler, legacy] = [Via::Doppler, Via::Legacy].map(|it| via(&server, it));
        assert!(error(&doppler, Selection::app(APP).shard("x")).contains("shares only the firehose"));
        assert!(error(&legacy, Selection::app(APP)).contains("no address of the legacy Traffic Controller"));
        let any = builder(&server).build().unwrap();
        let none: [&str; 0] = [];
        assert!(error(&any, Selection::apps(none)).contains("no app is selected"));
        assert!(error(&any, Selection::app("my app")).contains("white space"));
        assert!(error(&any, Selection::all().shard("")).contains("shard id"));
        let only_log_cache = Builder::new().log_cache(&server.api()).proxy(Proxy::none()).build().unwrap();
        assert!(error(&only_log_cache, Selection::all()).contains("no address of the RLP gateway or of Doppler"));
    });
}

#[test]
fn what_an_old_doppler_has_dropped_is_a_gap() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Y2016).unwrap();
        let notice = |origin: &str| {
            let dropped = Body::Counter { name: "TruncatingBuffer.DroppedMessages".to_owned(), delta: 100, total: 300 };
            Envelope::new("doppler", dropped).tag("origin", origin)
        };
        // Also if no counters are selected.
        let selection = Selection::all().types([EnvelopeType::Gauge]);
        let mut tail = via(&server, Via::Doppler).stream(&selection, &server.issue_admin_token()).unwrap();
        server.send_envelope(notice("doppler"));
        server.send_envelope(notice("another component"));
        server.send_envelope(Envelope::new("x", gauge(&[("a", 1.0)])));
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gap);
        assert_eq!(error.as_gap().unwrap().ending, Ending::Dropped { count: 100 });
        assert_eq!(error.to_string(), "the server dropped 100 envelopes, because this reader is too slow");
        assert_eq!(names(&tail.next().unwrap().unwrap()), ["a"]);
    });
}

#[test]
fn a_stream_reconnects_with_a_gap_and_asks_for_the_same() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let policy = Reconnect::default().first(Duration::ZERO);
        let consumer = builder(&server).reconnect(policy).build().unwrap();
        let token = server.issue_admin_token();
        for selection in [Selection::all(), Selection::app(APP).shard("x").types([EnvelopeType::Log])] {
            let key = if selection == Selection::all() { "*" } else { APP };
            let mut tail = consumer.stream(&selection, &token).unwrap();
            let target = server.requests().last().unwrap().target.clone();
            server.send_envelope(Envelope::new(APP, log("before")));
            assert_eq!(names(&tail.next().unwrap().unwrap()), ["log"]);
            server.drop_tails(key);
            assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Gap);
            assert_eq!(server.requests().last().unwrap().target, target);
            server.send_envelope(Envelope::new(APP, log("after")));
            assert_eq!(tail.next().unwrap().unwrap().body, log("after"));
            tail.close().unwrap();
        }
    });
}

/// What a process of the test below does: it reads the firehose of `STREAMS_SERVER` and prints what it gets.
#[test]
fn reader_of_the_firehose() {
    let Ok(server) = env::var("STREAMS_SERVER") else { return };
    let selection = Selection::all().shard(env::var("STREAMS_SHARD").unwrap());
    let via = if env::var("STREAMS_VIA").unwrap() == "doppler" { Via::Doppler } else { Via::RlpGateway };
    let consumer = Builder::new().api(&server).tail_via(via).proxy(Proxy::none()).build().unwrap();
    for envelope in consumer.stream(&selection, &env::var("STREAMS_TOKEN").unwrap()).unwrap() {
        match envelope.map(|envelope| envelope.body) {
            Ok(Body::Log { payload, .. }) => println!("line {}", String::from_utf8(payload).unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

struct Reader(Child);

impl Reader {
    fn start(server: &TrafficController, via: &str, shard: &str, token: &str) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "reader_of_the_firehose", "--nocapture"])
            .env("STREAMS_SERVER", server.api())
            .env("STREAMS_SHARD", shard)
            .env("STREAMS_TOKEN", token)
            .env("STREAMS_VIA", via)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Reader(child)
    }

    /// Returns the numbers that it got until the server closed its stream.
    fn numbers(mut self) -> Vec<u32> {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        // The harness writes the name of the test without a line end.
        lines.filter_map(|line| line.split_once("line ")?.1.parse().ok()).collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn three_processes_with_one_shard_id_get_each_envelope_once_and_another_id_gets_all_again() {
    within(3 * DEADLINE, || {
        for via in ["doppler", "gateway"] {
            let server = TrafficController::of(Generation::Today).unwrap();
            let token = server.issue_admin_token();
            let shards = ["one", "one", "one", "two"];
            let readers = shards.map(|shard| (shard, Reader::start(&server, via, shard, &token)));
            assert!(server.wait_for_tails("*", shards.len(), 2 * DEADLINE), "{via}");
            for number in 0..300 {
                assert_eq!(server.send_envelope(Envelope::new(APP, log(&number.to_string()))), 2, "{via}");
            }
            server.close_tails("*", Some(1000), "");
            let mut got: BTreeMap<_, Vec<Vec<u32>>> = BTreeMap::new();
            for (shard, reader) in readers {
                got.entry(shard).or_default().push(reader.numbers());
            }
            let all: Vec<_> = (0..300).collect();
            assert_eq!(got["two"].concat(), all, "{via}");
            let mut shared = got["one"].concat();
            shared.sort_unstable();
            assert_eq!(shared, all, "{via}: each once");
            assert!(got["one"].iter().all(|numbers| !numbers.is_empty()), "{via}: everyone has a part");
        }
    });
}

#[test]
fn a_selection_without_a_shard_shares_with_nobody() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let token = server.issue_admin_token();
        for via_server in [Via::Doppler, Via::RlpGateway] {
            let consumer = via(&server, via_server);
            let [mut one, mut other] = [(); 2].map(|()| consumer.stream(&Selection::all(), &token).unwrap());
            assert_eq!(server.send_envelope(Envelope::new(APP, log("x"))), 2);
            assert_eq!(one.next().unwrap().unwrap(), other.next().unwrap().unwrap());
        }
    });
}

#[test]
fn a_reader_that_doppler_cuts_off_is_told() {
    within(DEADLINE, || {
        let server = TrafficController::builder()
            .generation(Generation::Today)
            .slow_reader(SlowReader::CutOff(Duration::from_millis(100)))
            .start()
            .unwrap();
        let mut tail = via(&server, Via::Doppler).stream(&Selection::all(), &server.issue_admin_token()).unwrap();
        let body = log(&"x".repeat(1_000_000));
        // Until the server has no room, and waits no longer.
        while server.open_tails("*") == 1 {
            server.send_envelope(Envelope::new(APP, body.clone()));
        }
        let last = tail.by_ref().last().unwrap().unwrap_err();
        assert_eq!(last.kind(), ErrorKind::ConnectionLost, "{last}");
        assert!(matches!(tail.ending(), Some(Ending::Eof | Ending::Reset)), "{:?}", tail.ending());
    });
}

#[test]
fn an_undecodable_envelope_is_an_item_and_the_stream_goes_on() {
    within(DEADLINE, || {
        for via_server in [Via::Doppler, Via::RlpGateway] {
            let server = TrafficController::of(Generation::Today).unwrap();
            let mut tail = via(&server, via_server).stream(&Selection::app(APP), "bearer token").unwrap();
            server.send_raw(APP, "\u{1}");
            server.send_envelope(of_app().remove(0));
            assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Undecodable);
            assert_eq!(tail.next().unwrap().unwrap(), of_app()[0]);
        }
    });
}

#[test]
fn a_stream_over_a_websocket_is_kept_alive() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let _tail = via(&server, Via::Doppler).stream(&Selection::all(), &server.issue_admin_token()).unwrap();
        let has_text = |frame: &Frame| matches!(frame, Frame::Text(_));
        assert!(server.wait_for_received(DEADLINE, |all| {
            all.iter().any(|one| one.frames.iter().any(|received| has_text(&received.frame)))
        }));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_firehose_gives_equal_envelopes_on_every_generation(sent in prop::collection::vec(any_envelope("[a-z-]{1,36}", prop::collection::vec(any::<u8>(), 1..300)), 1..20)) {
        within(DEADLINE, move || {
            for (generation, via_server) in [
                (Generation::Y2016, Via::Doppler),
                (Generation::Y2018, Via::Doppler),
                (Generation::Today, Via::Doppler),
                (Generation::Today, Via::RlpGateway),
            ] {
                let server = TrafficController::of(generation).unwrap();
                let mut tail = via(&server, via_server).stream(&Selection::all(), &server.issue_admin_token()).unwrap();
                for envelope in &sent {
                    assert_eq!(server.send_envelope(envelope.clone()), 1);
                }
                assert_eq!(take(&mut tail, sent.len()), sent, "{generation:?} {via_server:?}");
            }
        });
    }
}
