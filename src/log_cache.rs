use crate::{Result, cancel::Cancel, consumer::Inner, endpoint::Endpoint, recent::Source};
use std::sync::Arc;
pub(crate) fn recent(_: &Inner, _: &Endpoint, _: &str, _: &str, _: &Arc<Cancel>) -> Result<Source> {
    todo!()
}
