//! [`Builder`]: sets up a consumer.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use native_tls::TlsConnector;

use crate::auth::TokenSource;
use crate::auth::cf_cli::{CfCli, TargetPlace};
use crate::consumer::Consumer;
use crate::error::{Error, ErrorKind, Result};
use crate::net::debug::DebugPrinter;
use crate::net::dial::{Dialer, Proxy};
use crate::net::endpoint::{Endpoint, Scheme};
use crate::server::foundation::{Addresses, Foundation, Via};
use crate::settings::{Polling, Reconnect, Settings};

/// The upper bound of `max_message_size`, because room for a message is made as soon as a server announces its size.
const LARGEST_MESSAGE_SIZE: usize = 1 << 30;

/// Sets up a [`Consumer`].
///
/// It needs at least one address: [`api`](Builder::api), [`cf_cli`](Builder::cf_cli), [`doppler`](Builder::doppler),
/// [`log_cache`](Builder::log_cache), [`rlp_gateway`](Builder::rlp_gateway) or [`legacy`](Builder::legacy). An address
/// that is set by hand replaces the one that the API, or the session of `cf`, names. If the API names a better server,
/// that server is used instead: see [`Consumer`](Consumer#which-server-is-used). Without an API only the addresses set
/// by hand are used.
///
/// ```
/// use std::time::Duration;
/// use loggregator_consumer::{Builder, Proxy, Reconnect};
///
/// let consumer = Builder::new()
///     .api("https://api.example.com")
///     .proxy(Proxy::none())
///     .connect_timeout(Duration::from_secs(3))
///     .reconnect(Reconnect::default())
///     .on_connect(|| eprintln!("connected"))
///     .build()?;
/// # Ok::<(), loggregator_consumer::Error>(())
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    api: Option<String>,
    legacy: Option<String>,
    doppler: Option<String>,
    log_cache: Option<String>,
    rlp_gateway: Option<String>,
    tokens: Option<TokenSource>,
    tls_connector: Option<TlsConnector>,
    proxy: Option<Proxy>,
    cf_session: Option<CfSession>,
    danger_allow_plain_servers: bool,
    tail_via: Option<Via>,
    settings: Settings,
}

/// What `cf_cli` has read. What the caller sets by hand comes before it.
struct CfSession {
    api: String,
    doppler: Option<String>,
    log_cache: Option<String>,
    tokens: TokenSource,
    tls_connector: Option<TlsConnector>,
    target: TargetPlace,
}

impl Builder {
    /// Creates a builder with default settings and no address.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Sets the address of the foundation's API, such as `https://api.example.com`.
    ///
    /// The API is asked when the first address is needed, and again when a server that it named cannot be reached: see
    /// [`Consumer`](Consumer#which-server-is-used). Its root names the servers, on old foundations `/v2/info` does.
    /// Both requests together take at most the [connect timeout](Builder::connect_timeout). [`Consumer::app`] asks it, too,
    /// and sends the token to it.
    ///
    /// An API at an `https://` address may not name servers at `ws://` or `http://` addresses, because they would get
    /// the token in the clear: see [`danger_allow_plain_servers`](Builder::danger_allow_plain_servers).
    pub fn api(mut self, url: &str) -> Self {
        self.api = Some(url.to_owned());
        self
    }

    /// Sets the address of a Traffic Controller that speaks Doppler's protocol, such as
    /// `wss://doppler.example.com:443`.
    ///
    /// Foundations since 2014 have one, unless their operator has switched it off. Tails are read from it, and if there is
    /// no Log Cache, recent messages, too.
    pub fn doppler(mut self, url: &str) -> Self {
        self.doppler = Some(url.to_owned());
        self
    }

    /// Sets the address of Log Cache, such as `https://log-cache.example.com`.
    ///
    /// Every foundation since 2018 has one. [`recent`](Consumer::recent) and [`follow`](Consumer::follow) read from it, and
    /// tails where no stream gives messages.
    pub fn log_cache(mut self, url: &str) -> Self {
        self.log_cache = Some(url.to_owned());
        self
    }

    /// Sets the address of the RLP gateway, such as `https://log-stream.example.com`.
    ///
    /// Foundations since 2018 have one, unless their operator has switched it off. Tails are read from it only if there is no
    /// address of [Doppler](Builder::doppler), which is preferred for two reasons: it cuts a slow reader off, which is an error,
    /// instead of dropping messages silently; and it does not end a stream after 14 minutes.
    ///
    /// | | Doppler | RLP gateway |
    /// |---|---|---|
    /// | protocol | websocket | HTTP: one endless response of server-sent events |
    /// | ends a stream by itself | no | after 14 minutes by default, with [`Ending::Closing`](crate::Ending::Closing) |
    /// | when the caller is too slow | cuts the connection: an error | drops messages silently |
    /// | sign of life | a ping every 15 s | a heartbeat every 15 s |
    /// | default [idle timeout](Builder::idle_timeout) | 60 s | 60 s |
    ///
    /// Behind a proxy that does not support websockets, set only addresses that use HTTP. Do not set an
    /// [API](Builder::api), because it would name Doppler:
    ///
    /// ```
    /// use loggregator_consumer::{Builder, Via};
    ///
    /// let consumer = Builder::new()
    ///     .log_cache("https://log-cache.example.com")
    ///     .rlp_gateway("https://log-stream.example.com")
    ///     .build()?;
    /// assert_eq!(consumer.tail_choice()?.via(), Via::RlpGateway);
    /// # Ok::<(), loggregator_consumer::Error>(())
    /// ```
    pub fn rlp_gateway(mut self, url: &str) -> Self {
        self.rlp_gateway = Some(url.to_owned());
        self
    }

    /// Sets the address of a legacy Traffic Controller (2013 to September 2016), such as
    /// `wss://loggregator.example.com:443`.
    pub fn legacy(mut self, url: &str) -> Self {
        self.legacy = Some(url.to_owned());
        self
    }

    /// Uses the session of the `cf` CLI: the addresses, the tokens and the TLS setting of the foundation that it is
    /// logged in to, and the space that `cf target` has set, in which [`Consumer::app`] looks for apps.
    ///
    /// They are read from `$CF_HOME/.cf/config.json` (in the home folder if `CF_HOME` is not set). The file is read by
    /// this call, and again before a token is renewed, because `cf` may have renewed it. The file is never written: see
    /// [`TokenSource::cf_cli`]. After `cf login --skip-ssl-validation` certificates are not verified here either.
    ///
    /// What is set by hand, before or after this call, comes before the session: addresses, [tokens](Builder::tokens)
    /// and the [TLS connector](Builder::tls_connector).
    ///
    /// If another [API](Builder::api) is set by hand, nothing of the session is used, because it belongs to another
    /// foundation: not its addresses, its tokens or its space, and certificates are verified. Then a call needs a token of its
    /// own, or [tokens](Builder::tokens) set by hand; without them it fails with [`ErrorKind::InvalidInput`], and
    /// nothing is sent. If both addresses are the same foundation, say so with `.tokens(TokenSource::cf_cli()?)`.
    /// (Upper and lower case in the host and the scheme's default port make no other API.)
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthorized`] if nobody is logged in, [`ErrorKind::InvalidInput`] if the file cannot be read.
    pub fn cf_cli(self) -> Result<Self> {
        self.with_session(CfCli::read()?)
    }

    /// Uses the session of the `cf` CLI that is kept at `path`: [`cf_cli`](Builder::cf_cli) without an environment
    /// variable, for tests and for tools with several sessions.
    ///
    /// `path` is either a directory, the one to which `CF_HOME` would be set, or the file itself:
    /// `<directory>/.cf/config.json`.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    /// use loggregator_consumer::{Builder, Proxy};
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// let home = std::env::temp_dir().join(format!("cf-cli-from-{}", std::process::id()));
    /// server.cf_home(&home)?; // in place of `cf login`
    /// let consumer = Builder::new().cf_cli_from(&home)?.proxy(Proxy::none()).build()?;
    /// assert!(consumer.recent("11111111-1111-1111-1111-111111111111", "")?.is_empty());
    /// # std::fs::remove_dir_all(home)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`cf_cli`](Builder::cf_cli). A path that does not exist is nobody's session.
    pub fn cf_cli_from(self, path: impl AsRef<Path>) -> Result<Self> {
        self.with_session(CfCli::read_at(path.as_ref())?)
    }

    fn with_session(mut self, session: CfCli) -> Result<Self> {
        self.cf_session = Some(CfSession::new(session)?);
        Ok(self)
    }

    /// Sets the source of tokens for calls that get an empty `auth_token`.
    ///
    /// A tail that [reconnects](Builder::reconnect) after hours needs this, because the token of the first connection
    /// has expired by then.
    ///
    /// | [`TokenSource`] | token |
    /// |---|---|
    /// | [`fixed(token)`](TokenSource::fixed) | always the same |
    /// | [`from_fn(f)`](TokenSource::from_fn) | what the function returns; it gets the token that was rejected |
    /// | [`uaa(Uaa::new(url).refresh_token(t))`](crate::Uaa::refresh_token) | a user's, from the UAA |
    /// | [`uaa(Uaa::new(url).password(name, password))`](crate::Uaa::password) | a user's, from the UAA, also when the refresh token has expired |
    /// | [`uaa(Uaa::new(url).client(id, secret))`](crate::Uaa::client) | a service's own, from the UAA |
    /// | [`cf_cli()`](TokenSource::cf_cli) | that of the session of the `cf` CLI, from its file and from the UAA |
    ///
    /// A token that is a JWT is renewed before it expires. Any token is renewed once when a server rejects it: with
    /// 401, or with the 404 that Log Cache and the RLP gateway return for every bad token. Only one renewal runs at a
    /// time, however many calls wait for it.
    ///
    /// ```
    /// use loggregator_consumer::{Builder, TokenSource, Uaa};
    ///
    /// let service = Uaa::new("https://uaa.example.com").client("my-service", "its secret");
    /// let consumer = Builder::new().api("https://api.example.com").tokens(TokenSource::uaa(service)?).build()?;
    /// # Ok::<(), loggregator_consumer::Error>(())
    /// ```
    pub fn tokens(mut self, tokens: TokenSource) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Makes tails reconnect when the server or the network ends their connection. Default: a tail ends with its
    /// connection.
    ///
    /// Each break is one item of the tail, an error of the kind [`Gap`](ErrorKind::Gap), because messages may be
    /// missing there. It comes when the tail is connected again, and says when it broke and when that was; or just before
    /// the error that ends the tail, if it could not be connected again. [`Reconnect`] has the pauses, the number of
    /// attempts, and which rejections end the tail, after how many. A [close](Consumer::close) ends it at any time.
    ///
    /// This does not cover the first connection: [`tail`](Consumer::tail) returns its error, so that a wrong address or
    /// token is not retried for ever. [`Error::is_transient`] says which errors are worth another call, and shows it.
    /// (The first request of [`follow`](Consumer::follow) is the same.)
    ///
    /// ```
    /// use loggregator_consumer::{Builder, Error, ErrorKind, Reconnect, TokenSource};
    ///
    /// fn follow_for_hours(api: &str, tokens: TokenSource, app: &str) -> Result<(), Error> {
    ///     let consumer = Builder::new().api(api).tokens(tokens).reconnect(Reconnect::default()).build()?;
    ///     for message in consumer.tail(app, "")? {
    ///         match message {
    ///             Ok(message) => println!("{message}"),
    ///             // `as_gap` returns the time and the ending.
    ///             Err(error) if error.kind() == ErrorKind::Gap => eprintln!("messages may be missing here: {error}"),
    ///             Err(error) if error.kind() == ErrorKind::Undecodable => eprintln!("{error}"),
    ///             // Reconnecting cannot help: the token is rejected for good, or the app is gone.
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     Ok(()) // closed locally
    /// }
    /// ```
    ///
    /// To fill a gap, call [`recent`](Consumer::recent) when it comes, and leave out what the tail has returned before or
    /// returns afterwards: see the example `fill_gaps`. [`follow`](Consumer::follow) does all of that.
    pub fn reconnect(mut self, policy: Reconnect) -> Self {
        self.settings.reconnect = Some(policy);
        self
    }

    /// Makes [`tail`](Consumer::tail) read from this kind of server, and from no other: neither while it has no route, nor
    /// if its stream is mute. By default it reads from the [best one](Consumer#which-server-is-used).
    ///
    /// Use [`Via::LogCache`] for a foundation whose streams give the messages of some apps only (`disable_logs` of some of
    /// the platform's agents): the tail polls Log Cache. With [`Via::Doppler`] or [`Via::RlpGateway`], Log Cache is not read
    /// beside the stream. `recent` and `follow` are not affected.
    ///
    /// ```
    /// # use loggregator_consumer::testing::{Generation, TrafficController};
    /// # use loggregator_consumer::Proxy;
    /// use loggregator_consumer::{Builder, Via};
    ///
    /// # let server = TrafficController::of(Generation::Today)?;
    /// # let api = server.api();
    /// let consumer = Builder::new().api(&api).tail_via(Via::LogCache).proxy(Proxy::none()).build()?;
    /// assert_eq!(consumer.tail_choice()?.via(), Via::LogCache);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tail_via(mut self, via: Via) -> Self {
        self.tail_via = Some(via);
        self
    }

    /// Sets how a tail over Log Cache polls: how often, how late a message may be, and in which order messages come.
    /// [`Polling`] has the defaults, and what each setting costs.
    pub fn polling(mut self, polling: Polling) -> Self {
        self.settings.polling = polling;
        self
    }

    /// Sets how many messages [`recent`](Consumer::recent) reads from Log Cache, newest first. Default: 1000.
    ///
    /// One request returns at most 1000. For more, several pages are read. Messages that share a timestamp with the
    /// edge of a page are neither lost nor duplicated.
    pub fn recent_limit(mut self, messages: usize) -> Self {
        self.settings.recent_limit = messages;
        self
    }

    /// Sets the TLS connector for `wss://` and `https://` servers, the UAA and `https://` proxies: which certificates
    /// are trusted, and which client certificate is sent. Default: the certificates that the system trusts, TLS 1.2 or
    /// later.
    ///
    /// To trust another certificate, or to skip the checks, build a [`TlsConnector`]:
    ///
    /// ```no_run
    /// use loggregator_consumer::Builder;
    /// use loggregator_consumer::native_tls::{Certificate, TlsConnector};
    ///
    /// let ca = Certificate::from_pem(&std::fs::read("foundation-ca.pem")?)?;
    /// let tls = TlsConnector::builder().add_root_certificate(ca).build()?;
    /// let consumer = Builder::new().api("https://api.example.com").tls_connector(tls).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tls_connector(mut self, c: TlsConnector) -> Self {
        self.tls_connector = Some(c);
        self
    }

    /// Allows servers without TLS to an API that has TLS, and a UAA without TLS to servers that have it. Default:
    /// false.
    ///
    /// **Dangerous**: a server at a `ws://` or `http://` address gets the token in the clear, and a UAA at an `http://`
    /// address gets the refresh token or the client's secret in the clear. Everybody on the way can read them, and can
    /// act as their owner. Use it only if the network on the way is trusted.
    ///
    /// Without this setting, such a server is not used. Often the [next choice](Consumer#which-server-is-used) is used
    /// instead, which [`Choice::why`](crate::Choice::why) tells. Only where there is none, a call that needs the server
    /// fails with [`ErrorKind::BadResponse`] and names the address. [`build`](Builder::build) rejects such a UAA.
    ///
    /// It is not needed for a server whose `ws://` or `http://` address is set on this builder, or if the API itself
    /// has an `http://` address.
    pub fn danger_allow_plain_servers(mut self, allow: bool) -> Self {
        self.danger_allow_plain_servers = allow;
        self
    }

    /// Sets the proxy. Default: [`Proxy::from_env`].
    ///
    /// It is an HTTP or a SOCKS5 proxy. It is always asked for a tunnel, also for `ws://` and `http://` servers. The
    /// servers of logs, the API and the UAA are all reached through it.
    ///
    /// ```
    /// use loggregator_consumer::{Builder, Proxy};
    ///
    /// let proxy = Proxy::url("http://user:password@proxy.example.com:3128")?;
    /// let consumer = Builder::new().api("https://api.example.com").proxy(proxy).build()?;
    /// # Ok::<(), loggregator_consumer::Error>(())
    /// ```
    pub fn proxy(mut self, p: Proxy) -> Self {
        self.proxy = Some(p);
        self
    }

    /// Sets the interval at which a tail over a websocket sends a keep-alive text. Default: 25 s. The first is sent at
    /// once.
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.settings.keep_alive = every;
        self
    }

    /// Sets how often a tail over a websocket sends an unsolicited pong while it does not read, because its caller pauses.
    /// Default: 10 s. A tail that reads answers pings itself.
    ///
    /// Servers give a client 30 s to answer a ping, and accept any pong as the answer (observed on servers of 2015,
    /// 2016 and today). So a tail whose caller pauses is not cut off for that. A Doppler of today still cuts it off if the
    /// pause is long and the app logs much.
    pub fn pong_every(mut self, every: Duration) -> Self {
        self.settings.pong_every = every;
        self
    }

    /// Sets the timeout for connecting: DNS, TCP, proxy, TLS and the response head together. Default: 10 s.
    ///
    /// Each connection of a call has this time. Asking the [API](Builder::api) has it, too, both of its requests
    /// together. The methods of [`Consumer`] say which of these a call makes.
    pub fn connect_timeout(mut self, d: Duration) -> Self {
        self.settings.connect_timeout = d;
        self
    }

    /// Sets how long a tail may receive nothing before it ends with [`Ending::TimedOut`](crate::Ending::TimedOut).
    /// Default: 60 s on Doppler and the RLP gateway, none on legacy servers.
    ///
    /// Pings and heartbeats count. Doppler pings every 15 s, and the RLP gateway sends a heartbeat every 15 s. Legacy
    /// servers since 2015 ping every 15 s, too, so there 60 s is a good value. Those of 2014 never ping, and are silent
    /// for as long as the app is.
    pub fn idle_timeout(mut self, d: Duration) -> Self {
        self.settings.idle_timeout = Some(d);
        self
    }

    /// Sets how long the server may send nothing in the middle of recent messages, or of another response that is read to
    /// its end. Default: 30 s.
    pub fn read_timeout(mut self, d: Duration) -> Self {
        self.settings.read_timeout = d;
        self
    }

    /// Sets the timeout of a whole call of [`Consumer::recent`], [`metrics`](Consumer::metrics),
    /// [`meta`](Consumer::meta), [`info`](Consumer::info) or [`query`](Consumer::query). Default: 5 minutes.
    ///
    /// It covers asking the [API](Builder::api) and all requests for messages. Only a new token is not covered: see
    /// [`Uaa::timeout`](crate::Uaa::timeout).
    pub fn recent_timeout(mut self, d: Duration) -> Self {
        self.settings.recent_timeout = d;
        self
    }

    /// Sets the size limit of one message, in bytes on the wire. Default: 16 MiB.
    ///
    /// A larger message ends a tail with [`Ending::TooLarge`](crate::Ending::TooLarge), and `recent` with
    /// [`ErrorKind::TooLarge`].
    ///
    /// The JSON of Log Cache and the RLP gateway carries messages in base64, which takes a third more bytes. The RLP
    /// gateway sends up to 100 messages in one event, and an event may have four times this size.
    ///
    /// The maximum is 1 GiB, and larger values mean 1 GiB, because room for a message is made as soon as a server
    /// announces its size.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.settings.max_message_size = bytes.min(LARGEST_MESSAGE_SIZE);
        self
    }

    /// Sets the size limit of all messages that [`Consumer::recent`] collects, in bytes of memory. Default: 256 MiB.
    ///
    /// From Log Cache it applies to [`Consumer::recent_iter`], too, to a page of [`read`](Consumer::read), to what
    /// [`metrics`](Consumer::metrics) reads, and to the bytes of the response of [`meta`](Consumer::meta) and
    /// [`query`](Consumer::query). That of a query may have 16 MiB at most. Beyond it the call fails with [`ErrorKind::TooLarge`].
    pub fn max_recent_size(mut self, bytes: usize) -> Self {
        self.settings.max_recent_size = bytes;
        self
    }

    /// Sets a function that is called each time a tail has connected.
    ///
    /// The first call is made in the thread that called [`tail`](Consumer::tail), before `tail` returns. After a
    /// [reconnect](Builder::reconnect) it is called in a thread of the tail. The function may close the consumer. If it
    /// panics, `tail` panics; in a thread of the tail, the tail ends.
    ///
    /// [`recent`](Consumer::recent) also calls it where it uses a websocket: on servers of April 2014.
    pub fn on_connect(mut self, f: impl Fn() + Send + Sync + 'static) -> Self {
        self.settings.on_connect = Some(Box::new(f));
        self
    }

    /// Sets a printer for the websocket handshakes. Default: none.
    pub fn debug_printer(mut self, p: impl DebugPrinter + 'static) -> Self {
        self.settings.debug_printer = Some(Box::new(p));
        self
    }

    /// Builds the consumer, without connecting to anything.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if no address is set, if an address is not a URL of its scheme, if
    /// [`keep_alive`](Builder::keep_alive) or [`pong_every`](Builder::pong_every) is zero, or if tokens come from a UAA
    /// at an `http://` address while a server or the API has TLS (see
    /// [`danger_allow_plain_servers`](Builder::danger_allow_plain_servers)).
    pub fn build(self) -> Result<Consumer> {
        let allows_plain = self.danger_allow_plain_servers;
        let parse = |url: Option<String>, scheme| url.map(|url| Endpoint::parse(&url, scheme)).transpose();
        let given = Addresses {
            legacy: parse(self.legacy, Scheme::WebSocket)?,
            doppler: parse(self.doppler, Scheme::WebSocket)?,
            log_cache: parse(self.log_cache, Scheme::Http)?,
            rlp_gateway: parse(self.rlp_gateway, Scheme::Http)?,
        };
        let given_api = self.api.map(|url| Endpoint::parse_api(&url)).transpose()?;
        let (no_addresses, no_target) = (Addresses::default(), TargetPlace::default());
        let (api, known, tokens, tls_connector, target) = match self.cf_session {
            None => (given_api, no_addresses, Ok(self.tokens), self.tls_connector, no_target),
            Some(session) => match (given_api, Endpoint::parse_api(&session.api)) {
                (Some(given), own) if own.as_ref().ok() != Some(&given) => {
                    let no_tokens = session_of_another_api(own.as_ref().ok(), &given);
                    let tokens = self.tokens.map_or(Err(no_tokens), |tokens| Ok(Some(tokens)));
                    (Some(given), no_addresses, tokens, self.tls_connector, no_target)
                }
                (given, own) => {
                    let api = given.map_or(own, Ok)?;
                    let known = session.addresses(&api, allows_plain);
                    let tls_connector = self.tls_connector.or(session.tls_connector);
                    (Some(api), known, Ok(self.tokens.or(Some(session.tokens))), tls_connector, session.target)
                }
            },
        };
        let foundation = Foundation::new(given, api, known, allows_plain)?;
        if self.settings.keep_alive.is_zero() || self.settings.pong_every.is_zero() {
            return Err(Error::new(ErrorKind::InvalidInput, "keep_alive and pong_every must be longer than zero"));
        }
        if let Ok(Some(tokens)) = &tokens
            && let Some(uaa) = tokens.uaa_endpoint()
            && !uaa.secure
            && foundation.uses_tls()
            && !allows_plain
        {
            let text = format!(
                "the UAA {uaa} has no TLS and would get secrets in the clear, while the log servers have TLS (see \
                 Builder::danger_allow_plain_servers)"
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let dialer = Dialer::new(tls_connector, self.proxy.unwrap_or_default());
        Ok(Consumer::assemble(self.settings, dialer, foundation, tokens, self.tail_via, target))
    }
}

/// The error of calls that would send the tokens of `cf` to another foundation, whose API is `given`. `own` is that of
/// the session.
fn session_of_another_api(own: Option<&Endpoint>, given: &Endpoint) -> Error {
    let own = own.map_or_else(|| "another API".to_owned(), Endpoint::to_string);
    let text = format!(
        "the session of cf is for {own} and not for {given}, so its tokens are not sent there: pass a token to the \
         call, or set the source of tokens with Builder::tokens (TokenSource::cf_cli() if both are the same foundation)"
    );
    Error::new(ErrorKind::InvalidInput, text)
}

impl CfSession {
    fn new(session: CfCli) -> Result<Self> {
        let connector = || {
            let connector = TlsConnector::builder().danger_accept_invalid_certs(true).build();
            connector.map_err(|cause| Error::caused(ErrorKind::Tls, "setting up TLS without verification", cause))
        };
        Ok(CfSession {
            api: session.target.clone(),
            doppler: session.doppler.clone(),
            log_cache: session.log_cache.clone(),
            tls_connector: session.skip_tls_validation.then(connector).transpose()?,
            target: session.place.clone(),
            tokens: session.into_tokens()?,
        })
    }

    /// Returns the servers' addresses. `cf` got them from the API. One that cannot be used is left out, because the API
    /// is asked then.
    fn addresses(&self, api: &Endpoint, allows_plain: bool) -> Addresses {
        let parse = |url: &Option<String>, scheme| {
            let url = url.as_deref()?;
            let usable = Endpoint::parse(url, scheme).ok().filter(|it| it.secure || !api.secure || allows_plain);
            if usable.is_none() {
                log::warn!("an address in the session of cf cannot be used, asking the API for it");
            }
            usable
        };
        Addresses {
            doppler: parse(&self.doppler, Scheme::WebSocket),
            log_cache: parse(&self.log_cache, Scheme::Http),
            ..Addresses::default()
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The addresses have not been parsed yet, and may contain a password by mistake.
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_session_that_cannot_be_used_is_left_out() {
        let session = |doppler: &str| CfSession {
            api: "https://api.example.com".to_owned(),
            doppler: Some(doppler.to_owned()),
            log_cache: None,
            tokens: TokenSource::fixed("bearer x"),
            tls_connector: None,
            target: TargetPlace::default(),
        };
        for (api, doppler, allows_plain, is_used) in [
            ("https://api.example.com", "wss://doppler.example.com", false, true),
            ("https://api.example.com", "doppler.example.com", false, false),
            ("https://api.example.com", "ws://doppler.example.com", false, false),
            ("https://api.example.com", "ws://doppler.example.com", true, true),
            ("http://api.example.com", "ws://doppler.example.com", false, true),
        ] {
            let addresses = session(doppler).addresses(&Endpoint::parse_api(api).unwrap(), allows_plain);
            assert_eq!(addresses.doppler.is_some(), is_used, "{doppler}");
        }
    }
}
