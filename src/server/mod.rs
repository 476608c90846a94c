//! The servers of a foundation: their addresses, the choice between them, their paths and their error responses.
//!
//! Each server has its own file. It makes a [`Call`](call::Call) and returns a [`LiveSource`](source::LiveSource) for a
//! tail or a [`RecentSource`](source::RecentSource) for recent messages.

pub(crate) mod foundation;
mod discovery;
mod choice;
pub(crate) mod call;
pub(crate) mod learned;
pub(crate) mod source;
pub(crate) mod joined;
pub(crate) mod legacy;
pub(crate) mod doppler;
pub(crate) mod log_cache;
pub(crate) mod rlp_gateway;
pub(crate) mod app_guid;
pub(crate) mod app_names;
mod dump;
mod multipart;
pub(crate) mod watched;
mod websocket;
