use crate::{LogMessage, Result};
pub(crate) fn batch(_: &[u8], _each: &mut dyn FnMut(Result<LogMessage>)) {
    todo!()
}
