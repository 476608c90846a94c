//! [`Proxy`]: selects the proxy for a target, and what is said to it. It knows no sockets.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::{env, fmt};

use http::Uri;

use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::net::endpoint::{ipv6_and_zone, with_zone};

mod credentials;
mod no_proxy;
pub(crate) mod socks5;

use credentials::Credentials;
use no_proxy::NoProxy;
use socks5::{Handshake, Refusal};

/// Selects the proxy for each connection: [none](Proxy::none), from the [environment](Proxy::from_env) (the default),
/// always the [same](Proxy::url), or chosen by a [function](Proxy::custom). Pass it to
/// [`Builder::proxy`](crate::Builder::proxy).
///
/// | URL | the proxy | default port | who resolves the server's name |
/// |---|---|---|---|
/// | `http://` or no scheme | an HTTP proxy | 80 | the proxy |
/// | `https://` | an HTTP proxy that is itself reached over TLS | 443 | the proxy |
/// | `socks5h://` | a SOCKS5 proxy | 1080 | the proxy |
/// | `socks5://` | a SOCKS5 proxy | 1080 | this side |
///
/// `socks5://` and `socks5h://` mean what they mean to `curl`. Go's programs, such as the `cf` CLI, let the proxy resolve
/// the name for both. So if a `socks5://` URL works for `cf`, and names do not resolve here, write `socks5h://`. With
/// `socks5://`, all addresses of the name are tried one after the other, and each gets its share of the time.
///
/// Every target is reached through a tunnel: `wss://` and `https://`, and also plain `ws://` and `http://`, so that
/// there is only one kind of tunnel. An HTTP proxy is asked for it by `CONNECT`, which many allow only to port 443 by
/// default. Loggregator often listens on another port, such as 4443, and plain `ws://` uses port 80.
///
/// The whole URL is `scheme://host:port`, or `scheme://user:password@host:port` for a proxy with Basic authentication,
/// or for a SOCKS5 proxy with a login:
///
/// - A path is ignored.
/// - Special characters in the user and the password, above all `/`, `?`, `#` and `%`, must be percent-encoded. The
///   password is optional. For a SOCKS5 proxy, the user has 1 to 255 bytes, and the password at most 255.
/// - An IPv6 address is in brackets: `http://[::1]:3128`, or with a zone `http://[fe80::1%25eth0]:3128`.
///
/// The user and the password appear in no log, no error and no `Debug` output. If an HTTP proxy repeats the password, it
/// is hidden in the error: in the form `user:password`, percent-encoded or in Base64 always, and alone if it has at
/// least 4 characters. Of what a SOCKS5 proxy sends, an error shows only the code. Both send the password unencrypted,
/// except to an `https://` proxy.
///
/// A jump box with SSH becomes a SOCKS5 proxy by `ssh -D 1080 -N user@jumpbox`, at `socks5h://localhost:1080`.
#[derive(Clone)]
pub struct Proxy(Choice);

#[derive(Clone)]
enum Choice {
    Direct,
    Always(ProxyServer),
    Environment(Arc<Environment>),
    Custom(Arc<ProxyFunction>),
}

type ProxyFunction = dyn Fn(&Uri) -> Result<Option<Uri>, BoxError> + Send + Sync;

impl Proxy {
    /// Uses no proxy: every connection goes directly to the server. The environment is ignored.
    ///
    /// ```
    /// use loggregator_consumer::Proxy;
    ///
    /// let proxy = Proxy::none();
    /// ```
    pub fn none() -> Self {
        Proxy(Choice::Direct)
    }

    /// Uses the proxies that the environment variables name. They are read now. Later changes have no effect.
    ///
    /// | target | the first of these that is set |
    /// |---|---|
    /// | `wss://`, `https://` | `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY` |
    /// | `ws://`, `http://` | `http_proxy`, `HTTP_PROXY`, `all_proxy`, `ALL_PROXY` |
    /// | not through a proxy | `no_proxy`, `NO_PROXY` |
    ///
    /// The values are [proxy URLs](Proxy) of any kind, also `socks5://` and `socks5h://`. The `cf` CLI reads the same
    /// variables, except that it uses `ALL_PROXY` only for `cf ssh`.
    ///
    /// An empty variable counts as unset. `HTTP_PROXY` is ignored if `REQUEST_METHOD` is set, because then the program
    /// runs under a web server through CGI, and a client controls `HTTP_PROXY` with the request header `Proxy`.
    ///
    /// An invalid URL in a variable is not an error here. Each call that would use it fails with
    /// [`ErrorKind::Proxy`], and the error names the variable. The call does not connect directly, because the proxy
    /// may be there to prevent that.
    ///
    /// `NO_PROXY` is a list, separated by commas or spaces, of
    ///
    /// - `example.com`: this host and all its subdomains,
    /// - `.example.com` or `*.example.com`: the subdomains only,
    /// - `10.1.2.3` or `fd00::1`: an address, if the endpoint has it as an address (names are not resolved),
    /// - `10.0.0.0/8` or `fd00::/8`: all addresses of a network,
    /// - `*`: everything.
    ///
    /// A name or an address (IPv6 in brackets) may have a port, as in `example.com:4443` or `[fd00::1]:4443`. The entry
    /// then applies to this port only. Case does not matter, a dot at the end is ignored, and an IPv4-mapped IPv6
    /// address (`::ffff:10.1.2.3`) is an IPv4 address. An entry in any other form is ignored.
    ///
    /// The local machine is not excluded by default. `NO_PROXY=localhost,127.0.0.0/8,::1` excludes it.
    ///
    /// ```
    /// use loggregator_consumer::Proxy;
    ///
    /// let proxy = Proxy::from_env();
    /// ```
    pub fn from_env() -> Self {
        // From a map, because `env::var` ignores case on Windows: `http_proxy` would find `HTTP_PROXY`.
        let variables: HashMap<_, _> = env::vars_os().collect();
        Proxy::from_vars(|name| Some(variables.get(OsStr::new(name))?.to_string_lossy().into_owned()))
    }

    pub(crate) fn from_vars(get: impl Fn(&str) -> Option<String>) -> Self {
        Proxy(Choice::Environment(Arc::new(Environment::read(get))))
    }

    /// Uses this proxy for every target.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if this is not a valid [proxy URL](Proxy), or has an unsupported scheme, such as
    /// `socks4://`.
    ///
    /// ```
    /// use loggregator_consumer::{ErrorKind, Proxy};
    ///
    /// let proxy = Proxy::url("http://user:password@proxy.example.com:3128")?;
    /// assert!(!format!("{proxy:?}").contains("password"));
    ///
    /// let proxy = Proxy::url("socks5h://user:password@jumpbox.example.com:1080")?;
    /// assert!(!format!("{proxy:?}").contains("password"));
    ///
    /// let error = Proxy::url("socks4://proxy.example.com").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// assert!(error.to_string().contains("socks5://"));
    /// # Ok::<(), loggregator_consumer::Error>(())
    /// ```
    pub fn url(u: &str) -> Result<Self> {
        match ProxyServer::parse(u) {
            Ok(server) => Ok(Proxy(Choice::Always(server))),
            Err(why) => Err(Error::new(ErrorKind::InvalidInput, why)),
        }
    }

    /// Uses the proxy that a function returns, or a direct connection if it returns `Ok(None)`. The function is called
    /// before every connection. Its argument is the target as an `http://` URI, or `https://` for `wss://`.
    ///
    /// If the function fails, the call fails with [`ErrorKind::Proxy`], and the error text ends with the text of the
    /// function's error. The call also fails with [`ErrorKind::Proxy`] if the function does not return a valid
    /// [proxy URL](Proxy).
    ///
    /// ```
    /// use loggregator_consumer::{Proxy, Uri};
    ///
    /// let inside = Uri::from_static("http://proxy.example.com:3128");
    /// let proxy = Proxy::custom(move |target| match target.host() {
    ///     Some(host) if host.ends_with(".internal") => Ok(None),
    ///     Some(_) => Ok(Some(inside.clone())),
    ///     None => Err("a target without a host".into()),
    /// });
    /// ```
    pub fn custom(f: impl Fn(&Uri) -> Result<Option<Uri>, BoxError> + Send + Sync + 'static) -> Self {
        Proxy(Choice::Custom(Arc::new(f)))
    }

    /// Returns the proxy for a target, or `None` for a direct connection. The target is an `http://` or `https://` URI
    /// with a host.
    pub(crate) fn for_target(&self, target: &Uri) -> Result<Option<ProxyServer>> {
        match &self.0 {
            Choice::Direct => Ok(None),
            Choice::Always(server) => Ok(Some(server.clone())),
            Choice::Environment(environment) => environment.for_target(target),
            Choice::Custom(function) => {
                let chosen = function(target)
                    .map_err(|cause| Error::caused(ErrorKind::Proxy, "the proxy function failed", cause))?;
                chosen.map(|uri| ProxyServer::parse(&uri.to_string())).transpose().map_err(|why| {
                    Error::new(ErrorKind::Proxy, format!("the proxy function returned an unusable proxy: {why}"))
                })
            }
        }
    }
}

impl Default for Proxy {
    /// Returns [`Proxy::from_env`].
    fn default() -> Self {
        Proxy::from_env()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Choice::Direct => f.write_str("Proxy::none()"),
            Choice::Always(server) => write!(f, "Proxy::url({server})"),
            Choice::Environment(environment) => f.debug_tuple("Proxy::from_env").field(environment).finish(),
            Choice::Custom(_) => f.write_str("Proxy::custom(..)"),
        }
    }
}

/// The proxies that the environment variables name.
#[derive(Debug)]
struct Environment {
    http: Option<Variable>,
    https: Option<Variable>,
    no_proxy: NoProxy,
}

/// An environment variable, and the proxy that it names, or why its value is invalid.
#[derive(Debug)]
struct Variable {
    name: &'static str,
    server: Result<ProxyServer, String>,
}

impl Environment {
    fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let non_empty = |name: &str| get(name).filter(|value| !value.is_empty());
        // In CGI, the request header `Proxy` arrives as `HTTP_PROXY`: a client could choose our proxy ("httpoxy").
        let is_cgi = non_empty("REQUEST_METHOD").is_some();
        let variable = |name: &str| non_empty(name).filter(|_| !(is_cgi && name == "HTTP_PROXY"));
        let proxy = |names: [&'static str; 4]| {
            names.into_iter().find_map(|name| Some(Variable { name, server: ProxyServer::parse(&variable(name)?) }))
        };
        Environment {
            http: proxy(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
            https: proxy(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            no_proxy: NoProxy::parse(&variable("no_proxy").or_else(|| variable("NO_PROXY")).unwrap_or_default()),
        }
    }

    fn for_target(&self, target: &Uri) -> Result<Option<ProxyServer>> {
        let (variable, default_port) =
            if target.scheme_str() == Some("https") { (&self.https, 443) } else { (&self.http, 80) };
        let Some(Variable { name, server }) = variable else { return Ok(None) };
        let host = without_brackets(target.host().unwrap_or_default());
        if self.no_proxy.covers(host, target.port_u16().unwrap_or(default_port)) {
            return Ok(None);
        }
        match server {
            Ok(server) => Ok(Some(server.clone())),
            Err(why) => Err(Error::new(ErrorKind::Proxy, format!("the environment variable {name}: {why}"))),
        }
    }
}

/// A proxy to connect to. `Debug` and `Display` print its URL without the credentials.
#[derive(Clone)]
pub(crate) struct ProxyServer {
    pub(crate) protocol: Protocol,
    /// A name or an address. An IPv6 address has no brackets, and may have a zone: `fe80::1%eth0`.
    pub(crate) host: String,
    pub(crate) port: u16,
    credentials: Option<Credentials>,
}

/// How a tunnel is requested from a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// By `CONNECT`.
    Http,
    /// By `CONNECT`, over TLS.
    Https,
    /// By SOCKS5. This side resolves the name of the server.
    Socks5,
    /// By SOCKS5. The proxy resolves the name of the server.
    Socks5h,
}

impl Protocol {
    const ALL: [Protocol; 4] = [Protocol::Http, Protocol::Https, Protocol::Socks5, Protocol::Socks5h];

    fn scheme(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Socks5 => "socks5",
            Protocol::Socks5h => "socks5h",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Protocol::Http => 80,
            Protocol::Https => 443,
            Protocol::Socks5 | Protocol::Socks5h => 1080,
        }
    }

    fn is_socks5(self) -> bool {
        matches!(self, Protocol::Socks5 | Protocol::Socks5h)
    }
}

impl ProxyServer {
    /// Parses a proxy URL. The error repeats only the scheme, because the password may be anywhere in an invalid URL.
    fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let scheme = scheme.to_ascii_lowercase();
        let Some(protocol) = Protocol::ALL.into_iter().find(|protocol| protocol.scheme() == scheme) else {
            return Err(if is_scheme(&scheme) { unsupported(&scheme) } else { NOT_A_PROXY_URL.into() });
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (credentials, server) = match authority.rsplit_once('@') {
            Some((credentials, server)) => (credentials, server),
            None => ("", authority),
        };
        match host_and_port(server) {
            // If the path contains an @, it is the rest of a password, and `host` is not the host.
            Some((host, port)) if !path.contains('@') => {
                let credentials = Some(credentials).filter(|text| !text.is_empty()).map(Credentials::parse);
                if protocol.is_socks5() {
                    credentials.as_ref().map_or(Ok(()), socks5::check)?;
                }
                Ok(ProxyServer {
                    protocol,
                    host: ipv6_and_zone(host)
                        .map_or_else(|| host.to_owned(), |(address, zone)| with_zone(address, zone)),
                    port: port.unwrap_or(protocol.default_port()),
                    credentials,
                })
            }
            _ => Err(NOT_A_PROXY_URL.into()),
        }
    }

    /// Returns the CONNECT request for a tunnel to `host:port`.
    pub(crate) fn connect_request(&self, host: &str, port: u16) -> Vec<u8> {
        // A zone has a meaning on this machine only.
        let address = without_brackets(host).split('%').next().unwrap_or_default();
        let target = format!("{}:{port}", Bracketed(address));
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(credentials) = &self.credentials {
            request.push_str(&format!("Proxy-Authorization: Basic {}\r\n", credentials.base64()));
        }
        request.push_str(concat!("User-Agent: ", env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"), "\r\n\r\n"));
        request.into_bytes()
    }

    /// Begins the SOCKS5 handshake for a tunnel to `host:port`.
    pub(crate) fn socks5_handshake(&self, host: &str, port: u16) -> Result<Handshake, Refusal> {
        Handshake::new(self.credentials.as_ref(), host, port)
    }

    /// Hides the credentials in a text from the proxy, which may repeat them.
    pub(crate) fn without_credentials(&self, text: &str) -> String {
        self.credentials.as_ref().map_or_else(|| text.to_owned(), |credentials| credentials.hide_in(text))
    }
}

const NOT_A_PROXY_URL: &str = "not a proxy URL: expected http://host:3128 or http://user:password@host:3128, with \
    special characters in the user and the password percent-encoded";

impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.protocol.scheme(), Bracketed(&self.host), self.port)
    }
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn unsupported(scheme: &str) -> String {
    let hint = match scheme {
        "socks" | "socks4" | "socks4a" => " (most SOCKS proxies speak SOCKS5, too)",
        "ssh" | "ssh+socks5" => " (open the tunnel with `ssh -D 1080 -N user@host`, and set socks5h://localhost:1080)",
        _ => "",
    };
    format!("{scheme}:// proxies are not supported, only http://, https://, socks5:// and socks5h://{hint}")
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Parses `host`, `host:port`, `[IPv6]` or `[IPv6]:port`. The returned host has no brackets.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        rest.split_once(']').filter(|(host, _)| ipv6_and_zone(host).is_some())?
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        Some((host, port)).filter(|_| is_name && !host.is_empty())?
    };
    match port {
        "" | ":" => Some((host, None)),
        _ => Some((host, Some(port.strip_prefix(':')?.parse().ok()?))),
    }
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Prints a host as it is written before a port: an IPv6 address in brackets.
struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

#[cfg(test)]
mod tests;
