//! [`Logged`]: what an app has logged, and its form on each [`Wire`].

use std::borrow::Cow;

use super::frames;
use crate::message::LogMessage;
use crate::wire::dropsonde::{encode_doppler, encode_legacy};
use crate::wire::v2;

pub(super) enum Logged {
    Message(LogMessage),
    /// What stands where a message's encoding would, whatever the wire.
    Raw(Vec<u8>),
}

/// What a tail's client reads, one for each generation of Loggregator's read side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wire {
    /// Websocket frames with a legacy message each.
    Legacy,
    /// Websocket frames with an envelope each.
    Doppler,
    /// Server-sent events with a batch of envelopes each.
    Gateway,
}

impl Logged {
    /// What a frame, a part or an event holds.
    pub(super) fn payload(&self, wire: Wire) -> Cow<'_, [u8]> {
        match self {
            Logged::Raw(payload) => payload.into(),
            Logged::Message(message) => match wire {
                Wire::Legacy => encode_legacy(message).into(),
                Wire::Doppler => encode_doppler(message).into(),
                Wire::Gateway => format!(r#"{{"batch":[{}]}}"#, v2::encode(message)).into_bytes().into(),
            },
        }
    }

    /// The frame or event with it.
    pub(super) fn frame(&self, wire: Wire) -> Vec<u8> {
        let payload = self.payload(wire);
        let mut frame = Vec::with_capacity(payload.len() + 10);
        match wire {
            Wire::Legacy | Wire::Doppler => frames::binary(&payload, &mut frame),
            Wire::Gateway => [b"data: ", &*payload, b"\n\n"].iter().for_each(|part| frame.extend_from_slice(part)),
        }
        frame
    }

    pub(super) fn message(&self) -> Option<&LogMessage> {
        match self {
            Logged::Message(message) => Some(message),
            Logged::Raw(_) => None,
        }
    }
}
