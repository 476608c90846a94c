//! Bad responses of an API that is asked for an app by its name.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use loggregator_consumer::{Builder, Consumer, Error, ErrorKind, Proxy};

use crate::common::messages::{TOKEN, head, response};
use crate::common::{DEADLINE, Refusing, ScriptedServer, drain, hang_up, read_head, send, send_endlessly, within};
use crate::{SHORT, dribble, promptly};

/// A consumer of an API whose root is in order, and which runs this script for each other request.
fn consumer(script: impl Fn(TcpStream) + Send + Sync + 'static) -> Consumer {
    let server = ScriptedServer::always(move |mut socket| {
        if !read_head(&mut socket).starts_with("GET / ") {
            return script(socket);
        }
        send(&mut socket, &[&response("200 OK", &[], b"{\"links\":{}}")]);
        hang_up(socket);
    });
    of(&format!("http://{}", server.address))
}

fn of(api: &str) -> Consumer {
    Builder::new().api(api).proxy(Proxy::none()).connect_timeout(10 * SHORT).build().unwrap()
}

/// Returns the error of a lookup, which must be prompt.
fn error(consumer: &Consumer) -> Error {
    promptly(|| consumer.app("web", TOKEN).unwrap_err())
}

#[test]
fn a_response_that_is_no_list_is_a_bad_response() {
    within(DEADLINE, || {
        for body in ["", "null", "[]", "{}", "<html>", "{\"resources\":[{\"guid\":7}]}", "{\"resources\":[{}]}"] {
            let error = error(&consumer(move |mut socket| {
                send(&mut socket, &[&response("200 OK", &[], body.as_bytes())]);
                hang_up(socket);
            }));
            assert_eq!(error.kind(), ErrorKind::BadResponse, "{body}: {error}");
            assert!(error.to_string().contains("its response is not a list of the Cloud Controller"), "{error}");
        }
    });
}

#[test]
fn an_endless_response_is_a_bad_response() {
    within(DEADLINE, || {
        for (begin, endless) in [("", " "), ("[", "["), ("{\"resources\":[{\"name\":\"", "x")] {
            let error = error(&consumer(move |mut socket| {
                send(&mut socket, &[&head("200 OK", &[]), begin.as_bytes()]);
                send_endlessly(&mut socket, endless.repeat(10_000).as_bytes());
            }));
            assert_eq!(error.kind(), ErrorKind::BadResponse, "{begin}{endless}: {error}");
        }
    });
}

#[test]
fn an_api_that_does_not_answer_or_trickles_is_a_timeout() {
    within(DEADLINE, || {
        let trickling = |mut socket: TcpStream| {
            send(&mut socket, &[&head("200 OK", &[])]);
            dribble(&mut socket, &[b' '; 10_000]);
        };
        for consumer in [consumer(drain), consumer(trickling)] {
            let error = error(&consumer);
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            assert!(error.to_string().starts_with("asking the API http://"), "{error}");
        }
    });
}

#[test]
fn a_response_that_breaks_off_is_truncated() {
    within(DEADLINE, || {
        let error = error(&consumer(|mut socket| {
            send(&mut socket, &[&head("200 OK", &["Content-Length: 100"]), b"{\"resources\":["]);
            hang_up(socket);
        }));
        assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    });
}

#[test]
fn an_api_that_cannot_be_reached_is_an_error_that_names_it() {
    within(DEADLINE, || {
        let nobody = Refusing::start();
        let api = format!("http://{}", nobody.address);
        let error = error(&of(&api));
        assert_eq!(error.kind(), ErrorKind::Dial, "{error}");
        assert!(error.to_string().contains(&api), "{error}");
    });
}

#[test]
fn a_close_interrupts_a_lookup() {
    within(DEADLINE, || {
        let (asked, is_asked) = std::sync::mpsc::channel();
        let consumer = Arc::new(consumer(move |socket| {
            asked.send(()).unwrap();
            drain(socket);
        }));
        let call = thread::spawn({
            let consumer = Arc::clone(&consumer);
            move || consumer.app("web", TOKEN).unwrap_err()
        });
        is_asked.recv().unwrap();
        consumer.close().unwrap();
        assert_eq!(promptly(|| call.join().unwrap()).kind(), ErrorKind::Closed);
    });
}
