//! [`Builder`]: the settings of a consumer.

use std::fmt;
use std::time::Duration;

use native_tls::TlsConnector;

use crate::auth::TokenSource;
use crate::auth::cf_cli::CfCli;
use crate::consumer::Consumer;
use crate::error::{Error, ErrorKind, Result};
use crate::net::debug::DebugPrinter;
use crate::net::dial::{Dialer, Proxy};
use crate::net::endpoint::{Endpoint, Scheme};
use crate::server::foundation::{Addresses, Foundation};
use crate::settings::{Reconnect, Settings};

const LARGEST_MESSAGE_SIZE: usize = 1 << 30;

/// The settings of a [`Consumer`].
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
    settings: Settings,
}

impl Builder {
    /// The defaults, and no address: give at least one of [`api`](Builder::api), [`cf_cli`](Builder::cf_cli),
    /// [`doppler`](Builder::doppler), [`log_cache`](Builder::log_cache), [`rlp_gateway`](Builder::rlp_gateway) and
    /// [`legacy`](Builder::legacy). An address that is given by hand is taken instead of the
    /// API's; but a better server, of which only the API tells, is preferred to it. Without an API, only the given ones
    /// are used.
    pub fn new() -> Self {
        Builder::default()
    }

    /// The address of the foundation's API, such as `https://api.example.com`, to be asked for the addresses of its
    /// logs when the first of them is needed.
    pub fn api(mut self, url: &str) -> Self {
        self.api = Some(url.to_owned());
        self
    }

    /// The address of a Traffic Controller that speaks Doppler's protocol, such as `wss://doppler.example.com:443`:
    /// every foundation since 2014 has one. Tails are read from it, and recent messages if there is no Log Cache.
    pub fn doppler(mut self, url: &str) -> Self {
        self.doppler = Some(url.to_owned());
        self
    }

    /// The address of Log Cache, such as `https://log-cache.example.com`: every foundation since 2018 has one. Recent
    /// messages are read from it.
    pub fn log_cache(mut self, url: &str) -> Self {
        self.log_cache = Some(url.to_owned());
        self
    }

    /// The address of the RLP gateway, such as `https://log-stream.example.com`: every foundation since 2018 has one.
    /// Tails are read from it if there is no [`doppler`](Builder::doppler), which is preferred: it says when it cuts
    /// a slow reader off, where the gateway drops messages silently, and it does not end streams after 14 minutes.
    pub fn rlp_gateway(mut self, url: &str) -> Self {
        self.rlp_gateway = Some(url.to_owned());
        self
    }

    /// The address of a Traffic Controller of 2013 to September 2016, such as `wss://loggregator.example.com:443`.
    pub fn legacy(mut self, url: &str) -> Self {
        self.legacy = Some(url.to_owned());
        self
    }

    /// The session of the `cf` command line: the addresses, tokens and TLS setting of the foundation that it is
    /// logged in to, from `$CF_HOME/.cf/config.json` (`CF_HOME` is the home folder if it is not set). The file is read
    /// now, and again before a token is refreshed, for `cf` may have done that; it is never written.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthorized`] if nobody is logged in, [`ErrorKind::InvalidInput`] if the file can't be read.
    pub fn cf_cli(mut self) -> Result<Self> {
        let session = CfCli::read()?;
        if session.skip_tls_validation {
            let connector = TlsConnector::builder().danger_accept_invalid_certs(true).build();
            let connector = connector
                .map_err(|cause| Error::caused(ErrorKind::Tls, "setting TLS up without verification", cause))?;
            self.tls_connector = Some(connector);
        }
        self.api = Some(session.target.clone());
        self.doppler = session.doppler.clone();
        self.log_cache = session.log_cache.clone();
        self.tokens = Some(session.into_tokens()?);
        Ok(self)
    }

    /// Where tokens come from for calls that are given an empty one. A tail that [connects again](Builder::reconnect)
    /// after hours needs this, for the token of then has expired.
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

    /// Has tails connect again when their connection ends, however the server ends it: see [`Reconnect`]. By default
    /// they end with it.
    pub fn reconnect(mut self, policy: Reconnect) -> Self {
        self.settings.reconnect = Some(policy);
        self
    }

    /// How many messages [`recent`](Consumer::recent) gets from Log Cache: the newest ones. By default 1000, which is
    /// as much as one request gets; for more, several are made.
    pub fn recent_limit(mut self, messages: usize) -> Self {
        self.settings.recent_limit = messages;
        self
    }

    /// How TLS is made, for `wss://` and `https://` servers, the UAA, and `https://` proxies: which certificates are
    /// trusted, with which one's own. By default the system's certificates are, with TLS 1.2 or later.
    pub fn tls_connector(mut self, c: TlsConnector) -> Self {
        self.tls_connector = Some(c);
        self
    }

    /// Through which proxy the servers are reached. By default [`Proxy::from_env`].
    pub fn proxy(mut self, p: Proxy) -> Self {
        self.proxy = Some(p);
        self
    }

    /// How often a tail over a websocket sends the text that keeps its connection. By default every 25 s, and first at
    /// once.
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.settings.keep_alive = every;
        self
    }

    /// How often a tail over a websocket sends a pong that no ping asked for. By default every 10 s.
    ///
    /// Servers give a client 30 s to answer a ping, and take any pong for the answer (seen on those of 2015, 2016 and
    /// today): so a tail whose caller pauses, and which therefore does not read the server's pings, is not cut off.
    pub fn pong_every(mut self, every: Duration) -> Self {
        self.settings.pong_every = every;
        self
    }

    /// How long it may take to connect, from name resolution to the end of the answer's head, with the proxy and TLS
    /// in between. By default 10 s.
    pub fn connect_timeout(mut self, d: Duration) -> Self {
        self.settings.connect_timeout = d;
        self
    }

    /// After how long a silence, pings and heartbeats included, a tail ends with
    /// [`Ending::TimedOut`](crate::Ending::TimedOut). By default after a minute on the RLP gateway, which sends a
    /// heartbeat every 15 s, and on Doppler, which pings as often; and never on the legacy servers, of which those of
    /// 2014 are silent for as long as an app is.
    pub fn idle_timeout(mut self, d: Duration) -> Self {
        self.settings.idle_timeout = Some(d);
        self
    }

    /// How long the server may be silent in the middle of the recent messages. By default 30 s.
    pub fn read_timeout(mut self, d: Duration) -> Self {
        self.settings.read_timeout = d;
        self
    }

    /// How long [`Consumer::recent`] may take in all. By default 5 minutes.
    pub fn recent_timeout(mut self, d: Duration) -> Self {
        self.settings.recent_timeout = d;
        self
    }

    /// The largest message, in bytes as they come over the wire, that is accepted. By default 16 MiB. A larger one
    /// ends a tail with [`Ending::TooLarge`](crate::Ending::TooLarge), and the recent messages with
    /// [`ErrorKind::TooLarge`].
    ///
    /// In the JSON of Log Cache and of the RLP gateway a message takes a third more than its own bytes, and what the
    /// gateway sends at a time, up to 100 messages, counts as one.
    ///
    /// It can be 1 GiB at the most, because there must be room for a message as soon as a server announces it.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.settings.max_message_size = bytes.min(LARGEST_MESSAGE_SIZE);
        self
    }

    /// How large, in bytes of memory, the messages that [`Consumer::recent`] collects may be in all; from Log Cache,
    /// also those of [`Consumer::recent_iter`]. By default 256 MiB. More of them is an [`ErrorKind::TooLarge`].
    pub fn max_recent_size(mut self, bytes: usize) -> Self {
        self.settings.max_recent_size = bytes;
        self
    }

    /// A function to be called when a tail has been connected, in the thread that called [`tail`](Consumer::tail),
    /// before `tail` returns; and each time that it is [connected again](Builder::reconnect), then in a thread of the
    /// tail. It may close the consumer. If it panics, so does `tail`, and a tail that connects again ends.
    ///
    /// [`recent`](Consumer::recent) calls it too if it has to use a websocket: on the servers of April 2014.
    pub fn on_connect(mut self, f: impl Fn() + Send + Sync + 'static) -> Self {
        self.settings.on_connect = Some(Box::new(f));
        self
    }

    /// Who gets the websocket handshakes to print. By default nobody.
    pub fn debug_printer(mut self, p: impl DebugPrinter + 'static) -> Self {
        self.settings.debug_printer = Some(Box::new(p));
        self
    }

    /// The consumer with these settings. Connects to nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if there is no address, or one is no URL of its scheme, or keep-alives or pongs have
    /// no time between them.
    pub fn build(self) -> Result<Consumer> {
        let parse = |url: Option<String>, scheme| url.map(|url| Endpoint::parse(&url, scheme)).transpose();
        let foundation = Foundation::new(
            parse(self.api, Scheme::Http)?,
            Addresses {
                legacy: parse(self.legacy, Scheme::WebSocket)?,
                doppler: parse(self.doppler, Scheme::WebSocket)?,
                log_cache: parse(self.log_cache, Scheme::Http)?,
                rlp_gateway: parse(self.rlp_gateway, Scheme::Http)?,
            },
        )?;
        if self.settings.keep_alive.is_zero() || self.settings.pong_every.is_zero() {
            return Err(Error::new(ErrorKind::InvalidInput, "keep-alives and pongs need some time between them"));
        }
        let dialer = Dialer::new(self.tls_connector, self.proxy.unwrap_or_default());
        Ok(Consumer::assemble(self.settings, dialer, foundation, self.tokens))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The addresses are not parsed yet, and may hold a password by mistake.
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}
