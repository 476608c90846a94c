//! Serves a stream of server-sent events of the RLP gateway.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::event_batch::EventBatch;
use crate::testing::config::fault::Endless;
use crate::testing::connection::{Connection, Disconnect};
use crate::testing::protocol::events::{BATCH_START, CLOSING, heartbeat, split_events};
use crate::testing::protocol::log_entry::WireFormat;
use crate::testing::protocol::reply::EventSubscription;
use crate::testing::protocol::response::{Exchange, StreamFraming, date_header};
use crate::testing::state::send_queue::{SendQueue, TailEnd};

/// How many bytes of an endless stream are written at a time, at least.
const FILLER: usize = 64 * 1024;

/// Serves the stream until it ends. Returns true if the connection can be used for another request.
pub(super) fn serve_events(
    connection: &mut Connection,
    subscription: EventSubscription,
    exchange: Exchange,
) -> Result<bool, Disconnect> {
    EventStream::open(connection, subscription, exchange).run()?;
    Ok(exchange.may_keep_alive() && exchange.may_chunk())
}

struct EventStream<'a> {
    connection: &'a mut Connection,
    apps: Vec<String>,
    exchange: Exchange,
    framing: StreamFraming,
    queue: Arc<SendQueue>,
    /// Encoded chunks that are to be written.
    out: Vec<u8>,
    batch: EventBatch,
    /// When the next heartbeat is due.
    heartbeat: Option<Instant>,
    /// When the gateway closes the stream.
    timeout: Option<Instant>,
    /// It no longer counts as an open tail.
    is_unregistered: bool,
}

impl<'a> EventStream<'a> {
    fn open(
        connection: &'a mut Connection,
        EventSubscription { apps, filter, shard }: EventSubscription,
        exchange: Exchange,
    ) -> Self {
        let framing = if exchange.may_chunk() { StreamFraming::Chunked } else { StreamFraming::UntilClose };
        let shared = connection.shared();
        let settings = &shared.settings;
        let app = apps.first().map(String::as_str).unwrap_or_default();
        let (waker, slow_reader) = (Arc::clone(connection.waker()), connection.plan.slow_reader);
        let queue =
            SendQueue::new(WireFormat::RlpGateway, app, waker, settings, slow_reader).of_shard(shard).filtered(filter);
        let queue = Arc::new(queue);
        // From here on, messages are sent to this stream. The client does not know yet that the stream is open, so it
        // misses no message that is logged after it knows.
        shared.update(|state| {
            state.open_streams += 1;
            if settings.most_streams.is_some_and(|most| state.open_streams > most) {
                queue.end(TailEnd::Close, |_| {});
            }
            for app in &apps {
                state.add_tail(app, &queue);
            }
        });
        let now = Instant::now();
        EventStream {
            heartbeat: now.checked_add(settings.heartbeat),
            timeout: now.checked_add(settings.stream_timeout),
            batch: EventBatch::new(settings.batch_window, framing),
            out: Vec::new(),
            connection,
            apps,
            exchange,
            framing,
            queue,
            is_unregistered: false,
        }
    }

    fn run(&mut self) -> Result<(), Disconnect> {
        self.begin()?;
        let mut events = Vec::new();
        loop {
            events.clear();
            let end = self.queue.take(&mut events);
            split_events(&events).for_each(|event| self.batch.add(event, &mut self.out));
            if let Some(end) = end {
                return self.end(end);
            }
            if is_due(self.timeout) {
                self.batch.flush(&mut self.out);
                self.framing.write(CLOSING, &mut self.out);
                return self.end(TailEnd::Close);
            }
            self.connection.socket.discard_input()?;
            if self.connection.socket.ended() {
                return self.end(TailEnd::Close);
            }
            self.write_what_is_due();
            if self.out.is_empty() {
                self.connection.wait(false, self.next_deadline())?;
            } else {
                self.send_out()?;
            }
        }
    }

    /// Sends the response head, and an endless body if a fault demands it.
    fn begin(&mut self) -> Result<(), Disconnect> {
        // The gateway itself sets `keep-alive`; Go's server overrides it.
        let connection = if self.exchange.may_keep_alive() {
            "Connection: keep-alive\r\n"
        } else {
            self.exchange.connection_header(false)
        };
        let transfer = match self.framing {
            StreamFraming::Chunked => "Transfer-Encoding: chunked\r\n",
            StreamFraming::UntilClose => "",
        };
        let head = format!(
            "{} 200 OK\r\nCache-Control: no-cache\r\n{connection}Content-Type: text/event-stream\r\n{}{transfer}\r\n",
            self.exchange.version(),
            date_header()
        );
        self.connection.send(head.as_bytes())?;
        if let Some(delay) = self.connection.plan.delayed_body {
            self.connection.pause(delay)?;
        }
        let filler = match self.connection.plan.endless {
            None => return Ok(()),
            Some(Endless::Part) => {
                self.framing.write(BATCH_START, &mut self.out);
                self.send_out()?;
                vec![b'x'; FILLER]
            }
            Some(Endless::Messages) => self.stored_events(),
        };
        if filler.is_empty() {
            return Ok(());
        }
        let mut chunk = Vec::new();
        self.framing.write(&filler.repeat(FILLER.div_ceil(filler.len())), &mut chunk);
        loop {
            self.send(&chunk)?;
        }
    }

    /// Returns what is kept of the apps, as events.
    fn stored_events(&self) -> Vec<u8> {
        let entries = self.apps.iter().flat_map(|app| self.connection.shared().stored(app));
        entries.flat_map(|entry| entry.frame(WireFormat::RlpGateway)).collect()
    }

    /// Writes the batch and the heartbeat into `out` if they are due.
    fn write_what_is_due(&mut self) {
        if is_due(self.batch.due) {
            self.batch.flush(&mut self.out);
        }
        if is_due(self.heartbeat) {
            self.framing.write(heartbeat(Timestamp::now().as_second()).as_bytes(), &mut self.out);
        }
        // Heartbeats are sent only if nothing else is, so anything that is sent postpones the next one.
        if !self.out.is_empty() {
            self.heartbeat = Instant::now().checked_add(self.connection.shared().settings.heartbeat);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        [self.batch.due, self.heartbeat, self.timeout].into_iter().flatten().min()
    }

    /// Sends and empties `out`.
    fn send_out(&mut self) -> Result<(), Disconnect> {
        let mut out = mem::take(&mut self.out);
        self.send(&out)?;
        out.clear();
        self.out = out;
        Ok(())
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Disconnect> {
        let mut progress = (Instant::now(), bytes.len());
        while !bytes.is_empty() {
            self.connection.send_some(&mut bytes, self.queue.cut_off_at(progress.0))?;
            if bytes.len() < progress.1 {
                progress = (Instant::now(), bytes.len());
            } else if is_due(self.queue.cut_off_at(progress.0)) {
                return Err(Disconnect::Drop);
            }
            // The client may never read what waits for it, and no sender may wait for that.
            if self.connection.socket.ended() {
                self.unregister();
            }
        }
        self.connection.check()
    }

    fn end(&mut self, end: TailEnd) -> Result<(), Disconnect> {
        self.unregister();
        self.batch.flush(&mut self.out);
        if end == TailEnd::Close {
            self.framing.write(b"", &mut self.out);
        }
        self.send_out()?;
        match end {
            TailEnd::Close => Ok(()),
            TailEnd::Drop => Err(Disconnect::Drop),
            TailEnd::Reset => Err(Disconnect::Reset),
        }
    }

    /// Removes the stream from the open tails, unless that has been done.
    fn unregister(&mut self) {
        if mem::replace(&mut self.is_unregistered, true) {
            return;
        }
        self.queue.abandon();
        self.connection.shared().update(|state| {
            state.open_streams -= 1;
            for app in &self.apps {
                state.remove_tail(app, &self.queue);
            }
        });
    }
}

impl Drop for EventStream<'_> {
    fn drop(&mut self) {
        self.unregister();
    }
}

fn is_due(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}
