//! The envelopes of Doppler, with the origin and the tags that those of real apps have.

use std::collections::BTreeMap;

use crate::envelope::{Body, Envelope, GaugeValue};
use crate::message::{LogMessage, MessageType};
use crate::wire::dropsonde::{METHODS, encode_doppler};

/// Encodes a message. `is_converted`: it has come through servers that convert envelopes of version 2.
pub(crate) fn encode(message: &LogMessage, is_converted: bool) -> Vec<u8> {
    let Component { origin, job, ip } = Component::of(message.source_name.as_deref());
    let plain = encode_doppler(message);
    let mut envelope = Vec::with_capacity(plain.len() + 128);
    write_bytes(1, origin.as_bytes(), &mut envelope);
    // Its origin is the first field.
    envelope.extend(plain.iter().skip(2 + plain.get(1).map_or(0, |&length| usize::from(length))));
    for (field, text) in [(13, "cf"), (14, job), (15, "0"), (16, ip)] {
        write_bytes(field, text.as_bytes(), &mut envelope);
    }
    if is_converted {
        let mut tag = Vec::new();
        write_bytes(1, b"source_id", &mut tag);
        write_bytes(2, message.app_id.as_bytes(), &mut tag);
        write_bytes(17, &tag, &mut envelope);
    }
    envelope
}

/// The tags that have fields of their own.
const COMPONENT: [(&str, u32); 5] = [("origin", 1), ("deployment", 13), ("job", 14), ("index", 15), ("ip", 16)];

/// Encodes an envelope of version 2, as Doppler converts it (`ToV1` of go-loggregator). A gauge becomes one envelope for
/// each of its values, unless it is a container metric. An event has no form of version 1.
pub(crate) fn encode_envelope(envelope: &Envelope) -> Vec<Vec<u8>> {
    let Envelope { source_id, instance_id, tags, timestamp, body } = envelope;
    let tag = |name: &str| tags.get(name).map_or("", String::as_str);
    let mut tags = tags.clone();
    let mut event = Vec::new();
    match body {
        Body::Log { payload, .. } if tag("__v1_type") == "Error" => {
            write_bytes(1, tag("source").as_bytes(), &mut event);
            write_number(2, tag("code").parse().unwrap_or(0_i64) as u64, &mut event);
            write_bytes(3, payload, &mut event);
            without(&mut tags, &["source", "code"]);
            vec![wrap(envelope, tags, (8, 11), &event)]
        }
        Body::Log { payload, message_type } => {
            write_bytes(1, payload, &mut event);
            write_number(2, if *message_type == MessageType::Out { 1 } else { 2 }, &mut event);
            write_number(3, *timestamp as u64, &mut event);
            write_bytes(4, source_id.as_bytes(), &mut event);
            write_bytes(5, tag("source_type").as_bytes(), &mut event);
            write_bytes(6, instance_id.as_bytes(), &mut event);
            without(&mut tags, &["source_type"]);
            vec![wrap(envelope, tags, (5, 8), &event)]
        }
        Body::Counter { name, delta, total } => {
            write_bytes(1, name.as_bytes(), &mut event);
            write_number(2, *delta, &mut event);
            write_number(3, *total, &mut event);
            vec![wrap(envelope, with_instance(tags, instance_id), (7, 10), &event)]
        }
        Body::Gauge(values) if is_container_metric(envelope) => {
            let value = |name: &str| values.get(name).map_or(0.0, |value| value.value);
            write_bytes(1, source_id.as_bytes(), &mut event);
            write_number(2, instance_id.parse().unwrap_or(0_u32).into(), &mut event);
            write_double(3, value("cpu"), &mut event);
            for (field, name) in [(4, "memory"), (5, "disk"), (6, "memory_quota"), (7, "disk_quota")] {
                write_number(field, value(name) as u64, &mut event);
            }
            vec![wrap(envelope, tags, (9, 12), &event)]
        }
        Body::Gauge(values) => {
            let encode = |(name, GaugeValue { unit, value }): (&String, &GaugeValue)| {
                let mut event = Vec::new();
                write_bytes(1, name.as_bytes(), &mut event);
                write_double(2, *value, &mut event);
                write_bytes(3, unit.as_bytes(), &mut event);
                wrap(envelope, with_instance(tags.clone(), instance_id), (6, 9), &event)
            };
            values.iter().map(encode).collect()
        }
        Body::Timer { start, stop, .. } => {
            write_number(1, *start as u64, &mut event);
            write_number(2, *stop as u64, &mut event);
            write_uuid(3, tag("request_id"), &mut event);
            write_number(4, number(&["", "Client", "Server"], tag("peer_type")), &mut event);
            write_number(5, number(&METHODS, tag("method")), &mut event);
            write_bytes(6, tag("uri").as_bytes(), &mut event);
            write_bytes(7, tag("remote_address").as_bytes(), &mut event);
            write_bytes(8, tag("user_agent").as_bytes(), &mut event);
            write_number(9, tag("status_code").parse().unwrap_or(0_i64) as u64, &mut event);
            write_number(10, tag("content_length").parse().unwrap_or(0_i64) as u64, &mut event);
            write_uuid(12, source_id, &mut event);
            write_number(13, instance_id.parse().unwrap_or(0_u32).into(), &mut event);
            write_bytes(14, tag("routing_instance_id").as_bytes(), &mut event);
            tag("forwarded").split('\n').for_each(|address| write_bytes(15, address.as_bytes(), &mut event));
            let with_fields = ["peer_type", "method", "request_id", "uri", "remote_address", "user_agent"];
            without(&mut tags, &with_fields);
            without(&mut tags, &["status_code", "content_length", "routing_instance_id", "forwarded"]);
            vec![wrap(envelope, tags, (4, 7), &event)]
        }
        Body::Event { .. } => Vec::new(),
    }
}

/// The values of a container metric of version 1.
const CONTAINER_METRICS: [&str; 5] = ["cpu", "memory", "disk", "memory_quota", "disk_quota"];

/// Returns true if a gauge becomes a container metric of version 1.
pub(crate) fn is_container_metric(envelope: &Envelope) -> bool {
    let Body::Gauge(values) = &envelope.body else { return false };
    let is_set = |name: &str| values.get(name).is_some_and(|value| !value.unit.is_empty() || value.value != 0.0);
    CONTAINER_METRICS.into_iter().all(is_set)
}

/// Encodes an envelope around an event, whose type and field are given.
fn wrap(of: &Envelope, mut tags: BTreeMap<String, String>, (event_type, field): (u64, u32), event: &[u8]) -> Vec<u8> {
    let mut envelope = Vec::with_capacity(event.len() + 128);
    write_number(2, event_type, &mut envelope);
    write_number(6, of.timestamp as u64, &mut envelope);
    write_bytes(field, event, &mut envelope);
    for (name, field) in COMPONENT {
        write_bytes(field, tags.remove(name).unwrap_or_default().as_bytes(), &mut envelope);
    }
    tags.remove("__v1_type");
    if !of.source_id.is_empty() {
        tags.insert("source_id".to_owned(), of.source_id.clone());
    }
    for (name, value) in tags {
        let mut tag = Vec::new();
        write_bytes(1, name.as_bytes(), &mut tag);
        write_bytes(2, value.as_bytes(), &mut tag);
        write_bytes(17, &tag, &mut envelope);
    }
    envelope
}

fn without(tags: &mut BTreeMap<String, String>, names: &[&str]) {
    tags.retain(|name, _| !names.contains(&&**name));
}

fn with_instance(mut tags: BTreeMap<String, String>, instance_id: &str) -> BTreeMap<String, String> {
    if !instance_id.is_empty() {
        tags.insert("instance_id".to_owned(), instance_id.to_owned());
    }
    tags
}

/// Returns the number of a name of an enum. Zero: it has none.
fn number(names: &[&str], name: &str) -> u64 {
    names.iter().position(|other| *other == name).map_or(0, |number| number as u64)
}

/// The component that emits a message.
struct Component {
    origin: &'static str,
    job: &'static str,
    ip: &'static str,
}

impl Component {
    fn of(source_name: Option<&str>) -> Self {
        match source_name {
            Some("RTR") => Component { origin: "gorouter", job: "router", ip: "10.0.1.2" },
            Some("API") => Component { origin: "cloud_controller", job: "api", ip: "10.0.1.3" },
            // The app's container, and what stages it.
            _ => Component { origin: "rep", job: "diego-cell", ip: "10.0.1.4" },
        }
    }
}

fn write_bytes(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(u64::from(field) << 3 | 2, out);
    write_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn write_number(field: u32, number: u64, out: &mut Vec<u8>) {
    write_varint(u64::from(field) << 3, out);
    write_varint(number, out);
}

fn write_double(field: u32, number: f64, out: &mut Vec<u8>) {
    write_varint(u64::from(field) << 3 | 1, out);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Writes a UUID, unless the text is none.
fn write_uuid(field: u32, text: &str, out: &mut Vec<u8>) {
    let digits = text.replace('-', "");
    let half = |range| digits.get(range).and_then(|digits| u64::from_str_radix(digits, 16).ok()).map(u64::swap_bytes);
    if let (36, Some(low), Some(high)) = (text.len(), half(0..16), half(16..32)) {
        let mut uuid = Vec::new();
        write_number(1, low, &mut uuid);
        write_number(2, high, &mut uuid);
        write_bytes(field, &uuid, out);
    }
}

fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
