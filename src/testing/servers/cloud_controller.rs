//! The Cloud Controller's organizations, spaces and apps. There is one organization with one space.

use serde_json::{Value, json};

use super::authorization::{Authorization, authorize, exists};
use crate::testing::protocol::request::{Request, is_guid};
use crate::testing::protocol::response::Response;
use crate::testing::state::SharedState;

/// The GUIDs of the organization and the space.
pub(crate) const ORGANIZATION: &str = "00000000-0000-0000-0000-00000000000a";
pub(crate) const SPACE: &str = "00000000-0000-0000-0000-00000000000b";
/// Their names.
pub(crate) const ORGANIZATION_NAME: &str = "org";
pub(crate) const SPACE_NAME: &str = "space";
const TIME: &str = "2024-05-01T00:00:00Z";

/// An app, a space or an organization.
struct Resource {
    guid: String,
    name: String,
}

impl Resource {
    fn new(guid: &str, name: &str) -> Self {
        Resource { guid: guid.to_owned(), name: name.to_owned() }
    }
}

/// Answers a path of the API such as `/v3/apps`, `/v3/spaces/<guid>` or `/v2/apps`.
pub(crate) fn answer(shared: &SharedState, request: &Request) -> Response {
    let mut segments = request.path().trim_start_matches('/').split('/');
    let (version, plural, guid, more) = (segments.next(), segments.next(), segments.next(), segments.next());
    let is_v2 = version == Some("v2");
    let error = |status, code, title: &str, detail: &str| error(is_v2, status, code, title, detail);
    match authorize(shared, request) {
        Authorization::Granted | Authorization::Admin | Authorization::Hidden => {}
        Authorization::NoToken => return error(401, 10002, "CF-NotAuthenticated", "Authentication error"),
        Authorization::InvalidToken => return error(401, 1000, "CF-InvalidAuthToken", "Invalid Auth Token"),
        Authorization::Unavailable => {
            return error(502, 20004, "CF-UaaUnavailable", "The UAA service is currently unavailable");
        }
    }
    let (kind, resources) = match plural.unwrap_or_default() {
        "organizations" => ("Organization", vec![Resource::new(ORGANIZATION, ORGANIZATION_NAME)]),
        "spaces" => ("Space", vec![Resource::new(SPACE, SPACE_NAME)]),
        "apps" => ("App", apps(shared)),
        _ => return error(404, 10000, "CF-NotFound", "Unknown request"),
    };
    if request.method != "GET" || more.is_some() {
        return error(404, 10000, "CF-NotFound", "Unknown request");
    }
    let of = |resource: &Resource| {
        if is_v2 { v2_resource(resource) } else { v3_resource(shared, plural.unwrap_or_default(), resource) }
    };
    if let Some(guid) = guid {
        let found = resources.iter().find(|resource| resource.guid == guid).map(of);
        return found.map_or_else(
            || error(404, 10010, "CF-ResourceNotFound", &format!("{kind} not found")),
            |resource| json_response(200, &resource),
        );
    }
    let selected: Vec<_> = resources.iter().filter(|resource| is_selected(request, resource)).map(of).collect();
    json_response(200, &list(shared, request, is_v2, selected))
}

/// Returns the apps that are known: those that exist, or else those that have logged.
fn apps(shared: &SharedState) -> Vec<Resource> {
    shared.with(|state| {
        let settings = &shared.settings;
        let mut guids: Vec<_> = match &settings.apps {
            Some(apps) => apps.iter().collect(),
            None => state.recent.keys().filter(|app| is_guid(app)).collect(),
        };
        guids.retain(|app| exists(shared, state, app));
        guids.sort_unstable();
        let name = |guid: &String| settings.app_names.get(guid).unwrap_or(guid).clone();
        guids.into_iter().map(|guid| Resource { guid: guid.clone(), name: name(guid) }).collect()
    })
}

/// Returns true if the filters of a request select a resource.
fn is_selected(request: &Request, resource: &Resource) -> bool {
    let list = |name: &str| request.query_values(name).into_iter().next();
    let selects = |name: &str, value: &str| list(name).is_none_or(|list| list.split(',').any(|item| item == value));
    // `q=name:…` of version 2.
    let by_name = |query: String| query.strip_prefix("name:").is_none_or(|name| name == resource.name);
    selects("names", &resource.name)
        && selects("guids", &resource.guid)
        && selects("space_guids", SPACE)
        && selects("organization_guids", ORGANIZATION)
        && request.query_values("q").into_iter().all(by_name)
}

fn list(shared: &SharedState, request: &Request, is_v2: bool, resources: Vec<Value>) -> Value {
    let number = |name: &str| request.query_values(name).first().and_then(|text| text.parse::<usize>().ok());
    let default = if is_v2 { 100 } else { 50 };
    let per_page = number(if is_v2 { "results-per-page" } else { "per_page" }).unwrap_or(default).max(1);
    let (page, total) = (number("page").unwrap_or(1).max(1), resources.len());
    let pages = total.div_ceil(per_page).max(1);
    let resources: Vec<_> = resources.into_iter().skip((page - 1) * per_page).take(per_page).collect();
    let href = |page: usize| {
        let path = if is_v2 { String::new() } else { shared.http_url() } + request.path();
        let size = if is_v2 { "results-per-page" } else { "per_page" };
        let others = request.query().filter(|(name, _)| name != "page" && name != size);
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let others: String = others.map(|(name, value)| format!("&{name}={}", encode(&value))).collect();
        format!("{path}?page={page}&{size}={per_page}{others}")
    };
    let (previous, next) = ((page > 1).then(|| href(page - 1)), (page < pages).then(|| href(page + 1)));
    if is_v2 {
        return json!({
            "total_results": total, "total_pages": pages, "prev_url": previous, "next_url": next, "resources": resources,
        });
    }
    let link = |href: String| json!({ "href": href });
    json!({
        "pagination": {
            "total_results": total, "total_pages": pages, "first": link(href(1)), "last": link(href(pages)),
            "next": next.map(link), "previous": previous.map(link),
        },
        "resources": resources,
    })
}

fn v3_resource(shared: &SharedState, plural: &str, Resource { guid, name }: &Resource) -> Value {
    let url = shared.http_url();
    let to = |plural: &str, guid: &str| json!({ "href": format!("{url}/v3/{plural}/{guid}") });
    let mut resource = json!({
        "guid": guid, "created_at": TIME, "updated_at": TIME, "name": name,
        "metadata": { "labels": {}, "annotations": {} },
        "links": { "self": to(plural, guid) },
    });
    match plural {
        "apps" => {
            resource["state"] = "STARTED".into();
            resource["lifecycle"] = json!({ "type": "buildpack", "data": { "buildpacks": [], "stack": "cflinuxfs4" } });
            resource["relationships"] = json!({ "space": { "data": { "guid": SPACE } } });
            resource["links"]["space"] = to("spaces", SPACE);
        }
        "spaces" => {
            resource["relationships"] = json!({ "organization": { "data": { "guid": ORGANIZATION } } });
            resource["links"]["organization"] = to("organizations", ORGANIZATION);
        }
        _ => resource["suspended"] = false.into(),
    }
    resource
}

fn v2_resource(Resource { guid, name }: &Resource) -> Value {
    json!({
        "metadata": { "guid": guid, "url": format!("/v2/apps/{guid}"), "created_at": TIME, "updated_at": TIME },
        "entity": { "name": name, "space_guid": SPACE, "state": "STARTED", "instances": 1 },
    })
}

fn error(is_v2: bool, status: u16, code: u32, title: &str, detail: &str) -> Response {
    json_response(
        status,
        &match is_v2 {
            true => json!({ "description": detail, "error_code": title, "code": code }),
            false => json!({ "errors": [{ "detail": detail, "title": title, "code": code }] }),
        },
    )
}

fn json_response(status: u16, body: &Value) -> Response {
    Response::with_body(status, "application/json; charset=utf-8", body.to_string())
}
