//! The model of the decoder: the generated code, and the plainest conversion.

use std::collections::BTreeMap;

use protobuf::Message as _;

use crate::envelope::{Body, Envelope, GaugeValue};
use crate::message::MessageType;
use crate::wire::dropsonde::generated::envelope as v1;
use crate::wire::dropsonde::methods::METHODS;

/// Checks that the decoder returns what the model does.
pub(crate) fn check_against_generated_code(bytes: &[u8]) {
    match (super::parse(bytes), decode_slowly(bytes)) {
        // `NaN` differs from itself, but not its text.
        (Ok(fast), Some(slow)) => assert_eq!(format!("{fast:?}"), format!("{slow:?}")),
        (Err(_), None) => {}
        // An event of another type is not decoded.
        (Ok(_), None) => assert!(v1::Envelope::parse_from_bytes(bytes).is_err()),
        // The generated code skips groups, has no limit, and takes the end of the bytes for the end of a message whose
        // length is larger.
        (Err(error), Some(_)) => {
            let error = error.to_string();
            let known = ["there is a group", "there are more than", "it ends within a field", "Unexpected EOF"];
            assert!(known.iter().any(|known| error.starts_with(known)), "{error}");
        }
    }
}

/// Decodes with the generated code, and converts as `ToV2` does.
fn decode_slowly(bytes: &[u8]) -> Option<Option<Envelope>> {
    let v1 = v1::Envelope::parse_from_bytes(bytes).ok()?;
    let text =
        |text: &Option<Vec<u8>>| text.as_ref().map_or_else(String::new, |text| String::from_utf8_lossy(text).into());
    let mut tags: BTreeMap<_, _> = v1.tags.iter().map(|tag| (text(&tag.key), text(&tag.value))).collect();
    let (deployment, job) = (text(&v1.deployment), text(&v1.job));
    let component = if deployment.is_empty() && job.is_empty() { String::new() } else { format!("{deployment}/{job}") };
    let mut source_id = tags.remove("source_id").unwrap_or(component);
    let mut timestamp = v1.timestamp.unwrap_or(0);
    let mut set = BTreeMap::new();
    for (name, field) in [("origin", &v1.origin), ("index", &v1.index), ("ip", &v1.ip)] {
        set.insert(name, text(field));
    }
    set.extend([("deployment", deployment), ("job", job)]);
    let mut instance_id = String::new();
    let body = match v1.eventType?.value() {
        4 => {
            let http = v1.httpStartStop.into_option()?;
            let id = |id: &v1::UUID| {
                let halves = [id.low.unwrap_or(0).to_le_bytes(), id.high.unwrap_or(0).to_le_bytes()].concat();
                let hex: String = halves.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
            };
            if let Some(app) =
                http.applicationId.as_ref().filter(|app| app.low.unwrap_or(0) | app.high.unwrap_or(0) != 0)
            {
                source_id = id(app);
            }
            instance_id = http.instanceIndex.unwrap_or(0).to_string();
            if let Some(request) = http.requestId.as_ref() {
                set.insert("request_id", id(request));
            }
            let named = |number: i32, names: &[&str]| match names.get(number as usize) {
                Some(&name) => name.to_owned(),
                None => number.to_string(),
            };
            set.insert("peer_type", named(http.peerType.unwrap_or(0), &["", "Client", "Server"]));
            set.insert("method", named(http.method.unwrap_or(0), &METHODS));
            set.insert("uri", text(&http.uri));
            set.insert("remote_address", text(&http.remoteAddress));
            set.insert("user_agent", text(&http.userAgent));
            set.insert("status_code", http.statusCode.unwrap_or(0).to_string());
            set.insert("content_length", http.contentLength.unwrap_or(0).to_string());
            set.insert("routing_instance_id", text(&http.instanceId));
            let forwarded: Vec<_> = http.forwarded.iter().map(|address| text(&Some(address.clone()))).collect();
            set.insert("forwarded", forwarded.join("\n"));
            let [start, stop] = [http.startTimestamp, http.stopTimestamp].map(Option::unwrap_or_default);
            Body::Timer { name: "http".into(), start, stop }
        }
        5 => {
            let log = v1.logMessage.into_option()?;
            timestamp = log.timestamp?;
            if log.app_id.as_ref().is_some_and(|app| !app.is_empty()) {
                source_id = text(&log.app_id);
            }
            instance_id = text(&log.source_instance);
            set.insert("source_type", text(&log.source_type));
            Body::Log { payload: log.message?, message_type: MessageType::from_number(log.message_type?.value()) }
        }
        6 => {
            let metric = v1.valueMetric.into_option()?;
            instance_id = tags.remove("instance_id").unwrap_or_default();
            let value = GaugeValue { unit: text(&metric.unit), value: metric.value.unwrap_or(0.0) };
            Body::Gauge([(text(&metric.name), value)].into())
        }
        7 => {
            let counter = v1.counterEvent.into_option()?;
            instance_id = tags.remove("instance_id").unwrap_or_default();
            let [delta, total] = [counter.delta, counter.total].map(Option::unwrap_or_default);
            Body::Counter { name: text(&counter.name), delta, total }
        }
        8 => {
            let error = v1.error.into_option()?;
            set.insert("__v1_type", "Error".into());
            set.insert("source", text(&error.source));
            set.insert("code", error.code.unwrap_or(0).to_string());
            Body::Log { payload: error.message.unwrap_or_default(), message_type: MessageType::Out }
        }
        9 => {
            let container = v1.containerMetric.into_option()?;
            if container.applicationId.as_ref().is_some_and(|app| !app.is_empty()) {
                source_id = text(&container.applicationId);
            }
            instance_id = container.instanceIndex.unwrap_or(0).to_string();
            let cpu = GaugeValue { unit: "percentage".into(), value: container.cpuPercentage.unwrap_or(0.0) };
            let sizes = [
                ("memory", container.memoryBytes),
                ("disk", container.diskBytes),
                ("memory_quota", container.memoryBytesQuota),
                ("disk_quota", container.diskBytesQuota),
            ];
            let size = |(name, size): (&str, Option<u64>)| {
                (name.to_owned(), GaugeValue { unit: "bytes".into(), value: size.unwrap_or(0) as f64 })
            };
            Body::Gauge(sizes.map(size).into_iter().chain([("cpu".into(), cpu)]).collect())
        }
        _ => return Some(None),
    };
    tags.remove("__v1_type");
    tags.extend(set.iter().map(|(&name, tag)| (name.to_owned(), tag.clone())));
    tags.retain(|name, tag| !tag.is_empty() || !set.contains_key(&**name));
    Some(Some(Envelope { timestamp, source_id, instance_id, tags, body }))
}
