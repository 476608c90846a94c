//! The network: dialing a server, HTTP and websockets over that connection, and cancelling what waits.
//!
//! Bytes only. `wire` below and `server` above know what they mean.

pub(crate) mod endpoint;
pub(crate) mod dial;
pub(crate) mod http;
pub(crate) mod websocket;
pub(crate) mod head;
pub(crate) mod chunks;
pub(crate) mod cancel;
pub(crate) mod registry;
pub(crate) mod deadline;
pub(crate) mod debug;
pub(crate) mod failure;
pub(crate) mod retry_after;
pub(crate) mod on_behalf;

/// The stack of a thread that runs the caller's functions: as large as a main thread's. Only what a function touches of
/// it takes memory.
pub(crate) const CALLER_STACK_SIZE: usize = 8 << 20;
