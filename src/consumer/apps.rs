//! Opens the source of a tail of several apps.

use std::cell::Cell;
use std::convert::identity;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};

use super::inner::{Inner, Live, explain};
use crate::envelope::EnvelopeType;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::CALLER_STACK_SIZE;
use crate::net::cancel::Cancel;
use crate::net::endpoint::Endpoint;
use crate::net::http::Client;
use crate::selection::Selection;
use crate::server::call::Call;
use crate::server::foundation::{Choice, Purpose, Via};
use crate::server::log_cache::engine::{Start, Stored};
use crate::server::log_cache::polling::PollingSource;
use crate::server::log_cache::polling_group::{PollingGroup, polling_of_each};
use crate::server::rlp_gateway;
use crate::server::source::LiveSource;
use crate::settings::Polling;
use crate::tail::{MergedTails, Tail};
use crate::wire::format::Format;

/// How many tails are opened at the same time.
const OPENED_AT_ONCE: usize = 8;

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
        Live::of_logs(self.start, app_guid, &self.token, cancel)
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
        self.authorized_for_each(purpose, &apps.guids, &apps.token, &apps.cancel, |choice, token, finds_rejected| {
            match choice.via() {
                Via::RlpGateway => {
                    let stream = self.stream_of_apps(apps, choice.endpoint(), token, finds_rejected)?;
                    if !purpose.may_be_polled() {
                        return Ok(stream);
                    }
                    let lives = apps.guids.iter().map(|guid| apps.live(guid, &apps.cancel)).collect();
                    Ok(self.watched(stream, lives, identity, &apps.cancel))
                }
                Via::LogCache => self.poll_apps(apps, choice.endpoint(), token),
                Via::Doppler | Via::Legacy => self.tail_each(apps),
            }
        })
    }

    /// Makes a call for sources to the best server, with the consumer's own tokens as far as they are needed.
    ///
    /// The RLP gateway rejects an expired token and one unknown source alike. So only when a renewed token has not helped,
    /// `call` is made with `true` and asks the gateway which sources it rejects.
    pub(super) fn authorized_for_each<T>(
        &self,
        purpose: Purpose,
        sources: &[String],
        token: &str,
        cancel: &Arc<Cancel>,
        call: impl Fn(&Choice, &str, bool) -> Result<T>,
    ) -> Result<T> {
        let is_gateway = Cell::new(false);
        let attempt = |name: &str, finds_rejected| {
            self.authorized(name, token, cancel, |token| {
                self.foundation.with_server(purpose, self.requester(cancel), None, |choice| {
                    is_gateway.set(choice.via() == Via::RlpGateway);
                    call(choice, &choice.via().token(token), finds_rejected)
                })
            })
        };
        let first = sources.first().map_or("", String::as_str);
        if sources.len() < 2 {
            return attempt(first, false);
        }
        // A token that is accepted for some of them, and rejected for all together, has not expired: hence the other name.
        match attempt(&format!("{first} and others"), false) {
            Err(error) if is_gateway.get() && rlp_gateway::is_rejection(&error) => attempt(first, true),
            result => result,
        }
    }

    fn stream_of_apps(
        &self,
        apps: &Apps,
        server: &Endpoint,
        token: &str,
        finds_rejected: bool,
    ) -> Result<Box<dyn LiveSource>> {
        let (requester, timeouts) = (self.requester(&apps.cancel), self.stream_timeouts());
        let call = Call { requester, client: None, server, app_guid: "", token, timeouts };
        let selection = Selection::apps(&apps.guids).types([EnvelopeType::Log]);
        rlp_gateway::stream(&call, &selection, Format::Gateway.decoder(), finds_rejected)
    }

    /// Opens a source that polls Log Cache for all apps.
    fn poll_apps(self: &Arc<Self>, apps: &Apps, server: &Endpoint, token: &str) -> Result<Box<dyn LiveSource>> {
        let open = |guid: &str, polling: Polling, client: &Arc<Client>, token: &str| {
            self.poll_with::<LogMessage>(&apps.live(guid, &apps.cancel), polling, client, server, token)
        };
        self.poll_each(&apps.guids, &apps.token, &apps.cancel, server, token, open)
    }

    /// Opens a source that polls Log Cache for each app, over one connection. `open` opens that of one app, with a token.
    ///
    /// Log Cache answers alike for an app that is gone and for a token that has expired, and accepts an expired one for a
    /// while of the apps for which it knows it. So if it rejects some of the apps, the token is renewed, once for all of
    /// them, and these apps are asked for once more. If it rejects all of them, the whole call does that.
    pub(super) fn poll_each<T: Stored + Send + 'static>(
        &self,
        guids: &[String],
        given_token: &str,
        cancel: &Arc<Cancel>,
        server: &Endpoint,
        token: &str,
        open: impl Fn(&str, Polling, &Arc<Client>, &str) -> Result<PollingSource<T>>,
    ) -> Result<Box<dyn LiveSource<T>>> {
        let client = Arc::new(self.requester(cancel).client(server));
        let polling = polling_of_each(self.settings.polling, guids.len());
        let open = |guid: &String, token: &str| {
            open(guid, polling, &client, token).map_err(|error| explain(error, guid).hiding(token))
        };
        let (mut sources, mut rejected) = sort_out(guids, guids.iter().map(|guid| open(guid, token)))?;
        let suspect = rejected.iter().find(|(_, error)| error.kind() == ErrorKind::Unauthorized);
        if let Some((guid, _)) = suspect.filter(|_| given_token.is_empty() && !sources.is_empty())
            && let Some(renewed) = self.renewed(token, guid, cancel)?
        {
            let renewed = &*Via::LogCache.token(&renewed);
            let again: Vec<_> = rejected.into_iter().map(|(guid, _)| guid).collect();
            let results = again.iter().map(|guid| open(guid, renewed).inspect(|_| self.accepted(renewed, guid)));
            let (opened, rejected_again) = sort_out(&again, results)?;
            sources.extend(opened);
            rejected = rejected_again;
        }
        let rejected = named(&sources, rejected)?;
        Ok(Box::new(PollingGroup::new(sources, rejected, cancel)))
    }

    fn tail_each(self: &Arc<Self>, apps: &Apps) -> Result<Box<dyn LiveSource>> {
        self.open_each(&apps.guids, &apps.cancel, |guid, cancel| {
            let (inner, live) = (Arc::clone(self), apps.live(guid, cancel));
            move || inner.connect(&live)
        })
    }

    /// Opens a tail of each app, and merges them. `connector` returns what connects the tail of an app.
    pub(super) fn open_each<T: Send + 'static, C>(
        self: &Arc<Self>,
        guids: &[String],
        cancel: &Arc<Cancel>,
        connector: impl Fn(&str, &Arc<Cancel>) -> C + Sync,
    ) -> Result<Box<dyn LiveSource<T>>>
    where
        C: Fn() -> Result<Box<dyn LiveSource<T>>> + Send + Sync + 'static,
    {
        let open = |guid: &String| {
            let cancel = cancel.child();
            self.open_tail(connector(guid, &cancel), &cancel, None)
        };
        let open = &open;
        let tails: Vec<Result<Tail<T>>> = thread::scope(|scope| {
            let chunks = guids.chunks(guids.len().div_ceil(OPENED_AT_ONCE).max(1));
            let opening: Vec<_> = chunks
                .map(|guids| {
                    let builder = thread::Builder::new().stack_size(CALLER_STACK_SIZE);
                    builder.spawn_scoped(scope, move || guids.iter().map(open).collect::<Vec<_>>())
                })
                .collect();
            let join = |thread: io::Result<ScopedJoinHandle<'_, Vec<_>>>| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(cause) => vec![Err(Error::caused(ErrorKind::Dial, "starting a thread", cause))],
            };
            opening.into_iter().flat_map(join).collect()
        });
        if tails.iter().any(|tail| tail.as_ref().is_err_and(|error| !is_rejection(error))) {
            // All at once: a drop waits for the server's close frame.
            tails.iter().flatten().for_each(|tail| _ = tail.closer().close());
        }
        let (tails, rejected) = sort_out(guids, tails)?;
        let rejected = named(&tails, rejected)?;
        Ok(Box::new(MergedTails::new(tails, rejected, cancel)))
    }
}

/// What was opened of each app, and the errors of the others.
type SortedOut<T> = (Vec<(String, T)>, Vec<(String, Error)>);

/// Separates what could be opened from the apps that were rejected.
///
/// # Errors
///
/// An error that says nothing about an app.
fn sort_out<T>(guids: &[String], results: impl IntoIterator<Item = Result<T>>) -> Result<SortedOut<T>> {
    let (mut opened, mut rejected) = (Vec::new(), Vec::new());
    for (guid, result) in guids.iter().zip(results) {
        match result {
            Ok(source) => opened.push((guid.clone(), source)),
            Err(error) if is_rejection(&error) => rejected.push((guid.clone(), error)),
            Err(error) => return Err(error),
        }
    }
    Ok((opened, rejected))
}

/// Returns the errors of the apps that were rejected, which name them.
///
/// # Errors
///
/// The error of the first, if no app was opened.
fn named<T>(opened: &[(String, T)], rejected: Vec<(String, Error)>) -> Result<Vec<Error>> {
    match rejected.first() {
        Some((_, error)) if opened.is_empty() => Err(error.clone()),
        _ => Ok(rejected.into_iter().map(|(guid, error)| error.of_app(&guid)).collect()),
    }
}

/// Returns true if the server has rejected the app itself.
pub(super) fn is_rejection(error: &Error) -> bool {
    error.kind().is_refusal() && !error.is_from_router()
}
