//! Fuzzes parsing the boundary in a Content-Type.

use crate::wire::multipart::{Splitter, boundary};

/// Checks that the boundary of a Content-Type is valid: it can be written into another Content-Type, and it can split a
/// body.
pub fn content_type(input: &[u8]) {
    let Ok(boundary_text) = boundary(&String::from_utf8_lossy(input)) else { return };
    assert!((1..=70).contains(&boundary_text.len()), "{boundary_text:?}");
    assert!(boundary_text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{boundary_text:?}");

    let quoted = boundary_text.replace('\\', r"\\").replace('"', r#"\""#);
    let content_type = format!("Multipart/x; a=\"b;boundary=c\" ; BOUNDARY = \"{quoted}\"; boundary=d");
    assert_eq!(boundary(&content_type).as_deref(), Ok(&*boundary_text));

    let body = format!("--{boundary_text}\r\n\r\none\r\n--{boundary_text}--");
    let mut splitter = Splitter::new(body.as_bytes(), &boundary_text, 3);
    assert_eq!(splitter.next_part().unwrap(), Some(&b"one"[..]));
    assert_eq!(splitter.next_part().unwrap(), None);
}
