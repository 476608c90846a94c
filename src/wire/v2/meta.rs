//! Decodes what Log Cache tells of its sources and of itself.
//!
//! Source: the captures of log-cache-release 702107c (v3.2.12). Its gateway writes names in snake case and all fields,
//! its auth proxy, before it, in camel case and no zeros. Numbers are texts. Version 1.4.7 has no `vm_uptime`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::values::Int64;
use crate::meta::{LogCacheInfo, SourceMeta};

/// Decodes the response to a request for `meta`.
pub(crate) fn sources(json: &[u8]) -> serde_json::Result<BTreeMap<String, SourceMeta>> {
    #[derive(Deserialize)]
    struct Response {
        meta: Option<BTreeMap<String, Source>>,
    }
    #[derive(Deserialize)]
    struct Source {
        count: Option<Int64>,
        expired: Option<Int64>,
        #[serde(alias = "oldestTimestamp")]
        oldest_timestamp: Option<Int64>,
        #[serde(alias = "newestTimestamp")]
        newest_timestamp: Option<Int64>,
    }
    let Response { meta } = serde_json::from_slice(json)?;
    let number = |number: Option<Int64>| number.map_or(0, |number| number.0);
    let count = |count| u64::try_from(number(count)).unwrap_or(0);
    let sources = meta.unwrap_or_default().into_iter().map(|(name, source)| {
        let Source { count: held, expired, oldest_timestamp, newest_timestamp } = source;
        let meta = SourceMeta {
            count: count(held),
            expired: count(expired),
            oldest_timestamp: number(oldest_timestamp),
            newest_timestamp: number(newest_timestamp),
        };
        (name, meta)
    });
    Ok(sources.collect())
}

/// Decodes the response to a request for `info`.
pub(crate) fn info(json: &[u8]) -> serde_json::Result<LogCacheInfo> {
    #[derive(Deserialize)]
    struct Response {
        version: String,
        vm_uptime: Option<Int64>,
    }
    let Response { version, vm_uptime } = serde_json::from_slice(json)?;
    let seconds = vm_uptime.and_then(|seconds| u64::try_from(seconds.0).ok());
    Ok(LogCacheInfo { version, vm_uptime: seconds.map(Duration::from_secs) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::captures;

    #[test]
    fn the_gateway_and_the_proxy_tell_the_same_of_their_sources() {
        let gateway = sources(&captures::body("lc-meta.http")).unwrap();
        assert_eq!(sources(&captures::body("cfap-meta-admin.http")).unwrap(), gateway);
        assert_eq!(gateway.len(), 14);
        let doppler = SourceMeta {
            count: 606,
            expired: 0,
            oldest_timestamp: 1_795_343_167_057_632_360,
            newest_timestamp: 1_795_343_667_054_512_164,
        };
        assert_eq!(gateway["doppler"], doppler);
    }

    #[test]
    fn fields_may_be_absent_null_or_unknown() {
        let meta =
            sources(br#"{"meta":{"a":{"expired":"7","new":{}},"b":{"count":null,"newestTimestamp":5}}}"#).unwrap();
        assert_eq!((meta["a"].expired, meta["a"].count), (7, 0));
        assert_eq!((meta["b"].count, meta["b"].newest_timestamp), (0, 5));
        assert!(sources(br#"{"meta":null}"#).unwrap().is_empty());
        assert!(sources(b"{}").unwrap().is_empty());
        assert!(sources(br#"{"meta":{"a":{"count":"x"}}}"#).is_err());
    }

    #[test]
    fn info_is_the_version_and_later_the_uptime() {
        let today = LogCacheInfo { version: "3.2.12".into(), vm_uptime: Some(Duration::from_secs(2204)) };
        assert_eq!(info(&captures::body("lc-info.http")).unwrap(), today);
        assert_eq!(info(&captures::body("cfap-info-no-token.http")).unwrap(), today);
        assert_eq!(info(br#"{"version":"1.4.7"}"#).unwrap().vm_uptime, None);
        assert!(info(b"{}").is_err());
    }
}
