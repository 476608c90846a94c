//! What the foundation and its clients send to each other, as bytes: nothing here knows sockets or state.
//!
//! A client's [`Request`](request::Request) is answered with a [`Reply`](reply::Reply): a
//! [`Response`](response::Response) over HTTP, a websocket of [`frames`], or a stream of [`events`].

pub(crate) mod reply;
pub(crate) mod response;
pub(crate) mod request;
pub(crate) mod target;
pub(crate) mod log_entry;
pub(crate) mod dropsonde;
pub(crate) mod envelope_filter;
pub(crate) mod events;
pub(crate) mod frames;
pub(crate) mod received;
