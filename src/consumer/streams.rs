//! Opens the source of a tail of envelopes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use super::inner::{Inner, Live, explain};
use crate::envelope::{Envelope, EnvelopeType};
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::endpoint::Endpoint;
use crate::net::http::Client;
use crate::selection::Selection;
use crate::server::app_guid::checked_guid;
use crate::server::call::Call;
use crate::server::foundation::{Purpose, Via};
use crate::server::log_cache::engine::Start;
use crate::server::log_cache::polling::{self, PollingSource};
use crate::server::log_cache::queries;
use crate::server::source::LiveSource;
use crate::server::{doppler, rlp_gateway};
use crate::settings::Polling;
use crate::wire::format::Format;

/// A live call for the envelopes of a selection.
pub(super) struct Stream {
    /// Which envelopes it begins with.
    start: Start,
    selection: Arc<Selection>,
    /// The shard id for a server that must have one. If the caller has set none, nobody else has this one.
    shard_id: String,
    /// The caller's token. Empty: the consumer's own tokens are used.
    token: String,
    cancel: Arc<Cancel>,
}

impl Stream {
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if no source is selected, or what cannot be the id of one, or what only streams have.
    pub(super) fn new(start: Start, selection: &Selection, token: &str, cancel: &Arc<Cancel>) -> Result<Self> {
        let mut selection = selection.clone();
        if let Some(sources) = selection.sources() {
            if sources.is_empty() {
                return Err(Error::new(ErrorKind::InvalidInput, "no app is selected: see Selection::all"));
            }
            let sources: Result<Vec<_>> =
                sources.iter().map(|source| checked_guid(source).map(str::to_owned)).collect();
            selection = selection.with_sources(sources?);
        }
        let random = || format!("{}-{:016x}", env!("CARGO_PKG_NAME"), RandomState::new().build_hasher().finish());
        let shard_id = selection.shard_id().map_or_else(random, str::to_owned);
        if shard_id.is_empty() || shard_id.contains(char::is_control) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a shard id must not be empty or contain control characters",
            ));
        }
        let (token, cancel) = (token.to_owned(), Arc::clone(cancel));
        let stream = Stream { start, selection: Arc::new(selection), shard_id, token, cancel };
        if !matches!(start, Start::Tail) {
            stream.stored_sources()?;
        }
        Ok(stream)
    }

    /// Returns the sources to read from Log Cache.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the selection is one that Log Cache does not have.
    fn stored_sources(&self) -> Result<&[String]> {
        let invalid = |text| Err(Error::new(ErrorKind::InvalidInput, text));
        match (self.selection.sources(), self.selection.shard_id()) {
            (Some(sources), None) => Ok(sources),
            (None, _) => invalid(
                "Log Cache has no firehose: name the sources (see Selection::apps), or use Consumer::stream over another server",
            ),
            (Some(_), Some(_)) => invalid("Log Cache does not share envelopes between readers: see Selection::shard"),
        }
    }

    /// Returns the call for one of the sources.
    fn live(&self, source: &str) -> Live {
        let (selected, token, cancel) =
            (polling::selected(&self.selection), self.token.clone(), Arc::clone(&self.cancel));
        Live { start: self.start, app_guid: source.to_owned(), selected, token, cancel, returned: Arc::default() }
    }

    /// Returns the stream of one of several sources.
    fn of_one(&self, source: &str, cancel: &Arc<Cancel>) -> Self {
        let selection = Selection::clone(&self.selection).with_sources(vec![source.to_owned()]);
        Stream {
            start: self.start,
            selection: Arc::new(selection),
            shard_id: self.shard_id.clone(),
            token: self.token.clone(),
            cancel: Arc::clone(cancel),
        }
    }

    fn purpose(&self) -> Purpose {
        match (self.start, self.selection.sources(), self.selection.shard_id()) {
            (Start::Follow | Start::Since(_), ..) => Purpose::FollowStream,
            (Start::Tail, None, _) if !doppler::carries(&self.selection) => Purpose::FirehoseWithoutDoppler,
            (Start::Tail, None, _) => Purpose::Firehose,
            (Start::Tail, Some(_), None) if !doppler::carries(&self.selection) => Purpose::StreamWithoutDoppler,
            (Start::Tail, Some(_), None) if self.selection.has(EnvelopeType::Log) => Purpose::Stream,
            (Start::Tail, Some(_), None) => Purpose::StreamWithoutLogs,
            (Start::Tail, Some(_), Some(_)) => Purpose::SharedStream,
        }
    }

    /// The source that a token is renewed for.
    fn first_source(&self) -> &str {
        self.selection.sources().and_then(|sources| sources.first()).map_or("", String::as_str)
    }
}

impl Inner {
    /// Connects to the source of a stream.
    pub(super) fn connect_stream(self: &Arc<Self>, stream: &Stream) -> Result<Box<dyn LiveSource<Envelope>>> {
        let purpose = match (stream.start, self.tail_via) {
            (Start::Tail, Some(via)) => Purpose::TailVia(via),
            _ => stream.purpose(),
        };
        let sources = stream.selection.sources().unwrap_or_default();
        self.authorized_for_each(purpose, sources, &stream.token, &stream.cancel, |choice, token, finds_rejected| {
            let opened = self.open_stream(stream, choice.via(), choice.endpoint(), token, finds_rejected)?;
            // Of several sources, Doppler has a stream for each, which is watched on its own.
            let is_one_stream = choice.via() == Via::RlpGateway || choice.via() == Via::Doppler && sources.len() == 1;
            if !(is_one_stream && purpose.may_be_polled()) {
                return Ok(opened);
            }
            let (lives, selection) = (sources.iter().map(|source| stream.live(source)).collect(), &stream.selection);
            let selecting = {
                let selection = Arc::clone(selection);
                move |source| PollingSource::selecting(source, &selection)
            };
            Ok(self.watched(opened, lives, selecting, &stream.cancel))
        })
    }

    fn open_stream(
        self: &Arc<Self>,
        stream: &Stream,
        via: Via,
        server: &Endpoint,
        token: &str,
        finds_rejected: bool,
    ) -> Result<Box<dyn LiveSource<Envelope>>> {
        let selection = &stream.selection;
        let (requester, timeouts) = (self.requester(&stream.cancel), self.stream_timeouts());
        let call = |app_guid| Call { requester, client: None, server, app_guid, token, timeouts };
        let explain_source = |error| match selection.sources() {
            Some([source]) => explain(error, source),
            _ => error,
        };
        match (via, selection.sources(), selection.shard_id()) {
            (Via::RlpGateway, ..) => {
                rlp_gateway::stream(&call(""), selection, Format::Gateway.envelopes(selection), finds_rejected)
                    .map_err(explain_source)
            }
            (Via::Doppler, Some(_), Some(_)) => Err(unsuited("Doppler shares only the firehose")),
            (Via::Doppler, ..) if !doppler::carries(selection) => Err(unsuited(doppler::LACKS)),
            (Via::Doppler, None, _) => {
                doppler::firehose(&call(""), selection, &stream.shard_id, Format::Doppler.envelopes(selection))
            }
            (Via::Doppler, Some([source]), None) => {
                doppler::tail(&call(source), Format::Doppler.envelopes(selection)).map_err(explain_source)
            }
            (Via::Doppler, Some(sources), None) => self.open_each(sources, &stream.cancel, |source, cancel| {
                let (inner, stream) = (Arc::clone(self), stream.of_one(source, cancel));
                move || inner.connect_stream(&stream)
            }),
            (Via::Legacy, ..) => Err(unsuited("the legacy Traffic Controller has only log messages")),
            (Via::LogCache, ..) => self.poll_stream(stream, server, token),
        }
    }

    /// Opens a source that polls Log Cache for envelopes.
    fn poll_stream(
        self: &Arc<Self>,
        stream: &Stream,
        server: &Endpoint,
        token: &str,
    ) -> Result<Box<dyn LiveSource<Envelope>>> {
        let open = |source: &str, polling: Polling, client: &Arc<Client>, token: &str| {
            let source = self.poll_with(&stream.live(source), polling, client, server, token)?;
            Ok(PollingSource::selecting(source, &stream.selection))
        };
        let sources = stream.stored_sources()?;
        if !stream.selection.has(EnvelopeType::Log) {
            self.check_that_metrics_are_held(stream, server, token)?;
        }
        match sources {
            [source] => {
                let client = Arc::new(self.requester(&stream.cancel).client(server));
                let opened = open(source, self.settings.polling, &client, token);
                Ok(Box::new(opened.map_err(|error| explain(error, source))?))
            }
            sources => self.poll_each(sources, &stream.token, &stream.cancel, server, token, open),
        }
    }

    /// Korifi answers a request for gauges with those of this moment, whatever the time is that is asked for. To the engine
    /// this would be a store that drops everything again and again.
    fn check_that_metrics_are_held(&self, stream: &Stream, server: &Endpoint, token: &str) -> Result<()> {
        let (requester, timeouts) = (self.requester(&stream.cancel), self.polling_timeouts());
        let call = Call { requester, client: None, server, app_guid: stream.first_source(), token, timeouts };
        // A server that does not tell its version is no Korifi, or the next request fails, too.
        let is_korifi = queries::info(&call).is_ok_and(|info| info.version.ends_with(KORIFI));
        let text = "Korifi holds only logs: see Consumer::metrics";
        if is_korifi { Err(Error::new(ErrorKind::InvalidInput, text)) } else { Ok(()) }
    }
}

/// How the version of Korifi's Log Cache ends (`api/handlers/log_cache.go`).
const KORIFI: &str = "+cf-k8s";

fn unsuited(why: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("{why}: Consumer::stream needs the RLP gateway (see Builder::tail_via)"),
    )
}
