//! Generation 3, the RLP gateway of 2018 to today: its path, the events of its stream and its error responses.
//!
//! Source: the RLP gateway of loggregator-release. A stream is one endless HTTP response of server-sent events: batches
//! of envelopes, a heartbeat every 15 s, and a `closing` event, by default after 14 minutes.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use crate::ending::Ending;
use crate::envelope::EnvelopeType;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::dial::stream::TlsFailure;
use crate::net::http::Body;
use crate::secrets::hide;
use crate::selection::Selection;
use crate::server::app_guid::{escaped, warn_of_no_guid};
use crate::server::call::Call;
use crate::server::source::{Decoded, LiveSource};
use crate::wire::format::{Decoder, Format};
use crate::wire::frames::{Frames, Progress};
use crate::wire::sse::{Event, Parser};

/// The idle timeout if the caller sets none: four heartbeats.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum number of bytes of one read.
const READ_SIZE: usize = 64 * 1024;

/// An event may be this many times larger than a message, because it contains up to 100 messages, in base64.
const EVENT_FACTOR: usize = 4;

/// Opens the stream of an app's logs.
pub(crate) fn tail(call: &Call<'_>) -> Result<Box<dyn LiveSource>> {
    let stream = open(call, &format!("log&source_id={}", call.guid()?), &Format::Gateway.decoder())?;
    // For an app's name, the gateway opens a stream to an admin, and nothing ever arrives.
    warn_of_no_guid("a tail from the RLP gateway may stay silent", call.app_guid);
    Ok(Box::new(stream))
}

/// Opens the stream of a selection. All readers with the same shard id share it.
///
/// If the gateway rejects some of several sources, this fails, or `finds_rejected`: then they are left out, and named by
/// the first items. To find them takes requests, one after the other: two for each halving of the sources around one of
/// them, and twice their number if all are rejected.
pub(crate) fn stream<T: 'static>(
    call: &Call<'_>,
    selection: &Selection,
    decoder: Decoder<T>,
    finds_rejected: bool,
) -> Result<Box<dyn LiveSource<T>>> {
    let mut rejected = Vec::new();
    let selected = match selection.sources() {
        Some(sources) if finds_rejected => {
            let allowed = allowed(call, sources, &mut rejected)?;
            if allowed.is_empty() && !rejected.is_empty() {
                return Err(rejected.swap_remove(0));
            }
            &selection.clone().with_sources(allowed)
        }
        _ => selection,
    };
    let stream = open(call, &query(selected), &decoder);
    let stream = stream.map(|stream| EventStream { rejected: rejected.into(), ..stream });
    stream.map(|stream| Box::new(stream) as Box<dyn LiveSource<T>>).map_err(|error| {
        match (error.kind(), selection.sources()) {
            (ErrorKind::Unauthorized, None) => {
                error.with_hint(" (to read all sources, the token needs the scope doppler.firehose or logs.admin)")
            }
            _ => error,
        }
    })
}

/// The gateway rejects a request as a whole, without saying for which of its sources. So this asks for one half of them,
/// and then for the other, without a shard id, so that it takes nothing from the other readers of the shard. Returns the
/// sources that are allowed, and adds an error for each other one.
fn allowed(call: &Call<'_>, sources: &[String], rejected: &mut Vec<Error>) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let (one, other) = sources.split_at(sources.len() / 2);
    for half in [one, other].into_iter().filter(|half| !half.is_empty()) {
        let query = query(&Selection::all().types([EnvelopeType::Log]).with_sources(half.to_vec()));
        match (open(call, &query, &Format::Gateway.decoder::<LogMessage>()), half) {
            (Ok(_), _) => all.extend_from_slice(half),
            (Err(error), [source]) if is_rejection(&error) => rejected.push(error.hiding(call.token).of_app(source)),
            (Err(error), _) if is_rejection(&error) => all.extend(allowed(call, half, rejected)?),
            (Err(error), _) => return Err(error),
        }
    }
    Ok(all)
}

/// Returns true if the gateway rejects a token, or a source.
pub(crate) fn is_rejection(error: &Error) -> bool {
    // Not the error of a UAA.
    error.kind() == ErrorKind::Unauthorized && error.status() == Some(404)
}

/// Returns the query for a selection. What the gateway cannot select is left out, and selected on this side.
fn query(selection: &Selection) -> String {
    let mut parameters = Vec::new();
    for (envelope_type, name) in TYPES.into_iter().filter(|(envelope_type, _)| selection.has(*envelope_type)) {
        let names = match envelope_type {
            EnvelopeType::Counter => Some(selection.counters()).filter(|names| !names.is_empty()),
            // A gauge that has several of the names would be sent once for each. A comma would split the name.
            EnvelopeType::Gauge => Some(selection.gauges())
                .filter(|names| names.len() == 1 && !names.iter().any(|name| name.contains(','))),
            _ => None,
        };
        match names {
            Some(names) => parameters.extend(names.iter().map(|value| format!("{name}.name={}", escaped(value)))),
            None => parameters.push(name.to_owned()),
        }
    }
    parameters.extend(selection.sources().into_iter().flatten().map(|source| format!("source_id={}", escaped(source))));
    parameters.extend(selection.shard_id().map(|shard| format!("shard_id={}", escaped(shard))));
    parameters.join("&")
}

/// The types of envelopes, and the parameter that selects each.
const TYPES: [(EnvelopeType, &str); 5] = [
    (EnvelopeType::Log, "log"),
    (EnvelopeType::Counter, "counter"),
    (EnvelopeType::Gauge, "gauge"),
    (EnvelopeType::Timer, "timer"),
    (EnvelopeType::Event, "event"),
];

fn open<T>(call: &Call<'_>, query: &str, decoder: &Decoder<T>) -> Result<EventStream<T>> {
    let path = format!("/v2/read?{query}");
    let response = call.get(&path)?;
    if response.status != 200 {
        return Err(advise(response.into_error()));
    }
    let content_type = response.content_type.as_deref().unwrap_or_default();
    if !content_type.starts_with("text/event-stream") {
        let path = call.server.path(&path);
        let text = format!("the request for {path}: the response is not an event stream but `{content_type}`");
        return Err(Error::new(ErrorKind::BadResponse, text));
    }
    Ok(EventStream::new(response.body, Arc::clone(decoder), call.settings().max_message_size, call.token))
}

/// Adds a hint to an error response. The gateway answers 404 `not_found` to every token that it rejects.
fn advise(error: Error) -> Error {
    if error.is_from_router() {
        return error;
    }
    match (error.status(), error.body()) {
        (Some(404), Some(body)) if body.contains("not_found") => error.with_kind(ErrorKind::Unauthorized).with_hint(
            " (the RLP gateway answers 404 to every token that it rejects. Is the token expired, or may its user not \
             see this app?)",
        ),
        (Some(404), _) => error.with_hint(
            " (there is no such path: is this the address of an RLP gateway, such as \
                 https://log-stream.example.com?)",
        ),
        _ => error,
    }
}

/// A stream of server-sent events.
struct EventStream<T> {
    body: Body,
    parser: Parser,
    buffer: Box<[u8]>,
    frames: Frames,
    decoder: Decoder<T>,
    /// What became of the sources that the gateway rejects.
    rejected: VecDeque<Error>,
    max_size: usize,
    /// Hidden in the text of a `closing` event, which may repeat it.
    token: String,
}

impl<T> EventStream<T> {
    fn new(body: Body, decoder: Decoder<T>, max_size: usize, token: &str) -> Self {
        EventStream {
            body,
            parser: Parser::new(max_size.saturating_mul(EVENT_FACTOR)),
            buffer: vec![0; READ_SIZE].into(),
            frames: Frames::default(),
            decoder,
            rejected: VecDeque::new(),
            max_size,
            token: token.to_owned(),
        }
    }
}

impl<T> LiveSource<T> for EventStream<T> {
    /// Waits for the next bytes and parses the events in them.
    fn receive(&mut self) -> Progress {
        if !self.rejected.is_empty() {
            return Progress::More;
        }
        let read = match self.body.read(&mut self.buffer) {
            Ok(0) => return Progress::Ended(Ending::Eof),
            Ok(n) => n,
            Err(error) if TlsFailure::is(&error) => return Progress::TlsFailed(Ending::of_read(&error)),
            Err(error) => return Progress::Ended(Ending::of_read(&error)),
        };
        let mut closing = None;
        let parsed = self.parser.push(&self.buffer[..read], |event| match event {
            Event { name: "" | "message", data } => self.frames.push(data),
            // The event's text is the gateway's reason.
            Event { name: "closing", data } => closing = Some(hide(&String::from_utf8_lossy(data), &self.token)),
            // A heartbeat, or an unknown event: it has no data to read.
            _ => {}
        });
        match (parsed, closing) {
            (_, Some(reason)) => Progress::Ended(Ending::Closing { reason }),
            (Err(_), None) => Progress::Ended(Ending::TooLarge { limit: self.max_size }),
            (Ok(()), None) => Progress::More,
        }
    }

    fn take(&mut self, recycled: &mut dyn FnMut() -> Frames) -> Option<Frames> {
        if self.frames.is_empty() {
            return None;
        }
        let mut next = recycled();
        next.clear();
        Some(std::mem::replace(&mut self.frames, next))
    }

    fn take_decoded(&mut self) -> Option<Decoded<T>> {
        let messages: VecDeque<_> = self.rejected.drain(..).map(Err).collect();
        (!messages.is_empty()).then_some(Decoded { messages, complete_until: None })
    }

    fn decoder(&self) -> Option<Decoder<T>> {
        Some(Arc::clone(&self.decoder))
    }
}
