//! Decodes the log messages of legacy servers and of Doppler.

use protobuf::CodedInputStream;

use super::fields::{BYTES, VARINT, field, part, read_fields, text};
use crate::error::{BoxError, Result};
use crate::message::{LogMessage, MessageType};

const MESSAGE: u32 = field(1, BYTES);
const MESSAGE_TYPE: u32 = field(2, VARINT);
const TIMESTAMP: u32 = field(3, VARINT);
const APP_ID: u32 = field(4, BYTES);
const LEGACY_SOURCE_ID: u32 = field(6, BYTES);
const DRAIN_URLS: u32 = field(7, BYTES);
const LEGACY_SOURCE_NAME: u32 = field(8, BYTES);
const SOURCE_TYPE: u32 = field(5, BYTES);
const SOURCE_INSTANCE: u32 = field(6, BYTES);
const EVENT_TYPE: u32 = field(2, VARINT);
const LOG_MESSAGE: u32 = field(8, BYTES);

/// Decodes a message of a legacy server.
pub(super) fn parse_legacy(bytes: &[u8]) -> Result<LogMessage, BoxError> {
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

/// The type of an event that is a log message.
const LOG: i32 = 5;

/// Decodes an envelope of Doppler. Returns `None` if it holds something else.
pub(super) fn parse_doppler(bytes: &[u8]) -> Result<Option<LogMessage>, BoxError> {
    let (mut event_type, mut log) = (None, None);
    read_fields(bytes, |tag, input| {
        match tag {
            EVENT_TYPE => event_type = Some(input.read_int32()?),
            LOG_MESSAGE => log = Some(part(bytes, input)?),
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

/// Decodes the log message of an envelope.
pub(super) fn parse_log(bytes: &[u8]) -> Result<LogMessage, BoxError> {
    let mut required = Required::default();
    let (mut source_id, mut source_name) = (None, None);
    read_fields(bytes, |tag, input| {
        match tag {
            TIMESTAMP => required.timestamp = Some(input.read_int64()?),
            // An empty text means none: it is what the platform writes for an envelope of v2 that has none.
            SOURCE_TYPE => source_name = Some(text(input.read_bytes()?)).filter(|name| !name.is_empty()),
            SOURCE_INSTANCE => source_id = Some(text(input.read_bytes()?)).filter(|id| !id.is_empty()),
            tag => return required.read(tag, input),
        }
        Ok(true)
    })?;
    let app_id = required.app_id.take().unwrap_or_default();
    Ok(LogMessage { source_id, source_name, ..required.message(app_id)? })
}
