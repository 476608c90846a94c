//! SOCKS5 proxies that open no tunnel.

use std::net::TcpStream;

use loggregator_consumer::{Builder, Error, ErrorKind, Proxy};

use crate::common::messages::response;
use crate::common::socks5::{self, LOGIN, NO_ACCEPTABLE_METHOD, NO_LOGIN, SUCCEEDED, Socks5Proxy};
use crate::common::{
    DEADLINE, Refusing, ScriptedServer, assert_dial_error, builder, drain, failures, hang_up, reset, send,
    send_endlessly, within,
};
use crate::{SHORT, promptly};

const ENDPOINT: &str = "ws://loggregator.example.com";

/// Runs a script on each connection to a proxy, and returns the errors of a tail, of a call of `recent`, and of an API
/// that is asked for its servers.
fn errors(
    settings: fn(Builder) -> Builder,
    credentials: &str,
    script: impl Fn(TcpStream) + Send + Sync + 'static,
) -> [Error; 3] {
    let server = ScriptedServer::always(script);
    let proxy = Proxy::url(&format!("socks5h://{credentials}@{}", server.address)).unwrap();
    let consumer = settings(builder(ENDPOINT).proxy(proxy.clone())).build().unwrap();
    let api = settings(Builder::new().api("http://api.example.com").proxy(proxy)).build().unwrap();
    let ([tail, recent], api) = promptly(|| (failures(&consumer), api.tail_choice().unwrap_err()));
    for error in [&tail, &recent] {
        assert_dial_error(error, error.kind(), ENDPOINT);
    }
    let errors = [tail, recent, api];
    for error in &errors {
        let text = error.to_string();
        assert!(text.contains(&format!("asking the proxy socks5h://{}", server.address)), "{text}");
    }
    errors
}

#[track_caller]
fn assert_fails(
    settings: fn(Builder) -> Builder,
    credentials: &'static str,
    kind: ErrorKind,
    parts: &'static [&'static str],
    script: impl Fn(TcpStream) + Send + Sync + 'static,
) {
    within(DEADLINE, move || {
        for error in errors(settings, credentials, script) {
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{text}");
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    });
}

/// Reads the client's greeting, and sends these bytes.
fn choosing(bytes: &'static [u8]) -> impl Fn(TcpStream) {
    move |mut socket| {
        socks5::read_greeting(&mut socket);
        send(&mut socket, &[bytes]);
        hang_up(socket);
    }
}

/// Chooses the login, reads it, and sends these bytes.
fn after_the_login(bytes: &'static [u8]) -> impl Fn(TcpStream) {
    move |mut socket| {
        socks5::read_greeting(&mut socket);
        send(&mut socket, &[&[5, LOGIN]]);
        assert_eq!(socks5::read_login(&mut socket), (b"user".into(), b"hunter2".into()));
        send(&mut socket, &[bytes]);
        hang_up(socket);
    }
}

/// Wants no login, reads the target, and sends these bytes.
fn replying(bytes: impl Into<Vec<u8>>) -> impl Fn(TcpStream) {
    let bytes = bytes.into();
    move |mut socket| {
        socks5::read_greeting(&mut socket);
        send(&mut socket, &[&[5, NO_LOGIN]]);
        socks5::read_target(&mut socket);
        send(&mut socket, &[&bytes]);
        hang_up(socket);
    }
}

#[test]
fn each_code_of_a_socks5_proxy_is_a_proxy_error_that_says_what_it_means() {
    for (code, parts) in [
        (1, &["code 1", "general failure"]),
        (2, &["code 2", "rules"]),
        (3, &["code 3", "network"]),
        (4, &["code 4", "cannot resolve its name"]),
        (5, &["code 5", "refused its connection"]),
        (6, &["code 6", "timed out"]),
        (7, &["code 7", "does not support CONNECT"]),
        (8, &["code 8", "type of address"]),
        (9, &["code 9", "unknown"]),
        (255, &["code 255", "unknown"]),
    ] {
        // Some proxies send the whole reply, and others only its beginning.
        assert_fails(|b| b, "user:hunter2", ErrorKind::Proxy, parts, replying([&[5, code][..], &[0; 8]].concat()));
        assert_fails(|b| b, "user:hunter2", ErrorKind::Proxy, parts, replying([5, code]));
    }
}

#[test]
fn a_socks5_proxy_that_accepts_no_login_of_ours_is_a_proxy_error_that_says_what_to_do() {
    let proxy = ErrorKind::Proxy;
    assert_fails(
        |b| b,
        "",
        proxy,
        &["requires authentication", "user:password@"],
        choosing(&[5, NO_ACCEPTABLE_METHOD]),
    );
    assert_fails(|b| b, "user:hunter2", proxy, &["neither a user", "GSSAPI"], choosing(&[5, NO_ACCEPTABLE_METHOD]));
    assert_fails(|b| b, "", proxy, &["requires authentication", "user:password@"], choosing(&[5, LOGIN]));
    assert_fails(|b| b, "user:hunter2", proxy, &["method 0x01", "not offered"], choosing(&[5, 1]));
}

#[test]
fn a_wrong_user_or_password_at_a_socks5_proxy_is_a_proxy_error_that_says_so() {
    for status in [&[1, 1], &[1, 255]] {
        let parts = &["rejected the user or the password", "percent-encoded"];
        assert_fails(|b| b, "user:hunter2", ErrorKind::Proxy, parts, after_the_login(status));
    }
    // Some proxies only hang up.
    let parts = &["closed the connection", "perhaps the user or the password is wrong"];
    assert_fails(|b| b, "user:hunter2", ErrorKind::ConnectionLost, parts, after_the_login(&[]));

    within(DEADLINE, || {
        let server = Socks5Proxy::requiring("user", "another");
        let proxy = Proxy::url(&format!("socks5h://user:hunter2@{}", server.address)).unwrap();
        for error in failures(&builder(ENDPOINT).proxy(proxy).build().unwrap()) {
            assert_dial_error(&error, ErrorKind::Proxy, ENDPOINT);
            assert!(error.to_string().contains("rejected the user or the password"), "{error}");
        }
    });
}

#[test]
fn a_proxy_that_does_not_speak_socks5_is_a_proxy_error() {
    let proxy = ErrorKind::Proxy;
    let http = || response("400 Bad Request", &[], b"no");
    let sending = |bytes: Vec<u8>| {
        move |mut socket: TcpStream| {
            send(&mut socket, &[&bytes]);
            hang_up(socket);
        }
    };
    assert_fails(|b| b, "", proxy, &["does not speak SOCKS5", "0x48", "an http:// proxy?"], sending(http()));
    assert_fails(|b| b, "", proxy, &["does not speak SOCKS5", "ssh -D"], sending(b"SSH-2.0-OpenSSH_9.6\r\n".into()));
    assert_fails(|b| b, "", proxy, &["0x00 instead of 0x05", "check the host"], sending(vec![0, 91, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn a_malformed_answer_of_a_socks5_proxy_is_a_proxy_error_that_says_what_is_wrong() {
    let proxy = ErrorKind::Proxy;
    assert_fails(|b| b, "user:hunter2", proxy, &["its answer to the login", "version"], after_the_login(&[5, 0]));
    assert_fails(|b| b, "user:hunter2", proxy, &["its reply", "version"], replying([4, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
    assert_fails(|b| b, "user:hunter2", proxy, &["reserved byte"], replying([5, 0, 1, 1, 0, 0, 0, 0, 0, 0]));
    assert_fails(|b| b, "user:hunter2", proxy, &["an unknown type"], replying([5, 0, 0, 2, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn a_socks5_proxy_that_hangs_up_or_resets_is_a_lost_connection() {
    let parts = &["closed the connection before its answer was complete"];
    for cut in 0..2 {
        assert_fails(|b| b, "", ErrorKind::ConnectionLost, parts, choosing(&[5, NO_LOGIN][..cut]));
    }
    for cut in 0..SUCCEEDED.len() {
        assert_fails(|b| b, "", ErrorKind::ConnectionLost, parts, replying(&SUCCEEDED[..cut]));
    }
    assert_fails(
        |b| b,
        "",
        ErrorKind::ConnectionLost,
        &["reset"],
        |mut socket| {
            socks5::read_greeting(&mut socket);
            reset(socket);
        },
    );
}

#[test]
fn a_socks5_proxy_that_falls_silent_is_a_timeout() {
    let short = |builder: Builder| builder.connect_timeout(SHORT);
    assert_fails(short, "", ErrorKind::Timeout, &["does it speak SOCKS5?"], drain);
    for (method, answer) in [(NO_LOGIN, None), (LOGIN, None), (LOGIN, Some([1, 0]))] {
        assert_fails(short, "user:hunter2", ErrorKind::Timeout, &[], move |mut socket| {
            socks5::read_greeting(&mut socket);
            send(&mut socket, &[&[5, method]]);
            if let Some(answer) = answer {
                send(&mut socket, &[&answer]);
            }
            drain(socket);
        });
    }
    // Also if it trickles.
    assert_fails(short, "", ErrorKind::Timeout, &[], |mut socket| {
        socks5::read_greeting(&mut socket);
        send(&mut socket, &[&[5, NO_LOGIN, 5, 0, 0, 3, 255]]);
        drain(socket);
    });
}

#[test]
fn bytes_without_end_from_a_socks5_proxy_are_no_trouble() {
    assert_fails(
        |b| b,
        "",
        ErrorKind::Proxy,
        &["unknown"],
        |mut socket| {
            send(&mut socket, &[&[5, NO_LOGIN]]);
            send_endlessly(&mut socket, &[5, 99].repeat(1000));
        },
    );
}

#[test]
fn credentials_that_a_socks5_proxy_repeats_are_hidden() {
    const PASSWORD: &str = "hunter2-hunter2";
    const LOGIN_MESSAGE: &[u8] = b"\x01\x04user\x0fhunter2-hunter2";
    let repeated = [&[15][..], PASSWORD.as_bytes(), &[0, 80]].concat();
    let as_a_name = [&[5, 0, 0, 3][..], &repeated].concat();
    // In place of the status of the login, of the reply, and as the name in a reply, after which nothing follows.
    let answers = [LOGIN_MESSAGE.to_vec(), PASSWORD.into(), [&[1, 0][..], PASSWORD.as_bytes()].concat(), {
        [&[1, 0][..], &as_a_name].concat()
    }];
    within(DEADLINE, move || {
        for answer in answers {
            let script = move |mut socket: TcpStream| {
                socks5::read_greeting(&mut socket);
                send(&mut socket, &[&[5, LOGIN]]);
                socks5::read_login(&mut socket);
                send(&mut socket, &[&answer]);
                hang_up(socket);
            };
            let server = ScriptedServer::always(script);
            let proxy = Proxy::url(&format!("socks5h://user:{PASSWORD}@{}", server.address)).unwrap();
            for error in promptly(|| failures(&builder(ENDPOINT).proxy(proxy).build().unwrap())) {
                let forms = format!("{error} {error:#} {error:?} {error:#?} {:?} {:?}", error.get_ref(), error.body());
                assert!(!forms.contains("hunter"), "{forms}");
            }
        }
    });
}

#[test]
fn a_socks5_proxy_that_cannot_be_reached_is_named() {
    within(DEADLINE, || {
        let nobody = Refusing::start();
        for scheme in ["socks5", "socks5h"] {
            let url = format!("{scheme}://{}", nobody.address);
            let proxy = Proxy::url(&url).unwrap();
            for error in failures(&builder("ws://10.0.0.1").proxy(proxy).build().unwrap()) {
                assert_dial_error(&error, ErrorKind::Dial, "ws://10.0.0.1");
                assert!(error.to_string().contains(&format!("through the proxy {url}")), "{error}");
            }
        }
    });
}

#[test]
fn a_name_that_is_too_long_for_socks5_is_a_proxy_error() {
    within(DEADLINE, || {
        let server = Socks5Proxy::start();
        let name = format!("{}.example.com", "a".repeat(250));
        let proxy = Proxy::url(&format!("socks5h://{}", server.address)).unwrap();
        for error in failures(&builder(&format!("ws://{name}")).proxy(proxy).build().unwrap()) {
            assert_dial_error(&error, ErrorKind::Proxy, &name);
            assert!(error.to_string().contains("longer than 255 bytes"), "{error}");
        }
        assert!(server.has_no_more_requests());
    });
}
