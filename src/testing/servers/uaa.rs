//! The UAA: its token endpoint, and `/login`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::testing::config::generation::Generation;
use crate::testing::protocol::request::{Request, form_pairs, unescape};
use crate::testing::protocol::response::Response;
use crate::testing::state::SharedState;
use crate::testing::state::tokens::{AccessToken, SCOPE, TokenOwner};

/// The client of the `cf` command line. It has no secret.
const CF: &str = "cf";

/// Answers `/oauth/token`.
pub(crate) fn token(shared: &SharedState, request: &Request) -> Response {
    if request.method != "POST" {
        return error(405, "method_not_allowed", "Request method is not supported");
    }
    let form = String::from_utf8_lossy(&request.body);
    let field = |name| form_pairs(&form).flatten().find(|(key, _)| key == name).map(|(_, value)| value);
    let in_form = || Some((field("client_id")?, field("client_secret").unwrap_or_default()));
    let credentials = basic_credentials(shared, request).or_else(in_form);
    let Some((client, _)) = credentials.filter(|credentials| is_client(shared, credentials)) else {
        let challenge = r#"Basic realm="UAA/client", error="unauthorized", error_description="Bad credentials""#;
        return error(401, "unauthorized", "Bad credentials").header("WWW-Authenticate", challenge);
    };
    match field("grant_type").as_deref() {
        Some("refresh_token") if client == CF => refresh(shared, &field("refresh_token").unwrap_or_default()),
        Some("client_credentials") if client != CF => grant(shared, TokenOwner::Client(client)),
        Some("password") if client == CF && field("username").is_some() => {
            let user = (field("username").unwrap_or_default(), field("password").unwrap_or_default());
            if !shared.settings.users.contains(&user) {
                return error(401, "unauthorized", "Bad credentials");
            }
            grant(shared, TokenOwner::User(user.0))
        }
        Some("client_credentials" | "refresh_token" | "password") if field("username").is_some() || client != CF => {
            error(401, "unauthorized_client", "Unauthorized grant type")
        }
        Some("client_credentials") => error(401, "unauthorized_client", "Unauthorized grant type: client_credentials"),
        Some(other) => error(400, "unsupported_grant_type", &format!("Unsupported grant type: {other}")),
        None => error(400, "invalid_request", "Missing grant type"),
    }
}

/// Returns the client and the secret in `Authorization`. The UAA has form-decoded both since 2019, and before only for
/// clients that said so.
fn basic_credentials(shared: &SharedState, request: &Request) -> Option<(String, String)> {
    let encoded = request.header("Authorization")?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let (client, secret) = decoded.split_once(':')?;
    let says_encoded = request.header("X-CF-ENCODED-CREDENTIALS").is_some_and(|value| value == "true");
    if shared.settings.generation < Generation::Today && !says_encoded {
        return Some((client.to_owned(), secret.to_owned()));
    }
    Some((unescape(client).ok()?, unescape(secret).ok()?))
}

fn is_client(shared: &SharedState, credentials: &(String, String)) -> bool {
    (credentials.0 == CF && credentials.1.is_empty()) || shared.settings.clients.contains(credentials)
}

/// Issues an access token for a refresh token.
fn refresh(shared: &SharedState, given: &str) -> Response {
    let is_known = shared.update(|state| {
        if state.tokens.has_refresh_token(given) {
            state.tokens.refreshes += 1;
            return true;
        }
        false
    });
    if !is_known {
        return error(401, "invalid_token", "The token expired, was revoked, or the token ID is incorrect.");
    }
    let refresh_token = shared.update(|state| {
        if !shared.settings.rotate_refresh_tokens {
            return given.to_owned();
        }
        state.tokens.revoke_refresh_token(given);
        state.tokens.issue_refresh_token()
    });
    issue(shared, &TokenOwner::default(), Some(refresh_token))
}

/// Issues an access token to a client, or to a user, who gets a refresh token, too.
fn grant(shared: &SharedState, owner: TokenOwner) -> Response {
    let refresh_token = match owner {
        TokenOwner::Client(_) | TokenOwner::Admin => None,
        TokenOwner::User(_) => Some(shared.update(|state| state.tokens.issue_refresh_token())),
    };
    issue(shared, &owner, refresh_token)
}

fn issue(shared: &SharedState, owner: &TokenOwner, refresh_token: Option<String>) -> Response {
    let token = shared.update(|state| state.tokens.issue(shared.settings.token_life, owner));
    let AccessToken { jwt, expires_in, id } = token;
    let mut body = json!({
        "access_token": jwt, "token_type": "bearer", "expires_in": expires_in, "scope": SCOPE, "jti": id,
    });
    if let Some(refresh_token) = refresh_token {
        body["refresh_token"] = refresh_token.into();
    }
    json_response(200, &body)
}

/// Answers `/login`, which says what a user is asked for.
pub(crate) fn login(shared: &SharedState) -> Response {
    let url = shared.http_url();
    json_response(
        200,
        &json!({
            "app": { "version": "77.10.0" },
            "showLoginLinks": true,
            "links": { "uaa": url, "passwd": "/forgot_password", "login": url, "register": "/create_account" },
            "zone_name": "uaa",
            "entityID": "testing",
            "commit_id": "0000000",
            "idpDefinitions": {},
            "prompts": { "username": ["text", "Email"], "password": ["password", "Password"] },
            "timestamp": "2024-05-01T00:00:00+0000",
        }),
    )
}

fn error(status: u16, name: &str, description: &str) -> Response {
    json_response(status, &json!({ "error": name, "error_description": description }))
}

fn json_response(status: u16, body: &Value) -> Response {
    Response::with_body(status, "application/json;charset=UTF-8", body.to_string())
        .header("Cache-Control", "no-store")
        .header("Pragma", "no-cache")
}
