//! Functions of the caller that use the consumer while it needs them for a token.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use common::messages::APP;
use common::{DEADLINE, wait_until, within};
use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, Consumer, ErrorKind, LogMessage, Proxy, Result, TokenSource, Uaa};

/// A consumer that its own functions use, and what came of it.
#[derive(Clone, Default)]
struct Own {
    consumer: Arc<OnceLock<Consumer>>,
    results: Arc<Mutex<Vec<Result<Vec<LogMessage>>>>>,
}

impl Own {
    fn call(&self) {
        let result = self.consumer.get().unwrap().recent(APP, "");
        self.results.lock().unwrap().push(result);
    }

    /// Makes a call with a token that must be got first, and returns the errors of the calls in it.
    fn errors(&self, builder: Builder) -> Vec<ErrorKind> {
        self.consumer.set(builder.build().unwrap()).unwrap();
        assert_eq!(self.consumer.get().unwrap().recent(APP, "").unwrap(), []);
        self.results.lock().unwrap().drain(..).map(|result| result.unwrap_err().kind()).collect()
    }
}

#[test]
fn a_token_function_that_uses_the_consumer_gets_an_error() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let own = Own::default();
        let function = own.clone();
        let tokens = TokenSource::from_fn(move |_| {
            function.call();
            Ok("bearer token".to_owned())
        });
        let builder = Builder::new().log_cache(&server.api()).proxy(Proxy::none()).tokens(tokens);
        assert_eq!(own.errors(builder), [ErrorKind::Unauthorized]);
    });
}

#[test]
fn a_proxy_function_that_uses_the_consumer_while_a_uaa_is_dialled_gets_an_error() {
    within(DEADLINE, || {
        let [server, uaa] = [(); 2].map(|()| TrafficController::of(Generation::Today).unwrap());
        let own = Own::default();
        let (function, uaa_url) = (own.clone(), uaa.api());
        let proxy = Proxy::custom(move |target| {
            if target.to_string().starts_with(&uaa_url) {
                function.call();
            }
            Ok(None)
        });
        let tokens = Uaa::new(&uaa.api()).refresh_token(&uaa.issue_refresh_token());
        let tokens = TokenSource::uaa(tokens).unwrap();
        assert_eq!(
            own.errors(Builder::new().log_cache(&server.api()).proxy(proxy).tokens(tokens)),
            [ErrorKind::Unauthorized]
        );
    });
}

#[test]
fn a_proxy_function_that_panics_while_a_uaa_is_dialled_is_an_error() {
    within(DEADLINE, || {
        let [server, uaa] = [(); 2].map(|()| TrafficController::of(Generation::Today).unwrap());
        let (panics, uaa_url) = (Arc::new(AtomicBool::new(true)), uaa.api());
        let proxy = Proxy::custom({
            let panics = Arc::clone(&panics);
            move |target| {
                let is_uaa = target.to_string().starts_with(&uaa_url);
                assert!(!is_uaa || !panics.load(Ordering::SeqCst), "a panic for the test");
                Ok(None)
            }
        });
        let tokens = Uaa::new(&uaa.api()).refresh_token(&uaa.issue_refresh_token());
        let tokens = TokenSource::uaa(tokens).unwrap();
        let consumer = Builder::new().log_cache(&server.api()).proxy(proxy).tokens(tokens).build().unwrap();
        for _ in 0..2 {
            consumer.recent(APP, "").unwrap_err();
        }
        panics.store(false, Ordering::SeqCst);
        assert_eq!(consumer.recent(APP, "").unwrap(), []);
    });
}

/// An error with a destructor that uses the consumer.
#[derive(Debug)]
struct CallsWhenDropped(Own);

impl std::fmt::Display for CallsWhenDropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no token")
    }
}

impl std::error::Error for CallsWhenDropped {}

impl Drop for CallsWhenDropped {
    fn drop(&mut self) {
        self.0.call();
    }
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Own")
    }
}

#[test]
fn an_error_of_a_token_function_may_use_the_consumer_when_it_is_dropped() {
    within(DEADLINE, || {
        let server = TrafficController::of(Generation::Today).unwrap();
        let own = Own::default();
        let (function, count) = (own.clone(), AtomicUsize::new(0));
        let tokens = TokenSource::from_fn(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => Err(CallsWhenDropped(function.clone()).into()),
            _ => Ok("bearer token".to_owned()),
        });
        let consumer = Builder::new().log_cache(&server.api()).proxy(Proxy::none()).tokens(tokens).build().unwrap();
        own.consumer.set(consumer.clone()).map_err(drop).unwrap();
        assert_eq!(consumer.recent(APP, "").unwrap_err().kind(), ErrorKind::Unauthorized);
        // This call replaces the renewal that has the error. Its thread may drop the error later.
        assert_eq!(consumer.recent(APP, "").unwrap(), []);
        wait_until("the error has been dropped", || own.results.lock().unwrap().len() == 1);
    });
}
