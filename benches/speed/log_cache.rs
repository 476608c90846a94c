//! `recent` over Log Cache, page by page.

use std::borrow::Cow;
use std::env;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use loggregator_consumer::{Builder, Consumer, LogMessage, Proxy};
use native_tls::TlsConnector;
use serde::Deserialize;

use crate::bare::{self, Stream};
use crate::server::{Kind, Server};
use crate::{APP, ROUNDS, Result, cost, own_size, status};

/// The size of a message, in bytes.
pub const SIZE: usize = 150;
/// The largest page of Log Cache.
const PAGE: usize = 1000;
/// The time of the oldest line, in nanoseconds since the Unix epoch. Each further one is a nanosecond later.
const FIRST: i64 = 1_700_000_000_000_000_000;

/// Measures `recent` of many pages.
pub fn recent() -> Result<()> {
    println!("recent over Log Cache           |      baseline      |       library      |     ratio      |  memory");
    println!("messages of 150 B               |  M msg/s   ns CPU  |  M msg/s   ns CPU  |  speed    CPU  |");
    for count in [10_000, 100_000] {
        let server = Server::start(Kind::LogCache, false, SIZE, count)?;
        let consumer = consumer(&server.address, None, count)?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let bare = cost(count, || bare(&server.address, None, count))?;
            let ours = cost(count, || Ok(consumer.recent(APP, "bearer token")?.len()))?;
            rounds.push((bare, ours));
        }
        rounds.sort_by(|(a, b), (c, d)| (a.wall / b.wall).total_cmp(&(c.wall / d.wall)));
        let (bare, ours) = rounds[ROUNDS / 2];
        // In a separate process, so that nothing else has used its memory.
        let args = ["log-cache-memory", &server.address, &count.to_string()];
        let memory = Command::new(env::current_exe()?).args(args).output()?;
        println!(
            "{count:>31} |  {:>7.3}  {:>7.0}  |  {:>7.3}  {:>7.0}  |  {:>5.2}  {:>5.2}  |  {}",
            1000.0 / bare.wall,
            bare.cpu,
            1000.0 / ours.wall,
            ours.cpu,
            bare.wall / ours.wall,
            ours.cpu / bare.cpu,
            String::from_utf8_lossy(&memory.stdout).trim(),
        );
    }
    println!();
    Ok(())
}

/// Prints the peak memory of `recent`, also as a ratio to the size of the messages.
pub fn memory(address: &str, count: usize) -> Result<()> {
    let consumer = consumer(address, None, count)?;
    let before = status("VmRSS:")?;
    let messages: Vec<LogMessage> = consumer.recent(APP, "bearer token")?;
    let peak = status("VmHWM:")? - before;
    let own = messages.iter().map(own_size).sum::<usize>() / 1024;
    println!("{:.1} MiB, {:.2} of {own} KiB", peak as f64 / 1024.0, peak as f64 / own as f64);
    Ok(())
}

pub fn consumer(address: &str, tls: Option<TlsConnector>, count: usize) -> Result<Consumer> {
    let builder = Builder::new().proxy(Proxy::none()).recent_limit(count);
    Ok(match tls {
        Some(connector) => builder.log_cache(&format!("https://{}", name(address))).tls_connector(connector).build()?,
        None => builder.log_cache(&format!("http://{address}")).build()?,
    })
}

/// Returns an address with the name in the server's certificate.
pub fn name(address: &str) -> String {
    address.replace("127.0.0.1", "localhost")
}

/// The baseline: reads the same pages over one connection. Returns the number of lines.
pub fn bare(address: &str, tls: Option<&TlsConnector>, count: usize) -> Result<usize> {
    let mut server = BufReader::with_capacity(64 * 1024, bare::connect(address, tls)?);
    let mut body = Vec::new();
    let mut lines: Vec<Line> = Vec::new();
    while lines.len() < count {
        // All lines have different times, so each page after the first repeats one line.
        let (end, repeated) = match lines.last() {
            Some(line) => (format!("&end_time={}", line.timestamp + 1), 1),
            None => (String::new(), 0),
        };
        let limit = PAGE.min(count - lines.len() + repeated);
        let query = format!("envelope_types=LOG&descending=true&limit={limit}{end}");
        write!(
            server.get_mut(),
            "GET /api/v1/read/{APP}?{query} HTTP/1.1\r\nHost: {address}\r\nAuthorization: bearer token\r\n\r\n"
        )?;
        read_body(&mut server, &mut body)?;
        decode(&body, repeated, &mut lines)?;
    }
    lines.reverse();
    Ok(black_box(lines).len())
}

struct Line {
    timestamp: i64,
    #[allow(dead_code)] // What the library returns, too.
    rest: (Vec<u8>, String, String, String),
}

/// Reads a response in one chunk.
fn read_body(server: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        server.read_line(&mut line)?;
    }
    line.clear();
    server.read_line(&mut line)?;
    body.resize(usize::from_str_radix(line.trim(), 16)?, 0);
    server.read_exact(body)?;
    Ok(server.read_exact(&mut [0; b"\r\n0\r\n\r\n".len()])?)
}

fn decode(json: &[u8], repeated: usize, lines: &mut Vec<Line>) -> Result<()> {
    #[derive(Deserialize)]
    struct Response<'a> {
        #[serde(borrow)]
        envelopes: Batch<'a>,
    }
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        batch: Vec<Envelope<'a>>,
    }
    #[derive(Deserialize)]
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
    struct Tags {
        source_type: String,
    }
    #[derive(Deserialize)]
    struct Log<'a> {
        #[serde(borrow)]
        payload: Cow<'a, str>,
    }
    for envelope in serde_json::from_slice::<Response<'_>>(json)?.envelopes.batch.into_iter().skip(repeated) {
        let Envelope { timestamp, source_id, instance_id, tags, log } = envelope;
        let payload = BASE64_STANDARD.decode(&*log.payload)?;
        lines.push(Line { timestamp: timestamp.parse()?, rest: (payload, source_id, instance_id, tags.source_type) });
    }
    Ok(())
}

/// All lines of a server as JSON, newest first. They have the same length, so a page is a part of this.
pub struct Store {
    json: Vec<u8>,
    count: usize,
}

impl Store {
    pub fn new(size: usize, count: usize) -> Self {
        let payload = BASE64_STANDARD.encode(vec![b'x'; size]);
        let newest_first = (0..count as i64).rev();
        let json = newest_first.flat_map(|number| envelope(FIRST + number, &payload).into_bytes()).collect();
        Store { json, count }
    }

    /// Answers requests for pages, until the client closes the connection.
    pub fn serve(&self, client: impl Stream) -> Result<()> {
        let mut client = BufReader::new(client);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if client.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let parameter = |name: &str| {
                let value = head.split([' ', '&', '?']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
                value.map(str::parse::<i64>).transpose()
            };
            let newest = parameter("end_time")?.unwrap_or(FIRST + self.count as i64) - FIRST;
            let limit = parameter("limit")?.unwrap_or(100) as usize;
            client.get_mut().write_all(&self.page(newest.max(0) as usize, limit))?;
        }
    }

    /// Returns the response with the newest `limit` of the oldest `before` lines.
    fn page(&self, before: usize, limit: usize) -> Vec<u8> {
        let length = self.json.len() / self.count;
        let start = self.count - before.min(self.count);
        let end = (start + limit).min(self.count);
        // Without the last comma.
        let batch = self.json[start * length..end * length].strip_suffix(b",").unwrap_or_default();
        let (before, after) = (r#"{"envelopes":{"batch":["#, "]}}");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let size = before.len() + batch.len() + after.len();
        let head = format!("{head}{size:x}\r\n{before}");
        [head.as_bytes(), batch, after.as_bytes(), b"\r\n0\r\n\r\n"].concat()
    }
}

/// Returns an envelope as Log Cache writes it, and a comma.
fn envelope(timestamp: i64, payload: &str) -> String {
    format!(
        r#"{{"timestamp":"{timestamp}","source_id":"{APP}","instance_id":"0","deprecated_tags":{{}},"tags":{{"deployment":"cf","index":"7","ip":"10.0.0.1","job":"diego-cell","origin":"rep","source_type":"APP/PROC/WEB"}},"log":{{"payload":"{payload}","type":"OUT"}}}},"#
    )
}
