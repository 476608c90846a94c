//! Servers that die after every single byte of a session: by a FIN, by an RST, or by falling silent. The caller always
//! gets every message that was complete by then, and an ending that distinguishes the three. The end is clean only if
//! everything that makes it clean had arrived.

#[path = "../common/mod.rs"]
mod common;

mod server;
mod recent;
mod tails;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use common::DEADLINE;
use common::messages::{APP, TOKEN, texts};
use loggregator_consumer::{Builder, Consumer, Ending, Error, ErrorKind, LogMessage};
use server::{Death, Effect, Piece, Server};

/// How many calls run concurrently: those that keep the machine busy, and those that wait for a timeout.
const BUSY: usize = 4;
const WAITING: usize = 100;

/// The timeouts of a call at a server that falls silent. On a machine under load the call may time out before the
/// server dies: then it is repeated with a longer timeout, up to the longest.
const SILENCE: Duration = Duration::from_millis(200);
const LONGEST_SILENCE: Duration = Duration::from_secs(6);

/// A timeout that no call reaches.
const LONG: Duration = Duration::from_secs(60);

/// The longest that a prompt call takes on a machine under load.
const PROMPT: Duration = Duration::from_secs(15);

/// A session: a call, and what the server sends to it.
struct Session {
    call: Call,
    /// Returns the settings of a client for the server at this address.
    settings: Box<dyn Fn(SocketAddr) -> Builder + Send + Sync>,
    pieces: Vec<Piece>,
    /// The server dies only after this many pieces.
    from: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Tail,
    Recent,
}

/// The outcome of a call. In an expected outcome, the error's text is a part of the actual one.
#[derive(Debug)]
struct Outcome {
    messages: Vec<String>,
    error: Option<(ErrorKind, String)>,
    /// The ending of a tail.
    ending: Option<Ending>,
}

impl Call {
    fn make(self, consumer: &Consumer) -> Outcome {
        let outcome = |messages: &[LogMessage], error: Option<&Error>, ending: Option<&Ending>| Outcome {
            messages: texts(messages),
            error: error.map(|error| (error.kind(), error.to_string())),
            ending: ending.cloned(),
        };
        match self {
            Call::Tail => match consumer.tail(APP, TOKEN) {
                Ok(mut tail) => {
                    let mut error = None;
                    let messages: Vec<_> =
                        tail.by_ref().map_while(|item| item.map_err(|e| error = Some(e)).ok()).collect();
                    assert!(tail.next().is_none(), "an item follows the error {error:?}");
                    outcome(&messages, error.as_ref(), tail.ending())
                }
                Err(error) => outcome(&[], Some(&error), None),
            },
            Call::Recent => match consumer.recent(APP, TOKEN) {
                Ok(messages) => outcome(&messages, None, None),
                Err(error) => outcome(error.recovered(), Some(&error), None),
            },
        }
    }
}

impl Outcome {
    /// Returns the expected outcome of a call if the server dies after this many complete pieces.
    fn expected(session: &Session, complete: usize, death: Death) -> Self {
        let (come, missing) = session.pieces.split_at(complete);
        let mut expected = Outcome { messages: Vec::new(), error: None, ending: None };
        if let Some(step) = missing.iter().find_map(Piece::step) {
            let kind = match death {
                Death::Silence => ErrorKind::Timeout,
                _ if step == server::TLS => ErrorKind::Tls,
                _ => ErrorKind::ConnectionLost,
            };
            expected.error = Some((kind, step.into()));
            return expected;
        }
        for piece in come {
            match &piece.effect {
                Effect::Message(text) => expected.messages.push((*text).into()),
                Effect::Older(text) => expected.messages.insert(0, (*text).into()),
                Effect::End(ending) => {
                    expected.error = ending.as_ref().and_then(not_clean);
                    expected.ending = ending.clone();
                    return expected;
                }
                Effect::Step(_) | Effect::Nothing => {}
            }
        }
        match session.call {
            Call::Tail => {
                let ending = match death {
                    Death::Fin => Ending::Eof,
                    Death::Reset => Ending::Reset,
                    Death::Silence => Ending::TimedOut,
                };
                expected.error = not_clean(&ending);
                expected.ending = Some(ending);
            }
            Call::Recent => {
                let (kind, text) = match death {
                    Death::Fin => (ErrorKind::Truncated, "the recent messages: "),
                    Death::Reset => (ErrorKind::Truncated, "the recent messages: its body broke off: "),
                    Death::Silence => (ErrorKind::Timeout, "see Builder::read_timeout"),
                };
                expected.error = Some((kind, text.into()));
            }
        }
        expected
    }

    fn fits(&self, expected: &Outcome, death: Death) -> bool {
        let closed_by_server = matches!(expected.ending, Some(Ending::ClosedByServer { .. } | Ending::Closing { .. }));
        let error_fits = match (&self.error, &expected.error) {
            (None, None) => true,
            (Some((kind, text)), Some((expected, part))) => {
                let mentions_reset = text.contains("reset") == (death == Death::Reset && !closed_by_server);
                kind == expected && text.contains(part) && mentions_reset
            }
            _ => false,
        };
        error_fits && self.messages == expected.messages && self.ending == expected.ending
    }
}

/// Returns the error that a tail gives for an ending. `None` for a clean one.
fn not_clean(ending: &Ending) -> Option<(ErrorKind, String)> {
    let kind = match ending {
        _ if ending.is_clean() => return None,
        Ending::ClosedByServer { .. } | Ending::Closing { .. } => ErrorKind::ClosedByServer,
        Ending::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::ConnectionLost,
    };
    Some((kind, ending.to_string()))
}

impl Session {
    /// Asserts that the call has the right outcome for every way to die, at every byte.
    fn dies_at_every_byte(self) {
        let (done, progress) = mpsc::channel();
        let thread = thread::spawn(move || self.play(&done));
        // The total time depends on the machine. But each call must finish in time.
        loop {
            match progress.recv_timeout(2 * DEADLINE) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("a call hangs"),
            }
        }
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    /// Plays the session once for each death, and signals each on `done`.
    fn play(&self, done: &mpsc::Sender<()>) {
        // A server that does not die shows how many bytes there are.
        let ends =
            self.try_once(usize::MAX, Death::Fin, LONG).expect("a server that does not die has the expected outcome");
        assert_eq!(ends.len(), self.pieces.len(), "everything was sent");
        let first = if self.from == 0 { 0 } else { ends[self.from - 1] };
        let deaths = |deaths: &[Death]| {
            let positions = first..=*ends.last().unwrap();
            let deaths: VecDeque<_> = positions.flat_map(|at| deaths.iter().map(move |&death| (at, death))).collect();
            Mutex::new(deaths)
        };
        let (busy, waiting) = (deaths(&[Death::Fin, Death::Reset]), deaths(&[Death::Silence]));
        let wrong = Mutex::new(Vec::new());
        let work = |deaths: &Mutex<VecDeque<_>>| {
            let next = || deaths.lock().unwrap().pop_front();
            while let Some((at, death)) = next() {
                if let Err(what) = self.dies_at(at, death) {
                    wrong.lock().unwrap().push(format!("{death:?} after byte {at}: {what}"));
                }
                let _ = done.send(());
            }
        };
        thread::scope(|scope| {
            for deaths in [&busy; BUSY].into_iter().chain([&waiting; WAITING]) {
                let work = &work;
                scope.spawn(move || work(deaths));
            }
        });
        let wrong = wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    fn dies_at(&self, at: usize, death: Death) -> Result<(), String> {
        let mut silence = if death == Death::Silence { SILENCE } else { LONG };
        loop {
            match self.try_once(at, death, silence) {
                Err(_) if death == Death::Silence && silence < LONGEST_SILENCE => silence *= 2,
                result => return result.map(drop),
            }
        }
    }

    /// Plays the session once, and returns the positions at which the pieces ended. The error says what was wrong with
    /// the outcome.
    fn try_once(&self, at: usize, death: Death, silence: Duration) -> Result<Vec<usize>, String> {
        let server = Server::start(self.pieces.clone(), at, death);
        let settings = (self.settings)(server.address);
        let consumer = settings.connect_timeout(silence).idle_timeout(silence).read_timeout(silence).build().unwrap();
        let begin = Instant::now();
        let outcome = self.call.make(&consumer);
        let took = begin.elapsed();
        // A connection that is kept for further calls is not closed before.
        drop(consumer);
        let ends = server.ends();
        let complete = ends.iter().take_while(|end| **end <= at).count();
        let expected = Outcome::expected(self, complete, death);
        if !outcome.fits(&expected, death) {
            return Err(format!("{outcome:?} instead of {expected:?}"));
        }
        let limit = if death == Death::Silence { 2 * silence + PROMPT } else { PROMPT };
        if took < limit { Ok(ends) } else { Err(format!("it took {took:?}")) }
    }
}
