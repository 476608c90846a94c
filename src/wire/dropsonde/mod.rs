//! Decodes protobuf to [`LogMessage`]s and [`Envelope`]s, and encodes it for the testing server. The only folder that
//! names the generated code.

mod envelope;
mod fields;
#[cfg(any(test, feature = "testing"))]
mod generated;
mod log_message;
mod methods;
#[cfg(any(test, fuzzing, feature = "testing"))]
mod to_v1;

#[cfg(any(test, feature = "testing"))]
use protobuf::Message;

use crate::envelope::Envelope;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::message::LogMessage;

use log_message::{parse_doppler, parse_legacy};

#[cfg(any(test, fuzzing))]
pub(crate) use envelope::check_against_generated_code;
#[cfg(any(test, feature = "testing"))]
use generated::{envelope as dropsonde, log_message as legacy};
#[cfg(any(test, fuzzing, feature = "testing"))]
pub(crate) use to_v1::encode_envelope;

/// What the protobuf of the servers is decoded to.
pub(crate) trait FromV1: Sized {
    /// Decodes one frame or one part from a legacy server.
    ///
    /// # Errors
    ///
    /// See [`legacy()`].
    fn from_legacy(bytes: &[u8]) -> Result<Self>;

    /// Decodes one frame or one part from Doppler. Returns `None` if the envelope holds something else.
    ///
    /// # Errors
    ///
    /// The same as for [`legacy()`].
    fn from_doppler(bytes: &[u8]) -> Result<Option<Self>>;
}

impl FromV1 for LogMessage {
    fn from_legacy(bytes: &[u8]) -> Result<Self> {
        legacy(bytes)
    }

    fn from_doppler(bytes: &[u8]) -> Result<Option<Self>> {
        doppler(bytes)
    }
}

impl FromV1 for Envelope {
    fn from_legacy(bytes: &[u8]) -> Result<Self> {
        legacy(bytes).map(Envelope::from)
    }

    fn from_doppler(bytes: &[u8]) -> Result<Option<Self>> {
        envelope::parse(bytes).map_err(|cause| no_envelope(bytes, cause))
    }
}

/// Decodes one frame or one part from a legacy server.
///
/// # Errors
///
/// [`ErrorKind::Undecodable`] if this is not protobuf or a required field is missing. Invalid UTF-8 in a text field is
/// not an error. It is replaced by U+FFFD, because the log line matters more than the name of its source.
pub(crate) fn legacy(bytes: &[u8]) -> Result<LogMessage> {
    parse_legacy(bytes).map_err(|cause| {
        Error::caused(ErrorKind::Undecodable, format_args!("found no LogMessage in {} bytes", bytes.len()), cause)
    })
}

/// Decodes one frame from Doppler. Returns `None` if the envelope holds something other than a log message, such as a
/// metric.
///
/// # Errors
///
/// The same as for [`legacy()`].
pub(crate) fn doppler(bytes: &[u8]) -> Result<Option<LogMessage>> {
    parse_doppler(bytes).map_err(|cause| no_envelope(bytes, cause))
}

fn no_envelope(bytes: &[u8], cause: BoxError) -> Error {
    Error::caused(ErrorKind::Undecodable, format_args!("found no Envelope in {} bytes", bytes.len()), cause)
}

/// Encodes a message as legacy servers do.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn encode_legacy(message: &LogMessage) -> Vec<u8> {
    let LogMessage { message, message_type, timestamp, app_id, source_id, source_name, drain_urls } = message.clone();
    legacy::LogMessage {
        message: Some(message),
        message_type: Some(protobuf::EnumOrUnknown::from_i32(message_type.number())),
        timestamp: Some(timestamp),
        app_id: Some(app_id.into_bytes()),
        source_id: source_id.map(String::into_bytes),
        drain_urls: drain_urls.into_iter().map(String::into_bytes).collect(),
        source_name: source_name.map(String::into_bytes),
        ..Default::default()
    }
    .write_to_bytes()
    .expect("all required fields are set, and writing to memory cannot fail")
}

/// Encodes a message as Doppler does, but without its tags.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn encode_doppler(message: &LogMessage) -> Vec<u8> {
    let LogMessage { message, message_type, timestamp, app_id, source_id, source_name, drain_urls: _ } =
        message.clone();
    let log = dropsonde::LogMessage {
        message: Some(message),
        message_type: Some(protobuf::EnumOrUnknown::from_i32(message_type.number())),
        timestamp: Some(timestamp),
        app_id: Some(app_id.into_bytes()),
        source_type: source_name.map(String::into_bytes),
        source_instance: source_id.map(String::into_bytes),
        ..Default::default()
    };
    dropsonde::Envelope {
        origin: Some(b"loggregator-consumer".to_vec()),
        eventType: Some(dropsonde::envelope::EventType::LogMessage.into()),
        timestamp: Some(timestamp),
        logMessage: protobuf::MessageField::some(log),
        ..Default::default()
    }
    .write_to_bytes()
    .expect("all required fields are set, and writing to memory cannot fail")
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::fields::MAX_FIELDS;
    use super::log_message::parse_log;
    use super::*;
    use crate::message::MessageType;
    use crate::wire::captures;

    fn full() -> LogMessage {
        let mut message =
            LogMessage::new("app", "hello").timestamp(-1).source("App", "0").message_type(MessageType::Err);
        message.drain_urls = vec!["syslog://10.0.0.1:514".into(), String::new()];
        message
    }

    #[test]
    fn an_encoded_message_is_decoded() {
        assert_eq!(legacy(&encode_legacy(&full())).unwrap(), full());
        let bare = LogMessage::new("", "").timestamp(i64::MIN).message_type(MessageType::Unknown(9));
        assert_eq!(legacy(&encode_legacy(&bare)).unwrap(), bare);
    }

    #[test]
    fn invalid_utf8_in_a_text_field_is_replaced() {
        // message "hi", OUT, timestamp -1 (zigzag 1), app_id ff, source_id fe, drain_urls fd, source_name fc
        let bytes = b"\x0a\x02hi\x10\x01\x18\x01\x22\x01\xff\x32\x01\xfe\x3a\x01\xfd\x42\x01\xfc";
        let message = legacy(bytes).unwrap();
        assert_eq!((message.message.as_slice(), message.timestamp), (&b"hi"[..], -1));
        assert_eq!(message.app_id, "\u{fffd}");
        assert_eq!(message.source_id.as_deref(), Some("\u{fffd}"));
        assert_eq!(message.source_name.as_deref(), Some("\u{fffd}"));
        assert_eq!(message.drain_urls, ["\u{fffd}"]);

        // The log: message "hi", OUT, timestamp 1, app_id ff, source_type fe, source_instance fd. The envelope: also an
        // origin, a deployment, and the key and value of a tag.
        let log = b"\x0a\x02hi\x10\x01\x18\x01\x22\x01\xff\x2a\x01\xfe\x32\x01\xfd";
        let tag = b"\x8a\x01\x06\x0a\x01\xff\x12\x01\xfe";
        let bytes = [b"\x0a\x01\xff\x10\x05\x6a\x01\xfe\x42", &[log.len() as u8][..], log, tag].concat();
        let message = doppler(&bytes).unwrap().unwrap();
        assert_eq!((message.message.as_slice(), message.timestamp), (&b"hi"[..], 1));
        assert_eq!(message.app_id, "\u{fffd}");
        assert_eq!(message.source_name.as_deref(), Some("\u{fffd}"));
        assert_eq!(message.source_id.as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn a_message_with_too_many_fields_is_an_error() {
        let many = |field: &[u8]| [encode_legacy(&full()), field.repeat(MAX_FIELDS)].concat();
        for field in [&b"\x3a\x00"[..], b"\x98\x06\x07"] {
            let error = legacy(&many(field)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Undecodable);
            assert!(error.to_string().ends_with("there are more than 4096 fields"), "{error}");
        }
        let mut large = full();
        large.message = vec![b'x'; 1 << 20];
        large.drain_urls = vec!["syslog://10.0.0.1:514".into(); 1000];
        assert_eq!(legacy(&encode_legacy(&large)).unwrap(), large);
    }

    #[test]
    fn bytes_that_are_not_a_message_are_an_error() {
        let whole = encode_legacy(&full());
        assert_eq!(legacy(b"").unwrap_err().kind(), ErrorKind::Undecodable);
        assert_eq!(legacy(&whole[..whole.len() - 1]).unwrap_err().kind(), ErrorKind::Undecodable);
        // A length of 2^63 - 1 must not be allocated.
        assert_eq!(legacy(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f").unwrap_err().kind(), ErrorKind::Undecodable);
        // The group at the end has no end.
        assert_eq!(legacy(&[&whole[..], b"\x0b"].concat()).unwrap_err().kind(), ErrorKind::Undecodable);
        // Nested groups must not overflow the stack.
        for depth in [1000, 1_000_000] {
            assert_eq!(legacy(&[0x7b].repeat(depth)).unwrap_err().kind(), ErrorKind::Undecodable);
        }
    }

    #[test]
    fn an_encoded_envelope_is_decoded() {
        let sent = full();
        let got = doppler(&encode_doppler(&sent)).unwrap().unwrap();
        assert_eq!(got, LogMessage { drain_urls: Vec::new(), ..sent });
        let bare = LogMessage::new("", "").timestamp(i64::MIN).message_type(MessageType::Unknown(9));
        assert_eq!(doppler(&encode_doppler(&bare)).unwrap(), Some(bare));
    }

    #[test]
    fn bytes_that_are_not_an_envelope_are_an_error() {
        let kind = |bytes: &[u8]| doppler(bytes).unwrap_err().kind();
        let whole = encode_doppler(&full());
        for cut in 0..whole.len() {
            assert_eq!(kind(&whole[..cut]), ErrorKind::Undecodable, "cut at {cut}");
        }
        // An empty log message, without the required fields. No log message. No log message and no event type.
        assert_eq!(kind(b"\x0a\x01x\x10\x05\x42\x00"), ErrorKind::Undecodable);
        assert_eq!(kind(b"\x0a\x01x\x10\x05"), ErrorKind::Undecodable);
        assert_eq!(kind(b"\x0a\x01x"), ErrorKind::Undecodable);
        // Nested groups must not overflow the stack.
        assert_eq!(kind(&[0x7b].repeat(1_000_000)), ErrorKind::Undecodable);
        assert_eq!(kind(b"\x42\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), ErrorKind::Undecodable);
    }

    #[test]
    fn other_fields_of_an_envelope_are_skipped() {
        let mut bytes = encode_doppler(&full());
        // Fields 13 and 17, field 900 as a fixed 64-bit number, and field 901 as a fixed 32-bit number.
        bytes.extend_from_slice(b"\x6a\x02cf\x8a\x01\x00\xa1\x38--------\xad\x38----");
        assert!(doppler(&bytes).unwrap().is_some());
    }

    #[test]
    fn an_envelope_of_another_or_an_unknown_type_is_skipped() {
        assert!(doppler(b"\x0a\x01x\x10\x09").unwrap().is_none());
        assert!(doppler(b"\x0a\x01x\x10\xe7\x07").unwrap().is_none());
    }

    #[test]
    fn captures_of_the_server_of_2015_are_decoded() {
        let sent = |name| -> Vec<LogMessage> { captures::sent(name).iter().map(sent_by_2015).collect() };
        assert_eq!(logs(captures::frames("l15-dropsonde-stream.ws")), sent("l15-dropsonde-stream.ws"));
        assert_eq!(logs(captures::parts("l15-dropsonde-recentlogs.http")), sent("l15-dropsonde-recentlogs.http"));
        let metrics = captures::parts("l15-dropsonde-containermetrics.http");
        assert_eq!((metrics.len(), logs(metrics)), (3, Vec::new()));
    }

    #[test]
    fn captures_of_the_server_of_today_are_decoded() {
        for (name, count) in [("tc-stream-logs-1000.ws", 1000), ("tc-stream-mixed.ws", 19)] {
            // The server's own conversion to v1. It drops empty logs.
            let envelopes = captures::sent(name);
            let sent = envelopes.iter().flat_map(|envelope| envelope["v1"].as_array().unwrap());
            let sent: Vec<LogMessage> = sent
                .filter(|v1| v1["eventType"] == "LogMessage")
                .map(|v1| sent_by_today(&v1["logMessage"]))
                .filter(|log| !log.message.is_empty())
                .collect();
            assert_eq!(sent.len(), count);
            assert_eq!(logs(captures::frames(name)), sent);
        }
    }

    fn logs(envelopes: Vec<Vec<u8>>) -> Vec<LogMessage> {
        envelopes.iter().filter_map(|bytes| doppler(bytes).unwrap()).collect()
    }

    fn sent_by_2015(sent: &Value) -> LogMessage {
        let text = |name: &str| sent[name].as_str().unwrap();
        LogMessage::new(text("app_id"), BASE64_STANDARD.decode(text("message_b64")).unwrap())
            .message_type(MessageType::from_number(sent["message_type"].as_i64().unwrap().try_into().unwrap()))
            .timestamp(text("timestamp").parse().unwrap())
            .source(text("source_name"), text("source_id"))
    }

    fn sent_by_today(sent: &Value) -> LogMessage {
        let text = |name: &str| sent[name].as_str().unwrap();
        let message = sent["message"].as_str().unwrap_or_default();
        LogMessage::new(text("app_id"), BASE64_STANDARD.decode(message).unwrap())
            .message_type(if text("message_type") == "OUT" { MessageType::Out } else { MessageType::Err })
            .timestamp(text("timestamp").parse().unwrap())
            .source(text("source_type"), text("source_instance"))
    }

    #[allow(clippy::needless_pass_by_value)]
    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Decodes with the generated code.
    fn legacy_by_generated_code(bytes: &[u8]) -> Option<LogMessage> {
        let log = super::legacy::LogMessage::parse_from_bytes(bytes).ok()?;
        let (source_id, source_name) = (log.source_id.map(text), log.source_name.map(text));
        let drain_urls = log.drain_urls.into_iter().map(text).collect();
        let message = LogMessage::new(text(log.app_id?), log.message?).timestamp(log.timestamp?);
        let message = message.message_type(MessageType::from_number(log.message_type?.value()));
        Some(LogMessage { source_id, source_name, drain_urls, ..message })
    }

    fn log_by_generated_code(bytes: &[u8]) -> Option<LogMessage> {
        let log = super::dropsonde::LogMessage::parse_from_bytes(bytes).ok()?;
        let [source_id, source_name] =
            [log.source_instance, log.source_type].map(|field| field.map(text).filter(|text| !text.is_empty()));
        let message = LogMessage::new(text(log.app_id.unwrap_or_default()), log.message?).timestamp(log.timestamp?);
        let message = message.message_type(MessageType::from_number(log.message_type?.value()));
        Some(LogMessage { source_id, source_name, ..message })
    }

    /// Fields of all numbers and wire types that matter, and of some that do not.
    fn fields() -> impl Strategy<Value = Vec<u8>> {
        let field =
            (1_u8..=9, 0_u8..=5, prop::collection::vec(any::<u8>(), 0..12)).prop_map(|(number, wire, bytes)| {
                let tag = [number << 3 | wire];
                match wire {
                    2 => [&tag[..], &[bytes.len() as u8], &bytes].concat(),
                    _ => [&tag[..], &bytes].concat(),
                }
            });
        let known = |tag: u8| {
            prop::collection::vec(any::<u8>(), 0..12)
                .prop_map(move |bytes| [&[tag, bytes.len() as u8][..], &bytes].concat())
        };
        let number = |tag: u8| (0_u8..128).prop_map(move |number| vec![tag, number]);
        let valid = prop_oneof![known(0x0a), known(0x22), known(0x32), known(0x3a), number(0x10), number(0x18)];
        let any_field = prop_oneof![8 => valid, 1 => field];
        prop::collection::vec(any_field, 0..9).prop_map(|fields| fields.concat())
    }

    proptest! {
        #[test]
        fn the_generated_code_decodes_the_same(bytes in fields(), at: prop::sample::Index, byte: u8) {
            let mut damaged = [encode_legacy(&full()), bytes.clone()].concat();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            for bytes in [bytes, damaged] {
                let decoders = [
                    (parse_legacy(&bytes), legacy_by_generated_code(&bytes)),
                    (parse_log(&bytes), log_by_generated_code(&bytes)),
                ];
                for (decoded, expected) in decoders {
                    // The generated code skips groups.
                    if decoded.as_ref().is_err_and(|error| error.to_string() == "there is a group") {
                        continue;
                    }
                    prop_assert_eq!(decoded.ok(), expected);
                }
            }
        }

        #[test]
        fn no_bytes_cause_a_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let _ = doppler(&bytes);
            let mut damaged = encode_doppler(&full());
            let at = at.index(damaged.len());
            damaged[at] = byte;
            let _ = doppler(&damaged);
        }
    }
}
