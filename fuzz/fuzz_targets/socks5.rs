#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| loggregator_consumer::fuzzing::socks5(input));
