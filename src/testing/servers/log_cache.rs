//! Log Cache behind its authorization proxy: returns what is kept of an app, page by page.
//!
//! Source: log-cache-release 3.2. Its messages have passed through syslog, which changes them: timestamps are truncated
//! to microseconds, white space around a message is removed, and NULs are removed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::authorization::{Authorization, authorize, exists};
use crate::envelope::{Body, Envelope, EnvelopeType};
use crate::testing::config::fault::Endless;
use crate::testing::config::generation::Generation;
use crate::testing::protocol::log_entry::LogEntry;
use crate::testing::protocol::request::Request;
use crate::testing::protocol::response::Response;
use crate::testing::state::SharedState;
use crate::testing::state::log_store::{Meta, Range};
use crate::wire::v2;

const DEFAULT_LIMIT: usize = 100;
const LARGEST_LIMIT: i64 = 1000;
/// The names of the types of envelopes, at the places of their numbers.
const ENVELOPE_TYPES: [(&str, Option<EnvelopeType>); 6] = [
    ("ANY", None),
    ("LOG", Some(EnvelopeType::Log)),
    ("COUNTER", Some(EnvelopeType::Counter)),
    ("GAUGE", Some(EnvelopeType::Gauge)),
    ("TIMER", Some(EnvelopeType::Timer)),
    ("EVENT", Some(EnvelopeType::Event)),
];

// gRPC's status codes.
const UNKNOWN: u8 = 2;
const INVALID_ARGUMENT: u8 = 3;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;

/// Answers `/api/v1/read/<source>`, or `/v1/read/<source>` of version 1.
pub(crate) fn read(shared: &SharedState, endless: Option<Endless>, request: &Request) -> Response {
    if let Some(response) = rejection(shared, request) {
        return response;
    }
    let is_version_1 = shared.settings.generation == Generation::LogCache1;
    if request.method != "GET" {
        if is_version_1 {
            return Response::go_error(405, "Method Not Allowed");
        }
        return error(501, UNIMPLEMENTED, "Method Not Allowed");
    }
    let query = match ReadQuery::parse(request) {
        Ok(query) => query,
        Err(rejection) if is_version_1 => {
            return error_of_version_1(rejection.status, rejection.code, &rejection.message);
        }
        Err(rejection) => return error(rejection.status, rejection.code, &rejection.message),
    };
    let settings = &shared.settings;
    let messages = shared.with(|state| {
        let is_node_away = state.is_node_away;
        let store = state.log_cache.get_mut(&request.app()).filter(|_| !query.is_empty && !is_node_away)?;
        store.catch_up(settings.max_per_source());
        Some(store.read(&query.range, settings.equal_times))
    });
    let names = query.range.names.as_deref();
    let envelopes: Vec<_> =
        messages.unwrap_or_default().iter().filter_map(|(time, entry)| envelope(*time, entry, names)).collect();
    envelopes_response(shared, endless, &envelopes)
}

fn envelopes_response(shared: &SharedState, endless: Option<Endless>, envelopes: &[String]) -> Response {
    let list = envelopes.join(",");
    let (end, repeated) = match endless {
        Some(Endless::Part) if envelopes.is_empty() => (r#"{"log":{"payload":""#, String::new()),
        Some(Endless::Part) => (r#",{"log":{"payload":""#, String::new()),
        Some(Endless::Messages) if !envelopes.is_empty() => ("", format!(",{list}")),
        _ => ("]}}\n", String::new()),
    };
    let body = format!(r#"{{"envelopes":{{"batch":[{list}{end}"#);
    let (size, limit) = (body.len(), shared.settings.largest_answer);
    if size > limit {
        let message = format!("grpc: received message larger than max ({size} vs. {limit})");
        if shared.settings.generation == Generation::LogCache1 {
            return error_of_version_1(403, RESOURCE_EXHAUSTED, &message);
        }
        return error(429, RESOURCE_EXHAUSTED, &message);
    }
    Response::with_body(200, "application/json", body)
        .header("Grpc-Metadata-Content-Type", "application/grpc")
        .framing(shared.settings.body_framing)
        .repeat_forever(repeated.into_bytes())
}

/// Why a query is rejected.
struct Rejection {
    status: u16,
    /// gRPC's status code.
    code: u8,
    message: String,
}

impl Rejection {
    fn invalid(message: String) -> Self {
        Rejection { status: 400, code: INVALID_ARGUMENT, message }
    }

    fn unknown(message: String) -> Self {
        Rejection { status: 500, code: UNKNOWN, message }
    }
}

/// What a request asks for.
struct ReadQuery {
    range: Range,
    /// No envelope can be both of the types and have a name.
    is_empty: bool,
}

impl ReadQuery {
    fn parse(request: &Request) -> Result<Self, Rejection> {
        if let Some(message) = request.query_error() {
            return Err(Rejection::invalid(message));
        }
        let (mut types, mut has_any, mut has_named_types, mut names) = (Vec::new(), false, true, None);
        for name in request.query_values("envelope_types") {
            // By name or by number.
            let is_type =
                |(number, other): &(usize, (&str, Option<EnvelopeType>))| other.0 == name || number.to_string() == name;
            match ENVELOPE_TYPES.iter().copied().enumerate().find(is_type) {
                Some((_, (_, Some(envelope_type)))) => types.push(envelope_type),
                Some((_, (_, None))) => has_any = true,
                None => {
                    return Err(Rejection::invalid(format!(
                        "parsing list \"envelope_types\": {name:?} is not a valid value"
                    )));
                }
            }
        }
        if has_any {
            types.clear();
        }
        if let Some(pattern) = request.query_values("name_filter").first().filter(|pattern| !pattern.is_empty()) {
            if let Some(problem) = pattern_error(pattern) {
                let message =
                    format!("name filter must be a valid regular expression: error parsing regexp: {problem}");
                return Err(Rejection::unknown(message));
            }
            names = list_of_names(pattern);
            // Logs and events have no names, so a filter leaves them out.
            let named = [EnvelopeType::Counter, EnvelopeType::Gauge, EnvelopeType::Timer];
            has_named_types = types.is_empty() || types.iter().any(|it| named.contains(it));
            types = named.into_iter().filter(|it| types.is_empty() || types.contains(it)).collect();
        }
        let descending = parse_parameter(request, "descending", "Bool", |text| match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        })?;
        let integer = |name| parse_parameter(request, name, "Int", |text| text.parse::<i64>().ok());
        let (start, end) = (integer("start_time")?.unwrap_or(0), integer("end_time")?.unwrap_or(0));
        let limit = integer("limit")?.unwrap_or(0);
        if end != 0 && start > end {
            return Err(Rejection::unknown(format!("StartTime ({start}) must be before EndTime ({end})")));
        }
        if limit > LARGEST_LIMIT {
            return Err(Rejection::unknown(format!("limit ({limit}) must be {LARGEST_LIMIT} or less")));
        }
        let limit = usize::try_from(limit)
            .map_err(|_| Rejection::unknown(format!("limit ({limit}) must be greater than zero")))?;
        let range = Range {
            start,
            end: if end == 0 { now() } else { end },
            limit: if limit == 0 { DEFAULT_LIMIT } else { limit },
            descending: descending.unwrap_or(false),
            types,
            names,
        };
        Ok(ReadQuery { range, is_empty: !has_named_types })
    }
}

/// Parses a query parameter, which may be given only once. `go_type` is the name of its type in the error message of Go's
/// `strconv`.
fn parse_parameter<T>(
    request: &Request,
    name: &str,
    go_type: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Rejection> {
    let values = request.query_values(name);
    let text = match values.as_slice() {
        [] => return Ok(None),
        [text] => text,
        _ => return Err(Rejection::invalid(format!("too many values for field \"{name}\": {}", values.join(", ")))),
    };
    parse(text).map(Some).ok_or_else(|| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let problem = if go_type == "Int" && is_number { "value out of range" } else { "invalid syntax" };
        Rejection::invalid(format!("parsing field \"{name}\": strconv.Parse{go_type}: parsing {text:?}: {problem}"))
    })
}

/// Returns what Go's `regexp` says about a malformed pattern, as far as its brackets and its end tell.
fn pattern_error(pattern: &str) -> Option<String> {
    let mut class = None;
    let mut groups = 0;
    let mut characters = pattern.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' if characters.next().is_none() => {
                return Some("trailing backslash at end of expression: ``".to_owned());
            }
            // A bracket at the beginning of a class is a part of it.
            ']' if class.is_some_and(|start| at > start + 1) => class = None,
            _ if class.is_some() => {}
            '[' => class = Some(at),
            '(' => groups += 1,
            ')' if groups == 0 => return Some(format!("unexpected ): `{pattern}`")),
            ')' => groups -= 1,
            '*' | '+' | '?' if at == 0 => {
                return Some(format!("missing argument to repetition operator: `{character}`"));
            }
            _ => {}
        }
    }
    match class {
        Some(start) => Some(format!("missing closing ]: `{}`", &pattern[start..])),
        None => (groups > 0).then(|| format!("missing closing ): `{pattern}`")),
    }
}

/// Returns the names that a pattern is a list of, as in `^(?:cpu|a\.b)$`. `None`: it is another pattern, and not applied.
fn list_of_names(pattern: &str) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    let mut characters = pattern.strip_prefix("^(?:")?.strip_suffix(")$")?.chars();
    while let Some(character) = characters.next() {
        match character {
            '|' => names.push(String::new()),
            '\\' => names.last_mut()?.push(characters.next()?),
            _ if ".+*?()[]{}^$".contains(character) => return None,
            _ => names.last_mut()?.push(character),
        }
    }
    Some(names)
}

/// Encodes a message as it has passed through syslog. Of a gauge, only values with these names.
fn envelope(time: i64, entry: &LogEntry, names: Option<&[String]>) -> Option<String> {
    let trimmed = |mut payload: Vec<u8>| {
        payload.retain(|&byte| byte != 0);
        payload.trim_ascii().to_vec()
    };
    match entry {
        LogEntry::Message(message) => {
            let mut message = message.clone().timestamp(time);
            message.message = trimmed(message.message);
            Some(v2::encode(&message))
        }
        LogEntry::Envelope(envelope) => {
            let mut envelope = Envelope { timestamp: time, ..envelope.clone() };
            if let Body::Log { payload, .. } = &mut envelope.body {
                *payload = trimmed(std::mem::take(payload));
            }
            if let (Body::Gauge(values), Some(names)) = (&mut envelope.body, names) {
                values.retain(|name, _| names.contains(name));
            }
            Some(v2::encode(&envelope))
        }
        LogEntry::Raw(_) => None,
    }
}

/// Answers `/api/v1/meta`: how many envelopes of each source there are, and their times.
pub(crate) fn meta(shared: &SharedState, request: &Request) -> Response {
    let is_admin = match authorize(shared, request) {
        Authorization::Admin => true,
        Authorization::Granted => false,
        _ => return Response::empty(404),
    };
    let metas = shared.with(|state| {
        let sources = state.log_cache.keys().filter(|source| is_admin || exists(shared, state, source));
        let apps: Vec<_> = sources.cloned().collect();
        let is_node_away = state.is_node_away;
        let mut metas = BTreeMap::new();
        for app in apps.into_iter().filter(|_| !is_node_away) {
            if let Some(store) = state.log_cache.get_mut(&app) {
                store.catch_up(shared.settings.max_per_source());
                metas.extend(store.meta().map(|meta| (app, meta)));
            }
        }
        metas
    });
    let sources = metas.into_iter().map(|(app, Meta { count, expired, oldest, newest })| {
        let app = serde_json::Value::from(app);
        let expired = if expired == 0 { String::new() } else { format!(r#""expired":"{expired}", "#) };
        format!(r#"{app}:{{"count":"{count}", {expired}"oldestTimestamp":"{oldest}", "newestTimestamp":"{newest}"}}"#)
    });
    let sources: Vec<_> = sources.collect();
    Response::text(200, format!("{{\"meta\":{{{}}}}}\n", sources.join(", ")))
}

/// Answers `/api/v1/info`, the only path that needs no token.
pub(crate) fn info(shared: &SharedState) -> Response {
    if shared.settings.generation == Generation::LogCache1 {
        return Response::with_body(200, "application/json", "{\"version\":\"1.4.7\"}\n");
    }
    Response::text(200, "{\"version\":\"3.2.12\",\"vm_uptime\":\"2204\"}\n")
}

/// Returns the response to a request that is not allowed. The proxy answers every problem with a token with a 404.
fn rejection(shared: &SharedState, request: &Request) -> Option<Response> {
    let is_granted = matches!(authorize(shared, request), Authorization::Granted | Authorization::Admin);
    (!is_granted).then(|| Response::empty(404))
}

/// Creates an error response of the gRPC gateway of Log Cache 1.x.
fn error_of_version_1(status: u16, code: u8, message: &str) -> Response {
    let message = serde_json::Value::from(message);
    Response::with_body(status, "application/json", format!("{{\"error\":{message},\"code\":{code}}}"))
}

/// Creates an error response of the gRPC gateway, with one of gRPC's status codes.
fn error(status: u16, code: u8, message: &str) -> Response {
    let message = serde_json::Value::from(message);
    Response::with_body(
        status,
        "application/json",
        format!("{{\"code\":{code},\"message\":{message},\"details\":[]}}\n"),
    )
}

/// Returns the current time in nanoseconds.
fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
