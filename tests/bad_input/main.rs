//! What comes from outside and is wrong: arguments, networks, proxies, servers. Each gives an error that says what was
//! wrong, in bounded time and memory.

#[path = "../common/mod.rs"]
mod common;

mod arguments;
mod dialing;
mod proxies;
mod handshake;
mod requests;
mod error_responses;
mod frames;
mod recent;
mod gateway;
mod log_cache;
mod api;

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

/// A time limit that is to run out.
const SHORT: Duration = Duration::from_millis(200);

/// What is called prompt here. It is long, for the machine may be under load, and much shorter than the limits that are
/// not to run out.
const PROMPT: Duration = Duration::from_secs(5);

#[track_caller]
fn promptly<T>(call: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = call();
    assert!(begin.elapsed() < PROMPT, "it took {:?}", begin.elapsed());
    result
}

/// Writes each byte in a segment of its own, slowly enough for most to be read alone, until the client has gone.
fn dribble(socket: &mut impl Write, bytes: &[u8]) {
    for byte in bytes {
        if socket.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}
