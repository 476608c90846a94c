//! A site: servers that replace each other at random. They are killed and started again, send error responses, and let
//! tokens expire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{mem, thread};

use loggregator_consumer::testing::{self, BodyFraming, Fault, Generation, TrafficController};
use parking_lot::Mutex;

use crate::numbered::message;
use crate::random::Random;
use crate::run::Run;

pub const TOKEN: &str = "bearer soak";

/// The app whose recent messages are requested, and their number: more than one page of Log Cache.
pub const RECENT_APP: &str = "00000000-0000-0000-0000-000000000000";
pub const KEPT: u64 = 1200;

pub struct Site {
    pub generations: &'static [Generation],
    pub tls: bool,
    server: Mutex<Arc<TrafficController>>,
}

impl Site {
    pub fn start(generations: &'static [Generation], tls: bool, random: &mut Random) -> Self {
        Site { generations, tls, server: Mutex::new(Arc::new(start(generations, tls, random))) }
    }

    /// Returns the current server.
    pub fn server(&self) -> Arc<TrafficController> {
        Arc::clone(&self.server.lock())
    }

    pub fn address(&self) -> SocketAddr {
        self.server.lock().address()
    }

    /// Injects faults until the run is over.
    pub fn inject_faults(&self, run: &Run, mut random: Random) {
        let mut end_of_life = Instant::now();
        while !run.is_over() {
            thread::sleep(random.millis_below(100));
            if end_of_life < Instant::now() {
                let new = Arc::new(start(self.generations, self.tls, &mut random));
                let old = mem::replace(&mut *self.server.lock(), new);
                // Other threads may keep the old server for the rest of their call.
                old.stop();
                end_of_life = Instant::now() + Duration::from_secs(4) + random.millis_below(8000);
                run.count("server restarted");
            }
            let server = self.server();
            match random.below(20) {
                0 => server.expire_tokens(),
                1 => server.refuse_tokens(1 + random.below(3) as usize),
                2 | 3 => server.fault(fault(&mut random)),
                _ => {}
            }
        }
    }
}

fn start(generations: &[Generation], tls: bool, random: &mut Random) -> TrafficController {
    const PING: Duration = Duration::from_millis(300);
    let mut builder: testing::TrafficControllerBuilder = TrafficController::builder()
        .generation(random.pick(generations))
        .token(TOKEN)
        .token_life(Duration::from_secs(3))
        // A server that waits for a pausing caller must not end the connection for missing pongs.
        .ping(PING, Duration::from_secs(30))
        .heartbeat(PING)
        .stream_timeout(Duration::from_secs(1) + random.millis_below(5000))
        .batch_window(random.millis_below(20))
        .body_framing(random.pick(&[BodyFraming::ContentLength, BodyFraming::Chunked, BodyFraming::UntilClose]))
        .retain(KEPT as usize)
        .backlog(256 * 1024);
    if tls {
        builder = builder.tls();
    }
    let server = builder.start().expect("the server starts");
    server.add_recent(
        RECENT_APP,
        (1..=KEPT).filter(|number| crate::numbered::is_message(*number)).map(|number| message(RECENT_APP, number)),
    );
    server
}

/// Returns the faults of one connection, of any client.
fn fault(random: &mut Random) -> Vec<Fault> {
    let error_response = |status, body: &str| vec![Fault::RefuseStatus { status, body: body.into() }];
    match random.below(14) {
        0 => error_response(401, "You are not authorized. Error: Invalid authorization"),
        1 => error_response(404, "404 page not found\n"),
        2 => error_response(500, ""),
        3 => error_response(503, "<html>no backend</html>"),
        4 => vec![Fault::SilentAccept],
        5 => vec![Fault::WrongAcceptKey],
        6 => vec![Fault::Garbage(b"SSH-2.0-OpenSSH_9.6\r\n".into())],
        7 => vec![Fault::DelayedBody(random.millis_below(2000))],
        8 => vec![Fault::EndlessBody],
        9 => vec![Fault::Truncate],
        10 => vec![Fault::DropAfter(random.below(100_000))],
        11 => vec![Fault::ResetAfter(random.below(100_000))],
        12 => vec![Fault::StallAfter(random.below(100_000))],
        _ => vec![Fault::Drip { every: random.micros_below(100) }, Fault::DropAfter(random.below(5000))],
    }
}
