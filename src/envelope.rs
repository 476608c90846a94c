//! [`Envelope`]: everything that Loggregator carries, in the form of its version 2.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::message::{LogMessage, MessageType, system_time};

/// The tag with what a log message is from, such as `APP/PROC/WEB`.
pub(crate) const SOURCE_TYPE: &str = "source_type";

/// One envelope: a log message, a metric or an event, and where it comes from.
///
/// This is the envelope of Loggregator's version 2, in which the RLP gateway and Log Cache send everything. Doppler sends
/// version 1 ("dropsonde"), which is converted as the platform itself does, so that an envelope is the same whichever
/// server it comes from. An `HttpStartStop` is a timer, a `ContainerMetric` and a `ValueMetric` are gauges, a
/// `CounterEvent` is a counter, and an `Error` is a log with the tags `source` and `code`.
///
/// Version 1 cannot carry everything. Over Doppler,
///
/// * an event, an empty log, and a timer without the tag `request_id` do not come at all;
/// * a gauge of several metrics comes as several envelopes of one metric each. But if `cpu`, `memory`, `disk`,
///   `memory_quota` and `disk_quota` are all among them, it comes as one envelope with only these, in bytes and percent,
///   and with a whole number as its instance;
/// * a timer is an HTTP request, with the name `http`. Its instance, and its tags `status_code` and `content_length`, are
///   `0` if they are not a number;
/// * a tag is missing if it is empty and has a field of its own in version 1: `origin`, `deployment`, `job`, `index`,
///   `ip`, `source_type`, and those of an HTTP request. So are the tags `source_id`, in metrics `instance_id`, and
///   `__v1_type`, except for an `Error`;
/// * what has no source id has the one that the platform makes of its tags `deployment` and `job`.
///
/// Unlike in the platform, a log has its own time, not that of its envelope, and keeps a type that is unknown.
///
/// Log Cache may round the time of a log to microseconds.
///
/// ```
/// use loggregator_consumer::{Body, Envelope, LogMessage, MessageType};
///
/// fn show(envelope: Envelope) -> String {
///     let app = envelope.app_name().unwrap_or(&envelope.source_id).to_owned();
///     match &envelope.body {
///         Body::Gauge(metrics) => format!("{app} {metrics:?}"),
///         _ => match LogMessage::try_from(envelope) {
///             Ok(message) => format!("{app} {message}"),
///             Err(other) => format!("{app} {:?}", other.body),
///         },
///     }
/// }
///
/// let body = Body::Log { payload: b"hello".to_vec(), message_type: MessageType::Out };
/// assert!(show(Envelope::new("my-app-guid", body).tag("app_name", "my-app")).starts_with("my-app "));
/// ```
///
/// With the feature `serde`, an envelope is serialized to the JSON of Log Cache, and deserialized from that of any server.
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

    /// Returns the [timestamp](Envelope#structfield.timestamp) as a time.
    pub fn time(&self) -> SystemTime {
        system_time(self.timestamp)
    }

    /// Returns the name of the app: the tag `app_name`.
    pub fn app_name(&self) -> Option<&str> {
        self.not_empty("app_name")
    }

    /// Returns the name of the app's space: the tag `space_name`.
    pub fn space_name(&self) -> Option<&str> {
        self.not_empty("space_name")
    }

    /// Returns the name of the app's organization: the tag `organization_name`.
    pub fn organization_name(&self) -> Option<&str> {
        self.not_empty("organization_name")
    }

    /// Returns the type of the app's process, such as `web`: the tag `process_type`.
    pub fn process_type(&self) -> Option<&str> {
        self.not_empty("process_type")
    }

    /// Returns the GUID of the process's instance, which changes when the instance is restarted, unlike
    /// the [instance](Envelope#structfield.instance_id): the tag `process_instance_id`.
    pub fn process_instance_id(&self) -> Option<&str> {
        self.not_empty("process_instance_id")
    }

    fn not_empty(&self, tag: &str) -> Option<&str> {
        self.tags.get(tag).map(String::as_str).filter(|tag| !tag.is_empty())
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

/// The envelope of a message. Its source is the tag `source_type`. Its drain URLs are dropped.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_and_its_envelope_convert_into_one_another() {
        let message = LogMessage::new("app", "hi").timestamp(-7).source("RTR", "1").message_type(MessageType::Err);
        let envelope = Envelope::from(message.clone());
        assert_eq!(envelope.envelope_type(), EnvelopeType::Log);
        assert_eq!((&*envelope.source_id, &*envelope.instance_id, envelope.timestamp), ("app", "1", -7));
        assert_eq!(envelope.tags, [("source_type".to_owned(), "RTR".to_owned())].into());
        assert_eq!(LogMessage::try_from(envelope), Ok(message));

        let bare = LogMessage::new("app", "hi");
        assert_eq!(LogMessage::try_from(Envelope::from(bare.clone())), Ok(bare.clone()));
        // An empty text counts as absent.
        let empty = Envelope::from(LogMessage::new("app", "hi").source("", "")).tag("app_name", "dora");
        assert_eq!(LogMessage::try_from(empty), Ok(bare));
    }

    #[test]
    fn an_envelope_of_another_type_is_returned_as_it_is() {
        let counter = Body::Counter { name: "requests".to_owned(), delta: 1, total: 2 };
        let envelope = Envelope::new("app", counter).tag("source_type", "RTR");
        assert_eq!(LogMessage::try_from(envelope.clone()), Err(envelope));
    }

    #[test]
    fn the_tags_of_an_app_have_accessors() {
        let mut envelope = Envelope::new("app", Body::Gauge(BTreeMap::new()));
        assert_eq!(envelope.app_name(), None);
        for name in ["app_name", "space_name", "organization_name", "process_type", "process_instance_id"] {
            envelope = envelope.tag(name, format!("the {name}"));
        }
        assert_eq!(envelope.app_name(), Some("the app_name"));
        assert_eq!(envelope.space_name(), Some("the space_name"));
        assert_eq!(envelope.organization_name(), Some("the organization_name"));
        assert_eq!(envelope.process_type(), Some("the process_type"));
        assert_eq!(envelope.process_instance_id(), Some("the process_instance_id"));
        assert_eq!(envelope.tag("app_name", "").app_name(), None);
    }
}
