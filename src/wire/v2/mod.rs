//! Generation 3's envelopes ("v2"), as JSON, to [`LogMessage`]s: the only file that knows their form.
//!
//! What the servers write is protobuf's JSON, which they write differently: fields are named in snake or camel case,
//! those that are zero, empty or absent are left out, written or null, 64-bit numbers are mostly strings, and enums
//! are names or numbers.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::marker::PhantomData;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT as BASE64;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};
use crate::message::{LogMessage, MessageType};

/// Decodes the data of one event of the RLP gateway, `{"batch":[…]}`. Envelopes of something else than a log are
/// skipped.
///
/// # Errors
///
/// [`ErrorKind::Undecodable`], as an item, for an envelope that can't be decoded; as the result, after the items that
/// came before, if the whole is no such JSON.
pub(crate) fn batch(json: &[u8], each: &mut dyn FnMut(Result<LogMessage>)) -> Result<()> {
    let no_batch = |cause: &dyn fmt::Display| undecodable(format_args!("{} bytes are no batch", json.len()), cause);
    // All at once: text by text, as serde_json would check it in bytes, takes longer.
    let json = str::from_utf8(json).map_err(|cause| no_batch(&cause))?;
    let mut done = 0;
    let all_good = read_batch(json, |envelope: Envelope| {
        done += 1;
        if let Some(message) = envelope.into_log() {
            each(Ok(message));
        }
    });
    if all_good.is_ok() {
        return Ok(());
    }
    // Something is wrong, from the envelope behind those that are done on. One by one, so that it costs only itself.
    let mut number = 0;
    read_batch(json, |envelope: &RawValue| {
        number += 1;
        if number > done
            && let Some(message) = decode(envelope.get()).transpose()
        {
            each(message);
        }
    })
    .map_err(|cause| no_batch(&cause))
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

/// Reads Log Cache's answer, `{"envelopes":{"batch":[…]}}`, and gives each envelope: its log message, or `None` if it
/// is of something else, or the error that it can't be decoded. Ends early when `each` says so.
///
/// One envelope is held at a time, of no more than `max_envelope` bytes of JSON (but for one buffer).
///
/// # Errors
///
/// Those of `body`, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if it ends too early,
/// [`FileTooLarge`](io::ErrorKind::FileTooLarge) if an envelope is too large, and
/// [`InvalidData`](io::ErrorKind::InvalidData) if it is no such JSON.
pub(crate) fn read_response(
    body: impl Read,
    max_envelope: usize,
    mut each: impl FnMut(Result<Option<LogMessage>>) -> ControlFlow<()>,
) -> io::Result<()> {
    let left = Cell::new(max_envelope);
    let mut stopped = false;
    let envelopes = Elements::new(|envelope: Box<RawValue>| {
        left.set(max_envelope);
        let flow = each(decode(envelope.get()));
        stopped = flow.is_break();
        flow
    });
    let body = BufReader::with_capacity(BUFFER, Limited { inner: body, left: &left });
    let mut input = serde_json::Deserializer::from_reader(body);
    let result = Member::required("envelopes", Member::new("batch", envelopes)).deserialize(&mut input);
    if stopped { Ok(()) } else { result.map_err(io::Error::from) }
}

const BUFFER: usize = 64 * 1024;

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

/// Decodes one envelope; `None` if it is of something else than a log.
fn decode(json: &str) -> Result<Option<LogMessage>> {
    #[derive(Deserialize)]
    struct Kind {
        log: Option<IgnoredAny>,
    }
    match serde_json::from_str::<Envelope>(json) {
        Ok(envelope) => Ok(envelope.into_log()),
        Err(_) if matches!(serde_json::from_str(json), Ok(Kind { log: None })) => Ok(None),
        Err(cause) => Err(undecodable(format_args!("{} bytes are no envelope", json.len()), &cause)),
    }
}

fn undecodable(what: impl fmt::Display, cause: &dyn fmt::Display) -> Error {
    // Which may quote all that it read.
    let cause = cause.to_string();
    Error::new(ErrorKind::Undecodable, format!("{what}: {cause:.200}"))
}

/// What matters of an envelope.
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
        // Whether an empty text is written is up to the server, so it is as good as none.
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

        // As bytes: whether they are base64 is checked anyway, so that they are UTF-8 need not be.
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

/// An object of which only one member matters, for which `value` reads. Without it, or if the object is null, there
/// is nothing to read.
struct Member<S> {
    name: &'static str,
    value: S,
    /// Whether an object that has only other members is an error.
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
        while let Some(wanted) = object.next_key_seed(Is(self.name))? {
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

/// Whether a text is this one.
struct Is(&'static str);

impl<'de> DeserializeSeed<'de> for Is {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<bool, D::Error> {
        input.deserialize_str(self)
    }
}

impl Visitor<'_> for Is {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }
}

/// An array, whose elements go to `each` as they are read, until it breaks. Null is an empty one.
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

/// Reads until `left` is used up.
struct Limited<'a, R> {
    inner: R,
    left: &'a Cell<usize>,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "an envelope is too large"));
        }
        let amount = self.inner.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(amount));
        Ok(amount)
    }
}

/// Encodes a message as one envelope, as the servers write it.
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
