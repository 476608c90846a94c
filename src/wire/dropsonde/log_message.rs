//! Decodes the log messages of legacy servers and of Doppler.

use super::fields::{BYTES, Fields, VARINT, field, read_fields, text};
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
    let mut log = Log::default();
    let mut drain_urls = Vec::new();
    read_fields(bytes, |tag, fields| {
        match tag {
            TIMESTAMP => log.timestamp = Some(fields.sint64()?),
            LEGACY_SOURCE_ID => log.source_id = Some(fields.bytes()?),
            DRAIN_URLS => drain_urls.push(text(fields.bytes()?)),
            LEGACY_SOURCE_NAME => log.source_name = Some(fields.bytes()?),
            tag => return log.read(tag, fields),
        }
        Ok(true)
    })?;
    log.app_id.ok_or("the field app_id is missing")?;
    log.message(drain_urls)
}

/// The fields of a log message, not copied yet.
#[derive(Default)]
struct Log<'a> {
    message: Option<&'a [u8]>,
    message_type: Option<i32>,
    timestamp: Option<i64>,
    app_id: Option<&'a [u8]>,
    source_id: Option<&'a [u8]>,
    source_name: Option<&'a [u8]>,
}

impl<'a> Log<'a> {
    /// Reads a field that both formats have.
    #[inline]
    fn read(&mut self, tag: u32, fields: &mut Fields<'a>) -> Result<bool, BoxError> {
        match tag {
            MESSAGE => self.message = Some(fields.bytes()?),
            MESSAGE_TYPE => self.message_type = Some(fields.int32()?),
            APP_ID => self.app_id = Some(fields.bytes()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    #[inline]
    fn message(self, drain_urls: Vec<String>) -> Result<LogMessage, BoxError> {
        let message_type = self.message_type.ok_or("the field message_type is missing")?;
        let message = self.message.ok_or("the field message is missing")?;
        Ok(LogMessage {
            timestamp: self.timestamp.ok_or("the field timestamp is missing")?,
            message: message.to_vec(),
            message_type: MessageType::from_number(message_type),
            app_id: text(self.app_id.unwrap_or_default()),
            source_id: self.source_id.map(text),
            source_name: self.source_name.map(text),
            drain_urls,
        })
    }
}

/// The type of an event that is a log message.
const LOG: i32 = 5;

/// Decodes an envelope of Doppler. Returns `None` if it holds something else.
pub(super) fn parse_doppler(bytes: &[u8]) -> Result<Option<LogMessage>, BoxError> {
    let (mut event_type, mut log) = (None, None);
    read_fields(bytes, |tag, fields| {
        match tag {
            EVENT_TYPE => event_type = Some(fields.int32()?),
            LOG_MESSAGE => log = Some(fields.bytes()?),
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
    let mut log = Log::default();
    read_fields(bytes, |tag, fields| {
        match tag {
            TIMESTAMP => log.timestamp = Some(fields.int64()?),
            // An empty text means none: it is what the platform writes for an envelope of v2 that has none.
            SOURCE_TYPE => log.source_name = Some(fields.bytes()?).filter(|name| !name.is_empty()),
            SOURCE_INSTANCE => log.source_id = Some(fields.bytes()?).filter(|id| !id.is_empty()),
            tag => return log.read(tag, fields),
        }
        Ok(true)
    })?;
    log.message(Vec::new())
}
