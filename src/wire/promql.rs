//! Decodes the results of PromQL queries, whose JSON is that of Prometheus' HTTP API.
//!
//! Source: `src/pkg/marshaler/marshaler.go` and `httpErrorHandler` of log-cache-release 702107c (v3.2.12), and
//! Prometheus' docs, "HTTP API". A sample is an array of a time, in decimal seconds, and of a value, as text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::{Deserializer, Error as _, Unexpected};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

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
    match response.failure() {
        Some(failure) => Ok(Err(failure)),
        None => response.try_into().map(Ok).map_err(serde_json::Error::custom),
    }
}

/// Returns the error in the body of an error response. `None`: it has another form.
pub(crate) fn failure(body: &str) -> Option<Failure> {
    serde_json::from_str::<Response>(body).ok()?.failure()
}

/// Encodes a result as Log Cache does, which also writes zeros at the end of a time.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn encode(value: &QueryValue) -> String {
    serde_json::to_string(&Response::new(value, &[])).unwrap_or_default()
}

#[derive(Deserialize, Serialize)]
struct Response<'a> {
    status: Option<Cow<'a, str>>,
    #[serde(rename = "errorType", skip_serializing_if = "Option::is_none")]
    error_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    data: Option<Data<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Cow<'a, [String]>>,
}

/// Prometheus has also the type `string`, which Log Cache never returns.
#[derive(Deserialize, Serialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data<'a> {
    Scalar(Point),
    Vector(Option<Vec<OneSample<'a>>>),
    Matrix(Option<Vec<ManySamples<'a>>>),
}

/// A series with one sample. Prometheus may send a histogram in place of it.
#[derive(Deserialize, Serialize)]
struct OneSample<'a> {
    metric: Option<Cow<'a, BTreeMap<String, String>>>,
    value: Option<Point>,
}

#[derive(Deserialize, Serialize)]
struct ManySamples<'a> {
    metric: Option<Cow<'a, BTreeMap<String, String>>>,
    /// Log Cache writes null for a series without samples.
    values: Option<Vec<Point>>,
}

struct Point(Sample);

impl<'a> Response<'a> {
    #[cfg(any(test, feature = "serde", feature = "testing"))]
    fn new(value: &'a QueryValue, warnings: &'a [String]) -> Self {
        Response {
            status: Some("success".into()),
            error_type: None,
            error: None,
            data: Some(value.into()),
            warnings: Some(warnings.into()).filter(|warnings: &Cow<[_]>| !warnings.is_empty()),
        }
    }

    fn failure(&self) -> Option<Failure> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let failure = || Failure { error_type: text(&self.error_type), message: text(&self.error) };
        (self.status.as_deref() == Some("error")).then(failure)
    }
}

impl TryFrom<Response<'_>> for QueryResult {
    type Error = &'static str;

    fn try_from(response: Response<'_>) -> Result<Self, Self::Error> {
        if response.failure().is_some() {
            return Err("the query failed");
        }
        let value = response.data.ok_or("the response has no data")?.into();
        Ok(QueryResult { value, warnings: response.warnings.unwrap_or_default().into_owned() })
    }
}

impl From<Data<'_>> for QueryValue {
    fn from(data: Data<'_>) -> Self {
        match data {
            Data::Scalar(point) => QueryValue::Scalar(point.into()),
            Data::Vector(list) => {
                QueryValue::Vector(list.into_iter().flatten().filter_map(|one| one.try_into().ok()).collect())
            }
            Data::Matrix(list) => QueryValue::Matrix(list.into_iter().flatten().map(Series::from).collect()),
        }
    }
}

impl<'a> From<&'a QueryValue> for Data<'a> {
    fn from(value: &'a QueryValue) -> Self {
        match value {
            QueryValue::Scalar(sample) => Data::Scalar(sample.into()),
            QueryValue::Vector(samples) => Data::Vector(Some(samples.iter().map(OneSample::from).collect())),
            QueryValue::Matrix(series) => Data::Matrix(Some(series.iter().map(ManySamples::from).collect())),
        }
    }
}

impl TryFrom<OneSample<'_>> for VectorSample {
    type Error = &'static str;

    fn try_from(one: OneSample<'_>) -> Result<Self, Self::Error> {
        let sample = one.value.ok_or("the series has no sample")?.into();
        Ok(VectorSample { labels: one.metric.unwrap_or_default().into_owned(), sample })
    }
}

impl<'a> From<&'a VectorSample> for OneSample<'a> {
    fn from(VectorSample { labels, sample }: &'a VectorSample) -> Self {
        OneSample { metric: Some(Cow::Borrowed(labels)), value: Some(sample.into()) }
    }
}

impl From<ManySamples<'_>> for Series {
    fn from(ManySamples { metric, values }: ManySamples<'_>) -> Self {
        let samples = values.into_iter().flatten().map(Sample::from).collect();
        Series { labels: metric.unwrap_or_default().into_owned(), samples }
    }
}

impl<'a> From<&'a Series> for ManySamples<'a> {
    fn from(Series { labels, samples }: &'a Series) -> Self {
        let values = samples.iter().map(Point::from).collect();
        ManySamples { metric: Some(Cow::Borrowed(labels)), values: Some(values) }
    }
}

impl From<Point> for Sample {
    fn from(point: Point) -> Self {
        point.0
    }
}

impl From<&Sample> for Point {
    fn from(sample: &Sample) -> Self {
        Point(*sample)
    }
}

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

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let Sample { time, value } = self.0;
        let value = match value {
            f64::INFINITY => "+Inf".to_owned(),
            f64::NEG_INFINITY => "-Inf".to_owned(),
            _ => value.to_string(),
        };
        ((time / 1_000_000) as f64 / 1000.0, value).serialize(output)
    }
}

#[cfg(feature = "serde")]
impl<'a> From<&'a QueryResult> for Response<'a> {
    fn from(QueryResult { value, warnings }: &'a QueryResult) -> Self {
        Response::new(value, warnings)
    }
}

#[cfg(feature = "serde")]
serde_as! { QueryResult: Response, QueryValue: Data, VectorSample: OneSample, Series: ManySamples, Sample: Point }

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
    #[cfg(feature = "serde")]
    fn a_captured_result_is_the_same_json_again() {
        let capture = serde_json::from_slice(&captures::body("lc-promql-instant.http")).unwrap();
        // As Prometheus writes them.
        let others = [
            data("scalar", r#"[-1.5,"NaN"]"#),
            data("vector", r#"[{"metric":{},"value":[1.5,"2"]},{"metric":{"a":"b"},"value":[0.001,"-Inf"]}]"#),
            data("matrix", r#"[{"metric":{"a":"b"},"values":[[9223372036.854,"+Inf"],[2.25,"0.1"]]}]"#),
            r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["a","b"]}"#.to_owned(),
        ];
        let others = others.iter().map(|json| serde_json::from_str(json).unwrap());
        for theirs in others.chain([capture]) {
            let theirs: serde_json::Value = theirs;
            let result: QueryResult = serde_json::from_value(theirs.clone()).unwrap();
            assert_eq!(serde_json::to_value(&result).unwrap(), theirs);
            let value: QueryValue = serde_json::from_value(theirs["data"].clone()).unwrap();
            assert_eq!(serde_json::to_value(&value).unwrap(), theirs["data"]);
            let list = &theirs["data"]["result"];
            match value {
                QueryValue::Scalar(sample) => assert_eq!(serde_json::to_value(sample).unwrap(), *list),
                QueryValue::Vector(samples) => {
                    assert_eq!(serde_json::to_value(&samples).unwrap(), *list);
                    assert_eq!(serde_json::from_value::<Vec<VectorSample>>(list.clone()).unwrap(), samples);
                }
                QueryValue::Matrix(series) => {
                    assert_eq!(serde_json::to_value(&series).unwrap(), *list);
                    assert_eq!(serde_json::from_value::<Vec<Series>>(list.clone()).unwrap(), series);
                }
            }
        }
    }

    #[test]
    #[cfg(feature = "serde")]
    fn a_failure_and_a_series_without_a_sample_are_no_results() {
        let failure = serde_json::from_slice::<QueryResult>(&captures::body("lc-promql-err.http")).unwrap_err();
        assert_eq!(failure.to_string(), "the query failed");
        assert!(serde_json::from_str::<VectorSample>(r#"{"metric":{}}"#).is_err());
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
