//! Fuzzes the reader of Log Cache's responses against its slow half alone.

use std::fmt::Debug;
use std::io::{self, Read};
use std::ops::ControlFlow;

use super::input::{Choices, Pieces};
use super::splitter::stretched;
use crate::envelope::Envelope;
use crate::error::{ErrorKind, Result};
use crate::message::LogMessage;
use crate::wire::v2::{Failing, FromV2, read_buffered, read_slowly};

/// The envelopes of a response as texts, because `NaN` differs from itself, and how it ends.
type Outcome = (Vec<Result<String, ErrorKind>>, Result<(), io::ErrorKind>);

/// Checks that a response has the same envelopes and the same end for both readers, whatever the size of the buffer and
/// of the pieces in which the response arrives.
pub fn responses(input: &[u8]) {
    check::<LogMessage>(input);
    check::<Envelope>(input);
}

fn check<T: FromV2 + Debug>(input: &[u8]) {
    let mut choices = Choices(input);
    let sizes = choices.sizes();
    let buffer = usize::from(choices.byte()) + 1;
    let stop_at = usize::from(choices.byte()) + 1;
    let max_envelope = usize::from(choices.byte()) << 4;
    let (at, times) = (choices.byte(), choices.byte());
    let json = stretched(choices.rest(), at.into(), times.into());
    let body = || {
        let broken = (times % 2 == 1).then(|| io::ErrorKind::TimedOut.into());
        Pieces::new(&json, &sizes).chain(Failing(broken))
    };

    let model = collect::<T>(stop_at, |each| read_slowly(body(), usize::MAX, each));
    assert_eq!(collect::<T>(stop_at, |each| read_buffered(body(), buffer, usize::MAX, each)), model);
    // With a limit, the end may come earlier, if there is an envelope that may be too large.
    let (items, end) = collect::<T>(stop_at, |each| read_buffered(body(), buffer, max_envelope, each));
    if end == Err(io::ErrorKind::FileTooLarge) {
        assert!(json.len() >= max_envelope && model.0.starts_with(&items));
    } else {
        assert_eq!((items, end), model);
    }
}

/// Collects what a reader passes on, up to this many envelopes.
fn collect<T: Debug>(
    stop_at: usize,
    read: impl FnOnce(&mut dyn FnMut(Result<Option<T>>) -> ControlFlow<()>) -> io::Result<()>,
) -> Outcome {
    let mut items = Vec::new();
    let end = read(&mut |item| {
        items.push(item.map(|item| format!("{item:?}")).map_err(|error| error.kind()));
        if items.len() < stop_at { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    (items, end.map_err(|error| error.kind()))
}
