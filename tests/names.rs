//! The public names: both modules can be imported whole, beside one another.

use std::any::type_name;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use loggregator_consumer::testing::*;
use loggregator_consumer::*;

/// What `pub use` in a file makes public.
fn public_names(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
    let exports = text.split("\npub use ").skip(1).map(|rest| rest.split(';').next().unwrap());
    let lists = exports.map(|export| export.rsplit("::").next().unwrap().trim_matches(['{', '}']));
    lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

#[test]
fn no_name_is_both_in_the_crate_and_in_its_testing_module() {
    let (crate_names, testing) = (public_names("lib.rs"), public_names("testing/mod.rs"));
    assert!(crate_names.contains("Builder") && crate_names.contains("crossbeam_channel"), "{crate_names:?}");
    assert!(testing.contains("TrafficController") && testing.contains("SlowReader"), "{testing:?}");
    assert_eq!(crate_names.intersection(&testing).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn both_modules_can_be_imported_whole() {
    // An ambiguous name does not compile when it is used.
    let names = [
        type_name::<App>(),
        type_name::<Builder>(),
        type_name::<TrafficControllerBuilder>(),
        type_name::<Ending>(),
        type_name::<WebsocketEnding>(),
        type_name::<Error>(),
        type_name::<RouterError>(),
        type_name::<Gap>(),
        type_name::<Result<Batch>>(),
        type_name::<Batch<Envelope>>(),
        type_name::<Tail<Envelope>>(),
        type_name::<Body>(),
        type_name::<EnvelopeType>(),
        type_name::<GaugeValue>(),
        type_name::<Selection>(),
        type_name::<Choice>(),
        type_name::<Received>(),
        type_name::<Recent>(),
        type_name::<Envelopes>(),
        type_name::<Window>(),
        type_name::<InstanceMetrics>(),
        type_name::<SourceMeta>(),
        type_name::<LogCacheInfo>(),
        type_name::<QueryResult>(),
        type_name::<QueryValue>(),
        type_name::<Sample>(),
        type_name::<VectorSample>(),
        type_name::<Series>(),
        type_name::<Request>(),
        type_name::<Server>(),
        type_name::<Target>(),
        type_name::<Fault>(),
        type_name::<Frame>(),
        type_name::<Generation>(),
        type_name::<Proxy>(),
        type_name::<Tail>(),
        type_name::<Uri>(),
        type_name::<Via>(),
        type_name::<crossbeam_channel::RecvTimeoutError>(),
    ];
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}
