//! [`Token`]: a token in the form in which it is sent, and how long it is valid.

use std::borrow::Cow;
use std::time::SystemTime;

use http::HeaderValue;

use super::lifetime::Lifetime;
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;

/// A token as it is sent, and for how long it is good, if it tells.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) text: String,
    life: Option<Lifetime>,
}

impl Token {
    /// One that may have been issued long ago.
    pub(super) fn found(token: &str) -> Result<Self> {
        let text = normalised(token).into_owned();
        check(&text)?;
        let life = Lifetime::of(&text, SystemTime::now());
        Ok(Token { text, life })
    }

    /// One that has been issued just now.
    pub(super) fn issued(token: &str) -> Result<Self> {
        let mut token = Token::found(token)?;
        token.life = token.life.map(|life| life.begun(SystemTime::now()));
        Ok(token)
    }

    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        self.life.is_some_and(|life| life.is_due(now))
    }

    pub(super) fn is_alive(&self, now: SystemTime) -> bool {
        self.life.is_none_or(|life| !life.left(now).is_zero())
    }

    pub(super) fn put_off(&mut self, now: SystemTime) {
        if let Some(life) = &mut self.life {
            life.put_off(now);
        }
    }

    /// Waits for its end if no better one is to be had before it: see [`Lifetime::wait`]. Whether there was such a wait.
    pub(super) fn wait_out(&self, cancel: &Cancel) -> Result<bool> {
        let mut waited = false;
        while let Some(wait) = self.life.map(|life| life.wait(SystemTime::now())).filter(|wait| !wait.is_zero()) {
            // Nothing is ever sent: it is the time, or a close.
            let _ = cancel.signal().recv_timeout(wait);
            cancel.check()?;
            waited = true;
        }
        Ok(waited)
    }
}

/// A token as today's servers want it: with `bearer` in lower case, which some of them cut off by these very letters,
/// and without what surrounds it. What is neither that nor a JWT stays as it is.
pub(crate) fn normalised(token: &str) -> Cow<'_, str> {
    let token = token.trim();
    match token.split_once(char::is_whitespace) {
        Some((_, rest)) if token.starts_with("bearer ") && rest.trim_start() == rest => token.into(),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => format!("bearer {}", rest.trim_start()).into(),
        None if is_jwt(token) => format!("bearer {token}").into(),
        _ => token.into(),
    }
}

/// Three parts of base64url (RFC 7515, section 7.1).
fn is_jwt(token: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte))
    };
    token.split('.').count() == 3 && token.split('.').all(is_part)
}

/// A token goes into a header as it is: with a line break in it, it would be two.
pub(crate) fn check(token: &str) -> Result<()> {
    match HeaderValue::from_str(token) {
        Ok(_) => Ok(()),
        // Neither the token nor the cause, which could hold a part of it, goes into the text.
        Err(_) => Err(Error::new(
            ErrorKind::InvalidInput,
            "the token holds a line break or another control character: is there one at its end?",
        )),
    }
}
