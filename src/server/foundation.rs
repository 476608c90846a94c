//! [`Foundation`]: the log servers of a foundation, and the choice between them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use super::choice::{Choice, Via};
pub(crate) use super::discovery::ApiVersion;
use super::discovery::{Discovery, Links};
use crate::error::{Error, ErrorKind, Result};
use crate::net::deadline::after;
use crate::net::endpoint::Endpoint;
use crate::server::call::Requester;
use crate::server::doppler;
use crate::server::watched::Streams;

/// How long a server without a route comes after the others, so that not every call tries it first.
const ROUTE_MEMORY: Duration = Duration::from_secs(10 * 60);

/// Why a server is used that the caller insists on.
const FORCED: &str = "it is set by Builder::tail_via";

/// Why a server with streams is not used, if those of the foundation give no lines.
const MUTE: &str = "the streams of this foundation give no lines, but Log Cache has some";

/// What a server is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Tail,
    Recent,
    /// Live messages from this server and no other.
    TailVia(Via),
    /// Recent messages, and then all further ones.
    Follow,
    /// What only Log Cache has.
    LogCache,
    /// The metrics of containers.
    Metrics,
    /// Live messages of several apps.
    TailOfSeveral,
    /// Live envelopes of some sources, with their logs.
    Stream,
    /// Live metrics and events of some sources.
    StreamWithoutLogs,
    /// The same, shared between several readers.
    SharedStream,
    /// Live envelopes of some sources, of which Doppler carries nothing.
    StreamWithoutDoppler,
    /// Live envelopes of all sources.
    Firehose,
    /// Live envelopes of all sources, of which Doppler carries nothing.
    FirehoseWithoutDoppler,
    /// Stored envelopes of some sources, and then all further ones.
    FollowStream,
}

impl Purpose {
    /// Returns the servers that are suitable, best first, each with the reason to use it if no better one is known.
    fn servers(self) -> &'static [(Via, &'static str)] {
        match self {
            Purpose::Tail => &[
                (Via::Doppler, "it reports when it disconnects a slow reader, and its streams have no time limit"),
                (Via::RlpGateway, "the address of Doppler is not known"),
                (Via::LogCache, "no address of Doppler or the RLP gateway is known, so it is polled"),
                // Last, because the API listed it for years after its removal.
                (Via::Legacy, "it is the only known server for tails"),
            ],
            Purpose::Recent => &[
                (Via::LogCache, "it holds the recent messages of today's foundations"),
                (Via::Doppler, "the address of Log Cache is not known, so this may be an old foundation"),
                (Via::Legacy, "it is the only known server for recent messages"),
            ],
            Purpose::TailOfSeveral => &[
                (Via::RlpGateway, "it has one stream for several apps"),
                (Via::LogCache, "the address of the RLP gateway is not known, so it is polled, over one connection"),
                (Via::Doppler, "no better server is known, so it has one stream for each app"),
                (Via::Legacy, "it is the only known server for tails"),
            ],
            Purpose::Stream | Purpose::StreamWithoutLogs => &[
                (Via::RlpGateway, "it has envelopes of all types, and selects them"),
                (Via::Doppler, "the address of the RLP gateway is not known"),
                (Via::LogCache, "no address of the RLP gateway or of Doppler is known, so it is polled"),
            ],
            Purpose::FollowStream => &[(Via::LogCache, "it holds envelopes, so none is lost between two requests")],
            Purpose::SharedStream => &[(Via::RlpGateway, "it can share a stream between several readers")],
            Purpose::Firehose => &[
                (Via::Doppler, "it reports when it disconnects a slow reader, and its streams have no time limit"),
                (Via::RlpGateway, "the address of Doppler is not known"),
            ],
            Purpose::StreamWithoutDoppler => &[
                (Via::RlpGateway, "it has envelopes of all types, and selects them"),
                (Via::LogCache, "no address of the RLP gateway is known, so it is polled"),
            ],
            Purpose::FirehoseWithoutDoppler => &[(Via::RlpGateway, "it has events, and Doppler has none")],
            Purpose::TailVia(Via::Doppler) => &[(Via::Doppler, FORCED)],
            Purpose::TailVia(Via::RlpGateway) => &[(Via::RlpGateway, FORCED)],
            Purpose::TailVia(Via::LogCache) => &[(Via::LogCache, FORCED)],
            Purpose::TailVia(Via::Legacy) => &[(Via::Legacy, FORCED)],
            Purpose::Follow => &[
                (Via::LogCache, "it holds messages, so none is lost between two requests"),
                (
                    Via::Doppler,
                    "the address of Log Cache is not known, so its stream is joined with its recent messages",
                ),
                (Via::Legacy, "it is the only known server, so its stream is joined with its recent messages"),
            ],
            Purpose::LogCache => &[(Via::LogCache, "only Log Cache has this")],
            Purpose::Metrics => &[
                (Via::LogCache, "it holds the metrics of today's foundations"),
                (Via::Doppler, "the address of Log Cache is not known, so this may be an old foundation"),
            ],
        }
    }

    /// Returns true for live logs that Log Cache has, too: it is used instead of a stream that is mute.
    pub(crate) fn may_be_polled(self) -> bool {
        matches!(self, Purpose::Tail | Purpose::TailOfSeveral | Purpose::Stream)
    }

    fn best(self) -> Via {
        self.servers()[0].0
    }

    fn is_served_by(self, links: &Links) -> bool {
        self.servers().iter().any(|(via, _)| links.has(*via))
    }
}

/// Addresses of a foundation's log servers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    pub(crate) legacy: Option<Endpoint>,
    pub(crate) doppler: Option<Endpoint>,
    pub(crate) log_cache: Option<Endpoint>,
    pub(crate) rlp_gateway: Option<Endpoint>,
}

impl Addresses {
    fn get(&self, via: Via) -> Option<&Endpoint> {
        let Addresses { legacy, doppler, log_cache, rlp_gateway } = self;
        match via {
            Via::Legacy => legacy.as_ref(),
            Via::Doppler => doppler.as_ref(),
            Via::LogCache => log_cache.as_ref(),
            Via::RlpGateway => rlp_gateway.as_ref(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Endpoint> {
        [Via::Legacy, Via::Doppler, Via::LogCache, Via::RlpGateway].into_iter().filter_map(|via| self.get(via))
    }
}

/// A foundation: what the caller, its API and the session of `cf` say about its addresses.
#[derive(Debug)]
pub(crate) struct Foundation {
    given: Addresses,
    api: Option<Endpoint>,
    /// What `cf` got from the API when it logged in. Used until the API is asked, and for what it does not list.
    session: Addresses,
    allows_plain: bool,
    links: Mutex<Option<Links>>,
    missing_routes: Mutex<MissingRoutes>,
    streams: Arc<Streams>,
    /// Held while the API is asked again. Nobody waits for it.
    asking_again: Mutex<()>,
}

impl Foundation {
    pub(crate) fn new(
        given: Addresses,
        api: Option<Endpoint>,
        session: Addresses,
        allows_plain: bool,
    ) -> Result<Foundation> {
        if api.is_none() && given.all().next().is_none() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "no address: give the address of the API, such as https://api.example.com, or of a log server",
            ));
        }
        Ok(Foundation {
            given,
            api,
            session,
            allows_plain,
            links: Mutex::default(),
            missing_routes: Mutex::default(),
            streams: Arc::default(),
            asking_again: Mutex::default(),
        })
    }

    /// Returns true if one of the addresses that were set is reached over TLS.
    pub(crate) fn uses_tls(&self) -> bool {
        self.given.all().chain(&self.api).any(|endpoint| endpoint.secure)
    }

    /// Returns whether the streams give lines, as far as that is known.
    pub(crate) fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// Returns the address of Log Cache, if it is known without asking the API.
    pub(crate) fn known_log_cache(&self) -> Option<Endpoint> {
        let links = self.links.lock().clone();
        self.plan(Purpose::TailVia(Via::LogCache), links.as_ref()).ok().map(|plan| plan.first.endpoint().clone())
    }

    /// Asks the API for its log servers.
    ///
    /// # Errors
    ///
    /// If it lists none that can be used, for whatever purpose.
    pub(crate) fn discover(&self, requester: Requester<'_>) -> Result<()> {
        let Some(api) = &self.api else { return Ok(()) };
        let is_enough = |links: &Links| [Purpose::Tail, Purpose::Recent].iter().any(|it| it.is_served_by(links));
        let links = self.discovery(api, requester, None).run(None, is_enough)?;
        match links.first_error() {
            Some(error) if !is_enough(&links) => Err(error.clone()),
            _ => {
                *self.links.lock() = Some(links);
                Ok(())
            }
        }
    }

    /// Returns the address of the API, and the version with which it lists apps. Asks its root for that, unless it has
    /// been asked before.
    pub(crate) fn api(&self, requester: Requester<'_>) -> Result<(&Endpoint, ApiVersion)> {
        let Some(api) = &self.api else {
            let text = "no address of an API is known, which finds apps by their names: see Builder::api";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        };
        let known = self.links.lock().as_ref().map(|links| links.version);
        if let Some(version) = known {
            return Ok((api, version));
        }
        let (links, _) = self.discovery(api, requester, None).root()?;
        Ok((api, self.links.lock().get_or_insert(links).version))
    }

    /// Returns the server that [`with_server`](Foundation::with_server) tries first.
    pub(crate) fn choose(&self, purpose: Purpose, requester: Requester<'_>) -> Result<Choice> {
        let (links, _) = self.links(purpose, requester, None, false)?;
        self.plan(purpose, links.as_ref()).map(|plan| plan.first)
    }

    /// Makes a call to the best server.
    ///
    /// If a server at an address from the API cannot be reached, asks the API again, unless this call has just asked
    /// it, and tries the server that it lists now, if it is another one. While there is no route to a server, or nothing
    /// listens at its address, tries the next best one.
    ///
    /// Asking the API ends by `deadline`, and after the connect timeout in any case.
    pub(crate) fn with_server<T>(
        &self,
        purpose: Purpose,
        requester: Requester<'_>,
        deadline: Option<Instant>,
        call: impl Fn(&Choice) -> Result<T>,
    ) -> Result<T> {
        let attempt = |choice: &Choice| {
            log::debug!("server for {purpose:?}: {choice}");
            call(choice)
        };
        let (links, has_just_asked) = self.links(purpose, requester, deadline, false)?;
        let mut plan = self.plan(purpose, links.as_ref())?;
        let mut error = match attempt(&plan.first) {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        if !plan.first.is_given() && is_unreachable(&error) {
            let failed = plan.first.endpoint().clone();
            // The better server that had no route may be back.
            self.missing_routes.lock().clear();
            if let Some(again) = self.plan_again(&failed, purpose, requester, deadline, has_just_asked) {
                plan = again;
            }
            requester.cancel.check()?;
            if *plan.first.endpoint() != failed {
                log::info!("{failed} does not answer, trying {}", plan.first);
                error = match attempt(&plan.first) {
                    Ok(result) => return Ok(result),
                    Err(error) => error,
                };
            }
        }
        // The servers that could not be used, each with the reason.
        let mut unused = Vec::new();
        let mut failed = plan.first.clone();
        let mut failure = error.clone();
        for next in plan.others {
            if failed.is_given() || !may_be_replaced(&failure) {
                break;
            }
            // The server's message is left out, because it could contain the token.
            let what = if has_no_route(&failure) { "has no route" } else { "cannot be reached" };
            let status = failure.status().map_or_else(String::new, |status| format!(" ({status})"));
            let why = format!("{} at {} {what}{status}", failed.via().name(), failed.endpoint());
            unused.push((failed.endpoint().clone(), why));
            let whys: Vec<_> = unused.iter().map(|(_, why)| &**why).collect();
            let next = next.with_why(whys.join("; "));
            log::warn!("using another server: {next}");
            match attempt(&next) {
                Ok(result) => {
                    let mut missing_routes = self.missing_routes.lock();
                    unused.into_iter().for_each(|(endpoint, why)| missing_routes.add(&endpoint, why, Instant::now()));
                    return Ok(result);
                }
                Err(other) if is_final(&other) => return Err(other),
                Err(other) => {
                    let (name, endpoint) = (next.via().name(), next.endpoint());
                    error = error.with_hint(&format!(" (and {name} at {endpoint} failed, too: {other})"));
                    (failed, failure) = (next, other);
                }
            }
        }
        match plan.unusable {
            Some(_) if matches!(error.kind(), ErrorKind::Closed | ErrorKind::InvalidInput) => Err(error),
            Some(unusable) => {
                let (name, endpoint) = (plan.first.via().name(), plan.first.endpoint());
                let context = format!("{unusable}; {name} at {endpoint} is no replacement: ");
                // A server that has no recent messages says nothing about the app.
                let is_misleading = purpose == Purpose::Recent && lacks_path(&error);
                let kind = if is_misleading { ErrorKind::BadResponse } else { error.kind() };
                Err(error.with_kind(kind).with_context(&context))
            }
            None => Err(error),
        }
    }

    /// Returns the plan for another attempt after the server at `failed` could not be reached. Asks the API only if
    /// nobody else has learned of, or is asking for, another address. `None`: nothing new is known.
    fn plan_again(
        &self,
        failed: &Endpoint,
        purpose: Purpose,
        requester: Requester<'_>,
        deadline: Option<Instant>,
        has_just_asked: bool,
    ) -> Option<Plan> {
        let known = self.links.lock().clone();
        let plan = self.plan(purpose, known.as_ref()).ok();
        if has_just_asked || plan.as_ref().is_some_and(|plan| plan.first.endpoint() != failed) {
            return plan;
        }
        // The calls of a whole storm would tell the API no more than one does.
        let _asking = self.asking_again.try_lock()?;
        let (links, _) = self.links(purpose, requester, deadline, true).ok()?;
        self.plan(purpose, links.as_ref()).ok()
    }

    /// Returns what the API lists, and whether this call has just asked it. `None`: there is no API, or its answer is
    /// not needed.
    fn links(
        &self,
        purpose: Purpose,
        requester: Requester<'_>,
        deadline: Option<Instant>,
        again: bool,
    ) -> Result<(Option<Links>, bool)> {
        let best = purpose.best();
        let Some(api) = self.api.as_ref().filter(|_| self.given.get(best).is_none()) else {
            return Ok((self.links.lock().clone(), false));
        };
        // No lock is held during the requests, so that every caller can be interrupted. Two may make them at once.
        let known = self.links.lock().clone();
        let is_enough = self.session.get(best).is_some()
            || known.as_ref().is_some_and(|links| links.is_complete || purpose.is_served_by(links));
        if is_enough && !again {
            return Ok((known, false));
        }
        let discovery = self.discovery(api, requester, deadline);
        match discovery.run(known.clone().filter(|_| !again), |links| purpose.is_served_by(links)) {
            Ok(links) => {
                *self.links.lock() = Some(links.clone());
                Ok((Some(links), true))
            }
            Err(error) if !requester.cancel.is_cancelled() && self.plan(purpose, known.as_ref()).is_ok() => {
                log::warn!("the API could not be asked, using the addresses that are known: {error}");
                Ok((known, true))
            }
            Err(error) => Err(error),
        }
    }

    fn discovery<'a>(&self, api: &'a Endpoint, requester: Requester<'a>, deadline: Option<Instant>) -> Discovery<'a> {
        let limit = after(requester.settings.connect_timeout);
        let deadline = deadline.map_or(limit, |deadline| deadline.min(limit));
        Discovery { requester, api, allows_plain: self.allows_plain, deadline }
    }

    /// Orders the servers that are known. `links` is what the API lists.
    ///
    /// # Errors
    ///
    /// If there is none, or none with a usable address.
    fn plan(&self, purpose: Purpose, links: Option<&Links>) -> Result<Plan> {
        let now = Instant::now();
        let missing_routes = self.missing_routes.lock();
        let (mut with_route, mut without_route, mut mute) = (Vec::new(), Vec::new(), Vec::new());
        let (mut why_not_the_best, mut unusable) = (None, None);
        for &(via, why) in purpose.servers() {
            let (address, is_given) = match (self.given.get(via), links.and_then(|links| links.get(via))) {
                (Some(given), _) => (Ok(given.clone()), true),
                (None, Some(Ok(listed))) => (Ok(listed.clone()), false),
                (None, listed) => match (self.session.get(via), listed) {
                    (Some(address), _) => (Ok(address.clone()), false),
                    (None, Some(Err(error))) => (Err(error.clone()), false),
                    (None, _) => continue,
                },
            };
            match address {
                Ok(endpoint) => {
                    let missing = missing_routes.why(&endpoint, now).filter(|_| !is_given);
                    let why = why_not_the_best.clone().map_or(Cow::Borrowed(why), Cow::Owned);
                    let choice = Choice::new(via, endpoint, why, is_given);
                    let is_mute = purpose.may_be_polled() && via.streams() && self.streams.are_mute();
                    match missing {
                        _ if is_mute => {
                            why_not_the_best.get_or_insert(MUTE.to_owned());
                            mute.push(choice);
                        }
                        Some(missing) => {
                            why_not_the_best.get_or_insert(missing.to_owned());
                            without_route.push(choice);
                        }
                        None => with_route.push(choice),
                    }
                }
                Err(error) => {
                    why_not_the_best
                        .get_or_insert_with(|| format!("the API lists no usable address of {}", via.name()));
                    if with_route.is_empty() {
                        unusable.get_or_insert(error);
                    }
                }
            }
        }
        // A mute stream is no replacement for Log Cache.
        if with_route.iter().chain(&without_route).any(|choice| choice.via() == Via::LogCache) {
            mute.clear();
        }
        let mut usable = with_route.into_iter().chain(without_route).chain(mute);
        match (usable.next(), unusable) {
            (Some(first), unusable) => {
                let mut others: Vec<_> = usable.collect();
                // A foundation with three servers has no legacy server any more.
                if others.len() > 1 {
                    others.retain(|other| other.via() != Via::Legacy);
                }
                Ok(Plan { first, others, unusable })
            }
            (None, Some(error)) => Err(error),
            (None, None) => Err(self.no_server(purpose, links)),
        }
    }

    /// Returns the error of a call for which no server is known.
    fn no_server(&self, purpose: Purpose, links: Option<&Links>) -> Error {
        let known = |via| {
            let listed = || links.and_then(|links| links.get(via)).and_then(|address| address.as_ref().ok());
            self.given.get(via).or_else(listed).or_else(|| self.session.get(via))
        };
        let gateway = |lacks: &str, instead: &str| {
            let gateway = known(Via::RlpGateway)?;
            Some(format!("the only known log server is the RLP gateway ({gateway}), which {lacks}: {instead}"))
        };
        let text = match purpose {
            Purpose::Recent => gateway(
                "has no recent messages",
                "set the address of another server (see Builder::api and Builder::log_cache)",
            ),
            Purpose::Follow => gateway(
                "has no recent messages",
                "use Consumer::tail, or set the address of another server (see Builder::api and Builder::log_cache)",
            ),
            Purpose::Tail | Purpose::TailOfSeveral | Purpose::Metrics => None,
            Purpose::LogCache => Some(
                "no address of Log Cache is known, and no other server has this: see Builder::api and \
                 Builder::log_cache (foundations before 2018 have no Log Cache)"
                    .to_owned(),
            ),
            Purpose::Stream | Purpose::StreamWithoutLogs => Some(
                "no address of the RLP gateway, of Doppler or of Log Cache is known, and no other server has envelopes: \
                 see Builder::api"
                    .to_owned(),
            ),
            Purpose::Firehose => Some(
                "no address of the RLP gateway or of Doppler is known, and no other server has the envelopes of all \
                 sources: see Builder::api"
                    .to_owned(),
            ),
            Purpose::StreamWithoutDoppler => Some(format!(
                "no address of the RLP gateway or of Log Cache is known, and {}: see Builder::api",
                doppler::LACKS
            )),
            Purpose::FirehoseWithoutDoppler => {
                Some(format!("no address of the RLP gateway is known, and {}: see Builder::api", doppler::LACKS))
            }
            Purpose::FollowStream => Some(
                "no address of Log Cache is known, and no other server holds envelopes: use Consumer::stream, or see \
                 Builder::api and Builder::log_cache (foundations before 2018 have no Log Cache)"
                    .to_owned(),
            ),
            Purpose::SharedStream => Some(
                "no address of the RLP gateway is known, and no other server shares the stream of an app: see Builder::api"
                    .to_owned(),
            ),
            Purpose::TailVia(via) => Some(format!(
                "no address of {} is known, which Builder::tail_via asks for: see Builder::api",
                via.name()
            )),
        };
        let call = match purpose {
            Purpose::Tail | Purpose::TailOfSeveral | Purpose::TailVia(_) => "tail",
            Purpose::Recent => "recent",
            Purpose::Follow => "follow",
            Purpose::LogCache => "read",
            Purpose::Metrics => "metrics",
            Purpose::Stream
            | Purpose::StreamWithoutLogs
            | Purpose::StreamWithoutDoppler
            | Purpose::SharedStream
            | Purpose::Firehose
            | Purpose::FirehoseWithoutDoppler => "stream",
            Purpose::FollowStream => "follow_stream",
        };
        let text = text.unwrap_or_else(|| format!("no address of a server for `{call}` is known: see Builder::api"));
        Error::new(ErrorKind::InvalidInput, text)
    }
}

/// The servers that a call may try.
struct Plan {
    first: Choice,
    /// Tried in turn while there is no route to the one before.
    others: Vec<Choice>,
    /// Why the address of a better server cannot be used.
    unusable: Option<Error>,
}

/// Servers that had no route, while another server could be used instead.
#[derive(Debug, Default)]
struct MissingRoutes(Vec<(Endpoint, String, Instant)>);

impl MissingRoutes {
    fn add(&mut self, endpoint: &Endpoint, why: String, now: Instant) {
        self.0.retain(|(other, _, since)| other != endpoint && now.duration_since(*since) < ROUTE_MEMORY);
        self.0.push((endpoint.clone(), why, now));
    }

    fn why(&self, endpoint: &Endpoint, now: Instant) -> Option<&str> {
        let is_recent = |since| now.duration_since(since) < ROUTE_MEMORY;
        self.0.iter().find(|(other, _, since)| other == endpoint && is_recent(*since)).map(|(_, why, _)| &**why)
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// Returns true if a server did not answer at its address, so that it may have another one now.
fn is_unreachable(error: &Error) -> bool {
    let no_response = matches!(
        error.kind(),
        ErrorKind::Dial | ErrorKind::Proxy | ErrorKind::Tls | ErrorKind::Timeout | ErrorKind::ConnectionLost
    );
    has_no_route(error) || no_response && error.status().is_none() && error.recovered().is_empty()
}

/// Returns true if a server is away, so that another one may be used instead.
fn may_be_replaced(error: &Error) -> bool {
    has_no_route(error) || error.kind() == ErrorKind::Dial
}

/// Returns true if the platform's router, or another gateway, has no route to a server.
fn has_no_route(error: &Error) -> bool {
    (error.is_from_router() || error.status() == Some(502)) && error.recovered().is_empty()
}

/// Returns true if the error of the second server says more about the call than that of the first, which has no route.
fn is_final(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Closed | ErrorKind::InvalidInput => true,
        kind => kind.is_refusal() && !error.is_from_router() && !lacks_path(error),
    }
}

/// Returns true if a server does not know the path of a call. Its 404 for an app is empty or has a known text. The
/// Doppler of a foundation with Log Cache has no recent messages, and answers so.
fn lacks_path(error: &Error) -> bool {
    let body = error.body().unwrap_or_default().trim();
    let is_about_the_app = matches!(body, "" | "Not Found") || body.starts_with("Resource Not Found");
    error.kind() == ErrorKind::NotFound && !is_about_the_app
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::endpoint::Scheme;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint::parse(&format!("http://server.example.com:{port}"), Scheme::Http).unwrap()
    }

    #[test]
    fn a_missing_route_is_remembered_for_a_while() {
        let begin = Instant::now();
        let mut routes = MissingRoutes::default();
        routes.add(&endpoint(1), "first".to_owned(), begin);
        routes.add(&endpoint(1), "again".to_owned(), begin);
        assert_eq!(routes.why(&endpoint(1), begin + ROUTE_MEMORY / 2), Some("again"));
        assert_eq!(routes.why(&endpoint(2), begin), None);
        assert_eq!(routes.why(&endpoint(1), begin + ROUTE_MEMORY), None);
        routes.add(&endpoint(2), "other".to_owned(), begin + ROUTE_MEMORY);
        assert_eq!(routes.0.len(), 1, "what is no longer remembered is removed");
    }

    #[test]
    fn only_an_error_about_the_app_or_the_token_is_more_than_a_missing_route() {
        let response = |status, body: &str| Error::response(status, "", "recent", body.into(), None);
        for error in [
            response(401, "no"),
            response(404, ""),
            response(404, "Not Found"),
            response(404, "Resource Not Found. /recent"),
            response(404, "x").with_kind(ErrorKind::Unauthorized),
            Error::closed(),
        ] {
            assert!(is_final(&error), "{error}");
        }
        for error in [
            response(404, "404 page not found"),
            response(404, "").with_router("unknown_route"),
            response(503, ""),
            Error::new(ErrorKind::Dial, "connection refused"),
        ] {
            assert!(!is_final(&error), "{error}");
        }
    }
}
