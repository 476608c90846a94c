//! A tail that the server has ended can still be closed. `close` returns the error of the end if the caller has not
//! seen it.

use loggregator_consumer::testing::TrafficController;
use loggregator_consumer::{Consumer, Ending, ErrorKind, LogMessage, Tail};

use crate::common::{DEADLINE, wait_for_text_and_pong, wait_until, within};
use crate::states::{APP, SOON, TOKEN, consumer_of, start};

/// A way for a server to end a tail.
#[derive(Clone, Copy)]
struct End {
    by: fn(&TrafficController),
    error: Option<ErrorKind>,
}

const CLOSE: End = End { by: |server| _ = server.close_tails(APP, Some(1000), ""), error: None };
const POLICY: End =
    End { by: |server| _ = server.close_tails(APP, Some(1008), "Too slow."), error: Some(ErrorKind::ClosedByServer) };
const DROP: End = End { by: |server| _ = server.drop_tails(APP), error: Some(ErrorKind::ConnectionLost) };
const RESET: End = End { by: |server| _ = server.reset_tails(APP), error: Some(ErrorKind::ConnectionLost) };

/// Calls `look` with a tail that has ended, for every way to end.
fn for_every_end(look: fn(End, &Consumer, Tail)) {
    within(DEADLINE, move || {
        for tls in [false, true] {
            for end in [CLOSE, POLICY, DROP, RESET] {
                let server = start(TrafficController::builder(), tls);
                let consumer = consumer_of(&server);
                let tail = consumer.tail(APP, TOKEN).unwrap();
                server.send(LogMessage::new(APP, "the last"));
                wait_until("the message has come", || !tail.receiver().is_empty());
                wait_for_text_and_pong(&server);
                (end.by)(&server);
                wait_until("the tail has ended", || tail.ending().is_some());
                assert_ne!(tail.ending(), Some(&Ending::Closed));
                look(end, &consumer, tail);
                assert!(server.wait_until_idle(SOON));
            }
        }
    });
}

#[test]
fn a_closer_has_nothing_to_close() {
    for_every_end(|_, _, tail| {
        let error = tail.closer().close().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.to_string().starts_with("connection does not exist"), "{error}");
    });
}

#[test]
fn a_consumer_has_nothing_to_close() {
    for_every_end(|_, consumer, tail| {
        assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
        drop(tail);
    });
}

#[test]
fn close_returns_the_error_that_the_caller_has_not_seen() {
    for_every_end(|end, _, tail| {
        let ending = tail.ending().unwrap().to_string();
        let error = tail.close().err();
        assert_eq!(error.as_ref().map(|error| error.kind()), end.error);
        assert!(error.is_none_or(|error| error.to_string() == ending));
    });
}

#[test]
fn close_does_not_repeat_the_error_that_the_caller_has_seen() {
    for_every_end(|end, _, mut tail| {
        assert_eq!(tail.next().unwrap().unwrap().text(), "the last");
        assert_eq!(tail.next().map(|end| end.unwrap_err().kind()), end.error);
        assert!(tail.next().is_none());
        tail.close().unwrap();
    });
}

#[test]
fn close_reports_a_server_that_has_stopped() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let consumer = consumer_of(&server);
        let tail = consumer.tail(APP, TOKEN).unwrap();
        server.stop();
        wait_until("the tail has ended", || tail.ending().is_some());
        assert_eq!(tail.close().unwrap_err().kind(), ErrorKind::ConnectionLost);
        assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}
