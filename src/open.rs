//! What a consumer has open: calls and tails, so that all can be closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::cancel::Cancel;

/// The switches of all that is open.
#[derive(Debug, Default)]
pub(crate) struct Open {
    switches: Mutex<HashMap<u64, Arc<Cancel>>>,
    last_key: AtomicU64,
}

impl Open {
    pub(crate) fn register(self: &Arc<Self>) -> (Arc<Cancel>, Registration) {
        let cancel = Cancel::new();
        let key = self.last_key.fetch_add(1, Ordering::Relaxed);
        self.switches.lock().insert(key, Arc::clone(&cancel));
        (cancel, Registration { open: Arc::clone(self), key })
    }

    /// Whether there was anything.
    pub(crate) fn close_all(&self) -> bool {
        let switches = self.switches.lock();
        switches.values().for_each(|cancel| cancel.throw());
        !switches.is_empty()
    }
}

/// Takes an open call or tail off the consumer's list when it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    open: Arc<Open>,
    key: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.open.switches.lock().remove(&self.key);
    }
}
