use std::cell::Cell;
use std::time::Duration;

use super::super::engine::{Next, Page, Start};
use super::super::polling::{Answer, PollingSource};
use super::PollingGroup;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::server::source::LiveSource;
use crate::settings::{Polling, Settings};
use crate::wire::frames::Progress;

const SECOND: i64 = 1_000_000_000;

/// The answer of a Log Cache which gets a line in each second and holds those of so many.
fn answer(next: Next, seconds: i64) -> Answer {
    let Next::Read(range) = next else {
        return Answer::Oldest(Some(0));
    };
    let times = (0..seconds).map(|second| second * SECOND);
    let times = times.filter(|time| *time >= range.start && range.end.is_none_or(|end| *time < end));
    let lines: Vec<_> = times.map(|time| LogMessage::new("app", "hello").timestamp(time)).collect();
    Answer::Page(Page { envelopes: lines.len(), lines, date: None })
}

/// Answers the n-th request.
type Request = fn(Next, i64) -> Result<Answer>;

/// A group of apps, each with what answers its requests.
fn group<const N: usize>(settings: &Settings, apps: [(&str, Request); N]) -> PollingGroup {
    let cancel = Cancel::new();
    let polling = Polling::default().every(Duration::ZERO).idle(Duration::ZERO).horizon(Duration::ZERO);
    let source = |request: Request| {
        let count = Cell::new(0);
        let request = move |next| {
            count.set(count.get() + 1);
            request(next, count.get())
        };
        PollingSource::new(settings, polling, Start::Since(0), &cancel, Box::new(request))
    };
    let sources = apps.map(|(app, request)| (app.to_owned(), source(request)));
    PollingGroup::new(sources.into(), Vec::new(), &cancel)
}

#[test]
fn an_app_that_has_ended_holds_complete_until_back() {
    let ends = |next, count| match count {
        ..10 => Ok(answer(next, count)),
        _ => Err(Error::new(ErrorKind::BadRequest, "no")),
    };
    let mut group = group(&Settings::default(), [("ends", ends), ("goes on", |next, count| Ok(answer(next, count)))]);
    let (mut until, mut has_ended) = (None, false);
    for _ in 0..1000 {
        assert!(matches!(group.receive(), Progress::More));
        let Some(decoded) = group.take_decoded() else { continue };
        has_ended |= decoded.messages.iter().any(Result::is_err);
        until = decoded.complete_until.max(until);
    }
    assert!(has_ended);
    assert!(until > Some(0) && until < Some(10 * SECOND), "{until:?}");
}

#[test]
fn the_first_failure_after_a_long_silence_does_not_end_an_app() {
    let request = |next, count| match count {
        1 => Ok(answer(next, count)),
        _ => Err(Error::new(ErrorKind::Dial, format!("request {count}"))),
    };
    // No two requests are that close together.
    let settings = Settings { idle_timeout: Some(Duration::from_nanos(1)), ..Settings::default() };
    let mut group = group(&settings, [("app", request)]);
    let error = loop {
        match group.receive() {
            Progress::More => _ = group.take_decoded(),
            Progress::Failed(error) => break error.to_string(),
            _ => panic!("it has ended without an error"),
        }
    };
    assert!(error.contains("request 3") && error.contains("given up"), "{error}");
}
