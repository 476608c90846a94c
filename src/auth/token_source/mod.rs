//! [`TokenSource`]: where the token of each request comes from, and how another one is got when it is about to expire
//! or has been refused.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, TryRecvError, after, bounded, never, select};
use parking_lot::Mutex;

use super::token::{Token, check, normalised};
use super::uaa::{Reread, Session, Uaa};
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::dial::Dialer;

/// How long a call waits for another token while the one that is there is still good.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a renewal goes on that all who waited for it have left: long enough for an answer that is on its way, which
/// may bring a refresh token that replaces the one before.
const GRACE: Duration = Duration::from_secs(1);

/// Where tokens come from: always the [same](TokenSource::fixed), from a [function](TokenSource::from_fn), from a
/// [UAA](TokenSource::uaa), or from the session of the [`cf` CLI](TokenSource::cf_cli).
///
/// All but the fixed one are asked for another token when the server refuses the one they gave; and ahead of that when
/// the token, if it is a JWT that tells its end, has less than a tenth of its life left, and less than 30 s. One call
/// does that for all that need it, in a short-lived thread of its own, which ends a second after the last of them is
/// closed, unless it runs a [function](TokenSource::from_fn). Clones are one source, and share its token; so can several
/// [consumers](crate::Consumer).
///
/// Whether a token is given as `bearer eyJ...`, as `Bearer eyJ...` or as the JWT alone, it is sent with `bearer ` in
/// lower case: some servers know it only so.
///
/// No token is in the `Debug` form of a source, in a log or in an error.
#[derive(Clone)]
pub struct TokenSource(Source);

#[derive(Clone)]
enum Source {
    Fixed(Arc<str>),
    Renewed(Arc<Renewed>),
}

impl TokenSource {
    /// Always this token: `bearer eyJ...`, as `cf oauth-token` prints it, or the JWT alone. When it has expired, calls
    /// fail with [`ErrorKind::Unauthorized`]. An empty one sends no token.
    ///
    /// ```
    /// use loggregator_consumer::TokenSource;
    ///
    /// let token = TokenSource::fixed("bearer eyJ...");
    /// assert_eq!(format!("{token:?}"), "TokenSource::fixed(..)");
    /// ```
    pub fn fixed(token: &str) -> Self {
        TokenSource(Source::Fixed(normalised(token).into()))
    }

    /// The tokens that a function gives.
    ///
    /// It is called when there is no token yet, when the one that it gave last is about to expire, and when a server
    /// has refused that one: then it gets the refused token, and must give another one or fail. It runs in a thread of
    /// its own and never twice at a time. It may take its time, since a call that is closed does not wait for it. But
    /// nothing can interrupt it: one that hangs keeps its thread, and with it every later call that needs another token.
    ///
    /// If it fails, calls that have no good token do, with an [`ErrorKind::Unauthorized`] whose text ends with that of
    /// the function's error.
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use loggregator_consumer::TokenSource;
    ///
    /// let token = TokenSource::from_fn(|_refused| {
    ///     let output = Command::new("cf").arg("oauth-token").output()?;
    ///     if !output.status.success() {
    ///         return Err("cf oauth-token failed".into());
    ///     }
    ///     Ok(String::from_utf8(output.stdout)?)
    /// });
    /// ```
    pub fn from_fn(f: impl Fn(Option<&str>) -> Result<String, BoxError> + Send + Sync + 'static) -> Self {
        TokenSource(Source::Renewed(Arc::new(Renewed::new(Origin::Function(Box::new(f)), None))))
    }

    /// The tokens that a UAA gives, the server that Cloud Foundry's users log in to.
    ///
    /// It is reached in the way of the consumer that needs a token, so with its TLS connector and through its proxy.
    /// It is given 10 s to begin its answer, and 10 s more to end it (or what [`Uaa::timeout`] says); but only 1 s once
    /// all the calls and tails that needed it were closed. Calls fail with [`ErrorKind::Unauthorized`] when it says that
    /// the session has expired.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the UAA's address is no `http://` or `https://` URL.
    ///
    /// ```
    /// use loggregator_consumer::{TokenSource, Uaa};
    ///
    /// # let refresh_token = "a-refresh-token";
    /// let token = TokenSource::uaa(Uaa::new("https://uaa.example.com").refresh_token(refresh_token))?;
    /// assert!(!format!("{token:?}").contains(refresh_token));
    /// # Ok::<(), loggregator_consumer::Error>(())
    /// ```
    pub fn uaa(config: Uaa) -> Result<Self> {
        Self::session(config, None)
    }

    /// A session at a UAA; `reread` tells what has become of it where others renew it too.
    pub(crate) fn session(uaa: Uaa, reread: Option<Box<Reread>>) -> Result<Self> {
        let current = uaa.access_token.as_deref().and_then(|token| Token::found(token).ok());
        let session = Session::new(uaa, reread)?;
        Ok(TokenSource(Source::Renewed(Arc::new(Renewed::new(Origin::Session(Box::new(session)), current)))))
    }

    /// The token to send now, with `bearer` in lower case. If it is about to expire, another one is got before.
    ///
    /// `refused` is one that this source gave and a server has just refused: another one is given, or an
    /// [`ErrorKind::Unauthorized`] if there is none. `dialer` is how to reach a UAA. `cancel` interrupts it.
    pub(crate) fn token(&self, refused: Option<&str>, dialer: &Arc<Dialer>, cancel: &Cancel) -> Result<String> {
        match &self.0 {
            Source::Fixed(token) if refused == Some(&**token) => Err(no_other()),
            Source::Fixed(token) => check(token).map(|()| token.to_string()),
            Source::Renewed(renewed) => renewed.token(refused, dialer, cancel),
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Fixed(_) => f.write_str("TokenSource::fixed(..)"),
            Source::Renewed(renewed) => match &renewed.origin {
                Origin::Function(_) => f.write_str("TokenSource::from_fn(..)"),
                Origin::Session(session) => write!(f, "TokenSource::uaa({session})"),
            },
        }
    }
}

/// A source whose token changes.
struct Renewed {
    origin: Origin,
    state: Mutex<State>,
}

enum Origin {
    Function(Box<TokenFunction>),
    Session(Box<Session>),
}

type TokenFunction = dyn Fn(Option<&str>) -> Result<String, BoxError> + Send + Sync;

struct State {
    current: Option<Token>,
    /// The last one, which may be over.
    renewal: Option<Arc<Renewal>>,
}

/// Another token is being got, in a thread of its own: so whoever waits for it can leave, and what it brings within the
/// [grace](GRACE) is kept even if all have left. A refresh token may be good for only one use.
struct Renewal {
    /// Disconnected when it is over, whether well or by a panic; nothing is ever sent.
    over: Receiver<Infallible>,
    outcome: OnceLock<Result<String>>,
    /// How many calls need it: those that were closed do not.
    needed_by: AtomicUsize,
    cancel: Arc<Cancel>,
}

impl Renewal {
    /// A call that needed it was closed. The last of them leaves somebody who puts an end to it.
    fn leave(self: &Arc<Self>) {
        if self.needed_by.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        let this = Arc::clone(self);
        let watch = move || {
            let _ = this.over.recv_timeout(GRACE);
            if this.needed_by.load(Ordering::Relaxed) == 0 {
                this.cancel.cancel();
            }
        };
        if thread::Builder::new().name("loggregator-token".into()).spawn(watch).is_err() {
            self.cancel.cancel();
        }
    }
}

impl Renewed {
    fn new(origin: Origin, current: Option<Token>) -> Self {
        Renewed { origin, state: Mutex::new(State { current, renewal: None }) }
    }

    fn token(self: &Arc<Self>, refused: Option<&str>, dialer: &Arc<Dialer>, cancel: &Cancel) -> Result<String> {
        loop {
            cancel.check()?;
            let mut state = self.state.lock();
            let now = SystemTime::now();
            let current = state.current.as_ref().filter(|current| refused != Some(&*current.text));
            if let Some(current) = current.filter(|current| !current.is_due(now)) {
                return Ok(current.text.clone());
            }
            let still_good = current.filter(|current| current.is_alive(now)).map(|current| current.text.clone());
            let renewal = self.renewal(&mut state, refused, dialer)?;
            drop(state);

            let impatience = if still_good.is_some() { after(PATIENCE) } else { never() };
            select! {
                recv(renewal.over) -> _ => {}
                recv(impatience) -> _ => {
                    // A tail goes on without it, but when that is closed, nobody may be left who needs it.
                    let renewal = Arc::clone(&renewal);
                    cancel.on_cancel(move || renewal.leave());
                }
                recv(cancel.signal()) -> _ => {
                    renewal.leave();
                    return Err(Error::closed());
                }
            }
            match (renewal.outcome.get(), still_good) {
                // It was begun before anybody knew of the refusal.
                (Some(Ok(token)), _) if refused == Some(token) => {}
                (Some(Ok(token)), _) => return Ok(token.clone()),
                (_, Some(token)) => return Ok(token),
                // It was given up just before we came.
                (Some(Err(error)), None) if error.kind() == ErrorKind::Closed => {}
                (Some(Err(error)), None) => return Err(error.clone()),
                (None, None) => return Err(Error::new(ErrorKind::Unauthorized, "the token function panicked")),
            }
        }
    }

    /// The renewal that is under way, or one that begins now.
    fn renewal(
        self: &Arc<Self>,
        state: &mut State,
        refused: Option<&str>,
        dialer: &Arc<Dialer>,
    ) -> Result<Arc<Renewal>> {
        if let Some(renewal) = &state.renewal
            && renewal.over.try_recv() == Err(TryRecvError::Empty)
        {
            renewal.needed_by.fetch_add(1, Ordering::Relaxed);
            return Ok(Arc::clone(renewal));
        }
        let (running, over) = bounded(0);
        let renewal =
            Arc::new(Renewal { over, outcome: OnceLock::new(), needed_by: AtomicUsize::new(1), cancel: Cancel::new() });
        let run = {
            let (this, renewal, dialer) = (Arc::clone(self), Arc::clone(&renewal), Arc::clone(dialer));
            let refused = refused.map(str::to_owned);
            move || {
                let _running = running;
                let _ = renewal.outcome.set(this.renew(refused.as_deref(), &dialer, &renewal.cancel));
            }
        };
        thread::Builder::new()
            .name("loggregator-token".into())
            .spawn(run)
            .map_err(|cause| Error::caused(ErrorKind::Dial, "starting the thread that gets a token", cause))?;
        state.renewal = Some(Arc::clone(&renewal));
        Ok(renewal)
    }

    /// Gets another token and keeps it.
    fn renew(&self, refused: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<String> {
        let outcome = self.get_lasting(refused, dialer, cancel);
        let mut state = self.state.lock();
        match outcome {
            Ok(token) => {
                let text = token.text.clone();
                state.current = Some(token);
                Ok(text)
            }
            Err(_) if cancel.is_cancelled() => Err(Error::closed()),
            Err(error) => {
                let now = SystemTime::now();
                if let Some(current) = state.current.as_mut().filter(|current| current.is_alive(now)) {
                    log::warn!("no other token was to be had while there is one that is still good: {error}");
                    current.put_off(now);
                }
                Err(error)
            }
        }
    }

    /// Gets a token that is not about to end with the present second.
    fn get_lasting(&self, refused: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<Token> {
        let current = self.state.lock().current.clone();
        if let Some(current) = current {
            current.wait_out(cancel)?;
        }
        let token = self.origin.get(refused, dialer, cancel)?;
        if token.wait_out(cancel)? { self.origin.get(refused, dialer, cancel) } else { Ok(token) }
    }
}

impl Origin {
    fn get(&self, refused: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<Token> {
        let token = match self {
            Origin::Function(function) => {
                let token = function(refused)
                    .map_err(|cause| Error::caused(ErrorKind::Unauthorized, "the token function failed", cause))?;
                Token::found(&token)?
            }
            Origin::Session(session) => session.get(refused, dialer, cancel)?,
        };
        if refused == Some(&*token.text) { Err(no_other()) } else { Ok(token) }
    }
}

fn no_other() -> Error {
    Error::new(ErrorKind::Unauthorized, NO_OTHER)
}

/// Whether all that is wrong is that a source has no other token than the one that was refused.
pub(crate) fn is_no_other(error: &Error) -> bool {
    error.to_string() == NO_OTHER
}

const NO_OTHER: &str =
    "the server refused the token, and there is no other: get a new one, such as with `cf oauth-token`";

#[cfg(test)]
mod tests;
