//! Measures how much memory a bad server can make the client use: the peak of this process's resident memory, minus
//! what it had before.
//!
//! One test, because it measures the whole process. The servers are part of it, but they send the same few bytes over
//! and over.
#![cfg(target_os = "linux")]

mod common;

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use common::memory::Resident;
use common::messages::{APP, BOUNDARY, CONTENT_TYPE, TOKEN, chunk, head, message, part, response};
use common::{DEADLINE, PING, ScriptedServer, frame, read_head, send, send_endlessly, switching_protocols, within};
use loggregator_consumer::{Builder, Consumer, ErrorKind, Proxy, TokenSource, Uaa};

const MB: usize = 1 << 20;

/// The `max_message_size` of the tests.
const MESSAGE: usize = MB;

/// The `max_recent_size` of the tests.
const RECENT: usize = 8 * MB;

/// The limit of a list of the API.
const LIST: usize = 8 * MB;

/// The limit for a flood of which nothing is kept: buffers, and the overhead of the system's allocator.
const BASE: usize = 4 * MB;

/// How long to watch a flood that only a close ends.
const WATCH_TIME: Duration = Duration::from_millis(300);

/// What a server sends endlessly in response to a request, and the limit for the memory that this may use.
struct Flood {
    name: &'static str,
    limit: usize,
    /// Returns what is sent first, for this request.
    begin: fn(&str) -> Vec<u8>,
    endless: fn() -> Vec<u8>,
    call: fn(Builder, SocketAddr),
}

const FLOODS: &[Flood] = &[
    Flood { name: "headers of a response", limit: BASE, begin: status, endless: || b"X: y\r\n".into(), call: recent },
    Flood { name: "headers of a handshake", limit: BASE, begin: status, endless: || b"X: y\r\n".into(), call: tail },
    Flood { name: "headers of a proxy", limit: BASE, begin: status, endless: || b"X: y\r\n".into(), call: through },
    Flood { name: "headers of the API", limit: BASE, begin: status, endless: || b"X: y\r\n".into(), call: discover },
    Flood { name: "headers of a UAA", limit: BASE, begin: status, endless: || b"X: y\r\n".into(), call: renew },
    Flood { name: "one header", limit: BASE, begin: status, endless: || b"x".into(), call: recent },
    Flood {
        name: "body of an error response",
        limit: BASE,
        begin: error_status,
        endless: || b"x".into(),
        call: recent,
    },
    Flood {
        name: "body of a rejected handshake",
        limit: BASE,
        begin: error_status,
        endless: || b"x".into(),
        call: tail,
    },
    Flood { name: "a response of the API", limit: BASE, begin: json, endless: || b" ".into(), call: discover },
    Flood { name: "a response of a UAA", limit: BASE, begin: json, endless: || b" ".into(), call: renew },
    Flood {
        name: "resources in a list of the API",
        limit: 2 * LIST + BASE,
        begin: list,
        endless: || b",{\"guid\":\"1\",\"name\":\"x\"}".into(),
        call: app,
    },
    Flood {
        name: "a name in a list of the API",
        limit: 2 * LIST + BASE,
        begin: |request| [&*list(request), b",{\"name\":\""].concat(),
        endless: || b"x".into(),
        call: app,
    },
    Flood { name: "a preamble", limit: BASE, begin: multipart, endless: || b"x".into(), call: recent },
    Flood { name: "empty parts", limit: BASE, begin: multipart, endless: || part(b""), call: recent },
    Flood { name: "headers of a part", limit: BASE, begin: in_a_part, endless: || b"X: y\r\n".into(), call: recent },
    // A growing buffer is copied into a larger one.
    Flood { name: "one part", limit: 2 * MESSAGE + BASE, begin: in_a_part, endless: || b"x".into(), call: recent },
    Flood {
        name: "parts",
        limit: 2 * RECENT + BASE,
        begin: multipart,
        endless: || part(&message(&"x".repeat(100))),
        call: recent,
    },
    Flood {
        name: "parts for the iterator",
        limit: BASE,
        begin: multipart,
        endless: || part(&message(&"x".repeat(100))),
        call: recent_iter,
    },
    Flood { name: "a chunk's size", limit: BASE, begin: chunked, endless: || b"0".into(), call: recent },
    Flood {
        name: "chunks of one byte",
        limit: 2 * MESSAGE + BASE,
        begin: chunked,
        endless: || chunk(b"x"),
        call: recent,
    },
    Flood {
        name: "an envelope of Log Cache",
        limit: 3 * MESSAGE + BASE,
        begin: |request| [json(request), b"{\"envelopes\":{\"batch\":[{\"log\":{\"payload\":\"".to_vec()].concat(),
        endless: || b"x".into(),
        call: log_cache,
    },
    Flood {
        name: "envelopes of Log Cache",
        limit: 3 * RECENT + BASE,
        begin: |request| [json(request), b"{\"envelopes\":{\"batch\":[{}".to_vec()].concat(),
        endless: || b",{\"log\":{\"payload\":\"aGk=\"}}".into(),
        call: log_cache,
    },
    Flood {
        name: "envelopes in one of many pages of Log Cache",
        limit: 3 * RECENT + BASE,
        begin: |request| [json(request), b"{\"envelopes\":{\"batch\":[{}".to_vec()].concat(),
        endless: || b",{\"log\":{\"payload\":\"aGk=\"}}".into(),
        call: log_cache_pages,
    },
    Flood {
        name: "nesting in Log Cache",
        limit: 3 * MESSAGE + BASE,
        begin: |request| [json(request), b"{\"x\":".to_vec()].concat(),
        endless: || b"[".into(),
        call: log_cache,
    },
    // A line of an event may have four times the size of a message. So may the event, and the data that is passed on.
    Flood {
        name: "a line of an event",
        limit: 10 * MESSAGE + BASE,
        begin: events,
        endless: || b"x".into(),
        call: gateway,
    },
    Flood {
        name: "lines of an event",
        limit: 10 * MESSAGE + BASE,
        begin: events,
        endless: || b"data: x\n".into(),
        call: gateway,
    },
    Flood { name: "heartbeats", limit: BASE, begin: events, endless: || b"event: heartbeat\n\n".into(), call: gateway },
    Flood {
        name: "pings, without reading a pong",
        limit: BASE,
        begin: upgrade,
        endless: || frame(PING, &[0; 125]),
        call: tail,
    },
    Flood { name: "empty fragments", limit: BASE, begin: in_fragments, endless: || vec![0, 0], call: tail },
    Flood {
        name: "fragments",
        limit: 3 * MESSAGE + BASE,
        begin: in_fragments,
        endless: || [&[0, 100][..], &[b'x'; 100]].concat(),
        call: tail,
    },
    Flood {
        name: "a frame that announces a large payload and sends none",
        limit: BASE,
        begin: |request| [upgrade(request), vec![0x82, 127, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff]].concat(),
        endless: Vec::new,
        call: tail,
    },
];

fn status(_: &str) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\n".into()
}

fn error_status(_: &str) -> Vec<u8> {
    head("500 Oh", &[])
}

fn json(_: &str) -> Vec<u8> {
    head("200 OK", &["Content-Type: application/json"])
}

/// A list of the API whose root is in order.
fn list(request: &str) -> Vec<u8> {
    match request.starts_with("GET / ") {
        true => response("200 OK", &[], b"{\"links\":{}}"),
        false => [&*json(request), b"{\"resources\":[{\"guid\":\"0\",\"name\":\"x\"}"].concat(),
    }
}

fn multipart(_: &str) -> Vec<u8> {
    head("200 OK", &[CONTENT_TYPE])
}

fn in_a_part(request: &str) -> Vec<u8> {
    [&*multipart(request), format!("\r\n--{BOUNDARY}\r\n").as_bytes()].concat()
}

fn chunked(_: &str) -> Vec<u8> {
    let body = chunk(format!("\r\n--{BOUNDARY}\r\n\r\n").as_bytes());
    [head("200 OK", &[CONTENT_TYPE, "Transfer-Encoding: chunked"]), body].concat()
}

fn events(_: &str) -> Vec<u8> {
    head("200 OK", &["Content-Type: text/event-stream"])
}

fn upgrade(request: &str) -> Vec<u8> {
    switching_protocols(request)
}

fn in_fragments(request: &str) -> Vec<u8> {
    [upgrade(request), vec![2, 0]].concat()
}

fn recent(builder: Builder, address: SocketAddr) {
    call_recent(builder.legacy(&format!("ws://{address}")));
}

fn log_cache(builder: Builder, address: SocketAddr) {
    call_recent(builder.log_cache(&format!("http://{address}")));
}

fn log_cache_pages(builder: Builder, address: SocketAddr) {
    log_cache(builder.recent_limit(100_000), address);
}

fn call_recent(builder: Builder) {
    builder.build().unwrap().recent(APP, TOKEN).unwrap_err();
}

/// Reads messages for a while.
fn recent_iter(builder: Builder, address: SocketAddr) {
    let consumer = builder.legacy(&format!("ws://{address}")).build().unwrap();
    let mut recent = consumer.recent_iter(APP, TOKEN).unwrap();
    close_later(consumer);
    assert_eq!(recent.find_map(Result::err).unwrap().kind(), ErrorKind::Closed);
}

fn tail(builder: Builder, address: SocketAddr) {
    call_tail(builder.legacy(&format!("ws://{address}")));
}

fn gateway(builder: Builder, address: SocketAddr) {
    call_tail(builder.rlp_gateway(&format!("http://{address}")));
}

fn through(builder: Builder, address: SocketAddr) {
    call_tail(builder.legacy("ws://server.invalid").proxy(Proxy::url(&format!("http://{address}")).unwrap()));
}

fn discover(builder: Builder, address: SocketAddr) {
    call_tail(builder.api(&format!("http://{address}")));
}

fn app(builder: Builder, address: SocketAddr) {
    let consumer = builder.api(&format!("http://{address}")).build().unwrap();
    assert_eq!(consumer.app("web", TOKEN).unwrap_err().kind(), ErrorKind::BadResponse);
}

fn renew(builder: Builder, address: SocketAddr) {
    let tokens = TokenSource::uaa(Uaa::new(&format!("http://{address}")).refresh_token("x")).unwrap();
    builder.legacy("ws://server.invalid").tokens(tokens).build().unwrap().tail(APP, "").unwrap_err();
}

/// Opens a tail. One that does not fail at once is read for a while, and closed.
fn call_tail(builder: Builder) {
    let consumer = builder.build().unwrap();
    if let Ok(tail) = consumer.tail(APP, TOKEN) {
        close_later(consumer);
        tail.for_each(drop);
    }
}

fn close_later(consumer: Consumer) {
    thread::spawn(move || {
        thread::sleep(WATCH_TIME);
        // It may have ended by itself.
        let _ = consumer.close();
    });
}

impl Flood {
    fn taken(&self) -> usize {
        let (begin, endless) = (self.begin, (self.endless)());
        let many = endless.repeat(64 * 1024 / endless.len().max(1));
        let (ended, wait_until_ended) = channel();
        let server = ScriptedServer::always(move |mut socket: TcpStream| {
            let request = read_head(&mut socket);
            send(&mut socket, &[&begin(&request)]);
            match many.is_empty() {
                true => common::drain(socket),
                false => send_endlessly(&mut socket, &many),
            }
            let _ = ended.send(());
        });
        let builder = Builder::new().proxy(Proxy::none()).max_message_size(MESSAGE).max_recent_size(RECENT);
        let before = Resident::now();
        Resident::reset_peak();
        (self.call)(builder, server.address);
        let taken = Resident::now().peak.saturating_sub(before.current);
        wait_until_ended.recv_timeout(DEADLINE).expect("the client hangs up");
        taken
    }
}

#[test]
fn no_flood_takes_more_memory_than_its_limit() {
    within(6 * DEADLINE, || {
        // The first uses allocate memory that stays.
        FLOODS[0].taken();
        // Freed memory stays with the process for a while, and would hide a smaller flood.
        let mut floods: Vec<_> = FLOODS.iter().collect();
        floods.sort_by_key(|flood| flood.limit);
        let over: Vec<_> = floods
            .into_iter()
            .filter_map(|flood| {
                let taken = flood.taken();
                println!("{}: {} KiB of {} KiB", flood.name, taken / 1024, flood.limit / 1024);
                (taken > flood.limit).then_some((flood.name, taken))
            })
            .collect();
        assert!(over.is_empty(), "over their limits: {over:?}");
    });
}
