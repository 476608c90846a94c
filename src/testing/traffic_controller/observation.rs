//! What a test can observe at a [`TrafficController`]: requests, received frames, and open connections.

use std::time::Duration;

use super::TrafficController;
use crate::testing::protocol::received::Received;
use crate::testing::protocol::request::Request;

impl TrafficController {
    /// Returns all requests so far, in order of arrival. Requests that were cut off, and input that was not HTTP, are
    /// not included.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.with(|state| state.requests.clone())
    }

    /// Waits until there have been at least this many [requests](TrafficController::requests). Returns false if the
    /// timeout expires first.
    pub fn wait_for_requests(&self, requests: usize, timeout: Duration) -> bool {
        self.shared.wait_for(timeout, |state| state.requests.len() >= requests)
    }

    /// Returns what clients have sent on each websocket so far, in the order in which the websockets were opened.
    /// Websockets that have ended are included.
    pub fn received(&self) -> Vec<Received> {
        self.shared.with(|state| state.received.clone())
    }

    /// Waits until `enough` returns true for what was [received](TrafficController::received). Returns false if the
    /// timeout expires first. `enough` must not use the server.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use loggregator_consumer::testing::{Frame, TrafficController};
    ///
    /// # fn connect(server: &TrafficController) {}
    /// let server = TrafficController::start()?;
    /// connect(&server);
    /// // Two keep-alives have arrived.
    /// assert!(server.wait_for_received(Duration::from_secs(5), |received| {
    ///     let keep_alive = Frame::Text("I'm alive!".into());
    ///     received.iter().flat_map(|one| &one.frames).filter(|received| received.frame == keep_alive).count() >= 2
    /// }));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_for_received(&self, timeout: Duration, mut enough: impl FnMut(&[Received]) -> bool) -> bool {
        self.shared.wait_for(timeout, |state| enough(&state.received))
    }

    /// Returns the number of open connections.
    ///
    /// After an HTTP response, and after a close frame of the client, a connection counts as open until the client has
    /// closed its socket too. After an end without a close frame, it does so for a second at the most.
    pub fn connections(&self) -> usize {
        self.shared.with(|state| state.connections.len())
    }

    /// Waits until no [connection](TrafficController::connections) is open. Returns false if the timeout expires first.
    /// Call it at the end of a test to check that the client has left no socket open.
    pub fn wait_until_idle(&self, timeout: Duration) -> bool {
        self.shared.wait_for(timeout, |state| state.connections.is_empty())
    }
}
