//! [`LogMessage`]: one log message of an app. The type is the same for every generation of Loggregator.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};
use std::{env, fmt, fs};

use jiff::{Timestamp, tz::TimeZone};

/// One log message of an app.
///
/// [`Display`](fmt::Display) prints it like `cf logs`, with the time in the local time zone, as it is when the process
/// prints its first message. A message of several lines
/// is printed as several lines, each with the header:
///
/// ```
/// use loggregator_consumer::{LogMessage, MessageType};
///
/// let message = LogMessage::new("my-app-guid", "GET /\nGET /favicon.ico\n")
///     .message_type(MessageType::Out)
///     .timestamp(1_468_500_000_120_000_000)
///     .source("APP/PROC/WEB", "0");
/// let lines: Vec<String> = message.to_string().lines().map(str::to_owned).collect();
/// assert_eq!(lines.len(), 2);
/// assert!(lines[0].starts_with("   2016-07-14T") || lines[0].starts_with("   2016-07-15T"));
/// assert!(lines[1].ends_with(" [APP/PROC/WEB/0] OUT GET /favicon.ico"));
/// ```
///
/// With the feature `serde`, a message is serialized to the JSON that Log Cache has for its envelope, and deserialized
/// from the JSON of any server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LogMessage {
    /// The bytes that the app wrote, usually one line of text. They need not be UTF-8: see
    /// [`text`](LogMessage::text).
    pub message: Vec<u8>,
    /// The stream that the app wrote to.
    pub message_type: MessageType,
    /// The time of writing, in nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// The GUID of the app.
    pub app_id: String,
    /// The instance of the source, such as `0`.
    pub source_id: Option<String>,
    /// The source: `App` or `APP/PROC/WEB` for the app itself, `RTR` for the router, `STG` for staging, `API` for the
    /// Cloud Controller, `LGR` for Loggregator, which reports its own problems in the stream.
    pub source_name: Option<String>,
    /// The syslog drains that the message was sent to. Only servers of 2013 to 2016 set this.
    pub drain_urls: Vec<String>,
}

impl LogMessage {
    /// Creates a message to standard output, with timestamp 0 and no source, for tests and the
    /// [testing server](crate::testing).
    pub fn new(app_id: impl Into<String>, message: impl Into<Vec<u8>>) -> Self {
        LogMessage {
            message: message.into(),
            message_type: MessageType::Out,
            timestamp: 0,
            app_id: app_id.into(),
            source_id: None,
            source_name: None,
            drain_urls: Vec::new(),
        }
    }

    /// Sets the type.
    #[must_use]
    pub fn message_type(mut self, message_type: MessageType) -> Self {
        self.message_type = message_type;
        self
    }

    /// Sets the timestamp, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp(mut self, nanoseconds: i64) -> Self {
        self.timestamp = nanoseconds;
        self
    }

    /// Sets the source: its name, such as `App`, and the id of its instance, such as `0`.
    #[must_use]
    pub fn source(mut self, name: impl Into<String>, id: impl Into<String>) -> Self {
        self.source_name = Some(name.into());
        self.source_id = Some(id.into());
        self
    }

    /// Returns the message as text. Invalid UTF-8 is replaced by U+FFFD.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.message)
    }

    /// Returns the [`timestamp`](LogMessage::timestamp) as a time.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// # use loggregator_consumer::LogMessage;
    ///
    /// let message = LogMessage::new("my-app-guid", "hello").timestamp(1_500_000_000);
    /// assert_eq!(message.time(), SystemTime::UNIX_EPOCH + Duration::from_millis(1500));
    /// ```
    pub fn time(&self) -> SystemTime {
        system_time(self.timestamp)
    }

    /// Returns its size in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let drains = self.drain_urls.iter().map(|url| size_of::<String>() + url.len()).sum::<usize>();
        let texts = self.app_id.len() + optional(&self.source_id) + optional(&self.source_name);
        size_of::<Self>() + self.message.len() + texts + drains
    }

    /// Writes what [`Display`](fmt::Display) writes, with the time in `zone`.
    fn write_lines(&self, f: &mut fmt::Formatter<'_>, zone: TimeZone) -> fmt::Result {
        // Never fails, because every i64 of nanoseconds is in the range of a `Timestamp`.
        let time = Timestamp::from_nanosecond(self.timestamp.into()).map_err(|_| fmt::Error)?.to_zoned(zone);
        // Two digits, truncated instead of rounded, as Go formats them.
        let centiseconds = time.subsec_nanosecond() / 10_000_000;
        let source = [self.source_name.as_deref(), self.source_id.as_deref()]
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        let header = format!(
            "   {}.{centiseconds:02}{} [{source}] {} ",
            time.strftime("%Y-%m-%dT%H:%M:%S"),
            time.strftime("%z"),
            self.message_type,
        );
        let text = self.text();
        for (n, line) in text.trim_end_matches(['\r', '\n']).split('\n').enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{header}{}", line.trim_end_matches('\r'))?;
        }
        Ok(())
    }
}

/// Returns the time of a number of nanoseconds since the Unix epoch. Every `i64` is one: they are from 1677 to 2262.
pub(crate) fn system_time(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

impl fmt::Display for LogMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_lines(f, local_zone())
    }
}

/// Returns the system's time zone.
///
/// jiff also finds its name, for which it reads the folders of the time zone database: half a millisecond before the
/// first line. Printing needs only the rules, which are all in one file.
fn local_zone() -> TimeZone {
    static RULES: OnceLock<Option<TimeZone>> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let is_in_file = cfg!(unix) && env::var_os("TZ").is_none();
        let file = is_in_file.then(|| fs::read("/etc/localtime").ok())??;
        TimeZone::tzif("Local", &file).ok()
    });
    rules.clone().unwrap_or_else(TimeZone::system)
}

/// The stream that an app wrote a message to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageType {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// A type number that the protocol does not define.
    Unknown(i32),
}

impl MessageType {
    pub(crate) fn from_number(number: i32) -> Self {
        match number {
            1 => MessageType::Out,
            2 => MessageType::Err,
            other => MessageType::Unknown(other),
        }
    }

    /// Returns its number in protobuf messages.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn number(self) -> i32 {
        match self {
            MessageType::Out => 1,
            MessageType::Err => 2,
            MessageType::Unknown(number) => number,
        }
    }
}

/// Prints `OUT`, `ERR` or the number.
impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageType::Out => f.write_str("OUT"),
            MessageType::Err => f.write_str("ERR"),
            MessageType::Unknown(number) => write!(f, "{number}"),
        }
    }
}

/// Sorts messages by timestamp, oldest first. Messages with equal timestamps keep their order.
///
/// [`recent`](crate::Consumer::recent) returns the server's order, in which the messages of several instances and of
/// the router may be out of order.
///
/// ```
/// use loggregator_consumer::{LogMessage, sort_recent};
///
/// let mut messages = [2, 1].map(|time| LogMessage::new("app", format!("{time}")).timestamp(time));
/// sort_recent(&mut messages);
/// assert_eq!(messages[0].message, b"1");
/// ```
pub fn sort_recent(messages: &mut [LogMessage]) {
    messages.sort_by_key(|message| message.timestamp);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At<'a>(&'a LogMessage, TimeZone);

    impl fmt::Display for At<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.write_lines(f, self.1.clone())
        }
    }

    fn line(message: &LogMessage) -> String {
        At(message, TimeZone::fixed(jiff::tz::offset(-7))).to_string()
    }

    #[test]
    fn prints_the_line_of_cf_logs() {
        let message = LogMessage::new("a", "message").timestamp(1_468_522_800_009_999_999).source("APP/PROC/WEB", "0");
        assert_eq!(line(&message), "   2016-07-14T12:00:00.00-0700 [APP/PROC/WEB/0] OUT message");
        let message = LogMessage::new("a", b"no \xff".to_vec()).timestamp(990_000_000).message_type(MessageType::Err);
        assert_eq!(line(&message), "   1969-12-31T17:00:00.99-0700 [] ERR no \u{fffd}");
        let message = LogMessage::new("a", "x").source("LGR", "").message_type(MessageType::Unknown(9));
        assert_eq!(line(&message), "   1969-12-31T17:00:00.00-0700 [LGR] 9 x");
    }

    #[test]
    fn repeats_the_header_on_every_line() {
        let message = LogMessage::new("a", "one\r\n\ntwo\r\n\r\n").source("App", "0");
        let header = "   1969-12-31T17:00:00.00-0700 [App/0] OUT ";
        assert_eq!(line(&message), format!("{header}one\n{header}\n{header}two"));
        assert_eq!(line(&LogMessage::new("a", "").source("App", "0")), header);
    }

    #[test]
    fn prints_the_time_in_the_systems_time_zone() {
        for time in [1_468_522_800_009_999_999, 1_483_272_000_000_000_000] {
            let message = LogMessage::new("a", "x").timestamp(time);
            assert_eq!(message.to_string(), At(&message, TimeZone::system()).to_string());
        }
    }

    #[test]
    fn every_timestamp_is_a_time() {
        for nanoseconds in [i64::MIN, i64::MIN + 1, -1_500_000_001, -1, 0, 1, 1_700_000_000_123_456_789, i64::MAX] {
            let since_the_epoch =
                match LogMessage::new("a", "x").timestamp(nanoseconds).time().duration_since(SystemTime::UNIX_EPOCH) {
                    Ok(after) => after.as_nanos() as i128,
                    Err(before) => -(before.duration().as_nanos() as i128),
                };
            // The clock of Windows counts in steps of 100 ns.
            assert!((since_the_epoch - i128::from(nanoseconds)).abs() < if cfg!(windows) { 100 } else { 1 });
        }
    }

    #[test]
    fn prints_every_time_there_is() {
        for time in [i64::MIN, -1, 0, i64::MAX] {
            assert!(line(&LogMessage::new("a", "x").timestamp(time)).ends_with("[] OUT x"));
        }
        assert!(line(&LogMessage::new("a", "x").timestamp(-1)).starts_with("   1969-12-31T16:59:59.99-0700"));
    }
}
