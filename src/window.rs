//! [`Window`]: which envelopes of a source to read from Log Cache.

/// From when [`Consumer::read`](crate::Consumer::read) returns envelopes, how many, and in which order.
///
/// Everything that is not set is not restricted: [`Window::all`] is all that Log Cache holds of the source, oldest first.
///
/// ```
/// use loggregator_consumer::Window;
///
/// // The 100 newest.
/// let newest = Window::all().newest_first().limit(100);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Window {
    pub(crate) start: Option<i64>,
    pub(crate) end: Option<i64>,
    pub(crate) limit: Option<usize>,
    pub(crate) newest_first: bool,
    pub(crate) name_filter: Option<String>,
}

impl Window {
    /// Returns the window of everything.
    pub fn all() -> Self {
        Window::default()
    }

    /// Sets the first time, which is included, in nanoseconds since the Unix epoch.
    pub fn start(mut self, time: i64) -> Self {
        self.start = Some(time);
        self
    }

    /// Sets the end, the first time that is not included any more, in nanoseconds since the Unix epoch. Default: what
    /// Log Cache calls now, when it gets the last request.
    pub fn end(mut self, time: i64) -> Self {
        self.end = Some(time);
        self
    }

    /// Sets the maximum number of envelopes.
    pub fn limit(mut self, envelopes: usize) -> Self {
        self.limit = Some(envelopes);
        self
    }

    /// Returns the newest envelope first. Default: the oldest first.
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// Returns only counters, gauges and timers whose name matches a regular expression in [Go's
    /// syntax](https://pkg.go.dev/regexp/syntax), of a gauge that of any of its values. Logs and events have no names, so
    /// they are left out. Log Cache applies it; Korifi's rejects it.
    pub fn name_filter(mut self, pattern: impl Into<String>) -> Self {
        self.name_filter = Some(pattern.into());
        self
    }
}
