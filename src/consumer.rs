//! [`Consumer`]: an app's logs from a foundation, through the best of its servers.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::auth::token_source::is_no_replacement;
use crate::auth::{TokenSource, check};
use crate::builder::Builder;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::deadline::{ReadTimeouts, after};
use crate::net::dial::Dialer;
use crate::net::registry::Registry;
use crate::recent::Recent;
use crate::server::app_guid::explain_guid;
use crate::server::call::{Call, Requester};
use crate::server::foundation::{Choice, Foundation, Via};
use crate::server::source::LiveSource;
use crate::server::{doppler, legacy, log_cache, rlp_gateway};
use crate::settings::Settings;
use crate::tail::{Reconnector, Tail};

/// An app's logs: [`tail`](Consumer::tail) them, or get the [`recent`](Consumer::recent) ones.
///
/// Where from depends on the foundation, which is Cloud Foundry's word for one installation of it:
///
/// | made by | for | `tail` | `recent` |
/// |---|---|---|---|
/// | [`Consumer::discover`] | any foundation | the best it has | the best it has |
/// | [`Consumer::from_cf_cli`] | the foundation that `cf` is logged in to | the best it has | the best it has |
/// | [`Consumer::new`] | a foundation of 2013 to 2016 | legacy `/tail/` | legacy `/recent` |
/// | [`Builder::new`] | servers whose addresses one knows | what is given | what is given |
///
/// Making one by `new` or by a builder connects to nothing. A consumer can be cloned and shared between threads: the
/// clones are one consumer, whose [`close`](Consumer::close) closes what any of them has open.
///
/// ```no_run
/// use loggregator_consumer::Consumer;
///
/// let consumer = Consumer::discover("https://api.example.com")?;
/// let (app, token) = ("11111111-1111-1111-1111-111111111111", "bearer eyJ...");
/// for message in consumer.recent(app, token)? {
///     println!("{message}");
/// }
/// for message in consumer.tail(app, token)? {
///     println!("{}", message?);
/// }
/// # Ok::<(), loggregator_consumer::Error>(())
/// ```
#[derive(Clone)]
pub struct Consumer {
    inner: Arc<Inner>,
}

/// What a consumer's clones share.
struct Inner {
    settings: Settings,
    dialer: Arc<Dialer>,
    foundation: Foundation,
    tokens: Option<TokenSource>,
    open: Arc<Registry>,
}

impl Consumer {
    pub(crate) fn assemble(
        settings: Settings,
        dialer: Dialer,
        foundation: Foundation,
        tokens: Option<TokenSource>,
    ) -> Consumer {
        let inner = Inner { settings, dialer: Arc::new(dialer), foundation, tokens, open: Arc::default() };
        Consumer { inner: Arc::new(inner) }
    }

    /// A consumer of the legacy server at `endpoint`, such as `wss://loggregator.example.com:443`: of a foundation of
    /// 2013 to September 2016, as the Go package `loggregator_consumer` is. For a later one see
    /// [`discover`](Consumer::discover).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the endpoint is no `ws://` or `wss://` URL.
    pub fn new(endpoint: &str) -> Result<Consumer> {
        Consumer::builder(endpoint).build()
    }

    /// [`new`](Consumer::new) with settings of one's own.
    pub fn builder(endpoint: &str) -> Builder {
        Builder::new().legacy(endpoint)
    }

    /// A consumer of the foundation whose API is at `api`, such as `https://api.example.com`: it asks the API where
    /// the logs are, and takes the best there is. [`tail_choice`](Consumer::tail_choice) and
    /// [`recent_choice`](Consumer::recent_choice) tell what that is.
    ///
    /// Blocks for the [connect timeout](Builder::connect_timeout) at the most. For settings of one's own see
    /// [`Builder::api`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if `api` is no `http://` or `https://` URL; the errors of a request, if the API
    /// can't be asked; [`ErrorKind::BadResponse`] if it is no Cloud Foundry API, or names no server of logs.
    pub fn discover(api: &str) -> Result<Consumer> {
        let consumer = Builder::new().api(api).build()?;
        consumer.tail_choice()?;
        Ok(consumer)
    }

    /// A consumer of the foundation that the `cf` command line is logged in to, with its tokens and its setting of
    /// whether certificates are verified: see [`Builder::cf_cli`]. Give an empty `auth_token` to its calls.
    ///
    /// ```no_run
    /// use loggregator_consumer::Consumer;
    ///
    /// for message in Consumer::from_cf_cli()?.recent("11111111-1111-1111-1111-111111111111", "")? {
    ///     println!("{message}");
    /// }
    /// # Ok::<(), loggregator_consumer::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthorized`] if nobody is logged in, [`ErrorKind::InvalidInput`] if the file of the session can't
    /// be read.
    pub fn from_cf_cli() -> Result<Consumer> {
        Builder::new().cf_cli()?.build()
    }

    /// Connects to the stream of an app's messages.
    ///
    /// `auth_token` is what goes into the `Authorization` header, so it begins with `bearer `; `cf oauth-token`
    /// prints such a token. If it is empty the consumer's own [tokens](Builder::tokens) are used, which can be
    /// refreshed; without them no such header is sent. (So a service that passes its users' tokens on had better have
    /// no tokens of its own, or refuse empty ones.)
    ///
    /// Blocks until the connection is there, for the [connect timeout](Builder::connect_timeout) at the most (and
    /// again for a discovery, or a new token). [`close`](Consumer::close) interrupts it. Then one or two threads read
    /// the connection and keep it alive until the [`Tail`] is closed or dropped.
    ///
    /// # Errors
    ///
    /// [`Unauthorized`](ErrorKind::Unauthorized) if the server refuses the token, with its words;
    /// [`NotFound`](ErrorKind::NotFound) if it has no such path or app, as far as it tells that from a refused token;
    /// [`Dial`](ErrorKind::Dial), [`Proxy`](ErrorKind::Proxy), [`Tls`](ErrorKind::Tls) or
    /// [`Timeout`](ErrorKind::Timeout) if it can't be reached; [`InvalidInput`](ErrorKind::InvalidInput) for an empty
    /// GUID, or a token that is no header value; [`Closed`](ErrorKind::Closed) if the consumer was closed meanwhile.
    pub fn tail(&self, app_guid: &str, auth_token: &str) -> Result<Tail> {
        check(auth_token)?;
        let (cancel, registration) = self.inner.open.register();
        let connect = {
            let (inner, app_guid, auth_token) = (Arc::clone(&self.inner), app_guid.to_owned(), auth_token.to_owned());
            let cancel = Arc::clone(&cancel);
            move || inner.connect_tail(&app_guid, &auth_token, &cancel)
        };
        let source = connect()?;
        let reconnector = self.inner.settings.reconnect.map(|policy| {
            let inner = Arc::clone(&self.inner);
            let connected = move || inner.settings.connected();
            Reconnector { policy, connect: Box::new(connect), connected: Box::new(connected) }
        });
        let tail = Tail::spawn(source, &self.inner.settings, reconnector, Arc::clone(&cancel), registration)?;
        // Only now: the callback may take its time, panic or close this tail, and the threads keep the connection alive
        // and close it.
        self.inner.settings.connected();
        cancel.check().map(|()| tail)
    }

    /// Gets the messages that the server holds of an app, in the server's order:
    /// [`sort_recent`](crate::sort_recent) sorts them by time. From Log Cache these are the newest
    /// [`recent_limit`](Builder::recent_limit) of them, oldest first; other servers give what they have.
    ///
    /// `auth_token` is the one of [`tail`](Consumer::tail). Blocks until the response is complete, and is bounded in
    /// time by the [connect timeout](Builder::connect_timeout), the [read timeout](Builder::read_timeout) and the
    /// [recent timeout](Builder::recent_timeout), and in size by [`max_recent_size`](Builder::max_recent_size).
    /// [`close`](Consumer::close) interrupts it.
    ///
    /// A part of the response that is no log message is skipped, with a warning in the log.
    ///
    /// # Errors
    ///
    /// Those of [`tail`](Consumer::tail), and [`BadResponse`](ErrorKind::BadResponse) if the response is none that a
    /// loggregator server gives; [`Truncated`](ErrorKind::Truncated), [`Timeout`](ErrorKind::Timeout) or
    /// [`TooLarge`](ErrorKind::TooLarge) if it was not complete: then [`Error::recovered`] has what came.
    pub fn recent(&self, app_guid: &str, auth_token: &str) -> Result<Vec<LogMessage>> {
        let Settings { recent_timeout, max_recent_size, .. } = self.inner.settings;
        self.open_recent(app_guid, auth_token, Some(after(recent_timeout)))?.collect_all(max_recent_size)
    }

    /// [`recent`](Consumer::recent), giving each message as soon as it has come. No more than one message is held at
    /// a time, so neither [`max_recent_size`](Builder::max_recent_size) nor the
    /// [recent timeout](Builder::recent_timeout) applies. Only Log Cache, which gives the newest first, has to be
    /// read to the end before there is a first message: of these as many are held as
    /// [`recent_limit`](Builder::recent_limit) and [`max_recent_size`](Builder::max_recent_size) allow.
    ///
    /// ```
    /// # use loggregator_consumer::{testing::TrafficController, LogMessage, Proxy};
    /// # let server = TrafficController::start()?;
    /// # server.add_recent("app-guid", [LogMessage::new("app-guid", "hello")]);
    /// # let consumer = loggregator_consumer::Consumer::builder(&server.endpoint()).proxy(Proxy::none()).build()?;
    /// for message in consumer.recent_iter("app-guid", "bearer token")? {
    ///     println!("{}", message?);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`recent`](Consumer::recent); the ones that come after the first message are the iterator's.
    pub fn recent_iter(&self, app_guid: &str, auth_token: &str) -> Result<Recent> {
        self.open_recent(app_guid, auth_token, None)
    }

    fn open_recent(&self, app_guid: &str, auth_token: &str, deadline: Option<Instant>) -> Result<Recent> {
        check(auth_token)?;
        let timeouts = ReadTimeouts { idle: self.inner.settings.read_timeout, deadline };
        let (cancel, registration) = self.inner.open.register();
        let requester = self.inner.requester(&cancel);
        let source = self.inner.authorized(app_guid, auth_token, &cancel, |token| {
            let choice = self.inner.foundation.recent(requester)?;
            let token = &*choice.via().token(token);
            let call = Call { requester, server: choice.endpoint(), app_guid, token, timeouts };
            match choice.via() {
                Via::Legacy => legacy::recent(&call),
                Via::Doppler => doppler::recent(&call),
                Via::LogCache | Via::RlpGateway => log_cache::recent(&call),
            }
        })?;
        Ok(Recent::new(source, timeouts, cancel, registration))
    }

    /// Where [`tail`](Consumer::tail) reads from, and why. Asks the API first if that has not been done; that blocks
    /// for the [connect timeout](Builder::connect_timeout) at the most, and [`close`](Consumer::close) interrupts it.
    ///
    /// # Errors
    ///
    /// Those of [`discover`](Consumer::discover); [`ErrorKind::InvalidInput`] if no address is known that fits.
    pub fn tail_choice(&self) -> Result<Choice> {
        let (cancel, _registration) = self.inner.open.register();
        self.inner.foundation.tail(self.inner.requester(&cancel))
    }

    /// Where [`recent`](Consumer::recent) reads from, and why: see [`tail_choice`](Consumer::tail_choice).
    ///
    /// # Errors
    ///
    /// Those of [`tail_choice`](Consumer::tail_choice).
    pub fn recent_choice(&self) -> Result<Choice> {
        let (cancel, _registration) = self.inner.open.register();
        self.inner.foundation.recent(self.inner.requester(&cancel))
    }

    /// Closes all that this consumer and its clones have open: tails, calls that are still connecting, and calls of
    /// [`recent`](Consumer::recent). Does not wait for it: the tails end within 0.1 s, the calls at once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotConnected`] if nothing is open.
    pub fn close(&self) -> Result<()> {
        if self.inner.open.cancel_all() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::NotConnected, "connection does not exist"))
        }
    }
}

impl Inner {
    fn requester<'a>(&'a self, cancel: &'a Arc<Cancel>) -> Requester<'a> {
        Requester { dialer: &self.dialer, settings: &self.settings, cancel }
    }

    fn connect_tail(&self, app_guid: &str, auth_token: &str, cancel: &Arc<Cancel>) -> Result<Box<dyn LiveSource>> {
        // Used by the RLP gateway, whose stream is one HTTP response. The reader thread times websockets.
        let idle = self.settings.idle_timeout.unwrap_or(rlp_gateway::IDLE_TIMEOUT);
        let timeouts = ReadTimeouts { idle, deadline: None };
        let requester = self.requester(cancel);
        self.authorized(app_guid, auth_token, cancel, |token| {
            let choice = self.foundation.tail(requester)?;
            let token = &*choice.via().token(token);
            let call = Call { requester, server: choice.endpoint(), app_guid, token, timeouts };
            match choice.via() {
                Via::Legacy => legacy::tail(&call),
                Via::Doppler => doppler::tail(&call),
                Via::RlpGateway | Via::LogCache => rlp_gateway::tail(&call),
            }
        })
    }

    /// Makes a call with the token that was given for it, or with one of the consumer's own: then once more, with a
    /// new one, if the server refuses it.
    fn authorized<T>(
        &self,
        app_guid: &str,
        given: &str,
        cancel: &Arc<Cancel>,
        call: impl Fn(&str) -> Result<T>,
    ) -> Result<T> {
        let attempt = |token: &str| call(token).map_err(|error| explain_guid(error.hiding(token), app_guid));
        let Some(tokens) = self.tokens.as_ref().filter(|_| given.is_empty()) else { return attempt(given) };
        let token = tokens.token(None, &self.dialer, cancel)?;
        match attempt(&token) {
            Err(error) if error.kind() == ErrorKind::Unauthorized => {
                log::debug!("a token was refused, getting another");
                match tokens.token(Some(&token), &self.dialer, cancel) {
                    Ok(other) => attempt(&other),
                    // The server's words say more than that there is no other token.
                    Err(no_other) if is_no_replacement(&no_other) => Err(error),
                    Err(failure) => Err(failure),
                }
            }
            result => result,
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("foundation", &self.inner.foundation)
            .field("dialer", &self.inner.dialer)
            .finish_non_exhaustive()
    }
}
