//! Calls and tails in every state in which they can be closed.
//!
//! No time limit of the client ends any of these states. None of them sleeps until the state is reached: what the
//! server sees, or what the caller gets, shows it.
#![allow(dead_code)] // Each test file uses its own part.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use loggregator_consumer::testing::{self, Fault, Frame, Generation, Received, TrafficController};
use loggregator_consumer::{Builder, Consumer, Ending, ErrorKind, LogMessage, Proxy, Reconnect, Result, Tail};
use native_tls::{Certificate, TlsConnector};

pub use crate::common::messages::{APP, TOKEN};
use crate::common::socks5::read_greeting;
use crate::common::{self, Script, ScriptedServer, read_head, wait_until};

/// A time limit that no test reaches.
pub const NEVER: Duration = Duration::from_secs(3600);

/// The longest wait for something that must happen.
pub const SOON: Duration = Duration::from_secs(10);

/// A builder whose time limits no test reaches, and which trusts the testing servers' certificate.
pub fn without_timeouts(endpoint: &str) -> Builder {
    // Built once, because building it is slow.
    static CONNECTOR: LazyLock<TlsConnector> = LazyLock::new(|| {
        let certificate = Certificate::from_pem(testing::certificate_pem().as_bytes()).unwrap();
        TlsConnector::builder().disable_built_in_roots(true).add_root_certificate(certificate).build().unwrap()
    });
    common::builder(endpoint)
        .tls_connector(CONNECTOR.clone())
        .connect_timeout(NEVER)
        .read_timeout(NEVER)
        .recent_timeout(NEVER)
        .max_recent_size(usize::MAX)
        .max_message_size(usize::MAX)
}

pub fn consumer_of(server: &TrafficController) -> Consumer {
    without_timeouts(&server.endpoint()).build().unwrap()
}

pub fn start(server: testing::TrafficControllerBuilder, tls: bool) -> TrafficController {
    if tls { server.tls() } else { server }.start().unwrap()
}

/// A call of a consumer.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    Tail,
    Recent,
}

impl Call {
    pub const ALL: [Call; 2] = [Call::Tail, Call::Recent];

    pub fn make(self, consumer: &Consumer) -> Result<()> {
        match self {
            Call::Tail => consumer.tail(APP, TOKEN).map(drop),
            Call::Recent => consumer.recent(APP, TOKEN).map(drop),
        }
    }

    fn start(self, consumer: &Consumer) -> JoinHandle<Result<()>> {
        let consumer = consumer.clone();
        thread::spawn(move || self.make(&consumer))
    }
}

/// Functions that reach a state, with the state's name.
type States<F> = &'static [(&'static str, F)];

/// A call that would wait forever.
pub struct BlockedCall {
    pub consumer: Consumer,
    pub call: JoinHandle<Result<()>>,
    /// Waits until the server has seen the end of the call's connection.
    pub wait_until_gone: Box<dyn FnOnce() + Send>,
}

impl BlockedCall {
    /// Closes the consumer, and returns the result of the call. It must be prompt, and leave no connection.
    pub fn close(self) -> Result<()> {
        let begin = Instant::now();
        self.consumer.close().unwrap();
        let result = self.call.join().unwrap();
        assert!(begin.elapsed() < PROMPT, "it took {:?}", begin.elapsed());
        (self.wait_until_gone)();
        assert_eq!(self.consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
        result
    }
}

pub const CALLS: States<fn(Call) -> BlockedCall> = &[
    #[cfg(target_os = "linux")]
    ("connecting", connecting),
    ("asking a proxy", asking_a_proxy),
    ("asking a SOCKS5 proxy", asking_a_socks5_proxy),
    ("in the TLS handshake with a proxy", in_the_tls_handshake_with_a_proxy),
    ("in the TLS handshake", in_the_tls_handshake),
    ("before the response", |call| before_the_response(call, false)),
    ("before the response, over TLS", |call| before_the_response(call, true)),
    ("in the response head", |call| in_the_response_head(call, false)),
    ("in the response head, over TLS", |call| in_the_response_head(call, true)),
];

/// The server's backlog is full, so it does not answer the SYN.
#[cfg(target_os = "linux")]
pub fn connecting(call: Call) -> BlockedCall {
    use socket2::{Domain, Socket, Type};
    use std::net::{Ipv4Addr, SocketAddr};

    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(one) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(one);
    }
    let consumer = without_timeouts(&format!("ws://{address}")).build().unwrap();
    let call = call.start(&consumer);
    wait_until("the call connects", || is_connecting(address.port()));
    let wait_until_gone = move || {
        wait_until("the call no longer connects", || !is_connecting(address.port()));
        drop((listener, queued));
    };
    BlockedCall { consumer, call, wait_until_gone: Box::new(wait_until_gone) }
}

/// Returns whether a local socket has sent a SYN to this local port, and waits for the reply.
#[cfg(target_os = "linux")]
fn is_connecting(port: u16) -> bool {
    std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&format!(" 0100007F:{port:04X} 02 "))
}

pub fn asking_a_proxy(call: Call) -> BlockedCall {
    let asked = |socket: &mut TcpStream| _ = read_head(socket);
    without_a_response(call, asked, |server| {
        without_timeouts("ws://server.invalid").proxy(Proxy::url(&format!("http://{}", server.address)).unwrap())
    })
}

pub fn asking_a_socks5_proxy(call: Call) -> BlockedCall {
    let asked = |socket: &mut TcpStream| _ = read_greeting(socket);
    without_a_response(call, asked, |server| {
        without_timeouts("ws://server.invalid").proxy(Proxy::url(&format!("socks5h://{}", server.address)).unwrap())
    })
}

pub fn in_the_tls_handshake_with_a_proxy(call: Call) -> BlockedCall {
    without_a_response(call, begin_tls, |server| {
        without_timeouts("ws://server.invalid").proxy(Proxy::url(&format!("https://{}", server.address)).unwrap())
    })
}

pub fn in_the_tls_handshake(call: Call) -> BlockedCall {
    without_a_response(call, begin_tls, |server| without_timeouts(&format!("wss://{}", server.address)))
}

/// Reads the first byte of the client's TLS handshake.
fn begin_tls(socket: &mut TcpStream) {
    let mut record_type = [0];
    socket.read_exact(&mut record_type).unwrap();
    assert_eq!(record_type, [22]);
}

/// The server reads the client's request with `read`, and then sends nothing.
fn without_a_response(
    call: Call,
    read: impl FnOnce(&mut TcpStream) + Send + 'static,
    consumer: impl FnOnce(&ScriptedServer) -> Builder,
) -> BlockedCall {
    let (was_read, wait_until_read) = channel();
    let (gone, wait_until_gone) = channel();
    let script: Script = Box::new(move |mut socket| {
        read(&mut socket);
        was_read.send(()).unwrap();
        match io::copy(&mut socket, &mut io::sink()) {
            // The client has not hung up by the deadline.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => gone.send(()).unwrap(),
        }
    });
    let consumer = consumer(&ScriptedServer::start(vec![script])).build().unwrap();
    let call = call.start(&consumer);
    wait_until_read.recv_timeout(SOON).unwrap();
    let wait_until_gone = move || wait_until_gone.recv_timeout(SOON).expect("the client hangs up");
    BlockedCall { consumer, call, wait_until_gone: Box::new(wait_until_gone) }
}

pub fn before_the_response(call: Call, tls: bool) -> BlockedCall {
    stalled(call, start(TrafficController::builder(), tls), 1, [Fault::StallAfter(0)])
}

pub fn in_the_response_head(call: Call, tls: bool) -> BlockedCall {
    stalled(call, start(TrafficController::builder(), tls), 1, [Fault::StallAfter(20)])
}

/// The server stalls in the body of an error response.
pub fn in_an_error_body(call: Call) -> BlockedCall {
    let refuse = Fault::RefuseStatus { status: 401, body: b"No! ".repeat(1000) };
    stalled(call, start(TrafficController::builder(), false), 1, [refuse, Fault::StallAfter(1000)])
}

/// The server does not respond to the second request of `recent`, for which a server of April 2014 sends the dump.
pub fn before_the_dump(tls: bool) -> BlockedCall {
    let server = start(TrafficController::builder().generation(Generation::April2014), tls);
    server.fault([]);
    stalled(Call::Recent, server, 2, [Fault::StallAfter(0)])
}

/// Starts a call whose last request gets a faulty response.
fn stalled(call: Call, server: TrafficController, requests: usize, faults: impl Into<Vec<Fault>>) -> BlockedCall {
    server.fault(faults);
    let consumer = consumer_of(&server);
    let call = call.start(&consumer);
    assert!(server.wait_for_requests(requests, SOON));
    BlockedCall { consumer, call, wait_until_gone: idle(server) }
}

fn idle(server: TrafficController) -> Box<dyn FnOnce() + Send> {
    Box::new(move || assert!(server.wait_until_idle(SOON), "a socket is still open"))
}

pub const RECENT_CALLS: States<fn() -> BlockedCall> = &[
    ("in the body", || in_the_recent_messages(Generation::Y2015, false)),
    ("in the body, over TLS", || in_the_recent_messages(Generation::Y2015, true)),
    ("in an endless body", || in_endless_recent_messages(Generation::Y2015, false)),
    ("in an endless body, over TLS", || in_endless_recent_messages(Generation::Y2015, true)),
    ("in an endless part", || in_an_endless_part(false)),
    ("in an endless part, over TLS", || in_an_endless_part(true)),
    ("before the dump", || before_the_dump(false)),
    ("before the dump, over TLS", || before_the_dump(true)),
    ("in the dump", || in_the_recent_messages(Generation::April2014, false)),
    ("in the dump, over TLS", || in_the_recent_messages(Generation::April2014, true)),
    ("in an endless dump", || in_endless_recent_messages(Generation::April2014, false)),
    ("in an endless dump, over TLS", || in_endless_recent_messages(Generation::April2014, true)),
];

/// Starts a server that sends recent messages with these faults.
pub fn recent_server(generation: Generation, tls: bool, faults: impl Into<Vec<Fault>>) -> TrafficController {
    let server = start(TrafficController::builder().generation(generation), tls);
    server.add_recent(APP, ["one", "two", "three"].map(|text| LogMessage::new(APP, text.repeat(10_000))));
    if generation == Generation::April2014 {
        // No fault for the request for `/recent`, which this generation rejects.
        server.fault([]);
    }
    server.fault(faults);
    server
}

/// The server stalls in the middle of the second message.
pub fn in_the_recent_messages(generation: Generation, tls: bool) -> BlockedCall {
    reading(recent_server(generation, tls, [Fault::StallAfter(40_000)]), 1)
}

pub fn in_endless_recent_messages(generation: Generation, tls: bool) -> BlockedCall {
    reading(recent_server(generation, tls, [Fault::EndlessMessages]), 100)
}

/// After all the messages, one more part begins and never ends.
pub fn in_an_endless_part(tls: bool) -> BlockedCall {
    reading(recent_server(Generation::Y2015, tls, [Fault::EndlessBody]), 3)
}

/// The caller has read this many messages, and waits for more.
fn reading(server: TrafficController, messages: usize) -> BlockedCall {
    let consumer = consumer_of(&server);
    let (reads, wait_until_it_reads) = channel();
    let call = thread::spawn({
        let consumer = consumer.clone();
        move || {
            let mut recent = consumer.recent_iter(APP, TOKEN)?;
            for _ in 0..messages {
                recent.next().expect("a message")?;
            }
            reads.send(()).unwrap();
            let end = recent.find(|message| message.is_err());
            assert!(recent.next().is_none(), "the error is the last item");
            end.map_or(Ok(()), |error| error.map(drop))
        }
    });
    wait_until_it_reads.recv_timeout(SOON).unwrap();
    BlockedCall { consumer, call, wait_until_gone: idle(server) }
}

/// An open tail, and its server.
pub struct Open {
    pub server: TrafficController,
    pub consumer: Consumer,
    pub tail: Tail,
}

pub const TAILS: States<fn(bool) -> Open> = &[
    ("idle", idle_tail),
    ("under load", tail_under_load),
    ("with a stalled caller", tail_of_a_stalled_caller),
    ("of a stalled server", tail_of_a_stalled_server),
];

impl Open {
    fn new(tls: bool, faults: impl Into<Vec<Fault>>) -> Self {
        let server = start(TrafficController::builder(), tls);
        server.add_recent(APP, [LogMessage::new(APP, "a message of an ordinary length, or one a bit longer")]);
        server.fault(faults);
        let consumer = consumer_of(&server);
        let tail = consumer.tail(APP, TOKEN).unwrap();
        Open { server, consumer, tail }
    }

    fn take(mut self, messages: usize) -> Self {
        self.tail.by_ref().take(messages).for_each(|message| _ = message.unwrap());
        self
    }

    /// Closes the tail, which must be prompt, send a close frame, and leave no socket open.
    pub fn close(self, way: Way) {
        assert_closed_cleanly(&self.close_promptly(way));
    }

    /// Closes the tail, which must be prompt, and leave no socket open.
    pub fn close_promptly(self, way: Way) -> TrafficController {
        let Open { server, consumer, tail } = self;
        let begin = Instant::now();
        way.close(&consumer, tail);
        assert!(begin.elapsed() < PROMPT, "it took {:?}", begin.elapsed());
        assert!(server.wait_until_idle(SOON), "a socket is still open");
        assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
        server
    }
}

/// A way to close a tail.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    Tail,
    Drop,
    Closer,
    Consumer,
}

impl Way {
    pub const ALL: [Way; 4] = [Way::Tail, Way::Drop, Way::Closer, Way::Consumer];

    /// Closes the tail from another thread. If the caller still has the tail, it reads the messages to the end
    /// meanwhile.
    pub fn close(self, consumer: &Consumer, mut tail: Tail) {
        let closer = tail.closer();
        thread::scope(|scope| match self {
            Way::Tail => _ = scope.spawn(|| tail.close().unwrap()),
            Way::Drop => _ = scope.spawn(|| drop(tail)),
            Way::Closer | Way::Consumer => {
                scope.spawn(move || if let Way::Closer = self { closer.close() } else { consumer.close() }.unwrap());
                tail.by_ref().for_each(|message| _ = message.unwrap());
                assert_eq!(tail.ending(), Some(&Ending::Closed));
            }
        });
    }
}

/// A tail's close takes 0.1 s. The rest allows for a machine under load.
pub const PROMPT: Duration = Duration::from_secs(3);

/// Asserts that every client has sent a close frame and hung up, and that no socket is left open.
pub fn assert_closed_cleanly(server: &TrafficController) {
    let closed_well = server.wait_for_received(SOON, |received| received.iter().all(is_closed_cleanly));
    assert!(closed_well, "{:?}", server.received());
    assert!(server.wait_until_idle(SOON), "a socket is still open");
}

fn is_closed_cleanly(received: &Received) -> bool {
    let close = Frame::Close(Some((1000, String::new())));
    received.ended == Some(testing::WebsocketEnding::ClosedByClient)
        && received.frames.last().is_some_and(|last| last.frame == close)
}

pub fn idle_tail(tls: bool) -> Open {
    let open = Open::new(tls, []);
    open.server.send(LogMessage::new(APP, "only this"));
    open.take(1)
}

/// The server sends as fast as it can, and the caller keeps up.
pub fn tail_under_load(tls: bool) -> Open {
    Open::new(tls, [Fault::EndlessMessages]).take(10_000)
}

/// The server sends as fast as it can, and the caller reads nothing.
pub fn tail_of_a_stalled_caller(tls: bool) -> Open {
    let open = Open::new(tls, [Fault::EndlessMessages]).take(1);
    wait_until("the queue is full", || open.tail.receiver().is_full());
    open
}

/// The server stops in the middle of a frame, and does not answer a close frame.
pub fn tail_of_a_stalled_server(tls: bool) -> Open {
    Open::new(tls, [Fault::EndlessMessages, Fault::StallAfter(10_000)]).take(50)
}

pub const BROKEN_TAILS: States<fn() -> Open> = &[
    ("in the pause before it connects again", tail_waiting_to_reconnect),
    ("while it connects again", tail_reconnecting),
];

/// Its connection broke, and the next attempt is far away.
pub fn tail_waiting_to_reconnect() -> Open {
    let open = broken_tail(Reconnect::default().first(NEVER).longest(NEVER));
    assert!(open.server.wait_until_idle(SOON));
    open
}

/// Its connection broke, and it waits for the response on another one.
pub fn tail_reconnecting() -> Open {
    let open = broken_tail(Reconnect::default().first(Duration::from_millis(1)));
    assert!(open.server.wait_for_requests(2, SOON));
    open
}

/// The next connection will get no response.
fn broken_tail(reconnect: Reconnect) -> Open {
    let server = TrafficController::start().unwrap();
    let consumer = without_timeouts(&server.endpoint()).reconnect(reconnect).build().unwrap();
    let tail = consumer.tail(APP, TOKEN).unwrap();
    server.fault(Fault::StallAfter(0));
    server.drop_tails(APP);
    Open { server, consumer, tail }
}
