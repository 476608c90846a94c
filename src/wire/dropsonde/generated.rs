//! The generated code, which encodes for the testing server and checks the decoders in the tests.

#![allow(missing_docs, unreachable_pub, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
