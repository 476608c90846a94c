//! One page of a list of the Cloud Controller: of apps, spaces or organizations, of version 2 or 3 of its API. What to
//! request, and what the response has.

use std::fmt;

use serde::de::{Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::server::app_guid::{MAX_LENGTH, escaped};
use crate::server::foundation::ApiVersion;

/// How many resources are requested at once. Version 2 allows no more.
pub(super) const PER_PAGE: usize = 100;

/// How many resources of a page are read. Some servers return all at once, however many were requested.
pub(crate) const MAX_RESOURCES: usize = 2000;

/// Something that can have a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Organization,
    Space,
    App,
}

impl Kind {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Kind::Organization => "organization",
            Kind::Space => "space",
            Kind::App => "app",
        }
    }

    /// Returns what the API calls the GUID of that in which such a resource lies.
    pub(super) fn parent_guid(self) -> &'static str {
        if self == Kind::App { "space_guid" } else { "organization_guid" }
    }
}

impl ApiVersion {
    pub(super) fn path(self) -> &'static str {
        match self {
            ApiVersion::V2 => "v2",
            ApiVersion::V3 => "v3",
        }
    }
}

/// Returns the path of a page of a list. `parent` is the name and the value of a GUID in which it lies.
pub(super) fn list_path(
    version: ApiVersion,
    kind: Kind,
    name: Option<&str>,
    parent: Option<(&str, &str)>,
    page: usize,
) -> String {
    let (path, plural) = (version.path(), format!("{}s", kind.noun()));
    match version {
        ApiVersion::V3 => {
            // The API splits a list at its commas, and decodes each part once more. In 2017, that turned a plus into a space.
            let name = name.map(|name| name.replace('%', "%25").replace(',', "%2C").replace('+', "%2B"));
            let name = name.map_or_else(String::new, |name| format!("names={}&", escaped(&name)));
            let parent = parent.map_or_else(String::new, |(key, guid)| format!("{key}s={}&", escaped(guid)));
            format!("/{path}/{plural}?{name}{parent}per_page={PER_PAGE}&page={page}")
        }
        ApiVersion::V2 => {
            let name = name.map(|name| format!("name:{}", name.replace(';', ";;")));
            let parent = parent.map(|(key, guid)| format!("{key}:{guid}"));
            // In one parameter, because the first versions knew only one.
            let query = name.into_iter().chain(parent).collect::<Vec<_>>().join(";");
            let query = if query.is_empty() { query } else { format!("q={}&", escaped(&query)) };
            format!("/{path}/{plural}?{query}results-per-page={PER_PAGE}&page={page}")
        }
    }
}

/// An app, a space or an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) guid: String,
    pub(crate) name: String,
    /// The GUID of the space of an app, or of the organization of a space.
    pub(crate) parent: Option<String>,
}

/// One page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) resources: Vec<Resource>,
    /// Whether another page follows.
    pub(crate) is_followed: bool,
}

/// The fields of a page that are read, of both versions.
#[derive(Deserialize)]
struct List {
    resources: Resources,
    pagination: Option<Pagination>,
    next_url: Option<String>,
}

#[derive(Deserialize)]
struct Pagination {
    next: Option<Link>,
}

#[derive(Deserialize)]
struct Link {}

/// Version 3 has the fields at the top, version 2 in `metadata` and `entity`.
#[derive(Deserialize)]
struct Item {
    guid: Option<String>,
    name: Option<String>,
    relationships: Option<Relationships>,
    metadata: Option<Metadata>,
    entity: Option<Entity>,
}

#[derive(Deserialize)]
struct Relationships {
    space: Option<Relationship>,
    organization: Option<Relationship>,
}

#[derive(Deserialize)]
struct Relationship {
    data: Option<Guid>,
}

#[derive(Deserialize)]
struct Guid {
    guid: String,
}

#[derive(Deserialize)]
struct Metadata {
    guid: Option<String>,
}

#[derive(Deserialize)]
struct Entity {
    name: Option<String>,
    space_guid: Option<String>,
    organization_guid: Option<String>,
}

/// The first resources of a list. The others are not kept in memory.
struct Resources(Vec<Resource>);

impl<'de> Deserialize<'de> for Resources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;

        impl<'de> Visitor<'de> for First {
            type Value = Resources;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of resources")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Resources, A::Error> {
                let mut resources = Vec::new();
                while resources.len() < MAX_RESOURCES
                    && let Some(resource) = list.next_element()?
                {
                    resources.push(resource);
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Resources(resources))
            }
        }

        deserializer.deserialize_seq(First)
    }
}

impl Page {
    pub(crate) fn parse(json: &[u8]) -> serde_json::Result<Self> {
        let List { resources, pagination, next_url } = serde_json::from_slice(json)?;
        Ok(Page {
            resources: resources.0,
            is_followed: next_url.is_some() || pagination.is_some_and(|pagination| pagination.next.is_some()),
        })
    }
}

impl Resource {
    /// Parses what the API returns for a single one.
    pub(crate) fn parse(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Item { guid, name, relationships, metadata, entity } = Item::deserialize(deserializer)?;
        let (entity_name, entity_parent) =
            entity.map_or((None, None), |entity| (entity.name, entity.space_guid.or(entity.organization_guid)));
        let related = relationships.and_then(|it| it.space.or(it.organization)).and_then(|it| it.data);
        let resource = Resource {
            guid: guid.or(metadata.and_then(|it| it.guid)).ok_or_else(|| D::Error::missing_field("guid"))?,
            name: name.or(entity_name).ok_or_else(|| D::Error::missing_field("name"))?,
            parent: related.map(|data| data.guid).or(entity_parent),
        };
        let Resource { guid, name, parent } = &resource;
        if [Some(guid), Some(name), parent.as_ref()].into_iter().flatten().any(|text| text.len() > MAX_LENGTH) {
            return Err(D::Error::custom(format_args!("a name or GUID is longer than {MAX_LENGTH} bytes")));
        }
        Ok(resource)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resource(guid: &str, name: &str, parent: Option<&str>) -> Resource {
        Resource { guid: guid.to_owned(), name: name.to_owned(), parent: parent.map(str::to_owned) }
    }

    #[test]
    fn names_are_escaped_as_each_version_of_the_api_reads_them() {
        let v3 = |name| list_path(ApiVersion::V3, Kind::App, Some(name), Some(("space_guid", "s")), 1);
        let rest = "&space_guids=s&per_page=100&page=1";
        for (name, escaped) in [
            ("web", "web"),
            ("a,b", "a%252Cb"),
            ("100%", "100%2525"),
            ("\"ü\" &=;+/?#", "%22%C3%BC%22%20%26%3D%3B%252B%2F%3F%23"),
        ] {
            assert_eq!(v3(name), format!("/v3/apps?names={escaped}{rest}"));
        }
        let v2 = |name| list_path(ApiVersion::V2, Kind::App, Some(name), Some(("space_guid", "s")), 2);
        let rest = "%3Bspace_guid%3As&results-per-page=100&page=2";
        for (name, escaped) in
            [("web", "web"), ("a,b", "a%2Cb"), ("a;b", "a%3B%3Bb"), ("a:b>c", "a%3Ab%3Ec"), ("100%", "100%25")]
        {
            assert_eq!(v2(name), format!("/v2/apps?q=name%3A{escaped}{rest}"));
        }
        assert_eq!(
            list_path(ApiVersion::V2, Kind::Organization, None, None, 1),
            "/v2/organizations?results-per-page=100&page=1"
        );
        assert_eq!(
            list_path(ApiVersion::V3, Kind::Space, None, Some(("organization_guid", "o")), 3),
            "/v3/spaces?organization_guids=o&per_page=100&page=3"
        );
    }

    #[test]
    fn a_page_of_version_3() {
        let page = br#"{"pagination":{"total_results":3,"total_pages":2,"first":{"href":"https://a/v3/apps?page=1"},
            "last":{"href":"https://a/v3/apps?page=2"},"next":{"href":"https://a/v3/apps?page=2"},"previous":null},
            "resources":[{"guid":"g1","name":"web","state":"STARTED","lifecycle":{"type":"docker","data":{}},
            "relationships":{"space":{"data":{"guid":"s1"}},"current_droplet":{"data":{"guid":"d1"}}},
            "metadata":{"labels":{"guid":"no"},"annotations":{}},"links":{}},
            {"guid":"g2","name":"space","relationships":{"organization":{"data":{"guid":"o1"}},"quota":{"data":null}}},
            {"guid":"g3","name":"org","suspended":false,"relationships":{"quota":{"data":{"guid":"q"}}}}]}"#;
        let resources =
            vec![resource("g1", "web", Some("s1")), resource("g2", "space", Some("o1")), resource("g3", "org", None)];
        assert_eq!(Page::parse(page).unwrap(), Page { resources, is_followed: true });
        let last = br#"{"pagination":{"total_results":0,"next":null},"resources":[]}"#;
        assert_eq!(Page::parse(last).unwrap(), Page { resources: vec![], is_followed: false });
    }

    #[test]
    fn a_page_of_version_2() {
        let page = br#"{"total_results":2,"total_pages":2,"prev_url":null,"next_url":"/v2/apps?page=2","resources":[
            {"metadata":{"guid":"g1","url":"/v2/apps/g1","created_at":"2014-09-24T13:54:53+00:00"},
            "entity":{"name":"web","space_guid":"s1","stack_guid":"x","environment_json":{"name":"no"}}},
            {"metadata":{"guid":"g2"},"entity":{"name":"space","organization_guid":"o1"}},
            {"metadata":{"guid":"g3"},"entity":{"name":"org","billing_enabled":false}}]}"#;
        let resources =
            vec![resource("g1", "web", Some("s1")), resource("g2", "space", Some("o1")), resource("g3", "org", None)];
        assert_eq!(Page::parse(page).unwrap(), Page { resources, is_followed: true });
        let last = br#"{"total_results":0,"total_pages":1,"prev_url":null,"next_url":null,"resources":[]}"#;
        assert_eq!(Page::parse(last).unwrap(), Page { resources: vec![], is_followed: false });
    }

    #[test]
    fn a_single_one_of_both_versions() {
        let v3 = br#"{"guid":"s","name":"dev","relationships":{"organization":{"data":{"guid":"o"}}},"metadata":{}}"#;
        let v2 = br#"{"metadata":{"guid":"s"},"entity":{"name":"dev","organization_guid":"o"}}"#;
        for json in [&v3[..], v2] {
            assert_eq!(Resource::parse(json).unwrap(), resource("s", "dev", Some("o")));
        }
    }

    #[test]
    fn what_is_no_page_is_an_error() {
        for json in [
            "",
            "[]",
            "{}",
            r#"{"resources":null}"#,
            r#"{"resources":[{}]}"#,
            r#"{"resources":[{"guid":"g"}]}"#,
            r#"{"resources":[{"name":"n"}]}"#,
            r#"{"resources":[{"guid":1,"name":"n"}]}"#,
            r#"{"resources":[{"metadata":{"guid":"g"},"entity":{}}]}"#,
            r#"{"resources":[]"#,
        ] {
            assert!(Page::parse(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn only_the_first_resources_are_kept() {
        let json =
            format!("{{\"resources\":[{}{{\"not\":[\"one\"]}}]}}", "{\"guid\":\"g\",\"name\":\"n\"},".repeat(3000));
        assert_eq!(Page::parse(json.as_bytes()).unwrap().resources.len(), MAX_RESOURCES);
        let long = format!("{{\"resources\":[{{\"guid\":\"g\",\"name\":\"{}\"}}]}}", "n".repeat(1025));
        assert!(Page::parse(long.as_bytes()).unwrap_err().to_string().starts_with("a name or GUID is longer"));
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(json in r#"[\[\]{}",:a-z0-9\\]{0,64}"#, bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (Page::parse(json.as_bytes()), Page::parse(&bytes), Resource::parse(&bytes));
        }
    }
}
