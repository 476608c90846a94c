//! What the fuzz targets run: each takes any bytes, and panics if something does not hold. See `fuzz/`.
//!
//! They are here for what they look at is private, and are compiled for cargo-fuzz, and for our own tests, which give
//! them the inputs in `fuzz/seeds`.

mod client;
mod content_type;
mod decoder;
mod events;
mod frames;
mod handshake;
mod proxy_variables;
#[cfg(test)]
mod seeds;
mod splitter;

use std::io::{self, Read};

pub use client::client;
pub use content_type::content_type;
pub use decoder::decoder;
pub use events::events;
pub use frames::frames;
pub use handshake::handshake;
pub use proxy_variables::proxy_variables;
pub use splitter::splitter;

/// The beginning of an input, which chooses what is done with the rest of it.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        byte
    }

    /// In what pieces the rest comes: one byte says how many sizes there are, which are a byte each.
    fn sizes(&mut self) -> Vec<usize> {
        (0..self.byte() % 8).map(|_| self.byte().into()).collect()
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Gives its bytes in pieces of these sizes, over and over; without any, all at once. A size of 0 is a read that was
/// interrupted.
pub(crate) struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(bytes: &'a [u8], sizes: &'a [usize]) -> Self {
        let sizes = if sizes.iter().all(|&size| size == 0) { &[usize::MAX] } else { sizes };
        Pieces { bytes, sizes: sizes.iter().cycle() }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match *self.sizes.next().expect("there is a size") {
            0 => Err(io::ErrorKind::Interrupted.into()),
            size => {
                let size = size.min(buffer.len());
                self.bytes.read(&mut buffer[..size])
            }
        }
    }
}
