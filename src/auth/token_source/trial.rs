//! [`Trial`]: when the rejection of a token is not worth a renewal.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::auth::token::Token;

/// The longest trial. A token that has really been revoked is used no longer than this.
const LONGEST: Duration = Duration::from_secs(60);

/// The number of apps that are remembered. For others a revoked token is used until the trial is over.
const MAX_APPS: usize = 4096;

/// The first time of a token that replaces a rejected one.
///
/// If it is rejected, too, then most likely not because of the token: Log Cache and the RLP gateway give the same
/// response for an app that does not exist. So it is not renewed, with one exception: the server has already accepted
/// it for the same app.
pub(super) struct Trial {
    end: Instant,
    accepted_for: HashSet<Box<str>>,
}

impl Trial {
    /// Starts the trial of a token. It takes a tenth of the token's lifetime in whole seconds, at most 60 s: of tokens
    /// that live for less than 10 s it cannot be told whether they are rejected because they have expired.
    pub(super) fn of(token: &Token) -> Self {
        let length =
            token.lifetime_in_seconds().map_or(LONGEST, |seconds| Duration::from_secs(seconds / 10).min(LONGEST));
        Trial { end: Instant::now() + length, accepted_for: HashSet::new() }
    }

    /// Notes that a server has accepted the token for an app.
    pub(super) fn accept(&mut self, app_guid: &str) {
        if self.accepted_for.len() < MAX_APPS && !self.is_over() && !self.accepted_for.contains(app_guid) {
            self.accepted_for.insert(app_guid.into());
        }
    }

    /// Returns true if a rejection of the token is worth a renewal.
    pub(super) fn allows_renewal(&self, app_guid: &str) -> bool {
        self.is_over() || self.accepted_for.contains(app_guid)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Ends the trial, as if its time had passed.
    #[cfg(test)]
    pub(super) fn end(&mut self) {
        self.end = Instant::now();
    }
}
