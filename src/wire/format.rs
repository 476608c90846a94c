//! [`Format`]: how each generation encodes messages in the frames of a tail.
//! [`Item`]: what they are decoded to.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::envelope::{Body, Envelope};
use crate::error::{Error, ErrorKind, Result};
use crate::selection::Selection;
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

/// Decodes a frame, and adds its items to a list. There may be none, one or many.
pub(crate) type Decoder<T> = Arc<dyn Fn(&[u8], &mut VecDeque<Result<T>>) + Send + Sync>;

impl Format {
    /// Returns a decoder of frames of this format to the envelopes that are selected.
    pub(crate) fn envelopes(self, selection: &Arc<Selection>) -> Decoder<Envelope> {
        let selection = Arc::clone(selection);
        Arc::new(move |frame, items| {
            self.decode::<Envelope>(frame, items);
            items.retain_mut(|item| {
                let Ok(envelope) = item else { return true };
                if let Some(count) = dropped(envelope) {
                    *item = Err(Error::dropped(count));
                    return true;
                }
                selection.admits(envelope)
            });
        })
    }

    /// Returns a decoder of frames of this format.
    pub(crate) fn decoder<T: Item>(self) -> Decoder<T> {
        Arc::new(move |frame, items| self.decode(frame, items))
    }

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

/// Returns how many envelopes the server has dropped, if that is what the envelope says.
///
/// Doppler of before 2018 sent this to the reader that was too slow, instead of the envelopes (`truncatingbuffer` of
/// loggregator). Later ones disconnect such a reader.
fn dropped(envelope: &Envelope) -> Option<u64> {
    let Body::Counter { name, delta, .. } = &envelope.body else { return None };
    let is_from_doppler = envelope.tags.get("origin").is_some_and(|it| matches!(&**it, "doppler" | "DopplerServer"));
    (name == "TruncatingBuffer.DroppedMessages" && is_from_doppler).then_some(*delta)
}
