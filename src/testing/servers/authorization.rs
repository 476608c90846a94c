//! Who may see what: tokens that are accepted, and apps that are hidden.

use crate::testing::config::server::Server;
use crate::testing::protocol::request::Request;
use crate::testing::state::SharedState;

pub(super) enum Authorization {
    Granted,
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
    let authorization = request.header("Authorization").unwrap_or_default();
    let ignores_case = !shared.settings.generation.has_legacy();
    shared.with(|state| {
        if state.tokens_to_reject > 0 {
            state.tokens_to_reject -= 1;
            return Authorization::InvalidToken;
        }
        let is_accepted = match (state.tokens.is_valid(bearer_token(authorization)), &shared.settings.tokens) {
            (Some(is_valid), _) => is_valid,
            (None, None) => true,
            (None, Some(_)) if authorization.is_empty() => return Authorization::NoToken,
            (None, Some(tokens)) => tokens.iter().any(|accepted| matches(accepted, authorization, ignores_case)),
        };
        match is_accepted {
            _ if [Server::Api, Server::Uaa].iter().any(|server| state.away.contains_key(server)) => {
                Authorization::Unavailable
            }
            false => Authorization::InvalidToken,
            true if request.apps().iter().any(|app| state.hidden_apps.contains(app)) => Authorization::Hidden,
            true => Authorization::Granted,
        }
    })
}

fn matches(accepted: &str, given: &str, ignores_case: bool) -> bool {
    let is_same_token = || bearer_token(accepted).is_some_and(|accepted| bearer_token(given) == Some(accepted));
    accepted == given || ignores_case && is_same_token()
}

/// Returns what follows `bearer`.
fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
