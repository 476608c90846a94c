//! The Cloud Controller's organizations, spaces and apps, of versions 2 and 3 of its API.
//!
//! Source: cloud_controller_ng's `app/messages`, `lib/vcap/rest_api/query.rb`, its renderer of pages and its list of
//! errors; Korifi's `api/payloads`.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::authorization::{Authorization, authorize, exists};
use crate::testing::config::generation::Generation;
use crate::testing::config::spaces::Space;
use crate::testing::protocol::request::{Request, is_guid};
use crate::testing::protocol::response::Response;
use crate::testing::state::SharedState;

const TIME: &str = "2024-05-01T00:00:00Z";

/// The largest pages.
const MAX_PER_PAGE: [usize; 2] = [100, 5000];

/// An app, a space or an organization.
struct Resource<'a> {
    kind: Kind,
    guid: String,
    name: String,
    /// The space of an app, the space itself, or one of an organization.
    space: &'a Space,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Organization,
    Space,
    App,
}

/// The API's message about a wrong parameter.
struct Invalid(String);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V2,
    V3,
}

impl Kind {
    fn of(plural: &str) -> Option<Self> {
        [Kind::Organization, Kind::Space, Kind::App].into_iter().find(|kind| kind.plural() == plural)
    }

    fn plural(self) -> &'static str {
        match self {
            Kind::Organization => "organizations",
            Kind::Space => "spaces",
            Kind::App => "apps",
        }
    }

    /// Returns the parameters with which version 3 selects resources.
    fn parameters(self, generation: Generation) -> &'static [&'static str] {
        match (self, generation) {
            (Kind::App, Generation::Korifi) => &["names", "guids", "space_guids"],
            (Kind::App, _) => &["guids", "names", "organization_guids", "space_guids", "include"],
            (Kind::Space, _) => &["guids", "names", "organization_guids", "include"],
            (Kind::Organization, _) => &["guids", "names"],
        }
    }

    /// Returns the attributes with which version 2 selects resources.
    fn attributes(self) -> &'static [&'static str] {
        match self {
            Kind::Organization => &["name"],
            Kind::Space => &["name", "organization_guid"],
            Kind::App => &["name", "space_guid", "organization_guid"],
        }
    }

    /// Returns what version 3 can return together with such resources.
    fn includes(self) -> &'static [&'static str] {
        match self {
            Kind::Organization => &[],
            Kind::Space => &["org", "organization"],
            Kind::App => &["space", "org", "space.organization"],
        }
    }
}

/// Answers a path of the API such as `/v3/apps`, `/v3/spaces/<guid>` or `/v2/apps`.
pub(crate) fn answer(shared: &SharedState, request: &Request) -> Response {
    let generation = shared.settings.generation;
    let mut segments = request.path().trim_start_matches('/').split('/');
    let (version, plural, guid, more) = (segments.next(), segments.next(), segments.next(), segments.next());
    let version = if version == Some("v2") { Version::V2 } else { Version::V3 };
    let exists = match version {
        Version::V2 => generation != Generation::Korifi,
        Version::V3 => !generation.has_legacy(),
    };
    // An API without version 3 answers with an error of version 2.
    let words = if generation.has_legacy() { Version::V2 } else { version };
    let unknown = || error(words, 404, 10000, "CF-NotFound", "Unknown request");
    let Some(kind) = Kind::of(plural.unwrap_or_default()).filter(|_| exists && more.is_none()) else {
        return unknown();
    };
    match authorize(shared, request) {
        Authorization::Granted | Authorization::Admin | Authorization::Hidden => {}
        Authorization::NoToken => return error(version, 401, 10002, "CF-NotAuthenticated", "Authentication error"),
        Authorization::InvalidToken => return error(version, 401, 1000, "CF-InvalidAuthToken", "Invalid Auth Token"),
        Authorization::Unavailable => {
            return error(version, 502, 20004, "CF-UaaUnavailable", "The UAA service is currently unavailable");
        }
    }
    if request.method != "GET" {
        return unknown();
    }
    let resources = resources(shared, kind);
    if let Some(guid) = guid {
        let found = resources.iter().find(|resource| resource.guid == guid);
        return found.map_or_else(
            || not_found(version, kind, guid),
            |resource| json_response(200, &resource.json(shared, version)),
        );
    }
    match list(shared, request, version, kind, resources) {
        Ok(list) => json_response(200, &list),
        Err(Invalid(why)) => {
            let detail = format!("The query parameter is invalid: {why}");
            error(version, 400, 10005, "CF-BadQueryParameter", &detail)
        }
    }
}

/// Returns all that there are. Of apps, those that are said to exist, or else those that have logged.
fn resources(shared: &SharedState, kind: Kind) -> Vec<Resource<'_>> {
    let settings = &shared.settings;
    let spaces = settings.spaces.all();
    match kind {
        Kind::Organization => {
            let mut known = BTreeSet::new();
            let first = spaces.into_iter().filter(|space| known.insert(&space.organization));
            first.map(Resource::organization).collect()
        }
        Kind::Space => spaces.into_iter().map(Resource::space).collect(),
        Kind::App => shared.with(|state| {
            let mut guids: Vec<_> = match &settings.apps {
                Some(apps) => apps.iter().collect(),
                None => state.recent.keys().filter(|app| is_guid(app)).collect(),
            };
            guids.retain(|app| exists(shared, state, app));
            guids.sort_unstable();
            let app = |guid: &String| {
                let name = settings.app_names.get(guid).unwrap_or(guid).clone();
                Resource { kind, guid: guid.clone(), name, space: settings.spaces.of(guid) }
            };
            guids.into_iter().map(app).collect()
        }),
    }
}

fn list(
    shared: &SharedState,
    request: &Request,
    version: Version,
    kind: Kind,
    resources: Vec<Resource<'_>>,
) -> Result<Value, Invalid> {
    let generation = shared.settings.generation;
    let selected: Vec<_> = match version {
        Version::V2 => {
            let conditions = conditions(request, kind)?;
            let is_selected = |resource: &Resource<'_>| conditions.iter().all(|it| it.selects(resource));
            resources.into_iter().filter(is_selected).collect()
        }
        Version::V3 => {
            check_parameters(request, kind, generation)?;
            let lists: Vec<_> = kind.parameters(generation).iter().filter_map(|name| listed(request, name)).collect();
            let is_selected = |resource: &Resource<'_>| {
                lists.iter().all(|(name, values)| match *name {
                    "guids" => values.contains(&resource.guid),
                    "names" if generation == Generation::Korifi => values.contains(&resource.name),
                    "names" => values.iter().any(|name| is_same_name(name, &resource.name)),
                    "space_guids" => values.contains(&resource.space.guid()),
                    "organization_guids" => values.contains(&resource.space.organization_guid()),
                    _ => true,
                })
            };
            resources.into_iter().filter(is_selected).collect()
        }
    };
    let included = listed(request, "include").map(|(_, names)| names).unwrap_or_default();
    page(shared, request, version, selected, &included)
}

/// Returns the names and the values of a parameter of version 3.
fn listed<'a>(request: &Request, name: &'a str) -> Option<(&'a str, Vec<String>)> {
    let list = request.query_values(name).into_iter().next_back()?;
    let decode = |value: &str| percent_decode_str(value).decode_utf8_lossy().into_owned();
    Some((name, list.split(',').map(|value| decode(value.trim_start())).collect()))
}

/// The database does not regard the case of letters in names.
fn is_same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn check_parameters(request: &Request, kind: Kind, generation: Generation) -> Result<(), Invalid> {
    let is_korifi = generation == Generation::Korifi;
    let common = if is_korifi { &["order_by", "per_page", "page"][..] } else { &["page", "per_page", "order_by"] };
    let others = ["created_ats", "updated_ats", "label_selector"].iter().filter(|_| !is_korifi);
    let known: Vec<_> = common.iter().chain(kind.parameters(generation)).chain(others).copied().collect();
    let unknown: Vec<_> = request.query().map(|(name, _)| name).filter(|name| !known.contains(&&**name)).collect();
    let valid = format!("Valid parameters are: '{}'", known.join("', '"));
    match unknown.join("', '") {
        _ if unknown.is_empty() => {}
        _ if is_korifi => return Err(Invalid(valid)),
        names => return Err(Invalid(format!("Unknown query parameter(s): '{names}'. {valid}"))),
    }
    for name in listed(request, "include").map(|(_, names)| names).unwrap_or_default() {
        let valid = kind.includes();
        if !valid.contains(&&*name) {
            let valid = valid.join("', '");
            return Err(Invalid(format!(
                "Invalid included resource: '{name}'. Valid included resources are: '{valid}'"
            )));
        }
    }
    Ok(())
}

/// A condition of version 2: `name:web`.
struct Condition {
    attribute: String,
    values: Vec<String>,
}

impl Condition {
    fn selects(&self, resource: &Resource<'_>) -> bool {
        match &*self.attribute {
            "name" => self.values.iter().any(|name| is_same_name(name, &resource.name)),
            "space_guid" => self.values.contains(&resource.space.guid()),
            _ => self.values.contains(&resource.space.organization_guid()),
        }
    }
}

/// Returns the conditions in the parameters `q`. Two semicolons stand for one in a value.
fn conditions(request: &Request, kind: Kind) -> Result<Vec<Condition>, Invalid> {
    let mut conditions = Vec::new();
    for query in request.query_values("q") {
        for condition in query.replace(";;", "\0").split(';') {
            let condition = condition.replace('\0', ";");
            let (attribute, values) = match (condition.split_once(':'), condition.split_once(" IN ")) {
                (Some((attribute, value)), _) if !attribute.contains(" IN ") => (attribute, vec![value.to_owned()]),
                (_, Some((attribute, list))) => (attribute, list.split(',').map(str::to_owned).collect()),
                _ => (&*condition, Vec::new()),
            };
            if !kind.attributes().contains(&attribute) {
                return Err(Invalid(attribute.to_owned()));
            }
            conditions.push(Condition { attribute: attribute.to_owned(), values });
        }
    }
    Ok(conditions)
}

fn page(
    shared: &SharedState,
    request: &Request,
    version: Version,
    resources: Vec<Resource<'_>>,
    included: &[String],
) -> Result<Value, Invalid> {
    let (size, default, most) = match version {
        Version::V2 => ("results-per-page", 100, MAX_PER_PAGE[0]),
        Version::V3 => ("per_page", 50, MAX_PER_PAGE[1]),
    };
    let number = |name: &str| request.query_values(name).pop().map(|text| text.parse::<usize>().unwrap_or(0));
    let (page, per_page) = (number("page").unwrap_or(1), number(size).unwrap_or(default));
    match version {
        Version::V2 if per_page > most => return Err(Invalid(format!("results_per_page must be <= {most}"))),
        Version::V3 if page == 0 => return Err(Invalid("Page must be a positive integer".to_owned())),
        Version::V3 if per_page == 0 => return Err(Invalid("Per page must be a positive integer".to_owned())),
        Version::V3 if per_page > most => return Err(Invalid(format!("Per page must be between 1 and {most}"))),
        _ => {}
    }
    let (page, per_page, total) = (page.max(1), per_page.max(1), resources.len());
    let pages = total.div_ceil(per_page).max(1);
    let of_page = || resources.iter().skip((page - 1) * per_page).take(per_page);
    let href = |page: usize| {
        let path = if version == Version::V2 { String::new() } else { shared.http_url() } + request.path();
        let others = request.query().filter(|(name, _)| name != "page" && name != size);
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let others: String = others.map(|(name, value)| format!("&{name}={}", encode(&value))).collect();
        format!("{path}?page={page}&{size}={per_page}{others}")
    };
    let (previous, next) = ((page > 1).then(|| href(page - 1)), (page < pages).then(|| href(page + 1)));
    let listed: Vec<_> = of_page().map(|resource| resource.json(shared, version)).collect();
    if version == Version::V2 {
        return Ok(json!({
            "total_results": total, "total_pages": pages, "prev_url": previous, "next_url": next, "resources": listed,
        }));
    }
    let link = |href: String| json!({ "href": href });
    let mut list = json!({
        "pagination": {
            "total_results": total, "total_pages": pages, "first": link(href(1)), "last": link(href(pages)),
            "next": next.map(link), "previous": previous.map(link),
        },
        "resources": listed,
    });
    let with = |kind: Kind| {
        let mut known = BTreeSet::new();
        let parents = of_page().map(|resource| match kind {
            Kind::Space => Resource::space(resource.space),
            _ => Resource::organization(resource.space),
        });
        let parents = parents.filter(|parent| known.insert(parent.guid.clone()));
        parents.map(|parent| parent.json(shared, version)).collect::<Vec<_>>()
    };
    if included.iter().any(|name| name.starts_with("space")) {
        list["included"]["spaces"] = with(Kind::Space).into();
    }
    if included.iter().any(|name| name.contains("org")) {
        list["included"]["organizations"] = with(Kind::Organization).into();
    }
    Ok(list)
}

impl<'a> Resource<'a> {
    fn organization(space: &'a Space) -> Self {
        let (guid, name) = (space.organization_guid(), space.organization.clone());
        Resource { kind: Kind::Organization, guid, name, space }
    }

    fn space(space: &'a Space) -> Self {
        Resource { kind: Kind::Space, guid: space.guid(), name: space.name.clone(), space }
    }

    fn json(&self, shared: &SharedState, version: Version) -> Value {
        match version {
            Version::V2 => self.v2(),
            Version::V3 => self.v3(&shared.http_url()),
        }
    }

    fn v2(&self) -> Value {
        let Resource { kind, guid, name, space } = self;
        let mut entity = json!({ "name": name });
        match kind {
            Kind::Organization => entity["status"] = "active".into(),
            Kind::Space => entity["organization_guid"] = space.organization_guid().into(),
            Kind::App => {
                entity["space_guid"] = space.guid().into();
                entity["state"] = "STARTED".into();
                entity["instances"] = 1.into();
            }
        }
        let url = format!("/v2/{}/{guid}", kind.plural());
        json!({
            "metadata": { "guid": guid, "url": url, "created_at": TIME, "updated_at": TIME },
            "entity": entity,
        })
    }

    fn v3(&self, api: &str) -> Value {
        let Resource { kind, guid, name, space } = self;
        let to = |kind: Kind, guid: &str| json!({ "href": format!("{api}/v3/{}/{guid}", kind.plural()) });
        let mut json = json!({
            "guid": guid, "created_at": TIME, "updated_at": TIME, "name": name,
            "metadata": { "labels": {}, "annotations": {} },
            "links": { "self": to(*kind, guid) },
        });
        match kind {
            Kind::App => {
                json["state"] = "STARTED".into();
                json["lifecycle"] = json!({ "type": "buildpack", "data": { "buildpacks": [], "stack": "cflinuxfs4" } });
                json["relationships"] = json!({ "space": { "data": { "guid": space.guid() } } });
                json["links"]["space"] = to(Kind::Space, &space.guid());
            }
            Kind::Space => {
                json["relationships"] = json!({ "organization": { "data": { "guid": space.organization_guid() } } });
                json["links"]["organization"] = to(Kind::Organization, &space.organization_guid());
            }
            Kind::Organization => json["suspended"] = false.into(),
        }
        json
    }
}

fn not_found(version: Version, kind: Kind, guid: &str) -> Response {
    let v2 = |code, title, what| error(version, 404, code, title, &format!("The {what} could not be found: {guid}"));
    let v3 = |noun| error(version, 404, 10010, "CF-ResourceNotFound", &format!("{noun} not found"));
    match (version, kind) {
        (Version::V2, Kind::App) => v2(100_004, "CF-AppNotFound", "app"),
        (Version::V2, Kind::Space) => v2(40_004, "CF-SpaceNotFound", "app space"),
        (Version::V2, Kind::Organization) => v2(30_003, "CF-OrganizationNotFound", "organization"),
        (Version::V3, Kind::App) => v3("App"),
        (Version::V3, Kind::Space) => v3("Space"),
        (Version::V3, Kind::Organization) => v3("Organization"),
    }
}

fn error(version: Version, status: u16, code: u32, title: &str, detail: &str) -> Response {
    let body = match version {
        Version::V2 => json!({ "description": detail, "error_code": title, "code": code }),
        Version::V3 => json!({ "errors": [{ "detail": detail, "title": title, "code": code }] }),
    };
    json_response(status, &body)
}

fn json_response(status: u16, body: &Value) -> Response {
    Response::with_body(status, "application/json; charset=utf-8", body.to_string())
}
