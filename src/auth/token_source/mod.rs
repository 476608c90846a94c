//! [`TokenSource`]: supplies the token of each request, and renews it when it is about to expire or was rejected.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, TryRecvError, after, bounded, never, select};
use parking_lot::Mutex;

use super::token::{Token, check, normalised};
use super::uaa::{Reload, Session, Uaa};
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::dial::Dialer;
use crate::net::endpoint::Endpoint;

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
    /// fail. It runs in its own thread and never twice at a time. It may take long, because a call that is closed does
    /// not wait for it. But nothing can interrupt it: if it hangs, its thread hangs, and so does every later call that
    /// needs another token.
    ///
    /// If it fails, calls without a valid token fail with [`ErrorKind::Unauthorized`]. The error text ends with the
    /// text of the function's error.
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
        let current = uaa.access_token.as_deref().and_then(|token| Token::existing(token).ok());
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

    /// Returns the token to send now, with `bearer` in lower case. Renews it first if it is about to expire.
    ///
    /// `rejected` is a token of this source that a server has just rejected. Then another token is returned, or an
    /// [`ErrorKind::Unauthorized`] if there is none. `dialer` connects to the UAA. `cancel` interrupts the wait.
    pub(crate) fn token(&self, rejected: Option<&str>, dialer: &Arc<Dialer>, cancel: &Cancel) -> Result<String> {
        match &self.0 {
            Source::Fixed(token) if rejected == Some(&**token) => Err(no_replacement()),
            Source::Fixed(token) => check(token).map(|()| token.to_string()),
            Source::Renewable(token) => token.token(rejected, dialer, cancel),
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

struct State {
    current: Option<Token>,
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
        RenewableToken { origin, state: Mutex::new(State { current, renewal: None }) }
    }

    fn token(self: &Arc<Self>, rejected: Option<&str>, dialer: &Arc<Dialer>, cancel: &Cancel) -> Result<String> {
        loop {
            cancel.check()?;
            let mut state = self.state.lock();
            let now = SystemTime::now();
            let current = state.current.as_ref().filter(|current| rejected != Some(&*current.text));
            if let Some(current) = current.filter(|current| !current.needs_renewal(now)) {
                return Ok(current.text.clone());
            }
            let still_valid = current.filter(|current| current.is_valid(now)).map(|current| current.text.clone());
            let renewal = self.join_or_start_renewal(&mut state, rejected, dialer)?;
            drop(state);

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
                (Some(Ok(token)), _) if rejected == Some(token) => {}
                (Some(Ok(token)), _) => return Ok(token.clone()),
                (_, Some(token)) => return Ok(token),
                // The renewal was cancelled just before this call joined it. Try once more.
                (Some(Err(error)), None) if error.kind() == ErrorKind::Closed => {}
                (Some(Err(error)), None) => return Err(error.clone()),
                (None, None) => return Err(Error::new(ErrorKind::Unauthorized, "the token function panicked")),
            }
        }
    }

    /// Returns the renewal that is running, or starts one.
    fn join_or_start_renewal(
        self: &Arc<Self>,
        state: &mut State,
        rejected: Option<&str>,
        dialer: &Arc<Dialer>,
    ) -> Result<Arc<Renewal>> {
        if let Some(renewal) = &state.renewal
            && renewal.finished.try_recv() == Err(TryRecvError::Empty)
        {
            renewal.waiters.fetch_add(1, Ordering::Relaxed);
            return Ok(Arc::clone(renewal));
        }
        let (running, finished) = bounded(0);
        let renewal = Arc::new(Renewal {
            finished,
            outcome: OnceLock::new(),
            waiters: AtomicUsize::new(1),
            cancel: Cancel::new(),
        });
        let run = {
            let (this, renewal, dialer) = (Arc::clone(self), Arc::clone(&renewal), Arc::clone(dialer));
            let rejected = rejected.map(str::to_owned);
            move || {
                let _running = running;
                let _ = renewal.outcome.set(this.renew(rejected.as_deref(), &dialer, &renewal.cancel));
            }
        };
        thread::Builder::new()
            .name("loggregator-token".into())
            .spawn(run)
            .map_err(|cause| Error::caused(ErrorKind::Dial, "starting the thread that renews a token", cause))?;
        state.renewal = Some(Arc::clone(&renewal));
        Ok(renewal)
    }

    /// Gets another token and stores it.
    fn renew(&self, rejected: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<String> {
        let outcome = self.get_new_token(rejected, dialer, cancel);
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
                if let Some(current) = state.current.as_mut().filter(|current| current.is_valid(now)) {
                    log::warn!("the token could not be renewed, using the old one while it is valid: {error}");
                    current.postpone_renewal(now);
                }
                Err(error)
            }
        }
    }

    /// Gets a token that does not expire within the current second.
    fn get_new_token(&self, rejected: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<Token> {
        let current = self.state.lock().current.clone();
        if let Some(current) = current {
            current.wait_before_renewal(cancel)?;
        }
        let token = self.origin.get(rejected, dialer, cancel)?;
        if token.wait_before_renewal(cancel)? { self.origin.get(rejected, dialer, cancel) } else { Ok(token) }
    }
}

impl Origin {
    fn get(&self, rejected: Option<&str>, dialer: &Dialer, cancel: &Cancel) -> Result<Token> {
        let token = match self {
            Origin::Function(function) => {
                let token = function(rejected)
                    .map_err(|cause| Error::caused(ErrorKind::Unauthorized, "the token function failed", cause))?;
                Token::existing(&token)?
            }
            Origin::Session(session) => session.renew(rejected, dialer, cancel)?,
        };
        if rejected == Some(&*token.text) { Err(no_replacement()) } else { Ok(token) }
    }
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
