//! Callers that stall while the server sends large messages: memory stays bounded, TCP pushes back, the connection
//! stays alive, a close is prompt, and a caller that continues gets every message.
//!
//! One test, because it measures the memory of the whole process, including the server.
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
use loggregator_consumer::testing::{Frame, Generation, SlowReader, TrafficController};
use loggregator_consumer::{
    Body, Builder, Consumer, Ending, Envelope, LogMessage, MessageType, Proxy, Result, Selection, Tail,
};

const MB: usize = 1 << 20;

/// The size of a message's text.
const SIZE: usize = MB;

/// Far more than the system buffers for a connection, which is at most about 36 MiB by Linux's defaults.
const MESSAGES: i64 = 128;

/// How many batches a tail holds, each about 256 KiB plus one message, as the docs of `Tail` say.
const PIECES: usize = 11;

const PING_EVERY: Duration = Duration::from_millis(100);
const PING_DEADLINE: Duration = Duration::from_millis(1500);
const PONG_EVERY: Duration = Duration::from_millis(100);

/// Far longer than a close takes, but still prompt for a caller.
const PROMPT: Duration = Duration::from_secs(1);

/// The most memory that may be used while the caller stalls, for messages of this size on the wire: the batches that
/// wait, the same again for what the allocator may keep of growing buffers, and a few messages in transit, some of them
/// in the server, which is part of this process.
fn bound(message: usize) -> usize {
    PIECES * (256 * 1024 + 2 * message) + 12 * MB
}

#[test]
fn a_caller_that_stalls_costs_bounded_memory_and_loses_nothing() {
    within(6 * DEADLINE, || {
        for (generation, tls) in [(Generation::Y2016, true), (Generation::Today, false)] {
            stall_websocket(generation, tls, |server, tail| {
                assert_stays_connected(server);
                assert_gets_everything(tail);
            });
        }
        stall_gateway(assert_gets_everything);
        stall_firehose(|tail| {
            let numbers = tail.take(MESSAGES as usize).map(|envelope| envelope.unwrap().timestamp);
            assert!(numbers.eq(0..MESSAGES));
        });
        stall_firehose(|tail| assert_closes_promptly(|| drop(tail)));
        stall_websocket(Generation::Y2016, false, |_, tail| assert_closes_promptly(|| tail.close().unwrap()));
        stall_websocket(Generation::Y2016, true, |_, tail| assert_closes_promptly(|| drop(tail)));
        stall_gateway(|tail| assert_closes_promptly(|| tail.close().unwrap()));
        stall_websocket(Generation::Today, true, |_, mut tail| {
            assert_closes_promptly(|| {
                tail.closer().close().unwrap();
                wait_until("the tail has ended", || tail.ending().is_some());
            });
            assert_eq!(tail.ending(), Some(&Ending::Closed));
            // The messages that had arrived by then are still given.
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

fn stall_firehose(then: impl FnOnce(Tail<Envelope>)) {
    let builder = TrafficController::builder().generation(Generation::Today).ping(PING_EVERY, PING_DEADLINE);
    // It waits for its readers, so that whatever is lost is lost on this side.
    let server = builder.slow_reader(SlowReader::Wait).backlog(1).retain(0).start().unwrap();
    let sent = AtomicI64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(server.wait_for_tails("*", 1, DEADLINE));
            let body = || Body::Log { payload: vec![b'x'; SIZE], message_type: MessageType::Out };
            let send = |number| server.send_envelope(Envelope::new(APP, body()).timestamp(number));
            (0..MESSAGES).take_while(|number| send(*number) == 1).for_each(|number| sent.store(number, Relaxed));
        });
        let builder = Builder::new().doppler(&server.endpoint());
        let token = server.issue_admin_token();
        let open = |consumer: &Consumer| consumer.stream(&Selection::all(), &token);
        stall_open(builder, open, &sent, bound(SIZE), then);
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

/// Opens a tail at a server that sends as fast as the client reads, receives nothing, asserts that TCP pushes back and
/// memory is bounded, and runs `then`.
fn stall(builder: Builder, sent: &AtomicI64, bound: usize, then: impl FnOnce(Tail)) {
    stall_open(builder, |consumer| consumer.tail(APP, TOKEN), sent, bound, then);
}

fn stall_open<T>(
    builder: Builder,
    open: impl FnOnce(&Consumer) -> Result<Tail<T>>,
    sent: &AtomicI64,
    bound: usize,
    then: impl FnOnce(Tail<T>),
) {
    // A pause of the caller does not count for the idle timeout.
    let builder = builder.proxy(Proxy::none()).idle_timeout(PING_DEADLINE).pong_every(PONG_EVERY);
    let consumer = builder.build().unwrap();
    let before = Resident::now().current;
    Resident::reset_peak();
    let tail = open(&consumer).unwrap();
    let taken = wait_until_constant(sent);
    assert!(taken < MESSAGES - 1, "TCP did not push back");
    let memory = Resident::now().peak.saturating_sub(before);
    println!("{} MiB, of {} MiB, when the server had sent {taken} messages", memory / MB, bound / MB);
    assert!(memory <= bound, "{} MiB", memory / MB);
    then(tail);
}

/// Returns the number once it has not changed for a while.
fn wait_until_constant(number: &AtomicI64) -> i64 {
    loop {
        let before = number.load(Relaxed);
        thread::sleep(Duration::from_millis(200));
        if before > 0 && before == number.load(Relaxed) {
            return before;
        }
    }
}

/// Asserts that pongs are sent, and that the server, which needs one for each ping, keeps the connection for longer
/// than its ping deadline.
fn assert_stays_connected(server: &TrafficController) {
    let pongs = || {
        let received = server.received();
        received[0].frames.iter().filter(|received| matches!(received.frame, Frame::Pong(_))).count()
    };
    let before = pongs();
    assert!(!server.wait_for_received(PING_DEADLINE * 3 / 2, |received| received[0].ended.is_some()));
    assert!(pongs() >= before + 3, "{} after {before}", pongs());
}

fn assert_gets_everything(tail: Tail) {
    let numbers = tail.take(MESSAGES as usize).map(|message| message.unwrap().timestamp);
    assert!(numbers.eq(0..MESSAGES));
}

fn assert_closes_promptly(close: impl FnOnce()) {
    let began = Instant::now();
    close();
    println!("closed in {:?}", began.elapsed());
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
}
