//! Decodes JSON envelopes of Log Cache and the RLP gateway ("v2") to [`LogMessage`]s. The only file that knows their
//! form.
//!
//! The format is protobuf's JSON, but the servers write it differently. Field names are in snake or camel case. A zero,
//! empty or absent field is left out, written, or null. 64-bit numbers are mostly strings. Enums are names or numbers.

mod response;
#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT as BASE64;
use memchr::memmem;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};
use crate::message::{LogMessage, MessageType};

pub(crate) use response::{Failing, read_response};
#[cfg(any(test, fuzzing))]
pub(crate) use response::{read_buffered, read_slowly};

/// Decodes the data of one event of the RLP gateway, `{"batch":[…]}`, and passes each message to `each`. Envelopes with
/// something other than a log message are skipped.
///
/// # Errors
///
/// [`ErrorKind::Undecodable`]: as an item for an envelope that cannot be decoded, and as the result if the JSON as a
/// whole is invalid. In that case `each` has received the items before the error.
pub(crate) fn batch(json: &[u8], each: &mut dyn FnMut(Result<LogMessage>)) -> Result<()> {
    let invalid = |cause: &dyn fmt::Display| undecodable(format_args!("found no batch in {} bytes", json.len()), cause);
    // Checks the UTF-8 of everything at once, which is faster than serde_json's check of each string.
    let json = str::from_utf8(json).map_err(|cause| invalid(&cause))?;
    let mut decoded = 0;
    let all_decoded = read_batch(json, |envelope: Envelope| {
        decoded += 1;
        if let Some(message) = envelope.into_log() {
            each(Ok(message));
        }
    });
    if all_decoded.is_ok() {
        return Ok(());
    }
    // The next envelope is invalid. Decode the rest one by one, so that each invalid envelope is an error of its own.
    let mut number = 0;
    read_batch(json, |envelope: &RawValue| {
        number += 1;
        if number > decoded
            && let Some(message) = decode(envelope.get()).transpose()
        {
            each(message);
        }
    })
    .map_err(|cause| invalid(&cause))
}

fn read_batch<'a, T: Deserialize<'a>>(json: &'a str, mut each: impl FnMut(T)) -> serde_json::Result<()> {
    let mut input = serde_json::Deserializer::from_str(json);
    Member::new(
        "batch",
        Elements::new(|element| {
            each(element);
            ControlFlow::Continue(())
        }),
    )
    .deserialize(&mut input)?;
    input.end()
}

/// Returns the message in the JSON of an error, whichever server wrote it: Log Cache and the RLP gateway (`message`), a
/// Cloud Controller of today or Korifi (`errors[].detail`), an old one (`description`), a UAA (`error_description`), or
/// Log Cache 1.x (`error`).
pub(crate) fn error_message(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let text = |json: &Value, name: &str| {
        json.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty()).map(str::to_owned)
    };
    // Of an error of another kind, such as one of PromQL, `error` is only a part.
    let is_all = body.as_object()?.keys().all(|name| matches!(&**name, "error" | "code"));
    let errors = || {
        let errors = body.get("errors")?.as_array()?;
        let details = errors.iter().filter_map(|error| text(error, "detail").or_else(|| text(error, "title")));
        Some(details.collect::<Vec<_>>().join("; ")).filter(|details| !details.is_empty())
    };
    text(&body, "message")
        .or_else(errors)
        .or_else(|| text(&body, "description"))
        .or_else(|| text(&body, "error_description"))
        .or_else(|| text(&body, "error").filter(|_| is_all))
}

/// Returns the timestamp of the first envelope in a response of Log Cache, of whatever type, in nanoseconds since the
/// Unix epoch. `None`: there is no envelope.
pub(crate) fn first_timestamp(json: &[u8]) -> serde_json::Result<Option<i64>> {
    #[derive(Deserialize)]
    struct Response {
        envelopes: Option<Envelopes>,
    }
    #[derive(Deserialize)]
    struct Envelopes {
        batch: Option<Vec<Stamped>>,
    }
    #[derive(Deserialize)]
    struct Stamped {
        timestamp: Option<Int64>,
    }
    let response: Response = serde_json::from_slice(json)?;
    let first = response.envelopes.and_then(|envelopes| envelopes.batch).and_then(|batch| batch.into_iter().next());
    Ok(first.map(|envelope| envelope.timestamp.map_or(0, |timestamp| timestamp.0)))
}

/// Returns the number of envelopes in a response of Log Cache, and the timestamp of the last one, in nanoseconds since
/// the Unix epoch. This takes a glance at the names alone, so it may be wrong. `None`: there is no telling.
pub(crate) fn glance(json: &[u8]) -> Option<(usize, i64)> {
    const NAME: &str = r#""timestamp":"#;
    let (number, last) = memmem::find_iter(json, NAME).enumerate().last()?;
    let value = json[last + NAME.len()..].trim_ascii_start();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let length = value.iter().position(|byte| !matches!(byte, b'-' | b'0'..=b'9'))?;
    Some((number + 1, str::from_utf8(&value[..length]).ok()?.parse().ok()?))
}

/// Returns the gRPC code in the JSON of an error of Log Cache.
pub(crate) fn grpc_code(body: &str) -> Option<i64> {
    let body: Value = serde_json::from_str(body).ok()?;
    // In an error of an old Cloud Controller, `code` is something else.
    if body.get("error_code").is_some() { None } else { body.get("code")?.as_i64() }
}

/// Returns the code in the JSON of an error of a Cloud Controller, such as 10010 for something that does not exist, or
/// `None` if another server wrote it. Source: cloud_controller_ng's `errors/v2.yml`.
pub(crate) fn cloud_controller_code(body: &str) -> Option<i64> {
    let body: Value = serde_json::from_str(body).ok()?;
    let error = match body.get("errors") {
        Some(errors) => errors.get(0)?,
        None => body.get("error_code").map(|_| &body)?,
    };
    error.get("code")?.as_i64()
}

/// Decodes one envelope. Returns `None` if it holds something other than a log message.
fn decode(json: &str) -> Result<Option<LogMessage>> {
    #[derive(Deserialize)]
    struct Kind {
        log: Option<IgnoredAny>,
    }
    match serde_json::from_str::<Envelope>(json) {
        Ok(envelope) => Ok(envelope.into_log()),
        Err(_) if matches!(serde_json::from_str(json), Ok(Kind { log: None })) => Ok(None),
        Err(cause) => Err(undecodable(format_args!("found no envelope in {} bytes", json.len()), &cause)),
    }
}

fn undecodable(what: impl fmt::Display, cause: &dyn fmt::Display) -> Error {
    Error::new(ErrorKind::Undecodable, format!("{what}: {}", without_quotes(&cause.to_string())))
}

/// Returns the message of a parser without what it quotes of its input, which may be a secret or very long: from the
/// first double quote to the last, and from the first backtick to the last if that is a name in the input.
fn without_quotes(message: &str) -> String {
    let cut = |message: String, quote: char| match (message.find(quote), message.rfind(quote)) {
        (Some(first), Some(last)) if first < last => format!("{}{quote}…{}", &message[..first], &message[last..]),
        _ => message,
    };
    let message = cut(message.to_owned(), '"');
    // The other names in backticks are our own: those of missing fields and of types.
    let is_input = message.starts_with("unknown variant") || message.starts_with("invalid value");
    if is_input { cut(message, '`') } else { message }
}

/// The fields of an envelope that are used.
#[derive(Deserialize)]
struct Envelope {
    log: Option<Log>,
    timestamp: Option<Int64>,
    #[serde(alias = "sourceId")]
    source_id: Option<String>,
    #[serde(alias = "instanceId")]
    instance_id: Option<String>,
    tags: Option<Tags>,
    #[serde(alias = "deprecatedTags")]
    deprecated_tags: Option<DeprecatedTags>,
}

#[derive(Deserialize)]
struct Log {
    payload: Option<Payload>,
    r#type: Option<LogType>,
}

#[derive(Deserialize)]
struct Tags {
    source_type: Option<String>,
}

#[derive(Deserialize)]
struct DeprecatedTags {
    source_type: Option<DeprecatedTag>,
}

#[derive(Deserialize)]
struct DeprecatedTag {
    text: Option<String>,
}

struct Payload(Vec<u8>);

struct LogType(MessageType);

struct Int64(i64);

impl Envelope {
    fn into_log(self) -> Option<LogMessage> {
        let Envelope { log, timestamp, source_id, instance_id, tags, deprecated_tags } = self;
        let Log { payload, r#type } = log?;
        // An empty text means none, because some servers write empty texts and others leave them out.
        let not_empty = |text: &String| !text.is_empty();
        let deprecated = || deprecated_tags?.source_type?.text.filter(not_empty);
        Some(LogMessage {
            message: payload.map_or_else(Vec::new, |payload| payload.0),
            message_type: r#type.map_or(MessageType::Out, |r#type| r#type.0),
            timestamp: timestamp.map_or(0, |timestamp| timestamp.0),
            app_id: source_id.unwrap_or_default(),
            source_id: instance_id.filter(not_empty),
            source_name: tags.and_then(|tags| tags.source_type).filter(not_empty).or_else(deprecated),
            drain_urls: Vec::new(),
        })
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Base64;

        impl Visitor<'_> for Base64 {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_bytes<E: de::Error>(self, text: &[u8]) -> Result<Payload, E> {
                BASE64.decode(text).map(Payload).map_err(E::custom)
            }
        }

        // As bytes, because the base64 decoder makes a UTF-8 check unnecessary.
        input.deserialize_bytes(Base64)
    }
}

impl<'de> Deserialize<'de> for LogType {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct NameOrNumber;

        impl Visitor<'_> for NameOrNumber {
            type Value = LogType;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("OUT, ERR or a number")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<LogType, E> {
                match name {
                    "OUT" => Ok(LogType(MessageType::Out)),
                    "ERR" => Ok(LogType(MessageType::Err)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<LogType, E> {
                match i32::try_from(number) {
                    Ok(0) => Ok(LogType(MessageType::Out)),
                    Ok(1) => Ok(LogType(MessageType::Err)),
                    Ok(other) => Ok(LogType(MessageType::Unknown(other))),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<LogType, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }

        input.deserialize_any(NameOrNumber)
    }
}

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct TextOrNumber;

        impl Visitor<'_> for TextOrNumber {
            type Value = Int64;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a 64-bit number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Int64, E> {
                text.parse().map(Int64).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Int64, E> {
                Ok(Int64(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Int64, E> {
                let in_range = i64::try_from(number).map(Int64);
                in_range.map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }
        }

        input.deserialize_any(TextOrNumber)
    }
}

/// Deserializes one member of an object with `value`, and ignores the others. The object may be null, or lack the
/// member.
struct Member<S> {
    name: &'static str,
    value: S,
    /// True if an object that has only other members is an error.
    required: bool,
}

impl<S> Member<S> {
    fn new(name: &'static str, value: S) -> Self {
        Member { name, value, required: false }
    }

    fn required(name: &'static str, value: S) -> Self {
        Member { name, value, required: true }
    }
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> DeserializeSeed<'de> for Member<S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> Visitor<'de> for Member<S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "an object with `{}`", self.name)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut value = Some(self.value);
        let mut others = false;
        while let Some(wanted) = object.next_key_seed(KeyIs(self.name))? {
            match value.take_if(|_| wanted) {
                Some(value) => object.next_value_seed(value)?,
                None if wanted => return Err(de::Error::duplicate_field(self.name)),
                None => {
                    others = true;
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        if self.required && others && value.is_some() {
            return Err(de::Error::missing_field(self.name));
        }
        Ok(())
    }
}

/// Deserializes a key. The result is true if it equals this one.
struct KeyIs(&'static str);

impl<'de> DeserializeSeed<'de> for KeyIs {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<bool, D::Error> {
        input.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }
}

/// Deserializes an array, and calls `each` for each element as it is read, until it breaks. Null counts as an empty
/// array.
struct Elements<T, F> {
    each: F,
    element: PhantomData<T>,
}

impl<T, F: FnMut(T) -> ControlFlow<()>> Elements<T, F> {
    fn new(each: F) -> Self {
        Elements { each, element: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> ControlFlow<()>> DeserializeSeed<'de> for Elements<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> ControlFlow<()>> Visitor<'de> for Elements<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element()? {
            if (self.each)(element).is_break() {
                return Err(de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// Encodes a message as one envelope, in the form that servers write.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn encode(message: &LogMessage) -> String {
    let LogMessage { message, message_type, timestamp, app_id, source_id, source_name, drain_urls: _ } = message;
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let tags = source_name.as_ref().map_or_else(String::new, |name| format!(r#""source_type":{}"#, text(name)));
    let r#type = match message_type {
        MessageType::Out => text("OUT"),
        MessageType::Err => text("ERR"),
        MessageType::Unknown(number) => number.to_string(),
    };
    format!(
        r#"{{"timestamp":"{timestamp}","source_id":{},"instance_id":{},"deprecated_tags":{{}},"tags":{{{tags}}},"log":{{"payload":"{}","type":{}}}}}"#,
        text(app_id),
        text(source_id.as_deref().unwrap_or_default()),
        BASE64.encode(message),
        r#type,
    )
}
