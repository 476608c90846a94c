//! The UAA: its token endpoint, and the tokens that it gave.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::connection::Connection;
use super::http::Response;
use super::random::hex_digits;
use super::record::{Request, form_values};

/// The tokens that there are.
#[derive(Default)]
pub(super) struct Tokens {
    /// The access tokens, and when each expires.
    access: HashMap<String, Instant>,
    refresh: HashSet<String>,
    /// How many access tokens were got with these.
    pub(super) refreshes: usize,
}

/// A new access token.
pub(super) struct AccessToken {
    pub(super) jwt: String,
    /// What it says of its life, in seconds.
    expires_in: u64,
    id: String,
}

const SCOPE: &str = "cloud_controller.read openid";

impl Tokens {
    /// Whether a token that this UAA gave has not expired; `None` if it gave no such token.
    pub(super) fn is_good(&self, token: Option<&str>) -> Option<bool> {
        self.access.get(token?).map(|&expiry| Instant::now() < expiry)
    }

    /// A well-formed JWT whose signature is none.
    pub(super) fn issue(&mut self, life: Duration) -> AccessToken {
        // JWTs count in seconds.
        let expires_in = life.as_secs().max(1);
        let (id, now) = (hex_digits(32), Timestamp::now().as_second());
        let header = json!({ "alg": "RS256", "kid": "key-1", "typ": "JWT" });
        let payload = json!({
            "jti": id, "sub": "00000000-0000-0000-0000-000000000001", "user_name": "user", "client_id": "cf",
            "scope": SCOPE.split(' ').collect::<Vec<_>>(), "iat": now, "exp": now.saturating_add_unsigned(expires_in),
        });
        let [header, payload] = [header, payload].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let jwt = format!("{header}.{payload}.{}", BASE64_URL_SAFE_NO_PAD.encode(hex_digits(32)));
        // A life without end is one of a year.
        let expiry = Instant::now() + life.min(Duration::from_secs(365 * 24 * 3600));
        self.access.insert(jwt.clone(), expiry);
        AccessToken { jwt, expires_in, id }
    }

    pub(super) fn issue_refresh_token(&mut self) -> String {
        let token = format!("{}-r", hex_digits(32));
        self.refresh.insert(token.clone());
        token
    }

    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        self.access.values_mut().for_each(|expiry| *expiry = now);
    }

    pub(super) fn revoke_refresh_tokens(&mut self) {
        self.refresh.clear();
    }
}

/// `POST /oauth/token`
pub(super) fn answer(connection: &Connection, request: &Request) -> Response {
    if request.method != "POST" {
        return refuse(405, "method_not_allowed", "Request method is not supported");
    }
    // The client `cf` has no secret.
    let client = format!("Basic {}", BASE64_STANDARD.encode("cf:"));
    let form = String::from_utf8_lossy(&request.body);
    let field = |name| form_values(&form, name).next();
    let is_client = match request.header("Authorization") {
        Some(basic) => basic == client,
        None => field("client_id").as_deref() == Some("cf") && field("client_secret").is_none_or(|it| it.is_empty()),
    };
    if !is_client {
        let challenge = r#"Basic realm="UAA/client", error="unauthorized", error_description="Bad credentials""#;
        return refuse(401, "unauthorized", "Bad credentials").header("WWW-Authenticate", challenge);
    }
    match field("grant_type").as_deref() {
        Some("refresh_token") => refresh(connection, &field("refresh_token").unwrap_or_default()),
        Some(other) => refuse(400, "unsupported_grant_type", &format!("Unsupported grant type: {other}")),
        None => refuse(400, "invalid_request", "Missing grant type"),
    }
}

fn refresh(connection: &Connection, given: &str) -> Response {
    let settings = &connection.shared().settings;
    connection.shared().update(|state| {
        let tokens = &mut state.tokens;
        if !tokens.refresh.contains(given) {
            let words = "The token expired, was revoked, or the token ID is incorrect.";
            return refuse(401, "invalid_token", words);
        }
        let mut refresh_token = given.to_owned();
        if settings.rotate_refresh_tokens {
            tokens.refresh.remove(given);
            refresh_token = tokens.issue_refresh_token();
        }
        let AccessToken { jwt, expires_in, id } = tokens.issue(settings.token_life);
        tokens.refreshes += 1;
        json_response(
            200,
            &json!({
                "access_token": jwt, "token_type": "bearer", "refresh_token": refresh_token, "expires_in": expires_in,
                "scope": SCOPE, "jti": id,
            }),
        )
    })
}

fn refuse(status: u16, error: &str, description: &str) -> Response {
    json_response(status, &json!({ "error": error, "error_description": description }))
}

fn json_response(status: u16, body: &Value) -> Response {
    Response::of(status, "application/json;charset=UTF-8", body.to_string())
        .header("Cache-Control", "no-store")
        .header("Pragma", "no-cache")
}
