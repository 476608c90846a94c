//! What Log Cache holds: envelopes, page by page; metrics of containers, also from Doppler; `meta`, `info` and PromQL. What
//! real servers sent, and every generation of the testing foundation.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::foundation::PathServer;
use common::messages::{chunk, head, response};
use common::{DEADLINE, ScriptedServer, fixture, read_head, send, send_endlessly, within};
use loggregator_consumer::testing::{Fault, Generation, RequestKind, TrafficController};
use loggregator_consumer::{
    Body, Builder, Consumer, Envelope, EnvelopeType, Error, ErrorKind, GaugeValue, InstanceMetrics, LogMessage,
    MessageType, Proxy, QueryValue, Selection, TokenSource, Window,
};
use serde_json::Value;

const APP: &str = "11111111-1111-1111-1111-111111111111";
const OTHER: &str = "22222222-2222-2222-2222-222222222222";
const READ: &str = "00000021-aaaa-bbbb-cccc-000000000021";
const TOKEN: &str = "bearer a-token-of-a-user";

/// A consumer for a foundation, with a token of its own.
fn of(server: &TrafficController) -> Consumer {
    let tokens = TokenSource::fixed(&server.issue_token());
    Builder::new().api(&server.api()).tokens(tokens).proxy(Proxy::none()).build().unwrap()
}

/// A builder for a Log Cache at an address.
fn log_cache(server: &ScriptedServer) -> Builder {
    Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none())
}

fn replaying(name: &str) -> Consumer {
    log_cache(&ScriptedServer::responding(fixture(&format!("modern/{name}")))).build().unwrap()
}

fn answering(body: &str) -> ScriptedServer {
    ScriptedServer::responding(response("200 OK", &["Content-Type: application/json"], body.as_bytes()))
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

fn log(time: i64, text: &str) -> Envelope {
    let body = Body::Log { payload: text.as_bytes().to_vec(), message_type: MessageType::Out };
    Envelope::new(APP, body).instance_id("0").timestamp(time)
}

fn gauge(instance: &str, time: i64, values: &[(&str, f64)]) -> Envelope {
    let unit = |name: &str| if name.starts_with("cpu") { "percentage" } else { "bytes" };
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), GaugeValue::new(*value, unit(name)))).collect();
    Envelope::new(APP, Body::Gauge(values)).instance_id(instance).timestamp(time)
}

const CONTAINER: [(&str, f64); 5] =
    [("cpu", 12.5), ("memory", 1e6), ("memory_quota", 2e6), ("disk", 3e6), ("disk_quota", 4e6)];

mod captures {
    use super::*;

    #[test]
    fn every_envelope_of_a_captured_page_has_the_fields_that_were_sent() {
        within(DEADLINE, || {
            let sidecar: Value = serde_json::from_slice(&fixture("modern/lc-read-all.http.sent.json")).unwrap();
            let expected: Vec<_> = sidecar["envelopes"].as_array().unwrap().iter().map(|one| v2(&one["v2"])).collect();
            let consumer = replaying("lc-read-all.http");
            let found = consumer.read(&Selection::app(READ), &Window::all(), TOKEN).unwrap();
            let found: Vec<_> = found.map(Result::unwrap).collect();
            assert_eq!((found.len(), expected.len()), (160, 160));
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected);
            }
        });
    }

    /// Reads an envelope of a sidecar, in which what is zero is left out.
    fn v2(json: &Value) -> Envelope {
        let text = |json: &Value| json.as_str().unwrap_or_default().to_owned();
        let number = |json: &Value| json.as_str().map_or(0, |text| text.parse::<i64>().unwrap());
        let count = |json: &Value| json.as_str().map_or(0, |text| text.parse::<u64>().unwrap());
        let body = if let Some(log) = json.get("log") {
            Body::Log {
                payload: BASE64_STANDARD.decode(log["payload"].as_str().unwrap_or_default()).unwrap(),
                message_type: if log["type"] == "ERR" { MessageType::Err } else { MessageType::Out },
            }
        } else if let Some(counter) = json.get("counter") {
            Body::Counter {
                name: text(&counter["name"]),
                delta: count(&counter["delta"]),
                total: count(&counter["total"]),
            }
        } else if let Some(gauge) = json.get("gauge") {
            let value =
                |value: &Value| GaugeValue::new(value["value"].as_f64().unwrap_or_default(), text(&value["unit"]));
            let values = gauge["metrics"].as_object().unwrap().iter();
            Body::Gauge(values.map(|(name, json)| (name.clone(), value(json))).collect())
        } else if let Some(timer) = json.get("timer") {
            Body::Timer { name: text(&timer["name"]), start: number(&timer["start"]), stop: number(&timer["stop"]) }
        } else {
            Body::Event { title: text(&json["event"]["title"]), body: text(&json["event"]["body"]) }
        };
        let tags = json["tags"].as_object().into_iter().flatten();
        tags.fold(
            Envelope::new(text(&json["source_id"]), body)
                .instance_id(text(&json["instance_id"]))
                .timestamp(number(&json["timestamp"])),
            |envelope, (name, value)| envelope.tag(name, text(value)),
        )
    }

    #[test]
    fn the_sources_of_the_gateway_and_of_its_proxy_are_the_same() {
        within(DEADLINE, || {
            let sources = replaying("lc-meta.http").meta(TOKEN).unwrap();
            assert_eq!(replaying("cfap-meta-admin.http").meta(TOKEN).unwrap(), sources);
            assert_eq!(sources.len(), 14);
            let meta = sources["traffic_controller"];
            assert_eq!((meta.count, meta.expired), (48, 0));
            assert_eq!(meta.oldest_timestamp, 1_795_343_222_169_283_931);
            assert_eq!(meta.newest_timestamp, 1_795_343_642_161_787_654);
            assert_eq!(sources[READ].count, 160);
        });
    }

    #[test]
    fn info_is_the_version_and_the_uptime() {
        within(DEADLINE, || {
            for name in ["lc-info.http", "cfap-info-no-token.http"] {
                let info = replaying(name).info().unwrap();
                assert_eq!((&*info.version, info.vm_uptime), ("3.2.12", Some(Duration::from_secs(2204))), "{name}");
            }
        });
    }

    #[test]
    fn a_query_gives_its_vector_or_its_error() {
        within(DEADLINE, || {
            let result = replaying("lc-promql-instant.http").query_at("temperature", 1, TOKEN).unwrap();
            assert_eq!(result.warnings, [""; 0]);
            let QueryValue::Vector(samples) = result.value else { panic!("{result:?}") };
            let [one] = &*samples else { panic!("{samples:?}") };
            assert_eq!((one.sample.time, one.sample.value), (1_700_000_001_000_000_000, 174.5));
            let labels = [
                ("custom", "value"),
                ("deployment", "testbed"),
                ("index", "7"),
                ("instance_id", "0"),
                ("ip", "127.0.0.1"),
                ("job", "emitter"),
                ("origin", "tb-emitter"),
                ("source_id", READ),
            ];
            assert_eq!(one.labels, labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into());

            let error = replaying("lc-promql-err.http").query("{", TOKEN).unwrap_err();
            assert_eq!((error.kind(), error.status()), (ErrorKind::BadRequest, Some(500)));
            assert_eq!(error.error_type(), Some("internal"));
            let text =
                "500 Internal Server Error: internal: parse error at char 2: unexpected end of input inside braces";
            assert!(error.to_string().ends_with(text), "{error}");
            assert!(!error.is_transient());
        });
    }

    #[test]
    fn the_metrics_of_the_containers_of_2015_are_those_that_were_sent() {
        within(DEADLINE, || {
            let server = ScriptedServer::responding(fixture("modern/l15-dropsonde-containermetrics.http"));
            let consumer = Builder::new().doppler(&server.endpoint()).proxy(Proxy::none()).build().unwrap();
            let found = consumer.metrics(APP, TOKEN).unwrap();
            assert_eq!(found.len(), 3);
            for (n, one) in found.iter().enumerate() {
                let n = n as u64;
                assert_eq!(u64::from(one.index), n);
                assert_eq!(one.timestamp, 1_433_000_000_000_000_000 + n as i64);
                assert_eq!(
                    (one.cpu, one.memory, one.disk),
                    (Some(12.5 + n as f64), Some(1_000_000 + n), Some(2_000_000 + n))
                );
                assert_eq!((one.memory_quota, one.disk_quota, one.log_rate, one.uptime), (None, None, None, None));
            }
        });
    }
}

mod read {
    use super::*;

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
            assert!(query.ends_with("?limit=2&envelope_types=GAUGE"), "{query}");

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
            let session = loggregator_consumer::Uaa::new(&server.api()).refresh_token(&server.issue_refresh_token());
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
                send(
                    &mut socket,
                    &[&head("200 OK", &["Content-Type: application/json"]), br#"{"envelopes":{"batch":["#],
                );
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
}

mod metrics {
    use super::*;

    fn container() -> InstanceMetrics {
        // The type has no constructor, so the expected values are in one that was read.
        let server = TrafficController::of(Generation::Today).unwrap();
        server.send_envelope(gauge("0", now(), &CONTAINER));
        of(&server).metrics(APP, "").unwrap().remove(0)
    }

    #[test]
    fn log_cache_and_doppler_and_korifi_give_the_latest_of_each_instance() {
        within(DEADLINE, || {
            for generation in [
                Generation::Y2015,
                Generation::Y2016,
                Generation::Y2018,
                Generation::LogCache1,
                Generation::Today,
                Generation::Korifi,
            ] {
                let server = TrafficController::of(generation).unwrap();
                let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
                assert_eq!(consumer.metrics(APP, TOKEN).unwrap(), [], "{generation:?}");
                let second = now() / 1_000_000_000 * 1_000_000_000;
                let old = CONTAINER.map(|(name, value)| (name, value / 2.0));
                server.send_envelope(gauge("1", second - 15_000_000_000, &old));
                server.send_envelope(gauge("0", second - 1_000_000_000, &CONTAINER));
                server.send_envelope(gauge("1", second, &CONTAINER));
                let found = consumer.metrics(APP, TOKEN).unwrap();
                let shown: Vec<_> = found.iter().map(|one| (one.index, one.timestamp)).collect();
                assert_eq!(shown, [(0, second - 1_000_000_000), (1, second)], "{generation:?}");
                for one in found {
                    assert_eq!((one.cpu, one.memory, one.memory_quota), (Some(12.5), Some(1_000_000), Some(2_000_000)));
                    assert_eq!((one.disk, one.disk_quota), (Some(3_000_000), Some(4_000_000)));
                }
            }
        });
    }

    #[test]
    fn figures_of_several_envelopes_are_put_together() {
        within(DEADLINE, || {
            let server = TrafficController::of(Generation::Today).unwrap();
            let time = now();
            let of_process = |envelope: Envelope| envelope.tag("process_type", "web").tag("process_id", "guid");
            server.send_envelope(of_process(gauge("0", time, &CONTAINER)));
            server.send_envelope(of_process(gauge("0", time, &[("log_rate", 100.0), ("log_rate_limit", -1.0)])));
            let age = [("container_age", 90e9), ("absolute_usage", 1.0), ("absolute_entitlement", 2.0)];
            server.send_envelope(of_process(gauge("0", time, &age)));
            server.send_envelope(of_process(gauge("0", time, &[("cpu_entitlement", 55.5)])));
            let [one] = &*of(&server).metrics(APP, "").unwrap() else { panic!() };
            assert_eq!((one.process_type.as_deref(), one.process_id.as_deref()), (Some("web"), Some("guid")));
            assert_eq!((one.log_rate, one.log_rate_limit), (Some(100), Some(-1)));
            assert_eq!((one.uptime, one.cpu_entitlement), (Some(Duration::from_secs(90)), Some(55.5)));
            assert_eq!((one.cpu, one.memory), (container().cpu, container().memory));
        });
    }

    #[test]
    fn an_instance_without_metrics_for_two_minutes_has_ended() {
        within(DEADLINE, || {
            let server = TrafficController::of(Generation::Today).unwrap();
            let seconds_ago = |seconds: i64| now() - seconds * 1_000_000_000;
            server.send_envelope(gauge("0", seconds_ago(1), &CONTAINER));
            server.send_envelope(gauge("1", seconds_ago(100), &CONTAINER));
            server.send_envelope(gauge("2", seconds_ago(130), &CONTAINER));
            let indices: Vec<_> = of(&server).metrics(APP, "").unwrap().iter().map(|one| one.index).collect();
            assert_eq!(indices, [0, 1]);
        });
    }

    #[test]
    fn two_minutes_are_measured_by_the_servers_clock() {
        within(DEADLINE, || {
            let body = |seconds: i64| {
                let gauge = r#""gauge":{"metrics":{"cpu":{"unit":"percentage","value":1}}}"#;
                let batch = format!(r#"[{{"timestamp":"{seconds}000000000","instance_id":"0",{gauge}}}]"#);
                format!(r#"{{"envelopes":{{"batch":{batch}}}}}"#)
            };
            // 2001-09-09T01:46:40Z is 1,000,000,000 s.
            for (seconds, count) in [(1_000_000_000 - 119, 1), (1_000_000_000 - 121, 0)] {
                let headers = ["Content-Type: application/json", "Date: Sun, 09 Sep 2001 01:46:40 GMT"];
                let server = ScriptedServer::responding(response("200 OK", &headers, body(seconds).as_bytes()));
                assert_eq!(log_cache(&server).build().unwrap().metrics(APP, TOKEN).unwrap().len(), count, "{seconds}");
            }
        });
    }

    #[test]
    fn a_server_of_today_says_where_the_metrics_are() {
        within(DEADLINE, || {
            let server = TrafficController::of(Generation::Today).unwrap();
            let consumer = Builder::new().doppler(&server.endpoint()).proxy(Proxy::none()).build().unwrap();
            let error = consumer.metrics(APP, &server.issue_token()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains("but Log Cache has"), "{error}");
            let consumer = Builder::new().legacy(&server.endpoint()).proxy(Proxy::none()).build().unwrap();
            assert_eq!(consumer.metrics(APP, TOKEN).unwrap_err().kind(), ErrorKind::InvalidInput);
        });
    }

    #[test]
    fn endless_metrics_are_too_large() {
        within(DEADLINE, || {
            let server = TrafficController::of(Generation::Y2016).unwrap();
            server.send_envelope(gauge("0", now(), &CONTAINER));
            server.fault(Fault::EndlessMessages);
            let builder = Builder::new().doppler(&server.endpoint()).proxy(Proxy::none());
            let consumer = builder.max_recent_size(100_000).build().unwrap();
            assert_eq!(consumer.metrics(APP, TOKEN).unwrap_err().kind(), ErrorKind::TooLarge);
        });
    }
}

mod queries {
    use super::*;

    /// A foundation with a gauge of two instances at seconds 0, 15 and 30 of a minute that has passed.
    fn measured() -> (TrafficController, i64) {
        let server = TrafficController::of(Generation::Today).unwrap();
        let begin = (now() / 1_000_000_000 - 60) * 1_000_000_000;
        for n in 0..3 {
            for instance in ["0", "1"] {
                let value = (n * 10) as f64 + instance.parse::<f64>().unwrap();
                let time = begin + n * 15_000_000_000 + 5_000_000;
                server.send_envelope(gauge(instance, time, &[("http.latency", value)]).tag("job", "web"));
            }
        }
        (server, begin)
    }

    fn promql() -> String {
        format!(r#"http_latency{{source_id="{APP}",job="web"}}"#)
    }

    #[test]
    fn an_instant_query_gives_the_latest_sample_of_each_series() {
        within(DEADLINE, || {
            let (server, begin) = measured();
            let consumer = of(&server);
            let samples = |value| match value {
                QueryValue::Vector(samples) => samples,
                other => panic!("{other:?}"),
            };
            let found = samples(consumer.query(&promql(), "").unwrap().value);
            let values: Vec<_> = found.iter().map(|one| (&*one.labels["instance_id"], one.sample.value)).collect();
            assert_eq!(values, [("0", 20.0), ("1", 21.0)]);
            assert_eq!((&*found[0].labels["job"], &*found[0].labels["source_id"]), ("web", APP));
            // At a time with milliseconds, which decimal seconds would not hit.
            let at = begin + 15_001_000_000;
            let found = samples(consumer.query_at(&promql(), at, "").unwrap().value);
            assert_eq!(
                found.iter().map(|one| (one.sample.time, one.sample.value)).collect::<Vec<_>>(),
                [(at, 10.0), (at, 11.0)]
            );
            let nothing = samples(consumer.query_at(&promql(), begin - 1_000_000_000, "").unwrap().value);
            assert_eq!(nothing, []);
        });
    }

    #[test]
    fn a_range_query_gives_a_sample_for_each_step() {
        within(DEADLINE, || {
            let (server, begin) = measured();
            let consumer = of(&server);
            let (end, step) = (begin + 30_000_000_000, Duration::from_secs(10));
            let QueryValue::Matrix(series) = consumer.query_range(&promql(), begin, end, step, "").unwrap().value
            else {
                panic!()
            };
            assert_eq!(series.len(), 2);
            let samples: Vec<_> =
                series[1].samples.iter().map(|it| ((it.time - begin) / 1_000_000_000, it.value)).collect();
            assert_eq!(samples, [(0, 1.0), (10, 1.0), (20, 11.0), (30, 21.0)]);
            let QueryValue::Matrix(series) = consumer.query(&format!("{}[5m]", promql()), "").unwrap().value else {
                panic!()
            };
            assert_eq!(series[0].samples.iter().map(|it| it.value).collect::<Vec<_>>(), [0.0, 10.0, 20.0]);
            for (end, step) in [(begin - 1, step), (end, Duration::ZERO)] {
                let error = consumer.query_range(&promql(), begin, end, step, "").unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
            }
        });
    }

    #[test]
    fn an_invalid_query_and_a_foreign_source_are_told_apart() {
        within(DEADLINE, || {
            let server = TrafficController::of(Generation::Today).unwrap();
            server.hide_app(OTHER);
            let consumer = of(&server);
            for (query, what) in [("cpu{", "parse error at char 5"), ("cpu", "does not request any source_ids")] {
                let error = consumer.query(query, "").unwrap_err();
                assert_eq!((error.kind(), error.error_type()), (ErrorKind::BadRequest, Some("bad_data")), "{query}");
                assert!(error.to_string().contains(": bad_data: ") && error.to_string().contains(what), "{error}");
            }
            let error = consumer.query(&format!("cpu{{source_id=\"{OTHER}\"}}"), "").unwrap_err();
            assert_eq!((error.kind(), error.error_type()), (ErrorKind::Unauthorized, None));
        });
    }

    #[test]
    fn warnings_and_failures_within_a_success_are_returned() {
        within(DEADLINE, || {
            let json =
                r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"-Inf"]},"warnings":["slow"]}"#;
            let result = log_cache(&answering(json)).build().unwrap().query("1", TOKEN).unwrap();
            assert_eq!(result.warnings, ["slow"]);
            let QueryValue::Scalar(sample) = result.value else { panic!() };
            assert_eq!((sample.time, sample.value), (1_500_000_000, f64::NEG_INFINITY));
            let json = r#"{"status":"error","errorType":"timeout","error":"query timed out in a-token-of-a-user"}"#;
            let error = log_cache(&answering(json)).build().unwrap().query("1", TOKEN).unwrap_err();
            assert_eq!((error.kind(), error.error_type()), (ErrorKind::ServerError, Some("timeout")));
            assert!(error.to_string().starts_with("the query failed: timeout: query timed out in ["), "{error}");
        });
    }

    #[test]
    fn a_result_that_is_invalid_cut_short_or_endless_is_an_error() {
        within(DEADLINE, || {
            let error = |server: &ScriptedServer| -> Error {
                let consumer = log_cache(server).max_recent_size(100_000).build().unwrap();
                consumer.query("1", TOKEN).unwrap_err()
            };
            let string = r#"{"status":"success","data":{"resultType":"string","result":[0,"a secret"]}}"#;
            for json in ["[]", "{}", string, "not JSON"] {
                let error = error(&answering(json));
                assert_eq!(error.kind(), ErrorKind::BadResponse, "{json}: {error}");
                assert!(!error.to_string().contains("secret"), "{error}");
            }
            let half = &br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a"#[..];
            let json = "Content-Type: application/json";
            assert_eq!(error(&answering(str::from_utf8(half).unwrap())).kind(), ErrorKind::Truncated);
            let cut = [head("200 OK", &[json, "Content-Length: 1000"]), half.to_vec()].concat();
            assert_eq!(error(&ScriptedServer::responding(cut)).kind(), ErrorKind::Truncated);
            let cut = [head("200 OK", &[json, "Transfer-Encoding: chunked"]), chunk(half)].concat();
            assert_eq!(error(&ScriptedServer::responding(cut)).kind(), ErrorKind::Truncated);
            let endless = ScriptedServer::start(vec![Box::new(move |mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[&head("200 OK", &[json])]);
                send_endlessly(&mut socket, b"[0,");
            })]);
            let error = error(&endless);
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            assert!(error.to_string().ends_with("see Builder::max_recent_size"), "{error}");
        });
    }

    #[test]
    fn a_silent_server_is_a_timeout_and_a_close_interrupts_the_wait() {
        within(DEADLINE, || {
            let silent = || {
                ScriptedServer::start(vec![Box::new(|mut socket| {
                    read_head(&mut socket);
                    send(&mut socket, &[&head("200 OK", &["Content-Length: 10"]), b"{"]);
                    socket.flush().unwrap();
                    common::drain(socket);
                })])
            };
            let consumer = log_cache(&silent()).read_timeout(Duration::from_millis(100)).build().unwrap();
            let error = consumer.meta(TOKEN).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert!(error.to_string().ends_with("see Builder::read_timeout"), "{error}");
            let consumer = log_cache(&silent()).recent_timeout(Duration::from_millis(100)).build().unwrap();
            let error = consumer.meta(TOKEN).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert!(error.to_string().ends_with("see Builder::recent_timeout"), "{error}");

            let consumer = log_cache(&silent()).build().unwrap();
            let waiting = std::thread::spawn({
                let consumer = consumer.clone();
                move || consumer.meta(TOKEN).unwrap_err().kind()
            });
            while !waiting.is_finished() {
                // Until the call is open, there is nothing to close.
                let _ = consumer.close();
                std::thread::yield_now();
            }
            assert_eq!(waiting.join().unwrap(), ErrorKind::Closed);
        });
    }
}

mod meta_and_info {
    use super::*;

    #[test]
    fn each_generation_tells_its_sources_and_its_version() {
        within(DEADLINE, || {
            for (generation, version) in [(Generation::LogCache1, "1.4.7"), (Generation::Today, "3.2.12")] {
                let server = TrafficController::of(generation).unwrap();
                server.send_envelope(log(2_000_000, "hello"));
                server.send_envelope(gauge("0", 5_000_000, &CONTAINER));
                let consumer = of(&server);
                let sources = consumer.meta("").unwrap();
                let meta = sources[APP];
                assert_eq!((meta.count, meta.oldest_timestamp, meta.newest_timestamp), (2, 2_000_000, 5_000_000));
                assert_eq!(consumer.info().unwrap().version, version);
                let query = format!("cpu{{source_id=\"{APP}\"}}");
                assert!(consumer.query_at(&query, 1_000_000_000, "").is_ok(), "{generation:?}");
                // A second request for what is at another path in version 1.x goes there at once.
                consumer.meta("").unwrap();
                let requests = server.requests();
                let of_meta = requests.iter().filter(|request| request.kind == RequestKind::LogCacheMeta).count();
                assert_eq!(of_meta, if generation == Generation::Today { 2 } else { 3 });
                let info = requests.iter().find(|request| request.kind == RequestKind::LogCacheInfo).unwrap();
                assert_eq!(info.header("Authorization"), None);
            }
        });
    }

    #[test]
    fn only_an_admin_sees_the_components() {
        within(DEADLINE, || {
            let server = TrafficController::of(Generation::Today).unwrap();
            server.send_envelope(log(1_000_000, "hello"));
            let requests = Body::Counter { name: "requests".into(), delta: 1, total: 1 };
            server.send_envelope(Envelope::new("gorouter", requests));
            let consumer = of(&server);
            assert_eq!(consumer.meta("").unwrap().into_keys().collect::<Vec<_>>(), [APP]);
            let sources: BTreeMap<_, _> = consumer.meta(&server.issue_admin_token()).unwrap();
            assert_eq!(sources.into_keys().collect::<Vec<_>>(), [APP, "gorouter"]);
        });
    }

    #[test]
    fn korifi_has_info_and_neither_meta_nor_promql() {
        within(DEADLINE, || {
            let server = TrafficController::of(Generation::Korifi).unwrap();
            let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
            assert_eq!(consumer.info().unwrap().version, "2.11.4+cf-k8s");
            for error in [consumer.meta(TOKEN).unwrap_err(), consumer.query("cpu", TOKEN).unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::NotFound);
                assert!(error.to_string().contains("Korifi's Log Cache"), "{error}");
            }
        });
    }

    #[test]
    fn a_rejected_token_and_a_foundation_without_log_cache_are_told_apart() {
        within(DEADLINE, || {
            let server = TrafficController::builder().generation(Generation::Today).tokens([TOKEN]).start().unwrap();
            let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
            let error = consumer.meta("bearer another-token").unwrap_err();
            assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(404)));
            let server = TrafficController::of(Generation::Y2018).unwrap();
            let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
            for error in [
                consumer.meta(TOKEN).unwrap_err(),
                consumer.info().unwrap_err(),
                consumer.query("cpu", TOKEN).unwrap_err(),
                consumer.read(&Selection::app(APP), &Window::all(), TOKEN).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains("foundations before 2018 have no Log Cache"), "{error}");
            }
        });
    }

    #[test]
    fn a_token_that_the_server_repeats_is_in_no_error() {
        within(DEADLINE, || {
            let server = PathServer::start(|path| {
                let body =
                    format!(r#"{{"status":"error","errorType":"a-token-of-a-user","error":"a-token-of-a-user"}}"#);
                let status = if path.contains("query") { "400 Bad Request" } else { "500 Internal Server Error" };
                response(status, &["Content-Type: application/json"], body.as_bytes())
            });
            let consumer =
                Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none()).build().unwrap();
            for error in [consumer.query("1", TOKEN).unwrap_err(), consumer.meta(TOKEN).unwrap_err()] {
                let forms = format!("{error} {error:?} {:?} {:?}", error.error_type(), error.body());
                assert!(!forms.contains("a-token-of-a-user"), "{forms}");
            }
        });
    }
}
