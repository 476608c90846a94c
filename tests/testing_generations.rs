//! The client with the testing server as a foundation of every generation, and with tokens that expire or are refused.

mod common;

use std::env;
use std::process::Command;
use std::time::Duration;

use common::{DEADLINE, within};
use loggregator_consumer::testing::{EqualTimes, Fault, Generation, RequestKind, TrafficController};
use loggregator_consumer::{
    Builder, Consumer, Ending, ErrorKind, LogMessage, MessageType, Proxy, TokenSource, Uaa, Via, sort_recent,
};
use proptest::prelude::*;

const APP: &str = "11111111-aaaa-bbbb-cccc-000000000001";

/// Each generation, with the servers of its tails and of its recent messages.
const GENERATIONS: [(Generation, Via, Via); 6] = [
    (Generation::April2014, Via::Legacy, Via::Legacy),
    (Generation::May2014, Via::Legacy, Via::Legacy),
    (Generation::Y2015, Via::Doppler, Via::Doppler),
    (Generation::Y2016, Via::Doppler, Via::Doppler),
    (Generation::Y2018, Via::Doppler, Via::Doppler),
    (Generation::Today, Via::Doppler, Via::LogCache),
];

/// What an app logs, at whole microseconds, which is the resolution of Log Cache.
fn messages() -> Vec<LogMessage> {
    let message =
        |text: &[u8], time: i64| LogMessage::new(APP, text).timestamp(1_700_000_000_000_000_000 + time * 1000);
    vec![
        message(b"one line", 1).source("APP/PROC/WEB", "0"),
        message(b"an error", 2).source("APP/PROC/WEB", "11").message_type(MessageType::Err),
        message("\u{e9} \r\n--boundary\r\n\r\n\u{1f600}".as_bytes(), 3).source("RTR", "1"),
        message(b"no \xff UTF-8", 4).source("STG", "0"),
        message(b"of nobody", 5),
        message(&[b'x'; 100_000], 6).source("APP/TASK/a \"quoted\" name", "0"),
    ]
}

fn builder(server: &TrafficController) -> Builder {
    Builder::new().api(&server.api()).proxy(Proxy::none())
}

/// Tails the app, and returns as many messages as were sent.
fn tailed(server: &TrafficController, consumer: &Consumer) -> Vec<LogMessage> {
    let tail = consumer.tail(APP, "bearer token").unwrap();
    messages().into_iter().for_each(|message| assert_eq!(server.send(message), 1));
    tail.take(messages().len()).collect::<Result<_, _>>().unwrap()
}

#[test]
fn the_same_app_gives_equal_messages_on_every_generation() {
    within(DEADLINE, || {
        for (generation, tail, recent) in GENERATIONS {
            let server = TrafficController::of(generation).unwrap();
            let consumer = builder(&server).build().unwrap();
            assert_eq!(consumer.tail_choice().unwrap().via(), tail, "{generation:?}");
            assert_eq!(consumer.recent_choice().unwrap().via(), recent, "{generation:?}");
            assert_eq!(consumer.recent(APP, "bearer token").unwrap(), [], "{generation:?}");
            assert_eq!(tailed(&server, &consumer), messages(), "{generation:?}");
            assert_eq!(consumer.recent(APP, "bearer token").unwrap(), messages(), "{generation:?}");
        }
    });
}

#[test]
fn the_legacy_tail_gives_the_same_messages() {
    within(DEADLINE, || {
        for generation in [Generation::Y2015, Generation::Y2016] {
            let server = TrafficController::of(generation).unwrap();
            let consumer = Consumer::builder(&server.endpoint()).proxy(Proxy::none()).build().unwrap();
            assert_eq!(tailed(&server, &consumer), messages());
        }
    });
}

#[test]
fn the_rlp_gateway_gives_the_same_messages_one_by_one_or_in_batches() {
    within(DEADLINE, || {
        for window in [Duration::ZERO, Duration::from_millis(20)] {
            let server =
                TrafficController::builder().generation(Generation::Today).batch_window(window).start().unwrap();
            let consumer = Builder::new().rlp_gateway(&server.api()).proxy(Proxy::none()).build().unwrap();
            assert_eq!(tailed(&server, &consumer), messages());
        }
    });
}

#[test]
fn a_foundation_with_tls_is_discovered() {
    within(DEADLINE, || {
        let server = TrafficController::builder().generation(Generation::Today).tls().start().unwrap();
        let consumer = builder(&server).tls_connector(server.tls_connector()).build().unwrap();
        assert_eq!(tailed(&server, &consumer), messages());
        assert_eq!(consumer.recent(APP, "bearer token").unwrap(), messages());
    });
}

#[test]
fn log_cache_is_read_page_by_page() {
    within(DEADLINE, || {
        for equal_times in [EqualTimes::Together, EqualTimes::Parted, EqualTimes::Spread] {
            let server = TrafficController::builder()
                .generation(Generation::Today)
                .retain(10_000)
                .largest_answer(50_000)
                .equal_times(equal_times)
                .start()
                .unwrap();
            // Five messages for each time.
            let mut logged: Vec<_> = (0..2500)
                .map(|n: i64| LogMessage::new(APP, format!("message {n}")).timestamp(n / 5 * 1_000_000))
                .collect();
            server.add_recent(APP, logged.clone());
            let consumer = builder(&server).recent_limit(2222).build().unwrap();
            let mut recent = consumer.recent(APP, "bearer token").unwrap();
            if equal_times == EqualTimes::Spread {
                recent.iter_mut().for_each(|message| message.timestamp -= message.timestamp % 1000);
            }
            sort_recent(&mut recent);
            assert_eq!(recent, logged.split_off(2500 - 2222), "{equal_times:?}");
            let pages = server.requests().iter().filter(|request| request.kind == RequestKind::LogCacheRead).count();
            assert!(pages > 10, "{pages}");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn paging_through_20_000_lines_neither_skips_nor_repeats_a_line(
        // How many lines have the same time, in some cases more than a page has; and how many texts there are.
        runs in prop::collection::vec(prop_oneof![9 => 1..50_usize, 1 => 900..1100_usize], 100..200),
        texts in prop_oneof![Just(1), Just(7), Just(20_000)],
        spread: bool,
        newer in 0..3000_usize,
    ) {
        const LINES: usize = 20_000;
        let count = LINES + newer;
        let times = (0_i64..).zip(runs.into_iter().cycle()).flat_map(|(time, run)| std::iter::repeat_n(time, run));
        let lines: Vec<_> = (0..count)
            .zip(times)
            .map(|(n, time)| LogMessage::new(APP, format!("line {}", n % texts)).timestamp(time * 1_000_000))
            .collect();
        let expected = lines[newer..].to_vec();
        let recent = within(DEADLINE, move || {
            let equal_times = if spread { EqualTimes::Spread } else { EqualTimes::Together };
            let server = TrafficController::builder().generation(Generation::Today).retain(count);
            let server = server.equal_times(equal_times).start().unwrap();
            server.add_recent(APP, lines);
            let mut recent = builder(&server).recent_limit(LINES).build().unwrap().recent(APP, "bearer token").unwrap();
            if spread {
                // The time of a line is the millisecond at which its run of equal times begins.
                recent.iter_mut().for_each(|line| line.timestamp -= line.timestamp % 1_000_000);
            }
            recent
        });
        // Not `assert_eq`, which would print them all.
        prop_assert_eq!(recent.len(), expected.len());
        prop_assert!(recent == expected);
    }
}

#[test]
fn a_hidden_app_is_not_found() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.hide_app(APP);
        let consumer = builder(&server).build().unwrap();
        assert_eq!(consumer.tail(APP, "bearer token").unwrap_err().kind(), ErrorKind::NotFound);
        // These servers respond alike to a hidden app and a refused token.
        assert_eq!(consumer.recent(APP, "bearer token").unwrap_err().kind(), ErrorKind::Unauthorized);
        let consumer = Builder::new().rlp_gateway(&server.api()).proxy(Proxy::none()).build().unwrap();
        assert_eq!(consumer.tail(APP, "bearer token").unwrap_err().kind(), ErrorKind::Unauthorized);
    });
}

#[test]
fn a_closed_stream_and_a_broken_stream_have_different_endings() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let consumer = Builder::new().rlp_gateway(&server.api()).proxy(Proxy::none()).build().unwrap();
        let ending = |end: &dyn Fn()| {
            let mut tail = consumer.tail(APP, "bearer token").unwrap();
            end();
            while tail.next().is_some() {}
            tail.ending().cloned().unwrap()
        };
        let closing = ending(&|| assert_eq!(server.close_streams(APP), 1));
        assert_eq!(closing, Ending::Closing { reason: "closing due to stream timeout".into() });
        assert_eq!(ending(&|| assert_eq!(server.close_tails(APP, None, ""), 1)), Ending::Eof);
        assert_eq!(ending(&|| assert_eq!(server.drop_tails(APP), 1)), Ending::Eof);
        // The HTTP library does not distinguish a reset from an EOF.
        let reset = ending(&|| assert_eq!(server.reset_tails(APP), 1));
        assert!(matches!(reset, Ending::Eof | Ending::Reset), "{reset}");
    });
}

#[test]
fn refused_tokens_are_refreshed() {
    within(DEADLINE, || {
        let server = TrafficController::builder()
            .generation(Generation::Today)
            .tokens([""; 0])
            .rotate_refresh_tokens()
            .start()
            .unwrap();
        let uaa = Uaa::new(&server.api()).refresh_token(&server.issue_refresh_token());
        let consumer = builder(&server).tokens(TokenSource::uaa(uaa).unwrap()).build().unwrap();
        assert_eq!(consumer.recent(APP, "").unwrap(), []);
        assert_eq!(server.refreshes(), 1);
        assert_eq!(consumer.recent(APP, "").unwrap(), []);
        assert_eq!(server.refreshes(), 1);
        server.expire_tokens();
        drop(consumer.tail(APP, "").unwrap());
        assert_eq!(server.refreshes(), 2);
        server.refuse_tokens(1);
        assert_eq!(consumer.recent(APP, "").unwrap(), []);
        assert_eq!(server.refreshes(), 3);
        server.expire_tokens();
        server.revoke_refresh_tokens();
        assert_eq!(consumer.recent(APP, "").unwrap_err().kind(), ErrorKind::Unauthorized);
    });
}

#[test]
fn faults_apply_to_every_server() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.add_recent(APP, messages());
        let consumer = builder(&server).build().unwrap();
        consumer.recent_choice().unwrap();
        server.fault(Fault::Truncate);
        let error = consumer.recent(APP, "bearer token").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        server.fault(Fault::RefuseStatus { status: 503, body: "busy".into() });
        assert_eq!(consumer.tail(APP, "bearer token").unwrap_err().status(), Some(503));
        assert_eq!(consumer.recent(APP, "bearer token").unwrap(), messages());
    });
}

/// Set for the test below when it runs itself in another process, with `CF_HOME` set.
const INSIDE: &str = "LOGGREGATOR_CONSUMER_TEST_API";

#[test]
fn the_cf_session_leads_to_the_foundation() {
    const NAME: &str = "the_cf_session_leads_to_the_foundation";
    if env::var_os(INSIDE).is_some() {
        let consumer = Consumer::from_cf_cli().unwrap();
        assert_eq!(consumer.recent_choice().unwrap().address(), env::var(INSIDE).unwrap());
        assert_eq!(consumer.recent(APP, "").unwrap(), messages());
        return;
    }
    within(DEADLINE, || {
        let server = TrafficController::builder().generation(Generation::Today).tokens([""; 0]).start().unwrap();
        server.add_recent(APP, messages());
        let home = env::temp_dir().join(format!("loggregator-consumer-home-{}", std::process::id()));
        server.cf_home(&home).unwrap();
        // First with the session's own token, and then with one that is fetched with its refresh token.
        for refreshes in 0..2 {
            let test = Command::new(env::current_exe().unwrap())
                .args(["--exact", NAME])
                .env("CF_HOME", &home)
                .env(INSIDE, server.api())
                .env("no_proxy", "*")
                .output()
                .unwrap();
            assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stdout));
            assert_eq!(server.refreshes(), refreshes);
            server.expire_tokens();
        }
        std::fs::remove_dir_all(home).unwrap();
    });
}
