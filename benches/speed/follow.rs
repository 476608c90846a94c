//! Measures a tail over Log Cache against a walk, as the other clients do it, on lines that become readable late and out
//! of order.
//!
//! For each rate there is one server process, and a process for each of the two clients, which run at the same time.
//! The server reaches them through a relay that counts requests and lines.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crossbeam_channel::RecvTimeoutError;
use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, ErrorKind, LogMessage, Proxy, Via};
use memchr::memmem::Finder;
use serde::Deserialize;

use crate::{APP, Result, cpu_time, now, status};

/// After the last line is logged, until it has been read for the last time.
const REST: Duration = Duration::from_secs(16);
/// How long quiet tails are watched.
const WATCHED: Duration = Duration::from_secs(10);
/// How often the server logs the lines that are due by then.
const TICK: Duration = Duration::from_millis(5);

pub fn follow() -> Result<()> {
    println!("tail over Log Cache: two instances, 0.17 to 0.5 s late, 1 % of the lines 2 to 4 s later");
    println!(
        "               lines   |   lost  doubled  gaps  |  delay median    99 %  |  requests/s  read/given  |  CPU"
    );
    // The quiet ones cost too little to disturb each other.
    let slow = [(0.0, 60), (0.1, 60), (5.0, 30), (100.0, 30)];
    let slow = slow.map(|(rate, seconds)| thread::spawn(move || row(rate, seconds).map_err(|error| error.to_string())));
    for row in slow {
        print!("{}", row.join().map_err(|_| "a row panicked")??);
    }
    for (rate, seconds) in [(1000.0, 15), (5000.0, 15)] {
        print!("{}", row(rate, seconds)?);
    }
    println!();
    quiet()
}

/// Measures 1000 tails of one consumer, of apps that log nothing.
fn quiet() -> Result<()> {
    const COUNT: usize = 1000;
    println!("{COUNT} quiet tails over Log Cache");
    let mut server = Process::start(&["follow-server", "0", &WATCHED.as_secs().to_string()])?;
    let addresses = server.line()?;
    let (tail, _) = addresses.split_once(' ').ok_or("no addresses")?;
    let mut client = Process::start(&["follow-quiet", tail, &COUNT.to_string()])?.opened()?;
    server.close_stdin();
    let [_, requests, _] = numbers(&server.line()?)?;
    println!("  requests             {:.0}/s", requests / WATCHED.as_secs_f64());
    io::copy(&mut client.stdout, &mut io::stdout())?;
    Ok(())
}

pub fn quiet_tails(address: &str, count: usize) -> Result<()> {
    // Until their pauses have grown to 2 s, and from then on.
    const SETTLING: Duration = Duration::from_secs(12);
    let builder = Builder::new().log_cache(&format!("http://{address}")).tail_via(Via::LogCache).proxy(Proxy::none());
    let consumer = builder.build()?;
    drop(consumer.tail(APP, "bearer a-token")?);
    let before = status("VmRSS:")?;
    let mut tails = (0..count).map(|_| Ok(consumer.tail(APP, "bearer a-token")?)).collect::<Result<Vec<_>>>()?;
    // A tail from which nothing is taken stops polling after a while: it reports once in a second how far it is.
    let mut take = |time: Duration| {
        let start = Instant::now();
        while start.elapsed() < time {
            tails.iter_mut().for_each(|tail| _ = tail.try_recv());
            thread::sleep(Duration::from_millis(250));
        }
    };
    let threads = || Ok::<_, io::Error>(fs::read_dir("/proc/self/task")?.count());
    take(SETTLING);
    println!("open");
    println!("  threads              {}", threads()?);
    let cpu = cpu_time();
    take(WATCHED);
    let used = (cpu_time() - cpu).as_secs_f64() / WATCHED.as_secs_f64();
    println!("  memory per tail      {:.1} KiB", (status("VmRSS:")? - before) as f64 / count as f64);
    println!("  CPU of all tails     {:.2} % of a core", 100.0 * used);
    let start = Instant::now();
    consumer.close()?;
    for tail in tails {
        tail.close()?;
    }
    println!("  time to close all    {:.3} s", start.elapsed().as_secs_f64());
    println!("  threads after that   {}", threads()?);
    Ok(())
}

/// Returns the lines of the table for one rate, in lines per second.
fn row(rate: f64, seconds: u64) -> Result<String> {
    let mut server = Process::start(&["follow-server", &rate.to_string(), &seconds.to_string()])?;
    let addresses = server.line()?;
    let (tail, walk) = addresses.split_once(' ').ok_or("no addresses")?;
    let clients = [Process::start(&["follow-tail", tail])?, Process::start(&["follow-walk", walk])?];
    let mut clients = clients.into_iter().map(Process::opened).collect::<Result<Vec<_>>>()?;
    server.close_stdin();
    let [logged, requests @ ..] = numbers::<3>(&server.line()?)?;
    thread::sleep(REST);
    let outputs = clients.iter_mut().map(Process::finish).collect::<Result<Vec<_>>>()?;
    let mut rows = String::new();
    for (index, name) in ["tail", "walk"].into_iter().enumerate() {
        let [given, doubled, gaps, median, p99, cpu] = numbers(&outputs[index])?;
        let read = server.line()?.parse::<f64>()? / given.max(1.0);
        rows += &format!(
            "{rate:>6}/s  {name:<5} {logged:>6}  |  {:>5.1} %  {doubled:>7}  {gaps:>4}  |  {:>8.0} ms  {:>6.0} ms  |  {:>10.2}  {:>10}  |  {:>4.1} %\n",
            100.0 * (logged - given) / logged.max(1.0),
            median,
            p99,
            requests[index] / seconds as f64,
            if given > 0.0 { format!("{read:.1}") } else { "-".to_owned() },
            100.0 * cpu / (seconds as f64 + REST.as_secs_f64()),
        );
    }
    Ok(rows)
}

fn numbers<const N: usize>(line: &str) -> Result<[f64; N]> {
    let numbers: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    numbers.try_into().map_err(|_| format!("not {N} numbers: {line:?}").into())
}

/// Another process of this program. It is killed on drop.
struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(args: &[&str]) -> Result<Self> {
        let mut child =
            Command::new(env::current_exe()?).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Process { child, stdout })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Waits until a client says that it gets what is logged from now on.
    fn opened(mut self) -> Result<Self> {
        let line = self.line()?;
        if line == "open" { Ok(self) } else { Err("a client could not be started".into()) }
    }

    fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// Tells a client to end, and returns what it prints then.
    fn finish(&mut self) -> Result<String> {
        self.close_stdin();
        self.line()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the parent process closes its end of standard input.
fn wait_for_parent() {
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
}

/// Prints the two addresses, logs until the end, and prints how many lines were logged and how many requests each
/// client made meanwhile. When the clients have gone, prints how many lines each of them read.
pub fn serve(rate: f64, seconds: u64) -> Result<()> {
    let server = Arc::new(TrafficController::builder().generation(Generation::Today).max_per_source(100_000).start()?);
    server.send(line("start", 0));
    let relays = [relay(&server)?, relay(&server)?];
    println!("{} {}", relays[0].address, relays[1].address);
    wait_for_parent();

    let mut random = 1_u64;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let requests = || relays.each_ref().map(|relay| relay.counts.requests.load(Ordering::Relaxed));
    let (start, before) = (Instant::now(), requests());
    let mut logged = 0_u64;
    while start.elapsed() < Duration::from_secs(seconds) {
        while (logged as f64 + 0.5) / rate <= start.elapsed().as_secs_f64() {
            let very_late = if below(100) == 0 { 2000 + below(2000) } else { 0 };
            let delay = Duration::from_millis(170 + below(330) + very_late);
            let readable = now() + delay;
            server.send_late(line(&format!("{logged} {} {:-<100}", readable.as_nanos(), ""), logged % 2), delay);
            logged += 1;
        }
        thread::sleep(TICK);
    }
    let after = requests();
    println!("{logged} {} {}", after[0] - before[0], after[1] - before[1]);
    for relay in relays {
        relay.counts.wait_until_gone();
        println!("{}", relay.counts.lines.load(Ordering::Relaxed));
    }
    // Ended by the parent.
    thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn line(text: &str, instance: u64) -> LogMessage {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as i64;
    LogMessage::new(APP, text).timestamp(time).source("APP/PROC/WEB", instance.to_string())
}

struct Relay {
    address: String,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    lines: AtomicUsize,
    connections: AtomicUsize,
}

impl Counts {
    fn wait_until_gone(&self) {
        while self.connections.load(Ordering::SeqCst) > 0 {
            thread::sleep(TICK);
        }
    }
}

/// Starts a relay to the server that counts the requests and the lines of the responses.
fn relay(server: &TrafficController) -> Result<Relay> {
    let (target, listener) = (server.address(), TcpListener::bind("127.0.0.1:0")?);
    let address = listener.local_addr()?.to_string();
    let counts = Arc::new(Counts::default());
    let counted = Arc::clone(&counts);
    thread::spawn(move || {
        for client in listener.incoming().map_while(io::Result::ok) {
            let Ok(server) = TcpStream::connect(target) else { break };
            let (Ok(client_half), Ok(server_half)) = (client.try_clone(), server.try_clone()) else { break };
            counted.connections.fetch_add(1, Ordering::SeqCst);
            let (of_requests, of_lines) = (Arc::clone(&counted), Arc::clone(&counted));
            thread::spawn(move || pass(client_half, server_half, b"GET /api/v1/read", &of_requests.requests));
            thread::spawn(move || {
                pass(server, client, b"\"log\":", &of_lines.lines);
                of_lines.connections.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Ok(Relay { address, counts })
}

/// Passes bytes on, and counts how often they contain a pattern.
fn pass(mut from: TcpStream, mut to: TcpStream, pattern: &[u8], count: &AtomicUsize) {
    let finder = Finder::new(pattern);
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 256 * 1024];
    let mut kept = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer[kept..]) {
        let end = kept + read;
        if to.write_all(&buffer[kept..end]).is_err() {
            break;
        }
        count.fetch_add(finder.find_iter(&buffer[..end]).count(), Ordering::Relaxed);
        // The beginning of a match that the next bytes complete.
        kept = end.min(pattern.len() - 1);
        buffer.copy_within(end - kept..end, 0);
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// What a client has got.
#[derive(Default)]
struct Given {
    times: HashMap<u64, usize>,
    /// From when a line was readable, in milliseconds.
    delays: Vec<f64>,
    gaps: usize,
}

impl Given {
    fn add(&mut self, text: &str) -> Result<()> {
        let Some((number, rest)) = text.split_once(' ') else { return Ok(()) };
        let readable: u64 = rest.split(' ').next().unwrap_or_default().parse()?;
        *self.times.entry(number.parse()?).or_default() += 1;
        self.delays.push((now().as_nanos() as f64 - readable as f64) / 1e6);
        Ok(())
    }

    fn print(mut self, cpu: Duration) {
        self.delays.sort_by(f64::total_cmp);
        let delay = |part: f64| self.delays.get((self.delays.len() as f64 * part) as usize).copied().unwrap_or(0.0);
        let doubled = self.delays.len() - self.times.len();
        println!("{} {doubled} {} {} {} {}", self.times.len(), self.gaps, delay(0.5), delay(0.99), cpu.as_secs_f64());
    }
}

/// Becomes true when the parent process wants the client to end.
fn ends() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    thread::spawn(move || {
        wait_for_parent();
        set.store(true, Ordering::SeqCst);
    });
    flag
}

/// Reads a tail of the library.
pub fn tail(address: &str) -> Result<()> {
    let builder = Builder::new().log_cache(&format!("http://{address}")).tail_via(Via::LogCache).proxy(Proxy::none());
    let mut tail = builder.build()?.tail(APP, "bearer a-token")?;
    let (ends, mut given, cpu) = (ends(), Given::default(), cpu_time());
    println!("open");
    while !ends.load(Ordering::SeqCst) {
        match tail.recv_timeout(Duration::from_millis(100)) {
            Ok(Err(error)) if error.kind() == ErrorKind::Gap => given.gaps += 1,
            Ok(line) => given.add(&line?.text())?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(_) => return Err("the tail ended".into()),
        }
    }
    let cpu = cpu_time() - cpu;
    tail.close()?;
    given.print(cpu);
    Ok(())
}

/// Walks as `cf logs` does: from the last time seen + 1 ns, in pages of 100 lines, which is the server's default, without
/// the lines of the last 2 s. If there are no others, it waits for 250 ms.
pub fn walk(address: &str) -> Result<()> {
    const DELAY: i64 = 2_000_000_000;
    let wall = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|time| time.as_nanos() as i64);
    let mut connection = BufReader::with_capacity(256 * 1024, TcpStream::connect(address)?);
    let mut last = wall()?;
    let (ends, mut given, cpu) = (ends(), Given::default(), cpu_time());
    println!("open");
    while !ends.load(Ordering::SeqCst) {
        let body = get(&mut connection, &format!("/api/v1/read/{APP}?envelope_types=LOG&start_time={}", last + 1))?;
        let page: Page = serde_json::from_slice(&body)?;
        let until = wall()? - DELAY;
        let mut is_empty = true;
        for envelope in page.envelopes.batch {
            let time: i64 = envelope.timestamp.parse()?;
            if time > until {
                break;
            }
            (last, is_empty) = (time, false);
            given.add(&String::from_utf8_lossy(&BASE64_STANDARD.decode(envelope.log.payload)?))?;
        }
        if is_empty {
            thread::sleep(Duration::from_millis(250));
        }
    }
    given.print(cpu_time() - cpu);
    Ok(())
}

#[derive(Deserialize)]
struct Page {
    envelopes: Envelopes,
}

#[derive(Deserialize)]
struct Envelopes {
    batch: Vec<Envelope>,
}

#[derive(Deserialize)]
struct Envelope {
    timestamp: String,
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    payload: String,
}

/// Makes a request, and returns the body, which must have a `Content-Length`.
fn get(connection: &mut BufReader<TcpStream>, path: &str) -> Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: log-cache\r\nAuthorization: bearer a-token\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes())?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        connection.read_line(&mut line)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok(body)
}
