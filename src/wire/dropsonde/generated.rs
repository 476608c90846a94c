//! The code that is generated from the definitions in `proto`. It encodes for the testing server, and checks the decoders
//! in the tests.
#![allow(missing_docs, unreachable_pub, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
