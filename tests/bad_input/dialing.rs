//! Servers that cannot be reached, or hang up before they have responded.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use loggregator_consumer::{Builder, Error, ErrorKind, Proxy};

use crate::common::messages::response;
use crate::common::proxy::ConnectProxy;
use crate::common::{
    DEADLINE, Refusing, ScriptedServer, assert_dial_error, builder, consumer, drain, failures, hang_up, read_head,
    reset, send, tls, within,
};
use crate::{SHORT, promptly};
/// Returns the errors of a tail and of a call of `recent` at a server that runs this script on each connection.
fn failures_at(script: impl Fn(TcpStream) + Send + Sync + 'static) -> (String, [Error; 2]) {
    let endpoint = ScriptedServer::always(script).endpoint();
    let errors = promptly(|| failures(&consumer(&endpoint)));
    (endpoint, errors)
}

#[test]
fn a_refused_connection_is_a_dial_error() {
    within(DEADLINE, || {
        let refusing = Refusing::start();
        for error in failures(&consumer(&refusing.endpoint())) {
            assert_dial_error(&error, ErrorKind::Dial, &refusing.endpoint());
            assert!(error.to_string().contains("connection refused"), "{error}");
        }
    });
}

#[test]
fn a_name_that_does_not_resolve_is_an_error_within_the_connect_timeout() {
    within(DEADLINE, || {
        let endpoint = "ws://loggregator.invalid";
        // The system's resolver may need longer than the connect timeout, so both kinds are right.
        for error in promptly(|| failures(&builder(endpoint).connect_timeout(SHORT).build().unwrap())) {
            assert_dial_error(&error, error.kind(), endpoint);
            assert!(matches!(error.kind(), ErrorKind::Dial | ErrorKind::Timeout), "{error:?}");
            assert!(error.to_string().contains("resolving loggregator.invalid"), "{error}");
        }
    });
}

#[test]
fn a_reset_right_after_accept_is_a_lost_connection() {
    within(DEADLINE, || {
        let (endpoint, errors) = failures_at(reset);
        for error in errors {
            assert_dial_error(&error, ErrorKind::ConnectionLost, &endpoint);
        }
    });
}

#[test]
fn a_reset_after_the_request_is_a_lost_connection() {
    within(DEADLINE, || {
        let (endpoint, errors) = failures_at(|mut socket| {
            read_head(&mut socket);
            reset(socket);
        });
        for error in errors {
            assert_dial_error(&error, ErrorKind::ConnectionLost, &endpoint);
        }
    });
}

#[test]
fn a_reset_in_the_middle_of_the_head_is_a_lost_connection() {
    within(DEADLINE, || {
        let (endpoint, errors) = failures_at(|mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[b"HTTP/1.1 200 OK\r\nContent-Ty"]);
            reset(socket);
        });
        for error in errors {
            assert_dial_error(&error, ErrorKind::ConnectionLost, &endpoint);
        }
    });
}

#[test]
fn an_eof_without_a_response_is_a_lost_connection() {
    within(DEADLINE, || {
        let (endpoint, errors) = failures_at(|mut socket| {
            read_head(&mut socket);
            hang_up(socket);
        });
        for error in errors {
            assert_dial_error(&error, ErrorKind::ConnectionLost, &endpoint);
        }
    });
}

#[test]
fn an_eof_in_the_middle_of_the_head_is_a_lost_connection() {
    within(DEADLINE, || {
        let (endpoint, errors) = failures_at(|mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[b"HTTP/1.1 200 OK\r\nContent-Ty"]);
            hang_up(socket);
        });
        for error in errors {
            assert_dial_error(&error, ErrorKind::ConnectionLost, &endpoint);
        }
    });
}

/// Asserts that a tail and a call of `recent` end by the connect timeout.
fn assert_timeouts(consumer: Builder, endpoint: &str) {
    let consumer = consumer.connect_timeout(SHORT).build().unwrap();
    for error in promptly(|| failures(&consumer)) {
        assert_dial_error(&error, ErrorKind::Timeout, endpoint);
    }
}

#[test]
fn a_server_that_never_responds_is_a_timeout() {
    within(DEADLINE, || {
        let endpoint = ScriptedServer::silent().endpoint();
        assert_timeouts(builder(&endpoint), &endpoint);
    });
}

#[test]
fn a_server_that_falls_silent_in_the_middle_of_the_head_is_a_timeout() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[b"HTTP/1.1 200 OK\r\nContent-Ty"]);
            drain(socket);
        });
        assert_timeouts(builder(&server.endpoint()), &server.endpoint());
    });
}

#[test]
fn a_head_that_arrives_too_slowly_is_a_timeout() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            send(&mut socket, &[b"HTTP/1.1 200 OK\r\nX: "]);
            while socket.write_all(b"x").is_ok() {
                thread::sleep(SHORT / 10);
            }
        });
        assert_timeouts(builder(&server.endpoint()), &server.endpoint());
    });
}

#[test]
fn a_server_that_is_silent_in_the_tls_handshake_is_a_timeout() {
    within(DEADLINE, || {
        let endpoint = ScriptedServer::silent().tls_endpoint();
        assert_timeouts(builder(&endpoint), &endpoint);
    });
}

#[test]
fn a_server_without_tls_is_a_tls_error() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            send(&mut socket, &[&response("400 Bad Request", &[], b"Client sent something else.")]);
            hang_up(socket);
        });
        for error in failures(&consumer(&server.tls_endpoint())) {
            assert_dial_error(&error, ErrorKind::Tls, &server.tls_endpoint());
        }
    });
}

#[test]
fn a_certificate_that_does_not_verify_is_a_tls_error() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|socket| drop(tls::accept(socket)));
        for error in failures(&consumer(&server.tls_endpoint())) {
            assert_dial_error(&error, ErrorKind::Tls, &server.tls_endpoint());
            assert!(error.to_string().contains("certificate"), "{error}");
        }
    });
}

#[test]
fn a_certificate_for_another_name_is_a_tls_error() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|socket| drop(tls::accept(socket)));
        let proxy = ConnectProxy::leading_to(server.address);
        let consumer = builder("wss://loggregator.example.com")
            .proxy(Proxy::url(&proxy.url()).unwrap())
            .tls_connector(tls::trusting())
            .build()
            .unwrap();
        for error in failures(&consumer) {
            assert_dial_error(&error, ErrorKind::Tls, "wss://loggregator.example.com");
        }
    });
}

#[test]
fn a_server_that_hangs_up_in_the_tls_handshake_is_a_tls_error() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(|mut socket| {
            send(&mut socket, &[b"\x16\x03\x03"]);
            hang_up(socket);
        });
        for error in failures(&consumer(&server.tls_endpoint())) {
            assert_dial_error(&error, ErrorKind::Tls, &server.tls_endpoint());
        }
    });
}
