//! [`Stored`]: what an [`Engine`](super::Engine) has to know of what it reads, which is log messages, or envelopes of all
//! types. It calls both lines.

use std::hash::{Hash, Hasher};
use std::mem;

use crate::envelope::{Body, Envelope, EnvelopeType, GaugeValue};
use crate::message::LogMessage;

/// What Log Cache stores.
pub(crate) trait Stored {
    /// Its time, in nanoseconds since the epoch.
    fn timestamp(&self) -> i64;

    fn envelope_type(&self) -> EnvelopeType;

    /// The id of what it is from.
    fn source(&self) -> &str;

    /// Returns true if it is a log without a text, which streams do not give.
    fn is_blank(&self) -> bool;

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

    fn envelope_type(&self) -> EnvelopeType {
        EnvelopeType::Log
    }

    fn source(&self) -> &str {
        &self.app_id
    }

    fn is_blank(&self) -> bool {
        self.message.trim_ascii().is_empty()
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

    fn envelope_type(&self) -> EnvelopeType {
        self.envelope_type()
    }

    fn source(&self) -> &str {
        &self.source_id
    }

    fn is_blank(&self) -> bool {
        matches!(&self.body, Body::Log { payload, .. } if payload.trim_ascii().is_empty())
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::hash::{BuildHasher, RandomState};

    use super::*;
    use crate::message::MessageType;

    #[test]
    fn envelopes_that_differ_in_any_part_of_their_content_have_different_hashes() {
        let gauge = |values: &[(&str, &str, f64)]| {
            let value = |&(name, unit, value): &(&str, &str, f64)| (name.to_owned(), GaugeValue::new(value, unit));
            Body::Gauge(values.iter().map(value).collect::<BTreeMap<_, _>>())
        };
        let log = |payload: &[u8], message_type| Body::Log { payload: payload.to_vec(), message_type };
        let counter = |name: &str, delta, total| Body::Counter { name: name.to_owned(), delta, total };
        let timer = |name: &str, start, stop| Body::Timer { name: name.to_owned(), start, stop };
        let event = |title: &str, body: &str| Body::Event { title: title.to_owned(), body: body.to_owned() };
        let bodies = [
            log(b"a", MessageType::Out),
            log(b"a", MessageType::Err),
            log(b"b", MessageType::Out),
            counter("a", 1, 2),
            counter("a", 2, 2),
            counter("a", 1, 1),
            counter("b", 1, 2),
            gauge(&[]),
            gauge(&[("a", "s", 1.0)]),
            gauge(&[("a", "s", f64::NAN)]),
            gauge(&[("a", "m", 1.0)]),
            gauge(&[("b", "s", 1.0)]),
            gauge(&[("a", "s", 1.0), ("b", "s", 1.0)]),
            timer("a", 1, 2),
            timer("a", 2, 2),
            timer("a", 1, 1),
            timer("b", 1, 2),
            event("a", "b"),
            event("a", "c"),
            event("b", "b"),
        ];
        let envelopes = bodies.iter().flat_map(|body| {
            let plain = Envelope::new("app", body.clone());
            [plain.clone().tag("a", "b"), plain.clone().tag("b", "a"), plain.clone().instance_id("0"), plain]
        });
        let hasher = RandomState::new();
        let hash = |envelope: &Envelope| {
            let mut hasher = hasher.build_hasher();
            envelope.hash_content(&mut hasher);
            hasher.finish()
        };
        let envelopes: Vec<_> = envelopes.collect();
        assert_eq!(envelopes.iter().map(hash).collect::<HashSet<_>>().len(), envelopes.len());
        // Also that with a value that is not a number.
        assert!(envelopes.iter().all(|envelope| hash(envelope) == hash(&envelope.clone())));
    }
}
