//! [`Endpoint`]: the address of a server, parsed once for both websockets and HTTP.

use std::fmt;
use std::net::Ipv6Addr;

use http::Uri;

use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::secrets::printable;

/// The longest address that is accepted, in bytes.
const MAX_LENGTH: usize = 1024;

/// The address of a server: `wss://host:port` or `https://host:port`, optionally with a path prefix.
///
/// Two are equal if they lead to the same place, however they are written: the case of the host does not matter, nor
/// does a default port.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    scheme: Scheme,
    pub(crate) secure: bool,
    /// The name or address to dial. An IPv6 address has no brackets, and may have a zone: `fe80::1%eth0`.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of the `Host` header: an IPv6 address in brackets and without its zone, which has a meaning on this
    /// machine only, and the port unless it is the scheme's default.
    pub(crate) authority: String,
    prefix: String,
    is_api: bool,
}

/// The protocol of a server. Each has two schemes, without and with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    WebSocket,
    Http,
}

impl Scheme {
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Scheme::WebSocket, false) => "ws",
            (Scheme::WebSocket, true) => "wss",
            (Scheme::Http, false) => "http",
            (Scheme::Http, true) => "https",
        }
    }
}

impl Endpoint {
    pub(crate) fn parse(text: &str, scheme: Scheme) -> Result<Self> {
        let [plain, tls] = [false, true].map(|secure| scheme.name(secure));
        let invalid = |why: &str| {
            // The text before an `@` may contain a password.
            let shown = if text.contains('@') { "(not shown because it contains an @)" } else { text };
            let example = match scheme {
                Scheme::WebSocket => ", such as wss://loggregator.example.com",
                Scheme::Http => "",
            };
            Error::new(
                ErrorKind::InvalidInput,
                format!("the endpoint {shown} {why}: give it as {tls}://host:port{example}"),
            )
        };
        if text.len() > MAX_LENGTH {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the endpoint is too long: {} bytes (limit {MAX_LENGTH})", text.len()),
            ));
        }
        let uri: Uri = text.parse().map_err(|cause| invalid(&format!("is not a URL ({cause})")))?;
        let secure = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case(plain) => false,
            Some(scheme) if scheme.eq_ignore_ascii_case(tls) => true,
            Some(_) => return Err(invalid(&format!("must begin with {plain}:// or {tls}://"))),
            None => return Err(invalid(&format!("has no scheme, it must begin with {plain}:// or {tls}://"))),
        };
        let Some(authority) = uri.authority() else { return Err(invalid("has no host")) };
        if authority.as_str().contains('@') {
            return Err(invalid("must have no user or password because the token is the only credential"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(invalid("must have neither a query nor a fragment"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(invalid("has no host"));
        }
        let default_port = if secure { 443 } else { 80 };
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok().filter(|&port| port != 0),
            None if authority.as_str().ends_with(':') || authority.as_str() == authority.host() => Some(default_port),
            None => None,
        };
        let Some(port) = port else { return Err(invalid("has an invalid port")) };
        let (mut host, mut shown_host) = (host.to_owned(), host.to_owned());
        if host.contains(':') {
            let Some((address, zone)) = ipv6_and_zone(&host) else {
                return Err(invalid("has an invalid IPv6 address"));
            };
            shown_host = format!("[{address}]");
            host = with_zone(address, zone);
        }
        Ok(Endpoint {
            scheme,
            secure,
            host,
            port,
            authority: if port == default_port { shown_host } else { format!("{shown_host}:{port}") },
            prefix: uri.path().trim_end_matches('/').to_owned(),
            is_api: false,
        })
    }

    /// Parses the address of a foundation's API, so that errors do not call it a log server.
    pub(crate) fn parse_api(text: &str) -> Result<Self> {
        Ok(Endpoint { is_api: true, ..Endpoint::parse(text, Scheme::Http)? })
    }

    /// Returns the HTTP URL of a path on this server: `http` for `ws`, `https` for `wss`.
    pub(crate) fn http_url(&self, path: &str) -> String {
        format!("{}://{}{}", Scheme::Http.name(self.secure), self.authority, self.path(path))
    }

    /// Adds to an error of connecting to this server which server it is, and whom to ask: the operator of the platform
    /// can fix it, the user of a tool often cannot.
    pub(crate) fn explain(&self, error: Error, cancel: &Cancel) -> Error {
        match error.kind() {
            // A socket that `cancel` shut down looks like a failure of the peer.
            _ if cancel.is_cancelled() => Error::closed(),
            ErrorKind::InvalidInput => error,
            _ if self.is_api => error,
            _ if error.status().is_some() => error,
            _ => error
                .with_context(&format!("connecting to {self}: "))
                .with_hint(" (Please ask your Cloud Foundry Operator to check the platform configuration)"),
        }
    }

    /// Returns the request target of a path on this server.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        // The authority follows from the host and the port.
        let Endpoint { scheme, secure, host, port, authority: _, prefix, is_api } = self;
        (scheme, secure, port, prefix, is_api)
            == (&other.scheme, &other.secure, &other.port, &other.prefix, &other.is_api)
            && host.eq_ignore_ascii_case(&other.host)
    }
}

impl Eq for Endpoint {}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An API names endpoints, too, and a path may contain any character above U+007F.
        write!(f, "{}://{}{}", self.scheme.name(self.secure), self.authority, printable(&self.prefix))
    }
}

/// Splits an IPv6 address without brackets into the address and its zone (RFC 4007), which is the network interface of
/// a link-local address. In a URL, `%25` or `%` precedes the zone (RFC 6874). Returns `None` if this is no IPv6 address.
pub(crate) fn ipv6_and_zone(host: &str) -> Option<(&str, Option<&str>)> {
    let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    let Some((address, zone)) = host.split_once('%') else { return is_address(host).then_some((host, None)) };
    let zone = zone.strip_prefix("25").filter(|rest| !rest.is_empty()).unwrap_or(zone);
    let is_name = zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    (is_address(address) && is_name && !zone.is_empty()).then_some((address, Some(zone)))
}

/// Returns an IPv6 address in the form in which the system's resolver takes it.
pub(crate) fn with_zone(address: &str, zone: Option<&str>) -> String {
    zone.map_or_else(|| address.to_owned(), |zone| format!("{address}%{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_address_the_host_header_and_the_urls() {
        for (text, secure, host, port, authority, url) in [
            ("ws://example.com", false, "example.com", 80, "example.com", "http://example.com/recent"),
            ("wss://example.com/", true, "example.com", 443, "example.com", "https://example.com/recent"),
            (
                "wss://example.com:4443",
                true,
                "example.com",
                4443,
                "example.com:4443",
                "https://example.com:4443/recent",
            ),
            ("ws://[::1]:80/a/b/", false, "::1", 80, "[::1]", "http://[::1]/a/b/recent"),
            ("WS://127.0.0.1:8080", false, "127.0.0.1", 8080, "127.0.0.1:8080", "http://127.0.0.1:8080/recent"),
        ] {
            let endpoint = Endpoint::parse(text, Scheme::WebSocket).unwrap();
            assert_eq!((endpoint.secure, &*endpoint.host, endpoint.port), (secure, host, port), "{text}");
            assert_eq!(endpoint.authority, authority);
            assert_eq!(endpoint.http_url("/recent"), url);
        }
        assert_eq!(
            Endpoint::parse("wss://example.com:443/x/", Scheme::WebSocket).unwrap().to_string(),
            "wss://example.com/x"
        );
    }

    #[test]
    fn endpoints_that_lead_to_the_same_place_are_equal() {
        let endpoint = |text: &str| Endpoint::parse(text, Scheme::Http).unwrap();
        let one = endpoint("https://api.example.com/base");
        for same in ["HTTPS://api.example.com/base", "https://API.Example.com:443/base/"] {
            assert_eq!(endpoint(same), one);
        }
        for other in [
            "http://api.example.com/base",
            "http://api.example.com:443/base",
            "https://api.example.com:4443/base",
            "https://api.example.com/Base",
            "https://api.example.org/base",
        ] {
            assert_ne!(endpoint(other), one);
        }
    }

    #[test]
    fn the_zone_of_an_ipv6_address_is_dialled_and_not_sent() {
        for text in ["wss://[fe80::1%25eth0]:4443", "wss://[fe80::1%eth0]:4443/"] {
            let endpoint = Endpoint::parse(text, Scheme::WebSocket).unwrap();
            assert_eq!((&*endpoint.host, &*endpoint.authority), ("fe80::1%eth0", "[fe80::1]:4443"), "{text}");
            assert_eq!(endpoint.http_url("/"), "https://[fe80::1]:4443/");
        }
        for (text, zone) in [("fe80::1%251", Some("1")), ("fe80::1%25", Some("25")), ("fe80::1", None)] {
            assert_eq!(ipv6_and_zone(text), Some(("fe80::1", zone)), "{text}");
        }
        for text in ["fe80::1%", "fe80::1%25a b", "eth0%fe80::1", "10.0.0.1%eth0", "name"] {
            assert_eq!(ipv6_and_zone(text), None, "{text}");
        }
    }

    #[test]
    fn control_characters_in_a_path_are_escaped() {
        let endpoint = Endpoint::parse("https://example.com/a\u{9b}b\u{202e}", Scheme::Http).unwrap();
        assert_eq!(endpoint.to_string(), r"https://example.com/a\u{9b}b\u{202e}");
    }

    #[test]
    fn an_invalid_endpoint_is_an_error_that_shows_the_expected_form() {
        for (text, why) in [
            ("", "is not a URL"),
            ("::", "is not a URL"),
            ("not a url", "is not a URL"),
            ("loggregator.example.com", "has no scheme"),
            ("https://example.com", "must begin with ws:// or wss://"),
            ("ws://", "is not a URL"),
            ("ws://host:99999", "port"),
            ("ws://host:0", "has an invalid port"),
            ("ws://[fe80:::1]", "invalid IPv6 address"),
            ("ws://[fe80::1%]:80", "invalid IPv6 address"),
            ("ws://host/?a=b", "neither a query"),
            ("ws://host/#top", "neither a query"),
            ("ws://user:hunter2@host", "no user or password"),
        ] {
            let error = Endpoint::parse(text, Scheme::WebSocket).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert!(error.to_string().contains("wss://host:port"), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
