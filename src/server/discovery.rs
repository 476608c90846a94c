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
    /// The version of the API that lists apps.
    pub(super) version: ApiVersion,
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

/// A version of the Cloud Controller's API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ApiVersion {
    #[default]
    V2,
    V3,
}

/// The first version of API 3 that is used beside API 2, of November 2017. Those before it were experimental at first, and
/// do not say in which space an app lies, and in which organization a space.
const STABLE_V3: (u32, u32) = (3, 35);

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
        let (mut links, mut not_found) = match known {
            Some(links) => (links, None),
            None => self.root()?,
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

    /// Asks the root of the API. An API from before 2018 has no links there: then the error that says so is returned, too.
    pub(super) fn root(&self) -> Result<(Links, Option<Error>)> {
        match self.fetch("/") {
            Err(error) if is_missing(&error, &[404]) => Ok((Links::default(), Some(error))),
            root => Ok((self.links_of_root(&root?), None)),
        }
    }

    fn links_of_root(&self, root: &Value) -> Links {
        let named = root.get("links");
        let mut links = Links { version: version_to_use(named), ..Links::default() };
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

/// Returns the version of an API with which to list apps, from the links at its root.
fn version_to_use(links: Option<&Value>) -> ApiVersion {
    let link = |name: &str| links.and_then(|links| links.get(name)).filter(|link| !link.is_null());
    match (link("cloud_controller_v3"), link("cloud_controller_v2")) {
        // Korifi, and foundations whose operator has switched version 2 off.
        (_, None) => ApiVersion::V3,
        (None, Some(_)) => ApiVersion::V2,
        (Some(v3), Some(_)) => {
            let version = v3.pointer("/meta/version").and_then(Value::as_str).unwrap_or_default();
            let mut numbers = version.split('.').map(|number| number.parse().ok());
            match (numbers.next().flatten(), numbers.next().flatten()) {
                (Some(major), Some(minor)) if (major, minor) < STABLE_V3 => ApiVersion::V2,
                _ => ApiVersion::V3,
            }
        }
    }
}

/// Returns true if the API itself, and not the router in front of it, answered that it does not have the path.
fn is_missing(error: &Error, statuses: &[u16]) -> bool {
    !error.is_from_router() && error.status().is_some_and(|status| statuses.contains(&status))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn version_3_of_the_api_is_used_where_it_is_stable_or_the_only_one() {
        let link = |version: &str| json!({ "href": "https://api.example.com", "meta": { "version": version } });
        for (v3, v2, version) in [
            (link("3.228.0"), link("2.293.0"), ApiVersion::V3),
            (link("3.35.0"), link("2.100.0"), ApiVersion::V3),
            (link("3.34.0"), link("2.99.0"), ApiVersion::V2),
            (link("3.0.0-alpha.1"), link("2.63.0"), ApiVersion::V2),
            (link("3.117.0+cf-k8s"), Value::Null, ApiVersion::V3),
            (link("3.0.0"), Value::Null, ApiVersion::V3),
            (link(""), link("2.200.0"), ApiVersion::V3),
            (Value::Null, link("2.50.0"), ApiVersion::V2),
            (Value::Null, Value::Null, ApiVersion::V3),
        ] {
            let links = json!({ "cloud_controller_v3": v3, "cloud_controller_v2": v2 });
            assert_eq!(version_to_use(Some(&links)), version, "{links}");
        }
        assert_eq!(version_to_use(Some(&json!("nonsense"))), ApiVersion::V3);
        assert_eq!(Links::default().version, ApiVersion::V2, "an API without a root");
    }
}
