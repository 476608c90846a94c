//! Decodes what Log Cache tells of its sources and of itself.
//!
//! Source: the captures of log-cache-release 702107c (v3.2.12). Its gateway writes names in snake case and all fields,
//! its auth proxy, before it, in camel case and no zeros. Numbers are texts. Version 1.4.7 has no `vm_uptime`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{Int64, UInt64};
use crate::meta::{LogCacheInfo, SourceMeta};

/// Decodes the response to a request for `meta`.
pub(crate) fn sources(json: &[u8]) -> serde_json::Result<BTreeMap<String, SourceMeta>> {
    #[derive(Deserialize)]
    struct Response {
        meta: Option<BTreeMap<String, Source>>,
    }
    let Response { meta } = serde_json::from_slice(json)?;
    Ok(meta.unwrap_or_default().into_iter().map(|(name, source)| (name, source.into())).collect())
}

/// Decodes the response to a request for `info`.
pub(crate) fn info(json: &[u8]) -> serde_json::Result<LogCacheInfo> {
    serde_json::from_slice(json).map(Info::into)
}

#[derive(Deserialize, Serialize)]
struct Source {
    count: Option<UInt64>,
    expired: Option<UInt64>,
    #[serde(alias = "oldestTimestamp")]
    oldest_timestamp: Option<Int64>,
    #[serde(alias = "newestTimestamp")]
    newest_timestamp: Option<Int64>,
}

#[derive(Deserialize, Serialize)]
struct Info<'a> {
    version: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vm_uptime: Option<UInt64>,
}

impl From<Source> for SourceMeta {
    fn from(Source { count, expired, oldest_timestamp, newest_timestamp }: Source) -> Self {
        let [count, expired] = [count, expired].map(|number| number.map_or(0, |number| number.0));
        let [oldest_timestamp, newest_timestamp] =
            [oldest_timestamp, newest_timestamp].map(|time| time.map_or(0, |time| time.0));
        SourceMeta { count, expired, oldest_timestamp, newest_timestamp }
    }
}

impl From<&SourceMeta> for Source {
    fn from(&SourceMeta { count, expired, oldest_timestamp, newest_timestamp }: &SourceMeta) -> Self {
        let [count, expired] = [count, expired].map(|number| Some(UInt64(number)));
        let [oldest_timestamp, newest_timestamp] = [oldest_timestamp, newest_timestamp].map(|time| Some(Int64(time)));
        Source { count, expired, oldest_timestamp, newest_timestamp }
    }
}

impl From<Info<'_>> for LogCacheInfo {
    fn from(Info { version, vm_uptime }: Info<'_>) -> Self {
        let vm_uptime = vm_uptime.map(|seconds| Duration::from_secs(seconds.0));
        LogCacheInfo { version: version.into_owned(), vm_uptime }
    }
}

impl<'a> From<&'a LogCacheInfo> for Info<'a> {
    fn from(LogCacheInfo { version, vm_uptime }: &'a LogCacheInfo) -> Self {
        Info { version: version.into(), vm_uptime: vm_uptime.map(|uptime| UInt64(uptime.as_secs())) }
    }
}

#[cfg(feature = "serde")]
serde_as! { SourceMeta: Source, LogCacheInfo: Info }

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

    #[test]
    #[cfg(feature = "serde")]
    fn captured_sources_and_infos_are_the_same_json_again() {
        type Sources = BTreeMap<String, BTreeMap<String, SourceMeta>>;
        let json = |name: &str| serde_json::from_slice::<serde_json::Value>(&captures::body(name)).unwrap();
        let theirs = json("lc-meta.http");
        let sources: Sources = serde_json::from_value(theirs.clone()).unwrap();
        assert_eq!(serde_json::to_value(&sources).unwrap(), theirs);
        // The proxy's names and zeros become the gateway's.
        let proxys: Sources = serde_json::from_value(json("cfap-meta-admin.http")).unwrap();
        assert_eq!(serde_json::to_value(&proxys).unwrap(), theirs);
        for theirs in [json("lc-info.http"), json("cfap-info-no-token.http"), serde_json::json!({ "version": "1.4.7" })]
        {
            let info: LogCacheInfo = serde_json::from_value(theirs.clone()).unwrap();
            assert_eq!(serde_json::to_value(&info).unwrap(), theirs);
        }
    }
}
