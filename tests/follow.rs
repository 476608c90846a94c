//! `follow`: recent messages and then all further ones from Log Cache, each once, with gaps that are named.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::messages::{APP, TOKEN, response};
use common::{DEADLINE, ScriptedServer, hang_up, send, try_read_head, wait_until, within};
use loggregator_consumer::testing::{Fault, Generation, RequestKind, TrafficController};
use loggregator_consumer::{
    Builder, Consumer, Ending, ErrorKind, LogMessage, Polling, Proxy, Reconnect, Tail, TokenSource, Uaa, Via,
};

fn serve() -> TrafficController {
    TrafficController::of(Generation::Today).unwrap()
}

/// Polls often, so that the tests are quick.
fn builder(server: &TrafficController) -> Builder {
    let polling = Polling::default().every(Duration::from_millis(20)).idle(Duration::from_millis(50));
    Builder::new().log_cache(&server.api()).proxy(Proxy::none()).polling(polling)
}

fn consumer(server: &TrafficController) -> Consumer {
    builder(server).build().unwrap()
}

fn line(text: impl Into<String>) -> LogMessage {
    LogMessage::new(APP, text.into())
}

/// Takes as many messages as there are texts, and no error.
#[track_caller]
fn assert_next(tail: &mut Tail, texts: &[&str]) {
    for text in texts {
        assert_eq!(tail.next().unwrap().unwrap().text(), *text);
    }
}

#[test]
fn recent_messages_come_first_and_then_all_further_ones_each_once() {
    within(DEADLINE, || {
        let server = serve();
        server.add_recent(APP, ["one", "two", "three"].map(line));
        let mut tail = builder(&server).recent_limit(2).build().unwrap().follow(APP, TOKEN).unwrap();
        assert_next(&mut tail, &["two", "three"]);
        for n in 0..50 {
            server.send(line(n.to_string()));
            assert_next(&mut tail, &[&n.to_string()]);
        }
        assert!(tail.recv_timeout(Duration::from_millis(300)).is_err(), "no line comes twice");
        tail.close().unwrap();
        assert!(server.wait_until_idle(DEADLINE));
    });
}

#[test]
fn lines_that_become_readable_late_are_not_lost() {
    within(DEADLINE, || {
        let server = serve();
        server.send(line("first"));
        let mut tail = consumer(&server).follow(APP, TOKEN).unwrap();
        assert_next(&mut tail, &["first"]);
        // Late, and behind a newer line that has been read by then.
        server.send_late(line("late"), Duration::from_millis(1500));
        server.send(line("in time"));
        assert_next(&mut tail, &["in time", "late"]);
    });
}

#[test]
fn equal_lines_of_one_time_come_as_often_as_they_were_logged() {
    within(DEADLINE, || {
        let server = serve();
        server.send(line("first"));
        let mut tail = consumer(&server).follow(APP, TOKEN).unwrap();
        assert_next(&mut tail, &["first"]);
        let same = line("same");
        server.send(same.clone());
        server.send(same.clone());
        assert_next(&mut tail, &["same", "same"]);
        server.send(same);
        assert_next(&mut tail, &["same"]);
    });
}

/// A Log Cache without lines that keeps connections open, and counts them and the requests.
fn counting() -> (ScriptedServer, Arc<[AtomicUsize; 2]>) {
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let counted = Arc::clone(&counts);
    let server = ScriptedServer::always(move |mut socket| {
        counted[0].fetch_add(1, Ordering::SeqCst);
        while try_read_head(&mut socket).is_ok() {
            counted[1].fetch_add(1, Ordering::SeqCst);
            let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT";
            send(&mut socket, &[&response("200 OK", &[date], br#"{"envelopes":{"batch":[]}}"#)]);
        }
    });
    (server, counts)
}

#[test]
fn reports_of_progress_do_not_pile_up_if_nothing_is_taken() {
    within(DEADLINE, || {
        let server = serve();
        let mut tail = consumer(&server).follow(APP, TOKEN).unwrap();
        // There is a report each second.
        let requests = server.requests().len();
        let began = Instant::now();
        wait_until("there have been three", || began.elapsed() > Duration::from_millis(3200));
        assert!(tail.receiver().len() <= 1, "{}", tail.receiver().len());
        assert!(server.requests().len() > requests + 20);
        assert!(tail.try_recv().is_err() && tail.complete_until().is_some());
    });
}

#[test]
fn all_polls_use_one_connection() {
    within(DEADLINE, || {
        let (server, counts) = counting();
        let polling = Polling::default().every(Duration::from_millis(5)).idle(Duration::from_millis(5));
        let builder = Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none());
        let tail = builder.polling(polling).build().unwrap().follow(APP, TOKEN).unwrap();
        wait_until("there have been many polls", || counts[1].load(Ordering::SeqCst) >= 20);
        assert_eq!(counts[0].load(Ordering::SeqCst), 1);
        tail.close().unwrap();
    });
}

#[test]
fn a_kept_connection_that_the_server_has_closed_is_dialled_anew() {
    within(DEADLINE, || {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        // Each connection serves one request, and does not say so.
        let server = ScriptedServer::always(move |mut socket| {
            if try_read_head(&mut socket).is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
                let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT";
                send(&mut socket, &[&response("200 OK", &[date], br#"{"envelopes":{"batch":[]}}"#)]);
            }
            // Only when the next request is on its way, so that it meets a closed connection.
            let _ = socket.peek(&mut [0]);
            hang_up(socket);
        });
        let polling = Polling::default().every(Duration::from_millis(5)).idle(Duration::from_millis(5));
        let builder = Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none());
        let builder = builder.polling(polling).reconnect(Reconnect::default().max_attempts(0));
        let mut tail = builder.build().unwrap().follow(APP, TOKEN).unwrap();
        wait_until("there have been many polls", || requests.load(Ordering::SeqCst) >= 20);
        assert!(tail.try_recv().is_err(), "none of them failed");
        tail.close().unwrap();
    });
}

#[test]
fn a_broken_connection_a_503_and_a_server_that_is_away_are_no_gap() {
    within(DEADLINE, || {
        let server = serve();
        server.send(line("first"));
        let mut tail = consumer(&server).follow(APP, TOKEN).unwrap();
        assert_next(&mut tail, &["first"]);
        for fault in [
            Fault::DropAfter(0),
            Fault::ResetAfter(100),
            Fault::Garbage(b"not HTTP\r\n\r\n".to_vec()),
            Fault::RefuseStatus { status: 503, body: "away".into() },
        ] {
            let text = format!("{fault:?}");
            // Aimed at these requests, so that the server notes them though it does not answer.
            server.always_at(RequestKind::LogCacheRead, fault);
            let before = server.requests().len();
            assert!(server.wait_for_requests(before + 1, DEADLINE));
            server.send(line(text.clone()));
            server.always_at(RequestKind::LogCacheRead, []);
            assert_next(&mut tail, &[&text]);
        }
        server.set_node_away(true);
        let before = server.requests().len();
        assert!(server.wait_for_requests(before + 2, DEADLINE));
        server.set_node_away(false);
        server.send(line("back"));
        assert_next(&mut tail, &["back"]);
    });
}

#[test]
fn lines_that_log_cache_has_dropped_are_in_a_named_gap() {
    within(DEADLINE, || {
        let server = serve();
        server.send(line("first"));
        let mut tail = consumer(&server).follow(APP, TOKEN).unwrap();
        assert_next(&mut tail, &["first"]);
        let lost = line("lost");
        // Log Cache restarts between two polls.
        server.always(Fault::RefuseStatus { status: 503, body: "away".into() });
        let before = server.requests().len();
        assert!(server.wait_for_requests(before + 1, DEADLINE));
        server.send(lost.clone());
        server.empty_log_cache();
        server.send(line("after"));
        server.always([]);
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
        let gap = error.as_gap().unwrap();
        assert_eq!(gap.ending, Ending::Forgotten);
        let (from, until) = (gap.from.unwrap(), gap.until.unwrap());
        assert!((from..until).contains(&lost.timestamp), "{} is not in {from}..{until}", lost.timestamp);
        assert!(error.to_string().contains("may be missing"), "{error}");
        assert_next(&mut tail, &["after"]);
    });
}

#[test]
fn a_tool_that_restarts_goes_on_where_it_was_complete() {
    within(DEADLINE, || {
        let server = serve();
        for n in 0..10 {
            server.send(line(n.to_string()));
        }
        let consumer = consumer(&server);
        let mut tail = consumer.follow(APP, TOKEN).unwrap();
        assert_eq!(tail.complete_until(), None, "nothing has been taken yet");
        for n in 0..10 {
            assert_next(&mut tail, &[&n.to_string()]);
        }
        while tail.complete_until().is_none() {
            assert!(tail.recv_timeout(Duration::from_millis(100)).is_err());
        }
        let until = tail.complete_until().unwrap();
        drop(tail);
        server.send(line("meanwhile"));
        let mut texts = Vec::new();
        let mut tail = consumer.follow_since(APP, TOKEN, until).unwrap();
        while texts.last().is_none_or(|text| text != "meanwhile") {
            texts.push(tail.next().unwrap().unwrap().text().into_owned());
        }
        // Those that could still have got company come once more, and none is missing.
        let all: Vec<_> = (0..10).map(|n| n.to_string()).chain(["meanwhile".to_owned()]).collect();
        assert!(all.ends_with(&texts), "{texts:?}");
    });
}

#[test]
fn tokens_are_renewed_while_it_polls() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.send(line("first"));
        let tokens = TokenSource::uaa(Uaa::new(&server.api()).refresh_token(&server.issue_refresh_token())).unwrap();
        let consumer = builder(&server).tokens(tokens).build().unwrap();
        let mut tail = consumer.follow(APP, "").unwrap();
        assert_next(&mut tail, &["first"]);
        server.expire_tokens();
        server.send(line("after"));
        assert_next(&mut tail, &["after"]);
        assert_eq!(server.refreshes(), 2);
    });
}

#[test]
fn a_tail_via_log_cache_has_only_what_is_new() {
    within(DEADLINE, || {
        let server = serve();
        server.send(line("old"));
        let consumer = builder(&server).doppler(&server.endpoint()).tail_via(Via::LogCache).build().unwrap();
        assert_eq!(consumer.tail_choice().unwrap().via(), Via::LogCache);
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        server.send(line("new"));
        assert_next(&mut tail, &["new"]);
        assert_eq!(server.open_tails(APP), 0);
        for via in [Via::RlpGateway, Via::Legacy] {
            let error = builder(&server).tail_via(via).build().unwrap().tail(APP, TOKEN).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("Builder::tail_via"), "{error}");
        }
    });
}

#[test]
fn what_is_wrong_at_the_start_is_an_error_of_the_call() {
    within(DEADLINE, || {
        let server = serve();
        let error = consumer(&server).follow(APP, "").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        let only_a_stream = Builder::new().rlp_gateway(&server.api()).proxy(Proxy::none()).build().unwrap();
        let error = only_a_stream.follow(APP, TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("Builder::log_cache"), "{error}");
    });
}

#[test]
fn attempts_and_time_are_limited() {
    within(DEADLINE, || {
        let server = serve();
        server.send(line("first"));
        let limits: [fn(Builder) -> Builder; 2] = [
            |builder| builder.idle_timeout(Duration::from_millis(100)),
            |builder| builder.reconnect(Reconnect::default().max_attempts(1)),
        ];
        for limit in limits {
            let mut tail = limit(builder(&server)).build().unwrap().follow(APP, TOKEN).unwrap();
            assert_next(&mut tail, &["first"]);
            server.always(Fault::RefuseStatus { status: 503, body: "away".into() });
            let error = tail.next().unwrap().unwrap_err();
            assert_eq!((error.kind(), error.status()), (ErrorKind::ServerError, Some(503)), "{error}");
            assert!(tail.next().is_none());
            assert!(matches!(tail.ending(), Some(Ending::Failed(_))));
            server.always([]);
        }
    });
}

#[test]
fn a_close_is_prompt_in_every_state() {
    within(DEADLINE, || {
        let server = serve();
        for n in 0..100 {
            server.send(line(n.to_string()));
        }
        let promptly = |close: &dyn Fn()| {
            let began = Instant::now();
            close();
            assert!(began.elapsed() < Duration::from_millis(450), "{:?}", began.elapsed());
        };
        // In a pause, in a request, and in the wait for a caller who takes nothing.
        let far = Polling::default().every(Duration::from_secs(3600)).idle(Duration::from_secs(3600));
        let pausing = builder(&server).polling(far).build().unwrap();
        let mut tail = pausing.follow(APP, TOKEN).unwrap();
        assert!(tail.by_ref().take(100).all(|line| line.is_ok()));
        promptly(&|| pausing.close().unwrap());
        assert!(tail.next().is_none());
        assert_eq!(tail.ending(), Some(&Ending::Closed));

        let consumer = consumer(&server);
        let mut tail = consumer.follow(APP, TOKEN).unwrap();
        assert!(tail.by_ref().take(100).all(|line| line.is_ok()));
        server.always(Fault::StallAfter(10));
        let before = server.requests().len();
        assert!(server.wait_for_requests(before + 1, DEADLINE));
        promptly(&|| consumer.close().unwrap());
        assert!(tail.next().is_none());
        server.always([]);

        let tail = consumer.follow(APP, TOKEN).unwrap();
        let began = Instant::now();
        drop(tail);
        assert!(began.elapsed() < Duration::from_millis(450), "{:?}", began.elapsed());
        assert!(server.wait_until_idle(DEADLINE));
        assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn the_messages_of_a_selected_channel_are_the_same() {
    within(DEADLINE, || {
        let server = serve();
        server.send(line("first"));
        let tail = consumer(&server).follow(APP, TOKEN).unwrap();
        server.send(line("second"));
        let mut texts = Vec::new();
        while texts.len() < 2 {
            let batch = tail.receiver().recv_timeout(DEADLINE).unwrap();
            texts.extend(batch.map(|line| line.unwrap().text().into_owned()));
        }
        assert_eq!(texts, ["first", "second"]);
    });
}
