//! [`MergedTails`]: the tails of several apps as one source.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Select, TryRecvError};

use super::Tail;
use crate::ending::Ending;
use crate::error::{Error, ErrorKind};
use crate::net::cancel::Cancel;
use crate::net::websocket::WriteHalf;
use crate::server::source::{Decoded, LiveSource, REPORT_EVERY};
use crate::wire::format::Decoder;
use crate::wire::frames::{Frames, Progress};

/// The most items that are taken from one tail at a time.
const MAX_TAKEN: usize = 1024;

/// The tails of several apps, for servers that have a stream for each app only. Each of them connects, reconnects and
/// ends on its own.
pub(crate) struct MergedTails<T> {
    /// The open tails, each with its app.
    tails: Vec<(String, Tail<T>)>,
    cancel: Arc<Cancel>,
    decoded: Decoded<T>,
    last_report: Instant,
}

impl<T> MergedTails<T> {
    /// The tails must be cancelled by `cancel`. `rejected`: what became of the other apps.
    pub(crate) fn new(tails: Vec<(String, Tail<T>)>, rejected: Vec<Error>, cancel: &Arc<Cancel>) -> Self {
        let decoded = Decoded { messages: rejected.into_iter().map(Err).collect(), complete_until: None };
        MergedTails { tails, cancel: Arc::clone(cancel), decoded, last_report: Instant::now() }
    }

    /// Moves what a tail has to `decoded`.
    fn take_from(&mut self, index: usize) -> Progress {
        for _ in 0..MAX_TAKEN {
            let (app, tail) = &mut self.tails[index];
            match tail.try_recv() {
                Ok(Ok(item)) => self.decoded.messages.push_back(Ok(item)),
                Ok(Err(error)) => {
                    let is_last = self.tails.len() == 1 && self.tails[index].1.has_returned_end();
                    let error = error.of_app(&self.tails[index].0);
                    if is_last {
                        return Progress::Failed(error);
                    }
                    self.decoded.messages.push_back(Err(error));
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    // An error has been passed on.
                    let clean = tail.ending().filter(|ending| ending.is_clean());
                    let error =
                        clean.map(|ending| Error::new(ErrorKind::ClosedByServer, ending.to_string()).of_app(app));
                    self.tails.swap_remove(index);
                    return match error {
                        Some(error) if self.tails.is_empty() => Progress::Failed(error),
                        error => {
                            self.decoded.messages.extend(error.map(Err));
                            Progress::More
                        }
                    };
                }
            }
        }
        Progress::More
    }
}

impl<T: Send> LiveSource<T> for MergedTails<T> {
    fn receive(&mut self) -> Progress {
        if !self.decoded.messages.is_empty() {
            return Progress::More;
        }
        let mut select = Select::new();
        for (_, tail) in &self.tails {
            select.recv(tail.receiver());
        }
        select.recv(self.cancel.signal());
        let ready = select.ready();
        if self.cancel.is_cancelled() {
            return Progress::Ended(Ending::Closed);
        }
        self.take_from(ready)
    }

    fn take(&mut self, _: &mut dyn FnMut() -> Frames) -> Option<Frames> {
        None
    }

    fn take_decoded(&mut self) -> Option<Decoded<T>> {
        if self.decoded.messages.is_empty() && self.last_report.elapsed() < REPORT_EVERY {
            return None;
        }
        self.last_report = Instant::now();
        // One that cannot tell leaves no time.
        let complete_until = self.tails.iter().map(|(_, tail)| tail.complete_until()).min().flatten();
        Some(Decoded { messages: std::mem::take(&mut self.decoded.messages), complete_until })
    }

    fn decoder(&self) -> Option<Decoder<T>> {
        None
    }

    fn wait(&mut self, _: Option<Instant>) -> io::Result<()> {
        // `receive` waits itself, and is never idle.
        Ok(())
    }

    fn default_idle_timeout(&self) -> Option<Duration> {
        None
    }

    fn write_half(&self) -> Option<&Arc<WriteHalf>> {
        None
    }
}
