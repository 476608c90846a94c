//! [`Discovery`]: asks a foundation's API for the addresses of its log servers.
//!
//! Source: the links at the root of the Cloud Controller's API (`logging`, `log_cache`, `log_stream`), and on older
//! ones `/v2/info` with its `doppler_logging_endpoint` and `logging_endpoint`.

use std::io::Read;
use std::time::Instant;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::net::deadline::ReadTimeouts;
use crate::net::endpoint::{Endpoint, Scheme};
use crate::net::http::body_error;
use crate::server::call::Requester;
use crate::server::choice::Via;

/// The maximum size of a response of the API, in bytes. The rest of a larger one is not read.
const MAX_RESPONSE: u64 = 1 << 20;

/// The addresses that an API lists.
#[derive(Debug, Clone, Default)]
pub(super) struct Links {
    /// An address that cannot be used is the error of the calls that need it, and of no other.
    addresses: Vec<(Via, Result<Endpoint>)>,
    /// Whether `/v2/info` has been asked, too.
    pub(super) is_complete: bool,
}

impl Links {
    /// Returns the address of a server, or why it cannot be used. `None`: the API does not list it.
    pub(super) fn get(&self, via: Via) -> Option<&Result<Endpoint>> {
        self.addresses.iter().find(|(listed, _)| *listed == via).map(|(_, address)| address)
    }

    /// Returns true if the API lists a usable address of a server.
    pub(super) fn has(&self, via: Via) -> bool {
        self.get(via).is_some_and(Result::is_ok)
    }

    /// Returns why the first unusable address cannot be used.
    pub(super) fn first_error(&self) -> Option<&Error> {
        self.addresses.iter().find_map(|(_, address)| address.as_ref().err())
    }

    /// Adds an address. A usable one replaces an unusable one.
    fn add(&mut self, via: Via, address: Option<Result<Endpoint>>) {
        let Some(address) = address.filter(|address| address.is_ok() || self.get(via).is_none()) else { return };
        self.addresses.retain(|(listed, _)| *listed != via);
        self.addresses.push((via, address));
    }
}

/// One question to an API.
pub(super) struct Discovery<'a> {
    pub(super) requester: Requester<'a>,
    pub(super) api: &'a Endpoint,
    /// Whether an API that is reached over TLS may list servers that are not.
    pub(super) allows_plain: bool,
    /// When all requests together must be finished.
    pub(super) deadline: Instant,
}

impl Discovery<'_> {
    /// Asks the root of the API, unless its links are known. Asks `/v2/info` only if they are not enough for the call.
    pub(super) fn run(&self, known: Option<Links>, is_enough: impl Fn(&Links) -> bool) -> Result<Links> {
        let mut not_found = None;
        let mut links = match known {
            Some(links) => links,
            None => match self.fetch("/") {
                // An API from before 2018 has no links at its root.
                Err(error) if is_missing(&error, &[404]) => {
                    not_found = Some(error);
                    Links::default()
                }
                root => self.links_of_root(&root?),
            },
        };
        if is_enough(&links) {
            return Ok(links);
        }
        match self.fetch("/v2/info") {
            Err(error) if is_missing(&error, &[403, 404, 410]) => not_found = Some(error),
            info => self.add_links_of_info(&mut links, &info?),
        }
        links.is_complete = true;
        if links.addresses.is_empty() {
            let api = self.api;
            let text = format!("{api} lists no log server");
            let hint = ": is it the API of a Cloud Foundry, such as https://api.example.com?";
            return Err(match not_found {
                Some(error) => error.with_kind(ErrorKind::BadResponse).with_context(&format!("{text}: ")),
                None => Error::new(ErrorKind::BadResponse, text),
            }
            .with_hint(hint));
        }
        Ok(links)
    }

    fn links_of_root(&self, root: &Value) -> Links {
        let mut links = Links::default();
        let named = root.get("links");
        for (via, name) in [(Via::Doppler, "logging"), (Via::LogCache, "log_cache"), (Via::RlpGateway, "log_stream")] {
            let link = named.and_then(|links| links.get(name));
            let url = link.map(|link| if link.is_object() { link.get("href").unwrap_or(&Value::Null) } else { link });
            links.add(via, self.address(via, name, url));
        }
        links
    }

    fn add_links_of_info(&self, links: &mut Links, info: &Value) {
        for (via, name) in [(Via::Doppler, "doppler_logging_endpoint"), (Via::Legacy, "logging_endpoint")] {
            links.add(via, self.address(via, name, info.get(name)));
        }
    }

    /// Returns an address that the API lists, or why it cannot be used. `None` if it is absent, null or empty.
    fn address(&self, via: Via, name: &str, value: Option<&Value>) -> Option<Result<Endpoint>> {
        let value = value.filter(|value| !value.is_null() && value.as_str() != Some(""))?;
        let scheme = match via {
            Via::Legacy | Via::Doppler => Scheme::WebSocket,
            Via::LogCache | Via::RlpGateway => Scheme::Http,
        };
        let unusable = |why: &str| {
            let text = format!("the API {} lists an unusable address as `{name}`: {why}", self.api);
            let error = Error::new(ErrorKind::BadResponse, text);
            log::warn!("{error}");
            error
        };
        let Some(url) = value.as_str() else {
            let mut shown: String = value.to_string().chars().take(100).collect();
            if shown.contains('@') {
                // What stands before it may be a password.
                shown = "(not shown, it contains an @)".to_owned();
            }
            return Some(Err(unusable(&format!("{shown} is not a URL"))));
        };
        Some(match Endpoint::parse(url, scheme) {
            Ok(endpoint) if self.api.secure && !endpoint.secure && !self.allows_plain => Err(unusable(&format!(
                "{endpoint} has no TLS and would get the token in the clear, while the API has TLS (see \
                 Builder::danger_allow_plain_servers)"
            ))),
            Ok(endpoint) => Ok(endpoint),
            Err(error) => Err(unusable(&error.to_string())),
        })
    }

    /// Requests a JSON document from the API.
    fn fetch(&self, path: &str) -> Result<Value> {
        let what = format!("asking the API {} for its log servers", self.api);
        let explain = |error: Error| match error.kind() {
            ErrorKind::Closed => error,
            _ => error.with_context(&format!("{what}: ")),
        };
        let idle = self.requester.settings.connect_timeout;
        let timeouts = ReadTimeouts { idle, deadline: Some(self.deadline) };
        let response = self.requester.get(self.api, path, "", timeouts).map_err(explain)?;
        if response.status != 200 {
            return Err(explain(response.into_error()));
        }
        let mut body = Vec::new();
        response
            .body
            .take(MAX_RESPONSE)
            .read_to_end(&mut body)
            .map_err(|error| body_error(&what, error, self.requester.cancel))?;
        serde_json::from_slice(&body).map_err(|cause| Error::caused(ErrorKind::BadResponse, what, cause))
    }
}

/// Returns true if the API itself, and not the router in front of it, answered that it does not have the path.
fn is_missing(error: &Error, statuses: &[u16]) -> bool {
    !error.is_from_router() && error.status().is_some_and(|status| statuses.contains(&status))
}
