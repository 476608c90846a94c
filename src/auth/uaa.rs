//! [`Uaa`] and [`Session`]: tokens from the server that Cloud Foundry's users log in to.

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
use crate::net::failure::{error_response, io_error};
use crate::net::head::{Head, coding};
use crate::secrets::HIDDEN;

const PATH: &str = "/oauth/token";

/// How long a UAA has, if nothing else is set.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A session at a UAA, the server that Cloud Foundry's users log in to, for [`TokenSource::uaa`].
///
/// With a [refresh token](Uaa::refresh_token) it is a user's. Without one it is the [client's](Uaa::client) own, which
/// needs a secret (the grant `client_credentials`).
///
/// ```
/// use loggregator_consumer::Uaa;
///
/// // The session of a user.
/// let user = Uaa::new("https://uaa.example.com").refresh_token("a-refresh-token");
/// // That of a service.
/// let service = Uaa::new("https://uaa.example.com").client("firehose-to-syslog", "secret");
/// ```
///
/// [`TokenSource::uaa`]: crate::TokenSource::uaa
#[derive(Clone, PartialEq, Eq)]
#[must_use = "it is to be handed to `TokenSource::uaa`"]
pub struct Uaa {
    url: String,
    client_id: String,
    client_secret: String,
    refresh_token: String,
    pub(crate) access_token: Option<String>,
    timeout: Duration,
}

impl Uaa {
    /// The UAA at `url`, such as `https://uaa.example.com`, for the client `cf`, which is the `cf` CLI and has no
    /// secret.
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

    /// The OAuth client that asks for tokens. A refresh token is good only for the client that got it.
    pub fn client(mut self, id: &str, secret: &str) -> Self {
        self.client_id = id.to_owned();
        self.client_secret = secret.to_owned();
        self
    }

    /// What access tokens are got for. If the UAA gives another refresh token along with one, that is used from then
    /// on.
    pub fn refresh_token(mut self, token: &str) -> Self {
        self.refresh_token = token.to_owned();
        self
    }

    /// An access token to begin with. By default the first one is got when it is needed.
    pub fn access_token(mut self, token: &str) -> Self {
        self.access_token = Some(token.to_owned());
        self
    }

    /// How long the UAA may take to begin its answer, from name resolution on, and then once more to end it. By default
    /// 10 s.
    pub fn timeout(mut self, d: Duration) -> Self {
        self.timeout = d;
        self
    }
}

impl fmt::Debug for Uaa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is not parsed yet, and may hold a password by mistake.
        f.debug_struct("Uaa").field("client", &self.client_id).finish_non_exhaustive()
    }
}

/// Tells what has become of a session that others renew too.
pub(crate) type Reread = dyn Fn() -> Result<Uaa> + Send + Sync;

/// A session, and how to go on with it.
pub(super) struct Session {
    endpoint: Endpoint,
    reread: Option<Box<Reread>>,
    /// Only one renewal is under way at a time, so nobody waits for it.
    login: Mutex<Login>,
}

struct Login {
    /// As it was given, or reread last.
    uaa: Uaa,
    /// The refresh token that the UAA gave since.
    rotated: Option<String>,
}

#[derive(Deserialize)]
struct Grant {
    access_token: String,
    refresh_token: Option<String>,
}

#[derive(Default, Deserialize)]
struct Refusal {
    error: Option<String>,
    error_description: Option<String>,
}

impl Session {
    pub(super) fn new(uaa: Uaa, reread: Option<Box<Reread>>) -> Result<Self> {
        let endpoint = Endpoint::parse(&uaa.url, Scheme::Http).map_err(|error| error.with_context("the UAA: "))?;
        Ok(Session { endpoint, reread, login: Mutex::new(Login { uaa, rotated: None }) })
    }

    /// Another token than `refused`: one that somebody else got, or one from the UAA.
    pub(super) fn get(&self, refused: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<Token> {
        let mut login = self.login.lock();
        if let Some(token) = self.reread(&mut login)?
            && refused != Some(&*token.text)
            && !token.is_due(SystemTime::now())
        {
            log::debug!("going on with the token that another has got from the UAA {self}");
            return Ok(token);
        }
        let grant =
            self.ask(&login, dialer, cancel).map_err(|error| error.with_context(&format!("the UAA {self}: ")))?;
        if let Some(rotated) = grant.refresh_token.filter(|token| !token.is_empty()) {
            login.rotated = Some(rotated);
        }
        Token::issued(&format!("bearer {}", grant.access_token))
    }

    /// The access token of somebody else, if there is a new one since the last look.
    fn reread(&self, login: &mut Login) -> Result<Option<Token>> {
        let Some(reread) = &self.reread else { return Ok(None) };
        let found = match reread() {
            // Whoever has logged out wants no more tokens.
            Err(error) if error.kind() == ErrorKind::Unauthorized => return Err(error),
            Err(error) => {
                log::warn!("going on with the session as it was: {error}");
                return Ok(None);
            }
            // A session at another UAA. Its tokens are not for the servers that we speak to.
            Ok(found) if found.url != login.uaa.url => return Ok(None),
            Ok(found) => found,
        };
        if found.refresh_token != login.uaa.refresh_token {
            login.rotated = None;
        }
        let is_new = found.access_token != login.uaa.access_token;
        login.uaa = found;
        login.uaa.access_token.as_deref().filter(|_| is_new).map(Token::found).transpose()
    }

    /// Asks the UAA for an access token. Both the request and the answer hold secrets.
    fn ask(&self, login: &Login, dialer: &Dialer, cancel: &Cancel) -> Result<Grant> {
        let form = login.form()?;
        log::debug!("asking the UAA {self} for a token");
        let deadline = after(login.uaa.timeout);
        let mut stream = dialer.dial(&self.endpoint, deadline, cancel)?;
        let what = format!("the request for {PATH}");
        stream
            .write_all_by(login.request(&self.endpoint, &form).as_bytes(), deadline)
            .map_err(|cause| io_error(&what, cause))?;
        let mut head = Head::read(stream.until(deadline), &what)?;
        let body = head.read_body(stream.until(after(login.uaa.timeout)));
        if head.status != 200 {
            return Err(login.refusal(&head, &what, &body));
        }
        if let Some(coding) = coding(head.headers()) {
            let text = format!("{what}: the answer is encoded ({coding}), which was not asked for");
            return Err(Error::new(ErrorKind::BadResponse, text));
        }
        match serde_json::from_str::<Grant>(&body) {
            Ok(grant) if !grant.access_token.is_empty() && check(&grant.access_token).is_ok() => Ok(grant),
            // The cause could hold a part of the token.
            _ => Err(Error::new(ErrorKind::BadResponse, format!("{what}: the answer holds no token, or only a part"))),
        }
    }
}

impl Login {
    fn refresh_token(&self) -> &str {
        self.rotated.as_deref().unwrap_or(&self.uaa.refresh_token)
    }

    /// What to ask for a token by (RFC 6749, sections 4.4.2 and 6).
    fn form(&self) -> Result<String> {
        match (self.refresh_token(), &*self.uaa.client_secret) {
            ("", "") => Err(Error::new(
                ErrorKind::Unauthorized,
                "the session can't be renewed, it has neither a refresh token nor a client secret: run `cf login`",
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

    /// The error of an answer that grants nothing.
    fn refusal(&self, head: &Head, what: &str, body: &str) -> Error {
        let refusal: Refusal = serde_json::from_str(body).unwrap_or_default();
        let words = refusal.error_description.or(refusal.error.clone()).unwrap_or_else(|| body.to_owned());
        let access_token = self.uaa.access_token.as_deref().unwrap_or_default();
        let secrets = [self.refresh_token(), &self.uaa.refresh_token, access_token, &self.uaa.client_secret];
        let error = error_response(head.status, &head.reason, what, without_secrets(&words, &secrets));
        if !matches!(head.status, 400 | 401) {
            return error;
        }
        let context = if refusal.error.as_deref() == Some("invalid_client") || self.refresh_token().is_empty() {
            "the client's id or secret is wrong, or it may not do this: "
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

/// A server's words without these secrets, nor what else looks like a part of a token: UAAs quote refresh tokens, or
/// the ids in them, when they refuse them.
fn without_secrets(words: &str, secrets: &[&str]) -> String {
    let mut words = words.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        words = words.replace(secret, HIDDEN);
    }
    let in_token = |c: char| c.is_ascii_alphanumeric() || "-_.%+/=".contains(c);
    let is_token = |word: &str| word.len() >= 16 && word.contains(|c: char| c.is_ascii_digit());
    let mut shown = String::new();
    for piece in words.split_inclusive(|c| !in_token(c)) {
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
    fn hides_what_looks_like_a_token_and_leaves_the_words() {
        for (words, shown) in [
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
            assert_eq!(without_secrets(words, &["", "hunter2"]), shown.replace('#', HIDDEN));
        }
    }
}
