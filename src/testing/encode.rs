//! Encoders, until the crate's own are here.

use crate::message::{LogMessage, MessageType};

fn number(message: &LogMessage) -> i32 {
    match message.message_type {
        MessageType::Out => 1,
        MessageType::Err => 2,
        MessageType::Unknown(number) => number,
    }
}

pub(super) fn encode_doppler(message: &LogMessage) -> Vec<u8> {
    fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    fn bytes(field: u8, value: &[u8], out: &mut Vec<u8>) {
        out.push(field << 3 | 2);
        varint(value.len() as u64, out);
        out.extend_from_slice(value);
    }
    fn number_field(field: u8, value: i64, out: &mut Vec<u8>) {
        out.push(field << 3);
        varint(value as u64, out);
    }
    let mut log = Vec::new();
    bytes(1, &message.message, &mut log);
    number_field(2, number(message).into(), &mut log);
    number_field(3, message.timestamp, &mut log);
    bytes(4, message.app_id.as_bytes(), &mut log);
    if let Some(name) = &message.source_name {
        bytes(5, name.as_bytes(), &mut log);
    }
    if let Some(id) = &message.source_id {
        bytes(6, id.as_bytes(), &mut log);
    }
    let mut out = Vec::new();
    bytes(1, b"loggregator-consumer", &mut out);
    number_field(2, 5, &mut out);
    number_field(6, message.timestamp, &mut out);
    bytes(8, &log, &mut out);
    out
}

pub(super) fn encode_v2(message: &LogMessage) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let tags = message.source_name.as_ref().map_or_else(String::new, |name| format!(r#""source_type":{}"#, text(name)));
    let kind = match message.message_type {
        MessageType::Out => text("OUT"),
        MessageType::Err => text("ERR"),
        MessageType::Unknown(number) => number.to_string(),
    };
    format!(
        r#"{{"timestamp":"{}","source_id":{},"instance_id":{},"deprecated_tags":{{}},"tags":{{{tags}}},"log":{{"payload":"{}","type":{kind}}}}}"#,
        message.timestamp,
        text(&message.app_id),
        text(message.source_id.as_deref().unwrap_or_default()),
        STANDARD.encode(&message.message),
    )
}
