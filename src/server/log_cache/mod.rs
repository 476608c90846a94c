//! Generation 3, Log Cache, which holds the newest lines of each app. They are read page by page, newest first.
//!
//! Source: log-cache-release 702107c (v3.2.12): its gateway, its auth proxy and its store. Version 1.x (March 2018 to
//! March 2019): cloudfoundry/log-cache before commit 17bd844. Korifi, which has a Log Cache of its own:
//! `api/handlers/log_cache.go`, `api/presenter/log_cache.go` and `api/repositories/log_repository.go`.

pub(crate) mod engine;
pub(crate) mod envelopes;
mod name_filter;
mod pages;
pub(crate) mod polling;
pub(crate) mod polling_group;
pub(crate) mod queries;
mod recent;
pub(crate) mod requests;
pub(crate) mod walk;
#[cfg(test)]
mod tests;

pub(crate) use recent::recent;
use requests::{finish, is_too_large, request};
