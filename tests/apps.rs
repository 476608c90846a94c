//! Tails of several apps as one.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{DEADLINE, within};
use loggregator_consumer::testing::{Fault, Generation, RequestKind, Target, TrafficController};
use loggregator_consumer::{
    Builder, Consumer, Ending, EnvelopeType, Error, ErrorKind, LogMessage, Polling, Proxy, Reconnect, Selection, Tail,
    TokenSource, Via,
};

fn guid(number: usize) -> String {
    format!("11111111-aaaa-bbbb-cccc-{number:012}")
}

fn guids(count: usize) -> Vec<String> {
    (0..count).map(guid).collect()
}

/// A line that is logged now.
fn line(app: &str, text: &str) -> LogMessage {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    LogMessage::new(app, text).timestamp(now.as_nanos() as i64 / 1000 * 1000)
}

/// A foundation on which only these apps exist.
fn foundation(generation: Generation, apps: &[String]) -> TrafficController {
    TrafficController::builder().generation(generation).apps(apps.iter().map(String::as_str)).start().unwrap()
}

fn builder(server: &TrafficController) -> Builder {
    let polling = Polling::default().every(Duration::from_millis(10)).idle(Duration::from_millis(20));
    Builder::new().api(&server.api()).polling(polling).proxy(Proxy::none())
}

/// Every way to tail several apps.
const WAYS: [(Generation, Via); 5] = [
    (Generation::Today, Via::RlpGateway),
    (Generation::Today, Via::LogCache),
    (Generation::Today, Via::Doppler),
    (Generation::Y2018, Via::Doppler),
    (Generation::Y2015, Via::Legacy),
];

/// A consumer of a foundation, which tails by one of its servers.
fn consumer(server: &TrafficController, via: Via) -> Consumer {
    let builder = builder(server);
    match via {
        Via::Legacy => builder.legacy(&server.endpoint()).tail_via(via),
        _ => builder.tail_via(via),
    }
    .build()
    .unwrap()
}

fn texts(messages: &[LogMessage]) -> Vec<(&str, String)> {
    let mut texts: Vec<_> = messages.iter().map(|it| (&*it.app_id, it.text().into_owned())).collect();
    texts.sort();
    texts
}

/// Takes this number of messages, and the errors among them.
fn take(tail: &mut Tail, count: usize) -> (Vec<LogMessage>, Vec<Error>) {
    let (mut messages, mut errors) = (Vec::new(), Vec::new());
    while messages.len() < count {
        match tail.next().unwrap() {
            Ok(message) => messages.push(message),
            Err(error) => errors.push(error),
        }
    }
    (messages, errors)
}

#[test]
fn each_message_has_its_app_on_every_server() {
    within(3 * DEADLINE, || {
        for (generation, via) in WAYS {
            let apps = guids(3);
            let server = foundation(generation, &apps);
            let mut tail = consumer(&server, via).tail_apps(&apps, &server.issue_token()).unwrap();
            apps.iter().for_each(|app| _ = server.send(line(app, "hello")));
            let (messages, errors) = take(&mut tail, 3);
            let expected: Vec<_> = apps.iter().map(|app| (&**app, "hello".to_owned())).collect();
            assert_eq!(texts(&messages), expected, "{generation:?} {via:?}");
            assert!(errors.is_empty(), "{errors:?}");
            tail.close().unwrap();
        }
    });
}

#[test]
fn an_app_that_is_rejected_is_named_and_does_not_end_the_others() {
    within(3 * DEADLINE, || {
        for (generation, via) in WAYS {
            let apps = guids(7);
            let server = foundation(generation, &[apps[1].clone(), apps[2].clone(), apps[5].clone()]);
            let token = server.issue_token();
            let mut tail = consumer(&server, via).tail_apps(&apps, &token).unwrap();
            for app in [1, 2, 5] {
                server.send(line(&apps[app], "hello"));
            }
            let (messages, errors) = take(&mut tail, 3);
            assert_eq!(texts(&messages).len(), 3, "{generation:?} {via:?}");
            let rejected: Vec<_> = errors.iter().filter_map(Error::app_id).collect();
            assert_eq!(rejected, [&apps[0], &apps[3], &apps[4], &apps[6]], "{generation:?} {via:?}");
            for error in &errors {
                assert!(matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::NotFound), "{error}");
                assert!(error.to_string().starts_with(&format!("app {}: ", error.app_id().unwrap())), "{error}");
                assert!(!error.to_string().contains(&token) && !format!("{error:?}").contains(&token), "{error:?}");
            }
            assert!(tail.ending().is_none());
        }
    });
}

#[test]
fn a_call_fails_if_all_apps_are_rejected() {
    within(2 * DEADLINE, || {
        for (generation, via) in WAYS {
            let server = foundation(generation, &guids(1));
            let error = consumer(&server, via).tail_apps([guid(8), guid(9)], &server.issue_token()).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::NotFound), "{via:?} {error}");
        }
        let server = foundation(Generation::Today, &guids(1));
        let consumer = builder(&server).build().unwrap();
        let none: [&str; 0] = [];
        assert_eq!(consumer.tail_apps(none, "").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(consumer.follow_apps(["my app"], "").unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn the_gateway_has_one_stream_for_all_and_is_asked_again_only_to_find_who_is_rejected() {
    within(DEADLINE, || {
        let apps = guids(100);
        let server = foundation(Generation::Today, &apps);
        let consumer = builder(&server).build().unwrap();
        let streams = || server.requests().iter().filter(|request| request.kind == RequestKind::Gateway).count();
        let twice = apps.iter().chain(&apps);
        let _tail = consumer.tail_apps(twice, &server.issue_token()).unwrap();
        assert_eq!(streams(), 1);
        assert_eq!(server.requests().last().unwrap().target.matches("source_id=").count(), apps.len());
        let with_one_more: Vec<_> = apps.iter().cloned().chain([guid(100)]).collect();
        let mut tail = consumer.tail_apps(&with_one_more, &server.issue_token()).unwrap();
        assert_eq!(tail.next().unwrap().unwrap_err().app_id(), Some(&*guid(100)));
        // Twice for each halving, and once before and after it.
        assert!(streams() <= 1 + 2 * 7 + 2, "{}", streams());
    });
}

#[test]
fn an_expired_token_is_renewed_before_the_gateway_is_asked_who_is_rejected() {
    within(DEADLINE, || {
        let apps = guids(50);
        let server = foundation(Generation::Today, &apps[..49]);
        let old = server.issue_token();
        server.expire_tokens();
        let (first, valid) = (old.clone(), server.issue_token());
        let tokens = move |rejected: Option<&str>| Ok(if rejected.is_none() { first.clone() } else { valid.clone() });
        let consumer = builder(&server).tokens(TokenSource::from_fn(tokens)).build().unwrap();
        let streams = || server.requests().iter().filter(|request| request.kind == RequestKind::Gateway).count();
        let _tail = consumer.tail_apps(&apps[..49], "").unwrap();
        assert_eq!(streams(), 2);
        // The new token is accepted, so it is an app that is rejected.
        let mut tail = consumer.tail_apps(&apps, "").unwrap();
        assert_eq!(tail.next().unwrap().unwrap_err().app_id(), Some(&*apps[49]));
        assert!(streams() <= 2 + 1 + 2 * 6 + 1, "{}", streams());

        let away = TokenSource::from_fn(move |rejected| match rejected {
            Some(_) => Err("the UAA is away".into()),
            None => Ok(old.clone()),
        });
        let before = streams();
        let consumer = builder(&server).tokens(away).build().unwrap();
        let error = consumer.tail_apps(&apps, "").unwrap_err();
        assert!(error.to_string().contains("the UAA is away"), "{error}");
        assert_eq!(streams(), before + 1);
    });
}

/// A token function that returns another valid token after each rejection, and the number of rejections.
fn renewing_tokens(server: &TrafficController) -> (TokenSource, Arc<AtomicUsize>) {
    let valid: Vec<_> = (0..5).map(|_| server.issue_token()).collect();
    let rejections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&rejections);
    let tokens = TokenSource::from_fn(move |rejected| {
        let number = count.fetch_add(usize::from(rejected.is_some()), Ordering::SeqCst);
        Ok(valid[number + usize::from(rejected.is_some())].clone())
    });
    (tokens, rejections)
}

/// The number of requests that Log Cache got for an app.
fn reads(server: &TrafficController, app: &str) -> usize {
    server.requests().iter().filter(|it| it.kind == RequestKind::LogCacheRead && it.target.contains(app)).count()
}

#[test]
fn a_token_that_log_cache_rejects_for_some_apps_is_renewed_once_for_all_of_them() {
    within(DEADLINE, || {
        let apps = guids(4);
        let server = foundation(Generation::Today, &apps);
        let (tokens, rejections) = renewing_tokens(&server);
        let consumer = builder(&server).tail_via(Via::LogCache).tokens(tokens).build().unwrap();
        // The proxy still has its verdict on the others from before the token expired.
        for app in &apps[1..3] {
            server.fault_at(Target::app(app), Fault::RefuseStatus { status: 404, body: "".into() });
        }
        let mut tail = consumer.tail_apps(&apps, "").unwrap();
        apps.iter().for_each(|app| _ = server.send(line(app, "hello")));
        let (messages, errors) = take(&mut tail, 4);
        assert_eq!((texts(&messages).len(), errors.len()), (4, 0), "{errors:?}");
        assert_eq!(rejections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn an_app_that_log_cache_rejects_with_a_renewed_token_too_is_named() {
    within(DEADLINE, || {
        let apps = guids(4);
        let server = foundation(Generation::Today, &apps[..2]);
        let (tokens, rejections) = renewing_tokens(&server);
        let consumer = builder(&server).tail_via(Via::LogCache).tokens(tokens).build().unwrap();
        let token = server.issue_token();
        // Once more with the new token, and then once in each call: there is no reason to renew it again, nor a way to
        // renew that of a caller.
        for (given, requests) in [("", 2), ("", 3), (&*token, 4)] {
            let tail = consumer.tail_apps(&apps, given).unwrap();
            let rejected: Vec<_> = tail.take(2).map(|item| item.unwrap_err().app_id().unwrap().to_owned()).collect();
            assert_eq!(rejected, apps[2..]);
            assert_eq!((reads(&server, &apps[2]), reads(&server, &apps[3])), (requests, requests), "{given}");
            assert_eq!(rejections.load(Ordering::SeqCst), 1);
        }
        let selection = Selection::apps(&apps).types([EnvelopeType::Log]);
        let mut tail = consumer.follow_stream(&selection, "").unwrap();
        assert_eq!(tail.next().unwrap().unwrap_err().app_id(), Some(&*apps[2]));
        assert_eq!((reads(&server, &apps[2]), rejections.load(Ordering::SeqCst)), (5, 1));
    });
}

#[test]
fn a_token_that_cannot_be_renewed_for_some_apps_fails_the_call() {
    within(DEADLINE, || {
        let apps = guids(3);
        let server = foundation(Generation::Today, &apps[..2]);
        let token = server.issue_token();
        let away = TokenSource::from_fn(move |rejected| match rejected {
            Some(_) => Err("the UAA is away".into()),
            None => Ok(token.clone()),
        });
        let consumer = builder(&server).tail_via(Via::LogCache).tokens(away).build().unwrap();
        let error = consumer.tail_apps(&apps, "").unwrap_err();
        assert!(error.to_string().contains("the UAA is away"), "{error}");
        assert_eq!(reads(&server, &apps[2]), 1);
    });
}

#[test]
fn what_finds_who_is_rejected_takes_nothing_from_the_other_readers_of_a_shard() {
    within(DEADLINE, || {
        let server = foundation(Generation::Today, &guids(3));
        let selection = Selection::apps(guids(4)).shard("shared");
        let consumer = consumer(&server, Via::RlpGateway);
        let mut tail = consumer.stream(&selection, &server.issue_token()).unwrap();
        assert_eq!(tail.next().unwrap().unwrap_err().app_id(), Some(&*guid(3)));
        let requests = server.requests();
        let requests: Vec<_> = requests.iter().filter(|request| request.kind == RequestKind::Gateway).collect();
        let [first, probes @ .., last] = &requests[..] else { panic!("{requests:?}") };
        assert!([first, last].iter().all(|request| request.target.ends_with("&shard_id=shared")), "{requests:?}");
        assert!(!probes.is_empty() && probes.iter().all(|request| !request.target.contains("shard_id")), "{probes:?}");
    });
}

#[test]
fn a_stream_of_several_sources_names_what_is_rejected() {
    within(DEADLINE, || {
        for via in [Via::RlpGateway, Via::Doppler] {
            let server = foundation(Generation::Today, &guids(2));
            let selection = Selection::apps(guids(3)).types([EnvelopeType::Log]);
            let mut tail = consumer(&server, via).stream(&selection, &server.issue_token()).unwrap();
            assert_eq!(tail.next().unwrap().unwrap_err().app_id(), Some(&*guid(2)));
            for app in guids(2) {
                server.send(line(&app, "hello"));
            }
            let mut sources: Vec<_> = tail.by_ref().take(2).map(|it| it.unwrap().source_id).collect();
            sources.sort();
            assert_eq!(sources, guids(2), "{via:?}");
        }
    });
}

#[test]
fn an_app_whose_connection_ends_is_named_and_the_tail_ends_with_the_last() {
    within(DEADLINE, || {
        let apps = guids(3);
        let server = foundation(Generation::Today, &apps);
        let mut tail = consumer(&server, Via::Doppler).tail_apps(&apps, &server.issue_token()).unwrap();
        server.close_tails(&apps[0], Some(1000), "");
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!((error.app_id(), error.kind()), (Some(&*apps[0]), ErrorKind::ClosedByServer), "{error}");
        server.drop_tails(&apps[1]);
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!((error.app_id(), error.kind()), (Some(&*apps[1]), ErrorKind::ConnectionLost), "{error}");
        assert!(tail.ending().is_none());
        server.send(line(&apps[2], "still here"));
        assert_eq!(tail.next().unwrap().unwrap().text(), "still here");
        server.drop_tails(&apps[2]);
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!((error.app_id(), error.kind()), (Some(&*apps[2]), ErrorKind::ConnectionLost), "{error}");
        assert!(tail.next().is_none());
        assert!(matches!(tail.ending(), Some(Ending::Failed(_))), "{:?}", tail.ending());
    });
}

#[test]
fn a_tail_whose_connections_end_together_ends() {
    within(DEADLINE, || {
        let apps = guids(3);
        let server = foundation(Generation::Today, &apps);
        let consumer = consumer(&server, Via::Doppler);
        for _ in 0..20 {
            let tail = consumer.tail_apps(&apps, &server.issue_token()).unwrap();
            apps.iter().for_each(|app| assert!(server.wait_for_tails(app, 1, DEADLINE)));
            server.drop_tails(&apps[0]);
            server.close_tails(&apps[1], Some(1000), "");
            server.drop_tails(&apps[2]);
            let mut named: Vec<_> = tail.map(|item| item.unwrap_err().app_id().unwrap().to_owned()).collect();
            named.sort();
            assert_eq!(named, apps);
        }
    });
}

#[test]
fn all_recent_lines_of_apps_come_without_a_further_one() {
    within(2 * DEADLINE, || {
        const LINES: usize = 3000;
        let apps = guids(2);
        let server = TrafficController::builder().generation(Generation::Y2016).retain(LINES).start().unwrap();
        for app in &apps {
            server.add_recent(app, (0..LINES).map(|_| line(app, "recent")));
        }
        let builder = Consumer::builder(&server.endpoint()).recent_limit(LINES).proxy(Proxy::none());
        let mut tail = builder.build().unwrap().follow_apps(&apps, "bearer token").unwrap();
        assert_eq!(tail.by_ref().map(Result::unwrap).take(2 * LINES).count(), 2 * LINES);
    });
}

#[test]
fn an_app_whose_requests_log_cache_does_not_understand_is_named() {
    within(DEADLINE, || {
        let apps = guids(2);
        let server = foundation(Generation::Today, &apps);
        let mut tail = consumer(&server, Via::LogCache).tail_apps(&apps, &server.issue_token()).unwrap();
        server.always_at(Target::app(&apps[0]), Fault::RefuseStatus { status: 400, body: "no".into() });
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!((error.app_id(), error.kind()), (Some(&*apps[0]), ErrorKind::BadRequest), "{error}");
        server.send(line(&apps[1], "still here"));
        assert_eq!(tail.next().unwrap().unwrap().text(), "still here");
    });
}

#[test]
fn each_app_reconnects_on_its_own_over_doppler() {
    within(DEADLINE, || {
        let apps = guids(2);
        let server = foundation(Generation::Today, &apps);
        let policy = Reconnect::default().first(Duration::ZERO);
        let consumer = builder(&server).tail_via(Via::Doppler).reconnect(policy).build().unwrap();
        let mut tail = consumer.tail_apps(&apps, &server.issue_token()).unwrap();
        server.drop_tails(&apps[1]);
        let gap = tail.next().unwrap().unwrap_err();
        assert_eq!((gap.kind(), gap.app_id()), (ErrorKind::Gap, Some(&*apps[1])), "{gap}");
        for app in &apps {
            assert_eq!(server.send(line(app, "hello")), 1);
        }
        assert_eq!(texts(&take(&mut tail, 2).0).len(), 2);
    });
}

#[test]
fn follow_gives_the_recent_messages_of_each_app_and_then_all_further_ones() {
    within(2 * DEADLINE, || {
        for generation in [Generation::Today, Generation::Y2018, Generation::Y2015] {
            let apps = guids(3);
            let server = foundation(generation, &apps);
            apps.iter().for_each(|app| _ = server.send(line(app, "1 recent")));
            let consumer = builder(&server).build().unwrap();
            let mut tail = consumer.follow_apps(&apps, &server.issue_token()).unwrap();
            let recent = take(&mut tail, 3).0;
            apps.iter().for_each(|app| _ = server.send(line(app, "2 live")));
            let (live, errors) = take(&mut tail, 3);
            assert!(errors.is_empty(), "{errors:?}");
            let expected = |text: &str| apps.iter().map(|app| (&**app, text.to_owned())).collect::<Vec<_>>();
            assert_eq!((texts(&recent), texts(&live)), (expected("1 recent"), expected("2 live")), "{generation:?}");
            while tail.complete_until().is_none() {
                let _ = tail.recv_timeout(Duration::from_millis(50));
            }
            let since = tail.complete_until().unwrap();
            tail.close().unwrap();
            let mut again = consumer.follow_apps_since(&apps, &server.issue_token(), since).unwrap();
            assert_eq!(take(&mut again, 3).0.len(), 3, "{generation:?}");
        }
    });
}

#[test]
fn complete_until_passes_no_line_that_waits_for_the_turn_of_its_app() {
    within(DEADLINE, || {
        let apps = guids(3);
        for listed in [&apps[..2], &apps[..]] {
            // The third app is rejected.
            let server = foundation(Generation::Today, &apps[..2]);
            let hour_ago = line("", "").timestamp - 3_600_000_000_000;
            for app in &apps[..2] {
                let minutes = (0..5).map(|n| hour_ago + n * 60_000_000_000);
                minutes.for_each(|time| _ = server.send(LogMessage::new(app, "hello").timestamp(time)));
            }
            let consumer = builder(&server).build().unwrap();
            let mut tail = consumer.follow_apps_since(listed, &server.issue_token(), hour_ago).unwrap();
            let mut left = 10;
            while left > 0 {
                left -= tail.next().unwrap().map_or(0, |_| 1);
                let until = tail.complete_until().filter(|_| left > 0);
                assert!(until.is_none_or(|until| until <= hour_ago), "{left} lines are left, {until:?}");
            }
            while tail.complete_until().is_none_or(|until| until <= hour_ago) {
                let _ = tail.recv_timeout(Duration::from_millis(50));
            }
        }
    });
}

#[test]
fn many_connections_are_closed_together() {
    within(2 * DEADLINE, || {
        let apps = guids(40);
        let server = foundation(Generation::Today, &apps);
        let consumer = consumer(&server, Via::Doppler);
        for is_dropped in [true, false] {
            let tail = consumer.tail_apps(&apps, &server.issue_token()).unwrap();
            if is_dropped {
                drop(tail);
            } else {
                consumer.close().unwrap();
                assert_eq!(tail.last().map(Result::unwrap), None);
            }
            for app in &apps {
                assert!(server.wait_for_tails(app, 0, DEADLINE));
            }
        }
    });
}
