//! What Log Cache holds: envelopes, page by page; metrics of containers, also from Doppler; `meta`, `info` and PromQL. What
//! real servers sent, and every generation of the testing foundation.

#[path = "../common/mod.rs"]
mod common;

mod captures;
mod meta_and_info;
mod metrics;
mod queries;
mod read;

use std::time::{SystemTime, UNIX_EPOCH};

use common::messages::response;
use common::{ScriptedServer, fixture};
use loggregator_consumer::testing::TrafficController;
use loggregator_consumer::{Body, Builder, Consumer, Envelope, GaugeValue, MessageType, Proxy, TokenSource};

const APP: &str = "11111111-1111-1111-1111-111111111111";
const OTHER: &str = "22222222-2222-2222-2222-222222222222";
const TOKEN: &str = "bearer a-token-of-a-user";

/// A consumer for a foundation, with a token of its own.
fn of(server: &TrafficController) -> Consumer {
    let tokens = TokenSource::fixed(&server.issue_token());
    Builder::new().api(&server.api()).tokens(tokens).proxy(Proxy::none()).build().unwrap()
}

/// A builder for a Log Cache at an address.
fn log_cache(server: &ScriptedServer) -> Builder {
    Builder::new().log_cache(&format!("http://{}", server.address)).proxy(Proxy::none())
}

fn replaying(name: &str) -> Consumer {
    log_cache(&ScriptedServer::responding(fixture(&format!("modern/{name}")))).build().unwrap()
}

fn answering(body: &str) -> ScriptedServer {
    ScriptedServer::responding(response("200 OK", &["Content-Type: application/json"], body.as_bytes()))
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

fn log(time: i64, text: &str) -> Envelope {
    let body = Body::Log { payload: text.as_bytes().to_vec(), message_type: MessageType::Out };
    Envelope::new(APP, body).instance_id("0").timestamp(time)
}

fn gauge(instance: &str, time: i64, values: &[(&str, f64)]) -> Envelope {
    let unit = |name: &str| if name.starts_with("cpu") { "percentage" } else { "bytes" };
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), GaugeValue::new(*value, unit(name)))).collect();
    Envelope::new(APP, Body::Gauge(values)).instance_id(instance).timestamp(time)
}

const CONTAINER: [(&str, f64); 5] =
    [("cpu", 12.5), ("memory", 1e6), ("memory_quota", 2e6), ("disk", 3e6), ("disk_quota", 4e6)];
