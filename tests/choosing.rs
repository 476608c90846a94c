//! Which server is used, and how the consumer describes it: from the given addresses, and from those that the API
//! returns.

mod common;

use std::time::Duration;

use common::{DEADLINE, ScriptedServer, Untouched, within};
use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, Consumer, ErrorKind, LogMessage, MessageType, Proxy, Via};

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
        assert_eq!(consumer.tail_choice().unwrap().address(), "ws://doppler.example.com");
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
    let consumer = builder().log_cache("http://log-cache.example.com").build().unwrap();
    let error = consumer.tail(APP, TOKEN).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("Builder::api"), "{error}");
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
