//! A server that sends the pieces of a session to one connection, and dies after a given byte.

use std::cell::{Cell, RefCell};
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use loggregator_consumer::{Ending, Proxy};
use native_tls::TlsAcceptor;

use crate::common::socks5::{LOGIN, SUCCEEDED};
use crate::common::{DEADLINE, reset, try_read_head};

/// How a server dies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Death {
    /// As a process that is killed.
    Fin,
    /// As a host that has lost the connection's state.
    Reset,
    /// As a machine that has lost its power.
    Silence,
}

/// What the server sends at a time, and its effect for the caller once its last byte has arrived.
#[derive(Clone)]
pub struct Piece {
    pub effect: Effect,
    pub sends: Sends,
}

#[derive(Clone)]
pub enum Effect {
    /// A step towards a connection. The error of a call that fails in this step has this text.
    Step(&'static str),
    Message(&'static str),
    /// A message that is older than those before it.
    Older(&'static str),
    Nothing,
    /// The end of the messages; for a tail, with this ending.
    End(Option<Ending>),
}

type Response = dyn Fn(&str) -> Vec<u8> + Send + Sync;

#[derive(Clone)]
pub enum Sends {
    /// A TLS handshake. Everything after it is encrypted.
    Tls(TlsAcceptor),
    /// A response to the client's next request.
    Response(Arc<Response>),
    /// An answer to the client's next message, which has this many bytes.
    Answer(usize, Vec<u8>),
    Bytes(Vec<u8>),
}

/// The error text of the TLS handshake.
pub const TLS: &str = "the TLS handshake with 127.0.0.1: ";

impl Piece {
    pub fn new(effect: Effect, bytes: impl Into<Vec<u8>>) -> Self {
        Piece { effect, sends: Sends::Bytes(bytes.into()) }
    }

    pub fn response(step: &'static str, response: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Piece { effect: Effect::Step(step), sends: Sends::Response(Arc::new(response)) }
    }

    /// The handshake of a SOCKS5 proxy with the client of [`socks5_proxy`](Piece::socks5_proxy), for a server at
    /// `localhost`.
    pub fn socks5() -> [Self; 3] {
        let answers: [(usize, &[u8]); 3] = [
            (b"\x05\x02\0\x02".len(), &[5, LOGIN]),
            (b"\x01\x04user\x07hunter2".len(), &[1, 0]),
            (b"\x05\x01\0\x03\x09localhost\0\x50".len(), SUCCEEDED),
        ];
        answers.map(|(length, bytes)| Piece {
            effect: Effect::Step("asking the proxy"),
            sends: Sends::Answer(length, bytes.into()),
        })
    }

    pub fn socks5_proxy(address: SocketAddr) -> Proxy {
        Proxy::url(&format!("socks5h://user:hunter2@{address}")).unwrap()
    }

    pub fn tls(acceptor: TlsAcceptor) -> Self {
        Piece { effect: Effect::Step(TLS), sends: Sends::Tls(acceptor) }
    }

    pub fn step(&self) -> Option<&'static str> {
        match self.effect {
            Effect::Step(text) => Some(text),
            _ => None,
        }
    }
}

pub struct Server {
    pub address: SocketAddr,
    thread: JoinHandle<Vec<usize>>,
}

impl Server {
    /// Serves one connection, and dies after this many bytes.
    pub fn start(pieces: Vec<Piece>, at: usize, death: Death) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_nodelay(true).unwrap();
            socket.set_read_timeout(Some(3 * DEADLINE)).unwrap();
            serve(socket, &pieces, at, death)
        });
        Server { address, thread }
    }

    /// Returns the position in bytes at which each piece ended, for those that were sent before the client hung up.
    pub fn ends(self) -> Vec<usize> {
        self.thread.join().unwrap()
    }
}

fn serve(socket: TcpStream, pieces: &[Piece], at: usize, death: Death) -> Vec<usize> {
    let state = Rc::new(ServerState {
        socket: RefCell::new(Some(socket)),
        remaining: Cell::new(at),
        death,
        is_dead: Cell::new(false),
        sent: Cell::new(0),
    });
    let mut stream: Box<dyn Stream> = Box::new(DyingStream(Rc::clone(&state)));
    let mut ends = Vec::new();
    for piece in pieces {
        match &piece.sends {
            Sends::Tls(acceptor) => {
                let Ok(tls) = acceptor.accept(stream) else { return ends };
                stream = Box::new(tls);
            }
            Sends::Response(response) => {
                // A dead server gets no request, and a client that has timed out sends none. The client sends nothing
                // after its request until it has the response, so the `BufReader` cannot swallow later bytes.
                let Ok(request) = try_read_head(&mut BufReader::new(&mut stream)) else { return ends };
                let _ = stream.write_all(&response(&request));
            }
            Sends::Answer(length, bytes) => {
                if stream.read_exact(&mut vec![0; *length]).is_err() {
                    return ends;
                }
                let _ = stream.write_all(bytes);
            }
            Sends::Bytes(bytes) => _ = stream.write_all(bytes),
        }
        ends.push(state.sent.get());
    }
    if !state.is_dead.get() {
        state.die();
    }
    let _ = io::copy(&mut stream, &mut io::sink());
    ends
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

struct ServerState {
    /// `None` after a reset.
    socket: RefCell<Option<TcpStream>>,
    remaining: Cell<usize>,
    death: Death,
    is_dead: Cell<bool>,
    /// How many bytes were written so far, including those after the death.
    sent: Cell<usize>,
}

impl ServerState {
    fn die(&self) {
        self.is_dead.set(true);
        match self.death {
            Death::Fin => _ = self.socket.borrow().as_ref().unwrap().shutdown(Shutdown::Write),
            // On Linux, a client can still read what arrived before a reset. Everything has arrived: on the loopback
            // interface, bytes are there as soon as they are sent.
            Death::Reset => reset(self.socket.take().unwrap()),
            Death::Silence => {}
        }
    }
}

/// A connection whose writes are discarded once the server is dead.
struct DyingStream(Rc<ServerState>);

impl Read for DyingStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let state = &self.0;
        let socket = state.socket.borrow();
        let Some(mut socket) = socket.as_ref() else { return Ok(0) };
        if state.is_dead.get() {
            let _ = io::copy(&mut socket, &mut io::sink());
            return Ok(0);
        }
        socket.read(buffer)
    }
}

impl Write for DyingStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let state = &self.0;
        state.sent.set(state.sent.get() + bytes.len());
        if !state.is_dead.get() {
            let (delivered, _) = bytes.split_at(bytes.len().min(state.remaining.get()));
            state.remaining.set(state.remaining.get() - delivered.len());
            // Ignores a client that has hung up.
            let _ = state.socket.borrow().as_ref().unwrap().write_all(delivered);
            if state.remaining.get() == 0 {
                state.die();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
