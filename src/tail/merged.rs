//! [`MergedTails`]: the tails of several apps as one source.

use std::sync::Arc;

use crossbeam_channel::{Select, TryRecvError};

use super::Tail;
use crate::ending::Ending;
use crate::error::{Error, ErrorKind};
use crate::net::cancel::Cancel;
use crate::server::source::{Decoded, LastReport, LiveSource};
use crate::wire::frames::Progress;

/// The tails of several apps, for servers that have a stream for each app only. Each of them connects, reconnects and
/// ends on its own.
pub(crate) struct MergedTails<T> {
    /// The open tails, each with its app.
    tails: Vec<(String, Tail<T>)>,
    cancel: Arc<Cancel>,
    decoded: Decoded<T>,
    /// The least `complete_until` of the tails that have ended. Nothing that they have missed is complete.
    ended: Option<Option<i64>>,
    last_report: LastReport,
}

impl<T> MergedTails<T> {
    /// The tails must be cancelled by `cancel`. `rejected`: what became of the other apps.
    pub(crate) fn new(tails: Vec<(String, Tail<T>)>, rejected: Vec<Error>, cancel: &Arc<Cancel>) -> Self {
        let decoded = Decoded { messages: rejected.into_iter().map(Err).collect(), complete_until: None };
        MergedTails { tails, cancel: Arc::clone(cancel), decoded, ended: None, last_report: LastReport::now() }
    }

    /// Moves the next batch of a tail to `decoded`.
    fn take_from(&mut self, index: usize) -> Progress {
        let (app, tail) = &mut self.tails[index];
        let (mut items, has_ended) = match tail.try_batch() {
            Ok(batch) => batch,
            Err(TryRecvError::Empty) => return Progress::More,
            // It has ended without an error.
            Err(TryRecvError::Disconnected) => (vec![Err(end_of(tail))], true),
        };
        let end = if has_ended { items.pop() } else { None };
        let name = |error: Error| error.of_app(app);
        self.decoded.messages.extend(items.into_iter().map(|item| item.map_err(name)));
        let Some(end) = end.map(|end| end.map_err(name)) else { return Progress::More };
        let (_, tail) = self.tails.swap_remove(index);
        self.ended = [Some(tail.complete_until()), self.ended].into_iter().flatten().min();
        match end {
            Err(error) if self.tails.is_empty() => Progress::Failed(error),
            end => {
                self.decoded.messages.push_back(end);
                Progress::More
            }
        }
    }
}

/// Returns the error of a tail that must not end before the others.
fn end_of<T>(tail: &Tail<T>) -> Error {
    match tail.ending() {
        Some(ending) => ending.error().unwrap_or_else(|| Error::new(ErrorKind::ClosedByServer, ending.to_string())),
        None => Error::closed(),
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

    fn take_decoded(&mut self) -> Option<Decoded<T>> {
        if !self.last_report.is_next_due(!self.decoded.messages.is_empty()) {
            return None;
        }
        // One that cannot tell leaves no time.
        let open = self.tails.iter().map(|(_, tail)| tail.complete_until());
        let complete_until = open.chain(self.ended).min().flatten();
        Some(Decoded { messages: std::mem::take(&mut self.decoded.messages), complete_until })
    }
}
