//! Helpers that the tests share: a server that sends scripted bytes, and consumers that connect to it.
#![allow(dead_code)] // Each test file uses its own part.

pub mod envelopes;
pub mod examples;
pub mod foundation;
pub mod leftovers;
pub mod memory;
pub mod messages;
pub mod proxy;
pub mod replay;
pub mod socks5;
pub mod tls;
pub mod watch;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use loggregator_consumer::testing::{Frame, TrafficController};
use loggregator_consumer::{Builder, Consumer, Error, ErrorKind, Proxy};
use socket2::{Domain, SockRef, Socket, Type};
use tungstenite::handshake::derive_accept_key;

/// The longest that a test waits for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Runs a test in a thread, and panics if it takes longer than the limit.
pub fn within<T: Send + 'static>(limit: Duration, test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let thread = thread::spawn(move || done.send(test()).ok());
    match result.recv_timeout(limit) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test took longer than {limit:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("it ended without a result"),
        },
    }
}

/// Polls until a condition holds. For conditions that no event reports.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "timed out waiting until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the frames that a client sends unasked have arrived: the keep-alive text, and the pong for the first
/// ping. If they arrived after the server hung up, a reset would answer them, and it can discard messages that are on
/// their way.
#[track_caller]
pub fn wait_for_text_and_pong(server: &TrafficController) {
    let has_arrived = server.wait_for_received(DEADLINE, |received| {
        received.iter().all(|one| {
            let mut frames = one.frames.iter().map(|received| &received.frame);
            frames.clone().any(|frame| matches!(frame, Frame::Text(_)))
                && frames.any(|frame| matches!(frame, Frame::Pong(_)))
        })
    });
    assert!(has_arrived, "{:?}", server.received());
}

/// A builder that no environment variable affects.
pub fn builder(endpoint: &str) -> Builder {
    Consumer::builder(endpoint).proxy(Proxy::none())
}

pub fn consumer(endpoint: &str) -> Consumer {
    builder(endpoint).build().unwrap()
}

pub fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the errors of a tail and of a call of `recent`.
pub fn failures(consumer: &Consumer) -> [Error; 2] {
    let (app, token) = (messages::APP, messages::TOKEN);
    [consumer.tail(app, token).unwrap_err(), consumer.recent(app, token).unwrap_err()]
}

/// Asserts that an error while connecting names the server, and says who can help.
#[track_caller]
pub fn assert_dial_error(error: &Error, kind: ErrorKind, endpoint: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("connecting to "), "{text}");
    assert!(text.contains("Please ask your Cloud Foundry Operator"), "{text}");
    assert!(text.contains(endpoint), "{text}");
}

/// A local address that refuses connections for as long as this value is held.
pub struct Refusing {
    pub address: SocketAddr,
    _socket: Socket,
}

impl Refusing {
    pub fn start() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        Refusing { address: socket.local_addr().unwrap().as_socket().unwrap(), _socket: socket }
    }

    pub fn endpoint(&self) -> String {
        format!("ws://{}", self.address)
    }
}

/// A server that nobody must connect to.
pub struct Untouched(TcpListener);

impl Untouched {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Untouched(listener)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    #[track_caller]
    pub fn assert_untouched(&self) {
        match self.0.accept() {
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            Ok((_, peer)) => panic!("a connection came from {peer}"),
        }
    }
}

/// A listener on a free port. Each connection runs the next script, in a thread.
pub struct ScriptedServer {
    pub address: SocketAddr,
}

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub type Script = Box<dyn FnOnce(TcpStream) + Send>;

impl ScriptedServer {
    pub fn start(scripts: Vec<Script>) -> Self {
        Self::serve(ANY_PORT, scripts)
    }

    /// Runs the same script for every connection.
    pub fn always(script: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::always_at(ANY_PORT, script)
    }

    /// Like [`always`](Self::always), at another address than 127.0.0.1.
    pub fn always_at(address: SocketAddr, script: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        let scripts = std::iter::repeat_with(move || {
            let script = Arc::clone(&script);
            Box::new(move |socket| script(socket)) as Script
        });
        Self::serve(address, scripts)
    }

    fn serve(address: SocketAddr, scripts: impl IntoIterator<Item = Script, IntoIter: Send + 'static>) -> Self {
        let scripts = scripts.into_iter();
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for script in scripts {
                let (socket, _) = listener.accept().unwrap();
                socket.set_nodelay(true).unwrap();
                socket.set_read_timeout(Some(DEADLINE)).unwrap();
                thread::spawn(move || script(socket));
            }
        });
        ScriptedServer { address }
    }

    /// Sends these bytes in response to one request, and then hangs up.
    pub fn responding(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(vec![responding(bytes)])
    }

    /// Accepts connections, and sends nothing.
    pub fn silent() -> Self {
        Self::always(drain)
    }

    pub fn endpoint(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub fn tls_endpoint(&self) -> String {
        format!("wss://{}", self.address)
    }
}

/// Sends these bytes in response to a request, and then hangs up.
pub fn responding(bytes: impl Into<Vec<u8>>) -> Script {
    let bytes = bytes.into();
    Box::new(move |mut socket| {
        read_head(&mut socket);
        send(&mut socket, &[&bytes]);
        hang_up(socket);
    })
}

/// Accepts a websocket handshake, and passes the connection to `then`.
pub fn upgrading(then: impl FnOnce(TcpStream) + Send + 'static) -> Script {
    Box::new(move |mut socket| {
        let request = read_head(&mut socket);
        send(&mut socket, &[&switching_protocols(&request)]);
        then(socket);
    })
}

/// Accepts a websocket handshake, sends these bytes, and then nothing until the client hangs up.
pub fn streaming(bytes: impl Into<Vec<u8>>) -> Script {
    let bytes = bytes.into();
    upgrading(move |mut socket| {
        send(&mut socket, &[&bytes]);
        drain(socket);
    })
}

/// Reads a request's head, including its blank line.
pub fn read_head(socket: &mut impl Read) -> String {
    try_read_head(socket).unwrap_or_else(|end| panic!("the request {end}"))
}

/// Like [`read_head`], for a client that may have hung up. The error says how the request ended.
pub fn try_read_head(socket: &mut impl Read) -> Result<String, String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            end => return Err(format!("ended with {end:?} after {:?}", String::from_utf8_lossy(&head))),
        }
    }
    Ok(String::from_utf8(head).unwrap())
}

/// Writes each piece in its own segment, and yields between the first thousand of them, so that the client can read
/// them one by one. (Yielding more often would take too long on a busy machine.) Ignores a client that has hung up.
pub fn send(socket: &mut impl Write, pieces: &[&[u8]]) {
    for (n, piece) in pieces.iter().enumerate() {
        if (1..1000).contains(&n) {
            thread::yield_now();
        }
        if socket.write_all(piece).is_err() {
            return;
        }
    }
}

/// Writes the same bytes over and over, until the client hangs up.
pub fn send_endlessly(socket: &mut impl Write, bytes: &[u8]) {
    while socket.write_all(bytes).is_ok() {}
}

/// Writes two pieces so that no single read of the client can return both, however late it reads.
///
/// An urgent (out-of-band) byte is sent between them. A client that did not ask for urgent data does not see it in its
/// stream, but a read ends before it. (A second urgent byte would put the first one into the stream, so this works for
/// two pieces only. Seen to work on Linux; elsewhere this is [`send`].)
pub fn send_in_two(socket: &mut TcpStream, pieces: [&[u8]; 2]) {
    send(socket, &pieces[..1]);
    if cfg!(target_os = "linux") {
        let _ = SockRef::from(&*socket).send_out_of_band(b"!");
    }
    send(socket, &pieces[1..]);
}

/// Splits bytes at the cuts.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain(std::iter::once(bytes.len()));
    starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
}

/// Ends the connection cleanly: sends a FIN, then reads until the client hangs up.
pub fn hang_up(socket: TcpStream) {
    let _ = socket.shutdown(Shutdown::Write);
    drain(socket);
}

/// Reads and sends nothing until the client hangs up.
pub fn drain(mut socket: TcpStream) {
    let _ = std::io::copy(&mut socket, &mut std::io::sink());
}

/// Ends the connection with an RST.
pub fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
}

/// The `Sec-WebSocket-Accept` that a handshake's request asks for.
pub fn accept_key(request: &str) -> String {
    let key = header(request, "sec-websocket-key").expect("a handshake has a key");
    derive_accept_key(key.as_bytes())
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The 101 that a handshake's request asks for.
pub fn switching_protocols(request: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(request)
    )
    .into_bytes()
}

/// Changes the response of a captured handshake to fit this request's key. No other byte changes.
pub fn fit_accept_key(response: &[u8], request: &str) -> Vec<u8> {
    const HEADER: &[u8] = b"Sec-WebSocket-Accept: ";
    let mut response = response.to_vec();
    if let Some(at) = response.windows(HEADER.len()).position(|bytes| bytes == HEADER) {
        let key = accept_key(request);
        let (value, rest) = response[at + HEADER.len()..].split_at_mut(key.len());
        value.copy_from_slice(key.as_bytes());
        assert!(rest.starts_with(b"\r\n"), "the captured key has another length");
    }
    response
}

/// A frame as a server sends it: final and unmasked.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(length as u8),
        length @ 126..=65535 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A frame that is not the last of its message.
pub fn not_final(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame(opcode, payload);
    frame[0] &= 0x7f;
    frame
}

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;

/// A close frame with the code 1000.
pub fn close_frame() -> Vec<u8> {
    frame(CLOSE, &1000_u16.to_be_bytes())
}

/// Reads the opcode and the payload of the client's next frame. `None` at the end of the connection.
pub fn read_frame(socket: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 6];
    socket.read_exact(&mut head).ok()?;
    let [first, length, mask @ ..] = head;
    assert!((0x80..=0x80 + 125).contains(&length), "a client's frames are masked, and ours are short");
    let mut payload = vec![0; usize::from(length & 0x7f)];
    socket.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((first & 0x0f, payload))
}
