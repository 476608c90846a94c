//! What a tail, its closers and its threads share, and how the threads are started.

use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::ending::Ending;
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;

/// The threads need little stack, and there can be two thousand of them. None of the caller's functions runs on it but
/// the logger.
const STACK_SIZE: usize = 256 * 1024;

/// Only what a function touches of it takes memory.
const LARGE_STACK_SIZE: usize = 8 << 20;

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

/// Starts a thread of a tail that runs none of the caller's functions.
pub(super) fn start_thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    start(thread::Builder::new().stack_size(STACK_SIZE), name, run)
}

/// Starts a thread that runs the caller's functions, with a stack as large as a main thread's.
pub(super) fn start_large_thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    start(thread::Builder::new().stack_size(LARGE_STACK_SIZE), name, run)
}

fn start(builder: thread::Builder, name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    builder
        .name(name.into())
        .spawn(run)
        .map_err(|cause| Error::caused(ErrorKind::Dial, "starting a tail's thread", cause))
}
