//! Turns what failed on the network into an [`Error`].

use std::fmt;
use std::io;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::net::dial::stream::TlsFailure;
use crate::net::head::Head;
use crate::net::retry_after::retry_after;
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

/// What an error response says.
pub(crate) struct ErrorResponse<'a> {
    pub(crate) status: u16,
    pub(crate) reason: &'a str,
    pub(crate) body: String,
    pub(crate) retry_after: Option<Duration>,
    /// The [`ROUTER_ERROR`] header.
    pub(crate) router_error: Option<&'a str>,
}

impl<'a> ErrorResponse<'a> {
    /// A response whose head was read without ureq.
    pub(crate) fn of(head: &'a Head, body: String) -> Self {
        ErrorResponse {
            status: head.status,
            reason: &head.reason,
            body,
            retry_after: retry_after(head.header("retry-after"), head.header("date")),
            router_error: head.header(ROUTER_ERROR),
        }
    }

    /// Makes the error. If the body is JSON, the text shows only the message in it.
    ///
    /// `hide` takes the secrets of the request out of everything that the server says, before hints are added to it.
    pub(crate) fn into_error(self, what: impl fmt::Display, hide: impl Fn(&str) -> String) -> Error {
        let has_route_text = self.status == 404 && self.body.starts_with(UNKNOWN_ROUTE);
        let router_error = self.router_error.map(str::trim).or(has_route_text.then_some("unknown_route"));
        let body = hide(&self.body);
        let message = v2::error_message(&body);
        let error = Error::response(self.status, &hide(self.reason), what, body, message.as_deref());
        let error = error.with_retry_after(self.retry_after);
        match router_error {
            Some(code) => error.with_router(&hide(code)),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::hide;

    #[test]
    fn the_message_of_a_json_body_is_what_the_text_shows() {
        let body = r#"{"code":2,"message":"no","details":[]}"#;
        let (reason, retry_after, router_error) = ("", None, None);
        let response = ErrorResponse { status: 500, reason, body: body.into(), retry_after, router_error };
        let error = response.into_error("recent", str::to_owned);
        assert_eq!(error.to_string(), "recent: the server answered 500: no");
        assert_eq!(error.body(), Some(body));
    }

    #[test]
    fn a_token_is_hidden_in_everything_that_a_server_says() {
        let token = "bearer abcdefghijklmnop";
        let secret = "abcdefghijklmnop";
        let response = ErrorResponse {
            status: 503,
            reason: secret,
            // Cut off in the middle of the token, and a hint follows.
            body: format!("no {secret}: {}", &secret[..12]),
            retry_after: Some(Duration::from_secs(5)),
            router_error: Some(secret),
        };
        let error = response.into_error("recent", |text| hide(text, token));
        let forms = format!("{error} {error:?}");
        assert!(!forms.contains(&secret[..8]), "{forms}");
        assert!(error.to_string().contains("after 5 s"), "{error}");
    }
}
