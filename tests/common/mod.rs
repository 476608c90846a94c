//! What the tests share: a server that says what it is told to, byte for byte, and consumers to try it with.
#![allow(dead_code)] // Each test file uses its own part.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use loggregator_consumer::{Builder, Consumer, Proxy};
use socket2::SockRef;
use tungstenite::handshake::derive_accept_key;

/// No test waits longer than this for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Runs a test in a thread, and fails if it takes too long.
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

/// Waits for what no event tells of.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Settings that no environment changes.
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

/// A listener on a port of its own, whose connections each go to the next of the scripts, in a thread.
pub struct ScriptedServer {
    pub address: SocketAddr,
}

pub type Script = Box<dyn FnOnce(TcpStream) + Send>;

impl ScriptedServer {
    pub fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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

    /// One connection that gets these bytes for an answer, and then the end.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(vec![Box::new(move |mut socket| {
            read_head(&mut socket);
            say(&mut socket, &[&bytes]);
            hang_up(socket);
        })])
    }

    pub fn endpoint(&self) -> String {
        format!("ws://{}", self.address)
    }
}

/// Reads a request's head, up to its blank line.
pub fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            end => panic!("the request ended with {end:?} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).unwrap()
}

/// Writes pieces, each in a segment of its own as far as the system lets it. That the client has gone is its affair.
pub fn say(socket: &mut TcpStream, pieces: &[&[u8]]) {
    for piece in pieces {
        if socket.write_all(piece).is_err() {
            return;
        }
    }
}

/// Ends the connection well: FIN, then whatever the client still says is read.
pub fn hang_up(mut socket: TcpStream) {
    let _ = socket.shutdown(Shutdown::Write);
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

/// A frame as a server sends it.
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
