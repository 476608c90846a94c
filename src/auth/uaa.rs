//! [`Uaa`] and [`Session`]: tokens from the UAA, the server where Cloud Foundry's users log in.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::token::{Token, check};
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::deadline::after;
use crate::net::dial::Dialer;
use crate::net::endpoint::{Endpoint, Scheme};
use crate::net::failure::{ROUTER_ERROR, error_response, io_error, mark_router};
use crate::net::head::{Head, coding};
use crate::secrets::HIDDEN;

const PATH: &str = "/oauth/token";

/// The default of [`Uaa::timeout`].
const TIMEOUT: Duration = Duration::from_secs(10);

/// A session at a UAA, the server where Cloud Foundry's users log in. For [`TokenSource::uaa`].
///
/// With a [refresh token](Uaa::refresh_token) it is the session of a user. Without one it is the session of the
/// [client](Uaa::client) itself, which then needs a secret (grant type `client_credentials`).
///
/// ```
/// use loggregator_consumer::Uaa;
///
/// // A user's session.
/// let user = Uaa::new("https://uaa.example.com").refresh_token("a-refresh-token");
/// // A service's session.
/// let service = Uaa::new("https://uaa.example.com").client("firehose-to-syslog", "secret");
/// ```
///
/// [`TokenSource::uaa`]: crate::TokenSource::uaa
#[derive(Clone, PartialEq, Eq)]
#[must_use = "it does nothing until it is passed to `TokenSource::uaa`"]
pub struct Uaa {
    url: String,
    client_id: String,
    client_secret: String,
    refresh_token: String,
    pub(crate) access_token: Option<String>,
    timeout: Duration,
}

impl Uaa {
    /// Describes a session at the UAA at `url`, such as `https://uaa.example.com`. The client is `cf`, that is the `cf`
    /// CLI, which has no secret.
    pub fn new(url: &str) -> Self {
        Uaa {
            url: url.to_owned(),
            client_id: "cf".to_owned(),
            client_secret: String::new(),
            refresh_token: String::new(),
            access_token: None,
            timeout: TIMEOUT,
        }
    }

    /// Sets the OAuth client that requests tokens. A refresh token is valid only for the client that received it.
    /// Default: `cf`, without a secret.
    pub fn client(mut self, id: &str, secret: &str) -> Self {
        self.client_id = id.to_owned();
        self.client_secret = secret.to_owned();
        self
    }

    /// Sets the refresh token, which is exchanged for access tokens. If the UAA returns another refresh token with an
    /// access token, that one is used from then on.
    pub fn refresh_token(mut self, token: &str) -> Self {
        self.refresh_token = token.to_owned();
        self
    }

    /// Sets the access token to start with. By default the first one is requested when it is needed.
    pub fn access_token(mut self, token: &str) -> Self {
        self.access_token = Some(token.to_owned());
        self
    }

    /// Sets the timeout for connecting to the UAA and receiving the head of its response, DNS included. The body may
    /// then take as long again. Default: 10 s.
    pub fn timeout(mut self, d: Duration) -> Self {
        self.timeout = d;
        self
    }
}

impl fmt::Debug for Uaa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is left out: it has not been parsed yet and may contain a password by mistake.
        f.debug_struct("Uaa").field("client", &self.client_id).finish_non_exhaustive()
    }
}

/// Returns the current state of a session that another program renews as well.
pub(crate) type Reload = dyn Fn() -> Result<Uaa> + Send + Sync;

/// A session whose tokens can be renewed.
pub(super) struct Session {
    endpoint: Endpoint,
    reload: Option<Box<Reload>>,
    /// Never contended, because only one renewal runs at a time.
    credentials: Mutex<Credentials>,
}

struct Credentials {
    /// As given by the caller, or as last reloaded.
    uaa: Uaa,
    /// The refresh token that the UAA has returned since.
    rotated: Option<String>,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    refresh_token: Option<String>,
}

#[derive(Default, Deserialize)]
struct ErrorResponse {
    error: Option<String>,
    error_description: Option<String>,
}

impl Session {
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn new(uaa: Uaa, reload: Option<Box<Reload>>) -> Result<Self> {
        let endpoint = Endpoint::parse(&uaa.url, Scheme::Http).map_err(|error| error.with_context("the UAA: "))?;
        Ok(Session { endpoint, reload, credentials: Mutex::new(Credentials { uaa, rotated: None }) })
    }

    /// Returns a token other than `rejected`: one that another program has received, or a new one from the UAA.
    pub(super) fn renew(&self, rejected: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<Token> {
        let mut credentials = self.credentials.lock();
        if let Some(token) = self.reload(&mut credentials)?
            && rejected != Some(&*token.text)
            && !token.needs_renewal(SystemTime::now())
        {
            log::debug!("using a token that another program received from the UAA {self}");
            return Ok(token);
        }
        let response = self
            .request_token(&credentials, dialer, cancel)
            .map_err(|error| error.with_context(&format!("the UAA {self}: ")))?;
        if let Some(rotated) = response.refresh_token.filter(|token| !token.is_empty()) {
            credentials.rotated = Some(rotated);
        }
        Token::just_issued(&format!("bearer {}", response.access_token))
    }

    /// Reloads the session. Returns its access token if that has changed since the last time.
    fn reload(&self, credentials: &mut Credentials) -> Result<Option<Token>> {
        let Some(reload) = &self.reload else { return Ok(None) };
        let reloaded = match reload() {
            // After a logout no more tokens may be requested.
            Err(error) if error.kind() == ErrorKind::Unauthorized => return Err(error),
            Err(error) => {
                log::warn!("the session could not be reloaded, continuing with the old one: {error}");
                return Ok(None);
            }
            // A session at another UAA: its tokens are not valid for our servers.
            Ok(reloaded) if reloaded.url != credentials.uaa.url => return Ok(None),
            Ok(reloaded) => reloaded,
        };
        if reloaded.refresh_token != credentials.uaa.refresh_token {
            credentials.rotated = None;
        }
        let is_new = reloaded.access_token != credentials.uaa.access_token;
        credentials.uaa = reloaded;
        credentials.uaa.access_token.as_deref().filter(|_| is_new).map(Token::existing).transpose()
    }

    /// Requests an access token from the UAA. Both the request and the response contain secrets.
    fn request_token(&self, credentials: &Credentials, dialer: &Dialer, cancel: &Cancel) -> Result<TokenResponse> {
        let form = credentials.form()?;
        log::debug!("requesting a token from the UAA {self}");
        let deadline = after(credentials.uaa.timeout);
        let mut stream = dialer.dial(&self.endpoint, deadline, cancel)?;
        let what = format!("the request for {PATH}");
        stream
            .write_all_by(credentials.request(&self.endpoint, &form).as_bytes(), deadline)
            .map_err(|cause| io_error(&what, cause))?;
        let mut head = Head::read(stream.until(deadline), &what)?;
        let body = head.read_body(stream.until(after(credentials.uaa.timeout)));
        if head.status != 200 {
            return Err(credentials.rejection(&head, &what, &body));
        }
        if let Some(coding) = coding(head.headers()) {
            let text = format!("{what}: the response is encoded ({coding}), which was not requested");
            return Err(Error::new(ErrorKind::BadResponse, text));
        }
        match serde_json::from_str::<TokenResponse>(&body) {
            Ok(response) if !response.access_token.is_empty() && check(&response.access_token).is_ok() => Ok(response),
            // The cause is left out because it could contain a part of the token.
            _ => Err(Error::new(ErrorKind::BadResponse, format!("{what}: the response contains no complete token"))),
        }
    }
}

impl Credentials {
    fn refresh_token(&self) -> &str {
        self.rotated.as_deref().unwrap_or(&self.uaa.refresh_token)
    }

    /// Returns the form that requests a token (RFC 6749, sections 4.4.2 and 6).
    fn form(&self) -> Result<String> {
        match (self.refresh_token(), &*self.uaa.client_secret) {
            ("", "") => Err(Error::new(
                ErrorKind::Unauthorized,
                "the session cannot be renewed without a refresh token or a client secret: run `cf login`",
            )),
            ("", _) => Ok("grant_type=client_credentials".to_owned()),
            (token, _) => {
                let token = utf8_percent_encode(token, NON_ALPHANUMERIC);
                Ok(format!("grant_type=refresh_token&refresh_token={token}"))
            }
        }
    }

    fn request(&self, endpoint: &Endpoint, form: &str) -> String {
        let credentials = BASE64_STANDARD.encode(format!("{}:{}", self.uaa.client_id, self.uaa.client_secret));
        let headers = [
            ("Host", &*endpoint.authority),
            ("Authorization", &format!("Basic {credentials}")),
            ("Accept", "application/json"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Content-Length", &form.len().to_string()),
            ("Connection", "close"),
            ("User-Agent", crate::USER_AGENT),
        ];
        let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("POST {} HTTP/1.1\r\n{head}\r\n{form}", endpoint.path(PATH))
    }

    /// Returns the error of a response without a token.
    fn rejection(&self, head: &Head, what: &str, body: &str) -> Error {
        let response: ErrorResponse = serde_json::from_str(body).unwrap_or_default();
        let message = response.error_description.or(response.error.clone()).unwrap_or_else(|| body.to_owned());
        let access_token = self.uaa.access_token.as_deref().unwrap_or_default();
        let secrets = [self.refresh_token(), &self.uaa.refresh_token, access_token, &self.uaa.client_secret];
        let error = error_response(head.status, &head.reason, what, without_secrets(&message, &secrets));
        let error = mark_router(error, head.header(ROUTER_ERROR));
        if !matches!(head.status, 400 | 401) {
            return error;
        }
        let context = if response.error.as_deref() == Some("invalid_client") || self.refresh_token().is_empty() {
            "the client's id or secret is wrong, or the client lacks a permission: "
        } else {
            "the session has expired: run `cf login`: "
        };
        error.with_kind(ErrorKind::Unauthorized).with_context(context)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.endpoint, f)
    }
}

/// Hides these secrets in a server's message, and everything else that looks like a part of a token: UAAs quote a
/// refresh token that they reject, or the id in it.
fn without_secrets(message: &str, secrets: &[&str]) -> String {
    let mut message = message.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        message = message.replace(secret, HIDDEN);
    }
    let in_token = |c: char| c.is_ascii_alphanumeric() || "-_.%+/=".contains(c);
    let is_token = |word: &str| word.len() >= 16 && word.contains(|c: char| c.is_ascii_digit());
    let mut shown = String::new();
    for piece in message.split_inclusive(|c| !in_token(c)) {
        let word = piece.trim_end_matches(|c| !in_token(c));
        shown.push_str(if is_token(word) { HIDDEN } else { word });
        shown.push_str(&piece[word.len()..]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_what_looks_like_a_token_and_keeps_the_rest() {
        for (message, shown) in [
            ("", ""),
            ("Bad credentials", "Bad credentials"),
            (
                "The token expired, was revoked, or the token ID is incorrect: 6e1f0d2b8c3a4f57-r",
                "The token expired, was revoked, or the token ID is incorrect: #",
            ),
            ("<eyJhbGciOiJSUzI1NiJ9.eyJqdGk.c2ln>: no", "<#>: no"),
            ("hunter2's token (hunter2)", "#'s token (#)"),
            ("ümlaut: insufficient_authentication\n", "ümlaut: insufficient_authentication\n"),
        ] {
            assert_eq!(without_secrets(message, &["", "hunter2"]), shown.replace('#', HIDDEN));
        }
    }
}
