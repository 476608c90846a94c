//! Envelopes of real servers, replayed through `Consumer::stream`, have exactly the fields that were sent.

mod common;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::messages::TOKEN;
use common::replay::{Capture, splits};
use common::{DEADLINE, ScriptedServer, hang_up, within};
use loggregator_consumer::{Body, Builder, Envelope, EnvelopeType, Proxy, Selection};

const MODERN: &str = "modern/";

/// Returns the envelopes of a capture that are of its app.
fn streamed(name: &str, selection: &Selection) -> Vec<Envelope> {
    let capture = Capture::load(MODERN, name);
    let split = splits(&capture.bytes).into_iter().next().unwrap();
    let server = ScriptedServer::start(vec![capture.script(&split, |_| (), hang_up)]);
    let builder = Builder::new().proxy(Proxy::none());
    let builder = if name.ends_with(".ws") {
        builder.doppler(&server.endpoint())
    } else {
        builder.rlp_gateway(&format!("http://{}", server.address))
    };
    let stream = builder.build().unwrap().stream(selection, TOKEN).unwrap();
    // The end of the capture is an error.
    let envelopes = stream.map_while(Result::ok).collect::<Vec<_>>();
    assert!(!envelopes.is_empty(), "{name}");
    envelopes
}

/// Returns what was sent, as envelopes of v2.
fn sent(name: &str) -> Vec<Envelope> {
    let sidecar = Capture::load(MODERN, name).sidecar();
    let envelopes = sidecar["envelopes"].as_array().unwrap().iter();
    envelopes.map(|sent| serde_json::from_value(sent["v2"].clone()).unwrap()).collect()
}

#[test]
fn the_gateway_carries_everything() {
    within(DEADLINE, || {
        let sent = sent("rlpgw-read-mixed.http");
        let streamed = streamed("rlpgw-read-mixed.http", &Selection::app(&sent[0].source_id));
        assert_eq!(streamed.len(), 80);
        assert_eq!(streamed, sent);
    });
}

#[test]
fn doppler_carries_what_version_1_can() {
    within(DEADLINE, || {
        for (name, count) in [("tc-stream-mixed.ws", 39), ("tc-firehose-mixed.ws", 69), ("tc-firehose-logs.ws", 19)] {
            let mut sent = sent(name);
            let app = sent[0].source_id.clone();
            sent.retain_mut(|envelope| match &mut envelope.body {
                // Doppler delivers no empty payloads.
                Body::Log { payload, .. } => !payload.is_empty(),
                Body::Timer { .. } => name != "tc-firehose-logs.ws",
                Body::Counter { .. } => name == "tc-firehose-mixed.ws",
                Body::Gauge(metrics) => {
                    // The only metric of these containers that version 1 cannot carry.
                    metrics.remove("instance_index");
                    name == "tc-firehose-mixed.ws" || (name == "tc-stream-mixed.ws" && metrics.len() > 1)
                }
                // Events have no form there.
                _ => false,
            });
            let selection = match name {
                "tc-stream-mixed.ws" => Selection::app(&app),
                "tc-firehose-logs.ws" => Selection::all().types([EnvelopeType::Log]),
                _ => Selection::all(),
            };
            let mut streamed = streamed(name, &selection);
            // The firehose has the metrics of its servers, too.
            streamed.retain(|envelope| envelope.source_id == app);
            assert_eq!((streamed.len(), sent.len()), (count, count), "{name}");
            assert_eq!(streamed, sent, "{name}");
        }
    });
}

#[test]
fn doppler_of_2015_has_the_same_logs_as_a_tail() {
    within(DEADLINE, || {
        let name = "l15-dropsonde-stream.ws";
        let capture = Capture::load(MODERN, name);
        let sidecar = capture.sidecar();
        let messages = sidecar["messages"].as_array().unwrap();
        let streamed = streamed(name, &Selection::app(messages[0]["app_id"].as_str().unwrap()));
        assert_eq!((streamed.len(), messages.len()), (5, 5));
        for (envelope, sent) in streamed.iter().zip(messages) {
            let Body::Log { payload, .. } = &envelope.body else { panic!("{envelope:?}") };
            assert_eq!(envelope.timestamp.to_string(), sent["timestamp"].as_str().unwrap());
            assert_eq!(&BASE64_STANDARD.encode(payload), &sent["message_b64"]);
            assert_eq!(envelope.tags["source_type"], sent["source_name"].as_str().unwrap());
            assert_eq!(envelope.instance_id, sent["source_id"].as_str().unwrap());
        }
    });
}
