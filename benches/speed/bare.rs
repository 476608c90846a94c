//! The baselines: the least work, in one thread, that does the same job as the library.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use memchr::memmem::Finder;
use native_tls::TlsConnector;
use protobuf::Message as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tungstenite::{Message, WebSocket};

use crate::server::{BOUNDARY, Envelope, LogMessage};
use crate::{APP, Result};

pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// Connects to a server, over TLS if there is a connector.
pub fn connect(address: &str, tls: Option<&TlsConnector>) -> Result<Box<dyn Stream>> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    Ok(match tls {
        Some(connector) => Box::new(connector.connect("localhost", socket)?),
        None => Box::new(socket),
    })
}

pub fn websocket<S: Stream>(stream: S, address: &str) -> Result<WebSocket<S>> {
    match tungstenite::client(format!("ws://{address}/tail/?app={APP}"), stream) {
        Ok((websocket, _)) => Ok(websocket),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Reads and parses the next message. Returns `None` at the end.
pub fn next<S: Stream>(websocket: &mut WebSocket<S>) -> Result<Option<LogMessage>> {
    match websocket.read()? {
        Message::Binary(payload) => Ok(Some(LogMessage::parse_from_bytes(&payload)?)),
        _ => Ok(None),
    }
}

/// Counts the messages of a tail over a websocket.
pub fn tail(address: &str, tls: Option<&TlsConnector>) -> Result<usize> {
    fn count<S: Stream>(stream: S, address: &str) -> Result<usize> {
        let mut websocket = websocket(stream, address)?;
        let mut count = 0;
        while let Some(message) = next(&mut websocket)? {
            black_box(message);
            count += 1;
        }
        Ok(count)
    }
    let socket = TcpStream::connect(address)?;
    match tls {
        Some(connector) => count(connector.connect("localhost", socket)?, address),
        None => count(socket, address),
    }
}

/// Counts the envelopes of Doppler.
pub fn envelopes(address: &str) -> Result<usize> {
    let mut websocket = websocket(TcpStream::connect(address)?, address)?;
    let mut count = 0;
    while let Message::Binary(payload) = websocket.read()? {
        black_box(Envelope::parse_from_bytes(&payload)?);
        count += 1;
    }
    Ok(count)
}

/// Counts the bytes of a tail. Only reads the socket, and parses nothing.
pub fn drain(address: &str, tls: Option<&TlsConnector>) -> Result<usize> {
    let mut stream = connect(address, tls)?;
    write!(stream, "GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")?;
    let mut buffer = vec![0; 128 * 1024];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(bytes),
            n => bytes += n,
        }
    }
}

/// Counts the messages of a response to `recent`, after reading the whole body.
pub fn recent(address: &str) -> Result<usize> {
    let mut body = Vec::new();
    ureq::get(format!("http://{address}/recent?app={APP}")).call()?.into_body().into_reader().read_to_end(&mut body)?;
    let delimiter = format!("\r\n--{BOUNDARY}");
    let finder = Finder::new(&delimiter);
    let mut messages = Vec::new();
    let mut start = delimiter.len() - 2;
    for end in finder.find_iter(&body) {
        // After the delimiter line and the blank line that ends the empty headers.
        messages.push(LogMessage::parse_from_bytes(&body[start + 4..end])?);
        start = end + delimiter.len();
    }
    Ok(black_box(messages).len())
}

/// Counts the messages of a tail over the RLP gateway.
pub fn gateway(address: &str) -> Result<usize> {
    #[derive(Deserialize)]
    #[allow(dead_code)] // The library deserializes it, too.
    struct SourceType {
        source_type: String,
    }
    events::<SourceType>(address)
}

/// Counts the envelopes of a stream over the RLP gateway.
pub fn gateway_envelopes(address: &str) -> Result<usize> {
    events::<HashMap<String, String>>(address)
}

fn events<Tags: DeserializeOwned>(address: &str) -> Result<usize> {
    #[derive(Deserialize)]
    struct Batch<'a, Tags> {
        #[serde(borrow)]
        batch: Vec<Envelope<'a, Tags>>,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)] // The library deserializes these fields, too.
    struct Envelope<'a, Tags> {
        #[serde(borrow)]
        timestamp: Cow<'a, str>,
        source_id: String,
        instance_id: String,
        tags: Tags,
        #[serde(borrow)]
        log: Log<'a>,
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
            for envelope in serde_json::from_slice::<Batch<'_, Tags>>(json)?.batch {
                black_box((envelope.timestamp.parse::<i64>()?, BASE64_STANDARD.decode(&*envelope.log.payload)?));
                black_box((envelope.source_id, envelope.instance_id, envelope.tags));
                count += 1;
            }
        }
    }
    Ok(count)
}
