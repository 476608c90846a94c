//! [`Endpoint`]: the address of a server, parsed once, for the websocket and the HTTP side alike.

use std::fmt;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};

/// As much as an endpoint or a GUID may have, in bytes.
const MAX_LENGTH: usize = 1024;

/// What a GUID may hold unescaped, in a path or a query: the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

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
        })
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
            _ if cancel.is_thrown() => Error::closed(),
            ErrorKind::InvalidInput => error,
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

/// An app's GUID as it stands in a path or a query.
pub(crate) fn escaped_guid(app_guid: &str) -> Result<String> {
    if app_guid.trim().is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "the app GUID is empty: `cf app NAME --guid` tells an app's"));
    }
    if app_guid.len() > MAX_LENGTH {
        return Err(Error::new(ErrorKind::InvalidInput, format!("an app GUID of {} bytes is none", app_guid.len())));
    }
    Ok(utf8_percent_encode(app_guid, ESCAPED).to_string())
}

/// Adds to an error by which a server says that it knows no such app, or that the token is not for it, what is often
/// the reason: that the app was given by its name.
pub(crate) fn explain_guid(error: Error, app_guid: &str) -> Error {
    match error.status() {
        Some(401 | 404) if !is_guid(app_guid) => error.with_hint(&format!(
            ". `{0}` is no GUID: is it the app's name? `cf app {0} --guid` prints its GUID",
            app_guid.escape_debug()
        )),
        _ => error,
    }
}

/// Whether a text is five groups of hexadecimal digits.
fn is_guid(text: &str) -> bool {
    let mut groups = text.split('-');
    [8, 4, 4, 4, 12].into_iter().all(|length| {
        groups.next().is_some_and(|group| group.len() == length && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }) && groups.next().is_none()
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

    #[test]
    fn escapes_all_but_the_unreserved() {
        assert_eq!(escaped_guid("a-b_c.d~0").unwrap(), "a-b_c.d~0");
        assert_eq!(escaped_guid("a&b=c/ü%\r\n").unwrap(), "a%26b%3Dc%2F%C3%BC%25%0D%0A");
        assert_eq!(escaped_guid(" ").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(escaped_guid(&"a".repeat(1025)).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn an_app_that_is_not_found_by_what_is_no_guid_may_be_called_so() {
        let explained =
            |status, app| explain_guid(Error::status_answer(status, "", "tail", String::new()), app).to_string();
        let hint = ". `my-app` is no GUID: is it the app's name? `cf app my-app --guid` prints its GUID";
        assert!(explained(404, "my-app").ends_with(hint));
        assert!(explained(401, "my-app").ends_with(hint));
        assert!(!explained(500, "my-app").contains("GUID"));
        assert!(!explained(404, "00000021-aaaa-BBBB-cccc-000000000021").contains("GUID"));
        for no_guid in [
            "",
            "00000021-aaaa-bbbb-cccc-00000000002",
            "00000021-aaaa-bbbb-cccc-000000000021-",
            "00000021-aaaa-bbbb-cccc-00000000002g",
            "00000021-aaaa-bbbb-cccc",
        ] {
            assert!(explained(404, no_guid).contains("is no GUID"), "{no_guid}");
        }
    }
}
