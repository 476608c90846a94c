//! [`Lifetime`]: for how long a token is good, read from the token itself.

use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::Deserialize;

/// How long before its end a token is renewed at the earliest.
const AHEAD: Duration = Duration::from_secs(30);

/// JWTs count time in these.
const SECOND: Duration = Duration::from_secs(1);

/// When a token ends, by the clock of this machine. It is only a guess of what the server, which has the last word,
/// will do: the clocks may differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lifetime {
    total: Duration,
    /// When it is time for another token.
    due: SystemTime,
    end: SystemTime,
}

/// What is read of a JWT's payload (RFC 7519, section 4.1). The signature is the server's to check.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
    iat: Option<f64>,
}

impl Lifetime {
    /// The life of a token that was found or got at `now`. `None` if it does not tell its end, or not in a way to rely
    /// on.
    pub(super) fn of(token: &str, now: SystemTime) -> Option<Self> {
        let mut parts = token.rsplit(' ').next()?.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        let claims: Claims = serde_json::from_slice(&payload).ok()?;
        let end = time(claims.exp)?;
        let begin = match claims.iat {
            Some(iat) => time(iat).filter(|&begin| begin < end)?,
            None => now,
        };
        Some(Lifetime::until(end, end.duration_since(begin).unwrap_or_default()))
    }

    fn until(end: SystemTime, total: Duration) -> Self {
        Lifetime { total, due: end - AHEAD.min(total / 10), end }
    }

    /// The same if the token has been issued just now. Where the clock of this machine says otherwise, it differs from
    /// the server's, and would renew the token too early, even at each call, or too late: then the life is counted from
    /// now. The JWT's own times are cut to whole seconds, so up to one of them has gone by.
    pub(super) fn begun(self, now: SystemTime) -> Self {
        let left = self.left(now);
        if left + SECOND > self.total && left <= self.total && !left.is_zero() {
            return self;
        }
        now.checked_add(self.total).map_or(self, |end| Lifetime::until(end, self.total))
    }

    /// Whether it is time for another token.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        now >= self.due
    }

    /// What is left of it: nothing when it is over.
    pub(super) fn left(&self, now: SystemTime) -> Duration {
        self.end.duration_since(now).unwrap_or_default()
    }

    /// How long to wait before another token is asked for: one that is issued in the same second ends at the same
    /// moment. It matters only to tokens that live for no longer than that; nothing else would be left to do for them
    /// than to renew them again and again until the second is over.
    pub(super) fn wait(&self, now: SystemTime) -> Duration {
        if self.total <= SECOND && self.is_due(now) { self.left(now) } else { Duration::ZERO }
    }

    /// After another token was not to be had: due again when half of what is left is over.
    pub(super) fn put_off(&mut self, now: SystemTime) {
        self.due = self.due.max(now + self.left(now) / 2);
    }
}

/// Seconds since the epoch.
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

    fn life(payload: &str, now: f64) -> Option<Lifetime> {
        Lifetime::of(&jwt(payload), at(now))
    }

    #[test]
    fn a_token_is_due_a_tenth_of_its_life_before_its_end_and_30_s_at_the_most() {
        for (payload, last_fresh, first_due) in [
            (r#"{"iat":1000,"exp":1100}"#, 1089.9, 1090.0),
            (r#"{"iat":1000,"exp":2000,"sub":{"a":[1]}}"#, 1969.9, 1970.0),
            (r#"{"iat":1000.5,"exp":1010.5}"#, 1009.4, 1009.5),
            // Its life counts from when it came.
            (r#"{"exp":1060}"#, 1053.9, 1054.0),
            (r#"{"exp":1060,"iat":null}"#, 1053.9, 1054.0),
        ] {
            for token in [jwt(payload), format!("bearer {}", jwt(payload))] {
                let life = Lifetime::of(&token, at(1000.0)).unwrap();
                assert!(!life.is_due(at(last_fresh)), "{payload}");
                assert!(life.is_due(at(first_due)), "{payload}");
            }
        }
    }

    #[test]
    fn what_tells_no_end_has_no_life() {
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
            assert_eq!(life(payload, 1000.0), None, "{payload}");
        }
        let good = jwt(r#"{"exp":2000}"#);
        let odd = [String::new(), "opaque".into(), "a.b.c".into(), good.replace('.', "-"), format!("{good}.x")];
        for token in odd {
            assert_eq!(Lifetime::of(&token, at(1000.0)), None, "{token}");
        }
        assert!(Lifetime::of(&good, at(1000.0)).is_some());
    }

    #[test]
    fn a_life_that_begins_counts_from_now_where_the_clocks_differ() {
        let payload = r#"{"iat":1000,"exp":1600}"#;
        for now in [1000.0, 1000.5, 1000.9] {
            assert_eq!(life(payload, now).unwrap().begun(at(now)), life(payload, now).unwrap(), "{now}");
        }
        for now in [1.0, 999.5, 1001.0, 1599.0, 1600.0, 9000.0] {
            let life = life(payload, now).unwrap().begun(at(now));
            assert_eq!(life.left(at(now)), Duration::from_secs(600), "{now}");
            assert!(!life.is_due(at(now)));
        }
    }

    #[test]
    fn only_a_token_of_a_second_is_waited_out() {
        let second = life(r#"{"iat":1000,"exp":1001}"#, 1000.0).unwrap();
        assert_eq!(second.wait(at(1000.5)), Duration::ZERO, "not due");
        assert_eq!(second.wait(at(1000.9375)), Duration::from_micros(62_500));
        assert_eq!(second.wait(at(1001.0)), Duration::ZERO, "over");
        let two = life(r#"{"iat":1000,"exp":1002}"#, 1000.0).unwrap();
        assert!(two.is_due(at(1001.875)));
        assert_eq!(two.wait(at(1001.875)), Duration::ZERO);
    }

    #[test]
    fn put_off_it_is_due_again_before_its_end_but_no_earlier_than_it_was() {
        let mut life = life(r#"{"iat":1000,"exp":2000}"#, 1000.0).unwrap();
        life.put_off(at(1100.0));
        assert!(!life.is_due(at(1969.0)) && life.is_due(at(1970.0)));
        life.put_off(at(1980.0));
        assert!(!life.is_due(at(1989.0)) && life.is_due(at(1990.0)));
        life.put_off(at(3000.0));
        assert!(life.is_due(at(3000.0)));
    }

    proptest! {
        #[test]
        fn no_token_and_no_clock_makes_it_panic(
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
                if let Some(life) = Lifetime::of(&token, now) {
                    let mut life = life.begun(now);
                    life.put_off(now);
                    life.is_due(now);
                    life.wait(now);
                }
            }
        }
    }
}
