//! `follow` and `tail` on every kind of foundation that has a Log Cache: version 1.x, today's, alone, and Korifi's.

mod common;

use std::thread;
use std::time::Duration;

use common::messages::{APP, TOKEN, message_of_now};
use common::{DEADLINE, within};
use loggregator_consumer::testing::{Generation, TrafficController, TrafficControllerBuilder};
use loggregator_consumer::{Builder, Consumer, LogMessage, Polling, Proxy, Via};

type Settings = fn(TrafficControllerBuilder) -> TrafficControllerBuilder;

const FOUNDATIONS: [(Generation, Settings); 4] = [
    (Generation::LogCache1, |builder| builder),
    (Generation::Today, |builder| builder),
    (Generation::Today, TrafficControllerBuilder::log_cache_only),
    (Generation::Korifi, |builder| builder),
];

fn each_foundation(test: fn(&TrafficController, &Consumer)) {
    for (generation, settings) in FOUNDATIONS {
        within(DEADLINE, move || {
            let server = settings(TrafficController::builder().generation(generation)).start().unwrap();
            let polling = Polling::default().every(Duration::from_millis(20)).idle(Duration::from_millis(50));
            let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).polling(polling).build().unwrap();
            test(&server, &consumer);
            assert!(server.wait_until_idle(DEADLINE), "{generation:?}");
        });
    }
}

fn texts(messages: impl Iterator<Item = LogMessage>) -> Vec<String> {
    messages.map(|message| message.text().into_owned()).collect()
}

#[test]
fn follow_returns_the_recent_lines_and_then_all_further_ones_each_once() {
    each_foundation(|server, consumer| {
        server.add_recent(APP, ["one", "two"].map(|text| message_of_now(APP, text)));
        let mut tail = consumer.follow(APP, TOKEN).unwrap();
        let expected: Vec<_> = (0..200).map(|n| n.to_string()).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                for text in &expected {
                    server.send(message_of_now(APP, text));
                    thread::sleep(Duration::from_millis(2));
                }
            });
            let messages = tail.by_ref().take(2 + expected.len()).map(Result::unwrap);
            let mut texts = texts(messages.inspect(|message| assert_eq!(message.app_id, APP)));
            assert_eq!(texts.drain(..2).collect::<Vec<_>>(), ["one", "two"]);
            assert_eq!(texts, expected);
        });
        assert!(tail.recv_timeout(Duration::from_millis(300)).is_err(), "no line comes twice");
        let since = tail.complete_until().unwrap();
        drop(tail);
        server.send(message_of_now(APP, "after the restart"));
        let mut tail = consumer.follow_since(APP, TOKEN, since).unwrap();
        assert!(tail.any(|item| item.unwrap().text() == "after the restart"));
    });
}

#[test]
fn a_forced_tail_over_log_cache_returns_what_is_logged_from_then_on() {
    each_foundation(|server, _| {
        let builder = Builder::new().api(&server.api()).tail_via(Via::LogCache).proxy(Proxy::none());
        let consumer = builder.build().unwrap();
        server.add_recent(APP, [message_of_now(APP, "of the past")]);
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        for text in ["one", "two", "three"] {
            server.send(message_of_now(APP, text));
            assert_eq!(tail.next().unwrap().unwrap().text(), text);
        }
        assert_eq!(consumer.tail_choice().unwrap().via(), Via::LogCache);
    });
}
