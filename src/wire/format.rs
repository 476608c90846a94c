//! [`Format`]: how each generation puts messages into the frames that a tail reads.

use std::collections::VecDeque;

use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::wire::{dropsonde, v2};

/// More messages than this have no batch that means well: the gateway sends a hundred. In memory each takes many times
/// the bytes that it can have in JSON.
const MAX_BATCH: usize = 10_000;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// One `LogMessage`.
    #[default]
    Legacy,
    /// One dropsonde `Envelope`, which may be no log.
    Doppler,
    /// A batch of v2 envelopes in JSON, of which some may be no logs.
    Gateway,
}

impl Format {
    /// Adds the messages of a frame to `messages`: one, none, or many.
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
                    let text = format!("a batch has {count} messages, of which those beyond {MAX_BATCH} are dropped");
                    messages.push_back(Err(Error::new(ErrorKind::Undecodable, text)));
                }
                messages.extend(decoded.err().map(Err));
            }
        }
    }
}
