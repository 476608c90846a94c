//! The network: how a server is dialled, HTTP and websockets over that connection, and what cancels a wait.
//!
//! Bytes only. What they mean is the business of `wire` below and of `server` above.

pub(crate) mod endpoint;
pub(crate) mod dial;
pub(crate) mod http;
pub(crate) mod websocket;
pub(crate) mod head;
pub(crate) mod cancel;
pub(crate) mod registry;
pub(crate) mod deadline;
pub(crate) mod debug;
pub(crate) mod failure;
pub(crate) mod on_behalf;
