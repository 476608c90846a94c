//! Converts Doppler's envelopes (v1) to [`Envelope`]s, as the platform does.
//!
//! Today's envelopes begin as v2. The platform converts them to v1 for Doppler's clients (`ToV1` in go-loggregator's
//! `conversion`), and converts what still arrives as v1 to v2 for all others (`ToV2`). This is `ToV2`, except that it
//! also undoes what `ToV1` adds: an empty tag for each one that is missing, and the tag `instance_id` of a metric. What
//! `ToV1` drops is listed in the docs of [`Envelope`].

use std::collections::BTreeMap;

use protobuf::CodedInputStream;

use super::methods::METHODS;
use super::{EVENT_TYPE, LOG, parse_log, read_fields, text};
use crate::envelope::{Body, Envelope, GaugeValue, SOURCE_TYPE};
use crate::error::{BoxError, Result};
use crate::message::MessageType;

/// The types of events.
const HTTP_START_STOP: i32 = 4;
const VALUE_METRIC: i32 = 6;
const COUNTER_EVENT: i32 = 7;
const ERROR: i32 = 8;
const CONTAINER_METRIC: i32 = 9;

/// The number of the field with the event of type [`HTTP_START_STOP`]. Those of the other types follow it.
const FIRST_EVENT: u32 = 7;
const LAST_EVENT: u32 = 12;

/// The wire types.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;

/// Returns the tag of a field.
const fn field(number: u32, wire_type: u32) -> u32 {
    (number << 3) + wire_type
}

const ORIGIN: u32 = field(1, BYTES);
const TIMESTAMP: u32 = field(6, VARINT);
const DEPLOYMENT: u32 = field(13, BYTES);
const JOB: u32 = field(14, BYTES);
const INDEX: u32 = field(15, BYTES);
const IP: u32 = field(16, BYTES);
const TAGS: u32 = field(17, BYTES);

/// Decodes an envelope. Returns `None` if its type is unknown.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Envelope>, BoxError> {
    let mut event_type = None;
    let mut events = [None; (LAST_EVENT - FIRST_EVENT + 1) as usize];
    let mut timestamp = 0;
    let [mut origin, mut deployment, mut job, mut index, mut ip] = [const { String::new() }; 5];
    let mut tags = BTreeMap::new();
    read_fields(bytes, |tag, input| {
        match tag {
            EVENT_TYPE => event_type = Some(input.read_int32()?),
            TIMESTAMP => timestamp = input.read_int64()?,
            ORIGIN => origin = text(input.read_bytes()?),
            DEPLOYMENT => deployment = text(input.read_bytes()?),
            JOB => job = text(input.read_bytes()?),
            INDEX => index = text(input.read_bytes()?),
            IP => ip = text(input.read_bytes()?),
            TAGS => tags.extend([parse_tag(part(bytes, input)?)?]),
            tag if tag & 7 == BYTES && (FIRST_EVENT..=LAST_EVENT).contains(&(tag >> 3)) => {
                events[((tag >> 3) - FIRST_EVENT) as usize] = Some(part(bytes, input)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let (position, convert): (_, fn(&[u8], &mut Envelope) -> Result<(), BoxError>) =
        match event_type.ok_or("the event type is missing")? {
            HTTP_START_STOP => (0, http_start_stop),
            LOG => (1, log_message),
            VALUE_METRIC => (2, value_metric),
            COUNTER_EVENT => (3, counter_event),
            ERROR => (4, error),
            CONTAINER_METRIC => (5, container_metric),
            _ => return Ok(None),
        };
    let event = events[position].ok_or("the event is missing")?;
    let source_id = tags.remove("source_id").unwrap_or_else(|| {
        if deployment.is_empty() && job.is_empty() { String::new() } else { format!("{deployment}/{job}") }
    });
    let component = [("origin", origin), ("deployment", deployment), ("job", job), ("index", index), ("ip", ip)];
    let mut envelope = Envelope {
        timestamp,
        source_id,
        instance_id: String::new(),
        tags,
        // Replaced below.
        body: Body::Gauge(BTreeMap::new()),
    };
    for (name, value) in component {
        tag(&mut envelope, name, value);
    }
    convert(event, &mut envelope)?;
    Ok(Some(envelope))
}

/// Reads the length of a field, and returns its bytes.
fn part<'a>(bytes: &'a [u8], input: &mut CodedInputStream<'_>) -> Result<&'a [u8], BoxError> {
    let length = input.read_raw_varint32()?;
    let start = input.pos() as usize;
    input.skip_raw_bytes(length)?;
    Ok(&bytes[start..input.pos() as usize])
}

fn parse_tag(bytes: &[u8]) -> Result<(String, String), BoxError> {
    const KEY: u32 = field(1, BYTES);
    const VALUE: u32 = field(2, BYTES);
    let [mut key, mut value] = [const { String::new() }; 2];
    read_fields(bytes, |tag, input| {
        match tag {
            KEY => key = text(input.read_bytes()?),
            VALUE => value = text(input.read_bytes()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((key, value))
}

/// Sets a tag, unless it is empty: the platform adds an empty text to v1 for each tag that is missing.
fn tag(envelope: &mut Envelope, name: &str, value: String) {
    if !value.is_empty() {
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
    tag(envelope, SOURCE_TYPE, log.source_name.unwrap_or_default());
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
    read_fields(bytes, |tag_of_field, input| {
        let mut set = |name: &str, value: String| tag(envelope, name, value);
        match tag_of_field {
            START => start = input.read_int64()?,
            STOP => stop = input.read_int64()?,
            REQUEST_ID => request_id = Some(parse_uuid(part(bytes, input)?)?),
            PEER_TYPE => set("peer_type", name(&["", "Client", "Server"], input.read_int32()?)),
            METHOD => set("method", name(&METHODS, input.read_int32()?)),
            URI => set("uri", text(input.read_bytes()?)),
            REMOTE_ADDRESS => set("remote_address", text(input.read_bytes()?)),
            USER_AGENT => set("user_agent", text(input.read_bytes()?)),
            STATUS_CODE => status_code = input.read_int32()?,
            CONTENT_LENGTH => content_length = input.read_int64()?,
            APPLICATION_ID => app_id = Some(parse_uuid(part(bytes, input)?)?),
            INSTANCE_INDEX => instance_index = input.read_int32()?,
            INSTANCE_ID => set("routing_instance_id", text(input.read_bytes()?)),
            FORWARDED => {
                let address = text(input.read_bytes()?);
                forwarded = Some(forwarded.take().map_or(address.clone(), |before| before + "\n" + &address));
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    // Zero stands for an app's GUID that is none.
    if let Some(app_id) = app_id.filter(|&id| id != (0, 0)) {
        envelope.source_id = uuid(app_id);
    }
    envelope.instance_id = instance_index.to_string();
    tag(envelope, "request_id", request_id.map(uuid).unwrap_or_default());
    tag(envelope, "status_code", status_code.to_string());
    tag(envelope, "content_length", content_length.to_string());
    tag(envelope, "forwarded", forwarded.unwrap_or_default());
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
    read_fields(bytes, |tag, input| {
        match tag {
            LOW => low = input.read_uint64()?,
            HIGH => high = input.read_uint64()?,
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
    read_fields(bytes, |tag, input| {
        match tag {
            NAME => name = text(input.read_bytes()?),
            VALUE => value = input.read_double()?,
            UNIT => unit = text(input.read_bytes()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    envelope.instance_id = envelope.tags.remove(INSTANCE_ID).unwrap_or_default();
    envelope.body = Body::Gauge([(name, GaugeValue { unit, value })].into());
    Ok(())
}

/// The tag in which the platform keeps the instance of a metric.
const INSTANCE_ID: &str = "instance_id";

fn counter_event(bytes: &[u8], envelope: &mut Envelope) -> Result<(), BoxError> {
    const NAME: u32 = field(1, BYTES);
    const DELTA: u32 = field(2, VARINT);
    const TOTAL: u32 = field(3, VARINT);
    let (mut name, mut delta, mut total) = (String::new(), 0, 0);
    read_fields(bytes, |tag, input| {
        match tag {
            NAME => name = text(input.read_bytes()?),
            DELTA => delta = input.read_uint64()?,
            TOTAL => total = input.read_uint64()?,
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
    read_fields(bytes, |tag, input| {
        match tag {
            SOURCE => source = text(input.read_bytes()?),
            CODE => code = input.read_int32()?,
            MESSAGE => message = input.read_bytes()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    // The only type for which a v2 envelope must have this tag.
    tag(envelope, "__v1_type", "Error".to_owned());
    tag(envelope, "source", source);
    tag(envelope, "code", code.to_string());
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
    read_fields(bytes, |tag, input| {
        match tag {
            APPLICATION_ID => app_id = text(input.read_bytes()?),
            INSTANCE_INDEX => instance_index = input.read_int32()?,
            CPU => cpu = input.read_double()?,
            MEMORY => memory = input.read_uint64()?,
            DISK => disk = input.read_uint64()?,
            MEMORY_QUOTA => memory_quota = input.read_uint64()?,
            DISK_QUOTA => disk_quota = input.read_uint64()?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::captures;
    use crate::wire::dropsonde::FromV1;

    #[test]
    fn captured_envelopes_are_those_that_were_sent() {
        for (name, count) in [("tc-stream-mixed.ws", 39), ("tc-firehose-mixed.ws", 69), ("tc-firehose-logs.ws", 19)] {
            let mut sent = captures::sent_envelopes(name);
            sent.retain_mut(|envelope| match &mut envelope.body {
                Body::Log { payload, .. } => !payload.is_empty(),
                Body::Event { .. } => false,
                Body::Timer { .. } => name != "tc-firehose-logs.ws",
                Body::Counter { .. } => name == "tc-firehose-mixed.ws",
                Body::Gauge(metrics) => {
                    // The only metric of these containers that v1 cannot carry.
                    metrics.remove("instance_index");
                    name == "tc-firehose-mixed.ws" || (name == "tc-stream-mixed.ws" && metrics.len() > 1)
                }
            });
            let frames = captures::frames(name);
            let mut got: Vec<_> = frames.iter().map(|frame| Envelope::from_doppler(frame).unwrap().unwrap()).collect();
            // The firehose has the metrics of its servers, too.
            got.retain(|envelope| envelope.source_id == sent[0].source_id);
            assert_eq!(got.len(), count);
            assert_eq!(got, sent);
        }
    }
}
