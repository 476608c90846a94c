//! [`DebugPrinter`]: shows websocket handshakes to the caller, without secrets.

use std::fmt::Write as _;

use crate::secrets::{HIDDEN, printable};

/// Receives the websocket handshakes as text. Set it with [`Builder::debug_printer`](crate::Builder::debug_printer).
///
/// The title is `WEBSOCKET REQUEST:` for a request and `WEBSOCKET RESPONSE:` for a response. Messages are never
/// printed. The value of a header is printed only if the header is known to hold no secret, so the token is never
/// printed. Control characters in a server's headers are escaped.
///
/// The printer is called in the thread that called [`tail`](crate::Consumer::tail) or
/// [`recent`](crate::Consumer::recent). After a [reconnect](crate::Builder::reconnect) it is called in a thread of the
/// tail.
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

/// The headers whose values are shown. This is an allow-list because a deny-list would miss unknown headers.
const SHOWN: [&str; 16] = [
    "accept-encoding",
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

/// Formats the head of a request or a response, with the values of unknown headers hidden.
pub(crate) fn dump<'a>(first_line: &str, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut dump = format!("{}\n", printable(first_line));
    for (name, value) in headers {
        let shown = SHOWN.iter().any(|shown| shown.eq_ignore_ascii_case(name));
        let _ = writeln!(dump, "{name}: {}", if shown { printable(value) } else { HIDDEN.into() });
    }
    dump
}
