//! `meta` and `info`: what Log Cache tells of its sources and of itself.

use loggregator_consumer::testing::{Generation, RequestKind, TrafficController};
use loggregator_consumer::{Body, Builder, Envelope, ErrorKind, Proxy, Selection, Window};

use crate::common::foundation::PathServer;
use crate::common::messages::response;
use crate::common::{DEADLINE, within};
use crate::{APP, CONTAINER, TOKEN, gauge, log, of};

#[test]
fn each_generation_tells_its_sources_and_its_version() {
    within(DEADLINE, || {
        for (generation, version) in [(Generation::LogCache1, "1.4.7"), (Generation::Today, "3.2.12")] {
            let server = TrafficController::of(generation).unwrap();
            server.send_envelope(log(2_000_000, "hello"));
            server.send_envelope(gauge("0", 5_000_000, &CONTAINER));
            let consumer = of(&server);
            let sources = consumer.meta("").unwrap();
            let meta = sources[APP];
            assert_eq!((meta.count, meta.oldest_timestamp, meta.newest_timestamp), (2, 2_000_000, 5_000_000));
            assert_eq!(consumer.info().unwrap().version, version);
            let query = format!("cpu{{source_id=\"{APP}\"}}");
            assert!(consumer.query_at(&query, 1_000_000_000, "").is_ok(), "{generation:?}");
            // A second request for what is at another path in version 1.x goes there at once.
            consumer.meta("").unwrap();
            let requests = server.requests();
            let of_meta = requests.iter().filter(|request| request.kind == RequestKind::LogCacheMeta).count();
            assert_eq!(of_meta, if generation == Generation::Today { 2 } else { 3 });
            let info = requests.iter().find(|request| request.kind == RequestKind::LogCacheInfo).unwrap();
            assert_eq!(info.header("Authorization"), None);
        }
    });
}

#[test]
fn only_an_admin_sees_the_components() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.send_envelope(log(1_000_000, "hello"));
        let requests = Body::Counter { name: "requests".into(), delta: 1, total: 1 };
        server.send_envelope(Envelope::new("gorouter", requests));
        let consumer = of(&server);
        assert_eq!(consumer.meta("").unwrap().into_keys().collect::<Vec<_>>(), [APP]);
        let sources = consumer.meta(&server.issue_admin_token()).unwrap();
        assert_eq!(sources.into_keys().collect::<Vec<_>>(), [APP, "gorouter"]);
    });
}

#[test]
fn korifi_has_info_and_neither_meta_nor_promql() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Korifi).unwrap();
        let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
        assert_eq!(consumer.info().unwrap().version, "2.11.4+cf-k8s");
        for error in [consumer.meta(TOKEN).unwrap_err(), consumer.query("cpu", TOKEN).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains("Korifi's Log Cache"), "{error}");
        }
    });
}

#[test]
fn a_rejected_token_and_a_foundation_without_log_cache_are_told_apart() {
    within(DEADLINE, || {
        let server = TrafficController::builder().generation(Generation::Today).tokens([TOKEN]).start().unwrap();
        let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
        let error = consumer.meta("bearer another-token").unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(404)));
        let server = TrafficController::of(Generation::Y2018).unwrap();
        let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap();
        for error in [
            consumer.meta(TOKEN).unwrap_err(),
            consumer.info().unwrap_err(),
            consumer.query("cpu", TOKEN).unwrap_err(),
            consumer.read(&Selection::app(APP), &Window::all(), TOKEN).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("foundations before 2018 have no Log Cache"), "{error}");
        }
    });
}

#[test]
fn a_token_that_the_server_repeats_is_in_no_error() {
    within(DEADLINE, || {
        let server = PathServer::start(|path| {
            let body = r#"{"status":"error","errorType":"a-token-of-a-user","error":"a-token-of-a-user"}"#;
            let status = if path.contains("query") { "400 Bad Request" } else { "500 Internal Server Error" };
            response(status, &["Content-Type: application/json"], body.as_bytes())
        });
        let consumer =
            Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none()).build().unwrap();
        for error in [consumer.query("1", TOKEN).unwrap_err(), consumer.meta(TOKEN).unwrap_err()] {
            let forms = format!("{error} {error:?} {:?} {:?}", error.error_type(), error.body());
            assert!(!forms.contains("a-token-of-a-user"), "{forms}");
        }
    });
}
