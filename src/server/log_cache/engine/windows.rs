//! [`Windows`]: how far lines have been read again at each age.

/// The age at which a stretch of time is read a second time. Most late lines have come by then.
const YOUNG: i64 = 2_000_000_000;

/// The marks of the older windows, oldest first. The first one's age is the horizon.
#[derive(Debug)]
pub(super) struct Windows {
    all: [Window; 2],
}

/// All lines before `mark` have been read when they were at least `age` old. In nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) age: i64,
    pub(super) mark: i64,
}

impl Windows {
    /// The windows of a tail that gives lines from `floor` on and has read everything at the server's time `clock`.
    pub(super) fn new(horizon: i64, floor: i64, clock: i64) -> Self {
        // With a short horizon, the young window is never behind what is settled, so that it is never due.
        let settled = clock.saturating_sub(horizon).max(floor);
        Windows { all: [horizon, YOUNG].map(|age| Window { age, mark: clock.saturating_sub(age).max(settled) }) }
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, index: usize) -> Window {
        self.all[index]
    }

    /// Nothing before it is looked for any more.
    pub(super) fn settled(&self) -> i64 {
        self.all[0].mark
    }

    /// Notes that `[from, until)` was read when the server's clock was at least `clock`. A mark moves only if the
    /// reading leaves no hole behind it, and only up to what was old enough *before* the reading: what is older by the
    /// time of the response may have become readable in between.
    pub(super) fn have_read(&mut self, from: i64, until: i64, clock: i64) {
        for window in &mut self.all {
            if from <= window.mark {
                window.mark = window.mark.max(until.min(clock.saturating_sub(window.age)));
            }
        }
        self.keep_order();
    }

    /// Moves the young window's mark without reading.
    pub(super) fn skip_young(&mut self, clock: i64) {
        for window in self.all.iter_mut().skip(1) {
            window.mark = window.mark.max(clock.saturating_sub(window.age));
        }
    }

    /// Gives up everything before `time`.
    pub(super) fn settle(&mut self, time: i64) {
        self.all[0].mark = self.all[0].mark.max(time);
        self.keep_order();
    }

    /// No mark is behind the settled one. What is before that one has been forgotten and would be returned again.
    fn keep_order(&mut self) {
        let settled = self.settled();
        self.all.iter_mut().for_each(|window| window.mark = window.mark.max(settled));
    }
}
