//! A working SOCKS5 proxy, and the client's messages for a broken one, which is a
//! [`ScriptedServer`](super::ScriptedServer).

use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::proxy::relay;
use super::{DEADLINE, send};

/// Opens every tunnel that is requested by a client who logs in as it must, and records the requests.
pub struct Socks5Proxy {
    pub address: SocketAddr,
    requests: Receiver<Socks5Request>,
}

/// What a client has sent to open a tunnel.
#[derive(Debug, Clone, PartialEq)]
pub struct Socks5Request {
    /// The methods of authentication that it offers.
    pub methods: Vec<u8>,
    /// The user and the password.
    pub login: Option<(Vec<u8>, Vec<u8>)>,
    pub target: Target,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    Address(SocketAddr),
    Name(String, u16),
}

#[derive(Default)]
struct Settings {
    /// `None`: the target that the client asks for.
    leads_to: Option<SocketAddr>,
    /// The user and the password that a client must have.
    login: Option<(Vec<u8>, Vec<u8>)>,
}

impl Socks5Proxy {
    pub fn start() -> Self {
        Self::serve(Settings::default())
    }

    /// A proxy that resolves every name to `target`.
    pub fn leading_to(target: SocketAddr) -> Self {
        Self::serve(Settings { leads_to: Some(target), ..Settings::default() })
    }

    pub fn requiring(user: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) -> Self {
        Self::serve(Settings { login: Some((user.into(), password.into())), ..Settings::default() })
    }

    fn serve(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (settings, requests) = (Arc::clone(&settings), sender.clone());
                thread::spawn(move || settings.tunnel(&socket.unwrap(), &requests));
            }
        });
        Socks5Proxy { address, requests }
    }

    /// Returns the next request.
    pub fn request(&self) -> Socks5Request {
        self.requests.recv_timeout(DEADLINE).expect("a request for a tunnel")
    }

    pub fn has_no_more_requests(&self) -> bool {
        self.requests.try_recv().is_err()
    }
}

impl Settings {
    fn tunnel(&self, socket: &TcpStream, requests: &Sender<Socks5Request>) {
        let mut client = socket;
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let methods = read_greeting(&mut client);
        let method = if self.login.is_some() { LOGIN } else { NO_LOGIN };
        if !methods.contains(&method) {
            return send(&mut client, &[&[5, NO_ACCEPTABLE_METHOD]]);
        }
        send(&mut client, &[&[5, method]]);
        let login = (method == LOGIN).then(|| read_login(&mut client));
        if login != self.login {
            return send(&mut client, &[&[1, 1]]);
        }
        if login.is_some() {
            send(&mut client, &[&[1, 0]]);
        }
        let target = read_target(&mut client);
        let _ = requests.send(Socks5Request { methods, login, target: target.clone() });
        let server = match (self.leads_to, target) {
            (Some(target), _) | (None, Target::Address(target)) => TcpStream::connect(target),
            (None, Target::Name(name, port)) => TcpStream::connect((name, port)),
        };
        match server {
            Ok(server) => {
                server.set_nodelay(true).unwrap();
                send(&mut client, &[SUCCEEDED]);
                // An error only means that one side has hung up, which ends the tunnel.
                let _ = relay(&mut client, socket, &server);
            }
            Err(_) => send(&mut client, &[&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]]),
        }
    }
}

pub const NO_LOGIN: u8 = 0;
pub const LOGIN: u8 = 2;
pub const NO_ACCEPTABLE_METHOD: u8 = 0xff;

/// The reply of a proxy that has opened the tunnel, from 10.0.0.1:4660.
pub const SUCCEEDED: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 0x12, 0x34];

/// Reads the first message of a client. Returns the methods of authentication that it offers.
pub fn read_greeting(client: &mut impl Read) -> Vec<u8> {
    let [version, count] = read(client);
    assert_eq!(version, 5);
    read_vec(client, count)
}

/// Reads a client's user and password.
pub fn read_login(client: &mut impl Read) -> (Vec<u8>, Vec<u8>) {
    let [version, length] = read(client);
    assert_eq!(version, 1);
    let user = read_vec(client, length);
    let [length] = read(client);
    (user, read_vec(client, length))
}

/// Reads the request for a tunnel.
pub fn read_target(client: &mut impl Read) -> Target {
    let [version, command, reserved, address_type] = read(client);
    assert_eq!((version, command, reserved), (5, 1, 0), "a CONNECT");
    let port = |client: &mut _| u16::from_be_bytes(read(client));
    match address_type {
        1 => {
            let address = Ipv4Addr::from(read::<4>(client));
            Target::Address((address, port(client)).into())
        }
        3 => {
            let [length] = read(client);
            let name = String::from_utf8(read_vec(client, length)).unwrap();
            Target::Name(name, port(client))
        }
        4 => {
            let address = Ipv6Addr::from(read::<16>(client));
            Target::Address((address, port(client)).into())
        }
        other => panic!("an address of the type {other}"),
    }
}

fn read<const N: usize>(client: &mut impl Read) -> [u8; N] {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

fn read_vec(client: &mut impl Read, length: u8) -> Vec<u8> {
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes).unwrap();
    bytes
}
