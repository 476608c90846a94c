//! Bytes to [`LogMessage`] (and back, for the testing server): the only file that names the generated protobuf code.

use protobuf::Message as _;

use crate::error::{Error, ErrorKind, Result};
use crate::message::{LogMessage, MessageType};

mod generated {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
}

use generated::log_message as legacy;

/// Decodes what one frame or part of a legacy server holds.
///
/// # Errors
///
/// [`ErrorKind::Undecodable`] when it is no protobuf, or lacks one of the required fields. Text that is no UTF-8 is
/// no error: what is not is replaced by U+FFFD, for the line itself is worth more than its source's name.
pub(crate) fn legacy(bytes: &[u8]) -> Result<LogMessage> {
    let message = legacy::LogMessage::parse_from_bytes(bytes).map_err(|cause| {
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

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Encodes a message as a legacy server does.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn encode_legacy(message: &LogMessage) -> Vec<u8> {
    let LogMessage { message, message_type, timestamp, app_id, source_id, source_name, drain_urls } = message.clone();
    let message_type = match message_type {
        MessageType::Out => 1,
        MessageType::Err => 2,
        MessageType::Unknown(number) => number,
    };
    legacy::LogMessage {
        message: Some(message),
        message_type: Some(protobuf::EnumOrUnknown::from_i32(message_type)),
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

#[cfg(test)]
mod tests {
    use super::*;

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
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let whole = encode_legacy(&full());
        assert_eq!(legacy(b"").unwrap_err().kind(), ErrorKind::Undecodable);
        assert_eq!(legacy(&whole[..whole.len() - 1]).unwrap_err().kind(), ErrorKind::Undecodable);
        // A length of 2^63 - 1 must cost an error, not the memory.
        assert_eq!(legacy(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f").unwrap_err().kind(), ErrorKind::Undecodable);
    }
}
pub(crate) fn doppler(_: &[u8]) -> Result<Option<LogMessage>> {
    todo!()
}
