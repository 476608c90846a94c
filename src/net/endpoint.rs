//! [`Endpoint`]: the address of a server, parsed once, for the websocket and the HTTP side alike.

use std::fmt;

use http::Uri;

use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;

/// The longest address that is accepted, in bytes.
const MAX_LENGTH: usize = 1024;

/// Where a server is: `wss://host:port` or `https://host:port`, maybe with a path before the server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    scheme: Scheme,
    pub(crate) secure: bool,
    /// The name or address to dial: an IPv6 address is without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the `Host` header has it: an IPv6 address in brackets, the port only if it is not the scheme's own.
    pub(crate) authority: String,
    prefix: String,
    is_api: bool,
}

/// What a server is spoken to by: its two schemes are those that its address may have.
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
        let refuse = |why: &str| {
            // What stands before an `@` may be a password.
            let shown = if text.contains('@') { "(not shown, it holds an @)" } else { text };
            Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "the endpoint {shown} {why}: give it as {tls}://host:port, such as {tls}://loggregator.example.com"
                ),
            )
        };
        if text.len() > MAX_LENGTH {
            return Err(Error::new(ErrorKind::InvalidInput, format!("an endpoint of {} bytes is none", text.len())));
        }
        let uri: Uri = text.parse().map_err(|cause| refuse(&format!("is no URL ({cause})")))?;
        let secure = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case(plain) => false,
            Some(scheme) if scheme.eq_ignore_ascii_case(tls) => true,
            Some(_) => return Err(refuse(&format!("must begin with {plain}:// or {tls}://"))),
            None => return Err(refuse(&format!("has no scheme, it must begin with {plain}:// or {tls}://"))),
        };
        let Some(authority) = uri.authority() else { return Err(refuse("has no host")) };
        if authority.as_str().contains('@') {
            return Err(refuse("must have no user or password, the token is the only credential"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(refuse("must have neither a query nor a fragment"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(refuse("has no host"));
        }
        let default_port = if secure { 443 } else { 80 };
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok().filter(|&port| port != 0),
            None if authority.as_str().ends_with(':') || authority.as_str() == authority.host() => Some(default_port),
            None => None,
        };
        let Some(port) = port else { return Err(refuse("has no usable port")) };
        let mut shown_host = host.to_owned();
        if host.contains(':') {
            shown_host = format!("[{host}]");
        }
        Ok(Endpoint {
            scheme,
            secure,
            host: host.to_owned(),
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

    /// The same server as an HTTP client sees it: `http` for `ws`, `https` for `wss`.
    pub(crate) fn http_url(&self, path: &str) -> String {
        format!("{}://{}{}", Scheme::Http.name(self.secure), self.authority, self.path(path))
    }

    /// Adds to an error on the way to this server what the operator of the platform, rather than the user of a tool,
    /// can do about it.
    pub(crate) fn explain(&self, error: Error, cancel: &Cancel) -> Error {
        match error.kind() {
            // A socket that was shut down to end the wait for it looks like a failure of the peer.
            _ if cancel.is_cancelled() => Error::closed(),
            ErrorKind::InvalidInput => error,
            _ if self.is_api => error,
            _ if error.status().is_some() => error,
            _ => error.with_context("Error dialing loggregator server: ").with_hint(&format!(
                ".\nPlease ask your Cloud Foundry Operator to check the platform configuration (loggregator endpoint \
                 is {self})."
            )),
        }
    }

    /// What goes on the request line for one of the server's paths.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(self.secure), self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_address_the_host_header_and_the_urls() {
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
    fn says_what_is_wrong_and_what_to_give() {
        for (text, why) in [
            ("", "is no URL"),
            ("::", "is no URL"),
            ("not a url", "is no URL"),
            ("loggregator.example.com", "has no scheme"),
            ("https://example.com", "must begin with ws:// or wss://"),
            ("ws://", "is no URL"),
            ("ws://host:99999", "port"),
            ("ws://host:0", "has no usable port"),
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
