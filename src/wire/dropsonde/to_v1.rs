//! Encodes an [`Envelope`] for Doppler's clients, as the platform does (`ToV1` in go-loggregator's `conversion`).

use std::collections::BTreeMap;

use protobuf::{EnumOrUnknown, Message, MessageField};

use super::generated::envelope as v1;
use super::methods::METHODS;
use crate::envelope::{Body, Envelope, GaugeValue, SOURCE_TYPE};
use crate::message::MessageType;

/// Encodes an envelope. The result is several envelopes if it is a gauge with several metrics, and none if v1 cannot
/// carry it.
pub(crate) fn encode_envelope(envelope: &Envelope) -> Vec<Vec<u8>> {
    let Envelope { timestamp, source_id, instance_id, tags, body } = envelope.clone();
    let mut to_v1 = ToV1 { timestamp, source_id, instance_id, tags };
    let envelopes = match body {
        Body::Log { payload, message_type } if !payload.is_empty() => vec![to_v1.log(payload, message_type)],
        Body::Counter { name, delta, total } => vec![to_v1.counter(name, delta, total)],
        Body::Gauge(metrics) => to_v1.gauge(&metrics),
        Body::Timer { name: _, start, stop } => to_v1.timer(start, stop).into_iter().collect(),
        // Doppler drops empty logs.
        Body::Log { .. } | Body::Event { .. } => Vec::new(),
    };
    envelopes.iter().map(|v1| v1.write_to_bytes().expect("writing to memory cannot fail")).collect()
}

/// An envelope without its body.
struct ToV1 {
    timestamp: i64,
    source_id: String,
    instance_id: String,
    tags: BTreeMap<String, String>,
}

impl ToV1 {
    fn log(&mut self, payload: Vec<u8>, message_type: MessageType) -> v1::Envelope {
        if self.tags.get("__v1_type").is_some_and(|r#type| r#type == "Error") {
            let error = v1::Error {
                source: self.take("source"),
                code: Some(self.take_number("code")),
                message: Some(payload),
                ..Default::default()
            };
            return v1::Envelope { error: MessageField::some(error), ..self.envelope(v1::envelope::EventType::Error) };
        }
        let message_type = match message_type {
            MessageType::Out => v1::log_message::MessageType::OUT,
            _ => v1::log_message::MessageType::ERR,
        };
        let log = v1::LogMessage {
            message: Some(payload),
            message_type: Some(message_type.into()),
            timestamp: Some(self.timestamp),
            app_id: Some(self.source_id.clone().into_bytes()),
            source_type: self.take(SOURCE_TYPE),
            source_instance: Some(self.instance_id.clone().into_bytes()),
            ..Default::default()
        };
        v1::Envelope { logMessage: MessageField::some(log), ..self.envelope(v1::envelope::EventType::LogMessage) }
    }

    fn counter(&mut self, name: String, delta: u64, total: u64) -> v1::Envelope {
        self.keep_instance();
        let counter = v1::CounterEvent {
            name: Some(name.into_bytes()),
            delta: Some(delta),
            total: Some(total),
            ..Default::default()
        };
        v1::Envelope {
            counterEvent: MessageField::some(counter),
            ..self.envelope(v1::envelope::EventType::CounterEvent)
        }
    }

    fn gauge(&mut self, metrics: &BTreeMap<String, GaugeValue>) -> Vec<v1::Envelope> {
        if let Some(container) = self.container_metric(metrics) {
            return vec![container];
        }
        self.keep_instance();
        let metric = |(name, GaugeValue { unit, value }): (&String, &GaugeValue)| {
            let metric = v1::ValueMetric {
                name: Some(name.clone().into_bytes()),
                value: Some(*value),
                unit: Some(unit.clone().into_bytes()),
                ..Default::default()
            };
            let event_type = v1::envelope::EventType::ValueMetric;
            v1::Envelope { valueMetric: MessageField::some(metric), ..self.envelope(event_type) }
        };
        metrics.iter().map(metric).collect()
    }

    /// Returns `None` if these are not all metrics of a container.
    fn container_metric(&self, metrics: &BTreeMap<String, GaugeValue>) -> Option<v1::Envelope> {
        let metric = |name| metrics.get(name).filter(|metric| !metric.unit.is_empty() || metric.value != 0.0);
        let index = metrics.get("instance_index").map(|index| index.value as i32);
        let container = v1::ContainerMetric {
            applicationId: Some(self.source_id.clone().into_bytes()),
            instanceIndex: Some(index.unwrap_or_else(|| self.instance_id.parse().unwrap_or(0))),
            cpuPercentage: Some(metric("cpu")?.value),
            memoryBytes: Some(metric("memory")?.value as u64),
            diskBytes: Some(metric("disk")?.value as u64),
            memoryBytesQuota: Some(metric("memory_quota")?.value as u64),
            diskBytesQuota: Some(metric("disk_quota")?.value as u64),
            ..Default::default()
        };
        let event_type = v1::envelope::EventType::ContainerMetric;
        Some(v1::Envelope { containerMetric: MessageField::some(container), ..self.envelope(event_type) })
    }

    /// Returns `None` without a request id: v1 requires one.
    fn timer(&mut self, start: i64, stop: i64) -> Option<v1::Envelope> {
        let request_id = uuid(&self.tags.remove("request_id")?)?;
        let number = |name: Option<String>, names: &[&str]| {
            let number = name.and_then(|name| names.iter().position(|known| *known == name));
            Some(number.map_or(0, |number| number as i32))
        };
        let timer = v1::HttpStartStop {
            startTimestamp: Some(start),
            stopTimestamp: Some(stop),
            requestId: MessageField::some(request_id),
            peerType: number(self.tags.remove("peer_type"), &["", "Client", "Server"]),
            method: number(self.tags.remove("method"), &METHODS),
            uri: self.take("uri"),
            remoteAddress: self.take("remote_address"),
            userAgent: self.take("user_agent"),
            statusCode: Some(self.take_number("status_code")),
            contentLength: Some(self.take_number("content_length")),
            applicationId: uuid(&self.source_id).into(),
            instanceIndex: Some(self.instance_id.parse().unwrap_or(0)),
            instanceId: self.take("routing_instance_id"),
            forwarded: self
                .take("forwarded")
                .unwrap_or_default()
                .split(|&byte| byte == b'\n')
                .map(<[_]>::to_vec)
                .collect(),
            ..Default::default()
        };
        let event_type = v1::envelope::EventType::HttpStartStop;
        Some(v1::Envelope { httpStartStop: MessageField::some(timer), ..self.envelope(event_type) })
    }

    /// Returns an envelope without its event.
    fn envelope(&self, event_type: v1::envelope::EventType) -> v1::Envelope {
        let text = |name: &str| Some(self.tags.get(name).cloned().unwrap_or_default().into_bytes());
        let mut tags = self.tags.clone();
        for name in ["__v1_type", "origin", "deployment", "job", "index", "ip"] {
            tags.remove(name);
        }
        if !self.source_id.is_empty() {
            tags.insert("source_id".to_owned(), self.source_id.clone());
        }
        let tag = |(name, value): (String, String)| v1::Tag {
            key: Some(name.into_bytes()),
            value: Some(value.into_bytes()),
            ..Default::default()
        };
        v1::Envelope {
            origin: text("origin"),
            eventType: Some(EnumOrUnknown::new(event_type)),
            timestamp: Some(self.timestamp),
            deployment: text("deployment"),
            job: text("job"),
            index: text("index"),
            ip: text("ip"),
            tags: tags.into_iter().map(tag).collect(),
            ..Default::default()
        }
    }

    /// Keeps the instance of a metric, which has no field in v1, as a tag.
    fn keep_instance(&mut self) {
        if !self.instance_id.is_empty() {
            self.tags.insert("instance_id".to_owned(), self.instance_id.clone());
        }
    }

    /// Moves a tag to a field. Without the tag, the field is empty.
    fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        Some(self.tags.remove(name).unwrap_or_default().into_bytes())
    }

    fn take_number<T: std::str::FromStr + Default>(&mut self, name: &str) -> T {
        self.tags.remove(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

fn uuid(text: &str) -> Option<v1::UUID> {
    let hex: String =
        [text.get(..8)?, text.get(9..13)?, text.get(14..18)?, text.get(19..23)?, text.get(24..)?].concat();
    let number = u128::from_str_radix(&hex, 16).ok().filter(|_| text.len() == 36)?;
    let half = |half: u128| Some((half as u64).swap_bytes());
    Some(v1::UUID { low: half(number >> 64), high: half(number), ..Default::default() })
}
