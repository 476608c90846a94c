//! [`SourceMeta`] and [`LogCacheInfo`]: what Log Cache tells of its sources and of itself.

use std::time::Duration;

/// What Log Cache holds of one source: see [`Consumer::meta`](crate::Consumer::meta).
///
/// With the feature `serde`, it has the JSON of Log Cache, where 64-bit numbers are texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceMeta {
    /// The number of envelopes that it holds, of all types.
    pub count: u64,
    /// The number of envelopes that it has dropped to make room.
    pub expired: u64,
    /// The time of the oldest envelope that it holds, in nanoseconds since the Unix epoch.
    pub oldest_timestamp: i64,
    /// The time of the newest envelope that it has got, in nanoseconds since the Unix epoch.
    pub newest_timestamp: i64,
}

/// What Log Cache tells of itself: see [`Consumer::info`](crate::Consumer::info).
///
/// With the feature `serde`, it has the JSON of Log Cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogCacheInfo {
    /// The version, such as `3.2.12`.
    pub version: String,
    /// How long the machine that answered has been up, cut to seconds. `None` before version 2.2 (February 2019). Korifi
    /// always says 0.
    pub vm_uptime: Option<Duration>,
}
