//! [`Consumer`]: reads an app's logs from the best server that a foundation has.

mod apps;
mod inner;
mod log_cache;
mod streams;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use self::apps::Apps;
use self::inner::{Inner, Live};
use self::streams::Stream;
use crate::auth::cf_cli::TargetPlace;
use crate::auth::{TokenSource, check};
use crate::builder::Builder;
use crate::envelope::Envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::deadline::{ReadTimeouts, after};
use crate::net::dial::Dialer;
use crate::net::registry::Registration;
use crate::recent::Recent;
use crate::selection::Selection;
use crate::server::app_guid::checked_guid;
use crate::server::app_names::{App, Wanted};
use crate::server::foundation::{Choice, Foundation, Purpose, Via};
use crate::server::learned::Learned;
use crate::server::log_cache::engine::Start;
use crate::server::source::LiveSource;
use crate::settings::Settings;
use crate::tail::Tail;

/// A client for the logs of a foundation: [`follow`](Consumer::follow) returns the recent messages of an app and then all
/// further ones, [`tail`](Consumer::tail) only further ones, and [`recent`](Consumer::recent) only those that the
/// foundation still holds.
///
/// A *foundation* is one installation of Cloud Foundry. There are several ways to create a consumer:
///
/// | to read from | use | servers |
/// |---|---|---|
/// | the foundation that `cf` is logged in to | [`Consumer::from_cf_cli`] | the best ones it has |
/// | any foundation, by the address of its API | [`Consumer::discover`] | the best ones it has |
/// | either of these, with other settings | [`Builder::cf_cli`] or [`Builder::api`], then [`build`](Builder::build) | the best ones it has |
/// | servers at known addresses | [`Builder::doppler`], [`log_cache`](Builder::log_cache), [`rlp_gateway`](Builder::rlp_gateway), [`legacy`](Builder::legacy) | these |
/// | a foundation of 2013 to September 2016 | [`Consumer::new`] or [`Consumer::builder`] | the legacy one |
///
/// `new` and `build` do not connect. A consumer can be cloned and shared between threads. All clones are the same
/// consumer, so [`close`](Consumer::close) closes what any of them has open.
///
/// | to get | use |
/// |---|---|
/// | what an app has logged | [`recent`](Consumer::recent), then [`sort_recent`](crate::sort_recent) to print it |
/// | more of it than 1000 messages, or fewer | [`Builder::recent_limit`], then `recent` |
/// | much of it from an old foundation, one message at a time | [`recent_iter`](Consumer::recent_iter) |
/// | what an app has logged, and then all that it logs, with none lost without a word | [`follow`](Consumer::follow) |
/// | the same after a restart of your tool | [`follow_since`](Consumer::follow_since) |
/// | what an app logs from now on, as soon as it does | [`tail`](Consumer::tail) |
/// | one of these for hours | it, with [`Builder::reconnect`] and [`Builder::tokens`] |
/// | an app's GUID, by the app's name | [`app`](Consumer::app), or [`app_in`](Consumer::app_in) in a space of your choice |
/// | a line that has been logged already, or will be | `follow`: see the example `wait_for` |
/// | the messages of several apps | [`tail_apps`](Consumer::tail_apps), [`follow_apps`](Consumer::follow_apps): see [many apps](crate#many-apps) |
/// | metrics, events, or what is known of a message's source | [`stream`](Consumer::stream) |
/// | the same, but first what Log Cache holds, and with none lost without a word | [`follow_stream`](Consumer::follow_stream), after a restart [`follow_stream_since`](Consumer::follow_stream_since) |
/// | what the whole foundation emits, also in several processes | [`stream`](Consumer::stream) of [`Selection::all`] |
/// | what an app's instances use, as `cf app` shows it | [`metrics`](Consumer::metrics) |
/// | everything that Log Cache holds of an app or a component: logs, metrics and events | [`read`](Consumer::read) |
/// | a calculation on metrics | [`query`](Consumer::query), in PromQL |
/// | which sources Log Cache has, and how far back; its version | [`meta`](Consumer::meta), [`info`](Consumer::info) |
/// | to know whether to try again | [`Error::is_transient`] |
/// | to stop from another thread | [`Tail::closer`] for one tail, [`Consumer::close`] for everything |
///
/// ```no_run
/// use loggregator_consumer::Consumer;
///
/// let consumer = Consumer::discover("https://api.example.com")?;
/// let (app, token) = ("11111111-1111-1111-1111-111111111111", "bearer eyJ...");
/// for message in consumer.recent(app, token)? {
///     println!("{message}");
/// }
/// # Ok::<(), loggregator_consumer::Error>(())
/// ```
///
/// # Which server is used
///
/// | for | first choice | second | third | fourth |
/// |---|---|---|---|---|
/// | `tail` | Doppler | RLP gateway | Log Cache | legacy |
/// | `recent` | Log Cache | Doppler | legacy | |
/// | `follow`, `follow_since` | Log Cache | Doppler | legacy | |
/// | `metrics` | Log Cache | Doppler | | |
/// | `follow_stream`, `read`, `query`, `meta`, `info` | Log Cache | | | |
///
/// The addresses come from the root of the API, on old foundations from its `/v2/info`. An address that is set on the
/// [`Builder`] replaces the API's. The API is asked only if the first choice is not set on the builder, and is not in
/// the session of [`cf`](Builder::cf_cli). If it names a better server than the one that is set, that server is used.
/// If the API cannot be asked, the call goes on with the addresses that are known, with a warning in the log.
/// [`tail_choice`](Consumer::tail_choice) and [`recent_choice`](Consumer::recent_choice) tell which server is used, and
/// why. The log (level DEBUG) has it, too.
///
/// [`Builder::tail_via`] sets the kind of server for `tail`, and no other kind is used then. Otherwise, a server whose
/// address is set on the builder is only replaced if its streams are mute. With the others, this can go wrong:
///
/// | what | then |
/// |---|---|
/// | a server cannot be reached: an error such as [`Dial`](ErrorKind::Dial), [`Tls`](ErrorKind::Tls) or [`Timeout`](ErrorKind::Timeout), or no route | the API is asked again, once per call (per attempt of a tail that reconnects); if it names another address now, that one is tried. Only one call asks at a time: another one that fails meanwhile goes on without the answer, and later ones have it |
/// | the platform's router has no route to a server (its 404, 502 or 503, with the header `X-Cf-Routererror`), or answers 502 without that header, or nothing listens at its address | the next choice is tried, then the one after it; one that works is used for 10 minutes |
/// | the API names an address that is not a URL, or has no TLS [while the API has it](Builder::danger_allow_plain_servers) | the next choice is used; without one, calls that need the server fail with [`BadResponse`](ErrorKind::BadResponse), which names the link and its value |
///
/// A stream can be mute: with `disable_logs` of the platform's agents, Doppler and the RLP gateway accept a tail and never
/// give a line, while Log Cache has them all. So as long as no stream has given this consumer a line, and the address of
/// Log Cache is known, `tail` reads Log Cache beside the stream, after 1, 2, 4 and 8 s of silence, and then every 15 s. If
/// a new line is there and the stream is still silent 3 s later, the tail goes on over Log Cache, with a warning in the
/// log. It returns all lines since the stream was opened, and perhaps some of the second before. If Log Cache has nothing
/// from before the opening any more, it may have dropped lines since, too, so there is a [gap](ErrorKind::Gap). When two
/// lines at least 1 s apart have shown it, all further tails of logs are read from Log Cache, also if the address of the
/// stream was set on the builder.
///
/// So it is with [`tail_apps`](Consumer::tail_apps), of whose apps ten are read each time, and with
/// [`stream`](Consumer::stream) of named sources and their logs. The metrics that such a stream has given are no proof that
/// it gives logs. They do not come again from Log Cache: the 10,000 newest are remembered, and what is older counts as
/// given. Not noticed are a stream of which only some cells are mute, one of [all sources](Selection::all) or of a
/// [shard](Selection::shard), which Log Cache does not have, and one that [`Builder::tail_via`] insists on.
///
/// [`Builder::rlp_gateway`] compares Doppler with the RLP gateway.
#[derive(Clone)]
pub struct Consumer {
    inner: Arc<Inner>,
}

impl Consumer {
    pub(crate) fn assemble(
        settings: Settings,
        dialer: Dialer,
        foundation: Foundation,
        tokens: Result<Option<TokenSource>>,
        tail_via: Option<Via>,
        target: TargetPlace,
    ) -> Consumer {
        let (dialer, pool, learned, open) = (Arc::new(dialer), Arc::default(), Learned::default(), Arc::default());
        let inner = Inner { settings, dialer, pool, foundation, learned, tokens, tail_via, target, open };
        Consumer { inner: Arc::new(inner) }
    }

    /// Creates a consumer for the legacy server at `endpoint`, such as `wss://loggregator.example.com:443`.
    ///
    /// Foundations of 2013 to September 2016 have one. The Go package `loggregator_consumer` speaks to the same
    /// servers: see [coming from Go](crate#coming-from-go). For a later foundation use
    /// [`discover`](Consumer::discover).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the endpoint is not a `ws://` or `wss://` URL.
    pub fn new(endpoint: &str) -> Result<Consumer> {
        Consumer::builder(endpoint).build()
    }

    /// Returns a builder for a consumer of the legacy server at `endpoint`: [`new`](Consumer::new) with other settings.
    pub fn builder(endpoint: &str) -> Builder {
        Builder::new().legacy(endpoint)
    }

    /// Creates a consumer for the foundation whose API is at `api`, such as `https://api.example.com`.
    ///
    /// Asks the API for the addresses of the servers, and uses [the best of them](Consumer#which-server-is-used). One
    /// server is enough, even if it serves only [`recent`](Consumer::recent) or only [`tail`](Consumer::tail).
    ///
    /// Makes up to two requests. They block for at most the [connect timeout](Builder::connect_timeout) together: 10 s.
    /// For other settings use [`Builder::api`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if `api` is not an `http://` or `https://` URL; the errors of a request if the API
    /// cannot be asked, also if only the platform's router answers; [`ErrorKind::BadResponse`] if it is not a Cloud
    /// Foundry API, or names no log server that can be used.
    pub fn discover(api: &str) -> Result<Consumer> {
        let consumer = Builder::new().api(api).build()?;
        let (cancel, registration) = consumer.inner.open.register();
        consumer.inner.foundation.discover(consumer.inner.requester(&cancel))?;
        drop(registration);
        Ok(consumer)
    }

    /// Creates a consumer for the foundation that the `cf` CLI is logged in to.
    ///
    /// It uses the addresses and tokens of `cf`, and verifies certificates only if `cf` does: see [`Builder::cf_cli`].
    /// Pass an empty `auth_token` to its calls.
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
    /// [`ErrorKind::Unauthorized`] if nobody is logged in, [`ErrorKind::InvalidInput`] if the file of the session
    /// cannot be read.
    pub fn from_cf_cli() -> Result<Consumer> {
        Builder::new().cf_cli()?.build()
    }

    /// Returns an app's messages from now on. They are streamed. A foundation [without
    /// streams](Consumer#which-server-is-used) has a Log Cache, which is polled as by [`follow`](Consumer::follow), with the
    /// same promise.
    ///
    /// `app_guid` is what `cf app NAME --guid` prints, and what [`app`](Consumer::app) finds by the app's name. White space
    /// around it, such as the line feed at the end of that output, is removed. If a server rejects an app that is not a
    /// GUID, such as an app's name, the error says so. The RLP gateway does not reject it for an admin, and sends nothing:
    /// then there is a warning in the log.
    ///
    /// `auth_token` is the value of the `Authorization` header, so it begins with `bearer `: what `cf oauth-token`
    /// prints. If it is empty, the consumer's own [tokens](Builder::tokens) are used, which can be renewed. If there
    /// are none, the header is not sent. (So a service that passes on its users' tokens should set no tokens of its
    /// own, or reject empty ones.)
    ///
    /// Blocks until the connection is open. [`close`](Consumer::close) interrupts it. Usually that takes one
    /// connection, and before it, in the first call, asking the API. Each of these steps takes at most the
    /// [connect timeout](Builder::connect_timeout):
    ///
    /// * asking the API, if needed: both of its requests together;
    /// * the connection to the server;
    /// * if that fails and the address was the API's: asking the API again (unless this call has just done so), then the
    ///   connection to another address, then the one to the
    ///   [next best server](Consumer#which-server-is-used), where there are such.
    ///
    /// A token of the consumer's own may have to be requested first ([`Uaa::timeout`](crate::Uaa::timeout) limits
    /// that). If the server rejects it, it is renewed, and the steps are repeated once.
    ///
    /// Then the [threads](crate#threads) of the [`Tail`] read until it is closed or dropped. Over Log Cache, what
    /// it has at first is read before this returns.
    ///
    /// ```
    /// use loggregator_consumer::{Consumer, Error, ErrorKind};
    ///
    /// fn follow(consumer: &Consumer, app: &str, token: &str) -> Result<(), Error> {
    ///     let mut tail = consumer.tail(app, token)?;
    ///     for message in tail.by_ref() {
    ///         match message {
    ///             Ok(message) => println!("{message}"),
    ///             // One message could not be decoded. The tail continues.
    ///             Err(error) if error.kind() == ErrorKind::Undecodable => eprintln!("{error}"),
    ///             // The tail ended with an error.
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     if let Some(ending) = tail.ending() {
    ///         eprintln!("{ending}"); // such as: the server closed the connection with 1000
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// [`Tail::recv_timeout`] waits for a limited time, [`Tail::try_recv`] does not wait. Their outer error says that
    /// there is no message. The inner result is the iterator's item:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use loggregator_consumer::Tail;
    /// use loggregator_consumer::crossbeam_channel::RecvTimeoutError;
    ///
    /// fn follow(tail: &mut Tail) {
    ///     loop {
    ///         match tail.recv_timeout(Duration::from_secs(10)) {
    ///             Ok(Ok(message)) => println!("{message}"),
    ///             Ok(Err(error)) => eprintln!("{error}"),
    ///             Err(RecvTimeoutError::Timeout) => eprintln!("nothing for 10 s"),
    ///             Err(RecvTimeoutError::Disconnected) => return, // the tail has ended
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// To wait for two or three tails at once, or for a tail and other channels, select over [`Tail::receiver`]. For any
    /// number of tails see [many apps](crate#many-apps).
    ///
    /// ```
    /// use loggregator_consumer::Tail;
    /// use loggregator_consumer::crossbeam_channel::{Receiver, select};
    ///
    /// fn follow_both(web: &Tail, worker: &Tail, interrupted: &Receiver<()>) {
    ///     loop {
    ///         let batch = select! {
    ///             recv(web.receiver()) -> batch => batch,
    ///             recv(worker.receiver()) -> batch => batch,
    ///             recv(interrupted) -> _ => return,
    ///         };
    ///         let Ok(batch) = batch else { return }; // one of the tails has ended
    ///         for message in batch {
    ///             match message {
    ///                 Ok(message) => println!("{message}"),
    ///                 Err(error) => eprintln!("{error}"),
    ///             }
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unauthorized`](ErrorKind::Unauthorized) if the server rejects the token, with the server's message;
    /// [`NotFound`](ErrorKind::NotFound) if the server does not know the path or the app, as far as it tells that apart
    /// from a rejected token; [`Dial`](ErrorKind::Dial), [`Proxy`](ErrorKind::Proxy), [`Tls`](ErrorKind::Tls) or
    /// [`Timeout`](ErrorKind::Timeout) if the server cannot be reached; [`InvalidInput`](ErrorKind::InvalidInput) for
    /// a GUID that is empty, is `.` or `..`, or contains white space or a control character, for a token that is not a
    /// valid header value, or if no server for this call is known; [`BadResponse`](ErrorKind::BadResponse) if the API
    /// names no server, or its address cannot be used; [`ServerError`](ErrorKind::ServerError) for another status, such as
    /// 503, with [`Error::retry_after`] if the server says when to try again; [`Closed`](ErrorKind::Closed) if the consumer
    /// was closed meanwhile.
    pub fn tail(&self, app_guid: &str, auth_token: &str) -> Result<Tail> {
        self.open_tail(Start::Tail, app_guid, auth_token)
    }

    /// Returns the newest messages of an app, oldest first, and then all further ones: each once, and none is lost without
    /// a word.
    ///
    /// The first [`recent_limit`](Builder::recent_limit) messages are those of [`recent`](Consumer::recent). Everything is
    /// read from Log Cache, which is [polled](Builder::polling). Messages that are returned by one poll are sorted by time.
    ///
    /// A message that becomes readable no later than the [horizon](crate::Polling::horizon) after its time, 10 s by default,
    /// is returned exactly once, however late and out of order it is. This holds
    ///
    /// * if Log Cache still has it when it is one and a half horizons old. If not, an [`ErrorKind::Gap`] item says between
    ///   [which times](crate::Gap) messages may be missing. A gap is no proof of a loss: there is one, too, if Log Cache has
    ///   dropped all messages of an app without metrics, such as a stopped one, after they were returned.
    /// * if it can be read at least twice as fast as it is logged, because each stretch of time is read more than once.
    ///   Otherwise, and if the caller is slow, Log Cache is the buffer; what it drops is in a gap.
    ///
    /// How late a message is, is a matter of the clocks of the platform's machines. The clock of this machine does not matter.
    ///
    /// Foundations before 2018 have no Log Cache. There the stream of [`tail`](Consumer::tail) is joined with the messages
    /// of [`recent`](Consumer::recent), which are requested when the stream is open, and again after each break if the
    /// tail [reconnects](Builder::reconnect). What is in both is returned once. If the recent messages no longer reach
    /// back to the break, or cannot be read, a gap says between which times messages may be missing. Each Doppler keeps
    /// recent messages of its own. One whose messages of the last minutes this tail has never seen may have dropped others
    /// without a gap. What a slow caller costs is not noticed either, as in any stream.
    ///
    /// Over Log Cache a broken connection is no gap, because it holds the messages: the next poll reads them. Without
    /// [`Builder::reconnect`], the tail ends with an error when all requests have failed for a minute (or for the
    /// [idle timeout](Builder::idle_timeout)). With it, the tail goes on for ever, or up to
    /// [`Reconnect::max_attempts`](crate::Reconnect::max_attempts) failures in a row. A tail whose token is rejected for
    /// 15 s ends.
    ///
    /// `app_guid` and `auth_token` are those of [`tail`](Consumer::tail). Blocks until the first response has arrived, for
    /// at most the [connect timeout](Builder::connect_timeout) and the [read timeout](Builder::read_timeout) of each of
    /// its requests. Without Log Cache it blocks until the stream is connected and the recent messages have been read,
    /// which may take 20 s at most, or less with [`Builder::recent_timeout`].
    ///
    /// ```
    /// # use loggregator_consumer::testing::{Generation, TrafficController};
    /// # use loggregator_consumer::{Builder, LogMessage, Proxy};
    /// # const APP: &str = "11111111-1111-1111-1111-111111111111";
    /// # let server = TrafficController::of(Generation::Today)?;
    /// # let token = server.issue_token();
    /// # server.add_recent(APP, [LogMessage::new(APP, "recent")]);
    /// # let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
    /// let mut tail = consumer.follow(APP, &token)?;
    /// println!("{}", tail.next().unwrap()?);
    /// # server.send(LogMessage::new(APP, "live"));
    /// println!("{}", tail.next().unwrap()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`tail`](Consumer::tail), and without Log Cache those of [`recent`](Consumer::recent).
    /// [`InvalidInput`](ErrorKind::InvalidInput) if only the RLP gateway is known, which has no recent messages.
    pub fn follow(&self, app_guid: &str, auth_token: &str) -> Result<Tail> {
        self.open_tail(Start::Follow, app_guid, auth_token)
    }

    /// Returns all messages of an app since a time that the foundation still holds, and then all further ones: to continue
    /// after a restart. `since` is in nanoseconds since the Unix epoch, and is best taken from [`Tail::complete_until`].
    ///
    /// Otherwise like [`follow`](Consumer::follow). Messages with this time or a later one are returned again, even if
    /// the tail before the restart has returned them. If the foundation has dropped messages since that time, nothing says
    /// so, because it is not known what was there.
    ///
    /// # Errors
    ///
    /// Those of [`follow`](Consumer::follow).
    pub fn follow_since(&self, app_guid: &str, auth_token: &str, since: i64) -> Result<Tail> {
        self.open_tail(Start::Since(since), app_guid, auth_token)
    }

    /// Returns the envelopes of a [selection](Selection) from now on: logs, metrics and events of one app, of several, or of
    /// the whole foundation, the *firehose*.
    ///
    /// Like [`tail`](Consumer::tail), which has the details of `auth_token`, of the time that this blocks, and of
    /// reconnecting. Which server is used:
    ///
    /// | selection | servers, best first |
    /// |---|---|
    /// | [`Selection::app`] | the RLP gateway; Doppler; Log Cache |
    /// | [`Selection::apps`] | the RLP gateway; Doppler, with one connection and two threads for each; Log Cache, with one for all |
    /// | [`Selection::app`] or [`apps`](Selection::apps) with a [shard](Selection::shard) | the RLP gateway |
    /// | [`Selection::all`] | Doppler; the RLP gateway |
    ///
    /// Doppler is left out if it carries nothing of what is selected, such as [events](crate::EnvelopeType::Event) alone,
    /// because its stream would stay silent.
    ///
    /// Of several sources, one that is rejected is an item, as in [`tail_apps`](Consumer::tail_apps).
    ///
    /// [`Builder::tail_via`] makes the choice. It matters, because the servers carry different envelopes:
    ///
    /// * The RLP gateway has all types. It drops what a slow reader does not read, without notice, and it ends each stream
    ///   after 14 minutes, so that the tail [reconnects](Builder::reconnect).
    /// * Doppler converts envelopes to an older form and back. It has no events and no empty logs, and the stream of a single
    ///   app has only its logs, its requests (timers) and its container metrics (a gauge). A gauge with several values
    ///   arrives as one gauge for each, except for container metrics. It cuts off a slow reader after some 5 s, which is
    ///   [`Ending::Eof`](crate::Ending::Eof).
    /// * Log Cache is polled, as by [`follow_stream`](Consumer::follow_stream), with the same promise.
    ///
    /// # The firehose
    ///
    /// The firehose of a large foundation has more than one process can read. So several processes share it, on one
    /// machine or on many: all that use the same [shard id](Selection::shard) get each envelope once between them. Doppler
    /// calls it the subscription id. Two ids get everything twice, and a selection without an id shares with nobody.
    ///
    /// A reader of Doppler that is too slow is told so: by a gap with [`Ending::Dropped`](crate::Ending::Dropped), where
    /// a server of before 2018 has dropped envelopes, and by the end of its connection on later ones. Use one more process
    /// then. Counters such as `doppler_proxy.slow_consumer` of the platform itself, which count the slow readers of all
    /// tools, are envelopes like any other.
    ///
    /// ```
    /// # use loggregator_consumer::testing::{Generation, TrafficController};
    /// # use loggregator_consumer::{Builder, LogMessage, Proxy};
    /// use loggregator_consumer::{EnvelopeType, Selection};
    ///
    /// # const APP: &str = "11111111-1111-1111-1111-111111111111";
    /// # let server = TrafficController::of(Generation::Today)?;
    /// # let token = server.issue_admin_token();
    /// # let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
    /// let logs = Selection::all().types([EnvelopeType::Log]).shard("my-nozzle");
    /// let mut tail = consumer.stream(&logs, &token)?;
    /// # server.send(LogMessage::new(APP, "hello"));
    /// let envelope = tail.next().unwrap()?;
    /// println!("{} {:?}", envelope.source_id, envelope.tags.get("app_name"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`tail`](Consumer::tail). [`Unauthorized`](ErrorKind::Unauthorized) names the scope that a token for all
    /// sources needs. [`InvalidInput`](ErrorKind::InvalidInput) if no known server has such a stream.
    pub fn stream(&self, selection: &Selection, auth_token: &str) -> Result<Tail<Envelope>> {
        self.open_stream(Start::Tail, selection, auth_token)
    }

    /// Returns the newest envelopes of a [selection](Selection) that Log Cache holds, oldest first, and then all further
    /// ones: each once, and none is lost without a word.
    ///
    /// This is [`follow`](Consumer::follow) for logs, metrics and events, with the same promise, the same
    /// [gaps](crate::Gap) and the same settings. The differences:
    ///
    /// * Log Cache is the only server that holds envelopes, so there is nothing like this on foundations before 2018: use
    ///   [`stream`](Consumer::stream) there.
    /// * The selection must name its sources and have no [shard](Selection::shard). Several sources are read as by
    ///   [`follow_apps`](Consumer::follow_apps), in one thread and over one connection. One that is rejected is an item.
    /// * Log Cache selects the types, and the names if nothing but counters and gauges with names is selected. Otherwise this
    ///   side selects the names: then a rare name costs as much as all of the selected types, and
    ///   [`recent_limit`](Builder::recent_limit) counts those that are left out, too. So select names in a tail of their own.
    /// * Korifi holds only logs, so that only these come. Its gauges are those of this moment, which
    ///   [`metrics`](Consumer::metrics) returns. So that a selection without logs can be rejected, Log Cache is first asked
    ///   for its version then.
    ///
    /// ```
    /// # use loggregator_consumer::testing::{Generation, TrafficController};
    /// # use loggregator_consumer::{Body, Builder, Envelope, GaugeValue, Proxy};
    /// use loggregator_consumer::{EnvelopeType, Selection};
    ///
    /// # const APP: &str = "11111111-1111-1111-1111-111111111111";
    /// # let server = TrafficController::of(Generation::Today)?;
    /// # let token = server.issue_token();
    /// # let cpu = Body::Gauge([("cpu".to_owned(), GaugeValue::new(12.5, "percentage"))].into());
    /// # server.send_envelope(Envelope::new(APP, cpu));
    /// # let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
    /// let metrics = Selection::app(APP).types([EnvelopeType::Gauge]).gauge_names(["cpu", "memory"]);
    /// let mut tail = consumer.follow_stream(&metrics, &token)?;
    /// let envelope = tail.next().unwrap()?;
    /// println!("#{} {:?}", envelope.instance_id, envelope.body);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`follow`](Consumer::follow). [`InvalidInput`](ErrorKind::InvalidInput) if no address of a Log Cache is known,
    /// if the selection is of all sources or of a shard, and with Korifi if it is of metrics or events alone;
    /// [`BadRequest`](ErrorKind::BadRequest) from Korifi if it is of logs and a type that Korifi does not know.
    pub fn follow_stream(&self, selection: &Selection, auth_token: &str) -> Result<Tail<Envelope>> {
        self.open_stream(Start::Follow, selection, auth_token)
    }

    /// Returns all envelopes of a selection since a time that Log Cache still holds, and then all further ones:
    /// [`follow_since`](Consumer::follow_since) for envelopes. Of several sources, [`Tail::complete_until`] is the time that
    /// holds for all of them, as in [`follow_apps_since`](Consumer::follow_apps_since).
    ///
    /// # Errors
    ///
    /// Those of [`follow_stream`](Consumer::follow_stream).
    pub fn follow_stream_since(&self, selection: &Selection, auth_token: &str, since: i64) -> Result<Tail<Envelope>> {
        self.open_stream(Start::Since(since), selection, auth_token)
    }

    /// Returns the messages of several apps from now on, as one [`Tail`]: [`LogMessage::app_id`] is the app of each.
    ///
    /// Like [`tail`](Consumer::tail), with these differences:
    ///
    /// * The servers are, best first: the RLP gateway, which has one stream for all of them; Log Cache, which one thread
    ///   [polls](crate::Polling) for all of them, over one connection; Doppler and the legacy Traffic Controller, with one
    ///   connection and two threads for each app.
    /// * An app that is rejected, or whose connection ends, is named by an error item, whose [`Error::app_id`] is the app.
    ///   The tail continues with the others. The error of the last one is the last item, so ask [`Tail::ending`] whether the
    ///   tail has ended. If all of them are rejected, this returns the error of one.
    /// * A [gap](ErrorKind::Gap) of one app has its `app_id`. One without an `app_id` is a gap of all of them.
    ///
    /// Of Log Cache, quiet apps are asked at most 10 times in a second together: of 100 quiet apps, each is asked every
    /// 10 s, so that its first line after a pause may come that much later. An app with new lines is asked as often as
    /// [`Polling::every`](crate::Polling::every) says.
    ///
    /// Log Cache rejects an app that is gone as it does an expired token. So if it rejects some of the apps, a token that can
    /// be [renewed](crate::TokenSource) is, once for all of them, and each of these apps is asked for once more.
    ///
    /// The RLP gateway does not say which app it rejects. If a renewed token does not help, it is asked for halves of the
    /// apps, halves of these and so on, each over a new connection, one after the other: of 100 apps some 15 times if one
    /// is rejected, and 200 times if all are, also because a token of the caller's has expired. So this call may take that
    /// many times as long as a connection. When a tail [reconnects](Builder::reconnect), it asks for all apps again, and
    /// names those again that are rejected.
    ///
    /// What a slow caller may cost in memory is the limit of a [`Tail`], once over the gateway and Log Cache, and once for
    /// each app over Doppler.
    ///
    /// ```
    /// # use loggregator_consumer::testing::{Generation, TrafficController};
    /// # use loggregator_consumer::{Builder, LogMessage, Proxy};
    /// # let [shop, cart, gone] = [1, 2, 3].map(|n| format!("{n}1111111-1111-1111-1111-111111111111"));
    /// # let server = TrafficController::builder().generation(Generation::Today).apps([&shop, &cart]).start()?;
    /// # let token = server.issue_token();
    /// # let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
    /// let mut tail = consumer.tail_apps([&shop, &cart, &gone], &token)?;
    /// # server.send(LogMessage::new(&*cart, "hello"));
    /// # server.send(LogMessage::new(&*shop, "hello"));
    /// # for item in tail.by_ref().take(3) {
    /// match item {
    ///     Ok(message) => println!("{} {message}", message.app_id),
    ///     Err(error) => eprintln!("{error}"), // names the app that is gone
    /// }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`tail`](Consumer::tail). [`InvalidInput`](ErrorKind::InvalidInput) if there is no app.
    pub fn tail_apps(&self, apps: impl IntoIterator<Item = impl AsRef<str>>, auth_token: &str) -> Result<Tail> {
        self.open_apps(Start::Tail, apps, auth_token)
    }

    /// Returns the newest messages of each of several apps, and then all further ones, as one [`Tail`].
    ///
    /// Like [`follow`](Consumer::follow), with the differences of [`tail_apps`](Consumer::tail_apps). The first messages are
    /// sorted by time for each app, and not between apps. The guarantee of `follow` holds for each app, with two limits:
    /// all of them together must be read at least twice as fast as they are logged, and Log Cache must hold the lines of
    /// an app for as long as it takes to ask all others. A [gap](crate::Gap) is that of one app.
    ///
    /// # Errors
    ///
    /// Those of [`follow`](Consumer::follow) and of [`tail_apps`](Consumer::tail_apps).
    pub fn follow_apps(&self, apps: impl IntoIterator<Item = impl AsRef<str>>, auth_token: &str) -> Result<Tail> {
        self.open_apps(Start::Follow, apps, auth_token)
    }

    /// Returns all messages of several apps since a time, and then all further ones: [`follow_since`](Consumer::follow_since)
    /// for several apps. [`Tail::complete_until`] is the time that holds for all of them. An app that ends
    /// meanwhile holds it back, so that no line of it is lost if the next call finds it again. One that is rejected at the
    /// beginning does not.
    ///
    /// # Errors
    ///
    /// Those of [`follow_apps`](Consumer::follow_apps).
    pub fn follow_apps_since(
        &self,
        apps: impl IntoIterator<Item = impl AsRef<str>>,
        auth_token: &str,
        since: i64,
    ) -> Result<Tail> {
        self.open_apps(Start::Since(since), apps, auth_token)
    }

    fn open_apps(
        &self,
        start: Start,
        apps: impl IntoIterator<Item = impl AsRef<str>>,
        auth_token: &str,
    ) -> Result<Tail> {
        check(auth_token)?;
        let mut guids: Vec<String> = Vec::new();
        for app in apps {
            let guid = checked_guid(app.as_ref())?;
            if !guids.iter().any(|other| other == guid) {
                guids.push(guid.to_owned());
            }
        }
        let (cancel, registration) = self.inner.open.register();
        let apps = Apps::new(start, guids, auth_token, &cancel)?;
        let inner = Arc::clone(&self.inner);
        self.spawn(move || inner.connect_apps(&apps), cancel, registration)
    }

    fn open_stream(&self, start: Start, selection: &Selection, auth_token: &str) -> Result<Tail<Envelope>> {
        check(auth_token)?;
        let (cancel, registration) = self.inner.open.register();
        let stream = Stream::new(start, selection, auth_token, &cancel)?;
        let inner = Arc::clone(&self.inner);
        self.spawn(move || inner.connect_stream(&stream), cancel, registration)
    }

    fn open_tail(&self, start: Start, app_guid: &str, auth_token: &str) -> Result<Tail> {
        check(auth_token)?;
        let app_guid = checked_guid(app_guid)?;
        let (cancel, registration) = self.inner.open.register();
        let live = Live::of_logs(start, app_guid, auth_token, &cancel);
        let inner = Arc::clone(&self.inner);
        self.spawn(move || inner.connect(&live), cancel, registration)
    }

    /// Connects, and starts a tail.
    fn spawn<T: Send + 'static>(
        &self,
        connect: impl Fn() -> Result<Box<dyn LiveSource<T>>> + Send + Sync + 'static,
        cancel: Arc<Cancel>,
        registration: Registration,
    ) -> Result<Tail<T>> {
        let tail = self.inner.open_tail(connect, &cancel, Some(registration))?;
        // After the threads have started, because the callback may take long, panic or close this tail, and the threads
        // keep the connection alive and close it.
        self.inner.settings.connected();
        cancel.check().map(|()| tail)
    }

    /// Returns the messages that the server holds for an app, in the server's order. To sort them by time use
    /// [`sort_recent`](crate::sort_recent).
    ///
    /// Log Cache returns the newest [`recent_limit`](Builder::recent_limit) messages, oldest first. Other servers
    /// return all that they have.
    ///
    /// `app_guid` and `auth_token` are those of [`tail`](Consumer::tail). Blocks until the response is complete. The
    /// [recent timeout](Builder::recent_timeout) limits the whole call, with all of its requests: asking the API, the
    /// pages of Log Cache, and another server if the [first choice](Consumer#which-server-is-used) has no route. Only a
    /// new token is not included: see [`Uaa::timeout`](crate::Uaa::timeout). The
    /// [connect timeout](Builder::connect_timeout) limits each connection and asking the API, and the
    /// [read timeout](Builder::read_timeout) each silence. [`max_recent_size`](Builder::max_recent_size) limits the
    /// size. [`close`](Consumer::close) interrupts the call. The connection to Log Cache is kept, and
    /// used again by a call within 30 s.
    ///
    /// Parts of the response that are not log messages are skipped, with a warning in the log.
    ///
    /// For an app that has logged nothing, the list is empty. For an app that does not exist, or that the token's user may
    /// not see, and for an app's name instead of its GUID, Log Cache's proxy returns 404, as for a bad token:
    /// [`Unauthorized`](ErrorKind::Unauthorized). Only an admin gets an empty list there, because an admin may read any
    /// source, and what is not an app can have any name, such as `gorouter`. If the list is empty and `app_guid` is not a
    /// GUID, a warning in the log says so.
    ///
    /// Korifi's Log Cache returns at most the newest 1000 messages of each container, whatever the limit. Its messages
    /// have no source id, so their [`app_id`](crate::LogMessage::app_id) is `app_guid`.
    ///
    /// If the response is cut short the call fails, and the error contains the messages that were received:
    ///
    /// ```
    /// use loggregator_consumer::{Consumer, Error, LogMessage};
    ///
    /// fn recent_or_part(consumer: &Consumer, app: &str, token: &str) -> Result<Vec<LogMessage>, Error> {
    ///     match consumer.recent(app, token) {
    ///         Err(error) if !error.recovered().is_empty() => {
    ///             eprintln!("warning: {error}");
    ///             Ok(error.into_recovered())
    ///         }
    ///         result => result,
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`tail`](Consumer::tail); [`BadResponse`](ErrorKind::BadResponse) if the response breaks the protocol;
    /// [`Truncated`](ErrorKind::Truncated), [`Timeout`](ErrorKind::Timeout) or [`TooLarge`](ErrorKind::TooLarge) if it
    /// is not complete. [`Error::recovered`] returns the messages that were received before the error.
    pub fn recent(&self, app_guid: &str, auth_token: &str) -> Result<Vec<LogMessage>> {
        let Settings { recent_timeout, max_recent_size, .. } = self.inner.settings;
        self.open_recent(app_guid, auth_token, Some(after(recent_timeout)))?.collect_all(max_recent_size)
    }

    /// Returns an iterator over the messages of [`recent`](Consumer::recent), which yields each as soon as it arrives.
    ///
    /// Only one message is held at a time, so neither [`max_recent_size`](Builder::max_recent_size) nor the
    /// [recent timeout](Builder::recent_timeout) applies. Log Cache is the exception: it returns the newest message
    /// first, so all of its messages are read before the first is yielded, as many as
    /// [`recent_limit`](Builder::recent_limit) and [`max_recent_size`](Builder::max_recent_size) allow.
    ///
    /// Until this returns, the time is limited as that of [`tail`](Consumer::tail): by the
    /// [connect timeout](Builder::connect_timeout), for each of the same steps. The pages of Log Cache are read over one
    /// connection, and the [read timeout](Builder::read_timeout) limits each silence.
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
    /// Those of [`recent`](Consumer::recent). Errors that occur later are items of the iterator.
    pub fn recent_iter(&self, app_guid: &str, auth_token: &str) -> Result<Recent> {
        self.open_recent(app_guid, auth_token, None)
    }

    fn open_recent(&self, app_guid: &str, auth_token: &str, deadline: Option<Instant>) -> Result<Recent> {
        check(auth_token)?;
        let app_guid = checked_guid(app_guid)?;
        let timeouts = ReadTimeouts { idle: self.inner.settings.read_timeout, deadline };
        let (cancel, registration) = self.inner.open.register();
        let source = self.inner.recent(app_guid, auth_token, timeouts, deadline, &cancel)?;
        Ok(Recent::new(source, timeouts, cancel, Some(registration)))
    }

    /// Returns the app with this name, whose [`guid`](App::guid) the other calls take.
    ///
    /// The API is asked for it, so its [address](Builder::api) must be known. If the consumer has the session of
    /// [`cf`](Builder::cf_cli), the app is looked for in the space that `cf target` had set when the consumer was built.
    /// Otherwise, or if there is no such space, it is looked for in all spaces that the token's user may see, and more than
    /// one app of the name is an error. [`app_in`](Consumer::app_in) names the space.
    ///
    /// A GUID in place of a name is returned as it is, without a request. So an app whose name has the form of a GUID can
    /// only be given by its own GUID. Upper and lower case matter only if they do to the API: in Korifi.
    ///
    /// `auth_token` is that of [`tail`](Consumer::tail), and is sent to the API. This makes one request, before the first
    /// one another, which asks for the API's version: `/v3/apps`, or until 2017 `/v2/apps`. If there is
    /// no such app, or more than one, some more requests find out what is near, and where. Of each list, at most 20 pages
    /// are read, and 2000 resources. Each request takes at most the [connect timeout](Builder::connect_timeout), and all of them together
    /// a minute, or the connect timeout if that is longer. [`close`](Consumer::close) interrupts them.
    ///
    /// ```
    /// # use loggregator_consumer::testing::{Generation, TrafficController};
    /// # use loggregator_consumer::{Builder, LogMessage, Proxy};
    /// # const APP: &str = "11111111-1111-1111-1111-111111111111";
    /// # let server = TrafficController::builder().generation(Generation::Today).app(APP, "web").start()?;
    /// # server.add_recent(APP, [LogMessage::new(APP, "hello")]);
    /// # let home = std::env::temp_dir().join(format!("consumer-app-{}", std::process::id()));
    /// # server.cf_home(&home)?;
    /// # let consumer = Builder::new().cf_cli_from(&home)?.proxy(Proxy::none()).build()?;
    /// # std::fs::remove_dir_all(home)?;
    /// // The consumer has the session of `cf`.
    /// let app = consumer.app("web", "")?;
    /// for message in consumer.recent(&app.guid, "")? {
    ///     println!("{message}");
    /// }
    /// let error = consumer.app("wbe", "").unwrap_err();
    /// assert_eq!(error.to_string(), "there is no app `wbe` in the space org/space: did you mean `web`?");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) without a [status](Error::status) if there is no app of this name that the token's
    /// user may see: the text lists similar names, and where else there is an app of this name;
    /// [`Ambiguous`](ErrorKind::Ambiguous) if there are several: the text lists where they are, and their GUIDs;
    /// [`Unauthorized`](ErrorKind::Unauthorized) if the API rejects the token; [`InvalidInput`](ErrorKind::InvalidInput) for
    /// a name that is empty, longer than 1024 bytes or contains a control character, for a token that is not a valid header
    /// value, or if no API is known; the errors of a request if the API cannot be asked;
    /// [`BadResponse`](ErrorKind::BadResponse) if it is no Cloud Controller; [`Closed`](ErrorKind::Closed) if the consumer
    /// was closed meanwhile.
    pub fn app(&self, name: &str, auth_token: &str) -> Result<App> {
        self.find_app(&Wanted::new(None, name)?, auth_token)
    }

    /// Returns the app with this name in a space: [`app`](Consumer::app) for a space of one's choice.
    ///
    /// | `space` | is |
    /// |---|---|
    /// | `11111111-1111-1111-1111-111111111111` | the space with this GUID |
    /// | `org/dev` | the space `dev` of the organization `org`. (If an organization's name has a slash, give the space's GUID.) |
    /// | `dev` | the space of this name: with the session of [`cf`](Builder::cf_cli) the one in the organization that `cf target` had set, otherwise the only one that the token's user may see |
    ///
    /// The name of a space takes one request more, and with its organization two. Everything else is as for `app`.
    ///
    /// # Errors
    ///
    /// Those of [`app`](Consumer::app). [`NotFound`](ErrorKind::NotFound) and [`Ambiguous`](ErrorKind::Ambiguous) may be about
    /// the space or the organization, too: the text says so.
    pub fn app_in(&self, space: &str, name: &str, auth_token: &str) -> Result<App> {
        self.find_app(&Wanted::new(Some(space), name)?, auth_token)
    }

    fn find_app(&self, wanted: &Wanted<'_>, auth_token: &str) -> Result<App> {
        check(auth_token)?;
        if let Some(app) = wanted.known() {
            return Ok(app);
        }
        let (cancel, _registration) = self.inner.open.register();
        self.inner.app(wanted, auth_token, &cancel)
    }

    /// Returns the server that [`tail`](Consumer::tail) would connect to now, and why. Does not connect to it.
    ///
    /// That can change: when a server that the API named cannot be reached, a call or a tail that reconnects
    /// [looks for another one](Consumer#which-server-is-used).
    ///
    /// Asks the API if that has not been done yet: up to two requests, which block for at most the
    /// [connect timeout](Builder::connect_timeout) together. [`close`](Consumer::close) interrupts them.
    ///
    /// # Errors
    ///
    /// The errors of a request if the API cannot be asked; [`ErrorKind::BadResponse`] if it is not a Cloud Foundry API,
    /// names no log server, or names this one with an address that cannot be used; [`ErrorKind::InvalidInput`] if no
    /// address of a server for this call is known.
    pub fn tail_choice(&self) -> Result<Choice> {
        let (cancel, _registration) = self.inner.open.register();
        self.inner.foundation.choose(self.inner.tail_purpose(), self.inner.requester(&cancel))
    }

    /// Returns the server that [`recent`](Consumer::recent) and [`follow`](Consumer::follow) would connect to now, and why.
    /// Like [`tail_choice`](Consumer::tail_choice) it may ask the API, within the same time.
    ///
    /// # Errors
    ///
    /// Those of [`tail_choice`](Consumer::tail_choice).
    pub fn recent_choice(&self) -> Result<Choice> {
        let (cancel, _registration) = self.inner.open.register();
        self.inner.foundation.choose(Purpose::Recent, self.inner.requester(&cancel))
    }

    /// Closes everything that this consumer and its clones have open: tails, calls that are still connecting, and calls
    /// of [`recent`](Consumer::recent).
    ///
    /// Connections that are kept between calls are closed, too.
    ///
    /// Does not wait: tails end within 0.1 s, calls at once. The consumer can be used afterwards: only what is open at
    /// this moment is closed, and the next call opens something new. So a tool that is to stop must also see to it that
    /// no thread of its own makes another call. A [`Closer`](crate::Closer) closes one tail:
    ///
    /// ```
    /// use std::{io, thread};
    ///
    /// use loggregator_consumer::Tail;
    ///
    /// fn close_on_enter(tail: &Tail) {
    ///     let closer = tail.closer();
    ///     thread::spawn(move || {
    ///         let _ = io::stdin().read_line(&mut String::new());
    ///         let _ = closer.close();
    ///     });
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotConnected`] if no tail and no call is open. A tail that was closed or dropped is not, even if a
    /// function of the caller still blocks in one of its threads.
    pub fn close(&self) -> Result<()> {
        let was_open = self.inner.open.cancel_all();
        self.inner.pool.clear();
        if was_open { Ok(()) } else { Err(Error::new(ErrorKind::NotConnected, "connection does not exist")) }
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
