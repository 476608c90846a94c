//! Names that are near another one: what a caller may have meant.

/// How many names are near at most.
const MAX_NEAR: usize = 5;

/// Cloud Foundry's limit for a name, in characters. Longer ones are not compared.
const MAX_LENGTH: usize = 255;

/// How many letters may be wrong at most.
const MAX_MISTAKES: usize = 3;

/// The shortest beginning that two names must share to be near.
const SHORTEST_PREFIX: usize = 3;

/// Returns the names that are near this one, nearest first: those that differ in their case, in few letters, or only
/// behind a common beginning.
pub(super) fn near<'a>(name: &str, others: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let name = folded(name);
    let mut ranked: Vec<_> = others.filter_map(|other| Some((rank(&name, &folded(other))?, other))).collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().map(|(_, other)| other).take(MAX_NEAR).collect()
}

fn folded(name: &str) -> Vec<char> {
    name.chars().flat_map(char::to_lowercase).collect()
}

/// Returns how far two names are from one another. `None`: they are not near.
fn rank(one: &[char], other: &[char]) -> Option<usize> {
    let longer = one.len().max(other.len());
    if longer > MAX_LENGTH {
        return None;
    }
    let mistakes = (longer / 3).min(MAX_MISTAKES);
    // The distance is no shorter than that.
    if one.len().abs_diff(other.len()) <= mistakes {
        let distance = distance(one, other);
        if distance <= mistakes {
            return Some(distance);
        }
    }
    let shared = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let is_beginning = shared == one.len().min(other.len());
    let is_near = shared >= SHORTEST_PREFIX && (is_beginning || 2 * shared >= longer);
    is_near.then_some(MAX_MISTAKES + longer - shared)
}

/// Returns how many letters must be added, removed, replaced or swapped with their neighbour to get from one name to the
/// other (the optimal string alignment distance).
fn distance(one: &[char], other: &[char]) -> usize {
    let (mut before, mut above): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=other.len()).collect());
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let replaced = above[j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut least = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        (before, above) = (above, row);
    }
    above[other.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_with_few_mistakes_or_a_common_beginning_are_near() {
        for (name, others, expected) in [
            ("web", &["webs", "worker", "WEB", "wbe", "api", "we"][..], &["WEB", "wbe", "we", "webs"][..]),
            ("my-app", &["my-app-blue", "my-ap", "other"], &["my-ap", "my-app-blue"]),
            ("shop-blue", &["shop-green", "shop", "shipping"], &["shop", "shop-green"]),
            ("größe", &["Größer", "GRÖSSE", "GRÖßE"], &["GRÖßE", "Größer", "GRÖSSE"]),
            ("scheduler", &["schedule", "shedulre", "worker", "sch"], &["schedule", "shedulre", "sch"]),
            ("a", &["b", "ab", ""], &[]),
        ] {
            assert_eq!(near(name, others.iter().copied()), expected, "{name}");
        }
    }

    #[test]
    fn the_nearest_five_are_enough_and_each_is_listed_once() {
        let names: Vec<String> = (10..99).map(|n| format!("app-{n}")).chain(["app-1".to_owned()]).collect();
        let found = near("app-1", names.iter().chain(&names).map(String::as_str));
        assert_eq!(found, ["app-1", "app-10", "app-11", "app-12", "app-13"]);
    }

    #[test]
    fn a_name_that_is_far_too_long_is_not_compared() {
        let long = "x".repeat(1 << 20);
        assert_eq!(near(&long, [long.as_str()].into_iter()), [""; 0]);
    }

    proptest! {
        #[test]
        fn the_distance_is_that_of_any_sequence_of_changes(
            name in "[a-c]{0,8}",
            changes in prop::collection::vec((0..4_u8, 0..9_usize, "[a-c]"), 0..4),
        ) {
            let one: Vec<char> = name.chars().collect();
            let mut other = one.clone();
            for (change, at, letter) in &changes {
                let letter = letter.chars().next().unwrap();
                match change {
                    0 => other.insert(*at % (other.len() + 1), letter),
                    1 if !other.is_empty() => { let at = at % other.len(); other.remove(at); }
                    2 if !other.is_empty() => { let at = at % other.len(); other[at] = letter; }
                    _ => {}
                }
            }
            prop_assert!(distance(&one, &other) <= changes.len());
            prop_assert_eq!(distance(&one, &other), distance(&other, &one));
            prop_assert_eq!(distance(&one, &other) == 0, one == other);
        }
    }
}
