//! Every kind of request, made to the same bad server.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use loggregator_consumer::{Builder, Error, ErrorKind, Proxy, TokenSource, Uaa};

use crate::common::messages::{APP, CONTENT_TYPE, TOKEN, chunk, head, message, multipart, part, response, texts};
use crate::common::{DEADLINE, ScriptedServer, Untouched, hang_up, header, read_head, send, send_endlessly, within};
use crate::{SHORT, dribble, promptly};

/// The timeouts of each request: long enough to detect a flood on a busy machine.
const LIMIT: Duration = SHORT.saturating_mul(8);

/// A kind of request, and a function that makes it to the server at an address and returns its error.
#[derive(Clone, Copy)]
struct Request {
    name: &'static str,
    /// The Content-Type of a good response.
    content_type: &'static str,
    fail: fn(Builder, SocketAddr) -> Error,
}

const EVENTS: &str = "Content-Type: text/event-stream";
const JSON: &str = "Content-Type: application/json";

/// Requests over plain HTTP.
const OVER_HTTP: [Request; 6] = [
    Request { name: "legacy recent", content_type: CONTENT_TYPE, fail: |builder, at| recent(builder.legacy(&ws(at))) },
    Request {
        name: "Doppler's recent",
        content_type: CONTENT_TYPE,
        fail: |builder, at| recent(builder.doppler(&ws(at))),
    },
    Request { name: "Log Cache", content_type: JSON, fail: |builder, at| recent(builder.log_cache(&http(at))) },
    Request { name: "the RLP gateway", content_type: EVENTS, fail: |builder, at| tail(builder.rlp_gateway(&http(at))) },
    Request { name: "discovery", content_type: JSON, fail: |builder, at| tail(builder.api(&http(at))) },
    Request { name: "the UAA", content_type: JSON, fail: |builder, at| renewal(builder, at) },
];

/// Requests that switch protocols: the websocket handshakes, and CONNECT.
const HANDSHAKES: [Request; 3] = [
    Request { name: "a legacy tail", content_type: CONTENT_TYPE, fail: |builder, at| tail(builder.legacy(&ws(at))) },
    Request { name: "Doppler's tail", content_type: CONTENT_TYPE, fail: |builder, at| tail(builder.doppler(&ws(at))) },
    Request {
        name: "CONNECT",
        content_type: CONTENT_TYPE,
        fail: |builder, at| tail(builder.legacy("ws://server.invalid").proxy(Proxy::url(&http(at)).unwrap())),
    },
];

fn ws(address: SocketAddr) -> String {
    format!("ws://{address}")
}

fn http(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Returns the error of a tail, from the call or from an item.
fn tail(builder: Builder) -> Error {
    match builder.build().unwrap().tail(APP, TOKEN) {
        Ok(mut tail) => tail.find_map(Result::err).expect("an end that is not clean"),
        Err(error) => error,
    }
}

fn recent(builder: Builder) -> Error {
    builder.build().unwrap().recent(APP, TOKEN).unwrap_err()
}

/// Returns the error of a token renewal, which comes before any other request.
fn renewal(builder: Builder, uaa: SocketAddr) -> Error {
    let uaa = Uaa::new(&http(uaa)).refresh_token("a-refresh-token").timeout(LIMIT);
    let consumer = builder.doppler("ws://server.invalid").tokens(TokenSource::uaa(uaa).unwrap()).build().unwrap();
    consumer.tail(APP, "").unwrap_err()
}

/// Makes all of the requests concurrently to a server that runs this script on every connection. They must fail
/// promptly, and pass `check`.
fn each_fails(
    requests: impl IntoIterator<Item = Request>,
    script: impl Fn(Request, TcpStream) + Send + Sync + Copy + 'static,
    check: impl Fn(&str, Error) + Send + Copy + 'static,
) {
    let attempts: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let server = ScriptedServer::always(move |socket| script(request, socket));
            thread::spawn(move || {
                let builder = Builder::new().proxy(Proxy::none()).connect_timeout(LIMIT);
                let builder = builder.read_timeout(LIMIT).idle_timeout(LIMIT);
                check(request.name, promptly(|| (request.fail)(builder, server.address)));
            })
        })
        .collect();
    within(DEADLINE, || attempts.into_iter().for_each(|attempt| attempt.join().unwrap()));
}

fn all() -> impl Iterator<Item = Request> {
    OVER_HTTP.into_iter().chain(HANDSHAKES)
}

/// Responds with a good head, and then runs `then`.
fn after_the_head(request: Request, mut socket: TcpStream, headers: &[&str], then: impl FnOnce(&mut TcpStream)) {
    read_head(&mut socket);
    send(&mut socket, &[&head("200 OK", &[&[request.content_type], headers].concat())]);
    then(&mut socket);
}

#[test]
fn an_endless_head_is_refused() {
    for endless in [&b"X-Header: value\r\n"[..], b"x", b"\r"] {
        each_fails(
            all(),
            move |_, mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[b"HTTP/1.1 200 OK\r\n"]);
                send_endlessly(&mut socket, &endless.repeat(1000));
            },
            |name, error| {
                let kind = if name == "CONNECT" { ErrorKind::Proxy } else { ErrorKind::BadResponse };
                assert_eq!(error.kind(), kind, "{name}: {error}");
            },
        );
    }
}

#[test]
fn a_head_that_trickles_in_is_a_timeout() {
    each_fails(
        all(),
        |_, mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[b"HTTP/1.1 200 OK\r\n"]);
            dribble(&mut socket, &b"X-Header: value\r\n".repeat(10_000));
        },
        |name, error| assert_eq!(error.kind(), ErrorKind::Timeout, "{name}: {error}"),
    );
}

#[test]
fn endless_interim_responses_are_an_error_within_the_connect_timeout() {
    each_fails(
        all(),
        |_, mut socket| {
            read_head(&mut socket);
            send_endlessly(&mut socket, b"HTTP/1.1 100 Continue\r\n\r\n");
        },
        |name, error| {
            let kinds = [ErrorKind::BadResponse, ErrorKind::Timeout, ErrorKind::Proxy];
            assert!(kinds.contains(&error.kind()), "{name}: {error:?}");
        },
    );
}

/// The last response says what the caller sees, whatever the request. (A UAA's is read in `auth`.)
#[test]
fn an_error_response_is_found_behind_interim_responses() {
    each_fails(
        all().filter(|request| request.name != "the UAA"),
        |_, mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"]);
            send(&mut socket, &[&response("500 Oh", &[], b"this is why")]);
            hang_up(socket);
        },
        |name, error| match name {
            "CONNECT" => assert!(error.to_string().contains("the proxy answered 500 Oh"), "{error}"),
            _ => assert_eq!((error.status(), error.body()), (Some(500), Some("this is why")), "{name}: {error}"),
        },
    );
}

/// Without it, "any content coding is considered acceptable by the user agent" (RFC 9110, section 12.5.3).
#[test]
fn a_server_is_asked_not_to_compress() {
    each_fails(
        all().filter(|request| !["the UAA", "CONNECT"].contains(&request.name)),
        |_, mut socket| {
            let request = read_head(&mut socket);
            let status = if header(&request, "accept-encoding") == Some("identity") { "503 X" } else { "500 X" };
            send(&mut socket, &[&response(status, &[], b"")]);
            hang_up(socket);
        },
        |name, error| assert_eq!(error.status(), Some(503), "{name}: {error}"),
    );
}

#[test]
fn a_redirect_to_another_host_is_not_followed_and_does_not_leak_the_token() {
    for status in ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent"] {
        let other = Untouched::start();
        // Leaked because the scripts must be `Copy`, which a `String` is not.
        let location: &'static str = format!("Location: http://{}/", other.address()).leak();
        each_fails(
            all(),
            move |_, mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[&response(status, &[location], b"over there")]);
                hang_up(socket);
            },
            move |name, error| match name {
                "CONNECT" => assert_eq!(error.kind(), ErrorKind::Proxy, "{error}"),
                _ => {
                    assert_eq!(error.kind(), ErrorKind::BadResponse, "{name}: {error}");
                    assert_eq!(error.status(), status[..3].parse().ok(), "{name}");
                }
            },
        );
        other.assert_untouched();
    }
}

#[test]
fn a_head_with_invalid_utf8_is_an_error() {
    const HEADS: [&[u8]; 4] = [
        b"HTTP/1.1 500 \xff\xfe\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\nX-Header: \xff\r\nContent-Encoding: \xfe\r\n\r\nno \xff",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\n\xff: x\r\n\r\n",
    ];
    for bytes in HEADS {
        each_fails(
            all(),
            move |_, mut socket| {
                read_head(&mut socket);
                send(&mut socket, &[bytes]);
                hang_up(socket);
            },
            |name, error| {
                let kinds = [ErrorKind::ServerError, ErrorKind::BadResponse, ErrorKind::Proxy];
                assert!(kinds.contains(&error.kind()), "{name}: {error:?}");
            },
        );
    }
}

#[test]
fn an_endless_error_body_is_cut() {
    each_fails(
        all(),
        |_, mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[&head("500 Internal Server Error", &[])]);
            send_endlessly(&mut socket, &[b'x'; 1000]);
        },
        |name, error| match name {
            // The body of a proxy's response is not read.
            "CONNECT" => assert_eq!(error.kind(), ErrorKind::Proxy, "{error}"),
            _ => {
                assert_eq!(error.kind(), ErrorKind::ServerError, "{name}: {error:.200}");
                assert!((1..=64 * 1024).contains(&error.body().unwrap().len()), "{name}");
            }
        },
    );
}

/// There is no decoder, so a small response cannot expand into a large one. But a compressed body must not be taken for
/// a plain one, either.
#[test]
fn a_compressed_response_is_refused() {
    const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x4c\x4a\x06\0\xc2\x41\x24\x35\x03\0\0\0";
    for coding in ["Content-Encoding: gzip", "content-encoding: br", "Transfer-Encoding: gzip, chunked"] {
        each_fails(
            OVER_HTTP,
            move |request, socket| {
                after_the_head(request, socket, &[coding], |socket| {
                    send_endlessly(socket, &[b"17\r\n", GZIP, b"\r\n"].concat());
                })
            },
            move |name, error| {
                assert_eq!(error.kind(), ErrorKind::BadResponse, "{name}: {error}");
                let coding = coding.split([' ', ',']).nth(1).unwrap();
                assert!(error.to_string().contains(&format!("encoded ({coding})")), "{name}: {error}");
            },
        );
    }
}

#[test]
fn a_compressed_error_body_is_left_out() {
    each_fails(
        all(),
        |_, mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[&response("500 Oh", &["Content-Encoding: gzip"], b"\x1f\x8b\x08 not for the eye")]);
            hang_up(socket);
        },
        |name, error| {
            assert!(!error.to_string().contains("eye"), "{name}: {error}");
            if name != "CONNECT" {
                assert_eq!((error.kind(), error.body()), (ErrorKind::ServerError, Some("")), "{name}");
            }
        },
    );
}

#[test]
fn malformed_chunks_are_an_error() {
    for no_chunk in [
        &b"no size\r\n"[..],
        b"-1\r\n",
        b"0x5\r\nhello\r\n",
        b"fffffffffffffffff\r\n",
        b"ffffffffffffffff\r\nhello",
        b"1\r\nxyz\r\n",
        b"\r\n\r\n",
        b";\r\n",
    ] {
        each_fails(
            OVER_HTTP,
            move |request, socket| {
                after_the_head(request, socket, &["Transfer-Encoding: chunked"], |socket| {
                    send(socket, &[no_chunk]);
                    hang_up(socket.try_clone().unwrap());
                })
            },
            assert_ends_badly,
        );
    }
}

#[test]
fn long_chunk_extensions_and_trailers_are_accepted() {
    within(DEADLINE, || {
        let extension = format!(";a;name=\"{}\"", "value; ".repeat(1000));
        let chunks = |content: &[u8]| {
            let chunks = content
                .chunks(7)
                .map(|chunk| [format!("{:x}{extension}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            let end = format!("000{extension}\r\nExpires: never\r\n{}\r\n", "Long: trailer\r\n".repeat(1000));
            [chunks.collect::<Vec<_>>().concat(), end.into_bytes()].concat()
        };
        let head = |content_type| head("200 OK", &[content_type, "Transfer-Encoding: chunked"]);
        let server = ScriptedServer::responding([head(CONTENT_TYPE), chunks(&multipart(&["one", "two"]))].concat());
        let consumer = Builder::new().legacy(&ws(server.address)).proxy(Proxy::none()).build().unwrap();
        assert_eq!(texts(&consumer.recent(APP, TOKEN).unwrap()), ["one", "two"]);

        let server = ScriptedServer::responding([head(JSON), chunks(br#"{"envelopes":{"batch":[]}}"#)].concat());
        let consumer = Builder::new().log_cache(&http(server.address)).proxy(Proxy::none()).build().unwrap();
        assert_eq!(consumer.recent(APP, TOKEN).unwrap(), []);
    });
}

#[test]
fn messages_before_a_chunk_extension_that_is_too_long_are_recovered() {
    within(DEADLINE, || {
        let body = [part(&message("one")), part(&message("two"))].concat();
        let response = [head("200 OK", &[CONTENT_TYPE, "Transfer-Encoding: chunked"]), chunk(&body)].concat();
        let server = ScriptedServer::responding([response, b"1;".to_vec(), vec![b'x'; 20_000]].concat());
        let consumer = Builder::new().legacy(&ws(server.address)).proxy(Proxy::none()).build().unwrap();
        let error = consumer.recent(APP, TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
        assert!(error.to_string().contains("the extensions of a chunk are longer than 16384 bytes"), "{error}");
        assert_eq!(texts(error.recovered()), ["one"]);
    });
}

#[test]
fn an_endless_chunk_size_is_an_error() {
    for endless in ["0", "f", " ", ";", "5;name=value", "0;", "0\r\nA: b\r\nC: d"] {
        each_fails(
            OVER_HTTP,
            move |request, socket| {
                after_the_head(request, socket, &["Transfer-Encoding: chunked"], |socket| {
                    send_endlessly(socket, &endless.repeat(1000).into_bytes());
                })
            },
            assert_ends_badly,
        );
    }
}

fn assert_ends_badly(name: &str, error: Error) {
    let kinds = [ErrorKind::BadResponse, ErrorKind::Truncated, ErrorKind::ConnectionLost, ErrorKind::Timeout];
    assert!(kinds.contains(&error.kind()), "{name}: {error:?}");
}
