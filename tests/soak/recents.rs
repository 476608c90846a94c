//! Calls for recent messages, over and over. Each gives all of them, or an error with those that came before it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use loggregator_consumer::{Consumer, Error, LogMessage, Via};

use crate::numbered::{is_message, number};
use crate::random::Random;
use crate::relay::Relay;
use crate::run::Run;
use crate::site::{KEPT, RECENT_APP, Site};
use crate::tails::builder;

/// The consumer's settings allow 5 s, and 1.5 s for each connection that is made first. The rest allows for a busy
/// machine.
const LONGEST_CALL: Duration = Duration::from_secs(12);

pub struct RecentCaller {
    name: String,
    /// Log Cache sends the newest message first, so the missing ones are the oldest.
    newest_first: bool,
    run: Arc<Run>,
    consumer: Consumer,
    _relay: Relay,
}

impl RecentCaller {
    pub fn new(n: usize, site: &Arc<Site>, run: &Arc<Run>, via: Via, random: &mut Random) -> Self {
        let by_proxy = n % 2 == 1;
        let relay = Relay::start(site, run, by_proxy, random.split());
        RecentCaller {
            name: format!(
                "recent {n} ({via:?}{}{})",
                if by_proxy { ", proxy" } else { "" },
                if site.tls { ", TLS" } else { "" }
            ),
            newest_first: via == Via::LogCache,
            run: Arc::clone(run),
            consumer: builder(site, &relay, by_proxy, via).build().expect("the settings are valid"),
            _relay: relay,
        }
    }

    pub fn ask(&self, mut random: Random) {
        while !self.run.is_over() {
            let began = self.run.time();
            let (got, error) = if random.one_in(2) { self.collected() } else { self.one_by_one() };
            let took = self.run.time() - began;
            if took > LONGEST_CALL {
                self.run.fail(&self.name, format!("took {took:?}"));
            }
            match &error {
                None => self.run.count("recent: whole"),
                Some(error) if got.is_empty() => self.run.count(format!("recent: nothing, {:?}", error.kind())),
                Some(error) => self.run.count(format!("recent: a part, {:?}", error.kind())),
            }
            if let Err(why) = self.check(&got, error.is_none()) {
                self.run.fail(&self.name, format!("{why}, with {error:?}"));
            }
            thread::sleep(random.millis_below(200));
        }
    }

    fn collected(&self) -> (Vec<LogMessage>, Option<Error>) {
        match self.consumer.recent(RECENT_APP, "") {
            Ok(messages) => (messages, None),
            Err(error) => (error.recovered().to_vec(), Some(error)),
        }
    }

    fn one_by_one(&self) -> (Vec<LogMessage>, Option<Error>) {
        let mut messages = Vec::new();
        let mut recent = match self.consumer.recent_iter(RECENT_APP, "") {
            Ok(recent) => recent,
            Err(error) => return (error.recovered().to_vec(), Some(error)),
        };
        for item in recent.by_ref() {
            match item {
                Ok(message) => messages.push(message),
                Err(error) => return (messages, Some(error)),
            }
        }
        (messages, None)
    }

    /// Asserts that each message is undamaged and in its place, and that messages are missing only at the end that is
    /// sent last.
    fn check(&self, got: &[LogMessage], is_all: bool) -> Result<(), String> {
        let all: Vec<u64> = (1..=KEPT).filter(|number| is_message(*number)).collect();
        let missing = all.len().checked_sub(got.len()).ok_or_else(|| format!("{} messages", got.len()))?;
        if is_all && missing > 0 {
            return Err(format!("{missing} messages are missing"));
        }
        let expected = if self.newest_first { &all[missing..] } else { &all[..got.len()] };
        match expected.iter().zip(got).find(|(expected, got)| number(RECENT_APP, got) != Some(**expected)) {
            Some((expected, wrong)) => {
                Err(format!("of {} messages, {expected} was expected in place of {:.60}", got.len(), wrong.text()))
            }
            None => Ok(()),
        }
    }
}
