//! Parses the bytes of responses. Pure: nothing here knows sockets, threads or clocks.

pub(crate) mod dropsonde;
pub(crate) mod format;
pub(crate) mod frames;
pub(crate) mod multipart;
pub(crate) mod promql;
pub(crate) mod sse;
pub(crate) mod v2;

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
pub(crate) mod captures;
