//! [`Reconnector`]: makes another connection when a tail's connection has ended.

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::server::source::LiveSource;
use crate::settings::Reconnect;

/// A tail ends after this number of rejections without a success in between.
const MAX_REJECTIONS: u32 = 3;

/// Ambiguous rejections end a tail only when they have lasted for this time in a row. The RLP gateway and Log Cache
/// reject every token while they cannot ask the UAA or the Cloud Controller: for 6 s at a restart (observed).
const MAX_AMBIGUOUS_TIME: Duration = Duration::from_secs(15);

/// The same with other failures in between, which do not count. Long enough for several restarts.
const MAX_AMBIGUOUS_TOTAL: Duration = Duration::from_secs(60);

/// What the error of a tail says that is out of attempts.
pub(super) const GIVEN_UP: &str = " (given up: no attempts left)";

/// How a tail reconnects.
pub(crate) struct Reconnector<T> {
    pub(crate) policy: Reconnect,
    pub(crate) connect: Box<dyn Fn() -> Result<Box<dyn LiveSource<T>>> + Send + Sync>,
    /// Called after each connect.
    pub(crate) connected: Box<dyn Fn() + Send + Sync>,
}

impl<T> Reconnector<T> {
    /// Connects, with a pause before each attempt, until `open` has made a connection of the source.
    ///
    /// # Errors
    ///
    /// The error of the last attempt, if the tail is cancelled, rejected, or out of attempts.
    pub(super) fn reconnect<C>(
        &self,
        backoff: &mut Backoff,
        cancel: &Cancel,
        open: impl Fn(Box<dyn LiveSource<T>>) -> Result<C>,
    ) -> Result<C> {
        let mut last_error = None;
        let mut rejections = Rejections::default();
        loop {
            let Some(pause) = backoff.next() else {
                let error = last_error.unwrap_or_else(|| Error::new(ErrorKind::ConnectionLost, "the connection ended"));
                return Err(error.with_hint(GIVEN_UP));
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

/// The rejections since the last connection.
#[derive(Debug, Default)]
struct Rejections {
    count: u32,
    unambiguous: u32,
    /// The time from each rejection to the attempt after it: since the last failure of another kind, and in total.
    in_a_row: Duration,
    total: Duration,
    /// When the last attempt was rejected. `None` if it failed in another way.
    rejected_at: Option<Instant>,
}

impl Rejections {
    /// Counts a failed attempt. Returns true if another one is pointless.
    ///
    /// Only a rejection by the server counts. A router without a route and a server with a fault of its own say nothing
    /// about the token or the app, and neither does a connection that fails. These [transient](Error::is_transient)
    /// errors do not count, and neither does the time after them. But what was counted stays: a server with faults must
    /// not keep a rejected tail alive for ever.
    fn are_final_with(&mut self, error: &Error, now: Instant) -> bool {
        if let Some(last) = self.rejected_at.take() {
            self.in_a_row += now.duration_since(last);
            self.total += now.duration_since(last);
        }
        let is_ambiguous = error.is_ambiguous_rejection();
        if error.is_transient() && !is_ambiguous {
            self.in_a_row = Duration::ZERO;
            return false;
        }
        self.rejected_at = Some(now);
        self.count += 1;
        self.unambiguous += u32::from(!is_ambiguous);
        let has_lasted = self.in_a_row >= MAX_AMBIGUOUS_TIME || self.total >= MAX_AMBIGUOUS_TOTAL;
        self.unambiguous >= MAX_REJECTIONS || self.count >= MAX_REJECTIONS && has_lasted
    }
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
    fn three_clear_rejections_are_final_whatever_comes_between_them() {
        for status in [400, 401, 403, 404, 405] {
            assert_eq!(end((0..9).map(|at| (at, response(status)))), Some(2), "{status}");
        }
        let interrupted = [response(401), response(401), response(500), response(401), response(404)];
        assert_eq!(end((0..).zip(interrupted)), Some(3));
        let router = || response(404).with_router("unknown_route");
        let lost = Error::new(ErrorKind::ConnectionLost, "reset");
        let interrupted = [router(), response(404), router(), router(), response(401), lost, response(400)];
        assert_eq!(end((0..).zip(interrupted)), Some(6));
    }

    #[test]
    fn ambiguous_rejections_are_final_after_fifteen_seconds_and_three_attempts() {
        assert_eq!(end((0..60).map(|at| (at, ambiguous()))), Some(15));
        assert_eq!(end([(0, ambiguous()), (60, ambiguous()), (120, ambiguous())]), Some(120));
        assert_eq!(end((0..60).map(|at| (at, if at == 10 { response(503) } else { ambiguous() }))), Some(26));
        // Neither a fault nor the second after it counts.
        assert_eq!(end((0..99).map(|at| (at, if at % 10 == 9 { response(503) } else { ambiguous() }))), Some(66));
        let minutes = (0..60).map(|n| (n * 60, if n % 2 == 0 { ambiguous() } else { response(503) }));
        assert_eq!(end(minutes), Some(4 * 60));
        // Two restarts of a gateway, with a router without a route in between.
        let restarts = (0..7).chain(3600..3607).map(|at| (at, ambiguous()));
        let away = (10..3600).step_by(60).map(|at| (at, response(404).with_router("unknown_route")));
        let mut both: Vec<_> = restarts.chain(away).collect();
        both.sort_by_key(|(at, _)| *at);
        assert_eq!(end(both), None);
        let failed = || Error::new(ErrorKind::Unauthorized, "the token function failed");
        assert_eq!(end((0..60).map(|at| (at, failed()))), Some(15));
    }

    #[test]
    fn ambiguous_rejections_do_not_make_up_for_clear_ones() {
        let mixed = [response(401), ambiguous(), ambiguous(), response(401), ambiguous(), response(401)];
        assert_eq!(end((0..).zip(mixed)), Some(5));
    }

    #[test]
    fn what_is_final_is_what_is_not_transient() {
        let statuses = (400..600).map(response);
        let router = (400..600).map(|status| response(status).with_router("unknown_route"));
        for error in statuses.chain(router).chain([Error::new(ErrorKind::Tls, "x"), Error::new(ErrorKind::Dial, "x")]) {
            let is_final = end((0..9).map(|at| (at, error.clone()))).is_some();
            assert_eq!(is_final, !error.is_transient(), "{error}");
        }
    }

    #[test]
    fn a_router_without_a_route_and_a_server_with_a_fault_are_never_final() {
        let hours = (0..7200).map(|at| (at, response(if at % 2 == 0 { 502 } else { 503 })));
        assert_eq!(end(hours), None);
        assert_eq!(end((0..7200).map(|at| (at, response(404).with_router("unknown_route")))), None);
    }
}
