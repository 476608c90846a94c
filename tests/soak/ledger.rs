//! Compares what one app has logged with what its tail has given. Every missing message must lie at a break that the
//! tail reported, or at a time without a tail. Every clean end must be one that the server made, with no message
//! missing before it.

use loggregator_consumer::Ending;

use crate::relay::Carried;

#[derive(Default)]
pub struct Ledger {
    /// The latest number that was given to the server.
    sent: u64,
    /// The latest number that the server sent to a tail.
    accepted: u64,
    /// The ends that the server made and the tail has not reported, each by the latest number before it.
    closes: Vec<u64>,
    /// The latest number that the tail gave, or reported as undecodable.
    received: u64,
    /// Whether a message came on the current connection: then the next number is known.
    in_stream: bool,
}

impl Ledger {
    /// Records that a message is about to be sent. Called before it is sent, because the tail may give it at once.
    pub fn sending(&mut self, number: u64) {
        self.sent = number;
    }

    pub fn accepted(&mut self, number: u64) {
        self.accepted = number;
    }

    /// Records that the server is about to close its tails. Called before it does, because the tail may report it at
    /// once.
    pub fn closing(&mut self) {
        self.closes.push(self.accepted);
    }

    /// Takes back [`closing`](Self::closing): there was no tail to close.
    pub fn not_closed(&mut self) {
        self.closes.pop();
    }

    /// Records a message from the tail, and returns how many were lost before it.
    pub fn message(&mut self, number: u64) -> Result<u64, String> {
        let last = self.received;
        if number <= last {
            return Err(format!("message {number} came again, or too late: after {last}"));
        }
        if self.in_stream && number != last + 1 {
            return Err(format!("message {number} came after {last}, without a reported break"));
        }
        if number > self.sent {
            return Err(format!("message {number} came, but only {} messages were sent", self.sent));
        }
        let lost = number - last - 1;
        (self.received, self.in_stream) = (number, true);
        Ok(lost)
    }

    /// Records an undecodable item from the tail, and returns how many numbers it accounts for: none if it is the first
    /// item on its connection.
    pub fn undecodable(&mut self, is_message: impl Fn(u64) -> bool) -> Result<u64, String> {
        if !self.in_stream {
            return Ok(0);
        }
        self.received += 1;
        match is_message(self.received) {
            true => Err(format!("message {} could not be decoded", self.received)),
            false => Ok(1),
        }
    }

    /// Records how a connection ended. `carried` returns what the relay carried on the connection that had this number.
    pub fn ended(&mut self, ending: &Ending, carried: impl Fn(u64) -> Option<Carried>) -> Result<(), String> {
        let in_stream = std::mem::take(&mut self.in_stream);
        let last = self.received;
        let by_server = matches!(ending, Ending::ClosedByServer { .. } | Ending::Closing { .. });
        if by_server && ending.is_clean() {
            let Some(at) = self.closes.iter().position(|closed| !in_stream || *closed == last) else {
                let closes = &self.closes;
                return Err(format!("a clean end after {last}, but the server made none there: {closes:?}"));
            };
            self.closes.drain(..=at);
        }
        let has_seen_all = by_server || *ending == Ending::Eof;
        match carried(last) {
            // The last message may be incomplete.
            Some(carried) if in_stream && has_seen_all && carried.last > last + 1 => Err(format!(
                "{ending}: the messages up to {} had arrived, but {last} was the last one given",
                carried.last
            )),
            _ => Ok(()),
        }
    }

    /// Records that the caller has closed the tail.
    pub fn closed_by_caller(&mut self) {
        self.in_stream = false;
    }

    /// Returns how many messages were sent after the last one that arrived.
    pub fn undelivered(&self) -> u64 {
        self.sent - self.received
    }
}
