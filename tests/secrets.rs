//! The token and the passwords are shown to nobody except the server, the UAA and the proxy.

mod common;

use std::fmt::{Debug, Display};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::foundation::PathServer;
use common::messages::{APP, message, recent_response, response};
use common::proxy::ConnectProxy;
use common::socks5::Socks5Proxy;
use common::watch::{Prints, keep_logs, logs};
use common::{
    BINARY, DEADLINE, Refusing, Script, ScriptedServer, builder, close_frame, frame, hang_up, header, read_head, reset,
    responding, send, switching_protocols, tls, upgrading, within,
};
use loggregator_consumer::testing::{Generation, TrafficController};
use loggregator_consumer::{Builder, Consumer, Error, Proxy, TokenSource, Uaa};

const TOKEN: &str = "bearer s3cr3t-t0ken";
const PASSWORD: &str = "hunter2";
const CREDENTIALS: &str = "user:hunter2";
const USER_PASSWORD: &str = "ma/rie's";
const WRONG_PASSWORD: &str = "ma/rie";

/// Collects everything that the crate shows, to check it for secrets.
struct Witness {
    prints: Prints,
    shown: String,
}

impl Witness {
    /// Starts to record logs, for the whole process. So there is only one test in this file.
    fn new() -> Self {
        keep_logs();
        Witness { prints: Prints::default(), shown: String::new() }
    }

    fn debug(&mut self, value: impl Debug) {
        self.shown += &format!("{value:?}\n{value:#?}\n");
    }

    fn error(&mut self, error: impl std::error::Error) {
        self.debug(&error);
        self.shown += &format!("{error}\n");
        let mut source = error.source();
        while let Some(cause) = source {
            self.shown += &format!("{cause}\n{cause:?}\n");
            source = cause.source();
        }
    }

    fn consumer(&mut self, builder: Builder) -> Consumer {
        let builder = builder.debug_printer(self.prints.clone());
        self.debug(&builder);
        let consumer = builder.build().unwrap();
        self.debug(&consumer);
        consumer
    }

    /// Reads a tail to its end, and the recent messages. Returns the errors of both.
    fn use_up(&mut self, consumer: &Consumer) -> [Option<Error>; 2] {
        let tail_error = consumer.tail(APP, TOKEN).map(|mut tail| {
            self.debug(&tail);
            self.debug(tail.closer());
            self.debug(tail.receiver().try_recv());
            tail.by_ref().for_each(|item| self.debug(item));
            self.debug(tail.ending());
        });
        let recent_error = consumer.recent_iter(APP, TOKEN).and_then(|mut recent| {
            self.debug(&recent);
            recent.try_for_each(|message| message.map(|message| self.debug(message)))
        });
        let errors = [tail_error.err(), recent_error.err()];
        errors.iter().flatten().for_each(|error| self.error(error));
        errors
    }
}

/// A server at which a tail and a call of `recent` succeed.
fn good() -> ScriptedServer {
    ScriptedServer::always(|mut socket| {
        let request = read_head(&mut socket);
        assert_eq!(header(&request, "authorization"), Some(TOKEN));
        if request.starts_with("GET /tail/") {
            let frames = [frame(BINARY, &message("hello")), close_frame()].concat();
            send(&mut socket, &[&switching_protocols(&request), &frames]);
        } else {
            send(&mut socket, &[&recent_response(&["hello"])]);
        }
        hang_up(socket);
    })
}

/// Servers at which they fail in different ways, or fall back.
fn bad() -> Vec<ScriptedServer> {
    let fail: [fn() -> Script; 6] = [
        || responding(response("401 Unauthorized", &["Www-Authenticate: Basic"], b"no")),
        || responding(response("302 Found", &["Location: http://127.0.0.1:1/"], b"")),
        || responding(response("500 Internal Server Error", &[], b"oh")),
        || responding("no HTTP at all\r\n\r\n"),
        || responding(""),
        || Box::new(reset),
    ];
    let mut servers: Vec<_> = fail.map(|script| ScriptedServer::start(vec![script(), script()])).into();
    let broken = |bytes: &'static [u8]| {
        upgrading(move |mut socket| {
            send(&mut socket, &[&frame(BINARY, &message("hello")), bytes]);
            hang_up(socket);
        })
    };
    let fall_back = responding(response("400 Bad Request", &[], b""));
    servers.push(ScriptedServer::start(vec![broken(b"\xff\0"), fall_back, broken(b"")]));
    servers
}

fn with_credentials(scheme: &str, address: impl Display) -> Proxy {
    Proxy::url(&format!("{scheme}://{CREDENTIALS}@{address}")).unwrap()
}

#[test]
fn neither_the_token_nor_a_password_is_ever_shown() {
    within(DEADLINE, || {
        let mut witness = Witness::new();
        let good = good();
        let consumer = witness.consumer(builder(&good.endpoint()));
        assert!(matches!(witness.use_up(&consumer), [None, None]));
        for server in bad() {
            let consumer = witness.consumer(builder(&server.endpoint()));
            witness.use_up(&consumer);
        }
        let refusing = Refusing::start();
        let consumer = witness.consumer(builder(&refusing.endpoint()));
        assert!(matches!(witness.use_up(&consumer), [Some(_), Some(_)]));

        // An API that is asked for an app by its name.
        for list in [
            response("401 Unauthorized", &[], b"no"),
            response("200 OK", &[], b"{\"resources\":[{\"guid\":\"1\",\"name\":\"web\"}]}"),
        ] {
            let api = PathServer::start(move |path| match path {
                "/" => response("200 OK", &[], b"{\"links\":{}}"),
                _ => list.clone(),
            });
            let consumer = witness.consumer(Builder::new().api(&api.url()).proxy(Proxy::none()));
            witness.error(consumer.app("wbe", TOKEN).unwrap_err());
        }

        // Through proxies.
        for (proxy, scheme) in [(ConnectProxy::plain(), "http"), (ConnectProxy::tls(), "https")] {
            let settings = with_credentials(scheme, proxy.address);
            witness.debug(&settings);
            let settings = builder(&good.endpoint()).proxy(settings).tls_connector(tls::unverifying());
            let consumer = witness.consumer(settings);
            assert!(matches!(witness.use_up(&consumer), [None, None]));
            let basic = format!("Basic {}", BASE64_STANDARD.encode(CREDENTIALS));
            assert_eq!(header(&proxy.request(), "proxy-authorization"), Some(&*basic));
        }
        let socks5 = Socks5Proxy::requiring("user", PASSWORD);
        for scheme in ["socks5", "socks5h"] {
            let settings = with_credentials(scheme, socks5.address);
            witness.debug(&settings);
            let consumer = witness.consumer(builder(&good.endpoint()).proxy(settings));
            assert!(matches!(witness.use_up(&consumer), [None, None]));
            assert_eq!(socks5.request().login, Some((b"user".into(), PASSWORD.into())));
        }
        let url = format!("http://{CREDENTIALS}@{}", refusing.address);
        let function = Proxy::custom(move |_| Ok(Some(url.parse()?)));
        witness.debug(&function);
        let rejection = response("407 Proxy Authentication Required", &["Proxy-Authenticate: Basic"], b"no");
        let rejecting = ScriptedServer::always(move |socket| responding(rejection.clone())(socket));
        let socks5 = Socks5Proxy::requiring("user", "another");
        for proxy in [
            function,
            with_credentials("http", rejecting.address),
            with_credentials("https", refusing.address),
            with_credentials("socks5", refusing.address),
            with_credentials("socks5h", socks5.address),
        ] {
            let consumer = witness.consumer(builder(&good.endpoint()).proxy(proxy));
            assert!(matches!(witness.use_up(&consumer), [Some(_), Some(_)]));
        }

        // With a user's password, a right one and a wrong one.
        let server = TrafficController::builder().generation(Generation::Today).tokens([""; 0]);
        let server = server.user("marie", USER_PASSWORD).start().unwrap();
        for (password, is_right) in [(USER_PASSWORD, true), (WRONG_PASSWORD, false)] {
            let uaa = Uaa::new(&server.api()).password("marie", password);
            witness.debug(&uaa);
            let tokens = TokenSource::uaa(uaa).unwrap();
            witness.debug(&tokens);
            let servers = Builder::new().doppler(&server.endpoint()).log_cache(&server.api()).tokens(tokens);
            let consumer = witness.consumer(servers.proxy(Proxy::none()));
            for _ in 0..2 {
                let results = [consumer.tail(APP, "").map(drop), consumer.recent(APP, "").map(drop)];
                assert_eq!(results.each_ref().map(Result::is_ok), [is_right; 2]);
                results.into_iter().filter_map(Result::err).for_each(|error| witness.error(error));
                server.expire_tokens();
                server.revoke_refresh_tokens();
            }
        }

        // Secrets in the wrong place.
        witness.error(Proxy::url(&format!("socks4://{CREDENTIALS}@proxy")).unwrap_err());
        witness.error(Proxy::url(&format!("http://{CREDENTIALS}@proxy:no-port")).unwrap_err());
        witness.error(Consumer::new(&format!("ws://{CREDENTIALS}@host")).unwrap_err());
        witness.error(builder(&good.endpoint()).build().unwrap().tail(APP, &format!("{TOKEN}\r\n")).unwrap_err());

        let (prints, logs) = (witness.prints.text(), logs());
        for (what, text) in [("debug prints", &prints), ("logs", &logs), ("values and errors", &witness.shown)] {
            let encoded = [TOKEN, "s3cr3t-t0ken", CREDENTIALS, PASSWORD].map(|secret| BASE64_STANDARD.encode(secret));
            let secrets = ["s3cr3t-t0ken", PASSWORD, USER_PASSWORD, WRONG_PASSWORD, "ma%2Frie", "ma%2frie"];
            for secret in secrets.into_iter().chain(encoded.iter().map(String::as_str)) {
                assert!(!text.contains(secret), "{secret} is in the {what}:\n{text}");
            }
        }
        // Something was shown at all.
        assert!(prints.contains("WEBSOCKET RESPONSE:\nHTTP/1.1 401 Unauthorized"), "{prints}");
        for target in [" loggregator_consumer", " ureq", " tungstenite"] {
            assert!(logs.contains(target), "{logs}");
        }
        for error in [
            "401 Unauthorized",
            "302 Found",
            "500 Internal",
            "ended unexpectedly",
            "broke the websocket protocol",
            "407 Proxy",
            "did you mean `web`",
            "rejected the user or the password",
            "the user's name or password is wrong",
        ] {
            assert!(witness.shown.contains(error), "no {error} in\n{}", witness.shown);
        }
    });
}
