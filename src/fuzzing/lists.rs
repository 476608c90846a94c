//! Fuzzes the parser of the lists of an API.

use serde_json::{Value, json};

use crate::server::app_names::page::{MAX_RESOURCES, Page, Resource};

/// Checks that a list has the resources that a JSON parser finds in it, and that they are the same in the form of each
/// version of the API.
pub fn lists(input: &[u8]) {
    let Ok(Page { resources, is_followed }) = Page::parse(input) else { return };
    // It rejects numbers and depths in parts that are not read.
    if let Ok(list) = serde_json::from_slice::<Value>(input)
        && has_names(&list)
    {
        let all = list["resources"].as_array().unwrap();
        assert_eq!(resources.len(), all.len().min(MAX_RESOURCES));
        assert_eq!(is_followed, !list["next_url"].is_null() || !list["pagination"]["next"].is_null());
        for (resource, json) in resources.iter().zip(all) {
            let of = |v3: &Value, v2: &Value| if v3.is_null() { v2.as_str() } else { v3.as_str() }.unwrap().to_owned();
            assert_eq!(resource.guid, of(&json["guid"], &json["metadata"]["guid"]));
            assert_eq!(resource.name, of(&json["name"], &json["entity"]["name"]));
        }
    }
    for form in [v2, v3] {
        let (next_url, next) = if is_followed { (json!("/next"), json!({})) } else { (Value::Null, Value::Null) };
        let all: Vec<_> = resources.iter().map(form).collect();
        let list = json!({ "next_url": next_url, "pagination": { "next": next }, "resources": all });
        let again = Page::parse(list.to_string().as_bytes()).unwrap();
        assert_eq!((again.resources.as_slice(), again.is_followed), (resources.as_slice(), is_followed));
    }
}

/// Returns true if all that is read has a name. `Page` also takes a list of values for an object with its fields.
fn has_names(list: &Value) -> bool {
    let mut items = list["resources"].as_array().into_iter().flatten();
    let is_object = |value: &Value| value.is_null() || value.is_object();
    list.is_object()
        && is_object(&list["pagination"])
        && items.all(|item| item.is_object() && is_object(&item["metadata"]) && is_object(&item["entity"]))
}

fn v2(Resource { guid, name, parent }: &Resource) -> Value {
    json!({ "metadata": { "guid": guid }, "entity": { "name": name, "space_guid": parent } })
}

fn v3(Resource { guid, name, parent }: &Resource) -> Value {
    let data = parent.as_ref().map(|guid| json!({ "guid": guid }));
    json!({ "guid": guid, "name": name, "relationships": { "organization": { "data": data } } })
}
