//! [`Waker`]: wakes a thread that waits for its socket.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;

/// A UDP socket that is connected to itself: every system can `poll` it together with another socket.
pub(crate) struct Waker(UdpSocket);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(socket.local_addr()?)?;
        socket.set_nonblocking(true)?;
        Ok(Waker(socket))
    }

    /// Ends the current call of `wait`, or else the next one.
    pub(crate) fn wake(&self) {
        // This fails if the buffer is full. In that case the thread has already been woken.
        let _ = self.0.send(&[0]);
    }

    /// Waits until `socket` is ready for one of `events`, until `wake` is called, or until `deadline`. Returns what the
    /// socket is ready for. It may return early.
    pub(crate) fn wait(
        &self,
        socket: &impl AsFd,
        events: PollFlags,
        deadline: Option<Instant>,
    ) -> io::Result<PollFlags> {
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // At most an hour: the longest possible timeout differs between systems.
            Timespec { tv_sec: left.as_secs().min(3600) as _, tv_nsec: left.subsec_nanos() as _ }
        });
        let mut sockets = [PollFd::new(socket, events), PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut sockets, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(PollFlags::empty()),
            Err(error) => return Err(error.into()),
        }
        if !sockets[1].revents().is_empty() {
            while self.0.recv(&mut [0]).is_ok() {}
        }
        Ok(sockets[0].revents())
    }
}
