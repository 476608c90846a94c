use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use crossbeam_channel::{RecvTimeoutError, Sender, unbounded};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;
use crate::auth::scripted_uaa::{
    APP, DEADLINE, ScriptedUaa, ask, begin, dialer, ending_jwt, fresh_jwt, granted, jwt, now,
};

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
        "accept-encoding: identity".to_owned(),
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
    assert!(!request.head.iter().any(|line| line.starts_with("authorization: ")), "{:?}", request.head);
    assert_eq!(request.body, "grant_type=client_credentials&client_id=nozzle&client_secret=hunter2");
}

/// Basic authentication would be decoded by some UAAs, and not by others.
#[test]
fn a_clients_id_and_secret_are_in_the_form_whatever_characters_they_hold() {
    let uaa = ScriptedUaa::granting(fresh_jwt());
    for (id, secret, form) in [
        ("nozzle", "a+b%41 c:&=/é", "client_id=nozzle&client_secret=a%2Bb%2541%20c%3A%26%3D%2F%C3%A9"),
        ("a:b+c%", "x", "client_id=a%3Ab%2Bc%25&client_secret=x"),
        ("a:b+c%", "", "client_id=a%3Ab%2Bc%25&client_secret="),
    ] {
        let source = TokenSource::uaa(Uaa::new(&uaa.url).client(id, secret).refresh_token("r")).unwrap();
        ask(&source, None).unwrap();
        let request = uaa.next_request();
        assert!(!request.head.iter().any(|line| line.starts_with("authorization: ")), "{:?}", request.head);
        assert_eq!(request.body, format!("grant_type=refresh_token&refresh_token=r&{form}"));
    }
}

#[test]
fn a_session_with_a_dead_refresh_token_falls_back_to_the_secret_of_the_client() {
    for (status, body) in [
        (401, r#"{"error":"invalid_token","error_description":"The token expired or was revoked"}"#),
        (400, r#"{"error":"invalid_grant","error_description":"refresh-hunter2 is invalid"}"#),
    ] {
        let uaa = ScriptedUaa::start(move |request| match request.body.contains("grant_type=refresh_token") {
            true => (status, body.to_owned()),
            false => granted(&fresh_jwt()),
        });
        let config = Uaa::new(&uaa.url).client("nozzle", "hunter2").refresh_token("refresh-hunter2");
        let source = TokenSource::uaa(config).unwrap();
        let token = ask(&source, None).unwrap();
        ask(&source, Some(&token)).unwrap();
        let grants: Vec<_> = uaa.requests.try_iter().map(|request| request.body[..30].to_owned()).collect();
        // The dead one is not tried again.
        assert_eq!(
            grants,
            ["grant_type=refresh_token&refre", "grant_type=client_credentials&", "grant_type=client_credentials&"]
        );
    }
}

const MARIE: &str = "grant_type=password&username=marie%40example%2Ecom&password=p%26s%20s%25%2B%C3%B6";

/// Returns a UAA that knows the password `p&s s%+ö` of a user, and refresh tokens until the function revokes them. A
/// client with a secret gets none.
fn uaa_of_marie() -> (ScriptedUaa, impl Fn()) {
    let issued = Arc::new(parking_lot::Mutex::new((0, BTreeSet::new())));
    let shared = Arc::clone(&issued);
    let uaa = ScriptedUaa::start(move |request| {
        let mut issued = shared.lock();
        if let Some(token) = request.body.strip_prefix("grant_type=refresh_token&refresh_token=") {
            return match issued.1.contains(token) {
                true => granted(&fresh_jwt()),
                false => (401, r#"{"error":"invalid_token","error_description":"expired"}"#.into()),
            };
        }
        if !request.body.starts_with(MARIE) {
            return (401, r#"{"error":"unauthorized","error_description":"Bad credentials"}"#.into());
        }
        if request.body.contains("client_secret") {
            return granted(&fresh_jwt());
        }
        issued.0 += 1;
        let token = format!("r{}", issued.0);
        issued.1.insert(token.clone());
        (200, format!(r#"{{"access_token":"{}","refresh_token":"{token}"}}"#, fresh_jwt()))
    });
    (uaa, move || issued.lock().1.clear())
}

/// Gets this many tokens, of which a server rejects each but the last. Returns the requests for them, without the
/// password.
fn grants(uaa: &ScriptedUaa, source: &TokenSource, rejected: &mut Option<String>, count: usize) -> Vec<String> {
    for _ in 0..count {
        *rejected = Some(ask(source, rejected.as_deref()).unwrap());
    }
    let form =
        |body: String| body.split(['=', '&']).nth(if body.contains("=password") { 1 } else { 3 }).unwrap().to_owned();
    uaa.requests.try_iter().map(|request| form(request.body)).collect()
}

#[test]
fn a_password_is_sent_for_the_first_token_and_whenever_the_refresh_token_is_dead() {
    let (uaa, revoke) = uaa_of_marie();
    // White space around the name, and line breaks at the end of the password, do not belong to them.
    let source = TokenSource::uaa(Uaa::new(&uaa.url).password(" marie@example.com\n", "p&s s%+ö\r\n")).unwrap();
    let mut token = None;
    assert_eq!(grants(&uaa, &source, &mut token, 3), ["password", "r1", "r1"]);
    revoke();
    assert_eq!(grants(&uaa, &source, &mut token, 3), ["r1", "password", "r2", "r2"]);
    revoke();
    assert_eq!(grants(&uaa, &source, &mut token, 2), ["r2", "password", "r3"]);
}

#[test]
fn a_refresh_token_is_used_before_a_password() {
    let (uaa, _) = uaa_of_marie();
    let config = Uaa::new(&uaa.url).refresh_token("r0").password("marie@example.com", "p&s s%+ö");
    let source = TokenSource::uaa(config).unwrap();
    assert_eq!(grants(&uaa, &source, &mut None, 2), ["r0", "password", "r1"]);
}

#[test]
fn a_password_is_sent_for_each_token_if_there_is_no_refresh_token() {
    let (uaa, _) = uaa_of_marie();
    // The secret of the client is no grant of its own beside a password.
    let config = Uaa::new(&uaa.url).client("tool", "secret").password("marie@example.com", "p&s s%+ö");
    let source = TokenSource::uaa(config.clone()).unwrap();
    assert_eq!(grants(&uaa, &source, &mut None, 3), ["password"; 3]);
    let source = TokenSource::uaa(config.refresh_token("r0")).unwrap();
    assert_eq!(grants(&uaa, &source, &mut None, 3), ["r0", "password", "password", "password"]);
}

#[test]
fn a_user_without_a_name_or_a_password_is_invalid() {
    for (user, password) in [("", "hunter2"), (" ", "hunter2"), ("marie", ""), ("marie", "\n")] {
        let error = TokenSource::uaa(Uaa::new("https://uaa.example.com").password(user, password)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("is empty") && !error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn a_response_that_says_nothing_of_the_refresh_token_does_not_end_its_use() {
    for (error, text) in [
        (r#"{"error":"invalid_client","error_description":"Bad credentials"}"#, "the client's id or secret is wrong"),
        (r#"{"error":"unauthorized","error_description":"Bad credentials"}"#, "the client's id or secret is wrong"),
        // Not said by a UAA.
        ("<html>hunter2</html>", "the session has expired"),
    ] {
        let uaa = ScriptedUaa::start(move |_| (401, error.to_owned()));
        let source = TokenSource::uaa(Uaa::new(&uaa.url).client("nozzle", "hunter2").refresh_token("r")).unwrap();
        let error = ask(&source, None).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(uaa.requests.len(), 1);
    }
}

#[test]
fn both_grants_may_be_rejected() {
    let uaa = ScriptedUaa::start(|_| (400, r#"{"error":"invalid_grant"}"#.to_owned()));
    let source = TokenSource::uaa(Uaa::new(&uaa.url).client("nozzle", "hunter2").refresh_token("r")).unwrap();
    let error = ask(&source, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("the client lacks a permission"), "{error}");
    assert_eq!(uaa.requests.len(), 2);
}

#[test]
fn white_space_around_what_a_session_is_made_of_does_no_harm() {
    let fresh = fresh_jwt();
    let uaa = ScriptedUaa::granting(&fresh);
    let config =
        Uaa::new(&format!(" {}\r\n", uaa.url)).client(" nozzle\n", " hunter2 \r\n").refresh_token("\trefresh \n");
    let source = TokenSource::uaa(config.clone().access_token(&format!(" Bearer {fresh}\n"))).unwrap();
    assert_eq!(ask(&source, None).unwrap(), bearer(&fresh));
    assert!(uaa.requests.is_empty());
    for access_token in ["", " \n"] {
        let source = TokenSource::uaa(config.clone().access_token(access_token)).unwrap();
        assert_eq!(ask(&source, None).unwrap(), bearer(&fresh));
        let form = "grant_type=refresh_token&refresh_token=refresh&client_id=nozzle&client_secret=%20hunter2%20";
        assert_eq!(uaa.next_request().body, form);
    }
    // A line in the middle can't be right.
    for config in [
        Uaa::new(&uaa.url).refresh_token("hunter2\nhunter2"),
        Uaa::new(&uaa.url).access_token("bearer hunter2\nhunter2"),
        Uaa::new(&uaa.url).client("\n", "hunter2"),
    ] {
        let error = TokenSource::uaa(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn the_address_of_the_uaa_is_known() {
    let uaa = |url: &str| TokenSource::uaa(Uaa::new(url)).unwrap();
    assert!(!uaa("http://uaa.example.com").uaa_endpoint().unwrap().secure);
    assert!(uaa("https://uaa.example.com").uaa_endpoint().unwrap().secure);
    assert_eq!(TokenSource::fixed("x").uaa_endpoint(), None);
    assert_eq!(TokenSource::from_fn(|_| Ok("x".to_owned())).uaa_endpoint(), None);
}

fn replace(source: &TokenSource, rejected: &str, app: &str) -> Result<String> {
    source.replace(rejected, app, &dialer(), &Cancel::new())
}

/// Returns a source with a token that has just replaced a rejected one, and the token.
fn replaced(source: TokenSource) -> (TokenSource, String) {
    let first = ask(&source, None).unwrap();
    let second = replace(&source, &first, "gone").unwrap();
    assert_eq!(ask(&source, None).unwrap(), second);
    (source, second)
}

fn end_trial(source: &TokenSource) {
    let Source::Renewable(token) = &source.0 else { panic!("not a renewable token") };
    token.state.lock().trial.as_mut().unwrap().end();
}

#[test]
fn a_token_that_replaced_a_rejected_one_is_not_renewed_when_it_is_rejected_too() {
    let uaa = ScriptedUaa::start(|_| granted(&fresh_jwt()));
    let calls = Arc::new(AtomicUsize::new(0));
    let function = {
        let calls = Arc::clone(&calls);
        move |_: Option<&str>| Ok(format!("bearer opaque-{}", calls.fetch_add(1, Ordering::Relaxed)))
    };
    let session = TokenSource::uaa(Uaa::new(&uaa.url).refresh_token("refresh-1")).unwrap();
    for (source, renewals) in [
        (session, &(|| uaa.requests.len()) as &dyn Fn() -> usize),
        (TokenSource::from_fn(function), &|| calls.load(Ordering::Relaxed)),
    ] {
        let (source, token) = replaced(source);
        assert_eq!(renewals(), 2);
        for app in ["gone", "another"].iter().cycle().take(10) {
            assert!(is_no_replacement(&replace(&source, &token, app).unwrap_err()));
        }
        assert_eq!(renewals(), 2);
        // Another app's token is good, which says nothing about these.
        source.accepted(&token, APP);
        assert!(is_no_replacement(&replace(&source, &token, "gone").unwrap_err()));
        assert_eq!(renewals(), 2);
        // It was good for this app, and has been revoked since.
        let renewed = replace(&source, &token, APP).unwrap();
        assert_eq!((replace(&source, &token, "gone").unwrap(), renewals()), (renewed.clone(), 3));
        assert!(is_no_replacement(&replace(&source, &renewed, APP).unwrap_err()));
        assert_eq!(renewals(), 3);
        // In the end it is renewed all the same.
        end_trial(&source);
        assert_ne!(replace(&source, &renewed, "gone").unwrap(), renewed);
        assert_eq!(renewals(), 4);
    }
}

#[test]
fn many_threads_whose_apps_are_gone_cost_one_renewal() {
    let uaa = ScriptedUaa::start(|_| granted(&fresh_jwt()));
    let source = TokenSource::uaa(Uaa::new(&uaa.url).refresh_token("refresh-1")).unwrap();
    ask(&source, None).unwrap();
    let (done, results) = unbounded();
    for app in 0..16 {
        let (source, done) = (source.clone(), done.clone());
        thread::spawn(move || {
            let app = format!("gone-{app}");
            for _ in 0..10 {
                // As `Consumer` does.
                let token = source.token(&dialer(), &Cancel::new()).unwrap();
                let _ = replace(&source, &token, &app);
            }
            done.send(()).unwrap();
        });
    }
    for _ in 0..16 {
        results.recv_timeout(DEADLINE).unwrap();
    }
    assert_eq!(uaa.requests.len(), 2);
}

#[test]
fn a_function_that_has_only_the_rejected_token_is_not_called_again_at_once() {
    let (called, calls) = unbounded();
    let source = TokenSource::from_fn(move |_| {
        called.send(())?;
        Ok("bearer the-only-one".to_owned())
    });
    let token = ask(&source, None).unwrap();
    for _ in 0..10 {
        assert!(is_no_replacement(&replace(&source, &token, "gone").unwrap_err()));
    }
    assert_eq!(calls.try_iter().count(), 2);
    end_trial(&source);
    replace(&source, &token, "gone").unwrap_err();
    assert_eq!(calls.try_iter().count(), 1);
}

#[test]
fn a_token_that_is_due_or_lives_for_seconds_is_renewed_when_it_is_rejected() {
    for (lifetime, is_renewed) in [(1, true), (9, true), (300, false)] {
        let uaa = ScriptedUaa::start(move |_| granted(&jwt(now(), now() + lifetime)));
        let (source, token) = replaced(TokenSource::uaa(Uaa::new(&uaa.url).refresh_token("refresh-1")).unwrap());
        assert_eq!(replace(&source, &token, "gone").is_ok(), is_renewed, "{lifetime} s");
    }
    let count = AtomicUsize::new(0);
    let uaa = ScriptedUaa::start(move |_| {
        // The second one of an hour is about to expire.
        let (issued, expiry) = (now() - 3590, now() + 10);
        let is_second = count.fetch_add(1, Ordering::Relaxed) == 1;
        granted(&if is_second { jwt(issued, expiry) } else { fresh_jwt() })
    });
    let source = TokenSource::uaa(Uaa::new(&uaa.url).refresh_token("refresh-1")).unwrap();
    let first = ask(&source, None).unwrap();
    let second = replace(&source, &first, "gone").unwrap();
    // Counted from now, because it contradicts the clock: so let it be due here.
    let Source::Renewable(token) = &source.0 else { panic!("not a renewable token") };
    token.state.lock().current = Some(Token::existing(&second).unwrap());
    assert_ne!(replace(&source, &second, "gone").unwrap(), second);
}

/// Calls the source again from the function that the source calls.
#[test]
fn a_function_that_needs_its_own_source_gets_the_valid_token_or_an_error() {
    let ending = ending_jwt();
    for first in [None, Some(ending.clone())] {
        let own = Arc::new(OnceLock::<TokenSource>::new());
        let (sent, results) = unbounded();
        let source = {
            let (own, first) = (Arc::clone(&own), parking_lot::Mutex::new(first.clone()));
            TokenSource::from_fn(move |_| {
                if let Some(first) = first.lock().take() {
                    return Ok(first);
                }
                let own = own.get().unwrap();
                sent.send(own.token(&dialer(), &Cancel::new()))?;
                // And from a renewal of another source, for which this one waits.
                let own = own.clone();
                let other = TokenSource::from_fn(move |_| Ok(own.token(&dialer(), &Cancel::new())?));
                sent.send(other.token(&dialer(), &Cancel::new()))?;
                Ok("bearer new".to_owned())
            })
        };
        own.set(source.clone()).map_err(drop).unwrap();
        if first.is_some() {
            assert_eq!(ask(&source, None).unwrap(), bearer(&ending));
        }
        assert_eq!(ask(&source, None).unwrap(), "bearer new");
        assert_eq!(results.len(), 2);
        for result in results.try_iter() {
            match &first {
                Some(ending) => assert_eq!(result.unwrap(), bearer(ending)),
                None => {
                    let error = result.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Unauthorized);
                    assert!(error.to_string().contains("cannot wait for that token"), "{error}");
                }
            }
        }
    }
}

/// As above, from the destructor of an error that nobody waits for any more.
#[test]
fn an_error_that_needs_the_source_when_it_is_dropped_does_not_wait_for_itself() {
    #[derive(Debug)]
    struct AsksWhenDropped(TokenSource, Sender<Result<String>>);
    impl fmt::Display for AsksWhenDropped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no token")
        }
    }
    impl std::error::Error for AsksWhenDropped {}
    impl Drop for AsksWhenDropped {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.token(&dialer(), &Cancel::new()));
        }
    }
    let own = Arc::new(OnceLock::<TokenSource>::new());
    let ((open, gate), (sent, results)) = (unbounded::<()>(), unbounded());
    let source = {
        let own = Arc::clone(&own);
        TokenSource::from_fn(move |_| {
            let _ = gate.recv();
            Err(AsksWhenDropped(own.get().unwrap().clone(), sent.clone()).into())
        })
    };
    own.set(source.clone()).map_err(drop).unwrap();
    let cancel = Cancel::new();
    let call = begin(&source, None, &cancel);
    let Source::Renewable(token) = &source.0 else { panic!("not a renewable token") };
    let deadline = Instant::now() + DEADLINE;
    let renewal = loop {
        if let Some(renewal) = token.state.lock().renewal.clone() {
            break renewal;
        }
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    };
    cancel.cancel();
    assert_eq!(call.recv_timeout(DEADLINE).unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert!(renewal.cancel.signal().recv_timeout(DEADLINE).is_err_and(|error| error == RecvTimeoutError::Disconnected));
    drop(open);
    let error = results.recv_timeout(DEADLINE).expect("it does not wait for itself").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(renewal.finished.recv_timeout(DEADLINE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_proxy_function_that_panics_while_a_token_is_requested_is_an_error() {
    let uaa = ScriptedUaa::granting(fresh_jwt());
    let source = session(&uaa, &jwt(1, 2));
    let panicking = Arc::new(Dialer::new(None, crate::net::dial::Proxy::custom(|_| panic!("a panic for the test"))));
    source.token(&panicking, &Cancel::new()).unwrap_err();
    assert!(ask(&source, None).is_ok(), "the next call requests a token again");
}

#[test]
fn an_error_of_a_function_that_contains_a_token_is_shown_without_it() {
    #[derive(Debug)]
    struct Quoting(#[expect(dead_code, reason = "for its Debug form")] String);
    impl fmt::Display for Quoting {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "the vault is shut")
        }
    }
    impl std::error::Error for Quoting {}
    let (own, foreign) = ("bearer opaque-hunter2", fresh_jwt());
    let failures: [fn(&str) -> BoxError; 3] = [
        |foreign| format!("the vault is shut: opaque-hunter2, {foreign}").into(),
        |_| Quoting("opaque-hunter2".to_owned()).into(),
        |foreign| Quoting(foreign.to_owned()).into(),
    ];
    for fail in failures {
        let secret = foreign.clone();
        let source = TokenSource::from_fn(move |rejected| match rejected {
            None => Ok(own.to_owned()),
            Some(_) => Err(fail(&secret)),
        });
        let token = ask(&source, None).unwrap();
        let error = ask(&source, Some(&token)).unwrap_err();
        assert!(error.to_string().starts_with("the token function failed: the vault is shut"), "{error}");
        let shown = every_form(&error);
        assert!(!shown.contains("hunter2") && !shown.contains(&foreign), "{shown}");
    }
}

/// Returns everything that an error says of itself.
fn every_form(error: &Error) -> String {
    let mut forms = format!("{error} {error:?} {error:#?} {:?}", error.body());
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        forms += &format!("{cause} {cause:?}");
        next = cause.source();
    }
    forms
}

#[test]
fn what_a_uaa_repeats_in_any_form_is_in_no_form_of_an_error() {
    const SECRET: &str = "client+hunter2";
    let encoded = utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string();
    let basic = BASE64_STANDARD.encode(format!("nozzle:{SECRET}"));
    let forms = [SECRET, &encoded, &basic, "rotated-hunter2", "refresh-hunter2", "access-hunter2"].map(str::to_owned);
    let hidden = forms.clone();
    let count = AtomicUsize::new(0);
    let uaa = ScriptedUaa::start(move |_| {
        let text = forms.join(" ");
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => (200, r#"{"access_token":"access-hunter2","refresh_token":"rotated-hunter2"}"#.to_owned()),
            1 => (500, text),
            2 => (503, format!(r#"{{"error":"{text}"}}"#)),
            3 => (400, format!(r#"{{"error":"invalid_client","error_description":"{text}"}}"#)),
            4 => (401, text),
            _ => (200, text),
        }
    });
    let config = Uaa::new(&uaa.url).client("nozzle", SECRET).refresh_token("refresh-hunter2");
    let source = TokenSource::uaa(config).unwrap();
    let token = ask(&source, None).unwrap();
    for _ in 0..6 {
        let shown = every_form(&ask(&source, Some(&token)).unwrap_err());
        for secret in &hidden {
            assert!(!shown.contains(secret.as_str()), "{secret} is in {shown}");
        }
    }
}

#[test]
fn a_password_that_a_uaa_repeats_is_in_no_form_of_an_error() {
    const PASSWORD: &str = r#"hün/t+er"2% 'x"#;
    for encoding in 0..8 {
        let uaa = ScriptedUaa::start(move |request| {
            let field = request.body.split('&').find_map(|field| field.strip_prefix("password=")).unwrap();
            let encoded = match encoding {
                0 => PASSWORD.to_owned(),
                1 => field.to_owned(),
                2 => field.to_lowercase(),
                3 => field.replace("%20", "+"),
                4 => request.body.clone(),
                5 => BASE64_STANDARD.encode(PASSWORD),
                6 => BASE64_STANDARD.encode(format!("marie:{PASSWORD}")),
                _ => serde_json::to_string(PASSWORD).unwrap(),
            };
            let description = serde_json::to_string(&format!("<{encoded}>")).unwrap();
            (401, format!(r#"{{"error":"unauthorized","error_description":{description}}}"#))
        });
        let source = TokenSource::uaa(Uaa::new(&uaa.url).password("marie", PASSWORD)).unwrap();
        // The second one is the error during the pause.
        for _ in 0..2 {
            let shown = every_form(&ask(&source, None).unwrap_err());
            assert!(shown.contains(crate::secrets::HIDDEN), "{shown}");
            for part in ["er\"2", "2%25", "t%2Ber", "t%2ber", &BASE64_STANDARD.encode(PASSWORD)[..12]] {
                assert!(!shown.contains(part), "{encoding}: {part} is in {shown}");
            }
        }
    }
}

#[test]
fn interim_responses_of_a_uaa_are_skipped() {
    for (interim, kind) in [("HTTP/1.1 100 Continue\r\n\r\n", None), ("", None), ("HTTP/1.1 101 \r\n\r\n", Some(()))] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let token = fresh_jwt();
        let body = format!(r#"{{"access_token":"{token}"}}"#);
        let response = format!("{}HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", interim.repeat(3), body.len());
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            std::io::Read::read(&mut socket, &mut [0; 4096]).unwrap();
            std::io::Write::write_all(&mut socket, response.as_bytes()).unwrap();
        });
        let source = TokenSource::uaa(Uaa::new(&url).refresh_token("refresh-1")).unwrap();
        match kind {
            None => assert_eq!(ask(&source, None).unwrap(), bearer(&token)),
            Some(()) => assert_eq!(ask(&source, None).unwrap_err().kind(), ErrorKind::BadResponse),
        }
    }
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
                let mut token = source.token(&dialer, &cancel).unwrap();
                if expiry(&token) <= began {
                    began = now();
                    token = source.replace(&token, APP, &dialer, &cancel).unwrap();
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
    let config = Uaa::new(&uaa.url).password("marie", "pass/word-hunter2");
    shown += &format!("{config:?} {config:#?}");
    let by_password = TokenSource::uaa(config).unwrap();
    let error = ask(&by_password, None).unwrap_err();
    shown += &format!("{error}{error:?}");
    for source in [source, by_password, TokenSource::fixed(&fixed), TokenSource::from_fn(move |_| Ok(fresh_jwt()))] {
        shown += &format!("{source:?} {source:#?}");
    }
    assert!(shown.contains(&format!("TokenSource::uaa({})", uaa.url)), "{shown}");

    log::set_max_level(log::LevelFilter::Off);
    let log = std::mem::take(&mut *LOG.lock());
    assert!(log.contains(&format!("requesting a token from the UAA {}", uaa.url)), "{log}");
    let basic = BASE64_STANDARD.encode("client:secret-hunter2");
    for secret in ["hunter2", "pass%2Fword", &*basic, &*granted_token, &*first, &*fixed] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
