//! The servers. Each is a separate process that runs this program.

use std::collections::HashMap;
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use native_tls::{Identity, TlsAcceptor};
use protobuf::Message as _;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use tungstenite::handshake::derive_accept_key;

use crate::bare::Stream;
use crate::{APP, Result, log_cache, now};

#[allow(warnings)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
}

pub use generated::envelope::Envelope;
pub use generated::log_message::LogMessage;

pub const CERTIFICATE: &[u8] = include_bytes!("../../src/testing/tls/cert.pem");
const KEY: &[u8] = include_bytes!("../../src/testing/tls/key.pem");

pub const BOUNDARY: &str = "b1eb2c2dfa2e4b0dbc8d0a5d1a3b2d1e9f8b7c6d5e4f3a2b1c0d9e8f7a6b";

/// The chunk size of Go's HTTP server for a body of unknown length.
const CHUNK: usize = 2048;

/// What a server does for each client.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// Sends messages over a websocket as fast as it can, and closes it.
    Flood,
    /// Sends messages as events of the RLP gateway as fast as it can.
    Gateway,
    /// Sends envelopes of Doppler with ten tags over a websocket as fast as it can, and closes it.
    Envelopes,
    /// Sends envelopes with ten tags as events of the RLP gateway as fast as it can.
    GatewayEnvelopes,
    /// Sends a single message over a websocket every millisecond, with the current time as its timestamp.
    Single,
    /// Sends one message over a websocket, and then waits for a close frame. One thread serves all clients.
    Idle,
    /// Answers with a multipart body.
    Recent,
    /// Answers with pages of Log Cache.
    LogCache,
}

const KINDS: [Kind; 8] = [
    Kind::Flood,
    Kind::Gateway,
    Kind::Envelopes,
    Kind::GatewayEnvelopes,
    Kind::Single,
    Kind::Idle,
    Kind::Recent,
    Kind::LogCache,
];

/// The tags of a log of today, without its source type. Doppler has five of them in fields of their own.
const TAGS: [(&str, &str); 14] = [
    ("origin", "rep"),
    ("deployment", "cf"),
    ("job", "diego-cell"),
    ("index", "7d2f5c0e-56a1-4a86-8f6e-0d1d0c0f6a4b"),
    ("ip", "10.0.1.4"),
    ("app_id", APP),
    ("app_name", "shop"),
    ("instance_id", "0"),
    ("organization_id", "4f6b0d3a-1f3e-4b53-9a52-7d3f9a1f4c55"),
    ("organization_name", "retail"),
    ("process_id", APP),
    ("process_type", "web"),
    ("space_id", "9c1d2f4e-8a7b-4c6d-b5e3-2f1a0d9c8b7e"),
    ("space_name", "production"),
];

/// How many tags an envelope has.
const TAG_COUNT: usize = 10;

/// A running server process. It is killed on drop.
pub struct Server {
    process: Child,
    pub address: String,
}

impl Server {
    pub fn start(kind: Kind, tls: bool, size: usize, count: usize) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args(["serve", &format!("{kind:?}"), &tls.to_string(), &size.to_string(), &count.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut address)?;
        Ok(Server { process, address: address.trim().to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a server with these arguments. Never returns without an error.
pub fn run(args: &[String]) -> Result<()> {
    let [kind, tls, size, count] = args else { return Err("serve KIND TLS SIZE COUNT".into()) };
    let kind = KINDS.into_iter().find(|each| format!("{each:?}") == *kind).ok_or("no such server")?;
    let (size, count) = (size.parse()?, count.parse()?);
    let acceptor = TlsAcceptor::new(Identity::from_pkcs8(CERTIFICATE, KEY)?)?;
    let tls = tls == "true";
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    if kind == Kind::Idle {
        return Ok(idle(&listener, size)?);
    }
    let store = Arc::new(log_cache::Store::new(size, if kind == Kind::LogCache { count } else { 0 }));
    for client in listener.incoming() {
        let (client, acceptor, store) = (client?, acceptor.clone(), Arc::clone(&store));
        thread::Builder::new().stack_size(128 * 1024).spawn(move || {
            // A client may close the connection early.
            let _ = serve(client, tls.then_some(&acceptor), kind, size, count, &store);
        })?;
    }
    Ok(())
}

fn serve(
    socket: TcpStream,
    tls: Option<&TlsAcceptor>,
    kind: Kind,
    size: usize,
    count: usize,
    store: &log_cache::Store,
) -> Result<()> {
    socket.set_nodelay(true)?;
    let half = socket.try_clone()?;
    let mut client: Box<dyn Stream> = match tls {
        Some(acceptor) => Box::new(acceptor.accept(socket)?),
        None => Box::new(socket),
    };
    match kind {
        Kind::Flood | Kind::Envelopes => {
            let head = read_head(&mut client)?;
            client.write_all(upgrade(&head).as_bytes())?;
            let unit = if kind == Kind::Flood { frame(&message(size)) } else { frame(&envelope(size)) };
            flood(&mut client, &unit, count)?;
            client.write_all(&[0x88, 2, 0x03, 0xe8])?;
        }
        Kind::Gateway | Kind::GatewayEnvelopes => {
            read_head(&mut client)?;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
            client.write_all(head.as_bytes())?;
            let tags = if kind == Kind::Gateway { 5 } else { TAG_COUNT - 1 };
            flood(&mut client, &event(size, 100, tags), count / 100)?;
        }
        Kind::Recent => {
            read_head(&mut client)?;
            client.write_all(multipart(size, count).as_slice())?;
        }
        Kind::Single => {
            let mut websocket = tungstenite::accept(client).map_err(|error| error.to_string())?;
            for _ in 0..count {
                let message = LogMessage { timestamp: Some(now().as_nanos() as i64), ..message(size) };
                websocket.send(message.write_to_bytes()?.into())?;
                thread::sleep(Duration::from_millis(1));
            }
            while websocket.read().is_ok() {}
            return Ok(());
        }
        Kind::LogCache => return store.serve(client),
        Kind::Idle => unreachable!("served by `idle`"),
    }
    half.shutdown(Shutdown::Write)?;
    io::copy(&mut client, &mut io::sink())?;
    Ok(())
}

/// Serves all clients in one thread, because a thread for each would distort what is measured in the clients.
fn idle(listener: &TcpListener, size: usize) -> io::Result<()> {
    let watched = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let listening = EventData::new_u64(u64::MAX);
    epoll::add(&watched, listener, listening, EventFlags::IN)?;
    let mut clients = HashMap::new();
    let mut events = Vec::with_capacity(64);
    let mut bytes = [0; 4096];
    for key in 0.. {
        epoll::wait(&watched, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let source = event.data;
            if source == listening {
                let (mut client, _) = listener.accept()?;
                let head = read_head(&mut client)?;
                client.write_all(upgrade(&head).as_bytes())?;
                client.write_all(&frame(&message(size)))?;
                epoll::add(&watched, &client, EventData::new_u64(key), EventFlags::IN)?;
                clients.insert(key, client);
                continue;
            }
            let Some(client) = clients.get_mut(&source.u64()) else { continue };
            let read = client.read(&mut bytes).unwrap_or(0);
            if read == 0 || has_close(&bytes[..read]) {
                let _ = client.write_all(&[0x88, 2, 0x03, 0xe8]);
                clients.remove(&source.u64());
            }
        }
    }
    Ok(())
}

/// Returns true if there is a close frame among a client's frames, which are short and masked.
fn has_close(mut frames: &[u8]) -> bool {
    while let [first, length, rest @ ..] = frames {
        if *first == 0x88 {
            return true;
        }
        frames = rest.get(4 + usize::from(length & 0x7f)..).unwrap_or_default();
    }
    false
}

fn flood(client: &mut impl Write, unit: &[u8], count: usize) -> io::Result<()> {
    let units_per_write = (256 * 1024 / unit.len()).max(1);
    let bytes = unit.repeat(units_per_write);
    let mut left = count;
    while left > 0 {
        let units = left.min(units_per_write);
        client.write_all(&bytes[..units * unit.len()])?;
        left -= units;
    }
    Ok(())
}

fn read_head(client: &mut impl Read) -> io::Result<String> {
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

fn message(size: usize) -> LogMessage {
    LogMessage {
        message: Some(vec![b'x'; size]),
        message_type: Some(protobuf::EnumOrUnknown::from_i32(1)),
        timestamp: Some(1_468_500_000_120_000_000),
        app_id: Some(APP.into()),
        source_id: Some(b"0".to_vec()),
        source_name: Some(b"App".to_vec()),
        ..Default::default()
    }
}

/// Returns a log as Doppler sends it.
fn envelope(size: usize) -> generated::envelope::Envelope {
    use generated::envelope::{Envelope, LogMessage, Tag, envelope::EventType, log_message::MessageType};
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let log = LogMessage {
        message: Some(vec![b'x'; size]),
        message_type: Some(MessageType::OUT.into()),
        timestamp: Some(1_700_000_000_000_000_000),
        app_id: text(APP),
        source_type: text("APP/PROC/WEB"),
        source_instance: text("0"),
        ..Default::default()
    };
    let tag = |&(name, value): &(&str, &str)| Tag { key: text(name), value: text(value), ..Default::default() };
    Envelope {
        origin: text("rep"),
        eventType: Some(EventType::LogMessage.into()),
        timestamp: Some(1_700_000_000_000_000_000),
        deployment: text("cf"),
        job: text("diego-cell"),
        index: text("7"),
        ip: text("10.0.1.4"),
        logMessage: protobuf::MessageField::some(log),
        // Those after the fields above, and one more.
        tags: TAGS.iter().skip(5).chain([&("source_id", APP)]).take(TAG_COUNT).map(tag).collect(),
        ..Default::default()
    }
}

/// Returns the size of a message on the wire of [`Kind::Flood`], in bytes.
pub fn frame_size(size: usize) -> usize {
    frame(&message(size)).len()
}

fn frame(message: &impl protobuf::Message) -> Vec<u8> {
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

/// Returns the whole response, in chunks.
fn multipart(size: usize, count: usize) -> Vec<u8> {
    let part = message(size).write_to_bytes().expect("all required fields are set");
    let mut body = Vec::new();
    for _ in 0..count {
        body.extend_from_slice(format!("--{BOUNDARY}\r\n\r\n").as_bytes());
        body.extend_from_slice(&part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let mut response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-protobuf; boundary={BOUNDARY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for chunk in body.chunks(CHUNK) {
        response.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        response.extend_from_slice(chunk);
        response.extend_from_slice(b"\r\n");
    }
    response.extend_from_slice(b"0\r\n\r\n");
    response
}

fn event(size: usize, envelopes: usize, tags: usize) -> Vec<u8> {
    let tags: String = TAGS[..tags].iter().map(|(name, value)| format!(r#""{name}":"{value}","#)).collect();
    let payload = BASE64_STANDARD.encode(vec![b'x'; size]);
    let envelope = format!(
        r#"{{"timestamp":"1700000000000000000","source_id":"{APP}","instance_id":"0","deprecated_tags":{{}},"tags":{{{tags}"source_type":"APP/PROC/WEB"}},"log":{{"payload":"{payload}","type":"OUT"}}}}"#
    );
    format!("data: {{\"batch\":[{}]}}\n\n", vec![envelope; envelopes].join(",")).into_bytes()
}
