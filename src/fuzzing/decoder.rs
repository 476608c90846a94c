//! The decoders of all generations.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use serde::de::IgnoredAny;

use super::{Choices, Pieces};
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::wire::dropsonde::{doppler, encode_doppler, encode_legacy, legacy};
use crate::wire::format::Format;
use crate::wire::v2;

/// What any generation's decoder makes of the bytes: the same once more, when it is encoded and decoded again.
pub fn decoder(input: &[u8]) {
    let mut choices = Choices(input);
    match choices.byte() % 3 {
        0 => one(Format::Legacy, choices.rest(), encode_legacy, |bytes| legacy(bytes).map(Some)),
        1 => one(Format::Doppler, choices.rest(), encode_doppler, doppler),
        _ => {
            let sizes = choices.sizes();
            json(choices.rest(), &sizes);
        }
    }
}

fn one(
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

/// The two readers of v2's JSON understand the same, in whatever pieces it comes.
fn json(bytes: &[u8], sizes: &[usize]) {
    let items = decoded_by(Format::Gateway, bytes);
    let messages: Vec<_> = items.iter().flatten().collect();
    for message in &messages {
        check(message, bytes);
    }
    let envelopes: Vec<_> = messages.iter().map(|message| v2::encode(message)).collect();
    let again = decoded_by(Format::Gateway, format!(r#"{{"batch":[{}]}}"#, envelopes.join(",")).as_bytes());
    assert_eq!(again.iter().flatten().collect::<Vec<_>>(), messages);

    let answer = [br#"{"envelopes":"#, bytes, b"}"].concat();
    let whole = log_cache(&answer, &[]);
    assert_eq!(log_cache(&answer, sizes), whole);
    // What is no JSON by itself can be some between the braces.
    if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() && str::from_utf8(bytes).is_ok() {
        let (items_there, is_good) = whole;
        let mut items = kinds(&items);
        if !is_good {
            assert_eq!(items.pop(), Some(Err(ErrorKind::Undecodable)));
        }
        assert_eq!(items_there, items);
    }
}

pub(super) type Items = Vec<Result<LogMessage, ErrorKind>>;

/// The logs of an answer of Log Cache, and whether it was good to its end.
pub(super) fn log_cache(answer: &[u8], sizes: &[usize]) -> (Items, bool) {
    let mut items = Vec::new();
    let end = v2::read_response(Pieces::new(answer, sizes), usize::MAX, |item| {
        items.extend(item.transpose());
        ControlFlow::Continue(())
    });
    (kinds(&items), end.is_ok())
}

pub(super) fn decoded_by(format: Format, frame: &[u8]) -> Vec<Result<LogMessage>> {
    let mut items = VecDeque::new();
    format.decode(frame, &mut items);
    items.into()
}

pub(super) fn kinds(items: &[Result<LogMessage>]) -> Items {
    items.iter().map(|item| item.clone().map_err(|error: Error| error.kind())).collect()
}

/// A message takes memory in proportion to its bytes, and can be printed.
fn check(message: &LogMessage, bytes: &[u8]) {
    assert!(message.size() <= 1024 + 32 * bytes.len(), "{} bytes of {}", message.size(), bytes.len());
    assert!(message.to_string().starts_with("   "));
}
