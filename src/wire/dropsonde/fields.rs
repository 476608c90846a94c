//! Reads the fields of protobuf's messages.

use protobuf::CodedInputStream;

use crate::error::{BoxError, Result};

/// The wire types that messages here have, and that of a group's beginning.
pub(super) const VARINT: u32 = 0;
pub(super) const FIXED64: u32 = 1;
pub(super) const BYTES: u32 = 2;
const START_GROUP: u32 = 3;

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
pub(super) fn read_fields(
    bytes: &[u8],
    mut read: impl FnMut(u32, &mut CodedInputStream<'_>) -> Result<bool, BoxError>,
) -> Result<(), BoxError> {
    let mut input = CodedInputStream::from_bytes(bytes);
    let mut fields = 0;
    while let Some(tag) = input.read_raw_tag_or_eof()? {
        if !read(tag, &mut input)? {
            // The library would take the end of the bytes for the end of a group. These formats have no groups.
            if tag & 7 == START_GROUP {
                return Err("there is a group".into());
            }
            protobuf::rt::skip_field_for_tag(tag, &mut input)?;
        }
        fields += 1;
        if fields > MAX_FIELDS {
            return Err(format!("there are more than {MAX_FIELDS} fields").into());
        }
    }
    Ok(())
}

/// Reads the length of a field, and returns its bytes.
pub(super) fn part<'a>(bytes: &'a [u8], input: &mut CodedInputStream<'_>) -> Result<&'a [u8], BoxError> {
    let length = input.read_raw_varint32()?;
    let start = input.pos() as usize;
    input.skip_raw_bytes(length)?;
    Ok(&bytes[start..input.pos() as usize])
}

// It is called for each field, from other files.
#[inline]
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
