//! Bytes to [`LogMessage`] (and back, for the testing server): the only file that names the generated protobuf code.

use protobuf::{CodedInputStream, Message};

use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::message::{LogMessage, MessageType};

mod generated {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
}

use generated::{envelope as dropsonde, log_message as legacy};

/// Decodes what one frame or part of a legacy server holds.
///
/// # Errors
///
/// [`ErrorKind::Undecodable`] when it is no protobuf, or lacks one of the required fields. Text that is no UTF-8 is
/// no error: what is not is replaced by U+FFFD, for the line itself is worth more than its source's name.
pub(crate) fn legacy(bytes: &[u8]) -> Result<LogMessage> {
    let message: legacy::LogMessage = parse(bytes).map_err(|cause| {
        Error::caused(ErrorKind::Undecodable, format_args!("{} bytes are no LogMessage", bytes.len()), cause)
    })?;
    let legacy::LogMessage { message, message_type, timestamp, app_id, source_id, drain_urls, source_name, .. } =
        message;
    Ok(LogMessage {
        message: message.unwrap_or_default(),
        // The raw value: the accessor would give `OUT` for a number that it does not know.
        message_type: MessageType::from_number(message_type.map_or(0, |number| number.value())),
        timestamp: timestamp.unwrap_or_default(),
        app_id: text(app_id.unwrap_or_default()),
        source_id: source_id.map(text),
        source_name: source_name.map(text),
        drain_urls: drain_urls.into_iter().map(text).collect(),
    })
}

/// More fields than this has no message that means well: most have seven. Each can take fifty times the memory of its
/// bytes.
const MAX_FIELDS: usize = 4096;

/// Parses a message, unless it has so many fields that its memory would be out of proportion to its bytes.
fn parse<M: Message>(bytes: &[u8]) -> Result<M, BoxError> {
    // A field has two bytes at the least.
    if bytes.len() > 2 * MAX_FIELDS {
        let mut input = CodedInputStream::from_bytes(bytes);
        let mut fields = 0;
        while let Some(tag) = input.read_raw_tag_or_eof()? {
            protobuf::rt::skip_field_for_tag(tag, &mut input)?;
            fields += 1;
            if fields > MAX_FIELDS {
                return Err("it has too many fields".into());
            }
        }
    }
    Ok(M::parse_from_bytes(bytes)?)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Decodes what one frame of Doppler holds; `None` if it is an envelope of something else, such as a metric.
///
/// # Errors
///
/// Those of [`legacy()`].
pub(crate) fn doppler(bytes: &[u8]) -> Result<Option<LogMessage>> {
    let no_envelope = |cause: BoxError| {
        Error::caused(ErrorKind::Undecodable, format_args!("{} bytes are no Envelope", bytes.len()), cause)
    };
    let log = match Envelope::parse(bytes).map_err(no_envelope)? {
        Envelope { event_type: Some(LOG), log: Some(log) } => log,
        Envelope { event_type: Some(LOG), log: None } => return Err(no_envelope("it has no log message".into())),
        Envelope { event_type: Some(_), .. } => return Ok(None),
        Envelope { event_type: None, .. } => return Err(no_envelope("it has no event type".into())),
    };
    let dropsonde::LogMessage { message, message_type, timestamp, app_id, source_type, source_instance, .. } = log;
    Ok(Some(LogMessage {
        message: message.unwrap_or_default(),
        message_type: MessageType::from_number(message_type.map_or(0, |number| number.value())),
        timestamp: timestamp.unwrap_or_default(),
        app_id: text(app_id.unwrap_or_default()),
        source_id: source_instance.map(text),
        source_name: source_type.map(text),
        drain_urls: Vec::new(),
    }))
}

const LOG: i32 = dropsonde::envelope::EventType::LogMessage as i32;

/// What matters of an envelope. The generated code would keep all the rest, such as its many tags, in a hash map:
/// that takes longer than everything else about a message.
#[derive(Default)]
struct Envelope {
    event_type: Option<i32>,
    log: Option<dropsonde::LogMessage>,
}

impl Envelope {
    fn parse(bytes: &[u8]) -> Result<Self, BoxError> {
        // A field's number, times 8, plus its wire type.
        const EVENT_TYPE: u32 = 2 << 3;
        const LOG_MESSAGE: u32 = (8 << 3) + 2;

        let mut input = CodedInputStream::from_bytes(bytes);
        let mut envelope = Envelope::default();
        while let Some(tag) = input.read_raw_tag_or_eof()? {
            match tag {
                EVENT_TYPE => envelope.event_type = Some(input.read_int32()?),
                LOG_MESSAGE => {
                    // `read_message` would take what is cut between two fields for whole.
                    let length = input.read_raw_varint32()?;
                    let start = input.pos() as usize;
                    input.skip_raw_bytes(length)?;
                    let log = &bytes[start..input.pos() as usize];
                    envelope.log = Some(parse(log)?);
                }
                tag => protobuf::rt::skip_field_for_tag(tag, &mut input)?,
            }
        }
        Ok(envelope)
    }
}

/// Encodes a message as a legacy server does.
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
    .expect("all required fields are set, and memory is no writer that fails")
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
    .expect("all required fields are set, and memory is no writer that fails")
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
    fn what_was_encoded_is_decoded() {
        assert_eq!(legacy(&encode_legacy(&full())).unwrap(), full());
        let bare = LogMessage::new("", "").timestamp(i64::MIN).message_type(MessageType::Unknown(9));
        assert_eq!(legacy(&encode_legacy(&bare)).unwrap(), bare);
    }

    #[test]
    fn text_that_is_no_utf8_does_not_cost_the_message() {
        // message "hi", OUT, timestamp -1 (zigzag 1), app_id ff, source_id fe, drain_urls fd, source_name fc
        let bytes = b"\x0a\x02hi\x10\x01\x18\x01\x22\x01\xff\x32\x01\xfe\x3a\x01\xfd\x42\x01\xfc";
        let message = legacy(bytes).unwrap();
        assert_eq!((message.message.as_slice(), message.timestamp), (&b"hi"[..], -1));
        assert_eq!(message.app_id, "\u{fffd}");
        assert_eq!(message.source_id.as_deref(), Some("\u{fffd}"));
        assert_eq!(message.source_name.as_deref(), Some("\u{fffd}"));
        assert_eq!(message.drain_urls, ["\u{fffd}"]);

        // Of the log: message "hi", OUT, timestamp 1, app_id ff, source_type fe, source_instance fd. Around it: origin,
        // deployment and the key and value of a tag.
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
    fn what_would_take_many_times_its_bytes_in_memory_is_no_message() {
        let many = |field: &[u8]| [encode_legacy(&full()), field.repeat(MAX_FIELDS)].concat();
        for field in [&b"\x3a\x00"[..], b"\x98\x06\x07"] {
            let error = legacy(&many(field)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Undecodable);
            assert!(error.to_string().ends_with("it has too many fields"), "{error}");
        }
        let mut large = full();
        large.message = vec![b'x'; 1 << 20];
        large.drain_urls = vec!["syslog://10.0.0.1:514".into(); 1000];
        assert_eq!(legacy(&encode_legacy(&large)).unwrap(), large);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let whole = encode_legacy(&full());
        assert_eq!(legacy(b"").unwrap_err().kind(), ErrorKind::Undecodable);
        assert_eq!(legacy(&whole[..whole.len() - 1]).unwrap_err().kind(), ErrorKind::Undecodable);
        // A length of 2^63 - 1 must cost an error, not the memory.
        assert_eq!(legacy(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f").unwrap_err().kind(), ErrorKind::Undecodable);
        // Groups in groups must cost an error, not the stack.
        for depth in [1000, 1_000_000] {
            assert_eq!(legacy(&[0x7b].repeat(depth)).unwrap_err().kind(), ErrorKind::Undecodable);
        }
    }

    #[test]
    fn what_was_encoded_for_doppler_is_decoded() {
        let sent = full();
        let got = doppler(&encode_doppler(&sent)).unwrap().unwrap();
        assert_eq!(got, LogMessage { drain_urls: Vec::new(), ..sent });
        let bare = LogMessage::new("", "").timestamp(i64::MIN).message_type(MessageType::Unknown(9));
        assert_eq!(doppler(&encode_doppler(&bare)).unwrap(), Some(bare));
    }

    #[test]
    fn what_is_no_envelope_is_an_error() {
        let kind = |bytes: &[u8]| doppler(bytes).unwrap_err().kind();
        let whole = encode_doppler(&full());
        for cut in 0..whole.len() {
            assert_eq!(kind(&whole[..cut]), ErrorKind::Undecodable, "cut at {cut}");
        }
        // A log message that is empty, so lacks all that is required; none at all; none, and no event type.
        assert_eq!(kind(b"\x0a\x01x\x10\x05\x42\x00"), ErrorKind::Undecodable);
        assert_eq!(kind(b"\x0a\x01x\x10\x05"), ErrorKind::Undecodable);
        assert_eq!(kind(b"\x0a\x01x"), ErrorKind::Undecodable);
        // Groups in groups must cost an error, not the stack.
        assert_eq!(kind(&[0x7b].repeat(1_000_000)), ErrorKind::Undecodable);
        assert_eq!(kind(b"\x42\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), ErrorKind::Undecodable);
    }

    #[test]
    fn what_an_envelope_has_besides_is_skipped() {
        let mut bytes = encode_doppler(&full());
        // Fields 13, 17, 900 as a fixed 64-bit number, and 901 as a fixed 32-bit one.
        bytes.extend_from_slice(b"\x6a\x02cf\x8a\x01\x00\xa1\x38--------\xad\x38----");
        assert!(doppler(&bytes).unwrap().is_some());
    }

    #[test]
    fn an_envelope_of_another_or_an_unknown_type_is_no_log() {
        assert!(doppler(b"\x0a\x01x\x10\x09").unwrap().is_none());
        assert!(doppler(b"\x0a\x01x\x10\xe7\x07").unwrap().is_none());
    }

    #[test]
    fn the_server_of_2015_is_understood() {
        let sent = |name| -> Vec<LogMessage> { captures::sent(name).iter().map(sent_by_2015).collect() };
        assert_eq!(logs(captures::frames("l15-dropsonde-stream.ws")), sent("l15-dropsonde-stream.ws"));
        assert_eq!(logs(parts("l15-dropsonde-recentlogs.http")), sent("l15-dropsonde-recentlogs.http"));
        let metrics = parts("l15-dropsonde-containermetrics.http");
        assert_eq!((metrics.len(), logs(metrics)), (3, Vec::new()));
    }

    #[test]
    fn the_server_of_today_is_understood() {
        for (name, count) in [("tc-stream-logs-1000.ws", 1000), ("tc-stream-mixed.ws", 19)] {
            // The server's own conversion to v1. It has no empty logs.
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

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let _ = doppler(&bytes);
            let mut damaged = encode_doppler(&full());
            let at = at.index(damaged.len());
            damaged[at] = byte;
            let _ = doppler(&damaged);
        }
    }
}
