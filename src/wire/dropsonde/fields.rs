//! Reads the fields of protobuf's messages.

use protobuf::CodedInputStream;

use crate::error::{BoxError, Result};

/// The wire types. Those of groups are missing: these messages have none.
pub(super) const VARINT: u32 = 0;
pub(super) const FIXED64: u32 = 1;
pub(super) const BYTES: u32 = 2;
const FIXED32: u32 = 5;

/// Returns the tag of a field.
pub(super) const fn field(number: u32, wire_type: u32) -> u32 {
    number << 3 | wire_type
}

/// The most fields in a message. Most messages have seven.
///
/// The limit bounds memory, because a field can take ten times its encoded size.
pub(super) const MAX_FIELDS: usize = 4096;

/// Reads the fields of a message in the order in which they are encoded. `read` returns false if it has not read one,
/// which is then skipped.
///
/// The generated code is not used, because it would make a message of its own first, and keep the fields that are not
/// known, such as the many tags of an envelope, in a hash map.
#[inline]
pub(super) fn read_fields<'a>(
    bytes: &'a [u8],
    mut read: impl FnMut(u32, &mut Fields<'a>) -> Result<bool, BoxError>,
) -> Result<(), BoxError> {
    let mut fields = Fields { rest: bytes };
    for _ in 0..MAX_FIELDS {
        if fields.rest.is_empty() {
            return Ok(());
        }
        let tag = u32::try_from(fields.uint64()?)?;
        if !read(tag, &mut fields)? {
            fields.skip(tag)?;
        }
    }
    if fields.rest.is_empty() { Ok(()) } else { Err(format!("there are more than {MAX_FIELDS} fields").into()) }
}

/// The fields of a message that have not been read yet. Each method reads the value of one.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

// Inlined, because they are called for each field, and from other files.
impl<'a> Fields<'a> {
    #[inline]
    pub(super) fn uint64(&mut self) -> Result<u64, BoxError> {
        // Most tags and lengths have one or two bytes.
        match *self.rest {
            [byte @ ..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(byte.into())
            }
            [low, high @ ..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u64, BoxError> {
        let mut input = CodedInputStream::from_bytes(self.rest);
        let number = input.read_raw_varint64()?;
        self.rest = &self.rest[input.pos() as usize..];
        Ok(number)
    }

    #[inline]
    pub(super) fn int64(&mut self) -> Result<i64, BoxError> {
        Ok(self.uint64()? as i64)
    }

    #[inline]
    pub(super) fn int32(&mut self) -> Result<i32, BoxError> {
        Ok(i32::try_from(self.int64()?)?)
    }

    #[inline]
    pub(super) fn sint64(&mut self) -> Result<i64, BoxError> {
        let number = self.uint64()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    #[inline]
    pub(super) fn double(&mut self) -> Result<f64, BoxError> {
        Ok(f64::from_le_bytes(self.take(8)?.try_into()?))
    }

    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], BoxError> {
        let length = self.uint64()?;
        self.take(length)
    }

    #[inline]
    pub(super) fn text(&mut self) -> Result<String, BoxError> {
        Ok(text(self.bytes()?))
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], BoxError> {
        let length = usize::try_from(length)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("it ends within a field")?;
        self.rest = rest;
        Ok(taken)
    }

    fn skip(&mut self, tag: u32) -> Result<(), BoxError> {
        if tag < field(1, 0) {
            return Err("a field has the number 0".into());
        }
        match tag & 7 {
            VARINT => drop(self.uint64()?),
            FIXED64 => drop(self.take(8)?),
            BYTES => drop(self.bytes()?),
            FIXED32 => drop(self.take(4)?),
            _ => return Err("there is a group".into()),
        }
        Ok(())
    }
}

/// Replaces what is not UTF-8.
pub(super) fn text(bytes: &[u8]) -> String {
    // Only the check whether all is UTF-8 is fast.
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes).into_owned(), str::to_owned)
}
