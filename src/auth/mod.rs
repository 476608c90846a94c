//! Tokens: their sources, their lifetime, and their renewal.
//!
//! A source is a fixed token, a function, a UAA (`uaa`), or the session of the `cf` CLI (`cf_cli`).

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
