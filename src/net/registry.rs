//! [`Registry`]: the calls and tails that a consumer has open, so that `close` can cancel them all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::net::cancel::Cancel;

/// The cancel handles of all open calls and tails of one consumer.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    open: Mutex<HashMap<u64, Arc<Cancel>>>,
    next_key: AtomicU64,
}

impl Registry {
    pub(crate) fn register(self: &Arc<Self>) -> (Arc<Cancel>, Registration) {
        let cancel = Cancel::new();
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(key, Arc::clone(&cancel));
        (cancel, Registration { registry: Arc::clone(self), key })
    }

    /// Cancels everything that is open. Returns false if nothing was.
    pub(crate) fn cancel_all(&self) -> bool {
        // Not under the lock: a cancel runs hooks.
        let open: Vec<_> = self.open.lock().values().cloned().collect();
        open.iter().for_each(|cancel| cancel.cancel());
        !open.is_empty()
    }
}

/// Removes a call or a tail from its registry when it is dropped. The first of its clones to be dropped does so.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    key: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.open.lock().remove(&self.key);
    }
}
