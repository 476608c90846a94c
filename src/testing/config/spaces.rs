//! [`Spaces`]: the organizations and spaces, and which apps lie in which.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A space of an organization. The GUIDs follow from the names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Space {
    pub(crate) organization: String,
    pub(crate) name: String,
}

impl Space {
    pub(crate) fn new(organization: &str, name: &str) -> Self {
        Space { organization: organization.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn guid(&self) -> String {
        guid(&(&self.organization, &self.name))
    }

    pub(crate) fn organization_guid(&self) -> String {
        guid(&self.organization)
    }
}

pub(crate) struct Spaces {
    /// The one that `cf target` has set. All apps lie in it, but for those in `apps`.
    pub(crate) target: Space,
    pub(crate) apps: HashMap<String, Space>,
}

impl Default for Spaces {
    fn default() -> Self {
        Spaces { target: Space::new("org", "space"), apps: HashMap::new() }
    }
}

impl Spaces {
    pub(crate) fn all(&self) -> BTreeSet<&Space> {
        self.apps.values().chain([&self.target]).collect()
    }

    /// Returns the space of an app.
    pub(crate) fn of(&self, app: &str) -> &Space {
        self.apps.get(app).unwrap_or(&self.target)
    }
}

fn guid(names: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    names.hash(&mut hasher);
    let hash = hasher.finish();
    format!("{:08x}-0000-4000-8000-{:012x}", hash >> 32, hash & 0xffff_ffff)
}
