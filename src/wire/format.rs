//! [`Format`]: how each generation encodes messages in the frames of a tail.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::wire::{dropsonde, v2};

/// The most messages that are taken from one batch. The gateway sends up to 100.
///
/// The limit bounds memory, because a message can be much larger in memory than in JSON.
const MAX_BATCH: usize = 10_000;

/// The content of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// One `LogMessage`.
    #[default]
    Legacy,
    /// One dropsonde `Envelope`, which may hold something other than a log message.
    Doppler,
    /// A batch of v2 envelopes in JSON, some of which may hold something other than a log message.
    Gateway,
}

/// Decodes a frame, and adds its items to a list. There may be none, one or many.
pub(crate) type Decoder<T> = Arc<dyn Fn(&[u8], &mut VecDeque<Result<T>>) + Send + Sync>;

/// Returns how many envelopes the server has dropped, if that is what the envelope says.
///
/// Doppler of before 2018 sent this to the reader that was too slow, instead of the envelopes (`truncatingbuffer` of
/// loggregator). Later ones disconnect such a reader.
fn dropped(envelope: &Envelope) -> Option<u64> {
    let Body::Counter { name, delta, .. } = &envelope.body else { return None };
    let is_from_doppler = envelope.tags.get("origin").is_some_and(|it| matches!(&**it, "doppler" | "DopplerServer"));
    (name == "TruncatingBuffer.DroppedMessages" && is_from_doppler).then_some(*delta)
}

impl Format {
    /// Returns a decoder of frames of this format to the envelopes that are selected.
    pub(crate) fn envelopes(self, selection: &Arc<Selection>) -> Decoder<Envelope> {
        let selection = Arc::clone(selection);
        Arc::new(move |frame, items| {
            self.decode(frame, items);
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
    pub(crate) fn decoder(self) -> Decoder<LogMessage> {
        Arc::new(move |frame, items| self.decode(frame, items))
    }

    /// Decodes a frame, and adds its messages and errors to `messages`. There may be none, one or many.
    pub(crate) fn decode(self, frame: &[u8], messages: &mut VecDeque<Result<LogMessage>>) {
        match self {
            Format::Legacy => messages.push_back(dropsonde::legacy(frame)),
            Format::Doppler => messages.extend(dropsonde::doppler(frame).transpose()),
            Format::Gateway => {
                let mut count = 0;
                let decoded = v2::batch(frame, &mut |message| {
                    count += 1;
                    if count <= MAX_BATCH {
                        messages.push_back(message);
                    }
                });
                if count > MAX_BATCH {
                    let text = format!("a batch has {count} messages (limit {MAX_BATCH}), the rest are dropped");
                    messages.push_back(Err(Error::new(ErrorKind::Undecodable, text)));
                }
                messages.extend(decoded.err().map(Err));
            }
        }
    }
}
