//! The calls of [`Consumer`] that Log Cache answers: envelopes, metrics, PromQL, and what it tells of itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Consumer;
use super::inner::{Inner, explain};
use crate::auth::check;
use crate::envelopes::{Envelopes, NextPage};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{LogCacheInfo, SourceMeta};
use crate::metrics::InstanceMetrics;
use crate::net::cancel::Cancel;
use crate::net::deadline::{ReadTimeouts, after};
use crate::promql::QueryResult;
use crate::selection::Selection;
use crate::server::app_guid::checked_guid;
use crate::server::call::Call;
use crate::server::doppler;
use crate::server::foundation::{Purpose, Via};
use crate::server::log_cache::envelopes;
use crate::server::log_cache::queries::{self, Query, Times};
use crate::server::log_cache::walk::Walk;
use crate::settings::Settings;
use crate::window::Window;

impl Consumer {
    /// Returns what Log Cache holds of one source: of the types and names that are selected, and in a [`Window`] of time.
    ///
    /// `selection` must have exactly one source, and no [shard](Selection::shard): [`Selection::app`]. `auth_token` is that
    /// of [`recent`](Consumer::recent).
    ///
    /// The envelopes are read page by page, over one connection, while the iterator is used. Each is returned once and in
    /// the order of their times, and none is lost between two pages, also if several have the same time. Envelopes that Log
    /// Cache gets while it is read, with older times than those that were returned, are not returned;
    /// [`follow_stream`](Consumer::follow_stream) has them. If more than 1000 have exactly the same time, a Log Cache that
    /// keeps to its limit returns 1000 of them, and there is a warning in the log.
    ///
    /// Blocks until the first page has arrived: for at most the [connect timeout](crate::Builder::connect_timeout), and the
    /// [read timeout](crate::Builder::read_timeout) in each silence. So does each page after it. A page may have
    /// [`max_recent_size`](crate::Builder::max_recent_size) in memory. [`close`](Consumer::close) interrupts it.
    ///
    /// Envelopes that cannot be decoded are skipped, with a warning in the log, and those of a type that this crate does not
    /// know are left out. Korifi has only logs and gauges, ignores the end of a window, and its limit selects the newest of
    /// each container. So with Korifi, read the newest first and without a `name_filter`.
    ///
    /// ```
    /// # use loggregator_consumer::testing::{Generation, TrafficController};
    /// # use loggregator_consumer::{Builder, LogMessage, Proxy};
    /// use loggregator_consumer::{Selection, Window};
    ///
    /// # const APP: &str = "11111111-1111-1111-1111-111111111111";
    /// # let server = TrafficController::of(Generation::Today)?;
    /// # let token = server.issue_token();
    /// # server.add_recent(APP, [LogMessage::new(APP, "hello").timestamp(1_000_000_000)]);
    /// # let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
    /// for envelope in consumer.read(&Selection::app(APP), &Window::all().newest_first().limit(10), &token)? {
    ///     println!("{:?}", envelope?.body);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Source of the protocol: `src/README.md` and `src/internal/cache/store` of log-cache-release.
    ///
    /// # Errors
    ///
    /// Those of [`recent`](Consumer::recent), with no messages in [`Error::recovered`]; those of later pages are items, and
    /// the last ones. [`InvalidInput`](ErrorKind::InvalidInput) if no address of a Log Cache is known, the selection has not
    /// one source, or the window ends before it starts; [`ServerError`](ErrorKind::ServerError) if the name filter is not a
    /// regular expression; [`BadResponse`](ErrorKind::BadResponse) if nothing in a full page can be decoded.
    pub fn read(&self, selection: &Selection, window: &Window, auth_token: &str) -> Result<Envelopes> {
        check(auth_token)?;
        let (Some([source]), None) = (selection.sources(), selection.shard_id()) else {
            let text = "the selection must be of one source, and of no shard, to be read: see Selection::app";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        };
        let (source, walk) = (checked_guid(source)?, Walk::new(selection, window)?);
        let (cancel, registration) = self.inner.open.register();
        let pages = self.inner.pages(source, walk, auth_token, &cancel);
        Envelopes::open(pages, cancel, registration)
    }

    /// Returns what each instance of an app uses: the latest figures of CPU, memory, disk and logging, as `cf app` shows
    /// them. The instances are in the order of their process types and numbers.
    ///
    /// The figures are those that the platform measures every 15 s. They come from the gauges in Log Cache, and on
    /// foundations without one from Doppler's `/containermetrics`. An instance is returned until nothing newer has been
    /// known of it for 2 minutes. So one that was scaled away or has crashed is still returned for that time. (The Cloud
    /// Controller reads the same 2 minutes; it can also ask Diego which instances there are.) An app that is stopped has
    /// none. A figure that the foundation does not tell is `None`.
    ///
    /// `app_guid` and `auth_token` are those of [`recent`](Consumer::recent). The time that this blocks and its limits are
    /// those of [`meta`](Consumer::meta).
    ///
    /// ```no_run
    /// use loggregator_consumer::Consumer;
    ///
    /// let consumer = Consumer::from_cf_cli()?;
    /// for instance in consumer.metrics("11111111-1111-1111-1111-111111111111", "")? {
    ///     println!("#{}: {:?} % CPU, {:?} bytes", instance.index, instance.cpu, instance.memory);
    /// }
    /// # Ok::<(), loggregator_consumer::Error>(())
    /// ```
    ///
    /// Source: `container_metric_batcher.rb` of the Cloud Controller, `client.go` of diego-logging-client, and the Traffic
    /// Controller of loggregator-release 100 (2017).
    ///
    /// # Errors
    ///
    /// Those of [`recent`](Consumer::recent), with no messages in [`Error::recovered`].
    /// [`InvalidInput`](ErrorKind::InvalidInput) if no address of Log Cache or Doppler is known.
    pub fn metrics(&self, app_guid: &str, auth_token: &str) -> Result<Vec<InstanceMetrics>> {
        check(auth_token)?;
        let timeouts = self.call_timeouts();
        let (cancel, _registration) = self.inner.open.register();
        self.inner.metrics(checked_guid(app_guid)?, auth_token, timeouts, &cancel)
    }

    /// Returns what Log Cache holds of each source that the token's user may see: how many envelopes, of which times. The
    /// keys are source ids: GUIDs of apps and services, and for an admin names of components, such as `gorouter`.
    ///
    /// `auth_token` and the time that this blocks are those of [`recent`](Consumer::recent), in which the
    /// [recent timeout](crate::Builder::recent_timeout) limits the whole call and
    /// [`max_recent_size`](crate::Builder::max_recent_size) the size of the response, in bytes. [`close`](Consumer::close)
    /// interrupts it.
    ///
    /// ```
    /// # use loggregator_consumer::testing::{Generation, TrafficController};
    /// # use loggregator_consumer::{Builder, LogMessage, Proxy};
    /// # const APP: &str = "11111111-1111-1111-1111-111111111111";
    /// # let server = TrafficController::of(Generation::Today)?;
    /// # let token = server.issue_token();
    /// # server.add_recent(APP, [LogMessage::new(APP, "hello").timestamp(1_000_000_000)]);
    /// # let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
    /// for (source, meta) in consumer.meta(&token)? {
    ///     println!("{source}: {} envelopes, {} expired", meta.count, meta.expired);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Source of the protocol: `src/README.md` of log-cache-release.
    ///
    /// # Errors
    ///
    /// Those of [`recent`](Consumer::recent), with no messages in [`Error::recovered`].
    /// [`NotFound`](ErrorKind::NotFound) from Korifi, which has no `meta`; [`InvalidInput`](ErrorKind::InvalidInput) if no
    /// address of a Log Cache is known.
    pub fn meta(&self, auth_token: &str) -> Result<BTreeMap<String, SourceMeta>> {
        check(auth_token)?;
        let timeouts = self.call_timeouts();
        let (cancel, _registration) = self.inner.open.register();
        self.inner.ask_log_cache("", auth_token, timeouts, &cancel, queries::meta)
    }

    /// Returns the version of Log Cache, and how long its machine has been up.
    ///
    /// Log Cache tells everybody, so no token is sent. The time is limited as that of [`meta`](Consumer::meta).
    ///
    /// ```no_run
    /// use loggregator_consumer::Consumer;
    ///
    /// let info = Consumer::discover("https://api.example.com")?.info()?;
    /// println!("Log Cache {}", info.version);
    /// # Ok::<(), loggregator_consumer::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`meta`](Consumer::meta), but for rejected tokens. [`NotFound`](ErrorKind::NotFound) from versions before
    /// 1.4.7 (October 2018).
    pub fn info(&self) -> Result<LogCacheInfo> {
        let timeouts = self.call_timeouts();
        let (cancel, _registration) = self.inner.open.register();
        self.inner.at_log_cache("", "", timeouts, &cancel, queries::info)
    }

    /// Evaluates a PromQL query on the metrics that Log Cache holds, now. [`query_at`](Consumer::query_at) does it at
    /// another time, [`query_range`](Consumer::query_range) at several.
    ///
    /// Each selector in the query must name its source, as in `cpu{source_id="…"}`. The name of a metric is that of a
    /// counter, a gauge's value or a timer, in which Log Cache replaces every character but letters, digits and
    /// underscores by an underscore. The value of a timer is its duration in nanoseconds. Labels are the tags of the
    /// envelope, `source_id` and `instance_id`. Log Cache compares labels only for equality.
    ///
    /// `auth_token`, the time that this blocks and its limits are those of [`meta`](Consumer::meta).
    ///
    /// ```no_run
    /// use loggregator_consumer::{Consumer, QueryValue};
    ///
    /// let consumer = Consumer::from_cf_cli()?;
    /// let result = consumer.query(r#"cpu{source_id="11111111-1111-1111-1111-111111111111"}"#, "")?;
    /// if let QueryValue::Vector(samples) = result.value {
    ///     for one in samples {
    ///         println!("{:?}: {} %", one.labels.get("instance_id"), one.sample.value);
    ///     }
    /// }
    /// # Ok::<(), loggregator_consumer::Error>(())
    /// ```
    ///
    /// Source of the protocol: `src/README.md` and `src/internal/promql` of log-cache-release, and the HTTP API of
    /// Prometheus.
    ///
    /// # Errors
    ///
    /// Those of [`meta`](Consumer::meta). [`TooLarge`](ErrorKind::TooLarge) if the response has more than 16 MiB: narrow the
    /// query, or widen the step of a [`query_range`](Consumer::query_range). If the server cannot evaluate the query,
    /// [`Error::error_type`] returns Prometheus' `errorType`, and the kind is [`BadRequest`](ErrorKind::BadRequest) if the
    /// query is invalid or names no source, and else [`ServerError`](ErrorKind::ServerError).
    pub fn query(&self, promql: &str, auth_token: &str) -> Result<QueryResult> {
        self.evaluate(Query { promql, times: Times::Now }, auth_token)
    }

    /// Evaluates a PromQL [query](Consumer::query) at a time, in nanoseconds since the Unix epoch, of which PromQL uses the
    /// milliseconds. (The server takes decimal seconds or RFC 3339. It gets RFC 3339, because it would read decimal seconds
    /// up to a millisecond too low.)
    ///
    /// # Errors
    ///
    /// Those of [`query`](Consumer::query).
    pub fn query_at(&self, promql: &str, time: i64, auth_token: &str) -> Result<QueryResult> {
        self.evaluate(Query { promql, times: Times::At(time) }, auth_token)
    }

    /// Evaluates a PromQL [query](Consumer::query) at several times: at `start`, then after each `step`, up to `end`, which
    /// is included. `start` and `end` are in nanoseconds since the Unix epoch. The value is a
    /// [matrix](crate::QueryValue::Matrix).
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    ///
    /// use loggregator_consumer::{Consumer, Error, QueryValue, Series};
    ///
    /// /// The CPU usage of an app's instances in the last 10 minutes, every 30 s.
    /// fn cpu(consumer: &Consumer, app: &str) -> Result<Vec<Series>, Error> {
    ///     let nanoseconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    ///     let end = i64::try_from(nanoseconds).unwrap();
    ///     let (start, step) = (end - 600_000_000_000, Duration::from_secs(30));
    ///     let query = format!("cpu{{source_id=\"{app}\"}}");
    ///     match consumer.query_range(&query, start, end, step, "")?.value {
    ///         QueryValue::Matrix(series) => Ok(series),
    ///         _ => Ok(Vec::new()),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`query`](Consumer::query). [`InvalidInput`](ErrorKind::InvalidInput) if `step` is zero or `end` is before
    /// `start`.
    pub fn query_range(
        &self,
        promql: &str,
        start: i64,
        end: i64,
        step: Duration,
        auth_token: &str,
    ) -> Result<QueryResult> {
        if step.is_zero() || end < start {
            return Err(Error::new(ErrorKind::InvalidInput, "the step is zero, or the end is before the start"));
        }
        self.evaluate(Query { promql, times: Times::Range { start, end, step } }, auth_token)
    }

    fn evaluate(&self, query: Query<'_>, auth_token: &str) -> Result<QueryResult> {
        check(auth_token)?;
        let timeouts = self.call_timeouts();
        let (cancel, _registration) = self.inner.open.register();
        self.inner.ask_log_cache("", auth_token, timeouts, &cancel, |call| queries::query(call, query))
    }

    /// Returns the timeouts of a call that begins now.
    fn call_timeouts(&self) -> ReadTimeouts {
        let Settings { read_timeout, recent_timeout, .. } = self.inner.settings;
        ReadTimeouts { idle: read_timeout, deadline: Some(after(recent_timeout)) }
    }
}

impl Inner {
    /// Returns the function that reads a source page by page.
    fn pages(self: &Arc<Self>, source: &str, mut walk: Walk, given_token: &str, cancel: &Arc<Cancel>) -> NextPage {
        let timeouts = ReadTimeouts { idle: self.settings.read_timeout, deadline: None };
        let (inner, cancel) = (Arc::clone(self), Arc::clone(cancel));
        let (source, token) = (source.to_owned(), given_token.to_owned());
        Box::new(move || {
            walk.next_page(|page| {
                inner.ask_log_cache(&source, &token, timeouts, &cancel, |call| envelopes::read_page(call, page))
            })
        })
    }

    /// Requests the latest metrics of an app's instances.
    fn metrics(
        &self,
        app_guid: &str,
        given_token: &str,
        timeouts: ReadTimeouts,
        cancel: &Arc<Cancel>,
    ) -> Result<Vec<InstanceMetrics>> {
        let requester = self.requester(cancel);
        self.authorized(app_guid, given_token, cancel, |token| {
            self.foundation.with_server(Purpose::Metrics, requester, timeouts.deadline, |choice| {
                let token = &*choice.via().token(token);
                let call = Call { requester, client: None, server: choice.endpoint(), app_guid, token, timeouts };
                match choice.via() {
                    Via::Doppler => doppler::container_metrics(&call),
                    Via::LogCache | Via::Legacy | Via::RlpGateway => envelopes::metrics(&call),
                }
                .map_err(|error| explain(error, app_guid))
            })
        })
    }

    /// Makes a call to Log Cache, about a source or about nothing in particular.
    fn ask_log_cache<T>(
        &self,
        source: &str,
        given_token: &str,
        timeouts: ReadTimeouts,
        cancel: &Arc<Cancel>,
        ask: impl Fn(&Call<'_>) -> Result<T>,
    ) -> Result<T> {
        self.authorized(source, given_token, cancel, |token| {
            self.at_log_cache(source, &Via::LogCache.token(token), timeouts, cancel, &ask)
        })
    }

    /// Makes a call to Log Cache with exactly this token.
    fn at_log_cache<T>(
        &self,
        source: &str,
        token: &str,
        timeouts: ReadTimeouts,
        cancel: &Arc<Cancel>,
        ask: impl Fn(&Call<'_>) -> Result<T>,
    ) -> Result<T> {
        let requester = self.requester(cancel);
        self.foundation.with_server(Purpose::LogCache, requester, timeouts.deadline, |choice| {
            let (server, client) = (choice.endpoint(), requester.client(choice.endpoint()));
            ask(&Call { requester, client: Some(&client), server, app_guid: source, token, timeouts })
                .map_err(|error| if source.is_empty() { error } else { explain(error, source) })
        })
    }
}
