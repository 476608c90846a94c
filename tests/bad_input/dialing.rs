//! Servers that cannot be reached, or hang up before they have responded.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;

use loggregator_consumer::native_tls::TlsStream;
use loggregator_consumer::{Builder, Ending, Error, ErrorKind, Proxy};

use crate::common::messages::{APP, CONTENT_TYPE, TOKEN, head, message, part, response, texts};
use crate::common::proxy::ConnectProxy;
use crate::common::{
    BINARY, DEADLINE, PING, Refusing, ScriptedServer, assert_dial_error, builder, consumer, drain, failures, frame,
    hang_up, read_head, reset, send, switching_protocols, tls, within,
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

/// A server that sends a fatal alert when it gets the first bytes after the handshake, as a server does that wants a
/// client's certificate. (It gets bytes that were changed on the way.)
fn alerting() -> ScriptedServer {
    ScriptedServer::always(move |socket| {
        let changes = Rc::new(Cell::new(false));
        let changing = Changing { socket, changes: Rc::clone(&changes) };
        if let Ok(mut stream) = tls::acceptor().accept(changing) {
            changes.set(true);
            assert!(stream.read(&mut [0; 1000]).is_err());
            let _ = stream.get_ref().socket.shutdown(Shutdown::Write);
            drain(stream.get_ref().socket.try_clone().unwrap());
        }
    })
}

/// A socket whose incoming bytes can be changed.
#[derive(Debug)]
struct Changing {
    socket: TcpStream,
    changes: Rc<Cell<bool>>,
}

impl Read for Changing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.socket.read(buffer)?;
        // Only the content of a record. Its header is read first, alone.
        if self.changes.get() && length > 5 {
            buffer[length - 1] ^= 1;
        }
        Ok(length)
    }
}

impl Write for Changing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

#[test]
fn a_tls_alert_after_the_handshake_is_a_tls_error() {
    within(DEADLINE, || {
        let server = alerting();
        let consumer = builder(&server.tls_endpoint()).tls_connector(tls::trusting()).build().unwrap();
        for error in promptly(|| failures(&consumer)) {
            assert_dial_error(&error, ErrorKind::Tls, &server.tls_endpoint());
            assert!(error.to_string().contains("alert"), "{error}");
        }
        // A proxy does so when it gets the CONNECT.
        let proxy = Proxy::url(&format!("https://{}", server.address)).unwrap();
        let consumer = builder("ws://loggregator.invalid").proxy(proxy).tls_connector(tls::trusting()).build().unwrap();
        for error in promptly(|| failures(&consumer)) {
            assert_dial_error(&error, ErrorKind::Tls, "ws://loggregator.invalid");
            assert!(error.to_string().contains(&format!("the proxy https://{}", server.address)), "{error}");
        }
    });
}

/// The `openssl` command as a server that wants a client's certificate.
struct StrictServer {
    process: Child,
    endpoint: String,
}

impl StrictServer {
    /// `None` if there is no such command.
    fn start(version: &str) -> Option<Self> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/tls");
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-Verify", "1", "-verify_return_error", version])
            .args(["-cert", &format!("{folder}/cert.pem"), "-key", &format!("{folder}/key.pem")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.ok()?.strip_prefix("ACCEPT ")?.to_owned()));
        let server = StrictServer { process, endpoint: format!("wss://{}", address.as_deref().unwrap_or_default()) };
        // Read on, so that the server can write.
        thread::spawn(move || lines.for_each(drop));
        address.map(|_| server)
    }
}

impl Drop for StrictServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In TLS 1.3 the server checks the client's certificate after the client's side of the handshake.
#[test]
fn a_server_that_wants_a_client_certificate_is_a_tls_error() {
    for (version, text) in [("-tls1_2", "the TLS handshake with"), ("-tls1_3", "certificate required")] {
        let Some(server) = StrictServer::start(version) else {
            eprintln!("not tried: there is no openssl command of version 1.1.1 or later");
            return;
        };
        within(DEADLINE, move || {
            let consumer = builder(&server.endpoint).tls_connector(tls::trusting()).build().unwrap();
            for error in promptly(|| failures(&consumer)) {
                assert_dial_error(&error, ErrorKind::Tls, &server.endpoint);
                assert!(error.to_string().contains(text), "{version}: {error}");
            }
        });
    }
}

#[test]
fn a_tls_alert_in_a_tail_is_not_a_clean_end() {
    within(DEADLINE, || {
        let server = ScriptedServer::always(move |socket| {
            let changes = Rc::new(Cell::new(false));
            let changing = Changing { socket, changes: Rc::clone(&changes) };
            let mut stream = tls::acceptor().accept(changing).unwrap();
            let response = switching_protocols(&read_head(&mut stream));
            send(&mut stream, &[&response, &frame(BINARY, &message("hello"))]);
            // The keep-alive text, and the next one changed.
            changes.set(true);
            while stream.read(&mut [0; 1000]).is_ok() {}
            drain(stream.get_ref().socket.try_clone().unwrap());
        });
        let keep_alive = builder(&server.tls_endpoint()).keep_alive(SHORT / 10);
        let consumer = keep_alive.tls_connector(tls::trusting()).build().unwrap();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        assert_eq!(tail.next().unwrap().unwrap().text(), "hello");
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert!(error.to_string().contains("alert"), "{error}");
        assert!(matches!(tail.ending(), Some(Ending::Failed(_))), "{:?}", tail.ending());
    });
}

/// A server that runs a script on each connection and then sends a fatal alert, when it reads the client's next bytes.
fn alerting_after(script: impl Fn(&mut TlsStream<Changing>) + Send + Sync + 'static) -> ScriptedServer {
    ScriptedServer::always(move |socket| {
        let changes = Rc::new(Cell::new(false));
        let mut stream = tls::acceptor().accept(Changing { socket, changes: Rc::clone(&changes) }).unwrap();
        script(&mut stream);
        changes.set(true);
        while stream.read(&mut [0; 1000]).is_ok_and(|length| length > 0) {}
        let _ = stream.get_ref().socket.shutdown(Shutdown::Write);
        drain(stream.get_ref().socket.try_clone().unwrap());
    })
}

/// A server that sends this, and then a fatal alert, to a client that has sent only the first record of its request.
fn alerting_after_bytes(bytes: Vec<u8>) -> ScriptedServer {
    alerting_after(move |stream| {
        // A request comes in two records: its first line with the token, and the rest.
        assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
        send(stream, &[&bytes]);
    })
}

#[test]
fn a_tls_alert_in_a_body_is_a_tls_error_with_the_messages_before_it() {
    within(DEADLINE, || {
        let multipart = [head("200 OK", &[CONTENT_TYPE]), part(&message("hi")), part(&message("cut"))].concat();
        let page = br#"{"envelopes":{"batch":[{"log":{"payload":"aGk="}},"#;
        let page = [head("200 OK", &["Content-Type: application/json"]), page.to_vec()].concat();
        for (bytes, is_log_cache) in [(multipart, false), (page, true)] {
            let server = alerting_after_bytes(bytes);
            let (http, websocket) = (format!("https://{}", server.address), server.tls_endpoint());
            let builder = Builder::new().proxy(Proxy::none()).tls_connector(tls::trusting());
            let builder = if is_log_cache { builder.log_cache(&http) } else { builder.legacy(&websocket) };
            let error = promptly(|| builder.build().unwrap().recent(APP, TOKEN).unwrap_err());
            assert_eq!((error.kind(), texts(error.recovered())), (ErrorKind::Tls, vec!["hi".to_owned()]), "{error}");
            assert!(error.to_string().contains("alert"), "{error}");
        }

        // A stream of the RLP gateway.
        let event = "data: {\"batch\":[{\"log\":{\"payload\":\"aGk=\"}}]}\n\n";
        let stream = [head("200 OK", &["Content-Type: text/event-stream"]), event.into()].concat();
        let server = alerting_after_bytes(stream);
        let builder = Builder::new().proxy(Proxy::none()).tls_connector(tls::trusting());
        let consumer = builder.rlp_gateway(&format!("https://{}", server.address)).build().unwrap();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        assert_eq!(tail.next().unwrap().unwrap().text(), "hi");
        let error = promptly(|| tail.next().unwrap().unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert!(matches!(tail.ending(), Some(Ending::Failed(_))), "{:?}", tail.ending());
    });
}

#[test]
fn a_tls_alert_in_a_dump_is_a_tls_error_with_the_messages_before_it() {
    within(DEADLINE, || {
        let server = alerting_after(|stream| {
            let request = read_head(stream);
            if request.starts_with("GET /recent") {
                send(stream, &[&response("400 Bad Request", &[], b"")]);
            } else {
                // The pong is changed on its way.
                let frames = [frame(BINARY, &message("hi")), frame(PING, b"")].concat();
                send(stream, &[&switching_protocols(&request), &frames]);
            }
        });
        let consumer = builder(&server.tls_endpoint()).tls_connector(tls::trusting()).build().unwrap();
        let error = promptly(|| consumer.recent(APP, TOKEN).unwrap_err());
        assert_eq!((error.kind(), texts(error.recovered())), (ErrorKind::Tls, vec!["hi".to_owned()]), "{error}");
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
