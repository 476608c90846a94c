//! Compares what one app has logged with what its tails have given. Each line comes once in a tail. Each one that never
//! came must lie inside a gap, or must have been removed while no tail had begun to look.

use std::collections::VecDeque;

use loggregator_consumer::Gap;

/// How much earlier the time of a line may be than that of one before it, at most, in nanoseconds. With room to spare.
const OUT_OF_ORDER: i64 = 60_000_000_000;

/// A line that was logged, and may still come.
struct Line {
    time: i64,
    /// The latest tail that gave it, or 0.
    tail: u32,
    /// It was removed, or logged, before a tail had begun, which had no promise to give.
    is_excused: bool,
}

/// What became of the lines: those that were sent are the sum of `returned`, `missing_in_gaps` and `excused`.
#[derive(Clone, Copy, Default)]
pub struct Totals {
    pub sent: u64,
    /// Came from at least one tail.
    pub returned: u64,
    /// Came from another tail, after a restart, once more.
    pub repeated: u64,
    pub missing_in_gaps: u64,
    /// Removed before a tail had begun to look for them.
    pub excused: u64,
    pub gaps: u64,
    /// Removed because there were too many newer ones.
    pub pruned: u64,
}

#[derive(Default)]
pub struct Ledger {
    /// By number, without a hole. The first one has the number `first`.
    lines: VecDeque<Line>,
    first: u64,
    /// The current tail.
    tail: u32,
    /// The current tail began here, and has given no line yet.
    blind_from: Option<i64>,
    /// Ranges of time in which lines may be missing.
    gaps: Vec<(i64, i64)>,
    /// Every line before it has come, or is accounted for.
    complete_until: i64,
    /// When all lines were removed last, and how many have been held since.
    emptied: i64,
    held: usize,
    pub totals: Totals,
}

impl Ledger {
    /// Records a line that is about to be logged. Returns its number. `kept` is how many lines are kept.
    pub fn sending(&mut self, time: i64, emptied: i64, kept: usize) -> u64 {
        if emptied > self.emptied {
            (self.emptied, self.held) = (emptied, 0);
        }
        self.totals.pruned += u64::from(self.held == kept);
        self.held = kept.min(self.held + 1);
        self.lines.push_back(Line { time, tail: 0, is_excused: false });
        self.totals.sent += 1;
        self.first + self.lines.len() as u64 - 1
    }

    /// Returns the time from which another tail can go on.
    pub fn since(&self) -> i64 {
        self.complete_until
    }

    /// Records that a tail begins with all lines from [`since`](Self::since) on, as far as they are still held.
    pub fn opened_since(&mut self) {
        self.tail += 1;
        self.blind_from = Some(self.complete_until);
    }

    /// Records that a tail begins with what is logged from now on.
    pub fn opened_with_new_lines(&mut self, now: i64) {
        self.tail += 1;
        self.blind_from = None;
        self.excuse(|line, _| line.time <= now);
    }

    /// Records a line of the current tail. `is_removed` tells of a line that has this time, and so many newer ones,
    /// whether it is no longer held.
    pub fn line(&mut self, number: u64, time: i64, is_removed: impl Fn(i64, usize) -> bool) -> Result<(), String> {
        if let Some(from) = self.blind_from.take() {
            self.excuse(|line, newer| line.time >= from && is_removed(line.time, newer));
        }
        let Some(index) = number.checked_sub(self.first) else {
            return Err(format!("line {number} came after the tail was complete until {}", self.complete_until));
        };
        let Some(line) = self.lines.get_mut(index as usize) else {
            return Err(format!("line {number} came, but was never logged"));
        };
        if line.time != time {
            return Err(format!("line {number} has the time {time} instead of {}", line.time));
        }
        if line.tail == self.tail {
            return Err(format!("line {number} came twice"));
        }
        match line.tail {
            0 => self.totals.returned += 1,
            _ => self.totals.repeated += 1,
        }
        line.tail = self.tail;
        Ok(())
    }

    fn excuse(&mut self, is_excused: impl Fn(&Line, usize) -> bool) {
        let count = self.lines.len();
        for (index, line) in self.lines.iter_mut().enumerate() {
            line.is_excused |= line.tail == 0 && is_excused(line, count - index - 1);
        }
    }

    /// Records a gap that the current tail reports.
    pub fn gap(&mut self, gap: &Gap, now: i64) {
        self.totals.gaps += 1;
        // Without an end, it reaches to what the new connection gives; no further, in any case, than now.
        self.gaps.push((gap.from.unwrap_or(i64::MIN), gap.until.unwrap_or(now)));
    }

    /// Records that the current tail is complete until this time. Returns the numbers of the lines before it that never
    /// came, and for which there is no reason.
    pub fn complete(&mut self, until: Option<i64>) -> Vec<String> {
        self.complete_until = self.complete_until.max(until.unwrap_or(i64::MIN));
        let mut lost = Vec::new();
        while let Some(line) = self.lines.front().filter(|line| line.time < self.complete_until) {
            match self.account(line) {
                Account::Came => {}
                Account::InGap => self.totals.missing_in_gaps += 1,
                Account::Excused => self.totals.excused += 1,
                Account::Lost => lost.push(format!(
                    "line {} of {} never came, is in none of the gaps {:?}, and the tail is complete until {}",
                    self.first, line.time, self.gaps, self.complete_until
                )),
            }
            self.lines.pop_front();
            self.first += 1;
        }
        let oldest = self.lines.front().map_or(self.complete_until, |line| line.time).saturating_sub(OUT_OF_ORDER);
        self.gaps.retain(|(_, until)| *until >= oldest);
        lost
    }

    /// Returns the lines that have not come and for which there is no reason yet.
    pub fn open(&self) -> Vec<u64> {
        let open = self.lines.iter().enumerate().filter(|(_, line)| matches!(self.account(line), Account::Lost));
        open.map(|(index, _)| self.first + index as u64).collect()
    }

    /// Accounts for the lines that are left, when all have come.
    pub fn end(&mut self) {
        self.complete(Some(i64::MAX));
    }

    fn account(&self, line: &Line) -> Account {
        if line.tail > 0 {
            Account::Came
        } else if self.gaps.iter().any(|(from, until)| (*from..*until).contains(&line.time)) {
            Account::InGap
        } else if line.is_excused {
            Account::Excused
        } else {
            Account::Lost
        }
    }
}

enum Account {
    Came,
    InGap,
    Excused,
    Lost,
}
