//! The RLP gateway: an app's stream as server-sent events.

use std::sync::Arc;
use std::time::Instant;
use std::{iter, mem};

use jiff::Timestamp;
use memchr::memmem;

use super::access::{Access, Case};
use super::batch::{self, Batch};
use super::config::fault::Endless;
use super::connection::Connection;
use super::http::{Response, date, write_chunk};
use super::logged::Wire;
use super::outbox::{Last, Outbox};
use super::record::{Request, is_guid};
use super::routes::Answer;
use super::stream::Broken;

/// Fillers are at least so long, for there is a write for each.
const FILLER: usize = 64 * 1024;

/// The last event of a stream that is at its end.
pub(super) const CLOSING: &[u8] = b"event: closing\ndata: closing due to stream timeout\n\n";

/// A stream that is granted, of these apps.
pub(super) struct Subscription(Vec<String>);

/// `GET /v2/read`
pub(super) fn answer(connection: &Connection, request: Request) -> Answer {
    let apps = request.apps();
    let access = connection.shared().access(&request, Case::IsIgnored);
    // Only an admin may leave out the apps, or give what is no app.
    if !matches!(access, Access::Granted) || apps.is_empty() || !apps.iter().all(|app| is_guid(app)) {
        return error(404, "not_found", "resource not found");
    }
    if request.method != "GET" {
        return error(405, "method_not_allowed", "method not allowed");
    }
    let types = ["log", "counter", "gauge", "timer", "event", "counter.name", "gauge.name"];
    if types.iter().all(|name| request.query_values(name).is_empty()) {
        return error(400, "missing_envelope_type", "query must provide at least one envelope type");
    }
    // There is nothing but logs to be sent.
    let has_logs = !request.query_values("log").is_empty();
    Answer::Events(Subscription(if has_logs { apps } else { Vec::new() }))
}

/// JSON that is served as text, with one line end from Go's encoder and one from its `http.Error`.
fn error(status: u16, name: &str, message: &str) -> Answer {
    Response::go_error(status, &format!("{{\"message\":\"{message}\",\"error\":\"{name}\"}}\n")).into()
}

/// Serves the stream to its end. Then the connection is open for another request.
pub(super) fn serve(connection: &mut Connection, subscription: Subscription) -> Result<(), Broken> {
    EventStream::open(connection, subscription).run()
}

struct EventStream<'a> {
    connection: &'a mut Connection,
    apps: Vec<String>,
    outbox: Arc<Outbox>,
    /// Chunks that are to be written.
    out: Vec<u8>,
    batch: Batch,
    heartbeat: Option<Instant>,
    timeout: Option<Instant>,
    is_over: bool,
}

impl<'a> EventStream<'a> {
    fn open(connection: &'a mut Connection, Subscription(apps): Subscription) -> Self {
        let shared = connection.shared();
        let settings = &shared.settings;
        let outbox = Arc::new(Outbox::new(Wire::Gateway, Arc::clone(connection.waker()), settings.backlog));
        // From here on messages are sent to this stream: before its client knows that it is one, so that none is
        // missed.
        shared.update(|state| {
            state.streams += 1;
            if settings.most_streams.is_some_and(|most| state.streams > most) {
                outbox.end(Last::Close, |_| {});
            }
            for app in &apps {
                state.tails.entry(app.clone()).or_default().push(Arc::clone(&outbox));
            }
        });
        let now = Instant::now();
        EventStream {
            heartbeat: now.checked_add(settings.heartbeat),
            timeout: now.checked_add(settings.stream_timeout),
            batch: Batch::new(settings.batch_window),
            out: Vec::new(),
            connection,
            apps,
            outbox,
            is_over: false,
        }
    }

    fn run(&mut self) -> Result<(), Broken> {
        self.begin()?;
        let mut events = Vec::new();
        loop {
            events.clear();
            let last = self.outbox.take(&mut events);
            split(&events).for_each(|event| self.batch.add(event, &mut self.out));
            if let Some(last) = last {
                return self.end(last);
            }
            if is_due(self.timeout) {
                self.batch.flush(&mut self.out);
                write_chunk(CLOSING, &mut self.out);
                return self.end(Last::Close);
            }
            self.connection.stream.discard_input()?;
            if self.connection.stream.ended() {
                return self.end(Last::Close);
            }
            self.keep_time();
            if self.out.is_empty() {
                self.connection.wait(false, self.deadline())?;
            } else {
                self.send()?;
            }
        }
    }

    fn begin(&mut self) -> Result<(), Broken> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nConnection: keep-alive\r\n\
             Content-Type: text/event-stream\r\n{}Transfer-Encoding: chunked\r\n\r\n",
            date()
        );
        self.connection.send(head.as_bytes())?;
        if let Some(delay) = self.connection.plan.delayed_body {
            self.connection.pause(delay)?;
        }
        let filler = match self.connection.plan.endless {
            None => return Ok(()),
            Some(Endless::Part) => {
                write_chunk(batch::BEGIN, &mut self.out);
                self.send()?;
                vec![b'x'; FILLER]
            }
            Some(Endless::Messages) => self.kept(),
        };
        if filler.is_empty() {
            return Ok(());
        }
        let mut chunk = Vec::new();
        write_chunk(&filler.repeat(FILLER.div_ceil(filler.len())), &mut chunk);
        loop {
            self.send_all(&chunk)?;
        }
    }

    /// The events of what is kept for the apps.
    fn kept(&self) -> Vec<u8> {
        let kept = self.apps.iter().flat_map(|app| self.connection.shared().kept(app));
        kept.flat_map(|logged| logged.frame(Wire::Gateway)).collect()
    }

    fn keep_time(&mut self) {
        if is_due(self.batch.due) {
            self.batch.flush(&mut self.out);
        }
        if is_due(self.heartbeat) {
            let event = format!("event: heartbeat\ndata: {}\n\n", Timestamp::now().as_second());
            write_chunk(event.as_bytes(), &mut self.out);
        }
        // There are heartbeats only while there is nothing else.
        if !self.out.is_empty() {
            self.heartbeat = Instant::now().checked_add(self.connection.shared().settings.heartbeat);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [self.batch.due, self.heartbeat, self.timeout].into_iter().flatten().min()
    }

    fn send(&mut self) -> Result<(), Broken> {
        let mut out = mem::take(&mut self.out);
        self.send_all(&out)?;
        out.clear();
        self.out = out;
        Ok(())
    }

    fn send_all(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            self.connection.send_some(&mut bytes)?;
            // It may never read what waits for it, which nobody is to wait for.
            if self.connection.stream.ended() {
                self.over();
            }
        }
        self.connection.check()
    }

    fn end(&mut self, last: Last) -> Result<(), Broken> {
        self.over();
        self.batch.flush(&mut self.out);
        if last == Last::Close {
            write_chunk(b"", &mut self.out);
        }
        self.send()?;
        match last {
            Last::Close => Ok(()),
            Last::Drop => Err(Broken::Drop),
            Last::Reset => Err(Broken::Reset),
        }
    }

    /// It is no open tail any more.
    fn over(&mut self) {
        if mem::replace(&mut self.is_over, true) {
            return;
        }
        self.outbox.abandon();
        self.connection.shared().update(|state| {
            state.streams -= 1;
            for app in &self.apps {
                state.remove_tail(app, &self.outbox);
            }
        });
    }
}

impl Drop for EventStream<'_> {
    fn drop(&mut self) {
        self.over();
    }
}

/// The events one by one, each with the blank line that ends it.
fn split(mut events: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let end = memmem::find(events, b"\n\n").map_or(events.len(), |end| end + 2);
        let (event, rest) = events.split_at(end);
        events = rest;
        (!event.is_empty()).then_some(event)
    })
}

fn is_due(then: Option<Instant>) -> bool {
    then.is_some_and(|then| then <= Instant::now())
}
