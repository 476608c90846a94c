//! Tokens: where they come from, how long they are valid, and how they are renewed.
//!
//! Sources: a fixed token, a function, a UAA (`uaa`), or the session of the `cf` command line (`cf_cli`).

pub(crate) mod cf_cli;
pub(crate) mod token_source;
mod lifetime;
mod token;
mod uaa;

#[cfg(test)]
mod scripted_uaa;

pub(crate) use token::{check, normalised};
pub use token_source::TokenSource;
pub use uaa::Uaa;
