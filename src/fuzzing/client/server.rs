//! [`Server`]: sends any bytes over a real socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;
use tungstenite::handshake::derive_accept_key;

use super::super::splitter::BOUNDARY;
use super::Call;
use crate::fuzzing::input::Pieces;

/// A server that responds to every request according to its script, and then closes the connection.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) script: Arc<Mutex<Script>>,
}

#[derive(Clone)]
pub(super) struct Script {
    pub(super) head: Head,
    /// The sizes of the pieces in which the bytes are written.
    pub(super) sizes: Vec<usize>,
    pub(super) bytes: Vec<u8>,
    /// True if the connection ends with a reset.
    pub(super) is_reset: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Head {
    /// A valid head for this call. The bytes of the script are the body or the frames.
    Valid(Call, Framing),
    /// No head. The bytes of the script are the whole response.
    InTheInput,
}

/// How a body is framed.
#[derive(Clone, Copy)]
pub(super) enum Framing {
    /// The body ends with the connection.
    UntilClose,
    ContentLength,
    Chunked,
    /// The last chunk, of size 0, is missing.
    ChunkedWithoutEnd,
}

impl Framing {
    pub(super) const ALL: [Framing; 4] =
        [Framing::UntilClose, Framing::ContentLength, Framing::Chunked, Framing::ChunkedWithoutEnd];
}

impl Server {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = Script { head: Head::InTheInput, sizes: Vec::new(), bytes: Vec::new(), is_reset: false };
        let script = Arc::new(Mutex::new(script));
        let current = Arc::clone(&script);
        thread::spawn(move || {
            for socket in listener.incoming() {
                // A client may close the connection at any time.
                let _ = socket.and_then(|socket| serve(socket, &current));
            }
        });
        Server { address, script }
    }
}

fn serve(mut socket: TcpStream, script: &Mutex<Script>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let request = read_request(&mut socket)?;
    let script = script.lock().clone();
    script.respond(&request, &mut socket)?;
    if script.is_reset {
        return SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    }
    socket.shutdown(Shutdown::Write)?;
    io::copy(&mut socket, &mut io::sink()).map(drop)
}

fn read_request(socket: &mut TcpStream) -> io::Result<String> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match socket.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => request.extend_from_slice(&buffer[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}

impl Script {
    fn respond(&self, request: &str, socket: &mut TcpStream) -> io::Result<()> {
        let Head::Valid(call, framing) = self.head else { return self.write(socket, false) };
        if let Some(key) = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")) {
            let accept = derive_accept_key(key.as_bytes());
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            socket.write_all(head.as_bytes())?;
            return self.write(socket, false);
        }
        let content_type = match call {
            Call::Dump => return socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
            Call::GatewayTail => "text/event-stream".to_owned(),
            Call::LogCacheRecent => "application/json".to_owned(),
            _ => format!("multipart/x-protobuf; boundary={BOUNDARY}"),
        };
        let framing_header = match framing {
            Framing::UntilClose => "Connection: close".to_owned(),
            Framing::ContentLength => format!("Content-Length: {}", self.bytes.len()),
            Framing::Chunked | Framing::ChunkedWithoutEnd => "Transfer-Encoding: chunked".to_owned(),
        };
        let head = format!(
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{framing_header}\r\n\r\n"
        );
        socket.write_all(head.as_bytes())?;
        self.write(socket, matches!(framing, Framing::Chunked | Framing::ChunkedWithoutEnd))?;
        if matches!(framing, Framing::Chunked) { socket.write_all(b"0;last\r\nA: trailer\r\n\r\n") } else { Ok(()) }
    }

    /// Writes the bytes, each piece in its own segment.
    fn write(&self, socket: &mut TcpStream, in_chunks: bool) -> io::Result<()> {
        let mut pieces = Pieces::new(&self.bytes, &self.sizes);
        let mut buffer = [0; 4096];
        loop {
            let piece = match pieces.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => &buffer[..n],
                // Let the client read what has been sent so far.
                Err(_) => {
                    thread::yield_now();
                    continue;
                }
            };
            if in_chunks {
                socket.write_all(
                    &[format!("{:x};extension=\"long\"\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat(),
                )?;
            } else {
                socket.write_all(piece)?;
            }
        }
    }
}
