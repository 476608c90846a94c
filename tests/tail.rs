//! The ways to receive messages from a tail, and how each of them shows its end.

mod common;

use std::iter;
use std::thread;
use std::time::{Duration, Instant};

use common::messages::{APP, TOKEN};
use common::{DEADLINE, builder, consumer, wait_for_text_and_pong, wait_until, within};
use loggregator_consumer::crossbeam_channel::{RecvTimeoutError, Select, TryRecvError, select};
use loggregator_consumer::testing::TrafficController;
use loggregator_consumer::{Ending, ErrorKind, LogMessage, Result, Tail};

/// How long to watch for something that must not come.
const QUIET: Duration = Duration::from_millis(50);

fn server_and_tail() -> (TrafficController, Tail) {
    let server = TrafficController::start().unwrap();
    let tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
    wait_for_text_and_pong(&server);
    (server, tail)
}

fn send(server: &TrafficController, texts: &[&str]) {
    for text in texts {
        assert_eq!(server.send(LogMessage::new(APP, *text)), 1);
    }
}

#[test]
fn recv_timeout_waits_for_the_given_time() {
    within(DEADLINE, || {
        let (server, mut tail) = server_and_tail();
        let begin = Instant::now();
        assert!(matches!(tail.recv_timeout(QUIET), Err(RecvTimeoutError::Timeout)));
        assert!(begin.elapsed() >= QUIET);
        assert!(matches!(tail.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout)));
        // The tail continues after a timeout.
        send(&server, &["one", "two"]);
        assert_eq!(tail.recv_timeout(DEADLINE).unwrap().unwrap().text(), "one");
        assert_eq!(tail.recv_timeout(Duration::MAX).unwrap().unwrap().text(), "two");
        server.close_tails(APP, Some(1000), "");
        assert!(matches!(tail.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Disconnected)));
        assert!(matches!(tail.recv_timeout(QUIET), Err(RecvTimeoutError::Disconnected)));
    });
}

#[test]
fn try_recv_does_not_wait() {
    within(DEADLINE, || {
        let (server, mut tail) = server_and_tail();
        assert!(matches!(tail.try_recv(), Err(TryRecvError::Empty)));
        send(&server, &["one", "two"]);
        for expected in ["one", "two"] {
            let text = loop {
                match tail.try_recv() {
                    Ok(message) => break message.unwrap().message,
                    Err(TryRecvError::Empty) => thread::yield_now(),
                    Err(TryRecvError::Disconnected) => panic!("{:?}", tail.ending()),
                }
            };
            assert_eq!(text, expected.as_bytes());
        }
        assert!(matches!(tail.try_recv(), Err(TryRecvError::Empty)));
        server.close_tails(APP, Some(1000), "");
        wait_until("the tail has ended", || tail.ending().is_some());
        assert!(tail.next().is_none());
        assert!(matches!(tail.try_recv(), Err(TryRecvError::Disconnected)));
    });
}

#[test]
fn a_select_waits_for_any_number_of_tails_each_of_which_ends_on_its_own() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let consumer = consumer(&server.endpoint());
        let apps: Vec<String> = (0..20).map(|n| format!("app-{n}")).collect();
        let mut tails: Vec<_> = apps.iter().map(|app| (app, consumer.tail(app, TOKEN).unwrap())).collect();
        let (mut received, mut clean, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (n, app) in apps.iter().enumerate() {
            (0..3).for_each(|line| _ = server.send(LogMessage::new(app.as_str(), format!("{app} {line}"))));
            let _ = if n % 2 == 0 {
                server.close_tails(app, Some(1000), "")
            } else {
                server.close_tails(app, Some(1008), "")
            };
        }
        while !tails.is_empty() {
            let mut select = Select::new();
            for (_, tail) in &tails {
                select.recv(tail.receiver());
            }
            let ready = select.ready();
            let (app, tail) = &mut tails[ready];
            let end = loop {
                match tail.try_recv() {
                    Ok(Ok(message)) => {
                        assert_eq!(message.app_id, **app);
                        received.push(message.text().into_owned());
                    }
                    Ok(Err(error)) => {
                        assert_eq!(error.kind(), ErrorKind::ClosedByServer);
                        assert!(error.is_transient());
                        failed.push((*app).clone());
                    }
                    Err(end) => break end,
                }
            };
            if end == TryRecvError::Disconnected {
                let (app, tail) = tails.swap_remove(ready);
                if tail.ending().unwrap().is_clean() {
                    clean.push(app.clone());
                }
            }
        }
        assert_eq!((received.len(), clean.len(), failed.len()), (60, 10, 10));
        for (n, app) in apps.iter().enumerate() {
            let of_app = received.iter().filter_map(|text| text.strip_prefix(&format!("{app} ")));
            assert!(of_app.eq(["0", "1", "2"]), "{app}");
            assert!(if n % 2 == 0 { &clean } else { &failed }.contains(app), "{app}");
        }
    });
}

#[test]
fn select_waits_for_two_tails_at_once() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let consumer = consumer(&server.endpoint());
        let [one, other] = ["one-app", "other-app"].map(|app| consumer.tail(app, TOKEN).unwrap());
        for (n, app) in ["other-app", "one-app", "other-app"].into_iter().enumerate() {
            server.send(LogMessage::new(app, "hello").timestamp(n as i64));
            let (from, batch) = select! {
                recv(one.receiver()) -> batch => ("one-app", batch.unwrap()),
                recv(other.receiver()) -> batch => ("other-app", batch.unwrap()),
            };
            assert_eq!(from, app);
            assert!(batch.map(|message| message.unwrap().timestamp).eq([n as i64]));
        }
        // An end is an event, too.
        server.close_tails("one-app", Some(1000), "");
        select! {
            recv(one.receiver()) -> batch => assert!(batch.is_err()),
            recv(other.receiver()) -> batch => panic!("{batch:?}"),
        }
    });
}

#[test]
fn a_closed_tail_disconnects_its_receiver() {
    within(DEADLINE, || {
        let (_server, tail) = server_and_tail();
        let receiver = tail.receiver().clone();
        drop(tail);
        assert!(receiver.recv().is_err());
    });
}

/// A way for a server to end its tails, the ending that the client must report, and the kind of its error.
type End = (fn(&TrafficController), Ending, Option<ErrorKind>);

fn ends() -> [End; 6] {
    let closed = |code, reason: &str| Ending::ClosedByServer { code, reason: reason.into() };
    [
        (|server| _ = server.close_tails(APP, Some(1000), ""), closed(Some(1000), ""), None),
        (|server| _ = server.close_tails(APP, Some(1000), "Bye."), closed(Some(1000), "Bye."), None),
        (|server| _ = server.close_tails(APP, None, ""), closed(None, ""), None),
        (
            |server| _ = server.close_tails(APP, Some(1008), "Too slow."),
            closed(Some(1008), "Too slow."),
            Some(ErrorKind::ClosedByServer),
        ),
        (|server| _ = server.drop_tails(APP), Ending::Eof, Some(ErrorKind::ConnectionLost)),
        (|server| _ = server.reset_tails(APP), Ending::Reset, Some(ErrorKind::ConnectionLost)),
    ]
}

#[test]
fn each_way_to_end_has_its_own_ending() {
    within(DEADLINE, || {
        for tls in [false, true] {
            for (end, ending, error) in ends() {
                let server = TrafficController::builder();
                let server = if tls { server.tls() } else { server }.start().unwrap();
                let consumer = builder(&server.endpoint()).tls_connector(server.tls_connector()).build().unwrap();
                let mut tail = consumer.tail(APP, TOKEN).unwrap();
                wait_for_text_and_pong(&server);
                assert_eq!(tail.ending(), None);
                end(&server);
                assert_eq!(tail.next().map(|end| end.unwrap_err().kind()), error, "{ending:?}, TLS {tls}");
                assert_eq!(tail.ending(), Some(&ending));
                assert_eq!(ending.is_clean(), error.is_none());
            }
        }
    });
}

/// The content of a message, or the kind of an error.
type Taken = std::result::Result<Vec<u8>, ErrorKind>;

/// Receives the messages to the end.
type Take = fn(&mut Tail) -> Vec<Taken>;

/// The ways to receive messages.
const WAYS: [(&str, Take); 4] = [
    ("next", |tail| take_all(|| tail.next())),
    ("recv_timeout", |tail| take_all(|| tail.recv_timeout(DEADLINE).ok())),
    ("try_recv", |tail| {
        take_all(|| {
            loop {
                match tail.try_recv() {
                    Ok(item) => break Some(item),
                    Err(TryRecvError::Empty) => thread::yield_now(),
                    Err(TryRecvError::Disconnected) => break None,
                }
            }
        })
    }),
    ("receiver", |tail| {
        let mut items = tail.receiver().iter().flatten();
        take_all(|| items.next())
    }),
];

fn take_all(mut take: impl FnMut() -> Option<Result<LogMessage>>) -> Vec<Taken> {
    let items = iter::from_fn(&mut take);
    let taken = items.map(|item| item.map(|message| message.message).map_err(|error| error.kind())).collect();
    assert!(take().is_none(), "the end repeats");
    taken
}

#[test]
fn every_way_to_receive_gives_the_messages_before_the_end_and_then_only_the_end() {
    within(3 * DEADLINE, || {
        let texts: Vec<String> = (0..2000).map(|n| format!("message {n}")).collect();
        // A reset may discard messages.
        for (end, ending, error) in ends().into_iter().filter(|(_, ending, _)| *ending != Ending::Reset) {
            let mut expected: Vec<Taken> = texts.iter().map(|text| Ok(text.clone().into_bytes())).collect();
            expected.extend(error.map(Err));
            for (way, take) in WAYS {
                let (server, mut tail) = server_and_tail();
                texts.iter().for_each(|text| send(&server, &[text]));
                end(&server);
                let taken = take(&mut tail);
                assert!(taken == expected, "{ending:?}, {way}: {} of {} items", taken.len(), expected.len());
                assert_eq!(tail.ending(), Some(&ending));
            }
        }
    });
}

#[test]
fn the_ending_is_known_before_all_messages_are_received() {
    within(DEADLINE, || {
        let (server, mut tail) = server_and_tail();
        send(&server, &["one", "two"]);
        server.drop_tails(APP);
        wait_until("the tail has ended", || tail.ending().is_some());
        assert_eq!(tail.next().unwrap().unwrap().text(), "one");
        assert_eq!(tail.next().unwrap().unwrap().text(), "two");
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
        assert!(tail.next().is_none());
    });
}

#[test]
fn a_tail_outlives_its_consumer() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let consumer = consumer(&server.endpoint());
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        drop(consumer);
        send(&server, &["hello"]);
        assert_eq!(tail.next().unwrap().unwrap().text(), "hello");
    });
}
