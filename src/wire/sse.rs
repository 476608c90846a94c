//! [`Parser`]: server-sent events out of a stream of bytes. Pure: it knows no sockets and no JSON.
//!
//! Source: the HTML standard, section 9.2 ("Server-sent events"). Of the fields, `event` and `data` are of use here.

use memchr::memchr;

/// One event.
pub(crate) struct Event<'a> {
    /// Empty if the event has none.
    pub(crate) name: &'a str,
    /// The `data` lines, with a line feed between them.
    pub(crate) data: &'a [u8],
}

/// An event, or a line of it, is larger than the limit.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// Takes the bytes as they come, and gives each event as soon as its blank line is there.
pub(crate) struct Parser {
    /// The beginning of a line whose end has not come.
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

    /// Gives `each` the events that these bytes complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Event<'_>)) -> Result<(), TooLarge> {
        while let Some(end) = memchr(b'\n', bytes) {
            let (rest, after) = (&bytes[..end], &bytes[end + 1..]);
            bytes = after;
            if self.line.is_empty() {
                self.take_line(rest, &mut each)?;
            } else {
                self.line.extend_from_slice(rest);
                let line = std::mem::take(&mut self.line);
                self.take_line(&line, &mut each)?;
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

    fn take_line(&mut self, line: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<(), TooLarge> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            if self.has_data {
                each(Event { name: &self.name, data: &self.data });
            }
            self.name.clear();
            self.data.clear();
            // A large event's memory is not kept for the small ones behind it.
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
            // A comment (no name before the colon), or a field of no use here.
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
    fn events_come_with_their_names_and_lines() {
        let expected =
            [("heartbeat", "1795343667"), ("", "{\"batch\":[]}"), ("", "one\n two"), ("", ""), ("closing", "bye")];
        let expected = expected.map(|(name, data)| (name.to_owned(), data.to_owned()));
        assert_eq!(events(&[STREAM]), expected);
        for at in 0..STREAM.len() {
            assert_eq!(events(&[&STREAM[..at], &STREAM[at..]]), expected, "cut at {at}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_as_soon_as_it_is() {
        assert!(Parser::new(9).push(b"data: 1234", |_| ()).is_err());
        assert!(Parser::new(10).push(b"data: 1234", |_| ()).is_ok());
        let mut parser = Parser::new(10);
        assert!(parser.push(b"data: 1234\ndata: 1234\n", |_| ()).is_ok());
        assert!(parser.push(b"data: 1234\n", |_| ()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_give_the_same_events_in_any_pieces(bytes: Vec<u8>, cuts: Vec<prop::sample::Index>) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(events(&pieces), events(&[&bytes]));
        }
    }
}
