//! [`Reconnector`]: makes another connection when a tail's connection has ended.

use super::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::server::source::LiveSource;
use crate::settings::Reconnect;

/// A tail ends after this number of consecutive rejections. One is not enough: while a platform restarts, its router
/// answers 404 for a while, and so does a server that cannot check a token.
const MAX_REJECTIONS: u32 = 3;

/// How a tail reconnects.
pub(crate) struct Reconnector {
    pub(crate) policy: Reconnect,
    pub(crate) connect: Box<dyn Fn() -> Result<Box<dyn LiveSource>> + Send + Sync>,
    /// Called after each connect.
    pub(crate) connected: Box<dyn Fn() + Send + Sync>,
}

impl Reconnector {
    /// Connects, with a pause before each attempt, until `open` has made a connection of the source.
    ///
    /// # Errors
    ///
    /// The error of the last attempt, if the tail is cancelled, rejected, or out of attempts.
    pub(super) fn reconnect<T>(
        &self,
        backoff: &mut Backoff,
        cancel: &Cancel,
        open: impl Fn(Box<dyn LiveSource>) -> Result<T>,
    ) -> Result<T> {
        let mut last_error = None;
        let mut rejections = 0;
        loop {
            let Some(pause) = backoff.next() else {
                let error = last_error.unwrap_or_else(|| Error::new(ErrorKind::ConnectionLost, "the connection ended"));
                return Err(error.with_hint(" (given up: no attempts left)"));
            };
            let pause = pause.max(last_error.as_ref().and_then(Error::retry_after).unwrap_or_default());
            // Nothing is ever sent: this waits for the time to pass, or for a cancel.
            let _ = cancel.signal().recv_timeout(pause);
            cancel.check()?;
            match (self.connect)().and_then(&open) {
                Ok(connection) => {
                    (self.connected)();
                    return Ok(connection);
                }
                Err(error) if matches!(error.kind(), ErrorKind::Closed | ErrorKind::InvalidInput) => return Err(error),
                Err(error) => {
                    rejections = if error.kind().is_refusal() { rejections + 1 } else { 0 };
                    if rejections == MAX_REJECTIONS {
                        return Err(error);
                    }
                    log::info!("reconnecting failed: {error}");
                    last_error = Some(error);
                }
            }
        }
    }
}
