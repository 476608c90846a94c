//! [`Step`]: what an engine is doing, and what it knows of that.

use std::time::Duration;

use super::seed::Seed;
use super::seen::Key;

/// What an engine is doing.
#[derive(Debug)]
pub(super) enum Step<T> {
    Seed(Seed<T>),
    Pause,
    Read(Poll, Reading),
    /// A page without the expected anchors waits for the oldest envelope.
    Ask(Poll, Reading, Answer<T>),
}

/// One round: the front, then the older windows that are due.
#[derive(Debug)]
pub(super) struct Poll {
    pub(super) started: Duration,
    /// How long its requests took.
    pub(super) busy: Duration,
    /// Where the front begins, and how many pages it had.
    pub(super) front: i64,
    pub(super) pages: usize,
    /// The older window to look at next, and how many pages of such have been read.
    pub(super) window: usize,
    pub(super) older_pages: usize,
    pub(super) has_new: bool,
    /// An older window that is due was left to the next poll.
    pub(super) has_more: bool,
}

/// A page that is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// Of an older window; else it is the front.
    pub(super) is_older: bool,
    pub(super) from: i64,
    pub(super) end: Option<i64>,
}

/// A page that has been read.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) lines: Vec<T>,
    pub(super) keys: Vec<Key>,
    /// All lines of `[from, until)` are in it. If that is not all that was asked for, the next page begins there.
    pub(super) until: i64,
    /// A lower bound of the server's clock when it made this answer.
    pub(super) clock: i64,
}
