//! Decodes the results of PromQL queries, whose JSON is that of Prometheus' HTTP API.
//!
//! Source: `src/pkg/marshaler/marshaler.go` and `httpErrorHandler` of log-cache-release 702107c (v3.2.12), and
//! Prometheus' docs, "HTTP API". A sample is an array of a time, in decimal seconds, and of a value, as text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, Error as _, Unexpected};
use serde_json::value::RawValue;

use crate::promql::{QueryResult, QueryValue, Sample, Series, VectorSample};

/// An error that a server reports in the form of Prometheus.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure {
    /// Such as `bad_data`, `execution`, `timeout` or `internal`.
    pub(crate) error_type: String,
    pub(crate) message: String,
}

/// Decodes a response with status 200. The inner error is one that the server reports.
pub(crate) fn result(json: &[u8]) -> serde_json::Result<Result<QueryResult, Failure>> {
    let response: Response = serde_json::from_slice(json)?;
    if let Some(failure) = response.failure() {
        return Ok(Err(failure));
    }
    let Data { result_type, result } = response.data.ok_or_else(|| serde_json::Error::missing_field("data"))?;
    let result = result.map_or("null", RawValue::get);
    let value = match &*result_type {
        "scalar" => QueryValue::Scalar(serde_json::from_str::<Point>(result)?.0),
        "vector" => QueryValue::Vector(list(result, OneSample::into_vector_sample)?),
        "matrix" => QueryValue::Matrix(list(result, ManySamples::into_series)?),
        // Prometheus has also `string`, which Log Cache never returns.
        _ => return Err(serde_json::Error::custom("the type of the result is neither scalar, vector nor matrix")),
    };
    Ok(Ok(QueryResult { value, warnings: response.warnings.unwrap_or_default() }))
}

/// Returns the error in the body of an error response. `None`: it has another form.
pub(crate) fn failure(body: &str) -> Option<Failure> {
    serde_json::from_str::<Response>(body).ok()?.failure()
}

#[derive(serde::Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "errorType")]
    error_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
    warnings: Option<Vec<String>>,
}

#[derive(serde::Deserialize)]
struct Data<'a> {
    #[serde(borrow, default, rename = "resultType")]
    result_type: Cow<'a, str>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

impl Response<'_> {
    fn failure(&self) -> Option<Failure> {
        let text = |text: &Option<Cow<str>>| text.as_deref().unwrap_or_default().to_owned();
        let failure = || Failure { error_type: text(&self.error_type), message: text(&self.error) };
        (self.status.as_deref() == Some("error")).then(failure)
    }
}

/// A series with one sample. Prometheus may send a histogram in place of it.
#[derive(serde::Deserialize)]
struct OneSample {
    metric: Option<BTreeMap<String, String>>,
    value: Option<Point>,
}

#[derive(serde::Deserialize)]
struct ManySamples {
    metric: Option<BTreeMap<String, String>>,
    /// Log Cache writes null for a series without samples.
    values: Option<Vec<Point>>,
}

impl OneSample {
    fn into_vector_sample(self) -> Option<VectorSample> {
        let sample = self.value?.0;
        Some(VectorSample { labels: self.metric.unwrap_or_default(), sample })
    }
}

impl ManySamples {
    fn into_series(self) -> Option<Series> {
        let samples = self.values.unwrap_or_default().into_iter().map(|point| point.0).collect();
        Some(Series { labels: self.metric.unwrap_or_default(), samples })
    }
}

fn list<'a, T: Deserialize<'a>, U>(json: &'a str, convert: impl Fn(T) -> Option<U>) -> serde_json::Result<Vec<U>> {
    let list: Option<Vec<T>> = serde_json::from_str(json)?;
    Ok(list.unwrap_or_default().into_iter().filter_map(convert).collect())
}

struct Point(Sample);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let (seconds, value) = <(f64, Cow<str>)>::deserialize(input)?;
        // Prometheus has milliseconds, which are not exact as decimal seconds in binary.
        let milliseconds = (seconds * 1000.0).round();
        // Not a number, or infinite, is out of range, too.
        let in_range = milliseconds.abs() <= (i64::MAX / 1_000_000) as f64;
        let time = if in_range { (milliseconds as i64).checked_mul(1_000_000) } else { None };
        let time = time.ok_or_else(|| D::Error::invalid_value(Unexpected::Float(seconds), &"a time in seconds"))?;
        let value = value.parse().map_err(|_| D::Error::invalid_value(Unexpected::Str(&value), &"a number as text"))?;
        Ok(Point(Sample { time, value }))
    }
}

/// Encodes a result as Log Cache does.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn encode(value: &QueryValue) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let point = |sample: &Sample| {
        let milliseconds = sample.time.div_euclid(1_000_000);
        let value = match sample.value {
            value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
            value => value.to_string(),
        };
        let (sign, milliseconds) = (if milliseconds < 0 { "-" } else { "" }, milliseconds.unsigned_abs());
        format!(r#"[{sign}{}.{:03},"{value}"]"#, milliseconds / 1000, milliseconds % 1000)
    };
    let metric = |labels: &BTreeMap<String, String>| {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{}:{}", text(name), text(value))).collect();
        format!(r#"{{"metric":{{{}}}"#, labels.join(","))
    };
    let (result_type, result) = match value {
        QueryValue::Scalar(sample) => ("scalar", point(sample)),
        QueryValue::Vector(samples) => {
            let one = |one: &VectorSample| format!(r#"{},"value":{}}}"#, metric(&one.labels), point(&one.sample));
            ("vector", format!("[{}]", samples.iter().map(one).collect::<Vec<_>>().join(",")))
        }
        QueryValue::Matrix(series) => {
            let one = |one: &Series| {
                let points: Vec<_> = one.samples.iter().map(point).collect();
                format!(r#"{},"values":[{}]}}"#, metric(&one.labels), points.join(","))
            };
            ("matrix", format!("[{}]", series.iter().map(one).collect::<Vec<_>>().join(",")))
        }
    };
    format!(r#"{{"status":"success","data":{{"resultType":"{result_type}","result":{result}}}}}"#)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::captures;

    fn value(json: &str) -> QueryValue {
        result(json.as_bytes()).unwrap().unwrap().value
    }

    fn data(result_type: &str, result: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"{result_type}","result":{result}}}}}"#)
    }

    #[test]
    fn a_captured_vector_has_its_labels_its_time_and_its_value() {
        let QueryValue::Vector(samples) = value(str::from_utf8(&captures::body("lc-promql-instant.http")).unwrap())
        else {
            panic!()
        };
        let [VectorSample { labels, sample }] = &*samples else { panic!("{samples:?}") };
        assert_eq!(*sample, Sample { time: 1_700_000_001_000_000_000, value: 174.5 });
        assert_eq!(labels.len(), 8);
        assert_eq!(labels["source_id"], "00000021-aaaa-bbbb-cccc-000000000021");
        assert_eq!(labels["custom"], "value");
    }

    #[test]
    fn a_captured_error_has_its_type() {
        let failure = failure(str::from_utf8(&captures::body("lc-promql-err.http")).unwrap()).unwrap();
        assert_eq!(failure.error_type, "internal");
        assert_eq!(failure.message, "parse error at char 2: unexpected end of input inside braces");
    }

    #[test]
    fn times_are_exact_to_the_millisecond() {
        for (json, time) in [
            ("1700000001.001", 1_700_000_001_001_000_000),
            ("1700000001", 1_700_000_001_000_000_000),
            ("0.999", 999_000_000),
            ("-1.5", -1_500_000_000),
            ("9223372036.854", 9_223_372_036_854_000_000),
        ] {
            let scalar = value(&data("scalar", &format!(r#"[{json},"1"]"#)));
            assert_eq!(scalar, QueryValue::Scalar(Sample { time, value: 1.0 }), "{json}");
        }
        for json in ["1e300", "-1e300", "9223372036.855", "-9223372036.855", "\"1\"", "null"] {
            assert!(result(data("scalar", &format!(r#"[{json},"1"]"#)).as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn values_may_be_infinite_or_not_a_number() {
        let of = |text: &str| match value(&data("scalar", &format!(r#"[0,"{text}"]"#))) {
            QueryValue::Scalar(sample) => sample.value,
            other => panic!("{other:?}"),
        };
        assert_eq!((of("+Inf"), of("-Inf"), of("-0.25")), (f64::INFINITY, f64::NEG_INFINITY, -0.25));
        assert!(of("NaN").is_nan());
    }

    #[test]
    fn what_is_empty_or_null_is_empty() {
        for json in ["[]", "null"] {
            assert_eq!(value(&data("vector", json)), QueryValue::Vector(Vec::new()));
            assert_eq!(value(&data("matrix", json)), QueryValue::Matrix(Vec::new()));
        }
        let empty = Series { labels: BTreeMap::new(), samples: Vec::new() };
        for json in [r#"[{"metric":{},"values":null}]"#, "[{}]", r#"[{"metric":null,"values":[]}]"#] {
            assert_eq!(value(&data("matrix", json)), QueryValue::Matrix(vec![empty.clone()]), "{json}");
        }
        // A histogram of a later server.
        assert_eq!(value(&data("vector", r#"[{"histogram":[0,{}]}]"#)), QueryValue::Vector(Vec::new()));
    }

    #[test]
    fn warnings_and_errors_in_a_success_are_told_apart() {
        let json = r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["a","b"],"infos":[]}"#;
        assert_eq!(result(json.as_bytes()).unwrap().unwrap().warnings, ["a", "b"]);
        let json = r#"{"status":"error","errorType":"timeout","error":"too slow","data":null}"#;
        let failure = Failure { error_type: "timeout".into(), message: "too slow".into() };
        assert_eq!(result(json.as_bytes()).unwrap(), Err(failure));
        assert_eq!(super::failure(r#"{"code":5,"message":"Not Found"}"#), None);
        assert_eq!(super::failure("404 page not found"), None);
    }

    prop_compose! {
        fn sample()(milliseconds in -9_223_372_036_854..9_223_372_036_854_i64, value: f64) -> Sample {
            Sample { time: milliseconds * 1_000_000, value }
        }
    }

    fn any_value() -> impl Strategy<Value = QueryValue> {
        let labels = || prop::collection::btree_map(".*", ".*", 0..4);
        let one = (labels(), sample()).prop_map(|(labels, sample)| VectorSample { labels, sample });
        let samples = prop::collection::vec(sample(), 0..4);
        let many = (labels(), samples).prop_map(|(labels, samples)| Series { labels, samples });
        prop_oneof![
            sample().prop_map(QueryValue::Scalar),
            prop::collection::vec(one, 0..4).prop_map(QueryValue::Vector),
            prop::collection::vec(many, 0..4).prop_map(QueryValue::Matrix),
        ]
    }

    proptest! {
        #[test]
        fn an_encoded_result_is_decoded(sent in any_value()) {
            // As text, because a value may be not a number.
            prop_assert_eq!(format!("{:?}", value(&encode(&sent))), format!("{sent:?}"));
        }

        #[test]
        fn a_damaged_result_is_read_as_its_json_says(
            sent in any_value(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut json = encode(&sent).into_bytes();
            for (at, byte) in damage {
                let at = at.index(json.len());
                json[at] = byte;
            }
            crate::fuzzing::promql(&json);
        }
    }

    #[test]
    fn anything_else_is_invalid() {
        for json in [
            "",
            "{}",
            "[]",
            r#"{"status":"success"}"#,
            &data("string", r#"[0,"x"]"#),
            &data("vector", "{}"),
            &data("vector", r#"[{"value":[0,"1",2]}]"#),
            &data("vector", r#"[{"value":[0]}]"#),
            &data("vector", r#"[{"value":[0,1]}]"#),
            &data("vector", r#"[{"value":[0,"one"]}]"#),
            &data("matrix", r#"[{"values":[0,"1"]}]"#),
            &data("scalar", "null"),
        ] {
            assert!(result(json.as_bytes()).is_err(), "{json}");
        }
    }
}
