//! The server-sent events of the RLP gateway.

use std::iter;

use memchr::memmem;

/// The last event of a stream that the gateway closes.
pub(crate) const CLOSING: &[u8] = b"event: closing\ndata: closing due to stream timeout\n\n";

/// The bytes of a batch event before its envelopes.
pub(crate) const BATCH_START: &[u8] = b"data: {\"batch\":[";
/// The bytes of a batch event after its envelopes.
pub(crate) const BATCH_END: &[u8] = b"]}\n\n";

/// Appends an event with this data.
pub(crate) fn write_event(data: &[u8], out: &mut Vec<u8>) {
    [b"data: ", data, b"\n\n"].iter().for_each(|part| out.extend_from_slice(part));
}

/// Returns the event that says that the stream is alive, at this Unix time in seconds.
pub(crate) fn heartbeat(time: i64) -> String {
    format!("event: heartbeat\ndata: {time}\n\n")
}

/// Splits bytes into events. Each includes the blank line that ends it.
pub(crate) fn split_events(mut events: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let end = memmem::find(events, b"\n\n").map_or(events.len(), |end| end + 2);
        let (event, rest) = events.split_at(end);
        events = rest;
        (!event.is_empty()).then_some(event)
    })
}
