//! [`Request`]: what a client asks for.

use std::fmt;
use std::time::Instant;

use percent_encoding::percent_decode_str;

use crate::testing::config::server::Server;

/// The maximum number of headers in a request.
const MOST_HEADERS: usize = 128;
/// The paths of Log Cache, and those of its versions 1.x.
const LOG_CACHE_READ: [&str; 2] = ["/api/v1/read/", "/v1/read/"];

/// A request that a client sent. Returned by
/// [`TrafficController::requests`](crate::testing::TrafficController::requests).
///
/// Its `Debug` output omits the body and the values of headers that contain secrets.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// The minor version of HTTP/1: 0 or 1.
    pub version: u8,
    /// The target as it was sent, such as `/tail/?app=my-app-guid`.
    pub target: String,
    /// The names and values of the headers, in order. Invalid UTF-8 in a value is replaced by U+FFFD.
    pub headers: Vec<(String, String)>,
    /// What the request asks for.
    pub kind: RequestKind,
    /// The form of a request for a [token](RequestKind::Token). Bodies of other requests are discarded.
    pub body: Vec<u8>,
    /// When the request head was complete.
    pub at: Instant,
}

/// What a [`Request`] asks for, according to its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// `/recent`
    Recent,
    /// `/tail/`
    Tail,
    /// `/dump/`
    Dump,
    /// `/apps/<guid>/stream`
    Stream,
    /// `/apps/<guid>/recentlogs`
    RecentLogs,
    /// `/apps/<guid>/containermetrics`
    ContainerMetrics,
    /// `/firehose/<subscription id>`
    Firehose,
    /// `/api/v1/read/<guid>` of Log Cache, or `/v1/read/<guid>` of its versions 1.x
    LogCacheRead,
    /// `/api/v1/meta` of Log Cache, or `/v1/meta`
    LogCacheMeta,
    /// `/api/v1/info` of Log Cache
    LogCacheInfo,
    /// `/api/v1/query` or `/api/v1/query_range` of Log Cache
    LogCacheQuery,
    /// `/v2/read` of the RLP gateway
    Gateway,
    /// `/` of the API
    ApiRoot,
    /// `/v2/info` of the API
    ApiInfo,
    /// A path of the API that begins with `/v2/` or `/v3/`, such as `/v3/apps`
    Api,
    /// `/oauth/token` of the UAA
    Token,
    /// `/login` of the UAA
    Login,
    /// Another path, which no server knows.
    Other,
}

impl Request {
    /// Parses a request head. Returns it and its length in bytes. `None`: it is incomplete.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, httparse::Error> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        Ok(match parsed.parse(bytes)? {
            httparse::Status::Partial => None,
            httparse::Status::Complete(length) => {
                let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
                let version = parsed.version.unwrap_or(1);
                Some((Request::new(method, target, version, parsed.headers), length))
            }
        })
    }

    fn new(method: &str, target: &str, version: u8, headers: &[httparse::Header<'_>]) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Request {
            method: method.to_owned(),
            version,
            target: target.to_owned(),
            headers: headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
            kind: RequestKind::of(target.split('?').next().unwrap_or_default()),
            body: Vec::new(),
            at: Instant::now(),
        }
    }

    /// Returns the target without its query, as it was sent.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns the decoded GUID of the app that the request is about: from the path, or from `app` or `source_id` in
    /// the query. Empty if there is none.
    pub fn app(&self) -> String {
        self.apps().into_iter().next().unwrap_or_default()
    }

    /// Returns the GUIDs of all apps that the request is about. On the RLP gateway there can be several.
    pub(crate) fn apps(&self) -> Vec<String> {
        let in_path = match self.kind {
            RequestKind::Gateway => return self.query_values("source_id"),
            RequestKind::Stream | RequestKind::RecentLogs | RequestKind::ContainerMetrics => {
                app_in_path(self.path()).map(|(app, _)| app)
            }
            RequestKind::LogCacheRead => source_in_path(self.path()),
            _ => return self.query_values("app"),
        };
        in_path.map(|app| percent_decode_str(app).decode_utf8_lossy().into_owned()).into_iter().collect()
    }

    /// Returns the decoded names and values in the query. Malformed ones are left out.
    pub(crate) fn query(&self) -> impl Iterator<Item = (String, String)> {
        form_pairs(self.query_text()).flatten()
    }

    /// Returns what is wrong with the query.
    pub(crate) fn query_error(&self) -> Option<String> {
        form_pairs(self.query_text()).find_map(Result::err)
    }

    fn query_text(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Returns true if the path has no malformed escapes.
    pub(crate) fn has_valid_path(&self) -> bool {
        malformed_escape(self.path()).is_none()
    }

    /// Returns the value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case("Cookie"));
        let mut pairs = cookies.flat_map(|(_, list)| list.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(other, _)| *other == name)?;
        Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
    }

    /// Returns the decoded values of this name in the query.
    pub(crate) fn query_values(&self, name: &str) -> Vec<String> {
        self.query().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// Returns the value of the first header with this name. Case is ignored.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns true if a header is a list that contains this word. Case is ignored.
    pub(crate) fn header_lists(&self, name: &str, word: &str) -> bool {
        self.header(name).is_some_and(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
    }
}

/// Returns the source in a path of Log Cache.
fn source_in_path(path: &str) -> Option<&str> {
    LOG_CACHE_READ.iter().find_map(|prefix| path.strip_prefix(prefix)).filter(|source| !source.is_empty())
}

/// Returns the subscription id in the path of a firehose.
pub(crate) fn subscription_in_path(path: &str) -> Option<&str> {
    path.strip_prefix("/firehose/").filter(|id| !id.is_empty() && !id.contains('/'))
}

/// Splits one of Doppler's paths, `/apps/<app>/<what>`, into the app and what is asked for.
fn app_in_path(path: &str) -> Option<(&str, &str)> {
    let (app, what) = path.strip_prefix("/apps/")?.split_once('/')?;
    (!app.is_empty()).then_some((app, what))
}

impl RequestKind {
    /// Returns the server that answers such requests. `None`: an unknown path.
    pub(crate) fn server(self) -> Option<Server> {
        Some(match self {
            RequestKind::Recent | RequestKind::Tail | RequestKind::Dump => Server::Legacy,
            RequestKind::Stream | RequestKind::RecentLogs | RequestKind::ContainerMetrics | RequestKind::Firehose => {
                Server::Doppler
            }
            RequestKind::LogCacheRead
            | RequestKind::LogCacheMeta
            | RequestKind::LogCacheInfo
            | RequestKind::LogCacheQuery => Server::LogCache,
            RequestKind::Gateway => Server::RlpGateway,
            RequestKind::ApiRoot | RequestKind::ApiInfo | RequestKind::Api => Server::Api,
            RequestKind::Token | RequestKind::Login => Server::Uaa,
            RequestKind::Other => return None,
        })
    }

    fn of(path: &str) -> Self {
        match path {
            "/recent" => RequestKind::Recent,
            "/tail/" => RequestKind::Tail,
            "/dump/" => RequestKind::Dump,
            "/api/v1/meta" | "/v1/meta" => RequestKind::LogCacheMeta,
            "/api/v1/info" => RequestKind::LogCacheInfo,
            "/api/v1/query" | "/api/v1/query_range" => RequestKind::LogCacheQuery,
            "/v2/read" => RequestKind::Gateway,
            "/" => RequestKind::ApiRoot,
            "/v2/info" => RequestKind::ApiInfo,
            "/oauth/token" => RequestKind::Token,
            "/login" => RequestKind::Login,
            _ if source_in_path(path).is_some() => RequestKind::LogCacheRead,
            _ if path.starts_with("/v3/") || path.starts_with("/v2/") => RequestKind::Api,
            _ => match app_in_path(path) {
                Some((_, "stream")) => RequestKind::Stream,
                Some((_, "recentlogs")) => RequestKind::RecentLogs,
                Some((_, "containermetrics")) => RequestKind::ContainerMetrics,
                None if subscription_in_path(path).is_some() => RequestKind::Firehose,
                _ => RequestKind::Other,
            },
        }
    }
}

/// Returns the decoded names and values in a form or a query. An error is the message of Go's `net/url`.
pub(crate) fn form_pairs(form: &str) -> impl Iterator<Item = Result<(String, String), String>> {
    form.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        if pair.contains(';') {
            return Err("invalid semicolon separator in query".to_owned());
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((unescape(name)?, unescape(value)?))
    })
}

/// Decodes a part of a form or a query. The error is the message of Go's `net/url`.
pub(crate) fn unescape(text: &str) -> Result<String, String> {
    match malformed_escape(text) {
        Some(escape) => Err(format!("invalid URL escape {escape:?}")),
        None => Ok(percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()),
    }
}

/// Returns the first `%` that is not followed by two hexadecimal digits, with the characters after it.
fn malformed_escape(text: &str) -> Option<String> {
    text.match_indices('%').find_map(|(at, _)| {
        let escape: String = text[at..].chars().take(3).collect();
        let is_valid = escape.len() == 3 && escape[1..].bytes().all(|byte| byte.is_ascii_hexdigit());
        (!is_valid).then_some(escape)
    })
}

/// Returns true if an id has the form of a GUID, as the ids of apps have.
pub(crate) fn is_guid(id: &str) -> bool {
    let parts = || id.split('-');
    parts().map(str::len).eq([8, 4, 4, 4, 12]) && parts().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { method, version, target, headers, kind, body, at } = self;
        let is_secret = |name: &str| {
            ["authorization", "proxy-authorization", "cookie"].iter().any(|other| name.eq_ignore_ascii_case(other))
        };
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name, if is_secret(name) { "[left out]" } else { value.as_str() }))
            .collect();
        f.debug_struct("Request")
            .field("method", method)
            .field("version", version)
            .field("target", target)
            .field("headers", &headers)
            .field("kind", kind)
            .field("body", &format_args!("{} bytes", body.len()))
            .field("at", at)
            .finish()
    }
}
