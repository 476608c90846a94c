//! [`PingTimer`]: when a websocket is pinged, and when it is closed because pongs are missing.

use std::time::Instant;

use crate::net::deadline::after;
use crate::testing::config::settings::PingSettings;

/// Works as in the real servers: a pong that arrives before its ping counts for the next ping.
pub(super) struct PingTimer {
    settings: PingSettings,
    /// A ping has been sent, but no pong has arrived yet.
    is_waiting: bool,
    has_early_pong: bool,
    /// When the pong must have arrived if `is_waiting`, otherwise when the next ping is due.
    next: Instant,
}

/// What the timer asks for.
pub(super) enum PingAction {
    SendPing,
    /// The pong has not arrived in time.
    Close,
}

impl PingTimer {
    /// Creates a timer whose first ping is due at once.
    pub(super) fn new(settings: PingSettings) -> Self {
        PingTimer { settings, is_waiting: false, has_early_pong: false, next: Instant::now() }
    }

    /// Returns when to call `action` again.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn pong_received(&mut self) {
        if self.is_waiting {
            self.is_waiting = false;
            self.next = after(self.settings.interval);
        } else {
            self.has_early_pong = true;
        }
    }

    /// Returns what is due now, if anything.
    pub(super) fn action(&mut self) -> Option<PingAction> {
        if Instant::now() < self.next {
            return None;
        }
        if self.is_waiting {
            return Some(PingAction::Close);
        }
        self.is_waiting = true;
        self.next = after(self.settings.pong_timeout);
        if self.has_early_pong {
            self.has_early_pong = false;
            self.pong_received();
        }
        Some(PingAction::SendPing)
    }
}
