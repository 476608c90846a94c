//! Decodes protobuf to [`LogMessage`]s and [`Envelope`]s, and encodes it for the testing server. The only file that names
//! the generated code.

mod envelope;
mod methods;
#[cfg(any(test, feature = "testing"))]
pub(crate) use methods::METHODS;

use protobuf::CodedInputStream;
#[cfg(any(test, feature = "testing"))]
use protobuf::Message;

use crate::envelope::Envelope;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::message::{LogMessage, MessageType};

/// Encodes for the testing server, and checks the decoders in the tests.
#[cfg(any(test, feature = "testing"))]
mod generated {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
}

#[cfg(any(test, feature = "testing"))]
use generated::{envelope as dropsonde, log_message as legacy};

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

fn parse_legacy(bytes: &[u8]) -> Result<LogMessage, BoxError> {
    let mut required = Required::default();
    let (mut source_id, mut source_name, mut drain_urls) = (None, None, Vec::new());
    read_fields(bytes, |tag, input| {
        match tag {
            TIMESTAMP => required.timestamp = Some(input.read_sint64()?),
            LEGACY_SOURCE_ID => source_id = Some(text(input.read_bytes()?)),
            DRAIN_URLS => drain_urls.push(text(input.read_bytes()?)),
            LEGACY_SOURCE_NAME => source_name = Some(text(input.read_bytes()?)),
            tag => return required.read(tag, input),
        }
        Ok(true)
    })?;
    let app_id = required.app_id.take().ok_or("the field app_id is missing")?;
    Ok(LogMessage { source_id, source_name, drain_urls, ..required.message(app_id)? })
}

/// The tags of fields: the number times 8, plus the wire type.
const MESSAGE: u32 = (1 << 3) + 2;
const MESSAGE_TYPE: u32 = 2 << 3;
const TIMESTAMP: u32 = 3 << 3;
const APP_ID: u32 = (4 << 3) + 2;
const LEGACY_SOURCE_ID: u32 = (6 << 3) + 2;
const DRAIN_URLS: u32 = (7 << 3) + 2;
const LEGACY_SOURCE_NAME: u32 = (8 << 3) + 2;
const SOURCE_TYPE: u32 = (5 << 3) + 2;
const SOURCE_INSTANCE: u32 = (6 << 3) + 2;
const EVENT_TYPE: u32 = 2 << 3;
const LOG_MESSAGE: u32 = (8 << 3) + 2;

/// The wire type of a group's beginning.
const START_GROUP: u32 = 3;

/// The fields that the log messages of both formats have.
#[derive(Default)]
struct Required {
    message: Option<Vec<u8>>,
    message_type: Option<i32>,
    timestamp: Option<i64>,
    app_id: Option<String>,
}

impl Required {
    fn read(&mut self, tag: u32, input: &mut CodedInputStream<'_>) -> Result<bool, BoxError> {
        match tag {
            MESSAGE => self.message = Some(input.read_bytes()?),
            MESSAGE_TYPE => self.message_type = Some(input.read_int32()?),
            APP_ID => self.app_id = Some(text(input.read_bytes()?)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn message(self, app_id: String) -> Result<LogMessage, BoxError> {
        let message_type = self.message_type.ok_or("the field message_type is missing")?;
        Ok(LogMessage {
            message: self.message.ok_or("the field message is missing")?,
            message_type: MessageType::from_number(message_type),
            timestamp: self.timestamp.ok_or("the field timestamp is missing")?,
            app_id,
            source_id: None,
            source_name: None,
            drain_urls: Vec::new(),
        })
    }
}

/// The most fields in a message. Most messages have seven.
///
/// The limit bounds memory, because a field can take ten times its encoded size.
const MAX_FIELDS: usize = 4096;

/// Reads the fields of a message in the order in which they are encoded. `read` returns false if it has not read one,
/// which is then skipped.
///
/// The generated code is not used, because it would make a message of its own first, and keep the fields that are not
/// known, such as the many tags of an envelope, in a hash map.
fn read_fields(
    bytes: &[u8],
    mut read: impl FnMut(u32, &mut CodedInputStream<'_>) -> Result<bool, BoxError>,
) -> Result<(), BoxError> {
    let mut input = CodedInputStream::from_bytes(bytes);
    let mut fields = 0;
    while let Some(tag) = input.read_raw_tag_or_eof()? {
        if !read(tag, &mut input)? {
            // The library would take the end of the bytes for the end of a group. These formats have no groups.
            if tag & 7 == START_GROUP {
                return Err("there is a group".into());
            }
            protobuf::rt::skip_field_for_tag(tag, &mut input)?;
        }
        fields += 1;
        if fields > MAX_FIELDS {
            return Err(format!("there are more than {MAX_FIELDS} fields").into());
        }
    }
    Ok(())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Decodes one frame from Doppler. Returns `None` if the envelope holds something other than a log message, such as a
/// metric.
///
/// # Errors
///
/// The same as for [`legacy()`].
pub(crate) fn doppler(bytes: &[u8]) -> Result<Option<LogMessage>> {
    parse_envelope(bytes).map_err(|cause| no_envelope(bytes, cause))
}

fn no_envelope(bytes: &[u8], cause: BoxError) -> Error {
    Error::caused(ErrorKind::Undecodable, format_args!("found no Envelope in {} bytes", bytes.len()), cause)
}

/// The type of an event that is a log message.
const LOG: i32 = 5;

fn parse_envelope(bytes: &[u8]) -> Result<Option<LogMessage>, BoxError> {
    let (mut event_type, mut log) = (None, None);
    read_fields(bytes, |tag, input| {
        match tag {
            EVENT_TYPE => event_type = Some(input.read_int32()?),
            LOG_MESSAGE => {
                let length = input.read_raw_varint32()?;
                let start = input.pos() as usize;
                input.skip_raw_bytes(length)?;
                log = Some(&bytes[start..input.pos() as usize]);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    match (event_type, log) {
        (Some(LOG), Some(log)) => parse_log(log).map(Some),
        (Some(LOG), None) => Err("the log message is missing".into()),
        (Some(_), _) => Ok(None),
        (None, _) => Err("the event type is missing".into()),
    }
}

fn parse_log(bytes: &[u8]) -> Result<LogMessage, BoxError> {
    let mut required = Required::default();
    let (mut source_id, mut source_name) = (None, None);
    read_fields(bytes, |tag, input| {
        match tag {
            TIMESTAMP => required.timestamp = Some(input.read_int64()?),
            SOURCE_TYPE => source_name = Some(text(input.read_bytes()?)),
            SOURCE_INSTANCE => source_id = Some(text(input.read_bytes()?)),
            tag => return required.read(tag, input),
        }
        Ok(true)
    })?;
    let app_id = required.app_id.take().unwrap_or_default();
    Ok(LogMessage { source_id, source_name, ..required.message(app_id)? })
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

    use super::*;
    use crate::wire::captures;
    use crate::wire::multipart::Splitter;

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
        assert_eq!(logs(parts("l15-dropsonde-recentlogs.http")), sent("l15-dropsonde-recentlogs.http"));
        let metrics = parts("l15-dropsonde-containermetrics.http");
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

    fn parts(name: &str) -> Vec<Vec<u8>> {
        let (head, _) = captures::split(name);
        let content_type = head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap();
        let body = captures::body(name);
        let mut splitter = Splitter::new(&*body, &crate::wire::multipart::boundary(content_type).unwrap(), 1 << 20);
        std::iter::from_fn(|| splitter.next_part().unwrap().map(<[u8]>::to_vec)).collect()
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
        let (source_id, source_name) = (log.source_instance.map(text), log.source_type.map(text));
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
