//! Tools that must not lose a line, while everything that can break does: the connections, the foundation, the tokens and
//! the tool itself. They have each line of twenty apps once, and in order.

mod common;
#[allow(dead_code)] // Its `main` is run by `tests/examples.rs`.
#[path = "../examples/fill_gaps.rs"]
mod fill_gaps;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::examples::{BUILD, program};
use common::{wait_until, within};
use fill_gaps::Filled;
use loggregator_consumer::testing::{Fault, Generation, RequestKind, RouterError, Server, Target, TrafficController};
use loggregator_consumer::{Builder, Consumer, ErrorKind, LogMessage, Proxy, Reconnect, TokenSource, Uaa};

/// What each app logs, and how fast: 50 lines a second, for 8 s.
const LINES: usize = 400;
const PAUSE: Duration = Duration::from_millis(20);

/// The time for all of it on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

fn apps() -> Vec<String> {
    (0..20).map(|n| format!("{n:08}-1111-1111-1111-111111111111")).collect()
}

/// A line of an app, logged now.
fn line(app: &str, n: usize) -> LogMessage {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    LogMessage::new(app, format!("line {n}")).source("APP/PROC/WEB", "0").timestamp(now.as_nanos() as i64)
}

fn expected() -> Vec<String> {
    (0..LINES).map(|n| format!("line {n}")).collect()
}

/// A foundation with these apps and no others, which accepts only tokens of its UAA.
fn serve(apps: &[String]) -> TrafficController {
    let builder = TrafficController::builder().generation(Generation::Today);
    builder.apps(apps).tokens([""; 0]).start().unwrap()
}

/// Lets all apps log all lines. `trouble` gets the number of the next line.
fn log_lines(server: &TrafficController, apps: &[String], mut trouble: impl FnMut(usize)) {
    for n in 0..LINES {
        trouble(n);
        for app in apps {
            server.send(line(app, n));
        }
        thread::sleep(PAUSE);
    }
}

/// A program that collects, and is killed when it is dropped.
struct Collector(Child);

impl Drop for Collector {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The texts that the example `collector` has written for an app.
fn written(directory: &Path, app: &str) -> Vec<String> {
    let text = fs::read_to_string(directory.join(format!("{app}.log"))).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once("OUT ")).map(|(_, text)| text.to_owned()).collect()
}

/// A folder that is removed in the end.
struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_collector_that_is_killed_has_every_line_once_and_in_order() {
    let program = within(BUILD, || program("collector"));
    within(LIMIT, move || {
        let home = Home(std::env::temp_dir().join(format!("loggregator-consumer-{}-collector", std::process::id())));
        let directory = home.0.join("logs");
        let apps = apps();
        let server = serve(&apps);
        server.cf_home(&home.0).unwrap();
        let messages = File::create(home.0.join("messages")).unwrap();
        let collect = || {
            let mut command = Command::new(&program);
            // A short horizon, so that the files are complete up to a time that moves.
            command.args(["--horizon", "1"]).arg(&directory).args(&apps).env("CF_HOME", &home.0).env("no_proxy", "*");
            Collector(command.stderr(messages.try_clone().unwrap()).spawn().unwrap())
        };

        let mut collector = Some(collect());
        log_lines(&server, &apps, |n| {
            match n {
                // Connections that break.
                40 => {
                    for app in &apps {
                        server.fault_at(RequestKind::LogCacheRead, Fault::DropAfter(0));
                        server.fault_at(RequestKind::LogCacheRead, Fault::ResetAfter(500));
                        server.fault_at(RequestKind::LogCacheRead, Fault::Truncate);
                        server.fault_at(RequestKind::LogCacheRead, Fault::Garbage(app.clone().into_bytes()));
                    }
                }
                // The tokens.
                70 | 280 => server.expire_tokens(),
                // The foundation restarts.
                100 => server.stop(),
                125 => server.restart().unwrap(),
                // The tool is killed, and is away for half a second.
                150 => collector = None,
                175 => collector = Some(collect()),
                200 => server.always_at(Server::LogCache, Fault::RefuseStatus { status: 503, body: "away".into() }),
                225 => server.always_at(Server::LogCache, []),
                // No token can be checked.
                240 => server.take_away(Server::Uaa, RouterError::NoEndpoints),
                260 => server.bring_back(Server::Uaa),
                // The node of Log Cache has empty responses.
                300 => server.set_node_away(true),
                320 => server.set_node_away(false),
                // The tool is killed, and comes back while the foundation is away.
                340 => {
                    server.stop();
                    drop(collector.take());
                    collector = Some(collect());
                }
                360 => server.restart().unwrap(),
                _ => {}
            }
        });
        wait_until("each app has all lines", || apps.iter().all(|app| written(&directory, app).len() >= LINES));

        // A last restart brings no line twice.
        drop(collector);
        let before = server.requests().len();
        let collector = collect();
        wait_until("each app has been read again", || {
            let reads = server.requests().split_off(before);
            apps.iter().all(|app| reads.iter().filter(|request| request.app() == *app).count() >= 3)
        });
        drop(collector);

        for app in &apps {
            let messages = fs::read_to_string(home.0.join("messages")).unwrap();
            assert!(written(&directory, app) == expected(), "{:?}\n{messages}", written(&directory, app));
        }
    });
}

/// Collects the lines of an app, and begins again when the consumer is closed.
fn collect_filled(consumer: &Consumer, app: &str) -> Vec<LogMessage> {
    let mut lines = Vec::new();
    while lines.len() < LINES {
        match Filled::open(consumer, app, &lines) {
            Ok(filled) => lines.extend(filled.map(|line| line.unwrap()).take(LINES - lines.len())),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
        }
    }
    lines
}

#[test]
fn tails_whose_gaps_are_filled_have_every_line_once_and_in_order() {
    within(LIMIT, || {
        let apps = apps();
        let server = serve(&apps);
        let uaa = Uaa::new(&server.api()).refresh_token(&server.issue_refresh_token());
        let pause = Duration::from_millis(20);
        let consumer = Builder::new()
            .api(&server.api())
            .tokens(TokenSource::uaa(uaa).unwrap())
            .reconnect(Reconnect::default().first(pause).longest(pause))
            .proxy(Proxy::none())
            .build()
            .unwrap();
        thread::scope(|scope| {
            let threads: Vec<_> = apps.iter().map(|app| scope.spawn(|| collect_filled(&consumer, app))).collect();
            let each = |what: &dyn Fn(&str)| apps.iter().for_each(|app| what(app));
            log_lines(&server, &apps, |n| match n {
                // Connections that end.
                40 => each(&|app| _ = server.drop_tails(app)),
                80 => each(&|app| _ = server.close_tails(app, Some(1000), "")),
                // The foundation restarts.
                120 => server.stop(),
                145 => server.restart().unwrap(),
                // The tool restarts.
                190 => consumer.close().unwrap(),
                // Each tail breaks, and fails to connect twice.
                230 => each(&|app| {
                    server.fault_at(Target::tails(), Fault::RefuseStatus { status: 503, body: "away".into() });
                    server.fault_at(Target::tails(), Fault::ResetAfter(0));
                    server.fault_at(RequestKind::LogCacheRead, Fault::Truncate);
                    server.reset_tails(app);
                }),
                // They break while the tokens are expired, and then while none can be checked.
                270 => {
                    server.expire_tokens();
                    each(&|app| _ = server.close_tails(app, Some(1008), "too slow"));
                }
                310 => {
                    server.take_away(Server::Uaa, RouterError::NoEndpoints);
                    each(&|app| _ = server.drop_tails(app));
                }
                335 => server.bring_back(Server::Uaa),
                _ => {}
            });
            for (app, thread) in apps.iter().zip(threads) {
                let texts: Vec<_> = thread.join().unwrap().iter().map(|line| line.text().into_owned()).collect();
                assert!(texts == expected(), "{app}: {texts:?}");
            }
        });
    });
}
