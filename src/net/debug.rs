//! [`DebugPrinter`]: shows a caller the websocket handshake, without its secrets.

use std::fmt::Write as _;

use crate::secrets::HIDDEN;

/// Gets the websocket handshakes in text form, when set by [`Builder::debug_printer`](crate::Builder::debug_printer).
///
/// The request comes with the title `WEBSOCKET REQUEST:`, the answer with `WEBSOCKET RESPONSE:`. Messages are never
/// printed, and of the headers only those that are known to hold no secret are: the token never is. It is called in
/// the thread that called [`tail`](crate::Consumer::tail) or [`recent`](crate::Consumer::recent).
///
/// ```
/// use loggregator_consumer::{Consumer, DebugPrinter};
///
/// struct ToStderr;
///
/// impl DebugPrinter for ToStderr {
///     fn print(&self, title: &str, dump: &str) {
///         eprintln!("{title}\n{dump}");
///     }
/// }
///
/// let consumer = Consumer::builder("wss://loggregator.example.com").debug_printer(ToStderr).build()?;
/// # Ok::<(), loggregator_consumer::Error>(())
/// ```
pub trait DebugPrinter: Send + Sync {
    /// Prints one dump under its title.
    fn print(&self, title: &str, dump: &str);
}

/// The headers whose values are shown. A list of those that are not would be one header too short.
const SHOWN: [&str; 15] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "host",
    "origin",
    "sec-websocket-accept",
    "sec-websocket-key",
    "sec-websocket-version",
    "server",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "www-authenticate",
    "x-vcap-request-id",
];

/// The head of a request or an answer, with the values of unknown headers hidden.
pub(crate) fn dump<'a>(first_line: &str, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut dump = format!("{first_line}\n");
    for (name, value) in headers {
        let shown = SHOWN.iter().any(|shown| shown.eq_ignore_ascii_case(name));
        let _ = writeln!(dump, "{name}: {}", if shown { value } else { HIDDEN });
    }
    dump
}
