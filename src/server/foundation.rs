//! [`Foundation`]: the log servers of a foundation, and the choice between them.
//!
//! Source: the links at the root of the Cloud Controller's API (`logging`, `log_cache`, `log_stream`), and on older
//! ones `/v2/info` with its `doppler_logging_endpoint` and `logging_endpoint`.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use parking_lot::Mutex;
use serde_json::Value;

use crate::auth::normalised;
use crate::error::{Error, ErrorKind, Result};
use crate::net::deadline::{ReadTimeouts, after};
use crate::net::endpoint::{Endpoint, Scheme};
use crate::net::http::body_error;
use crate::server::call::Requester;

/// The maximum size of a response of the API, in bytes. The rest of a larger one is not read.
const MAX_RESPONSE: u64 = 1 << 20;

/// The server that logs are read from: one of the generations of Loggregator's read side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// The Traffic Controller's legacy paths, `/tail/`, `/recent` and `/dump/`: 2013 to September 2016.
    Legacy,
    /// The Traffic Controller's `/apps/<guid>/stream`, and `/recentlogs` on old ones: 2014 to today.
    Doppler,
    /// Log Cache's `/api/v1/read/<guid>`, or `/v1/read/<guid>` of version 1.x: 2018 to today.
    LogCache,
    /// The RLP gateway's `/v2/read`: 2018 to today.
    RlpGateway,
}

impl Via {
    /// Returns the token as this server expects it: as given on a legacy server, with `bearer` in lower case on others.
    pub(crate) fn token(self, token: &str) -> Cow<'_, str> {
        match self {
            Via::Legacy => Cow::Borrowed(token),
            Via::Doppler | Via::LogCache | Via::RlpGateway => normalised(token),
        }
    }
}

/// The server that is used, and why. See [`Consumer::tail_choice`](crate::Consumer::tail_choice).
///
/// ```
/// use loggregator_consumer::{Builder, Via};
///
/// let consumer = Builder::new().doppler("wss://doppler.example.com").build()?;
/// let choice = consumer.tail_choice()?;
/// assert_eq!(choice.via(), Via::Doppler);
/// assert_eq!(choice.address(), "wss://doppler.example.com");
/// println!("{choice}");
/// # Ok::<(), loggregator_consumer::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Choice {
    via: Via,
    endpoint: Endpoint,
    why: &'static str,
}

impl Choice {
    /// Returns the kind of server.
    pub fn via(&self) -> Via {
        self.via
    }

    /// Returns the server's address.
    pub fn address(&self) -> String {
        self.endpoint.to_string()
    }

    /// Returns the reason for the choice, as text for a person.
    pub fn why(&self) -> &str {
        self.why
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.via {
            Via::Legacy => "the legacy Traffic Controller",
            Via::Doppler => "Doppler's stream",
            Via::LogCache => "Log Cache",
            Via::RlpGateway => "the RLP gateway",
        };
        write!(f, "{name} at {}: {}", self.endpoint, self.why)
    }
}

/// The known addresses of a foundation's log servers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    pub(crate) legacy: Option<Endpoint>,
    pub(crate) doppler: Option<Endpoint>,
    pub(crate) log_cache: Option<Endpoint>,
    pub(crate) rlp_gateway: Option<Endpoint>,
}

impl Addresses {
    /// Returns the best server for a tail.
    fn tail(&self) -> Option<Choice> {
        choose([
            (
                &self.doppler,
                Via::Doppler,
                "it reports when it disconnects a slow reader, and its streams have no time limit",
            ),
            (&self.rlp_gateway, Via::RlpGateway, "the address of Doppler is not known"),
            (&self.legacy, Via::Legacy, "it is the only known server for tails"),
        ])
    }

    /// Returns the best server for recent messages.
    fn recent(&self) -> Option<Choice> {
        choose([
            (&self.log_cache, Via::LogCache, "it holds the recent messages of today's foundations"),
            // Preferred to the legacy server, which the API listed for years after its removal.
            (&self.doppler, Via::Doppler, "the address of Log Cache is not known, so this may be an old foundation"),
            (&self.legacy, Via::Legacy, "it is the only known server for recent messages"),
        ])
    }

    /// Returns these addresses, with missing ones filled in from `fallback`.
    fn with_fallback(&self, fallback: Addresses) -> Self {
        let Addresses { legacy, doppler, log_cache, rlp_gateway } = self.clone();
        Addresses {
            legacy: legacy.or(fallback.legacy),
            doppler: doppler.or(fallback.doppler),
            log_cache: log_cache.or(fallback.log_cache),
            rlp_gateway: rlp_gateway.or(fallback.rlp_gateway),
        }
    }
}

/// Returns the first server whose address is known.
fn choose<const N: usize>(preferred: [(&Option<Endpoint>, Via, &'static str); N]) -> Option<Choice> {
    preferred
        .into_iter()
        .find_map(|(endpoint, via, why)| endpoint.clone().map(|endpoint| Choice { via, endpoint, why }))
}

/// A foundation: the addresses that the caller gave, and those that its API lists.
#[derive(Debug)]
pub(crate) struct Foundation {
    given: Addresses,
    api: Option<Endpoint>,
    discovered: Mutex<Option<Addresses>>,
}

impl Foundation {
    pub(crate) fn new(api: Option<Endpoint>, given: Addresses) -> Result<Self> {
        if api.is_none() && given.tail().is_none() && given.recent().is_none() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "no address: give the address of the API, such as https://api.example.com, or of a log server",
            ));
        }
        Ok(Foundation { given, api, discovered: Mutex::new(None) })
    }

    /// Returns the server to read a tail from.
    pub(crate) fn tail(&self, requester: Requester<'_>) -> Result<Choice> {
        self.choose("tail", Addresses::tail, Via::Doppler, requester)
    }

    /// Returns the server to read recent messages from.
    pub(crate) fn recent(&self, requester: Requester<'_>) -> Result<Choice> {
        self.choose("recent", Addresses::recent, Via::LogCache, requester)
    }

    /// Chooses a server. Asks the API only if the address of the best server was not given.
    fn choose(
        &self,
        call: &str,
        choose: fn(&Addresses) -> Option<Choice>,
        best: Via,
        requester: Requester<'_>,
    ) -> Result<Choice> {
        let given = choose(&self.given);
        let choice = match &self.api {
            Some(api) if given.as_ref().is_none_or(|choice| choice.via != best) => {
                match self.discover(api, requester) {
                    Ok(discovered) => choose(&self.given.with_fallback(discovered)),
                    Err(error) if given.is_none() || requester.cancel.is_cancelled() => return Err(error),
                    Err(error) => {
                        log::warn!("the request to the API failed, using the given addresses: {error}");
                        given
                    }
                }
            }
            _ => given,
        };
        let choice = choice.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("no address of a server for `{call}` is known: see Builder::api"),
            )
        })?;
        log::debug!("server for {call}: {choice}");
        Ok(choice)
    }

    /// Returns the addresses that the API lists. They are requested only once.
    fn discover(&self, api: &Endpoint, requester: Requester<'_>) -> Result<Addresses> {
        // The lock is not held during the request, so that every caller can be interrupted. Two may make it at once.
        if let Some(addresses) = &*self.discovered.lock() {
            return Ok(addresses.clone());
        }
        let addresses = request_addresses(requester, api)?;
        *self.discovered.lock() = Some(addresses.clone());
        Ok(addresses)
    }
}

/// Requests the addresses from the API.
fn request_addresses(requester: Requester<'_>, api: &Endpoint) -> Result<Addresses> {
    let root = match fetch(requester, api, "/") {
        // An API from before 2018 has no links at its root.
        Err(error) if error.status() == Some(404) => Value::Null,
        root => root?,
    };
    let link = |name: &str, scheme| address(root.pointer(&format!("/links/{name}/href")), scheme);
    let mut addresses = Addresses {
        legacy: None,
        doppler: link("logging", Scheme::WebSocket)?,
        log_cache: link("log_cache", Scheme::Http)?,
        rlp_gateway: link("log_stream", Scheme::Http)?,
    };
    if addresses.tail().is_none() {
        let info = match fetch(requester, api, "/v2/info") {
            Err(error) if error.status() == Some(404) => Value::Null,
            info => info?,
        };
        addresses.doppler = address(info.get("doppler_logging_endpoint"), Scheme::WebSocket)?;
        addresses.legacy = address(info.get("logging_endpoint"), Scheme::WebSocket)?;
    }
    if addresses.tail().is_none() {
        let text =
            format!("{api} lists no log server: is it the API of a Cloud Foundry, such as https://api.example.com?");
        return Err(Error::new(ErrorKind::BadResponse, text));
    }
    Ok(addresses)
}

/// Returns an address that the API lists, or `None` if it is absent, null or empty.
fn address(value: Option<&Value>, scheme: Scheme) -> Result<Option<Endpoint>> {
    let Some(url) = value.and_then(Value::as_str).filter(|url| !url.is_empty()) else { return Ok(None) };
    let endpoint = Endpoint::parse(url, scheme)
        .map_err(|cause| Error::caused(ErrorKind::BadResponse, "the API lists an invalid address", cause))?;
    Ok(Some(endpoint))
}

/// Requests a JSON document from the API.
fn fetch(requester: Requester<'_>, api: &Endpoint, path: &str) -> Result<Value> {
    let timeout = requester.settings.connect_timeout;
    let timeouts = ReadTimeouts { idle: timeout, deadline: Some(after(timeout)) };
    let response = requester.get(api, path, "", timeouts)?;
    if response.status != 200 {
        return Err(response.into_error());
    }
    let what = format!("asking the API {api} for its log servers");
    let mut body = Vec::new();
    response
        .body
        .take(MAX_RESPONSE)
        .read_to_end(&mut body)
        .map_err(|error| body_error(&what, error, requester.cancel))?;
    serde_json::from_slice(&body).map_err(|cause| Error::caused(ErrorKind::BadResponse, what, cause))
}
