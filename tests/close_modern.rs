//! Closes with today's generations, in everything that they can wait for: promptly, and without leaking a thread, a
//! socket or another descriptor.
//!
//! One test, because it counts the threads and descriptors of the whole process.
#![cfg(target_os = "linux")]

mod common;

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::leftovers::assert_leaks_nothing;
use common::messages::{APP, TOKEN};
use common::{DEADLINE, wait_until, within};
use loggregator_consumer::testing::{self, Fault, Generation, RequestKind, TrafficController};
use loggregator_consumer::{
    Builder, Consumer, Ending, ErrorKind, LogMessage, Proxy, Reconnect, Result, Tail, TokenSource, Uaa,
};

/// A time limit that no test reaches.
const NEVER: Duration = Duration::from_secs(3600);

/// A close takes far less, but the machine may be busy.
const PROMPT: Duration = Duration::from_secs(1);

#[test]
fn a_close_is_prompt_in_every_state_and_leaks_nothing() {
    within(6 * DEADLINE, || {
        // The first use opens descriptors that stay open, such as a source of random numbers.
        in_a_streams_body(true, |_| {});
        for (state, act) in STATES {
            let started = Instant::now();
            assert_leaks_nothing(state, act);
            // A token's renewal may take 10 s, but ends soon after the calls that needed it.
            assert!(started.elapsed() < Duration::from_secs(8), "{state}: {:?}", started.elapsed());
        }
    });
}

const STATES: &[(&str, fn())] = &[
    ("a stream's body that stalls", || in_a_streams_body(false, |_| {})),
    ("the same over TLS", || in_a_streams_body(true, |_| {})),
    ("a stream's body that stalls in an event", || {
        in_a_streams_body(false, |server| assert_eq!(server.send_bytes(APP, b"data: {\"batch\":[{\"timesta"), 1))
    }),
    ("a stream that drips", in_a_stream_that_drips),
    ("the body of Log Cache's response", || in_a_recent(Fault::DelayedBody(NEVER))),
    ("the head of Log Cache's response", || in_a_recent(Fault::StallAfter(20))),
    ("the backoff of a Doppler stream", || in_a_backoff(|server| Builder::new().doppler(&server.endpoint()))),
    ("the backoff of the RLP gateway", || in_a_backoff(|server| Builder::new().rlp_gateway(&server.api()))),
    ("discovery without a response", || in_a_discovery(Fault::SilentAccept)),
    ("the response head of discovery", || in_a_discovery(Fault::StallAfter(20))),
    ("the response body of discovery", || in_a_discovery(Fault::DelayedBody(NEVER))),
    ("a UAA without a response", || in_a_refresh(Fault::SilentAccept)),
    ("the head of a UAA's response", || in_a_refresh(Fault::StallAfter(20))),
    ("the body of a UAA's response", || in_a_refresh(Fault::DelayedBody(NEVER))),
    ("a token refresh of a tail that reconnects", in_a_refresh_of_a_tail),
];

fn serve(server: testing::TrafficControllerBuilder) -> TrafficController {
    server.generation(Generation::Today).heartbeat(NEVER).start().unwrap()
}

fn without_timeouts(builder: Builder) -> Builder {
    let builder = builder.connect_timeout(NEVER).read_timeout(NEVER).recent_timeout(NEVER).idle_timeout(NEVER);
    builder.proxy(Proxy::none())
}

/// Asserts that a function is prompt.
fn promptly<T>(act: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = act();
    assert!(started.elapsed() < PROMPT, "it took {:?}", started.elapsed());
    result
}

type Call = fn(&Consumer) -> Result<()>;

const TAIL: Call = |consumer| consumer.tail(APP, "").map(drop);
const RECENT: Call = |consumer| consumer.recent(APP, "").map(drop);
const TAIL_CHOICE: Call = |consumer| consumer.tail_choice().map(drop);
const RECENT_CHOICE: Call = |consumer| consumer.recent_choice().map(drop);

/// Closes the consumer while one of its calls waits.
fn close_call(consumer: &Consumer, call: Call, wait_until_it_waits: impl FnOnce()) {
    let waiting: JoinHandle<_> = {
        let consumer = consumer.clone();
        thread::spawn(move || call(&consumer))
    };
    wait_until_it_waits();
    // The server may still serve the renewal of another call, before this one has begun.
    wait_until("there is something to close", || consumer.close().is_ok());
    let result = promptly(|| waiting.join().unwrap());
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::NotConnected);
}

/// Closes a tail by a closer, by the consumer, by the tail itself, and by dropping it.
fn close_tail_in_each_way(consumer: &Consumer, open: impl Fn() -> Tail) {
    let ways: [fn(&Consumer, &Tail); 2] =
        [|_, tail| tail.closer().close().unwrap(), |consumer, _| consumer.close().unwrap()];
    for close in ways {
        let mut tail = open();
        promptly(|| {
            close(consumer, &tail);
            assert!(tail.next().is_none());
        });
        assert_eq!(tail.ending(), Some(&Ending::Closed));
    }
    let tail = open();
    promptly(|| tail.close().unwrap());
    let tail = open();
    promptly(|| drop(tail));
}

fn in_a_streams_body(tls: bool, stall: fn(&TrafficController)) {
    let server = TrafficController::builder();
    let server = serve(if tls { server.tls() } else { server });
    let consumer = without_timeouts(Builder::new().rlp_gateway(&server.api())).tls_connector(server.tls_connector());
    let consumer = consumer.build().unwrap();
    close_tail_in_each_way(&consumer, || {
        let mut tail = consumer.tail(APP, TOKEN).unwrap();
        server.send(LogMessage::new(APP, "hello"));
        assert_eq!(tail.next().unwrap().unwrap().text(), "hello");
        stall(&server);
        tail
    });
    assert!(server.wait_until_idle(DEADLINE));
}

fn in_a_stream_that_drips() {
    let server = serve(TrafficController::builder());
    server.always([Fault::EndlessBody, Fault::Drip { every: Duration::from_millis(1) }]);
    let consumer = without_timeouts(Builder::new().rlp_gateway(&server.api())).build().unwrap();
    close_tail_in_each_way(&consumer, || consumer.tail(APP, TOKEN).unwrap());
    assert!(server.wait_until_idle(DEADLINE));
}

fn in_a_recent(fault: Fault) {
    let server = serve(TrafficController::builder());
    server.always(fault);
    let builder = Builder::new().log_cache(&server.api()).tokens(TokenSource::fixed("bearer a-token"));
    let consumer = without_timeouts(builder).build().unwrap();
    close_call(&consumer, RECENT, || assert!(server.wait_for_requests(1, DEADLINE)));
    assert!(server.wait_until_idle(DEADLINE));
}

fn in_a_backoff(address: fn(&TrafficController) -> Builder) {
    let server = serve(TrafficController::builder());
    let policy = Reconnect::default().first(NEVER).longest(NEVER);
    let consumer = without_timeouts(address(&server)).reconnect(policy).build().unwrap();
    close_tail_in_each_way(&consumer, || {
        let tail = consumer.tail(APP, TOKEN).unwrap();
        server.drop_tails(APP);
        assert!(server.wait_until_idle(DEADLINE));
        tail
    });
    assert!(server.wait_until_idle(DEADLINE));
}

fn in_a_discovery(fault: Fault) {
    let server = serve(TrafficController::builder());
    server.always(fault);
    let consumer = without_timeouts(Builder::new().api(&server.api())).build().unwrap();
    for call in [TAIL, RECENT, TAIL_CHOICE, RECENT_CHOICE] {
        let before = server.requests().len();
        close_call(&consumer, call, || wait_for_uses(&server, before));
        assert!(server.wait_until_idle(DEADLINE));
    }
}

/// Waits for a request, or for a connection on which the server reads no request.
fn wait_for_uses(server: &TrafficController, before: usize) {
    wait_until("the server is used", || server.connections() == 1);
    // A silent server reads no request.
    let _ = server.wait_for_requests(before + 1, Duration::from_millis(50));
}

fn tokens(server: &TrafficController) -> TokenSource {
    TokenSource::uaa(Uaa::new(&server.api()).refresh_token(&server.issue_refresh_token())).unwrap()
}

fn in_a_refresh(fault: Fault) {
    let server = serve(TrafficController::builder());
    server.always(fault);
    let addresses = Builder::new().doppler(&server.endpoint()).log_cache(&server.api());
    let consumer = without_timeouts(addresses).tokens(tokens(&server)).build().unwrap();
    // The second call waits for the renewal that the first one began.
    for call in [TAIL, RECENT] {
        close_call(&consumer, call, || wait_for_uses(&server, 0));
    }
    let started = Instant::now();
    assert!(server.wait_until_idle(DEADLINE));
    assert!(started.elapsed() < Duration::from_secs(5), "the request to the UAA ended after {:?}", started.elapsed());

    // The next call begins another renewal.
    server.always([]);
    assert_eq!(consumer.recent(APP, "").unwrap(), []);
}

fn in_a_refresh_of_a_tail() {
    let server = serve(TrafficController::builder().tokens([""; 0]));
    let policy = Reconnect::default().first(Duration::from_millis(1));
    let consumer =
        without_timeouts(Builder::new().rlp_gateway(&server.api())).tokens(tokens(&server)).reconnect(policy);
    let consumer = consumer.build().unwrap();
    let mut tail = consumer.tail(APP, "").unwrap();
    server.expire_tokens();
    server.fault([]); // refused
    server.fault(Fault::DelayedBody(NEVER)); // the UAA
    server.drop_tails(APP);
    let refreshes = |server: &TrafficController| {
        server.requests().iter().filter(|request| request.kind == RequestKind::Token).count()
    };
    wait_until("the UAA gets a request", || refreshes(&server) == 2);
    promptly(|| {
        tail.closer().close().unwrap();
        assert!(tail.next().is_none());
    });
    assert_eq!(tail.ending(), Some(&Ending::Closed));
    assert!(server.wait_until_idle(DEADLINE));
}
