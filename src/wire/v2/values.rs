//! The values in an envelope's JSON that servers write in more than one form.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT as BASE64;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::message::MessageType;

/// Bytes in base64.
pub(super) struct Payload<'a>(pub(super) Cow<'a, [u8]>);

/// Texts by their names. One that is null counts as missing.
pub(super) struct Tags<'a>(pub(super) Cow<'a, BTreeMap<String, String>>);

/// A map of at most [`MAX_ENTRIES`] entries.
pub(super) struct Entries<K, V>(pub(super) BTreeMap<K, V>);

/// The most tags or metrics of an envelope. Most envelopes have ten.
///
/// The limit bounds memory, because an entry can take ten times its size in JSON.
pub(super) const MAX_ENTRIES: usize = 4096;

/// A name or a number.
pub(super) struct LogType(pub(super) MessageType);

/// A 64-bit number: a string, or the number itself.
pub(super) struct Int64(pub(super) i64);

/// Like [`Int64`].
pub(super) struct UInt64(pub(super) u64);

/// A time in nanoseconds, or what Korifi writes, the only server that writes a number instead of a string.
pub(super) enum Timestamp {
    Text(i64),
    Number(i64),
}

/// A number, or a string for one that JSON does not have.
pub(super) struct Double(pub(super) f64);

impl<'de> Deserialize<'de> for Payload<'_> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Base64;

        impl Visitor<'_> for Base64 {
            type Value = Payload<'static>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_bytes<E: de::Error>(self, text: &[u8]) -> Result<Self::Value, E> {
                BASE64.decode(text).map(|bytes| Payload(Cow::Owned(bytes))).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                self.visit_bytes(text.as_bytes())
            }
        }

        // As bytes, because the base64 decoder makes a UTF-8 check unnecessary.
        input.deserialize_bytes(Base64)
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Tags<'_> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let Entries(tags) = Entries::<String, Option<String>>::deserialize(input)?;
        let texts = tags.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
        Ok(Tags(Cow::Owned(texts)))
    }
}

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(output)
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for Entries<K, V> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Bounded<K, V>(PhantomData<(K, V)>);

        impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Bounded<K, V> {
            type Value = BTreeMap<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("values by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((name, value)) = object.next_entry()? {
                    entries.insert(name, value);
                    if entries.len() > MAX_ENTRIES {
                        return Err(de::Error::custom(format_args!(
                            "there are more than {MAX_ENTRIES} tags or metrics"
                        )));
                    }
                }
                Ok(entries)
            }
        }

        input.deserialize_map(Bounded(PhantomData)).map(Entries)
    }
}

impl<K: Serialize, V: Serialize> Serialize for Entries<K, V> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(output)
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
                    _ => Err(E::invalid_value(Unexpected::Str(name), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<LogType, E> {
                match i32::try_from(number) {
                    Ok(0) => Ok(LogType(MessageType::Out)),
                    Ok(1) => Ok(LogType(MessageType::Err)),
                    Ok(other) => Ok(LogType(MessageType::Unknown(other))),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<LogType, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }

        input.deserialize_any(NameOrNumber)
    }
}

impl Serialize for LogType {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            MessageType::Out => output.serialize_str("OUT"),
            MessageType::Err => output.serialize_str("ERR"),
            MessageType::Unknown(number) => output.serialize_i32(number),
        }
    }
}

/// Deserializes an integer that may be a string. The result is true if it is one.
struct TextOrNumber<T>(PhantomData<T>);

impl<T: FromStr + TryFrom<i64> + TryFrom<u64>> Visitor<'_> for TextOrNumber<T> {
    type Value = (T, bool);

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a 64-bit number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(T, bool), E> {
        text.parse().map(|number| (number, true)).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(T, bool), E> {
        let in_range = number.try_into().map(|number| (number, false));
        in_range.map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(T, bool), E> {
        let in_range = number.try_into().map(|number| (number, false));
        in_range.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }
}

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(TextOrNumber(PhantomData)).map(|(number, _)| Int64(number))
    }
}

impl Serialize for Int64 {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UInt64 {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(TextOrNumber(PhantomData)).map(|(number, _)| UInt64(number))
    }
}

impl Serialize for UInt64 {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let (number, is_text) = input.deserialize_any(TextOrNumber(PhantomData))?;
        Ok(if is_text { Timestamp::Text(number) } else { Timestamp::Number(number) })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        match self {
            Timestamp::Text(number) => output.collect_str(number),
            Timestamp::Number(number) => output.serialize_i64(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct NumberOrText;

        impl Visitor<'_> for NumberOrText {
            type Value = Double;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number, NaN, Infinity or -Infinity")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Double, E> {
                text.parse().map(Double).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Double, E> {
                Ok(Double(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Double, E> {
                Ok(Double(number as f64))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Double, E> {
                Ok(Double(number as f64))
            }
        }

        input.deserialize_any(NumberOrText)
    }
}

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        /// The largest number up to which every integer is an `f64`.
        const MAX_INTEGER: f64 = (1_i64 << 53) as f64;
        let number = self.0;
        match number {
            _ if number.is_nan() => output.serialize_str("NaN"),
            f64::INFINITY => output.serialize_str("Infinity"),
            f64::NEG_INFINITY => output.serialize_str("-Infinity"),
            // As Go writes them, without `.0`.
            _ if number.fract() == 0.0
                && number.abs() <= MAX_INTEGER
                && !(number == 0.0 && number.is_sign_negative()) =>
            {
                output.serialize_i64(number as i64)
            }
            _ => output.serialize_f64(number),
        }
    }
}
