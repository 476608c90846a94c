//! The servers of a foundation: each decides how to answer a request. They know the shared state, but no connections.

pub(crate) mod legacy;
pub(crate) mod doppler;
pub(crate) mod log_cache;
pub(crate) mod promql;
pub(crate) mod rlp_gateway;
pub(crate) mod api;
pub(crate) mod cloud_controller;
pub(crate) mod uaa;
pub(crate) mod korifi;
pub(crate) mod router;
mod multipart;
mod authorization;
