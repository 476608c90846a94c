//! [`Reconnector`]: makes another connection when a tail's connection has ended.

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::server::source::LiveSource;
use crate::settings::Reconnect;

/// A tail ends after this number of consecutive rejections.
const MAX_REJECTIONS: u32 = 3;

/// Ambiguous rejections end a tail only when they have lasted for this time. The RLP gateway and Log Cache reject every
/// token while they cannot ask the UAA or the Cloud Controller: for 6 s at a restart (observed).
const MAX_AMBIGUOUS_TIME: Duration = Duration::from_secs(15);

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
        let mut rejections = Rejections::default();
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
                    if rejections.are_final_with(&error, Instant::now()) {
                        return Err(error);
                    }
                    log::info!("reconnecting failed: {error}");
                    last_error = Some(error);
                }
            }
        }
    }
}

/// The rejections in a row, up to the last attempt.
#[derive(Debug, Default)]
struct Rejections {
    count: u32,
    unambiguous: u32,
    since: Option<Instant>,
}

impl Rejections {
    /// Counts a failed attempt. Returns true if another one is pointless.
    ///
    /// Only a rejection by the server counts. A router without a route and a server with a fault of its own say nothing
    /// about the token or the app, and neither does a connection that fails. They end the row.
    fn are_final_with(&mut self, error: &Error, now: Instant) -> bool {
        if error.is_from_router() || !error.kind().is_refusal() {
            *self = Rejections::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        self.count += 1;
        if !is_ambiguous(error) {
            self.unambiguous += 1;
        }
        self.unambiguous >= MAX_REJECTIONS
            || self.count >= MAX_REJECTIONS && now.duration_since(since) >= MAX_AMBIGUOUS_TIME
    }
}

/// Returns true if a good token may have been rejected: by the 404 with which the RLP gateway and Log Cache answer both
/// a bad token and the failure to check a good one, or by a token function that could not get another one.
fn is_ambiguous(error: &Error) -> bool {
    error.kind() == ErrorKind::Unauthorized && matches!(error.status(), None | Some(404))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16) -> Error {
        Error::response(status, "", "tail", "no".into(), None)
    }

    fn ambiguous() -> Error {
        response(404).with_kind(ErrorKind::Unauthorized)
    }

    /// Returns the time, in seconds, at which one error after the other ends a tail.
    fn end(errors: impl IntoIterator<Item = (u64, Error)>) -> Option<u64> {
        let begin = Instant::now();
        let mut rejections = Rejections::default();
        errors
            .into_iter()
            .find_map(|(at, error)| rejections.are_final_with(&error, begin + Duration::from_secs(at)).then_some(at))
    }

    #[test]
    fn three_clear_rejections_in_a_row_are_final() {
        for status in [400, 401, 404] {
            assert_eq!(end((0..9).map(|at| (at, response(status)))), Some(2), "{status}");
        }
        let interrupted = [response(401), response(401), response(500), response(401), response(404)];
        assert_eq!(end((0..).zip(interrupted)), None);
    }

    #[test]
    fn ambiguous_rejections_are_final_after_fifteen_seconds_and_three_attempts() {
        assert_eq!(end((0..60).map(|at| (at, ambiguous()))), Some(15));
        assert_eq!(end([(0, ambiguous()), (60, ambiguous()), (120, ambiguous())]), Some(120));
        assert_eq!(end((0..60).map(|at| (at, if at == 10 { response(503) } else { ambiguous() }))), Some(26));
        let failed = || Error::new(ErrorKind::Unauthorized, "the token function failed");
        assert_eq!(end((0..60).map(|at| (at, failed()))), Some(15));
    }

    #[test]
    fn ambiguous_rejections_do_not_make_up_for_clear_ones() {
        let mixed = [response(401), ambiguous(), ambiguous(), response(401), ambiguous(), response(401)];
        assert_eq!(end((0..).zip(mixed)), Some(5));
    }

    #[test]
    fn a_router_without_a_route_and_a_server_with_a_fault_are_never_final() {
        let hours = (0..7200).map(|at| (at, response(if at % 2 == 0 { 502 } else { 503 })));
        assert_eq!(end(hours), None);
        assert_eq!(end((0..7200).map(|at| (at, response(404).with_router("unknown_route")))), None);
    }
}
