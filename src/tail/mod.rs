//! [`Tail`]: messages or envelopes as they are logged.
//!
//! The reader thread reads a source and sends batches through a channel. The keep-alive thread keeps a websocket open.
//! The caller's thread decodes the batches that it takes from the channel.

mod backoff;
mod batch;
mod keep_alive;
mod merged;
mod reader;
mod reconnect;
mod threads;

use std::convert::Infallible;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, bounded};

pub use self::batch::Batch;
use self::batch::WAITING_BATCHES;
pub(crate) use self::merged::MergedTails;
use self::reader::{Connection, Reader};
pub(crate) use self::reconnect::Reconnector;
use self::threads::{Shared, ThreadKind, start_thread};
use crate::ending::Ending;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::deadline::after;
use crate::net::registry::Registration;
use crate::server::source::LiveSource;
use crate::settings::Settings;

/// How long a drop or a close waits for the tail's threads. They end within 0.1 s, unless a function of the caller that
/// runs in them blocks: the logger, and in a thread that polls also a proxy function or a token function.
const JOIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Log messages as they arrive, or [envelopes](crate::Envelope): an iterator that blocks until the next one.
///
/// An item is a message or an error. Two kinds of errors do not end the tail: a message that could not be decoded, and
/// the [gap](ErrorKind::Gap) where messages may be missing: where a tail [reconnected](crate::Builder::reconnect), or
/// where Log Cache has dropped some before they were read. Nor does the end of one of [several
/// apps](crate::Consumer::tail_apps), unless it is the last one. A tail that ends cleanly (by a
/// [`close`](Closer::close), or by a server that closes the connection normally) just ends; otherwise the last item is
/// an error. [`ending`](Tail::ending) says how the tail ended.
///
/// Received messages wait for the caller in a bounded buffer of up to 11 batches. A batch holds up to 256 KiB plus one
/// message, as received, or 4096 messages on a websocket. So the buffer holds at most about 11 × (256 KiB +
/// [`max_message_size`](crate::Builder::max_message_size)), and usually much less. From the RLP gateway, messages
/// arrive in events of up to 100 messages and 4 × `max_message_size`; there a batch is up to 256 KiB plus one event.
///
/// When the buffer is full, TCP slows the server down. A websocket is kept alive meanwhile, however long the caller
/// pauses. But servers do not wait for slow clients: old ones drop messages and report it in a message with source
/// `LGR`; today's Doppler closes the connection after about 5 s; the RLP gateway drops messages without a report.
///
/// Over Log Cache, a batch has the new messages of one response, and nothing is requested while the buffer is full: Log
/// Cache holds the messages meanwhile.
///
/// Dropping a tail closes it and waits for its [threads](crate#threads): for at most 0.1 s, or 0.5 s if a function of the
/// caller blocks in one of them (the logger; over Log Cache also a proxy function or a token function). No socket is left
/// open.
///
/// ```
/// # use loggregator_consumer::{testing::TrafficController, LogMessage, Proxy};
/// # let server = TrafficController::start()?;
/// # let consumer = loggregator_consumer::Consumer::builder(&server.endpoint()).proxy(Proxy::none()).build()?;
/// let mut tail = consumer.tail("app-guid", "bearer token")?;
/// # server.send(LogMessage::new("app-guid", "hello"));
/// let closer = tail.closer(); // can be moved to another thread, such as one that waits for Ctrl-C
/// for message in tail.by_ref() {
///     println!("{}", message?);
///     closer.close()?;
/// }
/// println!("{}", tail.ending().unwrap());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tail<T = LogMessage> {
    batches: Receiver<Batch<T>>,
    current: Batch<T>,
    shared: Arc<Shared>,
    /// See [`complete_until`](Tail::complete_until).
    complete_until: Option<i64>,
    /// Whether the error at the end has been returned to the caller.
    end_returned: bool,
    reader: Option<JoinHandle<()>>,
    /// Disconnected when all threads have ended.
    ended: Receiver<Infallible>,
    /// The reader has a clone. It may end later than a drop, which does not wait for a function of the caller that blocks.
    _registration: Option<Registration>,
}

impl<T: Send + 'static> Tail<T> {
    /// Starts the threads of a tail on a connected source. `reconnector` makes another connection each time one ends.
    pub(crate) fn spawn(
        source: Box<dyn LiveSource<T>>,
        settings: &Settings,
        reconnector: Option<Reconnector<T>>,
        cancel: Arc<Cancel>,
        registration: Option<Registration>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::new(cancel));
        let (running, ended) = bounded(0);
        let running = Arc::new(running);
        let (sender, batches) = bounded(WAITING_BATCHES);
        let kind = if source.runs_callers_functions() { ThreadKind::Poller } else { ThreadKind::Reader };
        // Boxed, so that its thread needs less stack.
        let reader = Box::new(Reader {
            kind,
            reconnector: reconnector.map(Arc::new),
            start_thread: |kind, run| start_thread(kind, run),
            keep_alive: settings.keep_alive,
            pong_every: settings.pong_every,
            idle_timeout: settings.idle_timeout,
            shared: Arc::clone(&shared),
            registration: registration.clone(),
            running: Arc::clone(&running),
            batches: sender,
            spares: Arc::default(),
        });
        let first = Connection::open(source, settings.keep_alive, &shared, running)?;
        let thread = start_thread(kind, move || reader.run(first))?;
        Ok(Tail {
            batches,
            current: Batch::default(),
            shared,
            complete_until: None,
            end_returned: false,
            reader: Some(thread),
            ended,
            _registration: registration,
        })
    }
}

impl<T> Tail<T> {
    /// Returns the channel of the tail, for crossbeam's [`select!`](crossbeam_channel::select) over several tails and
    /// other channels. For a number of tails that is known only at run time see [many apps](crate#many-apps).
    ///
    /// It delivers messages in [`Batch`]es and is disconnected when the tail has ended. If the tail ends with an error,
    /// that is the last item of the last batch. Each message is delivered once: the iterator does not return messages
    /// that were received here.
    ///
    /// ```
    /// # use loggregator_consumer::{testing::TrafficController, LogMessage, Proxy};
    /// use loggregator_consumer::crossbeam_channel::select;
    ///
    /// # let server = TrafficController::start()?;
    /// # let consumer = loggregator_consumer::Consumer::builder(&server.endpoint()).proxy(Proxy::none()).build()?;
    /// let one = consumer.tail("one-guid", "bearer token")?;
    /// let other = consumer.tail("other-guid", "bearer token")?;
    /// # server.send(LogMessage::new("other-guid", "hello"));
    /// select! {
    ///     recv(one.receiver()) -> batch => for message in batch? { println!("{}", message?) },
    ///     recv(other.receiver()) -> batch => for message in batch? { println!("{}", message?) },
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receiver(&self) -> &Receiver<Batch<T>> {
        &self.batches
    }

    /// Waits up to `timeout` for the next item.
    ///
    /// # Errors
    ///
    /// The outer error is [`RecvTimeoutError::Timeout`] if no item arrived, and [`RecvTimeoutError::Disconnected`] if
    /// the tail has ended. The inner result is the item that [`next`](Iterator::next) would return.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Result<T>, RecvTimeoutError> {
        let deadline = after(timeout);
        self.next_from(|batches| batches.recv_deadline(deadline))
    }

    /// Returns the next item if one has already arrived. Does not wait.
    ///
    /// # Errors
    ///
    /// The outer error is [`TryRecvError::Empty`] if there is no item, and [`TryRecvError::Disconnected`] if the tail
    /// has ended. The inner result is the item that [`next`](Iterator::next) would return.
    pub fn try_recv(&mut self) -> Result<Result<T>, TryRecvError> {
        self.next_from(Receiver::try_recv)
    }

    /// Returns a handle that closes this tail from any thread.
    pub fn closer(&self) -> Closer {
        Closer { shared: Arc::clone(&self.shared) }
    }

    /// Returns how the tail ended, or `None` while it is open. Messages that arrived before the end may still be
    /// waiting.
    pub fn ending(&self) -> Option<&Ending> {
        self.shared.ending.get()
    }

    /// Returns the time up to which the messages are complete, in nanoseconds since the Unix epoch: every message before
    /// it has been returned, or lies inside a [gap](crate::Gap) that has been returned. Pass it to
    /// [`Consumer::follow_since`](crate::Consumer::follow_since) to continue after a restart.
    ///
    /// Only for [`follow`](crate::Consumer::follow) and for a tail that reads Log Cache. `None` on other streams, and before
    /// the first response. Messages that were taken through the [`receiver`](Tail::receiver) are not counted.
    pub fn complete_until(&self) -> Option<i64> {
        self.complete_until
    }

    /// Closes the connection and waits for the threads. Messages that still wait are dropped.
    ///
    /// On a websocket a close frame is sent, and the server has 0.1 s to answer it. Waits as long as a drop does: for
    /// at most 0.1 s, or 0.5 s if a function of the caller blocks in one of the threads.
    ///
    /// # Errors
    ///
    /// The error that had ended the tail before, if it has not been returned yet. An error read from
    /// [`receiver`](Tail::receiver) is returned again by `close`.
    pub fn close(mut self) -> Result<()> {
        self.join();
        match self.shared.error.get() {
            Some(error) if !self.end_returned => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn next_from<E>(
        &mut self,
        mut receive: impl FnMut(&Receiver<Batch<T>>) -> Result<Batch<T>, E>,
    ) -> Result<Result<T>, E> {
        loop {
            if let Some(item) = self.current.next() {
                self.end_returned |= self.current.is_last();
                return Ok(item);
            }
            self.complete_until = self.current.complete_until().max(self.complete_until);
            self.current = receive(&self.batches)?;
        }
    }

    /// Takes a whole batch if one has arrived. Also returns true if it is the last, whose last item is the error that ended
    /// the tail.
    fn try_batch(&mut self) -> Result<(Vec<Result<T>>, bool), TryRecvError> {
        self.current = self.batches.try_recv()?;
        let items = self.current.by_ref().collect();
        self.complete_until = self.current.complete_until().max(self.complete_until);
        Ok((items, self.current.is_last()))
    }

    fn join(&mut self) {
        self.shared.cancel.cancel();
        // The caller's logger may drop the tail in whose thread it runs.
        let Some(reader) = self.reader.take().filter(|reader| reader.thread().id() != thread::current().id()) else {
            return;
        };
        if self.ended.recv_timeout(JOIN_TIMEOUT) == Err(RecvTimeoutError::Disconnected) {
            // A panic there was reported by the panic hook.
            let _ = reader.join();
            if let Some(keep_alive) = self.shared.keep_alive.lock().take() {
                let _ = keep_alive.join();
            }
        }
    }
}

impl<T> Iterator for Tail<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_from(Receiver::recv).ok()
    }
}

impl<T> FusedIterator for Tail<T> {}

impl<T> Drop for Tail<T> {
    fn drop(&mut self) {
        self.join();
    }
}

impl<T> fmt::Debug for Tail<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("ending", &self.ending()).finish_non_exhaustive()
    }
}

/// Closes a [`Tail`] from any thread. Can be cloned, and used any number of times.
#[derive(Debug, Clone)]
pub struct Closer {
    shared: Arc<Shared>,
}

impl Closer {
    /// Starts to close the tail and returns without waiting. The iterator returns the messages that have arrived, and
    /// ends at most 0.1 s later.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotConnected`] if the tail has already ended for another reason than a close.
    pub fn close(&self) -> Result<()> {
        match self.shared.ending.get() {
            None | Some(Ending::Closed) => {
                self.shared.cancel.cancel();
                Ok(())
            }
            Some(_) => Err(Error::new(ErrorKind::NotConnected, "connection does not exist: the tail has ended")),
        }
    }
}
