//! gorouter, the platform's router in front of all servers, when it cannot forward a request.

use crate::testing::config::server::RouterError;
use crate::testing::protocol::request::Request;
use crate::testing::protocol::response::Response;

/// Answers a request whose server cannot be reached.
pub(crate) fn error(error: RouterError, request: &Request) -> Response {
    let host = request.header("Host").unwrap_or_default();
    let (status, name, cache, message) = match error {
        RouterError::UnknownRoute => (
            "404 Not Found",
            "unknown_route",
            Some("public,max-age=2"),
            format!("Requested route ('{host}') does not exist."),
        ),
        RouterError::EndpointFailure => (
            "502 Bad Gateway",
            "endpoint_failure",
            None,
            "Registered endpoint failed to handle the request.".to_owned(),
        ),
        RouterError::NoEndpoints => (
            "503 Service Unavailable",
            "no_endpoints",
            Some("no-cache, no-store"),
            format!("Requested route ('{host}') has no available endpoints."),
        ),
    };
    let code = status.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or_default();
    let mut response = Response::go_error(code, &format!("{status}: {message}"));
    if let Some(cache) = cache {
        response = response.header("Cache-Control", cache);
    }
    response.header("X-Cf-Routererror", name)
}
