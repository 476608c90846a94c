use std::io::Read;
use std::ops::ControlFlow;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::error::{ErrorKind, Result};
use crate::wire::v2::values::MAX_ENTRIES;
use crate::wire::v2::{batch, encode, read_response, read_slowly};
use crate::wire::{arbitrary, captures};

/// Decodes a batch of the gateway.
fn decode_batch<T: FromV2>(json: impl AsRef<[u8]>) -> Vec<Result<T, ErrorKind>> {
    let mut items = Vec::new();
    batch(json.as_ref(), &mut |item: Result<T>| items.push(item.map_err(|error| error.kind()))).unwrap();
    items
}

/// Reads a response of Log Cache.
fn read(json: impl Read) -> Vec<Result<Option<Envelope>, ErrorKind>> {
    let mut items = Vec::new();
    read_response(&[], json, 1 << 20, |item: Result<Option<Envelope>>| {
        items.push(item.map_err(|error| error.kind()));
        ControlFlow::Continue(())
    })
    .unwrap();
    items
}

/// Decodes one envelope.
fn decode(envelope: &Value) -> Envelope {
    let mut items = decode_batch(json!({ "batch": [envelope] }).to_string());
    assert_eq!(items.len(), 1, "{envelope}");
    items.remove(0).unwrap()
}

#[test]
fn an_envelope_with_too_many_tags_or_metrics_is_an_error() {
    let named = |count: usize, value: Value| {
        Value::from_iter((0..count).map(|n| (n.to_string(), value.clone())).collect::<Map<_, _>>())
    };
    for (count, expected) in [(MAX_ENTRIES, None), (MAX_ENTRIES + 1, Some(ErrorKind::Undecodable))] {
        let metrics = json!({ "metrics": named(count, json!({ "value": 1 })) });
        for many in [
            json!({ "log": {}, "tags": named(count, "a".into()) }),
            json!({ "log": {}, "deprecated_tags": named(count, json!({ "text": "a" })) }),
            json!({ "gauge": metrics }),
        ] {
            // The envelope after it is read.
            let batch = json!({ "batch": [many, { "log": {} }] }).to_string();
            let items = decode_batch::<Envelope>(&batch);
            assert_eq!(items.len(), 2);
            assert_eq!(items[0].as_ref().err(), expected.as_ref());
            assert!(items[1].is_ok());
            let response = format!(r#"{{"envelopes":{batch}}}"#);
            assert_eq!(read(response.as_bytes())[0].as_ref().err(), expected.as_ref());
        }
    }
}

/// Returns what a capture has, as an event of the gateway or a response of Log Cache.
fn captured(name: &str) -> Vec<Vec<u8>> {
    let body = captures::body(name);
    if !name.starts_with("rlpgw-") {
        let envelopes = body.trim_ascii().strip_prefix(br#"{"envelopes":"#).unwrap().strip_suffix(b"}").unwrap();
        return vec![envelopes.to_vec()];
    }
    body.split(|&byte| byte == b'\n').filter_map(|line| line.strip_prefix(b"data: ")).map(<[u8]>::to_vec).collect()
}

#[test]
fn captured_envelopes_are_those_that_were_sent() {
    for (name, count) in [("rlpgw-read-mixed.http", 80), ("rlpgw-read-logs-1000.http", 1000), ("lc-read-all.http", 160)]
    {
        let envelopes: Vec<Envelope> = captured(name).iter().flat_map(decode_batch).map(Result::unwrap).collect();
        assert_eq!(envelopes.len(), count);
        assert_eq!(envelopes, captures::sent_envelopes(name));
    }
    let read: Vec<_> =
        read(&*captures::body("lc-read-all.http")).into_iter().map(|item| item.unwrap().unwrap()).collect();
    assert_eq!(read, captures::sent_envelopes("lc-read-all.http"));
}

#[test]
fn an_encoded_envelope_equals_the_one_that_the_server_wrote() {
    for (name, count) in [("rlpgw-read-mixed.http", 80), ("lc-read-all.http", 160), ("lc-read-name-filter.http", 3)] {
        let theirs = captured(name).into_iter().flat_map(|batch| {
            let batch: Value = serde_json::from_slice(&batch).unwrap();
            batch["batch"].as_array().unwrap().clone()
        });
        let theirs: Vec<_> = theirs.collect();
        let ours = theirs.iter().map(|envelope| serde_json::from_str(&encode(&decode(envelope))).unwrap());
        assert_eq!((theirs.len(), ours.collect::<Vec<Value>>()), (count, theirs));
    }
}

#[test]
fn a_field_may_be_absent_or_null_or_in_camel_case() {
    let bare = |body: Body| Envelope::new("", body);
    let text = String::new;
    let gauge = |metrics: &[(&str, GaugeValue)]| {
        Body::Gauge(metrics.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    };
    for (envelope, body) in [
        (json!({ "log": {} }), Body::Log { payload: Vec::new(), message_type: MessageType::Out }),
        (json!({ "counter": {} }), Body::Counter { name: text(), delta: 0, total: 0 }),
        (
            json!({ "counter": { "name": null, "delta": null, "total": null } }),
            Body::Counter { name: text(), delta: 0, total: 0 },
        ),
        (json!({ "gauge": {} }), gauge(&[])),
        (json!({ "gauge": { "metrics": null } }), gauge(&[])),
        (json!({ "gauge": { "metrics": { "a": {}, "b": null } } }), gauge(&[("a", GaugeValue::new(0.0, ""))])),
        (
            json!({ "gauge": { "metrics": { "a": { "unit": null, "value": null } } } }),
            gauge(&[("a", GaugeValue::new(0.0, ""))]),
        ),
        (json!({ "timer": {} }), Body::Timer { name: text(), start: 0, stop: 0 }),
        (json!({ "timer": { "start": null, "stop": null } }), Body::Timer { name: text(), start: 0, stop: 0 }),
        (json!({ "event": {} }), Body::Event { title: text(), body: text() }),
        (
            json!({ "event": {}, "timestamp": null, "source_id": null, "instance_id": null, "tags": null, "deprecated_tags": null }),
            Body::Event { title: text(), body: text() },
        ),
        (json!({ "event": {}, "log": null, "tags": { "a": null } }), Body::Event { title: text(), body: text() }),
    ] {
        assert_eq!(decode(&envelope), bare(body), "{envelope}");
    }
    let envelope =
        decode(&json!({ "sourceId": "s", "instanceId": "7", "deprecatedTags": { "a": { "text": "b" } }, "event": {} }));
    assert_eq!((&*envelope.source_id, &*envelope.instance_id, &*envelope.tags["a"]), ("s", "7", "b"));
}

#[test]
fn deprecated_tags_are_merged_as_texts() {
    let envelope = decode(&json!({
        "counter": {},
        "tags": { "both": "new", "empty": "" },
        "deprecated_tags": {
            "text": { "text": "t" }, "integer": { "integer": "-7" }, "number": { "integer": 8 },
            "decimal": { "decimal": 0.5 }, "large": { "decimal": 1e21 }, "none": {}, "null": null,
            "both": { "text": "old" }, "empty": { "text": "old" },
        },
    }));
    let expected = [
        ("both", "new"),
        ("decimal", "0.500000"),
        ("empty", "old"),
        ("integer", "-7"),
        ("large", "1000000000000000000000.000000"),
        ("number", "8"),
        ("text", "t"),
    ];
    assert_eq!(envelope.tags, expected.map(|(name, tag)| (name.to_owned(), tag.to_owned())).into());
}

#[test]
fn a_metric_may_be_no_number() {
    let gauge = |value: &str| {
        let json = format!(r#"{{"batch":[{{"gauge":{{"metrics":{{"a":{{"value":{value}}}}}}}}}]}}"#);
        match decode_batch::<Envelope>(json).remove(0).map(|envelope| envelope.body) {
            Ok(Body::Gauge(metrics)) => Some(metrics["a"].value),
            _ => None,
        }
    };
    assert!(gauge(r#""NaN""#).unwrap().is_nan());
    assert_eq!(gauge(r#""Infinity""#), Some(f64::INFINITY));
    assert_eq!(gauge(r#""-Infinity""#), Some(f64::NEG_INFINITY));
    assert_eq!(gauge(r#""1.5""#), Some(1.5));
    assert_eq!(gauge("18446744073709551615"), Some(18_446_744_073_709_551_615.0));
    assert_eq!(gauge("-3"), Some(-3.0));
    // Without the feature `float_roundtrip`, serde_json would return the number next to it.
    assert_eq!(gauge("0.1446415216121706"), Some(0.1446415216121706));
    assert_eq!(gauge("1.7976931348623157e308"), Some(f64::MAX));
    assert_eq!([r#""x""#, "[]", "true", "1e999"].map(gauge), [None; 4]);
}

#[test]
fn a_metric_is_written_as_the_servers_do() {
    for (value, expected) in [
        (2_000_000.0, "2000000"),
        (-1.0, "-1"),
        (0.0, "0"),
        (-0.0, "-0.0"),
        (22.5, "22.5"),
        (9_007_199_254_740_992.0, "9007199254740992"),
        (1e-7, "1e-7"),
        (f64::NAN, r#""NaN""#),
        (f64::INFINITY, r#""Infinity""#),
        (f64::NEG_INFINITY, r#""-Infinity""#),
    ] {
        let envelope = Envelope::new("s", Body::Gauge([("a".to_owned(), GaugeValue::new(value, "b"))].into()));
        let json = encode(&envelope);
        assert!(
            json.ends_with(&format!(r#""gauge":{{"metrics":{{"a":{{"unit":"b","value":{expected}}}}}}}}}"#)),
            "{json}"
        );
    }
}

#[test]
fn korifis_envelopes_are_decoded() {
    let gauge = json!({
        "timestamp": 1_700_000_000,
        "tags": { "app_id": "g", "app_name": "n", "instance_id": "1", "process_type": "web", "source_id": "g", "space_id": "s" },
        "gauge": { "metrics": { "cpu": { "unit": "percentage", "value": 0.25 }, "memory": { "unit": "bytes", "value": 1024 } } },
    });
    let envelope = decode(&gauge);
    assert_eq!(envelope.timestamp, 1_700_000_000_000_000_000);
    assert_eq!((&*envelope.source_id, &*envelope.instance_id), ("g", "1"));
    assert_eq!((envelope.app_name(), envelope.process_type()), (Some("n"), Some("web")));
    assert_eq!(
        envelope.body,
        Body::Gauge(
            [("cpu".into(), GaugeValue::new(0.25, "percentage")), ("memory".into(), GaugeValue::new(1024.0, "bytes"))]
                .into(),
        )
    );
    // What it writes if it does not know the time: that of the year 1.
    let mut unknown = gauge.clone();
    unknown["timestamp"] = json!(-62_135_596_800_i64);
    assert_eq!(decode(&unknown).timestamp, i64::MIN);
    // Its logs have nanoseconds, and the other servers write texts.
    let log = json!({ "timestamp": 1_700_000_000, "tags": { "source_type": "APP" }, "log": { "payload": "aGk=", "type": 0 } });
    assert_eq!(decode(&log).timestamp, 1_700_000_000);
    let mut text = gauge;
    text["timestamp"] = json!("1700000000");
    assert_eq!(decode(&text).timestamp, 1_700_000_000);
}

#[test]
fn unknown_types_and_fields_are_skipped_and_an_undecodable_envelope_does_not_affect_the_others() {
    let skipped = ["{}", r#"{"span":{"id":"7"}}"#, r#"{"source_id":7}"#, r#"{"log":null,"timestamp":{}}"#];
    let bad = [
        r#"{"counter":{"delta":"-1"}}"#,
        r#"{"counter":{"total":18446744073709551616}}"#,
        r#"{"counter":{"name":7}}"#,
        r#"{"gauge":{"metrics":[]}}"#,
        r#"{"gauge":{"metrics":{"a":7}}}"#,
        r#"{"timer":{"start":"soon"}}"#,
        r#"{"event":7}"#,
        r#"{"event":{},"tags":{"a":7}}"#,
        r#"{"event":{},"event":{}}"#,
        r#"{"log":{"payload":"?"}}"#,
        "null",
        "7",
        "[]",
    ];
    let good = r#"{"new":[{}],"event":{"level":9,"title":"t","body":"b"}}"#;
    for (other, error) in skipped.map(|json| (json, false)).into_iter().chain(bad.map(|json| (json, true))) {
        let json = format!(r#"{{"batch":[{good},{other},{good}]}}"#);
        let good = Ok(Envelope::new("", Body::Event { title: "t".into(), body: "b".into() }));
        let expected =
            if error { vec![good.clone(), Err(ErrorKind::Undecodable), good.clone()] } else { vec![good.clone(); 2] };
        assert_eq!(decode_batch::<Envelope>(&json), expected, "{other}");
        let items = read(format!(r#"{{"envelopes":{json}}}"#).as_bytes());
        assert_eq!(items.len(), 3);
        assert_eq!(items.into_iter().filter_map(Result::transpose).collect::<Vec<_>>(), expected, "{other}");
    }
}

/// The ways in which servers write envelopes.
#[derive(Debug, Clone, Copy)]
struct Form {
    camel_case: bool,
    numbers: bool,
    omits_zeros: bool,
    writes_null: bool,
    deprecates_tags: bool,
    is_newer: bool,
}

fn form() -> impl Strategy<Value = Form> {
    any::<[bool; 6]>().prop_map(|[camel_case, numbers, omits_zeros, writes_null, deprecates_tags, is_newer]| Form {
        camel_case,
        numbers,
        omits_zeros,
        writes_null,
        deprecates_tags,
        is_newer,
    })
}

impl Form {
    fn write(self, envelope: &Envelope) -> Value {
        let Envelope { timestamp, source_id, instance_id, tags, body } = envelope;
        let number = |number: i128| if self.numbers { json!(number) } else { json!(number.to_string()) };
        let (name, body) = match body {
            Body::Log { payload, message_type } => {
                let r#type = match message_type {
                    MessageType::Out if !self.numbers => json!("OUT"),
                    MessageType::Err if !self.numbers => json!("ERR"),
                    MessageType::Out => json!(0),
                    MessageType::Err => json!(1),
                    MessageType::Unknown(number) => json!(number),
                };
                use base64::prelude::{BASE64_STANDARD, Engine as _};
                ("log", json!({ "payload": BASE64_STANDARD.encode(payload), "type": r#type }))
            }
            Body::Counter { name, delta, total } => {
                ("counter", json!({ "name": name, "delta": number((*delta).into()), "total": number((*total).into()) }))
            }
            Body::Gauge(metrics) => {
                let value = |value: f64| match value {
                    value if value.is_nan() => json!("NaN"),
                    f64::INFINITY => json!("Infinity"),
                    f64::NEG_INFINITY => json!("-Infinity"),
                    value => json!(value),
                };
                let metric =
                    |metric: &GaugeValue| self.shorten(json!({ "unit": metric.unit, "value": value(metric.value) }));
                let metrics: Map<_, _> = metrics.iter().map(|(name, value)| (name.clone(), metric(value))).collect();
                ("gauge", json!({ "metrics": metrics }))
            }
            Body::Timer { name, start, stop } => {
                ("timer", json!({ "name": name, "start": number((*start).into()), "stop": number((*stop).into()) }))
            }
            Body::Event { title, body } => ("event", json!({ "title": title, "body": body })),
        };
        let timestamp = if name == "gauge" { json!(timestamp.to_string()) } else { number((*timestamp).into()) };
        let name_of = |snake: &str, camel: &str| if self.camel_case { camel.to_owned() } else { snake.to_owned() };
        let mut json = json!({ "timestamp": timestamp, "source_id": source_id, "instance_id": instance_id });
        if self.deprecates_tags {
            let tags: Map<_, _> = tags.iter().map(|(name, tag)| (name.clone(), json!({ "text": tag }))).collect();
            json["deprecated_tags"] = tags.into();
        } else {
            json["tags"] = json!(tags);
        }
        if self.is_newer {
            json["span"] = json!({ "log": {}, "id": [1, null] });
        }
        let mut json = self.shorten(json);
        let body = self.shorten(body);
        let json = json.as_object_mut().unwrap();
        json.insert(name.to_owned(), body);
        if self.writes_null {
            for name in ["log", "counter", "gauge", "timer", "event", "tags", "deprecated_tags", "timestamp"] {
                json.entry(name).or_insert(Value::Null);
            }
        }
        for (snake, camel) in
            [("source_id", "sourceId"), ("instance_id", "instanceId"), ("deprecated_tags", "deprecatedTags")]
        {
            if let Some(value) = json.remove(snake) {
                json.insert(name_of(snake, camel), value);
            }
        }
        Value::Object(std::mem::take(json))
    }

    /// Leaves out what is zero.
    fn shorten(self, mut json: Value) -> Value {
        let is_zero = |name: &str, value: &Value| match name {
            "timestamp" | "delta" | "total" | "start" | "stop" => *value == json!("0") || *value == json!(0),
            "type" => *value == json!("OUT") || *value == json!(0),
            _ => *value == json!("") || *value == json!({}),
        };
        if let Some(object) = json.as_object_mut().filter(|_| self.omits_zeros) {
            object.retain(|name, value| !is_zero(name, value));
        }
        json
    }
}

proptest! {
    #[test]
    fn every_form_of_an_envelope_is_decoded(sent in prop::collection::vec((arbitrary::envelope(), form()), 0..4)) {
        let envelopes: Vec<_> = sent.iter().map(|(envelope, form)| form.write(envelope)).collect();
        let batch = json!({ "batch": envelopes }).to_string();
        let got: Vec<Envelope> = decode_batch(&batch).into_iter().map(Result::unwrap).collect();
        // `NaN` differs from itself, but not its text.
        let expected: Vec<_> = sent.into_iter().map(|(envelope, _)| envelope).collect();
        prop_assert_eq!(format!("{got:?}"), format!("{expected:?}"));
        let response = format!(r#"{{"envelopes":{batch}}}"#);
        let read: Vec<_> = read(response.as_bytes()).into_iter().map(|item| item.unwrap().unwrap()).collect();
        prop_assert_eq!(format!("{read:?}"), format!("{got:?}"));
        // The logs are the messages that `tail` and `recent` return.
        let logs: Vec<_> = got.into_iter().filter_map(|envelope| LogMessage::try_from(envelope).ok()).collect();
        let messages: Vec<LogMessage> = decode_batch(&batch).into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(logs, messages);
    }

    #[test]
    fn an_encoded_envelope_is_decoded(envelope in arbitrary::envelope()) {
        let mut got = decode_batch::<Envelope>(format!(r#"{{"batch":[{}]}}"#, encode(&envelope)));
        prop_assert_eq!(format!("{:?}", got.remove(0)), format!("{:?}", Ok::<_, ErrorKind>(envelope)));
    }

    /// The slow reader is the model of the fast one.
    #[test]
    fn both_readers_agree_on_damaged_envelopes(
        envelopes in prop::collection::vec((arbitrary::envelope(), form()), 1..4),
        at: prop::sample::Index,
        byte in b' '..=b'~',
        is_cut: bool,
    ) {
        let envelopes: Vec<_> = envelopes.iter().map(|(envelope, form)| form.write(envelope)).collect();
        let mut json = json!({ "envelopes": { "batch": envelopes } }).to_string().into_bytes();
        let at = at.index(json.len());
        if is_cut { json.truncate(at) } else { json[at] = byte }
        let read = |is_fast: bool| {
            let mut items = Vec::new();
            let each = |item: Result<Option<Envelope>>| {
                items.push(format!("{item:?}"));
                ControlFlow::Continue(())
            };
            let end = if is_fast { read_response(&[], &*json, 1 << 20, each) } else { read_slowly(&*json, 1 << 20, each) };
            (items, end.map_err(|error| error.kind()))
        };
        prop_assert_eq!(read(true), read(false));
    }
}

#[cfg(feature = "serde")]
mod with_the_feature {
    use super::*;

    #[test]
    fn captured_envelopes_are_the_same_json_again() {
        for name in ["lc-read-all.http", "rlpgw-read-mixed.http", "lc-read-name-filter.http"] {
            for batch in captured(name) {
                #[derive(Deserialize, Serialize)]
                struct Batch {
                    batch: Vec<Envelope>,
                }
                let theirs: Value = serde_json::from_slice(&batch).unwrap();
                let envelopes: Batch = serde_json::from_slice(&batch).unwrap();
                assert_eq!(serde_json::to_value(&envelopes).unwrap(), theirs);
                // Not only from text.
                let again: Batch = serde_json::from_value(theirs).unwrap();
                assert_eq!(again.batch, envelopes.batch);
            }
        }
    }

    #[test]
    fn captured_messages_are_the_same_json_again_but_for_other_tags() {
        let body = captures::body("lc-read-logs-desc-10.http");
        let response: Value = serde_json::from_slice(&body).unwrap();
        let batch = response["envelopes"]["batch"].as_array().unwrap();
        assert_eq!(batch.len(), 10);
        for theirs in batch {
            let message: LogMessage = serde_json::from_value(theirs.clone()).unwrap();
            let ours = serde_json::to_value(&message).unwrap();
            let mut theirs = theirs.clone();
            theirs["tags"].as_object_mut().unwrap().retain(|name, _| name == "source_type");
            assert_eq!(ours, theirs);
            assert_eq!(serde_json::from_value::<LogMessage>(ours).unwrap(), message);
        }
    }

    #[test]
    fn an_envelope_of_another_type_is_an_error() {
        let counter = r#"{"counter":{"name":"a"}}"#;
        assert_eq!(serde_json::from_str::<Envelope>(counter).unwrap().source_id, "");
        let error = serde_json::from_str::<LogMessage>(counter).unwrap_err().to_string();
        assert!(error.starts_with("the envelope holds something else"), "{error}");
        assert!(serde_json::from_str::<Envelope>(r#"{"span":{}}"#).is_err());
    }

    proptest! {
        #[test]
        fn an_envelope_is_the_same_after_its_json(envelope in arbitrary::envelope()) {
            let json = serde_json::to_string(&envelope).unwrap();
            prop_assert_eq!(format!("{:?}", serde_json::from_str::<Envelope>(&json).unwrap()), format!("{envelope:?}"));
            if let Ok(message) = LogMessage::try_from(envelope) {
                let json = serde_json::to_string(&message).unwrap();
                prop_assert_eq!(serde_json::from_str::<LogMessage>(&json).unwrap(), message);
            }
        }
    }
}
