//! [`Call`]: one attempt at `tail` or `recent` with one server, and [`Requester`], which makes the requests.

use std::sync::Arc;
use std::time::Instant;

use crate::error::Result;
use crate::net::cancel::Cancel;
use crate::net::deadline::ReadTimeouts;
use crate::net::dial::Dialer;
use crate::net::endpoint::Endpoint;
use crate::net::http::{self, Client, Pool, Response, Timeouts};
use crate::net::websocket::{Request, WebSocket};
use crate::server::app_guid::escaped_guid;
use crate::server::learned::Learned;
use crate::settings::Settings;

/// What every request of a call needs.
#[derive(Clone, Copy)]
pub(crate) struct Requester<'a> {
    pub(crate) dialer: &'a Arc<Dialer>,
    pub(crate) pool: &'a Arc<Pool>,
    pub(crate) settings: &'a Settings,
    pub(crate) learned: &'a Learned,
    pub(crate) cancel: &'a Arc<Cancel>,
}

impl Requester<'_> {
    /// Makes a GET request. Returns when the head of the response has arrived.
    pub(crate) fn get(&self, server: &Endpoint, path: &str, token: &str, timeouts: ReadTimeouts) -> Result<Response> {
        http::get(self.dialer, server, path, token, self.timeouts(timeouts), self.cancel)
    }

    /// Returns a client that keeps its connection to the server open, also for further calls.
    pub(crate) fn client(&self, server: &Endpoint) -> Client {
        self.pool.client(self.dialer, server, self.cancel)
    }

    pub(super) fn timeouts(&self, timeouts: ReadTimeouts) -> Timeouts {
        Timeouts { head: self.head_deadline(timeouts), body: timeouts }
    }

    /// Returns the deadline for the response head of a request that is made now.
    fn head_deadline(&self, timeouts: ReadTimeouts) -> Instant {
        timeouts.deadline_after(self.settings.connect_timeout)
    }
}

/// One attempt at a call: its server, app, token and timeouts.
pub(crate) struct Call<'a> {
    pub(crate) requester: Requester<'a>,
    /// Keeps the connection open between the requests of the call. `None`: each request has its own.
    pub(crate) client: Option<&'a Client>,
    pub(crate) server: &'a Endpoint,
    pub(crate) app_guid: &'a str,
    /// The value of the `Authorization` header. Empty: no such header.
    pub(crate) token: &'a str,
    pub(crate) timeouts: ReadTimeouts,
}

impl Call<'_> {
    pub(crate) fn settings(&self) -> &Settings {
        self.requester.settings
    }

    pub(crate) fn cancel(&self) -> &Arc<Cancel> {
        self.requester.cancel
    }

    /// Returns the app's GUID, escaped for a path or a query.
    pub(crate) fn guid(&self) -> Result<String> {
        escaped_guid(self.app_guid)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Response> {
        match self.client {
            Some(client) => client.get(path, self.token, self.requester.timeouts(self.timeouts)),
            None => self.requester.get(self.server, path, self.token, self.timeouts),
        }
    }

    /// Opens a websocket.
    pub(crate) fn websocket(&self, path: &str) -> Result<WebSocket> {
        let Settings { max_message_size, debug_printer, .. } = self.settings();
        let request = Request {
            endpoint: self.server,
            path,
            token: self.token,
            max_message_size: *max_message_size,
            debug_printer: debug_printer.as_deref(),
        };
        request.connect(self.requester.dialer, self.requester.head_deadline(self.timeouts), self.cancel())
    }
}
