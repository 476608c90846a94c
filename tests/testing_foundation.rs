//! The testing server as a whole foundation, tested with bare sockets: its responses must be those of today's real
//! servers, byte for byte.

mod bare;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use loggregator_consumer::LogMessage;
use loggregator_consumer::testing::{
    BodyFraming, EqualTimes, Fault, Generation, Received, RequestKind, TrafficController, TrafficControllerBuilder,
    WebsocketEnding,
};
use serde_json::{Value, json};

use bare::*;

const APP: &str = "11111111-aaaa-bbbb-cccc-000000000001";
const OTHER_APP: &str = "22222222-aaaa-bbbb-cccc-000000000002";

const TEXT: &str = "Content-Type: text/plain; charset=utf-8";
const NO_SNIFF: &str = "X-Content-Type-Options: nosniff";
const CLOSE: &str = "Connection: close";

/// The header of a request that is to have no token.
const NO_TOKEN: &str = "X: y";

/// Adds a token to the headers of a request, unless it is to have none.
fn with_token<'a>(headers: &[&'a str]) -> Vec<&'a str> {
    let has_token = headers.iter().any(|header| header.starts_with("Authorization:") || *header == NO_TOKEN);
    let token = if has_token { &[][..] } else { &["Authorization: bearer any"] };
    [headers, token].concat()
}

fn request(client: &mut impl Write, line: &str, headers: &[&str]) {
    bare::request(client, line, &with_token(headers));
}

fn get(server: &TrafficController, target: &str, headers: &[&str]) -> (String, Vec<u8>) {
    bare::get(server, target, &with_token(headers))
}

fn get_text(server: &TrafficController, target: &str, headers: &[&str]) -> (String, Vec<String>, String) {
    bare::get_text(server, target, &with_token(headers))
}

fn open_websocket(server: &TrafficController, target: &str) -> TcpStream {
    open_websocket_with(server, target, &with_token(&[]))
}

fn today() -> TrafficControllerBuilder {
    TrafficController::builder().generation(Generation::Today)
}

/// A message with this timestamp in microseconds.
fn message(text: &str, time: i64) -> LogMessage {
    LogMessage::new(APP, text).timestamp(time * 1000).source("APP/PROC/WEB", "0")
}

/// The JSON of such a message.
fn envelope(payload: &str, nanoseconds: i64) -> String {
    format!(
        r#"{{"timestamp":"{nanoseconds}","source_id":"{APP}","instance_id":"0","deprecated_tags":{{}},"tags":{{"source_type":"APP/PROC/WEB"}},"log":{{"payload":"{payload}","type":"OUT"}}}}"#
    )
}

fn get_json(server: &TrafficController, target: &str) -> Value {
    let (head, body) = get(server, target, &[]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json"), "{head}");
    serde_json::from_slice(&body).unwrap()
}

/// Asserts the status line, the headers (without the date) and the body of a response.
fn assert_response(
    server: &TrafficController,
    target: &str,
    headers: &[&str],
    expected: (&str, &[&str], impl AsRef<str>),
) {
    let (status, headers, body) = get_text(server, target, headers);
    let (expected_status, expected_headers, expected_body) = (expected.0, expected.1, expected.2.as_ref());
    assert_eq!((status.as_str(), body.as_str()), (format!("HTTP/1.1 {expected_status}").as_str(), expected_body));
    let length = format!("Content-Length: {}", body.len());
    assert_eq!(headers, [expected_headers, &[&length, CLOSE]].concat(), "{target}");
}

fn assert_no_such_path(server: &TrafficController, target: &str) {
    assert_response(server, target, &[], ("404 Not Found", &[TEXT, NO_SNIFF], "404 page not found\n"));
}

mod api {
    use super::*;

    #[test]
    fn of_today_links_to_all_servers() {
        let server = today().start().unwrap();
        let links = get_json(&server, "/")["links"].take();
        for name in ["self", "login", "uaa", "log_cache", "log_stream"] {
            assert_eq!(links[name], json!({ "href": server.api() }), "{name}");
        }
        assert_eq!(links["logging"], json!({ "href": server.endpoint() }));
        let server = today().tls().start().unwrap();
        assert!(server.api().starts_with("https://127.0.0.1:"));
    }

    #[test]
    fn says_its_versions_and_has_one_organization_and_one_space() {
        let server = today().start().unwrap();
        let links = get_json(&server, "/")["links"].take();
        assert!(links["cloud_controller_v3"]["meta"]["version"].as_str().unwrap().starts_with("3."));
        assert!(links["cloud_controller_v2"]["meta"]["version"].as_str().unwrap().starts_with("2."));
        let organization = get_json(&server, "/v3/organizations?names=org")["resources"][0].take();
        let space = get_json(&server, "/v3/spaces")["resources"][0].take();
        assert_eq!(space["relationships"]["organization"]["data"]["guid"], organization["guid"]);
        assert_eq!(get_json(&server, &format!("/v3/spaces/{}", space["guid"].as_str().unwrap())), space);
        assert_eq!(get_json(&server, "/v3/spaces?names=other")["resources"], json!([]));
    }

    #[test]
    fn lists_the_apps_that_it_knows() {
        let server = today().app(APP, "my-app").apps([OTHER_APP]).start().unwrap();
        let resources = |query: &str| -> Vec<String> {
            let list = get_json(&server, &format!("/v3/apps{query}"));
            list["resources"].as_array().unwrap().iter().map(|app| app["guid"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(resources(""), [APP, OTHER_APP]);
        assert_eq!(resources("?names=my-app,other"), [APP]);
        assert_eq!(resources(&format!("?guids={OTHER_APP}")), [OTHER_APP]);
        assert_eq!(resources("?space_guids=unknown"), [""; 0]);
        let page = get_json(&server, "/v3/apps?per_page=1&page=2");
        assert_eq!(page["resources"][0]["guid"], OTHER_APP);
        assert_eq!((&page["pagination"]["total_pages"], &page["pagination"]["next"]), (&json!(2), &Value::Null));
        let previous = page["pagination"]["previous"]["href"].as_str().unwrap();
        assert_eq!(previous, format!("{}/v3/apps?page=1&per_page=1", server.api()));
        assert_eq!(get_json(&server, &format!("/v3/apps/{APP}"))["name"], "my-app");
        assert_eq!(get_json(&server, "/v2/apps?q=name:my-app")["resources"][0]["metadata"]["guid"], APP);
        for (target, header, status, code) in [
            ("/v3/apps/nope", "Authorization: bearer any", 404, 10010),
            ("/v3/nope", "Authorization: bearer any", 404, 10000),
            ("/v3/apps", NO_TOKEN, 401, 10002),
        ] {
            let (head, body) = get(&server, target, &[header]);
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["errors"][0]["code"], code);
        }
        // Without a list, those that have logged.
        let server = today().start().unwrap();
        server.add_recent(APP, [message("hi", 1)]);
        server.add_recent("no GUID", [LogMessage::new("no GUID", "hi")]);
        assert_eq!(get_json(&server, "/v3/apps")["pagination"]["total_results"], 1);
    }

    #[test]
    fn of_2018_has_no_log_cache() {
        let server = TrafficController::of(Generation::Y2018).unwrap();
        let links = get_json(&server, "/")["links"].take();
        assert_eq!(links["logging"], json!({ "href": server.endpoint() }));
        assert!(links["log_cache"].is_null() && links["log_stream"].is_null());
    }

    #[test]
    fn before_has_only_its_info() {
        for (generation, has_legacy, has_doppler) in [
            (Generation::April2014, true, false),
            (Generation::May2014, true, false),
            (Generation::Y2015, true, true),
            (Generation::Y2016, true, true),
            (Generation::Y2018, false, true),
            (Generation::Today, false, true),
        ] {
            let server = TrafficController::builder().generation(generation).token("bearer x").start().unwrap();
            if has_legacy {
                assert!(get(&server, "/", &[]).0.starts_with("HTTP/1.1 404 "), "{generation:?}");
            }
            let info = get_json(&server, "/v2/info");
            let logging = |is_there: bool| if is_there { Value::from(server.endpoint()) } else { Value::Null };
            assert_eq!(info["logging_endpoint"], logging(has_legacy), "{generation:?}");
            assert_eq!(info["doppler_logging_endpoint"], logging(has_doppler), "{generation:?}");
            assert_eq!(info["authorization_endpoint"], server.api());
            assert_eq!(info["token_endpoint"], server.api());
        }
    }
}

mod uaa {
    use super::*;

    /// `cf:` in base64: the client `cf`, which has no secret.
    const CF: &str = "Authorization: Basic Y2Y6";

    /// Requests a token with a form, and returns the status line and the JSON of the response.
    fn ask(server: &TrafficController, authorization: &str, form: &str) -> (String, Value) {
        let mut client = connect(server);
        let length = format!("Content-Length: {}", form.len());
        request(&mut client, "POST /oauth/token", &[authorization, &length]);
        client.write_all(form.as_bytes()).unwrap();
        let head = head(&mut client);
        assert!(head.contains("\r\nContent-Type: application/json;charset=UTF-8\r\n"), "{head}");
        let status = head.lines().next().unwrap().to_owned();
        (status, serde_json::from_slice(&rest(&mut client)).unwrap())
    }

    fn refresh(server: &TrafficController, refresh_token: &str) -> (String, Value) {
        ask(server, CF, &format!("grant_type=refresh_token&refresh_token={refresh_token}"))
    }

    /// Returns whether each kind of endpoint with tokens accepts this one.
    fn accepts(server: &TrafficController, token: &str) -> bool {
        let read = get(server, &format!("/api/v1/read/{APP}"), &[&format!("Authorization: {token}")]);
        read.0.starts_with("HTTP/1.1 200 ")
    }

    #[test]
    fn gives_jwts_for_refresh_tokens() {
        let server = today().token("bearer x").token_life(Duration::from_secs(60)).start().unwrap();
        let refresh_token = server.issue_refresh_token();
        let (status, response) = refresh(&server, &refresh_token);
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert_eq!((&response["token_type"], &response["expires_in"]), (&json!("bearer"), &json!(60)));
        assert_eq!(response["refresh_token"], refresh_token.as_str());
        let token = response["access_token"].as_str().unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        let is_url_safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        assert!(parts.iter().all(|part| !part.is_empty() && part.bytes().all(is_url_safe)), "{token}");

        assert!(accepts(&server, &format!("bearer {token}")) && accepts(&server, &format!("Bearer {token}")));
        assert!(!accepts(&server, &format!("bearer {token}x")) && !accepts(&server, token));
        let (_, again) = refresh(&server, &refresh_token);
        assert_ne!(again["access_token"], response["access_token"]);
        assert_eq!(server.refreshes(), 2);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let server = today().start().unwrap();
        let token = server.issue_refresh_token();
        let form = format!("refresh_token={token}&grant_type=refresh_token");
        for (authorization, form, status, error) in [
            (CF, "grant_type=refresh_token&refresh_token=nope", "401 Unauthorized", "invalid_token"),
            (CF, "grant_type=refresh_token", "401 Unauthorized", "invalid_token"),
            ("Authorization: Basic eDp5", &form, "401 Unauthorized", "unauthorized"),
            ("X: y", &form, "401 Unauthorized", "unauthorized"),
            (CF, "grant_type=password", "400 Bad Request", "unsupported_grant_type"),
            (CF, "", "400 Bad Request", "invalid_request"),
        ] {
            let (is, response) = ask(&server, authorization, form);
            assert_eq!((is, &response["error"]), (format!("HTTP/1.1 {status}"), &json!(error)));
        }
        assert!(get(&server, "/oauth/token", &[]).0.starts_with("HTTP/1.1 405 "));
        assert_eq!(server.refreshes(), 0);
        server.revoke_refresh_tokens();
        assert_eq!(refresh(&server, &token).0, "HTTP/1.1 401 Unauthorized");
    }

    #[test]
    fn gives_tokens_to_clients_and_users_that_it_knows() {
        let basic = |credentials: &str| {
            use base64::Engine as _;
            format!("Authorization: Basic {}", base64::prelude::BASE64_STANDARD.encode(credentials))
        };
        let builder = today().tokens([""; 0]).client("watcher", "s+c%t").user("marie", "pass word");
        let server = builder.start().unwrap();
        let client = "grant_type=client_credentials";
        let marie = "grant_type=password&username=marie&password=pass+word";
        // Since 2019 the UAA form-decodes user and password of Basic. It also takes them in the form.
        for (authorization, form, has_refresh_token) in [
            (basic("watcher:s%2Bc%25t"), client, false),
            ("X: y".to_owned(), "grant_type=client_credentials&client_id=watcher&client_secret=s%2Bc%25t", false),
            (CF.to_owned(), marie, true),
        ] {
            let (status, response) = ask(&server, &authorization, form);
            assert_eq!(status, "HTTP/1.1 200 OK", "{form}: {response}");
            assert_eq!(response["refresh_token"].is_string(), has_refresh_token);
            assert!(accepts(&server, &format!("bearer {}", response["access_token"].as_str().unwrap())));
        }
        for (authorization, form, status, error) in [
            (basic("watcher:s+c%t"), client, "401 Unauthorized", "unauthorized"),
            (basic("watcher:wrong"), client, "401 Unauthorized", "unauthorized"),
            (basic("nobody:s"), client, "401 Unauthorized", "unauthorized"),
            (CF.to_owned(), client, "401 Unauthorized", "unauthorized_client"),
            (basic("watcher:s%2Bc%25t"), marie, "401 Unauthorized", "unauthorized_client"),
            (CF.to_owned(), "grant_type=password&username=marie&password=no", "401 Unauthorized", "unauthorized"),
            (CF.to_owned(), "grant_type=password&username=x&password=", "401 Unauthorized", "unauthorized"),
        ] {
            let (is, response) = ask(&server, &authorization, form);
            assert_eq!((is, &response["error"]), (format!("HTTP/1.1 {status}"), &json!(error)), "{form}");
        }
        // A UAA of before takes Basic as it is, unless the client says otherwise.
        let server = TrafficController::builder().generation(Generation::Y2018).client("watcher", "s+c%t");
        let server = server.start().unwrap();
        assert_eq!(ask(&server, &basic("watcher:s+c%t"), client).0, "HTTP/1.1 200 OK");
        let encoded = format!("{}\r\nX-CF-ENCODED-CREDENTIALS: true", basic("watcher:s%2Bc%25t"));
        assert_eq!(ask(&server, &encoded, client).0, "HTTP/1.1 200 OK");
        assert_eq!(ask(&server, &basic("watcher:s%2Bc%25t"), client).0, "HTTP/1.1 401 Unauthorized");
    }

    #[test]
    fn says_what_a_user_is_asked_for() {
        let server = today().start().unwrap();
        let login = get_json(&server, "/login");
        assert_eq!(login["prompts"]["password"], json!(["password", "Password"]));
        assert_eq!(login["links"]["uaa"], server.api());
    }

    #[test]
    fn rotates_refresh_tokens_when_told_to() {
        let server = today().rotate_refresh_tokens().start().unwrap();
        let first = server.issue_refresh_token();
        let (_, response) = refresh(&server, &first);
        let second = response["refresh_token"].as_str().unwrap();
        assert_ne!(second, first);
        assert_eq!(refresh(&server, &first).0, "HTTP/1.1 401 Unauthorized");
        assert_eq!(refresh(&server, second).0, "HTTP/1.1 200 OK");
    }

    #[test]
    fn tokens_are_good_until_they_expire() {
        // Any token that the UAA did not issue is accepted.
        let server = today().start().unwrap();
        let token = server.issue_token();
        assert!(accepts(&server, &token) && accepts(&server, "bearer x"));
        server.expire_tokens();
        assert!(!accepts(&server, &token) && accepts(&server, "bearer x"));
        assert!(accepts(&server, &server.issue_token()));

        let server = today().token_life(Duration::from_millis(20)).start().unwrap();
        let token = server.issue_token();
        let issued = Instant::now();
        while accepts(&server, &token) {
            assert!(issued.elapsed() < DEADLINE);
        }
        assert!(issued.elapsed() >= Duration::from_millis(19));
    }

    #[test]
    fn any_token_can_be_refused() {
        let server = today().start().unwrap();
        server.refuse_tokens(2);
        assert_eq!([(); 3].map(|()| accepts(&server, "bearer x")), [false, false, true]);
    }

    #[test]
    fn tokens_are_good_for_every_generation() {
        for (generation, target) in [
            (Generation::May2014, format!("/recent?app={APP}")),
            (Generation::Y2015, format!("/recent?app={APP}")),
            (Generation::Y2016, format!("/apps/{APP}/recentlogs")),
            (Generation::Y2018, format!("/apps/{APP}/recentlogs")),
            (Generation::Today, format!("/api/v1/read/{APP}")),
        ] {
            let server = TrafficController::builder().generation(generation).tokens([""; 0]).start().unwrap();
            let status = |server: &TrafficController, token: &str| {
                let (head, _) = get(server, &target, &[&format!("Authorization: {token}")]);
                head.split(' ').nth(1).map(str::to_owned).unwrap()
            };
            let token = server.issue_token();
            assert_eq!(status(&server, &token), "200", "{generation:?}");
            server.expire_tokens();
            assert!(["401", "404"].contains(&&*status(&server, &token)), "{generation:?}");
        }
    }

    #[test]
    fn requests_are_recorded_with_their_forms_and_hidden_secrets() {
        let server = today().start().unwrap();
        refresh(&server, "hush");
        let request = &server.requests()[0];
        assert_eq!(request.kind, RequestKind::Token);
        assert_eq!(request.body, b"grant_type=refresh_token&refresh_token=hush");
        assert!(!format!("{request:?}").contains("hush"));
    }
}

mod doppler {
    use super::*;

    /// Opens an app's stream, and reads its first ping.
    fn stream(server: &TrafficController) -> TcpStream {
        let mut client = open_websocket(server, &format!("/apps/{APP}/stream"));
        assert_eq!(frame(&mut client), (PING.0, PING.1.to_vec()));
        client
    }

    /// The bytes of an envelope with `message("hi", 1)`.
    fn hi() -> Vec<u8> {
        let log =
            [b"\x0a\x02hi\x10\x01\x18\xe8\x07\x22\x24", APP.as_bytes(), b"\x2a\x0cAPP/PROC/WEB\x32\x010"].concat();
        let begin = [b"\x0a\x03rep\x10\x05\x30\xe8\x07\x42", &[log.len() as u8][..], &log].concat();
        [&begin[..], b"\x6a\x02cf\x72\x0adiego-cell\x7a\x010\x82\x01\x0810.0.1.4"].concat()
    }

    /// The tags of an envelope that has been converted from version 2.
    fn tags() -> Vec<u8> {
        [b"\x8a\x01\x31\x0a\x09source_id\x12\x24", APP.as_bytes()].concat()
    }

    #[test]
    fn streams_envelopes() {
        let server = today().start().unwrap();
        let mut client = stream(&server);
        assert_eq!(server.open_tails(APP), 1);
        assert_eq!(server.send(message("hi", 1)), 1);
        assert_eq!(server.send_raw(APP, "raw"), 1);
        assert_eq!(frame(&mut client), (0x82, [hi(), tags()].concat()));
        assert_eq!(frame(&mut client), (0x82, b"raw".to_vec()));
        assert_eq!(server.close_streams(APP), 0);
        assert_eq!(server.close_tails(APP, Some(1000), ""), 1);
        assert_eq!(frame(&mut client), (0x88, close_payload(1000, "")));
        assert_eq!(rest(&mut client), b"");
    }

    #[test]
    fn says_which_component_a_message_is_from_and_leaves_out_empty_ones() {
        let server = today().start().unwrap();
        let mut client = stream(&server);
        assert_eq!(server.send(message("", 1)), 0);
        for (source, begin) in [
            ("RTR", &b"\x0a\x08gorouter"[..]),
            ("API", b"\x0a\x10cloud_controller"),
            ("STG", b"\x0a\x03rep"),
            ("APP/TASK/x", b"\x0a\x03rep"),
        ] {
            server.send(message("hi", 1).source(source, "0"));
            assert!(frame(&mut client).1.starts_with(begin), "{source}");
        }
    }

    #[test]
    fn pings_and_closes_when_pongs_are_missing() {
        let server = today().ping(NEVER, Duration::from_millis(1)).start().unwrap();
        let mut client = open_websocket(&server, &format!("/apps/{APP}/stream"));
        assert_eq!(frame(&mut client), (PING.0, PING.1.to_vec()));
        let reason = "Client did not respond to ping before keep-alive timeout expired.";
        assert_eq!(frame(&mut client), (0x88, close_payload(1008, reason)));
    }

    #[test]
    fn answers_a_close_frame_with_its_code() {
        let server = today().start().unwrap();
        let mut client = stream(&server);
        client.write_all(&masked(0x88, &close_payload(1000, "bye"))).unwrap();
        assert_eq!(frame(&mut client), (0x88, close_payload(1000, "")));
        let is_over = |received: &[Received]| received[0].ended == Some(WebsocketEnding::ClosedByClient);
        assert!(server.wait_for_received(DEADLINE, is_over));
        // And the end of the stream with 1000.
        let mut client = stream(&server);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(frame(&mut client), (0x88, close_payload(1000, "")));
    }

    #[test]
    fn refuses_with_an_empty_body() {
        const BASIC: &[&str] = &["Www-Authenticate: Basic"];
        for generation in [Generation::Y2018, Generation::Today] {
            let server = TrafficController::builder().generation(generation).token("bearer good").start().unwrap();
            server.hide_app(OTHER_APP);
            let stream = format!("/apps/{APP}/stream");
            let good = ["Authorization: Bearer good"];
            for (target, headers, status, basic) in [
                (&stream, &["X: y"], "401 Unauthorized", BASIC),
                (&stream, &["Authorization: bearer bad"], "401 Unauthorized", BASIC),
                (&stream, &["Authorization: good"], "401 Unauthorized", BASIC),
                (&"/apps/not-a-guid/stream".to_owned(), &good, "401 Unauthorized", &[]),
                (&format!("/apps/{OTHER_APP}/stream"), &good, "404 Not Found", &[]),
            ] {
                assert_response(&server, target, &[&HANDSHAKE[..], headers].concat(), (status, basic, ""));
            }
            let headers = [TEXT, "Sec-Websocket-Version: 13", NO_SNIFF];
            assert_response(&server, &stream, &good, ("400 Bad Request", &headers, "Bad Request\n"));
        }
    }

    #[test]
    fn has_no_legacy_paths_any_more() {
        for generation in [Generation::Y2018, Generation::Today] {
            let server = TrafficController::of(generation).unwrap();
            for target in ["/recent?app=a", "/tail/?app=a", "/dump/?app=a", "/apps//stream", "/firehose/", "/nowhere"] {
                assert_no_such_path(&server, target);
            }
        }
        let server = TrafficController::of(Generation::Today).unwrap();
        assert_no_such_path(&server, &format!("/apps/{APP}/recentlogs"));
        let server = TrafficController::of(Generation::Y2018).unwrap();
        for target in ["/api/v1/info", "/api/v1/meta", &format!("/api/v1/read/{APP}"), "/v2/read?log"] {
            assert_no_such_path(&server, target);
        }
    }

    #[test]
    fn has_a_firehose_for_admins() {
        for (generation, no_token, bad_token) in [
            (Generation::Y2015, "Error: Authorization not provided", "Error: Invalid authorization"),
            (Generation::Today, "authorization not provided", "invalid authorization"),
        ] {
            let server = TrafficController::builder().generation(generation).tokens([""; 0]).start().unwrap();
            let user = format!("Authorization: {}", server.issue_token());
            for (header, text) in [(NO_TOKEN, no_token), (&user, bad_token), ("Authorization: x", bad_token)] {
                let (status, headers, body) = get_text(&server, "/firehose/x", &[header]);
                assert_eq!(status, "HTTP/1.1 401 Unauthorized");
                assert_eq!(body, format!("You are not authorized. {text}"));
                assert!(headers.contains(&"Www-Authenticate: Basic".to_owned()));
            }
            let admin = format!("Authorization: {}", server.issue_admin_token());
            let open = |target: &str| {
                let mut client = open_websocket_with(&server, target, &[&admin]);
                assert_eq!(frame(&mut client), (PING.0, PING.1.to_vec()));
                client
            };
            let (mut all, mut shared) = (open("/firehose/one"), [open("/firehose/two"), open("/firehose/two")]);
            let metrics = open("/firehose/three?filter-type=metrics");
            assert!(server.wait_for_tails("*", 4, DEADLINE));
            for time in 0..10 {
                assert_eq!(server.send(message("hi", time)) + server.send(LogMessage::new(OTHER_APP, "ho")), 4);
            }
            // One with its own subscription gets all, those with the same share them.
            let count = |clients: &mut [TcpStream], frames: usize| {
                let frames: Vec<_> =
                    clients.iter_mut().flat_map(|client| (0..frames).map(|_| frame(client).1)).collect();
                frames.iter().filter(|frame| frame.windows(36).any(|window| window == APP.as_bytes())).count()
            };
            assert_eq!(count(std::slice::from_mut(&mut all), 20), 10);
            assert_eq!(count(&mut shared, 10), 10);
            shared.iter().chain([&all, &metrics]).for_each(assert_quiet);
            assert_eq!(server.close_tails("*", None, ""), 4);
        }
    }

    #[test]
    fn had_container_metrics_until_log_cache_came() {
        for generation in [Generation::Y2015, Generation::Y2016, Generation::Y2018] {
            let server = TrafficController::of(generation).unwrap();
            let (head, body) = get(&server, &format!("/apps/{APP}/containermetrics"), &[]);
            assert_eq!(body, multipart(boundary(&head), &[]));
        }
        assert_no_such_path(&today().start().unwrap(), &format!("/apps/{APP}/containermetrics"));
    }

    #[test]
    fn had_recent_logs_until_log_cache_came() {
        for generation in [Generation::Y2015, Generation::Y2016, Generation::Y2018] {
            let server = TrafficController::of(generation).unwrap();
            server.add_recent(APP, [message("hi", 1)]);
            server.send_raw(APP, "raw");
            let (head, body) = get(&server, &format!("/apps/{APP}/recentlogs"), &[]);
            let envelope = if generation == Generation::Y2018 { [hi(), tags()].concat() } else { hi() };
            assert_eq!(body, multipart(boundary(&head), &[&envelope, b"raw"]));
            assert_eq!(server.requests()[0].kind, RequestKind::RecentLogs);
        }
    }

    #[test]
    fn of_2015_behaves_like_the_legacy_paths() {
        let server = TrafficController::builder().token("bearer good").start().unwrap();
        let (status, _, body) = bare::get_text(&server, "/apps/any-app/stream", &HANDSHAKE);
        assert_eq!(status, "HTTP/1.1 401 Unauthorized");
        assert_eq!(body, "You are not authorized. Error: Authorization not provided");
        // Both kinds of tails get each message, in their own encoding.
        let mut clients = ["/apps/any-app/stream", "/tail/?app=any-app"].map(|target| {
            let mut client = connect(&server);
            let headers = [&HANDSHAKE[..], &["Authorization: bearer good"]].concat();
            request(&mut client, &format!("GET {target}"), &headers);
            assert_eq!(head(&mut client), SWITCHING);
            assert_eq!(frame(&mut client), (PING.0, PING.1.to_vec()));
            client
        });
        assert_eq!(server.send(LogMessage::new("any-app", "hi")), 2);
        let [doppler, legacy] = clients.each_mut().map(|client| frame(client).1);
        assert!(doppler.starts_with(b"\x0a\x03rep"));
        assert!(legacy.starts_with(b"\x0a\x02hi"));
    }
}

mod log_cache {
    use super::*;

    fn read(query: &str) -> String {
        format!("/api/v1/read/{APP}?envelope_types=LOG{query}")
    }

    /// Returns the texts of the messages in a response.
    fn texts(server: &TrafficController, query: &str) -> Vec<String> {
        let body = get_json(server, &read(query));
        let decode = |payload: &str| {
            use base64::Engine as _;
            String::from_utf8(base64::prelude::BASE64_STANDARD.decode(payload).unwrap()).unwrap()
        };
        let batch = body["envelopes"]["batch"].as_array().unwrap();
        batch.iter().map(|envelope| decode(envelope["log"]["payload"].as_str().unwrap())).collect()
    }

    /// Returns the numbers of the messages in a response.
    fn numbers(server: &TrafficController, query: &str) -> Vec<i64> {
        texts(server, query).iter().map(|text| text.parse().unwrap()).collect()
    }

    /// A server with messages at the microseconds 0, 1, 2 …, whose texts are these numbers.
    fn server_with(messages: i64) -> TrafficController {
        let server = today().retain(5000).start().unwrap();
        server.add_recent(APP, (0..messages).map(|time| message(&time.to_string(), time)));
        server
    }

    #[test]
    fn answers_with_envelopes() {
        let server = today().start().unwrap();
        server.add_recent(APP, [message("hi", 1)]);
        server.send_raw(APP, "what is no message is not here");
        server.send(message("ho", 2));
        let (head, body) = get(&server, &read("&descending=true&limit=10"), &[]);
        let head_end = format!("\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let head_begin = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nGrpc-Metadata-Content-Type: application/grpc\r\nDate: ";
        assert!(head.starts_with(head_begin) && head.ends_with(&head_end), "{head}");
        let expected =
            format!("{{\"envelopes\":{{\"batch\":[{},{}]}}}}\n", envelope("aG8=", 2000), envelope("aGk=", 1000));
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        assert_eq!((server.requests()[0].kind, server.requests()[0].app().as_str()), (RequestKind::LogCacheRead, APP));
    }

    #[test]
    fn can_answer_in_chunks() {
        let server = today().body_framing(BodyFraming::Chunked).start().unwrap();
        let (head, body) = get(&server, &read(""), &[]);
        assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n"), "{head}");
        assert_eq!(body, b"1b\r\n{\"envelopes\":{\"batch\":[]}}\n\r\n0\r\n\r\n");
    }

    #[test]
    fn of_an_app_without_logs_is_empty() {
        let (_, body) = get(&today().start().unwrap(), &format!("/api/v1/read/{OTHER_APP}"), &[]);
        assert_eq!(body, b"{\"envelopes\":{\"batch\":[]}}\n");
    }

    #[test]
    fn gives_a_page_of_a_window() {
        let server = server_with(1200);
        let range = |from: i64, to: i64| (from..to).collect::<Vec<_>>();
        let reversed = |from: i64, to: i64| (from..to).rev().collect::<Vec<_>>();
        assert_eq!(numbers(&server, ""), range(0, 100));
        assert_eq!(numbers(&server, "&limit=0"), range(0, 100));
        assert_eq!(numbers(&server, "&descending=true"), reversed(1100, 1200));
        assert_eq!(numbers(&server, "&limit=1000&descending=false"), range(0, 1000));
        assert_eq!(numbers(&server, "&limit=1000&start_time=1150000"), range(1150, 1200));
        assert_eq!(numbers(&server, "&start_time=2000&end_time=5000"), range(2, 5));
        assert_eq!(numbers(&server, "&start_time=2001&end_time=5001"), range(3, 6));
        assert_eq!(numbers(&server, "&descending=1&limit=2&end_time=5000"), [4, 3]);
        assert_eq!(numbers(&server, "&start_time=5000&end_time=5000"), range(0, 0));
        assert_eq!(numbers(&server, "&start_time=9000000000"), range(0, 0));
        assert_eq!(numbers(&server, "&limit=1&unknown=parameter&envelope_types=COUNTER"), [0]);
        let (_, body) = get(&server, &format!("/api/v1/read/{APP}?envelope_types=GAUGE"), &[]);
        assert_eq!(body, b"{\"envelopes\":{\"batch\":[]}}\n");
    }

    #[test]
    fn is_sorted_by_time_and_ends_now() {
        let server = today().start().unwrap();
        // In the year 2262, and before the epoch.
        server.add_recent(APP, [message("2", 2), message("future", i64::MAX / 1000), message("1", 1)]);
        server.add_recent(APP, [message("past", -1)]);
        assert_eq!(texts(&server, ""), ["1", "2"]);
        assert_eq!(texts(&server, "&start_time=-1000"), ["past", "1", "2"]);
        assert_eq!(texts(&server, &format!("&end_time={}", i64::MAX)), ["1", "2", "future"]);
    }

    #[test]
    fn keeps_the_latest() {
        let server = today().retain(2).start().unwrap();
        server.add_recent(APP, (0..4).map(|time| message(&time.to_string(), time)));
        assert_eq!(numbers(&server, ""), [2, 3]);
    }

    #[test]
    fn changes_messages_as_syslog_does() {
        let server = today().start().unwrap();
        server.add_recent(APP, [message("\r\n\t a\0 b \0\n", 1).timestamp(1999)]);
        let body = get_json(&server, &read(""));
        assert_eq!(body["envelopes"]["batch"][0]["timestamp"], "1000");
        assert_eq!(texts(&server, ""), ["a b"]);
    }

    #[test]
    fn splits_equal_times_as_configured() {
        let times = |body: &Value| -> Vec<String> {
            let batch = body["envelopes"]["batch"].as_array().unwrap();
            batch.iter().map(|envelope| envelope["timestamp"].as_str().unwrap().to_owned()).collect()
        };
        for (equal_times, ascending, descending) in [
            (
                EqualTimes::Together,
                &["1000", "2000", "2000", "2000", "3000"][..],
                &["3000", "2000", "2000", "2000"][..],
            ),
            (EqualTimes::Parted, &["1000", "2000"], &["3000", "2000"]),
            (EqualTimes::Spread, &["1000", "2000"], &["3000", "2002"]),
        ] {
            let server = today().equal_times(equal_times).start().unwrap();
            server.add_recent(
                APP,
                [(1, "1"), (2, "2"), (2, "3"), (2, "4"), (3, "5")].map(|(time, text)| message(text, time)),
            );
            assert_eq!(times(&get_json(&server, &read("&limit=2"))), ascending);
            assert_eq!(times(&get_json(&server, &read("&limit=2&descending=true"))), descending);
            assert_eq!(numbers(&server, ""), [1, 2, 3, 4, 5]);
            assert_eq!(numbers(&server, "&descending=true"), [5, 4, 3, 2, 1]);
        }
    }

    #[test]
    fn ends_a_full_page_with_one_message_of_its_last_time_or_with_all_of_them() {
        let server = today().start().unwrap();
        // Five messages of each microsecond.
        server.add_recent(APP, (0..500).map(|n| message(&n.to_string(), n / 5)));
        for limit in [1, 7, 100, 333] {
            let page = numbers(&server, &format!("&limit={limit}"));
            assert_eq!(page, (0..page.len() as i64).collect::<Vec<_>>());
            assert!(page.len() >= limit && page.len() % 5 == 1, "{}", page.len());
            let page = numbers(&server, &format!("&limit={limit}&descending=true"));
            assert!(page.len() >= limit && page.len().is_multiple_of(5), "{}", page.len());
            assert_eq!(page, (500 - page.len() as i64..500).rev().collect::<Vec<_>>());
        }
        // The limit of a page in the middle of a run is no reason to end it: here 4000 of one time.
        let server = today().retain(5000).start().unwrap();
        server.add_recent(APP, (0..4000).map(|n| message(&n.to_string(), 7)));
        assert_eq!(numbers(&server, "&limit=100&descending=true").len(), 4000);
    }

    #[test]
    fn can_have_messages_that_come_late_and_out_of_order() {
        let server = today().start().unwrap();
        let mut client = open_websocket(&server, &format!("/apps/{APP}/stream"));
        assert_eq!(frame(&mut client), (PING.0, PING.1.to_vec()));
        let delay = Duration::from_millis(200);
        let sent = Instant::now();
        assert_eq!(server.send_late(message("late", 2), delay), 1);
        server.send_late(message("never", 2), NEVER);
        server.add_recent(APP, [message("first", 1), message("same", 2), message("last", 3)]);
        // Streams are not late.
        assert_eq!(frame(&mut client).0, 0x82);
        let before = texts(&server, "");
        assert!(sent.elapsed() > delay || before == ["first", "same", "last"], "{before:?}");
        while texts(&server, "").len() < 4 {
            assert!(sent.elapsed() < DEADLINE);
        }
        assert!(sent.elapsed() >= delay);
        assert_eq!(texts(&server, ""), ["first", "same", "late", "last"]);

        let server = today().log_cache_delay(delay).start().unwrap();
        let sent = Instant::now();
        server.send(message("1", 1));
        while numbers(&server, "").is_empty() {
            assert!(sent.elapsed() < DEADLINE);
        }
        assert!(sent.elapsed() >= delay);
    }

    #[test]
    fn drops_the_oldest_times_and_can_be_emptied() {
        let server = today().max_per_source(3).start().unwrap();
        server.add_recent(APP, [5, 1, 4, 2, 3].map(|time| message(&time.to_string(), time)));
        // 1 went for 2, and 2 for 3, as each was added.
        assert_eq!(numbers(&server, ""), [3, 4, 5]);
        // One that is older than all others stays until the next one comes.
        server.send(message("0", 0));
        assert_eq!(numbers(&server, ""), [0, 4, 5]);
        let meta = get_meta(&server);
        assert_eq!(
            (&meta["count"], &meta["expired"], &meta["newestTimestamp"]),
            (&json!("3"), &json!("3"), &json!("5000"))
        );
        server.empty_log_cache();
        assert_eq!(numbers(&server, ""), [0; 0]);
        assert!(get_meta(&server).is_null());
        server.send(message("6", 6));
        assert_eq!(numbers(&server, ""), [6]);
    }

    fn get_meta(server: &TrafficController) -> Value {
        let (_, body) = get(server, "/api/v1/meta", &[]);
        serde_json::from_slice::<Value>(&body).unwrap()["meta"][APP].take()
    }

    #[test]
    fn is_empty_while_its_node_is_away() {
        let server = server_with(2);
        server.set_node_away(true);
        assert_eq!(numbers(&server, ""), [0; 0]);
        assert!(get_meta(&server).is_null());
        server.send(message("2", 2));
        server.set_node_away(false);
        assert_eq!(numbers(&server, ""), [0, 1, 2]);
    }

    #[test]
    fn explains_which_queries_it_rejects() {
        const JSON: &[&str] = &["Content-Type: application/json"];
        let server = today().start().unwrap();
        for (query, status, code, message) in [
            ("limit=1001", "500 Internal Server Error", 2, "limit (1001) must be 1000 or less"),
            ("limit=-1", "500 Internal Server Error", 2, "limit (-1) must be greater than zero"),
            ("start_time=20&end_time=10", "500 Internal Server Error", 2, "StartTime (20) must be before EndTime (10)"),
            (
                "limit=ten",
                "400 Bad Request",
                3,
                r#"parsing field \"limit\": strconv.ParseInt: parsing \"ten\": invalid syntax"#,
            ),
            (
                "end_time=",
                "400 Bad Request",
                3,
                r#"parsing field \"end_time\": strconv.ParseInt: parsing \"\": invalid syntax"#,
            ),
            (
                "descending=yes",
                "400 Bad Request",
                3,
                r#"parsing field \"descending\": strconv.ParseBool: parsing \"yes\": invalid syntax"#,
            ),
            (
                "envelope_types=log",
                "400 Bad Request",
                3,
                r#"parsing list \"envelope_types\": \"log\" is not a valid value"#,
            ),
        ] {
            let body = format!("{{\"code\":{code},\"message\":\"{message}\",\"details\":[]}}\n");
            assert_response(&server, &format!("/api/v1/read/{APP}?{query}"), &[], (status, JSON, body));
        }
        let mut client = connect(&server);
        request(&mut client, &format!("POST /api/v1/read/{APP}"), &["Content-Length: 0"]);
        assert!(head(&mut client).starts_with("HTTP/1.1 501 Not Implemented\r\n"));
        assert_eq!(rest(&mut client), b"{\"code\":12,\"message\":\"Method Not Allowed\",\"details\":[]}\n");
    }

    #[test]
    fn refuses_answers_that_are_too_large() {
        let one = envelope("MA==", 0).len() + "{\"envelopes\":{\"batch\":[]}}\n".len();
        let server = today().largest_answer(one).start().unwrap();
        server.add_recent(APP, (0..2).map(|time| message("0", time)));
        assert_eq!(numbers(&server, "&limit=1"), [0]);
        let (head, body) = get(&server, &read("&limit=2"), &[]);
        assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{head}");
        assert!(body.starts_with(br#"{"code":8,"message":"grpc: received message larger than max ("#));
    }

    #[test]
    fn has_one_response_for_every_problem_with_a_token() {
        let server = today().token("bearer good").start().unwrap();
        server.hide_app(OTHER_APP);
        let good = "Authorization: BEARER good";
        for (target, header) in [
            (format!("/api/v1/read/{APP}"), "X: y"),
            (format!("/api/v1/read/{APP}?limit=no"), "Authorization: bearer bad"),
            (format!("/api/v1/read/{OTHER_APP}"), good),
            ("/api/v1/meta".to_owned(), "X: y"),
        ] {
            assert_response(&server, &target, &[header], ("404 Not Found", &[], ""));
        }
        assert!(get(&server, &read(""), &[good]).0.starts_with("HTTP/1.1 200 "));
        assert_response(
            &server,
            "/api/v1/info",
            &[],
            ("200 OK", &[TEXT], "{\"version\":\"3.2.12\",\"vm_uptime\":\"2204\"}\n"),
        );
        assert_no_such_path(&server, "/api/v1/read/");
        assert_no_such_path(&server, "/api/v1/nope");
    }

    #[test]
    fn filters_names_which_logs_do_not_have() {
        let server = server_with(2);
        assert_eq!(numbers(&server, "&name_filter=.%2B%5B%5Da%5D"), [0; 0]);
        assert_eq!(numbers(&server, "&name_filter="), [0, 1]);
        let error = |problem: &str| {
            let message = format!("name filter must be a valid regular expression: error parsing regexp: {problem}");
            format!("{{\"code\":2,\"message\":\"{message}\",\"details\":[]}}\n")
        };
        for (pattern, problem) in [
            ("%5B", "missing closing ]: `[`"),
            ("(a", "missing closing ): `(a`"),
            ("a)", "unexpected ): `a)`"),
            ("*a", "missing argument to repetition operator: `*`"),
        ] {
            let (head, body) = get(&server, &read(&format!("&name_filter={pattern}")), &[]);
            assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
            assert_eq!(String::from_utf8(body).unwrap(), error(problem));
        }
    }

    #[test]
    fn has_queries_that_must_name_a_source() {
        let server = today().apps([APP]).start().unwrap();
        let query = |path: &str, query: &str| {
            let (head, body) = get(&server, &format!("/api/v1/{path}?query={query}"), &[]);
            let status = head.split(' ').nth(1).unwrap().parse::<u16>().unwrap();
            (status, serde_json::from_slice::<Value>(&body).unwrap_or_default())
        };
        for (path, kind, times) in [("query", "vector", ""), ("query_range", "matrix", "&start=1&end=2&step=1s")] {
            let success = json!({ "status": "success", "data": { "resultType": kind, "result": [] } });
            assert_eq!(query(path, &format!("cpu%7Bsource_id=%22{APP}%22%7D{times}")), (200, success));
            assert_eq!(query(path, &format!("cpu%7Bsource_id=%22{OTHER_APP}%22%7D")), (404, Value::Null));
            let error =
                json!({ "status": "error", "errorType": "bad_data", "error": "query does not request any source_ids" });
            assert_eq!(query(path, "cpu"), (400, error));
            assert_eq!(query(path, "cpu%7B").0, 400);
            assert_response(&server, &format!("/api/v1/{path}?query=x"), &[NO_TOKEN], ("404 Not Found", &[], ""));
        }
    }

    #[test]
    fn shows_admins_every_source() {
        let server = today().apps([APP]).start().unwrap();
        server.add_recent("doppler", [LogMessage::new("doppler", "hi").timestamp(1000)]);
        let (head, body) =
            get(&server, "/api/v1/read/doppler", &[&format!("Authorization: {}", server.issue_admin_token())]);
        assert!(head.starts_with("HTTP/1.1 200 ") && body.windows(4).any(|window| window == b"aGk="), "{head}");
    }

    #[test]
    fn has_meta_of_its_sources() {
        let server = server_with(3);
        server.add_recent(OTHER_APP, [LogMessage::new(OTHER_APP, "x")]);
        server.hide_app(OTHER_APP);
        let body = format!(
            "{{\"meta\":{{\"{APP}\":{{\"count\":\"3\", \"oldestTimestamp\":\"0\", \"newestTimestamp\":\"2000\"}}}}}}\n"
        );
        assert_response(&server, "/api/v1/meta", &[], ("200 OK", &[TEXT], body));
    }

    #[test]
    fn breaks_where_a_fault_is_set() {
        let server = server_with(2);
        let (_, whole) = get(&server, &read(""), &[]);
        server.fault(Fault::Truncate);
        let (head, body) = get(&server, &read(""), &[]);
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", whole.len())), "{head}");
        assert!(body.len() < whole.len() && whole.starts_with(&body));

        for (fault, after) in [
            (Fault::EndlessMessages, format!(",{0},{1},{0}", envelope("MA==", 0), envelope("MQ==", 1000))),
            (Fault::EndlessBody, r#",{"log":{"payload":"xxxxxxxxx"#.to_owned()),
        ] {
            server.fault([fault, Fault::DropAfter(100_000)]);
            let (head, body) = get(&server, &read(""), &[]);
            assert!(!head.contains("Content-Length"), "{head}");
            assert_eq!(head.len() + body.len(), 100_000);
            let begin = whole.strip_suffix(b"]}}\n").unwrap();
            assert_eq!(body[..begin.len() + after.len()], [begin, after.as_bytes()].concat());
        }
    }
}

mod gateway {
    use super::*;

    const NOT_FOUND: &str = "{\"message\":\"resource not found\",\"error\":\"not_found\"}\n\n";

    /// Opens a stream of one app.
    fn stream(server: &TrafficController) -> TcpStream {
        let mut client = connect(server);
        begin(&mut client);
        client
    }

    fn begin(client: &mut TcpStream) {
        request(
            client,
            &format!("GET /v2/read?log&source_id={APP}"),
            &["Accept: text/event-stream", "Connection: keep-alive"],
        );
        let head = head(client);
        let (before, date) = head.split_once("Date: ").unwrap();
        let begin = "HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nConnection: keep-alive\r\n\
                     Content-Type: text/event-stream\r\n";
        assert_eq!(before, begin);
        assert!(date.ends_with(" GMT\r\nTransfer-Encoding: chunked\r\n\r\n"), "{head}");
    }

    /// Reads a chunk. The last one is empty.
    fn chunk(client: &mut TcpStream) -> String {
        let mut size = Vec::new();
        while !size.ends_with(b"\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            size.extend_from_slice(&byte);
        }
        let size = usize::from_str_radix(str::from_utf8(&size).unwrap().trim_end(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        client.read_exact(&mut chunk).unwrap();
        String::from_utf8(chunk).unwrap().strip_suffix("\r\n").unwrap().to_owned()
    }

    fn batch(envelopes: &[String]) -> String {
        format!("data: {{\"batch\":[{}]}}\n\n", envelopes.join(","))
    }

    const CLOSING: &str = "event: closing\ndata: closing due to stream timeout\n\n";

    #[test]
    fn streams_batches() {
        let server = today().start().unwrap();
        let mut client = stream(&server);
        assert_eq!(server.open_tails(APP), 1);
        assert_eq!(server.send(message("hi", 1)), 1);
        assert_eq!(server.send(message("ho", 2)), 1);
        assert_eq!(server.send_raw(APP, "{\"no\": \"batch\"}"), 1);
        assert_eq!(server.send_bytes(APP, b"event: other\ndata: x"), 1);
        assert_eq!(chunk(&mut client), batch(&[envelope("aGk=", 1000)]));
        assert_eq!(chunk(&mut client), batch(&[envelope("aG8=", 2000)]));
        assert_eq!(chunk(&mut client), "data: {\"no\": \"batch\"}\n\n");
        assert_eq!(chunk(&mut client), "event: other\ndata: x");
        assert_eq!((server.requests()[0].kind, server.requests()[0].app().as_str()), (RequestKind::Gateway, APP));
        drop(client);
        assert!(server.wait_for_tails(APP, 0, DEADLINE));
        assert!(server.wait_until_idle(DEADLINE));
    }

    #[test]
    fn collects_envelopes_for_a_window_or_until_they_are_100() {
        let window = Duration::from_millis(200);
        let server = today().batch_window(window).start().unwrap();
        let mut client = stream(&server);
        let start = Instant::now();
        for time in 0..150 {
            server.send(message("0", time));
        }
        let envelopes: Vec<_> = (0..150).map(|time| envelope("MA==", time * 1000)).collect();
        assert_eq!(chunk(&mut client), batch(&envelopes[..100]));
        assert_eq!(chunk(&mut client), batch(&envelopes[100..]));
        assert!(start.elapsed() >= window);
        // The end of the stream, and data that is not a batch, are sent at once, after the pending batch.
        let server = today().batch_window(NEVER).start().unwrap();
        let mut client = stream(&server);
        server.send(message("hi", 1));
        server.send_raw(APP, "x");
        server.send(message("hi", 1));
        server.close_tails(APP, None, "");
        let hi = batch(&[envelope("aGk=", 1000)]);
        assert_eq!([(); 4].map(|()| chunk(&mut client)), [&hi, "data: x\n\n", &hi, ""]);
    }

    #[test]
    fn streams_several_apps() {
        let server = today().start().unwrap();
        let mut client = connect(&server);
        request(&mut client, &format!("GET /v2/read?counter&log&source_id={APP}&source_id={OTHER_APP}"), &[]);
        head(&mut client);
        assert_eq!(server.send(message("hi", 1)) + server.send(LogMessage::new(OTHER_APP, "hi")), 2);
        assert_eq!(chunk(&mut client), batch(&[envelope("aGk=", 1000)]));
        assert!(chunk(&mut client).contains(OTHER_APP));
        // Without logs, the stream sends nothing.
        let mut client = connect(&server);
        request(&mut client, &format!("GET /v2/read?counter&source_id={APP}"), &[]);
        head(&mut client);
        assert_eq!(server.send(message("hi", 1)), 1);
        assert_quiet(&client);
    }

    #[test]
    fn shares_what_comes_among_the_streams_of_a_shard() {
        let server = today().start().unwrap();
        let open = |query: &str, token: &str| {
            let mut client = connect(&server);
            request(&mut client, &format!("GET /v2/read?{query}"), &[&format!("Authorization: {token}")]);
            assert!(head(&mut client).starts_with("HTTP/1.1 200 "));
            client
        };
        let shard = format!("log&source_id={APP}&shard_id=shard");
        let mut shared = [open(&shard, "bearer any"), open(&shard, "bearer any")];
        let mut alone = open(&format!("log&source_id={APP}&shard_id=other"), "bearer any");
        // An admin may leave out the sources.
        let mut all = open("log", &server.issue_admin_token());
        assert!(server.wait_for_tails(APP, 3, DEADLINE));
        for time in 0..6 {
            assert_eq!(server.send(message("hi", time)), 3);
        }
        server.send(LogMessage::new(OTHER_APP, "ho"));
        let mut times: Vec<_> =
            shared.iter_mut().flat_map(|client| (0..3).map(|_| chunk(client))).map(|chunk| chunk.to_owned()).collect();
        times.sort_unstable();
        times.dedup();
        assert_eq!(times.len(), 6);
        for _ in 0..6 {
            chunk(&mut alone);
            chunk(&mut all);
        }
        assert!(chunk(&mut all).contains(OTHER_APP));
        shared.iter().chain([&alone]).for_each(assert_quiet);
    }

    #[test]
    fn sends_heartbeats_while_there_is_nothing_else() {
        let server = today().heartbeat(Duration::from_millis(10)).start().unwrap();
        let mut client = stream(&server);
        for _ in 0..3 {
            let event = chunk(&mut client);
            let time = event.strip_prefix("event: heartbeat\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
            assert!(time.is_some_and(|time| time.parse::<u64>().is_ok()), "{event}");
        }
        let server = today().heartbeat(NEVER).start().unwrap();
        assert_quiet(&stream(&server));
    }

    #[test]
    fn announces_the_close_and_leaves_the_connection_open() {
        let server = today().start().unwrap();
        let mut client = stream(&server);
        server.send(message("hi", 1));
        assert_eq!(server.close_streams(APP), 1);
        assert_eq!(server.close_streams(APP), 0);
        assert_eq!(chunk(&mut client), batch(&[envelope("aGk=", 1000)]));
        assert_eq!([(); 2].map(|()| chunk(&mut client)), [CLOSING, ""]);
        assert_eq!(server.open_tails(APP), 0);
        assert_quiet(&client);
        // The connection can be used for another request.
        begin(&mut client);
        assert_eq!(server.send(message("ho", 2)), 1);
        assert_eq!(chunk(&mut client), batch(&[envelope("aG8=", 2000)]));

        let server = today().stream_timeout(Duration::from_millis(20)).start().unwrap();
        let mut client = stream(&server);
        assert_eq!([(); 2].map(|()| chunk(&mut client)), [CLOSING, ""]);
    }

    #[test]
    fn ends_without_a_closing_event() {
        let server = today().start().unwrap();
        let mut client = stream(&server);
        assert_eq!(server.close_tails(APP, Some(1000), "no websocket"), 1);
        assert_eq!(chunk(&mut client), "");
        assert_quiet(&client);

        let mut client = stream(&server);
        assert_eq!(server.drop_tails(APP), 1);
        assert_eq!(rest(&mut client), b"");
        let mut client = stream(&server);
        assert_eq!(server.reset_tails(APP), 1);
        assert_reset(client.read(&mut [0]));
        // A client's EOF ends the stream.
        let mut client = stream(&server);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut client), b"0\r\n\r\n");
    }

    #[test]
    fn sending_stops_waiting_when_the_client_ends() {
        for fault in [vec![], vec![Fault::EndlessBody]] {
            let server = today().backlog(1000).retain(0).start().unwrap();
            server.fault(fault);
            let client = stream(&server);
            let payload = vec![b'p'; 1 << 20];
            thread::scope(|scope| {
                let sender = scope.spawn(|| while server.send_raw(APP, &payload[..]) == 1 {});
                let has_waited = !server.wait_for_tails(APP, 0, QUIET);
                // The client reads nothing more, and does not hang up.
                client.shutdown(Shutdown::Write).unwrap();
                let is_over = server.wait_for_tails(APP, 0, DEADLINE);
                server.stop();
                sender.join().unwrap();
                assert!(has_waited && is_over);
            });
        }
    }

    #[test]
    fn limits_the_number_of_streams() {
        let server = today().most_streams(1).start().unwrap();
        let first = stream(&server);
        let mut second = stream(&server);
        assert_eq!(chunk(&mut second), "");
        assert!(server.wait_for_tails(APP, 1, DEADLINE));
        drop(first);
        assert!(server.wait_for_tails(APP, 0, DEADLINE));
        begin(&mut second);
        assert!(server.wait_for_tails(APP, 1, DEADLINE));
        assert_quiet(&second);
    }

    #[test]
    fn refuses_in_json_that_is_served_as_text() {
        const HEADERS: &[&str] = &[TEXT, NO_SNIFF];
        let server = today().token("bearer good").start().unwrap();
        server.hide_app(OTHER_APP);
        let good = "Authorization: bearer good";
        for (query, header) in [
            (format!("log&source_id={APP}"), "X: y"),
            (format!("log&source_id={APP}"), "Authorization: bearer bad"),
            (format!("log&source_id={APP}&source_id={OTHER_APP}"), good),
            ("log&source_id=doppler".to_owned(), good),
            ("log".to_owned(), good),
        ] {
            assert_response(&server, &format!("/v2/read?{query}"), &[header], ("404 Not Found", HEADERS, NOT_FOUND));
        }
        let body =
            "{\"message\":\"query must provide at least one envelope type\",\"error\":\"missing_envelope_type\"}\n\n";
        let target = format!("/v2/read?source_id={APP}");
        assert_response(&server, &target, &[good], ("400 Bad Request", HEADERS, body));
        let mut client = connect(&server);
        request(&mut client, &format!("POST {target}&log"), &[good, "Content-Length: 0"]);
        assert!(head(&mut client).starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
        assert_eq!(rest(&mut client), b"{\"message\":\"method not allowed\",\"error\":\"method_not_allowed\"}\n\n");
        assert_no_such_path(&server, "/v1/read");
        let admin = format!("Authorization: {}", server.issue_admin_token());
        let body = "{\"message\":\"query cannot be empty\",\"error\":\"empty_query\"}\n\n";
        assert_response(&server, "/v2/read", &[&admin], ("400 Bad Request", HEADERS, body));
    }

    #[test]
    fn breaks_where_a_fault_is_set() {
        let server = today().start().unwrap();
        server.add_recent(APP, [message("hi", 1)]);
        let all = |server: &TrafficController, faults: &[Fault]| {
            server.fault(faults.to_vec());
            let mut client = connect(server);
            request(&mut client, &format!("GET /v2/read?log&source_id={APP}"), &[]);
            let head = head(&mut client);
            (head.len(), rest(&mut client))
        };
        let (head, body) = all(&server, &[Fault::DropAfter(200_000), Fault::EndlessMessages]);
        assert_eq!(head + body.len(), 200_000);
        let event = batch(&[envelope("aGk=", 1000)]);
        let (_, chunks) = body.split_at(body.iter().position(|&byte| byte == b'\n').unwrap() + 1);
        assert!(chunks.starts_with(event.repeat(3).as_bytes()));
        let (head, body) = all(&server, &[Fault::DropAfter(200_000), Fault::EndlessBody]);
        assert_eq!(head + body.len(), 200_000);
        assert!(body.starts_with(b"10\r\ndata: {\"batch\":[\r\n10000\r\nxxxxxx"));

        let delay = Duration::from_millis(50);
        server.fault(Fault::DelayedBody(delay));
        let mut client = stream(&server);
        let start = Instant::now();
        server.send(message("hi", 1));
        assert_eq!(chunk(&mut client), event);
        assert!(start.elapsed() >= delay / 2);
        server.fault(Fault::DropAfter(200));
        let mut client = connect(&server);
        request(&mut client, &format!("GET /v2/read?log&source_id={APP}"), &[]);
        assert!(server.wait_for_tails(APP, 2, DEADLINE));
        server.send(message("hi", 1));
        assert_eq!(rest(&mut client).len(), 200);
    }
}

/// Only apps that exist exist, and only requests with a token may see them.
mod access {
    use super::*;

    const NOT_FOUND: &str = "{\"message\":\"resource not found\",\"error\":\"not_found\"}\n\n";

    fn targets(app: &str) -> [String; 3] {
        [format!("/apps/{app}/stream"), format!("/v2/read?log&source_id={app}"), format!("/api/v1/read/{app}")]
    }

    /// Returns the statuses and the bodies of the error responses of Doppler, the RLP gateway and Log Cache.
    fn errors(server: &TrafficController, app: &str, header: &str) -> [(u16, String); 3] {
        targets(app).map(|target| {
            let (status, _, body) = bare::get_text(server, &target, &[&HANDSHAKE[..], &[header]].concat());
            (status.split(' ').nth(1).unwrap().parse().unwrap(), body)
        })
    }

    /// Returns the statuses of Doppler, the RLP gateway and Log Cache.
    fn statuses(server: &TrafficController, app: &str) -> [u16; 3] {
        targets(app).map(|target| {
            let mut client = connect(server);
            request(&mut client, &format!("GET {target}"), &HANDSHAKE);
            head(&mut client).split(' ').nth(1).unwrap().parse().unwrap()
        })
    }

    fn expected(doppler: u16) -> [(u16, String); 3] {
        [(doppler, String::new()), (404, NOT_FOUND.to_owned()), (404, String::new())]
    }

    #[test]
    fn needs_a_token() {
        for server in [today().start().unwrap(), today().token("bearer any").start().unwrap()] {
            assert_eq!(errors(&server, APP, NO_TOKEN), expected(401));
            assert_eq!(errors(&server, APP, "Authorization: "), expected(401));
            assert_response(&server, "/api/v1/meta", &[NO_TOKEN], ("404 Not Found", &[], ""));
            assert_eq!(statuses(&server, APP), [101, 200, 200]);
        }
    }

    #[test]
    fn is_granted_to_every_guid_or_to_the_apps_that_exist() {
        let server = today().start().unwrap();
        assert_eq!(statuses(&server, OTHER_APP), [101, 200, 200]);
        let server = today().apps([OTHER_APP]).apps([APP]).start().unwrap();
        assert_eq!(statuses(&server, OTHER_APP), [101, 200, 200]);
        assert_eq!(statuses(&server, APP), [101, 200, 200]);
        let unknown = "33333333-aaaa-bbbb-cccc-000000000003";
        assert_eq!(errors(&server, unknown, "Authorization: bearer any"), expected(404));
        // Not even if it logs.
        server.add_recent(unknown, [LogMessage::new(unknown, "x")]);
        assert_eq!(errors(&server, unknown, "Authorization: bearer any"), expected(404));
        server.hide_app(APP);
        assert_eq!(errors(&server, APP, "Authorization: bearer any"), expected(404));
    }

    #[test]
    fn is_not_granted_to_what_is_not_a_guid() {
        let server = today().start().unwrap();
        for app in ["my-app", "doppler", "11111111-aaaa-bbbb-cccc-00000000000", "11111111aaaabbbbcccc000000000001"] {
            assert_eq!(errors(&server, app, "Authorization: bearer any"), expected(401), "{app}");
        }
    }

    #[test]
    fn of_older_generations_is_limited_to_the_apps_that_exist() {
        for (generation, status, body) in [
            (Generation::Y2015, 401, "You are not authorized. Error: Invalid authorization"),
            (Generation::Y2016, 404, "Not Found"),
        ] {
            let server = TrafficController::builder().generation(generation).apps(["app"]).start().unwrap();
            assert!(get(&server, "/recent?app=app", &[]).0.starts_with("HTTP/1.1 200 "));
            let response = get_text(&server, "/recent?app=other", &[]);
            assert_eq!((response.0.split(' ').nth(1).unwrap(), response.2.as_str()), (&*status.to_string(), body));
        }
    }
}

mod cf_home {
    use super::*;

    fn get_tls_json(server: &TrafficController, target: &str) -> Value {
        let mut client = server.tls_connector().connect("localhost", connect(server)).unwrap();
        request(&mut client, &format!("GET {target}"), &["Authorization: bearer x"]);
        head(&mut client);
        serde_json::from_slice(&rest(&mut client)).unwrap()
    }

    fn session(server: &TrafficController, name: &str) -> Value {
        let home = std::env::temp_dir().join(format!("loggregator-consumer-{name}-{}", std::process::id()));
        server.cf_home(&home).unwrap();
        let session = std::fs::read(home.join(".cf/config.json")).unwrap();
        std::fs::remove_dir_all(home).unwrap();
        serde_json::from_slice(&session).unwrap()
    }

    #[test]
    fn is_a_session_of_the_foundation() {
        let server = today().tls().token("bearer x").start().unwrap();
        let session = session(&server, "today");
        for name in ["Target", "UaaEndpoint", "AuthorizationEndpoint", "LogCacheEndPoint"] {
            assert_eq!(session[name], server.api(), "{name}");
        }
        assert_eq!(session["DopplerEndPoint"], server.endpoint());
        assert_eq!((&session["UAAOAuthClient"], &session["SSLDisabled"]), (&json!("cf"), &json!(true)));
        assert!(session["AccessToken"].as_str().unwrap().starts_with("bearer "));
        // What `cf` checks before it looks for an app.
        let space = get_tls_json(&server, "/v3/spaces")["resources"][0].take();
        assert_eq!(
            (&session["SpaceFields"]["GUID"], &session["SpaceFields"]["Name"]),
            (&space["guid"], &space["name"])
        );
        assert_eq!(session["OrganizationFields"]["GUID"], space["relationships"]["organization"]["data"]["guid"]);
        assert!(session["APIVersion"].as_str().unwrap().starts_with("3."));
    }

    #[test]
    fn has_only_existing_servers_and_valid_tokens() {
        let server = TrafficController::builder().generation(Generation::Y2018).tokens([""; 0]).start().unwrap();
        let session = session(&server, "2018");
        assert_eq!((&session["LogCacheEndPoint"], &session["SSLDisabled"]), (&json!(""), &json!(false)));
        let token = format!("Authorization: {}", session["AccessToken"].as_str().unwrap());
        let (head, _) = get(&server, &format!("/apps/{APP}/recentlogs"), &[&token]);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let form = format!("grant_type=refresh_token&refresh_token={}", session["RefreshToken"].as_str().unwrap());
        let mut client = connect(&server);
        let length = format!("Content-Length: {}", form.len());
        request(&mut client, "POST /oauth/token", &["Authorization: Basic Y2Y6", &length]);
        client.write_all(form.as_bytes()).unwrap();
        assert!(bare::head(&mut client).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}
