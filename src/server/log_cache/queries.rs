//! What Log Cache has beside envelopes: [`meta`], [`info`] and PromQL.
//!
//! Source: `src/README.md`, `src/internal/gateway` and `src/internal/auth/cf_auth_middleware.go` of log-cache-release
//! 702107c (v3.2.12). PromQL has had its path since version 1.4.5 (August 2018), and `info` since 1.4.7.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::requests::{ROOT, get, request_any_version};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{LogCacheInfo, SourceMeta};
use crate::net::http::{Response, body_error};
use crate::promql::QueryResult;
use crate::server::call::Call;
use crate::wire::promql::{self, Failure};
use crate::wire::v2;

/// The largest response to a request for `info`, in bytes.
const MAX_INFO: usize = 64 * 1024;

/// The largest response to a query or of `meta`, in bytes. An empty series has 3: so many of them take some 570 MiB while
/// they are decoded.
const MAX_RESULT: usize = 16 * 1024 * 1024;

/// The hints for a response that is too large.
const SEE_SETTING: &str = ": see Builder::max_recent_size";
const ASK_FOR_LESS: &str = ": narrow the query, or widen its step";
const TOO_MANY_SOURCES: &str = ": the token's user may see too many sources";

/// The hint for a server that does not know the path.
const NO_PATH: &str = " (Korifi's Log Cache and those before version 1.4.7 do not have this)";

/// A PromQL query, and the times that it is evaluated for, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a> {
    pub(crate) promql: &'a str,
    pub(crate) times: Times,
}

#[derive(Clone, Copy)]
pub(crate) enum Times {
    Now,
    At(i64),
    Range { start: i64, end: i64, step: Duration },
}

/// Requests what Log Cache holds of each source that the token's user may see.
pub(crate) fn meta(call: &Call<'_>) -> Result<BTreeMap<String, SourceMeta>> {
    let response = request_any_version(call, "meta").map_err(no_path)?;
    let json = read_result(call, response, TOO_MANY_SOURCES)?;
    v2::meta::sources(&json).map_err(invalid)
}

/// Requests what Log Cache tells of itself. Needs no token.
pub(crate) fn info(call: &Call<'_>) -> Result<LogCacheInfo> {
    let response = get(call, &format!("{ROOT}info")).map_err(no_path)?;
    let json = read_whole(call, response, MAX_INFO, "")?;
    v2::meta::info(&json).map_err(invalid)
}

/// Evaluates a PromQL query.
pub(crate) fn query(call: &Call<'_>, query: Query<'_>) -> Result<QueryResult> {
    let response = get(call, &query.target()).map_err(|error| with_type(no_path(error)))?;
    let json = read_result(call, response, ASK_FOR_LESS)?;
    promql::result(&json).map_err(invalid)?.map_err(|Failure { error_type, message }| {
        let text = format!("the query failed: {error_type}: {message}");
        Error::new(ErrorKind::ServerError, text).with_error_type(error_type)
    })
}

impl Query<'_> {
    fn target(&self) -> String {
        let promql = utf8_percent_encode(self.promql, NON_ALPHANUMERIC);
        // Log Cache multiplies decimal seconds by 1e9 in binary, which can be a millisecond less than was meant.
        let time = |nanoseconds: i64| {
            let time = Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default().to_string();
            utf8_percent_encode(&time, NON_ALPHANUMERIC).to_string()
        };
        match self.times {
            Times::Now => format!("{ROOT}query?query={promql}"),
            Times::At(at) => format!("{ROOT}query?query={promql}&time={}", time(at)),
            Times::Range { start, end, step } => format!(
                "{ROOT}query_range?query={promql}&start={}&end={}&step={}",
                time(start),
                time(end),
                step.as_secs_f64()
            ),
        }
    }
}

/// Adds Prometheus' `errorType` to an error response that has one.
fn with_type(error: Error) -> Error {
    let Some(Failure { error_type, message }) = error.body().and_then(promql::failure) else { return error };
    // The gateway calls everything internal. Its proxy, which also looks at the query, calls this bad data.
    let is_callers_fault = error_type == "bad_data" || message.starts_with("parse error");
    let kind = if is_callers_fault { ErrorKind::BadRequest } else { error.kind() };
    error.with_kind(kind).with_error_type(error_type)
}

/// Adds a hint to the error of a server that does not know the path.
fn no_path(error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound && !error.is_from_router() { error.with_hint(NO_PATH) } else { error }
}

const WHAT: &str = "the response of Log Cache";

/// Reads a response of up to [`MAX_RESULT`]. `hint` says what to do about a larger one.
fn read_result(call: &Call<'_>, response: Response, hint: &str) -> Result<Vec<u8>> {
    let max_recent_size = call.settings().max_recent_size;
    let hint = if max_recent_size < MAX_RESULT { SEE_SETTING } else { hint };
    read_whole(call, response, max_recent_size.min(MAX_RESULT), hint)
}

/// Reads a body that may have this many bytes. The hint says what to do if it has more.
fn read_whole(call: &Call<'_>, response: Response, limit: usize, hint: &str) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    response.body.take(most).read_to_end(&mut body).map_err(|error| {
        let error = body_error(WHAT, error, call.cancel());
        match error.kind() {
            ErrorKind::Timeout if call.timeouts.is_expired() => error.with_hint(": see Builder::recent_timeout"),
            ErrorKind::Timeout => error.with_hint(": see Builder::read_timeout"),
            _ => error,
        }
    })?;
    // What the system has already received is read even after a close.
    call.cancel().check()?;
    if body.len() > limit {
        let text = format!("{WHAT} is larger than {limit} bytes{hint}");
        return Err(Error::new(ErrorKind::TooLarge, text));
    }
    Ok(body)
}

/// Returns the error of a body that cannot be decoded.
fn invalid(cause: serde_json::Error) -> Error {
    // A server that ends a body by closing the connection cannot tell that it is cut short.
    let kind = if cause.is_eof() { ErrorKind::Truncated } else { ErrorKind::BadResponse };
    Error::new(kind, format!("{WHAT} cannot be decoded: {}", v2::without_quotes(&cause.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(times: Times) -> String {
        Query { promql: r#"a{b="c d"}+1"#, times }.target()
    }

    #[test]
    fn the_times_of_a_query_are_exact_and_everything_is_escaped() {
        let promql = "a%7Bb%3D%22c%20d%22%7D%2B1";
        assert_eq!(target(Times::Now), format!("/api/v1/query?query={promql}"));
        assert_eq!(
            target(Times::At(1_700_000_001_001_000_000)),
            format!("/api/v1/query?query={promql}&time=2023%2D11%2D14T22%3A13%3A21%2E001Z")
        );
        let range = Times::Range { start: 0, end: 1_000_000_000, step: Duration::from_millis(1500) };
        assert_eq!(
            target(range),
            format!(
                "/api/v1/query_range?query={promql}&start=1970%2D01%2D01T00%3A00%3A00Z&end=1970%2D01%2D01T00%3A00%3A01Z\
                 &step=1.5"
            )
        );
    }
}
