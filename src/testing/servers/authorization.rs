//! Who may see what: tokens that are accepted, and apps that are hidden.

use crate::testing::protocol::request::Request;
use crate::testing::state::SharedState;

pub(super) enum Authorization {
    Granted,
    NoToken,
    /// The token is not accepted.
    InvalidToken,
    /// The user of the token may not see the app, or the app does not exist.
    Hidden,
}

/// How a server compares the word `bearer` of an `Authorization`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SchemeCase {
    Sensitive,
    Ignored,
}

/// Checks the token of a request, and whether it may see the apps of the request.
pub(super) fn authorize(shared: &SharedState, request: &Request, case: SchemeCase) -> Authorization {
    let authorization = request.header("Authorization").unwrap_or_default();
    shared.with(|state| {
        if state.tokens_to_reject > 0 {
            state.tokens_to_reject -= 1;
            return Authorization::InvalidToken;
        }
        let is_accepted = match (state.tokens.is_valid(bearer_token(authorization)), &shared.settings.tokens) {
            (Some(is_valid), _) => is_valid,
            (None, None) => true,
            (None, Some(_)) if authorization.is_empty() => return Authorization::NoToken,
            (None, Some(tokens)) => tokens.iter().any(|accepted| matches(accepted, authorization, case)),
        };
        match is_accepted {
            false => Authorization::InvalidToken,
            true if request.apps().iter().any(|app| state.hidden_apps.contains(app)) => Authorization::Hidden,
            true => Authorization::Granted,
        }
    })
}

fn matches(accepted: &str, given: &str, case: SchemeCase) -> bool {
    let is_same_token = || bearer_token(accepted).is_some_and(|accepted| bearer_token(given) == Some(accepted));
    accepted == given || case == SchemeCase::Ignored && is_same_token()
}

/// Returns what follows `bearer`.
fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
