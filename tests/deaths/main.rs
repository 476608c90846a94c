//! Servers that die in the middle of what they say, behind every byte of it: by a FIN, by an RST, or by falling silent.
//! The caller always gets all that was complete by then, and an end that tells the three apart; and never a clean end,
//! unless all that makes one had come.

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

/// How many calls are under way at a time: of those that keep the machine busy, and of those that wait.
const BUSY: usize = 4;
const WAITING: usize = 100;

/// After how long a silence is one. A machine under load may not get as far as to the death in that time: then there is
/// more.
const SILENCE: Duration = Duration::from_millis(200);
const LONGEST_SILENCE: Duration = Duration::from_secs(6);

/// What no call waits for in vain.
const LONG: Duration = Duration::from_secs(60);

/// What is called prompt, on a machine under load.
const PROMPT: Duration = Duration::from_secs(15);

/// What a call is told.
struct Session {
    call: Call,
    /// The settings of a client of the server at this address.
    settings: Box<dyn Fn(SocketAddr) -> Builder + Send + Sync>,
    pieces: Vec<Piece>,
    /// Behind how many of the pieces the deaths begin.
    from: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Tail,
    Recent,
}

/// What came of a call; or what must come of it, then with words that the error's text must have.
#[derive(Debug)]
struct Outcome {
    messages: Vec<String>,
    error: Option<(ErrorKind, String)>,
    /// A tail's.
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
                    assert!(tail.next().is_none(), "something comes behind the error {error:?}");
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
    /// What must come of a call that is told so many of the pieces, and then dies.
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
                let (kind, words) = match death {
                    Death::Fin => (ErrorKind::Truncated, "the recent messages: "),
                    Death::Reset => (ErrorKind::Truncated, "the recent messages: its body broke off: "),
                    Death::Silence => (ErrorKind::Timeout, "see Builder::read_timeout"),
                };
                expected.error = Some((kind, words.into()));
            }
        }
        expected
    }

    fn fits(&self, expected: &Outcome, death: Death) -> bool {
        let is_said = matches!(expected.ending, Some(Ending::ClosedByServer { .. } | Ending::Closing { .. }));
        let error_fits = match (&self.error, &expected.error) {
            (None, None) => true,
            (Some((kind, text)), Some((expected, words))) => {
                let tells_of_reset = text.contains("reset") == (death == Death::Reset && !is_said);
                kind == expected && text.contains(words) && tells_of_reset
            }
            _ => false,
        };
        error_fits && self.messages == expected.messages && self.ending == expected.ending
    }
}

/// The error by which a tail tells of an ending.
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
    /// That the call has the right outcome wherever and however the server dies.
    fn dies_at_every_byte(self) {
        let (done, progress) = mpsc::channel();
        let thread = thread::spawn(move || self.play(&done));
        // How long it takes in all is up to the machine. That it goes on is not.
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

    /// Plays the session once for each death, and tells of each that is `done`.
    fn play(&self, done: &mpsc::Sender<()>) {
        // One that lives tells how much there is to say.
        let ends = self.try_once(usize::MAX, Death::Fin, LONG).expect("a good server is understood");
        assert_eq!(ends.len(), self.pieces.len(), "all was said");
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
                    wrong.lock().unwrap().push(format!("{death:?} behind byte {at}: {what}"));
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

    /// Gives where each piece ended that was said. The error is what was wrong with the outcome.
    fn try_once(&self, at: usize, death: Death, silence: Duration) -> Result<Vec<usize>, String> {
        let server = Server::start(self.pieces.clone(), at, death);
        let settings = (self.settings)(server.address);
        let consumer = settings.connect_timeout(silence).idle_timeout(silence).read_timeout(silence).build().unwrap();
        let begin = Instant::now();
        let outcome = self.call.make(&consumer);
        let took = begin.elapsed();
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
