//! [`Inner`]: what the clones of a consumer share. It opens the source that a call reads.

use std::convert::identity;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::auth::cf_cli::TargetPlace;
use crate::auth::token_source::is_no_replacement;
use crate::auth::{TokenSource, normalised};
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::deadline::{ReadTimeouts, after};
use crate::net::dial::Dialer;
use crate::net::endpoint::Endpoint;
use crate::net::http::{Client, Pool};
use crate::net::registry::{Registration, Registry};
use crate::recent::Recent;
use crate::server::app_guid::explain_guid;
use crate::server::app_names::{App, AppNames, Wanted};
use crate::server::call::{Call, Requester};
use crate::server::foundation::{Foundation, Purpose, Via};
use crate::server::joined::{Beginning, JoinedStream, Returned};
use crate::server::learned::Learned;
use crate::server::log_cache::engine::{Next, Start, Stored};
use crate::server::log_cache::polling::{self, Answer, PollingSource};
use crate::server::log_cache::requests::Readable;
use crate::server::source::{LiveSource, RecentSource};
use crate::server::{doppler, legacy, log_cache, rlp_gateway};
use crate::settings::{Polling, Settings};
use crate::tail::{Reconnector, Tail};
use crate::wire::format::Format;

/// How long the recent messages may take that are joined with a stream. A server waits longer for the pong to its ping.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) dialer: Arc<Dialer>,
    pub(super) pool: Arc<Pool>,
    pub(super) foundation: Foundation,
    pub(super) learned: Learned,
    /// The error is that of calls that need them.
    pub(super) tokens: Result<Option<TokenSource>>,
    /// `None`: tails are read from the best server.
    pub(super) tail_via: Option<Via>,
    /// Where apps are looked for by their names.
    pub(super) target: TargetPlace,
    pub(super) open: Arc<Registry>,
}

/// A live call for one app.
#[derive(Clone)]
pub(super) struct Live {
    /// Which messages it begins with.
    pub(super) start: Start,
    pub(super) app_guid: String,
    /// What Log Cache is asked for: the parameters for types and names of envelopes.
    pub(super) selected: String,
    /// The caller's token. Empty: the consumer's own tokens are used.
    pub(super) token: String,
    pub(super) cancel: Arc<Cancel>,
    /// What it has returned, if its stream is joined with the recent messages.
    pub(super) returned: Arc<Mutex<Returned>>,
}

impl Live {
    /// A call for log messages.
    pub(super) fn of_logs(start: Start, app_guid: &str, token: &str, cancel: &Arc<Cancel>) -> Self {
        let (app_guid, selected, token) = (app_guid.to_owned(), polling::LOGS.to_owned(), token.to_owned());
        Live { start, app_guid, selected, token, cancel: Arc::clone(cancel), returned: Arc::default() }
    }
}

impl Inner {
    pub(super) fn requester<'a>(&'a self, cancel: &'a Arc<Cancel>) -> Requester<'a> {
        Requester { dialer: &self.dialer, pool: &self.pool, settings: &self.settings, learned: &self.learned, cancel }
    }

    pub(super) fn tail_purpose(&self) -> Purpose {
        self.tail_via.map_or(Purpose::Tail, Purpose::TailVia)
    }

    /// Opens a tail whose connections `connect` makes.
    pub(super) fn open_tail<T: Send + 'static>(
        self: &Arc<Self>,
        connect: impl Fn() -> Result<Box<dyn LiveSource<T>>> + Send + Sync + 'static,
        cancel: &Arc<Cancel>,
        registration: Option<Registration>,
    ) -> Result<Tail<T>> {
        let source = connect()?;
        let reconnector = self.settings.reconnect.map(|policy| {
            let inner = Arc::clone(self);
            let connected = move || inner.settings.connected();
            Reconnector { policy, connect: Box::new(connect), connected: Box::new(connected) }
        });
        Tail::spawn(source, &self.settings, reconnector, Arc::clone(cancel), registration)
    }

    /// Connects to the source of a live call.
    pub(super) fn connect(self: &Arc<Self>, live: &Live) -> Result<Box<dyn LiveSource>> {
        let purpose = if let Start::Tail = live.start { self.tail_purpose() } else { Purpose::Follow };
        let requester = self.requester(&live.cancel);
        self.authorized(&live.app_guid, &live.token, &live.cancel, |token| {
            self.foundation.with_server(purpose, requester, None, |choice| {
                let token = &*choice.via().token(token);
                match choice.via() {
                    Via::LogCache => self.poll(live, choice.endpoint(), token),
                    via if purpose == Purpose::Follow => self.joined(live, via, choice.endpoint(), token),
                    via if purpose == Purpose::Tail => self
                        .stream(live, via, choice.endpoint(), token)
                        .map(|stream| self.watched(stream, vec![live.clone()], identity, &live.cancel)),
                    via => self.stream(live, via, choice.endpoint(), token),
                }
                .map_err(|error| explain(error, &live.app_guid))
            })
        })
    }

    fn stream(&self, live: &Live, via: Via, server: &Endpoint, token: &str) -> Result<Box<dyn LiveSource>> {
        let (requester, timeouts) = (self.requester(&live.cancel), self.stream_timeouts());
        let call = Call { requester, client: None, server, app_guid: &live.app_guid, token, timeouts };
        match via {
            Via::Legacy => legacy::tail(&call),
            Via::Doppler => doppler::tail(&call, Format::Doppler.decoder()),
            Via::RlpGateway | Via::LogCache => rlp_gateway::tail(&call),
        }
    }

    /// Returns the timeouts of a stream of the RLP gateway, which is one HTTP response. Websockets are timed by the reader
    /// thread.
    pub(super) fn stream_timeouts(&self) -> ReadTimeouts {
        ReadTimeouts { idle: self.settings.idle_timeout.unwrap_or(rlp_gateway::IDLE_TIMEOUT), deadline: None }
    }

    /// Opens a stream, and joins it with the recent messages of the same server.
    fn joined(&self, live: &Live, via: Via, server: &Endpoint, token: &str) -> Result<Box<dyn LiveSource>> {
        let stream = self.stream(live, via, server, token)?;
        let Settings { read_timeout, recent_timeout, max_recent_size, .. } = self.settings;
        // Nobody reads the stream meanwhile.
        let deadline = Some(after(recent_timeout.min(JOIN_TIMEOUT)));
        let timeouts = ReadTimeouts { idle: read_timeout, deadline };
        let (requester, app_guid) = (self.requester(&live.cancel), &*live.app_guid);
        let call = Call { requester, client: None, server, app_guid, token, timeouts };
        let recent = if let Via::Legacy = via { legacy::recent(&call) } else { doppler::recent(&call) };
        let recent = recent.and_then(|source| {
            Recent::new(source, timeouts, Arc::clone(&live.cancel), None).collect_all(max_recent_size)
        });
        let beginning = match live.start {
            Start::Since(since) => Beginning::Since(since),
            Start::Tail | Start::Follow => Beginning::Newest(self.settings.recent_limit),
        };
        Ok(Box::new(JoinedStream::new(stream, recent, beginning, &live.returned)?))
    }

    /// Opens a source that polls Log Cache.
    fn poll(self: &Arc<Self>, live: &Live, server: &Endpoint, token: &str) -> Result<Box<dyn LiveSource>> {
        let client = Arc::new(self.requester(&live.cancel).client(server));
        let source: PollingSource = self.poll_with(live, self.settings.polling, &client, server, token)?;
        Ok(Box::new(source))
    }

    /// Opens a source that polls Log Cache with this client.
    pub(super) fn poll_with<T: Readable + Stored + 'static>(
        self: &Arc<Self>,
        live: &Live,
        polling: Polling,
        client: &Arc<Client>,
        server: &Endpoint,
        token: &str,
    ) -> Result<PollingSource<T>> {
        let timeouts = self.polling_timeouts();
        // A joined stream may have returned messages before it broke, and Log Cache is back.
        let start = live.returned.lock().next_time().map_or(live.start, Start::Since);
        let first = |next| {
            let requester = self.requester(&live.cancel);
            let call = Call { requester, client: Some(client), server, app_guid: &live.app_guid, token, timeouts };
            polling::read(&call, &live.selected, next)
        };
        let further = self.further_polls(live, server, Arc::clone(client));
        PollingSource::open(&self.settings, polling, start, &live.cancel, first, Box::new(further))
    }

    /// Returns the timeouts of each request to Log Cache. The head of its response has the connect timeout.
    pub(super) fn polling_timeouts(&self) -> ReadTimeouts {
        ReadTimeouts { idle: self.settings.read_timeout, deadline: None }
    }

    /// Returns the function that makes further requests, in the tail's thread.
    pub(super) fn further_polls<T: Readable + Stored>(
        self: &Arc<Self>,
        live: &Live,
        server: &Endpoint,
        client: Arc<Client>,
    ) -> impl Fn(Next) -> Result<Answer<T>> + use<T> {
        let (inner, live, server) = (Arc::clone(self), live.clone(), server.clone());
        let timeouts = self.polling_timeouts();
        move |next| {
            let Live { app_guid, selected, token, cancel, .. } = &live;
            inner.authorized(app_guid, token, cancel, |token| {
                let token = &*Via::LogCache.token(token);
                let (requester, client) = (inner.requester(cancel), Some(&*client));
                polling::read(&Call { requester, client, server: &server, app_guid, token, timeouts }, selected, next)
            })
        }
    }

    /// Requests an app's recent messages.
    pub(super) fn recent(
        &self,
        app_guid: &str,
        given_token: &str,
        timeouts: ReadTimeouts,
        deadline: Option<Instant>,
        cancel: &Arc<Cancel>,
    ) -> Result<Box<dyn RecentSource>> {
        let requester = self.requester(cancel);
        self.authorized(app_guid, given_token, cancel, |token| {
            self.foundation.with_server(Purpose::Recent, requester, deadline, |choice| {
                let token = &*choice.via().token(token);
                let call = Call { requester, client: None, server: choice.endpoint(), app_guid, token, timeouts };
                match choice.via() {
                    Via::Legacy => legacy::recent(&call),
                    Via::Doppler => doppler::recent(&call),
                    Via::LogCache | Via::RlpGateway => log_cache::recent(&call),
                }
                .map_err(|error| explain(error, app_guid))
            })
        })
    }

    /// Asks the API for an app.
    pub(super) fn app(&self, wanted: &Wanted<'_>, given_token: &str, cancel: &Arc<Cancel>) -> Result<App> {
        let requester = self.requester(cancel);
        let api = self.foundation.api(requester)?;
        // The API is no app, but what a token was accepted for.
        self.authorized(&api.0.to_string(), given_token, cancel, |token| {
            AppNames::new(requester, api, &normalised(token)).find(wanted, &self.target)
        })
    }

    /// Makes a call with the caller's token, or else with one of the consumer's own. If the server rejects the
    /// consumer's own, makes the call once more with a renewed token.
    pub(super) fn authorized<T>(
        &self,
        app_guid: &str,
        given: &str,
        cancel: &Arc<Cancel>,
        call: impl Fn(&str) -> Result<T>,
    ) -> Result<T> {
        let attempt = |token: &str| call(token).map_err(|error| error.hiding(token));
        if !given.is_empty() {
            return attempt(given);
        }
        let Some(tokens) = self.tokens.as_ref().map_err(Error::clone)? else { return attempt(given) };
        let attempt = |token: &str| attempt(token).inspect(|_| tokens.accepted(token, app_guid));
        let token = tokens.token(&self.dialer, cancel)?;
        match attempt(&token) {
            Err(error) if error.kind() == ErrorKind::Unauthorized => {
                match self.renewed(&token, app_guid, cancel)? {
                    Some(renewed) => attempt(&renewed),
                    // The server's message says more than that there is no other token.
                    None => Err(error),
                }
            }
            result => result,
        }
    }

    /// Returns another token in place of one of the consumer's own, which a server has rejected for an app. Returns
    /// `None` if there is no other one, or if it would hardly help.
    pub(super) fn renewed(&self, rejected: &str, app_guid: &str, cancel: &Arc<Cancel>) -> Result<Option<String>> {
        log::debug!("the server rejected a token");
        let Some(tokens) = self.tokens.as_ref().map_err(Error::clone)? else { return Ok(None) };
        match tokens.replace(rejected, app_guid, &self.dialer, cancel) {
            Ok(renewed) => Ok(Some(renewed)),
            Err(missing) if is_no_replacement(&missing) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Notes that a server has accepted one of the consumer's own tokens for an app.
    pub(super) fn accepted(&self, token: &str, app_guid: &str) {
        if let Ok(Some(tokens)) = &self.tokens {
            tokens.accepted(token, app_guid);
        }
    }
}

/// Adds a hint to a server's error if the app was not given by a GUID. A router has not looked at it.
pub(super) fn explain(error: Error, app_guid: &str) -> Error {
    if error.is_from_router() { error } else { explain_guid(error, app_guid) }
}
