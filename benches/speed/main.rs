//! Measures the speed and the cost of the library, as ratios to the least work that does the same job (the baseline),
//! measured in the same run:
//!
//! ```text
//! cargo bench                    # everything, takes about five minutes
//! cargo bench -- tails recent    # some of: tails, streams, latency, first, recent, distance, idle, follow
//! ```
//!
//! Each row has its own server process. A row is measured in 5 rounds, each with the baseline and then the library. It
//! shows the median round.

mod bare;
mod distance;
mod follow;
mod log_cache;
mod server;

use std::env;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loggregator_consumer::{Builder, Consumer, LogMessage, Proxy, Selection, Tail};
use native_tls::{Certificate, TlsConnector};
use rustix::time::{ClockId, clock_gettime};

use server::{Kind, Server};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const APP: &str = "11111111-1111-1111-1111-111111111111";
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.split_first() {
        Some((role, args)) if role == "serve" => return server::run(args),
        Some((role, [address])) if role == "first-line" => return first_line(address),
        Some((role, [address])) if role == "bare-first-line" => return bare_first_line(address),
        Some((role, [address])) if role == "recent-memory" => return recent_memory(address),
        Some((role, [address, count])) if role == "log-cache-memory" => {
            return log_cache::memory(address, count.parse()?);
        }
        Some((role, [address, count])) if role == "idle-tails" => return idle_tails(address, count.parse()?),
        Some((role, [rate, seconds])) if role == "follow-server" => {
            return follow::serve(rate.parse()?, seconds.parse()?);
        }
        Some((role, [address])) if role == "follow-tail" => return follow::tail(address),
        Some((role, [address, count])) if role == "follow-quiet" => {
            return follow::quiet_tails(address, count.parse()?);
        }
        Some((role, [address])) if role == "follow-walk" => return follow::walk(address),
        _ => {}
    }
    let is_wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    if is_wanted("tails") {
        tails()?;
    }
    if is_wanted("streams") {
        streams()?;
    }
    if is_wanted("latency") {
        latency()?;
    }
    if is_wanted("first") {
        first()?;
    }
    if is_wanted("recent") {
        recent()?;
        log_cache::recent()?;
    }
    if is_wanted("distance") {
        distance::distance()?;
    }
    if is_wanted("idle") {
        idle()?;
    }
    if is_wanted("follow") {
        follow::follow()?;
    }
    Ok(())
}

/// The time per message, in nanoseconds.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

/// Measures the time per message of work on `count` messages. The work returns how many it got.
fn cost(count: usize, work: impl FnOnce() -> Result<usize>) -> Result<Cost> {
    let (wall, cpu) = (Instant::now(), cpu_time());
    let done = work()?;
    let (wall, cpu) = (wall.elapsed(), cpu_time() - cpu);
    if done != count {
        return Err(format!("got {done} messages instead of {count}").into());
    }
    let each = |time: Duration| time.as_nanos() as f64 / count as f64;
    Ok(Cost { wall: each(wall), cpu: each(cpu) })
}

/// Returns the CPU time of all threads of this process.
fn cpu_time() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

/// Returns the time of a clock that is the same in all processes.
fn now() -> Duration {
    clock(ClockId::Monotonic)
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn connector() -> TlsConnector {
    let certificate = Certificate::from_pem(server::CERTIFICATE).expect("the certificate is valid");
    TlsConnector::builder().add_root_certificate(certificate).build().expect("TLS is available")
}

fn consumer(address: &str, tls: bool) -> Result<Consumer> {
    let builder = if tls {
        Consumer::builder(&format!("wss://{}", log_cache::name(address))).tls_connector(connector())
    } else {
        Consumer::builder(&format!("ws://{address}"))
    };
    Ok(builder.proxy(Proxy::none()).build()?)
}

/// Measures tails of a server that sends as fast as it can.
fn tails() -> Result<()> {
    println!("tail at full speed              |  socket  |      baseline      |       library      |     ratio");
    println!("connection             message  |  M msg/s |  M msg/s   ns CPU  |  M msg/s   ns CPU  |  speed    CPU");
    for (size, count) in [(20, 4_000_000), (150, 3_000_000), (1500, 1_000_000), (65536, 20_000)] {
        tail_row("websocket", Kind::Flood, false, size, count)?;
    }
    for (size, count) in [(20, 2_000_000), (150, 2_000_000), (1500, 400_000), (65536, 10_000)] {
        tail_row("websocket, TLS", Kind::Flood, true, size, count)?;
    }
    tail_row("RLP gateway", Kind::Gateway, false, 150, 400_000)?;
    println!();
    Ok(())
}

/// Measures streams of envelopes with ten tags.
fn streams() -> Result<()> {
    println!("stream of envelopes, ten tags   |  socket  |      baseline      |       library      |     ratio");
    println!("connection             message  |  M msg/s |  M msg/s   ns CPU  |  M msg/s   ns CPU  |  speed    CPU");
    tail_row("Doppler", Kind::Envelopes, false, 150, 400_000)?;
    tail_row("RLP gateway", Kind::GatewayEnvelopes, false, 150, 200_000)?;
    println!();
    Ok(())
}

fn tail_row(name: &str, kind: Kind, tls: bool, size: usize, count: usize) -> Result<()> {
    let server = Server::start(kind, tls, size, count)?;
    let address = &server.address;
    let connector = tls.then(connector);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let socket = match kind {
            Kind::Flood => {
                cost(count, || Ok(count.min(bare::drain(address, connector.as_ref())? / server::frame_size(size))))?
                    .wall
            }
            _ => f64::INFINITY,
        };
        let bare = cost(count, || match kind {
            Kind::Flood => bare::tail(address, connector.as_ref()),
            Kind::Envelopes => bare::envelopes(address),
            Kind::GatewayEnvelopes => bare::gateway_envelopes(address),
            _ => bare::gateway(address),
        })?;
        let ours = cost(count, || {
            let consumer = match kind {
                Kind::Flood => consumer(address, tls)?,
                Kind::Envelopes => Builder::new().doppler(&format!("ws://{address}")).proxy(Proxy::none()).build()?,
                _ => Builder::new().rlp_gateway(&format!("http://{address}")).proxy(Proxy::none()).build()?,
            };
            match kind {
                Kind::Envelopes | Kind::GatewayEnvelopes => {
                    count_all(consumer.stream(&Selection::app(APP), "bearer token")?)
                }
                _ => count_all(consumer.tail(APP, "bearer token")?),
            }
        })?;
        rounds.push((socket, bare, ours));
    }
    rounds.sort_by(|(_, a, b), (_, c, d)| (a.wall / b.wall).total_cmp(&(c.wall / d.wall)));
    let (socket, bare, ours) = rounds[ROUNDS / 2];
    println!(
        "{name:<20} {size:>7} B  |  {} |  {:>7.3}  {:>7.0}  |  {:>7.3}  {:>7.0}  |  {:>5.2}  {:>5.2}",
        if socket.is_finite() { format!("{:>7.3}", 1000.0 / socket) } else { format!("{:>7}", "-") },
        1000.0 / bare.wall,
        bare.cpu,
        1000.0 / ours.wall,
        ours.cpu,
        bare.wall / ours.wall,
        ours.cpu / bare.cpu,
    );
    Ok(())
}

fn count_all<T>(tail: Tail<T>) -> Result<usize> {
    let mut count = 0;
    for message in tail {
        match message {
            Ok(message) => {
                black_box(message);
                count += 1;
            }
            // The stream of the RLP gateway always ends with an error.
            Err(_) => break,
        }
    }
    Ok(count)
}

/// Measures the time from the server's write of a single message to its arrival at the caller.
fn latency() -> Result<()> {
    const COUNT: usize = 1000;
    println!("latency of a single message     |  baseline   |  library   |  difference");
    for (name, tls) in [("websocket", false), ("websocket, TLS", true)] {
        let server = Server::start(Kind::Single, tls, 150, COUNT)?;
        let connector = tls.then(connector);
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let mut websocket = bare::websocket(bare::connect(&server.address, connector.as_ref())?, &server.address)?;
            let bare = (0..COUNT).map(|_| Ok(bare::next(&mut websocket)?.and_then(|message| message.timestamp)));
            let bare = delays(bare)?;
            let mut tail = consumer(&server.address, tls)?.tail(APP, "bearer token")?;
            let ours = delays((0..COUNT).map(|_| Ok(tail.next().transpose()?.map(|message| message.timestamp))))?;
            rounds.push((bare, ours));
        }
        rounds.sort_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)));
        let (bare, ours) = rounds[ROUNDS / 2];
        println!("{name:<20}     median  |  {bare:>6.1} µs  |  {ours:>5.1} µs  |  {:>7.1} µs", ours - bare);
    }
    println!();
    Ok(())
}

/// Returns the median delay of messages that were sent at these times, in microseconds.
fn delays(times: impl Iterator<Item = Result<Option<i64>>>) -> Result<f64> {
    let delay = |sent: Option<i64>| Ok((now().as_nanos() as i64 - sent.ok_or("the server ended")?) as f64 / 1000.0);
    Ok(median(times.map(|sent| delay(sent?)).collect::<Result<_>>()?))
}

/// Measures the time from the call of `tail` to the first message, which the server sends at once.
fn first() -> Result<()> {
    const COUNT: usize = 100;
    println!("time to the first message       |     baseline     |  library   |  ratio");
    for (name, tls) in [("websocket", false), ("websocket, TLS", true)] {
        let server = Server::start(Kind::Single, tls, 150, 1)?;
        let consumer = consumer(&server.address, tls)?;
        let connector = tls.then(connector);
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..COUNT {
            let start = Instant::now();
            let mut websocket = bare::websocket(bare::connect(&server.address, connector.as_ref())?, &server.address)?;
            bare::next(&mut websocket)?.ok_or("no message")?;
            bare.push(start.elapsed().as_secs_f64() * 1e6);
            drop(websocket);

            let start = Instant::now();
            let mut tail = consumer.tail(APP, "bearer token")?;
            tail.next().ok_or("no message")??;
            ours.push(start.elapsed().as_secs_f64() * 1e6);
        }
        let (bare, ours) = (median(bare), median(ours));
        println!("{name:<20}     median  |      {bare:>7.0} µs  | {ours:>7.0} µs |  {:>5.2}", ours / bare);
    }
    let server = Server::start(Kind::Single, false, 150, 1)?;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..COUNT {
        bare.push(time_to_first_line("bare-first-line", &server.address)?);
        ours.push(time_to_first_line("first-line", &server.address)?);
    }
    let (bare, ours) = (median(bare), median(ours));
    println!("a process, to its first line    |      {bare:>7.0} µs  | {ours:>7.0} µs |  {:>5.2}", ours / bare);
    println!();
    Ok(())
}

/// Measures the time from the start of a process to the first line that it prints, in microseconds.
fn time_to_first_line(role: &str, address: &str) -> Result<f64> {
    let start = Instant::now();
    let mut process = Command::new(env::current_exe()?).args([role, address]).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let read = BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut line);
    let time = start.elapsed();
    if !process.wait()?.success() || read.is_err() || line.is_empty() {
        return Err("the process failed".into());
    }
    Ok(time.as_secs_f64() * 1e6)
}

/// Prints the first message as `cf logs` does.
fn first_line(address: &str) -> Result<()> {
    println!("{}", consumer(address, false)?.tail(APP, "bearer token")?.next().ok_or("no message")??);
    Ok(())
}

/// Prints the text of the first message, and nothing else.
fn bare_first_line(address: &str) -> Result<()> {
    let mut websocket = bare::websocket(bare::connect(address, None)?, address)?;
    let message = bare::next(&mut websocket)?.ok_or("no message")?;
    println!("{}", String::from_utf8_lossy(message.message()));
    Ok(())
}

/// Measures a response of 100,000 messages.
fn recent() -> Result<()> {
    const COUNT: usize = 100_000;
    println!("recent, {COUNT} messages of 150 B  |  base  |  recent  | iterator |     ratios    |  memory");
    let server = Server::start(Kind::Recent, false, 150, COUNT)?;
    let address = &server.address;
    let consumer = consumer(address, false)?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let bare = cost(COUNT, || bare::recent(address))?.wall;
        let collected = cost(COUNT, || Ok(consumer.recent(APP, "bearer token")?.len()))?.wall;
        let iterated = cost(COUNT, || {
            let mut count = 0;
            for message in consumer.recent_iter(APP, "bearer token")? {
                black_box(message?);
                count += 1;
            }
            Ok(count)
        })?
        .wall;
        rounds.push((bare, collected, iterated));
    }
    rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    let (bare, collected, iterated) = rounds[ROUNDS / 2];
    // In a separate process, so that nothing else has used its memory.
    let memory = Command::new(env::current_exe()?).args(["recent-memory", address]).output()?;
    println!(
        "M msg/s                             | {:>5.2}  |  {:>5.2}   |  {:>5.2}   |  {:.2}  {:.2}  |  {}",
        1000.0 / bare,
        1000.0 / collected,
        1000.0 / iterated,
        bare / collected,
        bare / iterated,
        String::from_utf8_lossy(&memory.stdout).trim(),
    );
    println!();
    Ok(())
}

/// Prints the peak memory of `recent`, as a ratio to the size of the messages.
fn recent_memory(address: &str) -> Result<()> {
    let consumer = consumer(address, false)?;
    let before = status("VmRSS:")?;
    let messages = consumer.recent(APP, "bearer token")?;
    let peak = status("VmHWM:")? - before;
    let own = messages.iter().map(own_size).sum::<usize>() / 1024;
    println!("{:.2} of {own} KiB", peak as f64 / own as f64);
    Ok(())
}

/// Returns the size of a message in memory, with its texts.
fn own_size(message: &LogMessage) -> usize {
    let texts = [Some(&message.app_id), message.source_id.as_ref(), message.source_name.as_ref()];
    size_of::<LogMessage>() + message.message.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

/// Returns a value in `/proc/self/status`, in KiB.
fn status(name: &str) -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line in /proc/self/status")?;
    Ok(line.split_whitespace().next().ok_or("the line is empty")?.parse()?)
}

/// Measures 1000 tails of apps that log nothing after their first line.
fn idle() -> Result<()> {
    const COUNT: usize = 1000;
    println!("{COUNT} idle tails");
    let server = Server::start(Kind::Idle, false, 150, 1)?;
    let child = Command::new(env::current_exe()?).args(["idle-tails", &server.address, &COUNT.to_string()]).status()?;
    if child.success() { Ok(()) } else { Err("the process with the tails failed".into()) }
}

fn idle_tails(address: &str, count: usize) -> Result<()> {
    const WATCHED: Duration = Duration::from_secs(10);
    // A second after its last message, a tail frees its buffers.
    const SETTLED: Duration = Duration::from_secs(2);
    let consumer = consumer(address, false)?;
    let open = || -> Result<Tail> {
        let mut tail = consumer.tail(APP, "bearer token")?;
        tail.next().ok_or("no message")??;
        Ok(tail)
    };
    drop(open()?);
    let before = status("VmRSS:")?;
    let tails = (0..count).map(|_| open()).collect::<Result<Vec<_>>>()?;
    println!("  memory per tail      {:.1} KiB", (status("VmRSS:")? - before) as f64 / count as f64);

    std::thread::sleep(SETTLED);
    let cpu = cpu_time();
    std::thread::sleep(WATCHED);
    let used = (cpu_time() - cpu).as_secs_f64() / WATCHED.as_secs_f64();
    println!("  CPU of all tails     {:.2} % of a core", 100.0 * used);

    let threads = || Ok::<_, std::io::Error>(fs::read_dir("/proc/self/task")?.count());
    let running = threads()?;
    let start = Instant::now();
    consumer.close()?;
    for tail in tails {
        tail.close()?;
    }
    println!("  time to close all    {:.3} s", start.elapsed().as_secs_f64());
    println!("  threads              {running}, after closing {}", threads()?);
    Ok(())
}
