//! The messages: each has a number, and all else of it follows from that, so that none can be damaged unseen.

use loggregator_consumer::{LogMessage, MessageType};
use memchr::memmem;

/// As the real servers get them now and then. It has no number that could be read.
const UNDECODABLE_EVERY: u64 = 97;

/// What a server is given under this number: a message, or what is none.
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

/// The number of a message, if it is one of ours, whole, and of this app.
pub fn number(app: &str, got: &LogMessage) -> Option<u64> {
    let number = got.text().split(' ').next()?.parse().ok()?;
    (is_message(number) && *got == message(app, number)).then_some(number)
}

const END: &str = " end ";

/// Which messages a stream of bytes has, seen by their ends, which no protobuf changes.
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
        // An end may be cut anywhere. Numbers are short.
        let keep = self.unread.len().saturating_sub(64).max(done);
        self.unread.drain(..keep);
    }
}
