//! [`LogEntry`]: what an app has logged, and its encoding in each [`WireFormat`].

use std::borrow::Cow;

use super::{events, frames};
use crate::message::LogMessage;
use crate::wire::dropsonde::{encode_doppler, encode_legacy};
use crate::wire::v2;

pub(crate) enum LogEntry {
    Message(LogMessage),
    /// Bytes that are sent in place of an encoded message, in every format.
    Raw(Vec<u8>),
}

/// How log entries are sent to a client. Each generation of Loggregator's servers has its own format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WireFormat {
    /// Websocket frames, or parts of a multipart body, with one legacy message each.
    Legacy,
    /// Websocket frames, or parts of a multipart body, with one dropsonde envelope each.
    Doppler,
    /// Server-sent events with a batch of v2 envelopes each.
    RlpGateway,
}

impl LogEntry {
    /// Returns the content of a frame, a part or an event.
    pub(crate) fn payload(&self, format: WireFormat) -> Cow<'_, [u8]> {
        match self {
            LogEntry::Raw(payload) => payload.into(),
            LogEntry::Message(message) => match format {
                WireFormat::Legacy => encode_legacy(message).into(),
                WireFormat::Doppler => encode_doppler(message).into(),
                WireFormat::RlpGateway => format!(r#"{{"batch":[{}]}}"#, v2::encode(message)).into_bytes().into(),
            },
        }
    }

    /// Returns the whole frame or event.
    pub(crate) fn frame(&self, format: WireFormat) -> Vec<u8> {
        let payload = self.payload(format);
        let mut frame = Vec::with_capacity(payload.len() + 10);
        match format {
            WireFormat::Legacy | WireFormat::Doppler => frames::write_binary(&payload, &mut frame),
            WireFormat::RlpGateway => events::write_event(&payload, &mut frame),
        }
        frame
    }

    pub(crate) fn message(&self) -> Option<&LogMessage> {
        match self {
            LogEntry::Message(message) => Some(message),
            LogEntry::Raw(_) => None,
        }
    }
}
