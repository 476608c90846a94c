//! PromQL.

use std::io::Write;
use std::thread;
use std::time::Duration;

use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Error, ErrorKind, QueryValue};

use crate::common::messages::{chunk, head};
use crate::common::{DEADLINE, ScriptedServer, drain, read_head, send, send_endlessly, within};
use crate::{APP, OTHER, TOKEN, answering, gauge, log_cache, now, of};

/// A foundation with a gauge of two instances at seconds 0, 15 and 30 of a minute that has passed.
fn measured() -> (TrafficController, i64) {
    let server = TrafficController::of(Generation::Today).unwrap();
    let begin = (now() / 1_000_000_000 - 60) * 1_000_000_000;
    for n in 0..3 {
        for instance in ["0", "1"] {
            let value = (n * 10) as f64 + instance.parse::<f64>().unwrap();
            let time = begin + n * 15_000_000_000 + 5_000_000;
            server.send_envelope(gauge(instance, time, &[("http.latency", value)]).tag("job", "web"));
        }
    }
    (server, begin)
}

fn promql() -> String {
    format!(r#"http_latency{{source_id="{APP}",job="web"}}"#)
}

#[test]
fn an_instant_query_gives_the_latest_sample_of_each_series() {
    within(DEADLINE, || {
        let (server, begin) = measured();
        let consumer = of(&server);
        let samples = |value| match value {
            QueryValue::Vector(samples) => samples,
            other => panic!("{other:?}"),
        };
        let found = samples(consumer.query(&promql(), "").unwrap().value);
        let values: Vec<_> = found.iter().map(|one| (&*one.labels["instance_id"], one.sample.value)).collect();
        assert_eq!(values, [("0", 20.0), ("1", 21.0)]);
        assert_eq!((&*found[0].labels["job"], &*found[0].labels["source_id"]), ("web", APP));
        // At a time with milliseconds, which decimal seconds would not hit.
        let at = begin + 15_001_000_000;
        let found = samples(consumer.query_at(&promql(), at, "").unwrap().value);
        assert_eq!(
            found.iter().map(|one| (one.sample.time, one.sample.value)).collect::<Vec<_>>(),
            [(at, 10.0), (at, 11.0)]
        );
        let nothing = samples(consumer.query_at(&promql(), begin - 1_000_000_000, "").unwrap().value);
        assert_eq!(nothing, []);
    });
}

#[test]
fn a_range_query_gives_a_sample_for_each_step() {
    within(DEADLINE, || {
        let (server, begin) = measured();
        let consumer = of(&server);
        let (end, step) = (begin + 30_000_000_000, Duration::from_secs(10));
        let QueryValue::Matrix(series) = consumer.query_range(&promql(), begin, end, step, "").unwrap().value else {
            panic!()
        };
        assert_eq!(series.len(), 2);
        let samples: Vec<_> =
            series[1].samples.iter().map(|it| ((it.time - begin) / 1_000_000_000, it.value)).collect();
        assert_eq!(samples, [(0, 1.0), (10, 1.0), (20, 11.0), (30, 21.0)]);
        let QueryValue::Matrix(series) = consumer.query(&format!("{}[5m]", promql()), "").unwrap().value else {
            panic!()
        };
        assert_eq!(series[0].samples.iter().map(|it| it.value).collect::<Vec<_>>(), [0.0, 10.0, 20.0]);
        for (end, step) in [(begin - 1, step), (end, Duration::ZERO)] {
            let error = consumer.query_range(&promql(), begin, end, step, "").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn an_invalid_query_and_a_foreign_source_are_told_apart() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.hide_app(OTHER);
        let consumer = of(&server);
        for (query, what) in [
            ("cpu{", "parse error at char 5"),
            (r#"cpu{source_id!="a"}"#, "parse error"),
            ("cpu", "does not request any source_ids"),
        ] {
            let error = consumer.query(query, "").unwrap_err();
            assert_eq!((error.kind(), error.error_type()), (ErrorKind::BadRequest, Some("bad_data")), "{query}");
            assert!(error.to_string().contains(": bad_data: ") && error.to_string().contains(what), "{error}");
        }
        let error = consumer.query(&format!("cpu{{source_id=\"{OTHER}\"}}"), "").unwrap_err();
        assert_eq!((error.kind(), error.error_type()), (ErrorKind::Unauthorized, None));
    });
}

#[test]
fn warnings_and_failures_within_a_success_are_returned() {
    within(DEADLINE, || {
        let json = r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"-Inf"]},"warnings":["slow"]}"#;
        let result = log_cache(&answering(json)).build().unwrap().query("1", TOKEN).unwrap();
        assert_eq!(result.warnings, ["slow"]);
        let QueryValue::Scalar(sample) = result.value else { panic!() };
        assert_eq!((sample.time, sample.value), (1_500_000_000, f64::NEG_INFINITY));
        let json = r#"{"status":"error","errorType":"timeout","error":"query timed out in a-token-of-a-user"}"#;
        let error = log_cache(&answering(json)).build().unwrap().query("1", TOKEN).unwrap_err();
        assert_eq!((error.kind(), error.error_type()), (ErrorKind::ServerError, Some("timeout")));
        assert!(error.to_string().starts_with("the query failed: timeout: query timed out in ["), "{error}");
    });
}

#[test]
fn a_result_that_is_invalid_cut_short_or_endless_is_an_error() {
    within(DEADLINE, || {
        let error = |server: &ScriptedServer| -> Error {
            let consumer = log_cache(server).max_recent_size(100_000).build().unwrap();
            consumer.query("1", TOKEN).unwrap_err()
        };
        let string = r#"{"status":"success","data":{"resultType":"string","result":[0,"a secret"]}}"#;
        for json in ["[]", "{}", string, "not JSON"] {
            let error = error(&answering(json));
            assert_eq!(error.kind(), ErrorKind::BadResponse, "{json}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let half = &br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a"#[..];
        let json = "Content-Type: application/json";
        assert_eq!(error(&answering(str::from_utf8(half).unwrap())).kind(), ErrorKind::Truncated);
        let cut = [head("200 OK", &[json, "Content-Length: 1000"]), half.to_vec()].concat();
        assert_eq!(error(&ScriptedServer::responding(cut)).kind(), ErrorKind::Truncated);
        let cut = [head("200 OK", &[json, "Transfer-Encoding: chunked"]), chunk(half)].concat();
        assert_eq!(error(&ScriptedServer::responding(cut)).kind(), ErrorKind::Truncated);
        let endless = ScriptedServer::start(vec![Box::new(move |mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[&head("200 OK", &[json])]);
            send_endlessly(&mut socket, b"[0,");
        })]);
        let error = error(&endless);
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().ends_with("see Builder::max_recent_size"), "{error}");
    });
}

#[test]
fn a_result_of_more_than_16_mib_is_too_large_because_it_takes_far_more_memory() {
    within(DEADLINE, || {
        let server = |begin: &'static [u8], repeated: &'static [u8], end: &'static [u8]| {
            ScriptedServer::start(vec![Box::new(move |mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[&head("200 OK", &["Content-Type: application/json"]), begin]);
                let many = repeated.repeat(10_000);
                (0..17 << 20).step_by(many.len()).for_each(|_| _ = socket.write_all(&many));
                send(&mut socket, &[end]);
            })])
        };
        let result = server(br#"{"status":"success","data":{"resultType":"matrix","result":["#, b"{},", b"{}]}}");
        let error = log_cache(&result).build().unwrap().query("1", TOKEN).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.to_string().ends_with("16777216 bytes: narrow the query, or widen its step"), "{error}");
        let meta = server(br#"{"meta":{"#, br#""a":{},"#, br#""a":{}}}"#);
        let error = log_cache(&meta).build().unwrap().meta(TOKEN).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.to_string().ends_with("16777216 bytes: the token's user may see too many sources"), "{error}");
    });
}

#[test]
fn a_silent_server_is_a_timeout_and_a_close_interrupts_the_wait() {
    within(DEADLINE, || {
        let silent = || {
            ScriptedServer::start(vec![Box::new(|mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[&head("200 OK", &["Content-Length: 10"]), b"{"]);
                drain(socket);
            })])
        };
        let consumer = log_cache(&silent()).read_timeout(Duration::from_millis(100)).build().unwrap();
        let error = consumer.meta(TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().ends_with("see Builder::read_timeout"), "{error}");
        let consumer = log_cache(&silent()).recent_timeout(Duration::from_millis(100)).build().unwrap();
        let error = consumer.meta(TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().ends_with("see Builder::recent_timeout"), "{error}");

        let consumer = log_cache(&silent()).build().unwrap();
        let waiting = thread::spawn({
            let consumer = consumer.clone();
            move || consumer.meta(TOKEN).unwrap_err().kind()
        });
        while !waiting.is_finished() {
            // Until the call is open, there is nothing to close.
            let _ = consumer.close();
            thread::yield_now();
        }
        assert_eq!(waiting.join().unwrap(), ErrorKind::Closed);
    });
}
