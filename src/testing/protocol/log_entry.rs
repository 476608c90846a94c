//! [`LogEntry`]: what an app has logged, or a metric of it, and its encoding in each [`WireFormat`].

use std::borrow::Cow;
use std::time::Duration;

use super::{dropsonde, events, frames};
use crate::envelope::{Envelope, EnvelopeType};
use crate::message::{LogMessage, MessageType};
use crate::testing::config::settings::SlowReader;
use crate::wire::dropsonde::{encode_envelope, encode_legacy};
use crate::wire::v2;

pub(crate) enum LogEntry {
    Message(LogMessage),
    Envelope(Envelope),
    /// Bytes that are sent in place of an encoded message, in every format.
    Raw(Vec<u8>),
}

/// How log entries are sent to a client. Each generation of Loggregator's servers has its own format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WireFormat {
    /// Websocket frames, or parts of a multipart body, with one legacy message each.
    Legacy,
    /// Websocket frames, or parts of a multipart body, with one dropsonde envelope each.
    Doppler {
        /// The envelopes were converted from version 2.
        is_converted: bool,
    },
    /// Server-sent events with a batch of v2 envelopes each.
    RlpGateway,
}

/// How long the real Doppler waits for a slow reader.
const CUT_OFF: Duration = Duration::from_secs(5);

impl WireFormat {
    /// Returns what the real servers with this format do to slow readers.
    pub(crate) fn slow_reader(self) -> SlowReader {
        match self {
            WireFormat::Legacy | WireFormat::Doppler { is_converted: false } => SlowReader::DropAndTell,
            WireFormat::Doppler { is_converted: true } => SlowReader::CutOff(CUT_OFF),
            WireFormat::RlpGateway => SlowReader::Drop,
        }
    }

    /// Returns the frame or the event which says that messages were dropped.
    pub(crate) fn drop_notice(self, app: &str) -> Vec<u8> {
        let notice = LogMessage::new(app, "Log message output too high. We've dropped 100 messages");
        LogEntry::Message(notice.source("LGR", "0").message_type(MessageType::Err)).frame(self)
    }
}

impl LogEntry {
    /// Returns the content of a frame, a part or an event.
    pub(crate) fn payload(&self, format: WireFormat) -> Cow<'_, [u8]> {
        match self {
            LogEntry::Raw(payload) => payload.into(),
            LogEntry::Message(message) => match format {
                WireFormat::Legacy => encode_legacy(message).into(),
                WireFormat::Doppler { is_converted } => dropsonde::encode(message, is_converted).into(),
                WireFormat::RlpGateway => format!(r#"{{"batch":[{}]}}"#, v2::encode(message)).into_bytes().into(),
            },
            LogEntry::Envelope(envelope) => match format {
                WireFormat::Legacy => LogMessage::try_from(envelope.clone())
                    .map_or_else(|_| Vec::new(), |message| encode_legacy(&message)),
                WireFormat::Doppler { .. } => encode_envelope(envelope).into_iter().next().unwrap_or_default(),
                WireFormat::RlpGateway => format!(r#"{{"batch":[{}]}}"#, v2::encode(envelope)).into_bytes(),
            }
            .into(),
        }
    }

    /// Returns true if clients with this format get it: version 1 cannot carry all envelopes, and legacy servers have only
    /// messages.
    pub(crate) fn reaches(&self, format: WireFormat) -> bool {
        let is_converted = format == WireFormat::Doppler { is_converted: true };
        match self {
            LogEntry::Raw(_) => true,
            LogEntry::Message(message) => !is_converted || !message.message.is_empty(),
            LogEntry::Envelope(envelope) => match format {
                WireFormat::Legacy => self.is_log(),
                WireFormat::Doppler { .. } => !encode_envelope(envelope).is_empty(),
                WireFormat::RlpGateway => true,
            },
        }
    }

    /// Returns true if it is a log, or stands for one.
    pub(crate) fn is_log(&self) -> bool {
        match self {
            LogEntry::Envelope(envelope) => envelope.envelope_type() == EnvelopeType::Log,
            LogEntry::Message(_) | LogEntry::Raw(_) => true,
        }
    }

    /// Returns its time, in nanoseconds since the Unix epoch. `None`: it is no envelope.
    pub(crate) fn timestamp(&self) -> Option<i64> {
        match self {
            LogEntry::Message(message) => Some(message.timestamp),
            LogEntry::Envelope(envelope) => Some(envelope.timestamp),
            LogEntry::Raw(_) => None,
        }
    }

    /// Returns the whole frame or event. It is empty if clients with this format do not get it.
    pub(crate) fn frame(&self, format: WireFormat) -> Vec<u8> {
        if !self.reaches(format) {
            return Vec::new();
        }
        if let (LogEntry::Envelope(envelope), WireFormat::Doppler { .. }) = (self, format) {
            let mut frames = Vec::new();
            for payload in encode_envelope(envelope) {
                frames::write_binary(&payload, &mut frames);
            }
            return frames;
        }
        let payload = self.payload(format);
        let mut frame = Vec::with_capacity(payload.len() + 10);
        match format {
            WireFormat::Legacy | WireFormat::Doppler { .. } => frames::write_binary(&payload, &mut frame),
            WireFormat::RlpGateway => events::write_event(&payload, &mut frame),
        }
        frame
    }

    pub(crate) fn message(&self) -> Option<&LogMessage> {
        match self {
            LogEntry::Message(message) => Some(message),
            LogEntry::Envelope(_) | LogEntry::Raw(_) => None,
        }
    }
}
