//! Which server is used, and how the consumer describes it: from the given addresses, and from those that the API
//! returns.

mod common;

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use common::foundation::{PathServer, failing_endpoint, links_root, no_route};
use common::messages::{message_of_now, response};
use common::{DEADLINE, Refusing, ScriptedServer, Untouched, tls, within};
use loggregator_consumer::native_tls::TlsConnector;
use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, Consumer, ErrorKind, LogMessage, MessageType, Proxy, TokenSource, Uaa, Via};

const APP: &str = "11111111-1111-1111-1111-111111111111";
const TOKEN: &str = "bearer token";

fn builder() -> Builder {
    Builder::new().proxy(Proxy::none())
}

fn choices(consumer: &Consumer) -> (Via, Via) {
    (consumer.tail_choice().unwrap().via(), consumer.recent_choice().unwrap().via())
}

#[test]
fn the_api_of_each_generation_leads_to_its_best_servers() {
    within(DEADLINE, || {
        for (generation, expected) in
            [(Generation::Today, (Via::Doppler, Via::LogCache)), (Generation::Y2016, (Via::Doppler, Via::Doppler))]
        {
            let server = TrafficController::of(generation).unwrap();
            assert_eq!(choices(&builder().api(&server.api()).build().unwrap()), expected, "{generation:?}");
        }
    });
}

#[test]
fn a_given_address_is_used_without_asking_the_api_if_it_is_the_best() {
    within(DEADLINE, || {
        let api = Untouched::start();
        let consumer = builder()
            .api(&format!("http://{}", api.address()))
            .doppler("ws://doppler.example.com")
            .log_cache("http://log-cache.example.com")
            .build()
            .unwrap();
        assert_eq!(choices(&consumer), (Via::Doppler, Via::LogCache));
        let choice = consumer.tail_choice().unwrap();
        assert_eq!(choice.address(), "ws://doppler.example.com");
        assert!(choice.to_string().starts_with("Doppler at ws://doppler.example.com: "), "{choice}");
        api.assert_untouched();
    });
}

#[test]
fn a_better_server_from_the_api_is_preferred_to_a_given_address() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let consumer = builder().api(&server.api()).doppler("ws://doppler.example.com").build().unwrap();
        assert_eq!(choices(&consumer), (Via::Doppler, Via::LogCache));
        assert_eq!(consumer.tail_choice().unwrap().address(), "ws://doppler.example.com");
    });
}

#[test]
fn a_given_address_is_used_if_the_api_cannot_be_reached() {
    within(DEADLINE, || {
        let api = ScriptedServer::responding("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        let consumer =
            builder().api(&format!("http://{}", api.address)).rlp_gateway("http://log-stream.example.com").build();
        assert_eq!(consumer.unwrap().tail_choice().unwrap().via(), Via::RlpGateway);
    });
}

#[test]
fn a_builder_without_an_address_is_refused() {
    assert_eq!(builder().build().unwrap_err().kind(), ErrorKind::InvalidInput);
    let consumer = builder().rlp_gateway("http://log-stream.example.com").build().unwrap();
    for (call, error) in [
        ("recent", consumer.recent(APP, TOKEN).map(drop).unwrap_err()),
        ("tail", consumer.follow(APP, TOKEN).map(drop).unwrap_err()),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains("RLP gateway") && text.contains("Builder::api") && text.contains(call), "{text}");
    }
}

#[test]
fn an_api_that_names_no_log_server_is_a_bad_response() {
    within(DEADLINE, || {
        for response in ["{}", "{\"links\":{\"logging\":null}}", "no JSON", "[]"] {
            let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{response}", response.len());
            let api = ScriptedServer::start(vec![common::responding(response.clone()), common::responding(response)]);
            let error = builder().api(&format!("http://{}", api.address)).build().unwrap().tail_choice().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadResponse, "{error}");
        }
    });
}

#[test]
fn on_a_foundation_with_only_a_log_cache_every_call_works() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        server.add_recent(APP, [LogMessage::new(APP, "hello")]);
        let api = PathServer::api(&[("logging", ""), ("log_cache", &server.api()), ("log_stream", "")]);
        let consumer = builder().api(&api.url()).build().unwrap();
        assert_eq!(consumer.recent(APP, TOKEN).unwrap()[0].text(), "hello");
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        let mut follow = consumer.follow(APP, TOKEN).unwrap();
        server.send(LogMessage::new(APP, "live"));
        assert_eq!(tail.next().unwrap().unwrap().text(), "live");
        assert_eq!(follow.next().unwrap().unwrap().text(), "hello");
        assert_eq!(follow.next().unwrap().unwrap().text(), "live");
        assert_eq!(consumer.recent_choice().unwrap().via(), Via::LogCache);
        let choice = consumer.tail_choice().unwrap();
        assert_eq!(choice.via(), Via::LogCache);
        assert!(choice.why().contains("no address of Doppler"), "{choice}");
        assert_eq!(api.take_paths(), ["/"], "nothing else is needed");
        assert_eq!(Consumer::discover(&api.url()).unwrap().recent(APP, TOKEN).unwrap().len(), 2);
    });
}

#[test]
fn log_cache_takes_the_place_of_streams_that_have_no_route_or_cannot_be_reached() {
    within(DEADLINE, || {
        for (away, what) in [(Some(PathServer::router()), "has no route (404)"), (None, "cannot be reached")] {
            let server = TrafficController::of(Generation::Today).unwrap();
            let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let stream = away.as_ref().map_or(format!("ws://{nobody}"), PathServer::websocket_url);
            let gateway = away.as_ref().map_or(format!("http://{nobody}"), PathServer::url);
            let links = [("logging", &*stream), ("log_cache", &server.api()), ("log_stream", &gateway)];
            let api = PathServer::api(&links);
            let consumer = builder().api(&api.url()).build().unwrap();
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            server.send(message_of_now(APP, "hello"));
            assert_eq!(tail.next().unwrap().unwrap().text(), "hello");
            let choice = consumer.tail_choice().unwrap();
            assert_eq!(choice.via(), Via::LogCache);
            assert!(choice.why().contains(&format!("Doppler at {stream} {what}")), "{choice}");
            drop(consumer.tail(APP, TOKEN).unwrap());
            // The second tail does not pay for it.
            assert!(away.is_none_or(|away| away.take_paths().len() == 2));
            let forced = builder().api(&api.url()).tail_via(Via::Doppler).build().unwrap();
            assert!(forced.tail(APP, TOKEN).is_err(), "tail_via forbids any fallback");
        }
    });
}

#[test]
fn a_path_of_the_api_that_a_call_does_not_need_can_fail() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let root = links_root(&[("log_stream", &server.api())]);
        let api = PathServer::start(move |path| match path {
            "/" => response("200 OK", &[], root.as_bytes()),
            _ => response("500 Internal Server Error", &[], b"out of order"),
        });
        let consumer = builder().api(&api.url()).build().unwrap();
        drop(consumer.tail(APP, TOKEN).unwrap());
        let error = consumer.recent(APP, TOKEN).unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::ServerError, Some(500)));
        assert!(error.to_string().contains(&api.url()) && error.to_string().contains("out of order"), "{error}");
    });
}

#[test]
fn an_unusable_link_costs_only_the_calls_that_need_it() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        // With Doppler, which has no recent messages, and without it.
        for logging in [server.endpoint(), String::new()] {
            let api = PathServer::api(&[
                ("logging", &logging),
                ("log_cache", "log-cache.example.com"),
                ("log_stream", &server.api()),
            ]);
            let consumer = builder().api(&api.url()).build().unwrap();
            drop(consumer.tail(APP, TOKEN).unwrap());
            let error = consumer.recent(APP, TOKEN).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadResponse);
            let text = error.to_string();
            assert!(text.contains("`log_cache`") && text.contains("log-cache.example.com"), "{text}");
            drop(Consumer::discover(&api.url()).unwrap());
        }

        let api = PathServer::api(&[("logging", "https://doppler.example.com"), ("log_cache", &server.api())]);
        let consumer = builder().api(&api.url()).build().unwrap();
        assert_eq!(consumer.recent(APP, TOKEN).unwrap(), []);
        drop(consumer.tail(APP, TOKEN).unwrap());
        assert!(consumer.tail_choice().unwrap().why().contains("no usable address of Doppler"));
        let forced = builder().api(&api.url()).tail_via(Via::Doppler).build().unwrap();
        let error = forced.tail(APP, TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadResponse);
        let text = error.to_string();
        assert!(text.contains("`logging`") && text.contains("https://doppler.example.com"), "{text}");
    });
}

#[test]
fn the_next_server_takes_the_place_of_one_whose_link_is_unusable() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let api = PathServer::api(&[("logging", "doppler"), ("log_stream", &server.api())]);
        let consumer = builder().api(&api.url()).build().unwrap();
        drop(consumer.tail(APP, TOKEN).unwrap());
        let choice = consumer.tail_choice().unwrap();
        assert_eq!(choice.via(), Via::RlpGateway);
        assert!(choice.why().contains("no usable address of Doppler"), "{choice}");
    });
}

#[test]
fn the_next_server_takes_the_place_of_one_without_a_route_for_a_while() {
    within(DEADLINE, || {
        for response in [no_route, failing_endpoint] {
            let server = TrafficController::of(Generation::Today).unwrap();
            let router = PathServer::start(move |_| response());
            let api = PathServer::api(&[("logging", &router.websocket_url()), ("log_stream", &server.api())]);
            let consumer = builder().api(&api.url()).build().unwrap();
            assert_eq!(consumer.tail_choice().unwrap().via(), Via::Doppler);
            let mut tail = consumer.tail(APP, TOKEN).unwrap();
            assert!(server.wait_for_tails(APP, 1, DEADLINE));
            server.send(LogMessage::new(APP, "hello"));
            assert_eq!(tail.next().unwrap().unwrap().text(), "hello");
            let choice = consumer.tail_choice().unwrap();
            assert_eq!((choice.via(), choice.address()), (Via::RlpGateway, server.api()));
            assert!(choice.why().contains(&format!("Doppler at {} has no route", router.websocket_url())), "{choice}");
            drop(consumer.tail(APP, TOKEN).unwrap());
            assert_eq!(router.take_paths().len(), 1, "the second tail does not pay for it");
        }
        let server = TrafficController::of(Generation::Y2016).unwrap();
        server.add_recent(APP, [LogMessage::new(APP, "hello")]);
        let router = PathServer::router();
        let api = PathServer::api(&[("logging", &server.endpoint()), ("log_cache", &router.url())]);
        let consumer = builder().api(&api.url()).build().unwrap();
        assert_eq!(consumer.recent(APP, TOKEN).unwrap()[0].text(), "hello");
        let choice = consumer.recent_choice().unwrap();
        assert_eq!(choice.via(), Via::Doppler);
        assert!(choice.why().contains("Log Cache at") && choice.why().contains("has no route (404)"), "{choice}");
    });
}

#[test]
fn only_one_other_server_is_tried_and_both_are_named() {
    within(DEADLINE, || {
        let (doppler, gateway, legacy) = (PathServer::router(), PathServer::router(), Untouched::start());
        let api = PathServer::api(&[("logging", &doppler.websocket_url()), ("log_stream", &gateway.url())]);
        let builder = builder().api(&api.url()).legacy(&format!("ws://{}", legacy.address()));
        let error = builder.build().unwrap().tail(APP, TOKEN).unwrap_err();
        assert_eq!(error.status(), Some(404));
        let text = error.to_string();
        assert!(text.contains("Requested route") && text.contains("unknown_route"), "{text}");
        assert!(text.contains(&gateway.url()) && !text.contains("is no GUID"), "{text}");
        assert_eq!((doppler.take_paths().len(), gateway.take_paths().len()), (1, 1));
        legacy.assert_untouched();
    });
}

#[test]
fn the_rejection_of_the_next_server_counts() {
    within(DEADLINE, || {
        let server = TrafficController::builder().generation(Generation::Today).tokens([""; 0]).start().unwrap();
        let router = PathServer::router();
        let api = PathServer::api(&[("logging", &router.websocket_url()), ("log_stream", &server.api())]);
        let consumer = builder().api(&api.url()).build().unwrap();
        assert_eq!(consumer.tail(APP, TOKEN).unwrap_err().kind(), ErrorKind::Unauthorized);
        let tokens = TokenSource::uaa(Uaa::new(&server.api()).refresh_token(&server.issue_refresh_token())).unwrap();
        drop(builder().api(&api.url()).tokens(tokens).build().unwrap().tail(APP, "").unwrap());
    });
}

#[test]
fn an_address_that_was_given_by_hand_is_not_replaced() {
    within(DEADLINE, || {
        let (router, gateway) = (PathServer::router(), Untouched::start());
        let gateway_url = format!("http://{}", gateway.address());
        let api = PathServer::api(&[("logging", "ws://doppler.example.com"), ("log_stream", &gateway_url)]);
        let consumer = builder().api(&api.url()).doppler(&router.websocket_url()).build().unwrap();
        for _ in 0..2 {
            let error = consumer.tail(APP, TOKEN).unwrap_err();
            assert_eq!(error.status(), Some(404), "{error}");
            assert!(error.to_string().contains("Requested route"), "{error}");
        }
        assert_eq!(router.take_paths().len(), 2);
        gateway.assert_untouched();
        assert_eq!(api.take_paths(), [""; 0]);
    });
}

#[test]
fn a_call_whose_server_has_moved_asks_the_api_again() {
    within(DEADLINE, || {
        let (gone, server) = (Refusing::start(), TrafficController::of(Generation::Today).unwrap());
        let before = links_root(&[("logging", &gone.endpoint()), ("log_cache", &format!("http://{}", gone.address))]);
        let after = links_root(&[("logging", &server.endpoint()), ("log_cache", &server.api())]);
        let answers = std::sync::Mutex::new(vec![after, before]);
        let api = PathServer::start(move |_| {
            let mut answers = answers.lock().unwrap();
            let root = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() };
            response("200 OK", &[], root.as_bytes())
        });
        let consumer = builder().api(&api.url()).build().unwrap();
        assert_eq!(consumer.tail_choice().unwrap().address(), gone.endpoint());
        drop(consumer.tail(APP, TOKEN).unwrap());
        assert_eq!(consumer.tail_choice().unwrap().address(), server.endpoint());
        assert_eq!(consumer.recent(APP, TOKEN).unwrap(), []);
        assert_eq!(api.take_paths(), ["/", "/"]);
    });
}

#[test]
fn an_api_is_asked_again_only_once_in_a_call() {
    within(DEADLINE, || {
        let gone = Refusing::start();
        let api = PathServer::api(&[("logging", &gone.endpoint())]);
        let consumer = builder().api(&api.url()).build().unwrap();
        for requests in [1, 1, 1] {
            assert_eq!(consumer.tail(APP, TOKEN).unwrap_err().kind(), ErrorKind::Dial);
            assert_eq!(api.take_paths().len(), requests);
        }
    });
}

#[test]
fn an_api_with_tls_can_not_have_the_token_sent_in_the_clear() {
    within(DEADLINE, || {
        let untouched = Untouched::start();
        let [plain, plain_websocket] = ["http", "ws"].map(|scheme| format!("{scheme}://{}", untouched.address()));
        let api = PathServer::tls_api(&[("logging", &plain_websocket), ("log_cache", &plain), ("log_stream", &plain)]);
        let builder = || builder().api(&api.url()).tls_connector(tls::trusting());
        let consumer = builder().build().unwrap();
        for (error, address) in [
            (consumer.tail(APP, TOKEN).unwrap_err(), &plain_websocket),
            (consumer.recent(APP, TOKEN).unwrap_err(), &plain),
        ] {
            assert_eq!(error.kind(), ErrorKind::BadResponse, "{error}");
            assert!(error.to_string().contains(address), "{error}");
            assert!(error.to_string().contains("danger_allow_plain_servers"), "{error}");
        }
        untouched.assert_untouched();

        let allowing = builder().danger_allow_plain_servers(true).build().unwrap();
        assert_eq!(allowing.tail_choice().unwrap().address(), plain_websocket);
        let by_hand = builder().doppler(&plain_websocket).build().unwrap();
        assert_eq!(by_hand.tail_choice().unwrap().address(), plain_websocket);
    });
}

#[test]
fn a_uaa_without_tls_is_refused_if_the_servers_have_it() {
    let tokens = |url: &str| TokenSource::uaa(Uaa::new(url).refresh_token("x")).unwrap();
    let plain = || tokens("http://uaa.example.com");
    for builder in [
        builder().api("https://api.example.com"),
        builder().doppler("wss://doppler.example.com"),
        builder().log_cache("https://log-cache.example.com").rlp_gateway("http://log-stream.example.com"),
    ] {
        let error = builder.tokens(plain()).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("http://uaa.example.com"), "{error}");
        assert!(error.to_string().contains("danger_allow_plain_servers"), "{error}");
    }
    let api = || builder().api("https://api.example.com");
    api().tokens(plain()).danger_allow_plain_servers(true).build().unwrap();
    api().tokens(tokens("https://uaa.example.com")).build().unwrap();
    builder().api("http://api.example.com").tokens(plain()).build().unwrap();
}

#[test]
fn what_is_given_by_hand_comes_before_the_session_of_cf() {
    const NAME: &str = "what_is_given_by_hand_comes_before_the_session_of_cf";
    // The environment can be set only for another process: this test, run by itself.
    if env::var_os("CF_HOME").is_some_and(|home| home.to_string_lossy().ends_with(NAME)) {
        return give_by_hand();
    }
    within(DEADLINE, || {
        let home = env::temp_dir().join(format!("loggregator-consumer-{}-{NAME}", std::process::id()));
        let server = TrafficController::builder().generation(Generation::Today).tls().start().unwrap();
        server.cf_home(&home).unwrap();
        let test =
            Command::new(env::current_exe().unwrap()).args(["--exact", NAME]).env("CF_HOME", &home).output().unwrap();
        let _ = fs::remove_dir_all(&home);
        assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stdout));
        assert!(String::from_utf8_lossy(&test.stdout).contains("1 passed"));
    });
}

/// Sets something before the session of `cf` is read, and behind it.
fn in_either_order(set: impl Fn(Builder) -> Builder) -> [Consumer; 2] {
    [set(builder()).cf_cli().unwrap(), set(builder().cf_cli().unwrap())].map(|builder| builder.build().unwrap())
}

fn give_by_hand() {
    for consumer in in_either_order(|builder| builder) {
        assert_eq!(choices(&consumer), (Via::Doppler, Via::LogCache));
        assert_eq!(consumer.recent(APP, "").unwrap(), [], "its certificate is not verified");
    }
    let of_session = in_either_order(|builder| builder)[0].tail_choice().unwrap().address();
    for consumer in in_either_order(|builder| builder.log_cache("https://by-hand.example.com")) {
        assert_eq!(consumer.recent_choice().unwrap().address(), "https://by-hand.example.com");
        assert_eq!(consumer.tail_choice().unwrap().address(), of_session);
    }
    for consumer in in_either_order(|builder| builder.doppler("wss://by-hand.example.com")) {
        assert_eq!(consumer.tail_choice().unwrap().address(), "wss://by-hand.example.com");
    }
    // Another foundation, whose servers are not those of the session.
    let other = TrafficController::builder().generation(Generation::Today).tokens(["bearer by-hand"]).start().unwrap();
    for consumer in in_either_order(|builder| builder.api(&other.api()).danger_allow_plain_servers(true)) {
        assert_eq!(consumer.tail_choice().unwrap().address(), other.endpoint());
        assert_eq!(consumer.recent_choice().unwrap().address(), other.api());
    }
    for consumer in in_either_order(|builder| builder.api(&other.api()).tokens(TokenSource::fixed("bearer by-hand"))) {
        assert_eq!(consumer.recent(APP, "").unwrap(), []);
    }
    // Its calls get the session's token only if that is said by hand.
    let session_api = of_session.replace("wss://", "https://");
    for consumer in in_either_order(|builder| builder.api(&other.api())) {
        for error in [
            consumer.tail(APP, "").map(drop).unwrap_err(),
            consumer.recent(APP, "").unwrap_err(),
            consumer.recent_iter(APP, "").map(drop).unwrap_err(),
            consumer.follow(APP, "").map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            let text = error.to_string();
            assert!(text.contains(&session_api) && text.contains(&other.api()), "{text}");
            assert!(text.contains("Builder::tokens"), "{text}");
        }
        assert_eq!(consumer.recent(APP, "bearer by-hand").unwrap(), []);
    }
    for request in other.requests() {
        let token = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        assert!(token.is_none_or(|(_, value)| value == "bearer by-hand"), "{request:?}");
    }
    // Its certificate is verified.
    let strict = TrafficController::builder().generation(Generation::Today).tls().start().unwrap();
    for consumer in in_either_order(|builder| builder.api(&strict.api())) {
        assert_eq!(consumer.tail_choice().unwrap_err().kind(), ErrorKind::Tls);
    }
    // The session's own API, written in another way.
    for consumer in in_either_order(|builder| builder.api(&session_api.replace("https", "HTTPS"))) {
        assert_eq!(consumer.recent(APP, "").unwrap(), []);
    }
    for consumer in in_either_order(|builder| builder.tls_connector(TlsConnector::new().unwrap())) {
        assert_eq!(consumer.recent(APP, "").unwrap_err().kind(), ErrorKind::Tls);
    }
}

/// A line somewhat larger than the largest one seen on a real gateway.
#[test]
fn a_line_of_ten_megabytes_arrives_through_the_gateway() {
    within(3 * DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let gateway = builder().rlp_gateway(&server.api()).build().unwrap();
        let mut tail = gateway.tail(APP, &server.issue_token()).unwrap();
        assert!(server.wait_for_tails(APP, 1, DEADLINE));
        let large = LogMessage::new(APP, vec![b'x'; 7_500_000]).message_type(MessageType::Err).timestamp(1);
        server.send(large.clone());
        let got = tail.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
        assert!(got.message == large.message && got.message_type == large.message_type);
    });
}
