//! [`Server`]: the servers of a foundation, and [`RouterError`]: what the router in front of them responds without them.

/// A server of a foundation. All of them share one address; the path of a request says for which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Server {
    /// The Cloud Controller: the API, which also knows who may see which app.
    Api,
    /// The UAA, which issues tokens.
    Uaa,
    /// The legacy Traffic Controller: `/tail/`, `/dump/` and `/recent`.
    Legacy,
    /// Doppler: the paths that begin with `/apps/`.
    Doppler,
    /// Log Cache.
    LogCache,
    /// The RLP gateway.
    RlpGateway,
}

/// A response of the platform's router, gorouter, when it cannot forward a request to its server. It has the header
/// `X-Cf-Routererror` and a text of the router's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RouterError {
    /// 404 `unknown_route`: no server has registered the host name, for instance while the only one restarts.
    UnknownRoute,
    /// 502 `endpoint_failure`: the server is registered, but does not respond.
    EndpointFailure,
    /// 503 `no_endpoints`: the host name is known, but no server is registered for it.
    NoEndpoints,
}
