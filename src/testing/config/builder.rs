//! [`TrafficControllerBuilder`]: configures a [`TrafficController`](crate::testing::TrafficController).
//!
//! Its method `start` is defined beside the `TrafficController`, because imports go down only.

use std::net::SocketAddr;
use std::time::Duration;

use super::generation::Generation;
use super::settings::{BodyFraming, EqualTimes, PingSettings, Settings, SlowReader};
use super::spaces::Space;

/// Configures and starts a [`TrafficController`](crate::testing::TrafficController).
///
/// ```
/// use std::time::Duration;
/// use loggregator_consumer::testing::{BodyFraming, Generation, TrafficController};
///
/// let server = TrafficController::builder()
///     .generation(Generation::Y2016)
///     .token("bearer secret")
///     .ping(Duration::from_millis(50), Duration::from_millis(100))
///     .body_framing(BodyFraming::Chunked)
///     .tls()
///     .start()?;
/// assert!(server.endpoint().starts_with("wss://127.0.0.1:"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// One of today's foundations, with short times for a test:
///
/// ```
/// use std::time::Duration;
/// use loggregator_consumer::testing::{EqualTimes, Generation, TrafficController};
///
/// let server = TrafficController::builder()
///     .generation(Generation::Today)
///     .token_life(Duration::from_secs(1))
///     .rotate_refresh_tokens()
///     .retain(100_000)
///     .equal_times(EqualTimes::Parted)
///     .largest_answer(1 << 20)
///     .heartbeat(Duration::from_millis(50))
///     .stream_timeout(Duration::from_secs(2))
///     .batch_window(Duration::from_millis(10))
///     .start()?;
/// assert!(server.api().starts_with("http://127.0.0.1:"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a builder does nothing until it is started"]
#[derive(Default)]
pub struct TrafficControllerBuilder {
    pub(crate) settings: Settings,
}

impl TrafficControllerBuilder {
    /// Sets which servers are imitated. Default: [`Generation::Y2015`].
    pub fn generation(mut self, generation: Generation) -> Self {
        self.settings.generation = generation;
        self
    }

    /// Sets where the server listens. Port 0 means a free one. Default: a free port of 127.0.0.1.
    ///
    /// ```
    /// use loggregator_consumer::testing::TrafficController;
    ///
    /// let server = TrafficController::start()?;
    /// let address = server.address();
    /// server.stop();
    /// // A new one, where clients of the old one look for it. See also `TrafficController::restart`.
    /// let server = TrafficController::builder().address(address).start()?;
    /// assert_eq!(server.address(), address);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn address(mut self, address: impl Into<SocketAddr>) -> Self {
        self.settings.address = address.into();
        self
    }

    /// Sets the port at which the server listens. Default: a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.settings.address.set_port(port);
        self
    }

    /// Serves TLS with the [built-in certificate](crate::testing::certificate_pem). The endpoint is then `wss://`.
    pub fn tls(mut self) -> Self {
        self.settings.tls = true;
        self
    }

    /// Accepts this `Authorization` (the whole header value, including `bearer `) in addition to those set before, and
    /// rejects all others as the real servers do. Default: any token is accepted. From [`Generation::LogCache1`] on, a
    /// request without a token is rejected in any case, as by all real servers; by default, those before accept it, but
    /// for lists of the API.
    ///
    /// The [tokens of the server's own UAA](crate::testing::TrafficController::issue_token) are always accepted until
    /// they expire. Only the legacy paths compare the case of `bearer`.
    pub fn token(self, token: impl Into<String>) -> Self {
        self.tokens([token])
    }

    /// Accepts each of these [tokens](TrafficControllerBuilder::token). With an empty list, and no tokens set before or
    /// after, every request is rejected.
    pub fn tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.tokens.get_or_insert_default().extend(tokens.into_iter().map(Into::into));
        self
    }

    /// Adds these GUIDs to the apps that exist. Every server answers requests for any other app as the real ones do: with
    /// 404, or, before 2016, as to a rejected token. Default: every app exists, but from [`Generation::LogCache1`] on its
    /// id must be a GUID.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    /// use loggregator_consumer::{Builder, ErrorKind, Proxy};
    ///
    /// const APP: &str = "11111111-1111-1111-1111-111111111111";
    /// const UNKNOWN: &str = "22222222-2222-2222-2222-222222222222";
    ///
    /// let server = TrafficController::builder().generation(Generation::Today).apps([APP]).start()?;
    /// let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
    /// let token = server.issue_token();
    /// assert!(consumer.recent(APP, &token)?.is_empty());
    /// assert_eq!(consumer.tail(UNKNOWN, &token).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apps(mut self, guids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.apps.get_or_insert_default().extend(guids.into_iter().map(Into::into));
        self
    }

    /// Adds an [app that exists](TrafficControllerBuilder::apps), with the name that the API has for it. The name of
    /// other apps is their GUID. It lies in the space that is the [target](TrafficControllerBuilder::target) of `cf`.
    pub fn app(mut self, guid: impl Into<String>, name: impl Into<String>) -> Self {
        let guid = guid.into();
        self.settings.app_names.insert(guid.clone(), name.into());
        self.apps([guid])
    }

    /// Adds an [app that exists](TrafficControllerBuilder::apps), with its name, in another space than the
    /// [target](TrafficControllerBuilder::target) of `cf`. The space is added, too, and its organization, if there is none
    /// of this name. [`space_guid`](crate::testing::TrafficController::space_guid) returns its GUID.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    /// use loggregator_consumer::{Builder, ErrorKind, Proxy};
    ///
    /// const DEV: &str = "11111111-1111-1111-1111-111111111111";
    /// const PROD: &str = "22222222-2222-2222-2222-222222222222";
    ///
    /// let server = TrafficController::builder()
    ///     .generation(Generation::Today)
    ///     .target("shop", "dev")
    ///     .app(DEV, "web")
    ///     .app_in(PROD, "web", "shop", "prod")
    ///     .start()?;
    /// let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
    /// let token = server.issue_token();
    /// assert_eq!(consumer.app_in("shop/prod", "web", &token)?.guid, PROD);
    /// assert_eq!(consumer.app("web", &token).unwrap_err().kind(), ErrorKind::Ambiguous);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn app_in(mut self, guid: impl Into<String>, name: impl Into<String>, organization: &str, space: &str) -> Self {
        let guid = guid.into();
        self.settings.spaces.apps.insert(guid.clone(), Space::new(organization, space));
        self.app(guid, name)
    }

    /// Sets the names of the organization and the space that are the target in the session of
    /// [`cf`](crate::testing::TrafficController::cf_home), and in which apps lie. Default: `org` and `space`.
    pub fn target(mut self, organization: &str, space: &str) -> Self {
        self.settings.spaces.target = Space::new(organization, space);
        self
    }

    /// Adds a client of the UAA. It gets tokens for `grant_type=client_credentials` and this secret. Default: there is
    /// only the client `cf`, which gets tokens for refresh tokens and passwords.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    /// use loggregator_consumer::{Builder, Proxy, TokenSource, Uaa};
    ///
    /// const APP: &str = "11111111-1111-1111-1111-111111111111";
    ///
    /// let server = TrafficController::builder().generation(Generation::Today).client("watcher", "secret").start()?;
    /// let tokens = TokenSource::uaa(Uaa::new(&server.api()).client("watcher", "secret"))?;
    /// let consumer = Builder::new().api(&server.api()).tokens(tokens).proxy(Proxy::none()).build()?;
    /// assert!(consumer.recent(APP, "")?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.settings.clients.push((id.into(), secret.into()));
        self
    }

    /// Adds a user of the UAA, who gets tokens for `grant_type=password`. Default: there is none.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.settings.users.push((name.into(), password.into()));
        self
    }

    /// Sets how websockets are pinged: at once, and then `every` after each pong. If no pong arrives within `deadline`
    /// of a ping, the websocket is closed. Any pong counts, even an unsolicited one. Defaults: 15 s and 30 s, as on the
    /// real servers. The generations of 2014 do not ping.
    pub fn ping(mut self, every: Duration, deadline: Duration) -> Self {
        self.settings.ping = PingSettings { interval: every, pong_timeout: deadline };
        self
    }

    /// Sets how the bodies of responses with recent messages end. Default: [`BodyFraming::ContentLength`].
    pub fn body_framing(mut self, framing: BodyFraming) -> Self {
        self.settings.body_framing = framing;
        self
    }

    /// Sets how many messages are kept for each app. When there are more, the oldest are dropped. They are what
    /// `/recent`, `/dump/`, `/recentlogs` and Log Cache return. Default: 1000.
    pub fn retain(mut self, messages: usize) -> Self {
        self.settings.retain = messages;
        self
    }

    /// Sets how many bytes may wait for a tail whose client does not read. When there are more,
    /// [`send`](crate::testing::TrafficController::send) blocks, unless
    /// [`slow_reader`](TrafficControllerBuilder::slow_reader) says otherwise. Up to about twice this number may be held
    /// in total, plus the buffers of the operating system. Default: 8 MiB.
    pub fn backlog(mut self, bytes: usize) -> Self {
        self.settings.backlog = bytes.max(1);
        self
    }

    /// Sets what happens to a tail whose client reads so slowly that more than the
    /// [backlog](TrafficControllerBuilder::backlog) waits. Default: [`SlowReader::Wait`].
    /// [`Fault::SlowReader`](crate::testing::Fault::SlowReader) sets it for one tail.
    pub fn slow_reader(mut self, slow_reader: SlowReader) -> Self {
        self.settings.slow_reader = Some(slow_reader);
        self
    }

    /// Lets each server treat slow readers as the real one does: Doppler [cuts them off](SlowReader::CutOff) after 5 s,
    /// the RLP gateway [drops](SlowReader::Drop) messages, and the servers until 2016
    /// [say so](SlowReader::DropAndTell). The real servers do so much sooner than with the default
    /// [backlog](TrafficControllerBuilder::backlog).
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    ///
    /// let server =
    ///     TrafficController::builder().generation(Generation::Today).real_slow_readers().backlog(64 << 10).start()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn real_slow_readers(mut self) -> Self {
        self.settings.slow_reader = None;
        self
    }

    /// Sets how long the [tokens of the server's UAA](crate::testing::TrafficController::issue_token) are valid.
    /// Default: 10 minutes. The tokens and the UAA's responses state this in whole seconds, rounded down, at least 1.
    pub fn token_life(mut self, life: Duration) -> Self {
        self.settings.token_life = life;
        self
    }

    /// Issues a new refresh token with each access token, and rejects the previous one from then on.
    pub fn rotate_refresh_tokens(mut self) -> Self {
        self.settings.rotate_refresh_tokens = true;
        self
    }

    /// Sets how many messages Log Cache keeps of each app. When there are more, those with the oldest times are dropped.
    /// Default: as many as [`retain`](TrafficControllerBuilder::retain) says. The real default is 100,000.
    pub fn max_per_source(mut self, messages: usize) -> Self {
        self.settings.max_per_source = Some(messages);
        self
    }

    /// Sets how long it takes until Log Cache returns a message. The streams send it at once. Default: zero. On the real
    /// servers it takes 0.2 to 0.5 s. See also [`send_late`](crate::testing::TrafficController::send_late).
    pub fn log_cache_delay(mut self, delay: Duration) -> Self {
        self.settings.log_cache_delay = Some(delay).filter(|delay| !delay.is_zero());
        self
    }

    /// Sets what Log Cache does with messages of equal timestamps. Default: [`EqualTimes::Together`].
    pub fn equal_times(mut self, equal_times: EqualTimes) -> Self {
        self.settings.equal_times = equal_times;
        self
    }

    /// Sets the maximum size of a response of Log Cache. Larger ones are replaced by status 429. Default: 50 MiB.
    pub fn largest_answer(mut self, bytes: usize) -> Self {
        self.settings.largest_answer = bytes;
        self
    }

    /// Sets how often an otherwise idle stream of the RLP gateway sends a heartbeat. Default: 15 s.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.settings.heartbeat = every;
        self
    }

    /// Sets the time after which the RLP gateway [closes](crate::testing::TrafficController::close_streams) a stream.
    /// Default: 14 minutes.
    pub fn stream_timeout(mut self, timeout: Duration) -> Self {
        self.settings.stream_timeout = timeout;
        self
    }

    /// Sets how many streams of the RLP gateway may be open at the same time. One more ends as soon as it has started.
    /// Default: no limit.
    pub fn most_streams(mut self, streams: usize) -> Self {
        self.settings.most_streams = Some(streams);
        self
    }

    /// Sets how long the RLP gateway collects messages before it sends them as one batch of at most 100. Default: zero,
    /// so every message is a batch. The real gateway waits 100 ms.
    pub fn batch_window(mut self, window: Duration) -> Self {
        self.settings.batch_window = window;
        self
    }

    /// Builds a foundation whose only server of logs is Log Cache: there is neither Doppler nor the RLP gateway, and the
    /// API's links to them are `null`. For [`Generation::Today`], whose operators can switch both off.
    pub fn log_cache_only(mut self) -> Self {
        self.settings.has_streams = false;
        self
    }

    /// Sends no logs to Doppler and the RLP gateway, as with `disable_logs` of the agents: both accept tails, ping and
    /// send heartbeats, but never send a message. Log Cache has all of them.
    /// [`enable_logs`](crate::testing::TrafficController::enable_logs) ends this.
    pub fn disable_logs(mut self) -> Self {
        self.settings.disable_logs = true;
        self
    }
}
