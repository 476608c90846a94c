//! [`InstanceMetrics`]: what an app's instances use, and the collector that makes it of envelopes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::envelope::{Body, Envelope};

/// What one instance of an app used when it was last measured: see [`Consumer::metrics`](crate::Consumer::metrics).
///
/// A figure is `None` if the foundation does not tell it: those of before 2019 tell only CPU, memory and disk, log rates
/// came in 2022, and `cpu_entitlement` in 2024.
///
/// With the feature `serde`, its JSON has the names and numbers of its fields, and `uptime` in seconds. What is `None` is
/// null.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct InstanceMetrics {
    /// The number of the instance, from 0 on, within its process.
    pub index: u32,
    /// The type of its process, such as `web`. `None` before 2019.
    pub process_type: Option<String>,
    /// The GUID of its process. In a rolling deployment an app has two processes of one type. `None` before 2019.
    pub process_id: Option<String>,
    /// When it was measured, in nanoseconds since the Unix epoch: the newest of its figures. Usually every 15 s.
    pub timestamp: i64,
    /// The CPU usage in percent of one core. With several cores it can be more than 100.
    pub cpu: Option<f64>,
    /// The CPU usage in percent of what the instance is entitled to by its memory quota.
    pub cpu_entitlement: Option<f64>,
    /// The memory that it uses, in bytes.
    pub memory: Option<u64>,
    /// The memory that it may use, in bytes.
    pub memory_quota: Option<u64>,
    /// The disk space that it uses, in bytes.
    pub disk: Option<u64>,
    /// The disk space that it may use, in bytes.
    pub disk_quota: Option<u64>,
    /// What it logs, in bytes per second.
    pub log_rate: Option<u64>,
    /// What it may log, in bytes per second. -1: there is no limit.
    pub log_rate_limit: Option<i64>,
    /// How long its container had existed when it was measured.
    #[cfg_attr(feature = "serde", serde(default, with = "seconds"))]
    pub uptime: Option<Duration>,
}

/// A duration as a number of seconds.
#[cfg(feature = "serde")]
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, output: S) -> Result<S::Ok, S::Error> {
        duration.map(|duration| duration.as_secs_f64()).serialize(output)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::deserialize(input)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(D::Error::custom)
    }
}

/// The names of the figures in a gauge, in the order of [`Figures`]. Source: `SendAppMetrics` and `SendAppLogRate` of
/// diego-logging-client, and `container_metric_batcher.rb` of the Cloud Controller, whose figures `cf app` shows.
const NAMES: [&str; 9] = [
    "cpu",
    "cpu_entitlement",
    "memory",
    "memory_quota",
    "disk",
    "disk_quota",
    "log_rate",
    "log_rate_limit",
    "container_age",
];

/// Each figure with its time.
type Figures = [Option<(i64, f64)>; NAMES.len()];

/// Collects the newest figures of each instance from envelopes in any order.
#[derive(Default)]
pub(crate) struct Latest(BTreeMap<Instance, Figures>);

/// The order is that of the result.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Instance {
    process_type: Option<String>,
    process_id: Option<String>,
    index: u32,
}

impl Latest {
    /// Adds the figures of an envelope, if it has some. An app's own metrics are left out.
    pub(crate) fn add(&mut self, mut envelope: Envelope) {
        let Body::Gauge(values) = &envelope.body else { return };
        if !NAMES.iter().any(|name| values.contains_key(*name)) {
            return;
        }
        let Ok(index) = envelope.instance_id.parse() else { return };
        let mut tag = |name| envelope.tags.remove(name).filter(|tag| !tag.is_empty());
        let instance = Instance { process_type: tag("process_type"), process_id: tag("process_id"), index };
        let figures = self.0.entry(instance).or_default();
        for (figure, name) in figures.iter_mut().zip(NAMES) {
            if let Some(value) = values.get(name)
                && figure.is_none_or(|(time, _)| time < envelope.timestamp)
            {
                *figure = Some((envelope.timestamp, value.value));
            }
        }
    }

    /// Returns the instances by the type of their process, and then by their number.
    pub(crate) fn into_metrics(self) -> Vec<InstanceMetrics> {
        self.0.into_iter().map(|(instance, figures)| InstanceMetrics::of(instance, &figures)).collect()
    }
}

impl InstanceMetrics {
    fn of(instance: Instance, figures: &Figures) -> Self {
        let Instance { process_type, process_id, index } = instance;
        let timestamp = figures.iter().flatten().map(|(time, _)| *time).max().unwrap_or_default();
        let number = |figure: Option<(i64, f64)>| figure.map(|(_, value)| value).filter(|value| value.is_finite());
        // A negative number becomes 0.
        let natural = |figure| number(figure).map(|value| value as u64);
        // What is not told is sent as 0.
        let quota = |figure| natural(figure).filter(|quota| *quota > 0);
        let [cpu, cpu_entitlement, memory, memory_quota, disk, disk_quota, log_rate, log_rate_limit, age] = *figures;
        InstanceMetrics {
            index,
            process_type,
            process_id,
            timestamp,
            cpu: number(cpu),
            cpu_entitlement: number(cpu_entitlement),
            memory: natural(memory),
            memory_quota: quota(memory_quota),
            disk: natural(disk),
            disk_quota: quota(disk_quota),
            log_rate: natural(log_rate),
            log_rate_limit: number(log_rate_limit).map(|value| value as i64),
            uptime: natural(age).map(Duration::from_nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::GaugeValue;
    use crate::message::LogMessage;

    fn gauge(time: i64, instance: &str, process: Option<&str>, values: &[(&str, f64)]) -> Envelope {
        let mut envelope = Envelope::from(LogMessage::new("app", "").timestamp(time));
        instance.clone_into(&mut envelope.instance_id);
        envelope.tags = process.map(|process| ("process_type".to_owned(), process.to_owned())).into_iter().collect();
        let value = |&(name, value): &(&str, f64)| (name.to_owned(), GaugeValue { unit: String::new(), value });
        envelope.body = Body::Gauge(values.iter().map(value).collect());
        envelope
    }

    fn metrics(envelopes: impl IntoIterator<Item = Envelope>) -> Vec<InstanceMetrics> {
        let mut latest = Latest::default();
        envelopes.into_iter().for_each(|envelope| latest.add(envelope));
        latest.into_metrics()
    }

    #[test]
    fn each_figure_is_the_newest_whatever_the_order() {
        let mut envelopes = vec![
            gauge(10, "0", None, &[("cpu", 1.0), ("memory", 10.0), ("memory_quota", 100.0)]),
            gauge(20, "0", None, &[("cpu", 2.5), ("memory", 20.0)]),
            gauge(21, "0", None, &[("log_rate", 7.0), ("log_rate_limit", -1.0)]),
            gauge(19, "0", None, &[("container_age", 3e9)]),
        ];
        let [one] = &*metrics(envelopes.clone()) else { panic!() };
        assert_eq!((one.index, one.timestamp, one.cpu, one.memory), (0, 21, Some(2.5), Some(20)));
        assert_eq!((one.memory_quota, one.disk, one.disk_quota), (Some(100), None, None));
        assert_eq!((one.log_rate, one.log_rate_limit), (Some(7), Some(-1)));
        assert_eq!(one.uptime, Some(Duration::from_secs(3)));
        envelopes.reverse();
        assert_eq!(metrics(envelopes), std::slice::from_ref(one));
    }

    #[test]
    fn instances_of_different_processes_are_different_and_in_order() {
        let found = metrics([
            gauge(1, "10", Some("web"), &[("cpu", 1.0)]),
            gauge(1, "2", Some("web"), &[("cpu", 2.0)]),
            gauge(1, "2", Some("worker"), &[("cpu", 3.0)]),
        ]);
        let shown: Vec<_> = found.iter().map(|one| (one.process_type.as_deref(), one.index, one.cpu)).collect();
        assert_eq!(shown, [(Some("web"), 2, Some(2.0)), (Some("web"), 10, Some(1.0)), (Some("worker"), 2, Some(3.0))]);
    }

    #[test]
    fn what_is_no_metric_of_a_container_is_left_out() {
        let found = metrics([
            gauge(1, "0", None, &[("requests", 1.0)]),
            gauge(1, "router-7", None, &[("cpu", 1.0)]),
            LogMessage::new("app", "cpu").into(),
        ]);
        assert_eq!(found, []);
    }

    #[test]
    fn numbers_out_of_range_are_clamped_or_missing() {
        let found = metrics([gauge(
            1,
            "0",
            None,
            &[("cpu", f64::NAN), ("memory", -1.0), ("disk", 1e300), ("memory_quota", 0.0), ("container_age", 1e300)],
        )]);
        let [one] = &*found else { panic!() };
        assert_eq!((one.cpu, one.memory, one.disk, one.memory_quota), (None, Some(0), Some(u64::MAX), None));
        assert_eq!(one.uptime, Some(Duration::from_nanos(u64::MAX)));
    }

    #[test]
    #[cfg(feature = "serde")]
    fn the_json_has_the_names_of_the_fields_and_the_uptime_in_seconds() {
        let all = [("cpu", 1.5), ("memory", 3e9), ("log_rate_limit", -1.0), ("container_age", 2.5e9)];
        let found = metrics([gauge(7, "2", Some("web"), &all)]);
        let json = serde_json::json!([{
            "index": 2, "process_type": "web", "process_id": found[0].process_id, "timestamp": 7,
            "cpu": 1.5, "cpu_entitlement": null, "memory": 3_000_000_000_u64, "memory_quota": null,
            "disk": null, "disk_quota": null, "log_rate": null, "log_rate_limit": -1, "uptime": 2.5,
        }]);
        assert_eq!(serde_json::to_value(&found).unwrap(), json);
        assert_eq!(serde_json::from_value::<Vec<InstanceMetrics>>(json).unwrap(), found);
        // What is `None` may be absent.
        let least: InstanceMetrics = serde_json::from_str(r#"{"index":0,"timestamp":1}"#).unwrap();
        assert_eq!((least.cpu, least.uptime), (None, None));
        assert!(serde_json::from_str::<InstanceMetrics>(r#"{"index":0,"timestamp":1,"uptime":-1}"#).is_err());
    }
}
