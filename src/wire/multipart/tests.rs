use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::fuzzing::input::Pieces;

const LARGE: usize = 1 << 20;

/// The parts of a body, and how it ended.
type Outcome = (Vec<Vec<u8>>, Result<(), SplitError>);

fn split(body: impl Read, boundary: &str, max_part: usize) -> Outcome {
    split_all(&mut Splitter::new(body, boundary, max_part))
}

fn split_all(splitter: &mut Splitter<impl Read>) -> Outcome {
    let mut parts = Vec::new();
    let end = loop {
        match splitter.next_part() {
            Ok(Some(_)) if parts.len() == LARGE => panic!("the body does not end"),
            Ok(Some(part)) => parts.push(part.to_vec()),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // The end does not change: an error never becomes a clean end, and nothing follows a clean end.
    for _ in 0..3 {
        match splitter.next_part() {
            Ok(None) => assert!(end.is_ok()),
            Err(_) => assert!(end.is_err()),
            Ok(Some(part)) => panic!("a part after the end: {part:?}"),
        }
    }
    (parts, end)
}

/// A reader that must not be read.
struct NoRead;

impl Read for NoRead {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("read more than needed");
    }
}

/// Encodes a body as the servers send it, with these headers before the content of each part. Also returns where each
/// part ends: after the delimiter that follows it.
fn encode(messages: &[impl AsRef<[u8]>], boundary: &str, headers: &str) -> (Vec<u8>, Vec<usize>) {
    let delimiter = format!("\r\n--{boundary}");
    let mut body = if messages.is_empty() { delimiter.clone() } else { delimiter[2..].to_owned() }.into_bytes();
    let mut ends = Vec::new();
    for (n, message) in messages.iter().enumerate() {
        body.extend_from_slice(b"\r\n");
        if n > 0 {
            ends.push(body.len());
        }
        body.extend_from_slice(headers.as_bytes());
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(message.as_ref());
        body.extend_from_slice(delimiter.as_bytes());
    }
    body.extend_from_slice(b"--");
    ends.push(body.len());
    body.extend_from_slice(b"\r\n");
    (body, ends)
}

/// Asserts that a body has these parts and ends cleanly, read at once, in two pieces cut at every position, and byte by
/// byte.
#[track_caller]
fn assert_parts(body: impl AsRef<[u8]>, expected: &[&str]) {
    let body = body.as_ref();
    let check = |body: &mut dyn Read| {
        let (parts, end) = split(body, "B", LARGE);
        end.unwrap();
        assert_eq!(parts, expected.iter().map(|part| part.as_bytes()).collect::<Vec<_>>());
    };
    for cut in 0..body.len() {
        check(&mut body[..cut].chain(&body[cut..]));
    }
    check(&mut Pieces::new(body, &[1]));
}

#[test]
fn parts_without_headers_are_read() {
    assert_parts("--B\r\n\r\none\r\n--B\r\n\r\ntwo\r\n--B--\r\n", &["one", "two"]);
}

#[test]
fn the_first_delimiter_is_at_the_start_of_the_body_or_of_a_line() {
    assert_parts("\r\n--B\r\n\r\none\r\n--B--\r\n", &["one"]);
    assert_parts("preamble --B\r\n \r\n\r\n--B\r\n\r\none\r\n--B--\r\n", &["one"]);
}

#[test]
fn a_body_without_parts_ends_cleanly() {
    assert_parts("\r\n--B--\r\n", &[]);
    assert_parts("--B--", &[]);
}

#[test]
fn headers_are_skipped() {
    assert_parts(
        "--B\r\nContent-Type: text/plain\r\nX: \r\n\r\none\r\n\r\n1\r\n--B\r\n\r\ntwo\r\n--B--\r\n",
        &["one\r\n\r\n1", "two"],
    );
}

#[test]
fn empty_parts_are_returned() {
    assert_parts("--B\r\n\r\n\r\n--B\r\nX: y\r\n\r\n\r\n--B--\r\n", &["", ""]);
}

#[test]
fn a_part_with_only_headers_is_empty() {
    // RFC 2046: the blank line belongs to the content.
    assert_parts("--B\r\n\r\n--B\r\nX: y\r\n--B\r\nX: y\r\n\r\n--B\r\n\r\none\r\n--B--\r\n", &["", "", "", "one"]);
}

#[test]
fn spaces_and_tabs_may_follow_a_delimiter() {
    assert_parts("--B \t\r\n\r\none\r\n--B\t\r\n\r\ntwo\r\n--B--\r\n", &["one", "two"]);
}

#[test]
fn bytes_that_only_resemble_a_delimiter_are_data() {
    let messages = [
        "\r\n--Bx",
        "\r\n--B-x",
        "\r\n--B -- x",
        "\r\n--B\rx",
        "\r\n--B \nx",
        "\r\n--B\n",
        "\r\n--",
        "\r\n--B\r\r\n--\r\n--B\r\r",
        "\n--B\r\n",
        "--Bx",
        "x--B--",
        "\r\n\r\n\r",
        "\r\n",
        "-",
        "\0\r\n-\r\n--b--",
    ];
    assert_parts(encode(&messages, "B", "").0, &messages);
    assert_parts(encode(&messages, "B", "X: y\r\n").0, &messages);
    for message in messages {
        assert_parts(encode(&[message], "B", "").0, &[message]);
    }
}

#[test]
fn two_dashes_close_the_body_whatever_follows() {
    assert_parts("--B\r\n\r\none\r\n--B--x\r\n--B\r\n\r\ntwo\r\n--B--\r\n", &["one"]);
}

#[test]
fn a_part_is_returned_without_a_read_beyond_its_delimiter() {
    let body = b"--B\r\n\r\none\r\n--B \r\n";
    for sizes in [[1], [LARGE]] {
        let mut splitter = Splitter::new(Pieces::new(body, &sizes).chain(NoRead), "B", LARGE);
        assert_eq!(splitter.next_part().unwrap(), Some(&b"one"[..]));
    }
}

#[test]
fn the_end_is_returned_without_a_read_beyond_its_dashes() {
    for body in ["--B\r\n\r\none\r\n--B--", "--B\r\n\r\n\r\n--B--", "\r\n--B--", "--B--"] {
        for sizes in [[1], [LARGE]] {
            split(Pieces::new(body.as_bytes(), &sizes).chain(NoRead), "B", LARGE).1.unwrap();
        }
    }
}

/// Asserts that a body that is cut at `cut` has the parts that end before the cut, and ends cleanly only if the closing
/// delimiter is complete.
fn assert_cut(messages: &[Vec<u8>], boundary: &str, headers: &str, cut: usize, sizes: &[usize]) {
    let (body, ends) = encode(messages, boundary, headers);
    let cut = cut.min(body.len());
    let (parts, end) = split(Pieces::new(&body[..cut], sizes), boundary, LARGE);
    let complete = ends.iter().filter(|&&end| end <= cut).count();
    assert_eq!(parts, messages[..complete.min(messages.len())]);
    if complete == ends.len() {
        end.unwrap();
    } else {
        assert!(matches!(end, Err(SplitError::Truncated)), "{end:?}");
    }
}

#[test]
fn a_body_cut_anywhere_is_truncated_after_its_last_complete_part() {
    let messages = ["one", "", "\r\n--B-\r\n--Bx\r\n", "\r\n--", "four"].map(|message| message.as_bytes().to_vec());
    for headers in ["", "X: y\r\n"] {
        for cut in 0..encode(&messages, "B", headers).0.len() {
            assert_cut(&messages, "B", headers, cut, &[1]);
            assert_cut(&messages, "B", headers, cut, &[LARGE]);
            assert_cut(&[], "B", headers, cut, &[LARGE]);
        }
    }
}

#[test]
fn an_interrupted_read_is_retried() {
    let (parts, end) = split(Pieces::new(b"--B\r\n\r\none\r\n--B--", &[0, 0, 1]), "B", LARGE);
    end.unwrap();
    assert_eq!(parts, [b"one"]);
}

#[test]
fn a_failed_read_is_an_error_after_the_complete_parts() {
    struct Reset;
    impl Read for Reset {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let (parts, end) = split(b"--B\r\n\r\none\r\n--B\r\n\r\ntw".chain(Reset), "B", LARGE);
    assert_eq!(parts, [b"one"]);
    assert!(matches!(end, Err(SplitError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset));
}

/// Returns how a body ends, and asserts that it is the same for reads of any size.
#[track_caller]
fn end_of(body: &str, max_part: usize) -> Result<(), SplitError> {
    let (parts, end) = split(body.as_bytes(), "B", max_part);
    for sizes in [[1], [1000]] {
        let (same_parts, same_end) = split(Pieces::new(body.as_bytes(), &sizes), "B", max_part);
        assert_eq!(same_parts, parts);
        assert_eq!(format!("{same_end:?}"), format!("{end:?}"));
    }
    end
}

#[test]
fn a_part_may_be_as_large_as_the_limit_but_no_larger() {
    for limit in [0, 1, 1000, 100_000] {
        let body = |len| format!("--B\r\n\r\n{}\r\n--B--", "x".repeat(len));
        end_of(&body(limit), limit).unwrap();
        for len in [limit + 1, limit + MAX_HEADERS + 1] {
            let end = end_of(&body(len), limit);
            assert!(matches!(end, Err(SplitError::PartTooLarge { limit: named }) if named == limit), "{end:?}");
        }
    }
}

#[test]
fn headers_are_limited() {
    let body = |len| format!("--B\r\n{}\r\n\r\n\r\n--B--", "x".repeat(len - "\r\n\r\n\r\n".len()));
    end_of(&body(MAX_HEADERS), 0).unwrap();
    assert!(matches!(end_of(&body(MAX_HEADERS + 1), LARGE), Err(SplitError::HeadersTooLong)));
    let lines = format!("--B\r\n{}", "X: y\r\n".repeat(MAX_HEADERS));
    assert!(matches!(end_of(&lines, 0), Err(SplitError::HeadersTooLong)));
}

#[test]
fn the_spaces_after_a_delimiter_are_limited_like_a_part() {
    let body = |len| format!("\r\n--B\r\n\r\n\r\n--B{}\r\n\r\n\r\n--B--", " ".repeat(len));
    end_of(&body(MAX_HEADERS - "\r\n\r\n".len()), 0).unwrap();
    assert!(matches!(end_of(&body(MAX_HEADERS - "\r\n\r\n".len() + 1), 0), Err(SplitError::PartTooLarge { .. })));
    let message = body(LARGE).replace("\r\n--B--", "");
    let body = message.replace(" \r\n", " x\r\n") + "\r\n--B--";
    end_of(&body, 2 * LARGE).unwrap();
}

#[test]
fn the_preamble_is_limited() {
    let body = |len| format!("{}\r\n--B--", "x".repeat(len - "\r\n".len()));
    end_of(&body(MAX_PREAMBLE), 0).unwrap();
    assert!(matches!(end_of(&body(MAX_PREAMBLE + 1), LARGE), Err(SplitError::PreambleTooLong)));
}

#[test]
fn a_body_may_reach_all_limits_at_once() {
    let limit = 3 * MAX_PREAMBLE;
    let header = "x".repeat(MAX_HEADERS - "\r\n\r\n\r\n".len());
    let part = format!("\r\n--B\r\n{header}\r\n\r\n{}", "y".repeat(limit));
    let body = format!("{}{part}{part}{part}\r\n--B--", "z".repeat(MAX_PREAMBLE - "\r\n".len()));
    for size in [1, 4096, LARGE] {
        let sizes = [size];
        let mut splitter = Splitter::new(Pieces::new(body.as_bytes(), &sizes), "B", limit);
        let (parts, end) = split_all(&mut splitter);
        end.unwrap();
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [limit; 3]);
        assert!(splitter.buffer.capacity() <= limit + MAX_PREAMBLE);
    }
}

#[test]
fn an_endless_body_is_an_error_in_bounded_memory() {
    for begin in ["", "--B\r\n\r\n", "--B\r\n", "--B", "--B\r\n\r\n\r\n--B"] {
        for byte in [b'x', b' ', b'-', b'\r', b'\n'] {
            let mut splitter = Splitter::new(begin.as_bytes().chain(io::repeat(byte)), "B", 100_000);
            let (_, end) = split_all(&mut splitter);
            assert!(end.is_err() || byte == b'-' && begin.ends_with("--B"));
            assert!(splitter.buffer.capacity() <= 100_000 + MAX_PREAMBLE);
        }
    }
}

#[test]
fn the_buffer_grows_with_the_data_and_not_with_the_limit() {
    let (body, _) = encode(&vec![[b'x'; 30_000]; 100], "B", "");
    let mut splitter = Splitter::new(&body[..], "B", usize::MAX);
    assert_eq!(split_all(&mut splitter).0.len(), 100);
    assert_eq!(splitter.buffer.capacity(), INITIAL_BUFFER);
}

#[test]
fn a_large_part_that_arrives_byte_by_byte_takes_linear_time() {
    // If each new byte caused another search of all bytes, this would take many minutes.
    struct Deadline<R>(R, Instant);
    impl<R: Read> Read for Deadline<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(Instant::now() < self.1, "too slow");
            self.0.read(buffer)
        }
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    for (begin, filling) in [("", "x"), ("", "\r"), ("", "\r\n--Bx"), ("", "\r\n--B x"), ("\r\n--B", " ")] {
        let message = format!("{begin}{}x", filling.repeat(LARGE / filling.len()));
        let (body, _) = encode(&[&message], "B", "");
        let (parts, end) = split(Deadline(Pieces::new(&body, &[1]), deadline), "B", LARGE + 10);
        end.unwrap();
        assert_eq!(parts, [message.as_bytes()]);
    }
}

#[test]
fn the_boundary_is_found() {
    for (content_type, expected) in [
        ("multipart/x-protobuf; boundary=abc", "abc"),
        ("multipart/x-protobuf;boundary=abc", "abc"),
        ("MultiPart/X-Protobuf \t;\t BOUNDARY=aBc \t", "aBc"),
        ("multipart/x-protobuf; boundary=\"abc\"", "abc"),
        ("multipart/x-protobuf; boundary=\"a b;c\"; charset=utf-8", "a b;c"),
        (r#"multipart/x-protobuf; boundary="a\"b\\c""#, r#"a"b\c"#),
        ("multipart/x-protobuf; charset=utf-8; boundary=abc; x=y", "abc"),
        ("multipart/x-protobuf; x=\"; boundary=no\"; boundary=abc", "abc"),
        (r#"multipart/x-protobuf; x="\"; boundary=no"; boundary=abc"#, "abc"),
        ("multipart/x-protobuf; flag; boundary=abc", "abc"),
        ("multipart/x-protobuf;; ; boundary = \"abc\" ;", "abc"),
        ("multipart/x-protobuf; xboundary=no; boundary=abc; boundary=no", "abc"),
        ("multipart/x-protobuf; boundary=----=_Part_1/2:3=", "----=_Part_1/2:3="),
        ("multipart/x-protobuf; boundary=\"abc", "abc"),
        ("multipart; boundary=abc", "abc"),
    ] {
        assert_eq!(boundary(content_type).as_deref(), Ok(expected), "{content_type}");
    }
    let longest = "b".repeat(70);
    assert_eq!(boundary(&format!("multipart/mixed; boundary={longest}")), Ok(longest));
}

#[test]
fn an_invalid_boundary_is_an_error_that_says_why() {
    let long = format!("multipart/mixed; boundary={}", "b".repeat(71));
    for (content_type, error, text) in [
        ("", BoundaryError::NotMultipart, "not multipart"),
        ("text/html; boundary=abc", BoundaryError::NotMultipart, "not multipart"),
        ("multipartial/mixed; boundary=abc", BoundaryError::NotMultipart, "not multipart"),
        ("; boundary=abc", BoundaryError::NotMultipart, "not multipart"),
        ("multipart/mixed", BoundaryError::Missing, "no boundary"),
        ("multipart/mixed; boundary", BoundaryError::Missing, "no boundary"),
        ("multipart/mixed; x=\"; boundary=abc", BoundaryError::Missing, "no boundary"),
        ("multipart/mixed; x=\"\\", BoundaryError::Missing, "no boundary"),
        ("multipart/mixed; boundary=", BoundaryError::Blank, "blank"),
        ("multipart/mixed; boundary= ; x=y", BoundaryError::Blank, "blank"),
        ("multipart/mixed; boundary=\"  \"", BoundaryError::Blank, "blank"),
        (&long, BoundaryError::TooLong, "longer than 70"),
        ("multipart/mixed; boundary=\"a\r\nb\"", BoundaryError::BadCharacter, "character"),
        ("multipart/mixed; boundary=\"a \"", BoundaryError::BadCharacter, "character"),
        ("multipart/mixed; boundary=é", BoundaryError::BadCharacter, "character"),
    ] {
        assert_eq!(boundary(content_type), Err(error), "{content_type}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// Bytes with many delimiters, prefixes of delimiters, and similar sequences.
fn bytes_like(boundary: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let prefixes: Vec<_> = (1..=delimiter.len()).map(|len| delimiter[..len].to_vec()).collect();
    let endings = &["--", "-", "\r\n", "\r", "\n", " ", "\t", "\0", "x", "\r\n\r\n", "X: y\r\n"];
    let piece = prop_oneof![
        4 => Just(delimiter),
        4 => proptest::sample::select(prefixes),
        8 => proptest::sample::select(endings).prop_map(|ending| ending.as_bytes().to_vec()),
        2 => proptest::collection::vec(any::<u8>(), 0..50),
        1 => (proptest::sample::select(b"x \r\n"), 0..40_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// The same without a complete delimiter, even together with the line ends around a message.
fn message_like(boundary: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    bytes_like(boundary).prop_map(move |bytes| {
        let mut framed = [b"\r\n", &bytes[..], b"\r\n"].concat();
        for at in (delimiter.len()..framed.len()).rev() {
            if framed[..at].ends_with(&delimiter) {
                let spaces = framed[at..].iter().take_while(|byte| b" \t".contains(byte)).count();
                if framed[at..].starts_with(b"--") || framed[at + spaces..].starts_with(b"\r\n") {
                    framed.insert(at, b'!');
                }
            }
        }
        framed[2..framed.len() - 2].to_vec()
    })
}

fn some_boundary() -> impl Strategy<Value = String> {
    // A short boundary of dashes is the most likely to be confused with the dashes around it.
    prop_oneof!["[-a]{1,3}", "[0-9A-Za-z'()+_,./:=?-]{1,70}", "[!-~]([ -~]{0,68}[!-~])?"]
}

fn boundary_and_bytes() -> impl Strategy<Value = (String, Vec<u8>)> {
    some_boundary().prop_flat_map(|boundary| (Just(boundary.clone()), bytes_like(&boundary)))
}

fn boundary_and_messages() -> impl Strategy<Value = (String, Vec<Vec<u8>>)> {
    some_boundary()
        .prop_flat_map(|boundary| (Just(boundary.clone()), proptest::collection::vec(message_like(&boundary), 0..6)))
}

fn some_headers() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&["", "X:\r\n", "Content-Type: text/plain\r\nContent-Length: 3\r\n"])
}

fn some_sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![0..4_usize, 0..200_usize, Just(LARGE)];
    // At least one size is not 0. Otherwise every read would be interrupted.
    (proptest::collection::vec(size, 0..10), 1..100_usize).prop_map(|(mut sizes, last)| {
        sizes.push(last);
        sizes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn encoded_messages_are_split_unchanged(
        (boundary, messages) in boundary_and_messages(), headers in some_headers(), sizes in some_sizes(),
    ) {
        let (body, _) = encode(&messages, &boundary, headers);
        let quoted = boundary.replace('\\', "\\\\").replace('"', "\\\"");
        let named = super::boundary(&format!("multipart/x-protobuf; boundary=\"{quoted}\"")).unwrap();
        prop_assert_eq!(&named, &boundary);
        let (parts, end) = split(Pieces::new(&body, &sizes), &named, LARGE);
        prop_assert!(end.is_ok(), "{:?}", end);
        prop_assert_eq!(parts, messages);
    }

    #[test]
    fn a_cut_body_never_ends_cleanly_and_has_only_sent_parts(
        (boundary, messages) in boundary_and_messages(), headers in some_headers(), sizes in some_sizes(),
        cut in any::<proptest::sample::Index>(),
    ) {
        let len = encode(&messages, &boundary, headers).0.len();
        assert_cut(&messages, &boundary, headers, cut.index(len + 1), &sizes);
    }

    #[test]
    fn any_bytes_take_bounded_memory_and_reads_of_any_size_agree(
        (boundary, body) in boundary_and_bytes(), sizes in some_sizes(), max_part in 0..60_000_usize,
    ) {
        let mut splitter = Splitter::new(Pieces::new(&body, &sizes), &boundary, max_part);
        let (parts, end) = split_all(&mut splitter);
        prop_assert!(parts.iter().map(|part| part.len() + boundary.len() + 4).sum::<usize>() <= body.len() + 2);
        prop_assert!(parts.iter().all(|part| part.len() <= max_part));
        prop_assert!(splitter.buffer.capacity() <= splitter.max_buffer().min(INITIAL_BUFFER.max(2 * body.len())));
        let whole = split(&body[..], &boundary, max_part);
        prop_assert_eq!((parts, format!("{end:?}")), (whole.0, format!("{:?}", whole.1)));
    }

    #[test]
    fn bodies_of_another_encoder_are_split_unchanged(
        texts in proptest::collection::vec(".*", 1..4), streams in proptest::collection::vec(bytes_like("B"), 0..4),
        sizes in some_sizes(),
    ) {
        let mut form = ::multipart::client::lazy::Multipart::new();
        for text in &texts {
            form.add_text("text", text.as_str());
        }
        for stream in &streams {
            form.add_stream("stream", &stream[..], Some("file"), None);
        }
        let mut prepared = form.prepare().unwrap();
        let boundary = prepared.boundary().to_owned();
        let mut body = Vec::new();
        prepared.read_to_end(&mut body).unwrap();
        // This encoder writes the texts first, and then the streams in reverse order.
        let sent: Vec<_> = texts.iter().map(String::as_bytes).chain(streams.iter().rev().map(Vec::as_slice)).collect();
        let (parts, end) = split(Pieces::new(&body, &sizes), &boundary, LARGE);
        prop_assert!(end.is_ok(), "{:?}", end);
        prop_assert_eq!(parts, sent);
    }

    #[test]
    fn any_content_type_has_a_valid_boundary_or_none(text in ".*", quoted in any::<bool>()) {
        let quote = if quoted { "\"" } else { "" };
        if let Ok(boundary) = super::boundary(&format!("multipart/x; boundary={quote}{text}")) {
            prop_assert!((1..=70).contains(&boundary.len()) && boundary.is_ascii());
        }
        let _ = super::boundary(&text);
    }
}
