//! [`read_page`]: a page of what Log Cache holds of a source; and [`metrics`], which are made of such pages.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::requests::{self, request};
use super::walk::{Page, PageRequest, Walk};
use crate::envelope::EnvelopeType;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{InstanceMetrics, Latest};
use crate::selection::Selection;
use crate::server::call::Call;
use crate::window::Window;

/// An instance of which nothing newer is known has ended. Diego measures every 15 s. The Cloud Controller reads as much
/// (`container_metric_batcher.rb`), so `cf app` shows the same figures.
const METRICS_AGE: Duration = Duration::from_secs(2 * 60);

/// Requests a page.
pub(crate) fn read_page(call: &Call<'_>, page: &PageRequest<'_>) -> Result<Page> {
    let response = request(call, &page.query())?;
    let date = response.date;
    let (envelopes, count) = requests::read_page(call, response.body)?;
    Ok(Page { envelopes, count, date })
}

/// Reads the latest metrics of each instance of the call's app.
pub(crate) fn metrics(call: &Call<'_>) -> Result<Vec<InstanceMetrics>> {
    let client = call.requester.client(call.server);
    let call = &Call { client: Some(&client), ..*call };
    let mut walk = Walk::new(&Selection::all().types([EnvelopeType::Gauge]), &Window::all().newest_first())?;
    let (mut latest, mut size) = (Latest::default(), 0_usize);
    // By the server's clock, because that of this machine may be wrong.
    let date = Cell::new(None);
    let read = |page: &PageRequest<'_>| read_page(call, page).inspect(|page| date.set(date.get().or(page.date)));
    while let Some(page) = walk.next_page(read)? {
        let age = i64::try_from(METRICS_AGE.as_nanos()).unwrap_or(i64::MAX);
        let oldest = date.get().unwrap_or_else(now).saturating_sub(age);
        for envelope in page {
            if envelope.timestamp < oldest {
                return Ok(latest.into_metrics());
            }
            size = size.saturating_add(envelope.size());
            latest.add(envelope);
        }
        let max_size = call.settings().max_recent_size;
        if size > max_size {
            let text = format!("the metrics are larger than {max_size} bytes: see Builder::max_recent_size");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
    }
    Ok(latest.into_metrics())
}

/// Returns the time of this machine, in nanoseconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
