//! [`Uaa`] and [`Session`]: tokens from the UAA, the server where Cloud Foundry's users log in.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

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
use crate::net::failure::{self, io_error};
use crate::net::head::{ACCEPT_ENCODING, Head, coding};
use crate::secrets::{Secrets, hide_tokens};

const PATH: &str = "/oauth/token";

/// The default of [`Uaa::timeout`].
const TIMEOUT: Duration = Duration::from_secs(10);

/// A session at a UAA, the server where Cloud Foundry's users log in. For [`TokenSource::uaa`].
///
/// | set | whose session | when it ends |
/// |---|---|---|
/// | [`refresh_token`](Uaa::refresh_token) | a user's | when the refresh token does, often after some days |
/// | [`password`](Uaa::password), also with a refresh token | a user's | never: the UAA returns another refresh token for the password |
/// | [`client`](Uaa::client) with a secret | the client's own (grant type `client_credentials`) | never |
/// | a refresh token, and a client with a secret | the user's until the UAA rejects the refresh token, and the client's from then on | never |
///
/// White space around the URL, the names of the client and the user, and the tokens is removed, and line breaks at the
/// end of a secret or a password are: the output of a command or the content of a file can be passed on as it is.
///
/// ```
/// use loggregator_consumer::Uaa;
///
/// // A user's session.
/// let user = Uaa::new("https://uaa.example.com").refresh_token("a-refresh-token");
/// // A user's session that outlives every refresh token.
/// let user = Uaa::new("https://uaa.example.com").password("marie", "her password");
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
    /// A user's name and password.
    user: Option<(String, String)>,
    pub(crate) access_token: Option<String>,
    timeout: Duration,
}

impl Uaa {
    /// Describes a session at the UAA at `url`, such as `https://uaa.example.com`. The client is `cf`, that is the `cf`
    /// CLI, which has no secret.
    pub fn new(url: &str) -> Self {
        Uaa {
            url: url.trim().to_owned(),
            client_id: "cf".to_owned(),
            client_secret: String::new(),
            refresh_token: String::new(),
            user: None,
            access_token: None,
            timeout: TIMEOUT,
        }
    }

    /// Sets the OAuth client that requests tokens. A refresh token is valid only for the client that received it.
    /// Default: `cf`, without a secret.
    ///
    /// They may contain any characters. They are sent in the form of the request, which every UAA decodes in the same
    /// way; only a client without a secret, such as `cf`, is sent by Basic authentication.
    pub fn client(mut self, id: &str, secret: &str) -> Self {
        self.client_id = id.trim().to_owned();
        self.client_secret = secret.trim_end_matches(['\r', '\n']).to_owned();
        self
    }

    /// Sets the refresh token, which is exchanged for access tokens. If the UAA returns another refresh token with an
    /// access token, that one is used from then on. If the UAA rejects the refresh token, access tokens are requested
    /// for the [password](Uaa::password), or else for the [client](Uaa::client) itself if it has a secret.
    pub fn refresh_token(mut self, token: &str) -> Self {
        self.refresh_token = token.trim().to_owned();
        self
    }

    /// Sets the name and the password of a user (grant type `password`, as `cf auth` uses it), for tools that run longer
    /// than a refresh token is valid. The client must be allowed to use passwords, as `cf` is. A user of a single sign-on
    /// has no password that the UAA knows.
    ///
    /// The password is sent for the first access token, unless there is a [refresh token](Uaa::refresh_token). The UAA
    /// returns a refresh token with it, which is used from then on. When the UAA rejects the refresh token, the password
    /// is sent again.
    ///
    /// After a wrong password, a UAA locks the user's account if there are some more attempts: by default after 5 in an
    /// hour. So a password that was rejected is not sent again for 15 minutes. Calls fail with the same error meanwhile.
    ///
    /// The password may contain any characters. It appears in no log, no error and no `Debug` output: an error hides it
    /// if the UAA repeats it in any encoding. Only one of fewer than 4 characters is not hidden.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    /// use loggregator_consumer::{Builder, Proxy, TokenSource, Uaa};
    ///
    /// # const APP: &str = "11111111-1111-1111-1111-111111111111";
    /// let server = TrafficController::builder().generation(Generation::Today).user("marie", "pass word").start()?;
    /// let tokens = TokenSource::uaa(Uaa::new(&server.api()).password("marie", "pass word"))?;
    /// let consumer = Builder::new().api(&server.api()).tokens(tokens).proxy(Proxy::none()).build()?;
    /// consumer.recent(APP, "")?;
    /// server.expire_tokens();
    /// server.revoke_refresh_tokens();
    /// consumer.recent(APP, "")?; // with another token, for the password
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn password(mut self, user: &str, password: &str) -> Self {
        self.user = Some((user.trim().to_owned(), password.trim_end_matches(['\r', '\n']).to_owned()));
        self
    }

    /// Sets the access token to start with. By default the first one is requested when it is needed.
    pub fn access_token(mut self, token: &str) -> Self {
        self.access_token = Some(token.trim().to_owned()).filter(|token| !token.is_empty());
        self
    }

    /// Sets the timeout for connecting to the UAA and receiving the head of its response, DNS included. The body may
    /// then take as long again. After a rejected refresh token the second request has the same limits. Default: 10 s.
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
    /// Locked only to read or to change them: not during a request, and not while anything is logged.
    credentials: Mutex<Credentials>,
}

#[derive(Clone)]
struct Credentials {
    /// As given by the caller, or as last reloaded.
    uaa: Uaa,
    /// The refresh token that the UAA has returned since.
    rotated: Option<String>,
    /// True if the UAA has rejected the refresh token, and the [lasting](Credentials::lasting_grant) grant is used
    /// instead.
    is_refresh_token_dead: bool,
    /// The error of a password that the UAA has rejected, and when to send it again.
    rejected_password: Option<(Error, Instant)>,
    /// Refresh tokens that were used before, because a UAA may still quote them in its errors.
    former: VecDeque<String>,
}

/// How long a rejected password is not sent. By default, a UAA locks an account after 5 wrong passwords in an hour.
const PASSWORD_PAUSE: Duration = Duration::from_secs(15 * 60);

/// The number of former refresh tokens that are hidden in errors.
const MAX_FORMER: usize = 8;

/// How an access token is requested.
#[derive(Clone, Copy)]
enum Grant<'a> {
    /// For the refresh token of a user (RFC 6749, section 6).
    RefreshToken(&'a str),
    /// For the password of a user (RFC 6749, section 4.3.2).
    Password { user: &'a str, password: &'a str },
    /// For the secret of the client (RFC 6749, section 4.4.2).
    ClientCredentials,
}

impl fmt::Display for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Grant::RefreshToken(_) => "the refresh token",
            Grant::Password { .. } => "the password of the user",
            Grant::ClientCredentials => "the secret of the client",
        })
    }
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
    pub(super) fn new(uaa: Uaa, reload: Option<Box<Reload>>) -> Result<Self> {
        let endpoint = Endpoint::parse(&uaa.url, Scheme::Http).map_err(|error| error.with_context("the UAA: "))?;
        let invalid = |text| Err(Error::new(ErrorKind::InvalidInput, text));
        if uaa.client_id.is_empty() {
            return invalid("the id of the UAA's client is empty");
        }
        if uaa.refresh_token.contains(char::is_control) {
            return invalid("the refresh token contains a line break or another control character");
        }
        if uaa.user.as_ref().is_some_and(|(user, password)| user.is_empty() || password.is_empty()) {
            return invalid("the name or the password of the UAA's user is empty");
        }
        let credentials = Credentials {
            uaa,
            rotated: None,
            is_refresh_token_dead: false,
            rejected_password: None,
            former: VecDeque::with_capacity(MAX_FORMER),
        };
        Ok(Session { endpoint, reload, credentials: Mutex::new(credentials) })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns a token other than `rejected`: one that another program has received, or a new one from the UAA.
    pub(super) fn renew(&self, rejected: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<Token> {
        if let Some(token) = self.reload(rejected)? {
            log::debug!("using a token that another program received from the UAA {self}");
            return Ok(token);
        }
        let response = self
            .request_token(rejected, dialer, cancel)
            .map_err(|error| error.with_context(&format!("the UAA {self}: ")))?;
        Token::just_issued(&format!("bearer {}", response.access_token))
    }

    /// Reloads the session. Returns its access token if that has changed since the last time, is not `rejected`, and
    /// need not be renewed.
    pub(super) fn reload(&self, rejected: Option<&str>) -> Result<Option<Token>> {
        let Some(reload) = &self.reload else { return Ok(None) };
        let reloaded = match reload() {
            // After a logout no more tokens may be requested.
            Err(error) if error.kind() == ErrorKind::Unauthorized => return Err(error),
            Err(error) => {
                log::warn!("the session could not be reloaded, continuing with the old one: {error}");
                return Ok(None);
            }
            Ok(reloaded) => reloaded,
        };
        let Some(access_token) = self.credentials.lock().replace(reloaded) else { return Ok(None) };
        let token = Token::existing(&access_token)?;
        let is_usable = rejected != Some(&*token.text) && !token.needs_renewal(SystemTime::now());
        Ok(Some(token).filter(|_| is_usable))
    }

    /// Requests an access token. If the refresh token is rejected, requests one for a password or the secret of the
    /// client.
    fn request_token(&self, rejected: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<TokenResponse> {
        let credentials = self.credentials.lock().clone();
        let first = credentials.grant()?;
        let request = |grant| {
            credentials.check_pause(grant)?;
            self.request(&credentials, grant, rejected, dialer, cancel)
        };
        let (mut grant, mut response) = (first, request(first));
        if let (Grant::RefreshToken(used), Err(failure), Some(lasting)) =
            (first, &response, credentials.lasting_grant())
            && failure.is_grant_dead
        {
            self.credentials.lock().give_up(used);
            log::warn!("the UAA {self} rejected the refresh token, continuing with {lasting}: {}", failure.error);
            (grant, response) = (lasting, request(lasting));
        }
        match &response {
            Ok(response) => {
                let returned = response.refresh_token.as_deref().unwrap_or_default();
                self.credentials.lock().granted(grant, credentials.refresh_token(), returned);
            }
            Err(failure) if failure.is_grant_dead => self.credentials.lock().rejected(grant, &failure.error),
            Err(_) => {}
        }
        response.map_err(|failure| failure.error)
    }

    /// Makes one request. Both the request and the response contain secrets.
    fn request(
        &self,
        credentials: &Credentials,
        grant: Grant<'_>,
        rejected: Option<&str>,
        dialer: &Dialer,
        cancel: &Cancel,
    ) -> Result<TokenResponse, Failure> {
        log::debug!("requesting a token from the UAA {self}");
        let deadline = after(credentials.uaa.timeout);
        let mut stream = dialer.dial(&self.endpoint, deadline, cancel)?;
        let what = format!("the request for {PATH}");
        stream
            .write_all_by(credentials.uaa.request(&self.endpoint, grant).as_bytes(), deadline)
            .map_err(|cause| io_error(&what, cause))?;
        let mut head = Head::read_final(stream.until(deadline), &what)?;
        let body = head.read_body(stream.until(after(credentials.uaa.timeout)));
        if head.status != 200 {
            return Err(credentials.rejection(&head, &what, &body, grant, rejected));
        }
        if let Some(coding) = coding(head.headers()) {
            let text = format!("{what}: the response is encoded ({coding}), which was not requested");
            return Err(Error::new(ErrorKind::BadResponse, text).into());
        }
        match serde_json::from_str::<TokenResponse>(&body) {
            Ok(response) if !response.access_token.is_empty() && check(&response.access_token).is_ok() => Ok(response),
            // The cause is left out because it could contain a part of the token.
            _ => {
                Err(Error::new(ErrorKind::BadResponse, format!("{what}: the response contains no complete token"))
                    .into())
            }
        }
    }
}

/// Why a request for a token failed.
struct Failure {
    error: Error,
    /// True if the UAA rejected the refresh token or the password, and not the client.
    is_grant_dead: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, is_grant_dead: false }
    }
}

impl Uaa {
    /// Returns the request for a token, as HTTP/1.1.
    ///
    /// The client's id and secret are in the form. In Basic authentication UAAs since version 74 (2019) decode them as
    /// a form's values, and those before do not. Without a secret there is no difference for an id such as `cf`, and
    /// Basic authentication is what the `cf` CLI has always used for it.
    fn request(&self, endpoint: &Endpoint, grant: Grant<'_>) -> String {
        let encoded = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        let mut form = match grant {
            Grant::ClientCredentials => "grant_type=client_credentials".to_owned(),
            Grant::Password { user, password } => {
                format!("grant_type=password&username={}&password={}", encoded(user), encoded(password))
            }
            Grant::RefreshToken(token) => format!("grant_type=refresh_token&refresh_token={}", encoded(token)),
        };
        let is_plain = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let mut authorization = String::new();
        if self.client_secret.is_empty() && is_plain(&self.client_id) {
            authorization =
                format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{}:", self.client_id)));
        } else {
            let [id, secret] = [&self.client_id, &self.client_secret].map(|value| encoded(value));
            form += &format!("&client_id={id}&client_secret={secret}");
        }
        let headers = [
            ("Host", &*endpoint.authority),
            ("Accept", "application/json"),
            ("Accept-Encoding", ACCEPT_ENCODING),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Content-Length", &form.len().to_string()),
            ("Connection", "close"),
            ("User-Agent", crate::USER_AGENT),
        ];
        let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("POST {} HTTP/1.1\r\n{head}{authorization}\r\n{form}", endpoint.path(PATH))
    }
}

impl Credentials {
    fn refresh_token(&self) -> &str {
        self.rotated.as_deref().unwrap_or(&self.uaa.refresh_token)
    }

    fn grant(&self) -> Result<Grant<'_>> {
        let token = self.refresh_token();
        match self.lasting_grant() {
            Some(lasting) if token.is_empty() || self.is_refresh_token_dead => Ok(lasting),
            None if token.is_empty() => Err(Error::new(
                ErrorKind::Unauthorized,
                "the session cannot be renewed without a refresh token, a password or a client secret: run `cf login`",
            )),
            _ => Ok(Grant::RefreshToken(token)),
        }
    }

    /// Returns the grant that outlives a refresh token, if there is one.
    fn lasting_grant(&self) -> Option<Grant<'_>> {
        match &self.uaa.user {
            Some((user, password)) => Some(Grant::Password { user, password }),
            None => Some(Grant::ClientCredentials).filter(|_| !self.uaa.client_secret.is_empty()),
        }
    }

    /// Returns the error of a password that must not be sent again yet.
    fn check_pause(&self, grant: Grant<'_>) -> Result<()> {
        match (grant, &self.rejected_password) {
            (Grant::Password { .. }, Some((error, until))) if Instant::now() < *until => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Notes that the UAA has granted a token. `used` is the refresh token at the time of the request, and `returned`
    /// the one in the response.
    fn granted(&mut self, grant: Grant<'_>, used: &str, returned: &str) {
        match grant {
            Grant::RefreshToken(_) => self.rotate(used, returned),
            Grant::Password { .. } => {
                self.rejected_password = None;
                self.rotate(used, returned);
            }
            Grant::ClientCredentials => {}
        }
    }

    /// Notes that the UAA has rejected the grant.
    fn rejected(&mut self, grant: Grant<'_>, error: &Error) {
        if let Grant::Password { .. } = grant {
            let hint = format!(
                " (after a rejection the password is not sent for {} minutes, so that the UAA does not lock the account)",
                PASSWORD_PAUSE.as_secs() / 60
            );
            self.rejected_password = Some((error.clone().with_hint(&hint), after(PASSWORD_PAUSE)));
        }
    }

    /// Replaces the session by a reloaded one. Returns the access token if it is another one than before.
    fn replace(&mut self, reloaded: Uaa) -> Option<String> {
        // A session at another UAA: its tokens are not valid for our servers.
        if reloaded.url != self.uaa.url {
            return None;
        }
        if reloaded.refresh_token != self.uaa.refresh_token {
            self.retire();
        }
        let is_new = reloaded.access_token != self.uaa.access_token;
        self.uaa = reloaded;
        self.uaa.access_token.clone().filter(|_| is_new)
    }

    /// Stores the refresh token that the UAA returned in exchange for `used`, or for the password.
    fn rotate(&mut self, used: &str, returned: &str) {
        // The session may have been reloaded during the request.
        if self.refresh_token() == used && !returned.is_empty() && returned != used {
            self.retire();
            self.rotated = Some(returned.to_owned());
        }
    }

    /// Notes that the UAA has rejected the refresh token `used`.
    fn give_up(&mut self, used: &str) {
        self.is_refresh_token_dead = self.refresh_token() == used;
    }

    /// Makes the refresh token a former one.
    fn retire(&mut self) {
        if self.former.len() == MAX_FORMER {
            self.former.pop_front();
        }
        self.former.push_back(self.refresh_token().to_owned());
        self.rotated = None;
        self.is_refresh_token_dead = false;
    }

    /// Returns all secrets that the UAA knows, and may quote in its errors.
    fn secrets(&self, rejected: Option<&str>) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.add_client(&self.uaa.client_id, &self.uaa.client_secret);
        if let Some((user, password)) = &self.uaa.user {
            secrets.add_client(user, password);
        }
        let tokens = [self.refresh_token(), &self.uaa.refresh_token];
        let tokens = tokens.into_iter().chain(self.uaa.access_token.as_deref()).chain(rejected);
        tokens.chain(self.former.iter().map(String::as_str)).for_each(|token| secrets.add_token(token));
        secrets
    }

    /// Returns the failure that a response without a token means. Everything that the UAA says passes here, and its
    /// secrets are hidden.
    fn rejection(&self, head: &Head, what: &str, body: &str, grant: Grant<'_>, rejected: Option<&str>) -> Failure {
        let response: ErrorResponse = serde_json::from_str(body).unwrap_or_default();
        let message = response.error_description.or(response.error.clone()).unwrap_or_else(|| body.to_owned());
        let secrets = self.secrets(rejected);
        let shown = |text: &str| hide_tokens(&secrets.hide_in(text));
        let error = failure::ErrorResponse::of(head, message).into_error(what, shown);
        if !matches!(head.status, 400 | 401) {
            return error.into();
        }
        let code = response.error.as_deref().unwrap_or_default();
        let (is_grant_dead, context) = match grant {
            // Only what a UAA says of a refresh token, or of a client that may not use one: it is given up.
            Grant::RefreshToken(_) => {
                let dead = ["invalid_grant", "invalid_token", "unauthorized_client", "unsupported_grant_type"];
                let is_of_client = matches!(code, "invalid_client" | "unauthorized");
                let context = if is_of_client { WRONG_CLIENT } else { "the session has expired: run `cf login`: " };
                (dead.iter().any(|dead| code.starts_with(dead)), context)
            }
            // A UAA says "unauthorized" of a wrong password and of a locked account, and old ones also of a client.
            Grant::Password { .. } => {
                let is_of_client = matches!(code, "invalid_client" | "unauthorized_client" | "unsupported_grant_type");
                (!is_of_client, if is_of_client { WRONG_CLIENT } else { WRONG_PASSWORD })
            }
            Grant::ClientCredentials => (false, WRONG_CLIENT),
        };
        Failure { error: error.with_kind(ErrorKind::Unauthorized).with_context(context), is_grant_dead }
    }
}

const WRONG_CLIENT: &str = "the client's id or secret is wrong, or the client lacks a permission: ";
const WRONG_PASSWORD: &str = "the user's name or password is wrong, or the client's id or secret: ";

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.endpoint, f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::auth::scripted_uaa::{ScriptedUaa, dialer, fresh_jwt, granted};

    #[test]
    fn a_rejected_password_is_sent_again_only_after_a_pause() {
        static IS_LOCKED: AtomicBool = AtomicBool::new(true);
        let uaa = ScriptedUaa::start(|_| match IS_LOCKED.load(Ordering::Relaxed) {
            true => (401, r#"{"error":"unauthorized","error_description":"Bad credentials"}"#.into()),
            false => granted(&fresh_jwt()),
        });
        let session = Session::new(Uaa::new(&uaa.url).password("marie", "hunter2"), None).unwrap();
        let renew = || session.renew(None, &dialer(), &Cancel::new()).map(drop);
        let first = renew().unwrap_err();
        assert_eq!((first.kind(), first.status()), (ErrorKind::Unauthorized, Some(401)));
        assert!(first.to_string().contains("the user's name or password is wrong"), "{first}");
        assert!(!first.to_string().contains("is not sent"), "{first}");
        for _ in 0..3 {
            let error = renew().unwrap_err();
            assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(401)));
            let text = error.to_string();
            assert!(text.contains("Bad credentials") && text.contains("is not sent for 15 minutes"), "{text}");
        }
        assert_eq!(uaa.requests.len(), 1);

        let end_pause = || session.credentials.lock().rejected_password.as_mut().unwrap().1 = Instant::now();
        let until = session.credentials.lock().rejected_password.as_ref().unwrap().1;
        assert!(until > Instant::now() + PASSWORD_PAUSE / 2);
        end_pause();
        assert!(!renew().unwrap_err().to_string().contains("is not sent"));
        renew().unwrap_err();
        assert_eq!(uaa.requests.len(), 2);
        IS_LOCKED.store(false, Ordering::Relaxed);
        end_pause();
        renew().unwrap();
        renew().unwrap();
        assert_eq!(uaa.requests.len(), 4);
    }

    #[test]
    fn only_a_rejection_of_the_password_makes_a_pause() {
        for (status, error) in [(401, "invalid_client"), (401, "unauthorized_client"), (503, "unauthorized")] {
            let uaa = ScriptedUaa::start(move |_| (status, format!(r#"{{"error":"{error}"}}"#)));
            let session = Session::new(Uaa::new(&uaa.url).password("marie", "hunter2"), None).unwrap();
            for _ in 0..3 {
                let text = session.renew(None, &dialer(), &Cancel::new()).map(drop).unwrap_err().to_string();
                assert!(!text.contains("password"), "{text}");
            }
            assert_eq!(uaa.requests.len(), 3, "{error}");
        }
    }
}
