//! Decodes JSON envelopes of Log Cache and the RLP gateway ("v2") to [`LogMessage`]s or [`Envelope`]s.
//!
//! [`LogMessage`]: crate::LogMessage
//! [`Envelope`]: crate::Envelope
//!
//! [`meta`] decodes what Log Cache tells of its sources and of itself.
//!
//! The format is protobuf's JSON, but the servers write it differently. Field names are in snake or camel case. A zero,
//! empty or absent field is left out, written, or null. 64-bit numbers are mostly strings. Enums are names or numbers.

mod json;
pub(crate) mod meta;
mod response;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use memchr::memmem;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};
use values::Int64;

pub(crate) use json::FromV2;
pub(crate) use response::{Failing, read_response};
#[cfg(any(test, fuzzing))]
pub(crate) use response::{read_buffered, read_slowly};

/// Decodes the data of one event of the RLP gateway, `{"batch":[…]}`, and passes each item to `each`. Envelopes with
/// something else are skipped.
///
/// # Errors
///
/// [`ErrorKind::Undecodable`]: as an item for an envelope that cannot be decoded, and as the result if the JSON as a
/// whole is invalid. In that case `each` has received the items before the error.
pub(crate) fn batch<T: FromV2>(json: &[u8], each: &mut dyn FnMut(Result<T>)) -> Result<()> {
    let invalid = |cause: &dyn fmt::Display| undecodable(format_args!("found no batch in {} bytes", json.len()), cause);
    // Checks the UTF-8 of everything at once, which is faster than serde_json's check of each string.
    let json = str::from_utf8(json).map_err(|cause| invalid(&cause))?;
    let mut decoded = 0;
    let all_decoded = read_batch(json, |envelope: T::Json| {
        decoded += 1;
        if let Some(item) = T::from_json(envelope) {
            each(Ok(item));
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
            && let Some(item) = decode(envelope.get()).transpose()
        {
            each(item);
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
/// Cloud Controller of today or Korifi (`errors[].detail`), an old one (`description`), a UAA (`error_description`),
/// PromQL (`errorType` and `error`), or Log Cache 1.x (`error`).
pub(crate) fn error_message(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let text = |json: &Value, name: &str| {
        json.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty()).map(str::to_owned)
    };
    let promql = || Some(format!("{}: {}", text(&body, "errorType")?, text(&body, "error")?));
    // Of an error of another kind, `error` is only a part.
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
        .or_else(promql)
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
/// the Unix epoch. This only looks for the name of a timestamp, so it may be wrong. Returns `None`
/// if it finds no timestamp.
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

/// Decodes one envelope. Returns `None` if it holds something else.
fn decode<T: FromV2>(json: &str) -> Result<Option<T>> {
    match serde_json::from_str(json) {
        Ok(envelope) => Ok(T::from_json(envelope)),
        Err(_) if serde_json::from_str(json).is_ok_and(|content| !T::is_in(&content)) => Ok(None),
        Err(cause) => Err(undecodable(format_args!("found no envelope in {} bytes", json.len()), &cause)),
    }
}

fn undecodable(what: impl fmt::Display, cause: &dyn fmt::Display) -> Error {
    Error::new(ErrorKind::Undecodable, format!("{what}: {}", without_quotes(&cause.to_string())))
}

/// Returns the message of a parser without what it quotes of its input, which may be a secret or very long: from the
/// first double quote to the last, and from the first backtick to the last if that is a name in the input.
pub(crate) fn without_quotes(message: &str) -> String {
    let cut = |message: String, quote: char| match (message.find(quote), message.rfind(quote)) {
        (Some(first), Some(last)) if first < last => format!("{}{quote}…{}", &message[..first], &message[last..]),
        _ => message,
    };
    let message = cut(message.to_owned(), '"');
    // The other names in backticks are our own: those of missing fields and of types.
    let is_input = message.starts_with("unknown variant") || message.starts_with("invalid value");
    if is_input { cut(message, '`') } else { message }
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

/// Encodes a message or an envelope as one envelope, in the form that servers write.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn encode<'a, T>(item: &'a T) -> String
where
    json::JsonEnvelope<'a>: From<&'a T>,
{
    serde_json::to_string(&json::JsonEnvelope::from(item))
        .expect("all keys are texts, and writing to memory cannot fail")
}
