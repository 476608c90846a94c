//! [`Generation`]: the generations of servers, and how they differ.

/// The generations of servers that differ in what a client sees, oldest first.
///
/// Each serves everything that a foundation of its time had at one address. All have the API, which returns the
/// addresses (`/v2/info`, later also `/`) and lists organizations, spaces and apps (`/v2/apps`, since 2018 also `/v3/apps`),
/// and the UAA, which issues tokens (`/oauth/token`). Korifi has neither `/v2` nor a UAA. This table has the rest.
///
/// | | `/tail/`, `/dump/`, `/recent` | `/apps/<guid>/stream` | `/apps/<guid>/recentlogs`, `/containermetrics` | `/api/v1/read/<guid>`, `/v2/read` |
/// |---|---|---|---|---|
/// | 2014 | yes | | | |
/// | [`Y2015`](Generation::Y2015), [`Y2016`](Generation::Y2016) | yes | yes | yes | |
/// | [`Y2018`](Generation::Y2018) | | yes | yes | |
/// | [`LogCache1`](Generation::LogCache1) | | yes | yes | only `/v1/read/<guid>` |
/// | [`Today`](Generation::Today) | | yes | | yes |
/// | [`Korifi`](Generation::Korifi) | | | | only `/api/v1/read/<guid>` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Generation {
    /// April 2014: `/recent` returns 400, `/dump/` is a websocket, close frames are empty, there are no pings, and the
    /// body of a 401 contains a protobuf message in text form.
    April2014,
    /// May 2014: `/recent` is multipart over HTTP with its boundary in quotes. Everything else is as in April.
    May2014,
    /// 2015: `/recent` and `/dump/` are multipart over HTTP. Websockets are pinged. The server always closes them with
    /// code 1000 and no reason, even if pongs are missing. Doppler's paths exist, with the same error bodies as the
    /// legacy paths.
    Y2015,
    /// 2016: as 2015, but missing pongs are closed with 1008 and a reason, and the bodies of 401 and 404 differ.
    Y2016,
    /// 2018, before Log Cache was deployed: there are no legacy paths any more, error responses of Doppler's paths have
    /// no body, and an app's id must be a GUID.
    Y2018,
    /// March 2018 to March 2019: as 2018, with Log Cache 1.x. Its paths begin with `/v1/` instead of `/api/v1/`, except
    /// for `info`, `query` and `query_range`, and its
    /// response to a request for too much is a 403 whose JSON has gRPC's code 8.
    LogCache1,
    /// Today: Doppler only streams, and Log Cache has the recent messages. The RLP gateway streams too.
    Today,
    /// Korifi, the Cloud Foundry on Kubernetes: an API with `cf_on_k8s` and a Log Cache of its own at the same address.
    /// There are no streams and no UAA. Log Cache's envelopes have neither `source_id` nor `instance_id`, and their
    /// times and types are numbers. It ignores `end_time`, and a limit selects the newest messages of each container.
    /// Its error responses are those of a Cloud Controller.
    Korifi,
}

impl Generation {
    pub(crate) fn is_of_2014(self) -> bool {
        self < Generation::Y2015
    }

    pub(crate) fn has_legacy(self) -> bool {
        self < Generation::Y2018
    }

    pub(crate) fn has_doppler(self) -> bool {
        !self.is_of_2014() && self != Generation::Korifi
    }

    pub(crate) fn has_recent_logs(self) -> bool {
        self.has_doppler() && self < Generation::Today
    }

    pub(crate) fn has_log_cache(self) -> bool {
        self >= Generation::LogCache1
    }

    /// Returns true if Log Cache has a store of its own, and not just the log files of containers.
    pub(crate) fn has_store(self) -> bool {
        self.has_log_cache() && self != Generation::Korifi
    }

    /// Returns how the paths of Log Cache begin.
    pub(crate) fn log_cache_root(self) -> &'static str {
        if self == Generation::LogCache1 { "/v1/" } else { "/api/v1/" }
    }

    pub(crate) fn has_rlp_gateway(self) -> bool {
        self == Generation::Today
    }

    pub(crate) fn has_uaa(self) -> bool {
        self != Generation::Korifi
    }

    /// Returns true if a request without a token is always rejected, and an app's id must be a GUID everywhere.
    pub(crate) fn is_strict(self) -> bool {
        self.has_log_cache()
    }

    /// Returns true if a websocket handshake must be a GET.
    pub(crate) fn checks_handshake_method(self) -> bool {
        !self.has_legacy()
    }

    /// Returns true if the key of a websocket handshake must be 16 bytes in Base64.
    pub(crate) fn checks_handshake_key(self) -> bool {
        self >= Generation::Today
    }

    /// Returns the code with which the server closes a websocket if nothing is wrong.
    pub(crate) fn close_code(self) -> Option<u16> {
        self.has_doppler().then_some(1000)
    }

    /// Returns true if the server answers a client's close frame with the same code, and false if with an empty frame.
    pub(crate) fn echoes_close_code(self) -> bool {
        !self.has_legacy()
    }

    /// Returns the code and the reason with which the server closes a websocket whose client sends no pongs.
    pub(crate) fn close_without_pongs(self) -> (Option<u16>, &'static str) {
        if self < Generation::Y2016 {
            return (self.close_code(), "");
        }
        (Some(1008), "Client did not respond to ping before keep-alive timeout expired.")
    }
}
