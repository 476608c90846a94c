//! [`Envelope`]: everything that Loggregator carries, in the form of its version 2.

use std::collections::BTreeMap;

use crate::message::{LogMessage, MessageType};

/// The tag with what a log message is from, such as `APP/PROC/WEB`.
pub(crate) const SOURCE_TYPE: &str = "source_type";

/// One envelope: a log message, a metric or an event, and where it comes from.
///
/// This is the envelope of Loggregator's version 2 (`loggregator-api/v2/envelope.proto`).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Envelope {
    /// When it was made, in nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// What it is from: the GUID of an app or of a service instance, or the name of a component of the platform.
    pub source_id: String,
    /// The instance of the source, such as `0`.
    pub instance_id: String,
    /// What else is known of the source, such as `app_name`, `space_name`, `organization_name`, `process_type` and
    /// `process_instance_id`.
    pub tags: BTreeMap<String, String>,
    /// What it carries.
    pub body: Body,
}

/// What an [`Envelope`] carries.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// A log message.
    Log {
        /// The bytes that the app wrote, usually one line of text.
        payload: Vec<u8>,
        /// The stream that the app wrote to.
        message_type: MessageType,
    },
    /// A counter.
    Counter {
        /// Its name.
        name: String,
        /// How much it has grown since the last envelope.
        delta: u64,
        /// Its value.
        total: u64,
    },
    /// Values that were measured at the same time, by name.
    Gauge(BTreeMap<String, GaugeValue>),
    /// A duration, such as that of an HTTP request.
    Timer {
        /// Its name.
        name: String,
        /// The beginning, in nanoseconds since the Unix epoch.
        start: i64,
        /// The end, in nanoseconds since the Unix epoch.
        stop: i64,
    },
    /// Something that happened.
    Event {
        /// What it is.
        title: String,
        /// More about it.
        body: String,
    },
}

/// One value of a [gauge](Body::Gauge).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GaugeValue {
    /// The unit, such as `bytes` or `percentage`.
    pub unit: String,
    /// The value.
    pub value: f64,
}

impl GaugeValue {
    /// Creates a value.
    pub fn new(value: f64, unit: impl Into<String>) -> Self {
        GaugeValue { unit: unit.into(), value }
    }
}

/// The type of an [`Envelope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EnvelopeType {
    /// [`Body::Log`].
    Log,
    /// [`Body::Counter`].
    Counter,
    /// [`Body::Gauge`].
    Gauge,
    /// [`Body::Timer`].
    Timer,
    /// [`Body::Event`].
    Event,
}

impl Envelope {
    /// Creates an envelope without an instance, without tags and with the timestamp 0, for the tests of a tool.
    ///
    /// ```
    /// use loggregator_consumer::{Body, Envelope, EnvelopeType, GaugeValue};
    ///
    /// let cpu = Body::Gauge([("cpu".to_owned(), GaugeValue::new(12.5, "percentage"))].into());
    /// let envelope = Envelope::new("app-guid", cpu).instance_id("0").tag("app_name", "shop").timestamp(1_700_000_000);
    /// assert_eq!(envelope.envelope_type(), EnvelopeType::Gauge);
    /// ```
    pub fn new(source_id: impl Into<String>, body: Body) -> Self {
        Envelope { timestamp: 0, source_id: source_id.into(), instance_id: String::new(), tags: BTreeMap::new(), body }
    }

    /// Sets the [timestamp](Envelope#structfield.timestamp), in nanoseconds since the Unix epoch.
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Sets the [instance](Envelope#structfield.instance_id).
    pub fn instance_id(mut self, instance_id: impl Into<String>) -> Self {
        self.instance_id = instance_id.into();
        self
    }

    /// Adds a [tag](Envelope#structfield.tags).
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Returns the type.
    pub fn envelope_type(&self) -> EnvelopeType {
        match self.body {
            Body::Log { .. } => EnvelopeType::Log,
            Body::Counter { .. } => EnvelopeType::Counter,
            Body::Gauge(_) => EnvelopeType::Gauge,
            Body::Timer { .. } => EnvelopeType::Timer,
            Body::Event { .. } => EnvelopeType::Event,
        }
    }

    /// Returns its size in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        let text = |text: &str| size_of::<String>() + text.len();
        let body = match &self.body {
            Body::Log { payload, .. } => payload.len(),
            Body::Counter { name, .. } | Body::Timer { name, .. } => name.len(),
            Body::Gauge(metrics) => {
                metrics.iter().map(|(name, value)| text(name) + size_of::<GaugeValue>() + value.unit.len()).sum()
            }
            Body::Event { title, body } => title.len() + body.len(),
        };
        let tags = self.tags.iter().map(|(name, tag)| text(name) + text(tag));
        size_of::<Self>() + self.source_id.len() + self.instance_id.len() + tags.sum::<usize>() + body
    }
}

/// The envelope of a message: its source is a tag, and its drain URLs are dropped.
impl From<LogMessage> for Envelope {
    fn from(message: LogMessage) -> Self {
        let LogMessage { message, message_type, timestamp, app_id, source_id, source_name, drain_urls: _ } = message;
        Envelope {
            timestamp,
            source_id: app_id,
            instance_id: source_id.unwrap_or_default(),
            tags: source_name.map(|name| (SOURCE_TYPE.to_owned(), name)).into_iter().collect(),
            body: Body::Log { payload: message, message_type },
        }
    }
}

/// The message of a log, as [`tail`](crate::Consumer::tail) gives it. Any other envelope is returned as it is.
impl TryFrom<Envelope> for LogMessage {
    type Error = Envelope;

    fn try_from(mut envelope: Envelope) -> Result<Self, Envelope> {
        let Body::Log { payload, message_type } = envelope.body else { return Err(envelope) };
        let not_empty = |text: &String| !text.is_empty();
        Ok(LogMessage {
            message: payload,
            message_type,
            timestamp: envelope.timestamp,
            app_id: envelope.source_id,
            source_id: Some(envelope.instance_id).filter(not_empty),
            source_name: envelope.tags.remove(SOURCE_TYPE).filter(not_empty),
            drain_urls: Vec::new(),
        })
    }
}
