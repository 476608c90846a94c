//! What one app has logged, against what its tail has given: each message that is missing must lie at a break that the
//! tail tells of, or where nobody tailed, and an end that looks clean must be one that the server made, with nothing
//! missing before it.

use loggregator_consumer::Ending;

use crate::relay::Carried;

#[derive(Default)]
pub struct Ledger {
    /// The latest number that the server was given.
    sent: u64,
    /// The latest number that it put on its way to a tail.
    accepted: u64,
    /// The ends that the server made and the tail has not told of, each by the latest number before it.
    closes: Vec<u64>,
    /// The latest number that the tail gave, or told of as undecodable.
    received: u64,
    /// Whether any came on the connection of now: so it is plain which number must be next.
    in_stream: bool,
}

impl Ledger {
    /// To be told before it is done, for the tail may give it at once.
    pub fn sending(&mut self, number: u64) {
        self.sent = number;
    }

    pub fn accepted(&mut self, number: u64) {
        self.accepted = number;
    }

    /// To be told before it is done, for the tail may tell of it at once.
    pub fn closing(&mut self) {
        self.closes.push(self.accepted);
    }

    /// It was not: nobody tailed.
    pub fn not_closed(&mut self) {
        self.closes.pop();
    }

    /// The tail gave this message. How many were lost before it.
    pub fn message(&mut self, number: u64) -> Result<u64, String> {
        let last = self.received;
        if number <= last {
            return Err(format!("message {number} came again, or too late: behind {last}"));
        }
        if self.in_stream && number != last + 1 {
            return Err(format!("message {number} came behind {last}, and nothing told of a break"));
        }
        if number > self.sent {
            return Err(format!("message {number} came, and {} was the last to be sent", self.sent));
        }
        let lost = number - last - 1;
        (self.received, self.in_stream) = (number, true);
        Ok(lost)
    }

    /// The tail told of what is no message. How many of the numbers that makes plain: if it is the first on its
    /// connection, none.
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

    /// The tail told how a connection ended. `carried` tells what the relay carried to the end of the connection that
    /// had this number.
    pub fn ended(&mut self, ending: &Ending, carried: impl Fn(u64) -> Option<Carried>) -> Result<(), String> {
        let in_stream = std::mem::take(&mut self.in_stream);
        let last = self.received;
        let by_server = matches!(ending, Ending::ClosedByServer { .. } | Ending::Closing { .. });
        if by_server && ending.is_clean() {
            let Some(at) = self.closes.iter().position(|closed| !in_stream || *closed == last) else {
                let closes = &self.closes;
                return Err(format!("a clean end behind {last}, but the server made none there: {closes:?}"));
            };
            self.closes.drain(..=at);
        }
        let has_seen_all = by_server || *ending == Ending::Eof;
        match carried(last) {
            // The last of them may lack its last bytes.
            Some(carried) if in_stream && has_seen_all && carried.last > last + 1 => {
                Err(format!("{ending}: the messages up to {} had come, and {last} was the last", carried.last))
            }
            _ => Ok(()),
        }
    }

    /// The tail is gone, by its caller's wish.
    pub fn closed_by_caller(&mut self) {
        self.in_stream = false;
    }

    /// How many were sent behind the last that came.
    pub fn undelivered(&self) -> u64 {
        self.sent - self.received
    }
}
