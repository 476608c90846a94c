use std::sync::Mutex;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;

use super::*;

const SECRET: &str = "Tr0ub4dor";

fn environment(vars: &[(&str, &str)]) -> Proxy {
    Proxy::from_vars(|name| vars.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned()))
}

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

/// Returns the URL of the proxy for a target, without credentials, or `""` if there is none.
fn chosen(proxy: &Proxy, target: &str) -> String {
    proxy.for_target(&uri(target)).unwrap().map(|server| server.to_string()).unwrap_or_default()
}

fn server(url: &str) -> ProxyServer {
    Proxy::url(url).unwrap().for_target(&uri("https://example.com")).unwrap().unwrap()
}

#[test]
fn a_url_is_parsed() {
    use Protocol::{Http, Https, Socks5, Socks5h};
    for (url, protocol, host, port) in [
        ("http://proxy:3128", Http, "proxy", 3128),
        ("https://proxy:3128", Https, "proxy", 3128),
        ("HTTP://proxy:3128", Http, "proxy", 3128),
        ("proxy:3128", Http, "proxy", 3128),
        ("proxy", Http, "proxy", 80),
        ("http://proxy", Http, "proxy", 80),
        ("https://proxy", Https, "proxy", 443),
        ("socks5://proxy", Socks5, "proxy", 1080),
        ("socks5h://proxy", Socks5h, "proxy", 1080),
        ("SOCKS5h://user@proxy:9050/", Socks5h, "proxy", 9050),
        ("socks5://user:p@ss:word@[::1]", Socks5, "::1", 1080),
        ("http://proxy:", Http, "proxy", 80),
        ("http://proxy:3128/", Http, "proxy", 3128),
        ("http://proxy/path?query#fragment", Http, "proxy", 80),
        ("http://10.0.0.1:3128", Http, "10.0.0.1", 3128),
        ("http://[::1]:3128", Http, "::1", 3128),
        ("http://[fe80::1%25eth0]:3128", Http, "fe80::1%eth0", 3128),
        ("http://[fe80::1%eth0]", Http, "fe80::1%eth0", 80),
        ("http://proxy.:3128", Http, "proxy.", 3128),
        ("[fd00::1]", Http, "fd00::1", 80),
        ("https://user:p@ss:word@proxy:3128", Https, "proxy", 3128),
        ("user@proxy", Http, "proxy", 80),
    ] {
        let server = server(url);
        assert_eq!((server.protocol, server.host.as_str(), server.port), (protocol, host, port), "{url}");
    }
}

#[test]
fn an_unsupported_scheme_is_an_error_that_names_the_supported_ones() {
    for (url, parts) in [
        ("socks4://user:Tr0ub4dor@proxy", ["socks4://", "most SOCKS proxies speak SOCKS5"]),
        ("SOCKS://proxy", ["socks://", "most SOCKS proxies speak SOCKS5"]),
        ("ssh+socks5://user:Tr0ub4dor@jumpbox:22?private-key=x", ["ssh+socks5://", "ssh -D 1080"]),
        ("ftp://proxy:21", ["ftp://", "only http://"]),
        ("ws://proxy", ["ws://", "only http://"]),
        ("a+b-c.1://proxy", ["a+b-c.1://", "only http://"]),
    ] {
        let error = Proxy::url(url).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let supported = ["http://", "https://", "socks5://", "socks5h://"];
        assert!(parts.iter().chain(&supported).all(|part| text.contains(part)), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn a_user_or_a_password_that_socks5_cannot_carry_is_an_error_that_does_not_repeat_it() {
    for credentials in [format!(":{SECRET}"), format!("user:{}", SECRET.repeat(30)), SECRET.repeat(30)] {
        let text = Proxy::url(&format!("socks5://{credentials}@proxy")).unwrap_err().to_string();
        assert!(text.contains("at most 255") && !text.contains(SECRET), "{text}");
        Proxy::url(&format!("http://{credentials}@proxy")).unwrap();
    }
}

#[test]
fn an_invalid_url_is_an_error_that_does_not_repeat_it() {
    for url in [
        "",
        "http://",
        "://proxy",
        "http:///path",
        "http://:3128",
        "http://user:Tr0ub4dor@",
        "http://user:Tr0ub4dor@:3128",
        "http://proxy:http",
        "http://proxy:65536",
        "http://proxy:-1",
        "http://proxy:80:80",
        "http://::1:3128",
        "http://[::1",
        "http://[::1]3128",
        "http://[proxy]",
        "http://[fe80::1%]",
        "http://[fe80::1%a:b]",
        "http://[10.0.0.1]",
        "http://pro%78y",
        "http://pro xy",
        "http://proxy\r\nX: y",
        "http://pröxy",
        "http://proxy,other",
        "http://user:Tr0ub4dor",
        "http://user:80/Tr0ub4dor@proxy",
        "http://user:80?Tr0ub4dor@proxy",
        "http://user:80#Tr0ub4dor@proxy",
        "user:Tr0ub4dor://x@proxy",
        "http//user:Tr0ub4dor@proxy",
    ] {
        let error = Proxy::url(url).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidInput, NOT_A_PROXY_URL), "{url}");
    }
}

#[test]
fn the_connect_request_names_the_target_in_both_places() {
    let agent = format!("User-Agent: loggregator-consumer/{}", env!("CARGO_PKG_VERSION"));
    for (host, port, target) in [
        ("loggregator.example.com", 4443, "loggregator.example.com:4443"),
        ("10.0.0.1", 80, "10.0.0.1:80"),
        ("::1", 443, "[::1]:443"),
        ("[fd00::1]", 65535, "[fd00::1]:65535"),
        ("fe80::1%eth0", 443, "[fe80::1]:443"),
        ("localhost.", 443, "localhost.:443"),
    ] {
        let request = String::from_utf8(server("proxy").connect_request(host, port)).unwrap();
        assert_eq!(request, format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{agent}\r\n\r\n"));
    }
}

#[test]
fn credentials_are_percent_decoded_and_sent_as_basic() {
    for (userinfo, plain) in [
        ("Aladdin:open%20sesame", &b"Aladdin:open sesame"[..]),
        ("user", b"user:"),
        ("user:", b"user:"),
        (":word", b":word"),
        ("user:p:a@s+s", b"user:p:a@s+s"),
        ("us%C3%A9r:%40%2F%3F%23%25%3A", "usér:@/?#%:".as_bytes()),
        ("user:%0D%0AX-Injected:%20y%00%FF", b"user:\r\nX-Injected: y\0\xff"),
        ("user:100%", b"user:100%"),
    ] {
        let request = server(&format!("http://{userinfo}@proxy")).connect_request("example.com", 443);
        let request = String::from_utf8(request).unwrap();
        let basic = BASE64_STANDARD.encode(plain);
        let header = format!("Host: example.com:443\r\nProxy-Authorization: Basic {basic}\r\nUser-Agent: ");
        assert!(request.contains(&header), "{userinfo}: {request}");
        assert_eq!(request.lines().count(), 5, "{request}");
    }
    // The example in RFC 7617, section 2.
    assert_eq!(Credentials::parse("Aladdin:open%20sesame").base64(), "QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert!(server("http://@proxy").credentials.is_none());
}

#[test]
fn the_environment_has_a_proxy_per_target_scheme() {
    const NONE: &[(&str, &str)] = &[];
    for (vars, http, https) in [
        (NONE, "", ""),
        (&[("HTTP_PROXY", "upper")], "http://upper:80", ""),
        (&[("HTTPS_PROXY", "upper")], "", "http://upper:80"),
        (&[("ALL_PROXY", "all")], "http://all:80", "http://all:80"),
        (&[("all_proxy", "low"), ("ALL_PROXY", "all")], "http://low:80", "http://low:80"),
        (&[("http_proxy", "low"), ("HTTP_PROXY", "upper")], "http://low:80", ""),
        (&[("https_proxy", "https://low"), ("HTTPS_PROXY", "upper")], "", "https://low:443"),
        (&[("HTTPS_PROXY", "socks5://upper")], "", "socks5://upper:1080"),
        (
            &[("HTTP_PROXY", "socks5h://upper"), ("ALL_PROXY", "socks5://all")],
            "socks5h://upper:1080",
            "socks5://all:1080",
        ),
        (&[("http_proxy", ""), ("HTTP_PROXY", "upper")], "http://upper:80", ""),
        (&[("https_proxy", ""), ("HTTPS_PROXY", ""), ("ALL_PROXY", "all")], "http://all:80", "http://all:80"),
        (&[("HTTPS_PROXY", "upper"), ("all_proxy", "all")], "http://all:80", "http://upper:80"),
        // Through CGI a client can set HTTP_PROXY, but none of the others.
        (&[("HTTP_PROXY", "evil"), ("REQUEST_METHOD", "GET")], "", ""),
        (&[("HTTP_PROXY", "evil"), ("REQUEST_METHOD", "GET"), ("ALL_PROXY", "all")], "http://all:80", "http://all:80"),
        (&[("http_proxy", "low"), ("HTTP_PROXY", "evil"), ("REQUEST_METHOD", "GET")], "http://low:80", ""),
        (&[("HTTPS_PROXY", "upper"), ("REQUEST_METHOD", "GET")], "", "http://upper:80"),
        (&[("HTTP_PROXY", "upper"), ("REQUEST_METHOD", "")], "http://upper:80", ""),
    ] {
        let proxy = environment(vars);
        assert_eq!(chosen(&proxy, "http://example.com/"), http, "{vars:?}");
        assert_eq!(chosen(&proxy, "https://example.com/"), https, "{vars:?}");
        assert_eq!(chosen(&proxy, "https://127.0.0.1/"), https, "the local machine is no exception: {vars:?}");
    }
}

#[test]
fn no_proxy_excludes_targets_by_host_and_port() {
    for (vars, direct, proxied) in [
        (&[("NO_PROXY", "example.com")][..], "https://example.com/x", "https://example.org/x"),
        (&[("no_proxy", "example.com"), ("NO_PROXY", "*")], "https://example.com", "https://example.org"),
        (&[("no_proxy", ""), ("NO_PROXY", "example.com")], "https://example.com", "https://example.org"),
        (&[("NO_PROXY", "example.com:443")], "https://example.com", "http://example.com"),
        (&[("NO_PROXY", "example.com:80")], "http://example.com", "https://example.com"),
        (&[("NO_PROXY", "example.com:4443")], "https://example.com:4443", "https://example.com"),
        (&[("NO_PROXY", "fd00::/8")], "https://[fd00::1]:4443", "https://[fe80::1]"),
        (&[("NO_PROXY", "10.0.0.0/8")], "http://[::ffff:10.0.0.1]", "http://[::ffff:11.0.0.1]"),
        (&[("NO_PROXY", "localhost,127.0.0.0/8,::1")], "http://LOCALHOST.:8080", "http://128.0.0.1"),
    ] {
        let vars: Vec<_> = vars.iter().copied().chain([("ALL_PROXY", "proxy")]).collect();
        let proxy = environment(&vars);
        assert_eq!(chosen(&proxy, direct), "", "{vars:?}");
        assert_eq!(chosen(&proxy, proxied), "http://proxy:80", "{vars:?}");
    }
}

#[test]
fn an_invalid_variable_is_an_error_only_when_it_is_used() {
    let vars = [
        ("https_proxy", "http://user:Tr0ub4dor@proxy:port"),
        ("ALL_PROXY", "socks4://user:Tr0ub4dor@proxy"),
        ("NO_PROXY", "example.org"),
    ];
    let proxy = environment(&vars);
    for (target, parts) in [
        ("https://example.com", ["https_proxy", "http://host:3128"]),
        ("http://example.com", ["ALL_PROXY", "socks4://"]),
    ] {
        let error = proxy.for_target(&uri(target)).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Proxy);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
    assert_eq!(chosen(&proxy, "https://example.org"), "");

    let unused = environment(&[("HTTPS_PROXY", "nonsense://"), ("HTTP_PROXY", "proxy")]);
    assert_eq!(chosen(&unused, "http://example.com"), "http://proxy:80");
}

#[test]
fn none_and_a_url_apply_to_every_target() {
    for target in ["http://example.com", "https://127.0.0.1:4443", "http://[::1]/"] {
        assert_eq!(chosen(&Proxy::none(), target), "");
        assert_eq!(chosen(&Proxy::url("https://proxy").unwrap(), target), "https://proxy:443");
        assert_eq!(chosen(&Proxy::url("socks5h://user:x@proxy").unwrap(), target), "socks5h://proxy:1080");
    }
}

#[test]
fn the_function_receives_the_target_and_returns_the_proxy() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let proxy = Proxy::custom({
        let asked = asked.clone();
        move |target| {
            asked.lock().unwrap().push(target.to_string());
            Ok(match target.port_u16() {
                Some(4443) => None,
                Some(_) => Some(Uri::from_static("https://user:Tr0ub4dor@proxy:3128/path")),
                None => Some(Uri::from_static("socks5h://user:x@proxy")),
            })
        }
    });
    assert_eq!(chosen(&proxy, "https://example.com:4443/tail/?app=x"), "");
    assert_eq!(chosen(&proxy.clone(), "http://example.com:1/"), "https://proxy:3128");
    assert_eq!(chosen(&proxy, "http://example.com/"), "socks5h://proxy:1080");
    let targets = ["https://example.com:4443/tail/?app=x", "http://example.com:1/", "http://example.com/"];
    assert_eq!(*asked.lock().unwrap(), targets);

    let server = proxy.for_target(&uri("http://example.com:1/")).unwrap().unwrap();
    assert_eq!(server.credentials.unwrap().base64(), BASE64_STANDARD.encode("user:Tr0ub4dor"));
}

#[test]
fn an_error_of_the_function_is_the_cause() {
    let proxy = Proxy::custom(|_| Err("the proxy list is empty".into()));
    let error = proxy.for_target(&uri("http://example.com")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Proxy);
    assert!(error.to_string().ends_with(": the proxy list is empty"), "{error}");
    assert_eq!(error.get_ref().unwrap().to_string(), "the proxy list is empty");
}

#[test]
fn the_uri_that_the_function_returns_is_validated() {
    for (given, part) in [("socks4://user:Tr0ub4dor@proxy", "socks4://"), ("/path", NOT_A_PROXY_URL)] {
        let error = Proxy::custom(move |_| Ok(Some(uri(given)))).for_target(&uri("http://example.com")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Proxy);
        assert!(error.to_string().contains(part), "{error}");
        assert!(!error.to_string().contains(SECRET), "{error}");
    }
}

#[test]
fn debug_shows_the_proxy_without_the_credentials() {
    let url = "https://user:Tr0ub4dor@[::1]:3128";
    assert_eq!(format!("{:?}", server(url)), "https://[::1]:3128");
    assert_eq!(format!("{:?}", Proxy::url(url).unwrap()), "Proxy::url(https://[::1]:3128)");
    assert_eq!(format!("{:?}", Proxy::none()), "Proxy::none()");
    assert_eq!(format!("{:?}", Proxy::custom(|_| Ok(None))), "Proxy::custom(..)");
    let text = format!("{:?}", environment(&[("ALL_PROXY", url), ("NO_PROXY", "example.com")]));
    assert!(text.starts_with("Proxy::from_env(") && text.contains("https://[::1]:3128"), "{text}");
    assert!(text.contains("example.com") && !text.contains("user") && !text.contains(SECRET), "{text}");
}

#[test]
fn the_default_is_the_environment() {
    let text = format!("{:?}", Proxy::default());
    assert!(text.starts_with("Proxy::from_env("), "{text}");
}

/// Text with many of the characters that are special in a URL or a list.
fn junk() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9:/?#@%.,* \\[\\]-]{0,12}", ".{0,12}"]
}

fn list() -> impl Strategy<Value = String> {
    let entry =
        prop_oneof![junk(), "\\[?[0-9a-f:.]{0,20}\\]?/[0-9]{0,4}(:[0-9]{0,6})?", "[*.]{0,2}[a-z.]{0,8}:[0-9]{0,6}"];
    prop::collection::vec(entry, 0..6).prop_map(|entries| entries.join(","))
}

fn target() -> impl Strategy<Value = Uri> {
    let host = prop_oneof!["[a-z0-9.-]{1,12}", "[0-9]{1,3}(\\.[0-9]{1,3}){3}", "\\[[0-9a-f:.]{0,20}\\]", junk()];
    (prop_oneof!["http://", "https://", "[a-z]{0,5}(://)?"], host, prop_oneof!["", ":[0-9]{0,6}"])
        .prop_filter_map("not a URI", |(scheme, host, port)| format!("{scheme}{host}{port}").parse().ok())
}

/// Returns all texts that result from a proxy URL, however it is set.
fn texts(url: &str) -> String {
    // A `Uri` drops the fragment, so a URL with a # is skipped: its fragment may be the rest of a password.
    let given = url.parse::<Uri>().ok().filter(|_| !url.contains('#'));
    let proxies =
        [Proxy::url(url), Ok(environment(&[("ALL_PROXY", url)])), Ok(Proxy::custom(move |_| Ok(given.clone())))];
    let text = |proxy: Result<Proxy>| match proxy.map(|proxy| (proxy.for_target(&uri("https://example.com")), proxy)) {
        Ok((Ok(Some(server)), proxy)) => format!("{proxy:?} {server:?} {server}"),
        Ok((Ok(None), proxy)) => format!("{proxy:?}"),
        Ok((Err(error), proxy)) => format!("{proxy:?} {error:?} {error}"),
        Err(error) => format!("{error:?} {error}"),
    };
    proxies.map(text).join("\n")
}

proptest! {
    #[test]
    fn no_variable_and_no_target_causes_a_panic(
        values in prop::collection::vec(junk(), 6),
        no_proxy in list(),
        target in target(),
    ) {
        let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "REQUEST_METHOD"];
        let values = values.iter().map(String::as_str);
        let vars: Vec<_> = names.into_iter().zip(values).chain([("NO_PROXY", no_proxy.as_str())]).collect();
        if let Ok(Some(server)) = environment(&vars).for_target(&target) {
            let request = server.connect_request(target.host().unwrap_or_default(), 443);
            prop_assert!(request.ends_with(b"\r\n\r\n"));
        }
    }

    #[test]
    fn no_text_contains_the_password(
        scheme in prop_oneof!["", "http://", "https://", "socks5://", "socks5h://", "[a-z0-9]{0,4}:?/{0,3}"],
        user in "[a-z0-9%]{0,5}",
        before in junk(),
        after in junk(),
        server in prop_oneof!["proxy", "proxy:3128", "\\[::1\\]:3128", "[a-z]{0,3}:?[0-9]{0,6}/?"],
    ) {
        let texts = texts(&format!("{scheme}{user}:{before}{SECRET}{after}@{server}"));
        prop_assert!(!texts.contains(SECRET) && !texts.contains("Basic"), "{texts}");
    }
}
