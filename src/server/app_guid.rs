//! An app's GUID: its escaped form, and a hint for callers who pass the app's name instead.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, ErrorKind, Result};

/// The maximum length of a GUID, in bytes.
const MAX_LENGTH: usize = 1024;

/// Everything but the unreserved characters of RFC 3986 is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Returns an app's GUID escaped for a path or a query.
pub(crate) fn escaped_guid(app_guid: &str) -> Result<String> {
    if app_guid.trim().is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "the app GUID is empty: `cf app NAME --guid` prints the GUID of an app",
        ));
    }
    if app_guid.len() > MAX_LENGTH {
        let text = format!("the app GUID is too long: {} bytes (limit {MAX_LENGTH})", app_guid.len());
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(utf8_percent_encode(app_guid, ESCAPED).to_string())
}

/// Adds a hint to an error of a server that does not know the app, or does not accept the token for it. The reason is
/// often that the caller gave the app's name instead of its GUID.
pub(crate) fn explain_guid(error: Error, app_guid: &str) -> Error {
    match error.status() {
        Some(401 | 404) if !is_guid(app_guid) => error.with_hint(&format!(
            " (`{0}` is no GUID: is it the app's name? `cf app {0} --guid` prints its GUID)",
            app_guid.escape_debug()
        )),
        _ => error,
    }
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
        assert_eq!(escaped_guid("a&b=c/ü%\r\n").unwrap(), "a%26b%3Dc%2F%C3%BC%25%0D%0A");
        assert_eq!(escaped_guid(" ").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(escaped_guid(&"a".repeat(1025)).unwrap_err().kind(), ErrorKind::InvalidInput);
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
