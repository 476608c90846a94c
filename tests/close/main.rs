//! `close`, in every state and in every way: it is soon done, says goodbye where it can, and leaves nothing behind.

#[path = "../common/mod.rs"]
mod common;
mod states;

mod caller_code;
mod callbacks;
mod calls;
mod ended;
mod tails;
