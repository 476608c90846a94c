//! Fuzzes the decoders of log messages of all generations.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use serde::de::IgnoredAny;

use super::input::{Choices, Pieces};
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::wire::dropsonde::{doppler, encode_doppler, encode_legacy, legacy};
use crate::wire::format::{Format, Item};
use crate::wire::v2;

/// Checks that a message that a decoder returns is the same after it is encoded and decoded again.
pub fn decoder(input: &[u8]) {
    let mut choices = Choices(input);
    match choices.byte() % 3 {
        0 => protobuf(Format::Legacy, choices.rest(), encode_legacy, |bytes| legacy(bytes).map(Some)),
        1 => protobuf(Format::Doppler, choices.rest(), encode_doppler, doppler),
        _ => {
            let sizes = choices.sizes();
            json(choices.rest(), &sizes);
        }
    }
}

/// Checks a decoder of one message, and that [`Format::decode`] agrees with it.
fn protobuf(
    format: Format,
    bytes: &[u8],
    encode: fn(&LogMessage) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<Option<LogMessage>>,
) {
    let decoded = decode(bytes);
    assert_eq!(kinds(&decoded_by(format, bytes)), kinds(&decoded.clone().transpose().into_iter().collect::<Vec<_>>()));
    match decoded {
        Ok(Some(message)) => {
            check(&message, bytes);
            assert_eq!(decode(&encode(&message)).unwrap(), Some(message));
        }
        Ok(None) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::Undecodable),
    }
}

/// Checks that the two readers of v2 JSON agree, whatever the pieces in which the JSON arrives.
fn json(bytes: &[u8], sizes: &[usize]) {
    let items = decoded_by(Format::Gateway, bytes);
    let messages: Vec<_> = items.iter().flatten().collect();
    for message in &messages {
        check(message, bytes);
    }
    let envelopes: Vec<_> = messages.iter().copied().map(v2::encode).collect();
    let again =
        decoded_by::<LogMessage>(Format::Gateway, format!(r#"{{"batch":[{}]}}"#, envelopes.join(",")).as_bytes());
    assert_eq!(again.iter().flatten().collect::<Vec<_>>(), messages);

    let response = [br#"{"envelopes":"#, bytes, b"}"].concat();
    let whole = log_cache(&response, &[]);
    assert_eq!(log_cache(&response, sizes), whole);
    // Bytes that are not JSON by themselves can be valid between the braces.
    if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() && str::from_utf8(bytes).is_ok() {
        let (response_items, is_valid) = whole;
        let mut items = kinds(&items);
        if !is_valid {
            assert_eq!(items.pop(), Some(Err(ErrorKind::Undecodable)));
        }
        assert_eq!(response_items, items);
    }
}

pub(super) type Items = Vec<Result<LogMessage, ErrorKind>>;

/// Reads a response of Log Cache. Returns its messages, and true if it is valid to its end.
pub(super) fn log_cache(response: &[u8], sizes: &[usize]) -> (Items, bool) {
    let mut items = Vec::new();
    let end = v2::read_response(Pieces::new(response, sizes), usize::MAX, |item| {
        items.extend(item.transpose());
        ControlFlow::Continue(())
    });
    (kinds(&items), end.is_ok())
}

pub(super) fn decoded_by<T: Item>(format: Format, frame: &[u8]) -> Vec<Result<T>> {
    let mut items = VecDeque::new();
    format.decode(frame, &mut items);
    items.into()
}

/// Replaces each error by its kind, so that the items can be compared.
pub(super) fn kinds(items: &[Result<LogMessage>]) -> Items {
    items.iter().map(|item| item.clone().map_err(|error: Error| error.kind())).collect()
}

/// Checks that a message takes memory in proportion to its bytes, and can be printed.
fn check(message: &LogMessage, bytes: &[u8]) {
    assert!(message.size() <= 1024 + 32 * bytes.len(), "{} bytes of {}", message.size(), bytes.len());
    assert!(message.to_string().starts_with("   "));
}
