//! How fast tails are, as ratios to the least work that can do the same job, measured in one run:
//!
//! ```text
//! cargo bench
//! ```
//!
//! Each row has its own server, a process that sends messages as fast as it can, and three rounds, of which the middle
//! one counts. The bare loop is one thread that reads, decodes and forgets: over a websocket with tungstenite and
//! protobuf, over the RLP gateway's stream with ureq, serde_json and base64. Ours is the public iterator.

use std::borrow::Cow;
use std::env;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use loggregator_consumer::{Builder, Consumer, Proxy, Tail};
use protobuf::Message as _;
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use tungstenite::handshake::derive_accept_key;

#[allow(warnings)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
}

const APP: &str = "11111111-1111-1111-1111-111111111111";
const ROUNDS: usize = 3;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    WebSocket,
    Gateway,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().collect();
    if let [_, serve, kind, size, count] = args.as_slice()
        && serve == "serve"
    {
        let kind = if kind == "gateway" { Kind::Gateway } else { Kind::WebSocket };
        return Ok(self::serve(kind, size.parse()?, count.parse()?)?);
    }
    println!("                        |     bare loop      |  public iterator   |      ratio");
    println!("tail over      message  |   M msg/s  ns CPU  |   M msg/s  ns CPU  |  speed    CPU");
    row(Kind::WebSocket, 20, 3_000_000)?;
    row(Kind::WebSocket, 150, 2_000_000)?;
    row(Kind::WebSocket, 1500, 500_000)?;
    row(Kind::WebSocket, 65536, 10_000)?;
    row(Kind::Gateway, 150, 500_000)?;
    Ok(())
}

fn row(kind: Kind, size: usize, count: usize) -> Result<(), Box<dyn Error>> {
    let name = if kind == Kind::Gateway { "gateway" } else { "websocket" };
    let mut server = Command::new(env::current_exe()?)
        .args(["serve", name, &size.to_string(), &count.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .map(Server)?;
    let mut address = String::new();
    BufReader::new(server.0.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    let address = address.trim();

    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let bare = measured(count, || match kind {
            Kind::WebSocket => bare_websocket(address),
            Kind::Gateway => bare_gateway(address),
        })?;
        let ours = measured(count, || {
            let builder = match kind {
                Kind::WebSocket => Consumer::builder(&format!("ws://{address}")),
                Kind::Gateway => Builder::new().rlp_gateway(&format!("http://{address}")),
            };
            count_all(builder.proxy(Proxy::none()).build()?.tail(APP, "bearer token")?)
        })?;
        rounds.push((bare, ours));
    }
    rounds.sort_by(|a, b| a.1.speed_ratio(&a.0).total_cmp(&b.1.speed_ratio(&b.0)));
    let (bare, ours) = &rounds[ROUNDS / 2];
    println!(
        "{name:<10} {size:>8} B  |  {}  |  {}  |  {:>5.2}  {:>5.2}",
        bare.shown(),
        ours.shown(),
        ours.speed_ratio(bare),
        ours.cpu_each / bare.cpu_each,
    );
    Ok(())
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a message costs, in nanoseconds.
struct Measure {
    wall_each: f64,
    cpu_each: f64,
}

impl Measure {
    fn speed_ratio(&self, bare: &Measure) -> f64 {
        bare.wall_each / self.wall_each
    }

    fn shown(&self) -> String {
        format!("{:>8.3}  {:>6.0}", 1000.0 / self.wall_each, self.cpu_each)
    }
}

fn measured(count: usize, read_all: impl FnOnce() -> Result<usize, Box<dyn Error>>) -> Result<Measure, Box<dyn Error>> {
    let (wall, cpu) = (Instant::now(), cpu_time());
    let read = read_all()?;
    let (wall, cpu) = (wall.elapsed(), cpu_time() - cpu);
    if read != count {
        return Err(format!("{read} messages came, not {count}").into());
    }
    let each = |time: Duration| time.as_nanos() as f64 / count as f64;
    Ok(Measure { wall_each: each(wall), cpu_each: each(cpu) })
}

/// Of all threads of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn count_all(tail: Tail) -> Result<usize, Box<dyn Error>> {
    let mut count = 0;
    for message in tail {
        match message {
            Ok(message) => {
                black_box(message);
                count += 1;
            }
            // The RLP gateway's stream has no other end than this.
            Err(_) => break,
        }
    }
    Ok(count)
}

fn bare_websocket(address: &str) -> Result<usize, Box<dyn Error>> {
    let (mut websocket, _) =
        tungstenite::client(format!("ws://{address}/tail/?app={APP}"), TcpStream::connect(address)?)?;
    let mut count = 0;
    while let tungstenite::Message::Binary(payload) = websocket.read()? {
        black_box(generated::log_message::LogMessage::parse_from_bytes(&payload)?);
        count += 1;
    }
    Ok(count)
}

fn bare_gateway(address: &str) -> Result<usize, Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        batch: Vec<Envelope<'a>>,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)] // Read, as ours are, and forgotten.
    struct Envelope<'a> {
        #[serde(borrow)]
        timestamp: Cow<'a, str>,
        source_id: String,
        instance_id: String,
        tags: Tags,
        #[serde(borrow)]
        log: Log<'a>,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Tags {
        source_type: String,
    }
    #[derive(Deserialize)]
    struct Log<'a> {
        #[serde(borrow)]
        payload: Cow<'a, str>,
    }
    let body = ureq::get(format!("http://{address}/v2/read?log&source_id={APP}")).call()?.into_body().into_reader();
    let mut count = 0;
    for line in BufReader::with_capacity(64 * 1024, body).split(b'\n') {
        let line = match line {
            Ok(line) => line,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.into()),
        };
        if let Some(json) = line.strip_prefix(b"data: ") {
            for envelope in serde_json::from_slice::<Batch<'_>>(json)?.batch {
                black_box((envelope.timestamp.parse::<i64>()?, BASE64_STANDARD.decode(&*envelope.log.payload)?));
                black_box((envelope.source_id, envelope.instance_id, envelope.tags));
                count += 1;
            }
        }
    }
    Ok(count)
}

/// Sends `count` messages of `size` bytes to each client, one client after the other.
fn serve(kind: Kind, size: usize, count: usize) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (unit, per_unit) = match kind {
        Kind::WebSocket => (frame(size), 1),
        Kind::Gateway => (event(size, 100), 100),
    };
    let units_a_write = (256 * 1024 / unit.len()).max(1);
    let bytes = unit.repeat(units_a_write);
    for client in listener.incoming() {
        let mut client = client?;
        let head = read_head(&mut client)?;
        let answer = match kind {
            Kind::WebSocket => upgrade(&head),
            Kind::Gateway => {
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n".to_owned()
            }
        };
        client.write_all(answer.as_bytes())?;
        let mut left = count / per_unit;
        while left > 0 {
            let units = left.min(units_a_write);
            client.write_all(&bytes[..units * unit.len()])?;
            left -= units;
        }
        if kind == Kind::WebSocket {
            client.write_all(&[0x88, 2, 0x03, 0xe8])?;
        }
        client.shutdown(Shutdown::Write)?;
        let _ = io::copy(&mut client, &mut io::sink());
    }
    Ok(())
}

fn read_head(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn upgrade(head: &str) -> String {
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    });
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.unwrap_or_default().as_bytes())
    )
}

fn frame(size: usize) -> Vec<u8> {
    let message = generated::log_message::LogMessage {
        message: Some(vec![b'x'; size]),
        message_type: Some(protobuf::EnumOrUnknown::from_i32(1)),
        timestamp: Some(1_468_500_000_120_000_000),
        app_id: Some(APP.into()),
        source_id: Some(b"0".to_vec()),
        source_name: Some(b"App".to_vec()),
        ..Default::default()
    };
    let payload = message.write_to_bytes().expect("all required fields are set");
    let mut frame = vec![0x82];
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..65536 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

fn event(size: usize, envelopes: usize) -> Vec<u8> {
    let payload = BASE64_STANDARD.encode(vec![b'x'; size]);
    let envelope = format!(
        r#"{{"timestamp":"1700000000000000000","source_id":"{APP}","instance_id":"0","deprecated_tags":{{}},"tags":{{"deployment":"cf","index":"7","ip":"10.0.0.1","job":"diego-cell","origin":"rep","source_type":"APP/PROC/WEB"}},"log":{{"payload":"{payload}","type":"OUT"}}}}"#
    );
    format!("data: {{\"batch\":[{}]}}\n\n", vec![envelope; envelopes].join(",")).into_bytes()
}
