//! The examples as programs: they end quietly when nobody reads their output any more, as with `| head`, and obey
//! servers that limit their requests.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::examples::{BUILD, program};
use common::{DEADLINE, wait_until, within};
use loggregator_consumer::LogMessage;
use loggregator_consumer::testing::{Fault, Generation, RequestKind, TrafficController};

/// Starts an example, and returns it with its output.
fn start(example: &mut Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = example.stdout(Stdio::piped()).stderr(Stdio::piped()).env("no_proxy", "*").spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn assert_ends_quietly(child: Child) {
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{}: {errors}", output.status);
}

#[test]
fn quickstart_ends_quietly_when_its_reader_leaves() {
    let program = within(BUILD, || program("quickstart"));
    within(DEADLINE, move || {
        let (child, mut output) = start(&mut Command::new(program));
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with("Recent messages of the app"), "{line}");
        drop(output);
        assert_ends_quietly(child);
    });
}

#[test]
fn fill_gaps_has_every_line_once() {
    let program = within(BUILD, || program("fill_gaps"));
    within(DEADLINE, move || {
        let (child, output) = start(&mut Command::new(program));
        let lines: Vec<String> = output.lines().map(Result::unwrap).collect();
        let (summary, lines) = lines.split_last().unwrap();
        let texts = lines.iter().filter_map(|line| line.split_once(" OUT ")).map(|(_, text)| text.to_owned());
        assert!(texts.eq((1..=60).map(|n| format!("line {n}"))), "{lines:?}");
        assert!(summary.starts_with("60 lines, each once.") && !summary.contains(" 0 of them"), "{summary}");
        assert_ends_quietly(child);
    });
}

#[test]
fn sample_consumer_ends_quietly_when_its_reader_leaves() {
    let program = within(BUILD, || program("sample_consumer"));
    within(DEADLINE, move || {
        let server = TrafficController::start().unwrap();
        let mut command = Command::new(program);
        let command = command.arg(server.endpoint()).env("CF_ACCESS_TOKEN", "bearer token").env("APP_GUID", "app");
        let (child, mut output) = start(command);
        while server.open_tails("app") == 0 {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            if line == "===== Tailing logs\n" {
                assert!(server.wait_for_tails("app", 1, DEADLINE));
            }
        }
        drop(output);
        // It notices when it has something to print.
        server.send(LogMessage::new("app", "unread"));
        wait_until("the tail has ended", || server.open_tails("app") == 0);
        assert_ends_quietly(child);
    });
}

#[test]
fn wait_for_goes_on_when_log_cache_limits_its_searches() {
    let program = within(BUILD, || program("wait_for"));
    within(DEADLINE, move || {
        const APP: &str = "11111111-1111-1111-1111-111111111111";
        let home = std::env::temp_dir().join(format!("loggregator-consumer-{}-wait_for", std::process::id()));
        let server = TrafficController::of(Generation::Today).unwrap();
        server.cf_home(&home).unwrap();
        server.always_at(RequestKind::LogCacheRead, Fault::RateLimit { status: 429, retry_after: "30".into() });
        let (child, mut output) = start(Command::new(program).args([APP, "listening", "60"]).env("CF_HOME", &home));
        wait_until("it has searched", || {
            server.requests().iter().any(|request| request.kind == RequestKind::LogCacheRead)
        });
        assert!(server.wait_for_tails(APP, 1, DEADLINE));
        server.send(LogMessage::new(APP, "listening on 8080"));
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.ends_with("listening on 8080\n"), "{line}");
        assert_ends_quietly(child);
        let _ = std::fs::remove_dir_all(&home);
    });
}
