//! Random envelopes for property tests.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::envelope::{Body, Envelope, GaugeValue};
use crate::message::MessageType;

/// Returns any envelope.
pub(crate) fn envelope() -> impl Strategy<Value = Envelope> {
    let payload = prop::collection::vec(any::<u8>(), 0..20);
    let message_type =
        prop_oneof![Just(MessageType::Out), Just(MessageType::Err), (2..=i32::MAX).prop_map(MessageType::Unknown),];
    let body = prop_oneof![
        (payload, message_type).prop_map(|(payload, message_type)| Body::Log { payload, message_type }),
        counter(),
        prop::collection::btree_map(".{0,8}", value(), 0..4).prop_map(Body::Gauge),
        (".{0,8}", any::<i64>(), any::<i64>()).prop_map(|(name, start, stop)| Body::Timer { name, start, stop }),
        (".{0,8}", ".{0,8}").prop_map(|(title, body)| Body::Event { title, body }),
    ];
    let tags = prop::collection::btree_map(prop_oneof![Just("source_type".to_owned()), ".{0,8}"], ".{0,8}", 0..4);
    (any::<i64>(), ".{0,8}", ".{0,8}", tags, body).prop_map(|(timestamp, source_id, instance_id, tags, body)| {
        Envelope { timestamp, source_id, instance_id, tags, body }
    })
}

fn counter() -> impl Strategy<Value = Body> {
    (".{0,8}", any::<u64>(), any::<u64>()).prop_map(|(name, delta, total)| Body::Counter { name, delta, total })
}

fn value() -> impl Strategy<Value = GaugeValue> {
    let value =
        prop_oneof![any::<f64>(), any::<i32>().prop_map(f64::from), Just(f64::NAN), Just(f64::INFINITY), Just(-0.0)];
    (".{0,4}", value).prop_map(|(unit, value)| GaugeValue { unit, value })
}

/// Returns an envelope that a server can send over Doppler without a loss.
pub(crate) fn carried_by_v1() -> impl Strategy<Value = Envelope> {
    let payload = prop::collection::vec(any::<u8>(), 1..20);
    let log = (payload.clone(), prop::sample::select(vec![MessageType::Out, MessageType::Err]))
        .prop_map(|(payload, message_type)| Body::Log { payload, message_type });
    let tags = || {
        let name = prop_oneof![
            "[a-z]{1,4}",
            prop::sample::select(vec!["origin", "deployment", "job", "index", "ip"]).prop_map(str::to_owned)
        ];
        prop::collection::btree_map(name, ".{1,8}", 0..5)
    };
    let envelope =
        |source_id: &'static str, instance_id: &'static str, body: BoxedStrategy<(Body, BTreeMap<String, String>)>| {
            (any::<i64>(), source_id, instance_id, tags(), body).prop_map(
                |(timestamp, source_id, instance_id, mut tags, (body, more))| {
                    tags.extend(more);
                    Envelope { timestamp, source_id, instance_id, tags, body }
                },
            )
        };
    let without_tags = |body: Body| (body, BTreeMap::new());
    let source_type = (log, prop::option::of(".{1,8}")).prop_map(|(body, source_type)| {
        (body, source_type.into_iter().map(|text| ("source_type".to_owned(), text)).collect())
    });
    let error = (payload, ".{1,8}", any::<i32>()).prop_map(|(payload, source, code)| {
        let tags = [("__v1_type", "Error".to_owned()), ("source", source), ("code", code.to_string())];
        (Body::Log { payload, message_type: MessageType::Out }, tags.map(|(name, tag)| (name.to_owned(), tag)).into())
    });
    let gauge = prop::collection::btree_map("[a-z]{1,4}", value(), 1..4).prop_map(Body::Gauge);
    const GUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
    const INDEX: &str = "0|[1-9][0-9]{0,8}";
    prop_oneof![
        envelope(".{1,8}", ".{0,4}", source_type.boxed()),
        envelope(".{1,8}", "", error.boxed()),
        envelope(".{1,8}", ".{0,4}", counter().prop_map(without_tags).boxed()),
        envelope(".{1,8}", ".{0,4}", gauge.prop_map(without_tags).boxed()),
        envelope(".{1,8}", INDEX, container().prop_map(without_tags).boxed()),
        envelope(GUID, INDEX, request(GUID).boxed()),
        envelope("[a-z]{1,8}", INDEX, request(GUID).boxed()),
    ]
}

/// The metrics of a container.
fn container() -> impl Strategy<Value = Body> {
    (any::<f64>(), any::<[u32; 4]>()).prop_map(|(cpu, sizes)| {
        let metric = |name: &str, unit: &str, value| (name.to_owned(), GaugeValue { unit: unit.to_owned(), value });
        let names = ["memory", "disk", "memory_quota", "disk_quota"];
        let sizes = names.iter().zip(sizes).map(|(name, size)| metric(name, "bytes", size.into()));
        Body::Gauge(sizes.chain([metric("cpu", "percentage", cpu)]).collect())
    })
}

/// An HTTP request, and its tags.
fn request(guid: &'static str) -> impl Strategy<Value = (Body, BTreeMap<String, String>)> {
    let times = any::<[i64; 2]>();
    let optional = |text: &'static str| prop::option::of(text);
    let method = prop::sample::select(vec![None, Some("GET"), Some("POST"), Some("PATCH"), Some("VERSION_CONTROL")]);
    let peer = prop::sample::select(vec![None, Some("Client"), Some("Server")]);
    let texts = (
        optional(".{1,8}"),
        optional(".{1,8}"),
        optional(".{1,8}"),
        optional(".{1,8}"),
        optional("[a-z]{1,4}(\n[a-z]{1,4}){0,2}"),
    );
    (times, guid, any::<i32>(), any::<i64>(), method, peer, texts).prop_map(
        |([start, stop], request_id, status_code, content_length, method, peer_type, texts)| {
            let (uri, remote_address, user_agent, routing_instance_id, forwarded) = texts;
            let tags = [
                ("request_id", Some(request_id)),
                ("status_code", Some(status_code.to_string())),
                ("content_length", Some(content_length.to_string())),
                ("method", method.map(str::to_owned)),
                ("peer_type", peer_type.map(str::to_owned)),
                ("uri", uri),
                ("remote_address", remote_address),
                ("user_agent", user_agent),
                ("routing_instance_id", routing_instance_id),
                ("forwarded", forwarded),
            ];
            let tags = tags.into_iter().filter_map(|(name, tag)| Some((name.to_owned(), tag?))).collect();
            (Body::Timer { name: "http".to_owned(), start, stop }, tags)
        },
    )
}
