//! [`Reader`]: the first thread of a tail. It reads one connection after the other and sends what arrives to the
//! caller.

use std::convert::Infallible;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::backoff::Backoff;
use super::batch::Batch;
use super::keep_alive::{Intervals, KeepAlive};
use super::reconnect::Reconnector;
use super::{Shared, start_thread};
use crate::ending::Ending;
use crate::error::{Error, Result};
use crate::net::cancel::Cancel;
use crate::net::deadline::after;
use crate::net::registry::Registration;
use crate::server::source::LiveSource;
use crate::wire::frames::{Frames, Progress};

/// After this silence, recycled buffers are freed, so that an idle tail needs little memory.
const FREE_BUFFERS_AFTER: Duration = Duration::from_secs(1);

/// One connection of a tail: its source, and the keep-alive thread if the source needs one.
pub(super) struct Connection {
    source: Box<dyn LiveSource>,
    /// Dropped with the connection, which tells the keep-alive thread to end.
    _reader_done: Option<Sender<Infallible>>,
}

impl Connection {
    pub(super) fn open(source: Box<dyn LiveSource>, intervals: Intervals, shared: &Arc<Shared>) -> Result<Self> {
        let Some(write_half) = source.write_half().map(Arc::clone) else {
            return Ok(Connection { source, _reader_done: None });
        };
        // From now on it is the keep-alive thread that closes the connection, with a close frame.
        shared.cancel.keep_open_on_cancel()?;
        let (done, reader_done) = bounded(0);
        let keep_alive = KeepAlive { write_half, intervals, cancel: Arc::clone(&shared.cancel), reader_done };
        let thread = start_thread("loggregator-keep-alive", move || keep_alive.run())?;
        if let Some(last) = shared.keep_alive.lock().replace(thread) {
            let _ = last.join();
        }
        Ok(Connection { source, _reader_done: Some(done) })
    }
}

/// The thread that reads.
pub(super) struct Reader {
    pub(super) reconnector: Option<Reconnector>,
    pub(super) intervals: Intervals,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) shared: Arc<Shared>,
    pub(super) registration: Registration,
    pub(super) batches: Sender<Batch>,
    /// Buffers of decoded batches, to be read into again.
    pub(super) recycle: Sender<Frames>,
    pub(super) recycled: Receiver<Frames>,
}

/// How a tail ends: how its last connection ended, and the error for the caller, if there is one.
type End = (Ending, Option<Error>);

impl Reader {
    pub(super) fn run(self, first: Connection) {
        // Without this, a panic would look like a clean end.
        let (mut ending, mut error) =
            panic::catch_unwind(AssertUnwindSafe(|| self.read_all(first))).unwrap_or_else(|_| {
                let ending = Ending::Failed("the thread that reads the connection panicked".into());
                let error = ending.error();
                (ending, error)
            });
        if self.shared.cancel.is_cancelled() {
            (ending, error) = (Ending::Closed, None);
        }
        // Dropped first: when the caller sees the end, the consumer no longer counts this tail as open.
        drop(self.registration);
        let ending = self.shared.ending.get_or_init(|| ending);
        if let Some(error) = &error {
            self.shared.error.get_or_init(|| error.clone());
        }
        // This may block until the caller takes the end, but the connection is already closed.
        if let Some(error) = error {
            send_batch(&self.batches, &self.shared.cancel, Batch::end(error));
        }
        log::debug!("a tail ended: {ending}");
    }

    /// Reads one connection after the other, until the tail ends.
    fn read_all(&self, mut connection: Connection) -> End {
        let mut backoff = self.reconnector.as_ref().map(|reconnector| Backoff::new(reconnector.policy));
        loop {
            let (ending, had_data) = self.read(&mut *connection.source);
            drop(connection);
            let (Some(reconnector), Some(backoff)) = (&self.reconnector, &mut backoff) else {
                let error = ending.error();
                return (ending, error);
            };
            if self.shared.cancel.is_cancelled() {
                return (Ending::Closed, None);
            }
            if had_data {
                backoff.reset();
            }
            log::info!("the connection of a tail ended, reconnecting: {ending}");
            send_batch(&self.batches, &self.shared.cancel, Batch::gap(Error::gap(ending)));
            let open = |source| Connection::open(source, self.intervals, &self.shared);
            connection = match reconnector.reconnect(backoff, &self.shared.cancel, open) {
                Ok(connection) => connection,
                Err(error) => return (Ending::Failed(error.to_string()), Some(error)),
            };
        }
    }

    /// Reads a connection to its end. Returns how it ended, and whether anything arrived before.
    fn read(&self, source: &mut dyn LiveSource) -> (Ending, bool) {
        let idle_timeout = self.idle_timeout.or(source.default_idle_timeout());
        // After a cancel, a source with a write half is still read, up to the server's close frame.
        let ends_at_once = source.write_half().is_none();
        let format = source.format();
        let mut had_data = false;
        loop {
            if ends_at_once && self.shared.cancel.is_cancelled() {
                return (Ending::Closed, had_data);
            }
            let progress = source.receive();
            if let Some(frames) = source.take(&mut || self.recycled.try_recv().unwrap_or_default())
                && !self.shared.cancel.is_cancelled()
            {
                had_data = true;
                send_batch(&self.batches, &self.shared.cancel, Batch::new(frames, format, &self.recycle));
            }
            match progress {
                // The stream reached its time limit, so it counts as successful even if the app logged nothing.
                Progress::Ended(ending @ Ending::Closing { .. }) => return (ending, true),
                Progress::Ended(ending) => return (ending, had_data),
                Progress::More => {}
                Progress::Idle => {
                    // Other failures than a timeout show in the next read.
                    let waited = self.wait(source, idle_timeout);
                    if waited.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
                        return (Ending::TimedOut, had_data);
                    }
                }
            }
        }
    }

    /// Waits until there is something to read. `TimedOut` if nothing arrived within the idle timeout.
    fn wait(&self, source: &mut dyn LiveSource, idle_timeout: Option<Duration>) -> io::Result<()> {
        let (deadline, free_at): (Option<Instant>, _) = (idle_timeout.map(after), after(FREE_BUFFERS_AFTER));
        source.wait(Some(deadline.map_or(free_at, |deadline| deadline.min(free_at)))).or_else(|_| {
            while self.recycled.try_recv().is_ok() {}
            source.wait(deadline)
        })
    }
}

/// Waits until there is room for the batch, or the tail is cancelled.
fn send_batch(batches: &Sender<Batch>, cancel: &Cancel, batch: Batch) {
    select! {
        send(batches, batch) -> _ => {}
        recv(cancel.signal()) -> _ => {}
    }
}
