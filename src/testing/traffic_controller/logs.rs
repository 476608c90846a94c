//! The logs of a [`TrafficController`]: adding messages, sending them to tails, and ending tails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::TrafficController;
use crate::envelope::Envelope;
use crate::message::LogMessage;
use crate::testing::protocol::events::CLOSING;
use crate::testing::protocol::frames;
use crate::testing::protocol::log_entry::{LogEntry, WireFormat};
use crate::testing::state::send_queue::{SendQueue, TailEnd};

impl TrafficController {
    /// Adds messages to those that are kept for an app. `/recent`, `/dump/` and `/recentlogs` return them in this
    /// order, Log Cache sorted by time. They are not sent to tails. Only the
    /// [newest](crate::testing::TrafficControllerBuilder::retain) are kept.
    pub fn add_recent(&self, app: &str, messages: impl IntoIterator<Item = LogMessage>) {
        for message in messages {
            self.shared.store(app, Arc::new(LogEntry::Message(message)), None);
        }
    }

    /// Logs a message: sends it to every open tail of its app, both websockets and streams of the RLP gateway, and
    /// keeps it as a [recent](TrafficController::add_recent) one. Returns the number of tails to which it was sent.
    ///
    /// An empty message reaches neither Doppler's streams of 2018 and later nor their recent logs.
    ///
    /// A tail over Log Cache returns only messages with a time of about now, so set their
    /// [timestamp](LogMessage::timestamp): that of [`LogMessage::new`] is 0.
    ///
    /// A tail is open before its client can know it. A message that is sent after a client has connected is therefore
    /// never missed.
    ///
    /// If too many bytes [wait](crate::testing::TrafficControllerBuilder::backlog) for a tail whose client does not
    /// read, this blocks until the client reads, or until the tail or the server ends. The real servers drop messages
    /// instead, as this one does if [it is told to](crate::testing::TrafficControllerBuilder::slow_reader).
    pub fn send(&self, message: LogMessage) -> usize {
        self.log(&message.app_id.clone(), LogEntry::Message(message), None)
    }

    /// [Logs](TrafficController::send) a message that Log Cache returns only after this delay. Until then, newer
    /// messages, and messages with the same time, may be returned without it, as on the real servers.
    ///
    /// ```
    /// use std::time::Duration;
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    /// use loggregator_consumer::{Builder, LogMessage, Proxy};
    ///
    /// const APP: &str = "11111111-1111-1111-1111-111111111111";
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
    /// let token = server.issue_token();
    /// server.send_late(LogMessage::new(APP, "late").timestamp(1_000_000), Duration::from_secs(3600));
    /// server.send(LogMessage::new(APP, "newer").timestamp(2_000_000));
    /// assert_eq!(consumer.recent(APP, &token)?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_late(&self, message: LogMessage, delay: Duration) -> usize {
        let readable = Instant::now().checked_add(delay);
        self.log(&message.app_id.clone(), LogEntry::Message(message), readable)
    }

    /// Emits an envelope of any type. It is sent to every client that gets it on the real servers, in the form that it has
    /// there, and Log Cache keeps it. A log is also a [recent](TrafficController::add_recent) message. Returns the number
    /// of tails to which it was sent. Otherwise like [`send`](TrafficController::send).
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    /// use loggregator_consumer::{Body, Builder, Envelope, Proxy, Selection};
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
    /// let mut tail = consumer.stream(&Selection::all(), &server.issue_admin_token())?;
    /// let requests = Body::Counter { name: "responses".into(), delta: 1, total: 7 };
    /// server.send_envelope(Envelope::new("gorouter", requests).tag("deployment", "cf"));
    /// assert_eq!(tail.next().unwrap()?.source_id, "gorouter");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_envelope(&self, envelope: Envelope) -> usize {
        self.log(&envelope.source_id.clone(), LogEntry::Envelope(envelope), None)
    }

    /// Empties Log Cache, as its restart does.
    pub fn empty_log_cache(&self) {
        self.shared.update(|state| state.log_cache.clear());
    }

    /// Takes the node of Log Cache away that holds all messages, or brings it back. Meanwhile, every app has an empty
    /// response with status 200. What is logged meanwhile is there when it is back.
    pub fn set_node_away(&self, is_away: bool) {
        self.shared.update(|state| state.is_node_away = is_away);
    }

    /// Sends logs to Doppler and the RLP gateway from now on, after
    /// [`disable_logs`](crate::testing::TrafficControllerBuilder::disable_logs).
    pub fn enable_logs(&self) {
        self.shared.update(|state| state.are_logs_disabled = false);
    }

    /// [Sends](TrafficController::send) any bytes in place of an encoded message: as the payload of a frame or a part,
    /// or, on the RLP gateway, as the data of an event. Log Cache ignores them.
    ///
    /// ```
    /// use loggregator_consumer::testing::TrafficController;
    ///
    /// let server = TrafficController::start()?;
    /// // The app has no tail, but `/recent` will have a part that is not protobuf.
    /// assert_eq!(server.send_raw("my-app", "garbage"), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_raw(&self, app: &str, payload: impl Into<Vec<u8>>) -> usize {
        self.log(app, LogEntry::Raw(payload.into()), None)
    }

    fn log(&self, app: &str, entry: LogEntry, readable: Option<Instant>) -> usize {
        let entry = Arc::new(entry);
        let mut tails = self.shared.store(app, Arc::clone(&entry), readable);
        tails.retain(|tail| entry.reaches(tail.format));
        // The entry is encoded only once for each format.
        tails.sort_by_key(|tail| tail.format);
        let groups = tails.chunk_by(|one, other| one.format == other.format);
        groups.map(|tails| push_to_each(tails, &entry.frame(tails[0].format))).sum()
    }

    /// Sends bytes unchanged to every open tail of an app, after the frames sent before. Use it for frames that no
    /// server sends, such as fragments, and to send many frames with one call. On the RLP gateway the bytes are one or
    /// more events, or part of an event. They are not kept. Returns the number of tails to which they were sent, and
    /// blocks like [`send`](TrafficController::send).
    ///
    /// The server's own pings and pongs may follow the bytes of each call, so pass whole frames.
    pub fn send_bytes(&self, app: &str, bytes: &[u8]) -> usize {
        push_to_each(&self.tails(app), bytes)
    }

    /// Closes every open tail of an app after what was sent before, with a close frame of this code and reason, or with
    /// an empty one if `code` is `None` (the reason is then ignored). A stream of the RLP gateway has no close frames:
    /// its response just ends, as when the servers that feed the gateway die.
    ///
    /// Returns the number of tails. When this returns they do not count as open any more, but what was sent may not
    /// have arrived yet.
    pub fn close_tails(&self, app: &str, code: Option<u16>, reason: &str) -> usize {
        self.end_tails(app, TailEnd::Close, |out| frames::write_close(code, reason, out))
    }

    /// [Ends](TrafficController::close_tails) every open tail of an app without a close frame: TCP's FIN follows what
    /// was sent, without TLS's `close_notify`.
    pub fn drop_tails(&self, app: &str) -> usize {
        self.end_tails(app, TailEnd::Drop, |_| {})
    }

    /// [Ends](TrafficController::close_tails) every open tail of an app with a reset: TCP's RST follows what was sent.
    /// What the client has not read by then may be lost.
    pub fn reset_tails(&self, app: &str) -> usize {
        self.end_tails(app, TailEnd::Reset, |_| {})
    }

    fn end_tails(&self, app: &str, end: TailEnd, write_frame: impl Fn(&mut Vec<u8>)) -> usize {
        let tails = self.shared.update(|state| state.tails.remove(app)).unwrap_or_default();
        let write = |tail: &SendQueue, out: &mut Vec<u8>| {
            if tail.format != WireFormat::RlpGateway {
                write_frame(out)
            }
        };
        tails.iter().filter(|tail| tail.end(end, |out| write(tail, out))).count()
    }

    /// Ends every stream of the RLP gateway of an app as its
    /// [timeout](crate::testing::TrafficControllerBuilder::stream_timeout) does: with the event `closing`, and then the
    /// end of the response. The connection stays open. Websockets are not affected. Returns the number of streams.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    /// use loggregator_consumer::{Builder, Ending, Proxy};
    ///
    /// const APP: &str = "11111111-1111-1111-1111-111111111111";
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// let consumer = Builder::new().rlp_gateway(&server.api()).proxy(Proxy::none()).build()?;
    /// let mut tail = consumer.tail(APP, "bearer token")?;
    /// assert_eq!(server.close_streams(APP), 1);
    /// while tail.next().is_some() {}
    /// assert!(matches!(tail.ending(), Some(Ending::Closing { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close_streams(&self, app: &str) -> usize {
        let tails = self.tails(app).into_iter();
        let streams = tails.filter(|tail| tail.format == WireFormat::RlpGateway);
        streams.filter(|stream| stream.end(TailEnd::Close, |out| out.extend_from_slice(CLOSING))).count()
    }

    fn tails(&self, app: &str) -> Vec<Arc<SendQueue>> {
        self.shared.with(|state| state.tails.get(app).cloned()).unwrap_or_default()
    }

    /// Returns the number of open tails of an app. Here and in the methods that end tails, `*` means the tails of all
    /// apps: firehoses, and streams of an admin that name no app.
    pub fn open_tails(&self, app: &str) -> usize {
        self.tails(app).len()
    }

    /// Waits until exactly this number of tails of an app are open. Returns false if the timeout expires first.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    /// use loggregator_consumer::testing::TrafficController;
    ///
    /// let server = TrafficController::start()?;
    /// let mut client = TcpStream::connect(server.address())?;
    /// client.write_all(
    ///     b"GET /tail/?app=my-app HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    ///       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    /// )?;
    /// assert!(server.wait_for_tails("my-app", 1, Duration::from_secs(5)));
    /// drop(client);
    /// assert!(server.wait_for_tails("my-app", 0, Duration::from_secs(5)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_for_tails(&self, app: &str, tails: usize, timeout: Duration) -> bool {
        self.shared.wait_for(timeout, |state| state.tails.get(app).map_or(0, Vec::len) == tails)
    }
}

/// Adds the bytes to the queue of each tail, waiting for room. Returns the number of tails that took them.
fn push_to_each(tails: &[Arc<SendQueue>], bytes: &[u8]) -> usize {
    tails.iter().filter(|tail| tail.push(|out| out.extend_from_slice(bytes))).count()
}
