//! An app's GUID: its escaped form, and a hint for callers who pass the app's name instead.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, ErrorKind, Result};

/// The maximum length of a GUID, in bytes.
const MAX_LENGTH: usize = 1024;

/// Everything but the unreserved characters of RFC 3986 is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Returns an app's GUID without the white space around it: `cf app NAME --guid` prints a line feed after it.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`] for what cannot be the GUID of an app, nor the name of another source of logs. Nothing of
/// it may reach a server, which would look for something else, or return an empty response.
pub(crate) fn checked_guid(app_guid: &str) -> Result<&str> {
    let guid = app_guid.trim();
    let shown = guid.escape_debug();
    let why = if guid.is_empty() {
        "the app GUID is empty".to_owned()
    } else if guid.len() > MAX_LENGTH {
        format!("the app GUID is too long: {} bytes (limit {MAX_LENGTH})", guid.len())
    } else if matches!(guid, "." | "..") {
        // Escaping does not help: `%2E` is the same as a dot.
        format!("`{shown}` is no app GUID")
    } else if guid.contains(char::is_whitespace) {
        format!("the app GUID `{shown}` contains white space")
    } else if guid.contains(char::is_control) {
        format!("the app GUID `{shown}` contains a control character")
    } else {
        return Ok(guid);
    };
    Err(Error::new(ErrorKind::InvalidInput, format!("{why}: `cf app NAME --guid` prints the GUID of an app")))
}

/// Returns an app's GUID escaped for a path or a query.
pub(crate) fn escaped_guid(app_guid: &str) -> Result<String> {
    checked_guid(app_guid).map(escaped)
}

/// Returns any text escaped for a part of a path or for a value of a query.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Adds a hint to an error of a server that does not know the app, or does not accept the token for it. The reason is
/// often that the caller gave the app's name instead of its GUID.
pub(crate) fn explain_guid(error: Error, app_guid: &str) -> Error {
    match error.status() {
        Some(401 | 404) if !is_guid(app_guid) => error.with_hint(&format!(" ({})", no_guid(app_guid))),
        _ => error,
    }
}

/// Logs a warning if the app is no GUID. To be called where a server does not reject such an app, but has no messages
/// for it. That is not an error, because a source of logs other than an app can have any name, such as `gorouter`.
pub(crate) fn warn_of_no_guid(what: &str, app_guid: &str) {
    if !is_guid(app_guid) {
        log::warn!("{what}: {}", no_guid(app_guid));
    }
}

fn no_guid(app_guid: &str) -> String {
    format!("`{0}` is no GUID: is it the app's name? `cf app {0} --guid` prints its GUID", app_guid.escape_debug())
}

/// Returns true if the text consists of groups of 8, 4, 4, 4 and 12 hexadecimal digits.
fn is_guid(text: &str) -> bool {
    let mut groups = text.split('-');
    [8, 4, 4, 4, 12].into_iter().all(|length| {
        groups.next().is_some_and(|group| group.len() == length && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }) && groups.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_unreserved_characters_are_escaped() {
        assert_eq!(escaped_guid("a-b_c.d~0").unwrap(), "a-b_c.d~0");
        assert_eq!(escaped_guid("a&b=c/ü%").unwrap(), "a%26b%3Dc%2F%C3%BC%25");
        assert_eq!(escaped_guid("a/../b").unwrap(), "a%2F..%2Fb");
    }

    #[test]
    fn white_space_around_a_guid_is_removed() {
        for (given, guid) in [("a\n", "a"), ("a\r\n", "a"), (" \t a \u{a0}", "a"), ("...", "..."), ("a", "a")] {
            assert_eq!(checked_guid(given).unwrap(), guid, "{given:?}");
            assert_eq!(escaped_guid(given).unwrap(), guid, "{given:?}");
        }
        assert!(checked_guid(&format!("{}\n", "a".repeat(1024))).is_ok());
    }

    #[test]
    fn what_cannot_be_a_guid_is_invalid() {
        let long = "a".repeat(1025);
        for given in ["", " ", "\r\n", ".", "..", "..\n", "my app", "a\nb", "a\0", "\u{1b}[31m", &long] {
            let error = checked_guid(given).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{given:?}");
            assert!(error.to_string().ends_with(": `cf app NAME --guid` prints the GUID of an app"), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
            assert!(escaped_guid(given).is_err(), "{given:?}");
        }
    }

    #[test]
    fn an_app_that_is_not_found_gets_a_hint_if_its_guid_looks_like_a_name() {
        let explained =
            |status, app| explain_guid(Error::response(status, "", "tail", String::new(), None), app).to_string();
        let hint = " (`my-app` is no GUID: is it the app's name? `cf app my-app --guid` prints its GUID)";
        assert!(explained(404, "my-app").ends_with(hint));
        assert!(explained(401, "my-app").ends_with(hint));
        assert!(!explained(500, "my-app").contains("GUID"));
        assert!(!explained(404, "00000021-aaaa-BBBB-cccc-000000000021").contains("GUID"));
        for no_guid in [
            "",
            "00000021-aaaa-bbbb-cccc-00000000002",
            "00000021-aaaa-bbbb-cccc-000000000021-",
            "00000021-aaaa-bbbb-cccc-00000000002g",
            "00000021-aaaa-bbbb-cccc",
        ] {
            assert!(explained(404, no_guid).contains("is no GUID"), "{no_guid}");
        }
    }
}
