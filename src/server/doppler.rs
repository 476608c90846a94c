//! Generation 2, Doppler's protocol of 2014 to today: its paths and its error responses.
//!
//! Source: the Traffic Controller of loggregator-release. Version 107, of December 2022, removed `/recentlogs`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::envelope::{Envelope, EnvelopeType};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{InstanceMetrics, Latest};
use crate::selection::Selection;
use crate::server::app_guid::escaped;
use crate::server::call::Call;
use crate::server::multipart::Parts;
use crate::server::source::{LiveSource, RecentSource, Skipped, explain_timeout};
use crate::server::websocket::WebSocketSource;
use crate::wire::format::{Decoder, Format};

/// The idle timeout if the caller sets none. The server pings four times as often.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// What Doppler does not [carry](carries).
pub(crate) const LACKS: &str =
    "Doppler has no events, and of single sources only logs, timers and the metrics of containers";

/// The names of the metrics of a container.
const CONTAINER_METRICS: [&str; 5] = ["cpu", "memory", "disk", "memory_quota", "disk_quota"];

const NO_PATH: &str = " (Is this the address of Doppler, such as wss://doppler.example.com?)";

/// Returns true if Doppler has something of what is selected. Otherwise its stream would be silent for ever.
pub(crate) fn carries(selection: &Selection) -> bool {
    use EnvelopeType::{Counter, Gauge, Log, Timer};
    let has = |types: &[EnvelopeType]| types.iter().any(|it| selection.has(*it));
    let names = selection.gauges();
    match selection.sources() {
        None => has(&[Log, Counter, Gauge, Timer]),
        // Counters and other gauges do not name an app in version 1.
        Some(_) => {
            let has_container_metrics = names.is_empty() || CONTAINER_METRICS.iter().any(|name| names.contains(*name));
            has(&[Log, Timer]) || has(&[Gauge]) && has_container_metrics
        }
    }
}

/// Opens the websocket on which an app's envelopes arrive.
pub(crate) fn tail<T: 'static>(call: &Call<'_>, decoder: Decoder<T>) -> Result<Box<dyn LiveSource<T>>> {
    open(call, &format!("/apps/{}/stream", call.guid()?), decoder).map_err(|error| advise(error, NO_PATH))
}

/// Opens the websocket on which the envelopes of all sources arrive. All readers with this shard id share them.
pub(crate) fn firehose<T: 'static>(
    call: &Call<'_>,
    selection: &Selection,
    shard_id: &str,
    decoder: Decoder<T>,
) -> Result<Box<dyn LiveSource<T>>> {
    let metrics = [EnvelopeType::Counter, EnvelopeType::Gauge, EnvelopeType::Timer];
    let filter = match (selection.has(EnvelopeType::Log), metrics.into_iter().any(|metric| selection.has(metric))) {
        (true, true) => "",
        (true, false) => "?filter-type=logs",
        (false, _) => "?filter-type=metrics",
    };
    open(call, &format!("/firehose/{}{filter}", escaped(shard_id)), decoder).map_err(|error| match error.status() {
        Some(401) => error.with_hint(
            " (the firehose needs a valid token with the scope doppler.firehose; one with logs.admin is enough for the RLP \
             gateway: see Builder::tail_via)",
        ),
        Some(404) if !error.is_from_router() => error.with_hint(NO_PATH),
        _ => error,
    })
}

fn open<T: 'static>(call: &Call<'_>, path: &str, decoder: Decoder<T>) -> Result<Box<dyn LiveSource<T>>> {
    let websocket = call.websocket(path)?;
    Ok(Box::new(WebSocketSource { websocket, decoder, default_idle_timeout: Some(IDLE_TIMEOUT) }))
}

/// Requests an app's recent messages. Only foundations without Log Cache have them here.
pub(crate) fn recent(call: &Call<'_>) -> Result<Box<dyn RecentSource>> {
    let response = call.get(&format!("/apps/{}/recentlogs", call.guid()?))?;
    match response.status {
        200 => Ok(Box::new(Parts::new(call, response, Format::Doppler)?)),
        _ => Err(advise(
            response.into_error(),
            " (Doppler has no recent messages since the end of 2022, but Log Cache has: see Builder::log_cache and \
             Consumer::discover)",
        )),
    }
}

/// Requests the latest metrics of each instance of an app. Only foundations without Log Cache have them here. Doppler
/// forgets an instance 2 minutes after its last metrics (`ContainerMetricTTLSeconds`).
pub(crate) fn container_metrics(call: &Call<'_>) -> Result<Vec<InstanceMetrics>> {
    let response = call.get(&format!("/apps/{}/containermetrics", call.guid()?))?;
    if response.status != 200 {
        return Err(advise(
            response.into_error(),
            " (Doppler has no metrics of containers since 2019, but Log Cache has: see Builder::log_cache and \
             Consumer::discover)",
        ));
    }
    let mut parts = Parts::new(call, response, Format::Doppler)?;
    let (mut latest, mut size, mut skipped) = (Latest::default(), 0_usize, Skipped::default());
    let mut items: VecDeque<Result<Envelope>> = VecDeque::new();
    while parts.read_items(&mut items).map_err(|error| explain_timeout(error, call.timeouts))? {
        call.cancel().check()?;
        if items.is_empty() {
            skipped.add(None)?;
        }
        for item in items.drain(..) {
            match item {
                Ok(envelope) => {
                    size = size.saturating_add(envelope.size());
                    latest.add(envelope);
                }
                Err(error) => skipped.add(Some(error))?,
            }
        }
        let max_size = call.settings().max_recent_size;
        if size > max_size {
            let text = format!("the metrics are larger than {max_size} bytes: see Builder::max_recent_size");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
    }
    Ok(latest.into_metrics())
}

/// The body of a 404 for an app that does not exist or that the token's user may not see, on servers of June 2016 to
/// spring 2017. On later ones it is empty.
pub(super) const NO_APP_BODY: &str = "Not Found";

/// The hint for it.
pub(super) const NO_APP: &str = " (there is no such app, or the token's user may not see it)";

/// Adds a hint to an error response. If the path does not exist, the body of a 404 is another message than
/// [`NO_APP_BODY`].
fn advise(error: Error, no_path: &str) -> Error {
    if error.is_from_router() {
        return error;
    }
    match (error.status(), error.body().map(str::trim)) {
        (Some(401), Some("")) => error.with_hint(
            " (Doppler gives no reason when it rejects a token: is the token expired? `cf oauth-token` prints a new one)",
        ),
        (Some(404), Some("" | NO_APP_BODY)) => error.with_hint(NO_APP),
        (Some(404), _) => error.with_hint(no_path),
        _ => error,
    }
}
