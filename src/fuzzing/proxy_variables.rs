//! The variables that name proxies, and what is reached without one.

use http::Uri;

use crate::net::dial::Proxy;

const SECRET: &str = "s3cr3t-p4ssw0rd";
/// Of an input's lines.
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

/// The first line is a target, each of the others a variable. What was a password in it (see [`with_secret`]) is seen in
/// nothing that is printed; the request to the proxy is one; and the list of exceptions is the sum of its entries.
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
    let by_one = list.split(|char: char| char == ',' || char.is_whitespace()).any(|entry| is_excepted(&target, entry));
    assert_eq!(is_excepted(&target, &list), by_one, "{list:?}");
    assert_eq!(
        is_excepted(&target, &list.to_ascii_uppercase()),
        is_excepted(&target, &list.to_ascii_lowercase()),
        "{list:?}"
    );
}

/// A user's password takes the place of the first `*` behind a colon, if there is an `@` behind it: there, no other part
/// of a URL can be meant.
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

/// Whether a target is reached without the proxy that there is, because of this list.
fn is_excepted(target: &Uri, list: &str) -> bool {
    let proxy = Proxy::from_vars(|name| match name {
        "all_proxy" => Some("proxy".into()),
        "no_proxy" => Some(list.into()),
        _ => None,
    });
    proxy.for_target(target).unwrap().is_none()
}

/// It is one request, with no other headers than ours.
fn check_request(request: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; 3];
    let mut parsed = httparse::Request::new(&mut headers);
    assert_eq!(parsed.parse(request), Ok(httparse::Status::Complete(request.len())));
    assert_eq!(parsed.method, Some("CONNECT"));
    let names: Vec<_> = parsed.headers.iter().map(|header| header.name).collect();
    assert!(matches!(*names, ["Host", "User-Agent"] | ["Host", "Proxy-Authorization", "User-Agent"]), "{names:?}");
}
