//! Fuzzes the decoders of envelopes.

use std::fmt::Debug;
use std::ops::ControlFlow;

use serde::de::IgnoredAny;

use super::decoder::decoded_by;
use super::input::{Choices, Pieces};
use crate::envelope::Envelope;
use crate::error::{ErrorKind, Result};
use crate::message::LogMessage;
use crate::wire::dropsonde::{FromV1, check_against_generated_code, encode_envelope};
use crate::wire::format::Format;
use crate::wire::v2;

/// Checks that an envelope that a decoder returns is the same after it is encoded and decoded again.
pub fn envelopes(input: &[u8]) {
    let mut choices = Choices(input);
    match choices.byte() % 2 {
        0 => v1(choices.rest()),
        _ => {
            let sizes = choices.sizes();
            v2(choices.rest(), &sizes);
        }
    }
}

/// Checks the decoder of Doppler's envelopes against the generated code.
fn v1(bytes: &[u8]) {
    check_against_generated_code(bytes);
    let decoded = Envelope::from_doppler(bytes);
    let Ok(Some(envelope)) = decoded else {
        assert_eq!(decoded.err().map_or(ErrorKind::Undecodable, |error| error.kind()), ErrorKind::Undecodable);
        return;
    };
    check_size(&envelope, bytes);
    if let Ok(Some(mut message)) = LogMessage::from_doppler(bytes) {
        // The source of a log without an app is the component that sent it.
        if message.app_id.is_empty() {
            message.app_id.clone_from(&envelope.source_id);
        }
        assert_eq!(LogMessage::try_from(envelope.clone()), Ok(message));
    }
    // The platform may change an envelope that nobody sends like this, but only once.
    if let Some(once) = through_doppler(&envelope) {
        let twice = through_doppler(&once);
        assert_eq!(text(&twice), text(&Some(once)));
    }
}

/// Returns what is left of an envelope that came from Doppler if it is sent over Doppler again.
fn through_doppler(envelope: &Envelope) -> Option<Envelope> {
    let encoded = encode_envelope(envelope);
    assert!(encoded.len() <= 1);
    encoded.first().map(|bytes| Envelope::from_doppler(bytes).unwrap().unwrap())
}

/// Checks that the readers of v2 JSON agree, whatever the pieces in which the JSON arrives.
fn v2(bytes: &[u8], sizes: &[usize]) {
    let items = decoded_by::<Envelope>(Format::Gateway, bytes);
    for envelope in items.iter().flatten() {
        check_size(envelope, bytes);
        let json = format!(r#"{{"batch":[{}]}}"#, v2::encode(envelope));
        assert_eq!(
            text(&decoded_by::<Envelope>(Format::Gateway, json.as_bytes())),
            text(&[Ok::<_, ErrorKind>(envelope)])
        );
        let messages = decoded_by::<LogMessage>(Format::Gateway, json.as_bytes());
        let messages: Vec<_> = messages.into_iter().map(Result::unwrap).collect();
        assert_eq!(messages, Vec::from_iter(LogMessage::try_from(envelope.clone())));
    }
    // Bytes that are not JSON by themselves can be valid between the braces.
    if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() && str::from_utf8(bytes).is_ok() {
        let mut read = Vec::new();
        let response = [br#"{"envelopes":"#, bytes, b"}"].concat();
        let end = v2::read_response(&[], Pieces::new(&response, sizes), usize::MAX, |item| {
            read.extend(item.transpose());
            ControlFlow::Continue(())
        });
        let mut items = items;
        if end.is_err() {
            assert!(items.pop().is_some_and(|item| item.is_err()));
        }
        assert_eq!(kinds(&read), kinds(&items));
    }
}

/// `NaN` differs from itself, but not its text.
fn text(items: &(impl Debug + ?Sized)) -> String {
    format!("{items:?}")
}

/// Replaces each error by its kind.
fn kinds(items: &[Result<Envelope>]) -> Vec<Result<String, ErrorKind>> {
    items.iter().map(|item| item.as_ref().map(text).map_err(|error| error.kind())).collect()
}

/// Checks that an envelope takes memory in proportion to its bytes.
fn check_size(envelope: &Envelope, bytes: &[u8]) {
    assert!(envelope.size() <= 2048 + 64 * bytes.len(), "{} bytes of {}", envelope.size(), bytes.len());
}
