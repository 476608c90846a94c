//! The faults of the connections of a [`TrafficController`].

use super::TrafficController;
use crate::testing::config::fault::Fault;

impl TrafficController {
    /// Queues faults for one connection, first in, first out: each call is for one of the next connections. An empty
    /// list (`[]`) leaves a connection without faults. See [`Fault`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use loggregator_consumer::testing::{Fault, TrafficController};
    ///
    /// let server = TrafficController::start()?;
    /// server.fault(Fault::SilentAccept); // the first connection
    /// server.fault([]); // the second
    /// server.fault([Fault::Drip { every: Duration::from_millis(1) }, Fault::DropAfter(100)]); // the third
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fault(&self, faults: impl Into<Vec<Fault>>) {
        let faults = faults.into();
        self.shared.with(|state| state.next_faults.push_back(faults));
    }

    /// Sets the faults of all connections, from the next one on, for which no [`fault`](TrafficController::fault) is
    /// queued. An empty list (`[]`) removes them.
    pub fn always(&self, faults: impl Into<Vec<Fault>>) {
        let faults = faults.into();
        self.shared.with(|state| state.default_faults = faults);
    }
}
