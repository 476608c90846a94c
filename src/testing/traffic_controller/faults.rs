//! The faults of the connections of a [`TrafficController`].

use super::TrafficController;
use crate::testing::config::fault::Fault;
use crate::testing::protocol::target::Target;

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

    /// Queues faults for the next request that matches a target: an app, a server, a kind of request, or the next tail.
    /// Requests that do not match, such as those of a discovery, are not affected, and neither are their connections.
    /// These faults replace all others of the request.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Fault, Generation, RequestKind, Server, Target, TrafficController};
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// server.fault_at(Target::tails(), Fault::ResetAfter(500)); // the next tail
    /// server.fault_at(RequestKind::ApiRoot, Fault::DropAfter(0)); // the next discovery
    /// server.fault_at(Server::LogCache, Fault::Truncate);
    /// server.fault_at(Target::app("11111111-1111-1111-1111-111111111111"), Fault::SilentAccept);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fault_at(&self, target: impl Into<Target>, faults: impl Into<Vec<Fault>>) {
        let fault = (target.into(), faults.into());
        self.shared.with(|state| state.next_faults_at.push(fault));
    }

    /// Sets the faults of all requests that match a target, and for whose connection no
    /// [`fault`](TrafficController::fault) is queued. They replace those of an equal target, and of
    /// [`always`](TrafficController::always). An empty list (`[]`) removes them.
    pub fn always_at(&self, target: impl Into<Target>, faults: impl Into<Vec<Fault>>) {
        let (target, faults) = (target.into(), faults.into());
        self.shared.with(|state| {
            state.default_faults_at.retain(|(other, _)| *other != target);
            if !faults.is_empty() {
                state.default_faults_at.push((target, faults));
            }
        });
    }
}
