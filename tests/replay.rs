//! Replays what the real servers sent, byte for byte from a socket, whole and split at every kind of position.
//!
//! Each capture in `fixtures` is replayed according to what it holds. The expected result is in the capture's sidecar,
//! which the server's side wrote, or in this file. Nothing is expected just because our own decoder returns it.

mod common;

use std::cell::RefCell;
use std::ops::Range;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::replay::{self, Capture, Progress, Split, frames, regular_splits, splits};
use common::{BINARY, DEADLINE, Script, ScriptedServer};
use loggregator_consumer::crossbeam_channel::{Receiver, unbounded};
use loggregator_consumer::{Consumer, Ending, Error, ErrorKind, LogMessage, MessageType};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const APP: &str = "11111111-1111-1111-1111-111111111111";
const TOKEN: &str = "bearer token";

#[test]
fn recent_gives_what_the_server_sent() {
    for_each(Kind::Multipart, |capture, progress| {
        replay_recent(capture, progress, |split| vec![capture.response("/recent", split)]);
    });
}

#[test]
fn recent_falls_back_to_the_dump_and_gives_what_the_server_sent() {
    for_each(Kind::Dump, |capture, progress| {
        replay_recent(capture, progress, |split| vec![no_recent(), capture.response("/dump/", split)]);
    });
}

fn replay_recent(capture: &Capture, progress: &Progress, scripts: impl Fn(&Split) -> Vec<Script>) {
    let splits = splits(&capture.bytes);
    let server = ScriptedServer::start(splits.iter().flat_map(scripts).collect());
    let consumer = common::consumer(&server.endpoint());
    let mut replays = Replays::new(capture.decodable());
    for split in &splits {
        progress.at(split);
        replays.add(consumer.recent(APP, TOKEN).unwrap().into_iter().map(Ok).collect());
    }
}

#[test]
fn a_tail_gives_what_the_server_sent_and_reports_how_it_ended() {
    for_each(Kind::Tail, |capture, progress| {
        let frames = frames(&capture.bytes);
        let messages = frames.iter().filter(|frame| frame.opcode == BINARY).count();
        let ending = if capture.name.contains("-reset") { Ending::Reset } else { capture.ending() };
        let last_error = match ending {
            Ending::ClosedByServer { code: None | Some(1000), .. } => None,
            Ending::ClosedByServer { .. } => Some(ErrorKind::ClosedByServer),
            _ => Some(ErrorKind::ConnectionLost),
        };
        let mut expected = capture.expected();
        expected.extend(last_error.map(Expected::Error));

        // The system may drop unread bytes when a reset arrives, so the server waits for a signal before it resets.
        let (all_taken, wait) = unbounded();
        let splits = splits(&capture.bytes);
        let scripts = splits.iter().map(|split| match ending {
            Ending::Reset => capture.respond_and_reset("/tail/", split, wait.clone()),
            _ => capture.response("/tail/", split),
        });
        let consumer = common::consumer(&ScriptedServer::start(scripts.collect()).endpoint());
        let mut replays = Replays::new(expected);
        for split in &splits {
            progress.at(split);
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            let mut items = Vec::new();
            for item in tail.by_ref() {
                items.push(item.map_err(|error| error.kind()));
                if items.len() == messages {
                    all_taken.send(()).unwrap();
                }
            }
            assert_eq!(tail.ending(), Some(&ending));
            replays.add(items);
        }
    });
}

#[test]
fn an_error_response_to_tail_gives_its_body() {
    for_each(Kind::ErrorResponse, |capture, progress| {
        replay_error_response(capture, progress, splits(&capture.bytes), Consumer::tail, |split| {
            vec![capture.response("/tail/", split)]
        });
    });
}

#[test]
fn an_error_response_to_recent_gives_its_body() {
    for_each(Kind::ErrorResponse, |capture, progress| {
        replay_error_response(capture, progress, splits(&capture.bytes), Consumer::recent, |split| {
            let mut scripts = vec![capture.response("/recent", split)];
            if capture.text().starts_with("HTTP/1.1 400 ") {
                scripts.push(capture.response("/dump/", split));
            }
            scripts
        });
    });
}

#[test]
fn an_error_response_to_the_dump_gives_its_body() {
    for_each(Kind::ErrorResponse, |capture, progress| {
        // The handshake is the same as the tail's, so not every split is needed.
        replay_error_response(capture, progress, regular_splits(&capture.bytes), Consumer::recent, |split| {
            vec![no_recent(), capture.response("/dump/", split)]
        });
    });
}

fn replay_error_response<T>(
    capture: &Capture,
    progress: &Progress,
    splits: Vec<Split>,
    call: fn(&Consumer, &str, &str) -> Result<T, Error>,
    scripts: impl Fn(&Split) -> Vec<Script>,
) {
    let (status, body) = capture.error_response();
    let kind = match status {
        400 => ErrorKind::BadRequest,
        401 => ErrorKind::Unauthorized,
        404 => ErrorKind::NotFound,
        status => panic!("no error kind is known for {status}"),
    };
    let server = ScriptedServer::start(splits.iter().flat_map(scripts).collect());
    // No time limit of the consumer may end a wait for bytes that never come.
    let consumer = common::builder(&server.endpoint()).connect_timeout(2 * DEADLINE).build().unwrap();
    for split in &splits {
        progress.at(split);
        let error = call(&consumer, APP, TOKEN).map(drop).unwrap_err();
        assert_eq!((error.kind(), error.status(), error.body()), (kind, Some(status), Some(body)), "{error}");
        assert!(error.to_string().ends_with(body.trim()), "{error}");
    }
}

#[test]
fn a_success_response_without_messages_is_a_bad_response() {
    for_each(Kind::Other, |capture, progress| {
        let splits = splits(&capture.bytes);
        let scripts = splits.iter().map(|split| capture.response("/recent", split)).collect();
        let consumer = common::consumer(&ScriptedServer::start(scripts).endpoint());
        for split in &splits {
            progress.at(split);
            let error = consumer.recent(APP, TOKEN).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadResponse, "{error}");
            assert!(error.to_string().contains("no Content-Type"), "{error}");
        }
    });
}

#[test]
fn an_eof_without_a_response_is_an_error_with_advice() {
    for_each(Kind::NoResponse, |capture, progress| {
        let whole = Split::whole();
        progress.at(&whole);
        let server = ScriptedServer::start(vec![
            capture.response("/tail/", &whole),
            capture.response("/recent", &whole),
            no_recent(),
            capture.response("/dump/", &whole),
        ]);
        let consumer = common::consumer(&server.endpoint());
        let errors = [
            consumer.tail(APP, TOKEN).map(drop),
            consumer.recent(APP, TOKEN).map(drop),
            consumer.recent(APP, TOKEN).map(drop),
        ];
        for error in errors.map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
            let text = error.to_string();
            assert!(text.contains("Please ask your Cloud Foundry Operator"), "{text}");
            assert!(text.contains(&server.endpoint()), "{text}");
        }
    });
}

#[test]
fn each_undecodable_message_is_skipped_with_a_warning() {
    thread_local!(static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

    /// Records warnings by thread: messages are decoded in the caller's thread.
    struct Warnings;

    impl log::Log for Warnings {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.level() == log::Level::Warn
        }

        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                WARNINGS.with_borrow_mut(|warnings| warnings.push(record.args().to_string()));
            }
        }

        fn flush(&self) {}
    }

    log::set_logger(&Warnings).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    for (name, path) in [("l15-recent-garbage.http", "/recent"), ("l14-dump-garbage.ws", "/dump/")] {
        common::within(DEADLINE, move || {
            let capture = load(name);
            let mut scripts = vec![capture.response(path, &Split::whole())];
            if path == "/dump/" {
                scripts.insert(0, no_recent());
            }
            let server = ScriptedServer::start(scripts);
            common::consumer(&server.endpoint()).recent(APP, TOKEN).unwrap();
            let warnings = WARNINGS.take();
            assert_eq!(warnings.len(), 4, "{name}: {warnings:?}");
            assert!(warnings.iter().all(|warning| warning.contains("no LogMessage")), "{name}: {warnings:?}");
        });
    }
}

/// The calls that a capture is a response to.
#[derive(PartialEq)]
enum Kind {
    Multipart,
    Tail,
    Dump,
    ErrorResponse,
    NoResponse,
    Other,
}

impl Capture {
    fn kind(&self) -> Kind {
        if self.bytes.is_empty() {
            Kind::NoResponse
        } else if self.starts_with("HTTP/1.1 101 ") {
            if self.name.contains("-dump-") { Kind::Dump } else { Kind::Tail }
        } else if self.starts_with("HTTP/1.1 4") {
            Kind::ErrorResponse
        } else if self.contains("\r\nContent-Type: multipart/") {
            Kind::Multipart
        } else {
            Kind::Other
        }
    }

    /// Returns the script of a server that sends this in response to a request for the path, and ends as the real one
    /// did.
    fn response(&self, path: &'static str, split: &Split) -> Script {
        // An error response that leaves the connection open must be understood while it is open.
        let stays = self.kind() == Kind::ErrorResponse && !self.contains("\r\nConnection: close\r\n");
        self.script(split, asks_for(path), move |socket| {
            if stays {
                socket.set_read_timeout(None).unwrap();
                common::drain(socket);
            } else {
                common::hang_up(socket);
            }
        })
    }

    /// Returns the script of a server that resets the connection once `all_taken` signals that everything was received.
    fn respond_and_reset(&self, path: &'static str, split: &Split, all_taken: Receiver<()>) -> Script {
        self.script(split, asks_for(path), move |socket| {
            let _ = all_taken.recv_timeout(DEADLINE);
            common::reset(socket);
        })
    }

    /// Returns what a tail must give, without the error at its end.
    fn expected(&self) -> Vec<Expected> {
        if let Some(expected) = without_sidecar(&self.name) {
            return expected;
        }
        let sidecar = self.sidecar();
        let entries = sidecar["messages"].as_array().unwrap();
        assert_eq!(sidecar["count"], entries.len());
        entries.iter().map(Expected::from_entry).collect()
    }

    /// Returns what a call of `recent` must give.
    fn decodable(&self) -> Vec<Expected> {
        let mut expected = self.expected();
        expected.retain(|item| !matches!(item, Expected::Error(_)));
        expected
    }
}

fn asks_for(path: &'static str) -> impl FnOnce(&str) {
    move |request| {
        assert!(request.starts_with(&format!("GET {path}?app={APP} ")), "{path} was not requested: {request}");
    }
}

/// Returns the first response of a server that has no `/recent`, after which `/dump/` is used.
fn no_recent() -> Script {
    load("l14-400-recent.http").response("/recent", &Split::whole())
}

fn load(name: &str) -> Capture {
    Capture::load("", name)
}

/// Replays the captures of a kind.
fn for_each(kind: Kind, replay: fn(&Capture, &Progress)) {
    let captures = Capture::all("").into_iter().filter(|capture| capture.kind() == kind);
    replay::each(captures.collect(), replay);
}

type Item = Result<LogMessage, ErrorKind>;

/// The results of the replays of one capture, which must be as expected, and all the same.
struct Replays {
    expected: Vec<Expected>,
    first: Option<Vec<Item>>,
}

impl Replays {
    fn new(expected: Vec<Expected>) -> Self {
        Replays { expected, first: None }
    }

    fn add(&mut self, items: Vec<Item>) {
        assert_eq!(items.len(), self.expected.len(), "the number of items");
        let Some(first) = &self.first else {
            self.expected.iter().zip(&items).enumerate().for_each(|(n, (expected, item))| expected.check(n, item));
            self.first = Some(items);
            return;
        };
        for (n, item) in items.iter().enumerate() {
            // Not `assert_eq`, which would print a message of 1 MiB.
            assert!(*item == first[n], "item {n} is not what it was in the first replay");
        }
    }
}

/// What one item must be.
enum Expected {
    /// The message of this sidecar entry.
    Entry(Value),
    Message(LogMessage),
    /// A message of which only the source and the start of the text are known.
    Text {
        source: &'static str,
        start: String,
    },
    Error(ErrorKind),
}

impl Expected {
    fn from_entry(entry: &Value) -> Self {
        // The servers' own decoder rejects both of these. But on the wire they are LogMessages: one has fields that the
        // definition lacks, the other a number that its enum lacks, and by the rules of proto2 a reader accepts both.
        // So they must be read, with what their bytes say.
        match entry["wire_b64"].as_str() {
            Some("CgJoaRABGAIiAWEoBDIBMEIDQXBwmAYH") => {
                return Expected::Message(LogMessage::new("a", "hi").timestamp(1).source("App", "0"));
            }
            Some("CgJoaRAJGAIiAWE=") => {
                let message = LogMessage::new("a", "hi").timestamp(1);
                return Expected::Message(message.message_type(MessageType::Unknown(9)));
            }
            _ => {}
        }
        if entry["undecodable"] == true {
            return Expected::Error(ErrorKind::Undecodable);
        }
        let mut entry = entry.clone();
        // The sidecar contradicts itself about this message: its fields say that the source is absent, its note that it
        // is empty. The note is right: the message's bytes end with 32 00 42 00.
        if entry["note"].as_str().is_some_and(|note| note.ends_with("(translator sets empty strings)")) {
            entry["source_id"] = "".into();
            entry["source_name"] = "".into();
        }
        Expected::Entry(entry)
    }

    fn check(&self, n: usize, item: &Item) {
        match (self, item) {
            (Expected::Entry(entry), Ok(message)) => check_entry(entry, message),
            (Expected::Message(expected), Ok(message)) => assert_eq!(message, expected, "item {n}"),
            (Expected::Text { source, start }, Ok(message)) => {
                assert_eq!(message.source_name.as_deref(), Some(*source), "item {n}");
                assert!(message.text().starts_with(start), "item {n}: {message} does not begin with {start}");
            }
            (Expected::Error(expected), Err(kind)) => assert_eq!(kind, expected, "item {n}"),
            (Expected::Error(_), Ok(_)) => panic!("item {n} is a message, and not an error"),
            (_, Err(kind)) => panic!("item {n} is an error: {kind:?}"),
        }
    }
}

fn check_entry(entry: &Value, message: &LogMessage) {
    let LogMessage { message_type, timestamp, app_id, source_id, source_name, drain_urls, .. } = message;
    let number = match message_type {
        MessageType::Out => 1,
        MessageType::Err => 2,
        other => panic!("{other:?} was never sent"),
    };
    let digest: String = Sha256::digest(&message.message).iter().map(|byte| format!("{byte:02x}")).collect();
    // `null` is an absent field, "" an empty one.
    let mut got = json!({
        "message_len": message.message.len(),
        "message_sha256": digest,
        "message_type": number,
        "timestamp": timestamp.to_string(),
        "app_id": app_id,
        "source_id": source_id,
        "source_name": source_name,
        "drain_urls": drain_urls,
    });
    if entry.get("message_b64").is_some() {
        got["message_b64"] = BASE64_STANDARD.encode(&message.message).into();
    }
    for (field, value) in got.as_object().unwrap() {
        assert_eq!(Some(value), entry.get(field), "{field} of message {} ({})", entry["index"], entry["note"]);
    }
}

/// Returns what is in the captures without a sidecar, which were recorded for other reasons than their messages.
fn without_sidecar(name: &str) -> Option<Vec<Expected>> {
    let numbered =
        |numbers: Range<u32>| numbers.map(|n| Expected::Text { source: "App", start: format!("msg {n:09}") }).collect();
    // Here the server reports its own errors.
    let lgr =
        |texts: &[&str]| texts.iter().map(|&text| Expected::Text { source: "LGR", start: text.to_owned() }).collect();
    let refused = "proxy: error connecting to 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused";
    Some(match name {
        "l14-idle-90s.ws"
        | "l15-idle-nopong.ws"
        | "l15-idle-nopong-texts.ws"
        | "l15-idle-pings-50s.ws"
        | "l15-idle-unsolicited-pong.ws"
        | "l15-200-auth-cookie.http"
        | "l15-200-post.http" => numbered(0..1),
        "l15-tail-half-close.ws" => numbered(0..21),
        "l15chain-tail.ws" => numbered(6519..6560),
        "l15chain-recent.http" => numbered(6342..6442),
        "l15chain-recent-unknown-app.http" => Vec::new(),
        "l15chain-recent-doppler-down.http" => lgr(&[refused]),
        "l15chain-recent-doppler-mute.http" => lgr(&[
            "WebsocketListener.Start: Timed out listening to a doppler server after 5s",
            "proxy: error connecting to 127.0.0.1:47355: WebsocketListener.Start: Timed out listening to a doppler server",
        ]),
        "l15chain-tail-doppler-down.ws" => lgr(&[refused; 12]),
        _ => return None,
    })
}
