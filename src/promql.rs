//! [`QueryResult`]: the result of a PromQL query, typed.

use std::collections::BTreeMap;

/// The result of a PromQL query: see [`Consumer::query`](crate::Consumer::query) and
/// [`query_range`](crate::Consumer::query_range).
///
/// With the feature `serde`, it has the JSON of Log Cache, which is that of Prometheus. Empty `warnings` are left out,
/// and times are cut to milliseconds. Each type has its part of that JSON:
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use loggregator_consumer::{QueryResult, QueryValue};
///
/// let json = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1.5,"2"]}]}}"#;
/// let result: QueryResult = serde_json::from_str(json)?;
/// assert_eq!(serde_json::to_string(&result)?, json);
/// let QueryValue::Vector(samples) = result.value else { panic!() };
/// assert_eq!(serde_json::to_string(&samples[0])?, r#"{"metric":{"a":"b"},"value":[1.5,"2"]}"#);
/// # }
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueryResult {
    /// What the query evaluates to.
    pub value: QueryValue,
    /// What the server warns of. Log Cache sends none so far; the form of the response has them.
    pub warnings: Vec<String>,
}

/// The value of a PromQL query. Its type follows from the query: see [Prometheus'
/// docs](https://prometheus.io/docs/prometheus/latest/querying/basics/#expression-language-data-types).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum QueryValue {
    /// One number: an instant query for an expression of numbers, or for `scalar(…)`.
    Scalar(Sample),
    /// One sample of each series: an instant query for a selector such as `cpu{source_id="…"}`.
    Vector(Vec<VectorSample>),
    /// Samples over time of each series: every range query, and an instant query for a selector with a range such as
    /// `cpu{source_id="…"}[5m]`.
    Matrix(Vec<Series>),
}

/// A number at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// The time, in nanoseconds since the Unix epoch. PromQL has milliseconds, and Log Cache cuts the times of what it
    /// holds to seconds.
    pub time: i64,
    /// The value, in the unit of the metric. It may be infinite or not a number.
    pub value: f64,
}

/// One series of a [vector](QueryValue::Vector), with its sample.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct VectorSample {
    /// What identifies the series: the tags of its envelopes, `source_id` and `instance_id`.
    pub labels: BTreeMap<String, String>,
    /// Its sample.
    pub sample: Sample,
}

/// One series of a [matrix](QueryValue::Matrix).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Series {
    /// What identifies the series: the tags of its envelopes, `source_id` and `instance_id`.
    pub labels: BTreeMap<String, String>,
    /// Its samples, oldest first.
    pub samples: Vec<Sample>,
}
