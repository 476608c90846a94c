//! Proxies that make no tunnel.

use std::net::TcpStream;

use loggregator_consumer::{Builder, ErrorKind, Proxy};

use crate::common::messages::{answer, head};
use crate::common::{
    DEADLINE, ScriptedServer, assert_dial_error, builder, drain, failures, hang_up, read_head, reset, say,
    say_without_end, within,
};
use crate::{SHORT, promptly};

const ENDPOINT: &str = "ws://loggregator.example.com";

/// How a tail and a call of recent fail at a proxy that does this with each connection.
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

fn answers(bytes: Vec<u8>) -> impl Fn(TcpStream) {
    move |mut socket| {
        read_head(&mut socket);
        say(&mut socket, &[&bytes]);
        hang_up(socket);
    }
}

#[test]
fn a_proxy_that_refuses_is_a_proxy_error() {
    for status in ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway", "302 Found"] {
        assert_fails(|b| b, ErrorKind::Proxy, answers(answer(status, &["Location: http://x/"], b"no")));
    }
}

#[test]
fn a_proxy_that_answers_garbage_is_to_blame() {
    for garbage in ["SSH-2.0-OpenSSH_9.6\r\n", "\0\0\0\0\0\0\0\0", "HTTP/9 what\r\n\r\n"] {
        assert_fails(|b| b, ErrorKind::Proxy, answers(garbage.into()));
    }
}

#[test]
fn a_proxy_that_never_answers_is_a_timeout() {
    assert_fails(|b| b.connect_timeout(SHORT), ErrorKind::Timeout, drain);
}

#[test]
fn a_proxy_that_falls_silent_in_its_answer_is_a_timeout() {
    assert_fails(
        |b| b.connect_timeout(SHORT),
        ErrorKind::Timeout,
        |mut socket| {
            read_head(&mut socket);
            say(&mut socket, &[b"HTTP/1.1 200 OK\r\nX:"]);
            drain(socket);
        },
    );
}

#[test]
fn a_proxy_whose_head_has_no_end_is_to_blame() {
    for endless in [&b"X-Header: value\r\n"[..], b"x"] {
        assert_fails(
            |b| b,
            ErrorKind::Proxy,
            move |mut socket| {
                read_head(&mut socket);
                say(&mut socket, &[b"HTTP/1.1 200 OK\r\n"]);
                say_without_end(&mut socket, endless);
            },
        );
    }
}

#[test]
fn a_proxy_that_hangs_up_is_a_lost_connection() {
    assert_fails(|b| b, ErrorKind::ConnectionLost, answers(Vec::new()));
}

#[test]
fn a_proxy_that_resets_is_a_lost_connection() {
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
fn a_proxy_that_speaks_before_the_server_can_is_a_proxy_error() {
    assert_fails(|b| b, ErrorKind::Proxy, answers([head("200 OK", &[]), b"HTTP/1.1 ".to_vec()].concat()));
}

#[test]
fn a_proxy_that_speaks_no_tls_is_a_tls_error() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            say(&mut socket, &[&answer("400 Bad Request", &[], b"")]);
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
fn a_proxy_function_that_gives_no_usable_proxy_is_a_proxy_error() {
    for unusable in ["socks5://proxy.example.com", "/proxy"] {
        let proxy = Proxy::custom(move |_| Ok(Some(unusable.parse()?)));
        for error in failures(&builder(ENDPOINT).proxy(proxy).build().unwrap()) {
            assert_dial_error(&error, ErrorKind::Proxy, ENDPOINT);
        }
    }
}
