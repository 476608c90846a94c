use std::io::{self, Read};
use std::ops::ControlFlow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::response::{BUFFER, START};
use super::*;
use crate::fuzzing::input::Pieces;
use crate::message::{LogMessage, MessageType};
use crate::wire::captures;

const APP: &str = "00000021-aaaa-bbbb-cccc-000000000021";
const LARGE: usize = 1 << 20;

/// Decodes a batch. Returns its items and its result.
fn decode_batch(json: impl AsRef<[u8]>) -> (Vec<Result<LogMessage>>, Result<()>) {
    let mut items = Vec::new();
    let result = batch(json.as_ref(), &mut |item| items.push(item));
    (items, result)
}

/// Returns the messages of a batch without errors.
fn logs_of(json: impl AsRef<[u8]>) -> Vec<LogMessage> {
    let (items, result) = decode_batch(json);
    result.unwrap();
    items.into_iter().map(Result::unwrap).collect()
}

/// Returns the message of a batch of one envelope.
fn log_of(envelope: &Value) -> LogMessage {
    let mut logs = logs_of(json!({ "batch": [envelope] }).to_string());
    assert_eq!(logs.len(), 1, "{envelope}");
    logs.remove(0)
}

/// Reads a response. Returns its items and its result.
fn read(json: impl Read) -> (Vec<Result<Option<LogMessage>>>, io::Result<()>) {
    let mut items = Vec::new();
    let result = read_response(&[], json, LARGE, |item| {
        items.push(item);
        ControlFlow::Continue(())
    });
    (items, result)
}

fn logs_of_response(json: impl Read) -> Vec<LogMessage> {
    let (items, result) = read(json);
    result.unwrap();
    items.into_iter().filter_map(Result::unwrap).collect()
}

/// Returns the messages in the sidecar of a capture, which contains protobuf's JSON in its shortest form.
fn sent(name: &str) -> Vec<LogMessage> {
    let envelopes = captures::sent(name);
    envelopes.iter().map(|envelope| &envelope["v2"]).filter(|v2| !v2["log"].is_null()).map(sent_log).collect()
}

fn sent_log(v2: &Value) -> LogMessage {
    let log = &v2["log"];
    LogMessage::new(
        v2["source_id"].as_str().unwrap(),
        BASE64_STANDARD.decode(log["payload"].as_str().unwrap_or_default()).unwrap(),
    )
    .message_type(if log["type"] == "ERR" { MessageType::Err } else { MessageType::Out })
    .timestamp(v2["timestamp"].as_str().unwrap().parse().unwrap())
    .source(v2["tags"]["source_type"].as_str().unwrap(), v2["instance_id"].as_str().unwrap())
}

#[test]
fn captured_batches_of_the_rlp_gateway_are_decoded() {
    for (name, count) in [("rlpgw-read-logs-1000.http", 1000), ("rlpgw-read-mixed.http", 20)] {
        let body = captures::body(name);
        let data = body.split(|&byte| byte == b'\n').filter_map(|line| line.strip_prefix(b"data: "));
        let logs: Vec<_> = data.flat_map(logs_of).collect();
        assert_eq!(logs.len(), count);
        assert_eq!(logs, sent(name));
    }
}

#[test]
fn captured_responses_of_log_cache_are_decoded() {
    let logs = logs_of_response(&*captures::body("lc-read-all.http"));
    assert_eq!(logs.len(), 40);
    assert_eq!(logs, sent("lc-read-all.http"));
    let newest: Vec<_> = logs.into_iter().rev().collect();
    assert_eq!(logs_of_response(&*captures::body("lc-read-logs-desc-10.http")), newest[..10]);
    assert_eq!(logs_of_response(&*captures::body("cfap-read-logs-desc-3.http")), newest[..3]);
    for (name, envelopes, logs) in [
        ("lc-read-default.http", 100, 25),
        ("lc-err-unknown-param.http", 100, 25),
        ("lc-read-logs-start.http", 20, 20),
        ("lc-read-name-filter.http", 3, 0),
        ("lc-read-unknown-source.http", 0, 0),
        ("lc-read-source-with-slash.http", 0, 0),
        ("cfap-200-Bearer.http", 1, 1),
        ("cfap-200-raw-jwt.http", 1, 1),
    ] {
        let body = captures::body(name);
        assert_eq!((read(&*body).0.len(), logs_of_response(&*body).len()), (envelopes, logs), "{name}");
    }
}

#[test]
fn an_encoded_envelope_equals_the_one_that_the_server_wrote() {
    let body = captures::body("cfap-read-logs-desc-3.http");
    let logs = logs_of_response(&*body);
    let theirs: Value = serde_json::from_slice(&body).unwrap();
    for (log, theirs) in logs.iter().zip(theirs["envelopes"]["batch"].as_array().unwrap()) {
        let mut theirs = theirs.clone();
        theirs["tags"].as_object_mut().unwrap().retain(|name, _| name == "source_type");
        assert_eq!(serde_json::from_str::<Value>(&encode(log)).unwrap(), theirs);
    }
}

#[test]
fn field_names_are_in_snake_or_camel_case() {
    let expected = LogMessage::new(APP, "hello").timestamp(-7).message_type(MessageType::Err).source("APP", "0");
    let log = json!({ "payload": "aGVsbG8=", "type": "ERR" });
    let tag = json!({ "source_type": { "text": "APP" }, "index": { "integer": "7" }, "load": { "decimal": 0.5 } });
    let snake = json!({
        "timestamp": "-7", "source_id": APP, "instance_id": "0", "deprecated_tags": tag, "tags": {}, "log": log,
    });
    let camel = json!({ "timestamp": "-7", "sourceId": APP, "instanceId": "0", "deprecatedTags": tag, "log": log });
    assert_eq!(log_of(&snake), expected);
    assert_eq!(log_of(&camel), expected);
}

#[test]
fn a_tag_takes_precedence_over_a_deprecated_one() {
    let envelope = |new: &str, old: &str| {
        log_of(&json!({
            "tags": { "source_type": new }, "deprecated_tags": { "source_type": { "text": old } }, "log": {},
        }))
    };
    assert_eq!(envelope("RTR", "APP").source_name.as_deref(), Some("RTR"));
    assert_eq!(envelope("", "APP").source_name.as_deref(), Some("APP"));
    assert_eq!(envelope("", "").source_name, None);
}

#[test]
fn a_zero_field_may_be_absent_or_empty_or_null() {
    let bare = LogMessage::new("", "");
    for envelope in [
        json!({ "log": {} }),
        json!({
            "timestamp": null, "source_id": null, "instance_id": null, "tags": null, "deprecated_tags": null,
            "log": { "payload": null, "type": null },
        }),
        json!({
            "timestamp": "0", "source_id": "", "instance_id": "", "tags": {}, "deprecated_tags": {},
            "log": { "payload": "", "type": "OUT" },
        }),
        json!({
            "timestamp": 0, "tags": { "source_type": null }, "deprecated_tags": { "source_type": null },
            "log": { "type": 0 },
        }),
        json!({ "deprecated_tags": { "source_type": { "text": null } }, "log": {} }),
        json!({ "deprecated_tags": { "source_type": {} }, "log": {} }),
    ] {
        assert_eq!(log_of(&envelope), bare, "{envelope}");
    }
}

#[test]
fn a_batch_may_be_empty() {
    for json in ["{}", r#"{"batch":null}"#, r#"{"batch":[]}"#, r#" {"more":[{"log":{}}],"batch":[ ] } "#, "null"] {
        assert!(logs_of(json).is_empty(), "{json}");
    }
    for json in [
        "{}",
        r#"{"envelopes":{}}"#,
        r#"{"envelopes":null}"#,
        r#"{"envelopes":{"batch":null}}"#,
        r#"{"envelopes":{"batch":[]}}"#,
    ] {
        assert!(logs_of_response(json.as_bytes()).is_empty(), "{json}");
    }
}

#[test]
fn numbers_may_be_strings() {
    for (timestamp, expected) in [
        (json!("1700000000000000001"), 1_700_000_000_000_000_001),
        (json!(1_700_000_000_000_000_001_u64), 1_700_000_000_000_000_001),
        (json!("9223372036854775807"), i64::MAX),
        (json!(i64::MIN), i64::MIN),
    ] {
        assert_eq!(log_of(&json!({ "timestamp": timestamp, "log": {} })).timestamp, expected);
    }
    for (number, expected) in
        [(0, MessageType::Out), (1, MessageType::Err), (2, MessageType::Unknown(2)), (-1, MessageType::Unknown(-1))]
    {
        assert_eq!(log_of(&json!({ "log": { "type": number } })).message_type, expected);
    }
}

#[test]
fn base64_may_be_escaped_or_unpadded() {
    for payload in [r"aGVsbG8=", r"aGVsbG8", r"aGVsbG8\u003d"] {
        let json = format!(r#"{{"batch":[{{"log":{{"payload":"{payload}"}}}}]}}"#);
        assert_eq!(logs_of(json)[0].message, b"hello");
    }
    assert_eq!(logs_of(r#"{"batch":[{"log":{"payload":"\/\/\/\/"}}]}"#)[0].message, b"\xff\xff\xff");
}

#[test]
fn other_envelopes_and_unknown_fields_are_skipped() {
    let json = json!({
        "batch": [
            { "gauge": { "metrics": { "cpu": { "unit": "percentage", "value": 1e-7 } } }, "source_id": APP },
            { "log": null, "counter": { "name": "x", "delta": "1", "total": "18446744073709551615" } },
            { "timer": {}, "timestamp": {} },
            { "event": {}, "new": [[], {}, { "log": {} }], "log": { "payload": "aGk=", "level": { "of": "detail" } } },
            {},
        ],
        "new": 1,
    });
    let logs = logs_of(json.to_string());
    assert_eq!(logs, [LogMessage::new("", "hi")]);
}

#[test]
fn an_undecodable_envelope_does_not_affect_the_others() {
    for bad in [
        r#"{"log":{"payload":"a"}}"#,
        r#"{"log":{"payload":"aGVs bG8="}}"#,
        r#"{"log":{"payload":"aGVsbG8=\n"}}"#,
        r#"{"log":{"payload":["aGVsbG8="]}}"#,
        r#"{"log":{"payload":1}}"#,
        r#"{"log":{"type":"DEBUG"}}"#,
        r#"{"log":{"type":4294967296}}"#,
        r#"{"log":{},"timestamp":"yesterday"}"#,
        r#"{"log":{},"timestamp":"9223372036854775808"}"#,
        r#"{"log":{},"timestamp":9223372036854775808}"#,
        r#"{"log":{},"timestamp":1.5}"#,
        r#"{"log":{},"source_id":7}"#,
        r#"{"log":{},"source_id":"\ud800"}"#,
        r#"{"log":{},"source_id":"a","sourceId":"b"}"#,
        r#"{"log":"line"}"#,
        r#"{"log":{},"log":{}}"#,
        "null",
        "7",
        "[]",
        r#""log""#,
    ] {
        let good = r#"{"log":{"payload":"aGk="}}"#;
        let json = format!(r#"{{"batch":[{good},{bad},{{"gauge":{{}}}},{good},{bad},{good}]}}"#);
        let (items, result) = decode_batch(&json);
        result.unwrap();
        let kinds: Vec<_> =
            items.iter().map(|item| item.as_ref().map_err(Error::kind).map(|log| &*log.message)).collect();
        let (good, bad) = (Ok(&b"hi"[..]), Err(ErrorKind::Undecodable));
        assert_eq!(kinds, [good, bad, good, bad, good], "{json}");

        let (items, result) = read(format!(r#"{{"envelopes":{json}}}"#).as_bytes());
        result.unwrap();
        let errors = items.iter().filter(|item| item.is_err()).count();
        assert_eq!((items.len(), errors), (6, 2), "{json}");
    }
}

#[test]
fn an_error_does_not_repeat_its_whole_input() {
    let json = format!(r#"{{"batch":[{{"log":{{}},"timestamp":"{}"}}]}}"#, "x".repeat(LARGE));
    let error = decode_batch(json).0.remove(0).unwrap_err();
    assert!(error.to_string().len() < 300, "{error}");
}

#[test]
fn an_invalid_batch_is_an_error_after_its_valid_envelopes() {
    let good = r#"{"log":{"payload":"aGk="}}"#;
    for (json, logs) in [
        (String::new(), 0),
        ("closing due to stream timeout".to_owned(), 0),
        ("[]".to_owned(), 0),
        ("7".to_owned(), 0),
        (r#"{"batch":{}}"#.to_owned(), 0),
        (format!(r#"{{"batch":[{good},{good}"#), 2),
        (format!(r#"{{"batch":[{good},{{"log":{{"payload":"aGk="#), 1),
        (format!(r#"{{"batch":[{good}]}} {{}}"#), 1),
        (format!(r#"{{"batch":[{good}],"batch":[{good}]}}"#), 1),
        (format!(r#"{{"batch":[{good},{}"#, "[".repeat(LARGE)), 1),
    ] {
        let (items, result) = decode_batch(&json);
        assert_eq!(items.iter().filter(|item| item.is_ok()).count(), logs, "{json:.100}");
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Undecodable, "{json:.100}");
    }
    assert_eq!(decode_batch(b"{\"batch\":[{\"source_id\":\"\xff\"}]}").1.unwrap_err().kind(), ErrorKind::Undecodable);
}

#[test]
fn an_invalid_response_and_a_truncated_one_are_different_errors() {
    let kind = |json: &str| read(json.as_bytes()).1.unwrap_err().kind();
    for json in ["<html>", "7", "[]", r#"{"version":"3.2.12"}"#, r#"{"envelopes":[]}"#, r#"{"envelopes":{"batch":{}}}"#]
    {
        assert_eq!(kind(json), io::ErrorKind::InvalidData, "{json}");
    }
    for name in ["lc-info.http", "lc-meta.http", "lc-promql-instant.http", "cfap-meta-admin.http"] {
        assert_eq!(read(&*captures::body(name)).1.unwrap_err().kind(), io::ErrorKind::InvalidData, "{name}");
    }
    let whole = captures::body("cfap-read-logs-desc-3.http");
    let whole = str::from_utf8(&whole).unwrap().trim_end();
    for cut in 0..whole.len() {
        assert_eq!(kind(&whole[..cut]), io::ErrorKind::UnexpectedEof, "cut at {cut}");
    }
}

#[test]
fn reading_a_response_stops_when_the_callback_breaks() {
    let json = r#"{"envelopes":{"batch":[{},{},{},"#;
    let mut seen = 0;
    let result = read_response(&[], json.as_bytes(), LARGE, |_: Result<Option<LogMessage>>| {
        seen += 1;
        if seen < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert!(result.is_ok());
    assert_eq!(seen, 2);
}

#[test]
fn reading_a_response_takes_bounded_memory() {
    let start = r#"{"envelopes":{"batch":[{"log":{"payload":""#;
    for endless in ["A", "{", "[", " "] {
        for start in [start, r#"{"envelopes":{"batch":["#, "{\"", "{\"a\":", ""] {
            let mut bytes = start.as_bytes().chain(io::repeat(endless.as_bytes()[0]));
            let mut counted = Counted { inner: &mut bytes, count: 0 };
            let result = read_response::<LogMessage>(&[], &mut counted, 1000, |_| ControlFlow::Continue(()));
            assert!(result.is_err());
            assert!(counted.count <= 2 * BUFFER, "{} bytes of {start}{endless}...", counted.count);
        }
    }
    // The limit applies to each envelope, not to the whole response.
    let many = vec![encode(&LogMessage::new(APP, "x".repeat(5000))); 100].join(",");
    let json = format!(r#"{{"envelopes":{{"batch":[{many}]}}}}"#);
    let mut count = 0;
    read_response::<LogMessage>(&[], json.as_bytes(), 10_000, |_| {
        count += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(count, 100);
}

struct Counted<R> {
    inner: R,
    count: usize,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = self.inner.read(buffer)?;
        self.count += amount;
        Ok(amount)
    }
}

#[test]
fn the_message_of_an_error_response_is_found() {
    assert_eq!(error_message(r#"{"code":5,"message":"Not Found","details":[]}"#).as_deref(), Some("Not Found"));
    assert_eq!(
        error_message(r#"{"message":"resource not found","error":"not_found"}"#).as_deref(),
        Some("resource not found")
    );
    for body in [
        "",
        "404 page not found",
        "{}",
        r#"{"message":""}"#,
        r#"{"message":7}"#,
        "[]",
        r#""error""#,
        r#"{"errors":[]}"#,
        r#"{"errors":[{"code":1}]}"#,
        r#"{"errors":{"detail":"x"}}"#,
        r#"{"error":{"message":"x"}}"#,
        r#"{"status":"error","error":"parse error"}"#,
    ] {
        assert_eq!(error_message(body), None, "{body}");
    }
}

#[test]
fn the_message_of_a_cloud_controller_or_a_uaa_is_found_too() {
    for (body, message) in [
        (r#"{"errors":[{"detail":"App not found.","title":"CF-ResourceNotFound","code":10010}]}"#, "App not found."),
        (r#"{"errors":[{"detail":"one"},{"title":"CF-Two","detail":""},{"detail":"three"}]}"#, "one; CF-Two; three"),
        (
            r#"{"code":1000,"description":"Invalid Auth Token","error_code":"CF-InvalidAuthToken"}"#,
            "Invalid Auth Token",
        ),
        (r#"{"error":"unauthorized","error_description":"Bad credentials"}"#, "Bad credentials"),
        (r#"{"error":"unauthorized"}"#, "unauthorized"),
        (r#"{"status":"error","errorType":"internal","error":"parse error"}"#, "internal: parse error"),
        (r#"{"error":"grpc: received message larger than max","code":8}"#, "grpc: received message larger than max"),
    ] {
        assert_eq!(error_message(body).as_deref(), Some(message), "{body}");
    }
}

#[test]
fn the_codes_of_grpc_and_of_a_cloud_controller_differ() {
    for (body, grpc, cloud_controller) in [
        (r#"{"code":8,"message":"too large","details":[]}"#, Some(8), None),
        (r#"{"error":"too large","code":8}"#, Some(8), None),
        (r#"{"errors":[{"detail":"App not found.","title":"CF-ResourceNotFound","code":10010}]}"#, None, Some(10010)),
        (r#"{"code":8,"description":"old","error_code":"CF-Old"}"#, None, Some(8)),
        (r#"{"errors":[]}"#, None, None),
        (r#"{"code":"8"}"#, None, None),
        ("404 page not found", None, None),
        ("[8]", None, None),
    ] {
        assert_eq!((grpc_code(body), cloud_controller_code(body)), (grpc, cloud_controller), "{body}");
    }
}

prop_compose! {
    fn message()(
        app in ".*", source in prop::option::of((".+", ".+")), bytes: Vec<u8>, timestamp: i64,
        message_type in prop_oneof![
            Just(MessageType::Out), Just(MessageType::Err), (2..=i32::MAX).prop_map(MessageType::Unknown),
        ],
    ) -> LogMessage {
        let message = LogMessage::new(app, bytes).timestamp(timestamp).message_type(message_type);
        match source {
            Some((name, id)) => message.source(name, id),
            None => message,
        }
    }
}

proptest! {
    #[test]
    fn encoded_messages_are_decoded(messages in prop::collection::vec(message(), 0..5)) {
        let batch = messages.iter().map(encode).collect::<Vec<_>>().join(",");
        let batch = format!(r#"{{"batch":[{batch}]}}"#);
        prop_assert_eq!(&logs_of(&batch), &messages);
        prop_assert_eq!(&logs_of_response(format!(r#"{{"envelopes":{batch}}}"#).as_bytes()), &messages);
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes: Vec<u8>) {
        let _ = decode_batch(&bytes);
        let _ = read(&*bytes);
    }

    #[test]
    fn both_readers_agree_on_a_damaged_batch(at: prop::sample::Index, byte in b' '..=b'~', cut: bool) {
        let good = encode(&LogMessage::new(APP, "hello").source("APP", "0"));
        let mut json = format!(r#"{{"batch":[{good},{good},{good}]}}"#).into_bytes();
        let at = at.index(json.len());
        if cut {
            json.remove(at);
        } else {
            json[at] = byte;
        }
        let (items, result) = decode_batch(&json);
        let response = [br#"{"envelopes":"#, &*json, b"}"].concat();
        let (envelopes, read) = read(&*response);
        prop_assert_eq!(result.is_ok(), read.is_ok());
        if result.is_ok() {
            let items: Vec<_> = items.into_iter().map(Result::ok).collect();
            let envelopes: Vec<_> =
                envelopes.into_iter().filter_map(Result::transpose).map(Result::ok).collect();
            prop_assert_eq!(items, envelopes);
        }
    }

    /// The slow reader is the model of the fast one.
    #[test]
    fn the_fast_reader_agrees_with_the_slow_one(
        parts in prop::collection::vec(part(), 0..6),
        separator in prop_oneof![8 => Just(","), 1 => Just(" , "), 1 => Just(""), 1 => Just(",,")],
        end in prop_oneof![8 => Just("]}}"), 1 => Just(" ] } }\n"), 1 => Just(",]}}"), 1 => Just("]"), 1 => Just(",")],
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cut in prop::option::of(any::<prop::sample::Index>()),
        breaks: bool,
        received: prop::sample::Index,
        buffer in 1..600_usize,
        sizes in prop::collection::vec(0..200_usize, 0..4),
        stops_at in 1..20_usize,
    ) {
        let mut json = format!("{{\"envelopes\":{{\"batch\":[{}{end}", parts.join(separator)).into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(json.len());
            json[at] = byte;
        }
        if let Some(cut) = cut {
            json.truncate(cut.index(json.len() + 1));
        }
        let read = |fast: bool| {
            let mut items = Vec::new();
            let each = |item: Result<Option<LogMessage>>| {
                items.push(item.map_err(|error| error.to_string()));
                if items.len() < stops_at { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let error = breaks.then(|| io::ErrorKind::TimedOut.into());
            // The slow reader alone knows no part that was received before.
            let (received, rest) = json.split_at(if fast { received.index(json.len() + 1) } else { 0 });
            let body = Pieces::new(rest, &sizes).chain(Failing(error));
            let end =
                if fast { read_buffered(received, body, buffer, LARGE, each) } else { read_slowly(body, LARGE, each) };
            (items, end.map_err(|error| error.kind()))
        };
        prop_assert_eq!(read(true), read(false), "{}", String::from_utf8_lossy(&json));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_envelope_may_be_as_large_as_the_limit_and_not_much_larger(
        sizes in prop::collection::vec(0..6 * BUFFER, 1..4),
        max in 1..3 * BUFFER,
    ) {
        let envelopes: Vec<_> = sizes.iter().map(|&size| encode(&LogMessage::new(APP, "x".repeat(size)))).collect();
        let json = format!("{START}{}]}}}}", envelopes.join(","));
        for fast in [true, false] {
            let mut count = 0;
            let each = |item: Result<Option<LogMessage>>| {
                count += usize::from(item.is_ok());
                ControlFlow::Continue(())
            };
            let result = if fast {
                read_response(&[], json.as_bytes(), max, each)
            } else {
                read_slowly(json.as_bytes(), max, each)
            };
            let largest = START.len() + envelopes.iter().map(String::len).max().unwrap();
            match result {
                Ok(()) => prop_assert!(count == envelopes.len() && largest <= max + 2 * BUFFER + START.len()),
                Err(error) => prop_assert!(error.kind() == io::ErrorKind::FileTooLarge && largest > max),
            }
        }
    }
}

/// An envelope, or something else.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => message().prop_map(|message| encode(&message)),
        1 => prop::sample::select(vec![
            r#"{"gauge":{"metrics":{"cpu":{"unit":"percentage","value":1e-7}}},"source_id":"x"}"#,
            r#"{"timer":{},"timestamp":{}}"#,
            r#"{"log":{"payload":"?"}}"#,
            r#"{"log":{"payload":"aGk="},"tags":{"\u00e9\\\"}]":"}]\"\\"}}"#,
            r#"{"log":{},"log":{}}"#,
            "{}", "{", "null", "7", "[]", "[null,null,null,null,null,null]", r#""log""#, "", " {}",
        ]).prop_map(str::to_owned),
    ]
}

#[test]
fn a_glance_counts_the_envelopes_and_finds_the_last_time() {
    for (name, count) in [("lc-read-all.http", 160), ("lc-read-logs-desc-10.http", 10)] {
        let body = captures::body(name);
        let response: Value = serde_json::from_slice(&body).unwrap();
        let batch = response["envelopes"]["batch"].as_array().unwrap();
        assert_eq!(batch.len(), count);
        let last = batch.last().unwrap()["timestamp"].as_str().unwrap().parse().unwrap();
        assert_eq!(glance(&body), Some((count, last)), "{name}");
    }
    for (json, expected) in [
        (r#"[{"timestamp": -7 }]"#, Some((1, -7))),
        (r#"[{"timestamp":"1","x":"\"timestamp\":"},{"timestamp":2}"#, Some((2, 2))),
        (r#"{"timestamp":"1"#, None),
        (r#"{"timestamp":"x"}"#, None),
        (r#"{"timestamp":"99999999999999999999"}"#, None),
        ("{}", None),
        ("", None),
    ] {
        assert_eq!(glance(json.as_bytes()), expected, "{json}");
    }
}
