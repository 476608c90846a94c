use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::message::LogMessage;
use crate::wire::arbitrary;
use crate::wire::captures;
use crate::wire::dropsonde::{FromV1, encode_doppler, encode_envelope};

fn decode(bytes: &[u8]) -> Envelope {
    Envelope::from_doppler(bytes).unwrap().unwrap()
}

#[test]
fn captured_envelopes_are_those_that_were_sent() {
    for (name, count) in [("tc-stream-mixed.ws", 39), ("tc-firehose-mixed.ws", 69), ("tc-firehose-logs.ws", 19)] {
        let mut sent = captures::sent_envelopes(name);
        sent.retain_mut(|envelope| match &mut envelope.body {
            Body::Log { payload, .. } => !payload.is_empty(),
            Body::Event { .. } => false,
            Body::Timer { .. } => name != "tc-firehose-logs.ws",
            Body::Counter { .. } => name == "tc-firehose-mixed.ws",
            Body::Gauge(metrics) => {
                // The only metric of these containers that v1 cannot carry.
                metrics.remove("instance_index");
                name == "tc-firehose-mixed.ws" || (name == "tc-stream-mixed.ws" && metrics.len() > 1)
            }
        });
        let mut got: Vec<_> = captures::frames(name).iter().map(|frame| decode(frame)).collect();
        // The firehose has the metrics of its servers, too.
        got.retain(|envelope| envelope.source_id == sent[0].source_id);
        assert_eq!(got.len(), count);
        assert_eq!(got, sent);
    }
}

#[test]
fn captured_envelopes_of_2015_are_decoded() {
    let frames = captures::frames("l15-dropsonde-stream.ws");
    let logs = captures::parts("l15-dropsonde-recentlogs.http");
    assert_eq!((frames.len(), logs.len()), (5, 3));
    for bytes in frames.iter().chain(&logs) {
        let envelope = decode(bytes);
        assert_eq!(
            envelope.tags,
            [("origin", "legacy-tc"), ("source_type", "App")].map(|(k, v)| (k.into(), v.into())).into()
        );
        assert_eq!(LogMessage::try_from(envelope).unwrap(), LogMessage::from_doppler(bytes).unwrap().unwrap());
    }

    let name = "l15-dropsonde-containermetrics.http";
    let (parts, sent) = (captures::parts(name), captures::sent(name));
    assert_eq!((parts.len(), sent.len()), (3, 3));
    for (bytes, sent) in parts.iter().zip(sent) {
        let text = |name: &str| sent[name].as_str().unwrap().to_owned();
        let bytes_of = |name: &str| text(name).parse().unwrap();
        let metric = |name: &str, unit: &str, value| (name.into(), GaugeValue { unit: unit.into(), value });
        let expected = Envelope {
            timestamp: text("timestamp").parse().unwrap(),
            source_id: text("application_id"),
            instance_id: sent["instance_index"].to_string(),
            tags: [("origin".into(), text("origin"))].into(),
            body: Body::Gauge(
                [
                    metric("cpu", "percentage", sent["cpu_percentage"].as_f64().unwrap()),
                    metric("memory", "bytes", bytes_of("memory_bytes")),
                    metric("disk", "bytes", bytes_of("disk_bytes")),
                    // Servers of that time have no quotas.
                    metric("memory_quota", "bytes", 0.0),
                    metric("disk_quota", "bytes", 0.0),
                ]
                .into(),
            ),
        };
        assert_eq!(decode(bytes), expected);
    }
}

#[test]
fn an_error_is_a_log() {
    // origin "o", the type Error, timestamp 7, and the error: source "s", code 3, message "m".
    let envelope = decode(b"\x0a\x01o\x10\x08\x30\x07\x5a\x08\x0a\x01s\x10\x03\x1a\x01m");
    let tags = [("__v1_type", "Error"), ("code", "3"), ("origin", "o"), ("source", "s")];
    assert_eq!(
        envelope,
        Envelope {
            timestamp: 7,
            source_id: String::new(),
            instance_id: String::new(),
            tags: tags.map(|(name, tag)| (name.into(), tag.into())).into(),
            body: Body::Log { payload: b"m".to_vec(), message_type: MessageType::Out },
        }
    );
}

#[test]
fn without_an_app_the_source_is_the_tag_or_else_the_component() {
    // A counter, deployment "d", job "j", and the tag.
    let counter = b"\x10\x07\x52\x00";
    let (component, tag) = (b"\x6a\x01d\x72\x01j", b"\x8a\x01\x0e\x0a\x09source_id\x12\x01s");
    let source = |parts: &[&[u8]]| decode(&parts.concat()).source_id;
    assert_eq!(source(&[counter]), "");
    assert_eq!(source(&[counter, component]), "d/j");
    assert_eq!(source(&[counter, component, tag]), "s");
    // Also of a request that was for no app: start, an application id of zero.
    let timer = b"\x10\x04\x3a\x08\x08\x01\x62\x04\x08\x00\x10\x00";
    assert_eq!(source(&[timer, component]), "d/j");
    assert_eq!(source(&[timer, component, tag]), "s");
    // An app's id takes precedence.
    let container = b"\x10\x09\x62\x05\x0a\x01a\x10\x02";
    assert_eq!(source(&[container, component, tag]), "a");
}

#[test]
fn an_unknown_type_is_skipped_and_a_missing_event_is_an_error() {
    for unknown in [&b"\x10\x03"[..], b"\x10\x0a", b"\x10\x00", b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
        assert_eq!(Envelope::from_doppler(unknown).unwrap(), None);
    }
    for broken in [&b""[..], b"\x10\x06", b"\x10\x06\x52\x00", b"\x4a\x00", b"\x10\x06\x4a\x02\x0a"] {
        assert_eq!(Envelope::from_doppler(broken).unwrap_err().kind(), ErrorKind::Undecodable, "{broken:?}");
    }
}

#[test]
fn a_legacy_message_is_a_log() {
    let message = LogMessage::new("app", "hi").timestamp(-3).source("App", "1").message_type(MessageType::Err);
    let envelope = Envelope::from_legacy(&super::super::encode_legacy(&message)).unwrap();
    assert_eq!((&*envelope.source_id, &*envelope.instance_id, envelope.timestamp), ("app", "1", -3));
    assert_eq!(envelope.tags, [("source_type".into(), "App".into())].into());
    assert_eq!(LogMessage::try_from(envelope).unwrap(), message);
}

/// One field of a message, of any number and wire type.
fn field(numbers: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..6), Just(b"\x08\x01\x10\x02".to_vec())];
    (numbers, prop::sample::select(vec![0, 0, 1, 2, 2, 2, 5]), any::<u64>(), 0..64_u32, bytes).prop_map(
        |(number, wire_type, value, shift, bytes)| {
            let mut out = varint((number << 3 | wire_type).into());
            match wire_type {
                0 => out.extend(varint(value >> shift)),
                1 => out.extend(value.to_le_bytes()),
                5 => out.extend((value as u32).to_le_bytes()),
                _ => {
                    out.extend(varint(bytes.len() as u64));
                    out.extend(bytes);
                }
            }
            out
        },
    )
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The bytes of an envelope that has an event of one type, possibly in several parts, and other fields.
fn envelope_bytes() -> impl Strategy<Value = Vec<u8>> {
    let event = prop::collection::vec(field(1..=15), 0..12).prop_map(|fields| fields.concat());
    let log = encode_doppler(&LogMessage::new("app", "hi"));
    let fields = prop::collection::vec(field(1..=20), 0..4).prop_map(|fields| fields.concat());
    (4..=10_u32, prop::collection::vec(event, 1..3), fields, any::<bool>()).prop_map(
        move |(r#type, events, fields, has_log)| {
            let mut bytes = vec![2 << 3, r#type as u8];
            if r#type == 5 && has_log {
                bytes.extend(&log);
            }
            for event in events {
                bytes.push(((r#type + 3) << 3) as u8 | 2);
                bytes.extend(varint(event.len() as u64));
                bytes.extend(event);
            }
            bytes.extend(fields);
            bytes
        },
    )
}

/// `NaN` differs from itself, but not its text.
fn shown(envelope: &Option<Envelope>) -> String {
    format!("{envelope:?}")
}

proptest! {
    #[test]
    fn the_generated_code_decodes_the_same(bytes in envelope_bytes()) {
        check_against_generated_code(&bytes);
    }

    #[test]
    fn what_v1_can_carry_is_the_same_after_the_way_through_doppler(envelope in arbitrary::carried_by_v1()) {
        let mut parts = encode_envelope(&envelope).into_iter().map(|bytes| decode(&bytes));
        let mut got = parts.next().unwrap();
        // A gauge with several metrics comes as several envelopes.
        for part in parts {
            prop_assert_eq!(shown(&Some(Envelope { body: got.body.clone(), ..part.clone() })), shown(&Some(got.clone())));
            match (&mut got.body, part.body) {
                (Body::Gauge(all), Body::Gauge(metrics)) => all.extend(metrics),
                _ => prop_assert!(false, "only a gauge is split"),
            }
        }
        prop_assert_eq!(shown(&Some(got)), shown(&Some(envelope)));
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop_oneof![any::<Vec<u8>>(), envelope_bytes()], at: prop::sample::Index, byte: u8) {
        let mut bytes = bytes;
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let message = LogMessage::from_doppler(&bytes).ok().flatten();
        if let Ok(Some(envelope)) = Envelope::from_doppler(&bytes) {
            prop_assert!(envelope.size() <= 2048 + 128 * bytes.len());
            if message.is_some() {
                prop_assert_eq!(LogMessage::try_from(envelope).ok(), message);
            }
        }
    }
}
