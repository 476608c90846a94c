//! [`Tail`]: an app's messages as they are written.
//!
//! The reader thread reads a source and sends batches through a channel; the keep-alive thread keeps a websocket open;
//! the caller's thread decodes what it takes from the channel.

mod backoff;
mod batch;
mod keep_alive;
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
use self::keep_alive::Intervals;
use self::reader::{Connection, Reader};
pub(crate) use self::reconnect::Reconnector;
use self::threads::{Shared, start_thread};
use crate::ending::Ending;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::deadline::after;
use crate::net::registry::Registration;
use crate::server::source::LiveSource;
use crate::settings::Settings;

/// How many batches wait for a slow caller. Together with the size of a batch this bounds the memory of a tail. When
/// that many wait, nothing more is read, and TCP slows the server down.
const WAITING_BATCHES: usize = 8;

/// How many decoded batches' buffers are kept to be read into again.
const RECYCLED_BUFFERS: usize = 2;

/// How long a drop or a close waits for the tail's threads. They end within 0.1 s, unless the caller's logger, which runs
/// in them, blocks.
const JOIN_TIMEOUT: Duration = Duration::from_millis(500);

/// An app's log messages as they arrive: an iterator that blocks until the next one.
///
/// An item is a message, or the error that says why a message could not be decoded, or, of a tail that
/// [connects again](crate::Builder::reconnect), the [gap](ErrorKind::Gap) where it did; the tail goes on behind these.
/// A tail that ends well (by a [`close`](Closer::close), or by a server that says it is done) just ends; one that ends
/// badly gives a last error first. [`ending`](Tail::ending) tells how it ended.
///
/// What arrives waits in a bounded buffer of at most 11 pieces. On the wire, each is about 256 KiB and one more message,
/// and on a websocket it is 1024 messages at the most. So it is about 11 × (256 KiB +
/// [`max_message_size`](crate::Builder::max_message_size)) at the very worst, and mostly much less. Over the RLP gateway,
/// where messages come in events of up to 100, it is an event of up to four times that size that counts.
///
/// When it is full, TCP slows the server down; a websocket is kept alive meanwhile, for as long as the caller likes.
/// But servers do not wait for clients that do not keep up. Old ones drop messages, and say so in a message of the
/// source `LGR`; Doppler of today cuts the connection after some 5 s; the RLP gateway drops messages and does not say
/// so.
///
/// A tail over a websocket has two threads: one reads, the other keeps the connection alive and closes it. One over the
/// RLP gateway has only the first. Dropping a tail closes it, waits for its threads, and leaves no socket behind; that
/// takes 0.1 s at the most.
///
/// ```
/// # use loggregator_consumer::{testing::TrafficController, LogMessage, Proxy};
/// # let server = TrafficController::start()?;
/// # let consumer = loggregator_consumer::Consumer::builder(&server.endpoint()).proxy(Proxy::none()).build()?;
/// let mut tail = consumer.tail("app-guid", "bearer token")?;
/// # server.send(LogMessage::new("app-guid", "hello"));
/// let closer = tail.closer(); // can go to another thread, such as one that waits for Ctrl-C
/// for message in tail.by_ref() {
///     println!("{}", message?);
///     closer.close()?;
/// }
/// println!("{}", tail.ending().unwrap());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tail {
    batches: Receiver<Batch>,
    current: Batch,
    shared: Arc<Shared>,
    /// The error at the end, if there is one, has been returned to the caller.
    end_given: bool,
    reader: Option<JoinHandle<()>>,
    /// Disconnected when all threads have ended.
    ended: Receiver<Infallible>,
}

impl Tail {
    /// Starts the threads on a connected source. `reconnector` makes another connection each time that one ends.
    pub(crate) fn spawn(
        source: Box<dyn LiveSource>,
        settings: &Settings,
        reconnector: Option<Reconnector>,
        cancel: Arc<Cancel>,
        registration: Registration,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::new(cancel));
        let (running, ended) = bounded(0);
        let running = Arc::new(running);
        let (sender, batches) = bounded(WAITING_BATCHES);
        let (recycle, recycled) = bounded(RECYCLED_BUFFERS);
        let intervals = Intervals { text: settings.keep_alive, pong: settings.pong_every };
        let reader = Reader {
            reconnector: reconnector.map(Arc::new),
            intervals,
            idle_timeout: settings.idle_timeout,
            shared: Arc::clone(&shared),
            registration,
            running: Arc::clone(&running),
            batches: sender,
            recycle,
            recycled,
        };
        let first = Connection::open(source, intervals, &shared, running)?;
        let thread = start_thread("loggregator-read", move || reader.run(first))?;
        Ok(Tail { batches, current: Batch::default(), shared, end_given: false, reader: Some(thread), ended })
    }

    /// The channel itself, for crossbeam's [`select!`](crossbeam_channel::select) over several tails and other
    /// channels.
    ///
    /// It gives the messages in [`Batch`]es, and is disconnected when the tail has ended; an end that is an error is
    /// the last batch's last item. A message is given once: what has been taken here does not come from the iterator.
    ///
    /// ```
    /// # use loggregator_consumer::{testing::TrafficController, LogMessage, Proxy};
    /// # let server = TrafficController::start()?;
    /// # let consumer = loggregator_consumer::Consumer::builder(&server.endpoint()).proxy(Proxy::none()).build()?;
    /// let one = consumer.tail("one-guid", "bearer token")?;
    /// let other = consumer.tail("other-guid", "bearer token")?;
    /// # server.send(LogMessage::new("other-guid", "hello"));
    /// crossbeam_channel::select! {
    ///     recv(one.receiver()) -> batch => for message in batch? { println!("{}", message?) },
    ///     recv(other.receiver()) -> batch => for message in batch? { println!("{}", message?) },
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receiver(&self) -> &Receiver<Batch> {
        &self.batches
    }

    /// Waits for the next message, for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if none came; [`RecvTimeoutError::Disconnected`] if the tail has ended. The
    /// inner errors are the iterator's.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Result<LogMessage>, RecvTimeoutError> {
        let deadline = after(timeout);
        self.next_from(|batches| batches.recv_deadline(deadline))
    }

    /// Takes the next message if there is one, without waiting.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if there is none; [`TryRecvError::Disconnected`] if the tail has ended. The inner
    /// errors are the iterator's.
    pub fn try_recv(&mut self) -> Result<Result<LogMessage>, TryRecvError> {
        self.next_from(Receiver::try_recv)
    }

    /// A handle that closes this tail, from any thread.
    pub fn closer(&self) -> Closer {
        Closer { shared: Arc::clone(&self.shared) }
    }

    /// How the tail ended, as soon as it has. Messages that came before may still be waiting.
    pub fn ending(&self) -> Option<&Ending> {
        self.shared.ending.get()
    }

    /// Closes the connection and waits for the threads. Messages that still wait are dropped.
    ///
    /// A close frame is sent, and the server given 0.1 s to answer it.
    ///
    /// # Errors
    ///
    /// The error that the tail had ended with before, if it ended badly and the error has not been taken yet. One that
    /// was taken through the [`receiver`](Tail::receiver) counts as not taken, and is given once more.
    pub fn close(mut self) -> Result<()> {
        self.join();
        match self.shared.error.get() {
            Some(error) if !self.end_given => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn next_from<E>(
        &mut self,
        mut receive: impl FnMut(&Receiver<Batch>) -> Result<Batch, E>,
    ) -> Result<Result<LogMessage>, E> {
        loop {
            if let Some(item) = self.current.next() {
                self.end_given |= self.current.is_last();
                return Ok(item);
            }
            self.current = receive(&self.batches)?;
        }
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

impl Iterator for Tail {
    type Item = Result<LogMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_from(Receiver::recv).ok()
    }
}

impl FusedIterator for Tail {}

impl Drop for Tail {
    fn drop(&mut self) {
        self.join();
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("ending", &self.ending()).finish_non_exhaustive()
    }
}

/// Closes a [`Tail`], from any thread and as often as one likes.
#[derive(Debug, Clone)]
pub struct Closer {
    shared: Arc<Shared>,
}

impl Closer {
    /// Has the tail closed, without waiting for it: its iterator gives what had arrived, and ends, at most 0.1 s later.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotConnected`] if the tail has ended already, and not by a close.
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
