//! Servers at a distance, where each round trip counts and the work does not.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use loggregator_consumer::{Builder, LogMessage, Proxy, Tail};

use crate::log_cache::{self, SIZE};
use crate::server::{Kind, Server};
use crate::{APP, ROUNDS, Result, connector, consumer, median};

/// The time from here to the server, and back.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// The number of lines of a large `recent`, which has 10 pages.
const COUNT: usize = 10_000;

/// Measures calls in round trips. The least is one for TCP and two for TLS if a connection is opened, because native-tls's
/// servers have TLS 1.2, and one for each request.
pub fn distance() -> Result<()> {
    println!("calls at a distance, in round   |      plain       |       TLS");
    println!("trips of {:>2} ms                  |  least    needed |  least    needed", ROUND_TRIP.as_millis());
    let recent = |address: &str, tls: bool, count| log_cache::consumer(address, tls.then(connector), count);
    row("discovery", Kind::Api, Dials(true), 1, |address, tls| {
        let builder = match tls {
            true => Builder::new().api(&format!("https://{}", log_cache::name(address))).tls_connector(connector()),
            false => Builder::new().api(&format!("http://{address}")),
        };
        let consumer = builder.proxy(Proxy::none()).build()?;
        timed(|| Ok(consumer.tail_choice()?))
    })?;
    row("tail, to the first message", Kind::Single, Dials(true), 1, |address, tls| {
        let consumer = consumer(address, tls)?;
        timed(|| first(consumer.tail(APP, "bearer token")?))
    })?;
    row("follow, to the first message", Kind::LogCache, Dials(true), 1, |address, tls| {
        let consumer = recent(address, tls, 100)?;
        timed(|| first(consumer.follow(APP, "bearer token")?))
    })?;
    row("recent of Log Cache, one page", Kind::LogCache, Dials(true), 1, |address, tls| {
        let consumer = recent(address, tls, 100)?;
        timed(|| Ok(consumer.recent(APP, "bearer token")?))
    })?;
    row("the next call", Kind::LogCache, Dials(false), 1, |address, tls| {
        let consumer = recent(address, tls, 100)?;
        consumer.recent(APP, "bearer token")?;
        timed(|| Ok(consumer.recent(APP, "bearer token")?))
    })?;
    row("recent of Log Cache, 10 pages", Kind::LogCache, Dials(true), 10, |address, tls| {
        let consumer = recent(address, tls, COUNT)?;
        timed(|| Ok(consumer.recent(APP, "bearer token")?))
    })?;
    row("the baseline of that", Kind::LogCache, Dials(true), 10, |address, tls| {
        let connector = tls.then(connector);
        timed(|| log_cache::bare(address, connector.as_ref(), COUNT))
    })?;
    println!();
    Ok(())
}

/// Whether a call opens a connection.
struct Dials(bool);

/// Measures a call, with and without TLS.
fn row(
    name: &str,
    kind: Kind,
    Dials(dials): Dials,
    requests: usize,
    call: impl Fn(&str, bool) -> Result<Duration>,
) -> Result<()> {
    print!("{name:<31} ");
    for tls in [false, true] {
        let server = Server::start(kind, tls, SIZE, COUNT)?;
        let address = relay(server.address.clone())?;
        let times = (0..ROUNDS).map(|_| Ok(call(&address, tls)?.as_secs_f64())).collect::<Result<_>>()?;
        let least = requests + usize::from(dials) * if tls { 3 } else { 1 };
        print!("|   {least:>2}      {:>5.2}  ", median(times) / ROUND_TRIP.as_secs_f64());
    }
    println!();
    Ok(())
}

/// Waits for the first message. Returns the tail, too, whose drop is not measured.
fn first(mut tail: Tail) -> Result<(Tail, LogMessage)> {
    let message = tail.next().ok_or("no message")??;
    Ok((tail, message))
}

/// Returns how long a call takes, without the drop of what it returns.
fn timed<T>(call: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let start = Instant::now();
    let result = call()?;
    let time = start.elapsed();
    drop(result);
    Ok(time)
}

/// Starts a relay to a server, which delays everything by half a round trip in each direction, and a new connection by
/// a whole one. Returns its address.
fn relay(server: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || -> io::Result<()> {
        for client in listener.incoming() {
            let (client, server) = (client?, server.clone());
            thread::spawn(move || -> io::Result<()> {
                thread::sleep(ROUND_TRIP);
                let server = TcpStream::connect(server)?;
                client.set_nodelay(true)?;
                server.set_nodelay(true)?;
                delay(client.try_clone()?, server.try_clone()?);
                delay(server, client);
                Ok(())
            });
        }
        Ok(())
    });
    Ok(address)
}

/// Copies bytes, each half a round trip later.
fn delay(mut from: TcpStream, mut to: TcpStream) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(amount @ 1..) = from.read(&mut buffer) {
            let _ = sender.send((Instant::now() + ROUND_TRIP / 2, buffer[..amount].to_vec()));
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
