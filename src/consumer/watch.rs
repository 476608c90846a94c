//! Opens Log Cache beside a stream that may be mute.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::apps::is_rejection;
use super::inner::{Inner, Live};
use crate::error::{Error, ErrorKind, Result};
use crate::net::cancel::Cancel;
use crate::net::endpoint::Endpoint;
use crate::net::http::Client;
use crate::server::call::Call;
use crate::server::foundation::Via;
use crate::server::log_cache::engine::{Start, Stored};
use crate::server::log_cache::polling::{self, PollingSource};
use crate::server::log_cache::polling_group::polling_of_each;
use crate::server::log_cache::requests::Readable;
use crate::server::source::LiveSource;
use crate::server::watched::{Beside, WatchedStream};

/// How many apps are asked for the time. Those that the server rejects do not tell it.
const ASKED_FOR_THE_TIME: usize = 10;

impl Inner {
    /// Lets Log Cache be read beside a stream that has just been opened, if the stream may be mute.
    ///
    /// `lives` has a call for each source of the stream. `selecting` leaves out what Log Cache does not select by itself.
    pub(super) fn watched<T: Readable + Stored + Send + 'static>(
        self: &Arc<Self>,
        stream: Box<dyn LiveSource<T>>,
        mut lives: Vec<Live>,
        selecting: impl Fn(PollingSource<T>) -> PollingSource<T> + Send + 'static,
        cancel: &Arc<Cancel>,
    ) -> Box<dyn LiveSource<T>> {
        let streams = self.foundation.streams();
        let log_cache = if streams.are_unknown() { self.foundation.known_log_cache() } else { None };
        let Some(log_cache) = log_cache else { return stream };
        let watcher_cancel = cancel.child();
        lives.iter_mut().for_each(|live| live.cancel = Arc::clone(&watcher_cancel));
        let open = {
            let (inner, cancel) = (Arc::clone(self), Arc::clone(&watcher_cancel));
            move |opened| inner.open_beside(&lives, &cancel, &log_cache, opened, &selecting)
        };
        Box::new(WatchedStream::new(stream, Box::new(open), streams, cancel, watcher_cancel))
    }

    /// Opens sources that poll Log Cache, over one connection, beside a stream that was opened at this moment.
    fn open_beside<T: Readable + Stored + 'static>(
        self: &Arc<Self>,
        lives: &[Live],
        cancel: &Arc<Cancel>,
        server: &Endpoint,
        opened: Instant,
        selecting: &impl Fn(PollingSource<T>) -> PollingSource<T>,
    ) -> Result<Beside<T>> {
        let client = Arc::new(self.requester(cancel).client(server));
        let opened_at = self.time_at(lives, server, &client, opened)?;
        let polling = polling_of_each(self.settings.polling, lives.len());
        let open = |live: &Live| {
            let requests = Box::new(self.further_polls(live, server, Arc::clone(&client)));
            PollingSource::new(&self.settings, polling, Start::Since(opened_at.start), &live.cancel, requests)
        };
        let of_logs = |live: &Live| Live { selected: polling::LOGS.to_owned(), ..live.clone() };
        let logs = lives.iter().map(|live| (live.app_guid.clone(), open(&of_logs(live)))).collect();
        let has_more = lives.iter().any(|live| live.selected != polling::LOGS);
        let all = || lives.iter().map(|live| (live.app_guid.clone(), selecting(open(live)))).collect();
        Ok(Beside { logs, all: has_more.then(all), opened_at })
    }

    /// Asks Log Cache between which of its times a moment was.
    fn time_at(&self, lives: &[Live], server: &Endpoint, client: &Client, moment: Instant) -> Result<Range<i64>> {
        let timeouts = self.polling_timeouts();
        let ask = |live: &Live| {
            self.authorized(&live.app_guid, &live.token, &live.cancel, |token| {
                let (requester, token) = (self.requester(&live.cancel), &*Via::LogCache.token(token));
                let (client, app_guid) = (Some(client), &*live.app_guid);
                polling::time_at(&Call { requester, client, server, app_guid, token, timeouts }, moment)
            })
        };
        let mut answers = lives.iter().take(ASKED_FOR_THE_TIME).map(ask);
        let none = || Err(Error::new(ErrorKind::InvalidInput, "there is no app to read from"));
        let first = answers.next().unwrap_or_else(none);
        // Another app tells it, unless the server is away.
        match first {
            Err(error) if is_rejection(&error) => {
                answers.find(|answer| !answer.as_ref().is_err_and(is_rejection)).unwrap_or(Err(error))
            }
            first => first,
        }
    }
}
