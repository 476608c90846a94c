//! [`Tail`]: an app's messages as they are written. A thread reads, one more keeps a websocket alive, and the caller's
//! decodes what comes through the channel between them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, select};
use parking_lot::Mutex;

use crate::backoff::{Backoff, Reconnect};
use crate::builder::Settings;
use crate::cancel::Cancel;
use crate::deadline::after;
use crate::ending::Ending;
use crate::error::{Error, ErrorKind, Result};
use crate::format::Format;
use crate::frames::{Frames, Progress};
use crate::message::LogMessage;
use crate::open::Registration;
use crate::rlp_gateway::EventStream;
use crate::websocket::{CLOSE_GRACE, Line, NORMAL_CLOSE, WebSocket};

/// How many batches wait for a slow caller. With what a batch holds, this bounds the memory of a tail; when it is
/// reached nothing more is read, and TCP slows the server down.
const WAITING_BATCHES: usize = 8;

/// How many batches' memory waits to be read into again.
const SPARE_BATCHES: usize = 2;

/// After how long a silence a tail keeps no memory for what may come.
const REST: Duration = Duration::from_secs(1);

/// Memory that a message has made larger is not kept for others.
const MAX_SPARE: usize = 512 * 1024;

/// After how many refusals in a row a tail that connects again is taken for refused: while a platform is restarted, its
/// router, or a server that can't check a token, answers 404 for a while, too.
const MAX_REFUSALS: u32 = 3;

/// After how long a silence a stream of Doppler is taken for dead, if no other time is set: its server pings four times.
const DOPPLER_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The threads' own needs are small, and there can be two thousand of them.
const STACK_SIZE: usize = 256 * 1024;

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
    /// Whether the end, as far as it is an error, has been given to the caller.
    end_given: bool,
    reader: Option<JoinHandle<()>>,
}

/// What a tail, its closers and its threads know of each other.
#[derive(Debug)]
struct Shared {
    cancel: Arc<Cancel>,
    ending: OnceLock<Ending>,
    /// What tells of an end that is not clean.
    error: OnceLock<Error>,
    /// The thread that keeps the last connection alive. The reader does not wait for it: a thousand tails are closed
    /// faster so.
    keeper: Mutex<Option<JoinHandle<()>>>,
}

/// A connection that messages arrive on, of whichever generation.
pub(crate) enum Link {
    WebSocket(Box<WebSocket>),
    Events(Box<EventStream>),
}

impl Link {
    /// Reads what has come: of a websocket without waiting for any.
    fn receive(&mut self) -> Progress {
        match self {
            Link::WebSocket(websocket) => websocket.receive(),
            Link::Events(stream) => stream.receive(),
        }
    }

    /// Takes what has been received, if anything has, for memory to receive more in.
    fn take(&mut self, spare: impl FnOnce() -> Frames) -> Option<Frames> {
        match self {
            Link::WebSocket(websocket) => websocket.take(spare),
            Link::Events(stream) => stream.take(spare),
        }
    }
}

impl From<WebSocket> for Link {
    fn from(websocket: WebSocket) -> Self {
        Link::WebSocket(Box::new(websocket))
    }
}

impl From<EventStream> for Link {
    fn from(stream: EventStream) -> Self {
        Link::Events(Box::new(stream))
    }
}

/// How a connection that broke is made again.
pub(crate) struct Again {
    pub(crate) policy: Reconnect,
    pub(crate) connect: Box<dyn Fn() -> Result<(Link, Format)> + Send>,
    /// To be called when it has been made.
    pub(crate) connected: Box<dyn Fn() + Send>,
}

impl Tail {
    /// Starts the threads on a connection. `again` makes another when that breaks, if it is to be made.
    pub(crate) fn spawn(
        connection: (Link, Format),
        settings: &Settings,
        again: Option<Again>,
        cancel: Arc<Cancel>,
        registration: Registration,
    ) -> Result<Self> {
        let shared =
            Arc::new(Shared { cancel, ending: OnceLock::new(), error: OnceLock::new(), keeper: Mutex::new(None) });
        let (sender, batches) = bounded(WAITING_BATCHES);
        let (used, spare) = bounded(SPARE_BATCHES);
        let beat = Beat { text: settings.keep_alive, pong: settings.pong_every };
        let reader = Reader {
            again,
            beat,
            idle_timeout: settings.idle_timeout,
            shared: Arc::clone(&shared),
            registration,
            batches: sender,
            used,
            spare,
        };
        let first = Connection::open(connection, beat, &shared)?;
        let thread = start("loggregator-read", move || reader.run(first))?;
        Ok(Tail { batches, current: Batch::default(), shared, end_given: false, reader: Some(thread) })
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
                self.end_given |= self.current.last;
                return Ok(item);
            }
            self.current = receive(&self.batches)?;
        }
    }

    fn join(&mut self) {
        self.shared.cancel.throw();
        // A callback can drop the tail whose thread it is called in, when it connects again.
        if let Some(reader) = self.reader.take().filter(|reader| reader.thread().id() != thread::current().id()) {
            // A panic there has been reported by the panic hook.
            let _ = reader.join();
            if let Some(keeper) = self.shared.keeper.lock().take() {
                let _ = keeper.join();
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
                self.shared.cancel.throw();
                Ok(())
            }
            Some(_) => Err(Error::new(ErrorKind::NotConnected, "connection does not exist: the tail has ended")),
        }
    }
}

/// Some messages that arrived together: an iterator over them, each decoded when it is taken.
#[derive(Default)]
pub struct Batch {
    frames: Frames,
    format: Format,
    /// Where the memory of the frames goes when they have been decoded.
    used: Option<Sender<Frames>>,
    next: usize,
    /// What the frame before `next` held, and has not been taken.
    decoded: VecDeque<Result<LogMessage>>,
    /// Comes behind the messages.
    error: Option<Error>,
    last: bool,
}

impl Batch {
    fn of(frames: Frames, format: Format, used: &Sender<Frames>) -> Self {
        Batch { frames, format, used: Some(used.clone()), ..Batch::default() }
    }

    /// Tells of a break, behind which the tail goes on.
    fn gap(error: Error) -> Self {
        Batch { error: Some(error), ..Batch::default() }
    }

    /// Tells of the end.
    fn end(error: Error) -> Self {
        Batch { error: Some(error), last: true, ..Batch::default() }
    }
}

impl Iterator for Batch {
    type Item = Result<LogMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(message) = self.decoded.pop_front() {
                return Some(message);
            }
            let Some(frame) = self.frames.get(self.next) else {
                let frames = mem::take(&mut self.frames);
                if let Some(used) = self.used.take().filter(|_| frames.bytes.capacity() <= MAX_SPARE) {
                    // What there is no room for is not needed.
                    let _ = used.try_send(frames);
                }
                return self.error.take().map(Err);
            };
            self.next += 1;
            self.format.decode(frame, &mut self.decoded);
        }
    }
}

impl FusedIterator for Batch {}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("next", &self.next).field("error", &self.error).finish_non_exhaustive()
    }
}

/// One connection of a tail.
struct Connection {
    link: Link,
    format: Format,
    /// Dropped with the connection, which tells the thread that keeps it alive to end.
    _reader_done: Option<Sender<Infallible>>,
}

impl Connection {
    fn open((link, format): (Link, Format), beat: Beat, shared: &Arc<Shared>) -> Result<Self> {
        let reader_done = match &link {
            Link::WebSocket(websocket) => {
                let line = Arc::clone(websocket.line());
                // From here on a close is the keep-alive thread's to carry out, with a close frame.
                shared.cancel.wake_by_signal()?;
                let (done, reader_done) = bounded(0);
                let keeper = Keeper { line, beat, shared: Arc::clone(shared), reader_done };
                let keeper = start("loggregator-keep-alive", move || keeper.run())?;
                if let Some(last) = shared.keeper.lock().replace(keeper) {
                    let _ = last.join();
                }
                Some(done)
            }
            // HTTP has nothing to say at a close, and needs no keeping alive.
            Link::Events(_) => None,
        };
        Ok(Connection { link, format, _reader_done: reader_done })
    }
}

/// The thread that reads.
struct Reader {
    again: Option<Again>,
    beat: Beat,
    idle_timeout: Option<Duration>,
    shared: Arc<Shared>,
    registration: Registration,
    batches: Sender<Batch>,
    used: Sender<Frames>,
    spare: Receiver<Frames>,
}

/// How a tail ends: how its last connection did, and the error to tell the caller, if it is one.
type End = (Ending, Option<Error>);

impl Reader {
    fn run(self, first: Connection) {
        // A tail that ends without an ending would look like one that ended well.
        let (mut ending, mut error) =
            panic::catch_unwind(AssertUnwindSafe(|| self.read_all(first))).unwrap_or_else(|_| {
                let ending = Ending::Failed("the thread that reads the connection panicked".into());
                let error = ending.error();
                (ending, error)
            });
        if self.shared.cancel.is_thrown() {
            (ending, error) = (Ending::Closed, None);
        }
        // When the caller sees the end, the consumer has forgotten the tail.
        drop(self.registration);
        let ending = self.shared.ending.get_or_init(|| ending);
        if let Some(error) = &error {
            self.shared.error.get_or_init(|| error.clone());
        }
        // The caller may let the end wait for as long as it likes; the connection, gone by now, does not wait with it.
        if let Some(error) = error {
            hand_over(&self.batches, &self.shared.cancel, Batch::end(error));
        }
        log::debug!("a tail has ended: {ending}");
    }

    /// Reads one connection after the other, until there is no other to be made.
    fn read_all(&self, mut connection: Connection) -> End {
        let mut backoff = self.again.as_ref().map(|again| Backoff::new(again.policy));
        loop {
            let (ending, had_data) = self.read(&mut connection);
            drop(connection);
            let (Some(again), Some(backoff)) = (&self.again, &mut backoff) else {
                let error = ending.error();
                return (ending, error);
            };
            if self.shared.cancel.is_thrown() {
                return (Ending::Closed, None);
            }
            if had_data {
                backoff.reset();
            }
            log::info!("a tail broke, and connects again: {ending}");
            hand_over(&self.batches, &self.shared.cancel, Batch::gap(Error::gap(ending)));
            connection = match self.connect_again(again, backoff) {
                Ok(connection) => connection,
                Err(error) => return (Ending::Failed(error.to_string()), Some(error)),
            };
        }
    }

    fn connect_again(&self, again: &Again, backoff: &mut Backoff) -> Result<Connection> {
        let mut last_error = None;
        let mut refusals = 0;
        loop {
            let Some(pause) = backoff.next() else {
                let error =
                    last_error.unwrap_or_else(|| Error::new(ErrorKind::ConnectionLost, "the connection breaks"));
                return Err(error.with_hint(", again and again: given up"));
            };
            // Nothing is ever sent: it is the time, or a close.
            let _ = self.shared.cancel.signal().recv_timeout(pause);
            self.shared.cancel.check()?;
            match (again.connect)().and_then(|link| Connection::open(link, self.beat, &self.shared)) {
                Ok(connection) => {
                    (again.connected)();
                    return Ok(connection);
                }
                Err(error) if matches!(error.kind(), ErrorKind::Closed | ErrorKind::InvalidInput) => return Err(error),
                Err(error) => {
                    refusals = if error.kind().is_refusal() { refusals + 1 } else { 0 };
                    if refusals == MAX_REFUSALS {
                        return Err(error);
                    }
                    log::info!("connecting again failed: {error}");
                    last_error = Some(error);
                }
            }
        }
    }

    /// Reads a connection to its end, however that comes; and whether anything came before.
    fn read(&self, connection: &mut Connection) -> (Ending, bool) {
        let by_default = (connection.format == Format::Doppler).then_some(DOPPLER_IDLE_TIMEOUT);
        let idle_timeout = self.idle_timeout.or(by_default);
        let mut had_data = false;
        loop {
            if self.shared.cancel.is_thrown() && matches!(connection.link, Link::Events(_)) {
                // What the system still holds of it need not be read.
                return (Ending::Closed, had_data);
            }
            let progress = connection.link.receive();
            if let Some(frames) = connection.link.take(|| self.spare.try_recv().unwrap_or_default())
                && !self.shared.cancel.is_thrown()
            {
                had_data = true;
                let batch = Batch::of(frames, connection.format, &self.used);
                hand_over(&self.batches, &self.shared.cancel, batch);
            }
            match (progress, &mut connection.link) {
                // A stream that ends because its time is over was a good one, even if the app had nothing to say.
                (Progress::Ended(ending @ Ending::Closing { .. }), _) => return (ending, true),
                (Progress::Ended(ending), _) => return (ending, had_data),
                (Progress::Idle, Link::WebSocket(websocket)) => {
                    // Another failure than the deadline's shows in what is read next.
                    let waited = self.wait(websocket, idle_timeout);
                    if waited.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
                        return (Ending::TimedOut, had_data);
                    }
                }
                (Progress::More | Progress::Idle, _) => {}
            }
        }
    }

    /// Waits until there is something to read; `TimedOut` when there was none for so long.
    fn wait(&self, websocket: &mut WebSocket, idle_timeout: Option<Duration>) -> io::Result<()> {
        let (deadline, rest) = (idle_timeout.map(after), after(REST));
        websocket.wait(Some(deadline.map_or(rest, |deadline| deadline.min(rest)))).or_else(|_| {
            while self.spare.try_recv().is_ok() {}
            websocket.wait(deadline)
        })
    }
}

/// Waits until there is room for the batch, or nobody wants it any more.
fn hand_over(batches: &Sender<Batch>, cancel: &Cancel, batch: Batch) {
    select! {
        send(batches, batch) -> _ => {}
        recv(cancel.signal()) -> _ => {}
    }
}

/// How often a websocket is told that we are there.
#[derive(Debug, Clone, Copy)]
struct Beat {
    text: Duration,
    pong: Duration,
}

/// The thread that keeps the connection alive, and closes it in the end.
struct Keeper {
    line: Arc<Line>,
    beat: Beat,
    shared: Arc<Shared>,
    reader_done: Receiver<Infallible>,
}

impl Keeper {
    fn run(self) {
        if self.keep_alive_until_close() {
            self.line.close(Some(NORMAL_CLOSE));
            // The server's answer to the close frame ends the reader.
            let _ = self.reader_done.recv_timeout(CLOSE_GRACE);
        }
    }

    /// Whether it is ours to close the connection: if not, the reader has seen its end.
    fn keep_alive_until_close(&self) -> bool {
        let mut next_text = Instant::now();
        let mut next_pong = after(self.beat.pong);
        loop {
            let now = Instant::now();
            if now >= next_text {
                self.line.send_keep_alive();
                next_text = after(self.beat.text);
            }
            if now >= next_pong {
                self.line.send_pong();
                next_pong = after(self.beat.pong);
            }
            select! {
                recv(self.shared.cancel.signal()) -> _ => return true,
                recv(self.reader_done) -> _ => return false,
                default(next_text.min(next_pong).saturating_duration_since(now)) => {}
            }
        }
    }
}

impl Drop for Keeper {
    /// However the thread ends, by a panic or before it began: nobody else could end the connection.
    fn drop(&mut self) {
        self.line.shutdown();
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.into())
        .stack_size(STACK_SIZE)
        .spawn(run)
        .map_err(|cause| Error::caused(ErrorKind::Dial, "starting a tail's thread", cause))
}
