//! Converts Doppler's envelopes (v1) to [`Envelope`]s, as the platform does.
//!
//! Today's envelopes begin as v2. The platform converts them to v1 for Doppler's clients (`ToV1` in go-loggregator's
//! `conversion`), and converts what still arrives as v1 to v2 for all others (`ToV2`). This is `ToV2`, except that it
//! also undoes what `ToV1` adds: an empty tag for each one that is missing, and the tag `instance_id` of a metric. What
//! `ToV1` drops is listed in the docs of [`Envelope`].

#[cfg(any(test, fuzzing))]
mod slow;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::fields::{BYTES, FIXED64, VARINT, field, read_fields};
use super::log_message::parse_log;
use super::methods::METHODS;
use crate::envelope::{Body, Envelope, GaugeValue, SOURCE_TYPE};
use crate::error::{BoxError, Result};
use crate::message::MessageType;

#[cfg(any(test, fuzzing))]
pub(crate) use slow::check_against_generated_code;

type Convert = fn(&[u8], &mut Envelope) -> Result<(), BoxError>;

/// How each type of event is converted. The types have the numbers from 4 on, and the events are in the fields from 7 on.
const EVENTS: [Convert; 6] = [http_start_stop, log_message, value_metric, counter_event, error, container_metric];
const FIRST_TYPE: i32 = 4;
const FIRST_FIELD: u32 = 7;

const EVENT_TYPE: u32 = field(2, VARINT);
const ORIGIN: u32 = field(1, BYTES);
const TIMESTAMP: u32 = field(6, VARINT);
const DEPLOYMENT: u32 = field(13, BYTES);
const JOB: u32 = field(14, BYTES);
const INDEX: u32 = field(15, BYTES);
const IP: u32 = field(16, BYTES);
const TAGS: u32 = field(17, BYTES);

/// Decodes an envelope. Returns `None` if its type is unknown.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Envelope>, BoxError> {
    let (mut event_type, mut events) = (None, [None; EVENTS.len()]);
    let [mut origin, mut deployment, mut job, mut index, mut ip] = [const { String::new() }; 5];
    let (mut timestamp, mut tags) = (0, BTreeMap::new());
    read_fields(bytes, |tag, fields| {
        match tag {
            EVENT_TYPE => event_type = Some(fields.int32()?),
            TIMESTAMP => timestamp = fields.int64()?,
            ORIGIN => origin = fields.text()?,
            DEPLOYMENT => deployment = fields.text()?,
            JOB => job = fields.text()?,
            INDEX => index = fields.text()?,
            IP => ip = fields.text()?,
            TAGS => tags.extend([parse_tag(fields.bytes()?)?]),
            tag => match event_of(tag) {
                Some(event) => events[event] = Some(fields.bytes()?),
                None => return Ok(false),
            },
        }
        Ok(true)
    })?;
    let event_type: i32 = event_type.ok_or("the event type is missing")?;
    let event = event_type.checked_sub(FIRST_TYPE).and_then(|event| usize::try_from(event).ok());
    let Some((event, convert)) = event.and_then(|event| Some((events.get(event)?, EVENTS.get(event)?))) else {
        return Ok(None);
    };
    let event = event.ok_or("the event is missing")?;

    // ToV1 has removed it.
    tags.remove(V1_TYPE);
    let source_id = tags.remove("source_id").unwrap_or_else(|| {
        if deployment.is_empty() && job.is_empty() { String::new() } else { format!("{deployment}/{job}") }
    });
    // `convert` replaces the body.
    let body = Body::Event { title: String::new(), body: String::new() };
    let mut envelope = Envelope { timestamp, source_id, instance_id: String::new(), tags, body };
    let component = [("origin", origin), ("deployment", deployment), ("job", job), ("index", index), ("ip", ip)];
    for (name, value) in component {
        set_tag(&mut envelope, name, value);
    }
    convert(event, &mut envelope)?;
    Ok(Some(envelope))
}

/// Returns which of the [`EVENTS`] is in a field.
fn event_of(tag: u32) -> Option<usize> {
    let event = (tag >> 3).checked_sub(FIRST_FIELD)? as usize;
    (tag & 7 == BYTES && event < EVENTS.len()).then_some(event)
}

fn parse_tag(bytes: &[u8]) -> Result<(String, String), BoxError> {
    const KEY: u32 = field(1, BYTES);
    const VALUE: u32 = field(2, BYTES);
    let [mut key, mut value] = [const { String::new() }; 2];
    read_fields(bytes, |tag, fields| {
        match tag {
            KEY => key = fields.text()?,
            VALUE => value = fields.text()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((key, value))
}

/// Sets a tag. An empty text means none: the platform adds one to v1 for each tag that is missing.
fn set_tag(envelope: &mut Envelope, name: &str, value: String) {
    if value.is_empty() {
        envelope.tags.remove(name);
    } else {
        envelope.tags.insert(name.to_owned(), value);
    }
}

fn log_message(bytes: &[u8], envelope: &mut Envelope) -> Result<(), BoxError> {
    let log = parse_log(bytes)?;
    // For an envelope that began as v2, both times are the same.
    envelope.timestamp = log.timestamp;
    if !log.app_id.is_empty() {
        envelope.source_id = log.app_id;
    }
    envelope.instance_id = log.source_id.unwrap_or_default();
    set_tag(envelope, SOURCE_TYPE, log.source_name.unwrap_or_default());
    envelope.body = Body::Log { payload: log.message, message_type: log.message_type };
    Ok(())
}

fn http_start_stop(bytes: &[u8], envelope: &mut Envelope) -> Result<(), BoxError> {
    const START: u32 = field(1, VARINT);
    const STOP: u32 = field(2, VARINT);
    const REQUEST_ID: u32 = field(3, BYTES);
    const PEER_TYPE: u32 = field(4, VARINT);
    const METHOD: u32 = field(5, VARINT);
    const URI: u32 = field(6, BYTES);
    const REMOTE_ADDRESS: u32 = field(7, BYTES);
    const USER_AGENT: u32 = field(8, BYTES);
    const STATUS_CODE: u32 = field(9, VARINT);
    const CONTENT_LENGTH: u32 = field(10, VARINT);
    const APPLICATION_ID: u32 = field(12, BYTES);
    const INSTANCE_INDEX: u32 = field(13, VARINT);
    const INSTANCE_ID: u32 = field(14, BYTES);
    const FORWARDED: u32 = field(15, BYTES);
    let (mut start, mut stop, mut instance_index) = (0, 0, 0);
    let (mut status_code, mut content_length) = (0, 0);
    let (mut request_id, mut app_id) = (None, None);
    let mut forwarded: Option<String> = None;
    read_fields(bytes, |tag, fields| {
        let mut set = |name: &str, value: String| set_tag(envelope, name, value);
        match tag {
            START => start = fields.int64()?,
            STOP => stop = fields.int64()?,
            REQUEST_ID => request_id = Some(fields.bytes()?),
            PEER_TYPE => set("peer_type", name(&["", "Client", "Server"], fields.int32()?)),
            METHOD => set("method", name(&METHODS, fields.int32()?)),
            URI => set("uri", fields.text()?),
            REMOTE_ADDRESS => set("remote_address", fields.text()?),
            USER_AGENT => set("user_agent", fields.text()?),
            STATUS_CODE => status_code = fields.int32()?,
            CONTENT_LENGTH => content_length = fields.int64()?,
            APPLICATION_ID => app_id = Some(fields.bytes()?),
            INSTANCE_INDEX => instance_index = fields.int32()?,
            INSTANCE_ID => set("routing_instance_id", fields.text()?),
            FORWARDED => {
                let address = fields.text()?;
                forwarded = Some(forwarded.take().map_or(address.clone(), |before| before + "\n" + &address));
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let app_id = app_id.map_or(Ok((0, 0)), parse_uuid)?;
    if app_id != (0, 0) {
        envelope.source_id = uuid(app_id);
    }
    envelope.instance_id = instance_index.to_string();
    if let Some(request_id) = request_id {
        set_tag(envelope, "request_id", uuid(parse_uuid(request_id)?));
    }
    set_tag(envelope, "status_code", status_code.to_string());
    set_tag(envelope, "content_length", content_length.to_string());
    set_tag(envelope, "forwarded", forwarded.unwrap_or_default());
    envelope.body = Body::Timer { name: "http".to_owned(), start, stop };
    Ok(())
}

/// Returns the name of an enum's number. Zero is what the platform writes if there is no such tag.
fn name(names: &[&str], number: i32) -> String {
    let name = usize::try_from(number).ok().and_then(|index| names.get(index));
    name.map_or_else(|| number.to_string(), |&name| name.to_owned())
}

/// Returns the two halves of a UUID.
fn parse_uuid(bytes: &[u8]) -> Result<(u64, u64), BoxError> {
    const LOW: u32 = field(1, VARINT);
    const HIGH: u32 = field(2, VARINT);
    let (mut low, mut high) = (0, 0);
    read_fields(bytes, |tag, fields| {
        match tag {
            LOW => low = fields.uint64()?,
            HIGH => high = fields.uint64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((low, high))
}

fn uuid((low, high): (u64, u64)) -> String {
    // The halves are in little-endian order.
    let (low, high) = (low.swap_bytes(), high.swap_bytes());
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        low >> 32,
        low >> 16 & 0xffff,
        low & 0xffff,
        high >> 48,
        high & 0xffff_ffff_ffff
    )
}

fn value_metric(bytes: &[u8], envelope: &mut Envelope) -> Result<(), BoxError> {
    const NAME: u32 = field(1, BYTES);
    const VALUE: u32 = field(2, FIXED64);
    const UNIT: u32 = field(3, BYTES);
    let ([mut name, mut unit], mut value) = ([const { String::new() }; 2], 0.0);
    read_fields(bytes, |tag, fields| {
        match tag {
            NAME => name = fields.text()?,
            VALUE => value = fields.double()?,
            UNIT => unit = fields.text()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    envelope.instance_id = envelope.tags.remove(INSTANCE_ID).unwrap_or_default();
    envelope.body = Body::Gauge([(name, GaugeValue { unit, value })].into());
    Ok(())
}

/// The tag in which the platform keeps the type of an envelope that has come as v1.
const V1_TYPE: &str = "__v1_type";

/// The tag in which it keeps the instance of a metric.
const INSTANCE_ID: &str = "instance_id";

fn counter_event(bytes: &[u8], envelope: &mut Envelope) -> Result<(), BoxError> {
    const NAME: u32 = field(1, BYTES);
    const DELTA: u32 = field(2, VARINT);
    const TOTAL: u32 = field(3, VARINT);
    let (mut name, mut delta, mut total) = (String::new(), 0, 0);
    read_fields(bytes, |tag, fields| {
        match tag {
            NAME => name = fields.text()?,
            DELTA => delta = fields.uint64()?,
            TOTAL => total = fields.uint64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    envelope.instance_id = envelope.tags.remove(INSTANCE_ID).unwrap_or_default();
    envelope.body = Body::Counter { name, delta, total };
    Ok(())
}

fn error(bytes: &[u8], envelope: &mut Envelope) -> Result<(), BoxError> {
    const SOURCE: u32 = field(1, BYTES);
    const CODE: u32 = field(2, VARINT);
    const MESSAGE: u32 = field(3, BYTES);
    let (mut source, mut code, mut message) = (String::new(), 0, Vec::new());
    read_fields(bytes, |tag, fields| {
        match tag {
            SOURCE => source = fields.text()?,
            CODE => code = fields.int32()?,
            MESSAGE => message = fields.bytes()?.to_vec(),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    // Only an envelope with this tag becomes an error.
    set_tag(envelope, V1_TYPE, "Error".to_owned());
    set_tag(envelope, "source", source);
    set_tag(envelope, "code", code.to_string());
    envelope.body = Body::Log { payload: message, message_type: MessageType::Out };
    Ok(())
}

fn container_metric(bytes: &[u8], envelope: &mut Envelope) -> Result<(), BoxError> {
    const APPLICATION_ID: u32 = field(1, BYTES);
    const INSTANCE_INDEX: u32 = field(2, VARINT);
    const CPU: u32 = field(3, FIXED64);
    const MEMORY: u32 = field(4, VARINT);
    const DISK: u32 = field(5, VARINT);
    const MEMORY_QUOTA: u32 = field(6, VARINT);
    const DISK_QUOTA: u32 = field(7, VARINT);
    let (mut app_id, mut instance_index, mut cpu) = (String::new(), 0, 0.0);
    let (mut memory, mut disk, mut memory_quota, mut disk_quota) = (0, 0, 0, 0);
    read_fields(bytes, |tag, fields| {
        match tag {
            APPLICATION_ID => app_id = fields.text()?,
            INSTANCE_INDEX => instance_index = fields.int32()?,
            CPU => cpu = fields.double()?,
            MEMORY => memory = fields.uint64()?,
            DISK => disk = fields.uint64()?,
            MEMORY_QUOTA => memory_quota = fields.uint64()?,
            DISK_QUOTA => disk_quota = fields.uint64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if !app_id.is_empty() {
        envelope.source_id = app_id;
    }
    envelope.instance_id = instance_index.to_string();
    let metric = |name: &str, unit: &str, value| (name.to_owned(), GaugeValue { unit: unit.to_owned(), value });
    let bytes = |name, value| metric(name, "bytes", value as f64);
    let metrics = [
        metric("cpu", "percentage", cpu),
        bytes("memory", memory),
        bytes("disk", disk),
        bytes("memory_quota", memory_quota),
        bytes("disk_quota", disk_quota),
    ];
    envelope.body = Body::Gauge(metrics.into());
    Ok(())
}
