#![allow(missing_docs, dead_code)]
use crate::{cancel::Cancel, dial::Dialer, error::Result};
use std::borrow::Cow;
use std::sync::Arc;
#[derive(Clone, Debug)]
pub struct TokenSource;
impl TokenSource {
    pub(crate) fn token(&self, _r: Option<&str>, _d: &Arc<Dialer>, _c: &Arc<Cancel>) -> Result<String> {
        todo!()
    }
}
pub(crate) fn normalised(t: &str) -> Cow<'_, str> {
    t.into()
}
