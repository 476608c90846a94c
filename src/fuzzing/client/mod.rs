//! Fuzzes the whole client against a model.

mod server;

use std::net::SocketAddr;

use parking_lot::Mutex;

use self::server::{Framing, Head, Script, Server};
use super::decoder::{Items, decoded_by, kinds, log_cache};
use super::events::parse_at_once;
use super::frames::read_at_once;
use super::input::Choices;
use super::splitter::{BOUNDARY, split_at_once};
use crate::builder::Builder;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::dial::Proxy;
use crate::wire::format::Format;

/// The most bytes that the server sends. The limits of Log Cache's envelopes per page and of undecodable parts per call
/// are not reached with so few bytes.
const MAX_INPUT: usize = 2000;
/// The message size limit of the client. An input can contain a larger message.
const MAX_MESSAGE_SIZE: usize = 1000;

const APP: &str = "11111111-1111-1111-1111-111111111111";
const SECRET: &str = "s3cr3t-t0k3n";
const TOKEN: &str = "bearer s3cr3t-t0k3n";

/// Runs the whole client against a server that sends the input over a real socket. Checks that a call returns the same
/// as the model, and ends cleanly only if the model does.
pub fn client(input: &[u8]) {
    // Locked, because the server has one script at a time.
    static SERVER: Mutex<Option<Server>> = Mutex::new(None);
    let mut server = SERVER.lock();
    let server = server.get_or_insert_with(Server::start);

    let mut choices = Choices(input);
    let call = Call::ALL[usize::from(choices.byte()) % Call::ALL.len()];
    let flags = choices.byte();
    let framing = Framing::ALL[usize::from(flags >> 3) % 4];
    let head = if flags & 6 == 6 { Head::InTheInput } else { Head::Valid(call, framing) };
    let is_reset = flags & 1 == 1;
    let sizes = choices.sizes();
    let bytes = choices.rest();
    let bytes = &bytes[..bytes.len().min(MAX_INPUT)];
    *server.script.lock() = Script { head, sizes, bytes: bytes.to_vec(), is_reset };

    let Outcome { items, end } = call.run(server.address);
    for error in items.iter().filter_map(|item| item.as_ref().err()).chain(&end) {
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
        assert!(!error.to_string().contains("panicked"), "{error}");
        // The server never makes the client wait.
        assert_ne!(error.kind(), ErrorKind::Timeout, "{error}");
    }
    let items = kinds(&items);
    if let Head::InTheInput = head {
        // No input contains the right Sec-WebSocket-Accept, and the gateway has no clean end.
        assert!(!call.is_tail() || end.is_some(), "{call:?} {items:?}");
        return;
    }
    let Expected { items: expected, min_items, is_clean } = call.model(bytes);
    let mismatch = || format!("{call:?}, reset: {is_reset}: {items:?} {end:?}, not {expected:?}, clean: {is_clean}");
    if is_reset {
        // A reset may discard bytes that were sent before it. Log Cache sends the newest lines first, so what is then
        // missing is not at the end of the items.
        assert!(expected.starts_with(&items) || call == Call::LogCacheRecent, "{}", mismatch());
        assert!(is_clean || end.is_some(), "{}", mismatch());
    } else {
        assert!(expected.starts_with(&items) && items.len() >= min_items, "{}", mismatch());
        assert_eq!(is_clean, end.is_none(), "{}", mismatch());
    }
}

/// The result of a call.
#[derive(Debug)]
struct Outcome {
    items: Vec<Result<LogMessage>>,
    /// `None` if the call ended cleanly.
    end: Option<Error>,
}

/// The expected result of a call.
struct Expected {
    items: Items,
    /// The minimum number of these items.
    min_items: usize,
    is_clean: bool,
}

impl Expected {
    fn exactly(items: Items, is_clean: bool) -> Self {
        Expected { min_items: items.len(), items, is_clean }
    }

    /// Expects the messages, without the errors.
    fn messages(items: Items, is_clean: bool) -> Self {
        Self::exactly(items.into_iter().filter(Result::is_ok).collect(), is_clean)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    LegacyTail,
    DopplerTail,
    GatewayTail,
    LegacyRecent,
    Dump,
    DopplerRecent,
    LogCacheRecent,
}

impl Call {
    const ALL: [Call; 7] = [
        Call::LegacyTail,
        Call::DopplerTail,
        Call::GatewayTail,
        Call::LegacyRecent,
        Call::Dump,
        Call::DopplerRecent,
        Call::LogCacheRecent,
    ];

    fn is_tail(self) -> bool {
        matches!(self, Call::LegacyTail | Call::DopplerTail | Call::GatewayTail)
    }

    fn run(self, server: SocketAddr) -> Outcome {
        let (http, websocket) = (format!("http://{server}"), format!("ws://{server}"));
        let builder = Builder::new().proxy(Proxy::none()).max_message_size(MAX_MESSAGE_SIZE);
        let consumer = match self {
            Call::LegacyTail | Call::LegacyRecent | Call::Dump => builder.legacy(&websocket),
            Call::DopplerTail | Call::DopplerRecent => builder.doppler(&websocket),
            Call::GatewayTail => builder.rlp_gateway(&http),
            // For Log Cache, the exact limit depends on the sizes of the reads.
            Call::LogCacheRecent => builder.log_cache(&http).max_message_size(usize::MAX),
        };
        let consumer = consumer.build().unwrap();
        if !self.is_tail() {
            return match consumer.recent(APP, TOKEN) {
                Ok(messages) => Outcome { items: messages.into_iter().map(Ok).collect(), end: None },
                Err(error) => {
                    let items = error.recovered().iter().cloned().map(Ok).collect();
                    Outcome { items, end: Some(error) }
                }
            };
        }
        let mut tail = match consumer.tail(APP, TOKEN) {
            Ok(tail) => tail,
            Err(error) => return Outcome { items: Vec::new(), end: Some(error) },
        };
        let mut items: Vec<_> = tail.by_ref().collect();
        let is_end = |item: &Result<LogMessage>| matches!(item, Err(error) if error.kind() != ErrorKind::Undecodable);
        let end = items.pop_if(|item| is_end(item)).map(|item| item.unwrap_err());
        assert!(!items.iter().any(is_end), "{items:?}");
        assert_eq!(tail.ending().unwrap().is_clean(), end.is_none());
        Outcome { items, end }
    }

    /// Returns what this call must return for the bytes after the head.
    fn model(self, bytes: &[u8]) -> Expected {
        let decode_all = |format, frames: &[Vec<u8>]| -> Items {
            frames.iter().flat_map(|frame| kinds(&decoded_by(format, frame))).collect()
        };
        match self {
            Call::LegacyTail | Call::DopplerTail => {
                let (frames, is_clean) = read_at_once(bytes, MAX_MESSAGE_SIZE);
                Expected::exactly(decode_all(self.format(), &frames), is_clean)
            }
            Call::GatewayTail => {
                let events = parse_at_once(bytes);
                let batches = |events: &[(String, Vec<u8>)]| -> Vec<_> {
                    events
                        .iter()
                        .filter(|event| matches!(&*event.0, "" | "message"))
                        .map(|event| event.1.clone())
                        .collect()
                };
                let closing = events.iter().position(|event| event.0 == "closing").unwrap_or(events.len());
                // Events that arrive in the same read as the `closing` event are returned, too.
                let min_items = decode_all(Format::Gateway, &batches(&events[..closing])).len();
                Expected { items: decode_all(Format::Gateway, &batches(&events)), min_items, is_clean: false }
            }
            Call::LegacyRecent | Call::DopplerRecent => {
                let (parts, is_clean) = split_at_once(bytes, BOUNDARY, MAX_MESSAGE_SIZE);
                Expected::messages(decode_all(self.format(), &parts), is_clean)
            }
            Call::Dump => {
                let (frames, is_clean) = read_at_once(bytes, MAX_MESSAGE_SIZE);
                Expected::messages(decode_all(self.format(), &frames), is_clean)
            }
            Call::LogCacheRecent => {
                let (mut items, is_clean) = log_cache(bytes, &[]);
                items.reverse();
                // The response is about this app, so that its lines are, too.
                for line in items.iter_mut().flatten().filter(|line| line.app_id.is_empty()) {
                    line.app_id = APP.into();
                }
                Expected::messages(items, is_clean)
            }
        }
    }

    fn format(self) -> Format {
        match self {
            Call::LegacyTail | Call::LegacyRecent | Call::Dump => Format::Legacy,
            Call::DopplerTail | Call::DopplerRecent => Format::Doppler,
            Call::GatewayTail | Call::LogCacheRecent => Format::Gateway,
        }
    }
}
