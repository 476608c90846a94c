//! Connections to a server over real sockets: through `http://` and `https://` proxies, over TLS and plain TCP, by name
//! and by address.

mod common;

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::messages::{APP, TOKEN, message, recent_response, texts};
use common::proxy::ConnectProxy;
use common::{
    BINARY, DEADLINE, ScriptedServer, assert_dial_error, builder, close_frame, drain, failures, frame, header,
    read_head, send, switching_protocols, tls, within,
};
use loggregator_consumer::{Builder, Consumer, ErrorKind, Proxy};

/// Returns the response of a good server to a request.
fn good_response(request: &str) -> Vec<u8> {
    assert_eq!(header(request, "authorization"), Some(TOKEN));
    if request.starts_with("GET /tail/") {
        [switching_protocols(request), frame(BINARY, &message("live")), close_frame()].concat()
    } else {
        recent_response(&["recent"])
    }
}

fn plain_server() -> ScriptedServer {
    plain_server_at("127.0.0.1:0".parse().unwrap())
}

fn plain_server_at(address: SocketAddr) -> ScriptedServer {
    ScriptedServer::always_at(address, |mut socket| {
        let request = read_head(&mut socket);
        send(&mut socket, &[&good_response(&request)]);
        drain(socket);
    })
}

fn tls_server() -> ScriptedServer {
    ScriptedServer::always(|socket| {
        if let Some(mut stream) = tls::accept(socket) {
            let request = read_head(&mut stream);
            send(&mut stream, &[&good_response(&request)]);
            drain(stream.get_ref().try_clone().unwrap());
        }
    })
}

/// Asserts that a tail and a call of `recent` get the messages of the good server.
#[track_caller]
fn assert_works(builder: Builder) {
    let consumer = builder.tls_connector(tls::trusting()).build().unwrap();
    let live: Vec<_> = consumer.tail(APP, TOKEN).unwrap().map(Result::unwrap).collect();
    assert_eq!(texts(&live), ["live"]);
    assert_eq!(texts(&consumer.recent(APP, TOKEN).unwrap()), ["recent"]);
}

/// Asserts that both calls asked the proxy for a tunnel to this target, and sent it nothing that is for the server.
fn assert_tunnels(proxy: &ConnectProxy, target: impl std::fmt::Display) {
    for _ in 0..2 {
        let request = proxy.request();
        assert_eq!(request.lines().next(), Some(&*format!("CONNECT {target} HTTP/1.1")));
        assert_eq!(header(&request, "host"), Some(&*target.to_string()));
        assert_eq!(header(&request, "authorization"), None);
        assert!(!request.contains(APP) && !request.contains(TOKEN), "{request}");
    }
    assert!(proxy.has_no_more_requests());
}

#[test]
fn a_plain_server_through_an_http_proxy() {
    within(DEADLINE, || {
        let (server, proxy) = (plain_server(), ConnectProxy::plain());
        assert_works(builder(&server.endpoint()).proxy(Proxy::url(&proxy.url()).unwrap()));
        assert_tunnels(&proxy, server.address);
    });
}

#[test]
fn a_plain_server_through_an_https_proxy() {
    within(DEADLINE, || {
        let (server, proxy) = (plain_server(), ConnectProxy::tls());
        assert_works(builder(&server.endpoint()).proxy(Proxy::url(&proxy.url()).unwrap()));
        assert_tunnels(&proxy, server.address);
    });
}

#[test]
fn a_tls_server_through_an_http_proxy() {
    within(DEADLINE, || {
        let (server, proxy) = (tls_server(), ConnectProxy::plain());
        assert_works(builder(&server.tls_endpoint()).proxy(Proxy::url(&proxy.url()).unwrap()));
        assert_tunnels(&proxy, server.address);
    });
}

#[test]
fn a_tls_server_through_an_https_proxy_is_tls_in_tls() {
    within(DEADLINE, || {
        let (server, proxy) = (tls_server(), ConnectProxy::tls());
        assert_works(builder(&server.tls_endpoint()).proxy(Proxy::url(&proxy.url()).unwrap()));
        assert_tunnels(&proxy, server.address);
    });
}

#[test]
fn the_certificate_of_an_https_proxy_is_verified() {
    within(DEADLINE, || {
        let (server, proxy) = (plain_server(), ConnectProxy::tls());
        let consumer = builder(&server.endpoint()).proxy(Proxy::url(&proxy.url()).unwrap()).build().unwrap();
        for error in failures(&consumer) {
            assert_dial_error(&error, ErrorKind::Tls, &server.endpoint());
            assert!(error.to_string().contains(&proxy.url()), "{error}");
        }
        assert!(proxy.has_no_more_requests());
    });
}

#[test]
fn the_credentials_of_a_fixed_proxy_are_sent() {
    within(DEADLINE, || {
        for (credentials, plain) in
            [("user:hunter2", "user:hunter2"), ("user:p%40ss%2Fword", "user:p@ss/word"), ("u", "u:")]
        {
            let (server, proxy) = (plain_server(), ConnectProxy::plain());
            let url = format!("http://{credentials}@{}", proxy.address);
            assert_works(builder(&server.endpoint()).proxy(Proxy::url(&url).unwrap()));
            for _ in 0..2 {
                let expected = format!("Basic {}", BASE64_STANDARD.encode(plain));
                assert_eq!(header(&proxy.request(), "proxy-authorization"), Some(&*expected));
            }
        }
    });
}

#[test]
fn a_proxy_without_credentials_gets_none() {
    within(DEADLINE, || {
        let (server, proxy) = (plain_server(), ConnectProxy::plain());
        assert_works(builder(&server.endpoint()).proxy(Proxy::url(&proxy.url()).unwrap()));
        assert_eq!(header(&proxy.request(), "proxy-authorization"), None);
    });
}

#[test]
fn a_function_is_asked_for_the_proxy_of_each_connection() {
    within(DEADLINE, || {
        let (server, proxy) = (plain_server(), ConnectProxy::plain());
        let (asked, targets) = mpsc::channel();
        let url = format!("http://user:hunter2@{}", proxy.address);
        let function = Proxy::custom(move |target| {
            asked.send(target.to_string()).unwrap();
            Ok(Some(url.parse()?))
        });
        assert_works(builder(&server.endpoint()).proxy(function));
        assert_eq!(
            targets.iter().collect::<Vec<_>>(),
            [format!("http://{}/", server.address), format!("http://{}/", server.address)]
        );
        let expected = format!("Basic {}", BASE64_STANDARD.encode("user:hunter2"));
        assert_eq!(header(&proxy.request(), "proxy-authorization"), Some(&*expected));
    });
}

#[test]
fn a_function_that_returns_no_proxy_connects_directly() {
    within(DEADLINE, || {
        let server = tls_server();
        let (asked, targets) = mpsc::channel();
        let function = Proxy::custom(move |target| {
            asked.send(target.to_string()).unwrap();
            Ok(None)
        });
        assert_works(builder(&server.tls_endpoint()).proxy(function));
        assert_eq!(targets.recv().unwrap(), format!("https://{}/", server.address));
    });
}

#[test]
fn the_proxy_resolves_the_name() {
    within(DEADLINE, || {
        // The name cannot be resolved locally.
        let server = plain_server();
        let proxy = ConnectProxy::leading_to(server.address);
        assert_works(builder("ws://loggregator.invalid").proxy(Proxy::url(&proxy.url()).unwrap()));
        assert_tunnels(&proxy, "loggregator.invalid:80");
    });
}

#[test]
fn a_certificate_must_have_the_name_of_the_server_and_not_of_the_proxy() {
    within(DEADLINE, || {
        let server = tls_server();
        let proxy = ConnectProxy::leading_to(server.address);
        let through = |endpoint| builder(endpoint).proxy(Proxy::url(&proxy.url()).unwrap());
        assert_works(through("wss://localhost:4443"));
        assert_tunnels(&proxy, "localhost:4443");
        let other = through("wss://loggregator.invalid").tls_connector(tls::trusting()).build().unwrap();
        for error in failures(&other) {
            assert_dial_error(&error, ErrorKind::Tls, "wss://loggregator.invalid");
        }
    });
}

#[test]
fn a_name_with_a_dot_at_its_end_is_dialled_with_it_and_verified_without_it() {
    within(DEADLINE, || {
        let server = tls_server();
        let proxy = ConnectProxy::leading_to(server.address);
        assert_works(builder("wss://localhost.:4443").proxy(Proxy::url(&proxy.url()).unwrap()));
        assert_tunnels(&proxy, "localhost.:4443");
    });
}

#[test]
fn the_zone_of_an_ipv6_address_selects_the_interface_and_is_not_sent() {
    // The first interface is the loopback interface.
    let loopback = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 1).into();
    if !cfg!(target_os = "linux") || TcpListener::bind::<SocketAddr>(loopback).is_err() {
        eprintln!("not tried: this machine has no IPv6");
        return;
    }
    within(DEADLINE, move || {
        let (hosts, sent) = mpsc::channel();
        let server = ScriptedServer::always_at("[::1]:0".parse().unwrap(), move |socket| {
            if let Some(mut stream) = tls::accept(socket) {
                let request = read_head(&mut stream);
                hosts.send(header(&request, "host").unwrap().to_owned()).unwrap();
                send(&mut stream, &[&good_response(&request)]);
                drain(stream.get_ref().try_clone().unwrap());
            }
        });
        for zone in ["%251", "%1"] {
            assert_works(builder(&format!("wss://[::1{zone}]:{}", server.address.port())));
            for _ in 0..2 {
                assert_eq!(sent.recv().unwrap(), format!("[::1]:{}", server.address.port()));
            }
        }
        let unknown = builder(&format!("wss://[::1%25no-such-interface]:{}", server.address.port()));
        for error in failures(&unknown.build().unwrap()) {
            assert_dial_error(&error, ErrorKind::Dial, "wss://[::1]");
            assert!(error.to_string().contains("resolving ::1%no-such-interface"), "{error}");
        }
    });
}

#[test]
fn an_unusual_but_valid_response_to_connect_is_accepted() {
    within(DEADLINE, || {
        for response in [
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 201 Whatever\r\nContent-Length: 100\r\n\r\n",
            "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            // The proxy is also the server: it responds on the same connection.
            let server = ScriptedServer::always(|mut socket| {
                assert!(read_head(&mut socket).starts_with("CONNECT loggregator.invalid:80 "));
                response.bytes().for_each(|byte| send(&mut socket, &[&[byte]]));
                let request = read_head(&mut socket);
                send(&mut socket, &[&good_response(&request)]);
                drain(socket);
            });
            let proxy = Proxy::url(&format!("http://{}", server.address)).unwrap();
            assert_works(builder("ws://loggregator.invalid").proxy(proxy));
        }
    });
}

/// Returns the result of a call if the consumer is closed while the call waits for a proxy.
fn close_while<T: Send + 'static>(call: fn(&Consumer) -> T) -> T {
    let (connected, has_connected) = mpsc::channel();
    let silent = ScriptedServer::start(vec![Box::new(move |mut socket| {
        read_head(&mut socket);
        connected.send(()).unwrap();
        drain(socket);
    })]);
    let proxy = Proxy::url(&format!("http://{}", silent.address)).unwrap();
    let consumer = builder("ws://loggregator.invalid").proxy(proxy).build().unwrap();
    let other = consumer.clone();
    let caller = thread::spawn(move || call(&other));
    has_connected.recv().unwrap();
    let begin = Instant::now();
    consumer.close().unwrap();
    let result = caller.join().unwrap();
    assert!(begin.elapsed() < DEADLINE / 4, "{:?}", begin.elapsed());
    result
}

#[test]
fn a_close_interrupts_the_wait_for_a_proxy() {
    within(DEADLINE, || {
        let error = close_while(|consumer| consumer.tail(APP, TOKEN).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Closed);
        let error = close_while(|consumer| consumer.recent(APP, TOKEN).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Closed);
    });
}

#[test]
fn an_ipv6_address_is_reached_directly_and_through_a_proxy() {
    let address: SocketAddr = "[::1]:0".parse().unwrap();
    if TcpListener::bind(address).is_err() {
        eprintln!("not tried: this machine has no IPv6");
        return;
    }
    within(DEADLINE, move || {
        let server = plain_server_at(address);
        let endpoint = format!("ws://[::1]:{}", server.address.port());
        assert_works(builder(&endpoint));
        let proxy = ConnectProxy::plain();
        assert_works(builder(&endpoint).proxy(Proxy::url(&proxy.url()).unwrap()));
        assert_tunnels(&proxy, format!("[::1]:{}", server.address.port()));
    });
}

#[test]
fn all_addresses_of_a_name_are_tried() {
    within(DEADLINE, || {
        // On many machines this name has two addresses. The server is at the last one.
        let address = ("localhost", 0).to_socket_addrs().unwrap().last().unwrap();
        let server = plain_server_at(address);
        assert_works(builder(&format!("ws://localhost:{}", server.address.port())));
    });
}
