//! [`PollingGroup`]: live messages or envelopes of several apps from Log Cache, read in one thread and over one connection.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::Stored;
use super::polling::PollingSource;
use crate::ending::Ending;
use crate::error::{Error, ErrorKind};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::server::source::{Decoded, LastReport, LiveSource};
use crate::settings::Polling;
use crate::wire::frames::Progress;

/// How many quiet apps are polled in a second, at the most.
const APPS_PER_SECOND: u32 = 10;

/// Returns how each of this number of apps is polled.
pub(crate) fn polling_of_each(polling: Polling, apps: usize) -> Polling {
    let apps = u32::try_from(apps).unwrap_or(u32::MAX);
    let idle = polling.idle.max(Duration::from_secs(1) * apps / APPS_PER_SECOND);
    polling.idle(idle)
}

/// The sources of several apps, which are served in turn: each makes at most one request before it is the next one's
/// turn.
pub(crate) struct PollingGroup<T = LogMessage> {
    /// Each with its app.
    sources: Vec<(String, PollingSource<T>)>,
    /// Up to where those were complete that have ended: a tail after a restart may find them again.
    ended: Vec<Option<i64>>,
    /// Whose turn it is.
    turn: usize,
    /// When the next request of those is due that had their turn without making one.
    next_due: Option<Instant>,
    /// How many had their turn, one after the other, without making a request.
    waiting: usize,
    cancel: Arc<Cancel>,
    decoded: Decoded<T>,
    last_report: LastReport,
}

impl<T: Stored> PollingGroup<T> {
    /// `rejected`: what became of the other apps.
    pub(crate) fn new(sources: Vec<(String, PollingSource<T>)>, rejected: Vec<Error>, cancel: &Arc<Cancel>) -> Self {
        let decoded = Decoded { messages: rejected.into_iter().map(Err).collect(), complete_until: None };
        PollingGroup {
            sources,
            ended: Vec::new(),
            turn: 0,
            next_due: None,
            waiting: 0,
            cancel: Arc::clone(cancel),
            decoded,
            last_report: LastReport::now(),
        }
    }

    /// Waits until one of the sources is to make a request, or for a cancel.
    fn wait_for_turn(&mut self) {
        self.waiting = 0;
        if let Some(due) = self.next_due.take() {
            // Nothing is ever sent: this waits for the time to pass, or for a cancel.
            let _ = self.cancel.signal().recv_deadline(due);
        }
    }

    /// Adds messages of an app. Its gaps have its name.
    fn add(&mut self, app: &str, decoded: Decoded<T>) {
        let named = decoded.messages.into_iter().map(|item| item.map_err(|error| error.of_app(app)));
        self.decoded.messages.extend(named);
    }

    /// Gives the source whose turn it is its turn.
    fn take_turn(&mut self) -> Progress {
        self.turn %= self.sources.len();
        let (app, source) = &mut self.sources[self.turn];
        match source.step() {
            Ok(due) => {
                let (app, messages) = (app.clone(), source.take_all());
                self.add(&app, messages);
                self.turn += 1;
                self.waiting = if due.is_some() { self.waiting + 1 } else { 0 };
                self.next_due = match (self.next_due, due) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (_, None) => None,
                    (None, due) => due,
                };
                Progress::More
            }
            Err(error) if error.kind() == ErrorKind::Closed => Progress::Ended(Ending::Closed),
            Err(error) => {
                let error = error.of_app(app);
                let (app, mut source) = self.sources.swap_remove(self.turn);
                self.add(&app, source.take_last());
                self.ended.push(source.complete_until());
                if self.sources.is_empty() {
                    return Progress::Failed(error);
                }
                self.decoded.messages.push_back(Err(error));
                Progress::More
            }
        }
    }
}

impl<T: Stored + Send> LiveSource<T> for PollingGroup<T> {
    fn receive(&mut self) -> Progress {
        if !self.decoded.messages.is_empty() {
            return Progress::More;
        }
        if self.waiting >= self.sources.len() {
            self.wait_for_turn();
        }
        self.take_turn()
    }

    fn take_decoded(&mut self) -> Option<Decoded<T>> {
        if !self.last_report.is_next_due(!self.decoded.messages.is_empty()) {
            return None;
        }
        // An app whose first lines have not been taken leaves no time.
        let open = self.sources.iter().map(|(_, source)| source.complete_until());
        let complete_until = open.chain(self.ended.iter().copied()).min().flatten();
        Some(Decoded { messages: std::mem::take(&mut self.decoded.messages), complete_until })
    }

    fn runs_callers_functions(&self) -> bool {
        true
    }
}
