//! The examples as programs: what they print, how they exit, that they end quietly when nobody reads their output any
//! more, as with `| head`, and that they obey servers that limit their requests.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::examples::{BUILD, program};
use common::messages::{APP, message_of_now};
use common::{DEADLINE, wait_until, within};
use loggregator_consumer::testing::{Fault, Generation, RequestKind, TrafficController};
use loggregator_consumer::{Body, Envelope, GaugeValue, LogMessage};

/// Starts an example, and returns it with its output.
fn start(example: &mut Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = example.stdout(Stdio::piped()).stderr(Stdio::piped()).env("no_proxy", "*").spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn next_line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line
}

/// Waits for the end of an example, and returns its exit code and what it has written to standard error.
fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[track_caller]
fn assert_ends_quietly(child: Child) {
    assert_eq!(end(child), (Some(0), String::new()));
}

/// Apps of another space than the target of `cf`.
const PROD: &str = "22222222-2222-2222-2222-222222222222";
const ELSEWHERE: &str = "33333333-3333-3333-3333-333333333333";

/// A foundation of today with apps, and a session of `cf`, which is removed in the end.
struct Session {
    server: TrafficController,
    home: PathBuf,
}

impl Session {
    fn start() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("loggregator-consumer-{}-examples-{n}", std::process::id()));
        let builder = TrafficController::builder().generation(Generation::Today);
        let builder = builder.target("org", "dev").app(APP, "my-app").app_in(PROD, "my-app", "org", "prod");
        let server = builder.app_in(ELSEWHERE, "other-app", "org", "prod").tokens([""; 0]).start().unwrap();
        server.cf_home(&home).unwrap();
        Session { server, home }
    }

    fn run(&self, program: &PathBuf, args: &[&str]) -> (Child, BufReader<ChildStdout>) {
        start(Command::new(program).args(args).env("CF_HOME", &self.home))
    }

    fn log(&self, text: &str) {
        self.server.send(message_of_now(APP, text));
    }

    /// Measures an instance: its CPU usage in percent, and its memory in bytes.
    fn measure(&self, instance: &str, cpu: f64, memory: f64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
        let values = [("cpu", cpu), ("memory", memory), ("memory_quota", 268_435_456.0), ("log_rate", 1536.0)];
        let values = values.into_iter().chain([("log_rate_limit", -1.0), ("container_age", 7_500e9)]);
        let values = values.map(|(name, value)| (name.to_owned(), GaugeValue::new(value, ""))).collect();
        let envelope = Envelope::new(APP, Body::Gauge(values)).instance_id(instance).timestamp(now);
        self.server.send_envelope(envelope.tag("process_type", "web"));
    }

    fn has_read_log_cache(&self, times: usize) -> bool {
        let requests = self.server.requests();
        requests.iter().filter(|request| request.kind == RequestKind::LogCacheRead).count() >= times
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.home);
    }
}

#[test]
fn lines_are_printed_in_the_time_zone_of_the_environment() {
    let program = within(BUILD, || program("quickstart"));
    within(DEADLINE, move || {
        for (zone, offset) in [("JST-9", "+0900 ["), ("EST5", "-0500 [")] {
            let (child, output) = start(Command::new(&program).env("TZ", zone));
            let line = output.lines().map(Result::unwrap).find(|line| line.contains("] OUT ")).unwrap();
            assert!(line.contains(offset), "{line}");
            assert_ends_quietly(child);
        }
    });
}

#[test]
fn quickstart_shows_a_late_line_and_a_gap() {
    let program = within(BUILD, || program("quickstart"));
    within(DEADLINE, move || {
        let (child, output) = start(&mut Command::new(program));
        let lines: Vec<String> = output.lines().map(Result::unwrap).collect();
        let begin = lines.iter().position(|line| line.starts_with("Recent messages and then")).unwrap();
        let texts: Vec<_> = lines[begin + 1..].iter().map_while(|line| line.split_once(" OUT ")).collect();
        let (times, texts): (Vec<_>, Vec<_>) = texts.into_iter().unzip();
        assert_eq!(texts, ["tick 1", "tick 2", "tick 3", "on time", "late"], "{lines:?}");
        assert!(times[4] <= times[3], "the late line is the older one: {lines:?}");
        let [gap, after, ..] = &lines[begin + 6..] else { panic!("{lines:?}") };
        assert!(gap.starts_with("   Log Cache no longer holds") && gap.ends_with("may be missing)"), "{gap}");
        assert!(after.ends_with("OUT after a restart of Log Cache"), "{after}");
        assert_ends_quietly(child);
    });
}

#[test]
fn quickstart_ends_quietly_when_its_reader_leaves() {
    let program = within(BUILD, || program("quickstart"));
    within(DEADLINE, move || {
        let (child, mut output) = start(&mut Command::new(program));
        let line = next_line(&mut output);
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
            if next_line(&mut output) == "===== Tailing logs\n" {
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
fn logs_shows_the_recent_lines_and_goes_on_with_all_further_ones() {
    let program = within(BUILD, || program("logs"));
    within(DEADLINE, move || {
        let session = Session::start();
        for text in ["one", "two"] {
            session.log(text);
        }
        let (child, mut output) = session.run(&program, &[APP]);
        for text in ["one", "two"] {
            assert!(next_line(&mut output).ends_with(&format!("OUT {text}\n")));
        }
        let late = message_of_now(APP, "late");
        session.server.send_late(late, Duration::from_millis(1500));
        session.log("three");
        for text in ["three", "late"] {
            assert!(next_line(&mut output).ends_with(&format!("OUT {text}\n")));
        }
        session.server.empty_log_cache();
        session.log("four");
        assert!(next_line(&mut output).ends_with("OUT four\n"));
        drop(output);
        // It notices when it has something to print.
        session.log("unread");
        let (code, errors) = end(child);
        assert_eq!(code, Some(0), "{errors}");
        let [choice, gap] = errors.lines().collect::<Vec<_>>()[..] else { panic!("{errors}") };
        assert!(choice.starts_with("Logs from Log Cache at http://"), "{choice}");
        assert!(gap.starts_with("logs: Log Cache no longer holds"), "{gap}");
    });
}

#[test]
fn logs_shows_only_recent_or_only_further_lines_if_told_to() {
    let program = within(BUILD, || program("logs"));
    within(DEADLINE, move || {
        let session = Session::start();
        session.log("one");
        let (child, output) = session.run(&program, &["--recent", APP]);
        let lines: Vec<String> = output.lines().map(Result::unwrap).collect();
        assert!(matches!(&lines[..], [line] if line.ends_with("OUT one")), "{lines:?}");
        assert_ends_quietly(child);

        let (child, mut output) = session.run(&program, &[APP, "--tail"]);
        assert!(session.server.wait_for_tails(APP, 1, DEADLINE));
        session.log("two");
        assert!(next_line(&mut output).ends_with("OUT two\n"));
        drop(output);
        session.log("unread");
        let (code, errors) = end(child);
        assert_eq!(code, Some(0), "{errors}");
        assert!(errors.starts_with("Logs from Doppler at ws://") && errors.lines().count() == 1, "{errors}");
    });
}

#[test]
fn logs_shows_several_apps_each_line_with_its_name() {
    let program = within(BUILD, || program("logs"));
    within(DEADLINE, move || {
        let session = Session::start();
        let log = |app, text| session.server.send(message_of_now(app, text));
        log(APP, "one");
        log(ELSEWHERE, "two");
        let (child, output) = session.run(&program, &["my-app", ELSEWHERE, "--recent"]);
        let lines: Vec<String> = output.lines().map(Result::unwrap).collect();
        let [one, two] = &lines[..] else { panic!("{lines:?}") };
        assert!(one.starts_with("my-app ") && one.ends_with("OUT one"), "{one}");
        assert!(two.starts_with(&format!("{ELSEWHERE} ")) && two.ends_with("OUT two"), "{two}");
        assert_ends_quietly(child);

        for options in [&[][..], &["--tail"]] {
            let (child, mut output) = session.run(&program, &[&["my-app", ELSEWHERE], options].concat());
            let before = if options.is_empty() { 2 } else { 0 };
            let mut next = || next_line(&mut output);
            (0..before).for_each(|_| drop(next()));
            if before == 0 {
                assert!(session.server.wait_for_tails(APP, 1, DEADLINE));
                assert!(session.server.wait_for_tails(ELSEWHERE, 1, DEADLINE));
            }
            for (app, name) in [(APP, "my-app"), (ELSEWHERE, ELSEWHERE)] {
                log(app, "live");
                let line = next();
                assert!(line.starts_with(&format!("{name} ")) && line.ends_with("OUT live\n"), "{line}");
            }
            drop(output);
            log(APP, "unread");
            assert_eq!(end(child).0, Some(0));
            session.server.empty_log_cache();
            log(APP, "one");
            log(ELSEWHERE, "two");
        }
    });
}

#[test]
fn logs_prints_json_in_the_form_of_log_cache() {
    let program = within(BUILD, || program("logs"));
    within(DEADLINE, move || {
        let session = Session::start();
        let mut message = message_of_now(APP, "one").source("APP/PROC/WEB", "7");
        // Log Cache of today has microseconds.
        message.timestamp -= message.timestamp % 1000;
        session.server.send(message.clone());
        let (child, output) = session.run(&program, &[APP, "--json", "--recent"]);
        let lines: Vec<String> = output.lines().map(Result::unwrap).collect();
        let [line] = &lines[..] else { panic!("{lines:?}") };
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["timestamp"], message.timestamp.to_string());
        assert_eq!((&json["source_id"], &json["instance_id"]), (&APP.into(), &"7".into()));
        assert_eq!((&json["log"]["payload"], &json["log"]["type"]), (&"b25l".into(), &"OUT".into()));
        assert_eq!(serde_json::from_str::<LogMessage>(line).unwrap(), message);
        assert_ends_quietly(child);
    });
}

#[test]
fn logs_and_wait_for_say_what_is_wrong_with_their_exit_code() {
    let programs = within(BUILD, || ["logs", "wait_for"].map(program));
    within(DEADLINE, move || {
        let session = Session::start();
        let unknown = "44444444-4444-4444-4444-444444444444";
        let [logs, wait_for] = &programs;
        let cases: [(&PathBuf, &[&str], i32, &str); 9] = [
            (logs, &[], 2, "usage: logs"),
            (logs, &[APP, "--recent", "--tail"], 2, "usage: logs"),
            (logs, &[APP, "--all"], 2, "usage: logs"),
            (logs, &[unknown], 1, "logs: "),
            (logs, &[unknown, "--recent"], 1, "logs: "),
            (wait_for, &[APP, "text"], 2, "usage: wait_for"),
            (wait_for, &[APP, "text", "soon"], 2, "wait_for: \"soon\" is not"),
            (wait_for, &[APP, "text", "1"], 1, "wait_for: no line with \"text\" within 1 s\n"),
            (wait_for, &[unknown, "text", "1"], 1, "wait_for: "),
        ];
        for (program, args, code, text) in cases {
            let (child, output) = session.run(program, args);
            let (actual, errors) = end(child);
            assert_eq!((actual, output.lines().count()), (Some(code), 0), "{args:?}: {errors}");
            assert!(errors.starts_with(text) && errors.lines().count() == 1, "{args:?}: {errors}");
        }
    });
}

#[test]
fn metrics_prints_a_line_for_each_instance_and_for_each_measurement() {
    let program = within(BUILD, || program("metrics"));
    within(DEADLINE, move || {
        let session = Session::start();
        session.measure("0", 12.5, 33_554_432.0);
        session.measure("1", 0.25, 1_610_612.0);
        let (child, output) = session.run(&program, &[APP, "--once"]);
        let lines: Vec<String> = output.lines().map(Result::unwrap).collect();
        let rest = "disk=?  logging=1.5K/s of unlimited  uptime=2h 5m";
        assert_eq!(
            lines,
            [
                format!("instance=web#0  cpu=12.5%  entitlement=?  memory=32M of 256M  {rest}"),
                format!("instance=web#1  cpu=0.2%  entitlement=?  memory=1.5M of 256M  {rest}"),
            ]
        );
        assert_ends_quietly(child);

        // Live: what is new is printed, also after a failure that passes.
        let (child, mut output) = session.run(&program, &[APP, "--every", "1"]);
        assert!(next_line(&mut output).contains("web#0") && next_line(&mut output).contains("web#1"));
        session.server.fault_at(RequestKind::LogCacheRead, Fault::RefuseStatus { status: 503, body: Vec::new() });
        session.measure("1", 75.0, 1024.0);
        assert!(next_line(&mut output).starts_with("instance=web#1  cpu=75.0%  entitlement=?  memory=1K of 256M"));
        drop(output);
        // It notices when it has something to print.
        session.measure("0", 1.0, 1.0);
        let (code, errors) = end(child);
        assert_eq!(code, Some(0), "{errors}");
        assert!(errors.starts_with("metrics: ") && errors.contains("503") && errors.lines().count() == 1, "{errors}");
    });
}

#[test]
fn metrics_says_what_is_wrong_with_its_exit_code_and_ends_quietly_when_nobody_reads() {
    let program = within(BUILD, || program("metrics"));
    within(DEADLINE, move || {
        let session = Session::start();
        let unknown = "44444444-4444-4444-4444-444444444444";
        let cases: [(&[&str], i32, &str); 6] = [
            (&[], 2, "usage: metrics"),
            (&["--once"], 2, "usage: metrics"),
            (&[APP, "--all"], 2, "usage: metrics"),
            (&[APP, "--every", "0"], 2, "usage: metrics"),
            (&[APP, unknown], 2, "usage: metrics"),
            (&[unknown], 1, "metrics: "),
        ];
        for (args, code, text) in cases {
            let (child, output) = session.run(&program, args);
            let (actual, errors) = end(child);
            assert_eq!((actual, output.lines().count()), (Some(code), 0), "{args:?}: {errors}");
            assert!(errors.starts_with(text) && errors.lines().count() == 1, "{args:?}: {errors}");
        }
        let (mut child, output) = session.run(&program, &["my-app", "--every", "1"]);
        drop(output);
        // It notices when it has something to print.
        while child.try_wait().unwrap().is_none() {
            session.measure("0", 1.0, 1.0);
            thread::sleep(Duration::from_millis(100));
        }
        assert_ends_quietly(child);
    });
}

#[test]
fn wait_for_finds_a_recent_line_also_with_a_token_that_has_expired() {
    let program = within(BUILD, || program("wait_for"));
    within(DEADLINE, move || {
        let session = Session::start();
        session.log("listening on 8080");
        session.server.expire_tokens();
        let (child, mut output) = session.run(&program, &[APP, "listening", "60"]);
        assert!(next_line(&mut output).ends_with("OUT listening on 8080\n"));
        assert_ends_quietly(child);
        assert_eq!(session.server.refreshes(), 1);
    });
}

#[test]
fn wait_for_finds_a_late_line_and_one_after_a_gap() {
    let program = within(BUILD, || program("wait_for"));
    within(DEADLINE, move || {
        let session = Session::start();
        session.log("recent");
        let (child, mut output) = session.run(&program, &[APP, "ready", "60"]);
        // The second request shows that the first one has been answered.
        wait_until("it follows", || session.has_read_log_cache(2));
        session.server.send_late(message_of_now(APP, "ready"), Duration::from_millis(1500));
        session.log("newer");
        assert!(next_line(&mut output).ends_with("OUT ready\n"));
        assert_ends_quietly(child);

        let session = Session::start();
        session.log("recent");
        let (child, mut output) = session.run(&program, &[APP, "ready", "60"]);
        wait_until("it follows", || session.has_read_log_cache(2));
        session.server.empty_log_cache();
        session.log("ready");
        assert!(next_line(&mut output).ends_with("OUT ready\n"));
        let (code, errors) = end(child);
        assert_eq!(code, Some(0), "{errors}");
        assert!(errors.starts_with("wait_for: Log Cache no longer holds") && errors.lines().count() == 1, "{errors}");
    });
}

#[test]
fn wait_for_goes_on_when_log_cache_limits_its_requests_or_is_away() {
    let program = within(BUILD, || program("wait_for"));
    within(DEADLINE, move || {
        let session = Session::start();
        // Its first request, and the next one.
        session.server.fault_at(RequestKind::LogCacheRead, Fault::RateLimit { status: 429, retry_after: "2".into() });
        session.server.fault_at(RequestKind::LogCacheRead, Fault::RefuseStatus { status: 503, body: "away".into() });
        let (child, mut output) = session.run(&program, &[APP, "listening", "60"]);
        wait_until("it has made a request", || session.has_read_log_cache(1));
        let limited = Instant::now();
        wait_until("it has made another one", || session.has_read_log_cache(2));
        assert!(limited.elapsed() > Duration::from_millis(1800), "{:?}", limited.elapsed());
        wait_until("it follows", || session.has_read_log_cache(3));
        // While it follows.
        session.server.fault_at(RequestKind::LogCacheRead, Fault::RateLimit { status: 429, retry_after: "1".into() });
        wait_until("it has been limited again", || session.has_read_log_cache(4));
        session.log("listening on 8080");
        assert!(next_line(&mut output).ends_with("OUT listening on 8080\n"));
        assert_ends_quietly(child);
    });
}

#[test]
fn the_deadline_of_wait_for_interrupts_a_server_that_does_not_answer_and_a_pause() {
    let program = within(BUILD, || program("wait_for"));
    within(DEADLINE, move || {
        let session = Session::start();
        let faults = [Fault::SilentAccept, Fault::RateLimit { status: 429, retry_after: "60".into() }];
        for fault in faults {
            session.server.always_at(RequestKind::LogCacheRead, fault.clone());
            let (child, _output) = session.run(&program, &[APP, "text", "2"]);
            let (code, errors) = end(child);
            assert_eq!((code, errors.lines().count()), (Some(1), 1), "{fault:?}: {errors}");
        }
    });
}

#[test]
fn wait_for_has_found_its_line_even_if_nobody_reads_it() {
    let program = within(BUILD, || program("wait_for"));
    within(DEADLINE, move || {
        let session = Session::start();
        let (child, output) = session.run(&program, &[APP, "listening", "60"]);
        drop(output);
        session.log("listening on 8080");
        assert_ends_quietly(child);
    });
}

/// Emits three envelopes of two sources.
fn emit(session: &Session) {
    session.log("hello");
    for total in 1..=2 {
        let counter = Body::Counter { name: "responses".to_owned(), delta: 1, total };
        session.server.send_envelope(Envelope::new("gorouter", counter));
    }
}

#[test]
fn firehose_counts_by_type_and_source_and_shares_with_others_of_its_shard() {
    let program = within(BUILD, || program("firehose"));
    within(2 * DEADLINE, move || {
        let session = Session::start();
        session.server.cf_home_of_admin(&session.home).unwrap();
        let (child, mut output) = session.run(&program, &["--every", "1"]);
        let (other, mut others_output) = session.run(&program, &["--every", "1", "--shard", "x"]);
        let (third, mut thirds_output) = session.run(&program, &["--shard", "x", "--every", "1"]);
        assert!(session.server.wait_for_tails("*", 3, DEADLINE));
        emit(&session);
        // Until everything has been counted.
        while next_table(&mut output) != [["1", "log", APP], ["2", "counter", "gorouter"]] {}
        // They take turns.
        loop {
            let parts = [&mut others_output, &mut thirds_output].map(next_table);
            let counted = parts.map(|rows| rows.iter().map(|row| row[0].parse::<u32>().unwrap()).sum::<u32>());
            if counted[0] + counted[1] == 3 {
                assert!(!counted.contains(&3), "{counted:?}");
                break;
            }
        }

        // It notices that its readers have left when it prints the next time.
        drop((output, others_output, thirds_output));
        assert_ends_quietly(child);
        assert_ends_quietly(other);
        assert_ends_quietly(third);
    });
}

/// Returns the rows of the next table.
fn next_table(output: &mut impl BufRead) -> Vec<Vec<String>> {
    let lines = std::iter::repeat_with(|| next_line(output)).take_while(|line| line != "\n");
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn firehose_says_what_is_wrong_with_its_exit_code() {
    let program = within(BUILD, || program("firehose"));
    within(DEADLINE, move || {
        let session = Session::start();
        let cases: [(&[&str], i32, &str); 5] = [
            (&["--all"], 2, "usage: firehose"),
            (&["--shard"], 2, "usage: firehose"),
            (&["--every", "0"], 2, "usage: firehose"),
            (&["--every", "soon"], 2, "usage: firehose"),
            // The user is no admin.
            (&[], 1, "firehose: "),
        ];
        for (args, code, text) in cases {
            let (child, output) = session.run(&program, args);
            let (actual, errors) = end(child);
            assert_eq!((actual, output.lines().count()), (Some(code), 0), "{args:?}: {errors}");
            assert!(errors.starts_with(text) && errors.lines().count() == 1, "{args:?}: {errors}");
            assert_eq!(errors.contains("doppler.firehose"), code == 1, "{errors}");
        }
    });
}

#[test]
fn logs_and_wait_for_take_the_name_of_an_app_in_the_target_of_cf() {
    let programs = within(BUILD, || ["logs", "wait_for"].map(program));
    within(DEADLINE, move || {
        let session = Session::start();
        session.log("one");
        let [logs, wait_for] = &programs;
        for (program, args) in [(logs, &["my-app", "--recent"][..]), (wait_for, &["my-app", "one", "60"])] {
            let (child, output) = session.run(program, args);
            let lines: Vec<String> = output.lines().map(Result::unwrap).collect();
            assert!(matches!(&lines[..], [line] if line.ends_with("OUT one")), "{args:?}: {lines:?}");
            assert_ends_quietly(child);
        }
        let (child, mut output) = session.run(logs, &["my-app"]);
        assert!(next_line(&mut output).ends_with("OUT one\n"));
        drop(output);
        session.log("unread");
        assert_eq!(end(child).0, Some(0));
    });
}

#[test]
fn an_unknown_name_is_an_error_that_says_what_is_near() {
    let programs = within(BUILD, || ["logs", "wait_for", "collector"].map(program));
    within(DEADLINE, move || {
        let session = Session::start();
        let [logs, wait_for, collector] = &programs;
        let directory = session.home.join("logs");
        let directory = directory.to_str().unwrap();
        let near = "there is no app `my-ap` in the space org/dev: did you mean `my-app`?\n";
        let elsewhere = format!("(one of this name is in org/prod ({ELSEWHERE}))\n");
        for (program, args, begin, end_of_text) in [
            (logs, &["my-ap"][..], "logs: ", near),
            (logs, &["my-ap", "--tail"], "logs: ", near),
            (logs, &["my-ap", "--recent"], "logs: ", near),
            (logs, &["other-app"], "logs: there is no app `other-app` in the space org/dev, ", &elsewhere),
            (wait_for, &["my-ap", "text", "60"], "wait_for: ", near),
            (collector, &[directory, "my-ap"], "my-ap: ", "collector: 1 apps are not collected any more\n"),
        ] {
            let (child, output) = session.run(program, args);
            let (code, errors) = end(child);
            assert_eq!((code, output.lines().count()), (Some(1), 0), "{args:?}: {errors}");
            assert!(errors.starts_with(begin) && errors.ends_with(end_of_text), "{args:?}: {errors}");
        }
    });
}

#[test]
fn an_ambiguous_name_is_an_error_that_lists_the_apps() {
    let programs = within(BUILD, || ["logs", "wait_for", "collector"].map(program));
    within(DEADLINE, move || {
        let session = Session::start();
        // As after `cf target -o org`, which leaves no space.
        let file = session.home.join(".cf/config.json");
        let text = fs::read_to_string(&file).unwrap();
        let space = session.server.space_guid("org", "dev").unwrap();
        fs::write(&file, text.replace(&space, "")).unwrap();
        let [logs, wait_for, collector] = &programs;
        let directory = session.home.join("logs");
        let directory = directory.to_str().unwrap();
        let text = format!("2 apps are named `my-app`: org/dev ({APP}), org/prod ({PROD}): name the space");
        for (program, args) in [
            (logs, &["my-app"][..]),
            (logs, &["my-app", "--recent"]),
            (wait_for, &["my-app", "text", "60"]),
            (collector, &[directory, "my-app"]),
        ] {
            let (child, output) = session.run(program, args);
            let (code, errors) = end(child);
            assert_eq!((code, output.lines().count()), (Some(1), 0), "{args:?}: {errors}");
            assert!(errors.contains(&text), "{args:?}: {errors}");
        }
    });
}

#[test]
fn collector_takes_the_name_of_an_app() {
    let program = within(BUILD, || program("collector"));
    within(DEADLINE, move || {
        let session = Session::start();
        session.log("one");
        let directory = session.home.join("logs");
        let (mut child, _output) = session.run(&program, &[directory.to_str().unwrap(), "my-app"]);
        let file = directory.join(format!("{APP}.log"));
        wait_until("it has the line", || fs::read_to_string(&file).is_ok_and(|text| text.ends_with("OUT one\n")));
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn sample_consumer_takes_the_name_of_an_app_if_it_knows_the_api() {
    let program = within(BUILD, || program("sample_consumer"));
    within(DEADLINE, move || {
        let builder = TrafficController::builder().generation(Generation::Y2016).token("bearer token");
        let server =
            builder.app(APP, "web").app(PROD, "twin").app_in(ELSEWHERE, "twin", "org", "prod").start().unwrap();
        server.add_recent(APP, [LogMessage::new(APP, "recent")]);
        let run = |app: &str| {
            let mut command = Command::new(&program);
            let command = command.arg(server.endpoint()).env("CF_ACCESS_TOKEN", "bearer token").env("APP_GUID", app);
            start(command.env("CF_API", server.api()))
        };
        let (child, mut output) = run("web");
        assert_eq!(next_line(&mut output), "===== Recent logs\n");
        assert!(next_line(&mut output).ends_with("OUT recent\n"));
        assert!(server.wait_for_tails(APP, 1, DEADLINE));
        server.close_tails(APP, Some(1000), "");
        assert_ends_quietly(child);
        for (app, text) in [("wbe", "did you mean `web`?"), ("twin", "2 apps are named `twin`: ")] {
            let (child, _output) = run(app);
            let (code, errors) = end(child);
            assert_eq!(code, Some(1), "{errors}");
            assert!(errors.starts_with("===== Error: ") && errors.contains(text), "{errors}");
        }
    });
}
