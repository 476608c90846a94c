//! [`LogStore`]: what Log Cache holds of one app.
//!
//! It works as the real store (`store.go` of log-cache-release 3.2), whose responses to requests for equal times depend
//! on the shape of its AVL tree.

use std::sync::Arc;
use std::time::Instant;

use crate::envelope::{Body, EnvelopeType};
use crate::testing::config::settings::EqualTimes;
use crate::testing::protocol::log_entry::LogEntry;

/// How far a key is moved from its time, at most, to find one that is not used.
const LARGEST_MOVE: i64 = 4000;

/// Which envelopes a request asks for. Times are in nanoseconds.
pub(crate) struct Range {
    /// The first time that is included.
    pub(crate) start: i64,
    /// The first time that is not included any more.
    pub(crate) end: i64,
    pub(crate) limit: usize,
    pub(crate) descending: bool,
    /// Empty: all types.
    pub(crate) types: Vec<EnvelopeType>,
    /// The names of counters, gauges and timers. `None`: all names.
    pub(crate) names: Option<Vec<String>>,
}

impl Range {
    fn has(&self, entry: &LogEntry) -> bool {
        let envelope_type = match entry {
            LogEntry::Envelope(envelope) => envelope.envelope_type(),
            LogEntry::Message(_) | LogEntry::Raw(_) => EnvelopeType::Log,
        };
        (self.types.is_empty() || self.types.contains(&envelope_type)) && self.has_name(entry)
    }

    fn has_name(&self, entry: &LogEntry) -> bool {
        let Some(names) = &self.names else { return true };
        let LogEntry::Envelope(envelope) = entry else { return false };
        match &envelope.body {
            Body::Counter { name, .. } | Body::Timer { name, .. } => names.contains(name),
            Body::Gauge(values) => values.keys().any(|name| names.contains(name)),
            Body::Log { .. } | Body::Event { .. } => false,
        }
    }
}

/// Log entries in an AVL tree. The key of each is its time, or the next nanosecond that is not used.
#[derive(Default)]
pub(crate) struct LogStore {
    root: Tree,
    count: usize,
    /// How many entries were removed because there were too many.
    expired: u64,
    newest: i64,
    /// Entries that cannot be read yet, in the order of their arrival.
    delayed: Vec<Delayed>,
}

struct Delayed {
    /// When it can be read.
    from: Instant,
    time: i64,
    entry: Arc<LogEntry>,
}

type Tree = Option<Box<Node>>;

struct Node {
    key: i64,
    time: i64,
    entry: Arc<LogEntry>,
    height: u8,
    children: [Tree; 2],
}

/// What Log Cache tells of an app.
pub(crate) struct Meta {
    pub(crate) count: usize,
    pub(crate) expired: u64,
    pub(crate) oldest: i64,
    pub(crate) newest: i64,
}

impl LogStore {
    /// Adds an entry that can be read from an instant on.
    pub(crate) fn delay(&mut self, from: Instant, time: i64, entry: Arc<LogEntry>) {
        self.delayed.push(Delayed { from, time, entry });
    }

    /// Adds the delayed entries whose time has come.
    pub(crate) fn catch_up(&mut self, most: usize) {
        let now = Instant::now();
        let mut ready: Vec<_> = self.delayed.extract_if(.., |delayed| delayed.from <= now).collect();
        ready.sort_by_key(|delayed| delayed.from);
        for Delayed { time, entry, .. } in ready {
            self.insert(time, entry, most);
        }
    }

    /// Adds an entry. If there are too many then, the oldest is removed first.
    pub(crate) fn insert(&mut self, time: i64, entry: Arc<LogEntry>, most: usize) {
        if most == 0 {
            return;
        }
        if self.count >= most {
            remove_first(&mut self.root);
            self.count -= 1;
            self.expired += 1;
        }
        let mut key = time;
        while key < time.saturating_add(LARGEST_MOVE) && contains(&self.root, key) {
            key += 1;
        }
        if put(&mut self.root, key, time, entry) {
            self.count += 1;
        }
        self.newest = self.newest.max(time);
    }

    /// Returns the entries that a request asks for, each with its time.
    pub(crate) fn read(&self, range: &Range, equal_times: EqualTimes) -> Vec<(i64, Arc<LogEntry>)> {
        let mut found = Vec::new();
        match equal_times {
            EqualTimes::Together => _ = collect(&self.root, range, &mut found),
            EqualTimes::Parted => _ = collect_strictly(&self.root, range, |node| node.time, &mut found),
            EqualTimes::Spread => _ = collect_strictly(&self.root, range, |node| node.key, &mut found),
        }
        found
    }

    /// Returns `None` if it is empty.
    pub(crate) fn meta(&self) -> Option<Meta> {
        let mut first = self.root.as_ref()?;
        while let Some(before) = &first.children[0] {
            first = before;
        }
        Some(Meta { count: self.count, expired: self.expired, oldest: first.key, newest: self.newest })
    }
}

/// Adds entries in their order, and returns true when the traversal ends. As in the real store, it does not end within
/// a run of equal times, as far as a node and its child tell.
fn collect(tree: &Tree, range: &Range, found: &mut Vec<(i64, Arc<LogEntry>)>) -> bool {
    let Some(node) = tree else { return false };
    let (first, second) = if range.descending { (1, 0) } else { (0, 1) };
    let (is_before, is_after) = (node.time < range.start, node.time >= range.end);
    let (is_too_early, is_too_late) = if range.descending { (is_after, is_before) } else { (is_before, is_after) };
    if !is_too_early {
        if collect(&node.children[first], range, found) {
            return true;
        }
        if !is_too_late && range.has(&node.entry) {
            found.push((node.time, Arc::clone(&node.entry)));
        }
        let is_enough = is_too_late || found.len() >= range.limit;
        let is_moved = |node: &Node| node.key != node.time;
        let is_in_run = is_moved(node) || node.children[second].as_deref().is_some_and(is_moved);
        if is_enough && !is_in_run {
            return true;
        }
    }
    collect(&node.children[second], range, found)
}

/// Adds entries in their order, never more than the limit, and returns true when it is reached.
fn collect_strictly(tree: &Tree, range: &Range, time: fn(&Node) -> i64, found: &mut Vec<(i64, Arc<LogEntry>)>) -> bool {
    let Some(node) = tree else { return false };
    let [first, second] = if range.descending { [1, 0] } else { [0, 1] };
    if collect_strictly(&node.children[first], range, time, found) {
        return true;
    }
    let of_node = time(node);
    if (range.start..range.end).contains(&of_node) && range.has(&node.entry) {
        found.push((of_node, Arc::clone(&node.entry)));
    }
    found.len() >= range.limit || collect_strictly(&node.children[second], range, time, found)
}

fn contains(mut tree: &Tree, key: i64) -> bool {
    while let Some(node) = tree {
        if node.key == key {
            return true;
        }
        tree = &node.children[usize::from(key > node.key)];
    }
    false
}

/// Adds an entry, or replaces that of the same key. Returns true if it was added.
fn put(tree: &mut Tree, key: i64, time: i64, entry: Arc<LogEntry>) -> bool {
    let Some(node) = tree else {
        *tree = Some(Box::new(Node { key, time, entry, height: 1, children: [None, None] }));
        return true;
    };
    if node.key == key {
        (node.time, node.entry) = (time, entry);
        return false;
    }
    let is_added = put(&mut node.children[usize::from(key > node.key)], key, time, entry);
    balance(tree);
    is_added
}

/// Removes the entry with the lowest key.
fn remove_first(tree: &mut Tree) {
    let Some(node) = tree else { return };
    if node.children[0].is_none() {
        *tree = node.children[1].take();
        return;
    }
    remove_first(&mut node.children[0]);
    balance(tree);
}

/// Restores the balance of a tree whose children are balanced and differ in height by 2 at the most.
fn balance(tree: &mut Tree) {
    let Some(node) = tree else { return };
    let heights = [height(&node.children[0]), height(&node.children[1])];
    let high = usize::from(heights[1] > heights[0]);
    if heights[0].abs_diff(heights[1]) > 1 {
        let child = node.children[high].as_ref();
        let is_inner_higher =
            child.is_some_and(|child| height(&child.children[1 - high]) > height(&child.children[high]));
        if is_inner_higher {
            rotate(&mut node.children[high], 1 - high);
        }
        rotate(tree, high);
    } else {
        node.height = 1 + heights[high];
    }
}

/// Moves the child on this side to the top.
fn rotate(tree: &mut Tree, side: usize) {
    let Some(mut node) = tree.take() else { return };
    *tree = match node.children[side].take() {
        None => Some(node),
        Some(mut child) => {
            node.children[side] = child.children[1 - side].take();
            node.height = 1 + height(&node.children[0]).max(height(&node.children[1]));
            child.children[1 - side] = Some(node);
            child.height = 1 + height(&child.children[0]).max(height(&child.children[1]));
            Some(child)
        }
    };
}

fn height(tree: &Tree) -> u8 {
    tree.as_ref().map_or(0, |node| node.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Arc<LogEntry> {
        Arc::new(LogEntry::Raw(Vec::new()))
    }

    /// Checks order, heights and balance. Returns the keys in order.
    fn keys(tree: &Tree) -> Vec<i64> {
        let Some(node) = tree else { return Vec::new() };
        let heights = [height(&node.children[0]), height(&node.children[1])];
        assert!(heights[0].abs_diff(heights[1]) <= 1);
        assert_eq!(node.height, 1 + heights[0].max(heights[1]));
        let (mut before, after) = (keys(&node.children[0]), keys(&node.children[1]));
        before.push(node.key);
        before.extend(after);
        assert!(before.is_sorted());
        before
    }

    fn store(times: impl IntoIterator<Item = i64>, most: usize) -> LogStore {
        let mut store = LogStore::default();
        times.into_iter().for_each(|time| store.insert(time, entry(), most));
        store
    }

    fn times(store: &LogStore, range: Range) -> Vec<i64> {
        store.read(&range, EqualTimes::Together).into_iter().map(|(time, _)| time).collect()
    }

    const ALL: Range =
        Range { start: i64::MIN, end: i64::MAX, limit: usize::MAX, descending: false, types: Vec::new(), names: None };

    #[test]
    fn the_tree_stays_balanced_and_drops_the_oldest() {
        let scrambled = |n: i64| n * 7919 % 1009;
        let store = store((0..1009).map(scrambled), 300);
        assert_eq!((store.count, store.expired), (300, 709));
        let kept = keys(&store.root);
        assert_eq!(kept.len(), 300);
        assert_eq!(store.meta().map(|meta| (meta.oldest, meta.newest)), Some((kept[0], 1008)));
    }

    #[test]
    fn equal_times_use_the_next_nanoseconds_and_then_overwrite_each_other() {
        let store = store([5; 4005], 5000);
        assert_eq!(keys(&store.root), (5..=4005).collect::<Vec<_>>());
        assert_eq!(times(&store, ALL), [5; 4001]);
    }

    #[test]
    fn a_full_page_ends_with_one_entry_of_its_last_time_or_with_all() {
        // Runs of 1 to 7 equal times, far enough apart.
        let of_run = |run: i64| std::iter::repeat_n(run * 1000, 1 + (run * 5 % 7) as usize);
        let store = store((0..200).flat_map(of_run), 5000);
        let all = times(&store, ALL);
        for limit in 1..all.len() {
            let page = times(&store, Range { limit, ..ALL });
            assert!(page.len() >= limit && all.starts_with(&page));
            let last = *page.last().unwrap();
            if page.len() < all.len() {
                assert_eq!(page.iter().filter(|time| **time == last).count(), 1, "{limit}");
            }
            let page = times(&store, Range { limit, descending: true, ..ALL });
            let last = *page.last().unwrap();
            let of_last = |times: &[i64]| times.iter().filter(|time| **time == last).count();
            assert!(page.len() >= limit && of_last(&page) == of_last(&all), "{limit}");
        }
    }

    #[test]
    fn some_places_have_one_entry_more_than_the_limit() {
        // The child of 2 on the right is not a part of a run, that of 20 is.
        let store = store([1, 2, 4, 4], 10);
        assert_eq!(times(&store, Range { limit: 2, ..ALL }), [1, 2]);
        let store = self::store([10, 20, 30, 30, 40], 10);
        let lengths: Vec<_> = (1..=4).map(|limit| times(&store, Range { limit, ..ALL }).len()).collect();
        assert_eq!(lengths, [1, 3, 3, 5]);
    }
}
