//! Who may see what: tokens that are accepted, and apps that are hidden.

use super::record::Request;
use super::shared::Shared;

pub(super) enum Access {
    Granted,
    NoToken,
    /// The token is not accepted.
    Refused,
    /// The token's user may not see the app, or there is none.
    Hidden,
}

/// Whether `Bearer` is as good as `bearer`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Matters,
    IsIgnored,
}

impl Shared {
    /// Whether the request's token is accepted, and its app is to be seen.
    pub(super) fn access(&self, request: &Request, case: Case) -> Access {
        let authorization = request.header("Authorization").unwrap_or_default();
        self.with(|state| {
            if state.refusals > 0 {
                state.refusals -= 1;
                return Access::Refused;
            }
            let is_accepted = match (state.tokens.is_good(token(authorization)), &self.settings.tokens) {
                (Some(is_good), _) => is_good,
                (None, None) => true,
                (None, Some(_)) if authorization.is_empty() => return Access::NoToken,
                (None, Some(tokens)) => tokens.iter().any(|accepted| is_same(accepted, authorization, case)),
            };
            match is_accepted {
                false => Access::Refused,
                true if request.apps().iter().any(|app| state.hidden.contains(app)) => Access::Hidden,
                true => Access::Granted,
            }
        })
    }
}

fn is_same(accepted: &str, given: &str, case: Case) -> bool {
    let same_token = || matches!((token(accepted), token(given)), (Some(accepted), Some(given)) if accepted == given);
    accepted == given || case == Case::IsIgnored && same_token()
}

/// What stands behind `bearer`.
fn token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
