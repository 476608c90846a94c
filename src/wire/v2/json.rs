//! The JSON of one envelope: [`JsonEnvelope`], in both directions, and the part of it that a log message needs.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
#[cfg(feature = "serde")]
use serde::{Deserializer, Serializer, de::Error as _};

use super::values::{Double, Entries, Int64, LogType, Payload, Tags, Timestamp, UInt64};
use crate::envelope::{Body, Envelope, GaugeValue, SOURCE_TYPE};
use crate::message::{LogMessage, MessageType};

/// What an envelope's JSON is decoded to.
pub(crate) trait FromV2: Sized {
    /// What is read of the JSON.
    type Json: DeserializeOwned;

    /// Returns `None` if the envelope holds something else.
    fn from_json(json: Self::Json) -> Option<Self>;

    /// Returns true if an envelope with this content is decoded.
    fn is_in(content: &Content) -> bool;
}

/// Which members of an envelope are there.
#[derive(Deserialize)]
pub(crate) struct Content {
    log: Option<IgnoredAny>,
    counter: Option<IgnoredAny>,
    gauge: Option<IgnoredAny>,
    timer: Option<IgnoredAny>,
    event: Option<IgnoredAny>,
}

/// An envelope.
#[derive(Deserialize, Serialize)]
pub(crate) struct JsonEnvelope<'a> {
    timestamp: Option<Timestamp>,
    #[serde(alias = "sourceId")]
    source_id: Option<Cow<'a, str>>,
    #[serde(alias = "instanceId")]
    instance_id: Option<Cow<'a, str>>,
    #[serde(alias = "deprecatedTags")]
    deprecated_tags: Option<Entries<String, Option<DeprecatedTag>>>,
    tags: Option<Tags<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Log<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<Counter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gauge: Option<Gauge<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timer: Option<Timer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Event<'a>>,
}

/// The fields of an envelope that a log message has.
#[derive(Deserialize)]
pub(crate) struct JsonLog {
    log: Option<Log<'static>>,
    timestamp: Option<Int64>,
    #[serde(alias = "sourceId")]
    source_id: Option<String>,
    #[serde(alias = "instanceId")]
    instance_id: Option<String>,
    tags: Option<SourceType>,
    #[serde(alias = "deprecatedTags")]
    deprecated_tags: Option<DeprecatedSourceType>,
}

#[derive(Deserialize)]
struct SourceType {
    source_type: Option<String>,
}

#[derive(Deserialize)]
struct DeprecatedSourceType {
    source_type: Option<DeprecatedTag>,
}

#[derive(Deserialize, Serialize)]
struct DeprecatedTag {
    text: Option<String>,
    integer: Option<Int64>,
    decimal: Option<Double>,
}

#[derive(Deserialize, Serialize)]
struct Log<'a> {
    payload: Option<Payload<'a>>,
    r#type: Option<LogType>,
}

#[derive(Deserialize, Serialize)]
struct Counter<'a> {
    name: Option<Cow<'a, str>>,
    delta: Option<UInt64>,
    total: Option<UInt64>,
}

#[derive(Deserialize, Serialize)]
struct Gauge<'a> {
    metrics: Option<Entries<Cow<'a, str>, Option<Metric<'a>>>>,
}

#[derive(Deserialize, Serialize)]
struct Metric<'a> {
    unit: Option<Cow<'a, str>>,
    value: Option<Double>,
}

#[derive(Deserialize, Serialize)]
struct Timer<'a> {
    name: Option<Cow<'a, str>>,
    start: Option<Int64>,
    stop: Option<Int64>,
}

#[derive(Deserialize, Serialize)]
struct Event<'a> {
    title: Option<Cow<'a, str>>,
    body: Option<Cow<'a, str>>,
}

impl FromV2 for LogMessage {
    type Json = JsonLog;

    fn from_json(json: JsonLog) -> Option<Self> {
        let JsonLog { log, timestamp, source_id, instance_id, tags, deprecated_tags } = json;
        let log = log?;
        // An empty text means none, because some servers write empty texts and others leave them out.
        let not_empty = |text: &String| !text.is_empty();
        let deprecated = || deprecated_tags?.source_type?.into_text().filter(not_empty);
        Some(LogMessage {
            message_type: log.message_type(),
            message: log.into_payload(),
            timestamp: timestamp.map_or(0, |timestamp| timestamp.0),
            app_id: source_id.unwrap_or_default(),
            source_id: instance_id.filter(not_empty),
            source_name: tags.and_then(|tags| tags.source_type).filter(not_empty).or_else(deprecated),
            drain_urls: Vec::new(),
        })
    }

    fn is_in(content: &Content) -> bool {
        content.log.is_some()
    }
}

/// A number below this is a time in seconds. In nanoseconds, it would be in the first quarter of an hour of 1970.
const MAX_SECONDS: u64 = 1_000_000_000_000;

impl FromV2 for Envelope {
    type Json = JsonEnvelope<'static>;

    fn from_json(json: JsonEnvelope<'static>) -> Option<Self> {
        let JsonEnvelope {
            timestamp,
            source_id,
            instance_id,
            deprecated_tags,
            tags,
            log,
            counter,
            gauge,
            timer,
            event,
        } = json;
        let body = log.map(Body::from);
        let body = body.or_else(|| counter.map(Body::from)).or_else(|| gauge.map(Body::from));
        let body = body.or_else(|| timer.map(Body::from)).or_else(|| event.map(Body::from))?;
        let mut tags = tags.map_or_else(BTreeMap::new, |tags| tags.0.into_owned());
        for (name, tag) in deprecated_tags.into_iter().flat_map(|tags| tags.0) {
            let tag = tag.and_then(DeprecatedTag::into_text);
            if let Some(tag) = tag.filter(|_| tags.get(&name).is_none_or(String::is_empty)) {
                tags.insert(name, tag);
            }
        }
        // Korifi has the source of a gauge only in tags, and its time in seconds.
        let is_gauge = matches!(body, Body::Gauge(_));
        let from_tag = |name: &str| tags.get(name).filter(|_| is_gauge).cloned().unwrap_or_default();
        Some(Envelope {
            timestamp: match timestamp {
                None => 0,
                Some(Timestamp::Number(seconds)) if is_gauge && seconds.unsigned_abs() < MAX_SECONDS => {
                    seconds.saturating_mul(1_000_000_000)
                }
                Some(Timestamp::Text(nanoseconds) | Timestamp::Number(nanoseconds)) => nanoseconds,
            },
            source_id: source_id.map_or_else(|| from_tag("source_id"), Cow::into_owned),
            instance_id: instance_id.map_or_else(|| from_tag("instance_id"), Cow::into_owned),
            tags,
            body,
        })
    }

    fn is_in(content: &Content) -> bool {
        let Content { log, counter, gauge, timer, event } = content;
        [log, counter, gauge, timer, event].into_iter().any(Option::is_some)
    }
}

impl<'a> From<&'a LogMessage> for JsonEnvelope<'a> {
    fn from(message: &'a LogMessage) -> Self {
        let LogMessage { message, message_type, timestamp, app_id, source_id, source_name, drain_urls: _ } = message;
        let source_type = source_name.iter().map(|name| (SOURCE_TYPE.to_owned(), name.clone()));
        JsonEnvelope {
            timestamp: Some(Timestamp::Text(*timestamp)),
            source_id: Some(app_id.into()),
            instance_id: Some(source_id.as_deref().unwrap_or_default().into()),
            tags: Some(Tags(Cow::Owned(source_type.collect()))),
            log: Some(Log::new(message, *message_type)),
            ..JsonEnvelope::default()
        }
    }
}

impl<'a> From<&'a Envelope> for JsonEnvelope<'a> {
    fn from(envelope: &'a Envelope) -> Self {
        let Envelope { timestamp, source_id, instance_id, tags, body } = envelope;
        let json = JsonEnvelope {
            timestamp: Some(Timestamp::Text(*timestamp)),
            source_id: Some(source_id.into()),
            instance_id: Some(instance_id.into()),
            tags: Some(Tags(Cow::Borrowed(tags))),
            ..JsonEnvelope::default()
        };
        let time = |time: i64| Some(Int64(time));
        match body {
            Body::Log { payload, message_type } => JsonEnvelope { log: Some(Log::new(payload, *message_type)), ..json },
            Body::Counter { name, delta, total } => {
                let [delta, total] = [*delta, *total].map(|number| Some(UInt64(number)));
                JsonEnvelope { counter: Some(Counter { name: Some(name.into()), delta, total }), ..json }
            }
            Body::Gauge(metrics) => {
                let metric = |(name, GaugeValue { unit, value }): (&'a String, &'a GaugeValue)| {
                    (name.into(), Some(Metric { unit: Some(unit.into()), value: Some(Double(*value)) }))
                };
                JsonEnvelope {
                    gauge: Some(Gauge { metrics: Some(Entries(metrics.iter().map(metric).collect())) }),
                    ..json
                }
            }
            Body::Timer { name, start, stop } => {
                let timer = Timer { name: Some(name.into()), start: time(*start), stop: time(*stop) };
                JsonEnvelope { timer: Some(timer), ..json }
            }
            Body::Event { title, body } => {
                JsonEnvelope { event: Some(Event { title: Some(title.into()), body: Some(body.into()) }), ..json }
            }
        }
    }
}

impl Default for JsonEnvelope<'_> {
    fn default() -> Self {
        JsonEnvelope {
            timestamp: None,
            source_id: None,
            instance_id: None,
            // The servers write it although it is empty.
            deprecated_tags: Some(Entries(BTreeMap::new())),
            tags: None,
            log: None,
            counter: None,
            gauge: None,
            timer: None,
            event: None,
        }
    }
}

impl<'a> Log<'a> {
    fn new(payload: &'a [u8], message_type: MessageType) -> Self {
        Log { payload: Some(Payload(payload.into())), r#type: Some(LogType(message_type)) }
    }

    fn message_type(&self) -> MessageType {
        self.r#type.as_ref().map_or(MessageType::Out, |r#type| r#type.0)
    }

    fn into_payload(self) -> Vec<u8> {
        self.payload.map_or_else(Vec::new, |payload| payload.0.into_owned())
    }
}

impl DeprecatedTag {
    /// Returns its value, formatted as the servers do.
    fn into_text(self) -> Option<String> {
        let DeprecatedTag { text, integer, decimal } = self;
        let integer = || integer.map(|integer| integer.0.to_string());
        text.or_else(integer).or_else(|| decimal.map(|decimal| format!("{:.6}", decimal.0)))
    }
}

impl From<Log<'_>> for Body {
    fn from(log: Log<'_>) -> Self {
        Body::Log { message_type: log.message_type(), payload: log.into_payload() }
    }
}

impl From<Counter<'_>> for Body {
    fn from(Counter { name, delta, total }: Counter<'_>) -> Self {
        let number = |number: Option<UInt64>| number.map_or(0, |number| number.0);
        Body::Counter { name: text(name), delta: number(delta), total: number(total) }
    }
}

impl From<Gauge<'_>> for Body {
    fn from(Gauge { metrics }: Gauge<'_>) -> Self {
        let metric = |(name, metric): (Cow<'_, str>, Option<Metric<'_>>)| {
            let Metric { unit, value } = metric?;
            Some((name.into_owned(), GaugeValue { unit: text(unit), value: value.map_or(0.0, |value| value.0) }))
        };
        Body::Gauge(metrics.into_iter().flat_map(|metrics| metrics.0).filter_map(metric).collect())
    }
}

impl From<Timer<'_>> for Body {
    fn from(Timer { name, start, stop }: Timer<'_>) -> Self {
        let time = |time: Option<Int64>| time.map_or(0, |time| time.0);
        Body::Timer { name: text(name), start: time(start), stop: time(stop) }
    }
}

impl From<Event<'_>> for Body {
    fn from(Event { title, body }: Event<'_>) -> Self {
        Body::Event { title: text(title), body: text(body) }
    }
}

fn text(text: Option<Cow<'_, str>>) -> String {
    text.unwrap_or_default().into_owned()
}

/// The JSON of Log Cache. [`drain_urls`](LogMessage::drain_urls) are not in it.
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl Serialize for LogMessage {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        JsonEnvelope::from(self).serialize(output)
    }
}

/// Reads the JSON of any server. An envelope that is not a log is an error.
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de> Deserialize<'de> for LogMessage {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        from_json(input)
    }
}

/// The JSON of Log Cache:
///
/// ```
/// use loggregator_consumer::{Envelope, LogMessage};
///
/// let envelope = Envelope::from(LogMessage::new("my-app-guid", "hello").source("APP/PROC/WEB", "0"));
/// let json = serde_json::to_string(&envelope)?;
/// assert_eq!(
///     json,
///     r#"{"timestamp":"0","source_id":"my-app-guid","instance_id":"0","deprecated_tags":{},"#.to_owned()
///         + r#""tags":{"source_type":"APP/PROC/WEB"},"log":{"payload":"aGVsbG8=","type":"OUT"}}"#
/// );
/// assert_eq!(serde_json::from_str::<Envelope>(&json)?, envelope);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        JsonEnvelope::from(self).serialize(output)
    }
}

/// Reads the JSON of any server. An envelope of an unknown type is an error.
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        from_json(input)
    }
}

#[cfg(feature = "serde")]
fn from_json<'de, T: FromV2, D: Deserializer<'de>>(input: D) -> Result<T, D::Error> {
    T::from_json(T::Json::deserialize(input)?).ok_or_else(|| D::Error::custom("the envelope holds something else"))
}
