//! Opens the source of a tail of several apps.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use super::inner::{Inner, Live, explain};
use crate::envelope::EnvelopeType;
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::endpoint::Endpoint;
use crate::net::http::Client;
use crate::selection::Selection;
use crate::server::call::Call;
use crate::server::foundation::{Purpose, Via};
use crate::server::log_cache::engine::Start;
use crate::server::log_cache::polling_group::{PollingGroup, polling_of_each};
use crate::server::rlp_gateway;
use crate::server::source::LiveSource;
use crate::tail::{MergedTails, Tail};
use crate::wire::format::Format;

/// How many tails are opened at the same time.
const OPENED_AT_ONCE: NonZero<usize> = NonZero::new(8).unwrap();

/// A live call for several apps.
pub(super) struct Apps {
    start: Start,
    /// At least one.
    guids: Vec<String>,
    /// The caller's token. Empty: the consumer's own tokens are used.
    token: String,
    cancel: Arc<Cancel>,
}

impl Apps {
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if there is no app.
    pub(super) fn new(start: Start, guids: Vec<String>, token: &str, cancel: &Arc<Cancel>) -> Result<Self> {
        if guids.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "there is no app to read from"));
        }
        Ok(Apps { start, guids, token: token.to_owned(), cancel: Arc::clone(cancel) })
    }

    fn live(&self, app_guid: &str, cancel: &Arc<Cancel>) -> Live {
        let (start, app_guid, token) = (self.start, app_guid.to_owned(), self.token.clone());
        Live { start, app_guid, token, cancel: Arc::clone(cancel), returned: Arc::default() }
    }
}

impl Inner {
    /// Connects to the source of a tail of several apps.
    pub(super) fn connect_apps(self: &Arc<Self>, apps: &Apps) -> Result<Box<dyn LiveSource>> {
        let purpose = match (apps.start, self.tail_via) {
            (Start::Tail, None) => Purpose::TailOfSeveral,
            (Start::Tail, Some(via)) => Purpose::TailVia(via),
            (Start::Follow | Start::Since(_), _) => Purpose::Follow,
        };
        self.authorized(&apps.guids[0], &apps.token, &apps.cancel, |token| {
            self.foundation.with_server(purpose, self.requester(&apps.cancel), None, |choice| {
                let token = &*choice.via().token(token);
                match choice.via() {
                    Via::RlpGateway => self.stream_of_apps(apps, choice.endpoint(), token),
                    Via::LogCache => self.poll_apps(apps, choice.endpoint(), token),
                    Via::Doppler | Via::Legacy => self.tail_each(apps),
                }
            })
        })
    }

    fn stream_of_apps(&self, apps: &Apps, server: &Endpoint, token: &str) -> Result<Box<dyn LiveSource>> {
        let (requester, timeouts) = (self.requester(&apps.cancel), self.stream_timeouts());
        let call = Call { requester, client: None, server, app_guid: "", token, timeouts };
        let selection = Selection::apps(&apps.guids).types([EnvelopeType::Log]);
        rlp_gateway::stream(&call, &selection, Format::Gateway.decoder())
    }

    /// Opens a source that polls Log Cache for all apps.
    fn poll_apps(self: &Arc<Self>, apps: &Apps, server: &Endpoint, token: &str) -> Result<Box<dyn LiveSource>> {
        let client = Arc::new(Client::keeping_alive(&self.dialer, server, &apps.cancel));
        let polling = polling_of_each(self.settings.polling, apps.guids.len());
        let open = |guid: &String| {
            let source = self.poll_with(&apps.live(guid, &apps.cancel), polling, &client, server, token);
            source.map_err(|error| explain(error, guid).hiding(token))
        };
        let (sources, rejected) = sort_out(&apps.guids, apps.guids.iter().map(open))?;
        Ok(Box::new(PollingGroup::new(sources, rejected, &apps.cancel)))
    }

    /// Opens a tail of each app.
    fn tail_each(self: &Arc<Self>, apps: &Apps) -> Result<Box<dyn LiveSource>> {
        let open = |guid: &String| {
            let cancel = apps.cancel.child();
            let (inner, live) = (Arc::clone(self), apps.live(guid, &cancel));
            self.open_tail(move || inner.connect(&live), &cancel, None)
        };
        let at_once = apps.guids.len().div_ceil(OPENED_AT_ONCE.get());
        let tails: Vec<Result<Tail>> = thread::scope(|scope| {
            let opening = apps.guids.chunks(at_once).map(|guids| scope.spawn(move || guids.iter().map(open).collect()));
            let opening: Vec<_> = opening.collect();
            let join = |thread: thread::ScopedJoinHandle<'_, Vec<Result<Tail>>>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            opening.into_iter().flat_map(join).collect()
        });
        let (tails, rejected) = sort_out(&apps.guids, tails)?;
        Ok(Box::new(MergedTails::new(tails, rejected, &apps.cancel)))
    }
}

/// What was opened of each app, and the errors of the others.
type SortedOut<T> = (Vec<(String, T)>, Vec<Error>);

/// Separates what could be opened from the apps that were rejected.
///
/// # Errors
///
/// An error that says nothing about an app, or if all apps were rejected, the error of the first.
fn sort_out<T>(guids: &[String], results: impl IntoIterator<Item = Result<T>>) -> Result<SortedOut<T>> {
    let (mut opened, mut rejected) = (Vec::new(), Vec::new());
    for (guid, result) in guids.iter().zip(results) {
        match result {
            Ok(source) => opened.push((guid.clone(), source)),
            Err(error) if error.kind().is_refusal() && !error.is_from_router() => rejected.push((guid, error)),
            Err(error) => return Err(error),
        }
    }
    match rejected.first() {
        Some((_, error)) if opened.is_empty() => Err(error.clone()),
        _ => Ok((opened, rejected.into_iter().map(|(guid, error)| error.of_app(guid)).collect())),
    }
}
