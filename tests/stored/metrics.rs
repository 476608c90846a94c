//! `metrics`: what the instances of an app use.

use std::time::Duration;

use loggregator_consumer::testing::{Fault, Generation, TrafficController};
use loggregator_consumer::{Builder, Envelope, ErrorKind, Proxy};

use crate::common::messages::response;
use crate::common::{DEADLINE, ScriptedServer, within};
use crate::{APP, CONTAINER, TOKEN, gauge, log_cache, now, of};

#[test]
fn log_cache_and_doppler_and_korifi_give_the_latest_of_each_instance() {
    within(DEADLINE, || {
        for generation in [
            Generation::Y2015,
            Generation::Y2016,
            Generation::Y2018,
            Generation::LogCache1,
            Generation::Today,
            Generation::Korifi,
        ] {
            let server = TrafficController::of(generation).unwrap();
            let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
            assert_eq!(consumer.metrics(APP, TOKEN).unwrap(), [], "{generation:?}");
            let second = now() / 1_000_000_000 * 1_000_000_000;
            let old = CONTAINER.map(|(name, value)| (name, value / 2.0));
            server.send_envelope(gauge("1", second - 15_000_000_000, &old));
            server.send_envelope(gauge("0", second - 1_000_000_000, &CONTAINER));
            server.send_envelope(gauge("1", second, &CONTAINER));
            let found = consumer.metrics(APP, TOKEN).unwrap();
            let shown: Vec<_> = found.iter().map(|one| (one.index, one.timestamp)).collect();
            assert_eq!(shown, [(0, second - 1_000_000_000), (1, second)], "{generation:?}");
            for one in found {
                assert_eq!((one.cpu, one.memory, one.memory_quota), (Some(12.5), Some(1_000_000), Some(2_000_000)));
                assert_eq!((one.disk, one.disk_quota), (Some(3_000_000), Some(4_000_000)));
            }
        }
    });
}

#[test]
fn figures_of_several_envelopes_are_put_together() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let time = now();
        let of_process = |envelope: Envelope| envelope.tag("process_type", "web").tag("process_id", "guid");
        server.send_envelope(of_process(gauge("0", time, &CONTAINER)));
        server.send_envelope(of_process(gauge("0", time, &[("log_rate", 100.0), ("log_rate_limit", -1.0)])));
        let age = [("container_age", 90e9), ("absolute_usage", 1.0), ("absolute_entitlement", 2.0)];
        server.send_envelope(of_process(gauge("0", time, &age)));
        server.send_envelope(of_process(gauge("0", time, &[("cpu_entitlement", 55.5)])));
        let [one] = &*of(&server).metrics(APP, "").unwrap() else { panic!() };
        assert_eq!((one.process_type.as_deref(), one.process_id.as_deref()), (Some("web"), Some("guid")));
        assert_eq!((one.log_rate, one.log_rate_limit), (Some(100), Some(-1)));
        assert_eq!((one.uptime, one.cpu_entitlement), (Some(Duration::from_secs(90)), Some(55.5)));
        assert_eq!((one.cpu, one.memory), (Some(12.5), Some(1_000_000)));
    });
}

#[test]
fn an_instance_without_metrics_for_two_minutes_has_ended() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let seconds_ago = |seconds: i64| now() - seconds * 1_000_000_000;
        server.send_envelope(gauge("0", seconds_ago(1), &CONTAINER));
        server.send_envelope(gauge("1", seconds_ago(100), &CONTAINER));
        server.send_envelope(gauge("2", seconds_ago(130), &CONTAINER));
        let indices: Vec<_> = of(&server).metrics(APP, "").unwrap().iter().map(|one| one.index).collect();
        assert_eq!(indices, [0, 1]);
    });
}

#[test]
fn two_minutes_are_measured_by_the_servers_clock() {
    within(DEADLINE, || {
        let body = |seconds: i64| {
            let gauge = r#""gauge":{"metrics":{"cpu":{"unit":"percentage","value":1}}}"#;
            let batch = format!(r#"[{{"timestamp":"{seconds}000000000","instance_id":"0",{gauge}}}]"#);
            format!(r#"{{"envelopes":{{"batch":{batch}}}}}"#)
        };
        // 2001-09-09T01:46:40Z is 1,000,000,000 s.
        for (seconds, count) in [(1_000_000_000 - 119, 1), (1_000_000_000 - 121, 0)] {
            let headers = ["Content-Type: application/json", "Date: Sun, 09 Sep 2001 01:46:40 GMT"];
            let server = ScriptedServer::responding(response("200 OK", &headers, body(seconds).as_bytes()));
            assert_eq!(log_cache(&server).build().unwrap().metrics(APP, TOKEN).unwrap().len(), count, "{seconds}");
        }
    });
}

#[test]
fn a_server_of_today_says_where_the_metrics_are() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let consumer = Builder::new().doppler(&server.endpoint()).proxy(Proxy::none()).build().unwrap();
        let error = consumer.metrics(APP, &server.issue_token()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("but Log Cache has"), "{error}");
        let consumer = Builder::new().legacy(&server.endpoint()).proxy(Proxy::none()).build().unwrap();
        assert_eq!(consumer.metrics(APP, TOKEN).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn endless_metrics_are_too_large() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Y2016).unwrap();
        server.send_envelope(gauge("0", now(), &CONTAINER));
        server.fault(Fault::EndlessMessages);
        let builder = Builder::new().doppler(&server.endpoint()).proxy(Proxy::none());
        let consumer = builder.max_recent_size(100_000).build().unwrap();
        assert_eq!(consumer.metrics(APP, TOKEN).unwrap_err().kind(), ErrorKind::TooLarge);
    });
}
