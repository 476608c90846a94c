//! What real servers sent.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use loggregator_consumer::{Body, Builder, Envelope, ErrorKind, GaugeValue, MessageType, Proxy, QueryValue};
use loggregator_consumer::{Selection, Window};
use serde_json::Value;

use crate::common::{DEADLINE, ScriptedServer, fixture, within};
use crate::{APP, TOKEN, replaying};

/// The source of the captures of Log Cache.
const READ: &str = "00000021-aaaa-bbbb-cccc-000000000021";

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
        Body::Counter { name: text(&counter["name"]), delta: count(&counter["delta"]), total: count(&counter["total"]) }
    } else if let Some(gauge) = json.get("gauge") {
        let value = |value: &Value| GaugeValue::new(value["value"].as_f64().unwrap_or_default(), text(&value["unit"]));
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
        let text = "500 Internal Server Error: internal: parse error at char 2: unexpected end of input inside braces";
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
