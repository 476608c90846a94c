//! [`Socket`]: a client's non-blocking socket, plain or TLS, with the faults that concern single bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use native_tls::TlsStream;
use socket2::SockRef;

use crate::net::deadline::after;
use crate::testing::config::fault::{FaultPlan, Interruption};

pub(crate) struct Socket {
    transport: Transport,
    /// How many bytes have been sent, counted before encryption.
    sent: u64,
    /// After how many bytes the sending is interrupted, and how.
    interruption: Option<(u64, Interruption)>,
    /// The pause between two bytes.
    drip: Option<Duration>,
    /// When the next byte may be sent if there is such a pause.
    next_byte: Instant,
    /// The client will send nothing more.
    ended: bool,
}

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why a connection ends before its response does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disconnect {
    /// This side ends it without notice.
    Drop,
    /// This side resets it.
    Reset,
    /// The client has left.
    ClientGone,
}

impl From<io::Error> for Disconnect {
    fn from(_: io::Error) -> Self {
        Disconnect::ClientGone
    }
}

/// Whether the faults allow writing.
pub(super) enum WriteAllowed {
    Now,
    /// From this instant on.
    From(Instant),
    Never,
}

impl Socket {
    pub(super) fn new(transport: Transport, plan: &FaultPlan) -> Self {
        let next_byte = Instant::now();
        let mut socket = Socket { transport, sent: 0, interruption: None, drip: None, next_byte, ended: false };
        socket.set_faults(plan);
        socket
    }

    /// Replaces the faults. Their positions count from here.
    pub(super) fn set_faults(&mut self, plan: &FaultPlan) {
        let FaultPlan { interruption, drip, .. } = *plan;
        self.sent = 0;
        self.interruption = interruption;
        self.drip = drip;
    }

    /// Interrupts the sending after this many bytes.
    pub(crate) fn interrupt_at(&mut self, position: u64, interruption: Interruption) {
        self.interruption = Some((position, interruption));
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        match &self.transport {
            Transport::Plain(tcp) => tcp,
            Transport::Tls(tls) => tls.get_ref(),
        }
    }

    /// Returns true if the client will send nothing more.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn write_allowed(&self) -> WriteAllowed {
        match self.interruption {
            Some((position, Interruption::Stall)) if self.sent >= position => WriteAllowed::Never,
            _ if self.drip.is_some() && Instant::now() < self.next_byte => WriteAllowed::From(self.next_byte),
            _ => WriteAllowed::Now,
        }
    }

    /// Returns an error if a fault ends the connection at this position.
    pub(super) fn check(&self) -> Result<(), Disconnect> {
        match self.interruption {
            Some((position, Interruption::Drop)) if self.sent >= position => Err(Disconnect::Drop),
            Some((position, Interruption::Reset)) if self.sent >= position => Err(Disconnect::Reset),
            _ => Ok(()),
        }
    }

    /// Writes some of the bytes and returns how many. `None`: nothing can be written now.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>, Disconnect> {
        self.check()?;
        if !matches!(self.write_allowed(), WriteAllowed::Now) {
            return Ok(None);
        }
        let mut allowed = bytes.len();
        if let Some((position, _)) = self.interruption {
            allowed = allowed.min(usize::try_from(position.saturating_sub(self.sent)).unwrap_or(usize::MAX));
        }
        if self.drip.is_some() {
            allowed = allowed.min(1);
        }
        let result = match &mut self.transport {
            Transport::Plain(tcp) => tcp.write(&bytes[..allowed]),
            Transport::Tls(tls) => tls.write(&bytes[..allowed]),
        };
        let Some(written) = none_if_not_ready(result)? else { return Ok(None) };
        self.sent += written as u64;
        if let Some(pause) = self.drip {
            self.next_byte = after(pause);
        }
        Ok(Some(written))
    }

    /// Reads some bytes and returns how many. `None`: there are none now. 0: the client will send nothing more.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Disconnect> {
        if self.ended {
            return Ok(Some(0));
        }
        let result = match &mut self.transport {
            Transport::Plain(tcp) => tcp.read(buffer),
            Transport::Tls(tls) => tls.read(buffer),
        };
        let read = none_if_not_ready(result)?;
        self.ended = read == Some(0);
        Ok(read)
    }

    /// Reads everything that has arrived and discards it.
    pub(crate) fn discard_input(&mut self) -> Result<(), Disconnect> {
        let mut scratch = [0; 16 * 1024];
        while self.read(&mut scratch)?.is_some_and(|read| read > 0) {}
        Ok(())
    }

    /// Ends the sending side: TLS's `close_notify` and TCP's FIN.
    pub(crate) fn shut_down(&mut self) {
        if let Transport::Tls(tls) = &mut self.transport {
            let _ = tls.shutdown();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }

    /// Ends the sending side with TCP's FIN alone. The faults have no effect any more.
    pub(super) fn drop_sending_side(&mut self) {
        self.set_faults(&FaultPlan::default());
        let _ = self.tcp().shutdown(Shutdown::Write);
    }

    /// Makes the closing of the socket send a reset instead of a FIN.
    pub(crate) fn reset_on_close(&self) {
        let _ = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
    }
}

fn none_if_not_ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
