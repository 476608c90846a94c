//! Fuzzes the environment variables that name proxies, and the exceptions from them.

use http::Uri;

use crate::net::dial::Proxy;

const SECRET: &str = "s3cr3t-p4ssw0rd";
/// The variables whose values are the lines of an input.
const NAMES: [&str; 9] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "REQUEST_METHOD",
];

/// Checks three things: no text contains a password from a variable (see [`with_secret`]), the request to the proxy is
/// a single valid request, and the list of exceptions covers what its entries cover one by one.
///
/// The first line of the input is a target. Each further line is the value of a variable.
pub fn proxy_variables(input: &[u8]) {
    let input = String::from_utf8_lossy(input);
    let mut lines = input.split('\n');
    let Ok(target) = lines.next().unwrap_or_default().parse::<Uri>() else { return };
    if !matches!(target.scheme_str(), Some("http" | "https")) || input.to_ascii_lowercase().contains(SECRET) {
        return;
    }
    let values: Vec<_> = lines.take(NAMES.len()).map(with_secret).collect();
    let variable = |name: &str| values.get(NAMES.iter().position(|one| *one == name)?).cloned();

    let proxy = Proxy::from_vars(variable);
    assert_no_secret(&format!("{proxy:?}"));
    let chosen = proxy.for_target(&target);
    match &chosen {
        Ok(Some(server)) => {
            assert_no_secret(&format!("{server} {server:?}"));
            check_request(&server.connect_request(target.host().unwrap(), 4443));
        }
        Ok(None) => {}
        Err(error) => assert_no_secret(&format!("{error} {error:?}")),
    }
    for value in &values {
        match Proxy::url(value) {
            Ok(proxy) => assert_no_secret(&format!("{proxy:?}")),
            Err(error) => assert_no_secret(&format!("{error} {error:?}")),
        }
    }

    let list =
        variable("no_proxy").filter(|list| !list.is_empty()).or_else(|| variable("NO_PROXY")).unwrap_or_default();
    let by_entries =
        list.split(|char: char| char == ',' || char.is_whitespace()).any(|entry| is_excluded(&target, entry));
    assert_eq!(is_excluded(&target, &list), by_entries, "{list:?}");
    assert_eq!(
        is_excluded(&target, &list.to_ascii_uppercase()),
        is_excluded(&target, &list.to_ascii_lowercase()),
        "{list:?}"
    );
}

/// Replaces the first `*` after a colon by the secret, if an `@` follows: only a password can be at this place in a
/// URL.
fn with_secret(value: &str) -> String {
    match value.split_once(":*") {
        Some((before, after)) if after.contains('@') => format!("{before}:{SECRET}{after}"),
        _ => value.to_owned(),
    }
}

#[track_caller]
fn assert_no_secret(text: &str) {
    assert!(!text.contains(SECRET), "{text}");
}

/// Returns true if this list excludes a target from the proxy.
fn is_excluded(target: &Uri, list: &str) -> bool {
    let proxy = Proxy::from_vars(|name| match name {
        "all_proxy" => Some("proxy".into()),
        "no_proxy" => Some(list.into()),
        _ => None,
    });
    proxy.for_target(target).unwrap().is_none()
}

/// Checks that this is one request, and that it has only our headers.
fn check_request(request: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; 3];
    let mut parsed = httparse::Request::new(&mut headers);
    assert_eq!(parsed.parse(request), Ok(httparse::Status::Complete(request.len())));
    assert_eq!(parsed.method, Some("CONNECT"));
    let names: Vec<_> = parsed.headers.iter().map(|header| header.name).collect();
    assert!(matches!(*names, ["Host", "User-Agent"] | ["Host", "Proxy-Authorization", "User-Agent"]), "{names:?}");
}
