//! [`Parser`]: parses a stream of server-sent events. Pure: it knows no sockets and no JSON.
//!
//! Source: the HTML standard, section 9.2 ("Server-sent events"). Only the fields `event` and `data` are used.

use memchr::memchr;

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
    name: String,
    data: Vec<u8>,
    has_data: bool,
    max_size: usize,
}

impl Parser {
    pub(crate) fn new(max_size: usize) -> Self {
        Parser { line: Vec::new(), name: String::new(), data: Vec::new(), has_data: false, max_size }
    }

    /// Parses more bytes, and calls `on_event` with each event that they complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut on_event: impl FnMut(Event<'_>)) -> Result<(), TooLarge> {
        while let Some(end) = memchr(b'\n', bytes) {
            let (rest, after) = (&bytes[..end], &bytes[end + 1..]);
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

    fn parse_line(&mut self, line: &[u8], on_event: &mut impl FnMut(Event<'_>)) -> Result<(), TooLarge> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
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
