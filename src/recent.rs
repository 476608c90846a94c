//! [`Recent`]: the messages of an answer, as they come.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use crate::cancel::Cancel;
use crate::deadline::Patience;
use crate::ending::Ending;
use crate::error::{Error, ErrorKind, Result};
use crate::format::Format;
use crate::frames::{Frames, Progress};
use crate::http::{Answer, Body, body_error};
use crate::message::LogMessage;
use crate::multipart::{self, SplitError, Splitter};
use crate::open::Registration;
use crate::websocket::WebSocket;

/// How many parts of an answer may be no message.
const MAX_SKIPPED: usize = 1000;

/// An iterator over an app's recent messages, in the server's order: see
/// [`Consumer::recent_iter`](crate::Consumer::recent_iter).
///
/// Each [`next`](Iterator::next) blocks until a message has come, the answer has ended, or the server has been silent
/// for the [read timeout](crate::Builder::read_timeout). An answer that ends before it is complete gives one error,
/// and then nothing more. Parts that are no log message are skipped, with a warning in the log.
pub struct Recent {
    // `None` when it has ended.
    open: Option<(Source, Registration)>,
    /// What has been decoded and not been taken.
    decoded: VecDeque<Result<LogMessage>>,
    skipped: Skipped,
    patience: Patience,
    cancel: Arc<Cancel>,
}

/// How much of an answer was no message. It is bounded, for an answer of nothing else has no end.
#[derive(Default)]
pub(crate) struct Skipped(usize);

impl Skipped {
    /// One more, with the error if it is one: something else than a log is none.
    pub(crate) fn one(&mut self, error: Option<Error>) -> Result<()> {
        self.0 += 1;
        if self.0 > MAX_SKIPPED {
            let why = error.map_or_else(|| "they are of something else".into(), |error| error.to_string());
            let text = format!("too many of the recent messages are none: {why}");
            return Err(Error::new(ErrorKind::BadResponse, text));
        }
        if let Some(error) = error {
            log::warn!("skipped a recent message: {error}");
        }
        Ok(())
    }
}

/// Where the messages come from.
pub(crate) enum Source {
    /// The parts of a multipart body.
    Parts(Box<Splitter<Body>>, Format),
    /// The frames of a websocket that the server closes behind the last.
    Frames(Box<Dump>),
    /// Messages that are all there.
    Messages(std::vec::IntoIter<LogMessage>),
}

impl Source {
    /// The parts of an answer that is multipart.
    pub(crate) fn parts(answer: Answer, format: Format, max_message_size: usize) -> Result<Self> {
        let what = "the recent messages";
        let content_type = answer.content_type.as_deref().ok_or_else(|| {
            Error::new(ErrorKind::BadResponse, format!("{what}: the server's answer has no Content-Type"))
        })?;
        let boundary =
            multipart::boundary(content_type).map_err(|cause| Error::caused(ErrorKind::BadResponse, what, cause))?;
        Ok(Source::Parts(Box::new(Splitter::new(answer.body, &boundary, max_message_size)), format))
    }
}

/// A websocket that is read in the caller's thread.
pub(crate) struct Dump {
    websocket: WebSocket,
    patience: Patience,
    frames: Frames,
    next: usize,
    ending: Option<Ending>,
}

impl Recent {
    pub(crate) fn new(source: Source, patience: Patience, cancel: Arc<Cancel>, registration: Registration) -> Self {
        Recent {
            open: Some((source, registration)),
            decoded: VecDeque::new(),
            skipped: Skipped::default(),
            patience,
            cancel,
        }
    }

    /// All that is still to come; an error has what came before it.
    pub(crate) fn collect_all(self, max_size: usize) -> Result<Vec<LogMessage>> {
        let mut messages = Vec::new();
        let mut size = 0;
        for message in self {
            let message = match message {
                Ok(message) => message,
                Err(error) => return Err(error.with_recovered(messages)),
            };
            size += message.size();
            messages.push(message);
            if size > max_size {
                let text =
                    format!("the recent messages are larger than {max_size} bytes: see Builder::max_recent_size");
                return Err(Error::new(ErrorKind::TooLarge, text).with_recovered(messages));
            }
        }
        Ok(messages)
    }

    /// The next message that can be decoded; `None` at a complete answer's end.
    fn read(&mut self) -> Result<Option<LogMessage>> {
        loop {
            match self.decoded.pop_front() {
                Some(Ok(message)) => return Ok(Some(message)),
                Some(Err(error)) => {
                    self.skipped.one(Some(error))?;
                    continue;
                }
                None => {}
            }
            let Some((source, _)) = &mut self.open else { return Ok(None) };
            // What the system holds of the answer, megabytes at times, would still come.
            self.cancel.check()?;
            // An answer that never lets us wait can be late too.
            if self.patience.is_over() {
                return Err(late());
            }
            let (bytes, format) = match source {
                Source::Messages(messages) => return Ok(messages.next()),
                Source::Parts(splitter, format) => {
                    (splitter.next_part().map_err(|error| split_error(error, &self.cancel))?, *format)
                }
                Source::Frames(dump) => (dump.next_frame(&self.cancel)?, Format::Legacy),
            };
            let Some(bytes) = bytes else { return Ok(None) };
            format.decode(bytes, &mut self.decoded);
            if self.decoded.is_empty() {
                self.skipped.one(None)?;
            }
        }
    }
}

impl Iterator for Recent {
    type Item = Result<LogMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.read().map_err(|error| explain_timeout(error, self.patience)).transpose();
        if !matches!(message, Some(Ok(_))) {
            self.open = None;
        }
        message
    }
}

impl Dump {
    pub(crate) fn new(websocket: WebSocket, patience: Patience) -> Self {
        Dump { websocket, patience, frames: Frames::default(), next: 0, ending: None }
    }

    /// The next frame; `None` when the server has closed the connection well.
    fn next_frame(&mut self, cancel: &Cancel) -> Result<Option<&[u8]>> {
        // From now on: what the caller did before was no silence of the server's.
        let silent_until = self.patience.deadline();
        while self.frames.get(self.next).is_none() {
            if let Some(ending) = &self.ending {
                return match ending.error() {
                    None => Ok(None),
                    Some(_) if cancel.is_thrown() => Err(Error::closed()),
                    Some(error) => Err(error),
                };
            }
            if self.patience.is_over() {
                return Err(late());
            }
            // Pings are no messages: a server that sends nothing else is as good as silent.
            if Instant::now() >= silent_until {
                self.ending = Some(Ending::TimedOut);
                continue;
            }
            let progress = self.websocket.receive();
            let read = mem::take(&mut self.frames);
            if let Some(frames) = self.websocket.take(|| read) {
                (self.frames, self.next) = (frames, 0);
            }
            match progress {
                Progress::More => {}
                Progress::Ended(ending) => self.ending = Some(ending),
                Progress::Idle if !self.frames.is_empty() => {}
                Progress::Idle => {
                    if self.websocket.wait(Some(silent_until)).is_err() {
                        self.ending = Some(Ending::TimedOut);
                    }
                }
            }
        }
        self.next += 1;
        Ok(self.frames.get(self.next - 1))
    }
}

/// Says of a timeout in an answer which limit it was that ran out.
pub(crate) fn explain_timeout(error: Error, patience: Patience) -> Error {
    match error.kind() {
        ErrorKind::Timeout if patience.is_over() => late(),
        ErrorKind::Timeout => error.with_hint(": see Builder::read_timeout"),
        _ => error,
    }
}

pub(crate) fn late() -> Error {
    Error::new(ErrorKind::Timeout, "the recent messages did not end in time: see Builder::recent_timeout")
}

fn split_error(error: SplitError, cancel: &Cancel) -> Error {
    let what = "the recent messages";
    match error {
        SplitError::Io(error) => body_error(what, error, cancel),
        _ if cancel.is_thrown() => Error::closed(),
        SplitError::Truncated => Error::caused(ErrorKind::Truncated, what, error),
        SplitError::PartTooLarge { .. } => {
            Error::caused(ErrorKind::TooLarge, what, error).with_hint(": see Builder::max_message_size")
        }
        SplitError::PreambleTooLong | SplitError::HeadersTooLong => Error::caused(ErrorKind::BadResponse, what, error),
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("ended", &self.open.is_none()).finish_non_exhaustive()
    }
}
