//! [`Parts`]: recent messages as the parts of a multipart response, from a legacy server or from Doppler.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::cancel::Cancel;
use crate::net::http::{Body, Response, body_error};
use crate::server::call::Call;
use crate::server::source::RecentSource;
use crate::wire::format::{Format, Item};
use crate::wire::multipart::{SplitError, Splitter, boundary};

const WHAT: &str = "the recent messages";

pub(crate) struct Parts {
    splitter: Splitter<Body>,
    format: Format,
    cancel: Arc<Cancel>,
}

impl Parts {
    pub(crate) fn new(call: &Call<'_>, response: Response, format: Format) -> Result<Self> {
        let content_type = response
            .content_type
            .as_deref()
            .ok_or_else(|| Error::new(ErrorKind::BadResponse, format!("{WHAT}: the response has no Content-Type")))?;
        let boundary = boundary(content_type).map_err(|cause| Error::caused(ErrorKind::BadResponse, WHAT, cause))?;
        let splitter = Splitter::new(response.body, &boundary, call.settings().max_message_size);
        Ok(Parts { splitter, format, cancel: Arc::clone(call.cancel()) })
    }
}

impl Parts {
    /// Reads the next part and adds what is in it. Returns false at the end of a complete response.
    pub(crate) fn read_items<T: Item>(&mut self, items: &mut VecDeque<Result<T>>) -> Result<bool> {
        let part = self.splitter.next_part().map_err(|error| split_error(error, &self.cancel))?;
        if let Some(part) = part {
            self.format.decode(part, items);
        }
        Ok(part.is_some())
    }
}

impl RecentSource for Parts {
    fn read(&mut self, messages: &mut VecDeque<Result<LogMessage>>) -> Result<bool> {
        self.read_items(messages)
    }
}

fn split_error(error: SplitError, cancel: &Cancel) -> Error {
    match error {
        SplitError::Io(error) => body_error(WHAT, error, cancel),
        _ if cancel.is_cancelled() => Error::closed(),
        SplitError::Truncated => Error::caused(ErrorKind::Truncated, WHAT, error),
        SplitError::PartTooLarge { .. } => {
            Error::caused(ErrorKind::TooLarge, WHAT, error).with_hint(": see Builder::max_message_size")
        }
        SplitError::PreambleTooLong | SplitError::HeadersTooLong => Error::caused(ErrorKind::BadResponse, WHAT, error),
    }
}
