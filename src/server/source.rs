//! What a server provides: a [`LiveSource`] for a tail and a [`RecentSource`] for recent messages.
//!
//! To read messages in another way, add a file that implements one of these traits.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Missing, Result};
use crate::message::LogMessage;
use crate::net::deadline::ReadTimeouts;
use crate::net::websocket::WriteHalf;
use crate::wire::format::Decoder;
use crate::wire::frames::{Frames, Progress};

/// Live messages or envelopes, read by one thread of a tail.
///
/// The defaults are those of a source that decodes its messages itself, waits in `receive` and is never idle.
pub(crate) trait LiveSource<T = LogMessage>: Send {
    /// Reads what has arrived. May block until something arrives, if its connection is shut down on cancel.
    fn receive(&mut self) -> Progress;

    /// Takes the frames that were received, if there are any. `recycled` returns a buffer for further frames.
    fn take(&mut self, recycled: &mut dyn FnMut() -> Frames) -> Option<Frames> {
        let _ = recycled;
        None
    }

    /// Takes the messages of a source that decodes them itself, if there are any.
    fn take_decoded(&mut self) -> Option<Decoded<T>> {
        None
    }

    /// Returns the decoder of the frames. `None`: there are no frames.
    fn decoder(&self) -> Option<Decoder<T>> {
        None
    }

    /// Waits until there is something to receive. Called only after [`Progress::Idle`].
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) if nothing arrived by the deadline.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let _ = deadline;
        Ok(())
    }

    /// Frees the memory that it needs only while messages arrive.
    fn shrink(&mut self) {}

    /// Returns the idle timeout if the caller has set none. `None`: it may be silent for ever, or it times out by
    /// itself.
    fn default_idle_timeout(&self) -> Option<Duration> {
        None
    }

    /// Returns what may be missing since the connection before this one ended. `None`: nothing is.
    fn missing(&self) -> Option<Missing> {
        Some(Missing::default())
    }

    /// Returns true if it may run the caller's functions, such as a proxy function, which may need a large stack.
    fn runs_callers_functions(&self) -> bool {
        false
    }

    /// Returns what a second thread needs to keep the connection alive and to close it with a close frame. `None`:
    /// there is no second thread, and a cancel shuts the connection down.
    fn write_half(&self) -> Option<&Arc<WriteHalf>> {
        None
    }

    /// Returns work for a further thread, which runs while this source is read and ends soon after it is dropped.
    fn background(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        None
    }

    /// Returns the source with which the tail continues after this one has ended, without reconnecting. `None`: it ends, or
    /// reconnects.
    fn successor(&mut self) -> Option<Box<dyn LiveSource<T>>> {
        None
    }
}

/// How often the caller learns up to when the messages are complete, while no messages arrive.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// When a source last told up to when its messages are complete.
pub(crate) struct LastReport(Instant);

impl LastReport {
    pub(crate) fn now() -> Self {
        LastReport(Instant::now())
    }

    /// Returns true if the next report is due, which then is the last one. One with messages always is.
    pub(crate) fn is_next_due(&mut self, has_messages: bool) -> bool {
        let is_due = has_messages || self.0.elapsed() >= REPORT_EVERY;
        if is_due {
            *self = LastReport::now();
        }
        is_due
    }
}

/// Messages that a source has decoded itself. Gaps are among them.
pub(crate) struct Decoded<T = LogMessage> {
    pub(crate) messages: VecDeque<Result<T>>,
    /// Nothing before this time is still looked for, in nanoseconds since the Unix epoch.
    pub(crate) complete_until: Option<i64>,
}

impl<T> Default for Decoded<T> {
    fn default() -> Self {
        Decoded { messages: VecDeque::new(), complete_until: None }
    }
}

/// Recent messages, read in the caller's thread as the response arrives.
pub(crate) trait RecentSource: Send + Sync {
    /// Reads the next part of the response and adds its messages, if it has any. Returns false at the end of a complete
    /// response.
    fn read(&mut self, messages: &mut VecDeque<Result<LogMessage>>) -> Result<bool>;

    /// Takes the messages of a source that has read all of them already, within the limit of their size.
    fn take_all(&mut self) -> Option<Vec<LogMessage>> {
        None
    }
}

/// The maximum number of parts of a response that are undecodable or something else than was asked for.
const MAX_SKIPPED: usize = 1000;

/// Counts the parts of a response that are not messages. Limited, so that a response of nothing else ends.
#[derive(Default)]
pub(crate) struct Skipped(usize);

impl Skipped {
    /// Counts one part: undecodable, or without an error if it contains something other than a log message.
    pub(crate) fn add(&mut self, error: Option<Error>) -> Result<()> {
        self.0 += 1;
        if self.0 > MAX_SKIPPED {
            let why = error.map_or_else(|| "they contain something else".into(), |error| error.to_string());
            let text = format!("too many parts of the response cannot be used (limit {MAX_SKIPPED}): {why}");
            return Err(Error::new(ErrorKind::BadResponse, text));
        }
        if let Some(error) = error {
            log::warn!("skipped a part of the response: {error}");
        }
        Ok(())
    }
}

/// Adds to a timeout of the response body the setting that caused it.
pub(crate) fn explain_timeout(error: Error, timeouts: ReadTimeouts) -> Error {
    match error.kind() {
        ErrorKind::Timeout if timeouts.is_expired() => recent_timeout_error(),
        ErrorKind::Timeout => error.with_hint(": see Builder::read_timeout"),
        _ => error,
    }
}

/// The error of recent messages that took longer than `recent_timeout`.
pub(crate) fn recent_timeout_error() -> Error {
    Error::new(ErrorKind::Timeout, "the response did not end in time: see Builder::recent_timeout")
}
