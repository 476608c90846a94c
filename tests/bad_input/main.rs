//! What comes from outside and is wrong: arguments, networks, proxies, servers. Each gives an error that says what was
//! wrong, in bounded time and memory.

#[path = "../common/mod.rs"]
mod common;

mod arguments;
mod dialing;
mod proxies;
mod handshake;
mod refusals;
mod frames;
mod recent;

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
