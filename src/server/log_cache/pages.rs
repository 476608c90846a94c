//! [`collect_newest`]: the newest lines of an app, page by page, back in time.

use std::collections::HashMap;

use super::requests::is_too_large;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;

/// Pages back in time until there are `limit` lines, or no more. Returns them oldest first.
///
/// `read` is called with the time, in nanoseconds, before which the page ends, and with its size. It fills the page
/// with the newest lines of that range, newest first, and returns the number of envelopes in it.
///
/// Lines have no id, and several can have the same time. So a page starts with the oldest time of the previous pages
/// once more, and each line is left out as often as it is already known. That way no line is lost or returned twice,
/// even if lines are logged or expire between two pages.
///
/// If more lines than a page holds have the same time, the rest of them cannot be read from a server that never returns
/// more than requested. Log Cache does return more: all lines of that time.
pub(super) fn collect_newest(
    limit: usize,
    page_size: usize,
    max_size: usize,
    read: impl FnMut(Option<i64>, usize, &mut Page) -> Result<usize>,
) -> Result<Vec<LogMessage>> {
    let mut collected = Collected::default();
    let result = collected.page_back(limit, page_size, max_size, read);
    let mut lines = collected.newest_first;
    lines.truncate(limit);
    lines.reverse();
    match result {
        Ok(()) => Ok(lines),
        Err(error) => Err(error.with_recovered(lines)),
    }
}

/// The lines of one page, in the order of the response.
pub(super) struct Page {
    lines: Vec<LogMessage>,
    /// How much memory further lines may take, in bytes.
    remaining_size: usize,
    max_size: usize,
}

impl Page {
    pub(super) fn add(&mut self, line: LogMessage) -> Result<()> {
        let remaining_size = self.remaining_size.checked_sub(line.size());
        self.lines.push(line);
        let too_large = || {
            let text =
                format!("the recent messages are larger than {} bytes: see Builder::max_recent_size", self.max_size);
            Error::new(ErrorKind::TooLarge, text)
        };
        self.remaining_size = remaining_size.ok_or_else(too_large)?;
        Ok(())
    }
}

/// The lines of all pages so far.
#[derive(Default)]
struct Collected {
    newest_first: Vec<LogMessage>,
    size: usize,
    oldest_time: i64,
    /// The indices of the lines with the oldest time.
    oldest_lines: Vec<usize>,
}

impl Collected {
    fn page_back(
        &mut self,
        limit: usize,
        mut page_size: usize,
        max_size: usize,
        mut read: impl FnMut(Option<i64>, usize, &mut Page) -> Result<usize>,
    ) -> Result<()> {
        let mut end = None;
        // Log Cache ignores an end of 0.
        while self.newest_first.len() < limit && end.is_none_or(|end| end > 0) {
            let missing = limit - self.newest_first.len();
            let requested = missing.saturating_add(self.lines_repeated_before(end).len()).min(page_size);
            let remaining_size = max_size.saturating_sub(self.size);
            let mut page = Page { lines: Vec::new(), remaining_size, max_size };
            let result = read(end, requested, &mut page);
            let ignores_end = end.is_some_and(|end| page.lines.iter().any(|line| line.timestamp >= end));
            let new_lines = self.add_new_lines(page.lines, end);

            match result {
                Ok(count) if count < requested => return Ok(()),
                // As Korifi does: further pages would be the same.
                Ok(_) if ignores_end => {
                    log::warn!(
                        "Log Cache ignored `end_time`: there may be older recent messages, but they cannot be read"
                    );
                    return Ok(());
                }
                Ok(_) if new_lines > 0 => end = Some(self.oldest_time.saturating_add(1)),
                Ok(count) if !self.lines_repeated_before(end).is_empty() => {
                    if count == requested {
                        log::warn!(
                            "Log Cache returned {count} recent messages with the time {} (nanoseconds since 1970): \
                             there may be more of them, but they cannot be read",
                            self.oldest_time
                        );
                    }
                    end = Some(self.oldest_time);
                }
                Ok(_) => return Ok(()),
                Err(error) if is_too_large(&error) && requested > 1 => page_size = requested / 2,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the indices of the lines that a page before `end` contains once more.
    fn lines_repeated_before(&self, end: Option<i64>) -> &[usize] {
        if end.is_some_and(|end| end > self.oldest_time) { &self.oldest_lines } else { &[] }
    }

    /// Adds the lines of a page that are new. Returns their number.
    fn add_new_lines(&mut self, mut page: Vec<LogMessage>, end: Option<i64>) -> usize {
        let mut repeated: HashMap<&LogMessage, usize> = HashMap::new();
        for &index in self.lines_repeated_before(end) {
            *repeated.entry(&self.newest_first[index]).or_default() += 1;
        }
        let oldest_time = self.oldest_time;
        page.retain(|line| {
            // Only a line with the oldest time can be repeated. Looking up all others takes a while.
            let repeats = (line.timestamp == oldest_time).then(|| repeated.get_mut(line)).flatten();
            match repeats {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    false
                }
                _ => end.is_none_or(|end| line.timestamp < end),
            }
        });
        let new_lines = page.len();
        page.into_iter().for_each(|line| self.add(line));
        new_lines
    }

    fn add(&mut self, line: LogMessage) {
        if self.newest_first.is_empty() || line.timestamp < self.oldest_time {
            self.oldest_time = line.timestamp;
            self.oldest_lines.clear();
        }
        if line.timestamp == self.oldest_time {
            self.oldest_lines.push(self.newest_first.len());
        }
        self.size += line.size();
        self.newest_first.push(line);
    }
}
