//! Random envelopes for property tests.

use loggregator_consumer::{Body, Envelope, GaugeValue, MessageType};
use proptest::prelude::*;

/// Any envelope of this source that version 1 can carry without a loss, with a log of this payload if it is one.
pub fn any_envelope(
    source: impl Strategy<Value = String> + 'static,
    payload: impl Strategy<Value = Vec<u8>> + 'static,
) -> impl Strategy<Value = Envelope> {
    const INDEX: &str = "0|[1-9][0-9]{0,3}";
    let name = "[a-z.]{1,12}";
    let log = (payload, any::<bool>()).prop_map(|(payload, is_error)| Body::Log {
        payload,
        message_type: if is_error { MessageType::Err } else { MessageType::Out },
    });
    let counter =
        (name, any::<u64>(), any::<u64>()).prop_map(|(name, delta, total)| Body::Counter { name, delta, total });
    let gauge = (name, "[a-z]{0,5}", value())
        .prop_map(|(name, unit, value)| Body::Gauge([(name, GaugeValue::new(value, unit))].into()));
    let no_tags = |body| (body, Vec::new());
    let content = prop_oneof![
        ("[0-9]{0,4}", prop_oneof![log, counter, gauge].prop_map(no_tags)),
        (INDEX, container().prop_map(no_tags)),
        (INDEX, request()),
    ];
    let tags = prop::collection::btree_map("(app_name|origin|deployment|job|index|ip|x[a-z]{0,8})", ".{1,20}", 0..10);
    (source, any::<i64>(), tags, content).prop_map(|(source, timestamp, tags, (instance, (body, more)))| {
        let envelope = Envelope::new(source, body).instance_id(instance).timestamp(timestamp);
        tags.into_iter().chain(more).fold(envelope, |envelope, (name, value)| envelope.tag(name, value))
    })
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f32>().prop_filter("no NaN", |value| value.is_finite()).prop_map(f64::from), Just(0.0)]
}

/// The metrics of a container.
fn container() -> impl Strategy<Value = Body> {
    (value(), any::<[u32; 4]>()).prop_map(|(cpu, sizes)| {
        let sizes = ["memory", "disk", "memory_quota", "disk_quota"].into_iter().zip(sizes);
        let sizes = sizes.map(|(name, size)| (name.to_owned(), GaugeValue::new(size.into(), "bytes")));
        Body::Gauge(sizes.chain([("cpu".to_owned(), GaugeValue::new(cpu, "percentage"))]).collect())
    })
}

/// An HTTP request, and its tags.
fn request() -> impl Strategy<Value = (Body, Vec<(String, String)>)> {
    let id = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
    let texts = prop::sample::subsequence(vec!["uri", "remote_address", "user_agent", "forwarded"], 0..=4);
    let [method, peer] = [vec!["GET", "POST", "PATCH"], vec!["Client", "Server"]].map(prop::sample::select);
    (any::<[i64; 2]>(), id, 100..600_i32, 0..1_000_000_i64, method, peer, texts, "[ -~é]{1,20}").prop_map(
        |([start, stop], id, status, length, method, peer, texts, text)| {
            let tags = [
                ("request_id", id),
                ("status_code", status.to_string()),
                ("content_length", length.to_string()),
                ("method", method.to_owned()),
                ("peer_type", peer.to_owned()),
            ];
            let texts = texts.into_iter().map(|name| (name, text.clone()));
            let tags = tags.into_iter().chain(texts).map(|(name, tag)| (name.to_owned(), tag)).collect();
            (Body::Timer { name: "http".to_owned(), start, stop }, tags)
        },
    )
}
