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
