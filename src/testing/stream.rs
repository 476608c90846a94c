//! [`Stream`]: a connection's non-blocking socket, plain or TLS, which breaks where a fault wants it to break.

use crate::net::deadline::after;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use native_tls::TlsStream;
use socket2::SockRef;

use super::config::fault::{FaultPlan, Interruption};

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) struct Stream {
    transport: Transport,
    /// How many bytes were sent, before they were encrypted.
    sent: u64,
    cut: Option<(u64, Interruption)>,
    drip: Option<Duration>,
    /// When the next byte may drip.
    next_drop: Instant,
    /// The client has sent all it will send.
    ended: bool,
}

/// Why there is nothing more to do for a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// This side leaves without a word.
    Drop,
    /// This side leaves with a reset.
    Reset,
    /// The client has left.
    Gone,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Broken::Gone
    }
}

/// Whether the faults let anything be written now.
pub(super) enum Gate {
    Open,
    Until(Instant),
    Shut,
}

impl Stream {
    pub(super) fn new(transport: Transport, plan: &FaultPlan) -> Self {
        Stream { transport, sent: 0, cut: plan.interruption, drip: plan.drip, next_drop: Instant::now(), ended: false }
    }

    pub(super) fn cut_at(&mut self, position: u64, cut: Interruption) {
        self.cut = Some((position, cut));
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        match &self.transport {
            Transport::Plain(tcp) => tcp,
            Transport::Tls(tls) => tls.get_ref(),
        }
    }

    /// Whether the client has sent all it will send.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn gate(&self) -> Gate {
        match self.cut {
            Some((at, Interruption::Stall)) if self.sent >= at => Gate::Shut,
            _ if self.drip.is_some() && Instant::now() < self.next_drop => Gate::Until(self.next_drop),
            _ => Gate::Open,
        }
    }

    /// An error when it is time to break.
    pub(super) fn check(&self) -> Result<(), Broken> {
        match self.cut {
            Some((at, Interruption::Drop)) if self.sent >= at => Err(Broken::Drop),
            Some((at, Interruption::Reset)) if self.sent >= at => Err(Broken::Reset),
            _ => Ok(()),
        }
    }

    /// Writes some of the bytes; `None` when none can be written now.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        self.check()?;
        if !matches!(self.gate(), Gate::Open) {
            return Ok(None);
        }
        let mut room = bytes.len();
        if let Some((at, _)) = self.cut {
            room = room.min(usize::try_from(at.saturating_sub(self.sent)).unwrap_or(usize::MAX));
        }
        if self.drip.is_some() {
            room = room.min(1);
        }
        let written = match &mut self.transport {
            Transport::Plain(tcp) => tcp.write(&bytes[..room]),
            Transport::Tls(tls) => tls.write(&bytes[..room]),
        };
        let Some(written) = now_or_later(written)? else { return Ok(None) };
        self.sent += written as u64;
        if let Some(pause) = self.drip {
            self.next_drop = after(pause);
        }
        Ok(Some(written))
    }

    /// Reads some bytes: `None` when there are none now, 0 at the client's end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<Option<usize>, Broken> {
        if self.ended {
            return Ok(Some(0));
        }
        let read = match &mut self.transport {
            Transport::Plain(tcp) => tcp.read(into),
            Transport::Tls(tls) => tls.read(into),
        };
        let read = now_or_later(read)?;
        self.ended = read == Some(0);
        Ok(read)
    }

    /// Reads what is there and throws it away.
    pub(super) fn discard_input(&mut self) -> Result<(), Broken> {
        let mut scratch = [0; 16 * 1024];
        while self.read(&mut scratch)?.is_some_and(|read| read > 0) {}
        Ok(())
    }

    /// Says that nothing more will be sent: `close_notify` and FIN.
    pub(super) fn shut_down(&mut self) {
        if let Transport::Tls(tls) = &mut self.transport {
            let _ = tls.shutdown();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }

    /// Makes the close that follows a reset.
    pub(super) fn reset_on_close(&self) {
        let _ = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
    }
}

fn now_or_later(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
