//! Servers that ask their clients to come back later: 429 or 503, with or without `Retry-After`.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::messages::{APP, TOKEN, chunk, head, response, texts};
use common::{DEADLINE, Script, ScriptedServer, hang_up, read_head, send, within};
use loggregator_consumer::{Builder, Consumer, Error, ErrorKind, Proxy, Reconnect, TokenSource, Uaa};

/// A server that responds to every request in the same way, and counts them.
struct Server {
    server: ScriptedServer,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn start(response: Vec<u8>) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let server = ScriptedServer::always(move |mut socket| {
            counted.fetch_add(1, Ordering::SeqCst);
            read_head(&mut socket);
            send(&mut socket, &[&response]);
            hang_up(socket);
        });
        Server { server, requests }
    }

    /// Returns the error of each call on each generation, which must be the result of one request.
    #[track_caller]
    fn errors(&self) -> Vec<Error> {
        type Call = fn(&Consumer) -> Error;
        let (http, websocket) = (format!("http://{}", self.server.address), self.server.endpoint());
        let tail: Call = |consumer| consumer.tail(APP, TOKEN).unwrap_err();
        let recent: Call = |consumer| consumer.recent(APP, TOKEN).unwrap_err();
        let iter: Call = |consumer| consumer.recent_iter(APP, TOKEN).unwrap_err();
        let calls = [
            (Builder::new().log_cache(&http), &[recent, iter][..]),
            (Builder::new().rlp_gateway(&http), &[tail]),
            (Builder::new().doppler(&websocket), &[tail, recent, iter]),
            (Builder::new().legacy(&websocket), &[tail, recent, iter]),
            (Builder::new().api(&http), &[tail, recent]),
        ];
        let mut errors = Vec::new();
        for (builder, calls) in calls {
            let consumer = builder.proxy(Proxy::none()).build().unwrap();
            for call in calls {
                errors.push(call(&consumer));
                assert_eq!(self.requests.swap(0, Ordering::SeqCst), 1, "{:?}", errors.last());
            }
        }
        errors
    }
}

#[test]
fn a_call_fails_at_once_and_its_error_has_the_time() {
    within(DEADLINE, || {
        let date = "Date: Tue, 15 Nov 1994 08:12:31 GMT";
        for (status, code) in [("429 Too Many Requests", 429), ("503 Service Unavailable", 503)] {
            for (header, seconds) in [
                ("Retry-After: 1800", 1800),
                ("retry-after: 0", 0),
                ("Retry-After: Tue, 15 Nov 1994 08:13:01 GMT", 30),
                ("Retry-After: 100000000000000000000", 3600),
            ] {
                let server = Server::start(response(status, &[date, header], b"slow down"));
                for error in server.errors() {
                    assert_eq!((error.kind(), error.status()), (ErrorKind::ServerError, Some(code)), "{error}");
                    assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds)), "{header}: {error:?}");
                    let hint = format!("slow down (the server allows another attempt after {seconds} s)");
                    assert!(error.to_string().contains(&hint), "{error}");
                }
            }
        }
    });
}

#[test]
fn without_the_header_there_is_no_time_and_no_other_attempt() {
    within(DEADLINE, || {
        for header in ["X: y", "Retry-After: soon", "Retry-After: -1"] {
            let server = Server::start(response("429 Too Many Requests", &[header], b"slow down"));
            for error in server.errors() {
                assert_eq!((error.status(), error.retry_after()), (Some(429), None), "{error}");
                assert!(error.to_string().ends_with(": slow down"), "{error}");
            }
        }
    });
}

#[test]
fn a_rate_limit_is_told_apart_from_a_response_that_is_too_large() {
    within(DEADLINE, || {
        let too_large = r#"{"code":8,"message":"grpc: received message larger than max","details":[]}"#;
        for (status, headers, body) in [
            ("429 Too Many Requests", &["Retry-After: 7"][..], too_large),
            ("429 Too Many Requests", &[], r#"{"code":14,"message":"busy","details":[]}"#),
            ("429 Too Many Requests", &[], r#"{"errors":[{"code":10013,"title":"CF-RateLimitExceeded"}]}"#),
            ("429 Too Many Requests", &[], ""),
            ("403 Forbidden", &[], r#"{"error":"no","code":7}"#),
            ("403 Forbidden", &[], "no"),
            ("503 Service Unavailable", &[], too_large),
        ] {
            let server = Server::start(response(status, headers, body.as_bytes()));
            let log_cache = format!("http://{}", server.server.address);
            let consumer = Builder::new().log_cache(&log_cache).proxy(Proxy::none()).build().unwrap();
            let error = consumer.recent(APP, TOKEN).unwrap_err();
            assert_eq!(error.body(), Some(body));
            assert_eq!(server.requests.load(Ordering::SeqCst), 1, "{status}: {body}");
        }
    });
}

#[test]
fn the_pages_before_a_rate_limit_are_recovered() {
    within(DEADLINE, || {
        let line = |time| format!(r#"{{"timestamp":"{time}","log":{{"payload":"aGk="}}}}"#);
        let page: Vec<String> = (0..1000).rev().map(line).collect();
        let page = format!(r#"{{"envelopes":{{"batch":[{}]}}}}"#, page.join(","));
        let limit = response("429 Too Many Requests", &["Retry-After: 7"], b"");
        let server = ScriptedServer::start(vec![
            common::responding(response("200 OK", &[], page.as_bytes())),
            common::responding(limit),
        ]);
        let log_cache = Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none());
        let error = log_cache.recent_limit(2000).build().unwrap().recent(APP, TOKEN).unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(error.recovered().len(), 1000);
    });
}

#[test]
fn a_tail_that_reconnects_waits_for_the_time() {
    within(DEADLINE, || {
        let stream = |text: &'static str| -> Script {
            Box::new(move |mut socket| {
                read_head(&mut socket);
                let event = format!("data: {{\"batch\":[{{\"log\":{{\"payload\":\"{text}\"}}}}]}}\n\n");
                let head = head("200 OK", &["Content-Type: text/event-stream", "Transfer-Encoding: chunked"]);
                send(&mut socket, &[&head, &chunk(event.as_bytes()), &chunk(b"")]);
                hang_up(socket);
            })
        };
        let (refused, when) = std::sync::mpsc::channel();
        let limit: Script = Box::new(move |mut socket| {
            read_head(&mut socket);
            refused.send(Instant::now()).unwrap();
            send(&mut socket, &[&response("503 Service Unavailable", &["Retry-After: 1"], b"")]);
            hang_up(socket);
        });
        let server = ScriptedServer::start(vec![stream("b25l"), limit, stream("dHdv")]);
        let at_once = Reconnect::default().first(Duration::from_millis(1)).longest(Duration::from_millis(1));
        let builder = Builder::new().rlp_gateway(&format!("http://{}", server.address)).proxy(Proxy::none());
        let mut tail = builder.reconnect(at_once).build().unwrap().tail(APP, TOKEN).unwrap();
        let first = tail.next().unwrap().unwrap();
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Gap);
        let second = tail.next().unwrap().unwrap();
        assert_eq!(texts(&[first, second]), ["one", "two"]);
        assert!(when.recv().unwrap().elapsed() >= Duration::from_secs(1));
    });
}

#[test]
fn a_uaa_has_the_time_too() {
    within(DEADLINE, || {
        let server = Server::start(response("429 Too Many Requests", &["Retry-After: 7"], b"slow down"));
        let url = format!("http://{}", server.server.address);
        let tokens = TokenSource::uaa(Uaa::new(&url).client("id", "secret")).unwrap();
        let consumer = Builder::new().log_cache(&url).tokens(tokens).proxy(Proxy::none()).build().unwrap();
        let error = consumer.recent(APP, "").unwrap_err();
        assert_eq!((error.status(), error.retry_after()), (Some(429), Some(Duration::from_secs(7))), "{error}");
        assert_eq!(server.requests.load(Ordering::SeqCst), 1);
    });
}
