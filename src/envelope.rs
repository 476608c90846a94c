//! [`Envelope`]: everything that Loggregator carries, in the form of its version 2.

use std::collections::BTreeMap;

use crate::message::MessageType;

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
}
