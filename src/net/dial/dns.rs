//! Resolves host names with the system's resolver.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{bounded, select};

use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::failure::io_error;

/// The most abandoned lookups that may still run. Each occupies a thread until the name server answers.
const MAX_ABANDONED: isize = 64;

/// Returns the addresses of a host name, or of an IP address.
pub(super) fn resolve(host: &str, port: u16, deadline: Instant, cancel: &Cancel) -> Result<Vec<SocketAddr>> {
    static LOOKUPS: Lookups = Lookups::new();
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = host.to_owned();
    let lookup = move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
    LOOKUPS.run(host, lookup, deadline, cancel)
}

/// The lookups of this process.
///
/// The system's resolver cannot be interrupted. So each lookup has a thread, which may outlive the deadline. The caller
/// stops waiting at the deadline or when it is cancelled, and abandons the lookup.
struct Lookups {
    /// Incremented when a caller stops waiting, decremented when a lookup ends. A lookup that ends first makes it
    /// negative for a moment.
    abandoned: AtomicIsize,
}

impl Lookups {
    const fn new() -> Self {
        Lookups { abandoned: AtomicIsize::new(0) }
    }

    /// Runs `lookup` in a thread, and waits for it until the deadline.
    fn run(
        &'static self,
        host: &str,
        lookup: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
        deadline: Instant,
        cancel: &Cancel,
    ) -> Result<Vec<SocketAddr>> {
        if self.abandoned.load(Ordering::Relaxed) >= MAX_ABANDONED {
            let text = format!(
                "resolving {host}: {MAX_ABANDONED} abandoned lookups are still unanswered, so no new one is started (is \
                 the name server reachable?)"
            );
            return Err(Error::new(ErrorKind::Dial, text));
        }
        let (done, resolved) = bounded(1);
        let run = move || {
            let addresses = lookup();
            // Before the result is sent, so that a lookup with a result never counts as abandoned.
            self.abandoned.fetch_sub(1, Ordering::Relaxed);
            let _ = done.send(addresses);
        };
        thread::Builder::new()
            .name("loggregator-resolve".into())
            .spawn(run)
            .map_err(|cause| Error::caused(ErrorKind::Dial, "starting the resolver thread", cause))?;
        let addresses = select! {
            recv(resolved) -> addresses => match addresses {
                Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
                Ok(Err(cause)) => Err(Error::caused(ErrorKind::Dial, format_args!("resolving {host}"), cause)),
                _ => Err(Error::new(ErrorKind::Dial, format!("resolving {host}: the name has no address"))),
            },
            recv(cancel.signal()) -> _ => Err(Error::closed()),
            default(deadline.saturating_duration_since(Instant::now())) =>
                Err(io_error(format_args!("resolving {host}"), io::ErrorKind::TimedOut.into())),
        };
        self.abandoned.fetch_add(1, Ordering::Relaxed);
        addresses
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Barrier};
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn address() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 1).into()
    }

    fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn hanging_lookups_are_abandoned_and_limited() {
        static LOOKUPS: Lookups = Lookups::new();
        let (answer, hanging) = bounded::<()>(0);
        let hang = || {
            let hanging = hanging.clone();
            move || {
                let _ = hanging.recv();
                Ok(vec![address()])
            }
        };
        let closed = Cancel::new();
        closed.cancel();
        for n in 0..MAX_ABANDONED {
            if n % 2 == 0 {
                assert_eq!(kind(LOOKUPS.run("host", hang(), Instant::now(), &Cancel::new())), ErrorKind::Timeout);
            } else {
                assert_eq!(kind(LOOKUPS.run("host", hang(), Instant::now() + LONG, &closed)), ErrorKind::Closed);
            }
        }
        let error = LOOKUPS.run("host", hang(), Instant::now() + LONG, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Dial);
        assert!(error.to_string().contains("resolving host: 64 abandoned lookups"), "{error}");

        // The name server answers again.
        drop(answer);
        let deadline = Instant::now() + LONG;
        while LOOKUPS.abandoned.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
        assert_eq!(LOOKUPS.run("host", hang(), deadline, &Cancel::new()).unwrap(), [address()]);
    }

    #[test]
    fn lookups_that_callers_wait_for_are_not_limited() {
        static LOOKUPS: Lookups = Lookups::new();
        const MANY: usize = 2 * MAX_ABANDONED as usize;
        let all_at_once = Arc::new(Barrier::new(MANY));
        thread::scope(|scope| {
            for _ in 0..MANY {
                let all_at_once = Arc::clone(&all_at_once);
                let lookup = move || {
                    all_at_once.wait();
                    Ok(vec![address()])
                };
                scope.spawn(|| LOOKUPS.run("host", lookup, Instant::now() + LONG, &Cancel::new()).unwrap());
            }
        });
    }
}
