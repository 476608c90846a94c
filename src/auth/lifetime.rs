//! [`Lifetime`]: how long a token is valid, read from the token itself.

use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::Deserialize;

/// A token is renewed at most this long before it expires.
const RENEW_AHEAD: Duration = Duration::from_secs(30);

/// The resolution of the times in a JWT.
const SECOND: Duration = Duration::from_secs(1);

/// When a token expires, by the clock of this machine. Only an estimate: the server decides, and its clock may differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lifetime {
    total: Duration,
    renew_at: SystemTime,
    expiry: SystemTime,
}

/// The fields of a JWT's payload that are read (RFC 7519, section 4.1). Only the server checks the signature.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
    iat: Option<f64>,
}

impl Lifetime {
    /// Returns the lifetime of a token that was received at `now`. `None` if it is not a JWT, has no expiry time, or
    /// its times make no sense.
    pub(super) fn of(token: &str, now: SystemTime) -> Option<Self> {
        let mut parts = token.rsplit(' ').next()?.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        let claims: Claims = serde_json::from_slice(&payload).ok()?;
        let expiry = time(claims.exp)?;
        let issued = match claims.iat {
            Some(iat) => time(iat).filter(|&issued| issued < expiry)?,
            None => now,
        };
        Some(Lifetime::until(expiry, expiry.duration_since(issued).unwrap_or_default()))
    }

    fn until(expiry: SystemTime, total: Duration) -> Self {
        Lifetime { total, renew_at: expiry - RENEW_AHEAD.min(total / 10), expiry }
    }

    /// Corrects the lifetime of a token that was issued just now for clock skew.
    ///
    /// If the token's times contradict the clock of this machine, that clock differs from the server's, and the token
    /// would be renewed too late or too early, even at each call. Then the lifetime is counted from now. JWT times are
    /// truncated to whole seconds, so up to one second may already have passed.
    pub(super) fn correct_clock_skew(self, now: SystemTime) -> Self {
        let remaining = self.remaining(now);
        if remaining + SECOND > self.total && remaining <= self.total && !remaining.is_zero() {
            return self;
        }
        now.checked_add(self.total).map_or(self, |expiry| Lifetime::until(expiry, self.total))
    }

    /// Returns the whole lifetime.
    pub(super) fn total(&self) -> Duration {
        self.total
    }

    /// Returns true if it is time to get another token.
    pub(super) fn needs_renewal(&self, now: SystemTime) -> bool {
        now >= self.renew_at
    }

    /// Returns the time until the token expires, zero if it has expired.
    pub(super) fn remaining(&self, now: SystemTime) -> Duration {
        self.expiry.duration_since(now).unwrap_or_default()
    }

    /// Returns how long to wait before another token is requested.
    ///
    /// Not zero only for tokens that live for at most a second: another one that is issued in the same second expires
    /// at the same time. Without the wait they would be renewed again and again until the second is over.
    pub(super) fn wait_before_renewal(&self, now: SystemTime) -> Duration {
        if self.total <= SECOND && self.needs_renewal(now) { self.remaining(now) } else { Duration::ZERO }
    }

    /// Postpones the renewal after a failed one, until half of the remaining time has passed.
    pub(super) fn postpone_renewal(&mut self, now: SystemTime) {
        self.renew_at = self.renew_at.max(now + self.remaining(now) / 2);
    }
}

/// Converts seconds since the epoch.
fn time(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jwt(payload: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.c2lnbmF0dXJl", BASE64_URL_SAFE_NO_PAD.encode(payload))
    }

    fn at(seconds: f64) -> SystemTime {
        time(seconds).unwrap()
    }

    fn lifetime(payload: &str, now: f64) -> Option<Lifetime> {
        Lifetime::of(&jwt(payload), at(now))
    }

    #[test]
    fn a_token_is_renewed_a_tenth_of_its_lifetime_ahead_but_at_most_30_s() {
        for (payload, last_fresh, first_due) in [
            (r#"{"iat":1000,"exp":1100}"#, 1089.9, 1090.0),
            (r#"{"iat":1000,"exp":2000,"sub":{"a":[1]}}"#, 1969.9, 1970.0),
            (r#"{"iat":1000.5,"exp":1010.5}"#, 1009.4, 1009.5),
            // Without `iat` the lifetime starts when the token is received.
            (r#"{"exp":1060}"#, 1053.9, 1054.0),
            (r#"{"exp":1060,"iat":null}"#, 1053.9, 1054.0),
        ] {
            for token in [jwt(payload), format!("bearer {}", jwt(payload))] {
                let lifetime = Lifetime::of(&token, at(1000.0)).unwrap();
                assert!(!lifetime.needs_renewal(at(last_fresh)), "{payload}");
                assert!(lifetime.needs_renewal(at(first_due)), "{payload}");
            }
        }
    }

    #[test]
    fn a_token_without_a_usable_expiry_has_no_lifetime() {
        for payload in [
            "",
            "null",
            "[1000,2000]",
            "{}",
            r#"{"iat":1000}"#,
            r#"{"exp":null}"#,
            r#"{"exp":"2000"}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":1e300}"#,
            r#"{"exp":18446744073709551615}"#,
            r#"{"exp":2000,"exp":3000}"#,
            r#"{"exp":2000,"iat":"1000"}"#,
            r#"{"exp":2000,"iat":3000}"#,
            r#"{"exp":2000"#,
        ] {
            assert_eq!(lifetime(payload, 1000.0), None, "{payload}");
        }
        let good = jwt(r#"{"exp":2000}"#);
        let odd = [String::new(), "opaque".into(), "a.b.c".into(), good.replace('.', "-"), format!("{good}.x")];
        for token in odd {
            assert_eq!(Lifetime::of(&token, at(1000.0)), None, "{token}");
        }
        assert!(Lifetime::of(&good, at(1000.0)).is_some());
    }

    #[test]
    fn the_lifetime_of_a_new_token_is_counted_from_now_if_the_clocks_differ() {
        let payload = r#"{"iat":1000,"exp":1600}"#;
        for now in [1000.0, 1000.5, 1000.9] {
            let lifetime = lifetime(payload, now).unwrap();
            assert_eq!(lifetime.correct_clock_skew(at(now)), lifetime, "{now}");
        }
        for now in [1.0, 999.5, 1001.0, 1599.0, 1600.0, 9000.0] {
            let lifetime = lifetime(payload, now).unwrap().correct_clock_skew(at(now));
            assert_eq!(lifetime.remaining(at(now)), Duration::from_secs(600), "{now}");
            assert!(!lifetime.needs_renewal(at(now)));
        }
    }

    #[test]
    fn only_a_token_of_one_second_delays_its_renewal() {
        let second = lifetime(r#"{"iat":1000,"exp":1001}"#, 1000.0).unwrap();
        assert_eq!(second.wait_before_renewal(at(1000.5)), Duration::ZERO, "too early to renew");
        assert_eq!(second.wait_before_renewal(at(1000.9375)), Duration::from_micros(62_500));
        assert_eq!(second.wait_before_renewal(at(1001.0)), Duration::ZERO, "expired");
        let two = lifetime(r#"{"iat":1000,"exp":1002}"#, 1000.0).unwrap();
        assert!(two.needs_renewal(at(1001.875)));
        assert_eq!(two.wait_before_renewal(at(1001.875)), Duration::ZERO);
    }

    #[test]
    fn a_postponed_renewal_is_before_the_expiry_and_no_earlier_than_it_was() {
        let mut lifetime = lifetime(r#"{"iat":1000,"exp":2000}"#, 1000.0).unwrap();
        lifetime.postpone_renewal(at(1100.0));
        assert!(!lifetime.needs_renewal(at(1969.0)) && lifetime.needs_renewal(at(1970.0)));
        lifetime.postpone_renewal(at(1980.0));
        assert!(!lifetime.needs_renewal(at(1989.0)) && lifetime.needs_renewal(at(1990.0)));
        lifetime.postpone_renewal(at(3000.0));
        assert!(lifetime.needs_renewal(at(3000.0)));
    }

    proptest! {
        #[test]
        fn no_token_and_no_clock_causes_a_panic(
            text in "\\PC*",
            exp in any::<f64>(),
            iat in prop::option::of(any::<f64>()),
            seconds in 0..u64::from(u32::MAX),
            before in any::<bool>(),
        ) {
            let step = Duration::from_secs(seconds);
            let now = if before { SystemTime::UNIX_EPOCH - step } else { SystemTime::UNIX_EPOCH + step };
            let iat = iat.map_or(String::new(), |iat| format!(r#","iat":{iat}"#));
            for token in [text.clone(), jwt(&text), format!("a.{text}.c"), jwt(&format!(r#"{{"exp":{exp}{iat}}}"#))] {
                if let Some(lifetime) = Lifetime::of(&token, now) {
                    let mut lifetime = lifetime.correct_clock_skew(now);
                    lifetime.postpone_renewal(now);
                    lifetime.needs_renewal(now);
                    lifetime.wait_before_renewal(now);
                }
            }
        }
    }
}
