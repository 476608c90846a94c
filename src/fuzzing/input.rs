//! The parts of an input: the choices at its beginning, and the bytes after them, read in pieces.

use std::io::{self, Read};

/// Reads the choices at the start of an input. They select how the rest of it is used.
pub(super) struct Choices<'a>(pub(super) &'a [u8]);

impl<'a> Choices<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        byte
    }

    /// Reads the sizes of the pieces in which the rest arrives: one byte with their number (modulo 8), then one byte
    /// for each.
    pub(super) fn sizes(&mut self) -> Vec<usize> {
        (0..self.byte() % 8).map(|_| self.byte().into()).collect()
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// A reader that returns its bytes in pieces of these sizes, which repeat. Without sizes, it returns them all at once.
/// A size of 0 is an interrupted read.
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
        match *self.sizes.next().expect("the sizes are never empty") {
            0 => Err(io::ErrorKind::Interrupted.into()),
            size => {
                let size = size.min(buffer.len());
                self.bytes.read(&mut buffer[..size])
            }
        }
    }
}
