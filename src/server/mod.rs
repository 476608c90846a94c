//! The servers of a foundation: where they are, which one to ask, their paths, and what their refusals mean.
//!
//! Each server is one file. It makes a [`Call`](call::Call) and returns a [`LiveSource`](source::LiveSource) for a tail
//! or a [`RecentSource`](source::RecentSource) for recent messages.

pub(crate) mod foundation;
pub(crate) mod call;
pub(crate) mod source;
pub(crate) mod legacy;
pub(crate) mod doppler;
pub(crate) mod log_cache;
pub(crate) mod rlp_gateway;
pub(crate) mod app_guid;
mod dump;
mod multipart;
mod websocket;
