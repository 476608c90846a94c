//! A websocket, from its handshake's answer to its end.

use crate::net::deadline::after;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::handshake::derive_accept_key;

use super::config::fault::{Endless, Interruption};
use super::config::generation::Generation;
use super::config::settings::PingSettings;
use super::connection::Connection;
use super::frames::{self, FrameReader, ProtocolError};
use super::logged::Wire;
use super::outbox::{Last, Outbox};
use super::record::{Ending, Frame, Received, ReceivedFrame, Request, RequestKind};
use super::stream::Broken;

/// How long a close frame may wait behind data that the client does not read.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Fillers are at least so long, for there is a write for each.
const FILLER: usize = 64 * 1024;

/// A handshake that is granted.
pub(super) struct Opening {
    pub(super) request: Request,
    pub(super) kind: Kind,
    pub(super) wire: Wire,
    /// The 101.
    pub(super) head: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tail,
    /// What is kept, and then a close frame.
    Dump,
}

/// The 101, when the request is a websocket handshake.
pub(super) fn upgrade(connection: &Connection, request: Request, kind: Kind, wire: Wire) -> Option<Opening> {
    let key = request.header("Sec-WebSocket-Key").filter(|key| !key.is_empty())?;
    let is_handshake = request.method == "GET"
        && request.header_lists("Upgrade", "websocket")
        && request.header_lists("Connection", "Upgrade")
        && request.header("Sec-WebSocket-Version") == Some("13");
    if !is_handshake {
        return None;
    }
    let key = if connection.plan.wrong_accept_key { "another key" } else { key };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    Some(Opening { request, kind, wire, head })
}

pub(super) fn serve(connection: &mut Connection, opening: Opening) -> Result<(), Broken> {
    let mut session = Session::open(connection, opening);
    let result = session.run();
    session.over(if result == Err(Broken::Gone) { Ending::Reset } else { Ending::ClosedByServer });
    result?;
    if session.is_closed_by_client {
        return connection.hang_up();
    }
    // As the real servers do, without waiting for the client's own close frame: a late one meets a reset.
    connection.stream.shut_down();
    Ok(())
}

struct Session<'a> {
    connection: &'a mut Connection,
    app: String,
    outbox: Arc<Outbox>,
    /// Where the client's frames are recorded.
    record: usize,
    /// What was taken from the outbox, and how much of it is written.
    out: Vec<u8>,
    written: usize,
    /// What is sent over and over when there is nothing else to send.
    filler: Vec<u8>,
    reader: FrameReader,
    keep_alive: Option<KeepAlive>,
    /// How the connection ends when all of `out` is written.
    last: Option<Last>,
    /// When it ends in any case.
    give_up: Option<Instant>,
    is_over: bool,
    is_closed_by_client: bool,
}

impl<'a> Session<'a> {
    fn open(connection: &'a mut Connection, opening: Opening) -> Self {
        let Opening { request, kind, wire, head } = opening;
        let (shared, plan) = (Arc::clone(connection.shared()), &connection.plan);
        let settings = &shared.settings;
        let app = request.app();
        let mut kept = Vec::new();
        if request.kind == RequestKind::Dump || plan.endless == Some(Endless::Messages) {
            kept.extend(shared.kept(&app).iter().flat_map(|logged| logged.frame(wire)));
        }

        let mut out = head.into_bytes();
        let (mut filler, mut last) = (Vec::new(), None);
        let (content, truncate) = (out.len(), plan.truncate);
        match (plan.endless, kind) {
            (Some(Endless::Part), _) => {
                out.extend_from_slice(&kept);
                frames::endless_binary(&mut out);
                filler = vec![b'x'; FILLER];
            }
            (Some(Endless::Messages), _) if !kept.is_empty() => filler = kept.repeat(FILLER.div_ceil(kept.len())),
            (_, Kind::Tail) => {}
            (_, Kind::Dump) => {
                out.extend_from_slice(&kept);
                frames::close(settings.generation.close_code(), "", &mut out);
                last = Some(Last::Close);
            }
        }
        if truncate && kind == Kind::Dump {
            connection.stream.cut_at((content + (out.len() - content) / 2) as u64, Interruption::Drop);
        }

        let outbox = Arc::new(Outbox::new(wire, Arc::clone(connection.waker()), settings.backlog));
        let keep_alive = (!settings.generation.is_of_2014()).then(|| KeepAlive::new(settings.ping));
        // From here on messages are sent to this tail: before its client knows that it is one, so that none is missed.
        let record = shared.update(|state| {
            if kind == Kind::Tail {
                state.tails.entry(app.clone()).or_default().push(Arc::clone(&outbox));
            }
            state.received.push(Received { request, frames: Vec::new(), ended: None });
            state.received.len() - 1
        });
        Session {
            connection,
            app,
            outbox,
            record,
            out,
            written: 0,
            filler,
            reader: FrameReader::default(),
            keep_alive,
            last,
            give_up: None,
            is_over: false,
            is_closed_by_client: false,
        }
    }

    fn run(&mut self) -> Result<(), Broken> {
        loop {
            self.write()?;
            match self.last {
                Some(last) if self.out.is_empty() => {
                    return match last {
                        Last::Close => Ok(()),
                        Last::Drop => Err(Broken::Drop),
                        Last::Reset => Err(Broken::Reset),
                    };
                }
                _ => {}
            }
            self.read()?;
            self.keep_alive();
            self.connection.wait(!self.out.is_empty(), self.deadline())?;
            if self.give_up.is_some_and(|then| then <= Instant::now()) {
                return Err(Broken::Drop);
            }
        }
    }

    /// Writes what the socket takes of what there is now.
    fn write(&mut self) -> Result<(), Broken> {
        self.refill();
        while self.written < self.out.len() {
            match self.connection.stream.write(&self.out[self.written..])? {
                Some(written) => self.written += written,
                None => return Ok(()),
            }
        }
        self.out.clear();
        self.written = 0;
        // What came meanwhile is not written yet, so that a fast sender cannot keep this thread from reading.
        self.refill();
        Ok(())
    }

    fn refill(&mut self) {
        if self.out.is_empty() && self.last.is_none() {
            self.last = self.outbox.take(&mut self.out);
            if self.last.is_some() {
                self.over(Ending::ClosedByServer);
            } else if self.out.is_empty() {
                self.out.extend_from_slice(&self.filler);
            }
        }
    }

    /// Reads what there is. When the connection is ending, it is of no interest any more.
    fn read(&mut self) -> Result<(), Broken> {
        let mut buffer = [0; 16 * 1024];
        while let Some(read) = self.connection.stream.read(&mut buffer)? {
            if read == 0 {
                self.close(Ending::Eof, self.generation().close_code(), "");
                break;
            }
            self.reader.push(&buffer[..read]);
            while self.last.is_none() {
                match self.reader.next() {
                    Ok(Some(frame)) => self.receive(frame),
                    Ok(None) => break,
                    Err(ProtocolError) => self.close(Ending::ProtocolError, Some(1002), ""),
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, frame: Frame) {
        let received = ReceivedFrame { frame: frame.clone(), at: Instant::now() };
        self.connection.shared().update(|state| state.received[self.record].frames.push(received));
        match frame {
            Frame::Ping(payload) => frames::pong(&payload, &mut self.out),
            Frame::Pong(_) => self.keep_alive.iter_mut().for_each(KeepAlive::pong),
            Frame::Close(close) => {
                self.is_closed_by_client = true;
                let code = close.map(|(code, _)| code).filter(|_| self.generation().echoes_close_code());
                self.close(Ending::ClosedByClient, code, "");
            }
            Frame::Text(_) | Frame::Binary(_) | Frame::Fragment(_) => {}
        }
    }

    fn keep_alive(&mut self) {
        if self.last.is_some() {
            return;
        }
        match self.keep_alive.as_mut().and_then(KeepAlive::due) {
            Some(Due::Ping) => frames::ping(&mut self.out),
            Some(Due::End) => {
                let (code, reason) = self.generation().close_without_pongs();
                self.close(Ending::ClosedByServer, code, reason);
            }
            None => {}
        }
    }

    /// Sends a close frame behind what is being written, and nothing else any more.
    fn close(&mut self, ending: Ending, code: Option<u16>, reason: &str) {
        if self.last.is_none() {
            frames::close(code, reason, &mut self.out);
            self.last = Some(Last::Close);
            self.give_up = Some(Instant::now() + CLOSE_GRACE);
            self.over(ending);
        }
    }

    /// Records how the websocket ended. It is no open tail any more.
    fn over(&mut self, ending: Ending) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        self.filler = Vec::new();
        self.outbox.abandon();
        self.connection.shared().update(|state| {
            state.remove_tail(&self.app, &self.outbox);
            state.received[self.record].ended = Some(ending);
        });
    }

    fn generation(&self) -> Generation {
        self.connection.shared().settings.generation
    }

    fn deadline(&self) -> Option<Instant> {
        let keep_alive = self.keep_alive.as_ref().filter(|_| self.last.is_none());
        self.give_up.into_iter().chain(keep_alive.map(|keep_alive| keep_alive.next)).min()
    }
}

/// When to ping, and when to despair, as the real servers do it: a pong that comes before its ping is remembered.
struct KeepAlive {
    ping: PingSettings,
    /// There was a ping, and no pong yet.
    is_waiting: bool,
    has_early_pong: bool,
    /// When the pong must have come, or else when to ping.
    next: Instant,
}

enum Due {
    Ping,
    End,
}

impl KeepAlive {
    fn new(ping: PingSettings) -> Self {
        KeepAlive { ping, is_waiting: false, has_early_pong: false, next: Instant::now() }
    }

    fn pong(&mut self) {
        if self.is_waiting {
            self.is_waiting = false;
            self.next = after(self.ping.interval);
        } else {
            self.has_early_pong = true;
        }
    }

    fn due(&mut self) -> Option<Due> {
        if Instant::now() < self.next {
            return None;
        }
        if self.is_waiting {
            return Some(Due::End);
        }
        self.is_waiting = true;
        self.next = after(self.ping.pong_timeout);
        if self.has_early_pong {
            self.has_early_pong = false;
            self.pong();
        }
        Some(Due::Ping)
    }
}
