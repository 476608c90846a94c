//! [`Recent`]: the recent messages of a response, as they arrive.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::deadline::ReadTimeouts;
use crate::net::registry::Registration;
use crate::server::source::{RecentSource, Skipped, explain_timeout, recent_timeout_error};

/// An iterator over an app's recent messages, in the server's order: see
/// [`Consumer::recent_iter`](crate::Consumer::recent_iter).
///
/// Each [`next`](Iterator::next) blocks until a message has arrived, the response has ended, or the server has been
/// silent for the [read timeout](crate::Builder::read_timeout). A response that ends before it is complete gives one
/// error, and then nothing more. Parts that are not log messages are skipped, with a warning in the log.
pub struct Recent {
    /// `None` after the end.
    open: Option<(Box<dyn RecentSource>, Option<Registration>)>,
    /// Decoded, and not yet returned.
    decoded: VecDeque<Result<LogMessage>>,
    skipped: Skipped,
    timeouts: ReadTimeouts,
    cancel: Arc<Cancel>,
}

impl Recent {
    pub(crate) fn new(
        source: Box<dyn RecentSource>,
        timeouts: ReadTimeouts,
        cancel: Arc<Cancel>,
        registration: Option<Registration>,
    ) -> Self {
        Recent {
            open: Some((source, registration)),
            decoded: VecDeque::new(),
            skipped: Skipped::default(),
            timeouts,
            cancel,
        }
    }

    /// Reads to the end. An error contains the messages that were read before it.
    pub(crate) fn collect_all(mut self, max_size: usize) -> Result<Vec<LogMessage>> {
        if let Some(messages) = self.open.as_mut().and_then(|(source, _)| source.take_all()) {
            return match self.cancel.check() {
                Ok(()) => Ok(messages),
                Err(error) => Err(error.with_recovered(messages)),
            };
        }
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

    /// Returns the next message that can be decoded, or `None` at the end of a complete response.
    fn read(&mut self) -> Result<Option<LogMessage>> {
        loop {
            match self.decoded.pop_front() {
                Some(Ok(message)) => return Ok(Some(message)),
                Some(Err(error)) => {
                    self.skipped.add(Some(error))?;
                    continue;
                }
                None => {}
            }
            let Some((source, _)) = &mut self.open else { return Ok(None) };
            // Without this, megabytes that the system has already received would still be read.
            self.cancel.check()?;
            // A server that never pauses causes no read timeout, so the deadline is checked here, too.
            if self.timeouts.is_expired() {
                return Err(recent_timeout_error());
            }
            if !source.read(&mut self.decoded)? {
                return Ok(None);
            }
            if self.decoded.is_empty() {
                self.skipped.add(None)?;
            }
        }
    }
}

impl Iterator for Recent {
    type Item = Result<LogMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.read().map_err(|error| explain_timeout(error, self.timeouts)).transpose();
        if !matches!(message, Some(Ok(_))) {
            self.open = None;
        }
        message
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("ended", &self.open.is_none()).finish_non_exhaustive()
    }
}
