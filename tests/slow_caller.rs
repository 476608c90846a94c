//! Callers that stall while the server sends large messages: memory stays bounded, TCP pushes back, the connection is
//! kept, a close is prompt, and who goes on gets every message.
//!
//! All of it in one test, for it measures the memory of the whole process. The server is in it, too.
#![cfg(target_os = "linux")]

mod common;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use common::memory::Resident;
use common::messages::{APP, TOKEN, head};
use common::{DEADLINE, ScriptedServer, drain, read_head, send, wait_until, within};
use loggregator_consumer::testing::{Frame, Generation, TrafficController};
use loggregator_consumer::{Builder, Ending, LogMessage, Proxy, Tail};

const MB: usize = 1 << 20;

/// Of a message's text.
const SIZE: usize = MB;

/// Far more than the system holds of a connection, which is some 36 MiB at the most by Linux's defaults.
const MESSAGES: i64 = 128;

/// How many pieces a tail holds, each about 256 KiB and one message more: what the docs of `Tail` say.
const PIECES: usize = 11;

const PING_EVERY: Duration = Duration::from_millis(100);
const PING_DEADLINE: Duration = Duration::from_millis(1500);
const PONG_EVERY: Duration = Duration::from_millis(100);

/// Far longer than a close takes, and no more than a caller would call prompt.
const PROMPT: Duration = Duration::from_secs(1);

/// What may be in memory while the caller stalls, if a message takes so many bytes on the wire: what waits for it, with as
/// much again that growing buffers may leave in the allocator's hands, and a few messages on their way, some of them in
/// the server, which is in this process, too.
fn bound(message: usize) -> usize {
    PIECES * (256 * 1024 + 2 * message) + 12 * MB
}

#[test]
fn a_caller_that_stalls_costs_bounded_memory_and_loses_nothing() {
    within(6 * DEADLINE, || {
        for (generation, tls) in [(Generation::Y2016, true), (Generation::Today, false)] {
            stall_websocket(generation, tls, |server, tail| {
                is_kept(server);
                goes_on(tail);
            });
        }
        stall_gateway(goes_on);
        stall_websocket(Generation::Y2016, false, |_, tail| closes_promptly(|| tail.close().unwrap()));
        stall_websocket(Generation::Y2016, true, |_, tail| closes_promptly(|| drop(tail)));
        stall_gateway(|tail| closes_promptly(|| tail.close().unwrap()));
        stall_websocket(Generation::Today, true, |_, mut tail| {
            closes_promptly(|| {
                tail.closer().close().unwrap();
                wait_until("the tail has ended", || tail.ending().is_some());
            });
            assert_eq!(tail.ending(), Some(&Ending::Closed));
            // What had come by then is given still.
            let numbers: Vec<_> = tail.by_ref().map(|message| message.unwrap().timestamp).collect();
            assert!(!numbers.is_empty() && numbers.iter().copied().eq(0..numbers.len() as i64), "{numbers:?}");
        });
    });
}

fn stall_websocket(generation: Generation, tls: bool, then: impl FnOnce(&TrafficController, Tail)) {
    let server = TrafficController::builder().generation(generation).ping(PING_EVERY, PING_DEADLINE);
    let server = server.backlog(1).retain(0);
    let server = if tls { server.tls() } else { server }.start().unwrap();
    let builder = match generation {
        Generation::Today => Builder::new().doppler(&server.endpoint()),
        _ => Builder::new().legacy(&server.endpoint()),
    };
    let sent = AtomicI64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(server.wait_for_tails(APP, 1, DEADLINE));
            let send = |number| server.send(LogMessage::new(APP, vec![b'x'; SIZE]).timestamp(number));
            (0..MESSAGES).take_while(|number| send(*number) == 1).for_each(|number| sent.store(number, Relaxed));
        });
        stall(builder.tls_connector(server.tls_connector()), &sent, bound(SIZE), |tail| then(&server, tail));
    });
}

fn stall_gateway(then: impl FnOnce(Tail)) {
    let payload = "eHh4".repeat(SIZE / 3);
    let size = payload.len();
    let sent = Arc::new(AtomicI64::new(0));
    let server = ScriptedServer::start(vec![Box::new({
        let sent = Arc::clone(&sent);
        move |mut socket| {
            read_head(&mut socket);
            send(&mut socket, &[&head("200 OK", &["Content-Type: text/event-stream"])]);
            for number in 0..MESSAGES {
                let begin = format!("data: {{\"batch\":[{{\"timestamp\":\"{number}\",\"log\":{{\"payload\":\"");
                send(&mut socket, &[begin.as_bytes(), payload.as_bytes(), b"\"}}]}\n\n"]);
                sent.store(number, Relaxed);
            }
            drain(socket);
        }
    })]);
    stall(Builder::new().rlp_gateway(&format!("http://{}", server.address)), &sent, bound(size), then);
}

/// Opens a tail at a server that sends as much as is taken from it, takes nothing, sees that it is not much, and goes on
/// with `then`.
fn stall(builder: Builder, sent: &AtomicI64, bound: usize, then: impl FnOnce(Tail)) {
    // The pause is the caller's, and no silence of the server.
    let builder = builder.proxy(Proxy::none()).idle_timeout(PING_DEADLINE).pong_every(PONG_EVERY);
    let consumer = builder.build().unwrap();
    let before = Resident::now().current;
    Resident::reset_peak();
    let tail = consumer.tail(APP, TOKEN).unwrap();
    let taken = when_it_rests(sent);
    assert!(taken < MESSAGES - 1, "TCP did not push back");
    let memory = Resident::now().peak.saturating_sub(before);
    println!("{} MiB, of {} MiB, when the server had sent {taken} messages", memory / MB, bound / MB);
    assert!(memory <= bound, "{} MiB", memory / MB);
    then(tail);
}

/// What the number is as soon as it has not changed for a while.
fn when_it_rests(number: &AtomicI64) -> i64 {
    loop {
        let before = number.load(Relaxed);
        thread::sleep(Duration::from_millis(200));
        if before > 0 && before == number.load(Relaxed) {
            return before;
        }
    }
}

/// That pongs go out, and the server, which wants one for each ping, is content for longer than it would wait.
fn is_kept(server: &TrafficController) {
    let pongs = || {
        let received = server.received();
        received[0].frames.iter().filter(|received| matches!(received.frame, Frame::Pong(_))).count()
    };
    let before = pongs();
    assert!(!server.wait_for_received(PING_DEADLINE * 3 / 2, |received| received[0].ended.is_some()));
    assert!(pongs() >= before + 3, "{} after {before}", pongs());
}

fn goes_on(tail: Tail) {
    let numbers = tail.take(MESSAGES as usize).map(|message| message.unwrap().timestamp);
    assert!(numbers.eq(0..MESSAGES));
}

fn closes_promptly(close: impl FnOnce()) {
    let began = Instant::now();
    close();
    println!("closed in {:?}", began.elapsed());
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
}
