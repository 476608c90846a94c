//! Connections to a server over real sockets: through proxies of each kind, over TLS and plain TCP, by name and by
//! address.

mod common;

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, ToSocketAddrs};
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;
use std::{env, thread};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::messages::{APP, TOKEN, message, recent_response, texts};
use common::proxy::ConnectProxy;
use common::socks5::{self, Socks5Proxy, Socks5Request, Target};
use common::{
    BINARY, DEADLINE, ScriptedServer, assert_dial_error, builder, close_frame, drain, failures, frame, header,
    read_head, send, switching_protocols, tls, within,
};
use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, Consumer, ErrorKind, Proxy, TokenSource, Uaa};

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

/// Reads what a client sends to a proxy until it waits.
type Asked = fn(&mut TcpStream);

/// Returns the result of a call if the consumer is closed while the call waits for this proxy.
fn close_while<T: Send + 'static>(call: fn(&Consumer) -> T, scheme: &str, asked: Asked) -> T {
    let (connected, has_connected) = mpsc::channel();
    let silent = ScriptedServer::start(vec![Box::new(move |mut socket| {
        asked(&mut socket);
        connected.send(()).unwrap();
        drain(socket);
    })]);
    let proxy = Proxy::url(&format!("{scheme}://user:hunter2@{}", silent.address)).unwrap();
    let consumer = builder("ws://10.0.0.1").proxy(proxy).build().unwrap();
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
    let by_socks5 = |socket: &mut TcpStream| {
        assert_eq!(socks5::read_greeting(socket), [socks5::NO_LOGIN, socks5::LOGIN]);
    };
    let at_the_login = |socket: &mut TcpStream| {
        socks5::read_greeting(socket);
        send(socket, &[&[5, socks5::LOGIN]]);
        socks5::read_login(socket);
    };
    let at_the_request = |socket: &mut TcpStream| {
        socks5::read_greeting(socket);
        send(socket, &[&[5, socks5::NO_LOGIN]]);
        socks5::read_target(socket);
    };
    let states: [(&str, Asked); 6] = [
        ("http", |socket| _ = read_head(socket)),
        ("socks5h", by_socks5),
        ("socks5h", at_the_login),
        ("socks5h", at_the_request),
        ("socks5", by_socks5),
        ("socks5", at_the_request),
    ];
    within(DEADLINE, move || {
        for (scheme, asked) in states {
            let error = close_while(|consumer| consumer.tail(APP, TOKEN).unwrap_err(), scheme, asked);
            assert_eq!(error.kind(), ErrorKind::Closed);
            let error = close_while(|consumer| consumer.recent(APP, TOKEN).unwrap_err(), scheme, asked);
            assert_eq!(error.kind(), ErrorKind::Closed);
        }
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

/// Asserts that both calls asked the proxy for a tunnel to this target.
fn assert_socks5_tunnels(proxy: &Socks5Proxy, login: Option<(&[u8], &[u8])>, target: &Target) {
    for _ in 0..2 {
        let methods = if login.is_some() { vec![socks5::NO_LOGIN, socks5::LOGIN] } else { vec![socks5::NO_LOGIN] };
        let login = login.map(|(user, password)| (user.to_vec(), password.to_vec()));
        assert_eq!(proxy.request(), Socks5Request { methods, login, target: target.clone() });
    }
    assert!(proxy.has_no_more_requests());
}

fn socks5_url(scheme: &str, proxy: &Socks5Proxy) -> Proxy {
    Proxy::url(&format!("{scheme}://{}", proxy.address)).unwrap()
}

#[test]
fn a_server_through_a_socks5_proxy() {
    within(DEADLINE, || {
        for scheme in ["socks5", "socks5h"] {
            let (server, proxy) = (plain_server(), Socks5Proxy::start());
            assert_works(builder(&server.endpoint()).proxy(socks5_url(scheme, &proxy)));
            assert_socks5_tunnels(&proxy, None, &Target::Address(server.address));

            let (server, proxy) = (tls_server(), Socks5Proxy::start());
            assert_works(builder(&server.tls_endpoint()).proxy(socks5_url(scheme, &proxy)));
            assert_socks5_tunnels(&proxy, None, &Target::Address(server.address));
        }
    });
}

#[test]
fn socks5h_resolves_the_name_at_the_proxy_and_socks5_on_this_side() {
    within(DEADLINE, || {
        // The name cannot be resolved locally.
        let server = plain_server();
        let proxy = Socks5Proxy::leading_to(server.address);
        assert_works(builder("ws://loggregator.invalid").proxy(socks5_url("socks5h", &proxy)));
        assert_socks5_tunnels(&proxy, None, &Target::Name("loggregator.invalid".into(), 80));
        let consumer = builder("ws://loggregator.invalid").proxy(socks5_url("socks5", &proxy)).build().unwrap();
        for error in failures(&consumer) {
            assert_dial_error(&error, ErrorKind::Dial, "ws://loggregator.invalid");
            let text = error.to_string();
            assert!(text.contains("resolving loggregator.invalid") && text.contains("socks5h://"), "{text}");
        }
        assert!(proxy.has_no_more_requests());

        assert_works(builder("ws://localhost:4443").proxy(socks5_url("socks5", &proxy)));
        let first = ("localhost", 4443).to_socket_addrs().unwrap().next().unwrap();
        assert_socks5_tunnels(&proxy, None, &Target::Address(first));
    });
}

#[test]
fn a_certificate_must_have_the_name_of_the_server_and_not_of_the_socks5_proxy() {
    within(DEADLINE, || {
        let server = tls_server();
        let proxy = Socks5Proxy::leading_to(server.address);
        assert_works(builder("wss://localhost.:4443").proxy(socks5_url("socks5h", &proxy)));
        assert_socks5_tunnels(&proxy, None, &Target::Name("localhost.".into(), 4443));
        let other = builder("wss://loggregator.invalid").proxy(socks5_url("socks5h", &proxy));
        for error in failures(&other.tls_connector(tls::trusting()).build().unwrap()) {
            assert_dial_error(&error, ErrorKind::Tls, "wss://loggregator.invalid");
        }
    });
}

#[test]
fn the_user_and_the_password_are_sent_to_a_socks5_proxy() {
    within(DEADLINE, || {
        for (credentials, user, password) in [
            ("user:hunter2", &b"user"[..], &b"hunter2"[..]),
            ("us%3Aer:p%40ss%2Fw%C3%B6rd:%00%FF", b"us:er", b"p@ss/w\xc3\xb6rd:\0\xff"),
            ("user", b"user", b""),
        ] {
            let (server, proxy) = (plain_server(), Socks5Proxy::requiring(user, password));
            let url = format!("socks5h://{credentials}@{}", proxy.address);
            assert_works(builder(&server.endpoint()).proxy(Proxy::url(&url).unwrap()));
            assert_socks5_tunnels(&proxy, Some((user, password)), &Target::Address(server.address));
            let function = Proxy::custom(move |_| Ok(Some(url.parse()?)));
            assert_works(builder(&server.endpoint()).proxy(function));
            assert_socks5_tunnels(&proxy, Some((user, password)), &Target::Address(server.address));
        }
    });
}

#[test]
fn an_unusual_but_valid_handshake_of_socks5_is_accepted() {
    let name = [&[5, 0, 0, 3, 255][..], &[b'x'; 255], &[0, 80]].concat();
    let replies = [vec![5, 0, 0, 3, 0, 0, 80], name, [&[5, 0, 0, 4][..], &[0; 18]].concat()];
    within(DEADLINE, move || {
        for reply in replies {
            // The proxy is also the server: it responds on the same connection. It sends each byte alone.
            let server = ScriptedServer::always(move |mut socket| {
                let mut dribble = |bytes: &[u8]| bytes.iter().for_each(|byte| send(&mut socket, &[&[*byte]]));
                dribble(&[5, socks5::NO_LOGIN]);
                dribble(&reply);
                socks5::read_greeting(&mut socket);
                socks5::read_target(&mut socket);
                let request = read_head(&mut socket);
                send(&mut socket, &[&good_response(&request)]);
                drain(socket);
            });
            let proxy = Proxy::url(&format!("socks5h://user:x@{}", server.address)).unwrap();
            assert_works(builder("ws://loggregator.invalid").proxy(proxy));
        }
    });
}

#[test]
fn an_ipv6_address_is_reached_through_a_socks5_proxy() {
    let address: SocketAddr = "[::1]:0".parse().unwrap();
    if TcpListener::bind(address).is_err() {
        eprintln!("not tried: this machine has no IPv6");
        return;
    }
    within(DEADLINE, move || {
        let server = plain_server_at(address);
        for scheme in ["socks5", "socks5h"] {
            let proxy = Socks5Proxy::start();
            let endpoint = format!("ws://[::1]:{}", server.address.port());
            assert_works(builder(&endpoint).proxy(socks5_url(scheme, &proxy)));
            assert_socks5_tunnels(&proxy, None, &Target::Address(server.address));
        }
    });
}

#[test]
fn a_whole_foundation_through_a_socks5_proxy() {
    within(DEADLINE, || {
        for tls in [false, true] {
            let foundation = TrafficController::builder().generation(Generation::Today).tokens([""; 0]);
            let foundation = if tls { foundation.tls() } else { foundation }.start().unwrap();
            let proxy = Socks5Proxy::requiring("user", "hunter2");
            let uaa = Uaa::new(&foundation.api()).refresh_token(&foundation.issue_refresh_token());
            let consumer = Builder::new()
                .api(&foundation.api())
                .tokens(TokenSource::uaa(uaa).unwrap())
                .proxy(Proxy::url(&format!("socks5h://user:hunter2@{}", proxy.address)).unwrap())
                .tls_connector(tls::trusting())
                .build()
                .unwrap();
            let address = foundation.api().split_once("://").unwrap().1.parse().unwrap();
            let assert_tunnels = |call: &str, count| {
                for _ in 0..count {
                    assert_eq!(proxy.request().target, Target::Address(address), "{call}");
                }
            };
            consumer.tail_choice().unwrap();
            assert_tunnels("the API", 1);
            let tail = consumer.tail(APP, "").unwrap();
            assert_tunnels("the tail and its token", 2);
            assert_eq!(consumer.recent(APP, "").unwrap(), []);
            assert_tunnels("the recent messages", 1);
            let follow = consumer.follow(APP, "").unwrap();
            assert_tunnels("follow", 1);
            drop((tail, follow));
            assert_eq!(foundation.refreshes(), 1);
        }
    });
}

#[test]
fn a_socks5_proxy_of_the_environment_is_used() {
    const NAME: &str = "a_socks5_proxy_of_the_environment_is_used";
    const ENDPOINT: &str = "LOGGREGATOR_CONSUMER_TEST_ENDPOINT";
    // The environment can only be set for another process, so this test runs itself in one.
    if let Ok(endpoint) = env::var(ENDPOINT) {
        return within(DEADLINE, move || assert_works(Consumer::builder(&endpoint)));
    }
    within(DEADLINE, || {
        let (plain, tls) = (plain_server(), tls_server());
        let run = |endpoint: &str, variables: &[(&str, &str)]| {
            let mut test = Command::new(env::current_exe().unwrap());
            for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"] {
                test.env_remove(variable).env_remove(variable.to_lowercase());
            }
            test.args(["--exact", NAME]).env(ENDPOINT, endpoint).envs(variables.iter().copied());
            let output = test.output().unwrap();
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && stdout.contains("1 passed"), "{variables:?}: {stdout}");
        };
        let proxy = Socks5Proxy::requiring("user", "p@ss");
        let url = |scheme| format!("{scheme}://user:p%40ss@{}", proxy.address);
        let login: Option<(&[u8], &[u8])> = Some((b"user", b"p@ss"));
        for (variable, scheme) in
            [("ALL_PROXY", "socks5h"), ("all_proxy", "socks5"), ("HTTP_PROXY", "socks5"), ("http_proxy", "socks5h")]
        {
            run(&plain.endpoint(), &[(variable, &url(scheme))]);
            assert_socks5_tunnels(&proxy, login, &Target::Address(plain.address));
        }
        for (variable, scheme) in [("ALL_PROXY", "socks5"), ("HTTPS_PROXY", "socks5h"), ("https_proxy", "socks5")] {
            run(&tls.tls_endpoint(), &[(variable, &url(scheme))]);
            assert_socks5_tunnels(&proxy, login, &Target::Address(tls.address));
        }
        run(&plain.endpoint(), &[("ALL_PROXY", &url("socks5")), ("NO_PROXY", "127.0.0.0/8")]);
        assert!(proxy.has_no_more_requests());
    });
}
