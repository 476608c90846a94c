//! [`AppNames`]: finds an app by its name, in a space or in all that the token's user may see.
//!
//! Source: `/v3/apps`, `/v3/spaces` and `/v3/organizations` of the Cloud Controller, and the same of version 2.

mod near;
pub(crate) mod page;

use std::collections::HashSet;
use std::io::Read;
use std::time::{Duration, Instant};

use self::near::near;
use self::page::{Kind, MAX_RESOURCES, PER_PAGE, Page, Resource, list_path};
use super::app_guid::{MAX_LENGTH, escaped, is_guid};
use super::foundation::ApiVersion;
use crate::auth::cf_cli::{Named, TargetPlace};
use crate::error::{Error, ErrorKind, Result};
use crate::net::deadline::{ReadTimeouts, after};
use crate::net::endpoint::Endpoint;
use crate::net::http::{Client, body_error};
use crate::server::call::Requester;

/// The longest that all requests for one app may take, unless one of them may take longer.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum size of a page, in bytes.
const MAX_RESPONSE: u64 = 8 << 20;

/// How many of the resources with one name an error lists.
const MAX_LISTED: usize = 5;

/// An app, found by its name: see [`Consumer::app`](crate::Consumer::app).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct App {
    /// The app's GUID, which the calls of a [`Consumer`](crate::Consumer) take.
    pub guid: String,
    /// The app's name as the API spells it. If a GUID was given in place of a name, this is the GUID.
    pub name: String,
    /// The GUID of the app's space. `None` if a GUID was given in place of a name.
    pub space_guid: Option<String>,
}

/// What to look for, and where.
pub(crate) struct Wanted<'a> {
    name: &'a str,
    place: Place<'a>,
}

enum Place<'a> {
    /// In the space that `cf target` has set, or else everywhere.
    Target,
    /// In the space with this GUID.
    Guid(&'a str),
    /// In the space with this name, perhaps of the organization with this name.
    Named { organization: Option<&'a str>, space: &'a str },
}

/// The space or the organization in which something is looked for.
struct Within {
    guid: String,
    /// For people: `org/dev`.
    path: String,
}

impl<'a> Wanted<'a> {
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for what cannot be a name.
    pub(crate) fn new(space: Option<&'a str>, name: &'a str) -> Result<Self> {
        let place = match space.map(|space| (space, space.split_once('/'))) {
            None => Place::Target,
            Some((space, _)) if is_guid(space.trim()) => Place::Guid(space.trim()),
            Some((_, Some((organization, space)))) => {
                Place::Named { organization: Some(checked(Kind::Organization, organization)?), space }
            }
            Some((space, None)) => Place::Named { organization: None, space },
        };
        if let Place::Named { space, .. } = place {
            checked(Kind::Space, space)?;
        }
        Ok(Wanted { name: checked(Kind::App, name)?, place })
    }

    /// Returns the app without a request, if a GUID was given in place of its name.
    pub(crate) fn known(&self) -> Option<App> {
        let guid = self.name.trim();
        is_guid(guid).then(|| App { guid: guid.to_owned(), name: guid.to_owned(), space_guid: None })
    }
}

fn checked(kind: Kind, name: &str) -> Result<&str> {
    let what = kind.noun();
    let why = if name.trim().is_empty() {
        format!("the name of the {what} is empty")
    } else if name.len() > MAX_LENGTH {
        format!("the name of the {what} is too long: {} bytes (limit {MAX_LENGTH})", name.len())
    } else if name.trim().contains(char::is_control) {
        format!("the name of the {what}, `{}`, contains a control character", name.trim().escape_debug())
    } else {
        return Ok(name.trim_end_matches(['\r', '\n']));
    };
    Err(Error::new(ErrorKind::InvalidInput, why))
}

/// Looks for one app.
pub(crate) struct AppNames<'a> {
    requester: Requester<'a>,
    api: &'a Endpoint,
    version: ApiVersion,
    client: Client,
    token: &'a str,
    deadline: Instant,
}

impl<'a> AppNames<'a> {
    pub(crate) fn new(requester: Requester<'a>, (api, version): (&'a Endpoint, ApiVersion), token: &'a str) -> Self {
        let client = Client::of_call(requester.dialer, api, requester.cancel);
        let deadline = after(TOTAL_TIMEOUT.max(requester.settings.connect_timeout));
        AppNames { requester, api, version, client, token, deadline }
    }

    pub(crate) fn find(&self, wanted: &Wanted<'_>, target: &TargetPlace) -> Result<App> {
        let explain = |error: Error| match error.kind() {
            ErrorKind::Closed => error,
            // The API has answered.
            ErrorKind::NotFound | ErrorKind::Ambiguous if error.status().is_none() => error,
            _ => {
                let name = shown(wanted.name);
                error.with_context(&format!("asking the API {} for the app {name}: ", self.api))
            }
        };
        let space = self.space(&wanted.place, target).map_err(explain)?;
        let Resource { guid, name, parent } = self.only(Kind::App, wanted.name, space.as_ref()).map_err(explain)?;
        Ok(App { guid, name, space_guid: parent.or(space.map(|space| space.guid)) })
    }

    /// Returns the space to look in. `None`: all of them.
    fn space(&self, place: &Place<'_>, target: &TargetPlace) -> Result<Option<Within>> {
        let of_target = target.organization.as_ref().map(|it| Within { guid: it.guid.clone(), path: it.name.clone() });
        let path = |organization: Option<Within>, space: &str| {
            organization.map_or_else(|| space.to_owned(), |organization| format!("{}/{space}", organization.path))
        };
        match *place {
            Place::Target => Ok(target
                .space
                .as_ref()
                .map(|Named { guid, name }| Within { guid: guid.clone(), path: path(of_target, name) })),
            Place::Guid(guid) => Ok(Some(Within { guid: guid.to_owned(), path: guid.to_owned() })),
            Place::Named { organization, space } => {
                let organization = match organization {
                    Some(name) => {
                        let Resource { guid, name, .. } = self.only(Kind::Organization, name, None)?;
                        Some(Within { guid, path: name })
                    }
                    None => of_target,
                };
                let Resource { guid, name, .. } = self.only(Kind::Space, space, organization.as_ref())?;
                Ok(Some(Within { guid, path: path(organization, &name) }))
            }
        }
    }

    /// Returns the only resource with a name.
    fn only(&self, kind: Kind, name: &str, within: Option<&Within>) -> Result<Resource> {
        let mut named = self.named(kind, name, within)?;
        if named.is_empty() {
            match self.list(kind, None, within) {
                Ok(all) => {
                    // Not every API can select every name.
                    named = all.resources.iter().filter(|it| it.name == name).cloned().collect();
                    if named.is_empty() {
                        return Err(self.unknown(kind, name, within, &all));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
                Err(error) => {
                    let text = format!("{} (which others there are is not known: {error})", none(kind, name, within));
                    return Err(Error::new(ErrorKind::NotFound, text));
                }
            }
        }
        match <[Resource; 1]>::try_from(named) {
            Ok([only]) => Ok(only),
            Err(named) => Err(self.ambiguous(kind, name, &named)),
        }
    }

    /// Returns the resources that the API selects for a name. It does not regard the case of letters, except in Korifi.
    fn named(&self, kind: Kind, name: &str, within: Option<&Within>) -> Result<Vec<Resource>> {
        let selected = match self.list(kind, Some(name), within) {
            Ok(selected) => selected.resources,
            // The first ones could not escape a semicolon.
            Err(error) if error.kind() == ErrorKind::BadRequest && name.contains(';') => Vec::new(),
            Err(error) => return Err(error),
        };
        let (exact, others): (Vec<_>, Vec<_>) = selected.into_iter().partition(|it| it.name == name);
        if !exact.is_empty() {
            return Ok(exact);
        }
        let folded = name.to_lowercase();
        Ok(others.into_iter().filter(|it| it.name.to_lowercase() == folded).collect())
    }

    /// The error of a name that nothing has. `all` is what there is.
    fn unknown(&self, kind: Kind, name: &str, within: Option<&Within>, all: &Listed) -> Error {
        let text = none(kind, name, within);
        let near = near(name, all.resources.iter().map(|it| &*it.name));
        let near: Vec<_> = near.into_iter().map(shown).collect();
        let plural = format!("{}s", kind.noun());
        let hint = match (near.split_last(), all.resources.len()) {
            (Some((last, [])), _) => format!(": did you mean {last}?"),
            (Some((last, others)), _) => format!(": did you mean {} or {last}?", others.join(", ")),
            (None, 0) => ", nor any other that the token's user may see".to_owned(),
            (None, 1) => ", and the only other one has no similar name".to_owned(),
            (None, count) if all.is_cut => format!(", nor has one of the first {count} {plural} a similar name"),
            (None, count) => format!(", and none of the {count} {plural} has a similar name"),
        };
        let error = Error::new(ErrorKind::NotFound, text + &hint);
        let elsewhere = match (kind, within) {
            (Kind::App, Some(_)) => self.named(kind, name, None).unwrap_or_default(),
            _ => Vec::new(),
        };
        if elsewhere.is_empty() {
            return error;
        }
        error.with_hint(&format!(" (one of this name is in {})", self.places(kind, &elsewhere)))
    }

    fn ambiguous(&self, kind: Kind, name: &str, named: &[Resource]) -> Error {
        let (count, name, places) = (named.len(), shown(name), self.places(kind, named));
        let remedy = match kind {
            Kind::App => "name the space, too, or give the app's GUID",
            Kind::Space => "give the space as `organization/space`, or its GUID",
            Kind::Organization => "give the GUID of the space",
        };
        let text = format!("{count} {}s are named {name}: {places}: {remedy}", kind.noun());
        Error::new(ErrorKind::Ambiguous, text)
    }

    /// Says where resources are, as far as that can be found out: `org/dev (guid)`.
    fn places(&self, kind: Kind, resources: &[Resource]) -> String {
        let mut known: Vec<(Kind, Resource)> = Vec::new();
        let mut parent_of = |kind: Kind, resource: &Resource| {
            let parent_kind = match kind {
                Kind::App => Kind::Space,
                Kind::Space => Kind::Organization,
                Kind::Organization => return None,
            };
            let guid = resource.parent.as_deref()?;
            if let Some((_, found)) = known.iter().find(|(kind, it)| *kind == parent_kind && it.guid == guid) {
                return Some(found.clone());
            }
            let found = self.get(parent_kind, guid).ok()?;
            known.push((parent_kind, found.clone()));
            Some(found)
        };
        let mut places = Vec::new();
        for resource in resources.iter().take(MAX_LISTED) {
            let parent = parent_of(kind, resource);
            let grandparent = parent.as_ref().filter(|_| kind == Kind::App).and_then(|it| parent_of(Kind::Space, it));
            let path: Vec<_> = [grandparent, parent].into_iter().flatten().map(|it| cut(&it.name).to_owned()).collect();
            places.push(match (path.as_slice(), &resource.parent) {
                ([], Some(parent)) => format!("{parent} ({})", resource.guid),
                ([], None) => resource.guid.clone(),
                (path, _) => format!("{} ({})", path.join("/"), resource.guid),
            });
        }
        if resources.len() > MAX_LISTED {
            places.push(format!("and {} more", resources.len() - MAX_LISTED));
        }
        places.join(", ")
    }

    /// Lists what there is, or what has a name.
    fn list(&self, kind: Kind, name: Option<&str>, within: Option<&Within>) -> Result<Listed> {
        let parent = within.map(|within| (kind.parent_guid(), &*within.guid));
        let (mut listed, mut known) = (Listed::default(), HashSet::new());
        for page in 1..=MAX_RESOURCES / PER_PAGE {
            let json = self.request(&list_path(self.version, kind, name, parent, page))?;
            let Page { resources, is_followed } = Page::parse(&json).map_err(bad_response)?;
            // The pages move when something is deleted meanwhile.
            let new: Vec<_> = resources.into_iter().filter(|it| known.insert(it.guid.clone())).collect();
            listed.is_cut = is_followed && !new.is_empty() || listed.resources.len() + new.len() >= MAX_RESOURCES;
            listed.resources.extend(new);
            listed.resources.truncate(MAX_RESOURCES);
            if !is_followed || listed.resources.len() == MAX_RESOURCES {
                break;
            }
        }
        Ok(listed)
    }

    /// Requests a single resource.
    fn get(&self, kind: Kind, guid: &str) -> Result<Resource> {
        let json = self.request(&format!("/{}/{}s/{}", self.version.path(), kind.noun(), escaped(guid)))?;
        Resource::parse(&json).map_err(bad_response)
    }

    fn request(&self, path: &str) -> Result<Vec<u8>> {
        let connect_timeout = self.requester.settings.connect_timeout;
        let deadline = Some(self.deadline.min(after(connect_timeout)));
        let timeouts = ReadTimeouts { idle: connect_timeout, deadline };
        let response = self.client.get(path, self.token, self.requester.timeouts(timeouts))?;
        if response.status != 200 {
            return Err(response.into_error());
        }
        let mut body = Vec::new();
        let read = response.body.take(MAX_RESPONSE).read_to_end(&mut body);
        read.map_err(|error| body_error(&format!("the request for {path}"), error, self.requester.cancel))?;
        Ok(body)
    }
}

/// What a list has.
#[derive(Default)]
struct Listed {
    resources: Vec<Resource>,
    /// It has more.
    is_cut: bool,
}

fn bad_response(cause: serde_json::Error) -> Error {
    Error::caused(ErrorKind::BadResponse, "its response is not a list of the Cloud Controller", cause)
}

fn none(kind: Kind, name: &str, within: Option<&Within>) -> String {
    let place = match (kind, within) {
        (Kind::App, Some(within)) => format!(" in the space {}", within.path),
        (Kind::Space, Some(within)) => format!(" in the organization {}", within.path),
        (Kind::App, None) => " in any space that the token's user may see".to_owned(),
        (Kind::Space, None) => " in any organization that the token's user may see".to_owned(),
        (Kind::Organization, _) => String::new(),
    };
    format!("there is no {} {}{place}", kind.noun(), shown(name))
}

/// Returns a name in quotes, and not all of it if it is far too long.
fn shown(name: &str) -> String {
    format!("`{}`", cut(name))
}

fn cut(name: &str) -> &str {
    name.char_indices().nth(100).map_or(name, |(at, _)| &name[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_name_is_invalid() {
        let long = "a".repeat(1025);
        for (space, name) in [
            (None, ""),
            (None, " \n"),
            (None, "a\0b"),
            (None, &*long),
            (Some(""), "web"),
            (Some("/dev"), "web"),
            (Some("org/"), "web"),
            (Some("a\u{1b}[31m"), "web"),
            (Some(&long), "web"),
        ] {
            let Err(error) = Wanted::new(space, name) else { panic!("{space:?} {name:?}") };
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{space:?} {name:?}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
        for name in ["my app", "a,b;c", "größe", "..", " a", "100%", "a/b"] {
            assert_eq!(Wanted::new(None, name).unwrap().name, name);
        }
        assert_eq!(Wanted::new(None, "web\r\n").unwrap().name, "web");
    }

    #[test]
    fn a_guid_is_an_app_without_a_request() {
        let guid = "00000021-aaaa-BBBB-cccc-000000000021";
        let known = Wanted::new(Some("org/dev"), &format!(" {guid}\n")).unwrap().known().unwrap();
        assert_eq!((&*known.guid, &*known.name, known.space_guid), (guid, guid, None));
        assert!(Wanted::new(None, "web").unwrap().known().is_none());
    }

    #[test]
    fn a_space_is_a_guid_a_name_or_a_name_with_its_organization() {
        let guid = "00000021-aaaa-bbbb-cccc-000000000021";
        assert!(matches!(Wanted::new(Some(guid), "web").unwrap().place, Place::Guid(space) if space == guid));
        let named = |space| match Wanted::new(Some(space), "web").unwrap().place {
            Place::Named { organization, space } => (organization, space),
            _ => panic!("{space}"),
        };
        assert_eq!(named("dev"), (None, "dev"));
        assert_eq!(named("org/dev"), (Some("org"), "dev"));
        assert_eq!(named("org/a/b"), (Some("org"), "a/b"));
    }
}
