//! Who may see what: tokens that are accepted, and apps that are hidden.

use crate::testing::config::generation::Generation;
use crate::testing::config::server::Server;
use crate::testing::config::settings::Settings;
use crate::testing::protocol::request::{Request, RequestKind, is_guid, unescape};
use crate::testing::state::{SharedState, State};

pub(super) enum Authorization {
    Granted,
    /// The token is an admin's.
    Admin,
    NoToken,
    /// The token is not accepted.
    InvalidToken,
    /// The user of the token may not see the app, or the app does not exist.
    Hidden,
    /// The UAA or the Cloud Controller, which would know, is away.
    Unavailable,
}

/// Checks the token of a request, and whether it may see the apps of the request.
pub(super) fn authorize(shared: &SharedState, request: &Request) -> Authorization {
    let generation = shared.settings.generation;
    let authorization = &given_token(generation, request);
    let ignores_case = !generation.has_legacy();
    // The API has always needed one.
    let needs_token = generation.is_strict() || request.kind.server() == Some(Server::Api);
    shared.with(|state| {
        if state.tokens_to_reject > 0 {
            state.tokens_to_reject -= 1;
            return Authorization::InvalidToken;
        }
        let is_accepted = match (state.tokens.is_valid(bearer_token(authorization)), &shared.settings.tokens) {
            (Some(is_valid), _) => is_valid,
            (None, Some(_)) if authorization.is_empty() => return Authorization::NoToken,
            (None, None) if authorization.is_empty() && needs_token => return Authorization::NoToken,
            (None, None) => true,
            (None, Some(tokens)) => tokens.iter().any(|accepted| matches(accepted, authorization, ignores_case)),
        };
        match is_accepted {
            _ if [Server::Api, Server::Uaa].iter().any(|server| state.away.contains_key(server)) => {
                Authorization::Unavailable
            }
            false => Authorization::InvalidToken,
            // Log Cache and the RLP gateway let an admin see everything, even what does not exist.
            true if state.tokens.is_of_admin(bearer_token(authorization)) && !needs_app(request.kind) => {
                Authorization::Admin
            }
            true if !request.apps().iter().all(|app| exists(shared, state, app)) => Authorization::Hidden,
            true => Authorization::Granted,
        }
    })
}

/// Returns true if a server asks the Cloud Controller about the app, even if the token is an admin's.
fn needs_app(kind: RequestKind) -> bool {
    matches!(kind.server(), Some(Server::Legacy | Server::Doppler)) && kind != RequestKind::Firehose
}

/// Returns true if an app exists and may be seen.
pub(super) fn exists(shared: &SharedState, state: &State, app: &str) -> bool {
    let Settings { generation, apps, .. } = &shared.settings;
    !state.hidden_apps.contains(app)
        && apps.as_ref().is_none_or(|apps| apps.contains(app))
        && (!generation.is_strict() || is_guid(app))
}

/// Returns the token of a request as each generation finds it: `Authorization`, or else a cookie or the query.
fn given_token(generation: Generation, request: &Request) -> String {
    if let Some(token) = request.header("Authorization").filter(|token| !token.is_empty()) {
        return token.to_owned();
    }
    if generation.is_of_2014() {
        return match request.query_values("authorization").as_slice() {
            [token] => token.clone(),
            _ => String::new(),
        };
    }
    match request.kind.server() {
        Some(Server::Legacy | Server::Doppler) => {
            request.cookie("authorization").and_then(|cookie| unescape(cookie).ok()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn matches(accepted: &str, given: &str, ignores_case: bool) -> bool {
    let is_same_token = || bearer_token(accepted).is_some_and(|accepted| bearer_token(given) == Some(accepted));
    accepted == given || ignores_case && is_same_token()
}

/// Returns the word after `bearer`, if there is only one, as the Cloud Controller reads it.
fn bearer_token(authorization: &str) -> Option<&str> {
    let mut words = authorization.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(scheme), Some(token), None) if scheme.eq_ignore_ascii_case("bearer") => Some(token),
        _ => None,
    }
}
