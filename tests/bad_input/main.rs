//! Bad input from outside: arguments, networks, proxies and servers. Each gives an error that says what was wrong, in
//! bounded time and memory.

#[path = "../common/mod.rs"]
mod common;

mod arguments;
mod dialing;
mod proxies;
mod socks5;
mod handshake;
mod requests;
mod error_responses;
mod frames;
mod recent;
mod gateway;
mod log_cache;
mod api;
mod app_names;

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

/// A time limit that the tests let run out.
const SHORT: Duration = Duration::from_millis(200);

/// The longest that a prompt call may take. Generous, because the machine may be under load, but much shorter than the
/// limits that must not run out.
const PROMPT: Duration = Duration::from_secs(5);

#[track_caller]
fn promptly<T>(call: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = call();
    assert!(begin.elapsed() < PROMPT, "it took {:?}", begin.elapsed());
    result
}

/// Writes each byte in its own segment, slowly enough for the client to read most of them one by one, until the client
/// has hung up.
fn dribble(socket: &mut impl Write, bytes: &[u8]) {
    for byte in bytes {
        if socket.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}
