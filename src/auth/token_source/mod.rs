//! [`TokenSource`]: supplies the token of each request, and renews it when it is about to expire or was rejected.
//!
//! No lock of this room is held while a caller's code runs: a token function, a proxy function, a logger, or the
//! destructor of an error. If that code requests the token that its own thread is renewing, it does not wait for it
//! (see [`OnBehalf`]).

mod trial;

use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, TryRecvError, after, bounded, never, select};
use parking_lot::Mutex;

use self::trial::Trial;
use super::token::{Token, check, normalised};
use super::uaa::{Reload, Session, Uaa};
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::net::CALLER_STACK_SIZE;
use crate::net::cancel::Cancel;
use crate::net::dial::Dialer;
use crate::net::endpoint::Endpoint;
use crate::net::on_behalf::OnBehalf;
use crate::secrets::{Secrets, all_forms, hide_jwts};

/// How long a call waits for a renewal while its old token is still valid.
const WAIT_FOR_RENEWAL: Duration = Duration::from_secs(1);

/// How long a renewal continues after all calls that need it have been closed. Its response may already be on the way,
/// with a refresh token that replaces the old one.
const GRACE_PERIOD: Duration = Duration::from_secs(1);

/// A source of tokens: a [fixed](TokenSource::fixed) one, a [function](TokenSource::from_fn), a
/// [UAA](TokenSource::uaa), or the session of the [`cf` CLI](TokenSource::cf_cli).
///
/// All sources but the fixed one renew their token when a server rejects it. If the token is a JWT with an expiry time,
/// it is also renewed ahead, when less than a tenth of its lifetime and less than 30 s remain. One renewal serves all
/// calls that need it. It runs in a short-lived thread, which gives up 1 s after all of them have been closed, unless
/// it runs a [function](TokenSource::from_fn). Clones are the same source and share its token; several
/// [consumers](crate::Consumer) can share a source, too.
///
/// A rejected token is renewed once, and not at every call. Log Cache and the RLP gateway give the same response for a
/// bad token and for an app that does not exist, so another token often does not help. A token that replaced a rejected
/// one is not renewed when it is rejected itself, for a tenth of its lifetime, but at most 60 s: calls fail with the
/// server's response. It is renewed all the same if it is about to expire, if the server has accepted it for the same
/// app, or if the `cf` CLI has another token meanwhile. So a token that was revoked in this time is used for at most
/// 60 s. The same holds for a source that has only the rejected token.
///
/// A token function, a proxy function or a logger that is called during a renewal may use the consumer. If that needs
/// the token that is being renewed, it gets the old one while it is valid, or else fails with
/// [`ErrorKind::Unauthorized`].
///
/// A token may be given as `bearer eyJ...`, as `Bearer eyJ...` or as the JWT alone. It is always sent with `bearer ` in
/// lower case, because some servers accept nothing else.
///
/// No token appears in the `Debug` form of a source, in a log or in an error.
#[derive(Clone)]
pub struct TokenSource(Source);

#[derive(Clone)]
enum Source {
    Fixed(Arc<str>),
    Renewable(Arc<RenewableToken>),
}

impl TokenSource {
    /// Returns a source that always supplies this token: `bearer eyJ...`, as `cf oauth-token` prints it, or the JWT
    /// alone. When it has expired, calls fail with [`ErrorKind::Unauthorized`]. If it is empty, no token is sent.
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

    /// Returns a source that calls a function for its tokens.
    ///
    /// The function is called when there is no token yet, when its last token is about to expire, and when a server has
    /// rejected that token. In the last case its argument is the rejected token, and it must return another one or
    /// fail. If a server rejects that one, too, the function is not called again at once: see [`TokenSource`].
    ///
    /// It runs in its own thread and never twice at a time. It may take long, because a call that is closed does not
    /// wait for it. But nothing can interrupt it: if it hangs, its thread hangs, and so does every later call that
    /// needs another token. So it must not wait for another thread that makes such a call. In its own thread it may use
    /// the consumer.
    ///
    /// If it fails or panics, calls without a valid token fail with [`ErrorKind::Unauthorized`]. The error text ends
    /// with the text of the function's error, in which the tokens of this source and all JWTs are hidden. If they are
    /// in another form of the function's error, that error is not available from [`Error::get_ref`].
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use loggregator_consumer::TokenSource;
    ///
    /// let token = TokenSource::from_fn(|_rejected| {
    ///     let output = Command::new("cf").arg("oauth-token").output()?;
    ///     if !output.status.success() {
    ///         return Err("cf oauth-token failed".into());
    ///     }
    ///     Ok(String::from_utf8(output.stdout)?)
    /// });
    /// ```
    pub fn from_fn(f: impl Fn(Option<&str>) -> Result<String, BoxError> + Send + Sync + 'static) -> Self {
        TokenSource(Source::Renewable(Arc::new(RenewableToken::new(Origin::Function(Box::new(f)), None))))
    }

    /// Returns a source that requests its tokens from a UAA, the server where Cloud Foundry's users log in.
    ///
    /// Requests use the TLS connector and the proxy of the consumer that needs a token. The head of the response may
    /// take 10 s, and the body another 10 s (see [`Uaa::timeout`]). When all calls and tails that need the token have
    /// been closed, the request is cancelled after 1 s. If the UAA answers that the session has expired, calls fail
    /// with [`ErrorKind::Unauthorized`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the UAA's address is not an `http://` or `https://` URL.
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

    /// Returns a source for a session at a UAA. `reload` is needed if other programs renew the same session.
    pub(crate) fn session(uaa: Uaa, reload: Option<Box<Reload>>) -> Result<Self> {
        let current = uaa.access_token.as_deref().map(Token::existing).transpose()?;
        let session = Session::new(uaa, reload)?;
        Ok(TokenSource(Source::Renewable(Arc::new(RenewableToken::new(Origin::Session(Box::new(session)), current)))))
    }

    /// Returns the address of the UAA that tokens are requested from, if there is one.
    pub(crate) fn uaa_endpoint(&self) -> Option<&Endpoint> {
        match &self.0 {
            Source::Renewable(token) => match &token.origin {
                Origin::Session(session) => Some(session.endpoint()),
                Origin::Function(_) => None,
            },
            Source::Fixed(_) => None,
        }
    }

    /// Returns the token to send now, with `bearer` in lower case. Renews it first if it is about to expire. `dialer`
    /// connects to the UAA. `cancel` interrupts the wait.
    pub(crate) fn token(&self, dialer: &Arc<Dialer>, cancel: &Cancel) -> Result<String> {
        match &self.0 {
            Source::Fixed(token) => check(token).map(|()| token.to_string()),
            Source::Renewable(token) => token.token(None, dialer, cancel),
        }
    }

    /// Returns another token than `rejected`, a token of this source that a server has just rejected for an app.
    /// Returns an [`ErrorKind::Unauthorized`] if there is none, or if another one is unlikely to help. Otherwise like
    /// [`token`](TokenSource::token).
    pub(crate) fn replace(
        &self,
        rejected: &str,
        app_guid: &str,
        dialer: &Arc<Dialer>,
        cancel: &Cancel,
    ) -> Result<String> {
        match &self.0 {
            Source::Fixed(token) if *rejected == **token => Err(no_replacement()),
            Source::Fixed(_) => self.token(dialer, cancel),
            Source::Renewable(token) => token.token(Some(Rejected { token: rejected, app_guid }), dialer, cancel),
        }
    }

    /// Notes that a server has accepted a token of this source for an app.
    pub(crate) fn accepted(&self, token: &str, app_guid: &str) {
        if let Source::Renewable(source) = &self.0 {
            source.accepted(token, app_guid);
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Fixed(_) => f.write_str("TokenSource::fixed(..)"),
            Source::Renewable(token) => match &token.origin {
                Origin::Function(_) => f.write_str("TokenSource::from_fn(..)"),
                Origin::Session(session) => write!(f, "TokenSource::uaa({session})"),
            },
        }
    }
}

/// A token that can be renewed.
struct RenewableToken {
    origin: Origin,
    state: Mutex<State>,
}

enum Origin {
    Function(Box<TokenFunction>),
    Session(Box<Session>),
}

type TokenFunction = dyn Fn(Option<&str>) -> Result<String, BoxError> + Send + Sync;

/// A token that a server has rejected, and the app of the request.
#[derive(Clone, Copy)]
struct Rejected<'a> {
    token: &'a str,
    app_guid: &'a str,
}

/// Locked only to read or to change it.
struct State {
    current: Option<Token>,
    /// That of the current token, if it replaced a rejected one.
    trial: Option<Trial>,
    /// The last renewal, which may be finished.
    renewal: Option<Arc<Renewal>>,
}

/// A request for another token. Runs in its own thread, so that a call that waits for it can be closed at any time. Its
/// result is kept even if all of them are closed, if it arrives within the [`GRACE_PERIOD`]: a refresh token may be
/// valid for only one use.
struct Renewal {
    /// Disconnected when the thread ends, also by a panic. Nothing is ever sent on it.
    finished: Receiver<Infallible>,
    outcome: OnceLock<Result<String>>,
    /// Number of calls that need the result and have not been closed. A call that continued with its old token counts.
    waiters: AtomicUsize,
    cancel: Arc<Cancel>,
}

impl Renewal {
    /// Removes a waiter whose call was closed. After the last one, the renewal is cancelled at the end of the grace
    /// period.
    fn remove_waiter(self: &Arc<Self>) {
        if self.waiters.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        let this = Arc::clone(self);
        let cancel_later = move || {
            let _ = this.finished.recv_timeout(GRACE_PERIOD);
            if this.waiters.load(Ordering::Relaxed) == 0 {
                this.cancel.cancel();
            }
        };
        if thread::Builder::new().name("loggregator-token".into()).spawn(cancel_later).is_err() {
            self.cancel.cancel();
        }
    }
}

impl RenewableToken {
    fn new(origin: Origin, current: Option<Token>) -> Self {
        RenewableToken { origin, state: Mutex::new(State { current, trial: None, renewal: None }) }
    }

    fn token(
        self: &Arc<Self>,
        rejected: Option<Rejected<'_>>,
        dialer: &Arc<Dialer>,
        cancel: &Cancel,
    ) -> Result<String> {
        let rejected_token = rejected.map(|rejected| rejected.token);
        loop {
            cancel.check()?;
            let mut state = self.state.lock();
            let now = SystemTime::now();
            let current = state.current.as_ref().filter(|current| rejected_token != Some(&*current.text));
            if let Some(current) = current.filter(|current| !current.needs_renewal(now)) {
                return Ok(current.text.clone());
            }
            let still_valid = current.filter(|current| current.is_valid(now)).map(|current| current.text.clone());
            if OnBehalf::current().contains(self.address()) {
                // This thread runs a caller's function for a renewal, which would wait for itself.
                return still_valid.ok_or_else(reentered);
            }
            let (renewal, previous) = if let Some(running) = state.running_renewal() {
                running.waiters.fetch_add(1, Ordering::Relaxed);
                (running, None)
            } else if rejected.is_some_and(|rejected| state.is_on_trial(rejected, now)) {
                drop(state);
                return self.reload(rejected_token);
            } else {
                let renewal = self.start_renewal(rejected_token, dialer)?;
                let previous = state.renewal.replace(Arc::clone(&renewal));
                (renewal, previous)
            };
            drop(state);
            // Not under the lock: its error may have a destructor of the caller's.
            drop(previous);

            let timeout = if still_valid.is_some() { after(WAIT_FOR_RENEWAL) } else { never() };
            select! {
                recv(renewal.finished) -> _ => {}
                recv(timeout) -> _ => {
                    // The call continues with its old token. It stays a waiter until it is closed.
                    let renewal = Arc::clone(&renewal);
                    cancel.on_cancel(move || renewal.remove_waiter());
                }
                recv(cancel.signal()) -> _ => {
                    renewal.remove_waiter();
                    return Err(Error::closed());
                }
            }
            match (renewal.outcome.get(), still_valid) {
                // The renewal started before the token was known to be rejected. Try once more.
                (Some(Ok(token)), _) if rejected_token == Some(token) => {}
                (Some(Ok(token)), _) => return Ok(token.clone()),
                (_, Some(token)) => return Ok(token),
                // The renewal was cancelled just before this call joined it. Try once more.
                (Some(Err(error)), None) if error.kind() == ErrorKind::Closed => {}
                (Some(Err(error)), None) => return Err(error.clone()),
                (None, None) => return Err(self.origin.panicked()),
            }
        }
    }

    /// Identifies this source, for [`OnBehalf`].
    fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    fn accepted(&self, token: &str, app_guid: &str) {
        let mut state = self.state.lock();
        if state.current.as_ref().is_some_and(|current| current.text == token)
            && let Some(trial) = &mut state.trial
        {
            trial.accept(app_guid);
        }
    }

    /// Returns the token that another program has received meanwhile, without a request. To be called instead of a
    /// renewal.
    fn reload(&self, rejected: Option<&str>) -> Result<String> {
        let Origin::Session(session) = &self.origin else { return Err(no_replacement()) };
        let token = session.reload(rejected)?.ok_or_else(no_replacement)?;
        let text = token.text.clone();
        let mut state = self.state.lock();
        if state.current.as_ref().is_none_or(|current| rejected == Some(&*current.text)) {
            state.replace(token, rejected);
        }
        Ok(text)
    }

    /// Starts a renewal, in its own thread. The caller is its first waiter.
    fn start_renewal(self: &Arc<Self>, rejected: Option<&str>, dialer: &Arc<Dialer>) -> Result<Arc<Renewal>> {
        let (running, finished) = bounded(0);
        let renewal = Arc::new(Renewal {
            finished,
            outcome: OnceLock::new(),
            waiters: AtomicUsize::new(1),
            cancel: Cancel::new(),
        });
        let on_behalf = OnBehalf::current().and(self.address());
        let run = {
            let (this, renewal, dialer) = (Arc::clone(self), Arc::clone(&renewal), Arc::clone(dialer));
            let rejected = rejected.map(str::to_owned);
            move || {
                let run = move || this.run_renewal(&renewal, running, rejected.as_deref(), &dialer);
                // Logged when nobody waits for this thread any more: the logger may do anything.
                if let Some(error) = on_behalf.run(run) {
                    log::warn!("the token could not be renewed, using the old one while it is valid: {error}");
                }
            }
        };
        thread::Builder::new()
            .name("loggregator-token".into())
            .stack_size(CALLER_STACK_SIZE)
            .spawn(run)
            .map_err(|cause| Error::caused(ErrorKind::Dial, "starting the thread that renews a token", cause))?;
        Ok(renewal)
    }

    /// Runs a renewal until `running` is dropped, which ends the wait for it. Returns the text of its error if the old
    /// token is used instead.
    fn run_renewal(
        &self,
        renewal: &Renewal,
        running: Sender<Infallible>,
        rejected: Option<&str>,
        dialer: &Dialer,
    ) -> Option<String> {
        let get = || self.get_new_token(rejected, dialer, &renewal.cancel);
        let outcome = catch_unwind(AssertUnwindSafe(get)).unwrap_or_else(|_| Err(self.origin.panicked()));
        let (outcome, is_postponed) = self.store(outcome, rejected, &renewal.cancel);
        let warning = outcome.as_ref().err().filter(|_| is_postponed).map(Error::to_string);
        let _ = renewal.outcome.set(outcome);
        drop(running);
        warning
    }

    /// Stores the result of a renewal. Returns it with true if the old token is used instead.
    fn store(&self, outcome: Result<Token>, rejected: Option<&str>, cancel: &Cancel) -> (Result<String>, bool) {
        // An error is returned or, as an argument, dropped after the guard: it may have a destructor of the caller's.
        let mut state = self.state.lock();
        let now = SystemTime::now();
        match outcome {
            Ok(token) => {
                let text = token.text.clone();
                state.replace(token, rejected);
                (Ok(text), false)
            }
            Err(_) if cancel.is_cancelled() => (Err(Error::closed()), false),
            Err(error) => {
                let State { current, trial, .. } = &mut *state;
                let current = current.as_mut().filter(|current| current.is_valid(now));
                if let Some(current) = current.as_deref().filter(|current| rejected == Some(&*current.text))
                    && is_no_replacement(&error)
                {
                    *trial = Some(Trial::of(current));
                }
                let is_postponed = current.map(|current| current.postpone_renewal(now)).is_some();
                (Err(error), is_postponed)
            }
        }
    }

    /// Gets a token that does not expire within the current second.
    fn get_new_token(&self, rejected: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<Token> {
        let current = self.state.lock().current.clone();
        if let Some(current) = &current {
            current.wait_before_renewal(cancel)?;
        }
        let current = current.as_ref().map(|current| &*current.text);
        let get = || self.origin.get(current, rejected, dialer, cancel);
        let token = get()?;
        if token.wait_before_renewal(cancel)? { get() } else { Ok(token) }
    }
}

impl State {
    fn running_renewal(&self) -> Option<Arc<Renewal>> {
        self.renewal.clone().filter(|renewal| renewal.finished.try_recv() == Err(TryRecvError::Empty))
    }

    /// Returns true if the current token is the rejected one, replaced a rejected one itself, and another one is
    /// unlikely to help.
    fn is_on_trial(&self, rejected: Rejected<'_>, now: SystemTime) -> bool {
        let current = self.current.as_ref().filter(|current| current.text == rejected.token);
        current.is_some_and(|current| !current.needs_renewal(now))
            && self.trial.as_ref().is_some_and(|trial| !trial.allows_renewal(rejected.app_guid))
    }

    /// Replaces the current token. The new one is on trial if it replaces a rejected one.
    fn replace(&mut self, token: Token, rejected: Option<&str>) {
        self.trial = rejected.map(|_| Trial::of(&token));
        self.current = Some(token);
    }
}

impl Origin {
    /// Gets a token other than `rejected`. Runs the caller's code.
    fn get(&self, current: Option<&str>, rejected: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<Token> {
        let token = match self {
            Origin::Function(function) => {
                let token = function(rejected).map_err(|cause| function_failed(cause, [current, rejected]))?;
                Token::existing(&token)?
            }
            Origin::Session(session) => session.renew(rejected, dialer, cancel)?,
        };
        if rejected == Some(&*token.text) { Err(no_replacement()) } else { Ok(token) }
    }

    fn panicked(&self) -> Error {
        let text = match self {
            Origin::Function(_) => "the token function panicked",
            Origin::Session(_) => "a proxy function or a logger panicked while a token was requested",
        };
        Error::new(ErrorKind::Unauthorized, text)
    }
}

/// Returns the error of a token function that failed. The cause is left out if it contains one of these tokens or a
/// JWT, because [`Error::get_ref`] would show it.
fn function_failed(cause: BoxError, tokens: [Option<&str>; 2]) -> Error {
    const WHAT: &str = "the token function failed";
    let mut secrets = Secrets::default();
    tokens.into_iter().flatten().for_each(|token| secrets.add_token(token));
    let forms = all_forms(&*cause);
    if secrets.are_in(&forms) || hide_jwts(&forms) != forms {
        let text = hide_jwts(&secrets.hide_in(&cause.to_string()));
        Error::new(ErrorKind::Unauthorized, format!("{WHAT}: {text}"))
    } else {
        Error::caused(ErrorKind::Unauthorized, WHAT, cause)
    }
}

fn reentered() -> Error {
    Error::new(
        ErrorKind::Unauthorized,
        "there is no token yet: a function that is called during the renewal of a token cannot wait for that token",
    )
}

fn no_replacement() -> Error {
    Error::new(ErrorKind::Unauthorized, NO_REPLACEMENT)
}

/// Returns true if the source's only problem is that it has no other token than the rejected one.
pub(crate) fn is_no_replacement(error: &Error) -> bool {
    error.to_string() == NO_REPLACEMENT
}

const NO_REPLACEMENT: &str =
    "the server rejected the token, and there is no other: get a new one, for example with `cf oauth-token`";

#[cfg(test)]
mod tests;
