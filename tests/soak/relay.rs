//! The network: each client reaches its server through its own relay, which delays, splits, stalls and cuts what it
//! carries. A relay can also be a proxy.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;

use crate::numbered::Ends;
use crate::random::Random;
use crate::run::Run;
use crate::site::Site;

/// The messages that a client was sent on a connection that has ended or stalled.
#[derive(Clone, Copy)]
pub struct Carried {
    pub first: u64,
    pub last: u64,
}

/// How many of the latest connections are kept; nobody asks for earlier ones.
const KEPT: usize = 4;

pub struct Relay {
    pub address: SocketAddr,
    carrier: Arc<Carrier>,
    thread: Option<JoinHandle<()>>,
}

struct Carrier {
    site: Arc<Site>,
    run: Arc<Run>,
    is_proxy: bool,
    carried: Mutex<Vec<Carried>>,
}

impl Relay {
    pub fn start(site: &Arc<Site>, run: &Arc<Run>, is_proxy: bool, mut random: Random) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the relay can listen");
        let address = listener.local_addr().expect("a listener has an address");
        let (site, run) = (Arc::clone(site), Arc::clone(run));
        let carrier = Arc::new(Carrier { site, run, is_proxy, carried: Mutex::default() });
        let thread = thread::spawn({
            let carrier = Arc::clone(&carrier);
            move || {
                let mut connections: Vec<JoinHandle<()>> = Vec::new();
                while let Ok((client, _)) = listener.accept() {
                    if carrier.run.is_over() {
                        break;
                    }
                    connections.retain(|connection| !connection.is_finished());
                    let (carrier, random) = (Arc::clone(&carrier), random.split());
                    // Errors are expected: clients hang up at any time.
                    connections.push(thread::spawn(move || _ = carrier.serve(client, random)));
                }
                connections.into_iter().for_each(|connection| connection.join().expect("a relay panicked"));
            }
        });
        Relay { address, carrier, thread: Some(thread) }
    }

    /// Returns what was carried on the connection that had this message, if it has ended. Only for plain websockets.
    pub fn carried_with(&self, number: u64) -> Option<Carried> {
        let carried = self.carrier.carried.lock();
        carried.iter().rev().find(|carried| (carried.first..=carried.last).contains(&number)).copied()
    }
}

impl Drop for Relay {
    /// Must only run once the run is over.
    fn drop(&mut self) {
        let _wake = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a relay panicked");
        }
    }
}

/// How the relay cuts the direction from the server to the client.
#[derive(Clone, Copy, PartialEq)]
enum Cut {
    Fin,
    Reset,
    Stall,
}

/// The faults of a connection.
struct Faults {
    cut: Option<(usize, Cut)>,
    /// A pause after this many bytes.
    pause: Option<(usize, Duration)>,
    /// The first bytes, this many, are sent in small pieces.
    small_pieces: usize,
    delay: Duration,
}

impl Faults {
    fn random(random: &mut Random) -> Self {
        // Positions within the handshake, after some messages, or after many.
        let mut position = || random.pick(&[400, 4_000, 40_000, 400_000]);
        let (cut_scale, pause_scale) = (position(), position());
        let cut = random.pick(&[Cut::Fin, Cut::Fin, Cut::Reset, Cut::Stall]);
        Faults {
            cut: random.one_in(3).then(|| (random.below(cut_scale) as usize, cut)),
            pause: random.one_in(4).then(|| (random.below(pause_scale) as usize, random.millis_below(2500))),
            small_pieces: if random.one_in(3) { random.below(4000) as usize } else { 0 },
            delay: if random.one_in(4) { random.micros_below(5000) } else { Duration::ZERO },
        }
    }
}

impl Carrier {
    fn serve(&self, client: TcpStream, mut random: Random) -> io::Result<()> {
        client.set_nodelay(true)?;
        match random.below(40) {
            0 => return Ok(()),
            1 => return SockRef::from(&client).set_linger(Some(Duration::ZERO)),
            2 => return drain(&client),
            _ => {}
        }
        if self.is_proxy {
            read_head(&client)?;
            let response: &[u8] = match random.below(40) {
                0 => b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
                1 => b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
                _ => b"HTTP/1.1 200 Connection established\r\n\r\n",
            };
            (&client).write_all(response)?;
            if !response.starts_with(b"HTTP/1.1 200") {
                client.shutdown(Shutdown::Write)?;
                return drain(&client);
            }
        }
        let server = TcpStream::connect(self.site.address())?;
        server.set_nodelay(true)?;
        thread::scope(|scope| {
            let up = scope.spawn(|| {
                let _ = io::copy(&mut &client, &mut &server);
                // Either the client has gone, and what the server still sends is of no use; or the server has gone, and
                // the client need not notice yet.
                let _ = server.shutdown(Shutdown::Both);
                drain(&client)
            });
            match self.carry_down(&server, &client, &mut random) {
                Ok(Cut::Fin) => _ = client.shutdown(Shutdown::Write),
                Ok(Cut::Stall) => {}
                Ok(Cut::Reset) | Err(_) => {
                    let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
                    let _ = client.shutdown(Shutdown::Read);
                }
            }
            // Reads until the client has hung up: bytes that arrived later would be answered by a reset.
            let _ = up.join();
        });
        Ok(())
    }

    /// Copies bytes to the client until the server ends or the faults cut the connection, and returns how it ends. An
    /// error: the server reset the connection, or the client has gone.
    fn carry_down(&self, mut server: &TcpStream, mut client: &TcpStream, random: &mut Random) -> io::Result<Cut> {
        let mut faults = Faults::random(random);
        let mut ends = Ends::default();
        let mut buffer = [0; 16 * 1024];
        let mut passed = 0;
        let end = 'carry: loop {
            let length = server.read(&mut buffer)?;
            if length == 0 {
                break Cut::Fin;
            }
            thread::sleep(faults.delay);
            let mut bytes = &buffer[..length];
            while !bytes.is_empty() {
                let mut most = bytes.len();
                if passed < faults.small_pieces {
                    most = most.min(1 + random.below(20) as usize);
                    thread::sleep(random.micros_below(200));
                }
                if let Some((at, pause)) = faults.pause {
                    match at.saturating_sub(passed) {
                        0 => {
                            thread::sleep(pause);
                            faults.pause = None;
                        }
                        closed_by_caller => most = most.min(closed_by_caller),
                    }
                }
                if let Some((at, cut)) = faults.cut {
                    match at.saturating_sub(passed) {
                        0 => break 'carry cut,
                        closed_by_caller => most = most.min(closed_by_caller),
                    }
                }
                let (piece, undelivered) = bytes.split_at(most);
                client.write_all(piece)?;
                ends.push(piece);
                passed += most;
                bytes = undelivered;
            }
        };
        if let (Some(first), Some(last), false) = (ends.first, ends.last, end == Cut::Reset || self.site.tls) {
            let mut carried = self.carried.lock();
            carried.push(Carried { first, last });
            let old = carried.len().saturating_sub(KEPT);
            carried.drain(..old);
        }
        Ok(end)
    }
}

fn drain(mut socket: &TcpStream) -> io::Result<()> {
    io::copy(&mut socket, &mut io::sink()).map(|_| ())
}

fn read_head(mut socket: &TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(())
}
