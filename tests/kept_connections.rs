//! The connection to Log Cache, which is kept open between calls.

mod common;

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use common::messages::{APP, TOKEN, response, texts};
use common::{DEADLINE, ScriptedServer, drain, hang_up, reset, send, try_read_head, wait_until, within};
use loggregator_consumer::{Builder, Consumer, ErrorKind, Proxy};

const LINE: &[u8] = br#"{"envelopes":{"batch":[{"timestamp":"1","log":{"payload":"aGk="}}]}}"#;

/// A server that counts its connections.
struct Server {
    address: String,
    all: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Server {
    /// `respond` gets each request with its number on the connection, from 0. It returns the socket to go on with it.
    fn start(respond: impl Fn(usize, TcpStream) -> Option<TcpStream> + Send + Sync + 'static) -> Self {
        let (all, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let server = ScriptedServer::always({
            let (all, open) = (Arc::clone(&all), Arc::clone(&open));
            move |mut socket| {
                all.fetch_add(1, Ordering::SeqCst);
                open.fetch_add(1, Ordering::SeqCst);
                for number in 0.. {
                    let Ok(_) = try_read_head(&mut socket) else { break };
                    let Some(kept) = respond(number, socket) else { break };
                    socket = kept;
                }
                open.fetch_sub(1, Ordering::SeqCst);
            }
        });
        Server { address: server.address.to_string(), all, open }
    }

    fn consumer(&self) -> Consumer {
        Builder::new().log_cache(&format!("http://{}", self.address)).proxy(Proxy::none()).build().unwrap()
    }

    fn connections(&self) -> usize {
        self.all.load(Ordering::SeqCst)
    }

    fn wait_until_closed(&self) {
        wait_until("the client has closed its connections", || self.open.load(Ordering::SeqCst) == 0);
    }
}

fn respond(mut socket: TcpStream) -> Option<TcpStream> {
    send(&mut socket, &[&response("200 OK", &[], LINE)]);
    Some(socket)
}

fn read(consumer: &Consumer) {
    assert_eq!(texts(&consumer.recent(APP, TOKEN).unwrap()), ["hi"]);
}

#[test]
fn calls_that_follow_each_other_share_one_connection() {
    within(DEADLINE, || {
        let server = Server::start(|_, socket| respond(socket));
        let consumer = server.consumer();
        for consumer in [&consumer, &consumer.clone(), &consumer] {
            read(consumer);
            assert_eq!(consumer.recent_iter(APP, TOKEN).unwrap().count(), 1);
        }
        assert_eq!(server.connections(), 1);
        drop(consumer);
        server.wait_until_closed();
    });
}

#[test]
fn close_closes_it_and_the_next_call_opens_another() {
    within(DEADLINE, || {
        let server = Server::start(|_, socket| respond(socket));
        let consumer = server.consumer();
        for connections in 1..=3 {
            read(&consumer);
            assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected, "no call is open");
            server.wait_until_closed();
            assert_eq!(server.connections(), connections);
        }
    });
}

#[test]
fn one_that_the_server_has_closed_meanwhile_is_opened_anew_without_an_error() {
    within(DEADLINE, || {
        let at_once: fn(usize, TcpStream) -> Option<TcpStream> = |_, socket| respond(socket).and_then(close);
        let with_a_reset = |_, socket| respond(socket).and_then(|socket| Some(reset(socket)).and(None));
        // The client's request and the end of the connection cross each other.
        let at_the_next_request = |number, socket| if number == 0 { respond(socket) } else { close(socket) };
        let with_a_reset_then =
            |number, socket| if number == 0 { respond(socket) } else { Some(reset(socket)).and(None) };
        for respond in [at_once, with_a_reset, at_the_next_request, with_a_reset_then] {
            let server = Server::start(respond);
            let consumer = server.consumer();
            (0..5).for_each(|_| read(&consumer));
            assert_eq!(server.connections(), 5);
        }
    });
}

fn close(socket: TcpStream) -> Option<TcpStream> {
    hang_up(socket);
    None
}

#[test]
fn it_is_not_kept_after_an_error() {
    within(DEADLINE, || {
        let server = Server::start(|_, mut socket| {
            send(&mut socket, &[&response("503 No", &[], b"no")]);
            Some(socket)
        });
        let consumer = server.consumer();
        for connections in 1..=2 {
            consumer.recent(APP, TOKEN).unwrap_err();
            server.wait_until_closed();
            assert_eq!(server.connections(), connections);
        }
    });
}

#[test]
fn it_is_not_kept_if_the_server_does_not_keep_it() {
    within(DEADLINE, || {
        let of_http_10 = || String::from_utf8(response("200 OK", &[], LINE)).unwrap().replace("HTTP/1.1", "HTTP/1.0");
        let excess = || [response("200 OK", &[], LINE), b"HTTP/1.1 500 No\r\n\r\n".to_vec()].concat();
        let long = || response("200 OK", &[], &[LINE, &[b' '; 1 << 20]].concat());
        for (what, bytes) in [
            ("Connection: close", response("200 OK", &["Connection: close"], LINE)),
            ("HTTP/1.0", of_http_10().into_bytes()),
            ("more than its length", excess()),
            ("much behind the JSON", long()),
        ] {
            let server = Server::start(move |_, mut socket| {
                send(&mut socket, &[&bytes]);
                Some(socket)
            });
            let consumer = server.consumer();
            for connections in 1..=3 {
                read(&consumer);
                assert_eq!(server.connections(), connections, "{what}");
            }
            drop(consumer);
            server.wait_until_closed();
        }
    });
}

#[test]
fn each_call_sends_its_own_token() {
    within(DEADLINE, || {
        let (heads, received) = mpsc::channel();
        let server = ScriptedServer::always(move |mut socket| {
            while let Ok(head) = try_read_head(&mut socket) {
                heads.send(head).unwrap();
                send(&mut socket, &[&response("200 OK", &[], LINE)]);
            }
        });
        let builder = Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none());
        let consumer = builder.build().unwrap();
        for token in ["bearer one", "bearer two", ""] {
            consumer.recent(APP, token).unwrap();
            let head = received.recv().unwrap();
            let sent = head.lines().find_map(|line| line.strip_prefix("Authorization: ")).unwrap_or_default();
            assert_eq!(sent, token);
        }
    });
}

#[test]
fn calls_at_the_same_time_have_one_each_of_which_eight_are_kept() {
    within(DEADLINE, || {
        const CALLS: usize = 12;
        let together = Arc::new(Barrier::new(CALLS));
        let server = Server::start(move |_, socket| {
            together.wait();
            respond(socket)
        });
        let consumer = server.consumer();
        for connections in [CALLS, CALLS + 4] {
            thread::scope(|scope| (0..CALLS).for_each(|_| drop(scope.spawn(|| read(&consumer)))));
            assert_eq!(server.connections(), connections);
            wait_until("the others are closed", || server.open.load(Ordering::SeqCst) == 8);
        }
    });
}

#[test]
fn close_interrupts_a_call_on_a_kept_connection() {
    within(DEADLINE, || {
        let asked = Arc::new(Barrier::new(2));
        let server = Server::start({
            let asked = Arc::clone(&asked);
            move |number, socket| {
                if number == 0 {
                    return respond(socket);
                }
                asked.wait();
                // Silent until the client leaves.
                drain(socket);
                None
            }
        });
        let consumer = server.consumer();
        read(&consumer);
        thread::scope(|scope| {
            let call = scope.spawn(|| consumer.recent(APP, TOKEN).unwrap_err().kind());
            asked.wait();
            consumer.close().unwrap();
            assert_eq!(call.join().unwrap(), ErrorKind::Closed);
        });
        server.wait_until_closed();
        assert_eq!(server.connections(), 1);
    });
}
