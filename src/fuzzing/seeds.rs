//! Runs the targets with their seeds, `fuzz/seeds/<target>/<name>`. A seed is made from a capture, written by hand, or
//! found by a fuzzer.

use std::fs;
use std::path::PathBuf;

use memchr::memmem;

use super::handshake::ACCEPT;
use super::splitter::BOUNDARY;
use crate::wire::captures;

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "seeds", target].iter().collect()
}

/// Runs a target with its seeds. A failure prints the path of the seed.
fn run(target: &str, run: fn(&[u8])) {
    let mut count = 0;
    for file in fs::read_dir(folder(target)).unwrap() {
        let path = file.unwrap().path();
        let result = std::panic::catch_unwind(|| run(&fs::read(&path).unwrap()));
        assert!(result.is_ok(), "failed with the seed {}", path.display());
        count += 1;
    }
    assert!(count > 0, "{target} has no seeds");
}

#[test]
fn splitter_passes_its_seeds() {
    run("splitter", super::splitter);
}

#[test]
fn events_passes_its_seeds() {
    run("events", super::events);
}

#[test]
fn frames_passes_its_seeds() {
    run("frames", super::frames);
}

#[test]
fn decoder_passes_its_seeds() {
    run("decoder", super::decoder);
}

#[test]
fn envelopes_passes_its_seeds() {
    run("envelopes", super::envelopes);
}

#[test]
fn responses_passes_its_seeds() {
    run("responses", super::responses);
}

#[test]
fn lists_passes_its_seeds() {
    run("lists", super::lists);
}

#[test]
fn promql_passes_its_seeds() {
    run("promql", super::promql);
}

#[test]
fn content_type_passes_its_seeds() {
    run("content_type", super::content_type);
}

#[test]
fn proxy_variables_passes_its_seeds() {
    run("proxy_variables", super::proxy_variables);
}

#[test]
fn socks5_passes_its_seeds() {
    run("socks5", super::socks5);
}

#[test]
fn handshake_passes_its_seeds() {
    run("handshake", super::handshake);
}

#[test]
fn client_passes_its_seeds() {
    run("client", super::client);
}

/// The largest seed, in bytes. The fuzzer makes larger inputs itself.
const MAX_SEED: usize = 2000;

/// Responses to `/recent`, `/recentlogs` and `/containermetrics`.
const MULTIPART: [&str; 7] = [
    "../l14b-recent-0-quoted-boundary.http",
    "../l14b-recent-3-quoted-boundary.http",
    "../l15-recent-0.http",
    "../l15-recent-fields.http",
    "../l15-recent-garbage.http",
    "l15-dropsonde-recentlogs.http",
    "l15-dropsonde-containermetrics.http",
];
const LEGACY_FRAMES: [&str; 4] =
    ["../l14-dump-garbage.ws", "../l14-tail-5-clientclose.ws", "../l15-idle-pings-50s.ws", "../l15-tail-fields.ws"];
const DOPPLER_FRAMES: [&str; 2] = ["l15-dropsonde-stream.ws", "tc-stream-mixed.ws"];
const EVENTS: [&str; 3] = ["rlpgw-closing.http", "rlpgw-heartbeats-47s.http", "rlpgw-read-mixed.http"];
const LOG_CACHE: [&str; 3] =
    ["cfap-read-logs-desc-3.http", "lc-read-name-filter.http", "lc-read-source-with-slash.http"];
const QUERIES: [&str; 4] = ["lc-promql-instant.http", "lc-promql-err.http", "lc-info.http", "lc-meta.http"];
const ERROR_RESPONSES: [&str; 6] = [
    "../l14-401-bad-token.http",
    "../l15-400-tail-bad-version.http",
    "../l15-404-path.http",
    "lc-err-window.http",
    "rlpgw-404-bad-token.http",
    "tc-firehose-401-not-admin.http",
];

#[test]
#[ignore = "writes the seeds that are made from captures"]
fn write() {
    let [legacy_tail, doppler_tail, gateway_tail, legacy_recent, dump, doppler_recent, log_cache] =
        std::array::from_fn(|call| u8::try_from(call).unwrap());
    const ONE_PIECE: u8 = 0;
    const CHUNKED: u8 = 2 << 3;
    const HEAD_IN_INPUT: u8 = 6;
    for name in MULTIPART {
        let body = with_our_boundary(name);
        let recent = if name.starts_with("../") { legacy_recent } else { doppler_recent };
        seed("splitter", name, &[ONE_PIECE, u8::MAX, 0, 0], &body);
        seed("client", name, &[recent, CHUNKED, ONE_PIECE], &body);
        seed("content_type", name, &[], header(name, "Content-Type: ").as_bytes());
    }
    for (format, names) in [(0, &LEGACY_FRAMES[..]), (1, &DOPPLER_FRAMES)] {
        for name in names {
            let (head, frames) = captures::split(name);
            let tail = if name.contains("dump") { dump } else { [legacy_tail, doppler_tail][format] };
            seed("client", name, &[tail, 0, ONE_PIECE], &frames);
            seed("frames", name, &[ONE_PIECE, u8::MAX, 0, 0, 0], &frames);
            let response = head.replace(&header(name, "Sec-WebSocket-Accept: "), ACCEPT).into_bytes();
            seed("handshake", name, &[ONE_PIECE], &[&response[..], &frames].concat());
            for (n, payload) in captures::frames(name).iter().enumerate().take(6) {
                seed("decoder", &format!("{name}-{n}"), &[format as u8], payload);
            }
        }
    }
    for name in EVENTS {
        let stream = captures::body(name);
        seed("events", name, &[ONE_PIECE, u8::MAX], &stream);
        seed("client", name, &[gateway_tail, CHUNKED, ONE_PIECE], &stream);
        for (n, data) in super::events::parse_at_once(&stream).iter().map(|event| &event.1).enumerate().take(5) {
            seed("decoder", &format!("{name}-{n}"), &[2, ONE_PIECE], data);
        }
    }
    for name in LOG_CACHE {
        let body = captures::body(name);
        seed("client", name, &[log_cache, 0, ONE_PIECE], &body);
        seed("responses", name, &[ONE_PIECE, 100, u8::MAX, u8::MAX, 0, 0], &body);
        let envelopes = body.trim_ascii().strip_prefix(br#"{"envelopes":"#).unwrap().strip_suffix(b"}").unwrap();
        seed("decoder", name, &[2, ONE_PIECE], envelopes);
    }
    for name in QUERIES {
        seed("promql", name, &[], &captures::body(name));
    }
    let (v1, v2) = (0, 1);
    // One envelope of each type.
    for (n, frame) in captures::frames("tc-firehose-mixed.ws").iter().enumerate().take(6) {
        seed("envelopes", &format!("tc-firehose-mixed.ws-{n}"), &[v1], frame);
    }
    seed("envelopes", MULTIPART[6], &[v1], &captures::parts(MULTIPART[6])[0]);
    for (n, (_, data)) in super::events::parse_at_once(&captures::body(EVENTS[2])).iter().enumerate().take(3) {
        seed("envelopes", &format!("{}-{n}", EVENTS[2]), &[v2, ONE_PIECE], data);
    }
    for name in ERROR_RESPONSES {
        let response = captures::bytes(name);
        seed("handshake", name, &[ONE_PIECE], &response);
        seed("client", name, &[legacy_tail, HEAD_IN_INPUT, ONE_PIECE], &response);
    }
    for (name, call) in [
        (MULTIPART[1], legacy_recent),
        (EVENTS[2], gateway_tail),
        (LOG_CACHE[1], log_cache),
        (ERROR_RESPONSES[5], doppler_tail),
    ] {
        seed("client", &format!("{name}-with-its-head"), &[call, HEAD_IN_INPUT, ONE_PIECE], &captures::bytes(name));
    }
}

fn seed(target: &str, name: &str, choices: &[u8], bytes: &[u8]) {
    let path = folder(target).join(name.trim_start_matches("../"));
    fs::create_dir_all(folder(target)).unwrap();
    fs::write(path, [choices, &bytes[..bytes.len().min(MAX_SEED)]].concat()).unwrap();
}

fn header(capture: &str, name: &str) -> String {
    let (head, _) = captures::split(capture);
    head.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
}

/// Returns a captured body with our boundary, which is short and therefore easier for the fuzzer to generate.
fn with_our_boundary(capture: &str) -> Vec<u8> {
    let boundary = crate::wire::multipart::boundary(&header(capture, "Content-Type: ")).unwrap();
    let body = captures::body(capture);
    let mut ours = Vec::new();
    let mut start = 0;
    for at in memmem::find_iter(&body, &boundary) {
        ours.extend_from_slice(&body[start..at]);
        ours.extend_from_slice(BOUNDARY.as_bytes());
        start = at + boundary.len();
    }
    ours.extend_from_slice(&body[start..]);
    ours
}
