//! A proxy that works. One that does not is a [`ScriptedServer`](super::ScriptedServer).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

use super::{DEADLINE, read_head, send, tls};

/// Makes every tunnel that it is asked for, and keeps the requests.
pub struct ConnectProxy {
    pub address: SocketAddr,
    requests: Receiver<String>,
    tls: bool,
}

/// Where the tunnels lead to, and how the proxy is spoken to.
#[derive(Clone, Copy)]
struct Settings {
    /// `None`: to where the client wants.
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

    /// An `http://` proxy, in whose network every name is that of `target`.
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

    /// The next request that came.
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
                // That either side has gone is the end of the tunnel, and nothing else.
                let _ = relay(client, socket, &server);
            }
            Err(_) => send(client, &[b"HTTP/1.1 502 Bad Gateway\r\n\r\n"]),
        }
    }
}

/// Carries bytes both ways until one side has ended.
fn relay(client: &mut (impl Read + Write), socket: &TcpStream, server: &TcpStream) -> io::Result<()> {
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

/// Whether there was something to carry. An error at the end.
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
