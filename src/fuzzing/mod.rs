//! The fuzz targets in `fuzz/` call these functions. Each takes any bytes, and panics if a check fails.
//!
//! They are in this crate because they check private code. They are compiled only for cargo-fuzz and for our own tests,
//! which run them with the inputs in `fuzz/seeds`.

mod client;
mod content_type;
mod decoder;
mod envelopes;
mod events;
mod frames;
mod handshake;
pub(crate) mod input;
mod lists;
mod promql;
mod proxy_variables;
mod responses;
#[cfg(test)]
mod seeds;
mod socks5;
mod splitter;

pub use client::client;
pub use content_type::content_type;
pub use decoder::decoder;
pub use envelopes::envelopes;
pub use events::events;
pub use frames::frames;
pub use handshake::handshake;
pub use lists::lists;
pub use promql::promql;
pub use proxy_variables::proxy_variables;
pub use responses::responses;
pub use socks5::socks5;
pub use splitter::splitter;
