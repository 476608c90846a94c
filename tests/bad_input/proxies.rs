//! Proxies that do not open a tunnel.

use std::net::TcpStream;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use loggregator_consumer::{Builder, ErrorKind, Proxy};
use percent_encoding::percent_decode_str;

use crate::common::messages::{head, response};
use crate::common::{
    DEADLINE, ScriptedServer, assert_dial_error, builder, drain, failures, hang_up, read_head, reset, send,
    send_endlessly, within,
};
use crate::{SHORT, promptly};

const ENDPOINT: &str = "ws://loggregator.example.com";

/// Asserts that a tail and a call of `recent` fail with this kind at a proxy that runs this script on each connection.
fn assert_fails(settings: fn(Builder) -> Builder, kind: ErrorKind, script: impl Fn(TcpStream) + Send + Sync + 'static) {
    within(DEADLINE, move || {
        let server = ScriptedServer::always(script);
        let proxy = Proxy::url(&format!("http://user:hunter2@{}", server.address)).unwrap();
        let consumer = settings(builder(ENDPOINT).proxy(proxy)).build().unwrap();
        for error in promptly(|| failures(&consumer)) {
            assert_dial_error(&error, kind, ENDPOINT);
            let text = error.to_string();
            assert!(text.contains(&format!("http://{}", server.address)), "the proxy is named: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    });
}

fn responses(bytes: Vec<u8>) -> impl Fn(TcpStream) {
    move |mut socket| {
        read_head(&mut socket);
        send(&mut socket, &[&bytes]);
        hang_up(socket);
    }
}

#[test]
fn a_proxy_that_refuses_is_a_proxy_error() {
    for status in ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway", "302 Found"] {
        assert_fails(|b| b, ErrorKind::Proxy, responses(response(status, &["Location: http://x/"], b"no")));
    }
}

#[test]
fn credentials_that_a_proxy_repeats_are_hidden() {
    for password in ["hunter2", "p%40ssw%2Frd", "secret-of-many-letters", "x-y"] {
        within(DEADLINE, move || {
            let plain = percent_decode_str(password).decode_utf8().unwrap();
            let [base64, basic] = [plain.to_string(), format!("user:{plain}")].map(|text| BASE64_STANDARD.encode(text));
            let alone = if password == "x-y" { String::new() } else { format!("{plain} {password} {base64}") };
            let reason = format!("407 No {alone} user:{plain} user:{password} user%3A{password} Basic {basic}");
            let server =
                ScriptedServer::always(responses(response(&reason, &[&format!("X: {reason}")], reason.as_bytes())));
            let proxy = Proxy::url(&format!("http://user:{password}@{}", server.address)).unwrap();
            for error in promptly(|| failures(&builder(ENDPOINT).proxy(proxy).build().unwrap())) {
                assert_dial_error(&error, ErrorKind::Proxy, ENDPOINT);
                let forms = format!("{error} {error:#} {error:?} {error:#?} {:?} {:?}", error.get_ref(), error.body());
                for secret in [&*plain, password, &base64, &basic] {
                    assert!(!forms.contains(secret.trim_end_matches('=')), "{secret}: {forms}");
                }
                assert!(forms.contains("the proxy answered 407 No "), "{forms}");
            }
        });
    }
}

#[test]
fn control_characters_of_a_proxy_are_escaped() {
    within(DEADLINE, || {
        // HTTP allows no others in a reason phrase.
        let server = ScriptedServer::always(responses(b"HTTP/1.1 502 a\tb\r\n\r\n".to_vec()));
        let proxy = Proxy::url(&format!("http://{}", server.address)).unwrap();
        for error in promptly(|| failures(&builder(ENDPOINT).proxy(proxy).build().unwrap())) {
            assert!(error.to_string().contains("the proxy answered 502 a b"), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
    });
}

#[test]
fn a_proxy_that_sends_garbage_is_a_proxy_error() {
    for garbage in ["SSH-2.0-OpenSSH_9.6\r\n", "\0\0\0\0\0\0\0\0", "HTTP/9 what\r\n\r\n"] {
        assert_fails(|b| b, ErrorKind::Proxy, responses(garbage.into()));
    }
}

#[test]
fn a_proxy_that_never_responds_is_a_timeout() {
    assert_fails(|b| b.connect_timeout(SHORT), ErrorKind::Timeout, drain);
}

#[test]
fn a_proxy_that_falls_silent_in_its_response_is_a_timeout() {
    assert_fails(
        |b| b.connect_timeout(SHORT),
        ErrorKind::Timeout,
        |mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[b"HTTP/1.1 200 OK\r\nX:"]);
            drain(socket);
        },
    );
}

#[test]
fn an_endless_head_from_a_proxy_is_a_proxy_error() {
    for endless in [&b"X-Header: value\r\n"[..], b"x"] {
        assert_fails(
            |b| b,
            ErrorKind::Proxy,
            move |mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[b"HTTP/1.1 200 OK\r\n"]);
                send_endlessly(&mut socket, endless);
            },
        );
    }
}

#[test]
fn a_proxy_that_hangs_up_is_a_lost_connection() {
    assert_fails(|b| b, ErrorKind::ConnectionLost, responses(Vec::new()));
}

#[test]
fn a_proxy_that_resets_the_connection_is_a_lost_connection() {
    assert_fails(
        |b| b,
        ErrorKind::ConnectionLost,
        |mut socket| {
            read_head(&mut socket);
            reset(socket);
        },
    );
}

#[test]
fn extra_bytes_after_a_proxys_response_head_are_a_proxy_error() {
    assert_fails(|b| b, ErrorKind::Proxy, responses([head("200 OK", &[]), b"HTTP/1.1 ".to_vec()].concat()));
}

#[test]
fn a_proxy_without_tls_is_a_tls_error() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            send(&mut socket, &[&response("400 Bad Request", &[], b"")]);
            hang_up(socket);
        });
        let proxy = Proxy::url(&format!("https://{}", server.address)).unwrap();
        let consumer = builder(ENDPOINT).proxy(proxy).build().unwrap();
        for error in promptly(|| failures(&consumer)) {
            assert_dial_error(&error, ErrorKind::Tls, ENDPOINT);
            assert!(error.to_string().contains(&format!("https://{}", server.address)), "{error}");
        }
    });
}

#[test]
fn a_proxy_function_that_returns_an_unusable_proxy_is_a_proxy_error() {
    for unusable in ["socks4://proxy.example.com", "/proxy"] {
        let proxy = Proxy::custom(move |_| Ok(Some(unusable.parse()?)));
        for error in failures(&builder(ENDPOINT).proxy(proxy).build().unwrap()) {
            assert_dial_error(&error, ErrorKind::Proxy, ENDPOINT);
        }
    }
}
