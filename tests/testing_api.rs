//! The lists of the testing server's API, seen by bare sockets: the parameters, pages and errors of each version of the
//! Cloud Controller, and Korifi's.

mod bare;

use std::collections::BTreeSet;

use loggregator_consumer::testing::{Generation, TrafficController};
use serde_json::{Value, json};

const WEB: &str = "11111111-1111-1111-1111-111111111111";
const PROD_WEB: &str = "22222222-2222-2222-2222-222222222222";
const BLOG: &str = "33333333-3333-3333-3333-333333333333";

const TOKEN: &str = "Authorization: bearer good";

fn start(generation: Generation) -> TrafficController {
    TrafficController::builder()
        .generation(generation)
        .target("shop", "dev")
        .app(WEB, "web")
        .app_in(PROD_WEB, "web", "shop", "prod")
        .app_in(BLOG, "a,b;c", "blog", "dev")
        .token("bearer good")
        .start()
        .unwrap()
}

/// Returns the status and the JSON of a response.
fn ask(server: &TrafficController, target: &str, headers: &[&str]) -> (u16, Value) {
    let (head, body) = bare::get(server, target, headers);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{target}: {error}: {head}")))
}

fn list(server: &TrafficController, target: &str) -> Value {
    let (status, list) = ask(server, target, &[TOKEN]);
    assert_eq!(status, 200, "{target}: {list}");
    list
}

/// The GUIDs of a list.
fn guids(list: &Value) -> Vec<String> {
    let guid = |resource: &Value| match &resource["guid"] {
        Value::Null => resource["metadata"]["guid"].clone(),
        guid => guid.clone(),
    };
    list["resources"].as_array().unwrap().iter().map(|it| guid(it).as_str().unwrap().to_owned()).collect()
}

#[test]
fn version_3_selects_by_its_parameters() {
    for generation in [Generation::Y2018, Generation::Today] {
        let server = start(generation);
        let (dev, prod) = (server.space_guid("shop", "dev").unwrap(), server.space_guid("shop", "prod").unwrap());
        let space = list(&server, &format!("/v3/spaces/{prod}"));
        assert_eq!(space["name"], "prod");
        let shop = space["relationships"]["organization"]["data"]["guid"].as_str().unwrap();
        assert_eq!(list(&server, &format!("/v3/organizations/{shop}"))["name"], "shop");
        for (query, expected) in [
            ("", &[WEB, PROD_WEB, BLOG][..]),
            ("?names=WEB", &[WEB, PROD_WEB]),
            ("?names=web,other", &[WEB, PROD_WEB]),
            ("?names=a%252Cb%3Bc", &[BLOG]),
            ("?names=a%2Cb%3Bc", &[]),
            (&format!("?names=web&space_guids={prod}"), &[PROD_WEB]),
            (&format!("?space_guids={dev},{prod}"), &[WEB, PROD_WEB]),
            (&format!("?organization_guids={shop}"), &[WEB, PROD_WEB]),
            (&format!("?guids={BLOG},{WEB}"), &[WEB, BLOG]),
        ] {
            assert_eq!(guids(&list(&server, &format!("/v3/apps{query}"))), expected, "{query}");
        }
        assert_eq!(guids(&list(&server, &format!("/v3/spaces?names=dev&organization_guids={shop}"))), [&*dev]);
        assert_eq!(guids(&list(&server, "/v3/organizations?names=shop")), [shop]);
    }
}

#[test]
fn version_3_includes_spaces_and_organizations() {
    let server = start(Generation::Today);
    let names = |list: &Value, of: &str| -> BTreeSet<String> {
        let included = list["included"][of].as_array().into_iter().flatten();
        included.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = list(&server, "/v3/apps?include=space.organization");
    assert_eq!(all["included"]["spaces"].as_array().unwrap().len(), 3);
    assert_eq!(names(&all, "organizations"), ["blog", "shop"].map(str::to_owned).into());
    let page = list(&server, "/v3/apps?include=space&per_page=2");
    assert_eq!(names(&page, "spaces"), ["dev", "prod"].map(str::to_owned).into(), "of the apps on the page");
    assert_eq!(page["included"].get("organizations"), None);
    let spaces = list(&server, "/v3/spaces?include=organization");
    assert_eq!(names(&spaces, "organizations"), ["blog", "shop"].map(str::to_owned).into());
    assert_eq!(list(&server, "/v3/apps").get("included"), None);
}

#[test]
fn version_2_selects_by_conditions() {
    for generation in [Generation::May2014, Generation::Y2015, Generation::Y2016, Generation::Today] {
        let server = start(generation);
        let prod = server.space_guid("shop", "prod").unwrap();
        let space = list(&server, &format!("/v2/spaces/{prod}"));
        assert_eq!(space["entity"]["name"], "prod");
        let shop = space["entity"]["organization_guid"].as_str().unwrap();
        assert_eq!(list(&server, &format!("/v2/organizations/{shop}"))["entity"]["name"], "shop");
        for (query, expected) in [
            ("", &[WEB, PROD_WEB, BLOG][..]),
            ("?q=name:Web", &[WEB, PROD_WEB]),
            ("?q=name%20IN%20web,other", &[WEB, PROD_WEB]),
            ("?q=name:a,b%3B%3Bc", &[BLOG]),
            (&format!("?q=name:web&q=space_guid:{prod}"), &[PROD_WEB]),
            (&format!("?q=name:web%3Bspace_guid:{prod}"), &[PROD_WEB]),
            (&format!("?q=organization_guid:{shop}"), &[WEB, PROD_WEB]),
        ] {
            assert_eq!(guids(&list(&server, &format!("/v2/apps{query}"))), expected, "{generation:?} {query}");
        }
        let app = &list(&server, "/v2/apps?q=name:web")["resources"][1];
        assert_eq!((&app["metadata"]["guid"], &app["entity"]["space_guid"]), (&json!(PROD_WEB), &json!(prod)));
        assert_eq!(guids(&list(&server, &format!("/v2/spaces?q=name:prod%3Borganization_guid:{shop}"))), [&*prod]);
    }
}

#[test]
fn lists_have_pages() {
    let server = start(Generation::Today);
    let first = list(&server, "/v3/apps?per_page=2&names=web,a%252Cb%253Bc");
    assert_eq!(guids(&first), [WEB, PROD_WEB]);
    assert_eq!((&first["pagination"]["total_results"], &first["pagination"]["total_pages"]), (&json!(3), &json!(2)));
    let next = first["pagination"]["next"]["href"].as_str().unwrap();
    let second = list(&server, next.strip_prefix(&server.api()).unwrap());
    assert_eq!((guids(&second), &second["pagination"]["next"]), (vec![BLOG.to_owned()], &Value::Null));

    let first = list(&server, "/v2/apps?q=name:web&results-per-page=1");
    assert_eq!((guids(&first), &first["total_results"]), (vec![WEB.to_owned()], &json!(2)));
    let second = list(&server, first["next_url"].as_str().unwrap());
    assert_eq!((guids(&second), &second["next_url"]), (vec![PROD_WEB.to_owned()], &Value::Null));
}

#[test]
fn errors_are_in_the_words_of_each_version() {
    let server = start(Generation::Today);
    for (target, status, code, title, detail) in [
        ("/v3/apps/nope", 404, 10010, "CF-ResourceNotFound", "App not found"),
        ("/v3/nope", 404, 10000, "CF-NotFound", "Unknown request"),
        (
            "/v3/organizations?space_guids=x",
            400,
            10005,
            "CF-BadQueryParameter",
            "The query parameter is invalid: Unknown query parameter(s): 'space_guids'. Valid parameters are: 'page', \
             'per_page', 'order_by', 'guids', 'names', 'created_ats', 'updated_ats', 'label_selector'",
        ),
        (
            "/v3/apps?include=route",
            400,
            10005,
            "CF-BadQueryParameter",
            "The query parameter is invalid: Invalid included resource: 'route'. Valid included resources are: \
             'space', 'org', 'space.organization'",
        ),
        (
            "/v3/apps?per_page=5001",
            400,
            10005,
            "CF-BadQueryParameter",
            "The query parameter is invalid: Per page must be between 1 and 5000",
        ),
        (
            "/v3/apps?page=0",
            400,
            10005,
            "CF-BadQueryParameter",
            "The query parameter is invalid: Page must be a positive integer",
        ),
    ] {
        let error = json!({ "errors": [{ "code": code, "title": title, "detail": detail }] });
        assert_eq!(ask(&server, target, &[TOKEN]), (status, error), "{target}");
    }
    for (target, status, code, name, description) in [
        ("/v2/apps/nope", 404, 100_004, "CF-AppNotFound", "The app could not be found: nope"),
        ("/v2/spaces/nope", 404, 40_004, "CF-SpaceNotFound", "The app space could not be found: nope"),
        ("/v2/organizations/x", 404, 30_003, "CF-OrganizationNotFound", "The organization could not be found: x"),
        ("/v2/nope", 404, 10000, "CF-NotFound", "Unknown request"),
        ("/v2/apps?q=nme:web", 400, 10005, "CF-BadQueryParameter", "The query parameter is invalid: nme"),
        ("/v2/apps?q=name:a%3Bb", 400, 10005, "CF-BadQueryParameter", "The query parameter is invalid: b"),
        (
            "/v2/apps?results-per-page=101",
            400,
            10005,
            "CF-BadQueryParameter",
            "The query parameter is invalid: results_per_page must be <= 100",
        ),
    ] {
        let error = json!({ "code": code, "error_code": name, "description": description });
        assert_eq!(ask(&server, target, &[TOKEN]), (status, error), "{target}");
    }
}

#[test]
fn a_wrong_or_missing_token_is_refused_by_each_version() {
    for generation in [Generation::May2014, Generation::Y2016, Generation::Today, Generation::Korifi] {
        for (headers, code, title, detail) in [
            (&["Authorization: bearer wrong"][..], 1000, "CF-InvalidAuthToken", "Invalid Auth Token"),
            (&[], 10002, "CF-NotAuthenticated", "Authentication error"),
        ] {
            let server = start(generation);
            let v2 = json!({ "code": code, "error_code": title, "description": detail });
            let v3 = json!({ "errors": [{ "code": code, "title": title, "detail": detail }] });
            if generation != Generation::Korifi {
                assert_eq!(ask(&server, "/v2/apps", headers), (401, v2), "{generation:?}");
            }
            if generation >= Generation::Y2018 {
                assert_eq!(ask(&server, "/v3/apps", headers), (401, v3), "{generation:?}");
            }
        }
    }
    // Even where the other servers need none.
    let server = TrafficController::start().unwrap();
    assert_eq!(ask(&server, "/v2/apps", &[]).0, 401);
    assert_eq!(ask(&server, "/v2/apps", &["Authorization: bearer any"]).0, 200);
}

#[test]
fn until_2016_there_is_only_version_2_and_in_korifi_only_version_3() {
    for generation in [Generation::May2014, Generation::Y2015, Generation::Y2016] {
        let (status, error) = ask(&start(generation), "/v3/apps", &[TOKEN]);
        assert_eq!((status, &error["description"]), (404, &json!("Unknown request")), "{generation:?}");
    }
    let server = start(Generation::Korifi);
    assert_eq!(ask(&server, "/v2/apps", &[TOKEN]).0, 404);
    assert_eq!(guids(&list(&server, "/v3/apps?names=web")), [WEB, PROD_WEB]);
    assert_eq!(guids(&list(&server, "/v3/apps?names=WEB")), [""; 0], "case matters");
    let (status, error) = ask(&server, "/v3/apps?include=space", &[TOKEN]);
    let detail = "The query parameter is invalid: Valid parameters are: 'order_by', 'per_page', 'page', 'names', 'guids', \
                  'space_guids'";
    assert_eq!((status, &error["errors"][0]["detail"]), (400, &json!(detail)));
}
