//! Apps that are found by their names: on every generation of the API, in a space or in all of them, and what the error
//! says if there is none or more than one.

mod common;

use std::env;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::foundation::{PathServer, unknown_request};
use common::messages::{TOKEN, response};
use common::{DEADLINE, Untouched, within};
use loggregator_consumer::testing::{Fault, Generation, RequestKind, RouterError, Server, TrafficController};
use loggregator_consumer::testing::{Request, TrafficControllerBuilder};
use loggregator_consumer::{Builder, Consumer, Error, ErrorKind, Proxy, TokenSource, Uaa};

const WEB: &str = "11111111-1111-1111-1111-111111111111";
const WORKER: &str = "22222222-2222-2222-2222-222222222222";
const PROD_WEB: &str = "33333333-3333-3333-3333-333333333333";
const OTHER_WEB: &str = "44444444-4444-4444-4444-444444444444";
const API: &str = "55555555-5555-5555-5555-555555555555";

/// One of each version of the API: 2 alone, both, and 3 alone.
const GENERATIONS: [Generation; 4] = [Generation::Y2015, Generation::Y2018, Generation::Today, Generation::Korifi];

/// Two organizations with three spaces, of which `shop/dev` is the target of `cf`.
fn foundation(generation: Generation) -> TrafficController {
    with_apps(TrafficController::builder().generation(generation)).start().unwrap()
}

fn with_apps(builder: TrafficControllerBuilder) -> TrafficControllerBuilder {
    builder
        .target("shop", "dev")
        .app(WEB, "web")
        .app(WORKER, "worker")
        .app_in(PROD_WEB, "web", "shop", "prod")
        .app_in(OTHER_WEB, "web", "blog", "dev")
        .app_in(API, "api", "blog", "dev")
        .tokens([TOKEN])
}

fn consumer(server: &TrafficController) -> Consumer {
    Builder::new().api(&server.api()).proxy(Proxy::none()).build().unwrap()
}

/// A session of `cf`, which is removed in the end.
struct Session(PathBuf);

impl Session {
    fn of(server: &TrafficController) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let home = env::temp_dir().join(format!("loggregator-consumer-{}-app-names-{n}", std::process::id()));
        server.cf_home(&home).unwrap();
        Session(home)
    }

    fn builder(&self) -> Builder {
        Builder::new().cf_cli_from(&self.0).unwrap().proxy(Proxy::none())
    }

    fn consumer(&self) -> Consumer {
        self.builder().build().unwrap()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The requests to the API that look for something.
fn lookups(server: &TrafficController) -> Vec<Request> {
    server.requests().into_iter().filter(|request| request.kind == RequestKind::Api).collect()
}

#[track_caller]
fn assert_error(error: &Error, kind: ErrorKind, text: &str) {
    assert_eq!((error.kind(), &*error.to_string()), (kind, text));
}

#[test]
fn an_app_is_found_in_the_space_that_cf_target_has_set() {
    within(DEADLINE, || {
        for generation in GENERATIONS.into_iter().filter(|it| *it != Generation::Korifi) {
            let server = foundation(generation);
            let session = Session::of(&server);
            let consumer = session.consumer();
            let app = consumer.app("web", "").unwrap();
            assert_eq!((&*app.guid, &*app.name, app.space_guid), (WEB, "web", server.space_guid("shop", "dev")));
            assert_eq!(lookups(&server).len(), 1, "{generation:?}");
            // A token can be passed, as to other calls.
            assert_eq!(consumer.app("worker", TOKEN).unwrap().guid, WORKER);
            assert_eq!(lookups(&server)[1].header("Authorization"), Some(TOKEN));
            let of_root = server.requests().into_iter().filter(|request| request.kind == RequestKind::ApiRoot);
            assert!(of_root.count() <= 1, "the version of the API is remembered: {generation:?}");
        }
    });
}

#[test]
fn without_a_target_all_spaces_are_looked_through_and_several_hits_are_listed() {
    within(DEADLINE, || {
        for generation in GENERATIONS {
            let server = foundation(generation);
            let consumer = consumer(&server);
            let app = consumer.app("worker", TOKEN).unwrap();
            assert_eq!((&*app.guid, app.space_guid), (WORKER, server.space_guid("shop", "dev")), "{generation:?}");
            let error = consumer.app("web", TOKEN).unwrap_err();
            let text = format!(
                "3 apps are named `web`: shop/dev ({WEB}), shop/prod ({PROD_WEB}), blog/dev ({OTHER_WEB}): name the \
                 space, too, or give the app's GUID"
            );
            assert_error(&error, ErrorKind::Ambiguous, &text);
            assert!(!error.is_transient());
        }
    });
}

#[test]
fn a_space_is_given_by_its_guid_its_name_or_with_its_organization() {
    within(DEADLINE, || {
        for generation in GENERATIONS {
            let server = foundation(generation);
            let consumer = consumer(&server);
            let guid = server.space_guid("blog", "dev").unwrap();
            for (space, app) in [(&*guid, OTHER_WEB), ("prod", PROD_WEB), ("shop/dev", WEB), ("blog/dev", OTHER_WEB)] {
                assert_eq!(consumer.app_in(space, "web", TOKEN).unwrap().guid, app, "{generation:?} {space}");
            }
            let error = consumer.app_in("dev", "web", TOKEN).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Ambiguous, "{generation:?}");
            let text = error.to_string();
            assert!(text.starts_with("2 spaces are named `dev`: ") && text.contains("shop ("), "{text}");
            assert!(text.ends_with(": give the space as `organization/space`, or its GUID"), "{text}");
        }
    });
}

#[test]
fn with_a_session_of_cf_a_space_is_one_of_its_organization() {
    within(DEADLINE, || {
        let server = foundation(Generation::Today);
        let session = Session::of(&server);
        let consumer = session.consumer();
        assert_eq!(consumer.app_in("dev", "web", "").unwrap().guid, WEB);
        assert_eq!(consumer.app_in("blog/dev", "web", "").unwrap().guid, OTHER_WEB);
        let error = consumer.app_in("prd", "web", "").unwrap_err();
        let text = "there is no space `prd` in the organization shop: did you mean `prod`?";
        assert_error(&error, ErrorKind::NotFound, text);
    });
}

#[test]
fn the_error_of_an_unknown_name_lists_what_is_near() {
    within(DEADLINE, || {
        for generation in GENERATIONS {
            let server = foundation(generation);
            let consumer = consumer(&server);
            for (space, name, text) in [
                (
                    None,
                    "wrker",
                    "there is no app `wrker` in any space that the token's user may see: did you mean `worker`?",
                ),
                (
                    None,
                    "scheduler",
                    "there is no app `scheduler` in any space that the token's user may see, and none of the 5 apps has \
                     a similar name",
                ),
                (Some("shop/prod"), "wbe", "there is no app `wbe` in the space shop/prod: did you mean `web`?"),
                (
                    Some("shop/prod"),
                    "mailer",
                    "there is no app `mailer` in the space shop/prod, and the only other one has no similar name",
                ),
                (
                    Some("prod"),
                    "worker",
                    "there is no app `worker` in the space prod, and the only other one has no similar name (one of \
                     this name is in shop/dev (22222222-2222-2222-2222-222222222222))",
                ),
                (Some("shp/dev"), "web", "there is no organization `shp`: did you mean `shop`?"),
                (Some("shop/dve"), "web", "there is no space `dve` in the organization shop: did you mean `dev`?"),
                (
                    Some("test"),
                    "web",
                    "there is no space `test` in any organization that the token's user may see, and none of the 3 \
                     spaces has a similar name",
                ),
                (
                    Some("00000000-0000-0000-0000-000000000000"),
                    "mailer",
                    "there is no app `mailer` in the space 00000000-0000-0000-0000-000000000000, nor any other that \
                     the token's user may see",
                ),
            ] {
                let error = match space {
                    Some(space) => consumer.app_in(space, name, TOKEN),
                    None => consumer.app(name, TOKEN),
                }
                .unwrap_err();
                assert_error(&error, ErrorKind::NotFound, text);
                assert!(error.status().is_none() && !error.is_transient(), "{generation:?}");
            }
        }
    });
}

#[test]
fn case_matters_only_where_it_matters_to_the_api() {
    within(DEADLINE, || {
        for generation in GENERATIONS {
            let builder = TrafficController::builder().generation(generation).app(WEB, "Web-App").tokens([TOKEN]);
            let server = builder.start().unwrap();
            let found = consumer(&server).app("WEB-app", TOKEN);
            if generation == Generation::Korifi {
                let text =
                    "there is no app `WEB-app` in any space that the token's user may see: did you mean `Web-App`?";
                assert_error(&found.unwrap_err(), ErrorKind::NotFound, text);
            } else {
                let app = found.unwrap();
                assert_eq!((&*app.guid, &*app.name), (WEB, "Web-App"), "as the API spells it");
            }
        }
    });
}

#[test]
fn any_name_reaches_the_api_as_it_is() {
    within(DEADLINE, || {
        const NAMES: [&str; 15] = [
            "my app",
            "a,b",
            "a, b",
            "a;b",
            ";",
            "a:b>=c IN d",
            "name:x;space_guid:y",
            "100%",
            "%2C",
            "a+b",
            "\"quoted\" 'too'",
            "größe 日本語 🦀",
            "a&b=c#d?e+f",
            "../../v3/info",
            r"back\slash`tick",
        ];
        for generation in GENERATIONS {
            let mut builder = TrafficController::builder().generation(generation).tokens([TOKEN]);
            let guid = |n: usize| format!("00000000-0000-0000-0000-{n:012}");
            for (n, name) in NAMES.iter().enumerate() {
                builder = builder.app(guid(n), *name);
            }
            // The parts of a name that is taken for a list.
            for (n, name) in ["a", "b", "c"].iter().enumerate() {
                builder = builder.app(guid(100 + n), *name);
            }
            let server = builder.start().unwrap();
            let consumer = consumer(&server);
            for (n, name) in NAMES.iter().enumerate() {
                let app = consumer.app(name, TOKEN).unwrap_or_else(|error| panic!("{generation:?}: {error}"));
                assert_eq!((app.guid, &*app.name), (guid(n), *name), "{generation:?}");
            }
            if generation != Generation::Korifi {
                assert_eq!(lookups(&server).len(), NAMES.len(), "each is found with one request: {generation:?}");
            }
        }
    });
}

#[test]
fn a_guid_is_an_app_without_a_request() {
    within(DEADLINE, || {
        let api = Untouched::start();
        let consumer = Builder::new().api(&format!("http://{}", api.address())).proxy(Proxy::none()).build().unwrap();
        for found in [consumer.app(&format!("{WEB}\n"), ""), consumer.app_in("shop/dev", WEB, TOKEN)] {
            let app = found.unwrap();
            assert_eq!((&*app.guid, &*app.name, app.space_guid), (WEB, WEB, None));
        }
        api.assert_untouched();
    });
}

#[test]
fn what_cannot_be_a_name_is_refused_before_anything_is_sent() {
    within(DEADLINE, || {
        let api = Untouched::start();
        let consumer = Builder::new().api(&format!("http://{}", api.address())).proxy(Proxy::none()).build().unwrap();
        let long = "a".repeat(1025);
        for (space, name) in
            [("dev", ""), ("dev", "a\0b"), ("dev", &*long), ("", "web"), ("org/", "web"), ("/dev", "web")]
        {
            assert_eq!(consumer.app_in(space, name, TOKEN).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(consumer.app("web", "two\nlines").unwrap_err().kind(), ErrorKind::InvalidInput);
        api.assert_untouched();
    });
}

#[test]
fn without_an_api_there_are_no_names() {
    within(DEADLINE, || {
        let doppler = Untouched::start();
        let builder = Builder::new().doppler(&format!("ws://{}", doppler.address())).proxy(Proxy::none());
        let consumer = builder.build().unwrap();
        let text = "no address of an API is known, which finds apps by their names: see Builder::api";
        assert_error(&consumer.app("web", TOKEN).unwrap_err(), ErrorKind::InvalidInput, text);
        assert_eq!(consumer.app(WEB, "").unwrap().guid, WEB);
        doppler.assert_untouched();
    });
}

#[test]
fn the_target_of_cf_is_not_used_for_another_api() {
    within(DEADLINE, || {
        let (server, other) = (foundation(Generation::Today), foundation(Generation::Today));
        let session = Session::of(&other);
        let consumer = session.builder().api(&server.api()).build().unwrap();
        assert_eq!(consumer.app("web", "").unwrap_err().kind(), ErrorKind::InvalidInput, "it has no token");
        assert_eq!(lookups(&server), []);
        assert_eq!(consumer.app("web", TOKEN).unwrap_err().kind(), ErrorKind::Ambiguous);
    });
}

/// A page of version 3.
fn page(apps: &[(&str, &str)], next: Option<&str>) -> Vec<u8> {
    let apps = apps.iter().map(|(guid, name)| format!("{{\"guid\":\"{guid}\",\"name\":\"{name}\"}}"));
    let next = next.map_or("null".to_owned(), |url| format!("{{\"href\":\"{url}\"}}"));
    let apps = apps.collect::<Vec<_>>().join(",");
    let body = format!("{{\"pagination\":{{\"next\":{next}}},\"resources\":[{apps}]}}");
    response("200 OK", &["Content-Type: application/json"], body.as_bytes())
}

#[test]
fn an_app_that_an_old_api_cannot_select_is_found_in_the_list() {
    within(DEADLINE, || {
        // One that takes a comma for the end of a name, and one of 2014, in which a semicolon cannot be escaped.
        let server = PathServer::start(|path| match path {
            "/" => response("200 OK", &[], b"{\"links\":{}}"),
            _ if path.starts_with("/v3/apps?names=") => page(&[], None),
            _ => page(&[(WORKER, "b"), (WEB, "a,b")], None),
        });
        let consumer = Builder::new().api(&server.url()).proxy(Proxy::none()).build().unwrap();
        assert_eq!(consumer.app("a,b", TOKEN).unwrap().guid, WEB);

        let server = PathServer::start(|path| match path {
            _ if path.starts_with("/v2/apps?q=") => response("400 Bad Request", &[], b"{\"code\":10005}"),
            _ if path.starts_with("/v2/apps?") => {
                let app = format!("{{\"metadata\":{{\"guid\":\"{WEB}\"}},\"entity\":{{\"name\":\"a;b\"}}}}");
                response("200 OK", &[], format!("{{\"next_url\":null,\"resources\":[{app}]}}").as_bytes())
            }
            _ => unknown_request(),
        });
        let consumer = Builder::new().api(&server.url()).proxy(Proxy::none()).build().unwrap();
        assert_eq!(consumer.app("a;b", TOKEN).unwrap().guid, WEB);
    });
}

#[test]
fn the_version_of_the_api_is_that_which_its_root_says_to_be_stable() {
    within(DEADLINE, || {
        for (v2, v3, version) in [
            ("2.63.0", "3.0.0", "/v2"),
            ("2.99.0", "3.34.0", "/v2"),
            ("2.100.0", "3.35.0", "/v3"),
            ("", "3.1.0", "/v3"),
        ] {
            let link = |version: &str| match version {
                "" => "null".to_owned(),
                version => format!("{{\"href\":\"x\",\"meta\":{{\"version\":\"{version}\"}}}}"),
            };
            let (v2, v3) = (link(v2), link(v3));
            let root = format!("{{\"links\":{{\"cloud_controller_v2\":{v2},\"cloud_controller_v3\":{v3}}}}}");
            let server = PathServer::start(move |path| match path {
                "/" => response("200 OK", &[], root.as_bytes()),
                _ => page(&[], None),
            });
            let consumer = Builder::new().api(&server.url()).proxy(Proxy::none()).build().unwrap();
            assert_eq!(consumer.app("web", TOKEN).unwrap_err().kind(), ErrorKind::NotFound);
            let paths = server.take_paths();
            assert!(paths.len() == 3 && paths[1..].iter().all(|path| path.starts_with(version)), "{paths:?}");
        }
    });
}

#[test]
fn all_pages_are_read() {
    within(DEADLINE, || {
        for generation in GENERATIONS {
            let mut builder = TrafficController::builder().generation(generation).tokens([TOKEN]);
            for n in 0..250 {
                builder = builder.app(format!("00000000-0000-0000-0000-{n:012}"), format!("number-{n:03}"));
            }
            let server = builder.start().unwrap();
            let error = consumer(&server).app("mumbre-249", TOKEN).unwrap_err();
            // The nearest is on the third page.
            let text = "in any space that the token's user may see: did you mean `number-249`";
            assert!(error.to_string().contains(text), "{generation:?}: {error}");
            assert_eq!(lookups(&server).len(), 4, "{generation:?}");
        }
    });
}

#[test]
fn a_link_to_the_next_page_leads_nowhere_else_and_not_on_for_ever() {
    within(DEADLINE, || {
        let elsewhere = Untouched::start();
        let next = format!("http://{}/v3/apps?page=2", elsewhere.address());
        let server = PathServer::start(move |path| match path {
            "/" => response("200 OK", &[], b"{\"links\":{}}"),
            _ if path.contains("names=") => page(&[], None),
            // Its number.
            _ => page(&[(path.rsplit('=').next().unwrap(), "web")], Some(&next)),
        });
        let consumer = Builder::new().api(&server.url()).proxy(Proxy::none()).build().unwrap();
        let text = "there is no app `wbe` in any space that the token's user may see: did you mean `web`?";
        assert_error(&consumer.app("wbe", TOKEN).unwrap_err(), ErrorKind::NotFound, text);
        let text = "there is no app `mailer` in any space that the token's user may see, nor has one of the first 20 \
                    apps a similar name";
        server.take_paths();
        assert_error(&consumer.app("mailer", TOKEN).unwrap_err(), ErrorKind::NotFound, text);
        let paths = server.take_paths();
        assert_eq!(paths.len(), 21, "{paths:?}");
        assert!(paths.last().unwrap().ends_with("page=20"), "{paths:?}");
        elsewhere.assert_untouched();
    });
}

#[test]
fn a_hit_that_cannot_be_described_is_listed_by_its_guid() {
    within(DEADLINE, || {
        let server = PathServer::start(|path| match path {
            "/" => response("200 OK", &[], b"{\"links\":{}}"),
            _ if path.starts_with("/v3/apps") => {
                let app = |n| {
                    let space = format!("{{\"space\":{{\"data\":{{\"guid\":\"s{n}\"}}}}}}");
                    format!("{{\"guid\":\"g{n}\",\"name\":\"web\",\"relationships\":{space}}}")
                };
                let apps = (1..=7).map(app).collect::<Vec<_>>().join(",");
                response("200 OK", &[], format!("{{\"resources\":[{apps}]}}").as_bytes())
            }
            _ => response("403 Forbidden", &[], b"{}"),
        });
        let consumer = Builder::new().api(&server.url()).proxy(Proxy::none()).build().unwrap();
        let text = "7 apps are named `web`: s1 (g1), s2 (g2), s3 (g3), s4 (g4), s5 (g5), and 2 more: name the space, too, \
                    or give the app's GUID";
        assert_error(&consumer.app("web", TOKEN).unwrap_err(), ErrorKind::Ambiguous, text);
    });
}

#[test]
fn a_token_that_has_expired_is_renewed_once() {
    within(DEADLINE, || {
        for generation in [Generation::Y2016, Generation::Today] {
            let server = foundation(generation);
            let tokens =
                TokenSource::uaa(Uaa::new(&server.api()).refresh_token(&server.issue_refresh_token())).unwrap();
            let consumer = Builder::new().api(&server.api()).tokens(tokens).proxy(Proxy::none()).build().unwrap();
            assert_eq!(consumer.app("worker", "").unwrap().guid, WORKER);
            server.expire_tokens();
            assert_eq!(consumer.app("worker", "").unwrap().guid, WORKER);
            assert_eq!((server.refreshes(), lookups(&server).len()), (2, 3), "{generation:?}");
        }
    });
}

#[test]
fn a_rejected_token_is_an_error_in_the_words_of_the_api() {
    within(DEADLINE, || {
        for generation in GENERATIONS {
            let server = foundation(generation);
            let consumer = consumer(&server);
            for (token, message) in [("bearer wrong-token", "Invalid Auth Token"), ("", "Authentication error")] {
                let error = consumer.app("web", token).unwrap_err();
                assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(401)), "{generation:?}");
                let text = error.to_string();
                let begin = format!("asking the API {} for the app `web`: ", server.api());
                assert!(text.starts_with(&begin) && text.ends_with(message), "{text}");
                assert!(!format!("{error:?}").contains("wrong-token"), "{error:?}");
            }
        }
    });
}

#[test]
fn an_api_that_repeats_the_token_does_not_show_it() {
    within(DEADLINE, || {
        let secret = "abcdefghijklmnop";
        let name = format!("web {secret}");
        let server = PathServer::start(move |path| match path {
            "/" => response("200 OK", &[], b"{\"links\":{}}"),
            _ if path.contains("names=teapot") => response("418 I'm a teapot", &[], name.as_bytes()),
            _ if path.contains("names=") => page(&[], None),
            _ => page(&[(WEB, &name)], None),
        });
        let consumer = Builder::new().api(&server.url()).proxy(Proxy::none()).build().unwrap();
        for (app, text) in [("teapot", "418"), ("web abc", "did you mean `web [PRIVATE DATA HIDDEN]`?")] {
            let error = consumer.app(app, &format!("bearer {secret}")).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            assert!(!format!("{error} {error:?} {:?}", error.body()).contains(secret), "{error:?}");
        }
    });
}

#[test]
fn an_api_that_is_away_or_limits_requests_is_worth_another_attempt() {
    within(DEADLINE, || {
        let server = foundation(Generation::Today);
        let consumer = consumer(&server);
        server.fault_at(RequestKind::Api, Fault::RateLimit { status: 429, retry_after: "7".into() });
        let error = consumer.app("worker", TOKEN).unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::ServerError, Some(Duration::from_secs(7))));
        assert!(error.is_transient() && error.to_string().contains("Rate Limit Exceeded"), "{error}");
        server.take_away(Server::Api, RouterError::UnknownRoute);
        let error = consumer.app("worker", TOKEN).unwrap_err();
        assert!(error.is_transient() && error.status() == Some(404), "{error}");
        server.bring_back(Server::Api);
        assert_eq!(consumer.app("worker", TOKEN).unwrap().guid, WORKER);
        // What is near is a help, and no more.
        server.fault_at(RequestKind::Api, Fault::RefuseStatus { status: 200, body: b"{\"resources\":[]}".to_vec() });
        server.fault_at(RequestKind::Api, Fault::RefuseStatus { status: 500, body: b"broken".to_vec() });
        let error = consumer.app("wrker", TOKEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("see (which others there are is not known: "), "{error}");
    });
}
