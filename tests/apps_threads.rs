//! How many threads and connections a tail of many apps has. A file of its own, because it counts those of its process.

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::leftovers::Open;
use common::{DEADLINE, wait_until, within};
use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, LogMessage, Polling, Proxy, Via};

#[test]
fn a_hundred_apps_over_log_cache_need_one_thread_and_one_connection() {
    within(3 * DEADLINE, || {
        let apps: Vec<_> = (0..100).map(|number| format!("11111111-aaaa-bbbb-cccc-{number:012}")).collect();
        let server = TrafficController::of(Generation::Today).unwrap();
        let polling = Polling::default().every(Duration::from_millis(10));
        let builder = Builder::new().log_cache(&server.api()).tail_via(Via::LogCache).polling(polling);
        let consumer = builder.proxy(Proxy::none()).build().unwrap();
        let before = Open::now();
        let mut tail = consumer.tail_apps(&apps, "bearer token").unwrap();
        // The thread of the tail, and that of the server for its connection. Both ends of it are in this process.
        wait_until("a name is resolved", || Open::now().threads <= before.threads + 2);
        for round in 0..3 {
            for app in &apps {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                server.send(LogMessage::new(&**app, round.to_string()).timestamp(now.as_nanos() as i64));
            }
        }
        let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for message in tail.by_ref().take(300).map(Result::unwrap) {
            texts.entry(message.app_id.clone()).or_default().push(message.text().into_owned());
            assert!(Open::now().threads <= before.threads + 2);
        }
        assert_eq!(texts.keys().collect::<Vec<_>>(), apps.iter().collect::<Vec<_>>());
        assert!(texts.values().all(|texts| *texts == ["0", "1", "2"]), "each once, and in order: {texts:?}");
        tail.close().unwrap();
        wait_until("nothing is left", || Open::now().threads <= before.threads);
    });
}
