//! [`EnvelopeFilter`]: which envelopes a client gets.

use std::collections::BTreeSet;

use super::log_entry::LogEntry;
use super::request::{Request, RequestKind};
use crate::envelope::{Body, Envelope, EnvelopeType};

/// The envelopes that a server sends to one client, of those of its sources.
#[derive(Default)]
pub(crate) enum EnvelopeFilter {
    #[default]
    All,
    /// Doppler's `filter-type=logs`.
    Logs,
    /// Doppler's `filter-type=metrics`: what is not a log.
    Metrics,
    /// The stream of an app, which has only what names the app in version 1: logs, requests and container metrics.
    App,
    /// What a query of the RLP gateway selects.
    Selectors { types: Vec<EnvelopeType>, counter_names: BTreeSet<String>, gauge_names: Vec<String> },
}

impl EnvelopeFilter {
    pub(crate) fn of(request: &Request) -> Self {
        let values = |name: &str| request.query_values(name);
        match request.kind {
            RequestKind::Firehose => match values("filter-type").first().map(String::as_str) {
                Some("logs") => EnvelopeFilter::Logs,
                Some("metrics") => EnvelopeFilter::Metrics,
                _ => EnvelopeFilter::All,
            },
            RequestKind::Gateway => {
                let has = |name: &str| !values(name).is_empty();
                let types = [
                    (EnvelopeType::Log, has("log")),
                    (EnvelopeType::Counter, has("counter") || has("counter.name")),
                    (EnvelopeType::Gauge, has("gauge") || has("gauge.name")),
                    (EnvelopeType::Timer, has("timer")),
                    (EnvelopeType::Event, has("event")),
                ];
                let types = types.into_iter().filter(|(_, is_selected)| *is_selected).map(|(selected, _)| selected);
                EnvelopeFilter::Selectors {
                    types: types.collect(),
                    counter_names: values("counter.name").into_iter().collect(),
                    gauge_names: values("gauge.name"),
                }
            }
            _ => EnvelopeFilter::App,
        }
    }

    /// Returns true if a client gets an entry.
    pub(crate) fn admits(&self, entry: &LogEntry) -> bool {
        let LogEntry::Envelope(envelope) = entry else {
            return match self {
                EnvelopeFilter::Metrics => false,
                EnvelopeFilter::Selectors { types, .. } => types.contains(&EnvelopeType::Log),
                EnvelopeFilter::All | EnvelopeFilter::Logs | EnvelopeFilter::App => true,
            };
        };
        match self {
            EnvelopeFilter::All => true,
            EnvelopeFilter::Logs => envelope.envelope_type() == EnvelopeType::Log,
            EnvelopeFilter::Metrics => envelope.envelope_type() != EnvelopeType::Log,
            EnvelopeFilter::App => match &envelope.body {
                Body::Gauge(_) => is_container_metric(envelope),
                Body::Counter { .. } => false,
                _ => true,
            },
            EnvelopeFilter::Selectors { types, counter_names, gauge_names } => {
                types.contains(&envelope.envelope_type())
                    && match &envelope.body {
                        Body::Counter { name, .. } => counter_names.is_empty() || counter_names.contains(name),
                        Body::Gauge(values) => {
                            gauge_names.is_empty()
                                || gauge_names.iter().any(|list| list.split(',').all(|name| values.contains_key(name)))
                        }
                        _ => true,
                    }
            }
        }
    }
}

/// The values of a container metric of version 1.
const CONTAINER_METRICS: [&str; 5] = ["cpu", "memory", "disk", "memory_quota", "disk_quota"];

/// Returns true if a gauge becomes a container metric of version 1.
pub(crate) fn is_container_metric(envelope: &Envelope) -> bool {
    let Body::Gauge(values) = &envelope.body else { return false };
    CONTAINER_METRICS.into_iter().all(|name| values.contains_key(name))
}
