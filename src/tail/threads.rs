//! What a tail, its closers and its threads share, and how the threads are started.

use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::ending::Ending;
use crate::error::{Error, ErrorKind, Result};
use crate::net::CALLER_STACK_SIZE;
use crate::net::cancel::Cancel;

/// The stack of a thread that reads a stream. Of the caller's functions only the logger runs on it. There can be a thousand of
/// these threads, and a stack of 2 MiB could take a huge page each.
const READER_STACK_SIZE: usize = 1 << 20;

/// The stack of a keep-alive thread, which runs none of the caller's functions.
const KEEP_ALIVE_STACK_SIZE: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cancel: Arc<Cancel>,
    pub(super) ending: OnceLock<Ending>,
    /// Set if the tail ended with an error.
    pub(super) error: OnceLock<Error>,
    /// The keep-alive thread of the last connection. The reader does not join it, so that many tails close at once.
    pub(super) keep_alive: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    pub(super) fn new(cancel: Arc<Cancel>) -> Self {
        Shared { cancel, ending: OnceLock::new(), error: OnceLock::new(), keep_alive: Mutex::new(None) }
    }
}

/// The threads of a tail, by what runs on their stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThreadKind {
    /// Reads a stream.
    Reader,
    /// Reads a source that runs the caller's functions, such as a proxy function.
    Poller,
    KeepAlive,
    /// Watches a stream. Runs the caller's functions.
    Background,
    /// Runs the caller's functions.
    Reconnect,
}

impl ThreadKind {
    fn name(self) -> &'static str {
        match self {
            ThreadKind::Reader | ThreadKind::Poller => "loggregator-read",
            ThreadKind::KeepAlive => "loggregator-keep-alive",
            ThreadKind::Background => "loggregator-watch",
            ThreadKind::Reconnect => "loggregator-reconnect",
        }
    }

    fn stack_size(self) -> usize {
        match self {
            ThreadKind::Reader => READER_STACK_SIZE,
            ThreadKind::KeepAlive => KEEP_ALIVE_STACK_SIZE,
            ThreadKind::Poller | ThreadKind::Background | ThreadKind::Reconnect => CALLER_STACK_SIZE,
        }
    }
}

pub(super) fn start_thread(kind: ThreadKind, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    builder(kind).spawn(run).map_err(no_thread)
}

/// Runs a function in a thread of this kind, and waits for it.
pub(super) fn run_in_thread<T: Send>(kind: ThreadKind, run: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = builder(kind).spawn_scoped(scope, run).map_err(no_thread)?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn builder(kind: ThreadKind) -> thread::Builder {
    thread::Builder::new().name(kind.name().into()).stack_size(kind.stack_size())
}

fn no_thread(cause: io::Error) -> Error {
    Error::caused(ErrorKind::Dial, "starting a thread of the tail", cause)
}
