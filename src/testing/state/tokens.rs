//! [`Tokens`]: the tokens that the UAA has issued.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;

use crate::testing::random::hex_digits;

/// The id of every user.
const USER: &str = "00000000-0000-0000-0000-000000000001";
/// The scope of every access token that is not an admin's.
pub(crate) const SCOPE: &str = "cloud_controller.read openid";
const ADMIN_SCOPE: &str = "cloud_controller.admin doppler.firehose logs.admin openid";
/// Access tokens that are to live longer are valid for a year, so that their expiry cannot overflow.
const LONGEST_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Default)]
pub(crate) struct Tokens {
    /// The access tokens, and when each expires.
    access: HashMap<String, Instant>,
    /// The access tokens of admins.
    admins: HashSet<String>,
    refresh: HashSet<String>,
    /// How many access tokens were issued for refresh tokens.
    pub(crate) refreshes: usize,
}

/// A new access token.
pub(crate) struct AccessToken {
    pub(crate) jwt: String,
    /// The lifetime that the token states, in seconds.
    pub(crate) expires_in: u64,
    pub(crate) id: String,
}

/// Whom an access token is for.
pub(crate) enum TokenOwner {
    User(String),
    Client(String),
    Admin,
}

impl Default for TokenOwner {
    fn default() -> Self {
        TokenOwner::User("user".to_owned())
    }
}

impl Tokens {
    /// Returns whether an access token is still valid. `None`: this UAA has not issued it.
    pub(crate) fn is_valid(&self, token: Option<&str>) -> Option<bool> {
        self.access.get(token?).map(|&expiry| Instant::now() < expiry)
    }

    /// Returns true if an access token is a valid one of an admin.
    pub(crate) fn is_of_admin(&self, token: Option<&str>) -> bool {
        token.is_some_and(|token| self.admins.contains(token)) && self.is_valid(token) == Some(true)
    }

    /// Issues a well-formed JWT with a random signature.
    pub(crate) fn issue(&mut self, life: Duration, owner: &TokenOwner) -> AccessToken {
        // JWTs count in seconds.
        let expires_in = life.as_secs().max(1);
        let (id, now) = (hex_digits(32), Timestamp::now().as_second());
        let header = json!({ "alg": "RS256", "kid": "key-1", "typ": "JWT" });
        let is_admin = matches!(owner, TokenOwner::Admin);
        let scope = if is_admin { ADMIN_SCOPE } else { SCOPE };
        let mut payload = json!({
            "jti": id, "scope": scope.split(' ').collect::<Vec<_>>(), "iat": now,
            "exp": now.saturating_add_unsigned(expires_in),
        });
        let fields = match owner {
            TokenOwner::User(name) => {
                [("client_id", "cf"), ("sub", USER), ("user_id", USER), ("user_name", name)].to_vec()
            }
            TokenOwner::Admin => {
                [("client_id", "cf"), ("sub", USER), ("user_id", USER), ("user_name", "admin")].to_vec()
            }
            TokenOwner::Client(id) => [("client_id", id.as_str()), ("sub", id)].to_vec(),
        };
        fields.into_iter().for_each(|(name, value)| payload[name] = value.into());
        let [header, payload] = [header, payload].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let jwt = format!("{header}.{payload}.{}", BASE64_URL_SAFE_NO_PAD.encode(hex_digits(32)));
        self.access.insert(jwt.clone(), Instant::now() + life.min(LONGEST_LIFE));
        if is_admin {
            self.admins.insert(jwt.clone());
        }
        AccessToken { jwt, expires_in, id }
    }

    pub(crate) fn issue_refresh_token(&mut self) -> String {
        let token = format!("{}-r", hex_digits(32));
        self.refresh.insert(token.clone());
        token
    }

    pub(crate) fn has_refresh_token(&self, token: &str) -> bool {
        self.refresh.contains(token)
    }

    pub(crate) fn revoke_refresh_token(&mut self, token: &str) {
        self.refresh.remove(token);
    }

    pub(crate) fn revoke_refresh_tokens(&mut self) {
        self.refresh.clear();
    }

    /// Makes every access token expire now.
    pub(crate) fn expire(&mut self) {
        let now = Instant::now();
        self.access.values_mut().for_each(|expiry| *expiry = now);
    }
}
