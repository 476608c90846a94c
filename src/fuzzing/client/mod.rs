//! The whole client, and what it has to make of any bytes.

mod server;

use std::net::SocketAddr;

use parking_lot::Mutex;

use self::server::{Framing, Head, Script, Server};
use super::Choices;
use super::decoder::{Items, decoded_by, kinds, log_cache};
use super::events::parse_at_once;
use super::frames::read_at_once;
use super::splitter::{BOUNDARY, split_at_once};
use crate::builder::Builder;
use crate::error::{Error, ErrorKind, Result};
use crate::message::LogMessage;
use crate::net::dial::Proxy;
use crate::wire::format::Format;

/// Of what the server says, this much is enough: more envelopes than Log Cache has on a page do not fit, nor as many
/// parts that are no message as end a call.
const MAX_INPUT: usize = 2000;
/// So small that a message can be larger.
const MAX_MESSAGE_SIZE: usize = 1000;

const APP: &str = "11111111-1111-1111-1111-111111111111";
const SECRET: &str = "s3cr3t-t0k3n";
const TOKEN: &str = "bearer s3cr3t-t0k3n";

/// The whole client, and a server that says the input on a real socket: a call gives what a plain model makes of these
/// bytes, and ends well only if they do.
pub fn client(input: &[u8]) {
    // For one at a time.
    static SERVER: Mutex<Option<Server>> = Mutex::new(None);
    let mut server = SERVER.lock();
    let server = server.get_or_insert_with(Server::start);

    let mut choices = Choices(input);
    let call = Call::ALL[usize::from(choices.byte()) % Call::ALL.len()];
    let how = choices.byte();
    let head = if how & 6 == 6 { Head::InTheInput } else { Head::Of(call, Framing::ALL[usize::from(how >> 3) % 4]) };
    let is_reset = how & 1 == 1;
    let sizes = choices.sizes();
    let bytes = choices.rest();
    let bytes = &bytes[..bytes.len().min(MAX_INPUT)];
    *server.script.lock() = Script { head, sizes, bytes: bytes.to_vec(), is_reset };

    let Outcome { items, end } = call.make(server.address);
    for error in items.iter().filter_map(|item| item.as_ref().err()).chain(&end) {
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
        assert!(!error.to_string().contains("panicked"), "{error}");
        // The server never lets anybody wait.
        assert_ne!(error.kind(), ErrorKind::Timeout, "{error}");
    }
    let items = kinds(&items);
    if let Head::InTheInput = head {
        // The answer to our key is in no input, and the gateway has no clean end.
        assert!(!call.is_tail() || end.is_some(), "{call:?} {items:?}");
        return;
    }
    let Expected { items: expected, certain, is_clean } = call.model(bytes);
    let wrong = || format!("{call:?}, reset: {is_reset}: {items:?} {end:?}, not {expected:?}, clean: {is_clean}");
    if is_reset {
        // It may overtake what came before it: with the newest lines first, that is not the end of what is given.
        assert!(expected.starts_with(&items) || call == Call::LogCacheRecent, "{}", wrong());
        assert!(is_clean || end.is_some(), "{}", wrong());
    } else {
        assert!(expected.starts_with(&items) && items.len() >= certain, "{}", wrong());
        assert_eq!(is_clean, end.is_none(), "{}", wrong());
    }
}

/// What a call gave.
#[derive(Debug)]
struct Outcome {
    items: Vec<Result<LogMessage>>,
    /// Why it did not end well.
    end: Option<Error>,
}

/// What it had to give.
struct Expected {
    items: Items,
    /// How many of these, at the least.
    certain: usize,
    is_clean: bool,
}

impl Expected {
    fn exactly(items: Items, is_clean: bool) -> Self {
        Expected { certain: items.len(), items, is_clean }
    }

    /// The messages alone.
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

    fn make(self, server: SocketAddr) -> Outcome {
        let (http, websocket) = (format!("http://{server}"), format!("ws://{server}"));
        let builder = Builder::new().proxy(Proxy::none()).max_message_size(MAX_MESSAGE_SIZE);
        let consumer = match self {
            Call::LegacyTail | Call::LegacyRecent | Call::Dump => builder.legacy(&websocket),
            Call::DopplerTail | Call::DopplerRecent => builder.doppler(&websocket),
            Call::GatewayTail => builder.rlp_gateway(&http),
            // Here the limit depends on how much is read at a time.
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

    /// What it has to make of what comes behind the head.
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
                // What comes in one read with the word that it closes is given, too.
                let certain = decode_all(Format::Gateway, &batches(&events[..closing])).len();
                Expected { items: decode_all(Format::Gateway, &batches(&events)), certain, is_clean: false }
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
