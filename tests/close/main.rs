//! `close`, in every state and in every way: it is prompt, sends a close frame where it can, and leaves nothing open.

#[path = "../common/mod.rs"]
mod common;
mod states;

mod caller_code;
mod callbacks;
mod calls;
mod ended;
mod tails;
