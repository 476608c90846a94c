//! [`Proxy`]: through which proxy a target is reached, and the request that asks that proxy for a tunnel. No sockets.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::{env, fmt};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::Uri;
use percent_encoding::percent_decode_str;

use crate::error::{BoxError, Error, ErrorKind, Result};

mod no_proxy;

use no_proxy::NoProxy;

/// Which proxy the connections go through: [none](Proxy::none), one that the [environment](Proxy::from_env) names
/// (the default), always the [same](Proxy::url), or what a [function](Proxy::custom) says. It is handed to
/// [`Builder::proxy`](crate::Builder::proxy).
///
/// A proxy is an `http://` one, or an `https://` one, to which the connection is itself TLS. Whatever the target, the
/// proxy is asked for a tunnel to it with `CONNECT`: for `wss://` and `https://`, and for plain `ws://` and `http://`
/// too, so there is one kind of tunnel to set up. Many proxies allow `CONNECT` only to port 443 unless they are told
/// otherwise; Loggregator often listens at another, such as 4443, and plain `ws://` at 80.
///
/// A proxy's URL is `http://host:port`, or `http://user:password@host:port` for a proxy that wants Basic
/// authentication:
///
/// - Without a scheme it is `http://`, without a port 80, or 443 for `https://`. A path is ignored.
/// - What is special in the user and the password, above all `/`, `?`, `#` and `%`, must be percent-encoded. The
///   password may be left away.
/// - An IPv6 address stands in brackets: `http://[::1]:3128`.
///
/// The user and the password are in no log, no error and no `Debug` form.
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
    /// No proxy: every connection goes directly to the server, whatever the environment says.
    ///
    /// ```
    /// use loggregator_consumer::Proxy;
    ///
    /// let proxy = Proxy::none();
    /// ```
    pub fn none() -> Self {
        Proxy(Choice::Direct)
    }

    /// The proxies that the environment names, as it is at this call; later changes to it are not seen.
    ///
    /// | target | the first of these that is set |
    /// |---|---|
    /// | `wss://`, `https://` | `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY` |
    /// | `ws://`, `http://` | `http_proxy`, `HTTP_PROXY`, `all_proxy`, `ALL_PROXY` |
    /// | not through a proxy | `no_proxy`, `NO_PROXY` |
    ///
    /// An empty variable counts as unset. `HTTP_PROXY` is ignored where `REQUEST_METHOD` is set: there the program
    /// is run by a web server by way of CGI, and the variable is what a client sent as the header `Proxy`.
    ///
    /// A variable that holds no usable URL is no error here. It is an [`ErrorKind::Proxy`], which names the variable,
    /// of each call that would use it: a direct connection might go where the proxy was to prevent it.
    ///
    /// `NO_PROXY` is a list, separated by commas or spaces, of
    ///
    /// - `example.com`: this host and all its subdomains,
    /// - `.example.com` or `*.example.com`: the subdomains only,
    /// - `10.1.2.3` or `fd00::1`: an address, if the endpoint has it as an address; names are not looked up,
    /// - `10.0.0.0/8` or `fd00::/8`: all addresses of a network,
    /// - `*`: everything.
    ///
    /// A name or an address (IPv6 in brackets) may be followed by a port, as in `example.com:4443` or
    /// `[fd00::1]:4443`, and then stands for this port only. Upper and lower case are the same, a dot at the end means
    /// nothing, and IPv4 addresses in the form of IPv6 (`::ffff:10.1.2.3`) are IPv4 addresses. What is none of these
    /// is ignored.
    ///
    /// The own machine is not excepted by itself: `NO_PROXY=localhost,127.0.0.0/8,::1` does that.
    ///
    /// ```
    /// use loggregator_consumer::Proxy;
    ///
    /// let proxy = Proxy::from_env();
    /// ```
    pub fn from_env() -> Self {
        // An exact look-up, for that of Windows would find `HTTP_PROXY` by the name `http_proxy`.
        let variables: HashMap<_, _> = env::vars_os().collect();
        Proxy::from_vars(|name| Some(variables.get(OsStr::new(name))?.to_string_lossy().into_owned()))
    }

    pub(crate) fn from_vars(get: impl Fn(&str) -> Option<String>) -> Self {
        Proxy(Choice::Environment(Arc::new(Environment::read(get))))
    }

    /// This proxy for every target.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] when it is no [URL of a proxy](Proxy), or one of another sort, such as `socks5://`.
    ///
    /// ```
    /// use loggregator_consumer::{ErrorKind, Proxy};
    ///
    /// let proxy = Proxy::url("http://user:password@proxy.example.com:3128")?;
    /// assert!(!format!("{proxy:?}").contains("password"));
    ///
    /// let error = Proxy::url("socks5://proxy.example.com").unwrap_err();
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

    /// The proxy that a function says, or `Ok(None)` for a direct connection. It is asked before every connection,
    /// with the target as an `http://` or, for `wss://`, an `https://` URI.
    ///
    /// If it fails, the call does, with an [`ErrorKind::Proxy`] whose text ends with that of the function's error. So
    /// does the call if what the function gives is no [URL of a proxy](Proxy).
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

    /// The proxy for a target, an `http://` or `https://` URI with a host. `None`: directly.
    pub(crate) fn for_target(&self, target: &Uri) -> Result<Option<ProxyServer>> {
        match &self.0 {
            Choice::Direct => Ok(None),
            Choice::Always(server) => Ok(Some(server.clone())),
            Choice::Environment(environment) => environment.for_target(target),
            Choice::Custom(function) => {
                let chosen = function(target)
                    .map_err(|cause| Error::caused(ErrorKind::Proxy, "the proxy function failed", cause))?;
                chosen.map(|uri| ProxyServer::parse(&uri.to_string())).transpose().map_err(|why| {
                    Error::new(ErrorKind::Proxy, format!("the proxy function gave no usable proxy: {why}"))
                })
            }
        }
    }
}

impl Default for Proxy {
    /// [`Proxy::from_env`].
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

/// What the environment said.
#[derive(Debug)]
struct Environment {
    http: Option<Variable>,
    https: Option<Variable>,
    no_proxy: NoProxy,
}

/// A variable that names a proxy, or why it does not.
#[derive(Debug)]
struct Variable {
    name: &'static str,
    server: Result<ProxyServer, String>,
}

impl Environment {
    fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        // In CGI, a request's header `Proxy` arrives as `HTTP_PROXY`: a client could choose our proxy ("httpoxy").
        let cgi = set("REQUEST_METHOD").is_some();
        let set = |name: &str| set(name).filter(|_| !(cgi && name == "HTTP_PROXY"));
        let proxy = |names: [&'static str; 4]| {
            names.into_iter().find_map(|name| Some(Variable { name, server: ProxyServer::parse(&set(name)?) }))
        };
        Environment {
            http: proxy(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
            https: proxy(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            no_proxy: NoProxy::parse(&set("no_proxy").or_else(|| set("NO_PROXY")).unwrap_or_default()),
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

/// A proxy to connect to. Its `Debug` and `Display` are its URL without the credentials.
#[derive(Clone)]
pub(crate) struct ProxyServer {
    /// Whether the connection to the proxy itself is TLS.
    pub(crate) tls: bool,
    /// A name or an address, IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`: a secret.
    authorization: Option<String>,
}

impl ProxyServer {
    /// The error is a text that repeats nothing of the URL but its scheme: in one that is cut wrongly, the password may
    /// stand anywhere.
    fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other if is_scheme(other) => {
                return Err(format!("a proxy of {other}:// can't be used, only one of http:// or https://"));
            }
            _ => return Err(NO_PROXY_URL.into()),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (credentials, server) = match authority.rsplit_once('@') {
            Some((credentials, server)) => (credentials, server),
            None => ("", authority),
        };
        match host_and_port(server) {
            // An @ in the path: this is no path, but the rest of a password, and its start is no host.
            Some((host, port)) if !path.contains('@') => Ok(ProxyServer {
                tls,
                host: host.to_owned(),
                port: port.unwrap_or(if tls { 443 } else { 80 }),
                authorization: Some(credentials).filter(|text| !text.is_empty()).map(basic),
            }),
            _ => Err(NO_PROXY_URL.into()),
        }
    }

    /// The request for a tunnel to `host:port`.
    pub(crate) fn connect_request(&self, host: &str, port: u16) -> Vec<u8> {
        let target = format!("{}:{port}", Bracketed(without_brackets(host)));
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str(concat!("User-Agent: ", env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"), "\r\n\r\n"));
        request.into_bytes()
    }
}

const NO_PROXY_URL: &str = "this is no proxy's URL, which looks like http://host:3128 or \
    http://user:password@host:3128, with what is special in the user and the password percent-encoded";

impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", Bracketed(&self.host), self.port)
    }
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The value of a header for `user:password` or `user`, percent-encoded. In base64 no byte can break the header.
fn basic(credentials: &str) -> String {
    let mut plain: Vec<u8> = percent_decode_str(credentials).collect();
    if !credentials.contains(':') {
        plain.push(b':');
    }
    format!("Basic {}", BASE64_STANDARD.encode(plain))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Takes `host`, `host:port`, `[IPv6]` or `[IPv6]:port` apart; the host comes without brackets.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        rest.split_once(']').filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok())?
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

/// A host as it stands before a port: IPv6 in brackets.
struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

#[cfg(test)]
mod tests;
