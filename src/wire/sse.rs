//! [`Parser`]: parses a stream of server-sent events. Pure: it knows no sockets and no JSON.
//!
//! Source: the HTML standard, section 9.2 ("Server-sent events"). Only the fields `event` and `data` are used.

use memchr::{memchr, memchr2};

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event.
pub(crate) struct Event<'a> {
    /// The value of the `event` field. Empty if there is none.
    pub(crate) name: &'a str,
    /// The values of the `data` fields, joined with line feeds.
    pub(crate) data: &'a [u8],
}

/// An event or one of its lines is larger than the limit.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// Parses bytes as they arrive, and passes on each event as soon as its blank line has arrived.
pub(crate) struct Parser {
    /// The start of an incomplete line.
    line: Vec<u8>,
    /// No line has been parsed yet. A byte order mark may be at its start.
    at_start: bool,
    /// The last byte was a CR, which ended a line. If an LF follows, it belongs to the same line end.
    after_cr: bool,
    name: String,
    data: Vec<u8>,
    has_data: bool,
    max_size: usize,
}

impl Parser {
    pub(crate) fn new(max_size: usize) -> Self {
        Parser {
            line: Vec::new(),
            at_start: true,
            after_cr: false,
            name: String::new(),
            data: Vec::new(),
            has_data: false,
            max_size,
        }
    }

    /// Parses more bytes, and calls `on_event` with each event that they complete. A line ends with LF, CR or CRLF.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut on_event: impl FnMut(Event<'_>)) -> Result<(), TooLarge> {
        while let Some(end) = self.line_end(&mut bytes) {
            let (rest, after) = (&bytes[..end], &bytes[end + 1..]);
            self.after_cr = bytes[end] == b'\r';
            bytes = after;
            if self.line.is_empty() {
                self.parse_line(rest, &mut on_event)?;
            } else {
                self.line.extend_from_slice(rest);
                let line = std::mem::take(&mut self.line);
                self.parse_line(&line, &mut on_event)?;
                self.line = line;
                self.line.clear();
                self.line.shrink_to(64 * 1024);
            }
        }
        if self.line.len() + bytes.len() > self.max_size {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the position of the next CR or LF. Skips an LF that completes the CRLF of the last line.
    fn line_end(&mut self, bytes: &mut &[u8]) -> Option<usize> {
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            *bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        memchr2(b'\n', b'\r', bytes)
    }

    fn parse_line(&mut self, mut line: &[u8], on_event: &mut impl FnMut(Event<'_>)) -> Result<(), TooLarge> {
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            if self.has_data {
                on_event(Event { name: &self.name, data: &self.data });
            }
            self.name.clear();
            self.data.clear();
            // Do not keep the memory of a large event.
            self.data.shrink_to(64 * 1024);
            self.has_data = false;
            return Ok(());
        }
        let (field, value) = match memchr(b':', line) {
            Some(colon) => (&line[..colon], line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..])),
            None => (line, &[][..]),
        };
        match field {
            b"data" => {
                if self.data.len() + value.len() > self.max_size {
                    return Err(TooLarge);
                }
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            // A comment (nothing before the colon), or an unused field.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::new(1000);
        let mut events = Vec::new();
        for piece in pieces {
            let collect = |event: Event<'_>| {
                events.push((event.name.to_owned(), String::from_utf8_lossy(event.data).into_owned()));
            };
            parser.push(piece, collect).unwrap();
        }
        events
    }

    const STREAM: &[u8] = b"event: heartbeat\ndata: 1795343667\n\ndata: {\"batch\":[]}\r\n\r\n: a comment\n\n\
        data:one\ndata:  two\nid: 7\nretry\n\ndata\n\nevent: closing\n\nevent: closing\ndata: bye\n\ndata: cut";

    #[test]
    fn events_have_names_and_data() {
        let expected =
            [("heartbeat", "1795343667"), ("", "{\"batch\":[]}"), ("", "one\n two"), ("", ""), ("closing", "bye")];
        let expected = expected.map(|(name, data)| (name.to_owned(), data.to_owned()));
        assert_eq!(events(&[STREAM]), expected);
        for at in 0..STREAM.len() {
            assert_eq!(events(&[&STREAM[..at], &STREAM[at..]]), expected, "cut at {at}");
        }
    }

    #[test]
    fn a_line_may_end_with_lf_cr_or_crlf() {
        let expected = [("a", "one\ntwo"), ("", "three"), ("", "four")];
        let expected = expected.map(|(name, data)| (name.to_owned(), data.to_owned()));
        let stream = "event: a|data: one|data: two||data: three||||data: four||";
        for line_end in ["\n", "\r", "\r\n"] {
            let stream = stream.replace('|', line_end).into_bytes();
            for at in 0..stream.len() {
                assert_eq!(events(&[&stream[..at], &stream[at..]]), expected, "{line_end:?}, cut at {at}");
            }
            let bytes: Vec<_> = stream.chunks(1).collect();
            assert_eq!(events(&bytes), expected, "{line_end:?}");
        }
        // CR and LF are two line ends only in the other order.
        assert_eq!(events(&[b"data: 1\n\rdata: 2\r", b"\n\rdata: 3\r", b"\r"]), ["1", "2", "3"].map(unnamed));
        // An event is complete with the CR of its blank line.
        assert_eq!(events(&[b"data: 1\r\n\r"]), [unnamed("1")]);
    }

    fn unnamed(data: &str) -> (String, String) {
        (String::new(), data.to_owned())
    }

    #[test]
    fn a_byte_order_mark_at_the_start_is_skipped() {
        let stream = b"\xef\xbb\xbfdata: 1\n\ndata: 2\n\n\xef\xbb\xbfdata: 3\n\n";
        for at in 0..stream.len() {
            assert_eq!(events(&[&stream[..at], &stream[at..]]), ["1", "2"].map(unnamed), "cut at {at}");
        }
        assert_eq!(events(&[b"\xef\xbb\xbf\n\xef\xbb\xbfdata: 1\n\n"]), []);
        assert_eq!(events(&[b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\n"]), []);
    }

    #[test]
    fn an_event_that_is_too_large_is_an_error_at_once() {
        assert!(Parser::new(9).push(b"data: 1234", |_| ()).is_err());
        assert!(Parser::new(10).push(b"data: 1234", |_| ()).is_ok());
        let mut parser = Parser::new(10);
        assert!(parser.push(b"data: 1234\ndata: 1234\n", |_| ()).is_ok());
        assert!(parser.push(b"data: 1234\n", |_| ()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pieces_of_any_size_give_the_same_events(bytes: Vec<u8>, cuts: Vec<prop::sample::Index>) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(events(&pieces), events(&[&bytes]));
        }
    }
}
