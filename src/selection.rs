//! [`Selection`]: which envelopes to read.

use std::collections::BTreeSet;

use crate::envelope::{Body, Envelope, EnvelopeType};

/// Which envelopes to read: of which sources, of which types, and with which names.
///
/// Everything that is not set is not restricted. What a server can select is asked of it, and the rest is left out on
/// this side. So nothing else is returned on any server, but not every server [has](crate::Consumer::stream) all that is
/// selected.
///
/// ```
/// use loggregator_consumer::{EnvelopeType, Selection};
///
/// // The logs and the metrics of one app, and what the router measured of its requests.
/// let app = Selection::app("11111111-1111-1111-1111-111111111111");
///
/// // The requests that all routers have answered.
/// let requests = Selection::all().types([EnvelopeType::Counter]).counter_names(["responses"]);
///
/// // A part of everything: all processes that use the same shard id share the envelopes between them.
/// let part = Selection::all().shard("my-nozzle");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Selection {
    /// `None`: all sources.
    sources: Option<Vec<String>>,
    /// Empty: all types.
    types: BTreeSet<EnvelopeType>,
    /// Empty: all names.
    counter_names: BTreeSet<String>,
    gauge_names: BTreeSet<String>,
    shard: Option<String>,
}

impl Selection {
    /// Selects all sources: the *firehose*. Needs a token with the scope `doppler.firehose`.
    /// The RLP gateway also takes one with `logs.admin`: see [`Builder::tail_via`](crate::Builder::tail_via).
    pub fn all() -> Self {
        Selection::default()
    }

    /// Selects one app by its GUID, or another source by its id, such as `gorouter`. What is not an app, only an admin
    /// may read.
    pub fn app(guid: impl Into<String>) -> Self {
        Selection::apps([guid])
    }

    /// Selects several apps or other sources.
    pub fn apps(guids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut sources = Vec::new();
        for guid in guids.into_iter().map(Into::into) {
            // A server would send everything twice.
            if !sources.contains(&guid) {
                sources.push(guid);
            }
        }
        Selection { sources: Some(sources), ..Selection::default() }
    }

    /// Selects only these types. Default: all.
    pub fn types(mut self, types: impl IntoIterator<Item = EnvelopeType>) -> Self {
        self.types = types.into_iter().collect();
        self
    }

    /// Of the counters, selects only those with one of these names. Other types are not affected. Default: all.
    pub fn counter_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.counter_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Of the values of gauges, selects only those with one of these names. A gauge without any of them is left out. Other
    /// types are not affected. Default: all.
    pub fn gauge_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.gauge_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Shares the envelopes with all other readers that use the same id: each envelope goes to one of them. This is how a
    /// reader of the firehose scales past one process. Default: this reader gets everything.
    ///
    /// The servers share evenly at random, and not by source. When a reader comes or goes, the others share its part. All
    /// of them should have the same selection.
    pub fn shard(mut self, id: impl Into<String>) -> Self {
        self.shard = Some(id.into());
        self
    }

    /// Returns the sources. `None`: all.
    pub(crate) fn sources(&self) -> Option<&[String]> {
        self.sources.as_deref()
    }

    /// Replaces the sources by others, which must be different ones.
    pub(crate) fn with_sources(self, sources: Vec<String>) -> Self {
        Selection { sources: Some(sources), ..self }
    }

    pub(crate) fn shard_id(&self) -> Option<&str> {
        self.shard.as_deref()
    }

    pub(crate) fn counters(&self) -> &BTreeSet<String> {
        &self.counter_names
    }

    pub(crate) fn gauges(&self) -> &BTreeSet<String> {
        &self.gauge_names
    }

    /// Returns true if envelopes of this type are selected.
    pub(crate) fn has(&self, envelope_type: EnvelopeType) -> bool {
        self.types.is_empty() || self.types.contains(&envelope_type)
    }

    /// Returns true if an envelope of a selected source is selected itself. Removes the values of a gauge that are not.
    pub(crate) fn admits(&self, envelope: &mut Envelope) -> bool {
        if !self.has(envelope.envelope_type()) {
            return false;
        }
        let is_selected = |names: &BTreeSet<String>, name: &String| names.is_empty() || names.contains(name);
        match &mut envelope.body {
            Body::Counter { name, .. } => is_selected(&self.counter_names, name),
            Body::Gauge(values) => {
                values.retain(|name, _| is_selected(&self.gauge_names, name));
                !values.is_empty() || self.gauge_names.is_empty()
            }
            Body::Log { .. } | Body::Timer { .. } | Body::Event { .. } => true,
        }
    }
}
