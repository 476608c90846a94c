//! [`Token`]: a token in the form in which it is sent, and how long it is valid.

use std::borrow::Cow;
use std::time::SystemTime;

use http::HeaderValue;

use super::lifetime::Lifetime;
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;

/// A token as it is sent, and its lifetime if it has one.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) text: String,
    lifetime: Option<Lifetime>,
}

impl Token {
    /// Makes a token that may have been issued long ago.
    pub(super) fn existing(token: &str) -> Result<Self> {
        let text = normalised(token).into_owned();
        check(&text)?;
        let lifetime = Lifetime::of(&text, SystemTime::now());
        Ok(Token { text, lifetime })
    }

    /// Makes a token that was issued just now.
    pub(super) fn just_issued(token: &str) -> Result<Self> {
        let mut token = Token::existing(token)?;
        token.lifetime = token.lifetime.map(|lifetime| lifetime.correct_clock_skew(SystemTime::now()));
        Ok(token)
    }

    pub(super) fn needs_renewal(&self, now: SystemTime) -> bool {
        self.lifetime.is_some_and(|lifetime| lifetime.needs_renewal(now))
    }

    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        self.lifetime.is_none_or(|lifetime| !lifetime.remaining(now).is_zero())
    }

    /// Returns how long the token lives in total. `None` if that is not known.
    pub(super) fn lifetime_in_seconds(&self) -> Option<u64> {
        self.lifetime.map(|lifetime| lifetime.total().as_secs())
    }

    pub(super) fn postpone_renewal(&mut self, now: SystemTime) {
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.postpone_renewal(now);
        }
    }

    /// Waits as [`Lifetime::wait_before_renewal`] says. Returns true if there was anything to wait for.
    pub(super) fn wait_before_renewal(&self, cancel: &Cancel) -> Result<bool> {
        let remaining_wait = || self.lifetime.map(|lifetime| lifetime.wait_before_renewal(SystemTime::now()));
        let mut waited = false;
        while let Some(wait) = remaining_wait().filter(|wait| !wait.is_zero()) {
            // Nothing is ever sent: this waits for the time to pass, or for a cancel.
            let _ = cancel.signal().recv_timeout(wait);
            cancel.check()?;
            waited = true;
        }
        Ok(waited)
    }
}

/// Returns a token as today's servers expect it: trimmed, and with `bearer` in lower case, because some servers strip
/// exactly that prefix. A JWT gets the prefix; anything else is only trimmed.
pub(crate) fn normalised(token: &str) -> Cow<'_, str> {
    let token = token.trim();
    match token.split_once(char::is_whitespace) {
        Some((_, rest)) if token.starts_with("bearer ") && rest.trim_start() == rest => token.into(),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => format!("bearer {}", rest.trim_start()).into(),
        None if is_jwt(token) => format!("bearer {token}").into(),
        _ => token.into(),
    }
}

/// Returns true for three parts of base64url, separated by dots (RFC 7515, section 7.1).
fn is_jwt(token: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte))
    };
    token.split('.').count() == 3 && token.split('.').all(is_part)
}

/// Returns an error if the token is not a valid header value. A line break in it would start another header.
pub(crate) fn check(token: &str) -> Result<()> {
    match HeaderValue::from_str(token) {
        Ok(_) => Ok(()),
        // Neither the token nor the cause, which could contain a part of it, goes into the text.
        Err(_) => Err(Error::new(
            ErrorKind::InvalidInput,
            "the token contains a line break or another control character (is there one at its end?)",
        )),
    }
}
