//! [`Handshake`]: what a client and a SOCKS5 proxy say to each other until a tunnel is open (RFC 1928; RFC 1929 for the
//! user and the password). It knows no sockets.

use std::net::IpAddr;

use super::credentials::Credentials;

const VERSION: u8 = 5;
/// The version of the login, which is not that of SOCKS.
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;

/// Methods of authentication.
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;

/// Types of an address.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Returns what is wrong with credentials that SOCKS5 cannot carry.
pub(super) fn check(credentials: &Credentials) -> Result<(), &'static str> {
    let (user, password) = credentials.user_and_password();
    if (1..=255).contains(&user.len()) && password.len() <= 255 {
        Ok(())
    } else {
        Err("the user of a SOCKS5 proxy has 1 to 255 bytes, and its password at most 255")
    }
}

/// The client's side of a handshake, as a state machine: [`start`](Handshake::start) returns the first exchange, and
/// [`receive`](Handshake::receive) each next one.
///
/// Each exchange reads as many bytes as its answer has, so that none of the bytes after the handshake is lost. After the
/// login, failures show no byte of an answer except the code of the reply, because the proxy may repeat the password.
pub(crate) struct Handshake {
    /// The message with the user and the password.
    login: Option<Vec<u8>>,
    request: Vec<u8>,
    awaits: Answer,
}

/// The bytes to send now, and how many are to be read then.
#[derive(Debug, PartialEq)]
pub(crate) struct Exchange {
    pub(crate) send: Vec<u8>,
    pub(crate) receive: usize,
}

/// Why a proxy opens no tunnel, and what to do.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) why: String,
    /// True if the proxy may reach another address of the same target.
    pub(crate) is_of_address: bool,
}

/// The part of an answer that is read next.
#[derive(Clone, Copy)]
enum Answer {
    /// The version, and the method that the proxy has chosen.
    Method,
    /// The version and the status.
    Login,
    /// The version and the code. After a failure, some proxies send no more.
    Reply,
    /// The reserved byte, the type of the address that the proxy uses, and its first byte: the length of a name.
    Address,
    /// The rest of this address and the port, which nobody needs.
    Rest,
}

impl Handshake {
    /// Begins a handshake for a tunnel to `host:port`. A zone has a meaning on this machine only, and is not sent.
    pub(super) fn new(credentials: Option<&Credentials>, host: &str, port: u16) -> Result<Self, Refusal> {
        let mut request = vec![VERSION, CONNECT, 0];
        let host = host.split('%').next().unwrap_or_default();
        match (host.parse::<IpAddr>().map(|address| address.to_canonical()), u8::try_from(host.len())) {
            (Ok(IpAddr::V4(address)), _) => {
                request.push(IPV4);
                request.extend(address.octets());
            }
            (Ok(IpAddr::V6(address)), _) => {
                request.push(IPV6);
                request.extend(address.octets());
            }
            (Err(_), Ok(length)) => {
                request.extend([NAME, length]);
                request.extend(host.as_bytes());
            }
            (Err(_), Err(_)) => {
                return Err("the name of the server is longer than 255 bytes, which SOCKS5 cannot carry".into());
            }
        }
        request.extend(port.to_be_bytes());
        Ok(Handshake { login: credentials.map(login), request, awaits: Answer::Method })
    }

    /// Returns the first exchange.
    pub(crate) fn start(&self) -> Exchange {
        // A proxy that needs no login may know no other method.
        let methods: &[u8] = if self.login.is_some() { &[NO_LOGIN, LOGIN] } else { &[NO_LOGIN] };
        Exchange { send: [&[VERSION, methods.len() as u8], methods].concat(), receive: 2 }
    }

    /// Takes the answer of the last exchange, and returns the next one. `None` if the tunnel is open.
    pub(crate) fn receive(&mut self, answer: &[u8]) -> Result<Option<Exchange>, Refusal> {
        let (awaits, exchange) = match (self.awaits, answer) {
            (Answer::Method, &[VERSION, NO_LOGIN]) => (Answer::Reply, self.request()),
            (Answer::Method, &[VERSION, method]) => match (method, &self.login) {
                (LOGIN, Some(login)) => (Answer::Login, Exchange { send: login.clone(), receive: 2 }),
                (method, login) => return Err(wrong_method(method, login.is_some()).into()),
            },
            (Answer::Method, _) => return Err(not_socks5(answer).into()),
            (Answer::Login, &[LOGIN_VERSION, SUCCEEDED]) => (Answer::Reply, self.request()),
            (Answer::Login, &[LOGIN_VERSION, _]) => return Err(WRONG_LOGIN.into()),
            (Answer::Login, _) => return Err(malformed("its answer to the login has another version than 1")),
            (Answer::Reply, &[VERSION, SUCCEEDED]) => (Answer::Address, read(3)),
            (Answer::Reply, &[VERSION, code]) => return Err(refused(code)),
            (Answer::Reply, _) => return Err(malformed("its reply has another version than 5")),
            (Answer::Address, &[0, IPV4, _]) => (Answer::Rest, read(4 - 1 + 2)),
            (Answer::Address, &[0, IPV6, _]) => (Answer::Rest, read(16 - 1 + 2)),
            (Answer::Address, &[0, NAME, length]) => (Answer::Rest, read(usize::from(length) + 2)),
            (Answer::Address, &[0, ..]) => return Err(malformed("its reply has an address of an unknown type")),
            (Answer::Address, _) => return Err(malformed("the reserved byte of its reply is not 0")),
            (Answer::Rest, _) => return Ok(None),
        };
        self.awaits = awaits;
        Ok(Some(exchange))
    }

    /// Returns what may be wrong if the proxy falls silent or hangs up now, as a hint in parentheses, or nothing.
    pub(crate) fn suspicion(&self, is_silent: bool) -> &'static str {
        match (self.awaits, is_silent) {
            // An HTTP proxy waits for the end of a line.
            (Answer::Method, true) => " (does it speak SOCKS5?)",
            (Answer::Login, false) => " (perhaps the user or the password is wrong)",
            _ => "",
        }
    }

    fn request(&self) -> Exchange {
        Exchange { send: self.request.clone(), receive: 2 }
    }
}

/// Reads on, without sending anything.
fn read(receive: usize) -> Exchange {
    Exchange { send: Vec::new(), receive }
}

/// Returns the message with the user and the password, whose lengths were [checked](check).
fn login(credentials: &Credentials) -> Vec<u8> {
    let (user, password) = credentials.user_and_password();
    let mut message = vec![LOGIN_VERSION];
    for text in [user, password] {
        message.push(text.len() as u8);
        message.extend(text);
    }
    message
}

const WRONG_LOGIN: &str = "the proxy rejected the user or the password: check them in the proxy's URL, where special \
    characters must be percent-encoded";

/// Says what a peer may be whose first byte is not that of SOCKS5.
fn not_socks5(answer: &[u8]) -> String {
    let first = answer.first().copied().unwrap_or_default();
    let hint = match first {
        b'H' => " (is it an http:// proxy?)",
        b'S' => " (is it an SSH server? `ssh -D 1080` makes a SOCKS5 proxy of one, at socks5h://localhost:1080)",
        _ => " (check the host and the port of its URL)",
    };
    format!("the proxy does not speak SOCKS5: its answer begins with the byte 0x{first:02x} instead of 0x05{hint}")
}

fn wrong_method(method: u8, has_login: bool) -> String {
    match (method, has_login) {
        (NO_ACCEPTABLE_METHOD, true) => {
            "the proxy accepts neither a user with a password nor a client without one (no acceptable authentication \
             method; others, such as GSSAPI, are not supported)"
                .into()
        }
        (NO_ACCEPTABLE_METHOD | LOGIN, false) => {
            "the proxy requires authentication: set its URL with a user and a password, as in \
             socks5h://user:password@host:1080"
                .into()
        }
        _ => format!(
            "the proxy chose the authentication method 0x{method:02x}, which was not offered: check its settings"
        ),
    }
}

/// Returns the refusal that a code of the reply means (RFC 1928, section 6).
fn refused(code: u8) -> Refusal {
    let (meaning, is_of_address) = match code {
        1 => ("general failure: its log says more", true),
        2 => ("its rules do not allow the connection: ask its operator", false),
        3 => ("it cannot reach the server's network", true),
        4 => ("it cannot reach the server, or cannot resolve its name", true),
        5 => ("the server refused its connection: check the server's address", true),
        6 => ("its connection to the server timed out (TTL expired)", true),
        7 => ("it does not support CONNECT", false),
        8 => {
            ("it does not support this type of address: socks5:// sends addresses, and socks5h:// sends the name", true)
        }
        _ => ("the code is unknown", false),
    };
    Refusal { why: format!("the proxy answered with the code {code}: {meaning}"), is_of_address }
}

fn malformed(what: &str) -> Refusal {
    format!("the proxy does not speak SOCKS5 correctly: {what} (check the host and the port of its URL)").into()
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Refusal { why, is_of_address: false }
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "Tr0ub4dor";

    fn handshake(credentials: Option<&str>, host: &str) -> Handshake {
        Handshake::new(credentials.map(Credentials::parse).as_ref(), host, 443).unwrap()
    }

    /// Gives the handshake these bytes of a proxy. Returns what the client sent, and how many of the bytes were read.
    fn run(mut handshake: Handshake, mut bytes: &[u8]) -> Result<(Vec<u8>, usize), String> {
        let all = bytes.len();
        let (mut sent, mut next) = (Vec::new(), Some(handshake.start()));
        while let Some(Exchange { send, receive }) = next {
            sent.extend(send);
            let (answer, rest) = bytes.split_at_checked(receive).ok_or("truncated")?;
            bytes = rest;
            next = handshake.receive(answer).map_err(|refusal| refusal.why)?;
        }
        Ok((sent, all - bytes.len()))
    }

    const OPEN: &[u8] = b"\x05\0\0\x01\x0a\0\0\x01\x12\x34";

    #[test]
    fn a_target_is_sent_as_a_name_or_an_address() {
        for (host, target) in [
            ("example.com", &b"\x03\x0bexample.com"[..]),
            ("example.com.", b"\x03\x0cexample.com."),
            ("10.0.0.1", b"\x01\x0a\0\0\x01"),
            ("fd00::1", b"\x04\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
            ("fe80::1%eth0", b"\x04\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
            ("::ffff:10.0.0.1", b"\x01\x0a\0\0\x01"),
        ] {
            let (sent, _) = run(handshake(None, host), &[b"\x05\0", OPEN].concat()).unwrap();
            assert_eq!(sent, [b"\x05\x01\0\x05\x01\0", target, b"\x01\xbb"].concat(), "{host}");
        }
        let long = "a".repeat(255);
        assert!(Handshake::new(None, &long, 443).is_ok());
        assert!(Handshake::new(None, &(long + "a"), 443).err().unwrap().why.contains("longer than 255 bytes"));
    }

    #[test]
    fn the_login_is_sent_if_the_proxy_chooses_it() {
        let sent = |credentials, answers: &[u8]| run(handshake(Some(credentials), "10.0.0.1"), answers).unwrap().0;
        let request = &b"\x05\x01\0\x01\x0a\0\0\x01\x01\xbb"[..];
        let with_login = [b"\x05\x02\x01\0", OPEN].concat();
        for (credentials, login) in [
            ("user:p%40ss", &b"\x01\x04user\x04p@ss"[..]),
            ("us%3Aer:p:ss", b"\x01\x05us:er\x04p:ss"),
            ("user", b"\x01\x04user\0"),
            ("%ff:%00", b"\x01\x01\xff\x01\0"),
        ] {
            assert_eq!(sent(credentials, &with_login), [b"\x05\x02\0\x02", login, request].concat(), "{credentials}");
        }
        assert_eq!(sent("user:p", &[b"\x05\0", OPEN].concat()), [b"\x05\x02\0\x02", request].concat());
    }

    #[test]
    fn credentials_that_do_not_fit_are_refused() {
        let long = |length| "a".repeat(length);
        for (credentials, fits) in [
            (format!("{}:{}", long(255), long(255)), true),
            (format!("{}:x", long(256)), false),
            (format!("user:{}", long(256)), false),
            (":password".into(), false),
            ("user:".into(), true),
        ] {
            assert_eq!(check(&Credentials::parse(&credentials)).is_ok(), fits, "{credentials}");
        }
    }

    /// What is read of each kind of reply, and of nothing after it.
    #[test]
    fn a_reply_is_read_to_its_end_and_no_byte_more() {
        let name = [&b"\x05\0\0\x03\xff"[..], &[b'x'; 255], b"\x12\x34"].concat();
        for reply in [OPEN, b"\x05\0\0\x04aaaabbbbccccdddd\x12\x34", b"\x05\0\0\x03\0\x12\x34", &name] {
            let answers = [b"\x05\0", reply].concat();
            let (_, read) = run(handshake(None, "example.com"), &[&answers, &b"HTTP"[..]].concat()).unwrap();
            assert_eq!(read, answers.len());
            for cut in 0..answers.len() {
                assert_eq!(run(handshake(None, "example.com"), &answers[..cut]).unwrap_err(), "truncated");
            }
        }
    }

    #[test]
    fn each_refusal_says_what_is_wrong_and_what_to_do() {
        let login = b"\x05\x02\x01\0";
        let after_login = |answer: &[u8]| [login, answer].concat();
        for (credentials, answers, parts) in [
            (None, b"HT".to_vec(), ["does not speak SOCKS5", "http://"]),
            (None, b"SS".to_vec(), ["does not speak SOCKS5", "ssh -D"]),
            (None, b"\x04\0".to_vec(), ["the byte 0x04 instead of 0x05", "check the host and the port"]),
            (None, b"\x05\xff".to_vec(), ["requires authentication", "user:password@"]),
            (None, b"\x05\x02".to_vec(), ["requires authentication", "user:password@"]),
            (None, b"\x05\x01".to_vec(), ["method 0x01", "not offered"]),
            (Some("user:x"), b"\x05\x01".to_vec(), ["method 0x01", "not offered"]),
            (Some("user:x"), b"\x05\xff".to_vec(), ["neither a user with a password", "GSSAPI"]),
            (Some("user:x"), b"\x05\x02\x01\x01".to_vec(), ["rejected the user or the password", "percent-encoded"]),
            (Some("user:x"), b"\x05\x02\x05\0".to_vec(), ["its answer to the login", "another version than 1"]),
            (Some("user:x"), after_login(b"\x04\0"), ["its reply has", "another version than 5"]),
            (Some("user:x"), after_login(b"\x05\0\x01\x01\0"), ["its reply", "reserved byte"]),
            (Some("user:x"), after_login(b"\x05\0\0\x02\0"), ["its reply", "an unknown type"]),
        ] {
            let why = run(handshake(credentials, "example.com"), &answers).unwrap_err();
            assert!(parts.iter().all(|part| why.contains(part)), "{answers:?}: {why}");
        }
    }

    #[test]
    fn each_code_of_a_reply_has_its_meaning() {
        for (code, part, is_of_address) in [
            (1, "general failure", true),
            (2, "rules", false),
            (3, "network", true),
            (4, "resolve", true),
            (5, "refused", true),
            (6, "timed out", true),
            (7, "CONNECT", false),
            (8, "type of address", true),
            (9, "unknown", false),
            (255, "unknown", false),
        ] {
            let mut handshake = handshake(None, "example.com");
            handshake.receive(b"\x05\0").unwrap();
            let refusal = handshake.receive(&[VERSION, code]).unwrap_err();
            assert!(refusal.why.contains(&format!("code {code}: ")) && refusal.why.contains(part), "{}", refusal.why);
            assert_eq!(refusal.is_of_address, is_of_address, "{code}");
        }
    }

    /// Pieces of answers, so that a handshake gets past its first steps.
    fn answers() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\x05\0".to_vec()),
            Just(b"\x05\x02".to_vec()),
            Just(b"\x01\0".to_vec()),
            Just(b"\x01\x09Tr0ub4dor".to_vec()),
            Just(OPEN.to_vec()),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_answer_causes_a_panic_or_shows_the_password(answers in answers(), user in "[a-z]{1,9}") {
            let credentials = format!("{user}:{SECRET}");
            match run(handshake(Some(&credentials), "example.com"), &answers) {
                Ok((_, read)) => prop_assert!(read <= 2 + 2 + 4 + 1 + 255 + 2),
                Err(why) => prop_assert!(!why.contains(SECRET) && !why.chars().any(char::is_control), "{why}"),
            }
        }
    }
}
