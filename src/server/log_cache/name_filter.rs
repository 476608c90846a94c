//! [`name_filter`]: how the names of a [`Selection`] are asked of Log Cache.

use std::collections::BTreeSet;

use crate::envelope::EnvelopeType;
use crate::selection::Selection;
use crate::server::app_guid::escaped;

/// The largest filter, in bytes. Many routers accept 8 KiB for the whole request line.
const MAX_SIZE: usize = 4096;

/// Returns the value of the parameter `name_filter` for the names of a selection, escaped for a query. `None`: they are
/// selected on this side only. There they always are, because versions before 2.1 (January 2019) have no filter.
///
/// The filter is part of what a page is of, as the types are: the store applies it while it collects a page, before it
/// counts to the limit (`Get` in `store.go`). So a page that is not full is still the last, and a name that is read again
/// still proves that nothing newer was removed. Until a name has come once, nothing shows that Log Cache was restarted, as
/// with the lines of an app that has logged none.
///
/// But the filter holds for counters, gauges and timers alike, and leaves out logs and events. So it is only used if
/// nothing is selected but counters and gauges with names.
pub(super) fn name_filter(selection: &Selection) -> Option<String> {
    use EnvelopeType::{Counter, Event, Gauge, Log, Timer};
    let named = [(Counter, selection.counters()), (Gauge, selection.gauges())];
    let named = named.into_iter().filter(|(it, _)| selection.has(*it));
    let has_others = [Log, Timer, Event].into_iter().any(|it| selection.has(it));
    if has_others || named.clone().any(|(_, names)| names.is_empty()) {
        return None;
    }
    let names: BTreeSet<_> = named.flat_map(|(_, names)| names).map(|name| literal(name)).collect();
    let names: Vec<_> = names.into_iter().collect();
    Some(escaped(&format!("^(?:{})$", names.join("|")))).filter(|filter| filter.len() <= MAX_SIZE)
}

/// Returns the regular expression that matches exactly this text, in Go's syntax.
fn literal(text: &str) -> String {
    let escape = |character| r"\.+*?()|[]{}^$".contains(character).then_some('\\').into_iter().chain([character]);
    text.chars().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;

    use super::*;

    fn filter(selection: &Selection) -> Option<String> {
        name_filter(selection).map(|filter| percent_decode_str(&filter).decode_utf8().unwrap().into_owned())
    }

    #[test]
    fn names_match_whole_and_literally() {
        use EnvelopeType::{Counter, Gauge};
        let both = Selection::app("a").types([Counter, Gauge]).counter_names(["b", "a|b"]).gauge_names(["a.b", "b"]);
        assert_eq!(filter(&both).unwrap(), r"^(?:a\.b|a\|b|b)$");
        let odd = both.clone().types([Gauge]).gauge_names([r"\d+*?()[]{}^$ é&=,"]);
        assert_eq!(filter(&odd).unwrap(), r"^(?:\\d\+\*\?\(\)\[\]\{\}\^\$ é&=,)$");
        assert!(!name_filter(&odd).unwrap().contains(['&', '=', '+', ' ', '#', ';']));
        // Counters are not selected, so they need no names.
        assert_eq!(filter(&both.types([Gauge]).counter_names([""; 0])).unwrap(), r"^(?:a\.b|b)$");
    }

    #[test]
    fn there_is_no_filter_that_would_leave_out_something_else() {
        use EnvelopeType::{Counter, Event, Gauge, Log, Timer};
        let named = Selection::app("a").counter_names(["a"]).gauge_names(["a"]);
        assert_eq!(name_filter(&named), None);
        for other in [Log, Timer, Event] {
            assert_eq!(name_filter(&named.clone().types([Counter, Gauge, other])), None);
        }
        let counters = Selection::app("a").types([Counter, Gauge]).counter_names(["a"]);
        assert_eq!(name_filter(&counters), None);
        let many = Selection::app("a").types([Gauge]).gauge_names((0..2000).map(|n| n.to_string()));
        assert_eq!(name_filter(&many), None);
    }
}
