//! Hides secrets in texts that a person may see.

/// The text that replaces a secret.
pub(crate) const HIDDEN: &str = "[PRIVATE DATA HIDDEN]";

/// Returns the text with this token hidden, which a server may have repeated.
pub(crate) fn hide(text: &str, token: &str) -> String {
    let secret = token.split_once(' ').map_or(token, |(_scheme, secret)| secret).trim();
    // A shorter token may be an ordinary word.
    if secret.len() < 8 { text.to_owned() } else { text.replace(secret, HIDDEN) }
}
