//! The testing server as a foundation of another kind, or one of which a part is missing: Log Cache 1.x, Korifi, Log
//! Cache alone, streams without logs, rate limits, a router without a route, and servers that are away.

mod bare;

use std::time::Duration;

use loggregator_consumer::LogMessage;
use loggregator_consumer::testing::{
    Fault, Generation, RouterError, Server, TrafficController, TrafficControllerBuilder,
};
use serde_json::{Value, json};

use bare::*;

const APP: &str = "11111111-aaaa-bbbb-cccc-000000000001";
const OTHER_APP: &str = "22222222-aaaa-bbbb-cccc-000000000002";
const GOOD: &str = "Authorization: bearer good";
const BAD: &str = "Authorization: bearer bad";

fn of(generation: Generation) -> TrafficControllerBuilder {
    TrafficController::builder().generation(generation).token("bearer good")
}

fn message(text: &str, time: i64) -> LogMessage {
    LogMessage::new(APP, text).timestamp(time).source("APP/PROC/WEB", "0")
}

/// Returns the status, such as 200, and the body of a response to a request with a good token.
fn ask(server: &TrafficController, target: &str) -> (u16, String) {
    let (head, body) = get(server, target, &[GOOD]);
    (head.split(' ').nth(1).unwrap().parse().unwrap(), String::from_utf8(body).unwrap())
}

fn ask_json(server: &TrafficController, target: &str) -> Value {
    let (status, body) = ask(server, target);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

mod log_cache_1 {
    use super::*;

    #[test]
    fn has_its_own_paths_beside_the_recent_logs_of_doppler() {
        let server = of(Generation::LogCache1).start().unwrap();
        server.add_recent(APP, [message("hi", 1000)]);
        let batch = &ask_json(&server, &format!("/v1/read/{APP}"))["envelopes"]["batch"];
        assert_eq!((&batch[0]["timestamp"], &batch[0]["log"]["payload"]), (&json!("1000"), &json!("aGk=")));
        assert_eq!(server.requests()[0].app(), APP);
        assert_eq!(ask_json(&server, "/v1/meta")["meta"][APP]["count"], "1");
        assert!(ask_json(&server, "/api/v1/info")["version"].as_str().unwrap().starts_with("1."));
        assert!(get(&server, &format!("/apps/{APP}/recentlogs"), &[GOOD]).0.starts_with("HTTP/1.1 200 "));
        for target in ["/v1/info", "/v1/query", "/api/v1/meta", &format!("/api/v1/read/{APP}"), "/v2/read?log"] {
            assert_eq!(ask(&server, target), (404, "404 page not found\n".into()));
        }
        let today = of(Generation::Today).start().unwrap();
        assert_eq!(ask(&today, "/v1/info"), (404, "404 page not found\n".into()));
    }

    #[test]
    fn rejects_what_is_too_large_with_403_and_the_code_of_grpc() {
        let server = of(Generation::LogCache1).largest_answer(300).start().unwrap();
        server.add_recent(APP, (0..10).map(|time| message("hi", time * 1000)));
        assert_eq!(ask(&server, &format!("/v1/read/{APP}?limit=1")).0, 200);
        let (status, body) = ask(&server, &format!("/v1/read/{APP}?limit=10"));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["code"]), (403, &json!(8)));
        assert!(body["error"].as_str().unwrap().starts_with("grpc: received message larger than max ("), "{body}");
    }

    #[test]
    fn is_named_by_the_api_and_the_session() {
        let server = of(Generation::LogCache1).start().unwrap();
        let links = ask_json(&server, "/")["links"].take();
        assert_eq!(links["log_cache"], json!({ "href": server.api() }));
        assert_eq!(links["log_stream"], Value::Null);
    }
}

mod korifi {
    use super::*;

    fn read(server: &TrafficController, query: &str) -> Vec<Value> {
        ask_json(server, &format!("/api/v1/read/{APP}?envelope_types=LOG{query}"))["envelopes"]["batch"]
            .as_array()
            .unwrap()
            .clone()
    }

    fn times(server: &TrafficController, query: &str) -> Vec<i64> {
        read(server, query).iter().map(|envelope| envelope["timestamp"].as_i64().unwrap()).collect()
    }

    #[test]
    fn says_what_it_is_and_links_only_to_log_cache() {
        let server = of(Generation::Korifi).start().unwrap();
        let root = ask_json(&server, "/");
        assert_eq!(root["cf_on_k8s"], true);
        assert_eq!(root["links"]["log_cache"]["href"], server.api());
        for link in ["logging", "log_stream", "uaa"] {
            assert!(root["links"][link].is_null() && root["links"].as_object().unwrap().contains_key(link), "{link}");
        }
        assert_eq!(ask_json(&server, "/api/v1/info")["version"], "2.11.4+cf-k8s");
        let unknown = json!({ "errors": [{ "detail": "Unknown request", "title": "CF-NotFound", "code": 10000 }] });
        for target in ["/v2/info", "/api/v1/meta", "/oauth/token", "/v2/read?log", &format!("/apps/{APP}/stream")] {
            let (status, body) = ask(&server, target);
            assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (404, unknown.clone()), "{target}");
        }
    }

    #[test]
    fn has_envelopes_without_ids_and_with_numbers() {
        let server = of(Generation::Korifi).start().unwrap();
        server.add_recent(APP, [message("hi\r\n", 1_700_000_000_000_000_001), message("", 3).source("STG", "0")]);
        let expected = [
            json!({ "timestamp": 3, "tags": { "source_type": "STG" }, "log": { "payload": "", "type": 0 } }),
            json!({ "timestamp": 1_700_000_000_000_000_001_i64, "tags": { "source_type": "APP" },
                    "log": { "payload": "aGk=", "type": 0 } }),
        ];
        assert_eq!(read(&server, ""), expected);
    }

    #[test]
    fn ignores_the_end_and_limits_to_the_newest_of_each_container() {
        let server = of(Generation::Korifi).start().unwrap();
        server.add_recent(APP, (0..6).map(|time| message("x", time)));
        assert_eq!(times(&server, ""), [0, 1, 2, 3, 4, 5]);
        assert_eq!(times(&server, "&limit=2"), [4, 5]);
        assert_eq!(times(&server, "&limit=2&end_time=2"), [4, 5]);
        assert_eq!(times(&server, "&descending=true&limit=3"), [5, 4, 3]);
        assert_eq!(times(&server, "&start_time=3"), [3, 4, 5]);
        // With a second container there is more than the limit, and then the server keeps the wrong end.
        server.add_recent(APP, (10..13).map(|time| message("x", time).source("APP/PROC/WEB", "1")));
        assert_eq!(times(&server, "&limit=2"), [4, 5]);
        assert_eq!(times(&server, "&limit=2&descending=true"), [12, 11]);
        let (status, body) = ask(&server, &format!("/api/v1/read/{APP}?envelope_types=GAUGE"));
        assert_eq!((status, body.as_str()), (200, "{\"envelopes\":{\"batch\":[]}}\n"));
    }

    #[test]
    fn has_the_errors_of_a_cloud_controller() {
        let server = of(Generation::Korifi).start().unwrap();
        server.hide_app(OTHER_APP);
        for (target, header, status, code) in [
            (APP, "X: y", 401, 10002),
            (APP, BAD, 401, 1000),
            (OTHER_APP, GOOD, 404, 10010),
            ("my-app", GOOD, 404, 10010),
            (&format!("{APP}?envelope_types=TIMER"), GOOD, 400, 10005),
            (&format!("{APP}?limits=1"), GOOD, 400, 10005),
            (&format!("{APP}?limit=ten"), GOOD, 500, 10001),
        ] {
            let (head, body) = get(&server, &format!("/api/v1/read/{target}"), &[header]);
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {head}");
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["errors"][0]["code"], code, "{target}");
        }
    }

    #[test]
    fn has_a_session_without_tokens() {
        let server = of(Generation::Korifi).start().unwrap();
        let home = std::env::temp_dir().join(format!("loggregator-consumer-korifi-{}", std::process::id()));
        server.cf_home(&home).unwrap();
        let session: Value = serde_json::from_slice(&std::fs::read(home.join(".cf/config.json")).unwrap()).unwrap();
        std::fs::remove_dir_all(home).unwrap();
        assert_eq!(session["CFOnK8s"]["Enabled"], true);
        assert_eq!((&session["Target"], &session["LogCacheEndPoint"]), (&json!(server.api()), &json!(server.api())));
        for name in ["AccessToken", "RefreshToken", "UaaEndpoint", "DopplerEndPoint"] {
            assert_eq!(session[name], "", "{name}");
        }
    }
}

#[test]
fn a_foundation_can_have_log_cache_alone() {
    let server = of(Generation::Today).log_cache_only().start().unwrap();
    let links = ask_json(&server, "/")["links"].take();
    assert_eq!(links["log_cache"], json!({ "href": server.api() }));
    assert_eq!((&links["logging"], &links["log_stream"]), (&Value::Null, &Value::Null));
    assert_eq!(ask_json(&server, "/v2/info")["doppler_logging_endpoint"], Value::Null);
    for target in [format!("/apps/{APP}/stream"), format!("/v2/read?log&source_id={APP}")] {
        assert_eq!(ask(&server, &target).0, 404);
    }
    server.send(message("hi", 1000));
    assert_eq!(ask_json(&server, &format!("/api/v1/read/{APP}"))["envelopes"]["batch"][0]["log"]["payload"], "aGk=");
}

#[test]
fn streams_can_be_without_logs_that_log_cache_has() {
    let server = TrafficController::builder()
        .generation(Generation::Today)
        .disable_logs()
        .heartbeat(Duration::from_millis(20))
        .start()
        .unwrap();
    let mut doppler = connect(&server);
    request(&mut doppler, &format!("GET /apps/{APP}/stream"), &[&HANDSHAKE[..], &[GOOD]].concat());
    assert_eq!(head(&mut doppler), SWITCHING);
    assert_eq!(frame(&mut doppler), (PING.0, PING.1.to_vec()));
    let mut gateway = connect(&server);
    request(&mut gateway, &format!("GET /v2/read?log&source_id={APP}"), &[GOOD]);
    assert!(head(&mut gateway).starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(server.open_tails(APP), 2);
    assert_eq!(server.send(message("unheard", 1000)), 0);
    assert_quiet(&doppler);
    let heartbeat = b"event: heartbeat\ndata: ";
    let mut events = [0; 64];
    std::io::Read::read_exact(&mut gateway, &mut events).unwrap();
    assert!(events.windows(heartbeat.len()).any(|window| window == heartbeat));
    assert_eq!(ask_json(&server, &format!("/api/v1/read/{APP}"))["envelopes"]["batch"].as_array().unwrap().len(), 1);
    server.enable_logs();
    assert_eq!(server.send(message("heard", 2000)), 2);
    assert_eq!(frame(&mut doppler).0, 0x82);
}

#[test]
fn rate_limits_say_when_to_come_back() {
    let server = of(Generation::Today).start().unwrap();
    let read = format!("/api/v1/read/{APP}");
    for (status, retry_after) in [(429, "3"), (503, "Sun, 22 Nov 2026 10:33:56 GMT")] {
        server.fault(Fault::RateLimit { status, retry_after: retry_after.into() });
        let (head, body) = get(&server, &read, &[GOOD]);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains(&format!("\r\nRetry-After: {retry_after}\r\n")), "{head}");
        // Not gRPC's, which would mean that the response is too large.
        assert!(serde_json::from_slice::<Value>(&body).unwrap()["errors"][0]["code"].is_number());
    }
    assert_eq!(ask(&server, &read).0, 200);
}

#[test]
fn a_router_can_be_without_a_route() {
    let server = of(Generation::Today).start().unwrap();
    for (error, status, name, text) in [
        (RouterError::UnknownRoute, "404 Not Found", "unknown_route", "Requested route ('x') does not exist."),
        (
            RouterError::EndpointFailure,
            "502 Bad Gateway",
            "endpoint_failure",
            "Registered endpoint failed to handle the request.",
        ),
        (
            RouterError::NoEndpoints,
            "503 Service Unavailable",
            "no_endpoints",
            "Requested route ('x') has no available endpoints.",
        ),
    ] {
        for target in ["/", &format!("/apps/{APP}/stream"), &format!("/v2/read?log&source_id={APP}")] {
            server.fault(Fault::Router(error));
            let (head, body) = get(&server, target, &[&HANDSHAKE[..], &[GOOD]].concat());
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
            assert!(head.contains(&format!("\r\nX-Cf-Routererror: {name}\r\n")), "{head}");
            assert_eq!(String::from_utf8(body).unwrap(), format!("{status}: {text}\n"));
        }
    }
}

#[test]
fn while_the_uaa_or_the_api_is_away_no_server_knows_a_token() {
    for away in [Server::Uaa, Server::Api] {
        let server = of(Generation::Today).start().unwrap();
        let all = || {
            let stream = get(&server, &format!("/apps/{APP}/stream"), &[&HANDSHAKE[1..], &[GOOD]].concat());
            let gateway = ask(&server, &format!("/v2/read?source_id={APP}"));
            let log_cache = ask(&server, &format!("/api/v1/read/{APP}"));
            let status = stream.0.split(' ').nth(1).unwrap().parse::<u16>().unwrap();
            [(status, String::from_utf8(stream.1).unwrap()), gateway, log_cache]
        };
        assert_eq!(all().map(|(status, _)| status), [400, 400, 200]);
        server.take_away(away, RouterError::NoEndpoints);
        let not_found = "{\"message\":\"resource not found\",\"error\":\"not_found\"}\n\n".to_owned();
        assert_eq!(all(), [(500, String::new()), (404, not_found), (404, String::new())]);
        let (token, info) = (ask(&server, "/oauth/token").0, ask(&server, "/v2/info").0);
        assert_eq!((token, info), if away == Server::Uaa { (503, 200) } else { (405, 503) });
        server.bring_back(away);
        assert_eq!(all().map(|(status, _)| status), [400, 400, 200]);
    }
    // A server without a route, as while it restarts.
    let server = of(Generation::Today).start().unwrap();
    server.take_away(Server::LogCache, RouterError::UnknownRoute);
    let (head, _) = get(&server, &format!("/api/v1/read/{APP}"), &[GOOD]);
    assert!(head.contains("\r\nX-Cf-Routererror: unknown_route\r\n"), "{head}");
    assert_eq!(ask(&server, "/v2/info").0, 200);
}

#[test]
fn a_hidden_app_of_2016_is_not_found_on_all_paths() {
    let server = of(Generation::Y2016).start().unwrap();
    server.hide_app("hidden");
    for target in ["/recent?app=hidden", "/dump/?app=hidden", "/tail/?app=hidden", "/apps/hidden/stream"] {
        let (status, headers, body) = get_text(&server, target, &[&HANDSHAKE[..], &[GOOD]].concat());
        assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 404 Not Found", "Not Found"));
        assert_eq!(headers[0], "Content-Type: text/plain; charset=utf-8");
    }
    assert_eq!(get_text(&server, "/recent?app=a", &[BAD]).2, "Unauthorized");
    // In 2015 it is the same as a refused token.
    let server = of(Generation::Y2015).start().unwrap();
    server.hide_app("hidden");
    let (status, _, body) = get_text(&server, "/recent?app=hidden", &[GOOD]);
    assert_eq!(status, "HTTP/1.1 401 Unauthorized");
    assert_eq!(body, "You are not authorized. Error: Invalid authorization");
}
