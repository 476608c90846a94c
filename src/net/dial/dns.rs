//! The addresses of a host's name, from the system's resolver.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{bounded, select};

use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::failure::io_error;

/// How many look-ups may be under way that nobody waits for any more: each has a thread, for as long as a name server
/// keeps it waiting.
const MAX_ABANDONED: isize = 64;

pub(super) fn resolve(host: &str, port: u16, deadline: Instant, cancel: &Cancel) -> Result<Vec<SocketAddr>> {
    static OF_THIS_PROCESS: LookUps = LookUps::new();
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = host.to_owned();
    let look_up = move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
    OF_THIS_PROCESS.make(host, look_up, deadline, cancel)
}

/// The system's resolver can't be interrupted: a thread waits for it, and may outlive the deadline; we do not.
struct LookUps {
    /// Counted up by who leaves a look-up, down by the look-up when it is over.
    abandoned: AtomicIsize,
}

impl LookUps {
    const fn new() -> Self {
        LookUps { abandoned: AtomicIsize::new(0) }
    }

    fn make(
        &'static self,
        host: &str,
        look_up: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
        deadline: Instant,
        cancel: &Cancel,
    ) -> Result<Vec<SocketAddr>> {
        if self.abandoned.load(Ordering::Relaxed) >= MAX_ABANDONED {
            let text = format!(
                "resolving {host}: {MAX_ABANDONED} look-ups that were given up are still without an answer, so no other \
                 is begun: is the name server there?"
            );
            return Err(Error::new(ErrorKind::Dial, text));
        }
        let (done, resolved) = bounded(1);
        let run = move || {
            let addresses = look_up();
            // Before anybody can leave it with an answer, so that no answered ones are counted.
            self.abandoned.fetch_sub(1, Ordering::Relaxed);
            let _ = done.send(addresses);
        };
        thread::Builder::new()
            .name("loggregator-resolve".into())
            .spawn(run)
            .map_err(|cause| Error::caused(ErrorKind::Dial, "starting the thread that resolves names", cause))?;
        let addresses = select! {
            recv(resolved) -> addresses => match addresses {
                Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
                Ok(Err(cause)) => Err(Error::caused(ErrorKind::Dial, format_args!("resolving {host}"), cause)),
                _ => Err(Error::new(ErrorKind::Dial, format!("resolving {host}: it has no address"))),
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
    fn look_ups_that_hang_are_left_and_do_not_pile_up() {
        static LOOK_UPS: LookUps = LookUps::new();
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
                assert_eq!(kind(LOOK_UPS.make("host", hang(), Instant::now(), &Cancel::new())), ErrorKind::Timeout);
            } else {
                assert_eq!(kind(LOOK_UPS.make("host", hang(), Instant::now() + LONG, &closed)), ErrorKind::Closed);
            }
        }
        let error = LOOK_UPS.make("host", hang(), Instant::now() + LONG, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Dial);
        assert!(error.to_string().contains("resolving host: 64 look-ups"), "{error}");

        // The name server is back.
        drop(answer);
        let deadline = Instant::now() + LONG;
        while LOOK_UPS.abandoned.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
        assert_eq!(LOOK_UPS.make("host", hang(), deadline, &Cancel::new()).unwrap(), [address()]);
    }

    #[test]
    fn look_ups_that_are_waited_for_may_be_many() {
        static LOOK_UPS: LookUps = LookUps::new();
        const MANY: usize = 2 * MAX_ABANDONED as usize;
        let all_at_once = Arc::new(Barrier::new(MANY));
        thread::scope(|scope| {
            for _ in 0..MANY {
                let all_at_once = Arc::clone(&all_at_once);
                let look_up = move || {
                    all_at_once.wait();
                    Ok(vec![address()])
                };
                scope.spawn(|| LOOK_UPS.make("host", look_up, Instant::now() + LONG, &Cancel::new()).unwrap());
            }
        });
    }
}
