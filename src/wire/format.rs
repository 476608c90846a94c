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

impl Format {
    /// Returns a decoder that returns the log messages of frames, and nothing else that is in them.
    pub(crate) fn messages(self) -> Decoder<LogMessage> {
        Arc::new(move |frame, messages| self.decode(frame, messages))
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
