//! [`Format`]: how each generation puts messages into the frames that a tail reads.

use std::collections::VecDeque;

use crate::error::Result;
use crate::message::LogMessage;
use crate::{decode, v2};

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
            Format::Legacy => messages.push_back(decode::legacy(frame)),
            Format::Doppler => messages.extend(decode::doppler(frame).transpose()),
            Format::Gateway => {
                if let Err(error) = v2::batch(frame, &mut |message| messages.push_back(message)) {
                    messages.push_back(Err(error));
                }
            }
        }
    }
}
