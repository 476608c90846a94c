//! Serves a websocket, from the handshake response to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::handshake::derive_accept_key;

use super::ping_timer::{PingAction, PingTimer};
use crate::testing::config::fault::{Endless, Interruption};
use crate::testing::config::generation::Generation;
use crate::testing::connection::{Connection, Disconnect};
use crate::testing::protocol::envelope_filter::EnvelopeFilter;
use crate::testing::protocol::frames::{self, FrameReader, ProtocolError};
use crate::testing::protocol::received::{Frame, Received, ReceivedFrame, WebsocketEnding};
use crate::testing::protocol::reply::{WebsocketKind, WebsocketUpgrade};
use crate::testing::protocol::request::{Request, RequestKind, subscription_in_path};
use crate::testing::state::ALL_APPS;
use crate::testing::state::send_queue::{SendQueue, TailEnd};

/// How long a close frame may wait because the client does not read the data before it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How many bytes of an endless websocket are written at a time, at least.
const FILLER: usize = 64 * 1024;

pub(super) fn serve_websocket(connection: &mut Connection, upgrade: WebsocketUpgrade) -> Result<(), Disconnect> {
    let mut session = WebsocketSession::open(connection, upgrade);
    let result = session.run();
    session.record_end(if result == Err(Disconnect::ClientGone) {
        WebsocketEnding::Reset
    } else {
        WebsocketEnding::ClosedByServer
    });
    result?;
    if session.is_closed_by_client {
        return connection.hang_up();
    }
    // Like the real servers, this does not wait for the client's close frame. A late one is answered with a reset.
    connection.socket.shut_down();
    Ok(())
}

struct WebsocketSession<'a> {
    connection: &'a mut Connection,
    app: String,
    queue: Arc<SendQueue>,
    /// The index of the record of what the client sends.
    record: usize,
    /// What was taken from the queue to be written, and how much of it has been written.
    out: Vec<u8>,
    written: usize,
    /// When something could be written last, or when there was nothing to write.
    last_written: Instant,
    /// What is sent again and again if nothing else is to be sent.
    filler: Vec<u8>,
    reader: FrameReader,
    /// `None`: this generation does not ping.
    ping_timer: Option<PingTimer>,
    /// How the connection ends when all of `out` has been written. `None`: it does not end yet.
    end: Option<TailEnd>,
    /// When the connection ends in any case.
    close_deadline: Option<Instant>,
    is_end_recorded: bool,
    is_closed_by_client: bool,
}

impl<'a> WebsocketSession<'a> {
    fn open(connection: &'a mut Connection, upgrade: WebsocketUpgrade) -> Self {
        let WebsocketUpgrade { request, kind, format } = upgrade;
        let (shared, plan) = (Arc::clone(connection.shared()), &connection.plan);
        let settings = &shared.settings;
        let subscription = subscription_in_path(request.path()).filter(|_| request.kind == RequestKind::Firehose);
        let app = if subscription.is_some() { ALL_APPS.to_owned() } else { request.app() };
        let filter = EnvelopeFilter::of(&request);
        let shard = subscription.map(str::to_owned);
        let mut stored = Vec::new();
        if request.kind == RequestKind::Dump || plan.endless == Some(Endless::Messages) {
            stored.extend(shared.stored(&app).iter().flat_map(|entry| entry.frame(format)));
        }

        let mut out = handshake_response(&request, plan.wrong_accept_key).into_bytes();
        let (mut filler, mut end) = (Vec::new(), None);
        let (head, truncate) = (out.len(), plan.truncate);
        match (plan.endless, kind) {
            (Some(Endless::Part), _) => {
                out.extend_from_slice(&stored);
                frames::write_endless_binary_header(&mut out);
                filler = vec![b'x'; FILLER];
            }
            (Some(Endless::Messages), _) if !stored.is_empty() => {
                filler = stored.repeat(FILLER.div_ceil(stored.len()));
            }
            (_, WebsocketKind::Tail) => {}
            (_, WebsocketKind::Dump) => {
                out.extend_from_slice(&stored);
                frames::write_close(settings.generation.close_code(), "", &mut out);
                end = Some(TailEnd::Close);
            }
        }
        if truncate && kind == WebsocketKind::Dump {
            connection.socket.interrupt_at((head + (out.len() - head) / 2) as u64, Interruption::Drop);
        }

        let generation = settings.generation;
        let (waker, slow_reader) = (Arc::clone(connection.waker()), connection.plan.slow_reader);
        let queue =
            Arc::new(SendQueue::new(format, &app, waker, settings, slow_reader).of_shard(shard).filtered(filter));
        let ping_timer = (!settings.generation.is_of_2014()).then(|| PingTimer::new(settings.ping));
        // From here on, messages are sent to this tail. The client does not know yet that the tail is open, so it
        // misses no message that is logged after it knows.
        let record = shared.update(|state| {
            if kind == WebsocketKind::Tail {
                state.add_tail(&app, &queue);
            }
            state.received.push(Received { request, frames: Vec::new(), ended: None });
            state.received.len() - 1
        });
        WebsocketSession {
            connection,
            app,
            queue,
            record,
            out,
            written: 0,
            last_written: Instant::now(),
            filler,
            reader: FrameReader::new(generation),
            ping_timer,
            end,
            close_deadline: None,
            is_end_recorded: false,
            is_closed_by_client: false,
        }
    }

    fn run(&mut self) -> Result<(), Disconnect> {
        loop {
            self.write()?;
            match self.end {
                Some(end) if self.out.is_empty() => {
                    return match end {
                        TailEnd::Close => Ok(()),
                        TailEnd::Drop => Err(Disconnect::Drop),
                        TailEnd::Reset => Err(Disconnect::Reset),
                    };
                }
                _ => {}
            }
            self.read()?;
            self.check_pings();
            self.connection.wait(!self.out.is_empty(), self.next_deadline())?;
            let cut_off = self.cut_off_at();
            if [self.close_deadline, cut_off].into_iter().flatten().any(|deadline| deadline <= Instant::now()) {
                return Err(Disconnect::Drop);
            }
        }
    }

    /// Writes what is there now, as far as the socket takes it.
    fn write(&mut self) -> Result<(), Disconnect> {
        self.refill();
        while self.written < self.out.len() {
            match self.connection.socket.write(&self.out[self.written..])? {
                Some(written) => {
                    self.written += written;
                    self.last_written = Instant::now();
                }
                None => return Ok(()),
            }
        }
        self.out.clear();
        self.written = 0;
        // What was queued meanwhile is written by the next call. Otherwise a fast sender could keep this thread from
        // reading.
        self.refill();
        Ok(())
    }

    fn refill(&mut self) {
        if self.out.is_empty() && self.end.is_none() {
            self.last_written = Instant::now();
            self.end = self.queue.take(&mut self.out);
            if self.end.is_some() {
                self.record_end(WebsocketEnding::ClosedByServer);
            } else if self.out.is_empty() {
                self.out.extend_from_slice(&self.filler);
            }
        }
    }

    /// Reads what has arrived. Once the connection is ending, it is ignored.
    fn read(&mut self) -> Result<(), Disconnect> {
        let mut buffer = [0; 16 * 1024];
        while let Some(read) = self.connection.socket.read(&mut buffer)? {
            if read == 0 {
                self.close(WebsocketEnding::Eof, self.generation().close_code(), "");
                break;
            }
            self.reader.push(&buffer[..read]);
            while self.end.is_none() {
                match self.reader.next() {
                    Ok(Some(frame)) => self.receive(frame),
                    Ok(None) => break,
                    Err(ProtocolError(reason)) => self.close(WebsocketEnding::ProtocolError, Some(1002), &reason),
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, frame: Frame) {
        let received = ReceivedFrame { frame: frame.clone(), at: Instant::now() };
        self.connection.shared().update(|state| state.received[self.record].frames.push(received));
        match frame {
            Frame::Ping(payload) => frames::write_pong(&payload, &mut self.out),
            Frame::Pong(_) => self.ping_timer.iter_mut().for_each(PingTimer::pong_received),
            Frame::Close(close) => {
                let code = close.as_ref().map(|(code, _)| *code);
                if let Some(reason) = code.and_then(|code| frames::close_code_error(self.generation(), code)) {
                    self.close(WebsocketEnding::ProtocolError, Some(1002), &reason);
                    return;
                }
                self.is_closed_by_client = true;
                let code = code.filter(|_| self.generation().echoes_close_code());
                self.close(WebsocketEnding::ClosedByClient, code, "");
            }
            Frame::Text(_) | Frame::Binary(_) | Frame::Fragment(_) => {}
        }
    }

    /// Sends a ping if one is due. Closes the websocket if a pong is missing.
    fn check_pings(&mut self) {
        if self.end.is_some() {
            return;
        }
        match self.ping_timer.as_mut().and_then(PingTimer::action) {
            Some(PingAction::SendPing) => frames::write_ping(&mut self.out),
            Some(PingAction::Close) => {
                let (code, reason) = self.generation().close_without_pongs();
                self.close(WebsocketEnding::ClosedByServer, code, reason);
            }
            None => {}
        }
    }

    /// Sends a close frame after what is being written, and nothing after it.
    fn close(&mut self, ending: WebsocketEnding, code: Option<u16>, reason: &str) {
        if self.end.is_none() {
            frames::write_close(code, reason, &mut self.out);
            self.end = Some(TailEnd::Close);
            self.close_deadline = Some(Instant::now() + CLOSE_TIMEOUT);
            self.record_end(ending);
        }
    }

    /// Records how the websocket ended, unless that has been done. From now on it is not an open tail.
    fn record_end(&mut self, ending: WebsocketEnding) {
        if self.is_end_recorded {
            return;
        }
        self.is_end_recorded = true;
        self.filler = Vec::new();
        self.queue.abandon();
        self.connection.shared().update(|state| {
            state.remove_tail(&self.app, &self.queue);
            state.received[self.record].ended = Some(ending);
        });
    }

    fn generation(&self) -> Generation {
        self.connection.shared().settings.generation
    }

    fn next_deadline(&self) -> Option<Instant> {
        let ping_timer = self.ping_timer.as_ref().filter(|_| self.end.is_none());
        [self.close_deadline, ping_timer.map(PingTimer::next), self.cut_off_at()].into_iter().flatten().min()
    }

    /// Returns when the client is cut off if it goes on not to read.
    fn cut_off_at(&self) -> Option<Instant> {
        self.queue.cut_off_at(self.last_written).filter(|_| !self.out.is_empty())
    }
}

/// Returns the 101 that accepts the handshake of `request`.
fn handshake_response(request: &Request, wrong_accept_key: bool) -> String {
    let key = request.header("Sec-WebSocket-Key").filter(|_| !wrong_accept_key).unwrap_or("another key");
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    )
}
