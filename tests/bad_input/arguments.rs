//! Invalid arguments: nothing is sent.

use loggregator_consumer::{Consumer, Error, ErrorKind};

use crate::common::messages::{APP, TOKEN};
use crate::common::{Untouched, consumer};

#[test]
fn an_endpoint_that_is_not_a_url_is_refused() {
    for endpoint in ["", " ", "::", "ws://", "ws://:80", "ws://host:port", "ws://host:65536", "ws://[::1", "a b"] {
        let error = Consumer::new(endpoint).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{endpoint}: {error}");
        assert!(error.to_string().contains("wss://host:port"), "{error}");
    }
}

#[test]
fn an_endpoint_whose_scheme_is_not_ws_or_wss_is_refused() {
    for endpoint in ["http://host", "https://host:443", "ftp://host", "wsss://host", "host:443", "//host"] {
        let error = Consumer::new(endpoint).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{endpoint}: {error}");
        assert!(error.to_string().contains(endpoint), "{error}");
    }
}

/// Returns the errors of all calls. None of them must connect.
fn refused(app_guid: &str, token: &str) -> [Error; 3] {
    let server = Untouched::start();
    let consumer = consumer(&format!("ws://{}", server.address()));
    let errors = [
        consumer.tail(app_guid, token).unwrap_err(),
        consumer.recent(app_guid, token).unwrap_err(),
        consumer.recent_iter(app_guid, token).unwrap_err(),
    ];
    server.assert_untouched();
    errors
}

#[test]
fn an_empty_guid_is_refused_before_anything_is_sent() {
    for app_guid in ["", " ", "\t\n"] {
        for error in refused(app_guid, TOKEN) {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("GUID"), "{error}");
        }
    }
}

#[test]
fn a_token_with_a_line_break_is_refused_before_anything_is_sent_and_not_shown() {
    for end in ["\r\n", "\n", "\r", "\0", "\r\nX-Injected: 1"] {
        for error in refused(APP, &format!("bearer s3cr3t{end}")) {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{end:?}");
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(shown.contains("token"), "{shown}");
                assert!(!shown.contains("s3cr3t") && !shown.contains("Injected"), "{shown}");
            }
        }
    }
}

#[test]
fn an_endpoint_or_a_guid_that_is_far_too_long_is_refused() {
    for length in [1025, 65_520, 70_000] {
        let error = Consumer::new(&format!("ws://{}", "a".repeat(length))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        for error in refused(&"a".repeat(length), TOKEN) {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }
}
