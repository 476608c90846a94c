//! Opens the source of a stream of envelopes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use super::inner::{Inner, explain};
use crate::envelope::Envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::endpoint::Endpoint;
use crate::selection::Selection;
use crate::server::app_guid::checked_guid;
use crate::server::call::Call;
use crate::server::foundation::{Purpose, Via};
use crate::server::source::LiveSource;
use crate::server::{doppler, rlp_gateway};
use crate::wire::format::Format;

/// A stream of the envelopes of a selection.
pub(super) struct Stream {
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
    /// [`ErrorKind::InvalidInput`] if no source is selected, or what cannot be the id of one.
    pub(super) fn new(selection: &Selection, token: &str, cancel: &Arc<Cancel>) -> Result<Self> {
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
        Ok(Stream { selection: Arc::new(selection), shard_id, token: token.to_owned(), cancel: Arc::clone(cancel) })
    }

    /// Returns the stream of one of several sources.
    fn of_one(&self, source: &str, cancel: &Arc<Cancel>) -> Self {
        let selection = Selection::clone(&self.selection).with_sources(vec![source.to_owned()]);
        Stream {
            selection: Arc::new(selection),
            shard_id: self.shard_id.clone(),
            token: self.token.clone(),
            cancel: Arc::clone(cancel),
        }
    }

    fn purpose(&self) -> Purpose {
        match (self.selection.sources(), self.selection.shard_id()) {
            (None, _) => Purpose::Firehose,
            (Some(_), None) => Purpose::Stream,
            (Some(_), Some(_)) => Purpose::SharedStream,
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
        let purpose = self.tail_via.map_or(stream.purpose(), Purpose::TailVia);
        let requester = self.requester(&stream.cancel);
        self.authorized(stream.first_source(), &stream.token, &stream.cancel, |token| {
            self.foundation.with_server(purpose, requester, None, |choice| {
                self.open_stream(stream, choice.via(), choice.endpoint(), &choice.via().token(token))
            })
        })
    }

    fn open_stream(
        self: &Arc<Self>,
        stream: &Stream,
        via: Via,
        server: &Endpoint,
        token: &str,
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
                rlp_gateway::stream(&call(""), selection, Format::Gateway.envelopes(selection)).map_err(explain_source)
            }
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
            (Via::Doppler, Some(_), Some(_)) => Err(unsuited("Doppler shares only the firehose")),
            (Via::Legacy, ..) => Err(unsuited("the legacy Traffic Controller has only log messages")),
            (Via::LogCache, ..) => Err(unsuited("Log Cache has no stream")),
        }
    }
}

fn unsuited(why: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("{why}: Consumer::stream needs the RLP gateway (see Builder::tail_via)"),
    )
}
