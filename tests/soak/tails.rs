//! Tails: what each app logs, and what its tail receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use loggregator_consumer::crossbeam_channel::RecvTimeoutError;
use loggregator_consumer::{
    Builder, Consumer, Ending, Error, ErrorKind, LogMessage, Proxy, Reconnect, Result, Tail, TokenSource, Via,
};
use parking_lot::Mutex;

use crate::ledger::Ledger;
use crate::numbered::{is_message, message, number};
use crate::random::Random;
use crate::relay::Relay;
use crate::run::{Run, add};
use crate::site::{Site, TOKEN};

/// The longest time without an event: there is always a message, a break or an error response.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
/// A close takes 0.1 s. The rest allows for a busy machine.
pub const LONGEST_CLOSE: Duration = Duration::from_secs(5);

/// An app, and its tail over its own relay.
pub struct AppTail {
    pub name: String,
    app: String,
    site: Arc<Site>,
    relay: Relay,
    run: Arc<Run>,
    consumer: Consumer,
    /// Whether the caller pauses now and then.
    is_slow: bool,
    ledger: Mutex<Ledger>,
    /// The time of the last event of the tail, in milliseconds.
    last_activity: AtomicU64,
    /// Whether the caller has stopped tailing.
    is_done: AtomicBool,
}

/// Returns the settings that every consumer of the run has.
pub fn builder(site: &Arc<Site>, relay: &Relay, by_proxy: bool, via: Via) -> Builder {
    let (address, secure) = (relay.address, if site.tls { "s" } else { "" });
    // With a proxy the address does not matter: the relay connects to its own server.
    let address = if by_proxy { format!("127.0.0.1:{}", 1) } else { address.to_string() };
    let (websocket, http) = (format!("ws{secure}://{address}"), format!("http{secure}://{address}"));
    let builder = match via {
        Via::Legacy => Builder::new().legacy(&websocket),
        Via::Doppler => Builder::new().doppler(&websocket),
        Via::LogCache => Builder::new().log_cache(&http),
        _ => Builder::new().rlp_gateway(&http),
    };
    let tokens = match via {
        Via::Legacy => TokenSource::fixed(TOKEN),
        _ => {
            let site = Arc::clone(site);
            TokenSource::from_fn(move |_| Ok(site.server().issue_token()))
        }
    };
    builder
        .proxy(if by_proxy { Proxy::url(&format!("http://{}", relay.address)).expect("a URL") } else { Proxy::none() })
        .tokens(tokens)
        .tls_connector(site.server().tls_connector())
        .connect_timeout(Duration::from_millis(1500))
        .idle_timeout(Duration::from_millis(1500))
        .read_timeout(Duration::from_millis(1500))
        .recent_timeout(Duration::from_secs(5))
        .max_message_size(1 << 20)
        .recent_limit(2000)
}

impl AppTail {
    pub fn new(n: usize, site: &Arc<Site>, run: &Arc<Run>, via: Via, random: &mut Random) -> Self {
        // The bits of `n` select one of the eight kinds.
        let [reconnects, is_slow, by_proxy] = [1, 2, 4].map(|bit| n & bit != 0);
        let relay = Relay::start(site, run, by_proxy, random.split());
        let mut builder = builder(site, &relay, by_proxy, via);
        if reconnects {
            builder = builder.reconnect(Reconnect::default().first(Duration::ZERO).longest(Duration::from_millis(500)));
        }
        let settings = [("reconnects", reconnects), ("slow", is_slow), ("proxy", by_proxy), ("TLS", site.tls)];
        let settings: String = settings.iter().filter(|(_, is)| *is).map(|(word, _)| format!(", {word}")).collect();
        AppTail {
            name: format!("tail {n} ({via:?}{settings})"),
            app: format!("11111111-1111-1111-1111-{n:012}"),
            site: Arc::clone(site),
            relay,
            run: Arc::clone(run),
            consumer: builder.build().expect("the settings are valid"),
            is_slow,
            ledger: Mutex::default(),
            last_activity: AtomicU64::new(run.time().as_millis() as u64),
            is_done: AtomicBool::new(false),
        }
    }

    /// The app: logs messages, and has its tails ended now and then.
    pub fn log(&self, mut random: Random) {
        let mut last = 0;
        while !self.run.is_over() {
            let server = self.site.server();
            for _ in 0..random.below(40) {
                last += 1;
                self.ledger.lock().sending(last);
                let tails = if is_message(last) {
                    server.send(message(&self.app, last))
                } else {
                    server.send_raw(&self.app, "this is no message")
                };
                match tails {
                    0 => add(&self.run.without_tail, 1),
                    _ => self.ledger.lock().accepted(last),
                }
                add(&self.run.sent, 1);
            }
            match random.below(300) {
                0 => _ = server.drop_tails(&self.app),
                1 => _ = server.reset_tails(&self.app),
                2 => _ = server.close_tails(&self.app, random.pick(&[Some(1001), Some(1008), Some(1011)]), "trouble"),
                3 => _ = server.close_streams(&self.app),
                4 | 5 => {
                    self.ledger.lock().closing();
                    if server.close_tails(&self.app, random.pick(&[None, Some(1000)]), "") == 0 {
                        self.ledger.lock().not_closed();
                    }
                }
                _ => {}
            }
            drop(server);
            thread::sleep(random.millis_below(200));
        }
        // The caller may be waiting for a message that never comes.
        while !self.is_done.load(Ordering::Relaxed) {
            let _ = self.consumer.close();
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The caller: opens one tail after the other.
    pub fn follow(&self, mut random: Random) {
        while !self.run.is_over() {
            match self.consumer.tail(&self.app, "") {
                Ok(tail) => {
                    self.read(tail, &mut random);
                    self.ledger.lock().closed_by_caller();
                }
                Err(error) => {
                    self.run.count(format!("no tail: {:?}", error.kind()));
                    thread::sleep(random.millis_below(50));
                }
            }
            self.note_activity();
        }
        self.is_done.store(true, Ordering::Relaxed);
    }

    fn read(&self, mut tail: Tail, random: &mut Random) {
        let mut last_error = None;
        while let Some(item) = self.next(&mut tail, random) {
            self.note_activity();
            if let Some(error) = last_error {
                self.run.fail(&self.name, format!("after its last error, {error}, came {item:?}"));
            }
            last_error = self.take(item);
            if self.run.is_over() || random.one_in(20_000) {
                return self.close(tail, random);
            }
            if self.is_slow && random.one_in(50) {
                thread::sleep(random.millis_below(20));
            } else if self.is_slow && random.one_in(2000) {
                thread::sleep(random.millis_below(3000));
            }
        }
        match (tail.ending().cloned(), last_error) {
            (None, _) => self.run.fail(&self.name, "ended without an ending"),
            (Some(Ending::Closed), _) if !self.run.is_over() => {
                self.run.fail(&self.name, "reports that it was closed locally");
            }
            (Some(ending), error) if [ending.is_clean(), error.is_none()] != [may_be_clean(&ending); 2] => {
                self.run.fail(&self.name, format!("{ending}: clean is {}, its error {error:?}", ending.is_clean()));
            }
            (Some(ending), error) => self.ended(&ending, error.as_ref()),
        }
    }

    /// Receives an item in one of two ways. `None` at the end.
    fn next(&self, tail: &mut Tail, random: &mut Random) -> Option<Result<LogMessage>> {
        if random.one_in(2) {
            return tail.next();
        }
        loop {
            match tail.recv_timeout(Duration::from_millis(100)) {
                Ok(item) => return Some(item),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Records an item. Returns the error that must be the last item.
    fn take(&self, item: Result<LogMessage>) -> Option<Error> {
        let checked = match item {
            Ok(got) => match number(&self.app, &got) {
                Some(number) => {
                    add(&self.run.received, 1);
                    self.ledger.lock().message(number).map(|lost| add(&self.run.lost, lost))
                }
                None => Err(format!("a message that was not sent: {:.60}", got.text())),
            },
            Err(error) if error.kind() == ErrorKind::Undecodable => {
                self.ledger.lock().undecodable(is_message).map(|known| add(&self.run.undecodable, known))
            }
            Err(error) => {
                let Some(gap) = error.as_gap() else { return Some(error) };
                self.ended(&gap.ending, None);
                Ok(())
            }
        };
        checked.unwrap_or_else(|why| self.run.fail(&self.name, why));
        None
    }

    fn ended(&self, ending: &Ending, error: Option<&Error>) {
        let kind = match ending {
            Ending::ClosedByServer { code, .. } => format!("{code:?}"),
            Ending::Failed(_) if error.is_some() => format!("Failed, {:?}", error.map(Error::kind)),
            Ending::Failed(reason) => reason.clone(),
            ending => format!("{ending:?}").split(' ').next().unwrap_or_default().to_owned(),
        };
        self.run.count(format!("break: {kind}"));
        let checked = self.ledger.lock().ended(ending, |number| self.relay.carried_with(number));
        checked.unwrap_or_else(|why| self.run.fail(&self.name, why));
    }

    fn close(&self, mut tail: Tail, random: &mut Random) {
        self.run.count("close");
        let began = self.run.time();
        match random.below(4) {
            0 => drop(tail),
            // An error only says how the tail had ended before.
            1 => _ = tail.close(),
            2 => {
                // The tail may have ended already.
                let _ = self.consumer.close();
                tail.by_ref().for_each(|item| _ = self.take(item));
            }
            _ => {
                let _ = tail.closer().close();
                tail.by_ref().for_each(|item| _ = self.take(item));
            }
        }
        let took = self.run.time() - began;
        if took > LONGEST_CLOSE {
            self.run.fail(&self.name, format!("a close took {took:?}"));
        }
    }

    /// Returns how many messages were sent after the last one that arrived.
    pub fn undelivered(&self) -> u64 {
        self.ledger.lock().undelivered()
    }

    fn note_activity(&self) {
        self.last_activity.store(self.run.time().as_millis() as u64, Ordering::Relaxed);
    }

    /// Records a failure if there was no event for too long.
    pub fn check_activity(&self) {
        let silence = self.run.time().saturating_sub(Duration::from_millis(self.last_activity.load(Ordering::Relaxed)));
        if silence > LONGEST_SILENCE {
            self.run.fail(&self.name, format!("had no event for {silence:?}"));
        }
    }
}

/// Whether an ending may be clean. Every other one may have lost messages.
fn may_be_clean(ending: &Ending) -> bool {
    matches!(ending, Ending::Closed | Ending::ClosedByServer { code: None | Some(1000), .. })
}
