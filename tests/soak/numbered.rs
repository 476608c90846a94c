//! The messages: each has a number, from which the rest of it follows, so that any damage is detected.

use loggregator_consumer::{LogMessage, MessageType};
use memchr::memmem;

/// Every so many messages one is undecodable, as real servers send them now and then. It has no readable number.
const UNDECODABLE_EVERY: u64 = 97;

/// Returns whether the server is given a message under this number, or something undecodable.
pub fn is_message(number: u64) -> bool {
    !number.is_multiple_of(UNDECODABLE_EVERY)
}

pub fn message(app: &str, number: u64) -> LogMessage {
    let length = match number {
        _ if number.is_multiple_of(5000) => 200_000,
        _ if number.is_multiple_of(500) => 20_000,
        _ => number * 7919 % 300,
    };
    let filler: String = (0..length).map(|n| char::from(b'a' + ((number + n) % 26) as u8)).collect();
    LogMessage::new(app, format!("{number} {filler}{END}{number};"))
        .message_type(if number.is_multiple_of(2) { MessageType::Out } else { MessageType::Err })
        .timestamp(1_700_000_000_000_000_000 + number as i64 * 1000)
        .source("APP/PROC/WEB", "0")
}

/// Returns the number of a message, if it is one of ours, undamaged, and of this app.
pub fn number(app: &str, got: &LogMessage) -> Option<u64> {
    let number = got.text().split(' ').next()?.parse().ok()?;
    (is_message(number) && *got == message(app, number)).then_some(number)
}

const END: &str = " end ";

/// Finds the messages in a stream of bytes by their ends, which protobuf leaves as they are.
#[derive(Default)]
pub struct Ends {
    unread: Vec<u8>,
    pub first: Option<u64>,
    pub last: Option<u64>,
}

impl Ends {
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let mut done = 0;
        while let Some(at) = memmem::find(&self.unread[done..], END.as_bytes()) {
            let digits = done + at + END.len();
            let Some(length) = memchr::memchr(b';', &self.unread[digits..]) else {
                done += at;
                break;
            };
            self.last = str::from_utf8(&self.unread[digits..digits + length]).ok().and_then(|text| text.parse().ok());
            self.first = self.first.or(self.last);
            done = digits + length;
        }
        // An end may be cut anywhere, so the last bytes are kept. Numbers are short.
        let keep = self.unread.len().saturating_sub(64).max(done);
        self.unread.drain(..keep);
    }
}
