//! [`Stored`]: what an [`Engine`](super::Engine) has to know of what it reads, which is log messages, or envelopes of all
//! types. It calls both lines.

use std::hash::{Hash, Hasher};
use std::mem;

use crate::envelope::{Body, Envelope, GaugeValue};
use crate::message::LogMessage;

/// What Log Cache stores.
pub(crate) trait Stored {
    /// Its time, in nanoseconds since the epoch.
    fn timestamp(&self) -> i64;

    /// Hashes everything that tells it from another one of its source and time.
    fn hash_content(&self, hasher: &mut impl Hasher);

    /// Its size in memory, in bytes.
    fn size(&self) -> usize;

    /// How long its text is in JSON, besides what all have, and about, in bytes.
    fn text_size(&self) -> usize;
}

impl Stored for LogMessage {
    fn timestamp(&self) -> i64 {
        self.timestamp
    }

    fn hash_content(&self, hasher: &mut impl Hasher) {
        (&self.source_name, &self.source_id, self.message_type, &self.message).hash(hasher);
    }

    fn size(&self) -> usize {
        self.size()
    }

    fn text_size(&self) -> usize {
        in_base64(&self.message)
    }
}

impl Stored for Envelope {
    fn timestamp(&self) -> i64 {
        self.timestamp
    }

    fn hash_content(&self, hasher: &mut impl Hasher) {
        let Envelope { timestamp: _, source_id: _, instance_id, tags, body } = self;
        (instance_id, tags, mem::discriminant(body)).hash(hasher);
        match body {
            Body::Log { payload, message_type } => (payload, message_type).hash(hasher),
            Body::Counter { name, delta, total } => (name, delta, total).hash(hasher),
            Body::Gauge(values) => values.iter().for_each(|(name, GaugeValue { unit, value })| {
                // One that is not a number is equal to itself here.
                (name, unit, value.to_bits()).hash(hasher);
            }),
            Body::Timer { name, start, stop } => (name, start, stop).hash(hasher),
            Body::Event { title, body } => (title, body).hash(hasher),
        }
    }

    fn size(&self) -> usize {
        self.size()
    }

    fn text_size(&self) -> usize {
        let tags: usize = self.tags.iter().map(|(name, tag)| name.len() + tag.len()).sum();
        tags + match &self.body {
            Body::Log { payload, .. } => in_base64(payload),
            Body::Counter { name, .. } | Body::Timer { name, .. } => name.len(),
            Body::Gauge(values) => values.iter().map(|(name, value)| OF_VALUE + name.len() + value.unit.len()).sum(),
            Body::Event { title, body } => title.len() + body.len(),
        }
    }
}

/// What a value of a gauge takes in JSON besides its name and unit, in bytes.
const OF_VALUE: usize = 40;

fn in_base64(payload: &[u8]) -> usize {
    payload.len() / 3 * 4
}
