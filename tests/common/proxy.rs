//! A working HTTP proxy. A broken one is a [`ScriptedServer`](super::ScriptedServer).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

use super::{DEADLINE, read_head, send, tls};

/// Opens every tunnel that is requested, and records the requests.
pub struct ConnectProxy {
    pub address: SocketAddr,
    requests: Receiver<String>,
    tls: bool,
}

/// Where the tunnels lead to, and whether the proxy speaks TLS.
#[derive(Clone, Copy)]
struct Settings {
    /// `None`: the target that the client asks for.
    target: Option<SocketAddr>,
    tls: bool,
}

impl ConnectProxy {
    /// An `http://` proxy.
    pub fn plain() -> Self {
        Self::start(Settings { target: None, tls: false })
    }

    /// An `https://` proxy.
    pub fn tls() -> Self {
        Self::start(Settings { target: None, tls: true })
    }

    /// An `http://` proxy that resolves every name to `target`.
    pub fn leading_to(target: SocketAddr) -> Self {
        Self::start(Settings { target: Some(target), tls: false })
    }

    fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let requests = sender.clone();
                thread::spawn(move || settings.serve(socket.unwrap(), &requests));
            }
        });
        ConnectProxy { address, requests, tls: settings.tls }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Returns the next request.
    pub fn request(&self) -> String {
        self.requests.recv_timeout(DEADLINE).expect("a request for a tunnel")
    }

    pub fn has_no_more_requests(&self) -> bool {
        self.requests.try_recv().is_err()
    }
}

impl Settings {
    fn serve(self, socket: TcpStream, requests: &Sender<String>) {
        socket.set_nodelay(true).unwrap();
        let client = socket.try_clone().unwrap();
        if self.tls {
            if let Some(mut stream) = tls::accept(socket) {
                self.tunnel(&mut stream, &client, requests);
                let _ = stream.shutdown();
            }
        } else {
            self.tunnel(&mut &socket, &client, requests);
        }
    }

    fn tunnel(self, client: &mut (impl Read + Write), socket: &TcpStream, requests: &Sender<String>) {
        let request = read_head(client);
        let target = request.split(' ').nth(1).unwrap().to_owned();
        let _ = requests.send(request);
        let server = match self.target {
            Some(target) => TcpStream::connect(target),
            None => TcpStream::connect(&target),
        };
        match server {
            Ok(server) => {
                server.set_nodelay(true).unwrap();
                send(client, &[b"HTTP/1.1 200 Connection established\r\n\r\n"]);
                // An error only means that one side has hung up, which ends the tunnel.
                let _ = relay(client, socket, &server);
            }
            Err(_) => send(client, &[b"HTTP/1.1 502 Bad Gateway\r\n\r\n"]),
        }
    }
}

/// Copies bytes in both directions until one side ends.
pub(super) fn relay(client: &mut (impl Read + Write), socket: &TcpStream, server: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    server.set_nonblocking(true)?;
    loop {
        let up = carry(client, &mut &*server, server)?;
        let down = carry(&mut &*server, client, socket)?;
        if !up && !down {
            poll(&mut [PollFd::new(socket, PollFlags::IN), PollFd::new(server, PollFlags::IN)], None)?;
        }
    }
}

/// Returns whether there were bytes to copy. An error at the end of the stream.
fn carry(from: &mut impl Read, to: &mut impl Write, to_socket: &TcpStream) -> io::Result<bool> {
    let mut buffer = [0; 16 * 1024];
    let mut bytes = match from.read(&mut buffer) {
        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Ok(length) => &buffer[..length],
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error),
    };
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(to_socket, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
