//! The cases of the reference client's own suite (Go's `loggregator_consumer`), one test each.

mod common;

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::messages::{
    APP, CONTENT_TYPE, TOKEN, chunk, head, message, message_at, multipart, part, recent_response, response, texts,
};
use common::proxy::ConnectProxy;
use common::watch::Prints;
use common::{
    BINARY, DEADLINE, Refusing, ScriptedServer, TEXT, assert_dial_error, builder, close_frame, consumer, drain,
    failures, frame, hang_up, header, read_frame, read_head, responding, send, streaming, switching_protocols, tls,
    upgrading, within,
};
use loggregator_consumer::{Consumer, Ending, ErrorKind, LogMessage, Proxy, sort_recent};

const KEEP_ALIVE: (u8, &[u8]) = (TEXT, b"I'm alive!");

const UNAUTHORIZED: &str = "You are not authorized. Helpful message";

fn unauthorized() -> Vec<u8> {
    response("401 Unauthorized", &["Content-Type: text/plain"], UNAUTHORIZED.as_bytes())
}

fn a_message() -> Vec<u8> {
    frame(BINARY, &message("from the app"))
}

/// Returns a consumer that counts how often its callback runs.
fn counting(endpoint: &str) -> (Consumer, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let consumer = builder(endpoint).on_connect(move || _ = counted.fetch_add(1, Ordering::SeqCst)).build().unwrap();
    (consumer, calls)
}

fn through(proxy: &ConnectProxy, endpoint: &str) -> Consumer {
    builder(endpoint).proxy(Proxy::url(&proxy.url()).unwrap()).build().unwrap()
}

// On connect.

#[test]
fn case_01_the_callback_runs_when_the_websocket_is_up() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![streaming("")]);
        let (consumer, calls) = counting(&server.endpoint());
        assert_eq!(calls.load(Ordering::SeqCst), 0);
        let _tail = consumer.tail(APP, TOKEN).unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn case_02_the_callback_does_not_run_when_the_connection_fails() {
    within(DEADLINE, || {
        let refusing = Refusing::start();
        let (consumer, calls) = counting(&refusing.endpoint());
        consumer.tail(APP, TOKEN).unwrap_err();
        assert_eq!(calls.load(Ordering::SeqCst), 0);

        let hanging_up = ScriptedServer::responding("");
        let (consumer, calls) = counting(&hanging_up.endpoint());
        consumer.tail(APP, TOKEN).unwrap_err();
        assert_eq!(calls.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn case_03_the_callback_does_not_run_when_authorization_fails() {
    within(DEADLINE, || {
        let server = ScriptedServer::responding(unauthorized());
        let (consumer, calls) = counting(&server.endpoint());
        assert_eq!(consumer.tail(APP, TOKEN).unwrap_err().kind(), ErrorKind::Unauthorized);
        assert_eq!(calls.load(Ordering::SeqCst), 0);
    });
}

// Debug printing.

#[test]
fn case_04_the_websocket_handshake_is_printed() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![streaming("")]);
        let prints = Prints::default();
        let consumer = builder(&server.endpoint()).debug_printer(prints.clone()).build().unwrap();
        let _tail = consumer.tail(APP, TOKEN).unwrap();
        let text = prints.text();
        assert!(text.contains("WEBSOCKET REQUEST:\nGET /tail/?app="), "{text}");
        assert!(text.contains("Sec-WebSocket-Version: 13"), "{text}");
        assert!(text.contains("WEBSOCKET RESPONSE:\nHTTP/1.1 101 Switching Protocols\n"), "{text}");
        assert!(text.contains("Sec-WebSocket-Accept: "), "{text}");
    });
}

#[test]
fn case_05_neither_messages_nor_the_token_are_printed() {
    within(DEADLINE, || {
        let (heard, hears) = mpsc::channel();
        let server = ScriptedServer::start(vec![upgrading(move |mut socket| {
            heard.send(read_frame(&mut socket)).unwrap();
            send(&mut socket, &[&a_message()]);
            drain(socket);
        })]);
        let prints = Prints::default();
        let consumer = builder(&server.endpoint()).debug_printer(prints.clone()).build().unwrap();
        let mut tail = consumer.tail(APP, "bearer t0ps3cret").unwrap();
        assert_eq!(hears.recv().unwrap().unwrap().1, KEEP_ALIVE.1);
        assert_eq!(tail.next().unwrap().unwrap().text(), "from the app");
        tail.close().unwrap();
        let text = prints.text();
        assert!(text.contains("Authorization: "), "{text}");
        for unprinted in ["I'm alive!", "from the app", "t0ps3cret"] {
            assert!(!text.contains(unprinted), "{text}");
        }
    });
}

// Tail.

#[test]
fn case_06_messages_arrive_on_the_channel() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![streaming([a_message(), a_message()].concat())]);
        let tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        let mut messages = Vec::new();
        while messages.len() < 2 {
            messages.extend(tail.receiver().recv().unwrap().map(Result::unwrap));
        }
        assert_eq!(texts(&messages), ["from the app", "from the app"]);
        assert_eq!(messages[0].app_id, APP);
    });
}

#[test]
fn case_07_the_channel_closes_after_the_server_closes_the_connection() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![streaming([a_message(), close_frame()].concat())]);
        let tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        let items: Vec<_> = tail.receiver().iter().flatten().map(Result::unwrap).collect();
        assert_eq!(texts(&items), ["from the app"]);
        assert_eq!(tail.ending(), Some(&Ending::ClosedByServer { code: Some(1000), reason: String::new() }));
    });
}

#[test]
fn case_08_keep_alives_are_sent_at_the_set_interval() {
    within(DEADLINE, || {
        let (sender, receiver) = mpsc::channel();
        let server = ScriptedServer::start(vec![upgrading(move |mut socket| {
            while let Some(frame) = read_frame(&mut socket) {
                let _ = sender.send(frame);
            }
        })]);
        let begin = Instant::now();
        let consumer = builder(&server.endpoint()).keep_alive(Duration::from_millis(10)).build().unwrap();
        let _tail = consumer.tail(APP, TOKEN).unwrap();
        for _ in 0..10 {
            let (opcode, text) = receiver.recv().unwrap();
            assert_eq!((opcode, &*text), KEEP_ALIVE);
        }
        // There are nine intervals after the first text.
        assert!(begin.elapsed() >= Duration::from_millis(80), "{:?}", begin.elapsed());
    });
}

#[test]
fn case_08_the_first_keep_alive_is_sent_at_once() {
    within(DEADLINE, || {
        let (sender, receiver) = mpsc::channel();
        let server = ScriptedServer::start(vec![upgrading(move |mut socket| {
            sender.send(read_frame(&mut socket)).unwrap();
            drain(socket);
        })]);
        let consumer = builder(&server.endpoint()).keep_alive(Duration::from_secs(3600)).build().unwrap();
        let _tail = consumer.tail(APP, TOKEN).unwrap();
        let (opcode, text) = receiver.recv().unwrap().unwrap();
        assert_eq!((opcode, &*text), KEEP_ALIVE);
    });
}

/// Returns the request that a tail begins with.
fn tail_request(token: &str) -> String {
    let (sender, receiver) = mpsc::channel();
    let server = ScriptedServer::start(vec![Box::new(move |mut socket| {
        let request = read_head(&mut socket);
        send(&mut socket, &[&switching_protocols(&request)]);
        sender.send(request).unwrap();
        drain(socket);
    })]);
    let _tail = consumer(&server.endpoint()).tail(APP, token).unwrap();
    receiver.recv().unwrap()
}

#[test]
fn case_09_the_request_is_for_the_tail_of_the_app() {
    within(DEADLINE, || {
        let request = tail_request(TOKEN);
        assert_eq!(request.lines().next(), Some(&*format!("GET /tail/?app={APP} HTTP/1.1")));
        assert_eq!(header(&request, "origin"), Some("http://localhost"));
    });
}

#[test]
fn case_10_the_token_is_sent_as_it_is_given() {
    within(DEADLINE, || {
        for token in ["bearer auth-Token+/=", "auth-token", "Basic dTpw"] {
            assert_eq!(header(&tail_request(token), "authorization"), Some(token));
        }
    });
}

#[test]
fn case_11_a_message_that_does_not_parse_does_not_end_the_tail() {
    within(DEADLINE, || {
        let garbage = frame(BINARY, &[0]);
        let server = ScriptedServer::start(vec![streaming([garbage, a_message()].concat())]);
        let mut tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Undecodable);
        assert_eq!(tail.next().unwrap().unwrap().text(), "from the app");
    });
}

#[test]
fn case_12_an_endpoint_that_cannot_be_reached_is_named_in_the_error() {
    within(DEADLINE, || {
        let refusing = Refusing::start();
        let error = consumer(&refusing.endpoint()).tail(APP, TOKEN).unwrap_err();
        assert_dial_error(&error, ErrorKind::Dial, &refusing.endpoint());
        assert!(error.to_string().contains("connection refused"), "{error}");
    });
}

#[test]
fn case_13_a_401_is_a_typed_error_with_the_response_body() {
    within(DEADLINE, || {
        let server = ScriptedServer::responding(unauthorized());
        let error = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert_eq!(error.status(), Some(401));
        assert_eq!(error.body(), Some(UNAUTHORIZED));
        assert!(error.to_string().contains(UNAUTHORIZED), "{error}");
    });
}

#[test]
fn case_14_the_tls_settings_are_used() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|socket| {
            if let Some(mut stream) = tls::accept(socket) {
                let request = read_head(&mut stream);
                send(&mut stream, &[&switching_protocols(&request), &a_message()]);
                drain(stream.get_ref().try_clone().unwrap());
            }
        });
        let endpoint = server.tls_endpoint();
        let unverifying = builder(&endpoint).tls_connector(tls::unverifying()).build().unwrap();
        let mut tail = unverifying.tail(APP, TOKEN).unwrap();
        assert_eq!(tail.next().unwrap().unwrap().text(), "from the app");

        let error = consumer(&endpoint).tail(APP, TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    });
}

// Close.

#[test]
fn case_15_a_close_with_nothing_open_is_an_error() {
    let error = consumer("ws://loggregator.example.com").close().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert!(error.to_string().contains("connection does not exist"), "{error}");
}

#[test]
fn case_16_a_close_closes_the_channel_of_a_tail() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![streaming("")]);
        let consumer = consumer(&server.endpoint());
        let tail = consumer.tail(APP, TOKEN).unwrap();
        consumer.close().unwrap();
        assert!(tail.receiver().recv().is_err());
        assert_eq!(tail.ending(), Some(&Ending::Closed));
    });
}

// Recent.

#[test]
fn case_17_an_endpoint_that_does_not_parse_is_an_error() {
    let error = Consumer::new("invalid-url").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("invalid-url"), "{error}");
}

#[test]
fn case_18_messages_are_returned_in_the_servers_order() {
    within(DEADLINE, || {
        let parts = [3, 1, 2].map(|time| part(&message_at(&format!("at {time}"), time))).concat();
        let body = [&*parts, &multipart(&[])].concat();
        let server = ScriptedServer::responding(response("200 OK", &[CONTENT_TYPE], &body));
        let messages = consumer(&server.endpoint()).recent(APP, TOKEN).unwrap();
        assert_eq!(texts(&messages), ["at 3", "at 1", "at 2"]);
        assert_eq!(messages[0].timestamp, 3);
    });
}

/// Returns the error of `recent` for a complete body with these headers.
fn recent_error(headers: &[&str]) -> loggregator_consumer::Error {
    let server = ScriptedServer::responding(response("200 OK", headers, &multipart(&["from the app"])));
    consumer(&server.endpoint()).recent(APP, TOKEN).unwrap_err()
}

#[test]
fn case_19_no_content_type_is_a_bad_response() {
    within(DEADLINE, || {
        let error = recent_error(&[]);
        assert_eq!(error.kind(), ErrorKind::BadResponse);
        assert!(error.to_string().contains("Content-Type"), "{error}");
    });
}

#[test]
fn case_20_an_unknown_content_length_is_accepted() {
    within(DEADLINE, || {
        let body = multipart(&["one", "two"]);
        let until_close = [head("200 OK", &[CONTENT_TYPE]), body.clone()].concat();
        let chunked =
            [head("200 OK", &[CONTENT_TYPE, "Transfer-Encoding: chunked"]), chunk(&body), chunk(b"")].concat();
        for response in [until_close, chunked] {
            let server = ScriptedServer::responding(response);
            let messages = consumer(&server.endpoint()).recent(APP, TOKEN).unwrap();
            assert_eq!(texts(&messages), ["one", "two"]);
        }
    });
}

#[test]
fn case_21_no_boundary_is_a_bad_response() {
    within(DEADLINE, || {
        for content_type in ["Content-Type: multipart/x-protobuf", "Content-Type: text/plain"] {
            assert_eq!(recent_error(&[content_type]).kind(), ErrorKind::BadResponse);
        }
    });
}

#[test]
fn case_22_a_blank_boundary_is_a_bad_response() {
    within(DEADLINE, || {
        for boundary in ["", " ", "\"\""] {
            let error = recent_error(&[&format!("Content-Type: multipart/x-protobuf; boundary={boundary}")]);
            assert_eq!(error.kind(), ErrorKind::BadResponse);
        }
    });
}

#[test]
fn case_23_a_404_is_not_found() {
    within(DEADLINE, || {
        let server = ScriptedServer::responding(response("404 Not Found", &[], b"Resource Not Found. /recent"));
        let error = consumer(&server.endpoint()).recent(APP, TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.status(), Some(404));
    });
}

#[test]
fn case_24_a_401_is_a_typed_error_with_the_response_body() {
    within(DEADLINE, || {
        let server = ScriptedServer::responding(unauthorized());
        let error = consumer(&server.endpoint()).recent(APP, TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert_eq!(error.body(), Some(UNAUTHORIZED));
        assert!(error.to_string().contains(UNAUTHORIZED), "{error}");
    });
}

// Recent, with the fallback to a websocket.

fn bad_request() -> Vec<u8> {
    response("400 Bad Request", &[], b"")
}

#[test]
fn case_25_the_websocket_of_the_apps_dump_is_called() {
    within(DEADLINE, || {
        let (sender, requests) = mpsc::channel();
        let dump_sender = sender.clone();
        let server = ScriptedServer::start(vec![
            Box::new(move |mut socket| {
                sender.send(read_head(&mut socket)).unwrap();
                send(&mut socket, &[&bad_request()]);
                hang_up(socket);
            }),
            Box::new(move |mut socket| {
                let request = read_head(&mut socket);
                send(&mut socket, &[&switching_protocols(&request), &close_frame()]);
                dump_sender.send(request).unwrap();
                drain(socket);
            }),
        ]);
        assert_eq!(consumer(&server.endpoint()).recent(APP, TOKEN).unwrap(), []);
        let (recent, dump) = (requests.recv().unwrap(), requests.recv().unwrap());
        assert_eq!(recent.lines().next(), Some(&*format!("GET /recent?app={APP} HTTP/1.1")));
        assert_eq!(dump.lines().next(), Some(&*format!("GET /dump/?app={APP} HTTP/1.1")));
        for request in [&recent, &dump] {
            assert_eq!(header(request, "authorization"), Some(TOKEN));
        }
        assert_eq!(header(&dump, "upgrade"), Some("websocket"));
    });
}

#[test]
fn case_26_the_messages_of_the_dump_are_returned() {
    within(DEADLINE, || {
        let frames = ["one", "two"].map(|text| frame(BINARY, &message(text))).concat();
        let dump = streaming([frames, close_frame()].concat());
        let server = ScriptedServer::start(vec![responding(bad_request()), dump]);
        let messages = consumer(&server.endpoint()).recent(APP, TOKEN).unwrap();
        assert_eq!(texts(&messages), ["one", "two"]);
    });
}

#[test]
fn case_27_a_401_to_the_dump_is_a_typed_error_with_the_response_body() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![responding(bad_request()), responding(unauthorized())]);
        let error = consumer(&server.endpoint()).recent(APP, TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert_eq!(error.body(), Some(UNAUTHORIZED));
        assert!(error.to_string().contains(UNAUTHORIZED), "{error}");
    });
}

#[test]
fn case_28_a_dump_that_cannot_be_reached_is_an_error() {
    within(DEADLINE, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("ws://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            read_head(&mut socket);
            drop(listener);
            send(&mut socket, &[&bad_request()]);
            drain(socket);
        });
        let error = consumer(&endpoint).recent(APP, TOKEN).unwrap_err();
        assert_dial_error(&error, ErrorKind::Dial, &endpoint);
    });
}

// Sort.

fn at(timestamp: i64, text: &str) -> LogMessage {
    LogMessage::new(APP, text).timestamp(timestamp)
}

#[test]
fn case_29_messages_are_sorted_by_their_timestamps() {
    let mut messages = [at(2, "third"), at(-1, "first"), at(1, "second")];
    sort_recent(&mut messages);
    assert_eq!(texts(&messages), ["first", "second", "third"]);
}

#[test]
fn case_30_messages_of_equal_timestamps_stay_in_their_order() {
    // Enough messages for an unstable sort to show.
    let mut messages: Vec<_> = (0..100).map(|n| at(n % 2, &n.to_string())).collect();
    sort_recent(&mut messages);
    let expected: Vec<_> = (0..100).step_by(2).chain((1..100).step_by(2)).map(|n| n.to_string()).collect();
    assert_eq!(texts(&messages), expected);
}

// Proxy.

#[test]
fn case_31_messages_arrive_through_a_proxy() {
    within(DEADLINE, || {
        let proxy = ConnectProxy::plain();
        let server = ScriptedServer::start(vec![streaming(a_message())]);
        let mut tail = through(&proxy, &server.endpoint()).tail(APP, TOKEN).unwrap();
        assert_eq!(tail.next().unwrap().unwrap().text(), "from the app");
        assert!(proxy.request().starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.address)));
    });
}

#[test]
fn case_32_a_stopped_proxy_is_a_connection_refused() {
    within(DEADLINE, || {
        let stopped = Refusing::start();
        let proxy = Proxy::url(&format!("http://{}", stopped.address)).unwrap();
        let consumer = builder("ws://loggregator.example.com").proxy(proxy).build().unwrap();
        for error in failures(&consumer) {
            assert_dial_error(&error, ErrorKind::Dial, "ws://loggregator.example.com");
            assert!(error.to_string().contains("connection refused"), "{error}");
        }
    });
}

#[test]
fn case_33_the_error_of_a_proxy_function_is_in_the_error_text() {
    within(DEADLINE, || {
        let proxy = Proxy::custom(|_| Err("no proxy today".into()));
        let consumer = builder("ws://loggregator.example.com").proxy(proxy).build().unwrap();
        let error = consumer.tail(APP, TOKEN).unwrap_err();
        assert_dial_error(&error, ErrorKind::Proxy, "ws://loggregator.example.com");
        assert!(error.to_string().contains("no proxy today"), "{error}");
    });
}

/// Returns the error of a tail at a proxy with this response.
fn proxy_error(response: Vec<u8>) -> loggregator_consumer::Error {
    let server = ScriptedServer::responding(response);
    let proxy = Proxy::url(&format!("http://{}", server.address)).unwrap();
    let consumer = builder("ws://loggregator.example.com").proxy(proxy).build().unwrap();
    consumer.tail(APP, TOKEN).unwrap_err()
}

#[test]
fn case_34_a_proxy_that_refuses_to_connect_is_an_error() {
    within(DEADLINE, || {
        let error = proxy_error(response("403 Forbidden", &[], b"no"));
        assert_dial_error(&error, ErrorKind::Proxy, "ws://loggregator.example.com");
    });
}

#[test]
fn case_35_the_400_of_a_server_that_is_not_a_proxy_is_a_bad_request() {
    within(DEADLINE, || {
        let error = proxy_error(bad_request());
        assert_eq!(error.kind(), ErrorKind::Proxy);
        assert!(error.to_string().contains("Bad Request"), "{error}");
    });
}

#[test]
fn case_36_recent_messages_come_through_a_proxy_too() {
    within(DEADLINE, || {
        let proxy = ConnectProxy::plain();
        let server = ScriptedServer::responding(recent_response(&["one", "two"]));
        let messages = through(&proxy, &server.endpoint()).recent(APP, TOKEN).unwrap();
        assert_eq!(texts(&messages), ["one", "two"]);
        assert!(proxy.request().starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.address)));
    });
}

#[test]
fn case_36_recent_fails_with_the_error_of_the_proxy_function() {
    within(DEADLINE, || {
        let proxy = Proxy::custom(|_| Err("no proxy today".into()));
        let consumer = builder("ws://loggregator.example.com").proxy(proxy).build().unwrap();
        let error = consumer.recent(APP, TOKEN).unwrap_err();
        assert_dial_error(&error, ErrorKind::Proxy, "ws://loggregator.example.com");
        assert!(error.to_string().contains("no proxy today"), "{error}");
    });
}

// Live.

/// A server that logs a tick every 50 ms: its recent messages are the ticks so far, and its tail gives the later ones.
fn ticking_server() -> ScriptedServer {
    let start = Instant::now();
    let tick = |n: usize| format!("tick {n}");
    let ticks = move || start.elapsed().as_millis() as usize / 50 + 1;
    ScriptedServer::always(move |mut socket| {
        let request = read_head(&mut socket);
        if request.starts_with("GET /recent?") {
            let ticks: Vec<_> = (0..ticks()).map(tick).collect();
            send(&mut socket, &[&recent_response(&ticks.iter().map(String::as_str).collect::<Vec<_>>())]);
            hang_up(socket);
        } else {
            send(&mut socket, &[&switching_protocols(&request)]);
            for n in ticks()..ticks() + 100 {
                thread::sleep(Duration::from_millis(50));
                send(&mut socket, &[&frame(BINARY, &message(&tick(n)))]);
            }
        }
    })
}

#[test]
fn case_37_a_server_that_ticks_gives_a_recent_tick_and_then_a_live_one() {
    within(DEADLINE, || {
        let server = ticking_server();
        let consumer = consumer(&server.endpoint());
        let recent = consumer.recent(APP, TOKEN).unwrap();
        assert!(recent[0].text().starts_with("tick"), "{recent:?}");

        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        let live = tail.recv_timeout(Duration::from_secs(2)).unwrap().unwrap();
        assert!(live.text().starts_with("tick"), "{live:?}");
        tail.close().unwrap();
    });
}
