//! [`ChunkFilter`]: removes what ureq refuses or does not limit from a response as it arrives: interim responses, long
//! chunk extensions, and trailers. Pure: it knows no sockets.

use std::io;

use crate::net::head::Head;

/// The longest extensions of one chunk (RFC 9112, section 7.1.1), in bytes.
pub(crate) const MAX_EXTENSION: usize = 16 * 1024;

/// The longest trailers of a body (RFC 9112, section 7.1.2), in bytes.
pub(crate) const MAX_TRAILERS: usize = 32 * 1024;

/// The longest chunk size with the whitespace around it, in bytes. ureq has the same limit.
const MAX_SIZE: usize = 20;

/// Filters the body of a response with `Transfer-Encoding: chunked`: passes on the chunks, each with the plain line of
/// its size, and the end.
#[derive(Debug)]
pub(crate) struct ChunkFilter {
    state: State,
    /// The size at the start of a chunk's line.
    size: Vec<u8>,
    /// The bytes of the current extension, or of the trailers.
    skipped: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// In the size of a chunk. `true` after a CR.
    Size(bool),
    /// In an extension, whose first byte became a CR. `true` after a CR.
    Extension(bool),
    /// In the content of a chunk and the CRLF after it: the number of bytes that are left.
    Content(usize),
    /// At the start of a line after the last chunk. `true` after a CR.
    LineStart(bool),
    /// In a line of the trailers. `true` after a CR.
    Trailer(bool),
    /// Everything is passed on: the body has ended, or is malformed, which ureq reports.
    PassOn,
}

impl ChunkFilter {
    pub(crate) fn new() -> Self {
        ChunkFilter { state: State::Size(false), size: Vec::new(), skipped: 0 }
    }

    /// Filters the next bytes in place. Returns how many are left, and an error if a limit is exceeded after these.
    pub(crate) fn filter(&mut self, bytes: &mut [u8]) -> (usize, io::Result<()>) {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() {
            if let Some(length) = self.content_len(bytes.len() - from) {
                if from != to {
                    bytes.copy_within(from..from + length, to);
                }
                from += length;
                to += length;
                continue;
            }
            match self.step(bytes[from]) {
                Ok(Some(byte)) => {
                    bytes[to] = byte;
                    to += 1;
                }
                Ok(None) => {}
                Err(error) => return (to, Err(error)),
            }
            from += 1;
        }
        (to, Ok(()))
    }

    /// Returns how many of the next bytes are passed on as they are, or `None` if each must be looked at.
    fn content_len(&mut self, available: usize) -> Option<usize> {
        match &mut self.state {
            State::PassOn => Some(available),
            State::Content(left) => {
                let length = available.min(*left);
                *left -= length;
                if *left == 0 {
                    self.state = State::Size(false);
                }
                Some(length)
            }
            _ => None,
        }
    }

    /// Processes one byte of the framing. Returns the byte to pass on, if there is one.
    fn step(&mut self, byte: u8) -> io::Result<Option<u8>> {
        let is_cr = byte == b'\r';
        let (state, passed_on) = match (self.state, byte) {
            (State::Size(true) | State::Extension(true), b'\n') => (self.chunk(), Some(byte)),
            (State::Size(false), b';') => {
                self.skipped = 0;
                (State::Extension(false), Some(b'\r'))
            }
            (State::Size(false), b'\r') => (State::Size(true), Some(byte)),
            (State::Size(false), _) if self.size.len() < MAX_SIZE => {
                self.size.push(byte);
                (State::Size(false), Some(byte))
            }
            (State::Size(_), _) => (State::PassOn, Some(byte)),
            (State::Extension(_), _) => {
                self.skip(MAX_EXTENSION, "the extensions of a chunk")?;
                (State::Extension(is_cr), None)
            }
            (State::LineStart(true), _) => (State::PassOn, Some(byte)),
            (State::LineStart(false), b'\r') => (State::LineStart(true), Some(byte)),
            (State::Trailer(true), b'\n') => (State::LineStart(false), None),
            (State::LineStart(false) | State::Trailer(_), _) => {
                self.skip(MAX_TRAILERS, "the trailers")?;
                (State::Trailer(is_cr), None)
            }
            (State::Content(_) | State::PassOn, _) => (self.state, Some(byte)),
        };
        self.state = state;
        Ok(passed_on)
    }

    /// Returns the state after the line of a chunk's size.
    fn chunk(&mut self) -> State {
        let size = std::str::from_utf8(&self.size).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        self.size.clear();
        self.skipped = 0;
        match size {
            Some(0) => State::LineStart(false),
            Some(size) => State::Content(size.saturating_add(2)),
            None => State::PassOn,
        }
    }

    fn skip(&mut self, limit: usize, what: &str) -> io::Result<()> {
        self.skipped += 1;
        if self.skipped > limit {
            let text = format!("{what} are longer than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(())
    }
}

/// What the bytes that have arrived of a response begin with.
#[derive(Debug, PartialEq)]
pub(crate) enum Start {
    /// An incomplete head, or a malformed one.
    Incomplete,
    /// An interim response of this length.
    Interim(usize),
    /// The head of the final response, of this length.
    Final { length: usize, is_chunked: bool },
}

impl Start {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let Ok(Some((head, length))) = Head::parse(bytes) else { return Start::Incomplete };
        if head.is_interim() { Start::Interim(length) } else { Start::Final { length, is_chunked: head.is_chunked() } }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Filters bytes that arrive in pieces, and decodes the result.
    fn filter(pieces: &[&[u8]]) -> Result<Vec<u8>, io::ErrorKind> {
        let mut filter = ChunkFilter::new();
        let mut filtered = Vec::new();
        for piece in pieces {
            let mut piece = piece.to_vec();
            let (length, result) = filter.filter(&mut piece);
            filtered.extend_from_slice(&piece[..length]);
            result.map_err(|error| error.kind())?;
        }
        Ok(filtered)
    }

    #[test]
    fn extensions_and_trailers_are_removed_however_the_body_is_cut() {
        let (long, trailer) = ("x".repeat(4000), "A: b\r\nC:\r\n");
        let body = format!("5;{long}\r\nhello\r\n006 ; a=\"b;c\"\r\n;\r\n\r\n!\r\n1\r\n.\r\n0;x\r\n{trailer}\r\nrest");
        let expected = "5\r\nhello\r\n006 \r\n;\r\n\r\n!\r\n1\r\n.\r\n0\r\n\r\nrest".as_bytes();
        for cut in 0..=body.len() {
            let (a, b) = body.as_bytes().split_at(cut);
            assert_eq!(filter(&[a, b]).unwrap(), expected, "cut at {cut}");
        }
        let bytes: Vec<_> = body.as_bytes().chunks(1).collect();
        assert_eq!(filter(&bytes).unwrap(), expected);
    }

    #[test]
    fn the_limits_are_exact() {
        let extension = |length| filter(&[format!("1;{}\r\n", "x".repeat(length)).as_bytes()]);
        // The CR counts, too.
        assert_eq!(extension(MAX_EXTENSION - 1).unwrap(), b"1\r\n");
        assert_eq!(extension(MAX_EXTENSION).unwrap_err(), io::ErrorKind::InvalidData);
        let many = format!("1;{}\r\nx\r\n", "x".repeat(MAX_EXTENSION - 1)).repeat(3);
        assert_eq!(filter(&[many.as_bytes()]).unwrap(), b"1\r\nx\r\n".repeat(3));
        let trailers = |count| filter(&[b"0\r\n", "Ab: cdef\r\n".repeat(count).as_bytes(), b"\r\n"]);
        assert_eq!(trailers(MAX_TRAILERS / 9).unwrap(), b"0\r\n\r\n");
        assert_eq!(trailers(MAX_TRAILERS / 9 + 1).unwrap_err(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_malformed_body_is_passed_on_as_it_is() {
        for body in
            ["no size\r\n", "-1\r\n;;", "\r\n;x", "5\rx;y\r\n", "fffffffffffffffff\r\n;", "000000000000000000000000;"]
        {
            assert_eq!(filter(&[body.as_bytes()]).unwrap(), body.as_bytes());
        }
    }

    #[test]
    fn the_start_of_a_response_is_recognized() {
        let interim = b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(Start::of(interim), Start::Interim(interim.len()));
        assert_eq!(Start::of(&interim[..interim.len() - 1]), Start::Incomplete);
        for (head, is_chunked) in [
            ("HTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.1 101 X\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, CHUNKED\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ] {
            let expected = Start::Final { length: head.len(), is_chunked };
            assert_eq!(Start::of(format!("{head}body").as_bytes()), expected, "{head}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pieces_of_any_size_are_filtered_alike(
            parts in prop::collection::vec(prop_oneof!["[0-9a-f]{1,2}", ";[a-z\r]{0,4}", "\r\n", "[ -~]{0,9}"], 0..20),
            cuts: Vec<prop::sample::Index>,
        ) {
            let bytes = parts.concat().into_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(filter(&pieces), filter(&[&bytes]));
        }
    }
}
