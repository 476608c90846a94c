//! Keeps secrets, and characters that a terminal would obey, out of texts that a person may see.

use std::borrow::Cow;

/// Stands in place of a secret.
pub(crate) const HIDDEN: &str = "[PRIVATE DATA HIDDEN]";

/// A shorter text may be an ordinary word, and is not hidden.
const MIN_SECRET: usize = 8;

/// Returns the text without this token, which a server may have repeated: whole, without its scheme, or cut off at the
/// end of the text.
pub(crate) fn hide(text: &str, token: &str) -> String {
    let secret = token.split_once(' ').map_or(token, |(_scheme, secret)| secret).trim();
    if secret.len() < MIN_SECRET {
        return text.to_owned();
    }
    let mut shown = text.replace(secret, HIDDEN);
    // A body is cut at a limit, perhaps in the middle of the token.
    let cut_off =
        (MIN_SECRET..secret.len()).rev().find(|&n| secret.is_char_boundary(n) && shown.ends_with(&secret[..n]));
    if let Some(length) = cut_off {
        shown.truncate(shown.len() - length);
        shown.push_str(HIDDEN);
    }
    // The signature is what makes a token (a JWT) good. Some servers repeat it alone.
    for part in secret.split('.').filter(|part| secret.contains('.') && part.len() >= 2 * MIN_SECRET) {
        shown = shown.replace(part, HIDDEN);
    }
    shown
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_hidden_whole_cut_off_and_in_parts() {
        let jwt = "bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIGIgYyJ9.c2lnbmF0dXJlLW9mLWl0";
        let shown = |text: &str| hide(text, jwt);
        assert_eq!(
            shown("bad: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIGIgYyJ9.c2lnbmF0dXJlLW9mLWl0!"),
            format!("bad: {HIDDEN}!")
        );
        assert_eq!(shown("cut: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIGI"), format!("cut: {HIDDEN}"));
        assert_eq!(shown("bad signature c2lnbmF0dXJlLW9mLWl0"), format!("bad signature {HIDDEN}"));
        assert_eq!(shown("nothing of it"), "nothing of it");
        assert_eq!(hide("token token", "bearer token"), "token token");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(printable("plain ümlaut"), "plain ümlaut");
        assert_eq!(printable("a\r\nERROR b\tc"), "a  ERROR b c");
        assert_eq!(printable("\u{1b}[2J\u{9b}x\0\u{202e}"), r"\u{1b}[2J\u{9b}x\u{0}\u{202e}");
    }
}
