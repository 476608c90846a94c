//! [`Credentials`]: the user and the password of a proxy. They are secrets.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::secrets::HIDDEN;

/// A shorter password is not hidden where it stands alone: it may be a part of any word, and hiding it would tell which.
const MIN_ALONE: usize = 4;

/// A shorter password is hidden only as a whole word where it stands alone.
const MIN_IN_WORD: usize = 8;

/// The user and the password of a proxy, as its URL has them: percent-encoded `user:password` or `user`.
#[derive(Clone)]
pub(super) struct Credentials {
    as_given: String,
}

impl Credentials {
    pub(super) fn parse(as_given: &str) -> Self {
        Credentials { as_given: as_given.to_owned() }
    }

    /// Returns the credentials for Basic authentication (RFC 7617). In Base64 no byte can break the header.
    pub(super) fn base64(&self) -> String {
        BASE64_STANDARD.encode(self.plain())
    }

    /// Returns the user and the password, decoded. Both may be empty.
    pub(super) fn user_and_password(&self) -> (Vec<u8>, Vec<u8>) {
        let (user, password) = self.as_given.split_once(':').unwrap_or((&self.as_given, ""));
        (percent_decode_str(user).collect(), percent_decode_str(password).collect())
    }

    /// Returns `user:password`, decoded.
    fn plain(&self) -> Vec<u8> {
        let mut plain: Vec<u8> = percent_decode_str(&self.as_given).collect();
        if !self.as_given.contains(':') {
            plain.push(b':');
        }
        plain
    }

    /// Hides the password in a text, plain, percent-encoded and in Base64, with and without the user.
    pub(super) fn hide_in(&self, text: &str) -> String {
        let plain = self.plain();
        let at = plain.iter().position(|&byte| byte == b':').unwrap_or_default();
        let password = &plain[at + 1..];
        if password.is_empty() {
            return text.to_owned();
        }
        let (given_user, given_password) = self.as_given.split_once(':').unwrap_or_default();
        let decoded = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let encoded = |bytes| percent_encode(bytes, NON_ALPHANUMERIC).to_string();
        // Without the padding, because a proxy may leave it out.
        let base64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes).trim_end_matches('=').to_owned();
        let forms = [
            (given_user.to_owned(), given_password.to_owned()),
            (decoded(&plain[..at]), decoded(password)),
            (encoded(&plain[..at]), encoded(password)),
        ];

        let mut shown = text.replace(&base64(&plain), HIDDEN);
        for (user, password) in &forms {
            for colon in [":", "%3A", "%3a"] {
                shown = shown.replace(&format!("{user}{colon}{password}"), HIDDEN);
            }
        }
        for alone in forms.into_iter().map(|(_, password)| password).chain([base64(password)]) {
            if alone.len() >= MIN_IN_WORD {
                shown = shown.replace(&alone, HIDDEN);
            } else if alone.len() >= MIN_ALONE {
                shown = replace_word(&shown, &alone);
            }
        }
        shown
    }
}

/// Hides a text where no letter or digit stands next to it.
fn replace_word(text: &str, word: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let is_inside = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
        let is_word = !is_inside(before.chars().next_back().or(shown.chars().next_back().filter(|_| at == 0)))
            && !is_inside(after.chars().next());
        shown.push_str(before);
        shown.push_str(if is_word { HIDDEN } else { word });
        rest = after;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(credentials: &str, text: &str) -> String {
        Credentials::parse(credentials).hide_in(text).replace(HIDDEN, "#")
    }

    #[test]
    fn a_password_is_hidden_in_every_form() {
        for (text, expected) in [
            ("no: user:p@ss/w0rd!", "no: #!"),
            ("no: user:p%40ss%2Fw0rd!", "no: #!"),
            ("no: dXNlcjpwQHNzL3cwcmQ=", "no: #="),
            ("no: dXNlcjpwQHNzL3cwcmQ", "no: #"),
            ("xp@ss/w0rdx p%40ss%2Fw0rd cEBzcy93MHJk", "x#x # #"),
            ("Proxy Authentication Required", "Proxy Authentication Required"),
        ] {
            assert_eq!(shown("user:p%40ss/w0rd", text), expected, "{text}");
        }
    }

    #[test]
    fn a_short_password_is_hidden_with_its_user_and_as_a_word() {
        assert_eq!(shown("user:hunter2", "bad password hunter2, not (hunter2) hunter2"), "bad password #, not (#) #");
        assert_eq!(shown("user:Auth", "Proxy Authentication Required, Auth"), "Proxy Authentication Required, #");
        assert_eq!(shown("u:no", "no u:no dTpubw== no"), "no # #== no");
        for none in ["user", "user:"] {
            assert_eq!(shown(none, "user: no user"), "user: no user");
        }
    }

    #[test]
    fn a_password_may_be_any_bytes() {
        assert_eq!(shown("ü%FF:%00:%FE%80", "bad %C3%BC%FF%3A%00%3A%FE%80"), "bad #");
        assert_eq!(shown("a:b:c:secret99", "b:c:secret99 secret99"), "# secret99");
    }
}
