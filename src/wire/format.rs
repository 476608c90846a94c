//! [`Format`]: how each generation encodes messages in the frames of a tail.
//! [`Item`]: what they are decoded to.

use std::collections::VecDeque;

use crate::error::{Error, ErrorKind, Result};
use crate::wire::dropsonde::FromV1;
use crate::wire::v2::{self, FromV2};

/// The most messages that are taken from one batch. The gateway sends up to 100.
///
/// The limit bounds memory, because a message can be much larger in memory than in JSON.
const MAX_BATCH: usize = 10_000;

/// What a frame is decoded to: a `LogMessage` or an `Envelope`.
pub(crate) trait Item: FromV1 + FromV2 {}

impl<T: FromV1 + FromV2> Item for T {}

/// The content of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// One `LogMessage`.
    #[default]
    Legacy,
    /// One dropsonde `Envelope`, which may hold something else than an item.
    Doppler,
    /// A batch of v2 envelopes in JSON, some of which may hold something else than an item.
    Gateway,
}

impl Format {
    /// Decodes a frame, and adds its items and errors to `items`. There may be none, one or many.
    pub(crate) fn decode<T: Item>(self, frame: &[u8], items: &mut VecDeque<Result<T>>) {
        match self {
            Format::Legacy => items.push_back(T::from_legacy(frame)),
            Format::Doppler => items.extend(T::from_doppler(frame).transpose()),
            Format::Gateway => {
                let mut count = 0;
                let decoded = v2::batch(frame, &mut |item| {
                    count += 1;
                    if count <= MAX_BATCH {
                        items.push_back(item);
                    }
                });
                if count > MAX_BATCH {
                    let text = format!("a batch has {count} messages (limit {MAX_BATCH}), the rest are dropped");
                    items.push_back(Err(Error::new(ErrorKind::Undecodable, text)));
                }
                items.extend(decoded.err().map(Err));
            }
        }
    }
}
