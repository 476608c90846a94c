//! Tails of each generation whose connection breaks: with `Builder::reconnect` they continue, without it they end.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use common::foundation::{PathServer, failing_endpoint, gateway_not_found, links_root, no_route};
use common::messages::{APP, TOKEN, response};
use common::{DEADLINE, wait_until, within};
use loggregator_consumer::testing::{Fault, Generation, Target, TrafficController};
use loggregator_consumer::{Builder, Ending, Error, ErrorKind, LogMessage, Proxy, Reconnect, Tail, TokenSource, Via};

const VIAS: [Via; 3] = [Via::Legacy, Via::Doppler, Via::RlpGateway];

/// A time that no test reaches.
const NEVER: Duration = Duration::from_secs(3600);

fn serve(via: Via) -> TrafficController {
    let generation = if via == Via::Legacy { Generation::Y2015 } else { Generation::Today };
    TrafficController::of(generation).unwrap()
}

fn builder(via: Via, server: &TrafficController) -> Builder {
    let builder = Builder::new().proxy(Proxy::none());
    match via {
        Via::Legacy => builder.legacy(&server.endpoint()),
        Via::Doppler => builder.doppler(&server.endpoint()),
        _ => builder.rlp_gateway(&server.api()),
    }
}

fn at_once() -> Reconnect {
    Reconnect::default().first(Duration::from_millis(1)).longest(Duration::from_millis(1))
}

/// Sends a message once the server has the tail, and asserts that the tail gets it.
#[track_caller]
fn assert_arrives(server: &TrafficController, tail: &mut Tail, text: &str) {
    assert!(server.wait_for_tails(APP, 1, DEADLINE));
    server.send(LogMessage::new(APP, text));
    assert_eq!(tail.next().unwrap().unwrap().text(), text);
}

#[track_caller]
fn next_error(tail: &mut Tail) -> Error {
    tail.next().expect("it has not ended").expect_err("an error")
}

#[track_caller]
fn assert_gap(tail: &mut Tail) -> Ending {
    let error = next_error(tail);
    assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
    error.as_gap().unwrap().ending.clone()
}

type Break = fn(&TrafficController) -> usize;
type Expectation = fn(&Ending) -> bool;

/// Returns the ways to break a tail, and the ending that each must have.
fn breaks(via: Via) -> Vec<(Break, Expectation)> {
    let drop: Break = |server| server.drop_tails(APP);
    let reset: Break = |server| server.reset_tails(APP);
    if via == Via::RlpGateway {
        return vec![
            (
                |server| server.close_streams(APP),
                |ending| matches!(ending, Ending::Closing { reason } if !reason.is_empty()),
            ),
            (|server| server.close_tails(APP, None, ""), |ending| *ending == Ending::Eof),
            (drop, |ending| *ending == Ending::Eof),
            // The HTTP library does not distinguish a reset from an EOF.
            (reset, |ending| matches!(ending, Ending::Eof | Ending::Reset)),
        ];
    }
    vec![
        (
            |server| server.close_tails(APP, Some(1008), "too slow"),
            |ending| matches!(ending, Ending::ClosedByServer { code: Some(1008), reason } if reason == "too slow"),
        ),
        (|server| server.close_tails(APP, Some(1000), ""), Ending::is_clean),
        // What the client sends to a server that has just gone is answered by a reset.
        (drop, |ending| matches!(ending, Ending::Eof | Ending::Reset)),
        (reset, |ending| *ending == Ending::Reset),
    ]
}

#[test]
fn each_break_is_one_item_between_the_messages_of_two_connections() {
    for via in VIAS {
        within(DEADLINE, move || {
            let server = serve(via);
            let connected = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&connected);
            let on_connect = move || _ = count.fetch_add(1, Ordering::SeqCst);
            let consumer = builder(via, &server).reconnect(at_once()).on_connect(on_connect).build().unwrap();
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            assert_arrives(&server, &mut tail, "at first");
            for (n, (break_it, is_expected)) in breaks(via).into_iter().enumerate() {
                let before = SystemTime::now();
                assert_eq!(break_it(&server), 1);
                let error = next_error(&mut tail);
                assert_eq!(error.kind(), ErrorKind::Gap);
                let gap = error.as_gap().unwrap();
                assert!(is_expected(&gap.ending), "{via:?}: {:?}", gap.ending);
                let connected_at = gap.connected_at.unwrap();
                assert!(before <= gap.at && gap.at <= connected_at && connected_at <= SystemTime::now());
                assert!(error.to_string().starts_with(&gap.ending.to_string()), "{error}");
                assert_eq!(tail.ending(), None);
                // The next item is a message: there is no second item for the break.
                assert_arrives(&server, &mut tail, &format!("after break {n}"));
                assert_eq!(connected.load(Ordering::SeqCst), 2 + n);
            }
            tail.closer().close().unwrap();
            assert!(tail.next().is_none());
            assert_eq!(tail.ending(), Some(&Ending::Closed));
            assert!(server.wait_until_idle(DEADLINE));
            assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
        });
    }
}

#[test]
fn recent_messages_that_are_read_at_a_gap_fill_it() {
    for via in VIAS {
        within(DEADLINE, move || {
            let server = serve(via);
            // Log Cache has the recent messages of today's foundations.
            let pause = Duration::from_millis(20);
            let builder = builder(via, &server).reconnect(Reconnect::default().first(pause).longest(pause));
            let consumer = if via == Via::Legacy { builder } else { builder.log_cache(&server.api()) }.build().unwrap();
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            let mut sent = BTreeSet::new();
            for round in 0..5 {
                assert_arrives(&server, &mut tail, "before the break");
                (0..3).for_each(|_| server.fault_at(Target::tails(), Fault::DropAfter(0)));
                server.drop_tails(APP);
                // Logged while nobody listens, until an attempt succeeds.
                while server.open_tails(APP) == 0 {
                    let text = format!("{round}: {}", sent.len());
                    server.send(LogMessage::new(APP, text.as_str()));
                    sent.insert(text);
                    thread::sleep(Duration::from_millis(1));
                }
                assert_gap(&mut tail);
                let recent = consumer.recent(APP, TOKEN).unwrap();
                let mut known: BTreeSet<_> = recent.iter().map(|message| message.text().into_owned()).collect();
                add_what_arrives(&server, &mut tail, &mut known);
                assert_eq!(sent.difference(&known).collect::<Vec<_>>(), [""; 0], "{via:?}");
            }
        });
    }
}

/// Adds what the tail still returns.
fn add_what_arrives(server: &TrafficController, tail: &mut Tail, known: &mut BTreeSet<String>) {
    server.send(LogMessage::new(APP, "the end"));
    loop {
        let text = tail.next().unwrap().unwrap().text().into_owned();
        if text == "the end" {
            return;
        }
        known.insert(text);
    }
}

#[test]
fn only_messages_reset_the_count_of_attempts() {
    for via in VIAS {
        within(DEADLINE, move || {
            let server = serve(via);
            let consumer = builder(via, &server).reconnect(at_once().max_attempts(2)).build().unwrap();
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            for round in 0..4 {
                assert_arrives(&server, &mut tail, &format!("round {round}"));
                server.drop_tails(APP);
                assert_gap(&mut tail);
            }
            // Two more connections without a message.
            for _ in 0..2 {
                assert!(server.wait_for_tails(APP, 1, DEADLINE));
                server.drop_tails(APP);
                assert_gap(&mut tail);
            }
            let error = next_error(&mut tail);
            assert_eq!(error.kind(), ErrorKind::ConnectionLost);
            assert!(error.to_string().contains("given up"), "{error}");
            assert!(tail.next().is_none());
            assert!(matches!(tail.ending(), Some(Ending::Failed(_))));
            assert_eq!(server.requests().len(), 1 + 4 + 1);
            assert!(server.wait_until_idle(DEADLINE));
        });
    }
}

#[test]
fn failed_attempts_back_off_and_the_error_of_the_last_ends_the_tail() {
    for via in VIAS {
        within(DEADLINE, move || {
            let server = serve(via);
            let policy = Reconnect::default().first(Duration::from_millis(20)).max_attempts(4);
            let consumer = builder(via, &server).reconnect(policy).build().unwrap();
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            assert_arrives(&server, &mut tail, "hello");
            for n in 1..=4 {
                server.fault(Fault::RefuseStatus { status: 503, body: format!("refusal {n}").into() });
            }
            server.drop_tails(APP);
            // Failed attempts are not items, because no more messages can be missing.
            let gap = next_error(&mut tail);
            assert_eq!((gap.kind(), gap.as_gap().unwrap().connected_at), (ErrorKind::Gap, None), "{gap}");
            let error = next_error(&mut tail);
            assert_eq!((error.kind(), error.status()), (ErrorKind::ServerError, Some(503)));
            let text = error.to_string();
            assert!(text.contains("refusal 4") && text.contains("given up"), "{text}");
            assert!(tail.next().is_none());
            let times: Vec<_> = server.requests().iter().map(|request| request.at).collect();
            assert_eq!(times.len(), 5);
            // Each pause has at least half of its full length.
            for (two, least) in times[1..].windows(2).zip([20, 40, 80]) {
                assert!(two[1] - two[0] >= Duration::from_millis(least), "{:?} of {least} ms", two[1] - two[0]);
            }
        });
    }
}

#[test]
fn failed_attempts_are_repeated_until_one_succeeds() {
    within(DEADLINE, || {
        for via in VIAS {
            let server = serve(via);
            let (connected, connections) = channel();
            let on_connect = move || connected.send(()).unwrap();
            let consumer = builder(via, &server).reconnect(at_once()).on_connect(on_connect).build().unwrap();
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            connections.recv().unwrap();
            server.fault(Fault::DropAfter(0));
            server.fault(Fault::ResetAfter(10));
            server.fault(Fault::Garbage(b"this is no HTTP\r\n\r\n".to_vec()));
            server.fault(Fault::RefuseStatus { status: 502, body: "no".into() });
            server.drop_tails(APP);
            assert_gap(&mut tail);
            // The server may count a failed attempt as a tail for a moment.
            connections.recv().unwrap();
            server.send(LogMessage::new(APP, "hello"));
            assert_eq!(tail.next().unwrap().unwrap().text(), "hello");
        }
    });
}

#[test]
fn a_repeated_rejection_ends_the_tail() {
    within(DEADLINE, || {
        for via in VIAS {
            for (status, kind) in [(401, ErrorKind::Unauthorized), (404, ErrorKind::NotFound)] {
                let server = serve(via);
                let tokens = TokenSource::fixed(TOKEN);
                let consumer = builder(via, &server).tokens(tokens).reconnect(at_once()).build().unwrap();
                for token in [TOKEN, ""] {
                    let mut tail = consumer.tail(APP, token).unwrap();
                    let before = server.requests().len();
                    server.always(Fault::RefuseStatus { status, body: "no".into() });
                    server.drop_tails(APP);
                    assert_gap(&mut tail);
                    assert_eq!(next_error(&mut tail).kind(), kind, "{via:?}");
                    assert!(tail.next().is_none());
                    assert!(matches!(tail.ending(), Some(Ending::Failed(_))));
                    assert_eq!(server.requests().len(), before + 3, "{via:?}");
                    server.always([]);
                }
            }
        }
    });
}

#[test]
fn what_comes_between_rejections_does_not_save_a_tail_that_is_rejected() {
    within(DEADLINE, || {
        let rejected = || Fault::RefuseStatus { status: 401, body: "no".into() };
        let fault = || Fault::RefuseStatus { status: 500, body: "oops".into() };
        for via in VIAS {
            for (answers, requests) in [
                (vec![rejected(), rejected(), fault(), rejected()], 4),
                (
                    vec![
                        rejected(),
                        Fault::Garbage(no_route()),
                        rejected(),
                        Fault::Garbage(failing_endpoint()),
                        rejected(),
                    ],
                    5,
                ),
            ] {
                let server = serve(via);
                let consumer = builder(via, &server).reconnect(at_once()).build().unwrap();
                let mut tail = consumer.tail(APP, TOKEN).unwrap();
                assert!(server.wait_for_tails(APP, 1, DEADLINE));
                answers.into_iter().for_each(|answer| server.fault(answer));
                server.drop_tails(APP);
                assert_gap(&mut tail);
                assert_eq!(next_error(&mut tail).kind(), ErrorKind::Unauthorized, "{via:?}");
                assert!(tail.next().is_none());
                assert_eq!(server.requests().len(), 1 + requests, "{via:?}");
            }
        }
    });
}

/// A tail of the RLP gateway that breaks, and finds these answers before its next connection.
fn passing_answers(answers: impl IntoIterator<Item = Vec<u8>>) {
    let server = serve(Via::RlpGateway);
    let consumer = builder(Via::RlpGateway, &server).reconnect(at_once()).build().unwrap();
    let mut tail = consumer.tail(APP, TOKEN).unwrap();
    let answers = answers.into_iter().inspect(|answer| server.fault(Fault::Garbage(answer.clone()))).count();
    server.drop_tails(APP);
    assert_gap(&mut tail);
    assert_arrives(&server, &mut tail, "hello");
    assert_eq!(server.requests().len(), 1 + answers + 1);
}

#[test]
fn a_router_without_a_route_for_now_does_not_end_it() {
    within(DEADLINE, || passing_answers((0..8).flat_map(|_| [no_route(), failing_endpoint()])));
}

#[test]
fn a_gateway_that_can_not_check_tokens_for_now_does_not_end_it() {
    within(DEADLINE, || passing_answers((0..8).map(|_| gateway_not_found())));
}

#[test]
fn a_rejection_of_every_token_ends_it_after_fifteen_seconds() {
    within(2 * DEADLINE, || {
        let server = serve(Via::RlpGateway);
        let policy = Reconnect::default().first(Duration::from_millis(500)).longest(Duration::from_millis(500));
        let consumer = builder(Via::RlpGateway, &server).reconnect(policy).build().unwrap();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        server.always(Fault::Garbage(gateway_not_found()));
        let begin = Instant::now();
        server.drop_tails(APP);
        assert_gap(&mut tail);
        let error = next_error(&mut tail);
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(404)));
        assert!(begin.elapsed() >= Duration::from_secs(15), "{:?}", begin.elapsed());
        assert!(tail.next().is_none());
    });
}

#[test]
fn a_tail_whose_server_has_moved_finds_it_by_the_api() {
    within(DEADLINE, || {
        for (via, link) in [(Via::Doppler, "logging"), (Via::RlpGateway, "log_stream")] {
            let servers = [serve(via), serve(via)];
            let roots = servers.each_ref().map(|server| {
                links_root(&[(link, &if via == Via::Doppler { server.endpoint() } else { server.api() })])
            });
            let root = Arc::new(Mutex::new(roots[0].clone()));
            let api = {
                let root = Arc::clone(&root);
                PathServer::start(move |_| response("200 OK", &[], root.lock().unwrap().as_bytes()))
            };
            let consumer = Builder::new().api(&api.url()).proxy(Proxy::none()).reconnect(at_once()).build().unwrap();
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            let [old, new] = servers;
            assert_arrives(&old, &mut tail, "at the old address");
            assert_eq!(api.take_paths(), ["/"]);
            // The old one goes first: until the API knows the new one, it is asked in vain.
            drop(old);
            wait_until("the API is asked again", || !api.take_paths().is_empty());
            root.lock().unwrap().clone_from(&roots[1]);
            assert_gap(&mut tail);
            assert_arrives(&new, &mut tail, "at the new address");
            let choice = consumer.tail_choice().unwrap();
            assert_eq!(choice.address(), if via == Via::Doppler { new.endpoint() } else { new.api() });
        }
    });
}

#[test]
fn the_api_is_asked_at_most_once_per_attempt() {
    within(DEADLINE, || {
        let server = serve(Via::Doppler);
        let router = PathServer::router();
        let links = Arc::new(Mutex::new(server.endpoint()));
        let api = {
            let links = Arc::clone(&links);
            PathServer::start(move |_| {
                response("200 OK", &[], links_root(&[("logging", &links.lock().unwrap())]).as_bytes())
            })
        };
        let consumer = Builder::new().api(&api.url()).proxy(Proxy::none());
        let consumer = consumer.reconnect(at_once().max_attempts(5)).build().unwrap();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        assert_eq!(api.take_paths(), ["/"]);
        *links.lock().unwrap() = router.websocket_url();
        drop(server);
        assert_gap(&mut tail);
        let error = next_error(&mut tail);
        assert!(error.to_string().contains("given up"), "{error}");
        assert_eq!(router.take_paths().len(), 5);
        assert_eq!(api.take_paths().len(), 5);
    });
}

#[test]
fn an_api_that_is_away_does_not_end_a_tail_whose_server_comes_back() {
    within(DEADLINE, || {
        let server = serve(Via::Doppler);
        let is_away = Arc::new(AtomicBool::new(false));
        let api = {
            let (is_away, root) = (Arc::clone(&is_away), links_root(&[("logging", &server.endpoint())]));
            PathServer::start(move |_| match is_away.load(Ordering::SeqCst) {
                true => no_route(),
                false => response("200 OK", &[], root.as_bytes()),
            })
        };
        let (connected, connections) = channel();
        let consumer = Builder::new().api(&api.url()).proxy(Proxy::none()).reconnect(at_once());
        let consumer = consumer.on_connect(move || connected.send(()).unwrap()).build().unwrap();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        connections.recv().unwrap();
        is_away.store(true, Ordering::SeqCst);
        for _ in 0..5 {
            server.fault(Fault::DropAfter(0));
        }
        server.drop_tails(APP);
        assert_gap(&mut tail);
        // At the server, an attempt that fails can be a tail for a moment.
        connections.recv().unwrap();
        assert_arrives(&server, &mut tail, "hello");
        assert!(api.take_paths().len() > 1);
    });
}

#[test]
fn a_close_does_not_wait_for_the_next_attempt() {
    within(DEADLINE, || {
        for via in VIAS {
            let server = serve(via);
            let consumer =
                builder(via, &server).reconnect(Reconnect::default().first(NEVER).longest(NEVER)).build().unwrap();
            let in_backoff = || {
                let tail = consumer.tail(APP, TOKEN).unwrap();
                server.drop_tails(APP);
                assert!(server.wait_until_idle(DEADLINE), "nothing is open during the backoff");
                tail
            };
            for by_consumer in [false, true] {
                let mut tail = in_backoff();
                let began = Instant::now();
                if by_consumer { consumer.close() } else { tail.closer().close() }.unwrap();
                assert!(tail.next().is_none());
                assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
                assert_eq!(tail.ending(), Some(&Ending::Closed));
                tail.close().unwrap();
            }
            let tail = in_backoff();
            let began = Instant::now();
            tail.close().unwrap();
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
            assert!(server.wait_until_idle(DEADLINE));
        }
    });
}

#[test]
fn without_reconnect_a_break_ends_the_tail() {
    within(DEADLINE, || {
        for via in VIAS {
            for (break_it, is_expected) in breaks(via) {
                let server = serve(via);
                let mut tail = builder(via, &server).build().unwrap().tail(APP, TOKEN).unwrap();
                assert_eq!(break_it(&server), 1);
                let error = tail.next().map(|item| item.expect_err("an error"));
                let ending = tail.ending().unwrap();
                assert!(is_expected(ending), "{via:?}: {ending}");
                let kind = match ending {
                    Ending::ClosedByServer { code: Some(1000), .. } => None,
                    Ending::ClosedByServer { .. } | Ending::Closing { .. } => Some(ErrorKind::ClosedByServer),
                    _ => Some(ErrorKind::ConnectionLost),
                };
                assert_eq!(error.as_ref().map(Error::kind), kind, "{via:?}: {ending}");
                assert!(error.is_none_or(|error| error.as_gap().is_none()));
                assert!(tail.next().is_none());
                assert_eq!(server.requests().len(), 1);
                assert!(server.wait_until_idle(DEADLINE));
            }
        }
    });
}

#[test]
fn an_idle_timeout_is_a_break_too() {
    within(DEADLINE, || {
        let silent = || {
            TrafficController::builder()
                .generation(Generation::Today)
                .ping(NEVER, NEVER)
                .heartbeat(NEVER)
                .start()
                .unwrap()
        };
        for via in [Via::Doppler, Via::RlpGateway] {
            let server = silent();
            let builder = || builder(via, &server).idle_timeout(Duration::from_millis(200));
            let mut tail = builder().build().unwrap().tail(APP, TOKEN).unwrap();
            assert_eq!(next_error(&mut tail).kind(), ErrorKind::Timeout, "{via:?}");
            assert!(tail.next().is_none());
            assert_eq!(tail.ending(), Some(&Ending::TimedOut));

            let mut tail = builder().reconnect(at_once()).build().unwrap().tail(APP, TOKEN).unwrap();
            for _ in 0..2 {
                assert_eq!(assert_gap(&mut tail), Ending::TimedOut, "{via:?}");
            }
        }
    });
}

#[test]
fn heartbeats_restart_the_idle_timeout_of_a_gateway_stream() {
    within(DEADLINE, || {
        let server = TrafficController::builder()
            .generation(Generation::Today)
            .heartbeat(Duration::from_millis(50))
            .start()
            .unwrap();
        let limit = Duration::from_secs(1);
        let mut tail = builder(Via::RlpGateway, &server).idle_timeout(limit).build().unwrap().tail(APP, TOKEN).unwrap();
        assert!(tail.recv_timeout(limit * 2).is_err());
        assert_eq!(tail.ending(), None);
        assert_arrives(&server, &mut tail, "still here");
    });
}
