//! Tokens that expire or are refused, through the public calls: on Doppler, Log Cache and the RLP gateway.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use common::messages::APP;
use common::{DEADLINE, within};
use loggregator_consumer::testing::{self, Generation, RequestKind, TrafficController};
use loggregator_consumer::{Builder, Consumer, ErrorKind, LogMessage, Proxy, Reconnect, TokenSource, Uaa};

/// A foundation that only accepts tokens of its UAA.
fn strict() -> testing::TrafficControllerBuilder {
    TrafficController::builder().generation(Generation::Today).tokens([""; 0])
}

fn uaa(server: &TrafficController) -> TokenSource {
    TokenSource::uaa(Uaa::new(&server.api()).refresh_token(&server.issue_refresh_token())).unwrap()
}

/// One consumer of Doppler, with recent messages from Log Cache, and one of the RLP gateway.
fn consumers(server: &TrafficController, tokens: &TokenSource) -> [Consumer; 2] {
    let doppler = Builder::new().doppler(&server.endpoint()).log_cache(&server.api());
    [doppler, Builder::new().rlp_gateway(&server.api())]
        .map(|builder| builder.proxy(Proxy::none()).tokens(tokens.clone()).build().unwrap())
}

type Call = fn(&[Consumer; 2]) -> loggregator_consumer::Result<()>;

/// A call to each server, with the kind of request that it makes.
const CALLS: [(Call, RequestKind); 3] = [
    (|[doppler, _]| doppler.tail(APP, "").map(drop), RequestKind::Stream),
    (|[log_cache, _]| log_cache.recent(APP, "").map(drop), RequestKind::LogCacheRead),
    (|[_, gateway]| gateway.tail(APP, "").map(drop), RequestKind::Gateway),
];

/// Sets how many seconds the test below runs. With 60, tails and recents run for a minute.
const SECONDS: &str = "LOGGREGATOR_CONSUMER_TEST_SECONDS";

#[test]
fn with_tokens_of_one_second_no_call_fails_and_one_token_a_second_is_fetched() {
    let seconds = env::var(SECONDS).map_or(6, |seconds| seconds.parse().unwrap());
    within(DEADLINE + Duration::from_secs(seconds), move || {
        let server = strict().token_life(Duration::from_secs(1)).start().unwrap();
        let tokens = uaa(&server);
        let end = Instant::now() + Duration::from_secs(seconds);
        let calls: Vec<usize> = thread::scope(|scope| {
            let run = |(call, _): (Call, RequestKind)| {
                let consumers = consumers(&server, &tokens);
                scope.spawn(move || {
                    let mut count = 0;
                    while Instant::now() < end {
                        call(&consumers).unwrap_or_else(|error| panic!("call {count} failed: {error}"));
                        count += 1;
                        // Other programs use the machine, too.
                        thread::sleep(Duration::from_millis(10));
                    }
                    count
                })
            };
            let threads: Vec<_> = CALLS.map(run).into_iter().collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let refreshes = server.refreshes();
        println!("{calls:?} calls and {refreshes} refreshes in {seconds} s");
        let seconds = seconds as usize;
        assert!(calls.iter().all(|&count| count >= seconds / 2), "{calls:?}");
        // One a second, plus one each for the incomplete seconds at the beginning and at the end.
        assert!((seconds / 2..=seconds + 2).contains(&refreshes), "{refreshes} refreshes in {seconds} s");
    });
}

#[test]
fn a_refused_token_is_refreshed_once() {
    within(DEADLINE, || {
        for (call, kind) in CALLS {
            let server = strict().start().unwrap();
            let consumers = consumers(&server, &uaa(&server));
            let requests = || server.requests().iter().filter(|request| request.kind == kind).count();
            call(&consumers).unwrap();
            assert_eq!((requests(), server.refreshes()), (1, 1));
            server.refuse_tokens(1);
            call(&consumers).unwrap();
            assert_eq!((requests(), server.refreshes()), (3, 2), "{kind:?}");
            // If the new token is refused, too, the call fails.
            server.refuse_tokens(10);
            assert_eq!(call(&consumers).unwrap_err().kind(), ErrorKind::Unauthorized, "{kind:?}");
            assert_eq!((requests(), server.refreshes()), (5, 3), "{kind:?}");
        }
    });
}

fn marie(server: &TrafficController, password: &str) -> TokenSource {
    TokenSource::uaa(Uaa::new(&server.api()).password("marie", password)).unwrap()
}

/// Returns how many tokens were requested.
fn token_requests(server: &TrafficController) -> usize {
    server.requests().iter().filter(|request| request.kind == RequestKind::Token).count()
}

#[test]
fn a_password_outlives_every_refresh_token() {
    within(DEADLINE, || {
        for rotates in [false, true] {
            let server = strict().user("marie", "p&s s%+ö");
            let server = if rotates { server.rotate_refresh_tokens() } else { server }.start().unwrap();
            let consumers = consumers(&server, &marie(&server, "p&s s%+ö"));
            let mut calls = CALLS.iter().cycle();
            let mut call = || (calls.next().unwrap().0)(&consumers).unwrap();
            call();
            // The requests for tokens in total, and those for refresh tokens that were granted.
            assert_eq!((token_requests(&server), server.refreshes()), (1, 0));
            let mut expected = (1, 0);
            for _ in 0..3 {
                server.expire_tokens();
                call();
                expected = (expected.0 + 1, expected.1 + 1);
                assert_eq!((token_requests(&server), server.refreshes()), expected, "the refresh token is used");
                server.expire_tokens();
                server.revoke_refresh_tokens();
                call();
                expected.0 += 2;
                assert_eq!(
                    (token_requests(&server), server.refreshes()),
                    expected,
                    "it is rejected, and the password is used"
                );
            }
        }
    });
}

#[test]
fn a_tail_that_reconnects_outlives_its_refresh_token_with_a_password() {
    within(DEADLINE, || {
        let server = strict().user("marie", "hunter2").start().unwrap();
        let consumer = Builder::new()
            .doppler(&server.endpoint())
            .tokens(marie(&server, "hunter2"))
            .reconnect(Reconnect::default())
            .proxy(Proxy::none())
            .build()
            .unwrap();
        let mut tail = consumer.tail(APP, "").unwrap();
        for n in 0..2 {
            server.expire_tokens();
            server.revoke_refresh_tokens();
            server.drop_tails(APP);
            let gap = tail.next().unwrap().unwrap_err();
            assert_eq!(gap.kind(), ErrorKind::Gap, "{gap}");
            assert!(server.wait_for_tails(APP, 1, DEADLINE));
            assert_eq!(token_requests(&server), 1 + 2 * (n + 1));
        }
    });
}

#[test]
fn a_wrong_password_is_sent_once_however_many_calls_need_a_token() {
    within(DEADLINE, || {
        let server = strict().user("marie", "hunter2").start().unwrap();
        let consumers = consumers(&server, &marie(&server, "hunter3"));
        for _ in 0..3 {
            for (call, _) in CALLS {
                let error = call(&consumers).unwrap_err();
                assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(401)));
                let text = format!("{error} {error:?}");
                assert!(text.contains("the user's name or password is wrong"), "{text}");
                assert!(text.contains("Bad credentials") && !text.contains("hunter3"), "{text}");
            }
        }
        assert_eq!(token_requests(&server), 1);
    });
}

/// Log Cache and the RLP gateway do not tell a bad token from an app that does not exist.
#[test]
fn ten_calls_for_apps_that_are_gone_cost_one_refresh() {
    within(DEADLINE, || {
        let server = strict().start().unwrap();
        let [log_cache, gateway] = consumers(&server, &uaa(&server));
        let gone = [0, 1, 2].map(|n| format!("{n}1111111-1111-1111-1111-111111111111"));
        gone.iter().for_each(|app| server.hide_app(app));
        let refused = |app: &str| {
            let errors = [log_cache.recent(app, "").unwrap_err(), gateway.tail(app, "").unwrap_err()];
            errors.iter().for_each(|error| {
                assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(404)), "{error}");
            });
        };
        thread::scope(|scope| {
            for app in &gone {
                scope.spawn(|| (0..10).for_each(|_| refused(app)));
            }
        });
        assert_eq!(server.refreshes(), 2);
        // What is not gone is read in between, and does not change that.
        for _ in 0..3 {
            log_cache.recent("71111111-1111-1111-1111-111111111111", "").unwrap();
            refused(&gone[0]);
        }
        assert_eq!(server.refreshes(), 2);
        // A token that is no longer valid for an app for which it was is renewed at once.
        server.expire_tokens();
        log_cache.recent("71111111-1111-1111-1111-111111111111", "").unwrap();
        assert_eq!(server.refreshes(), 3);
    });
}

#[test]
fn many_calls_with_an_expired_token_share_one_refresh() {
    within(DEADLINE, || {
        let server = strict().start().unwrap();
        let consumers = consumers(&server, &uaa(&server));
        CALLS[1].0(&consumers).unwrap();
        server.expire_tokens();
        thread::scope(|scope| {
            let call = |n: usize| {
                let (call, consumers) = (CALLS[n % 3].0, &consumers);
                scope.spawn(move || call(consumers))
            };
            let calls: Vec<_> = (0..12).map(call).collect();
            calls.into_iter().for_each(|call| call.join().unwrap().unwrap());
        });
        assert_eq!(server.refreshes(), 2);
    });
}

#[test]
fn a_tail_that_reconnects_gets_a_new_token() {
    within(DEADLINE, || {
        for address in
            [(|server| Builder::new().doppler(&server.endpoint())) as fn(&TrafficController) -> Builder, |server| {
                Builder::new().rlp_gateway(&server.api())
            }]
        {
            let server = strict().start().unwrap();
            let policy = Reconnect::default().first(Duration::from_millis(1));
            let consumer =
                address(&server).proxy(Proxy::none()).tokens(uaa(&server)).reconnect(policy).build().unwrap();
            let mut tail = consumer.tail(APP, "").unwrap();
            server.expire_tokens();
            server.drop_tails(APP);
            assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Gap);
            assert!(server.wait_for_tails(APP, 1, DEADLINE));
            server.send(LogMessage::new(APP, "hello"));
            assert_eq!(tail.next().unwrap().unwrap().text(), "hello");
            assert_eq!(server.refreshes(), 2);
            // When the session ends, the tail ends.
            server.expire_tokens();
            server.revoke_refresh_tokens();
            server.drop_tails(APP);
            assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Gap);
            assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Unauthorized);
            assert!(tail.next().is_none());
        }
    });
}

#[test]
fn the_bearer_prefix_is_sent_in_lower_case() {
    within(DEADLINE, || {
        const JWT: &str = "eyJhbGciOiJub25lIn0.e30.c2ln";
        let server = TrafficController::of(Generation::Today).unwrap();
        for given in [format!("Bearer {JWT}"), format!("BEARER {JWT}"), JWT.to_owned()] {
            let own = consumers(&server, &TokenSource::fixed(&given));
            for (call, kind) in CALLS {
                call(&own).unwrap();
                let requests = server.requests();
                let last = requests.iter().rfind(|request| request.kind == kind).unwrap();
                assert_eq!(last.header("authorization"), Some(&*format!("bearer {JWT}")));
            }
            let [doppler, gateway] = &own;
            drop((doppler.tail(APP, &given).unwrap(), doppler.recent(APP, &given).unwrap()));
            drop(gateway.tail(APP, &given).unwrap());
            let requests = server.requests();
            for request in requests.iter().rev().take(3) {
                assert_eq!(request.header("authorization"), Some(&*format!("bearer {JWT}")), "{:?}", request.kind);
            }
        }
    });
}

#[test]
fn the_cf_session_is_followed_and_not_modified() {
    const NAME: &str = "the_cf_session_is_followed_and_not_modified";
    // The environment can only be set for another process, so this test runs itself in one.
    if env::var_os("CF_HOME").is_some_and(|home| home.to_string_lossy().ends_with(NAME)) {
        return follow_the_session(false);
    }
    if env::var_os("CF_HOME").is_some_and(|home| home.to_string_lossy().ends_with("tls")) {
        return follow_the_session(true);
    }
    within(DEADLINE, || {
        for kind in [NAME, "tls"] {
            let home = env::temp_dir().join(format!("loggregator-consumer-{}-{kind}", std::process::id()));
            let test = Command::new(env::current_exe().unwrap())
                .args(["--exact", NAME])
                .env("CF_HOME", &home)
                .env("no_proxy", "*")
                .output()
                .unwrap();
            let _ = fs::remove_dir_all(&home);
            assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stdout));
            assert!(String::from_utf8_lossy(&test.stdout).contains("1 passed"));
        }
    });
}

#[test]
fn a_session_of_cf_is_used_from_a_path() {
    within(DEADLINE, || {
        let home = env::temp_dir().join(format!("loggregator-consumer-{}-a-session-from-a-path", std::process::id()));
        let file = home.join(".cf/config.json");
        for path in [&home, &file] {
            let error = Builder::new().cf_cli_from(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
            let server = strict().start().unwrap();
            server.cf_home(&home).unwrap();
            let builder = Builder::new().cf_cli_from(path).unwrap().proxy(Proxy::none());
            let tokens = TokenSource::cf_cli_from(path).unwrap();
            let by_hand = Builder::new().log_cache(&server.api()).tokens(tokens).proxy(Proxy::none());
            for consumer in [builder.build().unwrap(), by_hand.build().unwrap()] {
                assert_eq!(consumer.recent(APP, "").unwrap(), []);
                // `cf` gets a new token: it is read from the same file.
                let refreshes = server.refreshes();
                server.expire_tokens();
                server.cf_home(&home).unwrap();
                assert_eq!(consumer.recent(APP, "").unwrap(), []);
                assert_eq!(server.refreshes(), refreshes);
            }
            fs::remove_dir_all(&home).unwrap();
        }
    });
}

fn follow_the_session(tls: bool) {
    let home = env::var_os("CF_HOME").unwrap();
    let error = Consumer::from_cf_cli().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("cf login"), "{error}");

    let server = if tls { strict().tls() } else { strict() }.start().unwrap();
    server.cf_home(&home).unwrap();
    let file = std::path::Path::new(&home).join(".cf/config.json");
    let session = fs::read(&file).unwrap();
    let consumer = Consumer::from_cf_cli().unwrap();
    let call = || {
        drop(consumer.tail(APP, "").unwrap());
        assert_eq!(consumer.recent(APP, "").unwrap(), []);
        server.refreshes()
    };
    assert_eq!(call(), 0, "the token is valid");
    server.expire_tokens();
    assert_eq!(call(), 1);
    assert_eq!(fs::read(&file).unwrap(), session, "the session is not modified");
    // `cf` gets a new token, and ours expires.
    server.expire_tokens();
    server.cf_home(&home).unwrap();
    assert_eq!(call(), 1, "the token of `cf` is used");
    // Logged out.
    server.expire_tokens();
    fs::remove_file(&file).unwrap();
    assert_eq!(consumer.recent(APP, "").unwrap_err().kind(), ErrorKind::Unauthorized);
}
