//! One test for each mistake that was found while this was built, and for what servers do that is easily overlooked.
//!
//! Which test fails first if a rule is broken:
//!
//! | rule | test |
//! |---|---|
//! | a mark counts from when a page was asked for | `a_page_counts_from_when_it_was_asked_for` |
//! | a page of one time leads on | `an_older_window_gets_past_a_page_of_one_time` |
//! | the next page begins with the last time | `a_page_that_ends_between_equal_times_is_followed_by_one_that_begins_with_them` |
//! | an empty page moves no mark | `an_empty_page_alone_moves_no_mark` |
//! | a node that is away is no gap | `a_node_that_is_back_before_the_oldest_envelope_is_asked_for_is_no_gap` |
//! | only an anchor proves something | `an_envelope_that_came_late_does_not_hide_what_was_removed` |
//! | no answer about the oldest envelope decides nothing | `lines_of_a_node_that_is_away_again_are_not_used` |
//! | doubt ends | `doubt_ends_with_an_anchor_and_the_front_is_short_again` |
//! | the store is still the same after a gap | `after_a_gap_the_oldest_envelope_tells_of_the_next_one` |
//! | a gap's range | `a_gap_reaches_beyond_the_oldest_envelope_and_leaves_the_marks` |
//! | the requests of a poll are limited | `a_poll_reads_at_most_two_pages_more_of_older_windows_than_of_the_front` |
//! | when older windows are due | `an_older_window_of_many_lines_is_read_before_half_its_age_has_passed` |
//! | shedding | `while_polls_take_long_only_the_oldest_window_is_read` |
//!
//! All of them together are tried in the random worlds of `tests.rs`.

use super::model::*;
use super::*;
use crate::message::LogMessage;

/// A line that reaches the store `late_ms` after its time. Both are counted from the beginning of the run.
fn at(time_ms: i64, late_ms: i64, text: u32) -> Envelope {
    let time = EPOCH + time_ms * MS;
    Envelope { arrives: time + late_ms * MS, time, text: Some(text) }
}

fn metric(time_ms: i64) -> Envelope {
    Envelope { text: None, ..at(time_ms, 100, 0) }
}

/// A line in every `every` ms, from ten seconds before the run on.
fn steady(every: i64, seconds: i64) -> Vec<Envelope> {
    let count = (seconds + 10) * 1000 / every;
    (0..count).map(|n| at(n * every - 10_000, 100, n as u32)).collect()
}

fn metrics(every: i64, seconds: i64) -> Vec<Envelope> {
    (-30_000 / every..seconds * 1000 / every).map(|n| metric(n * every)).collect()
}

fn world(start: Start, lines: Vec<Envelope>) -> World {
    let mut world = World::new(&Config::default(), start, lines);
    world.log = Some(Vec::new());
    world
}

fn fault(from_ms: i64, until_ms: i64, kind: FaultKind) -> Fault {
    Fault { from: EPOCH + from_ms * MS, until: EPOCH + until_ms * MS, kind }
}

fn run(world: &mut World, seconds: i64) -> Outcome {
    world.run(EPOCH + seconds * SECOND);
    world.close();
    let log = world.log.take().unwrap_or_default();
    check(world, 10 * SECOND).unwrap_or_else(|error| panic!("{error}\n{}", log.join("\n")))
}

/// The lines of one second or more that `run` shows as given, sorted.
fn sorted(world: &World) -> Vec<u32> {
    let mut texts = world.texts();
    texts.sort_unstable();
    texts
}

// Marks.

#[test]
fn a_mark_does_not_pass_what_became_readable_while_the_page_was_on_its_way() {
    let mut windows = Windows::new(10 * SECOND, 0, 20 * SECOND);
    assert_eq!((windows.settled(), windows.get(1).mark), (10 * SECOND, 18 * SECOND));
    // Sent at 21 s, received at 26 s.
    windows.have_read(9 * SECOND, i64::MAX, 21 * SECOND);
    assert_eq!((windows.settled(), windows.get(1).mark), (11 * SECOND, 19 * SECOND));

    // The same with an engine: the last reading of the stretch is slow, and the line comes while it is under way.
    let mut lines = steady(100, 60);
    lines.extend((0..200).map(|n| at(10_000 + n * 100, 9_950, 10_000 + n as u32)));
    let mut world = world(Start::Tail, lines);
    world.round_trip = (2 * SECOND, 4 * SECOND);
    assert_eq!(run(&mut world, 100).lost, 0);
}

#[test]
fn a_mark_moves_only_if_no_hole_is_left_behind_it() {
    let mut windows = Windows::new(10 * SECOND, 0, 20 * SECOND);
    windows.have_read(11 * SECOND, i64::MAX, 30 * SECOND);
    assert_eq!((windows.settled(), windows.get(1).mark), (10 * SECOND, 28 * SECOND));
    windows.have_read(10 * SECOND, 15 * SECOND, 30 * SECOND);
    assert_eq!(windows.settled(), 15 * SECOND);
}

#[test]
fn no_mark_is_behind_the_settled_one() {
    let mut windows = Windows::new(10 * SECOND, 0, 20 * SECOND);
    windows.settle(19 * SECOND);
    assert_eq!((windows.settled(), windows.get(1).mark), (19 * SECOND, 19 * SECOND));
    // Neither it nor the young one ever goes back.
    windows.settle(15 * SECOND);
    windows.skip_young(15 * SECOND);
    assert_eq!((windows.settled(), windows.get(1).mark), (19 * SECOND, 19 * SECOND));
    let windows = Windows::new(SECOND, 0, 20 * SECOND);
    assert_eq!((windows.settled(), windows.get(1).mark), (19 * SECOND, 19 * SECOND));
    // The young window is shed for a while and then read again. Its mark stayed where lines have been forgotten.
    let mut windows = Windows::new(10 * SECOND, 0, 20 * SECOND);
    windows.have_read(10 * SECOND, 35 * SECOND, 60 * SECOND);
    assert_eq!((windows.settled(), windows.get(1).mark), (35 * SECOND, 35 * SECOND));
}

#[test]
fn settled_goes_on_while_nothing_is_logged() {
    let mut world = world(Start::Tail, vec![at(-1000, 10, 1), at(300_000, 10, 2)]);
    run(&mut world, 200);
    let settled = world.engine.complete_until().unwrap();
    assert!(settled > EPOCH + 180 * SECOND, "{}", settled - EPOCH);
    // One request in two seconds.
    assert!(world.requests < 120, "{}", world.requests);
}

#[test]
fn an_older_window_is_read_though_the_app_has_gone_silent() {
    // Many lines, then none, so that the front never reaches back to them again.
    let mut lines = steady(20, 10);
    lines.extend([at(9_000, 8_000, 7000), at(9_500, 9_900, 7001)]);
    let mut world = world(Start::Tail, lines);
    assert_eq!(run(&mut world, 60).lost, 0);
}

#[test]
fn an_error_on_the_last_page_of_an_older_window_does_not_begin_it_again() {
    let config = Config { page: 20, ..Config::default() };
    let mut world = World::new(&config, Start::Tail, steady(10, 30));
    world.round_trip = (2 * MS, 2 * MS);
    world.run(EPOCH + 20 * SECOND);
    let mut failed_at = Vec::new();
    // Every third request fails.
    let mut dice = Dice(3);
    for _ in 0..2000 {
        let Next::Read(range) = world.engine.next(Duration::from_nanos((world.now - EPOCH).unsigned_abs())) else {
            world.step(i64::MAX);
            continue;
        };
        if range.end.is_some() && dice.chance(300) {
            failed_at.push(world.engine.windows.settled());
            world.errors = 1000;
        }
        world.step(i64::MAX);
        world.errors = 0;
    }
    assert!(failed_at.len() > 5 && failed_at.is_sorted(), "{failed_at:?}");
    assert!(failed_at.windows(8).all(|marks| marks[0] < marks[7]), "{failed_at:?}");
}

/// The times of an app that logs every 0.7 s, up to the server's time `until`.
fn logged(until: Duration) -> impl Iterator<Item = i64> {
    (0..=nanoseconds(until) / (700 * MS)).map(|n| EPOCH + n * 700 * MS)
}

/// An engine that has read the lines of the first `seconds` of that app, and when its next poll is due.
fn after_polls(seconds: u64) -> (Engine, Duration) {
    let mut engine = Engine::new(&Config::default(), Start::Tail, 1);
    for second in 0..seconds {
        let now = Duration::from_secs(second);
        while let Next::Read(range) = engine.next(now) {
            let end = range.end.unwrap_or(i64::MAX);
            let times: Vec<_> = logged(now).filter(|time| (range.start..end).contains(time)).collect();
            respond(&mut engine, &times, now);
        }
    }
    while engine.take(Duration::ZERO).is_some() {}
    (engine, Duration::from_secs(seconds))
}

fn respond(engine: &mut Engine, times: &[i64], now: Duration) {
    let lines: Vec<_> = times.iter().map(|time| line(*time, 0)).collect();
    engine.page(Page { envelopes: lines.len(), lines, date: None }, now);
}

#[test]
fn a_page_counts_from_when_it_was_asked_for() {
    let (mut engine, now) = after_polls(14);
    // The app is silent from now on, so that each poll is one reading. It takes 20 s.
    let mut behind = Vec::new();
    for n in 0..4 {
        let sent = now + Duration::from_secs(60 + 40 * n);
        let Next::Read(range) = engine.next(sent) else { panic!("no reading") };
        let inside = |time: &i64| *time >= range.start && range.end.is_none_or(|end| *time < end);
        let times: Vec<_> = logged(Duration::from_secs(13)).filter(inside).collect();
        respond(&mut engine, &times, sent + Duration::from_secs(20));
        behind.push(EPOCH + nanoseconds(sent) - engine.windows.settled());
    }
    assert!(behind.iter().all(|behind| *behind >= 10 * SECOND), "{behind:?}");
    assert!(behind.iter().any(|behind| *behind < 12 * SECOND), "{behind:?}");
}

#[test]
fn the_line_before_the_marks_is_missed_though_the_first_one_after_them_is_there() {
    let (mut engine, mut now) = after_polls(30);
    let settled = engine.windows.settled();
    let before = engine.seen.newest_until(settled).unwrap();
    assert!(before < settled);
    loop {
        now += Duration::from_millis(300);
        let Next::Read(range) = engine.next(now) else { continue };
        // From now on it is missing, though all after it are there.
        let inside = |time: &i64| *time >= range.start && range.end.is_none_or(|end| *time < end) && *time > before;
        let times: Vec<_> = logged(Duration::from_secs(29)).filter(inside).collect();
        respond(&mut engine, &times, now);
        if range.start == before {
            break;
        }
        assert!(range.start > settled, "read from the mark, not from the line before it");
    }
    assert_eq!(engine.next(now), Next::Oldest);
    engine.oldest(Some(settled + 1), now);
    assert!(matches!(engine.take(now), Some(Item::Gap(gap)) if gap.from == settled));
}

/// The times of that app that a page shows, up to the server's time `until`.
fn shown(range: Range, until: Duration) -> Vec<i64> {
    let end = range.end.unwrap_or(i64::MAX);
    logged(until).filter(|time| (range.start..end).contains(time)).collect()
}

fn reading(engine: &mut Engine, now: Duration) -> Range {
    let Next::Read(range) = engine.next(now) else { panic!("no reading") };
    range
}

/// The gaps that an engine has to report, also those that wait.
fn gaps(engine: &mut Engine, now: Duration) -> Vec<Gap> {
    let items = std::iter::from_fn(|| engine.take(now)).collect::<Vec<_>>();
    let last = std::iter::from_fn(|| engine.take_last());
    items.into_iter().chain(last).filter_map(|item| if let Item::Gap(gap) = item { Some(gap) } else { None }).collect()
}

#[test]
fn a_node_that_is_back_before_the_oldest_envelope_is_asked_for_is_no_gap() {
    let (mut engine, mut now) = after_polls(30);
    for _ in 0..5 {
        now += Duration::from_secs(5);
        reading(&mut engine, now);
        respond(&mut engine, &[], now);
        assert_eq!(engine.next(now), Next::Oldest, "it is asked for each time that the node goes away");
        engine.oldest(Some(EPOCH), now);
        now += Duration::from_secs(5);
        while let Next::Read(range) = engine.next(now) {
            respond(&mut engine, &shown(range, Duration::from_secs(29)), now);
        }
    }
    assert_eq!(gaps(&mut engine, now), []);
}

#[test]
fn doubt_ends_with_an_anchor_and_the_front_is_short_again() {
    let (mut engine, now) = after_polls(30);
    reading(&mut engine, now);
    respond(&mut engine, &[], now);
    assert_eq!(engine.next(now), Next::Oldest);
    engine.oldest(None, now);
    let mut starts = Vec::new();
    for second in 31..35 {
        let now = Duration::from_secs(second);
        let front = reading(&mut engine, now);
        starts.push((front.start - EPOCH) / SECOND);
        respond(&mut engine, &shown(front, now), now);
        while let Next::Read(range) = engine.next(now) {
            respond(&mut engine, &shown(range, now), now);
        }
    }
    assert!(starts[0] < 22 && starts[3] > 31, "{starts:?}");
}

#[test]
fn lines_of_a_node_that_is_away_again_are_not_used() {
    let (mut engine, now) = after_polls(30);
    // Another store, and no answer about its oldest envelope.
    reading(&mut engine, now);
    respond(&mut engine, &[EPOCH + 31 * SECOND], now);
    assert_eq!(engine.next(now), Next::Oldest);
    engine.oldest(None, now);
    assert!(engine.take(now).is_none());
    // Now there is one, and the line comes behind the gap.
    let now = now + Duration::from_secs(3);
    reading(&mut engine, now);
    respond(&mut engine, &[EPOCH + 31 * SECOND], now);
    assert_eq!(engine.next(now), Next::Oldest);
    engine.oldest(Some(EPOCH + 31 * SECOND), now);
    assert!(matches!(engine.take(now), Some(Item::Gap(_))));
    assert!(matches!(engine.take(now), Some(Item::Lines(lines)) if lines[0].timestamp == EPOCH + 31 * SECOND));
}

#[test]
fn a_gap_reaches_beyond_the_oldest_envelope_and_leaves_the_marks() {
    let (mut engine, now) = after_polls(30);
    let settled = engine.windows.settled();
    reading(&mut engine, now);
    respond(&mut engine, &[], now);
    assert_eq!(engine.next(now), Next::Oldest);
    // All lines were late by half a minute.
    engine.oldest(Some(EPOCH + 60 * SECOND), now);
    assert_eq!(engine.windows.settled(), settled);
    assert_eq!(gaps(&mut engine, now), [Gap { from: settled, until: EPOCH + 61 * SECOND }]);

    // The same with a page that begins before the marks, and would move them.
    let (mut engine, now) = after_polls(30);
    reading(&mut engine, now);
    respond(&mut engine, &[], now);
    engine.next(now);
    engine.oldest(None, now);
    let now = now + Duration::from_secs(40);
    assert!(reading(&mut engine, now).start < settled);
    respond(&mut engine, &[], now);
    assert_eq!(engine.next(now), Next::Oldest);
    engine.oldest(Some(EPOCH + 60 * SECOND), now);
    assert_eq!((engine.windows.settled(), gaps(&mut engine, now).len()), (settled, 1));
}

#[test]
fn a_gap_reaches_as_far_as_the_date_that_came_when_the_page_was_on_its_way() {
    let (mut engine, now) = after_polls(30);
    let settled = engine.windows.settled();
    // Received after 100 s, so that the server may have logged for as long after its date.
    let until = now + Duration::from_secs(100);
    reading(&mut engine, now);
    let date = Some(EPOCH + 500 * SECOND);
    engine.page(Page { date, ..Page::default() }, until);
    assert_eq!(engine.next(until), Next::Oldest);
    engine.oldest(Some(EPOCH + 60 * SECOND), until);
    assert_eq!(gaps(&mut engine, until), [Gap { from: settled, until: EPOCH + 601_100 * MS }]);
}

#[test]
fn a_gap_that_waits_is_told_with_any_answer_when_its_time_has_come() {
    let gap = |from: i64| Gap { from, until: from + 1 };
    let ten = Duration::from_secs(10);
    for late in [false, true] {
        let (mut engine, now) = after_polls(30);
        engine.gaps.add(gap(1));
        engine.report_gap(now);
        engine.gaps.add(gap(2));
        assert!(matches!((engine.take(now), engine.take(now)), (Some(Item::Gap(_)), None)));
        // The node is away: no page is accepted.
        reading(&mut engine, now);
        respond(&mut engine, &[], if late { now } else { now + ten });
        if late {
            assert_eq!(engine.next(now), Next::Oldest);
            engine.oldest(None, now + ten);
        }
        assert!(matches!(engine.take(now + ten), Some(Item::Gap(told)) if told == gap(2)));
        // It is told at the end, too.
        engine.gaps.add(gap(3));
        assert!(engine.take(now + ten).is_none());
        assert!(matches!(engine.take_last(), Some(Item::Gap(told)) if told == gap(3)));
    }
}

#[test]
fn an_envelope_that_came_late_does_not_hide_what_was_removed() {
    // The line before the marks is missing, and later ones are there. An older envelope is no contradiction, because
    // the page is from a store that has lines.
    for other in [None, Some(7)] {
        let (mut engine, now) = after_polls(30);
        let before = engine.seen.newest_until(engine.windows.settled()).unwrap();
        reading(&mut engine, now);
        respond(&mut engine, &[], now);
        engine.next(now);
        engine.oldest(None, now);
        // In doubt, so that the front begins with that line. An equal time alone is no proof of it.
        let now = now + Duration::from_secs(3);
        let range = reading(&mut engine, now);
        assert_eq!(range.start, before);
        let lines = shown(range, now).into_iter().filter(|time| *time > before).map(|time| line(time, 0));
        let lines: Vec<_> = other.map(|text| line(before, text)).into_iter().chain(lines).collect();
        engine.page(Page { envelopes: lines.len(), lines, date: None }, now);
        assert_eq!(engine.next(now), Next::Oldest);
        engine.oldest(Some(EPOCH - SECOND), now);
        assert_eq!(gaps(&mut engine, now).len(), 1);
    }
}

#[test]
fn any_of_the_lines_of_one_time_is_proof_of_the_others() {
    let (mut engine, now) = after_polls(30);
    let before = engine.seen.newest_until(engine.windows.settled()).unwrap();
    let mut keys = [0, 7].map(|text| (engine.seen.key(&line(before, text)), text));
    engine.seen.judge(vec![line(before, 7)], &[keys[1].0]);
    reading(&mut engine, now);
    respond(&mut engine, &[], now);
    engine.next(now);
    engine.oldest(None, now);
    let now = now + Duration::from_secs(3);
    let range = reading(&mut engine, now);
    assert_eq!(range.start, before);
    // A page may end between them, so that the last one is not in it.
    keys.sort_unstable();
    let later = shown(range, now).into_iter().filter(|time| *time > before).map(|time| line(time, 0));
    let lines: Vec<_> = std::iter::once(line(before, keys[0].1)).chain(later).collect();
    engine.page(Page { envelopes: lines.len(), lines, date: None }, now);
    assert_ne!(engine.next(now), Next::Oldest);
}

/// An engine that is about to read an older window, and what it asks for.
fn at_older_window() -> (Engine, Duration, Range) {
    let (mut engine, mut now) = after_polls(30);
    loop {
        match engine.next(now) {
            Next::Wait(until) => now = until,
            Next::Read(range) if range.end.is_some() => return (engine, now, range),
            Next::Read(range) => respond(&mut engine, &shown(range, now), now),
            Next::Oldest => panic!("the lines are there"),
        }
    }
}

#[test]
fn an_older_page_without_an_anchor_is_read_again_with_the_front() {
    let (mut engine, now, range) = at_older_window();
    let settled = engine.windows.settled();
    respond(&mut engine, &[], now);
    // The oldest envelope is not asked for. If anchors were pruned meanwhile, an empty page would pass for a whole one.
    let Next::Wait(until) = engine.next(now) else { panic!("no pause") };
    let front = reading(&mut engine, until);
    assert_eq!((front.end, engine.windows.settled()), (None, settled));
    assert!(front.start <= range.start);
}

#[test]
fn a_page_with_envelopes_that_are_no_lines_is_full_all_the_same() {
    let (mut engine, now) = after_polls(30);
    let range = reading(&mut engine, now);
    let times = shown(range, now);
    let lines = times.iter().map(|time| line(*time, 0)).collect();
    engine.page(Page { lines, envelopes: range.limit, date: None }, now);
    assert_eq!(reading(&mut engine, now), Range { start: *times.last().unwrap(), ..range });
}

#[test]
fn the_fourth_time_that_an_anchor_is_missing_though_an_older_envelope_is_there_it_is_a_gap() {
    let (mut engine, mut now) = after_polls(30);
    let mut found = Vec::new();
    for _ in 0..4 {
        now += Duration::from_secs(31);
        reading(&mut engine, now);
        respond(&mut engine, &[], now);
        assert_eq!(engine.next(now), Next::Oldest);
        engine.oldest(Some(EPOCH), now);
        found.push(gaps(&mut engine, now).len());
    }
    assert_eq!(found, [0, 0, 0, 1]);
}

#[test]
fn after_a_gap_the_oldest_envelope_tells_of_the_next_one() {
    // What it is at 145 s, which lines there are then, and whether lines may have been removed since.
    let cases = [
        (60, None, false),
        (70, None, false),
        (109, None, false),
        (111, None, true),
        // It came late, or the store is another one.
        (59, None, true),
        // A line that came late into another store would hide that.
        (70, Some(69), true),
        (70, Some(71), false),
    ];
    for (oldest, new, is_gap) in cases {
        let (mut engine, _) = after_polls(30);
        let mut ask = |second: u64, new: Option<i64>, oldest: i64| {
            let now = Duration::from_secs(second);
            let mut asked = 0;
            loop {
                match engine.next(now) {
                    Next::Read(range) if range.end.is_none() => {
                        respond(&mut engine, new.map(|new| EPOCH + new * SECOND).as_slice(), now);
                    }
                    Next::Read(_) => respond(&mut engine, &[], now),
                    Next::Oldest => {
                        engine.oldest(Some(EPOCH + oldest * SECOND), now);
                        asked += 1;
                    }
                    Next::Wait(_) => break,
                }
            }
            assert_eq!(asked, 1);
            gaps(&mut engine, now).len()
        };
        assert_eq!(ask(40, None, 39), 1);
        // The same one, then a younger one because the store has been pruned.
        assert_eq!(ask(75, None, 39), 0);
        assert_eq!(ask(110, None, 60), 0);
        assert_eq!(ask(145, new, oldest), usize::from(is_gap), "{oldest}, {new:?}");
    }
}

#[test]
fn a_late_line_behind_a_gap_is_followed_by_no_other_gap() {
    for new in 5..9 {
        let (mut engine, now) = after_polls(30);
        let mut all = vec![EPOCH + 25 * SECOND];
        let mut found = 0;
        for second in 0..30 {
            // The late line is the only one for a while. All that is read begins after it.
            let now = now + Duration::from_secs(second);
            if second == new {
                all.push(EPOCH + nanoseconds(now));
            }
            loop {
                match engine.next(now) {
                    Next::Read(range) => {
                        let end = range.end.unwrap_or(i64::MAX);
                        let inside = all.iter().copied().filter(|time| (range.start..end).contains(time));
                        respond(&mut engine, &inside.collect::<Vec<_>>(), now);
                    }
                    Next::Oldest => engine.oldest(Some(all[0]), now),
                    Next::Wait(_) => break,
                }
            }
            found += std::iter::from_fn(|| engine.take(now)).filter(|item| matches!(item, Item::Gap(_))).count();
        }
        assert_eq!((found, engine.take_last().is_none()), (1, true));
    }
}

#[test]
fn a_silent_app_whose_metrics_are_pruned_after_a_restart_has_one_gap() {
    let mut lines = vec![at(-500, 10, 1)];
    lines.extend(metrics(5_000, 400));
    let mut world = world(Start::Tail, lines);
    world.store.depth = 40 * SECOND;
    world.faults = vec![fault(30_000, 33_000, FaultKind::Restart)];
    run(&mut world, 400);
    assert_eq!(world.gaps.len(), 1, "{:?}", relative(&world.gaps));
}

#[test]
fn a_line_from_before_the_range_is_not_given() {
    let (mut engine, now) = after_polls(30);
    let Next::Read(range) = engine.next(now) else { panic!("no reading") };
    respond(&mut engine, &[EPOCH, range.start, EPOCH + 29 * SECOND], now);
    let Some(Item::Lines(lines)) = engine.take(now) else { panic!("no lines") };
    assert_eq!(lines, [line(EPOCH + 29 * SECOND, 0)]);

    // Not even a full page of such lines leads on.
    let (mut engine, now) = after_polls(30);
    let Range { limit, .. } = reading(&mut engine, now);
    engine.page(Page { lines: vec![line(EPOCH, 0)], envelopes: limit, date: None }, now);
    assert_eq!(engine.next(now), Next::Oldest);
    engine.oldest(Some(EPOCH + 30 * SECOND), now);
    assert!(matches!(engine.next(now), Next::Wait(_) | Next::Read(Range { end: Some(_), .. })));
}

#[test]
fn the_end_of_a_gap_is_a_second_after_the_clock() {
    let mut clock = ServerClock::default();
    assert_eq!((clock.earliest(Duration::ZERO), clock.latest(Duration::ZERO)), (None, None));
    clock.reached(5 * SECOND, Duration::ZERO);
    clock.reached(4 * SECOND, Duration::ZERO);
    assert_eq!((clock.earliest(Duration::ZERO), clock.latest(Duration::ZERO)), (Some(5 * SECOND), Some(6 * SECOND)));
    let later = Duration::from_secs(1000);
    assert_eq!((clock.earliest(later), clock.latest(later)), (Some(1004 * SECOND), Some(1007 * SECOND)));
    // Lines that are all late make the estimate late, but not the date.
    clock.dated(1010 * SECOND, later);
    assert_eq!((clock.earliest(later), clock.latest(later)), (Some(1004 * SECOND), Some(1011 * SECOND)));
    clock.dated(9010 * SECOND, later);
    assert_eq!(clock.latest(later), Some(1007 * SECOND));
    // A date in full seconds may be behind the lines.
    clock.dated(1001 * SECOND, later);
    assert_eq!(clock.latest(later), Some(1007 * SECOND));
    assert!(clock.when(1004 * SECOND).unwrap().abs_diff(later) < Duration::from_micros(1));
    assert!((1..1000).map(|n| n * 7_654_321).all(|time| clock.earliest(clock.when(time).unwrap()) >= Some(time)));
}

#[test]
fn gaps_are_merged_for_ten_seconds_and_the_last_one_is_told_at_the_end() {
    let second = Duration::from_secs;
    let mut gaps = Gaps::default();
    gaps.add(Gap { from: 1, until: 5 });
    assert_eq!(gaps.take(second(0)), Some(Gap { from: 1, until: 5 }));
    gaps.add(Gap { from: 1, until: 7 });
    gaps.add(Gap { from: 2, until: 6 });
    gaps.add(Gap { from: 3, until: 9 });
    assert_eq!(gaps.take(second(9)), None);
    assert_eq!(gaps.take(second(10)), Some(Gap { from: 5, until: 9 }));
    gaps.add(Gap { from: 4, until: 12 });
    assert_eq!((gaps.take(second(11)), gaps.take_last()), (None, Some(Gap { from: 9, until: 12 })));
    assert_eq!(gaps.take_last(), None);
    gaps.add(Gap { from: 2, until: 11 });
    assert_eq!(gaps.take_last(), None, "all of it is in an earlier one");
}

#[test]
fn lines_that_are_half_a_second_late_come_with_the_next_poll() {
    let mut lines = steady(100, 60);
    lines.extend((0..50).map(|n| at(n * 1000 + 1_050, 600, 5000 + n as u32)));
    let mut world = world(Start::Tail, lines);
    run(&mut world, 80);
    let late = world.given.iter().filter(|(_, text, _)| *text >= 5000);
    assert!(late.clone().count() == 50 && late.clone().all(|(time, _, at)| at - time < 1000 * MS));
}

#[test]
fn older_windows_keep_up_though_pages_are_small() {
    let config = Config { page: 100, ..Config::default() };
    let mut world = World::new(&config, Start::Tail, steady(2, 60));
    world.round_trip = (2 * MS, 2 * MS);
    world.per_line = 0;
    world.run(EPOCH + 60 * SECOND);
    let behind = world.now - world.engine.complete_until().unwrap();
    assert!(behind < 17 * SECOND, "{} ms", behind / MS);
    // 500 lines/s.
    assert!(world.most_seen < 500 * 18, "{}", world.most_seen);
}

#[test]
fn a_poll_reads_at_most_two_pages_more_of_older_windows_than_of_the_front() {
    let config = Config { page: 20, ..Config::default() };
    let mut world = World::new(&config, Start::Tail, steady(10, 60));
    world.round_trip = (2 * MS, 2 * MS);
    world.faults = vec![fault(10_000, 40_000, FaultKind::Blocked)];
    let (mut front, mut older, mut most) = (0, 0, 0);
    while world.now < EPOCH + 60 * SECOND {
        match world.engine.next(world.monotonic()) {
            Next::Read(Range { end: Some(_), newest_first: false, .. }) => older += 1,
            Next::Read(_) if older == 0 => front += 1,
            Next::Read(_) => (front, older) = (1, 0),
            _ => {}
        }
        assert!(older <= front + 2, "{older} pages, and {front} of the front");
        most = most.max(older);
        world.step(i64::MAX);
        if let Next::Wait(_) = world.engine.next(world.monotonic()) {
            (front, older) = (0, 0);
        }
    }
    assert!(most > 3, "{most}");
}

#[test]
fn an_older_window_of_many_lines_is_read_before_half_its_age_has_passed() {
    let mut world = World::new(&Config::default(), Start::Tail, steady(1, 40));
    for second in 20..40 {
        world.run(EPOCH + second * SECOND);
        let behind = world.now - world.engine.complete_until().unwrap();
        assert!(behind < 13 * SECOND, "{} ms", behind / MS);
    }
}

#[test]
fn an_older_window_of_many_pages_does_not_wait_for_idle_pauses() {
    // A burst, and then silence. A poll reads three pages of it.
    let mut lines = steady(1000, 5);
    lines.extend((0..600).map(|n| at(5_000 + n, 100, 1000 + n as u32)));
    let config = Config { page: 20, ..Config::default() };
    let mut world = World::new(&config, Start::Tail, lines);
    world.round_trip = (2 * MS, 2 * MS);
    world.run(EPOCH + 26 * SECOND);
    let settled = world.engine.complete_until().unwrap();
    assert!(settled > EPOCH + 5_600 * MS, "{} ms", (settled - EPOCH) / MS);
}

/// The requests of a run, from the server's time `from_ms` on, that have an end or that have none.
fn requests(world: &World, from_ms: i64, have_end: bool) -> usize {
    let part = if have_end { " Some(" } else { " None " };
    let log = world.log.as_ref().unwrap().iter().filter(|request| request.contains(part));
    log.filter(|request| request.split_whitespace().next().unwrap().parse::<i64>().unwrap() >= from_ms).count()
}

#[test]
fn while_polls_take_long_only_the_oldest_window_is_read() {
    let mut world = world(Start::Tail, steady(100, 60));
    world.round_trip = (500 * MS, 500 * MS);
    world.per_line = 20 * MS;
    world.run(EPOCH + 50 * SECOND);
    // It is due every 5 s, the young one would be every second.
    assert!((4..=8).contains(&requests(&world, 20_000, true)), "{}", requests(&world, 20_000, true));
}

#[test]
fn the_pause_counts_from_the_beginning_of_a_poll() {
    let mut world = world(Start::Tail, steady(100, 30));
    world.round_trip = (100 * MS, 100 * MS);
    world.run(EPOCH + 20 * SECOND);
    assert!(requests(&world, 10_000, false) >= 36, "{}", requests(&world, 10_000, false));
}

#[test]
fn a_quiet_app_costs_one_request_a_poll() {
    let lines = (0..100).map(|n| at(n * 10_000 + 500, 100, n as u32)).collect();
    let mut world = world(Start::Tail, lines);
    run(&mut world, 1000);
    // 12 polls in 10 s.
    assert!(world.requests < 1300, "{}", world.requests);
}

// Pauses.

#[test]
fn a_page_resets_the_pauses_that_failures_made() {
    let mut pace = Pace::new(Duration::from_millis(250), Duration::from_secs(2), 7);
    for full in [500, 1000, 2000, 4000, 8000, 8000] {
        let pause = pace.after_failure(None).as_millis();
        assert!((full / 2..=full).contains(&pause), "{pause} of {full}");
    }
    pace.succeeded();
    assert!(pace.after_failure(None).as_millis() <= 500);
    let retry_after = Some(Duration::from_secs(20));
    assert_eq!(pace.after_failure(retry_after), Duration::from_secs(20));
    // A server can't stop a tail for good, nor make it wait for less than it would without.
    assert_eq!(pace.after_failure(Some(Duration::MAX)), Duration::from_secs(300));
    assert!(pace.after_failure(Some(Duration::ZERO)) >= Duration::from_millis(1000));
    let pauses: Vec<_> = (0..5).map(|_| pace.after_failure(None)).collect();
    assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]), "{pauses:?}");
}

#[test]
fn each_request_may_fail_and_is_made_again() {
    let transient = Failure::Transient { retry_after: None };
    let second = Duration::from_secs(1);
    let mut engine = Engine::new(&Config::default(), Start::Tail, 1);
    let seed = engine.next(Duration::ZERO);
    assert_eq!(engine.next(second), seed);
    engine.failed(transient, second);
    let Next::Wait(until) = engine.next(second) else { panic!("no pause") };
    assert!((second..2 * second).contains(&until));
    assert_eq!((engine.failures(), engine.next(until)), (1, seed));
    engine.failed(Failure::Transient { retry_after: Some(30 * second) }, until);
    assert_eq!(engine.next(until), Next::Wait(until + 30 * second));
    assert_eq!((engine.failures(), engine.next(until + 30 * second)), (2, seed));
    // Too large, and that for a single line, too.
    for limit in [1000, 500, 250, 125, 62, 31, 15, 7, 3, 1] {
        assert!(matches!(engine.next(40 * second), Next::Read(range) if range.limit == limit));
        engine.failed(Failure::TooLarge, 40 * second);
    }
    assert!(matches!(engine.next(40 * second), Next::Wait(_)));
    engine.next(60 * second);
    engine.page(Page { lines: vec![line(EPOCH, 1)], envelopes: 1, date: None }, 60 * second);
    assert_eq!((engine.failures(), engine.complete_until()), (0, None));
    // What is not too large makes the next page larger.
    assert_eq!(reading(&mut engine, 60 * second).limit, 2);
}

#[test]
fn a_request_that_fails_is_followed_by_a_new_poll() {
    let (mut engine, now, _) = at_older_window();
    engine.failed(Failure::Transient { retry_after: None }, now);
    let Next::Wait(until) = engine.next(now) else { panic!("no pause") };
    assert_eq!(reading(&mut engine, until).end, None);
}

#[test]
fn the_time_of_the_question_for_the_oldest_envelope_counts_as_load() {
    let (mut engine, now) = after_polls(30);
    reading(&mut engine, now);
    respond(&mut engine, &[], now);
    assert_eq!(engine.next(now), Next::Oldest);
    engine.oldest(None, now + Duration::from_secs(4));
    // With the polls before it, 0.8 s on average.
    assert!(engine.load.is_shedding());
}

#[test]
fn an_answer_to_another_question_changes_nothing() {
    let now = Duration::from_secs(30);
    let mut engine: Engine = Engine::new(&Config::default(), Start::Tail, 1);
    let seed = engine.next(now);
    engine.oldest(Some(EPOCH), now);
    assert_eq!(engine.next(now), seed);
    let (mut engine, now) = after_polls(30);
    reading(&mut engine, now);
    respond(&mut engine, &[], now);
    assert_eq!(engine.next(now), Next::Oldest);
    respond(&mut engine, &[], now);
    assert_eq!(engine.next(now), Next::Oldest);
}

#[test]
fn a_server_with_many_errors_does_not_make_the_tail_fall_behind() {
    let mut world = world(Start::Tail, steady(5, 120));
    world.errors = 300;
    world.run(EPOCH + 100 * SECOND);
    let (time, ..) = world.given.last().unwrap();
    assert!(world.now - time < 5 * SECOND, "{} ms behind", (world.now - time) / MS);
}

#[test]
fn the_pause_grows_by_a_quarter_and_ends_with_a_line() {
    let mut pace = Pace::new(Duration::from_millis(250), Duration::from_secs(2), 7);
    let idle: Vec<_> = (0..11).map(|_| pace.after_poll(false).as_millis()).collect();
    assert_eq!(idle, [312, 390, 488, 610, 762, 953, 1192, 1490, 1862, 2000, 2000]);
    assert_eq!(pace.after_poll(true), Duration::from_millis(250));
    // It is never less than after a line.
    let mut pace = Pace::new(Duration::from_secs(9), Duration::from_secs(2), 7);
    assert_eq!(pace.after_poll(false), Duration::from_secs(9));
}

#[test]
fn the_young_window_is_shed_for_half_a_minute_when_polls_take_long() {
    let (slow, fast, second) = (Duration::from_millis(900), Duration::from_millis(100), Duration::from_secs(1));
    let mut load = Load::default();
    load.poll_took(slow, second);
    assert!(!load.is_shedding());
    (0..10).for_each(|_| load.poll_took(slow, 10 * second));
    assert!(load.is_shedding());
    (0..50).for_each(|_| load.poll_took(fast, 39 * second));
    assert!(load.is_shedding());
    load.poll_took(fast, 40 * second);
    assert!(!load.is_shedding());
}

#[test]
fn polls_of_more_than_600_ms_shed_and_those_of_less_than_400_ms_no_more() {
    let mut load = Load::default();
    let mut is_shedding = |ms: u64, second: u64| {
        (0..100).for_each(|_| load.poll_took(Duration::from_millis(ms), Duration::from_secs(second)));
        load.is_shedding()
    };
    assert!(!is_shedding(590, 1) && is_shedding(610, 1));
    assert!(is_shedding(410, 100) && !is_shedding(390, 100));
}

// Gaps.

#[test]
fn the_gap_of_a_restart_comes_before_the_first_line_after_it_and_holds_what_is_lost() {
    // The last lines before the restart were never read: they are later than the first line that comes after it.
    let mut lines = steady(100, 20);
    lines.push(at(19_000, 7_000, 8000));
    lines.extend((0..100).map(|n| at(26_000 + n * 100, 100, 9000 + n as u32)));
    let mut world = world(Start::Tail, lines);
    world.faults = vec![fault(19_950, 23_000, FaultKind::Restart)];
    let outcome = run(&mut world, 80);
    assert!(outcome.lost > 0);
    assert_eq!(outcome.gaps, 1, "{:?}", relative(&world.gaps));
    assert_eq!(world.given[world.gap_positions[0]].1, 8000);
    // The node was asked for its oldest envelope while it was away. It is asked again with the first line.
    let (_, _, at) = world.given.iter().find(|(_, text, _)| *text == 9000).unwrap();
    assert!(*at < EPOCH + 29 * SECOND, "{} ms", (*at - EPOCH) / MS);
}

#[test]
fn a_store_that_is_emptied_between_two_pages_of_an_older_window_is_a_gap() {
    for restart in 0..40 {
        let config = Config { page: 20, ..Config::default() };
        let mut world = World::new(&config, Start::Tail, steady(50, 60));
        let from = 20_000 + restart * 53;
        world.faults = vec![fault(from, from + 1, FaultKind::Restart)];
        let outcome = run(&mut world, 100);
        assert_eq!(outcome.gaps, 1, "{:?}", relative(&world.gaps));
    }
}

#[test]
fn a_node_that_is_away_for_a_while_is_no_gap() {
    for away in [1_000, 6_000, 40_000] {
        let mut world = world(Start::Tail, steady(100, 60));
        world.faults = vec![fault(10_000, 10_000 + away, FaultKind::Away)];
        let outcome = run(&mut world, 100);
        assert_eq!((outcome.lost, outcome.gaps, world.given.len()), (0, 0, 600));
        assert!(world.asks < 5, "{}", world.asks);
    }
}

#[test]
fn late_lines_come_though_the_node_was_away_for_longer_than_the_horizon() {
    let mut lines = steady(500, 60);
    lines.extend((0..20).map(|n| at(11_000 + n * 100, 5_000, 7000 + n as u32)));
    let mut world = world(Start::Tail, lines);
    world.faults = vec![fault(12_000, 40_000, FaultKind::Away)];
    let outcome = run(&mut world, 100);
    assert_eq!((outcome.lost, outcome.gaps), (0, 0));
}

#[test]
fn a_quiet_app_whose_lines_are_pruned_is_no_gap_in_a_day_if_it_has_metrics() {
    let day = 86_400;
    let mut lines: Vec<_> = (0..day / 200).map(|n| at(n * 200_000, 100, n as u32)).collect();
    lines.extend(metrics(15_000, day));
    let mut world = World::new(&Config::default(), Start::Tail, lines);
    world.store.depth = 100 * SECOND;
    let outcome = run(&mut world, day);
    assert_eq!((outcome.lost, outcome.gaps), (0, 0));
    assert!(world.requests < 70_000, "{}", world.requests);
}

#[test]
fn without_metrics_the_lines_of_such_an_app_are_all_given() {
    let lines = (0..20).map(|n| at(n * 200_000, 100, n as u32)).collect();
    let mut world = world(Start::Tail, lines);
    world.store.depth = 100 * SECOND;
    run(&mut world, 4000);
    assert_eq!(world.texts(), (0..20).collect::<Vec<_>>());
    assert!(world.gaps.len() <= 20);
}

#[test]
fn a_store_that_is_too_small_is_told_every_ten_seconds_and_not_more_often() {
    let mut world = world(Start::Tail, steady(2, 60));
    world.store.capacity = 60;
    world.log = None;
    let outcome = run(&mut world, 100);
    assert!(outcome.lost > 0);
    assert!((1..=8).contains(&outcome.gaps), "{:?}", relative(&world.gaps));
}

#[test]
fn a_metric_after_a_restart_tells_of_it_though_the_app_is_silent() {
    let mut lines = vec![at(-500, 10, 1)];
    lines.extend(metrics(15_000, 200));
    let mut world = world(Start::Tail, lines);
    world.faults = vec![fault(50_000, 53_000, FaultKind::Restart)];
    run(&mut world, 120);
    assert_eq!(world.gaps.len(), 1, "{:?}", relative(&world.gaps));
}

#[test]
fn an_empty_page_alone_moves_no_mark() {
    let mut engine: Engine = Engine::new(&Config::default(), Start::Since(5), 1);
    for n in 0..20 {
        let now = Duration::from_secs(10 * n);
        assert!(matches!(engine.next(now), Next::Read(Range { start: 5, end: None, .. })));
        engine.page(Page::default(), now);
    }
    assert_eq!(engine.complete_until(), Some(5));
}

// Equal times.

#[test]
fn more_lines_of_one_time_than_a_page_are_all_given() {
    for page in [1, 2, 10, 1000] {
        let mut lines = steady(1000, 30);
        lines.extend((0..300).map(|n| at(5_000, 50, 1000 + n)));
        let config = Config { page, ..Config::default() };
        let mut world = World::new(&config, Start::Tail, lines);
        world.round_trip = (2 * MS, 2 * MS);
        run(&mut world, 60);
        assert_eq!(world.given.len(), 30 + 1 + 300 - 1, "pages of {page}");
    }
}

#[test]
fn an_older_window_gets_past_a_page_of_one_time() {
    let mut lines = steady(500, 46);
    // Runs as long as a page or longer, and late lines behind them that only older windows find.
    lines.extend((0..30).flat_map(|n| (0..4).map(move |m| at(n * 1000 + 250, 50, 1000 + n as u32 * 4 + m))));
    lines.extend((0..30).map(|n| at(n * 1000 + 300, 5_000, 5000 + n as u32)));
    for (page, largest) in [(1, 1000), (2, 1000), (3, 1000), (4, 1000), (1000, 1), (1000, 4)] {
        let config = Config { page, ..Config::default() };
        let mut world = World::new(&config, Start::Tail, lines.clone());
        world.round_trip = (2 * MS, 2 * MS);
        world.largest = largest;
        let outcome = run(&mut world, 46);
        assert_eq!((outcome.lost, outcome.gaps), (0, 0), "pages of {page}, at most {largest}");
        assert!(world.now - world.engine.complete_until().unwrap() < 17 * SECOND, "pages of {page}, at most {largest}");
        // What follows the newest time needs no proof.
        assert_eq!(world.asks, 0, "pages of {page}, at most {largest}");
    }
}

#[test]
fn a_page_that_ends_between_equal_times_is_followed_by_one_that_begins_with_them() {
    // All are from the past, so that each is read once.
    let lines: Vec<_> = (0..60).map(|n| at(-60_000 + i64::from(n / 3) * 1000, 50, n)).collect();
    for page in [4, 5, 7] {
        let config = Config { page, ..Config::default() };
        let mut world = World::new(&config, Start::Since(EPOCH - 100 * SECOND), lines.clone());
        world.store.is_strict = true;
        world.run(EPOCH + 20 * SECOND);
        assert_eq!(sorted(&world), (0..60).collect::<Vec<_>>(), "pages of {page}");
    }
}

#[test]
fn of_equal_times_that_a_strict_server_holds_back_no_line_is_given_twice() {
    for page in [1, 2, 7] {
        let mut lines = steady(1000, 30);
        lines.extend((0..5).map(|n| at(5_300, 50, 1000 + n)));
        lines.extend((0..5).map(|n| at(6_500, 50 + 300 * i64::from(n), 2000 + n)));
        let config = Config { page, ..Config::default() };
        let mut world = World::new(&config, Start::Tail, lines);
        world.store.is_strict = true;
        world.round_trip = (2 * MS, 2 * MS);
        world.run(EPOCH + 60 * SECOND);
        let mut texts = sorted(&world);
        let all = texts.len();
        texts.dedup();
        assert_eq!(texts.len(), all);
        assert_eq!((world.gaps.len(), world.asks), (0, 0), "pages of {page}");
        // What comes after such a time is given at any rate.
        assert!((11..40).all(|text| texts.contains(&text)), "{texts:?}");
        if page == 7 {
            assert_eq!(texts.len(), 30 + 10, "{texts:?}");
        }
    }
}

#[test]
fn the_second_of_two_equal_lines_is_given_though_it_is_late() {
    for late in [60, 900, 3_000, 9_000] {
        let mut lines = steady(500, 30);
        lines.extend([at(5_100, 50, 1000), at(5_100, late, 1000), at(5_100, late, 1000)]);
        let mut world = world(Start::Tail, lines);
        run(&mut world, 60);
        assert_eq!(world.texts().iter().filter(|text| **text == 1000).count(), 3, "late by {late} ms");
    }
}

#[test]
fn lines_of_one_time_that_differ_only_in_their_source_are_two() {
    let mut seen = Seen::default();
    let sources = [("APP", "0"), ("APP", "1"), ("CELL", "0")];
    let mut lines = sources.map(|(name, id)| line(5, 1).source(name, id)).to_vec();
    lines.push(lines[0].clone().message_type(crate::MessageType::Err));
    for count in [1, 0] {
        for line in &lines {
            let key = seen.key(line);
            assert_eq!(seen.judge(vec![line.clone()], &[key]).len(), count);
        }
    }
}

#[test]
fn a_line_is_an_anchor_again_once_it_is_read_after_a_gap() {
    let mut seen = Seen::default();
    let key = seen.key(&line(5, 1));
    let read = |seen: &mut Seen| seen.judge(vec![line(5, 1)], &[key]).len();
    assert_eq!((read(&mut seen), seen.is_anchor(&key)), (1, true));
    seen.begin_era();
    assert_eq!((seen.is_anchor(&key), seen.first_anchor(0, 9), seen.newest()), (false, None, Some(5)));
    assert_eq!((read(&mut seen), seen.is_anchor(&key), seen.first_anchor(0, 9)), (0, true, Some(key)));
}

#[test]
fn lines_are_counted_and_found_by_their_time() {
    let mut seen = Seen::default();
    let key = seen.key(&line(5, 1));
    seen.judge(vec![line(5, 1)], &[key]);
    assert!(seen.has_lines(1, 5, 6) && !seen.has_lines(2, 5, 6) && !seen.has_lines(1, 4, 5));
    assert_eq!((seen.newest_until(5), seen.newest_until(4)), (Some(5), None));
}

// The seams.

#[test]
fn follow_joins_the_newest_lines_and_the_rest() {
    for limit in [1, 10, 100, 5000] {
        let mut lines = steady(20, 30);
        // Late ones from before the call, and what comes between its pages.
        lines.extend((0..50).map(|n| at(n * 100 - 6_000, 6_000 + n * 20, 5000 + n as u32)));
        let config = Config { recent_limit: limit, page: 100, ..Config::default() };
        let mut world = World::new(&config, Start::Follow, lines);
        let outcome = run(&mut world, 60);
        assert_eq!((outcome.lost, outcome.gaps), (0, 0));
        // The first are the newest when the call was made.
        let first: Vec<_> = world.given.iter().take_while(|(.., at)| Some(*at) == world.began).collect();
        assert!(first.len() == limit || (limit == 5000 && first.len() > 490), "{}", first.len());
        assert!(world.given[..first.len()].is_sorted_by_key(|(time, ..)| *time));
    }
}

#[test]
fn tail_then_recent_misses_nothing() {
    let mut lines = steady(7, 30);
    lines.extend((0..50).map(|n| at(n * 100 - 4_000, 4_000 + n * 20, 9000 + n as u32)));
    let config = Config { page: 50, ..Config::default() };
    let mut world = World::new(&config, Start::Tail, lines);
    while world.began.is_none() {
        world.step(i64::MAX);
    }
    world.advance(world.now + 5 * MS);
    let now = world.now;
    let range = Range { start: 0, end: None, limit: 100_000, newest_first: true };
    let mut texts: Vec<u32> = world.store.read(range, now).into_iter().map(|(_, text)| text).collect();
    run(&mut world, 60);
    texts.extend(world.texts());
    texts.sort_unstable();
    texts.dedup();
    let logged = world.stored.iter().filter_map(|line| line.text).count();
    assert_eq!(texts.len(), logged);
}

#[test]
fn since_gives_all_that_is_held_and_goes_on() {
    for ago in [0, 3, 1000] {
        let mut world = world(Start::Since(EPOCH - ago * SECOND), steady(10, 30));
        let outcome = run(&mut world, 60);
        let expected = (30 + ago.min(10)) * 100;
        assert_eq!((outcome.lost, outcome.gaps, world.given.len() as i64), (0, 0, expected));
        assert!(world.given.is_sorted_by_key(|(time, ..)| *time));
    }
}

#[test]
fn complete_until_is_where_another_tail_can_go_on() {
    let mut first = world(Start::Tail, steady(50, 60));
    first.run(EPOCH + 20 * SECOND);
    let until = first.engine.complete_until().unwrap();
    let mut second = world(Start::Since(until), steady(50, 60));
    second.advance(first.now);
    run(&mut second, 100);
    let mut texts = [first.texts(), second.texts()].concat();
    texts.sort_unstable();
    texts.dedup();
    let began = first.texts()[0];
    assert_eq!(texts, (began..1400).collect::<Vec<_>>());
}

#[test]
fn complete_until_does_not_pass_a_gap_that_is_still_to_be_returned() {
    let mut world = world(Start::Since(EPOCH - 10 * SECOND), steady(50, 60));
    // The second gap waits, because the first one has just been returned. It is returned when the server is back, and so
    // the third one waits, which begins long before.
    let restart = |from| fault(from, from + 500, FaultKind::Restart);
    world.faults = vec![restart(15_000), restart(18_000), fault(22_000, 36_000, FaultKind::Errors), restart(30_000)];
    let mut lost = 0;
    for tenths in 100..600 {
        world.run(EPOCH + tenths * 100 * MS);
        world.take();
        let (until, given) = (world.engine.complete_until().unwrap(), sorted(&world));
        for (time, text) in &world.store.removed {
            let is_given = text.is_some_and(|text| given.binary_search(&text).is_ok());
            let is_open = *time >= until || *time < world.engine.floor;
            let is_in_gap = || world.gaps.iter().any(|gap| (gap.from..gap.until).contains(time));
            assert!(is_given || is_open || is_in_gap(), "at {tenths}: {}", (time - EPOCH) / MS);
            lost += usize::from(!is_given && !is_open);
        }
    }
    assert!(lost > 0 && world.gaps.len() == 3, "{:?}", relative(&world.gaps));
}

#[test]
fn an_empty_seed_gives_nothing_of_the_past_later() {
    // No line yet.
    let mut lines: Vec<_> = (0..100).map(|n| at(3_000 + n * 100, 100, n as u32)).collect();
    let mut new_app = world(Start::Tail, lines.clone());
    let outcome = run(&mut new_app, 40);
    assert_eq!((outcome.lost, outcome.gaps, new_app.given.len()), (0, 0, 100));
    assert!(new_app.engine.floor >= EPOCH - 12 * SECOND);
    // A date may have been rounded up. Envelopes that are no lines make no difference.
    for envelopes in [0, 1000] {
        let mut engine: Engine = Engine::new(&Config::default(), Start::Tail, 1);
        engine.next(Duration::ZERO);
        engine.page(Page { date: Some(EPOCH), envelopes, ..Page::default() }, Duration::ZERO);
        assert_eq!(engine.clock.earliest(Duration::ZERO), Some(EPOCH - SECOND));
    }

    // A node that is away, and comes back with all of its past.
    lines.extend((0..100).map(|n| at(n * 100 - 60_000, 100, 5000 + n as u32)));
    let mut away = world(Start::Tail, lines.clone());
    away.faults = vec![fault(0, 30_000, FaultKind::Away)];
    let outcome = run(&mut away, 60);
    assert_eq!((outcome.lost, outcome.gaps), (0, 0));
    assert_eq!(sorted(&away), (0..100).collect::<Vec<_>>());

    // The same, without a date to go by: it asks again.
    let mut engine: Engine = Engine::new(&Config::default(), Start::Tail, 1);
    assert!(matches!(engine.next(Duration::ZERO), Next::Read(_)));
    engine.page(Page::default(), Duration::ZERO);
    assert!(matches!(engine.next(Duration::ZERO), Next::Wait(_)));
    assert_eq!(engine.complete_until(), None);
}

#[test]
fn a_tail_looks_for_late_lines_as_far_back_as_the_horizon_though_its_seed_has_one_line() {
    let mut engine = Engine::new(&Config::default(), Start::Tail, 1);
    engine.next(Duration::ZERO);
    respond(&mut engine, &[EPOCH], Duration::ZERO);
    assert_eq!(engine.complete_until(), Some(EPOCH - 10 * SECOND));
    let now = Duration::from_millis(250);
    assert_eq!(engine.next(Duration::ZERO), Next::Wait(now));
    assert_eq!(engine.floor, EPOCH - 10 * SECOND);
}

#[test]
fn the_seed_of_a_tail_ends_after_ten_pages() {
    let config = Config { page: 20, ..Config::default() };
    let mut world = World::new(&config, Start::Tail, steady(5, 30));
    run(&mut world, 60);
    assert!(world.engine.floor > EPOCH - 2 * SECOND);
}

/// What a seed makes of a page, newest first. Only the first `new` lines of it have not been read before.
fn add(seed: &mut Seed<LogMessage>, times: &[i64], new: usize, is_full: bool) -> bool {
    seed.add(times, times[..new].iter().map(|time| line(*time, 0)).collect(), is_full)
}

fn lines_goal(count: usize) -> Seed<LogMessage> {
    Seed::new(Goal::Lines { count, size: usize::MAX })
}

#[test]
fn the_seed_asks_for_no_more_lines_than_it_misses() {
    let mut seed = lines_goal(10);
    let first = Range { start: 0, end: None, limit: 10, newest_first: true };
    assert_eq!(seed.range(1000), first);
    // Keys, and with them the order, may differ a little from the times. The next page repeats the oldest time.
    assert!(!add(&mut seed, &[30, 20, 21, 20], 4, true));
    assert_eq!(seed.range(1000), Range { end: Some(21), limit: 10 - 4 + 2, ..first });
    assert_eq!(seed.range(7).limit, 7);
}

#[test]
fn the_seed_gets_past_lines_that_it_knows_and_ends_if_there_are_no_others() {
    let mut seed = lines_goal(10);
    assert!(!add(&mut seed, &[30, 20], 2, true));
    // A page of known lines once more. It has several times if the server ignores the end.
    assert!(!add(&mut seed, &[30, 20], 0, true));
    assert_eq!(seed.range(1).end, Some(20));
    assert!(add(&mut seed, &[30, 20], 0, true));
    // A page of one time is not read again.
    let mut seed = lines_goal(10);
    assert!(!add(&mut seed, &[20, 20], 2, true));
    assert_eq!(seed.range(1).end, Some(20));
}

#[test]
fn the_seed_of_a_tail_reads_back_to_the_horizon() {
    let horizon = || Seed::new(Goal::Horizon(10));
    let mut seed = horizon();
    assert!(!add(&mut seed, &[100, 95, 97], 3, true));
    assert_eq!(seed.range(5), Range { start: 90, end: Some(96), limit: 5, newest_first: true });
    // Nothing is left between the horizon and a page of its time.
    assert!(add(&mut seed, &[90, 90], 2, true));
    let mut seed = horizon();
    assert!(add(&mut seed, &[100, 89], 2, true));
    // It has been read so far and no further, or there is no more.
    for (is_end, floor) in [(false, 95), (true, 90)] {
        let mut seed = horizon();
        add(&mut seed, &[100, 95], 2, !is_end);
        assert_eq!(seed.finish(is_end), (floor, Vec::new()));
    }
}

#[test]
fn the_seed_returns_as_many_lines_as_are_wanted() {
    let times = |(floor, lines): (i64, Vec<LogMessage>)| (floor, lines.iter().map(|line| line.timestamp).collect());
    for (count, expected) in [(3, (7, vec![7, 8, 9])), (0, (9, vec![]))] {
        // The server adds the rest of a run of one time.
        let mut seed = lines_goal(count);
        assert!(add(&mut seed, &[9, 8, 7, 7, 7], 5, true));
        assert_eq!(times(seed.finish(false)), expected);
    }
    let mut seed = Seed::new(Goal::Lines { count: 10, size: line(9, 0).size() + 1 });
    assert!(!add(&mut seed, &[9], 1, true));
    assert!(add(&mut seed, &[8], 1, true), "there are enough bytes of them");
}

// Page sizes.

#[test]
fn a_response_that_is_too_large_is_asked_for_in_smaller_pages() {
    for largest in [1, 3, 100] {
        let mut world = world(Start::Follow, steady(500, 30));
        world.largest = largest;
        world.round_trip = (2 * MS, 2 * MS);
        assert_eq!(run(&mut world, 60).lost, 0);
    }
    let mut sizes = PageSize::new(1000);
    assert!(sizes.too_large(1000) && sizes.limit() == 500);
    sizes.received(&[] as &[LogMessage]);
    assert_eq!(sizes.limit(), 1000);
    assert!(!sizes.too_large(1));
    for limit in [1, 2, 4] {
        assert_eq!(sizes.limit(), limit);
        sizes.received(&[] as &[LogMessage]);
    }
}

#[test]
fn long_lines_make_small_pages() {
    let long = vec![LogMessage::new("", vec![b'x'; 65 << 10]); 10];
    let mut sizes = PageSize::new(1000);
    (0..20).for_each(|_| sizes.received(&long));
    assert!((5..20).contains(&sizes.limit()), "{}", sizes.limit());
    (0..20).for_each(|_| sizes.received(&[line(1, 1)]));
    assert_eq!(sizes.limit(), 1000);
    // One line of 3 MiB is too long for any page.
    sizes.received(&[LogMessage::new("", vec![b'x'; 3 << 20])]);
    assert_eq!(sizes.limit(), 1);

    // In JSON a line has 400 bytes, and its payload in base64. One page does not decide alone.
    let mut sizes = PageSize::new(10_000);
    let lines = [LogMessage::new("", vec![b'x'; 600])];
    sizes.received(&lines);
    assert_eq!(sizes.limit(), (1 << 20) / 800);
    (0..20).for_each(|_| sizes.received(&lines));
    assert!((873..876).contains(&sizes.limit()), "{}", sizes.limit());
}

// Memory and time.

#[test]
fn memory_is_bounded_and_the_horizon_shorter_for_that() {
    let config = Config { memory: 500, page: 20, ..Config::default() };
    let mut world = World::new(&config, Start::Tail, steady(4, 60));
    world.run(EPOCH + 60 * SECOND);
    assert!(world.most_seen <= 500, "{}", world.most_seen);
    assert_eq!(world.given.len(), world.texts().iter().collect::<std::collections::HashSet<_>>().len());
    assert_eq!(size_of::<Key>() + 8, 24);

    // All of one time, more than are remembered: none twice.
    let mut world = World::new(&config, Start::Tail, (0..800).map(|n| at(1_000, 10, n)).collect());
    world.run(EPOCH + 60 * SECOND);
    let given = world.given.len();
    assert_eq!(world.texts().into_iter().collect::<std::collections::HashSet<_>>().len(), given);
}

#[test]
fn a_clock_that_runs_fast_does_not_outrun_the_server() {
    let mut world = world(
        Start::Tail,
        vec![at(-1000, 10, 1), at(40_000_000, 100, 2), at(40_000_300, 100, 3), at(40_000_100, 5_000, 4)],
    );
    world.drift = 900;
    world.log = None;
    run(&mut world, 40_060);
    assert_eq!(world.texts(), [2, 3, 4]);
}

#[test]
fn a_caller_that_takes_nothing_for_a_minute_loses_nothing() {
    let mut world = world(Start::Tail, steady(5, 100));
    world.faults = vec![fault(10_000, 70_000, FaultKind::Blocked)];
    let outcome = run(&mut world, 160);
    assert_eq!((outcome.lost, outcome.gaps), (0, 0));
}

#[test]
fn held_lines_are_sorted_and_released_in_time() {
    let mut lines = steady(100, 30);
    lines.extend((0..20).map(|n| at(n * 1000 + 1_050, 600, 5000 + n as u32)));
    for hold in [0, 1000] {
        let config = Config { hold: Duration::from_millis(hold), ..Config::default() };
        let mut world = World::new(&config, Start::Tail, lines.clone());
        run(&mut world, 60);
        assert_eq!(world.given.is_sorted_by_key(|(time, ..)| *time), hold > 0);
        let slowest =
            world.given.iter().filter(|(time, ..)| *time < EPOCH + 25 * SECOND).map(|(time, _, at)| at - time);
        assert!(slowest.max().unwrap() < 1600 * MS);
    }
}

#[test]
fn a_held_line_does_not_wait_for_the_next_poll_nor_is_it_lost_at_the_end() {
    let config = Config { hold: Duration::from_secs(1), ..Config::default() };
    let mut engine = Engine::new(&config, Start::Since(EPOCH), 1);
    let (mut now, mut polls) = (Duration::ZERO, 0);
    while engine.take(now).is_none() {
        match engine.next(now) {
            Next::Wait(until) => now = until,
            Next::Read(_) => {
                respond(&mut engine, &[EPOCH], now);
                polls += 1;
            }
            Next::Oldest => panic!("the line is there"),
        }
    }
    // The polls were at 0, 0.25, 0.56 and 0.95 s.
    assert!((1000..1010).contains(&now.as_millis()) && polls == 4, "{now:?}, {polls}");

    let mut engine = Engine::new(&config, Start::Since(EPOCH), 1);
    engine.next(Duration::ZERO);
    respond(&mut engine, &[EPOCH], Duration::ZERO);
    assert!(engine.take(Duration::ZERO).is_none());
    assert!(matches!(engine.take_last(), Some(Item::Lines(lines)) if lines == [line(EPOCH, 0)]));
}

#[test]
fn complete_until_does_not_pass_a_line_that_is_held_back() {
    let config = Config { hold: Duration::from_secs(60), ..Config::default() };
    let mut engine = Engine::new(&config, Start::Since(EPOCH - SECOND), 1);
    for second in 0..30 {
        let now = Duration::from_secs(second);
        while let Next::Read(range) = engine.next(now) {
            respond(&mut engine, &shown(range, now), now);
        }
        assert!(engine.take(now).is_none());
    }
    assert!(engine.windows.settled() > EPOCH + 5 * SECOND);
    assert_eq!(engine.complete_until(), Some(EPOCH));
}

#[test]
fn lines_are_sorted_by_time_and_then_as_the_server_has_them() {
    let mut outbox = Outbox::new(0);
    outbox.push(vec![line(5, 1), line(7, 2), line(5, 3)]);
    let Some(Item::Lines(lines)) = outbox.take() else { panic!("no lines") };
    assert_eq!(lines, [line(5, 1), line(5, 3), line(7, 2)]);
    assert!(outbox.take().is_none());

    // A line is released when it is as old as that, or before a gap.
    let mut outbox = Outbox::new(10);
    outbox.push(vec![line(5, 1), line(7, 2)]);
    outbox.release(Some(14));
    assert!(outbox.take().is_none() && outbox.due() == Some(15));
    outbox.release(Some(15));
    assert!(matches!(outbox.take(), Some(Item::Lines(lines)) if lines == [line(5, 1)]));
    outbox.push_gap(Gap { from: 1, until: 9 });
    assert!(matches!(outbox.take(), Some(Item::Lines(lines)) if lines == [line(7, 2)]));
    assert!(matches!(outbox.take(), Some(Item::Gap(_))));

    // So many are held back, and no more.
    let mut outbox = Outbox::new(i64::MAX);
    outbox.push((0..10_002).map(|n| line(10_002 - n, 1)).collect());
    let Some(Item::Lines(lines)) = outbox.take() else { panic!("no lines") };
    assert_eq!((lines, outbox.oldest_held()), (vec![line(1, 1), line(2, 1)], Some(3)));

    // Pages that a strict server ends between lines of one time.
    let lines: Vec<_> = (0..40).map(|n| at(-10_000 + i64::from(n / 4) * 100, 50, n)).collect();
    for page in [5, 6, 7, 1000] {
        let config = Config { page, ..Config::default() };
        let mut world = World::new(&config, Start::Follow, lines.clone());
        world.store.is_strict = true;
        world.run(EPOCH + 5 * SECOND);
        assert_eq!(sorted(&world), (0..40).collect::<Vec<_>>(), "pages of {page}");
        assert!(world.given.iter().all(|(.., at)| Some(*at) == world.began), "pages of {page}");
        if page == 1000 {
            assert_eq!(world.texts(), sorted(&world));
        }
    }
}

#[test]
fn no_answer_makes_it_panic() {
    let mut dice = Dice(5);
    for round in 0..300 {
        let start = dice.pick(&[Start::Tail, Start::Follow, Start::Since(i64::MIN), Start::Since(i64::MAX)]);
        let config = Config { page: 3, memory: 20, hold: Duration::from_secs(round % 3), ..Config::default() };
        let mut engine = Engine::new(&config, start, round);
        let mut now = Duration::ZERO;
        for _ in 0..60 {
            let mut time = || match dice.range(0, 5) {
                0 => dice.pick(&[i64::MIN, -1, 0, 1, i64::MAX - 1, i64::MAX]),
                _ => dice.range(0, 30) * SECOND,
            };
            let times = [time(), time(), time(), time()];
            let lines: Vec<_> =
                times.map(|time| line(time, 1)).into_iter().take((times[0] % 5).unsigned_abs() as usize).collect();
            match engine.next(now) {
                Next::Wait(until) => now = until.min(now + Duration::from_secs(100)),
                _ if dice.chance(100) => engine.failed(Failure::TooLarge, now),
                _ if dice.chance(100) => engine.failed(Failure::Transient { retry_after: Some(Duration::MAX) }, now),
                Next::Read(range) => {
                    assert!(range.start >= 0 && range.limit > 0 && range.end.is_none_or(|end| end > range.start));
                    engine.page(Page { envelopes: lines.len(), lines, date: Some(times[0]) }, now);
                }
                Next::Oldest => engine.oldest(Some(times[0]).filter(|_| !lines.is_empty()), now),
            }
            while engine.take(now).is_some() {}
            assert!(engine.seen.len() <= 40 || matches!(engine.step, Step::Seed(_)));
        }
    }
}

// Korifi.

#[test]
fn korifi_gives_the_newest_lines_and_ignores_the_end() {
    // 10 lines/s: all fit into a page. Its lines are never late.
    let config = Config { page: 100, recent_limit: 50, ..Config::default() };
    for start in [Start::Tail, Start::Follow] {
        let mut world = World::new(&config, start, steady(100, 60));
        world.store.is_korifi = true;
        world.log = Some(Vec::new());
        world.run(EPOCH + 50 * SECOND);
        // One is enough to learn that. Those of the beginning have an end, too.
        assert!(requests(&world, 600, true) <= 1, "{}", requests(&world, 600, true));
        // Its lines are not late, so that no older window is needed.
        assert!(world.now - world.engine.complete_until().unwrap() < 13 * SECOND);
        let outcome = run(&mut world, 100);
        assert_eq!((outcome.lost, outcome.gaps), (0, 0));
    }
    // A burst that does not fit: what it does not give can't be read, and is in a gap if no line is known any more.
    let mut lines = steady(100, 60);
    lines.extend((0..400).map(|n| at(20_000 + n / 40, 10, 7000 + n as u32)));
    let mut world = World::new(&config, Start::Tail, lines);
    world.store.is_korifi = true;
    world.run(EPOCH + 100 * SECOND);
    assert!((1..=2).contains(&world.gaps.len()), "{:?}", relative(&world.gaps));
    let lost = world.stored.iter().filter(|line| line.time > EPOCH + SECOND).filter_map(|line| {
        let is_given = world.given.iter().any(|(_, text, _)| Some(*text) == line.text);
        (!is_given).then_some(line.time)
    });
    let in_gap = |time: i64| world.gaps.iter().any(|gap| (gap.from..gap.until).contains(&time));
    assert!(lost.clone().count() > 100 && lost.clone().all(in_gap));
}
