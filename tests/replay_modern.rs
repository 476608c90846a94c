//! Replays what the real servers of Doppler, Log Cache and the RLP gateway sent, byte for byte from a socket, whole and
//! split at every kind of position.
//!
//! Each capture in `fixtures/modern` is replayed according to what it holds. The expected result is in the capture's
//! sidecar, which has what went into the platform, or follows from it. Nothing is expected just because our own decoder
//! returns it.

mod common;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::replay::{self, Capture, Progress, Split, regular_splits, splits};
use common::{DEADLINE, Script, ScriptedServer};
use loggregator_consumer::crossbeam_channel::unbounded;
use loggregator_consumer::{Builder, Consumer, Ending, Error, ErrorKind, LogMessage, MessageType, Proxy};
use serde_json::Value;

const APP: &str = "00000001-aaaa-bbbb-cccc-000000000001";
const TOKEN: &str = "Bearer token";

#[test]
fn a_tail_from_doppler_gives_the_logs_that_were_sent_and_reports_how_it_ended() {
    for_each(Kind::Websocket, |capture, progress| {
        let ending = capture.ending();
        let mut expected: Vec<_> = v1_logs(capture).into_iter().map(Ok).collect();
        if !ending.is_clean() {
            expected.push(Err(ErrorKind::ClosedByServer));
        }
        let splits = splits(&capture.bytes);
        let scripts = splits.iter().map(|split| capture.response(Call::DopplerTail, APP, split)).collect();
        let consumer = Call::DopplerTail.consumer(&ScriptedServer::start(scripts));
        for split in &splits {
            progress.at(split);
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            let items: Vec<_> = tail.by_ref().map(|item| item.map_err(|error| error.kind())).collect();
            assert_same(&items, &expected);
            assert_eq!(tail.ending(), Some(&ending));
        }
    });
}

#[test]
fn a_tail_from_the_rlp_gateway_gives_the_logs_that_were_sent_and_reports_how_it_ended() {
    for_each(Kind::Events, |capture, progress| {
        let (ending, error) = match &*capture.name {
            "rlpgw-closing.http" => {
                (Ending::Closing { reason: "closing due to stream timeout".into() }, ErrorKind::ClosedByServer)
            }
            _ => (Ending::Eof, ErrorKind::ConnectionLost),
        };
        let mut expected: Vec<_> = v2_logs(capture).into_iter().map(Ok).collect();
        let messages = expected.len();
        expected.push(Err(error));

        // Everything that was sent must arrive while the connection is open, as the real one was at each capture's end.
        // If the stream has not ended by then, the server ends the connection once everything has arrived.
        let is_over = capture.bytes.ends_with(b"\r\n0\r\n\r\n");
        let (all_taken, wait) = unbounded();
        let splits = splits(&capture.bytes);
        let scripts = splits.iter().map(|split| {
            let wait = wait.clone();
            capture.script(split, Call::Gateway.check(APP), move |socket| {
                if is_over {
                    return common::drain(socket);
                }
                let _ = wait.recv_timeout(DEADLINE);
                common::hang_up(socket);
            })
        });
        let consumer = Call::Gateway.consumer(&ScriptedServer::start(scripts.collect()));
        for split in &splits {
            progress.at(split);
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            let mut items: Vec<_> =
                tail.by_ref().take(messages).map(|item| item.map_err(|error| error.kind())).collect();
            all_taken.send(()).unwrap();
            items.extend(tail.by_ref().map(|item| item.map_err(|error| error.kind())));
            assert_same(&items, &expected);
            assert_eq!(tail.ending(), Some(&ending));
        }
    });
}

#[test]
fn recent_from_log_cache_gives_the_logs_of_the_response_oldest_first() {
    for_each(Kind::Envelopes, |capture, progress| {
        // The response to this request has the newest first.
        let mut expected = log_cache_logs(&capture.name);
        expected.reverse();
        replay_recent(capture, Call::LogCache, expected, progress);
    });
}

#[test]
fn recent_from_doppler_gives_the_logs_that_were_sent() {
    for_each(Kind::Multipart, |capture, progress| {
        replay_recent(capture, Call::DopplerRecent, v1_logs(capture), progress);
    });
}

fn replay_recent(capture: &Capture, call: Call, expected: Vec<LogMessage>, progress: &Progress) {
    let splits = splits(&capture.bytes);
    let scripts = splits.iter().map(|split| capture.response(call, APP, split)).collect();
    let consumer = call.consumer(&ScriptedServer::start(scripts));
    for split in &splits {
        progress.at(split);
        assert_same(&consumer.recent(APP, TOKEN).unwrap(), &expected);
    }
}

#[test]
fn an_error_response_gives_its_kind_its_body_and_the_right_advice() {
    for_each(Kind::ErrorResponse, |capture, progress| {
        for (call, kind, advice) in error_responses(capture) {
            let splits = regular_splits(&capture.bytes);
            let calls: Vec<_> = splits.iter().map(|split| (split, APP)).chain([(&splits[0], "my-app")]).collect();
            // A Log Cache that does not know the path may be an old one.
            let again = (call == Call::LogCache && advice == Some(NO_LOG_CACHE) && is_unknown_path(capture))
                .then_some(Call::OldLogCache);
            let scripts = calls.iter().flat_map(|(split, app)| capture.responses(call, again, app, split)).collect();
            let consumer = call.consumer(&ScriptedServer::start(scripts));
            for (split, app) in calls {
                progress.at(split);
                let error = call.make(&consumer, app).unwrap_err();
                let (status, body) = capture.error_response();
                assert_eq!((error.kind(), error.status(), error.body()), (kind, Some(status), Some(body)), "{error}");

                let text = error.to_string();
                let json: Value = serde_json::from_str(body).unwrap_or_default();
                let message = json["message"].as_str().or(json["error"].as_str()).unwrap_or(body.trim());
                assert!(text.contains(message), "{text}");
                let mut advice = Vec::from_iter(advice);
                if app == "my-app" && [401, 404].contains(&status) {
                    advice.push(NO_GUID);
                }
                let given: Vec<_> = ALL_ADVICE.into_iter().filter(|advice| text.contains(advice)).collect();
                assert_eq!(given, advice, "{call:?}: {text}");
            }
        }
    });
}

const TOKEN_FOR_DOPPLER: &str = "is the token expired? `cf oauth-token` prints a new one";
const NO_APP: &str = "there is no such app, or the token's user may not see it";
const NO_DOPPLER: &str = "Is this the address of Doppler, such as wss://doppler.example.com?";
const NO_RECENT: &str = "Log Cache has: see Builder::log_cache and Consumer::discover";
const TOKEN_FOR_LOG_CACHE: &str = "has the token expired, and may its user see the app?";
const NO_LOG_CACHE: &str = "Is this the address of a Log Cache?";
const TOKEN_FOR_GATEWAY: &str = "Is the token expired, or may its user not see this app?";
const NO_GATEWAY: &str = "is this the address of an RLP gateway, such as https://log-stream.example.com?";
const NO_LEGACY: &str = "this is not a legacy loggregator server, which Cloud Foundry removed in September 2016: use \
                         Consumer::discover(\"https://api.<system domain>\") or Consumer::from_cf_cli()";
const NO_GUID: &str = "`my-app` is no GUID: is it the app's name? `cf app my-app --guid` prints its GUID";

const ALL_ADVICE: [&str; 10] = [
    TOKEN_FOR_DOPPLER,
    NO_APP,
    NO_DOPPLER,
    NO_RECENT,
    TOKEN_FOR_LOG_CACHE,
    NO_LOG_CACHE,
    TOKEN_FOR_GATEWAY,
    NO_GATEWAY,
    NO_LEGACY,
    NO_GUID,
];

/// Returns true if a server responds like this to a path that it does not have.
fn is_unknown_path(capture: &Capture) -> bool {
    capture.error_response().1 == "404 page not found\n"
}

/// Returns the calls that can get an error response, with the kind and the advice that each must give.
fn error_responses(capture: &Capture) -> Vec<(Call, ErrorKind, Option<&'static str>)> {
    use ErrorKind::{BadRequest, NotFound, ServerError, Unauthorized};

    let (status, _) = capture.error_response();
    if is_unknown_path(capture) {
        return vec![
            (Call::LegacyTail, NotFound, Some(NO_LEGACY)),
            (Call::LegacyRecent, NotFound, Some(NO_LEGACY)),
            (Call::DopplerTail, NotFound, Some(NO_DOPPLER)),
            (Call::DopplerRecent, NotFound, Some(NO_RECENT)),
            (Call::LogCache, NotFound, Some(NO_LOG_CACHE)),
            (Call::Gateway, NotFound, Some(NO_GATEWAY)),
        ];
    }
    let kind_of_status = match status {
        400 => BadRequest,
        401 => Unauthorized,
        404 => NotFound,
        _ => ServerError,
    };
    match &*capture.name {
        "tc-401-bad-token.http" | "tc-401-no-token.http" | "tc-401-not-a-guid.http" => {
            [Call::DopplerTail, Call::DopplerRecent].map(|call| (call, Unauthorized, Some(TOKEN_FOR_DOPPLER))).into()
        }
        "tc-404-no-such-app.http" | "tc-404-forbidden-app.http" => {
            [Call::DopplerTail, Call::DopplerRecent].map(|call| (call, NotFound, Some(NO_APP))).into()
        }
        name if name.starts_with("tc-") => {
            [Call::DopplerTail, Call::DopplerRecent].map(|call| (call, kind_of_status, None)).into()
        }
        name if name.starts_with("cfap-404-") => vec![(Call::LogCache, Unauthorized, Some(TOKEN_FOR_LOG_CACHE))],
        "lc-err-404.http" => vec![(Call::LogCache, NotFound, Some(NO_LOG_CACHE))],
        name if name.starts_with("lc-") => vec![(Call::LogCache, kind_of_status, None)],
        name if name.starts_with("rlpgw-404-") => vec![(Call::Gateway, Unauthorized, Some(TOKEN_FOR_GATEWAY))],
        name if name.starts_with("rlpgw-") => vec![(Call::Gateway, kind_of_status, None)],
        name => panic!("the request of {name} is unknown"),
    }
}

#[test]
fn a_response_to_another_request_is_a_bad_response() {
    for_each(Kind::Other, |capture, progress| {
        let is_doppler = capture.name.starts_with("tc-");
        for call in if is_doppler { [Call::DopplerTail, Call::DopplerRecent] } else { [Call::LogCache, Call::Gateway] }
        {
            let splits = regular_splits(&capture.bytes);
            let scripts = splits.iter().map(|split| capture.response(call, APP, split)).collect();
            let consumer = call.consumer(&ScriptedServer::start(scripts));
            for split in &splits {
                progress.at(split);
                let error = call.make(&consumer, APP).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BadResponse, "{call:?}: {error}");
            }
        }
    });
}

/// What a capture is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Websocket,
    Events,
    Envelopes,
    Multipart,
    ErrorResponse,
    Other,
}

const MODERN: &str = "modern/";

/// Replays the captures of a kind.
fn for_each(kind: Kind, replay: fn(&Capture, &Progress)) {
    let captures = Capture::all(MODERN).into_iter().filter(|capture| capture.kind() == kind);
    replay::each(captures.collect(), replay);
}

impl Capture {
    fn kind(&self) -> Kind {
        if self.starts_with("HTTP/1.1 101 ") {
            Kind::Websocket
        } else if !self.starts_with("HTTP/1.1 200 ") {
            Kind::ErrorResponse
        } else if self.contains("\r\nContent-Type: text/event-stream\r\n") {
            Kind::Events
        } else if self.contains("\r\nContent-Type: multipart/") {
            Kind::Multipart
        } else if self.contains("\r\n{\"envelopes\":") {
            Kind::Envelopes
        } else {
            Kind::Other
        }
    }

    /// Returns the script of a server that sends this in response to a call, and ends as the real one did.
    fn response(&self, call: Call, app: &str, split: &Split) -> Script {
        // A response that leaves the connection open must be understood while it is open.
        self.script(split, call.check(app), if self.closes() { common::hang_up } else { common::drain })
    }

    /// Returns the scripts for a call that may make a second request, over the same connection if that is left open.
    fn responses(&self, call: Call, again: Option<Call>, app: &str, split: &Split) -> Vec<Script> {
        let first = call.check(app);
        match again.map(|again| self.response(again, app, split)) {
            Some(second) if self.closes() => vec![self.script(split, first, common::hang_up), second],
            Some(second) => vec![self.script(split, first, second)],
            None => vec![self.response(call, app, split)],
        }
    }

    fn closes(&self) -> bool {
        self.kind() == Kind::Websocket || self.contains("\r\nConnection: close\r\n")
    }
}

/// A call, and the kind of server that it is made to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    LegacyTail,
    LegacyRecent,
    DopplerTail,
    DopplerRecent,
    LogCache,
    /// The second request of the same call.
    OldLogCache,
    Gateway,
}

impl Call {
    fn consumer(self, server: &ScriptedServer) -> Consumer {
        let (websocket, http) = (server.endpoint(), format!("http://{}", server.address));
        let builder = match self {
            Call::LegacyTail | Call::LegacyRecent => Builder::new().legacy(&websocket),
            Call::DopplerTail | Call::DopplerRecent => Builder::new().doppler(&websocket),
            Call::LogCache | Call::OldLogCache => Builder::new().log_cache(&http),
            Call::Gateway => Builder::new().rlp_gateway(&http),
        };
        builder.proxy(Proxy::none()).build().unwrap()
    }

    fn make(self, consumer: &Consumer, app: &str) -> Result<(), Error> {
        match self {
            Call::LegacyTail | Call::DopplerTail | Call::Gateway => consumer.tail(app, TOKEN).map(drop),
            Call::LegacyRecent | Call::DopplerRecent | Call::LogCache | Call::OldLogCache => {
                consumer.recent(app, TOKEN).map(drop)
            }
        }
    }

    /// Returns a check that a request is the one that the call must make.
    fn check(self, app: &str) -> impl FnOnce(&str) + Send + use<> {
        let path = match self {
            Call::LegacyTail => format!("/tail/?app={app}"),
            Call::LegacyRecent => format!("/recent?app={app}"),
            Call::DopplerTail => format!("/apps/{app}/stream"),
            Call::DopplerRecent => format!("/apps/{app}/recentlogs"),
            Call::LogCache => format!("/api/v1/read/{app}?envelope_types=LOG&descending=true&limit=1000"),
            Call::OldLogCache => format!("/v1/read/{app}?envelope_types=LOG&descending=true&limit=1000"),
            Call::Gateway => format!("/v2/read?log&source_id={app}"),
        };
        // All servers except the legacy one distinguish upper and lower case here.
        let is_legacy = matches!(self, Call::LegacyTail | Call::LegacyRecent);
        let token = if is_legacy { TOKEN.to_owned() } else { TOKEN.to_lowercase() };
        move |request| {
            assert!(request.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{path} was not requested: {request}");
            assert_eq!(common::header(request, "authorization"), Some(&*token));
        }
    }
}

/// Like `assert_eq`, but does not print a thousand messages.
#[track_caller]
fn assert_same<T: PartialEq + std::fmt::Debug>(got: &[T], expected: &[T]) {
    if let Some(n) = got.iter().zip(expected).position(|(got, expected)| got != expected) {
        panic!("item {n} is {:?}, and not {:?}", got[n], expected[n]);
    }
    assert_eq!(got.len(), expected.len(), "the number of items; the last is {:?}", got.last());
}

/// Returns the logs that clients of v1 get, from a sidecar.
fn v1_logs(capture: &Capture) -> Vec<LogMessage> {
    if capture.name.starts_with("tc-idle-") || capture.name == "tc-half-close.ws" {
        // From an app that logged nothing.
        return Vec::new();
    }
    let sidecar = capture.sidecar();
    if let Some(messages) = sidecar["messages"].as_array() {
        return messages.iter().filter(|message| !message["message_b64"].is_null()).map(sent_by_2015).collect();
    }
    let envelopes =
        sidecar["envelopes"].as_array().unwrap().iter().flat_map(|envelope| envelope["v1"].as_array().unwrap());
    let logs = envelopes.filter(|v1| v1["eventType"] == "LogMessage").map(|v1| sent_as_v1(&v1["logMessage"]));
    // Today's servers send no empty logs to clients of v1.
    logs.filter(|log| !log.message.is_empty()).collect()
}

fn sent_by_2015(sent: &Value) -> LogMessage {
    message(&sent["app_id"], &sent["message_b64"], &sent["message_type"], &sent["timestamp"])
        .source(text(&sent["source_name"]), text(&sent["source_id"]))
}

fn sent_as_v1(log: &Value) -> LogMessage {
    message(&log["app_id"], &log["message"], &log["message_type"], &log["timestamp"])
        .source(text(&log["source_type"]), text(&log["source_instance"]))
}

/// Returns the logs that went into the RLP gateway.
fn v2_logs(capture: &Capture) -> Vec<LogMessage> {
    // The other captures are from an app that logged nothing.
    if !capture.name.starts_with("rlpgw-read-") {
        return Vec::new();
    }
    capture.sidecar()["envelopes"].as_array().unwrap().iter().filter_map(sent_as_v2).collect()
}

/// Returns the logs in a response of Log Cache, in the response's order. They follow from the sidecar of one of the
/// captures.
fn log_cache_logs(name: &str) -> Vec<LogMessage> {
    let held = Capture::load(MODERN, "lc-read-all.http").sidecar();
    let held = held["envelopes"].as_array().unwrap();
    let logs = |envelopes: &[Value]| envelopes.iter().filter_map(sent_as_v2).collect::<Vec<_>>();
    let newest = |count| logs(held).into_iter().rev().take(count).collect();
    match name {
        "lc-read-all.http" => logs(held),
        "lc-read-default.http" | "lc-err-unknown-param.http" => logs(&held[..100]),
        "lc-read-logs-start.http" => logs(&held[80..]),
        "lc-read-logs-desc-10.http" => newest(10),
        "cfap-read-logs-desc-3.http" => newest(3),
        "cfap-200-Bearer.http" | "cfap-200-raw-jwt.http" => logs(&held[..1]),
        // Gauges; and twice a source that nobody wrote to.
        "lc-read-name-filter.http" | "lc-read-unknown-source.http" | "lc-read-source-with-slash.http" => Vec::new(),
        _ => panic!("the content of {name} is unknown"),
    }
}

fn sent_as_v2(envelope: &Value) -> Option<LogMessage> {
    let v2 = &envelope["v2"];
    let log = v2.get("log")?;
    let message = message(&v2["source_id"], &log["payload"], &log["type"], &v2["timestamp"]);
    Some(message.source(text(&v2["tags"]["source_type"]), text(&v2["instance_id"])))
}

fn message(app: &Value, base64: &Value, message_type: &Value, timestamp: &Value) -> LogMessage {
    // Protobuf's JSON omits empty fields, and the first value of an enum.
    let bytes = BASE64_STANDARD.decode(base64.as_str().unwrap_or_default()).unwrap();
    let message_type = match message_type {
        Value::Null => MessageType::Out,
        name if *name == "OUT" || *name == 1 => MessageType::Out,
        name if *name == "ERR" || *name == 2 => MessageType::Err,
        other => panic!("{other} was never sent"),
    };
    LogMessage::new(text(app), bytes).message_type(message_type).timestamp(text(timestamp).parse().unwrap())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
