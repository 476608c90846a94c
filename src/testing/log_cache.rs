//! Log Cache, behind its proxy that knows tokens: what is kept of an app, read in pages.
//!
//! Source: log-cache-release 3.2. What it holds came through syslog, which takes its toll: times are cut to the
//! microsecond, white space around a message is gone, and so are NULs.

use std::sync::Arc;

use jiff::Timestamp;

use super::access::{Access, Case};
use super::config::fault::Endless;
use super::config::settings::EqualTimes;
use super::connection::Connection;
use super::http::Response;
use super::logged::Logged;
use super::record::Request;
use crate::wire::v2;

const DEFAULT_LIMIT: usize = 100;
const LARGEST_LIMIT: i64 = 1000;

/// `GET /api/v1/read/<source>`
pub(super) fn read(connection: &Connection, request: &Request) -> Response {
    if let Some(refusal) = refusal(connection, request) {
        return refusal;
    }
    if request.method != "GET" {
        return error(501, 12, "Method Not Allowed");
    }
    let window = match Window::parse(request) {
        Ok(window) => window,
        Err(refusal) => return refusal,
    };
    let settings = &connection.shared().settings;
    let held = held(connection, &request.app(), settings.equal_times);
    let chosen = window.choose(&held, settings.equal_times);
    answer(connection, &chosen.iter().filter_map(|held| held.envelope()).collect::<Vec<_>>())
}

fn answer(connection: &Connection, envelopes: &[String]) -> Response {
    let list = envelopes.join(",");
    let (end, filler) = match connection.plan.endless {
        Some(Endless::Part) if envelopes.is_empty() => (r#"{"log":{"payload":""#, String::new()),
        Some(Endless::Part) => (r#",{"log":{"payload":""#, String::new()),
        Some(Endless::Messages) if !envelopes.is_empty() => ("", format!(",{list}")),
        _ => ("]}}\n", String::new()),
    };
    let body = format!(r#"{{"envelopes":{{"batch":[{list}{end}"#);
    let settings = &connection.shared().settings;
    if body.len() > settings.largest_answer {
        let (is, may) = (body.len(), settings.largest_answer);
        return error(429, 8, &format!("grpc: received message larger than max ({is} vs. {may})"));
    }
    Response::of(200, "application/json", body)
        .header("Grpc-Metadata-Content-Type", "application/grpc")
        .framing(settings.body_framing)
        .filler(filler.into_bytes())
}

/// Which envelopes are asked for.
struct Window {
    /// From the first time to before the second.
    start: i64,
    end: i64,
    limit: usize,
    descending: bool,
    has_logs: bool,
}

impl Window {
    fn parse(request: &Request) -> Result<Self, Response> {
        let mut has_logs = true;
        let types = request.query_values("envelope_types");
        for name in &types {
            if !["ANY", "LOG", "COUNTER", "GAUGE", "TIMER", "EVENT"].contains(&name.as_str()) {
                return Err(error(400, 3, &format!("parsing list \"envelope_types\": {name:?} is not a valid value")));
            }
            has_logs = types.iter().any(|name| name == "LOG" || name == "ANY");
        }
        let descending = parse(request, "descending", "Bool", |text| match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        })?;
        let integer = |name| parse(request, name, "Int", |text| text.parse::<i64>().ok());
        let (start, end) = (integer("start_time")?.unwrap_or(0), integer("end_time")?.unwrap_or(0));
        let limit = integer("limit")?.unwrap_or(0);
        if end != 0 && start > end {
            return Err(error(500, 2, &format!("StartTime ({start}) must be before EndTime ({end})")));
        }
        if limit > LARGEST_LIMIT {
            return Err(error(500, 2, &format!("limit ({limit}) must be {LARGEST_LIMIT} or less")));
        }
        let limit =
            usize::try_from(limit).map_err(|_| error(500, 2, &format!("limit ({limit}) must be greater than zero")))?;
        Ok(Window {
            start,
            end: if end == 0 { now() } else { end },
            limit: if limit == 0 { DEFAULT_LIMIT } else { limit },
            descending: descending.unwrap_or(false),
            has_logs,
        })
    }

    /// What it takes of all that there is, which is in the order of the times.
    fn choose<'a>(&self, held: &'a [Held], equal_times: EqualTimes) -> Vec<&'a Held> {
        let from = held.partition_point(|held| held.time < self.start);
        let to = held.partition_point(|held| held.time < self.end);
        let mut chosen: Vec<_> = held.get(from..to).filter(|_| self.has_logs).unwrap_or_default().iter().collect();
        if self.descending {
            chosen.reverse();
        }
        let mut limit = self.limit.min(chosen.len());
        if let (EqualTimes::Together, Some(last)) = (equal_times, limit.checked_sub(1)) {
            limit += chosen[limit..].iter().take_while(|held| held.time == chosen[last].time).count();
        }
        chosen.truncate(limit);
        chosen
    }
}

fn parse<T>(
    request: &Request,
    name: &str,
    what: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Response> {
    let Some(text) = request.query_values(name).into_iter().next() else { return Ok(None) };
    let syntax = || {
        let words = format!("parsing field \"{name}\": strconv.Parse{what}: parsing {text:?}: invalid syntax");
        error(400, 3, &words)
    };
    parse(&text).map(Some).ok_or_else(syntax)
}

/// A message as Log Cache has it, at its time there.
struct Held {
    time: i64,
    logged: Arc<Logged>,
}

/// All that Log Cache has of an app, in the order of the times.
fn held(connection: &Connection, app: &str, equal_times: EqualTimes) -> Vec<Held> {
    let kept = connection.shared().kept(app).into_iter();
    let mut held: Vec<_> = kept
        .filter_map(|logged| {
            let time = logged.message()?.timestamp;
            Some(Held { time: time.saturating_sub(time.rem_euclid(1000)), logged })
        })
        .collect();
    held.sort_by_key(|held| held.time);
    if equal_times == EqualTimes::Spread {
        let mut free = i64::MIN;
        for held in &mut held {
            held.time = held.time.max(free);
            free = held.time.saturating_add(1);
        }
    }
    held
}

impl Held {
    fn envelope(&self) -> Option<String> {
        let mut message = self.logged.message()?.clone().timestamp(self.time);
        message.message.retain(|&byte| byte != 0);
        message.message = message.message.trim_ascii().to_vec();
        Some(v2::encode(&message))
    }
}

/// `GET /api/v1/meta`: how much there is of each app.
pub(super) fn meta(connection: &Connection, request: &Request) -> Response {
    if let Some(refusal) = refusal(connection, request) {
        return refusal;
    }
    let apps = connection.shared().with(|state| {
        let mut apps: Vec<_> = state.recent.keys().filter(|app| !state.hidden.contains(*app)).cloned().collect();
        apps.sort_unstable();
        apps
    });
    let equal_times = connection.shared().settings.equal_times;
    let sources = apps.iter().filter_map(|app| {
        let held = held(connection, app, equal_times);
        let (oldest, newest) = (held.first()?.time, held.last()?.time);
        let (app, count) = (serde_json::Value::from(app.as_str()), held.len());
        Some(format!(r#"{app}:{{"count":"{count}", "oldestTimestamp":"{oldest}", "newestTimestamp":"{newest}"}}"#))
    });
    let sources: Vec<_> = sources.collect();
    Response::text(200, format!("{{\"meta\":{{{}}}}}\n", sources.join(", ")))
}

/// `GET /api/v1/info`, the one thing that needs no token.
pub(super) fn info() -> Response {
    Response::text(200, "{\"version\":\"3.2.12\",\"vm_uptime\":\"2204\"}\n")
}

/// Whatever is wrong with the token, the proxy has only this to say.
fn refusal(connection: &Connection, request: &Request) -> Option<Response> {
    match connection.shared().access(request, Case::IsIgnored) {
        Access::Granted => None,
        Access::NoToken | Access::Refused | Access::Hidden => Some(Response::empty(404)),
    }
}

/// An error in the form of gRPC's gateway, with gRPC's code.
fn error(status: u16, code: u8, message: &str) -> Response {
    let message = serde_json::Value::from(message);
    Response::of(status, "application/json", format!("{{\"code\":{code},\"message\":{message},\"details\":[]}}\n"))
}

fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
