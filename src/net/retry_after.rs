//! The `Retry-After` header (RFC 9110, section 10.2.3): how long a server asks its clients to stay away. Pure: it knows
//! no sockets.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::TimeZone;

/// The maximum. A longer time is more likely a mistake, such as a wrong clock, and would look like a hang to a tail that
/// waits for it.
const MAX: Duration = Duration::from_secs(60 * 60);

/// The obsolete forms of a date, which must be accepted (RFC 9110, section 5.6.7).
const OBSOLETE_FORMS: [&str; 2] = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// Returns the time to wait that a response's `Retry-After` asks for, or `None` without a valid one.
///
/// It is a number of seconds or a date. A date is relative to the `Date` of the same response, so that a wrong clock on
/// either side does not matter; without one, to the local clock. A date in the past is 0.
pub(crate) fn retry_after(value: Option<&str>, date: Option<&str>) -> Option<Duration> {
    let value = value?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for a number are more than the maximum, too.
        return Some(value.parse().map_or(MAX, Duration::from_secs).min(MAX));
    }
    let time = parse_date(value)?;
    let now = date.and_then(parse_date).unwrap_or_else(Timestamp::now);
    let wait = Duration::try_from(time.duration_since(now)).unwrap_or_default();
    Some(wait.min(MAX))
}

/// Returns the time of a date in a header, in nanoseconds since the Unix epoch.
pub(crate) fn date_in_nanoseconds(text: &str) -> Option<i64> {
    parse_date(text)?.as_nanosecond().try_into().ok()
}

fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok().or_else(|| {
        let date = OBSOLETE_FORMS.iter().find_map(|form| DateTime::strptime(form, text).ok())?;
        TimeZone::UTC.to_timestamp(date).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const FAR: &str = "Thu, 06 Nov 2994 08:49:37 GMT";

    fn seconds(value: &str, date: Option<&str>) -> Option<u64> {
        retry_after(Some(value), date).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_number_is_in_seconds_and_has_a_maximum() {
        for (value, expected) in [
            ("0", Some(0)),
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("3600", Some(3600)),
            ("3601", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(seconds(value, Some(DATE)), expected, "{value}");
        }
        assert_eq!(retry_after(None, Some(DATE)), None);
    }

    #[test]
    fn a_date_is_relative_to_that_of_the_response() {
        for (value, expected) in [
            (DATE, Some(0)),
            (" Sun, 06 Nov 1994 08:49:57 GMT", Some(20)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:51:37 1994", Some(120)),
            ("Sat, 05 Nov 1994 08:49:37 GMT", Some(0)),
            (FAR, Some(3600)),
            ("Sun, 06 Nov 1994", None),
        ] {
            assert_eq!(seconds(value, Some(DATE)), expected, "{value}");
        }
    }

    #[test]
    fn a_date_is_relative_to_the_local_clock_if_the_response_has_none() {
        for date in [None, Some("today")] {
            assert_eq!(seconds(DATE, date), Some(0));
            assert_eq!(seconds(FAR, date), Some(3600));
        }
    }
}
