//! PromQL in Log Cache: selectors, with or without a range. Other expressions are rejected, though not by the real one.
//!
//! Source: `src/internal/promql` and `src/internal/auth` of log-cache-release 3.2, and Prometheus' engine.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::authorization::{Authorization, authorize, exists};
use crate::envelope::{Body, Envelope, EnvelopeType};
use crate::promql::{QueryValue, Sample, Series, VectorSample};
use crate::testing::protocol::log_entry::LogEntry;
use crate::testing::protocol::request::Request;
use crate::testing::protocol::response::Response;
use crate::testing::state::SharedState;
use crate::testing::state::log_store::Range;
use crate::wire::promql::encode;

const SECOND: i64 = 1_000_000_000;

/// How far an instant query looks back for the latest sample.
const LOOK_BACK: i64 = 5 * 60 * SECOND;

/// The most samples of one series, as in Prometheus.
const MAX_STEPS: i64 = 11_000;

/// Answers `/api/v1/query` and `/api/v1/query_range`.
pub(crate) fn query(shared: &SharedState, request: &Request) -> Response {
    let query = request.query_values("query").into_iter().next().unwrap_or_default();
    let authorization = authorize(shared, request);
    if matches!(authorization, Authorization::NoToken) {
        return Response::empty(404);
    }
    let selector = match Selector::parse(&query) {
        Ok(selector) => selector,
        Err(message) => return error(400, "bad_data", &message),
    };
    if selector.sources.is_empty() {
        return error(400, "bad_data", "query does not request any source_ids");
    }
    let is_allowed = match authorization {
        Authorization::Admin => true,
        Authorization::Granted => {
            shared.with(|state| selector.sources.iter().all(|source| exists(shared, state, source)))
        }
        _ => false,
    };
    if !is_allowed {
        return Response::empty(404);
    }
    let is_range = request.path().ends_with("_range");
    match if is_range { range(shared, request, &selector) } else { instant(shared, request, &selector) } {
        Ok(value) => Response::with_body(200, "application/json", encode(&value) + "\n")
            .header("Grpc-Metadata-Content-Type", "application/grpc"),
        Err(message) => error(500, "internal", &message),
    }
}

fn instant(shared: &SharedState, request: &Request, selector: &Selector) -> Result<QueryValue, String> {
    let time = match request.query_values("time").first() {
        Some(text) if !text.is_empty() => parse_time(text)?,
        _ => second_of(now()),
    };
    let all = series(shared, selector, time - selector.range.unwrap_or(LOOK_BACK), time);
    Ok(match selector.range {
        Some(_) => QueryValue::Matrix(all),
        None => QueryValue::Vector(
            all.into_iter()
                .filter_map(|Series { labels, samples }| {
                    let Sample { value, .. } = *samples.last()?;
                    Some(VectorSample { labels, sample: Sample { time, value } })
                })
                .collect(),
        ),
    })
}

fn range(shared: &SharedState, request: &Request, selector: &Selector) -> Result<QueryValue, String> {
    let parameter = |name: &str| request.query_values(name).into_iter().next().unwrap_or_default();
    let step = parse_step(&parameter("step")).map_err(|why| format!("couldn't parse step: {why}"))?;
    let start = parse_time(&parameter("start")).map_err(|why| format!("couldn't parse start: {why}"))?;
    let end = parse_time(&parameter("end")).map_err(|why| format!("couldn't parse end: {why}"))?;
    if selector.range.is_some() {
        return Err("invalid expression type \"range vector\" for range query, must be Scalar or instant Vector".into());
    }
    if step <= 0 || (end - start) / step >= MAX_STEPS {
        return Err("exceeded maximum resolution of 11,000 points per timeseries".into());
    }
    let mut all = series(shared, selector, start - LOOK_BACK, end);
    for one in &mut all {
        let latest = |time: i64| {
            let seen = |sample: &&Sample| sample.time <= time && sample.time > time - LOOK_BACK;
            one.samples.iter().rev().find(seen).map(|sample| Sample { time, value: sample.value })
        };
        let times = (0..).map(|n| start + n * step).take_while(|time| *time <= end);
        one.samples = times.filter_map(latest).collect();
    }
    all.retain(|one| !one.samples.is_empty());
    Ok(QueryValue::Matrix(all))
}

/// Returns the series with samples after `from`, up to `to`, in nanoseconds.
fn series(shared: &SharedState, selector: &Selector, from: i64, to: i64) -> Vec<Series> {
    let mut all: BTreeMap<BTreeMap<String, String>, Vec<Sample>> = BTreeMap::new();
    let settings = &shared.settings;
    let range = Range {
        start: from,
        end: to.saturating_add(SECOND),
        limit: usize::MAX,
        descending: false,
        types: vec![EnvelopeType::Gauge, EnvelopeType::Counter, EnvelopeType::Timer],
        names: None,
    };
    shared.with(|state| {
        let is_node_away = state.is_node_away;
        for source in selector.sources.iter().filter(|_| !is_node_away) {
            let Some(store) = state.log_cache.get_mut(source) else { continue };
            store.catch_up(settings.max_per_source());
            for (time, entry) in store.read(&range, settings.equal_times) {
                let LogEntry::Envelope(envelope) = &*entry else { continue };
                let time = second_of(time);
                if time > from
                    && time <= to
                    && let Some(value) = selector.value_in(envelope)
                {
                    all.entry(labels(envelope)).or_default().push(Sample { time, value });
                }
            }
        }
    });
    all.into_iter().map(|(labels, samples)| Series { labels, samples }).collect()
}

fn labels(envelope: &Envelope) -> BTreeMap<String, String> {
    let mut labels = envelope.tags.clone();
    labels.insert("source_id".to_owned(), envelope.source_id.clone());
    if !envelope.instance_id.is_empty() {
        labels.insert("instance_id".to_owned(), envelope.instance_id.clone());
    }
    labels
}

/// A selector such as `cpu{source_id="…",instance_id="0"}[5m]`.
struct Selector {
    metric: String,
    sources: Vec<String>,
    labels: Vec<(String, String)>,
    /// In nanoseconds.
    range: Option<i64>,
}

impl Selector {
    fn parse(query: &str) -> Result<Self, String> {
        let unexpected = |at: usize| format!("parse error at char {at}: only selectors are understood here");
        let is_name = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
        let query = query.trim();
        let end = query.find(|character| !is_name(character)).unwrap_or(query.len());
        let mut selector =
            Selector { metric: query[..end].to_owned(), sources: Vec::new(), labels: Vec::new(), range: None };
        let mut rest = query[end..].trim_start();
        let at = |rest: &str| query.len() - rest.len() + 1;
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside.trim_start();
            while !rest.starts_with('}') {
                rest = selector.parse_matcher(rest).ok_or_else(|| {
                    format!("parse error at char {}: unexpected end of input inside braces", at(rest))
                })?;
            }
            rest = rest[1..].trim_start();
        }
        if let Some(duration) = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            selector.range = Some(parse_duration(duration).ok_or_else(|| unexpected(at(rest)))?);
            rest = "";
        }
        if rest.is_empty() && !query.is_empty() { Ok(selector) } else { Err(unexpected(at(rest))) }
    }

    /// Parses a matcher and the comma after it. Returns what follows.
    fn parse_matcher<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let (name, rest) = text.split_once('=')?;
        // The name has the rest of another operator.
        if name.trim().ends_with('!') {
            return None;
        }
        let (is_pattern, rest) = rest.strip_prefix('~').map_or((false, rest), |rest| (true, rest));
        let rest = rest.trim_start();
        let quote = rest.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
        let (value, rest) = rest[1..].split_once(quote)?;
        match name.trim() {
            "source_id" if is_pattern => self.sources.extend(value.split('|').map(str::to_owned)),
            "source_id" => self.sources.push(value.to_owned()),
            "__name__" => value.clone_into(&mut self.metric),
            name => self.labels.push((name.to_owned(), value.to_owned())),
        }
        let rest = rest.trim_start();
        rest.strip_prefix(',').map(str::trim_start).or_else(|| rest.starts_with('}').then_some(rest))
    }

    fn value_in(&self, envelope: &Envelope) -> Option<f64> {
        let tag = |name: &str| envelope.tags.get(name);
        if !self.labels.iter().all(|(name, value)| tag(name) == Some(value)) {
            return None;
        }
        match &envelope.body {
            Body::Counter { name, total, .. } => (sanitized(name) == self.metric).then_some(*total as f64),
            Body::Timer { name, start, stop } => {
                (sanitized(name) == self.metric).then_some(stop.saturating_sub(*start) as f64)
            }
            Body::Gauge(values) => {
                values.iter().find(|(name, _)| sanitized(name) == self.metric).map(|(_, value)| value.value)
            }
            Body::Log { .. } | Body::Event { .. } => None,
        }
    }
}

/// Returns a name as PromQL has it.
fn sanitized(name: &str) -> String {
    name.char_indices()
        .map(|(at, character)| match character {
            '0'..='9' if at > 0 => character,
            'A'..='Z' | 'a'..='z' => character,
            _ => '_',
        })
        .collect()
}

/// Parses decimal seconds or RFC 3339, to nanoseconds.
fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * SECOND as f64) as i64);
    }
    let time = text.parse::<Timestamp>().ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    time.ok_or_else(|| format!("cannot parse {text:?} to a valid Unix or RFC3339 timestamp"))
}

/// Parses seconds or a duration, to nanoseconds.
fn parse_step(text: &str) -> Result<i64, String> {
    let seconds = text.parse::<f64>().ok().map(|seconds| (seconds * SECOND as f64) as i64);
    seconds.or_else(|| parse_duration(text)).ok_or_else(|| format!("cannot parse {text:?} to a valid step"))
}

/// Parses a duration such as `5m`, to nanoseconds.
fn parse_duration(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit())?);
    let unit = match unit {
        "ms" => SECOND / 1000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        "d" => 24 * 3600 * SECOND,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

fn second_of(time: i64) -> i64 {
    time - time.rem_euclid(SECOND)
}

/// Returns the current time in nanoseconds.
fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

fn error(status: u16, error_type: &str, message: &str) -> Response {
    let message = serde_json::Value::from(message);
    let body = format!("{{\"status\":\"error\",\"errorType\":\"{error_type}\",\"error\":{message}}}\n");
    Response::with_body(status, "application/json", body)
}
