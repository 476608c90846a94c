//! [`Target`]: at which requests a fault is aimed.

use super::request::{Request, RequestKind};
use crate::testing::config::server::Server;

/// At which requests a fault is aimed. See [`TrafficController::fault_at`](crate::testing::TrafficController::fault_at).
///
/// A [`RequestKind`] and a [`Server`] are targets, too.
///
/// ```
/// use loggregator_consumer::testing::{RequestKind, Target};
///
/// let recent_of_one_app = Target::from(RequestKind::LogCacheRead).of_app("11111111-1111-1111-1111-111111111111");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a target does nothing until a fault is aimed at it"]
pub struct Target {
    app: Option<String>,
    server: Option<Server>,
    kinds: Vec<RequestKind>,
}

impl Target {
    /// All requests that are about this app.
    pub fn app(guid: impl Into<String>) -> Self {
        Target::default().of_app(guid)
    }

    /// The requests for live messages: `/tail/`, `/apps/<guid>/stream`, and `/v2/read` of the RLP gateway.
    pub fn tails() -> Self {
        Target { kinds: vec![RequestKind::Tail, RequestKind::Stream, RequestKind::Gateway], ..Target::default() }
    }

    /// Those of the requests that are about this app.
    pub fn of_app(mut self, guid: impl Into<String>) -> Self {
        self.app = Some(guid.into());
        self
    }

    pub(crate) fn matches(&self, request: &Request) -> bool {
        let Target { app, server, kinds } = self;
        app.as_ref().is_none_or(|app| request.apps().contains(app))
            && server.is_none_or(|server| request.kind.server() == Some(server))
            && (kinds.is_empty() || kinds.contains(&request.kind))
    }
}

impl From<RequestKind> for Target {
    fn from(kind: RequestKind) -> Self {
        Target { kinds: vec![kind], ..Target::default() }
    }
}

impl From<Server> for Target {
    fn from(server: Server) -> Self {
        Target { server: Some(server), ..Target::default() }
    }
}
