//! [`Envelopes`]: what Log Cache holds of a source, page by page.

use std::fmt;
use std::sync::Arc;
use std::vec;

use crate::envelope::Envelope;
use crate::error::Result;
use crate::net::cancel::Cancel;
use crate::net::registry::Registration;

/// Reads the next page. `None` after the last page.
pub(crate) type NextPage = Box<dyn FnMut() -> Result<Option<Vec<Envelope>>> + Send + Sync>;

/// An iterator over the envelopes that Log Cache holds of a source: see
/// [`Consumer::read`](crate::Consumer::read).
///
/// It holds one page at a time. When that is used up, [`next`](Iterator::next) requests another one, and blocks as
/// `Consumer::read` does. After an error it gives nothing more.
pub struct Envelopes {
    /// `None` after the end.
    open: Option<(NextPage, Registration)>,
    page: vec::IntoIter<Envelope>,
    cancel: Arc<Cancel>,
}

impl Envelopes {
    /// Reads the first page.
    pub(crate) fn open(mut next_page: NextPage, cancel: Arc<Cancel>, registration: Registration) -> Result<Self> {
        let page = next_page()?;
        let open = page.is_some().then_some((next_page, registration));
        Ok(Envelopes { open, page: page.unwrap_or_default().into_iter(), cancel })
    }
}

impl Iterator for Envelopes {
    type Item = Result<Envelope>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(envelope) = self.page.next() {
            return Some(Ok(envelope));
        }
        let (next_page, _) = self.open.as_mut()?;
        match self.cancel.check().and_then(|()| next_page()) {
            // Pages are not empty.
            Ok(Some(page)) => self.page = page.into_iter(),
            Ok(None) => self.open = None,
            Err(error) => {
                self.open = None;
                return Some(Err(error));
            }
        }
        self.page.next().map(Ok)
    }
}

impl fmt::Debug for Envelopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelopes").field("ended", &self.open.is_none()).finish_non_exhaustive()
    }
}
