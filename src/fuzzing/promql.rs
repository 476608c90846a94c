//! Fuzzes the decoder of PromQL results, and that of what Log Cache tells of its sources and of itself.

use serde_json::Value;

use crate::promql::{QueryValue, Sample, Series, VectorSample};
use crate::wire::{promql, v2};

/// Checks that a result which is decoded is what a plain reading of its JSON gives, and that it is the same after it was
/// encoded again. Whether it is decoded at all is up to the decoder.
pub fn promql(input: &[u8]) {
    let _ = (v2::meta::sources(input), v2::meta::info(input));
    if let Ok(text) = str::from_utf8(input) {
        let _ = promql::failure(text);
    }
    // The decoder checks no UTF-8 in what it skips.
    let (Ok(Ok(result)), Ok(json)) = (promql::result(input), serde_json::from_slice::<Value>(input)) else { return };
    assert_same(&result.value, &value(&json["data"]).unwrap());
    assert_eq!(result.warnings.len(), json["warnings"].as_array().map_or(0, Vec::len));
    let again = promql::result(promql::encode(&result.value).as_bytes()).unwrap().unwrap();
    assert_same(&again.value, &result.value);
}

/// Compares the texts, because a value may be not a number.
fn assert_same(one: &QueryValue, other: &QueryValue) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

/// The model: reads the data of a result that is known to be valid.
fn value(data: &Value) -> Option<QueryValue> {
    let list = || data["result"].as_array().cloned().unwrap_or_default();
    let labels = |json: &Value| {
        let labels = json["metric"].as_object().cloned().unwrap_or_default();
        labels.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect()
    };
    Some(match data["resultType"].as_str()? {
        "scalar" => QueryValue::Scalar(sample(&data["result"])?),
        "vector" => {
            let one = |json: &Value| Some(VectorSample { labels: labels(json), sample: sample(&json["value"])? });
            QueryValue::Vector(list().iter().filter_map(one).collect())
        }
        "matrix" => {
            let samples = |json: &Value| json["values"].as_array().into_iter().flatten().filter_map(sample).collect();
            let one = |json: &Value| Series { labels: labels(json), samples: samples(json) };
            QueryValue::Matrix(list().iter().map(one).collect())
        }
        _ => return None,
    })
}

fn sample(json: &Value) -> Option<Sample> {
    let milliseconds = (json[0].as_f64()? * 1000.0).round() as i64;
    Some(Sample { time: milliseconds * 1_000_000, value: json[1].as_str()?.parse().ok()? })
}
