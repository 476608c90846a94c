//! [`Foundation`]: the servers of logs that a foundation has, and which of them to use.
//!
//! Source: the links at the root of the Cloud Controller's API (`logging`, `log_cache`, `log_stream`), and before
//! these `/v2/info` with its `doppler_logging_endpoint` and `logging_endpoint`.

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

/// As much as an API's response may have, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// What speaks to a client: the generations of Loggregator's read side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// The Traffic Controller's legacy paths, `/tail/`, `/recent` and `/dump/`: 2013 to September 2016.
    Legacy,
    /// The Traffic Controller's `/apps/<guid>/stream`, and `/recentlogs` on old ones: 2014 to today.
    Doppler,
    /// Log Cache's `/api/v1/read/<guid>`: 2018 to today.
    LogCache,
    /// The RLP gateway's `/v2/read`: 2018 to today.
    RlpGateway,
}

impl Via {
    /// A token as this generation wants it: the legacy one as given, the others with `bearer` in lower case.
    pub(crate) fn token(self, token: &str) -> Cow<'_, str> {
        match self {
            Via::Legacy => Cow::Borrowed(token),
            Via::Doppler | Via::LogCache | Via::RlpGateway => normalised(token),
        }
    }
}

/// Which server is used, and why: see [`Consumer::tail_choice`](crate::Consumer::tail_choice).
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
    /// What is spoken to.
    pub fn via(&self) -> Via {
        self.via
    }

    /// Its address.
    pub fn address(&self) -> String {
        self.endpoint.to_string()
    }

    /// Why it was chosen, in words.
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

/// The addresses of a foundation's servers of logs, as far as they are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    pub(crate) legacy: Option<Endpoint>,
    pub(crate) doppler: Option<Endpoint>,
    pub(crate) log_cache: Option<Endpoint>,
    pub(crate) rlp_gateway: Option<Endpoint>,
}

impl Addresses {
    /// Which server a tail is read from.
    fn tail(&self) -> Option<Choice> {
        choose([
            (
                &self.doppler,
                Via::Doppler,
                "it tells when it cuts a slow reader off, and its streams have no time limit",
            ),
            (&self.rlp_gateway, Via::RlpGateway, "there is no address of Doppler"),
            (&self.legacy, Via::Legacy, "it is the only address for tails"),
        ])
    }

    /// Which server recent messages are read from.
    fn recent(&self) -> Option<Choice> {
        choose([
            (&self.log_cache, Via::LogCache, "it is where the recent messages are today"),
            // Before the legacy one: APIs named that for years after it was gone.
            (&self.doppler, Via::Doppler, "there is no address of Log Cache, so this may be an old foundation"),
            (&self.legacy, Via::Legacy, "it is the only address for recent messages"),
        ])
    }

    /// These, and what they lack from `others`.
    fn or(&self, others: Addresses) -> Self {
        let Addresses { legacy, doppler, log_cache, rlp_gateway } = self.clone();
        Addresses {
            legacy: legacy.or(others.legacy),
            doppler: doppler.or(others.doppler),
            log_cache: log_cache.or(others.log_cache),
            rlp_gateway: rlp_gateway.or(others.rlp_gateway),
        }
    }
}

fn choose<const N: usize>(preferred: [(&Option<Endpoint>, Via, &'static str); N]) -> Option<Choice> {
    preferred
        .into_iter()
        .find_map(|(endpoint, via, why)| endpoint.clone().map(|endpoint| Choice { via, endpoint, why }))
}

/// A foundation: addresses that were given, and those that its API tells.
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
                "no address: give the API's, such as https://api.example.com, or that of a server of logs",
            ));
        }
        Ok(Foundation { given, api, discovered: Mutex::new(None) })
    }

    /// Which server a tail is read from.
    pub(crate) fn tail(&self, requester: Requester<'_>) -> Result<Choice> {
        self.choose("tail", Addresses::tail, Via::Doppler, requester)
    }

    /// Which server recent messages are read from.
    pub(crate) fn recent(&self, requester: Requester<'_>) -> Result<Choice> {
        self.choose("recent", Addresses::recent, Via::LogCache, requester)
    }

    /// The API is asked only if there is one, and what was given lacks the best server.
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
                    Ok(found) => choose(&self.given.or(found)),
                    Err(error) if given.is_none() || requester.cancel.is_cancelled() => return Err(error),
                    Err(error) => {
                        log::warn!("going on with the addresses that were given: {error}");
                        given
                    }
                }
            }
            _ => given,
        };
        let choice = choice.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("there is no address of a server for `{call}`: see Builder::api"),
            )
        })?;
        log::debug!("{call} is read from {choice}");
        Ok(choice)
    }

    /// What the API tells, asked once.
    fn discover(&self, api: &Endpoint, requester: Requester<'_>) -> Result<Addresses> {
        // Not held while asking: two callers may ask, and each can be interrupted.
        if let Some(addresses) = &*self.discovered.lock() {
            return Ok(addresses.clone());
        }
        let addresses = ask(requester, api)?;
        *self.discovered.lock() = Some(addresses.clone());
        Ok(addresses)
    }
}

fn ask(requester: Requester<'_>, api: &Endpoint) -> Result<Addresses> {
    let root = match fetch(requester, api, "/") {
        // An API before 2018 has nothing at its root.
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
        let text = format!(
            "{api} names no server of logs: is it the API of a Cloud Foundry, such as https://api.example.com?"
        );
        return Err(Error::new(ErrorKind::BadResponse, text));
    }
    Ok(addresses)
}

/// An address that an API tells; absent, null and empty are none.
fn address(value: Option<&Value>, scheme: Scheme) -> Result<Option<Endpoint>> {
    let Some(url) = value.and_then(Value::as_str).filter(|url| !url.is_empty()) else { return Ok(None) };
    let endpoint = Endpoint::parse(url, scheme)
        .map_err(|cause| Error::caused(ErrorKind::BadResponse, "the API tells an address that can't be used", cause))?;
    Ok(Some(endpoint))
}

fn fetch(requester: Requester<'_>, api: &Endpoint, path: &str) -> Result<Value> {
    let timeout = requester.settings.connect_timeout;
    let timeouts = ReadTimeouts { idle: timeout, deadline: Some(after(timeout)) };
    let response = requester.get(api, path, "", timeouts)?;
    if response.status != 200 {
        return Err(response.into_error());
    }
    let what = format!("asking {api} where its logs are");
    let mut body = Vec::new();
    response
        .body
        .take(MAX_ANSWER)
        .read_to_end(&mut body)
        .map_err(|error| body_error(&what, error, requester.cancel))?;
    serde_json::from_slice(&body).map_err(|cause| Error::caused(ErrorKind::BadResponse, what, cause))
}
