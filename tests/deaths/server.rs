//! A server that says its piece to one connection, and dies behind a given byte of it.

use std::cell::{Cell, RefCell};
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use loggregator_consumer::Ending;
use native_tls::TlsAcceptor;

use crate::common::{DEADLINE, reset, try_read_head};

/// How a server dies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Death {
    /// As a process that is killed.
    Fin,
    /// As one whose system has forgotten the connection.
    Reset,
    /// As a machine that has lost its power.
    Silence,
}

/// What is said at a time, and what the caller has of it as soon as its last byte has come.
#[derive(Clone)]
pub struct Piece {
    pub gives: Gives,
    pub says: Says,
}

#[derive(Clone)]
pub enum Gives {
    /// A step towards a connection. The error of a call that gets no further has these words.
    Step(&'static str),
    Message(&'static str),
    /// A message that was written before those that have come.
    Older(&'static str),
    Nothing,
    /// All of it; of a tail, in this way.
    End(Option<Ending>),
}

type Answer = dyn Fn(&str) -> Vec<u8> + Send + Sync;

#[derive(Clone)]
pub enum Says {
    /// From here on all is in TLS.
    Tls(TlsAcceptor),
    /// An answer to the client's next request.
    Answer(Arc<Answer>),
    Bytes(Vec<u8>),
}

/// The step of a TLS handshake.
pub const TLS: &str = "the TLS handshake with 127.0.0.1: ";

impl Piece {
    pub fn new(gives: Gives, bytes: impl Into<Vec<u8>>) -> Self {
        Piece { gives, says: Says::Bytes(bytes.into()) }
    }

    pub fn answer(step: &'static str, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Piece { gives: Gives::Step(step), says: Says::Answer(Arc::new(answer)) }
    }

    pub fn tls(acceptor: TlsAcceptor) -> Self {
        Piece { gives: Gives::Step(TLS), says: Says::Tls(acceptor) }
    }

    pub fn step(&self) -> Option<&'static str> {
        match self.gives {
            Gives::Step(words) => Some(words),
            _ => None,
        }
    }
}

pub struct Server {
    pub address: SocketAddr,
    thread: JoinHandle<Vec<usize>>,
}

impl Server {
    /// Serves one connection, and dies behind so many bytes.
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

    /// Behind how many bytes each piece ended, of those that it had to say before the client was gone.
    pub fn ends(self) -> Vec<usize> {
        self.thread.join().unwrap()
    }
}

fn serve(socket: TcpStream, pieces: &[Piece], at: usize, death: Death) -> Vec<usize> {
    let life = Rc::new(Life {
        socket: RefCell::new(Some(socket)),
        left: Cell::new(at),
        death,
        is_dead: Cell::new(false),
        said: Cell::new(0),
    });
    let mut line: Box<dyn Line> = Box::new(Mortal(Rc::clone(&life)));
    let mut ends = Vec::new();
    for piece in pieces {
        match &piece.says {
            Says::Tls(acceptor) => {
                let Ok(tls) = acceptor.accept(line) else { return ends };
                line = Box::new(tls);
            }
            Says::Answer(answer) => {
                // The dead hear no request, and clients that lost patience make none.
                // Until it is answered, a client says nothing behind it that the buffer could take.
                let Ok(request) = try_read_head(&mut BufReader::new(&mut line)) else { return ends };
                let _ = line.write_all(&answer(&request));
            }
            Says::Bytes(bytes) => _ = line.write_all(bytes),
        }
        ends.push(life.said.get());
    }
    if !life.is_dead.get() {
        life.die();
    }
    let _ = io::copy(&mut line, &mut io::sink());
    ends
}

trait Line: Read + Write {}

impl<T: Read + Write> Line for T {}

struct Life {
    /// `None` when it has been reset.
    socket: RefCell<Option<TcpStream>>,
    left: Cell<usize>,
    death: Death,
    is_dead: Cell<bool>,
    /// How many bytes there were to say.
    said: Cell<usize>,
}

impl Life {
    fn die(&self) {
        self.is_dead.set(true);
        match self.death {
            Death::Fin => _ = self.socket.borrow().as_ref().unwrap().shutdown(Shutdown::Write),
            // Linux leaves a client what came before a reset. All of it has come: within a machine, it is there as soon as
            // it is sent.
            Death::Reset => reset(self.socket.take().unwrap()),
            Death::Silence => {}
        }
    }
}

/// A connection whose writes come to nothing from the death on.
struct Mortal(Rc<Life>);

impl Read for Mortal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let life = &self.0;
        let socket = life.socket.borrow();
        let Some(mut socket) = socket.as_ref() else { return Ok(0) };
        if life.is_dead.get() {
            let _ = io::copy(&mut socket, &mut io::sink());
            return Ok(0);
        }
        socket.read(buffer)
    }
}

impl Write for Mortal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let life = &self.0;
        life.said.set(life.said.get() + bytes.len());
        if !life.is_dead.get() {
            let (heard, _) = bytes.split_at(bytes.len().min(life.left.get()));
            life.left.set(life.left.get() - heard.len());
            // That the client has gone is its affair.
            let _ = life.socket.borrow().as_ref().unwrap().write_all(heard);
            if life.left.get() == 0 {
                life.die();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
