//! What the testing server makes of HTTP itself, tested with bare sockets: connections that are kept alive, HEAD,
//! HTTP/1.0, malformed requests and queries, handshakes that are not quite right, and the ways to give a token.

mod bare;

use std::io::{Read, Write};
use std::net::TcpStream;

use loggregator_consumer::LogMessage;
use loggregator_consumer::testing::{Fault, Generation, RequestKind, TrafficController, TrafficControllerBuilder};

use bare::*;

const APP: &str = "11111111-aaaa-bbbb-cccc-000000000001";
const GOOD: &str = "Authorization: bearer good";

fn of(generation: Generation) -> TrafficControllerBuilder {
    TrafficController::builder().generation(generation).token("bearer good")
}

/// Sends bytes that need not be a request, and returns all that comes back until the connection ends.
fn send(server: &TrafficController, bytes: &str) -> String {
    let mut client = connect(server);
    client.write_all(bytes.as_bytes()).unwrap();
    String::from_utf8(rest(&mut client)).unwrap()
}

/// Sends a request that keeps the connection, and returns the head and the body of the response.
fn ask(client: &mut TcpStream, line: &str, headers: &[&str]) -> (String, String) {
    request(client, line, &[headers, &["Connection: keep-alive"]].concat());
    let head = head(client);
    assert!(!head.contains("\r\nConnection: "), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
    let mut body = String::new();
    client.take(length).read_to_string(&mut body).unwrap();
    (head, body)
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

mod connections {
    use super::*;

    #[test]
    fn are_kept_for_further_requests_of_all_kinds() {
        let server = of(Generation::Today).start().unwrap();
        let client = &mut connect(&server);
        let read = format!("GET /api/v1/read/{APP}");
        for _ in 0..2 {
            assert_eq!(status(&ask(client, "GET /", &[]).0), 200);
            assert_eq!(ask(client, &read, &[GOOD]).1, "{\"envelopes\":{\"batch\":[]}}\n");
            assert_eq!(status(&ask(client, &read, &["Authorization: bearer bad"]).0), 404);
            assert_eq!(status(&ask(client, "GET /v2/read?log", &[GOOD]).0), 404);
            assert_eq!(status(&ask(client, &format!("GET /apps/{APP}/stream"), &[GOOD]).0), 400);
            assert_eq!(status(&ask(client, "GET /nowhere", &[]).0), 404);
        }
        // Bodies are read, those of other requests than the UAA's, too.
        for (line, expected) in [("POST /oauth/token", 401), ("POST /v2/info", 200)] {
            request(client, line, &["Content-Length: 5", "Connection: keep-alive"]);
            client.write_all(b"a=GET").unwrap();
            let head = head(client);
            assert_eq!(status(&head), expected);
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
            client.take(length).read_to_end(&mut Vec::new()).unwrap();
        }
        assert_eq!(server.requests().iter().find(|one| one.kind == RequestKind::Token).unwrap().body, b"a=GET");
        assert_eq!(server.connections(), 1);
        // A websocket, and the end of the connection with it.
        request(client, &format!("GET /apps/{APP}/stream"), &[&HANDSHAKE[..], &[GOOD]].concat());
        assert_eq!(head(client), SWITCHING);
        assert_eq!(frame(client), (PING.0, PING.1.to_vec()));
        server.close_tails(APP, Some(1000), "");
        assert_eq!(rest(client), [&[0x88, 2], &close_payload(1000, "")[..]].concat());
        assert_eq!(server.requests().len(), 15);
    }

    #[test]
    fn can_have_several_requests_on_their_way() {
        let server = of(Generation::Today).start().unwrap();
        let client = &mut connect(&server);
        for line in ["GET /nowhere", "GET /v2/info"] {
            request(client, line, &["Connection: keep-alive"]);
        }
        request(client, "GET /", &[]);
        let responses = String::from_utf8(rest(client)).unwrap();
        let statuses: Vec<_> = responses.matches("HTTP/1.1 ").collect();
        assert_eq!(statuses.len(), 3, "{responses}");
    }

    #[test]
    fn end_when_the_client_says_so() {
        let server = of(Generation::Today).start().unwrap();
        let (head, _) = get(&server, "/", &["connection: foo, Close"]);
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        // And when nothing else tells the end of the body.
        let endless = loggregator_consumer::testing::BodyFraming::UntilClose;
        let server = TrafficController::builder().body_framing(endless).start().unwrap();
        let response = send(&server, "GET /recent?app=a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(response.contains("\r\nConnection: close\r\n"), "{response}");
    }

    #[test]
    fn take_the_faults_of_the_next_connection_for_each_request() {
        let server = of(Generation::Today).start().unwrap();
        let client = &mut connect(&server);
        assert_eq!(status(&ask(client, "GET /", &[]).0), 200);
        server.fault(Fault::RefuseStatus { status: 418, body: Vec::new() });
        assert_eq!(status(&ask(client, "GET /", &[]).0), 418);
        assert_eq!(status(&ask(client, "GET /", &[]).0), 200);
        // Positions count from the beginning of each response.
        server.fault(Fault::DropAfter(8));
        request(client, "GET /", &["Connection: keep-alive"]);
        assert_eq!(rest(client), b"HTTP/1.1");
    }
}

#[test]
fn head_requests_have_no_body() {
    let server = of(Generation::Today).start().unwrap();
    let client = &mut connect(&server);
    for (target, headers, has_length) in [
        ("/", &["X: y"][..], true),
        ("/nowhere", &["X: y"], true),
        (&format!("/api/v1/read/{APP}"), &["X: y"], false),
        (&format!("/api/v1/read/{APP}"), &[GOOD], true),
        (&format!("/v2/read?log&source_id={APP}"), &[GOOD], true),
    ] {
        request(client, &format!("HEAD {target}"), &[headers, &["Connection: keep-alive"]].concat());
        let head = head(client);
        assert_eq!(head.contains("\r\nContent-Length: "), has_length, "{head}");
    }
    // No byte follows the heads.
    request(client, "HEAD /v2/info", &[]);
    assert!(head(client).starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(rest(client), b"");
}

#[test]
fn http_1_0_is_answered_as_such() {
    let server = of(Generation::Today).start().unwrap();
    let response = send(&server, "GET /v2/info HTTP/1.0\r\n\r\n");
    assert!(response.starts_with("HTTP/1.0 200 OK\r\n") && !response.contains("Connection:"), "{response}");
    let response =
        send(&server, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /nowhere HTTP/1.0\r\nHost: x\r\n\r\n");
    assert!(response.starts_with("HTTP/1.0 200 OK\r\n") && response.contains("\r\nConnection: keep-alive\r\n"));
    assert!(response.ends_with("404 page not found\n"), "{response}");

    // There are no chunks.
    let server = TrafficController::builder().body_framing(loggregator_consumer::testing::BodyFraming::Chunked);
    let server = server.start().unwrap();
    let response = send(&server, "GET /recent?app=a HTTP/1.0\r\n\r\n");
    assert!(!response.contains("Transfer-Encoding") && response.ends_with("--\r\n"), "{response}");
    let server = of(Generation::Today).start().unwrap();
    let client = &mut connect(&server);
    client.write_all(format!("GET /v2/read?log&source_id={APP} HTTP/1.0\r\n{GOOD}\r\n\r\n").as_bytes()).unwrap();
    let head = head(client);
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && !head.contains("Transfer-Encoding"), "{head}");
    server.send(LogMessage::new(APP, "hi"));
    server.close_tails(APP, None, "");
    let body = String::from_utf8(rest(client)).unwrap();
    assert!(body.starts_with("data: {\"batch\":[{") && body.ends_with("]}\n\n"), "{body}");
}

#[test]
fn requests_that_break_the_rules_are_400() {
    let server = of(Generation::Today).start().unwrap();
    for (request, reason) in [
        ("GET / HTTP/1.1\r\n\r\n", ": missing required Host header"),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", ": too many Host headers"),
        ("GET /apps/%zz/stream HTTP/1.1\r\nHost: x\r\n\r\n", ""),
        ("GET /api/v1/read/a%2 HTTP/1.1\r\nHost: x\r\n\r\n", ""),
    ] {
        assert_eq!(
            send(&server, request),
            format!(
                "HTTP/1.1 400 Bad Request{reason}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\
                 \r\n400 Bad Request{reason}"
            )
        );
    }
    assert_eq!(server.requests(), []);
}

#[test]
fn handshakes_are_checked_as_each_generation_does() {
    let short_key = "Sec-WebSocket-Key: c2hvcnQ=";
    for (generation, target, method, key) in [
        (Generation::May2014, "/tail/?app=a".to_owned(), 101, 101),
        (Generation::Y2015, "/tail/?app=a".to_owned(), 101, 101),
        (Generation::Y2016, format!("/apps/{APP}/stream"), 101, 101),
        (Generation::Y2018, format!("/apps/{APP}/stream"), 405, 101),
        (Generation::Today, format!("/apps/{APP}/stream"), 405, 400),
    ] {
        let server = of(generation).start().unwrap();
        let mut client = connect(&server);
        request(&mut client, &format!("POST {target}"), &[&HANDSHAKE[..], &[GOOD, "Content-Length: 0"]].concat());
        assert_eq!(status(&head(&mut client)), method, "{generation:?}");
        let mut client = connect(&server);
        let handshake = [HANDSHAKE[0], HANDSHAKE[1], HANDSHAKE[2], short_key, GOOD];
        request(&mut client, &format!("GET {target}"), &handshake);
        assert_eq!(status(&head(&mut client)), key, "{generation:?}");
    }
}

mod queries {
    use super::*;

    fn log_cache_error(query: &str) -> (u16, String) {
        let server = of(Generation::Today).start().unwrap();
        let (head, body) = get(&server, &format!("/api/v1/read/{APP}?{query}"), &[GOOD]);
        (status(&head), String::from_utf8(body).unwrap())
    }

    #[test]
    fn of_log_cache_must_be_well_formed_and_have_each_parameter_once() {
        for (query, message) in [
            ("limit=%zz", r#"invalid URL escape \"%zz\""#),
            ("nope=1&x=%4", r#"invalid URL escape \"%4\""#),
            ("limit=1;descending=true", "invalid semicolon separator in query"),
            ("limit=1&limit=2", r#"too many values for field \"limit\": 1, 2"#),
            (
                "start_time=9223372036854775808",
                r#"parsing field \"start_time\": strconv.ParseInt: parsing \"9223372036854775808\": value out of range"#,
            ),
            ("envelope_types=6", r#"parsing list \"envelope_types\": \"6\" is not a valid value"#),
        ] {
            let body = format!("{{\"code\":3,\"message\":\"{message}\",\"details\":[]}}\n");
            assert_eq!(log_cache_error(query), (400, body));
        }
        assert_eq!(log_cache_error("envelope_types=LOG&envelope_types=2&nope=%41&nope=").0, 200);
    }

    #[test]
    fn of_the_gateway_may_have_malformed_parameters_which_are_ignored() {
        let server = of(Generation::Today).start().unwrap();
        for (query, expected) in [
            ("log&source_id=%zz", 404),
            ("log=%zz&source_id=", 404),
            ("log=%zz&source_id=APP", 400),
            ("counter;log&source_id=APP", 400),
        ] {
            let (head, _) = get(&server, &format!("/v2/read?{}", query.replace("APP", APP)), &[GOOD]);
            assert_eq!(status(&head), expected, "{query}");
        }
        let mut client = connect(&server);
        request(&mut client, &format!("GET /v2/read?log&x=%zz&source_id={APP}&log&log=1"), &[GOOD]);
        assert_eq!(status(&head(&mut client)), 200);
        assert_eq!((server.open_tails(APP), server.send(LogMessage::new(APP, "once"))), (1, 1));
    }

    #[test]
    fn of_the_legacy_paths_must_be_well_formed_from_2015_on() {
        for (generation, expected) in [(Generation::May2014, 200), (Generation::Y2015, 404), (Generation::Y2016, 404)] {
            let server = of(generation).start().unwrap();
            let (head, _) = get(&server, "/recent?app=a&x=%zz", &[GOOD]);
            assert_eq!(status(&head), expected, "{generation:?}");
        }
        let server = of(Generation::Y2015).start().unwrap();
        get(&server, "/recent?app=a&app=b", &[GOOD]);
        assert_eq!(server.requests()[0].app(), "a");
    }
}

#[test]
fn tokens_can_be_given_as_each_generation_takes_them() {
    const COOKIE: &str = "Cookie: other=x; authorization=bearer%20good";
    const QUOTED: &str = "Cookie: authorization=\"bearer+good\"";
    const SPACES: &str = "Authorization: bearer  good";
    const UPPER: &str = "Authorization: BEARER good";
    let recent = "/recent?app=a".to_owned();
    let in_query = "/recent?app=a&authorization=bearer%20good".to_owned();
    let logs = format!("/apps/{APP}/recentlogs");
    let stream = format!("/apps/{APP}/stream");
    let read = format!("/api/v1/read/{APP}");
    let gateway = format!("/v2/read?source_id={APP}");
    for (generation, target, header, is_good) in [
        (Generation::May2014, &in_query, "X: y", true),
        (Generation::May2014, &recent, COOKIE, false),
        (Generation::Y2015, &in_query, "X: y", false),
        (Generation::Y2015, &recent, COOKIE, true),
        (Generation::Y2015, &recent, QUOTED, true),
        (Generation::Y2016, &logs, COOKIE, true),
        (Generation::Y2018, &logs, QUOTED, true),
        (Generation::Y2018, &logs, UPPER, true),
        (Generation::Today, &stream, COOKIE, true),
        (Generation::Today, &stream, SPACES, true),
        (Generation::Today, &read, COOKIE, false),
        (Generation::Today, &read, SPACES, true),
        (Generation::Today, &read, UPPER, true),
        (Generation::Today, &gateway, COOKIE, false),
        (Generation::Today, &gateway, SPACES, true),
        (Generation::Today, &gateway, UPPER, true),
        (Generation::Today, &gateway, "Authorization: good", false),
        (Generation::Today, &gateway, "Authorization: bearer go od", false),
    ] {
        let server = of(generation).start().unwrap();
        let (head, _) = get(&server, target, &[header]);
        let is_accepted = ![401, 404].contains(&status(&head));
        assert_eq!(is_accepted, is_good, "{generation:?} {target} {header}: {head}");
        // `Authorization` comes first.
        let (head, _) = get(&server, target, &["Authorization: bearer bad", COOKIE]);
        assert!([401, 404].contains(&status(&head)), "{generation:?} {target}: {head}");
    }
}
