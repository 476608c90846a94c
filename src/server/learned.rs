//! [`Learned`]: what the calls of a consumer have found out about its servers, for the calls after them.

use parking_lot::Mutex;

use crate::net::endpoint::Endpoint;

#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Log Caches of version 1.x, which have other paths.
    old_log_caches: Mutex<Vec<Endpoint>>,
}

impl Learned {
    pub(crate) fn is_old_log_cache(&self, server: &Endpoint) -> bool {
        self.old_log_caches.lock().contains(server)
    }

    pub(crate) fn set_old_log_cache(&self, server: &Endpoint, is_old: bool) {
        let mut old = self.old_log_caches.lock();
        old.retain(|known| known != server);
        if is_old {
            old.push(server.clone());
        }
    }
}
