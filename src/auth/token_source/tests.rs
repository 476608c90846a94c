use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use crossbeam_channel::{RecvTimeoutError, Sender, unbounded};
use proptest::prelude::*;

use super::*;
use crate::auth::scripted_uaa::{DEADLINE, ScriptedUaa, ask, begin, dialer, ending_jwt, fresh_jwt, granted, jwt, now};

fn bearer(jwt: &str) -> String {
    format!("bearer {jwt}")
}

/// A user's session with this access token.
fn session(uaa: &ScriptedUaa, access_token: &str) -> TokenSource {
    TokenSource::uaa(Uaa::new(&uaa.url).refresh_token("refresh-1").access_token(access_token)).unwrap()
}

#[test]
fn bearer_is_written_in_lower_case() {
    for (given, sent) in [
        ("bearer x", "bearer x"),
        ("Bearer x", "bearer x"),
        ("BEARER  x\n", "bearer x"),
        ("bearer\tx", "bearer x"),
        ("a1.b-2.c_3", "bearer a1.b-2.c_3"),
        (" a1.b-2.c_3\r\n", "bearer a1.b-2.c_3"),
        ("Bearer a.b.c", "bearer a.b.c"),
        ("", ""),
        ("opaque", "opaque"),
        ("a.b", "a.b"),
        ("a..c", "a..c"),
        ("a.b.c.d", "a.b.c.d"),
        ("a.b.ü", "a.b.ü"),
        ("Basic a.b.c", "Basic a.b.c"),
    ] {
        assert_eq!(normalised(given), sent, "{given:?}");
    }
    assert!(matches!(normalised("bearer x"), Cow::Borrowed(_)));
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(token in "([bB]earer|)[ \t]{0,3}(\\PC*|[a-zA-Z0-9_.-]*)[ \n]?") {
        let once = normalised(&token).into_owned();
        prop_assert_eq!(normalised(&once), &*once);
    }
}

#[test]
fn a_fixed_token_is_returned_until_it_is_rejected() {
    let expired = jwt(now() - 600, now() - 1);
    let source = TokenSource::fixed(&format!("Bearer {expired}"));
    let token = ask(&source, None).unwrap();
    assert_eq!(token, bearer(&expired));
    assert_eq!(ask(&source, Some("bearer another")).unwrap(), token);
    let error = ask(&source, Some(&token)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("cf oauth-token"), "{error}");
    assert_eq!(ask(&TokenSource::fixed(""), None).unwrap(), "");
}

#[test]
fn a_token_that_is_no_header_value_is_an_error_that_does_not_show_it() {
    for bad in ["bearer hunter2\r\nX-Admin: 1", "bearer hunter2\0"] {
        for source in [TokenSource::fixed(bad), TokenSource::from_fn(|_| Ok(bad.to_owned()))] {
            let error = ask(&source, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(!format!("{error}{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}

#[test]
fn a_function_is_called_once_and_again_when_its_token_is_rejected() {
    let (called, calls) = unbounded();
    let tokens = [bearer("first"), bearer("second")];
    let source = TokenSource::from_fn(move |rejected| {
        let token = if rejected.is_none() { "Bearer first\n" } else { "Bearer second\n" };
        called.send(rejected.map(str::to_owned))?;
        Ok(token.to_owned())
    });
    assert_eq!(ask(&source, None).unwrap(), tokens[0]);
    assert_eq!(ask(&source, None).unwrap(), tokens[0]);
    assert_eq!(ask(&source, Some(&tokens[0])).unwrap(), tokens[1]);
    assert_eq!(ask(&source, Some(&tokens[0])).unwrap(), tokens[1], "other calls with the old token get the new one");
    assert_eq!(ask(&source.clone(), None).unwrap(), tokens[1], "clones share the token");
    assert_eq!(calls.try_iter().collect::<Vec<_>>(), [None, Some(tokens[0].clone())]);
    let error = ask(&source, Some(&tokens[1])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "the function returns no other token");
}

#[test]
fn a_token_of_a_function_is_replaced_before_it_expires() {
    let fresh = fresh_jwt();
    let tokens = parking_lot::Mutex::new(vec![fresh.clone(), ending_jwt()]);
    let source = TokenSource::from_fn(move |rejected| {
        assert_eq!(rejected, None);
        Ok(tokens.lock().pop().unwrap())
    });
    assert_ne!(ask(&source, None).unwrap(), bearer(&fresh));
    assert_eq!(ask(&source, None).unwrap(), bearer(&fresh));
    assert_eq!(ask(&source, None).unwrap(), bearer(&fresh));
}

#[test]
fn a_function_that_fails_or_panics_is_an_error_and_is_called_again() {
    let calls = AtomicUsize::new(0);
    let source = TokenSource::from_fn(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => Err("the vault is shut".into()),
        1 => panic!("the vault is gone"),
        _ => Ok("bearer x".to_owned()),
    });
    for text in ["the token function failed: the vault is shut", "the token function panicked"] {
        let error = ask(&source, None).unwrap_err();
        assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::Unauthorized, text));
    }
    assert_eq!(ask(&source, None).unwrap(), "bearer x");
}

#[test]
fn a_token_that_is_about_to_expire_is_renewed_first() {
    let fresh = fresh_jwt();
    let uaa = ScriptedUaa::granting(&fresh);
    let source = session(&uaa, &ending_jwt());
    for _ in 0..3 {
        assert_eq!(ask(&source, None).unwrap(), bearer(&fresh));
    }
    let request = uaa.next_request();
    assert_eq!(request.head[0], "POST /oauth/token HTTP/1.1");
    for header in [
        format!("authorization: Basic {}", BASE64_STANDARD.encode("cf:")),
        "accept: application/json".to_owned(),
        "content-type: application/x-www-form-urlencoded".to_owned(),
        format!("user-agent: {}", crate::USER_AGENT),
    ] {
        assert!(request.head.contains(&header), "{header}: {:?}", request.head);
    }
    assert_eq!(request.body, "grant_type=refresh_token&refresh_token=refresh%2D1");
    assert!(uaa.requests.is_empty(), "the new one is still valid");
}

#[test]
fn a_token_that_expires_late_or_has_no_known_expiry_is_renewed_only_when_it_is_rejected() {
    for access_token in [fresh_jwt(), "opaque".to_owned(), "bearer a.b.c".to_owned()] {
        let fresh = fresh_jwt();
        let uaa = ScriptedUaa::granting(&fresh);
        let source = session(&uaa, &access_token);
        let token = ask(&source, None).unwrap();
        assert_eq!(token, normalised(&access_token));
        assert!(uaa.requests.is_empty());
        assert_eq!(ask(&source, Some(&token)).unwrap(), bearer(&fresh));
        assert_eq!(ask(&source, Some(&token)).unwrap(), bearer(&fresh));
        assert_eq!(uaa.requests.len(), 1);
    }
}

#[test]
fn a_session_without_an_access_token_requests_one() {
    let fresh = fresh_jwt();
    let uaa = ScriptedUaa::granting(&fresh);
    let source = TokenSource::uaa(Uaa::new(&format!("{}/", uaa.url)).refresh_token("a&b=c %ü")).unwrap();
    assert_eq!(ask(&source, None).unwrap(), bearer(&fresh));
    assert_eq!(uaa.next_request().body, "grant_type=refresh_token&refresh_token=a%26b%3Dc%20%25%C3%BC");
}

#[test]
fn a_client_without_a_user_gets_tokens() {
    let fresh = fresh_jwt();
    let uaa = ScriptedUaa::granting(&fresh);
    let source = TokenSource::uaa(Uaa::new(&uaa.url).client("nozzle", "hunter2")).unwrap();
    assert_eq!(ask(&source, None).unwrap(), bearer(&fresh));
    let request = uaa.next_request();
    let authorization = format!("authorization: Basic {}", BASE64_STANDARD.encode("nozzle:hunter2"));
    assert!(request.head.contains(&authorization), "{:?}", request.head);
    assert_eq!(request.body, "grant_type=client_credentials");
}

#[test]
fn a_refresh_token_from_the_uaa_replaces_the_previous_one() {
    let count = AtomicUsize::new(1);
    let uaa = ScriptedUaa::start(move |_| {
        let rotated = match count.fetch_add(1, Ordering::Relaxed) {
            1 => r#""refresh-2""#,
            2 => "null",
            3 => r#""""#,
            _ => r#""refresh-3""#,
        };
        (200, format!(r#"{{"access_token":"{}","refresh_token":{rotated}}}"#, fresh_jwt()))
    });
    let source = session(&uaa, &ending_jwt());
    let mut token = None;
    for refresh_token in ["refresh-1", "refresh-2", "refresh-2", "refresh-2", "refresh-3"] {
        token = Some(ask(&source, token.as_deref()).unwrap());
        let form = format!("grant_type=refresh_token&refresh_token={}", refresh_token.replace('-', "%2D"));
        assert_eq!(uaa.next_request().body, form);
    }
}

#[test]
fn twenty_threads_with_the_same_rejected_token_share_one_renewal() {
    let (open, gate) = unbounded::<()>();
    let fresh = fresh_jwt();
    let token = fresh.clone();
    let uaa = ScriptedUaa::start(move |_| {
        let _ = gate.recv();
        granted(&token)
    });
    let old = fresh_jwt();
    let source = session(&uaa, &old);
    let outcomes: Vec<_> = (0..20).map(|_| begin(&source, Some(&bearer(&old)), &Cancel::new())).collect();
    uaa.next_request();
    wait_for_waiters(&source, 20);
    drop(open);
    for outcome in outcomes {
        assert_eq!(outcome.recv_timeout(DEADLINE).unwrap().unwrap(), bearer(&fresh));
    }
    assert!(uaa.requests.is_empty());
}

#[test]
fn twenty_threads_share_the_error_of_one_renewal() {
    let (open, gate) = unbounded::<()>();
    let uaa = ScriptedUaa::start(move |_| {
        let _ = gate.recv();
        (503, "later".to_owned())
    });
    let source = session(&uaa, &jwt(1, 2));
    let outcomes: Vec<_> = (0..20).map(|_| begin(&source, None, &Cancel::new())).collect();
    uaa.next_request();
    wait_for_waiters(&source, 20);
    drop(open);
    for outcome in outcomes {
        let error = outcome.recv_timeout(DEADLINE).unwrap().unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::ServerError, Some(503)), "{error}");
    }
    assert!(uaa.requests.is_empty());
}

/// Waits until `count` callers wait for the renewal that is running.
fn wait_for_waiters(source: &TokenSource, count: usize) {
    let Source::Renewable(token) = &source.0 else { panic!("not a renewable token") };
    let deadline = Instant::now() + DEADLINE;
    // The source and the renewal thread have a reference, too.
    while Arc::strong_count(token.state.lock().renewal.as_ref().unwrap()) < count + 2 {
        assert!(Instant::now() < deadline, "fewer than {count} callers wait");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn closing_a_call_ends_its_wait_for_a_stalled_uaa_at_once() {
    let (_open, uaa) = stalled_uaa();
    assert_close_ends_the_wait(|| session(&uaa, &jwt(1, 2)));
}

#[test]
fn closing_a_call_ends_its_wait_for_a_hanging_function_at_once() {
    let (_open, gate) = unbounded::<()>();
    assert_close_ends_the_wait(|| {
        let gate = gate.clone();
        TokenSource::from_fn(move |_| {
            let _ = gate.recv();
            Ok("bearer x".to_owned())
        })
    });
}

/// Checks the call that started the renewal and one that joined it. The fastest of five tries counts, because the
/// machine may be busy.
fn assert_close_ends_the_wait(stalled: impl Fn() -> TokenSource) {
    let fastest = (0..5).map(|_| {
        let source = stalled();
        let mut calls = Vec::new();
        for count in 1..=2 {
            let cancel = Cancel::new();
            calls.push((begin(&source, None, &cancel), cancel));
            while matches!(&source.0, Source::Renewable(token) if token.state.lock().renewal.is_none()) {
                thread::sleep(Duration::from_millis(1));
            }
            wait_for_waiters(&source, count);
        }
        let mut longest = Duration::ZERO;
        for (outcome, cancel) in calls {
            let began = Instant::now();
            cancel.cancel();
            let error = outcome.recv_timeout(DEADLINE).expect("the wait ends").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed);
            longest = longest.max(began.elapsed());
        }
        longest
    });
    let fastest = fastest.min().unwrap();
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
}

#[test]
fn a_renewal_goes_on_after_all_its_waiters_are_closed() {
    let (open, gate) = unbounded::<()>();
    let fresh = fresh_jwt();
    let token = fresh.clone();
    let uaa = ScriptedUaa::start(move |_| {
        let _ = gate.recv();
        granted(&token)
    });
    let source = session(&uaa, &jwt(1, 2));
    let cancel = Cancel::new();
    let closed = begin(&source, None, &cancel);
    uaa.next_request();
    cancel.cancel();
    assert_eq!(closed.recv_timeout(DEADLINE).unwrap().unwrap_err().kind(), ErrorKind::Closed);
    let open_call = begin(&source, None, &Cancel::new());
    drop(open);
    assert_eq!(open_call.recv_timeout(DEADLINE).unwrap().unwrap(), bearer(&fresh));
    assert!(uaa.requests.is_empty());
}

#[test]
fn a_renewal_without_waiters_is_cancelled_after_the_grace_period() {
    let (open, gate) = unbounded::<()>();
    let uaa = ScriptedUaa::start(move |_| {
        let _ = gate.recv();
        granted(&fresh_jwt())
    });
    let source = session(&uaa, &jwt(1, 2));
    let cancels = [Cancel::new(), Cancel::new()];
    let calls = cancels.each_ref().map(|cancel| begin(&source, None, cancel));
    uaa.next_request();
    wait_for_waiters(&source, 2);
    let Source::Renewable(token) = &source.0 else { panic!("not a renewable token") };
    let renewal = token.state.lock().renewal.clone().unwrap();

    cancels[0].cancel();
    assert_eq!(calls[0].recv_timeout(DEADLINE).unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(renewal.finished.recv_timeout(GRACE_PERIOD * 3 / 2), Err(RecvTimeoutError::Timeout), "one still waits");
    cancels[1].cancel();
    assert_eq!(calls[1].recv_timeout(DEADLINE).unwrap().unwrap_err().kind(), ErrorKind::Closed);
    // Before the timeout of the UAA.
    assert_eq!(renewal.finished.recv_timeout(GRACE_PERIOD * 7), Err(RecvTimeoutError::Disconnected));
    drop(open);
    assert!(ask(&source, None).is_ok(), "the next call starts another renewal");
}

#[test]
fn the_error_of_an_expired_session_says_what_to_do_and_shows_no_secret() {
    let old = fresh_jwt();
    for (status, body) in [
        (
            401,
            r#"{"error":"invalid_token","error_description":"The token expired, was revoked, or the token ID is incorrect: refresh-1"}"#,
        ),
        (400, r#"{"error":"invalid_grant","error_description":"refresh-1 (jti 0123456789abcdef-r) is incorrect"}"#),
        (401, r#"{"error":"invalid_token: refresh-1 is incorrect"}"#),
        (401, "refresh-1 is incorrect"),
    ] {
        let uaa = ScriptedUaa::start(move |_| (status, body.to_owned()));
        let error = ask(&session(&uaa, &old), Some(&bearer(&old))).unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(status)));
        let text = error.to_string();
        assert!(text.contains("the session has expired: run `cf login`"), "{text}");
        assert!(text.contains(&uaa.url) && text.contains("is incorrect"), "{text}");
        let shown = format!("{text}{error:?}");
        for secret in ["refresh-1", "0123456789abcdef", &*old] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn an_unknown_client_is_not_reported_as_an_expired_session() {
    let body = r#"{"error":"invalid_client","error_description":"Bad credentials"}"#;
    let uaa = ScriptedUaa::start(move |_| (401, body.to_owned()));
    let client = TokenSource::uaa(Uaa::new(&uaa.url).client("nozzle", "hunter2")).unwrap();
    for source in [client, session(&uaa, &jwt(1, 2))] {
        let error = ask(&source, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        let text = error.to_string();
        assert!(text.contains("the client's id or secret is wrong") && text.contains("Bad credentials"), "{text}");
        assert!(!text.contains("cf login"), "{text}");
    }
}

#[test]
fn a_session_without_a_refresh_token_or_secret_cannot_be_renewed() {
    let old = fresh_jwt();
    let source = TokenSource::uaa(Uaa::new("http://127.0.0.1:1").access_token(&old)).unwrap();
    assert_eq!(ask(&source, None).unwrap(), bearer(&old));
    let error = ask(&source, Some(&bearer(&old))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("run `cf login`"), "{error}");
}

#[test]
fn other_failures_of_the_uaa_keep_their_kind() {
    let endless = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(2 << 20));
    let two_lines = r#"{"access_token":"x\r\nX-Admin: 1"}"#.to_owned();
    for (status, body, kind) in [
        (503, "later".to_owned(), ErrorKind::ServerError),
        (404, String::new(), ErrorKind::NotFound),
        (302, String::new(), ErrorKind::BadResponse),
        (200, String::new(), ErrorKind::BadResponse),
        (200, "<html>hunter2</html>".to_owned(), ErrorKind::BadResponse),
        (200, r#"{"access_token":""}"#.to_owned(), ErrorKind::BadResponse),
        (200, r#"{"access_token":["hunter2"]}"#.to_owned(), ErrorKind::BadResponse),
        (200, two_lines, ErrorKind::BadResponse),
        (200, endless, ErrorKind::BadResponse),
    ] {
        let uaa = ScriptedUaa::start(move |_| (status, body.clone()));
        let error = ask(&session(&uaa, &jwt(1, 2)), None).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!format!("{error}{error:?}").contains("hunter2"), "{error:?}");
    }

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let source = TokenSource::uaa(Uaa::new(&format!("http://{nobody}")).refresh_token("refresh-1")).unwrap();
    let error = ask(&source, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Dial);
    assert!(error.to_string().starts_with(&format!("the UAA http://{nobody}: ")), "{error}");
    assert!(!error.to_string().contains("loggregator"), "a UAA is not a loggregator server: {error}");
}

#[test]
fn the_address_of_a_uaa_is_checked() {
    for url in ["", "uaa.example.com", "ws://uaa.example.com", "https://user:hunter2@uaa.example.com"] {
        let error = TokenSource::uaa(Uaa::new(url)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
        assert!(error.to_string().contains("https://") && !format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_token_that_is_still_valid_is_used_when_its_renewal_fails() {
    let uaa = ScriptedUaa::start(|_| (503, "later".to_owned()));
    let ending = ending_jwt();
    let source = session(&uaa, &ending);
    for _ in 0..3 {
        assert_eq!(ask(&source, None).unwrap(), bearer(&ending));
    }
    assert_eq!(uaa.requests.len(), 1, "the renewal is not repeated at once");
    assert_eq!(ask(&source, Some(&bearer(&ending))).unwrap_err().kind(), ErrorKind::ServerError);
}

/// A UAA that responds only after the sender is dropped.
fn stalled_uaa() -> (Sender<()>, ScriptedUaa) {
    let (gate, opened) = unbounded::<()>();
    let uaa = ScriptedUaa::start(move |_| {
        let _ = opened.recv();
        granted(&fresh_jwt())
    });
    (gate, uaa)
}

#[test]
fn a_call_with_a_valid_token_does_not_wait_for_a_stalled_uaa() {
    let (_open, uaa) = stalled_uaa();
    let ending = ending_jwt();
    let source = session(&uaa, &ending);
    assert_eq!(ask(&source, None).unwrap(), bearer(&ending));
    let rejected = begin(&source, Some(&bearer(&ending)), &Cancel::new());
    assert!(rejected.recv_timeout(WAIT_FOR_RENEWAL * 2).is_err(), "a rejected token is not used again");
}

#[test]
fn closing_a_tail_cancels_the_renewal_that_it_continued_without() {
    let (_open, uaa) = stalled_uaa();
    let ending = ending_jwt();
    let source = session(&uaa, &ending);
    let cancel = Cancel::new();
    // The tail connects, and reconnects.
    for _ in 0..2 {
        assert_eq!(begin(&source, None, &cancel).recv_timeout(DEADLINE).unwrap().unwrap(), bearer(&ending));
    }
    let Source::Renewable(token) = &source.0 else { panic!("not a renewable token") };
    let renewal = token.state.lock().renewal.clone().unwrap();
    assert_eq!(
        renewal.finished.recv_timeout(GRACE_PERIOD * 3 / 2),
        Err(RecvTimeoutError::Timeout),
        "it is not cancelled while the tail is open"
    );
    cancel.cancel();
    // Before the timeout of the UAA.
    assert_eq!(renewal.finished.recv_timeout(GRACE_PERIOD * 5), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_renewal_that_returns_the_rejected_token_is_repeated_once() {
    let (open, gate) = unbounded::<()>();
    let ending = ending_jwt();
    let first = ending.clone();
    let source = TokenSource::from_fn(move |rejected| {
        let _ = gate.recv();
        Ok(if rejected.is_some() { "bearer new".to_owned() } else { first.clone() })
    });
    open.send(()).unwrap();
    let token = ask(&source, None).unwrap();
    assert_eq!(token, bearer(&ending));
    // A renewal ahead of the expiry starts before the token is known to be rejected.
    let ahead = begin(&source, None, &Cancel::new());
    assert_eq!(ahead.recv_timeout(DEADLINE).unwrap().unwrap(), token);
    let rejected = begin(&source, Some(&token), &Cancel::new());
    drop(open);
    assert_eq!(rejected.recv_timeout(DEADLINE).unwrap().unwrap(), "bearer new");
}

/// The server uses the clock of this machine, and checks a token against the time when its call started, so that a
/// pause of this process does not look like a failure.
#[test]
fn tokens_valid_for_one_second_are_renewed_once_a_second_for_all_calls() {
    let uaa = ScriptedUaa::start(|_| granted(&jwt(now(), now() + 1)));
    let source = TokenSource::uaa(Uaa::new(&uaa.url).refresh_token("refresh-1")).unwrap();
    let first_second = now();
    let end = Instant::now() + Duration::from_secs(5);
    let (done, results) = unbounded();
    for _ in 0..4 {
        let (source, done) = (source.clone(), done.clone());
        thread::spawn(move || {
            let (dialer, cancel) = (dialer(), Cancel::new());
            let mut seconds = BTreeSet::new();
            while Instant::now() < end {
                let mut began = now();
                seconds.insert(began);
                let mut token = source.token(None, &dialer, &cancel).unwrap();
                if expiry(&token) <= began {
                    began = now();
                    token = source.token(Some(&token), &dialer, &cancel).unwrap();
                }
                assert!(expiry(&token) > began, "the call fails");
                thread::sleep(Duration::from_millis(2));
            }
            done.send(seconds).unwrap();
        });
    }
    drop(done);
    let mut seconds = BTreeSet::new();
    for _ in 0..4 {
        seconds.extend(results.recv_timeout(DEADLINE).expect("no call fails"));
    }
    let renewals = uaa.requests.len();
    // At most one renewal a second. A token serves the calls of its own second, and those that started in the second
    // before and waited.
    let most = (now() - first_second + 1) as usize;
    assert!((seconds.len() / 2..=most).contains(&renewals), "{renewals} in {} to {most} seconds", seconds.len());
}

fn expiry(token: &str) -> u64 {
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<serde_json::Value>(&payload).unwrap()["exp"].as_u64().unwrap()
}

#[test]
fn no_secret_is_shown_or_logged() {
    static LOG: parking_lot::Mutex<String> = parking_lot::Mutex::new(String::new());
    struct Capture;
    impl log::Log for Capture {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            LOG.lock().push_str(&format!("{} {}\n", record.target(), record.args()));
        }
        fn flush(&self) {}
    }
    log::set_logger(&Capture).expect("no other unit test sets a logger");
    log::set_max_level(log::LevelFilter::Trace);

    let refusing = AtomicUsize::new(0);
    let granted_token = fresh_jwt();
    let token = granted_token.clone();
    let uaa = ScriptedUaa::start(move |request| match refusing.fetch_add(1, Ordering::Relaxed) {
        0 => (200, format!(r#"{{"access_token":"{token}","refresh_token":"rotated-hunter2"}}"#)),
        1 => (401, format!(r#"{{"error":"invalid_token","error_description":"bad: {}"}}"#, request.body)),
        _ => (500, request.body.clone()),
    });
    let (first, fixed) = (ending_jwt(), fresh_jwt());
    let config = Uaa::new(&uaa.url).client("client", "secret-hunter2").refresh_token("refresh-hunter2");
    let config = config.access_token(&first);
    let mut shown = format!("{config:?}");
    let source = TokenSource::uaa(config).unwrap();
    let token = ask(&source, None).unwrap();
    assert_eq!(token, bearer(&granted_token));
    for _ in 0..2 {
        let error = ask(&source, Some(&token)).unwrap_err();
        shown += &format!("{error}{error:?}");
    }
    for source in [source, TokenSource::fixed(&fixed), TokenSource::from_fn(move |_| Ok(fresh_jwt()))] {
        shown += &format!("{source:?} {source:#?}");
    }
    assert!(shown.contains(&format!("TokenSource::uaa({})", uaa.url)), "{shown}");

    log::set_max_level(log::LevelFilter::Off);
    let log = std::mem::take(&mut *LOG.lock());
    assert!(log.contains(&format!("requesting a token from the UAA {}", uaa.url)), "{log}");
    let basic = BASE64_STANDARD.encode("client:secret-hunter2");
    for secret in ["hunter2", &*basic, &*granted_token, &*first, &*fixed] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
