//! What keeps a connection alive: the text of the old servers, pings and pongs. And what happens when they stop.

mod common;

use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use common::messages::{APP, TOKEN, message};
use common::{
    BINARY, CLOSE, DEADLINE, PING, ScriptedServer, TEXT, builder, consumer, frame, hang_up, read_frame, send,
    streaming, upgrading, wait_until, within,
};
use loggregator_consumer::testing::{Frame, Generation, TrafficController};
use loggregator_consumer::{Ending, ErrorKind, LogMessage, Reconnect};

/// A time that no test reaches.
const NEVER: Duration = Duration::from_secs(3600);

/// The real times divided by 25: a server pings 15 s after each pong and waits 30 s for a pong, the client sends a pong
/// every 10 s, and the caller reads nothing for 70 s.
const PING_EVERY: Duration = Duration::from_millis(600);
const PING_DEADLINE: Duration = Duration::from_millis(1200);
const PONG_EVERY: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_millis(2800);

/// Together more than any system buffers for a connection: 64 MiB.
const MESSAGES: i64 = 1024;
const SIZE: usize = 64 * 1024;

/// Returns what a caller gets that reads nothing for a while: the numbers of the messages, and the ending, if there is
/// one.
fn received_after_a_pause(pong_every: Duration) -> (Vec<i64>, Option<Ending>) {
    let server = TrafficController::builder()
        .generation(Generation::Y2016)
        .ping(PING_EVERY, PING_DEADLINE)
        .backlog(1 << 20)
        .retain(0)
        .start()
        .unwrap();
    // A pause of the caller does not count for the idle timeout.
    let consumer = builder(&server.endpoint()).pong_every(pong_every).idle_timeout(PAUSE / 2).build().unwrap();
    let mut tail = consumer.tail(APP, TOKEN).unwrap();
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let send = |number| server.send(LogMessage::new(APP, [b'x'; SIZE]).timestamp(number));
            (0..MESSAGES).take_while(|number| send(*number) == 1).for_each(drop);
        });
        wait_until("the queue is full", || tail.receiver().is_full());
        let is_cut_off = server.wait_for_received(PAUSE, |received| received[0].ended.is_some());
        assert!(is_cut_off || !sending.is_finished(), "the system buffered everything, so the caller did not pause");
        let messages = tail.by_ref().take(MESSAGES as usize);
        let numbers = messages.map_while(|message| Some(message.ok()?.timestamp)).collect();
        (numbers, tail.ending().cloned())
    })
}

#[test]
fn a_caller_that_pauses_longer_than_the_pong_deadline_gets_every_message() {
    within(3 * DEADLINE, || {
        let (numbers, ending) = received_after_a_pause(PONG_EVERY);
        assert!(numbers.into_iter().eq(0..MESSAGES), "{ending:?}");
        assert_eq!(ending, None);
    });
}

/// Shows that the test above can fail.
#[test]
fn without_unsolicited_pongs_a_caller_that_pauses_is_cut_off() {
    within(3 * DEADLINE, || {
        let (numbers, ending) = received_after_a_pause(NEVER);
        assert!((numbers.len() as i64) < MESSAGES);
        assert!(!ending.unwrap().is_clean());
    });
}

#[test]
fn the_first_keep_alive_text_is_sent_at_once() {
    within(DEADLINE, || {
        let server = TrafficController::start().unwrap();
        let consumer = builder(&server.endpoint()).keep_alive(NEVER).build().unwrap();
        let _tail = consumer.tail(APP, TOKEN).unwrap();
        let alive = Frame::Text("I'm alive!".into());
        assert!(server.wait_for_received(DEADLINE, |received| {
            received[0].frames.iter().any(|received| received.frame == alive)
        }));
    });
}

const PONG: u8 = 10;

/// Runs a server that accepts the handshake, reads the first text and runs `then`, while a caller reads all messages.
fn served_by(then: impl FnOnce(&mut TcpStream) + Send + 'static) -> Ending {
    let (done, wait_until_done) = channel();
    let server = ScriptedServer::start(vec![upgrading(move |mut socket| {
        assert_eq!(read_frame(&mut socket), Some((TEXT, b"I'm alive!".to_vec())));
        then(&mut socket);
        done.send(()).unwrap();
        hang_up(socket);
    })]);
    let mut tail = builder(&server.endpoint()).keep_alive(NEVER).build().unwrap().tail(APP, TOKEN).unwrap();
    tail.by_ref().for_each(drop);
    wait_until_done.recv().expect("the server's assertions hold");
    tail.ending().unwrap().clone()
}

#[test]
fn a_tail_that_reads_sends_pongs_only_in_answer_to_pings() {
    within(DEADLINE, || {
        let server = ScriptedServer::start(vec![upgrading(|mut socket| {
            thread::sleep(Duration::from_millis(300));
            send(&mut socket, &[&frame(PING, b"now")]);
            assert_eq!(read_frame(&mut socket), Some((TEXT, b"I'm alive!".to_vec())));
            assert_eq!(read_frame(&mut socket), Some((PONG, b"now".to_vec())));
            send(&mut socket, &[&frame(CLOSE, &1000_u16.to_be_bytes())]);
            hang_up(socket);
        })]);
        let builder = builder(&server.endpoint()).keep_alive(NEVER).pong_every(Duration::from_millis(1));
        let mut tail = builder.build().unwrap().tail(APP, TOKEN).unwrap();
        assert!(tail.next().is_none());
        assert!(tail.ending().unwrap().is_clean(), "{:?}", tail.ending());
    });
}

#[test]
fn pongs_are_sent_while_on_connect_blocks_after_a_reconnect() {
    within(DEADLINE, || {
        let (has_pong, pong) = channel();
        let server = ScriptedServer::start(vec![
            upgrading(hang_up),
            upgrading(move |mut socket| {
                let frames = std::iter::from_fn(|| read_frame(&mut socket));
                frames.filter(|(opcode, _)| *opcode == PONG).for_each(|_| _ = has_pong.send(()));
            }),
        ]);
        let (pong, connects) = (Mutex::new(pong), AtomicUsize::new(0));
        let (seen, has_seen) = channel();
        let builder = builder(&server.endpoint()).pong_every(Duration::from_millis(10));
        let builder = builder.reconnect(Reconnect::default().first(Duration::ZERO)).on_connect(move || {
            if connects.fetch_add(1, Ordering::SeqCst) == 1 {
                let pong = pong.lock().unwrap();
                seen.send([pong.recv(), pong.recv()].iter().all(Result::is_ok)).unwrap();
            }
        });
        let _tail = builder.build().unwrap().tail(APP, TOKEN).unwrap();
        assert_eq!(has_seen.recv(), Ok(true));
    });
}

#[test]
fn a_ping_is_answered_at_once_with_its_payload() {
    within(DEADLINE, || {
        served_by(|socket| {
            for payload in [b"".to_vec(), b"a payload".to_vec(), vec![0xff; 125]] {
                send(socket, &[&frame(PING, &payload)]);
                assert_eq!(read_frame(socket), Some((PONG, payload)));
            }
        });
    });
}

#[test]
fn a_ping_is_answered_in_a_flood_of_messages() {
    within(DEADLINE, || {
        served_by(|socket| {
            let (enough, stop) = channel();
            let mut writer = socket.try_clone().unwrap();
            let writing = thread::spawn(move || {
                let messages = frame(BINARY, &message("hi")).repeat(1000);
                let ping = frame(PING, b"in between");
                while stop.try_recv().is_err() {
                    send(&mut writer, &[&messages, &ping, &messages]);
                }
            });
            for _ in 0..10 {
                assert_eq!(read_frame(socket), Some((PONG, b"in between".to_vec())));
            }
            enough.send(()).unwrap();
            // The writer ends even if the other pongs are not read.
            writing.join().unwrap();
        });
    });
}

#[test]
fn the_error_has_the_close_code_and_reason_of_a_server_that_missed_pongs() {
    within(DEADLINE, || {
        let reason = "Client did not respond to ping before keep-alive timeout expired.";
        let close = [&1008_u16.to_be_bytes(), reason.as_bytes()].concat();
        let frames = [frame(BINARY, &message("hi")), frame(CLOSE, &close)].concat();
        let server = ScriptedServer::start(vec![streaming(frames)]);
        let mut tail = consumer(&server.endpoint()).tail(APP, TOKEN).unwrap();
        assert_eq!(tail.next().unwrap().unwrap().text(), "hi");
        let error = tail.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ClosedByServer);
        assert_eq!(error.to_string(), format!("the server closed the connection with 1008: {reason}"));
        assert!(tail.next().is_none());
        assert_eq!(tail.ending(), Some(&Ending::ClosedByServer { code: Some(1008), reason: reason.into() }));
    });
}

#[test]
fn a_server_that_falls_silent_ends_the_tail_after_the_idle_timeout() {
    within(DEADLINE, || {
        let idle_timeout = Duration::from_millis(200);
        let server = TrafficController::builder().ping(NEVER, NEVER).start().unwrap();
        let consumer = builder(&server.endpoint()).idle_timeout(idle_timeout).build().unwrap();
        let begin = Instant::now();
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        server.send(LogMessage::new(APP, "the last"));
        assert_eq!(tail.next().unwrap().unwrap().text(), "the last");
        assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        assert!(begin.elapsed() >= idle_timeout);
        assert!(tail.next().is_none());
        assert_eq!(tail.ending(), Some(&Ending::TimedOut));
    });
}

#[test]
fn pings_restart_the_idle_timeout() {
    within(DEADLINE, || {
        let server = TrafficController::builder().ping(Duration::from_millis(50), NEVER).start().unwrap();
        let idle_timeout = Duration::from_secs(1);
        let consumer = builder(&server.endpoint()).idle_timeout(idle_timeout).build().unwrap();
        let tail = consumer.tail(APP, TOKEN).unwrap();
        let ended = server.wait_for_received(2 * idle_timeout, |received| received[0].ended.is_some());
        assert!(!ended);
        assert_eq!(tail.ending(), None);
    });
}
