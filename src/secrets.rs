//! Keeps secrets, and characters that a terminal would obey, out of texts that a person may see.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD, Engine as _};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// Stands in place of a secret.
pub(crate) const HIDDEN: &str = "[PRIVATE DATA HIDDEN]";

/// A shorter token may be an ordinary word, and is not hidden.
const MIN_TOKEN: usize = 8;

/// Returns the text without this token, which a server may have repeated: in any of its [forms](Secrets), cut off at the
/// end of the text, or only its signature.
pub(crate) fn hide(text: &str, token: &str) -> String {
    let secret = token.trim().split_once(' ').map_or(token, |(_scheme, secret)| secret).trim();
    if secret.len() < MIN_TOKEN {
        return text.to_owned();
    }
    let mut secrets = Secrets::default();
    secrets.add_token(secret);
    // The signature is what makes a token (a JWT) good. Some servers repeat it alone.
    for part in secret.split('.').filter(|part| secret.contains('.') && part.len() >= 2 * MIN_TOKEN) {
        secrets.add(part);
    }
    // A body is cut at a limit, perhaps in the middle of the token.
    let is_cut_off = |length: &usize| secret.is_char_boundary(*length) && text.ends_with(&secret[..*length]);
    match (MIN_TOKEN..secret.len()).rev().find(is_cut_off) {
        Some(length) => secrets.hide_in(&text[..text.len() - length]) + HIDDEN,
        None => secrets.hide_in(text),
    }
}

/// Returns everything that an error shows of itself and of its causes, in `Display` and in `Debug`.
pub(crate) fn all_forms(error: &(dyn std::error::Error + 'static)) -> String {
    let mut forms = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        forms += &format!("{error}\n{error:?}\n");
        next = error.source();
    }
    forms
}

/// Returns the text on one line: with line breaks and tabs as spaces, and with other control characters and those that
/// change the direction of a text escaped. A server could otherwise forge log lines or control a terminal.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_control() && !is_invisible_control(c);
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.push(' '),
            c if is_plain(c) => shown.push(c),
            c => shown.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(shown)
}

/// Line and paragraph separators, and the marks, embeddings, overrides and isolates of bidirectional text.
fn is_invisible_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Shorter secrets are not hidden: an ordinary word would be, and the holes would tell the secret.
const SHORTEST: usize = 4;

/// What `encodeURIComponent` and the form encoders of Java and Go leave as it is, taken together.
const LENIENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*');
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What a path or a query needs at the least.
const SPACES: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'+').add(b'&').add(b'#').add(b'"').add(b'<').add(b'>');

/// Secrets that must not appear in a text.
#[derive(Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Adds a token, with and without its scheme.
    pub(crate) fn add_token(&mut self, token: &str) {
        let token = token.trim();
        self.add(token);
        if let Some((_scheme, token)) = token.split_once(char::is_whitespace) {
            self.add(token);
        }
    }

    fn add(&mut self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        for set in [NON_ALPHANUMERIC, LENIENT, UNRESERVED, SPACES] {
            let encoded = utf8_percent_encode(secret, set).to_string();
            self.0.push(lower_case_escapes(&encoded));
            self.0.push(encoded.replace("%20", "+"));
            self.0.push(encoded);
        }
        self.0.push(serde_json::to_string(secret).unwrap_or_default().trim_matches('"').to_owned());
        self.add_base64(secret);
        self.0.push(secret.to_owned());
    }

    /// Adds a client's secret, also in the form of Basic authentication.
    pub(crate) fn add_client(&mut self, id: &str, secret: &str) {
        self.add(secret);
        if secret.is_empty() {
            return;
        }
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        self.add_base64(&format!("{id}:{secret}"));
        self.add_base64(&format!("{}:{}", encoded(id), encoded(secret)));
    }

    fn add_base64(&mut self, secret: &str) {
        for engine in [BASE64_STANDARD, BASE64_URL_SAFE, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
            self.0.push(engine.encode(secret));
        }
    }

    /// Returns true if one of the secrets is in the text.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        self.0.iter().any(|secret| text.contains(secret.as_str()))
    }

    /// Returns the text without the secrets.
    pub(crate) fn hide_in(&self, text: &str) -> String {
        let mut secrets: Vec<&str> = self.0.iter().map(String::as_str).filter(|secret| text.contains(secret)).collect();
        // The longest first, because one may be a part of another. In one pass, so that none is found in a mark.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut shown = String::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            match secrets.iter().find(|secret| rest.starts_with(**secret)) {
                Some(secret) => {
                    shown.push_str(HIDDEN);
                    rest = &rest[secret.len()..];
                }
                None => {
                    shown.push(next);
                    rest = &rest[next.len_utf8()..];
                }
            }
        }
        shown
    }
}

/// Returns the text with the digits of its percent escapes in lower case.
fn lower_case_escapes(text: &str) -> String {
    let mut digits = 0;
    let lower = |c: char| {
        digits = if c == '%' { 2 } else { i32::max(digits - 1, -1) };
        if digits >= 0 { c.to_ascii_lowercase() } else { c }
    };
    text.chars().map(lower).collect()
}

/// Hides everything that looks like a part of a token: UAAs quote a refresh token that they reject, or the id in it.
pub(crate) fn hide_tokens(text: &str) -> String {
    hide_words(text, |word| word.len() >= 16 && word.contains(|c: char| c.is_ascii_digit()))
}

/// Hides everything that looks like a JWT, whose first part is the base64 of `{"`.
pub(crate) fn hide_jwts(text: &str) -> String {
    hide_words(text, |word| word.len() >= 16 && word.starts_with("eyJ"))
}

fn hide_words(text: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || "-_.%+/=".contains(c);
    let mut shown = String::new();
    for piece in text.split_inclusive(|c| !in_word(c)) {
        let word = piece.trim_end_matches(|c| !in_word(c));
        shown.push_str(if is_secret(word) { HIDDEN } else { word });
        shown.push_str(&piece[word.len()..]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_hidden_whole_cut_off_and_in_parts() {
        let parts = ["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiJhIGIgYyJ9", "c2lnbmF0dXJlLW9mLWl0"];
        let jwt = parts.join(".");
        let shown = |text: &str| hide(text, &format!("bearer {jwt}"));
        assert_eq!(shown(&format!("bad: {jwt}!")), format!("bad: {HIDDEN}!"));
        assert_eq!(shown(&format!("cut: {}", &jwt[..33])), format!("cut: {HIDDEN}"));
        assert_eq!(shown(&format!("bad signature {}", parts[2])), format!("bad signature {HIDDEN}"));
        assert_eq!(shown("nothing of it"), "nothing of it");
        assert_eq!(hide("token token", "bearer token"), "token token");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(printable("plain ümlaut"), "plain ümlaut");
        assert_eq!(printable("a\r\nERROR b\tc"), "a  ERROR b c");
        assert_eq!(printable("\u{1b}[2J\u{9b}x\0\u{202e}"), r"\u{1b}[2J\u{9b}x\u{0}\u{202e}");
    }

    #[test]
    fn what_looks_like_a_token_is_hidden_and_the_rest_is_kept() {
        for (text, shown) in [
            ("", ""),
            ("Bad credentials", "Bad credentials"),
            (
                "The token expired, was revoked, or the token ID is incorrect: 6e1f0d2b8c3a4f57-r",
                "The token expired, was revoked, or the token ID is incorrect: #",
            ),
            ("<eyJhbGciOiJSUzI1NiJ9.eyJqdGk.c2ln>: no", "<#>: no"),
            ("ümlaut: insufficient_authentication\n", "ümlaut: insufficient_authentication\n"),
        ] {
            assert_eq!(hide_tokens(text), shown.replace('#', HIDDEN));
        }
        assert_eq!(hide_jwts("no eyJhbGciOiJSUzI1NiJ9.eyJqdGk.c2ln, line 123456789012345678"), {
            format!("no {HIDDEN}, line 123456789012345678")
        });
    }

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        let secret = r#"hün/t+er"2% ~*"#;
        let mut secrets = Secrets::default();
        secrets.add_client("nozzle", secret);
        secrets.add_token("bearer opaque");
        for form in [
            secret,
            "h%C3%BCn%2Ft%2Ber%222%25%20%7E%2A",
            "h%c3%bcn%2ft%2ber%222%25%20%7e%2a",
            "h%C3%BCn%2Ft%2Ber%222%25+%7E*",
            "h%C3%BCn%2Ft%2Ber%222%25%20~%2A",
            r#"hün/t+er\"2% ~*"#,
            &BASE64_STANDARD.encode(secret),
            &BASE64_STANDARD.encode(format!("nozzle:{secret}")),
            &BASE64_URL_SAFE_NO_PAD.encode(format!("nozzle:{secret}")),
            &BASE64_STANDARD.encode("nozzle:h%C3%BCn%2Ft%2Ber%222%25%20%7E%2A"),
            "opaque",
        ] {
            assert!(secrets.are_in(form), "{form}");
            assert_eq!(secrets.hide_in(&format!("<{form}> <{form}>")), format!("<{HIDDEN}> <{HIDDEN}>"), "{form}");
        }
        assert!(!secrets.are_in("nozzle"));
    }

    #[test]
    fn a_secret_in_another_or_in_the_mark_is_no_trouble() {
        let mut secrets = Secrets::default();
        for secret in ["", "a", "DATA", "DATABASE", "HIDDEN"] {
            secrets.add(secret);
        }
        assert_eq!(secrets.hide_in("a DATABASE of DATA"), format!("a {HIDDEN} of {HIDDEN}"));
    }
}
