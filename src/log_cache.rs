use crate::{Result, consumer::Call, recent::Source};
pub(crate) fn recent(_: &Call<'_>) -> Result<Source> {
    todo!()
}
