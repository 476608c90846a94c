//! [`Reader`]: the first thread of a tail. It reads one connection after the other and sends what arrives to the
//! caller.

use std::convert::Infallible;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvError, Sender, TrySendError, after, bounded, select};

use super::backoff::Backoff;
use super::batch::{Batch, Spares};
use super::keep_alive::{KeepAlive, Pongs};
use super::reconnect::{GIVEN_UP, Reconnector};
use super::threads::{Shared, ThreadKind, run_in_thread, start_thread};
use crate::ending::Ending;
use crate::error::{Error, Missing, Result};
use crate::net::deadline;
use crate::net::registry::Registration;
use crate::net::websocket::WriteHalf;
use crate::server::source::LiveSource;
use crate::wire::frames::Progress;

/// Buffers are freed after this silence, and when no batch has been a [`LARGE_BATCH`] for this long, so that a
/// quiet tail needs little memory.
const FREE_BUFFERS_AFTER: Duration = Duration::from_secs(1);

/// A batch of this many bytes shows that more follow soon.
const LARGE_BATCH: usize = 16 * 1024;

/// Held by the threads that a drop of the tail waits for. Nothing is ever sent: the receiver sees when they have ended.
pub(super) type Running = Arc<Sender<Infallible>>;

/// One connection of a tail: its source, and the keep-alive thread if the source needs one.
pub(super) struct Connection<T> {
    source: Box<dyn LiveSource<T>>,
    /// Dropped with the connection, which tells the keep-alive thread to end.
    _reader_done: Option<Sender<Infallible>>,
}

impl<T> Connection<T> {
    pub(super) fn open(
        source: Box<dyn LiveSource<T>>,
        keep_alive: Duration,
        shared: &Arc<Shared>,
        running: Running,
    ) -> Result<Self> {
        let start = |kind, run: Box<dyn FnOnce() + Send>| {
            let running = Arc::clone(&running);
            start_thread(kind, move || {
                let _running = running;
                run();
            })
        };
        let mut reader_done = None;
        if let Some(write_half) = source.write_half().map(Arc::clone) {
            // From now on it is the keep-alive thread that closes the connection, with a close frame.
            shared.cancel.keep_open_on_cancel()?;
            let (done, is_done) = bounded(0);
            reader_done = Some(done);
            let keep_alive =
                KeepAlive { write_half, every: keep_alive, cancel: Arc::clone(&shared.cancel), reader_done: is_done };
            let thread = start(ThreadKind::KeepAlive, Box::new(move || keep_alive.run()))?;
            let last = shared.keep_alive.lock().replace(thread);
            if let Some(last) = last {
                let _ = last.join();
            }
        }
        Ok(Connection { source, _reader_done: reader_done })
    }
}

/// Starts a thread.
type StartThread = fn(ThreadKind, Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>>;

/// The thread that reads.
pub(super) struct Reader<T> {
    /// The kind of its thread.
    pub(super) kind: ThreadKind,
    pub(super) reconnector: Option<Arc<Reconnector<T>>>,
    /// Starts the thread that reconnects. A field for the tests.
    pub(super) start_thread: StartThread,
    /// How often keep-alive texts are sent.
    pub(super) keep_alive: Duration,
    pub(super) pong_every: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) shared: Arc<Shared>,
    /// `None`: the tail is a part of another one.
    pub(super) registration: Option<Registration>,
    pub(super) running: Running,
    pub(super) batches: Sender<Batch<T>>,
    pub(super) spares: Arc<Spares>,
}

/// How a tail ends: how its last connection ended, and the error for the caller, if there is one.
type End = (Ending, Option<Error>);

impl<T: Send + 'static> Reader<T> {
    // By value, it would be moved from frame to frame of its thread's stack.
    #[allow(clippy::boxed_local)]
    pub(super) fn run(mut self: Box<Self>, first: Connection<T>) {
        // Without this, a panic would look like a clean end.
        let (mut ending, mut error) = panic::catch_unwind(AssertUnwindSafe(|| self.read_all(first)))
            .unwrap_or_else(|_| failed("the thread that reads the connection panicked"));
        if self.shared.cancel.is_cancelled() {
            (ending, error) = (Ending::Closed, None);
        }
        // Dropped first: when the caller sees the end, the consumer no longer counts this tail as open.
        drop(self.registration.take());
        let ending = self.shared.ending.get_or_init(|| ending);
        if let Some(error) = &error {
            self.shared.error.get_or_init(|| error.clone());
        }
        // This may block until the caller takes the end, but the connection is already closed.
        if let Some(error) = error {
            self.send(Batch::end(error), &mut Pongs::new(None, Duration::MAX));
        }
        log::debug!("a tail ended: {ending}");
    }

    /// Reads one connection after the other, until the tail ends.
    fn read_all(&self, mut connection: Connection<T>) -> End {
        let mut backoff = self.reconnector.as_ref().map(|reconnector| Backoff::new(reconnector.policy));
        loop {
            let result = self.read(&mut *connection.source);
            let successor = connection.source.successor();
            drop(connection);
            let (end, had_data) = match result {
                Ok(end) => end,
                Err(error) => return failed_with(error),
            };
            if self.shared.cancel.is_cancelled() {
                return (Ending::Closed, None);
            }
            if let Some(source) = successor {
                match Connection::open(source, self.keep_alive, &self.shared, Arc::clone(&self.running)) {
                    Ok(next) => connection = next,
                    Err(error) => return failed_with(error),
                }
                continue;
            }
            let (Some(reconnector), Some(last)) = (&self.reconnector, backoff) else { return end };
            let mut next = last;
            if had_data {
                next.reset();
            }
            match self.reconnect(reconnector, next, end.0) {
                Ok(reconnected) => (connection, backoff) = (reconnected.0, Some(reconnected.1)),
                Err(end) => return end,
            }
        }
    }

    /// Reconnects, and then tells the caller of the gap. Only then: recent messages that the caller reads at this point
    /// include all that were logged before the new connection. If the caller pauses, the connection waits and stays open.
    // Its frame is not a part of the frame that an idle tail keeps on its stack.
    #[inline(never)]
    fn reconnect(
        &self,
        reconnector: &Arc<Reconnector<T>>,
        backoff: Backoff,
        ending: Ending,
    ) -> Result<(Connection<T>, Backoff), End> {
        let at = SystemTime::now();
        let result = self.connect_again(reconnector, backoff, &ending);
        let (connected_at, missing) = match &result {
            Ok((connection, _)) => (Some(SystemTime::now()), connection.source.missing()),
            Err(_) => (None, Some(Missing::default())),
        };
        if let Some(missing) = missing.filter(|_| !self.shared.cancel.is_cancelled()) {
            let gap = Error::gap(ending, at, connected_at, missing);
            let connection = result.as_ref().ok().map(|(connection, _)| &connection.source);
            let write_half = connection.and_then(|source| source.write_half());
            self.send(Batch::gap(gap), &mut Pongs::new(write_half, self.pong_every));
        }
        result
    }

    /// Makes another connection, with the pauses of `backoff`.
    ///
    /// A thread of its own makes it, because that runs functions of the caller: the proxy function, the token function,
    /// the debug printer, `on_connect` and the logger. They may need stack, block or panic. After a cancel, nobody waits
    /// for them.
    fn connect_again(
        &self,
        reconnector: &Arc<Reconnector<T>>,
        mut backoff: Backoff,
        ending: &Ending,
    ) -> Result<(Connection<T>, Backoff), End> {
        let (result, opened) = loop {
            let ((send_result, result), (send_opened, opened)) = (bounded(1), bounded(1));
            let run = {
                let (reconnector, shared) = (Arc::clone(reconnector), Arc::clone(&self.shared));
                let (keep_alive, running) = (self.keep_alive, Arc::downgrade(&self.running));
                let (ending, mut backoff) = (ending.clone(), backoff.clone());
                move || {
                    log::info!("the connection of a tail ended, reconnecting: {ending}");
                    let open = |source| {
                        let running = running.upgrade().ok_or_else(Error::closed)?;
                        let connection = Connection::open(source, keep_alive, &shared, running)?;
                        let _ = send_opened.try_send(connection.source.write_half().map(Arc::clone));
                        Ok(connection)
                    };
                    let result = reconnector.reconnect(&mut backoff, &shared.cancel, open);
                    let _ = send_result.send(result.map(|connection| (connection, backoff)));
                }
            };
            let Err(error) = (self.start_thread)(ThreadKind::Reconnect, Box::new(run)) else { break (result, opened) };
            // The system may have a thread later. Until then, this counts as a failed attempt.
            log::info!("reconnecting failed: {error}");
            let Some(pause) = backoff.next() else { return Err(failed_with(error.with_hint(GIVEN_UP))) };
            select! {
                recv(after(pause)) -> _ => {}
                recv(self.shared.cancel.signal()) -> _ => return Err((Ending::Closed, None)),
            }
        };
        match self.wait_until_connected(&result, &opened)? {
            Ok(Ok(reconnected)) => Ok(reconnected),
            Ok(Err(error)) => Err(failed_with(error)),
            Err(_) => Err(failed("the thread that reconnects panicked")),
        }
    }

    /// Waits for a thread that reconnects. `opened` has the connection, which needs pongs while `on_connect` runs.
    ///
    /// # Errors
    ///
    /// The end of the tail if it is cancelled.
    fn wait_until_connected<R>(
        &self,
        result: &Receiver<R>,
        opened: &Receiver<Option<Arc<WriteHalf>>>,
    ) -> Result<Result<R, RecvError>, End> {
        let mut pongs = Pongs::new(None, self.pong_every);
        loop {
            select! {
                recv(result) -> result => return Ok(result),
                recv(self.shared.cancel.signal()) -> _ => return Err((Ending::Closed, None)),
                // Its sender lives until the result has been sent.
                recv(opened) -> write_half => {
                    pongs = Pongs::new(write_half.ok().flatten().as_ref(), self.pong_every);
                }
                recv(pongs.due()) -> _ => pongs.send(),
            }
        }
    }

    /// Reads a connection to its end. Returns how it ended, and whether anything arrived before.
    ///
    /// # Errors
    ///
    /// The error with which the source gave up: no other connection is to be made.
    fn read(&self, source: &mut dyn LiveSource<T>) -> Result<(End, bool)> {
        if let Some(work) = source.background() {
            let running = Arc::clone(&self.running);
            let run = move || {
                let _running = running;
                work();
            };
            // Nobody joins it, because it may run functions of the caller, which may block.
            if let Err(error) = start_thread(ThreadKind::Background, run) {
                log::info!("a stream is not watched: {error}");
            }
        }
        if source.runs_callers_functions() && self.kind != ThreadKind::Poller {
            // The tail began with a stream, on a stack that is too small for them.
            return run_in_thread(ThreadKind::Poller, || self.read_in_this_thread(source))?;
        }
        self.read_in_this_thread(source)
    }

    fn read_in_this_thread(&self, source: &mut dyn LiveSource<T>) -> Result<(End, bool)> {
        let idle_timeout = self.idle_timeout.or(source.default_idle_timeout());
        // After a cancel, a source with a write half is still read, up to the server's close frame.
        let ends_at_once = source.write_half().is_none();
        let decoder = source.decoder();
        let mut pongs = Pongs::new(source.write_half(), self.pong_every);
        let mut had_data = false;
        let mut had_large_batch = Instant::now();
        loop {
            if had_large_batch.elapsed() >= FREE_BUFFERS_AFTER {
                self.free_buffers(source);
            }
            if ends_at_once && self.shared.cancel.is_cancelled() {
                return Ok((end(Ending::Closed), had_data));
            }
            let progress = source.receive();
            if let Some(frames) = source.take(&mut || self.spares.take())
                && !self.shared.cancel.is_cancelled()
            {
                had_data = true;
                if frames.end() >= LARGE_BATCH {
                    had_large_batch = Instant::now();
                }
                self.send(Batch::new(frames, decoder.clone(), &self.spares), &mut pongs);
            }
            // A report of how far the messages are complete need not wait behind others, or fill the channel of a caller
            // who takes nothing.
            if let Some(decoded) = source.take_decoded()
                && (!decoded.messages.is_empty() || self.batches.is_empty())
            {
                self.send(Batch::decoded(decoded), &mut pongs);
            }
            match progress {
                // The stream reached its time limit, so it counts as successful even if the app logged nothing.
                Progress::Ended(ending @ Ending::Closing { .. }) => return Ok((end(ending), true)),
                Progress::Ended(ending) => return Ok((end(ending), had_data)),
                Progress::TlsFailed(ending) => {
                    let error = ending.tls_error();
                    return Ok(((ending, Some(error)), had_data));
                }
                Progress::Failed(error) => return Err(error),
                Progress::More => {}
                Progress::Idle => {
                    // Other failures than a timeout show in the next read.
                    let waited = self.wait(source, idle_timeout);
                    if waited.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
                        return Ok((end(Ending::TimedOut), had_data));
                    }
                }
            }
        }
    }

    /// Waits until there is something to read. `TimedOut` if nothing arrived within the idle timeout.
    fn wait(&self, source: &mut dyn LiveSource<T>, idle_timeout: Option<Duration>) -> io::Result<()> {
        let deadline = idle_timeout.map(deadline::after);
        let free_at = deadline::after(FREE_BUFFERS_AFTER);
        source.wait(Some(deadline.map_or(free_at, |deadline| deadline.min(free_at)))).or_else(|_| {
            self.free_buffers(source);
            source.wait(deadline)
        })
    }

    /// Hands a batch to the caller. Waits until there is room for it, or the tail is cancelled.
    fn send(&self, batch: Batch<T>, pongs: &mut Pongs) {
        if let Err(TrySendError::Full(batch)) = self.batches.try_send(batch) {
            self.send_when_there_is_room(batch, pongs);
        }
    }

    // Its frame is not a part of the frame that an idle tail keeps on its stack.
    #[inline(never)]
    fn send_when_there_is_room(&self, batch: Batch<T>, pongs: &mut Pongs) {
        loop {
            select! {
                send(self.batches, batch) -> _ => return,
                recv(self.shared.cancel.signal()) -> _ => return,
                recv(pongs.due()) -> _ => pongs.send(),
            }
        }
    }

    fn free_buffers(&self, source: &mut dyn LiveSource<T>) {
        source.shrink();
        self.spares.free();
    }
}

fn end(ending: Ending) -> End {
    let error = ending.error();
    (ending, error)
}

fn failed(why: &str) -> End {
    end(Ending::Failed(why.into()))
}

fn failed_with(error: Error) -> End {
    (Ending::Failed(error.to_string()), Some(error))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::error::ErrorKind;
    use crate::message::LogMessage;
    use crate::net::registry::Registry;
    use crate::settings::Reconnect;
    use crate::wire::format::Decoder;
    use crate::wire::frames::Frames;

    /// A source whose connection has ended.
    struct Ended;

    impl LiveSource for Ended {
        fn receive(&mut self) -> Progress {
            Progress::Ended(Ending::Eof)
        }

        fn take(&mut self, _: &mut dyn FnMut() -> Frames) -> Option<Frames> {
            None
        }

        fn decoder(&self) -> Option<Decoder<LogMessage>> {
            None
        }

        fn wait(&mut self, _: Option<Instant>) -> io::Result<()> {
            Ok(())
        }

        fn default_idle_timeout(&self) -> Option<Duration> {
            None
        }

        fn write_half(&self) -> Option<&Arc<WriteHalf>> {
            None
        }
    }

    /// Returns the errors of a tail whose connection ends, and which cannot connect again.
    fn errors(policy: Reconnect, start_thread: StartThread) -> Vec<Error> {
        let (cancel, registration) = Arc::new(Registry::default()).register();
        let ((running, _ended), (batches, received)) = (bounded(0), bounded(8));
        let connect = || Err(Error::new(ErrorKind::InvalidInput, "there is a thread"));
        let reconnector = Reconnector { policy, connect: Box::new(connect), connected: Box::new(|| ()) };
        let (shared, running) = (Arc::new(Shared::new(cancel)), Arc::new(running));
        let first = Connection::open(Box::new(Ended), Duration::MAX, &shared, Arc::clone(&running)).unwrap();
        let reader = Reader {
            kind: ThreadKind::Reader,
            reconnector: Some(Arc::new(reconnector)),
            start_thread,
            keep_alive: Duration::MAX,
            pong_every: Duration::MAX,
            idle_timeout: None,
            shared,
            registration: Some(registration),
            running,
            batches,
            spares: Arc::default(),
        };
        Box::new(reader).run(first);
        received.iter().flatten().map(Result::unwrap_err).collect()
    }

    fn no_thread() -> Error {
        Error::new(ErrorKind::Dial, "there is no thread")
    }

    #[test]
    fn a_thread_that_cannot_be_started_is_tried_again_and_counts_as_an_attempt() {
        static STARTS: AtomicU32 = AtomicU32::new(0);
        let policy = Reconnect::default().first(Duration::ZERO).longest(Duration::ZERO);
        let errors_of = |policy, start| {
            errors(policy, start).iter().map(|error| (error.kind(), error.to_string())).collect::<Vec<_>>()
        };
        let third_time: StartThread = |kind, run| match STARTS.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(no_thread()),
            _ => start_thread(kind, run),
        };
        let errors = errors_of(policy, third_time);
        assert_eq!(errors.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [ErrorKind::Gap, ErrorKind::InvalidInput]);
        assert_eq!(errors[1].1, "there is a thread");
        assert_eq!(STARTS.load(Ordering::SeqCst), 3);

        let errors = errors_of(policy.max_attempts(2), |_, _| Err(no_thread()));
        assert_eq!(errors[1], (ErrorKind::Dial, "there is no thread (given up: no attempts left)".to_owned()));
        assert_eq!(errors.len(), 2);
    }
}
