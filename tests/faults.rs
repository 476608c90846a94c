//! Checks that the tests which the tables in `faults` name exist.

use std::collections::BTreeSet;
use std::fs;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn every_test_named_in_the_fault_tables_exists_and_is_not_ignored() {
    let docs = fs::read_to_string(format!("{FOLDER}/src/faults.rs")).unwrap();
    let rows = docs.lines().filter_map(|line| line.strip_prefix("//! |")?.strip_suffix(" |"));
    let rows: Vec<_> = rows.filter(|row| !row.starts_with(" fault |") && !row.starts_with("---")).collect();
    assert!(rows.len() > 40, "{} rows", rows.len());
    for row in rows {
        let (_, tests) = row.rsplit_once(" | ").unwrap();
        let names: BTreeSet<_> = tests.split(", ").collect();
        for name in names {
            let name =
                name.strip_prefix('`').and_then(|name| name.strip_suffix('`')).unwrap_or_else(|| panic!("{row}"));
            let (file, test) = name.split_once("::").unwrap_or_else(|| panic!("{name}"));
            let source = fs::read_to_string(format!("{FOLDER}/tests/{file}.rs"))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(source.contains(&format!("#[test]\nfn {test}() {{\n")), "there is no test {name}");
        }
    }
}
