//! The UAA: its token endpoint.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::testing::protocol::request::{Request, form_pairs};
use crate::testing::protocol::response::Response;
use crate::testing::state::SharedState;
use crate::testing::state::tokens::{AccessToken, SCOPE};

/// Answers `/oauth/token`.
pub(crate) fn token(shared: &SharedState, request: &Request) -> Response {
    if request.method != "POST" {
        return error(405, "method_not_allowed", "Request method is not supported");
    }
    // The client `cf` has no secret.
    let client = format!("Basic {}", BASE64_STANDARD.encode("cf:"));
    let form = String::from_utf8_lossy(&request.body);
    let field = |name| form_pairs(&form).flatten().find(|(key, _)| key == name).map(|(_, value)| value);
    let is_client = match request.header("Authorization") {
        Some(basic) => basic == client,
        None => field("client_id").as_deref() == Some("cf") && field("client_secret").is_none_or(|it| it.is_empty()),
    };
    if !is_client {
        let challenge = r#"Basic realm="UAA/client", error="unauthorized", error_description="Bad credentials""#;
        return error(401, "unauthorized", "Bad credentials").header("WWW-Authenticate", challenge);
    }
    match field("grant_type").as_deref() {
        Some("refresh_token") => refresh(shared, &field("refresh_token").unwrap_or_default()),
        Some(other) => error(400, "unsupported_grant_type", &format!("Unsupported grant type: {other}")),
        None => error(400, "invalid_request", "Missing grant type"),
    }
}

/// Issues an access token for a refresh token.
fn refresh(shared: &SharedState, given: &str) -> Response {
    shared.update(|state| {
        let tokens = &mut state.tokens;
        if !tokens.has_refresh_token(given) {
            return error(401, "invalid_token", "The token expired, was revoked, or the token ID is incorrect.");
        }
        let mut refresh_token = given.to_owned();
        if shared.settings.rotate_refresh_tokens {
            tokens.revoke_refresh_token(given);
            refresh_token = tokens.issue_refresh_token();
        }
        let AccessToken { jwt, expires_in, id } = tokens.issue(shared.settings.token_life);
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

fn error(status: u16, name: &str, description: &str) -> Response {
    json_response(status, &json!({ "error": name, "error_description": description }))
}

fn json_response(status: u16, body: &Value) -> Response {
    Response::with_body(status, "application/json;charset=UTF-8", body.to_string())
        .header("Cache-Control", "no-store")
        .header("Pragma", "no-cache")
}
