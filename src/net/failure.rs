//! Turns what failed on the network into an [`Error`].

use std::fmt;
use std::io;

use crate::error::{Error, ErrorKind};
use crate::net::dial::stream::TlsFailure;
use crate::wire::v2;

/// The error of an I/O failure that came before the response was complete.
pub(crate) fn io_error(what: impl fmt::Display, cause: io::Error) -> Error {
    let kind = match cause.kind() {
        _ if TlsFailure::is(&cause) => ErrorKind::Tls,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => ErrorKind::ConnectionLost,
        _ => ErrorKind::Dial,
    };
    Error::caused(kind, what, cause)
}

/// The header by which gorouter, the platform's router, marks its own error responses.
pub(crate) const ROUTER_ERROR: &str = "x-cf-routererror";

/// How the body of gorouter's 404 for an unknown route begins, in case another proxy removes its header.
const UNKNOWN_ROUTE: &str = "404 Not Found: Requested route (";

/// Marks the error of a response if the platform's router gave it. `code` is the [`ROUTER_ERROR`] header.
pub(crate) fn mark_router(error: Error, code: Option<&str>) -> Error {
    let has_route_text = error.status() == Some(404) && error.body().is_some_and(|it| it.starts_with(UNKNOWN_ROUTE));
    match code.map(str::trim).or(has_route_text.then_some("unknown_route")) {
        Some(code) => error.with_router(code),
        None => error,
    }
}

/// The error of a response that is not a success. If its body is JSON, the text shows only the message in it.
pub(crate) fn error_response(status: u16, reason: &str, what: impl fmt::Display, body: String) -> Error {
    let message = v2::error_message(&body);
    Error::response(status, reason, what, body, message.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_json_body_is_what_the_text_shows() {
        let body = r#"{"code":2,"message":"no","details":[]}"#;
        let error = error_response(500, "", "recent", body.into());
        assert_eq!(error.to_string(), "recent: the server answered 500: no");
        assert_eq!(error.body(), Some(body));
    }
}
