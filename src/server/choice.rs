//! [`Via`] and [`Choice`]: the kinds of log servers, and the one that is used.

use std::borrow::Cow;
use std::fmt;

use crate::auth::normalised;
use crate::net::endpoint::Endpoint;

/// The server that logs are read from: one of the generations of Loggregator's read side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// The Traffic Controller's legacy paths, `/tail/`, `/recent` and `/dump/`: 2013 to September 2016.
    Legacy,
    /// The Traffic Controller's `/apps/<guid>/stream`, and `/recentlogs` on old ones: 2014 to today.
    Doppler,
    /// Log Cache's `/api/v1/read/<guid>`: 2018 to today.
    LogCache,
    /// The RLP gateway's `/v2/read`: 2018 to today.
    RlpGateway,
}

impl Via {
    /// Returns the token as this server expects it: as given on a legacy server, with `bearer` in lower case on others.
    pub(crate) fn token(self, token: &str) -> Cow<'_, str> {
        match self {
            Via::Legacy => Cow::Borrowed(token),
            Via::Doppler | Via::LogCache | Via::RlpGateway => normalised(token),
        }
    }

    /// Returns true if this server may give no lines while Log Cache has some.
    pub(super) fn streams(self) -> bool {
        matches!(self, Via::Doppler | Via::RlpGateway)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Via::Legacy => "the legacy Traffic Controller",
            Via::Doppler => "Doppler",
            Via::LogCache => "Log Cache",
            Via::RlpGateway => "the RLP gateway",
        }
    }
}

/// The server that is used, and why. See [`Consumer::tail_choice`](crate::Consumer::tail_choice).
///
/// ```
/// use loggregator_consumer::{Builder, Via};
///
/// let consumer = Builder::new().doppler("wss://doppler.example.com").build()?;
/// let choice = consumer.tail_choice()?;
/// assert_eq!(choice.via(), Via::Doppler);
/// assert_eq!(choice.address(), "wss://doppler.example.com");
/// println!("{choice}");
/// # Ok::<(), loggregator_consumer::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Choice {
    via: Via,
    endpoint: Endpoint,
    why: Cow<'static, str>,
    is_given: bool,
}

impl Choice {
    /// Returns the kind of server.
    pub fn via(&self) -> Via {
        self.via
    }

    /// Returns the server's address.
    pub fn address(&self) -> String {
        self.endpoint.to_string()
    }

    /// Returns the reason for the choice, as text for a person. If a better server is not used because it has no route
    /// at the moment, or because its address cannot be used, this says so.
    pub fn why(&self) -> &str {
        &self.why
    }

    pub(super) fn new(via: Via, endpoint: Endpoint, why: Cow<'static, str>, is_given: bool) -> Self {
        Choice { via, endpoint, why, is_given }
    }

    pub(super) fn with_why(self, why: String) -> Self {
        Choice { why: why.into(), ..self }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns true if the caller has set the address, so that it is not replaced by another one.
    pub(super) fn is_given(&self) -> bool {
        self.is_given
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.via.name(), self.endpoint, self.why)
    }
}
