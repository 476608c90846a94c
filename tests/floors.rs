//! The rooms of `src` stand on floors, and imports go down only: a file never imports a file of a higher floor. Nor do
//! more than two files import one another in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The rooms from the top floor to the ground. A room is a folder or a file of `src`. Rooms of one floor do not import
/// one another, but for the pairs in [`PAIRS`].
const FLOORS: [&[&str]; 12] = [
    &["lib", "fuzzing"],
    &["testing"],
    &["builder"],
    &["consumer"],
    &["tail", "recent", "envelopes"],
    &["server"],
    &["auth", "settings"],
    &["net"],
    &["wire"],
    &["metrics", "selection", "window"],
    &["envelope", "meta", "promql"],
    &["error", "ending", "message", "secrets"],
];

/// Imports that are known not to go down, each with its reason.
const PAIRS: [(&str, &str); 4] = [
    // `Consumer::builder` is where the docs begin.
    ("consumer", "builder"),
    // An ending becomes an error, and the error of a gap holds the ending.
    ("error", "ending"),
    ("ending", "error"),
    // An error holds the messages that were read before it.
    ("error", "message"),
];

/// Rooms that every floor may use, because they import nothing.
const GROUND: [&str; 1] = ["secrets"];

#[test]
fn imports_go_down_only() {
    let mut upward = Vec::new();
    for (file, imports) in imports() {
        for import in imports {
            let (from, to) = (room(&file), room(&import));
            let goes_down =
                from == to || floor(from) < floor(to) || GROUND.contains(&to) || PAIRS.contains(&(from, to));
            if !goes_down {
                upward.push(format!("{file} imports {import}"));
            }
        }
    }
    assert!(upward.is_empty(), "imports that do not go down: {upward:#?}");
}

#[test]
fn no_more_than_two_files_import_one_another_in_a_circle() {
    let imports = imports();
    let reachable: BTreeMap<_, _> = imports.keys().map(|file| (file, reachable(file, &imports))).collect();
    for (file, reached) in &reachable {
        let circle: Vec<_> = reached.iter().filter(|other| reachable[other].contains(*file)).collect();
        assert!(circle.len() <= 2, "{file} is in a circle of files: {circle:?}");
    }
}

#[test]
fn an_import_of_a_higher_floor_is_seen() {
    let found = |text: &str| paths(text);
    assert_eq!(found("use crate::consumer::Consumer;"), ["crate::consumer::Consumer"]);
    assert_eq!(found("pub use reader::Reader;"), ["self::reader::Reader"]);
    assert_eq!(
        found("use crate::net::{dial::{Dialer, Proxy}, http};\n"),
        ["crate::net::dial::Dialer", "crate::net::dial::Proxy", "crate::net::http",]
    );
    assert_eq!(found("let x = super::super::builder::new();"), ["super::super::builder::new"]);
    assert!(floor("net") > floor("consumer"), "the net is on a lower floor than the consumer");
    // A comment and a test module import nothing.
    assert_eq!(found("/// [`Tail`](crate::Tail)\n#[cfg(test)]\nmod tests {\n    use crate::tail::Tail;\n}\n"), [""; 0]);
}

/// The modules that each module imports, by their paths: `net::dial::tcp`.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = BTreeMap::new();
    read_folder(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "", &mut files);
    let resolve = |from: &str, path: &str| {
        let mut segments: Vec<&str> = Vec::new();
        for segment in path.split("::") {
            match segment {
                "crate" => {}
                "self" => segments = from.split("::").collect(),
                "super" if segments.is_empty() => {
                    segments = from.split("::").collect();
                    segments.pop();
                }
                "super" => _ = segments.pop(),
                segment => segments.push(segment),
            }
        }
        // The longest beginning of the path that is a file. The rest names an item in it.
        (1..=segments.len()).rev().map(|length| segments[..length].join("::")).find(|path| files.contains_key(path))
    };
    let imported = |file: &String, text: &String| {
        let modules: BTreeSet<_> = paths(text).iter().filter_map(|path| resolve(file, path)).collect();
        // A module and the modules inside of it are one idea in several files.
        modules.into_iter().filter(|module| module != file).collect()
    };
    files.iter().map(|(file, text)| (file.clone(), imported(file, text))).collect()
}

fn read_folder(folder: &Path, module: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module_of = |name: &str| if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
        if path.is_dir() {
            read_folder(&path, &module_of(name), files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_for_tests(name) {
            let module = if name == "mod" { module.to_owned() } else { module_of(name) };
            files.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
}

/// Files that only tests compile.
fn is_for_tests(name: &str) -> bool {
    ["tests", "model", "captures", "scripted_uaa", "seeds"].contains(&name)
}

/// The paths in a source text that begin with `crate`, `super` or `self`, with their groups taken apart.
fn paths(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String =
        code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        // `use reader::Reader;` of a module inside of this one.
        expand("self::", &code[at + "use ".len()..], &mut paths);
    }
    paths.retain(|path| !["self::crate", "self::super", "self::self"].iter().any(|root| path.starts_with(root)));
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let is_inside = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
            if !is_inside {
                expand("", &code[at..], &mut paths);
            }
        }
    }
    paths
}

/// Adds the paths that begin here, such as `a::b` and `a::c` of `a::{b, c}`. Returns what follows them.
fn expand<'a>(prefix: &str, text: &'a str, paths: &mut Vec<String>) -> &'a str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (path, mut rest) = text.split_at(end);
    let path = format!("{prefix}{path}");
    let Some(group) = rest.strip_prefix('{').filter(|_| path.ends_with("::")) else {
        paths.push(path);
        return rest;
    };
    rest = group.trim_start();
    while !rest.starts_with('}') && !rest.is_empty() {
        rest = expand(&path, rest, paths).trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    rest.strip_prefix('}').unwrap_or(rest)
}

/// All files that can be reached from this one, itself included.
fn reachable(file: &str, imports: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![file.to_owned()];
    while let Some(file) = waiting.pop() {
        if reached.insert(file.clone()) {
            waiting.extend(imports[&file].iter().cloned());
        }
    }
    reached
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// How many floors are above the one of this room.
fn floor(room: &str) -> usize {
    // Docs alone.
    if room == "faults" {
        return FLOORS.len();
    }
    FLOORS.iter().position(|rooms| rooms.contains(&room)).unwrap_or_else(|| panic!("{room} stands on no floor"))
}
