//! A blocking client for Loggregator, the log system of Cloud Foundry: [follow](Consumer::follow) an app's logs, recent
//! and then live, [tail](Consumer::tail) only the live ones, or read only the [recent](Consumer::recent) ones, from a
//! foundation of any year since 2013. For sync tools and scripts: it needs no async runtime, and depends on none.
//!
//! # From the top
//!
//! There are a few types to know:
//!
//! * [`Consumer`]: a foundation, and how to connect to it. [`Consumer::discover`] takes the address of its API and
//!   finds the rest. [`Consumer::from_cf_cli`] needs only a `cf login`. A [`Builder`] has the settings: tokens, TLS,
//!   [proxies](Proxy), [reconnecting](Reconnect), limits, and each address by hand.
//! * [`Tail`]: messages of an app as they come, as an iterator that blocks. [`Tail::recv_timeout`], [`Tail::try_recv`] and
//!   [`Tail::receiver`] are for callers that cannot block, and [`Tail::closer`] ends it from another thread.
//! * [`LogMessage`]: one message. Its [`Display`](LogMessage#impl-Display-for-LogMessage) form is the line that
//!   `cf logs` prints.
//! * [`Envelope`]: a message, a metric or an event, with everything that is known of its source. [`Consumer::stream`]
//!   and [`Consumer::follow_stream`] return those of a [`Selection`].
//!
//! ```no_run
//! use loggregator_consumer::{Consumer, ErrorKind};
//!
//! let consumer = Consumer::discover("https://api.example.com")?;
//! let (app, token) = ("11111111-1111-1111-1111-111111111111", "bearer eyJ...");
//!
//! // Recent messages, and then all further ones.
//! for message in consumer.follow(app, token)? {
//!     match message {
//!         Ok(message) => println!("{message}"),
//!         // Messages may be missing here. The tail continues.
//!         Err(error) if error.kind() == ErrorKind::Gap => eprintln!("{error}"),
//!         Err(error) => return Err(error),
//!     }
//! }
//! # Ok::<(), loggregator_consumer::Error>(())
//! ```
//!
//! Apps are given by their GUIDs. [`Consumer::app`] finds the GUID of an app by its name.
//!
//! An access token is valid for minutes. Where that is not enough, pass an empty token to the calls, and give the
//! consumer a [`TokenSource`], which gets new ones: from a UAA, from the session of the `cf` CLI, or from a function.
//!
//! [`Consumer`] has a table of which call to use for what, and which server it reads from.
//!
//! # How the data flows
//!
//! ```text
//! builder, settings    the caller's settings
//! server/foundation    the server: set by hand, or named by the API or by the cf CLI
//! auth                 the token: fixed, or from a function, a UAA or the cf CLI
//! net/dial             the connection: DNS → TCP → proxy → TLS, with one deadline
//!  │
//!  ├─► net/websocket ─► server/{legacy,doppler} ─► wire/frames ──┐
//!  ├─► net/http ──────► server/rlp_gateway ──────► wire/sse ─────┴─► tail ─► channel ─► wire decodes ─► caller  tail
//!  ├─► net/http ──────► server/{legacy,doppler} ─► wire/multipart ─────────► recent ──► wire decodes ─► caller  recent
//!  ├─► net/http ──────► server/log_cache ────────► wire/v2, page by page ──► recent ──────────────────► caller  recent
//!  ├─► net/http ──────► server/log_cache ────────► wire/v2, page by page ──► envelopes ───────────────► caller  read
//!  ├─► net/http ──────► server/log_cache ────────► wire/{v2,promql} ────────────────────────────────► caller  meta, query
//!  ├─► net/http ──────► server/{log_cache,doppler} ► metrics ─────────────────────────────────────────► caller  metrics
//!  └─► net/http ──────► server/log_cache/polling ► wire/v2 ──► engine ─────► tail ─► channel ─────────► caller  follow
//! ```
//!
//! These are the folders and files of the sources. `testing` is a server to test against, and `fuzzing` is for tests
//! only. [`Via`] has the generations of servers. Legacy servers of April 2014 return recent messages over a websocket.
//!
//! # Threads
//!
//! A tail over a websocket has two threads. One reads and sends frames on in batches. The other sends keep-alives, and
//! closes the connection in the end. A tail over the RLP gateway has only the thread that reads. What waits between
//! that thread and the caller is [bounded](Tail). When it is full, TCP slows the server down. Messages are decoded in
//! the caller's thread. A tail of several apps with a connection for each has one thread more, which decodes and merges
//! their messages. A tail over Log Cache has one thread, which polls over one connection that is kept open, and decodes,
//! for one app or for several. A tail reconnects in a short-lived thread, because that may run the caller's functions: a
//! proxy function, a token function, the debug printer, `on_connect`. While it is not known whether [streams give
//! lines](Consumer#which-server-is-used), a tail over a stream has one thread more, which reads Log Cache.
//!
//! A call uses the caller's thread, and a short-lived thread that resolves the server's name. `recent` decodes
//! a page of Log Cache in another one while it receives the next page. A token is renewed in another short-lived thread,
//! for all callers that wait for it.
//!
//! # Many apps
//!
//! [`Consumer::tail_apps`] and [`Consumer::follow_apps`] read several apps as one tail: over one stream of the RLP gateway,
//! or in one thread that polls Log Cache. An app that is gone is named, and does not end the others:
//!
//! ```no_run
//! # let consumer = loggregator_consumer::Consumer::from_cf_cli()?;
//! let apps = ["11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"];
//! for item in consumer.follow_apps(apps, "")? {
//!     match item {
//!         Ok(message) => println!("{} {message}", message.app_id),
//!         Err(error) => eprintln!("{error}"), // see `Error::app_id`
//!     }
//! }
//! # Ok::<(), loggregator_consumer::Error>(())
//! ```
//!
//! For all apps at once, [`Consumer::stream`] reads the *firehose*, also in several processes that share it.
//!
//! To open and close the tails of apps one by one, open several tails of **one** consumer, which asks the API once and
//! renews one token for all of them. Each tail ends, fails and reconnects on its own, so decide what that means for the
//! others. A tail costs [one or two threads](#threads) and some 26 KiB; over Log Cache one thread, some 130 KiB, and
//! [requests](Polling). A thousand quiet ones make 500 requests/s there, and take 10 % of a core.
//!
//! The plainest way is a thread for each tail, as in the example `collector`. One thread for all of them waits with
//! [`Select`](crossbeam_channel::Select), which takes any number of [receivers](Tail::receiver). `ready` tells which tail
//! has something, but takes nothing. [`Tail::try_recv`] then takes items until there are no more, and, other than the
//! receiver, moves [`Tail::complete_until`]:
//!
//! ```
//! use loggregator_consumer::crossbeam_channel::{Select, TryRecvError};
//! use loggregator_consumer::{Consumer, ErrorKind, Tail};
//!
//! /// Prints what apps log, until the last of the tails has ended. One that fails does not stop the others.
//! fn print_all(consumer: &Consumer, apps: &[String]) {
//!     let mut tails: Vec<(&str, Tail)> = Vec::new();
//!     for app in apps {
//!         match consumer.tail(app, "") {
//!             Ok(tail) => tails.push((app, tail)),
//!             Err(error) => eprintln!("{app}: {error}"),
//!         }
//!     }
//!     while !tails.is_empty() {
//!         let mut select = Select::new();
//!         for (_, tail) in &tails {
//!             select.recv(tail.receiver());
//!         }
//!         let ready = select.ready();
//!         let (app, tail) = &mut tails[ready];
//!         let has_ended = loop {
//!             match tail.try_recv() {
//!                 Ok(Ok(message)) => println!("{app} {message}"),
//!                 // The tail continues.
//!                 Ok(Err(error)) if matches!(error.kind(), ErrorKind::Gap | ErrorKind::Undecodable) => {
//!                     eprintln!("{app}: {error}");
//!                 }
//!                 // The last item. `Error::is_transient` says whether to open another tail.
//!                 Ok(Err(error)) => eprintln!("{app}: no more lines: {error}"),
//!                 Err(TryRecvError::Empty) => break false,
//!                 Err(TryRecvError::Disconnected) => break true,
//!             }
//!         };
//!         if has_ended {
//!             tails.swap_remove(ready);
//!         }
//!     }
//! }
//! # use loggregator_consumer::testing::{Generation, TrafficController};
//! # use loggregator_consumer::{Builder, LogMessage, Proxy, TokenSource};
//! # let apps: Vec<String> = (0..5).map(|n| format!("{n}1111111-1111-1111-1111-111111111111")).collect();
//! # let server = TrafficController::builder().generation(Generation::Today).apps(apps[1..].to_vec()).start()?;
//! # let tokens = TokenSource::fixed(&server.issue_token());
//! # let consumer = Builder::new().api(&server.api()).tokens(tokens).proxy(Proxy::none()).build()?;
//! # std::thread::scope(|scope| {
//! #     let printing = scope.spawn(|| print_all(&consumer, &apps));
//! #     for (n, app) in apps.iter().enumerate().skip(1) {
//! #         assert!(server.wait_for_tails(app, 1, std::time::Duration::from_secs(10)));
//! #         server.send(LogMessage::new(app.as_str(), "hello"));
//! #         if n % 2 == 0 { server.drop_tails(app) } else { server.close_tails(app, Some(1000), "") };
//! #     }
//! #     printing.join().unwrap();
//! # });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Errors and endings
//!
//! There is one [`Error`] type. Its [`kind`](Error::kind) tells what the caller can do, and
//! [`is_transient`](Error::is_transient) whether the same call may succeed later. What ended badly never looks
//! like a clean end: if a response of [`recent`](Consumer::recent) is cut short, that is an error, which contains the
//! messages [received before](Error::recovered). A tail tells [how it ended](Ending). Where a tail that reconnects was
//! broken, it yields a [gap](ErrorKind::Gap) as soon as it is connected again.
//!
//! The module [`faults`] has a table of everything that can go wrong, and what the caller sees of it.
//!
//! # What can be promised, and what cannot
//!
//! In none of the protocols does a message have a number or an id, and no server lets a client resume a stream. So **on a
//! stream** ([`tail`](Consumer::tail)) no client can promise that no message is lost:
//!
//! * **A clean ending proves nothing.** Some servers of 2015 end a tail with the same close frame whether they are done
//!   or have missed a pong, and the source code of Doppler has a path on which a slow reader's stream ends with a
//!   normal close. A tail that ended cleanly may be incomplete.
//! * **A slow reader loses messages.** Legacy servers drop messages, and report it in a message with source `LGR`; the
//!   number in it is not the number of lost messages. Doppler of today cuts off a reader that has been behind for about
//!   5 s. The RLP gateway drops messages without notice.
//! * **The moment of connecting is unknown.** A server may respond with 200 before it subscribes to the app's messages.
//! * **A stream can be mute**, while Log Cache has all messages. That is [noticed](Consumer#which-server-is-used), unless
//!   it is the stream of only some of the platform's cells, or one that Log Cache does not have, such as the firehose.
//!
//! **Over Log Cache**, which holds messages, more can be promised, because they can be read again: every message that
//! becomes readable in time is returned exactly once, or lies between the times that a gap names. [`Consumer::follow`] has
//! the conditions, which are those of [`Consumer::follow_stream`], too. Nobody can promise the messages that Log Cache never got.
//!
//! **With a stream that is joined with recent messages** ([`follow`](Consumer::follow) where there is no Log Cache), the
//! messages of a break are returned as far as the server still holds them, and a gap names the rest. What a slow reader
//! loses is not noticed, as on any stream.
//!
//! **A stream and Log Cache are not exact copies of each other.** Log Cache may cut timestamps to the microsecond, and
//! remove NULs and the whitespace around a message. It keeps equal timestamps equal. For an app that has logged nothing, it
//! returns an empty response; for an app that does not exist or that the token's user may not see, its auth proxy returns
//! 404. To compare it with a tail, compare timestamps cut to the microsecond, and trimmed texts.
//!
//! A client can only make all of this visible. A bad ending is an error, a break is an item of the tail, and a partial
//! response is not a success.
//!
//! # Limits
//!
//! Nothing that a server, a proxy or a UAA sends takes unbounded memory or time.
//!
//! | what | limit | set by | beyond it |
//! |---|---|---|---|
//! | each connection: DNS, TCP, proxy, TLS and the response head; also asking the API, with all of its requests | 10 s | [`Builder::connect_timeout`] | [`Timeout`](ErrorKind::Timeout) |
//! | the response of a UAA: up to its head, and then its body | 10 s each | [`Uaa::timeout`] | [`Timeout`](ErrorKind::Timeout), in the body [`BadResponse`](ErrorKind::BadResponse); or the current token if it is still valid |
//! | a tail that receives nothing | 60 s; none on legacy servers | [`Builder::idle_timeout`] | [`Ending::TimedOut`] |
//! | recent messages, or another response of Log Cache, of which nothing arrives | 30 s | [`Builder::read_timeout`] | [`Timeout`](ErrorKind::Timeout) |
//! | recent messages in total; `metrics`, `meta`, `info`, `query` | 5 minutes | [`Builder::recent_timeout`] | [`Timeout`](ErrorKind::Timeout) |
//! | one message | 16 MiB | [`Builder::max_message_size`] | [`TooLarge`](ErrorKind::TooLarge) |
//! | one event of the RLP gateway | 4 × the limit of a message | [`Builder::max_message_size`] | [`TooLarge`](ErrorKind::TooLarge) |
//! | a page of [`Consumer::read`], [`Consumer::metrics`], in memory | 256 MiB | [`Builder::max_recent_size`] | [`TooLarge`](ErrorKind::TooLarge) |
//! | the response of [`Consumer::query`], [`Consumer::meta`], which takes up to 600 MiB in memory | 16 MiB, or less | [`Builder::max_recent_size`] | [`TooLarge`](ErrorKind::TooLarge) |
//! | the response of [`Consumer::info`] | 64 KiB | | [`TooLarge`](ErrorKind::TooLarge) |
//! | all recent messages, in memory | 256 MiB | [`Builder::max_recent_size`] | [`TooLarge`](ErrorKind::TooLarge) |
//! | number of recent messages from Log Cache | 1000 | [`Builder::recent_limit`] | older messages are left out |
//! | buffer of a tail for a slow caller | see [`Tail`] | [`Builder::max_message_size`] | TCP slows the server down |
//! | buffer of pongs and keep-alives for a server that does not read | 64 KiB | | they are dropped |
//! | the head of a response | 32 KiB (64 KiB of a websocket handshake, a proxy or a UAA), 128 headers | | [`BadResponse`](ErrorKind::BadResponse), of a proxy [`Proxy`](ErrorKind::Proxy) |
//! | the handshake of a SOCKS5 proxy | 266 bytes | | [`Proxy`](ErrorKind::Proxy) |
//! | the size of a chunk | 20 bytes | | [`Truncated`](ErrorKind::Truncated), [`Ending::Failed`] |
//! | the extensions of a chunk, the trailers of a body | 16 KiB, 32 KiB | | [`Truncated`](ErrorKind::Truncated), [`Ending::Failed`] |
//! | the body of an error response | 64 KiB | | it is cut |
//! | the response of an API; of a UAA | 1 MiB, or 8 MiB to [`Consumer::app`]; 64 KiB | | [`BadResponse`](ErrorKind::BadResponse) |
//! | all requests of [`Consumer::app`] | a minute; of each list 20 pages, and 2000 resources | [`Builder::connect_timeout`] for each request | [`Timeout`](ErrorKind::Timeout); what comes later in the list is not seen |
//! | before the first part of recent messages; the headers of a part | 64 KiB; 16 KiB | | [`BadResponse`](ErrorKind::BadResponse) |
//! | undecodable parts of recent messages (of Log Cache: in one page) | 1000 | | [`BadResponse`](ErrorKind::BadResponse) |
//! | messages in one event of the RLP gateway; fields, tags or metrics in one message | 10,000; 4096 | | [`Undecodable`](ErrorKind::Undecodable) |
//! | an address, an app's GUID or name | 1024 bytes | | [`InvalidInput`](ErrorKind::InvalidInput) |
//! | lines that a tail over Log Cache remembers | 100,000, about 24 bytes each | | its [horizon](Polling::horizon) is shorter |
//! | how long all polls of Log Cache may fail, without [`Builder::reconnect`] | 1 minute | [`Builder::idle_timeout`] | the tail ends with the last error |
//! | for how long Log Cache may reject a tail that polls | 15 s | | the tail ends with the rejection |
//! | name look-ups that were abandoned and still hang | 64 in this process | | [`Dial`](ErrorKind::Dial) |
//! | the time that a server asks to wait, [`Error::retry_after`] | 1 hour | | it counts as 1 hour |
//! | rejections of a tail that reconnects; if they may be a passing fault of the server | 3; 15 s in a row or a minute in total, and at least 3 | see [`Reconnect`] | the tail ends with the last one |
//! | for how long another server is used because the better one has no route | 10 minutes | | the better one is tried again |
//!
//! [`Consumer::recent_iter`] holds one message at a time, so it has no limit in total. Redirects are not followed.
//! Nothing is decompressed: a compressed response, which was not requested, is a
//! [`BadResponse`](ErrorKind::BadResponse).
//!
//! # Secrets
//!
//! A token, a client's secret, a user's or a proxy's password is in no error, no `Debug` form, no [debug
//! print](DebugPrinter) and no line that this crate logs (through the [`log`](https://docs.rs/log) crate, under its own
//! name). The dependencies log, too: ureq and tungstenite never see any of these secrets, but ureq logs what it reads,
//! which includes the app's messages, under its own name at the level TRACE.
//!
//! # Testing a tool
//!
//! The feature `testing` adds the module [`testing`]: a server in the test's own process that behaves like a Traffic
//! Controller of 2014, 2015 or 2016, or like a whole foundation: of 2018, without Log Cache or with Log Cache 1.x; of
//! today, with an API, a UAA, Doppler, Log Cache and the RLP gateway; or Korifi, with an API and a Log Cache of its own.
//! It has TLS, tokens and pings, and fails on demand. Its docs show each [trouble of Log
//! Cache](testing#the-troubles-of-log-cache).
//!
//! ```
//! use loggregator_consumer::testing::{Fault, Generation, TrafficController};
//! use loggregator_consumer::{Builder, ErrorKind, LogMessage, Proxy, TokenSource, Uaa};
//!
//! const APP: &str = "11111111-1111-1111-1111-111111111111";
//!
//! let foundation = TrafficController::builder().generation(Generation::Today).token("bearer good").start()?;
//! let session = Uaa::new(&foundation.api()).refresh_token(&foundation.issue_refresh_token());
//! let consumer = Builder::new()
//!     .api(&foundation.api())
//!     .tokens(TokenSource::uaa(session)?)
//!     .proxy(Proxy::none())
//!     .build()?;
//!
//! foundation.add_recent(APP, [LogMessage::new(APP, "hello").timestamp(1_000_000_000)]);
//! assert_eq!(consumer.recent(APP, "bearer good")?.len(), 1);
//! assert_eq!(consumer.recent(APP, "bearer bad").unwrap_err().kind(), ErrorKind::Unauthorized);
//!
//! // The session's token expires, and is renewed.
//! assert_eq!(consumer.recent(APP, "")?.len(), 1);
//! foundation.expire_tokens();
//! assert_eq!(consumer.recent(APP, "")?.len(), 1);
//! assert_eq!(foundation.refreshes(), 2);
//!
//! // The next response breaks off in the middle.
//! foundation.fault(Fault::Truncate);
//! assert_eq!(consumer.recent(APP, "").unwrap_err().kind(), ErrorKind::Truncated);
//!
//! // A tail loses its connection after its first message.
//! let mut tail = consumer.tail(APP, "")?;
//! foundation.send(LogMessage::new(APP, "live"));
//! foundation.drop_tails(APP);
//! assert_eq!(tail.next().unwrap()?.text(), "live");
//! assert_eq!(tail.next().unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
//! assert!(tail.next().is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Speed
//!
//! `cargo bench` compares the library with the least work that can do the same job. For a tail that is one thread that
//! reads, parses and drops (blocking tungstenite, protobuf); for `recent` it is a body that is read whole, split and
//! parsed. These are the middle ones of three runs on two cores of a virtual machine, with the server on the same machine.
//! On a busy machine they vary by a half:
//!
//! | | bare | this crate | ratio |
//! |---|---|---|---|
//! | tail, messages of 20 B | 3.2 million/s | 4.8 million/s | 1.5 |
//! | of 150 B | 2.6 million/s | 4.6 million/s | 1.8 |
//! | of 1.5 KB | 1.6 million/s | 1.7 million/s | 1.1 |
//! | of 64 KB | 24,000/s | 45,000/s | 1.0 to 2.0 |
//! | over TLS, of 20 B, 150 B, 1.5 KB, 64 KB | | | 1.5, 1.2, 0.95, 1.25 |
//! | over the RLP gateway, of 150 B | 0.67 million/s | 0.91 million/s | 1.4 |
//! | `stream` of envelopes with ten tags, over Doppler; the gateway | 0.49; 0.28 million/s | 0.40; 0.33 million/s | 0.8; 1.2 |
//! | `recent` of 100,000 messages; `recent_iter` | 0.72 million/s | 0.73; 1.0 million/s | 1.0; 1.3 |
//! | `recent` of Log Cache, 100,000 messages | 0.87 million/s | 0.77 million/s | 0.9 |
//! | one message, from the server to the caller | 33 µs | 74 µs | |
//! | a process, to its first line | 2.8 ms | 3.1 ms | 1.1 |
//!
//! Over a network, calls take as many round trips as they must: at one of 50 ms, `tail`, `follow` and `recent` have their
//! first message after 2.0 of them (4.1 with TLS 1.2), a further `recent` after 1.0, and 10,000 messages of Log Cache after
//! 12.3 (14.5 with TLS). A thousand idle tails take 26 KiB each and next to no CPU time, and are closed in 0.2 s.
//!
//! # Coming from Go
//!
//! This is for code that uses the Go package `loggregator_consumer`, which supports only foundations of before
//! September 2016. For a foundation of today, replace `Consumer::new(endpoint)?` by `Consumer::discover(api)?`. The
//! rest stays.
//!
//! | Go `loggregator_consumer` | this crate |
//! |---|---|
//! | the interface `LoggregatorConsumer` | [`Consumer`], a type. Tests use a [server](testing) instead of a fake |
//! | `New(endpoint, nil, nil)` | [`Consumer::new(endpoint)?`](Consumer::new). The endpoint is checked here, not in the first call |
//! | `New(endpoint, tlsConfig, proxy)` | `Consumer::builder(endpoint).tls_connector(c).proxy(p).build()?` |
//! | `tlsConfig *tls.Config` | [`native_tls::TlsConnector`] |
//! | `proxy func(*http.Request) (*url.URL, error)` | [`Proxy::custom(f)`](Proxy::custom), where `f` is a `Fn(&Uri) -> Result<Option<Uri>, BoxError>` |
//! | `http.ProxyURL(u)`, `http.ProxyFromEnvironment` | [`Proxy::url(u)?`](Proxy::url), [`Proxy::from_env()`](Proxy::from_env) |
//! | `Tail(appGuid, authToken)` | [`Consumer::tail`] returns a [`Tail`], which is an iterator. Its channel is [`Tail::receiver`] |
//! | `Recent(appGuid, authToken)` | [`Consumer::recent`] or [`Consumer::recent_iter`] |
//! | `Close()` | [`Tail::close`], [`Closer::close`] or dropping the [`Tail`]; [`Consumer::close`] for all of them |
//! | the error `connection does not exist` | [`ErrorKind::NotConnected`], with the same text |
//! | `SetOnConnectCallback(f)` | [`Builder::on_connect(f)`](Builder::on_connect) |
//! | `SetDebugPrinter(p)` | [`Builder::debug_printer(p)`](Builder::debug_printer) |
//! | `DebugPrinter`, `Print(title, dump)` | [`DebugPrinter`], `print(&self, title, dump)` |
//! | `SortRecent(messages)` | [`sort_recent(&mut messages)`](sort_recent): in place, stable, returns nothing |
//! | the variable `KeepAlive` | [`Builder::keep_alive(every)`](Builder::keep_alive), for one consumer. Same default: 25 s |
//! | the handshake timeout of 10 s | [`Builder::connect_timeout(d)`](Builder::connect_timeout). Same default: 10 s |
//! | `ErrNotFound`: any status of `/recent` except 200, 400 and 401 | [`ErrorKind::NotFound`] for 404 only; [`Error::status`] returns the status |
//! | `ErrBadResponse` | [`ErrorKind::BadResponse`] |
//! | `ErrBadRequest` | [`ErrorKind::BadRequest`]. As in Go, a 400 of `/recent` leads to a request of `/dump/` instead |
//! | `*errors.UnauthorizedError` (of noaa) | [`ErrorKind::Unauthorized`]; [`Error::body`] returns the server's message |
//!
//! | Go `logmessage.LogMessage` | [`LogMessage`] |
//! |---|---|
//! | `GetMessage() []byte` | `message: Vec<u8>`; [`text()`](LogMessage::text) for a string |
//! | `GetMessageType()`, `LogMessage_OUT`, `LogMessage_ERR` | `message_type`: [`MessageType::Out`], `Err` or `Unknown(i32)` |
//! | `GetTimestamp() int64` | `timestamp: i64`, nanoseconds since the epoch |
//! | `GetAppId() string` | `app_id: String` |
//! | `GetSourceId() string` | `source_id: Option<String>` |
//! | `GetSourceName() string` | `source_name: Option<String>` |
//! | `GetDrainUrls() []string` | `drain_urls: Vec<String>` |
//!
//! What differs, compared with the last version of the Go package before it was deprecated in July 2016:
//!
//! | | Go `loggregator_consumer` | this crate |
//! |---|---|---|
//! | how a tail ended | its channel is closed, whatever the reason | one of ten [endings](Ending); a bad one is an error, too |
//! | a frame that is not a log message | skipped | an error item, and the tail continues |
//! | a recent message that cannot be decoded | an empty message | skipped, with a warning in the log |
//! | a response of recent that is cut short | what was received, and no error | an error that contains what was received |
//! | a boundary in quotes (a server of May 2014) | no messages, and no error | read |
//! | a caller that pauses | the pings of a server of 2015 or 2016 go unanswered, and it hangs up after 30 s | pongs are sent anyway |
//! | memory | no limit for a message, nor for a response | bounded, and both limits can be set |
//! | time limit of recent | 10 s, body included | for connecting, for silence and in total, each can be set |
//! | two tails of one consumer | `Close` reaches only the last one | all can be closed, or each one |
//! | proxies of the environment | `HTTP_PROXY` for a tail, over TLS too; none for recent | [the usual variables](Proxy::from_env), for both |
//! | a proxy's password | not sent for a tail | sent |
//! | debug prints | contain the token | never contain it |
//!
//! # Features
//!
//! Both are off by default.
//!
//! * `testing`: the in-process foundation of the module [`testing`].
//! * `serde`: `Serialize` and `Deserialize` for [`LogMessage`], [`Envelope`] and the results of Log Cache,
//!   [`SourceMeta`], [`LogCacheInfo`] and [`QueryResult`], with its JSON, and for [`InstanceMetrics`], so that a
//!   tool can write JSON lines.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The rooms, from the top floor down. A room never imports a higher one: `tests/floors.rs` checks this.
mod builder;
mod consumer;
mod recent;
mod envelopes;
mod tail;
mod server;
mod settings;
mod auth;
mod net;
mod wire;
mod selection;
mod envelope;
mod meta;
mod metrics;
mod promql;
mod window;
mod ending;
mod error;
mod message;
mod secrets;
// Documentation only.
#[cfg(doc)]
pub mod faults;
#[cfg(any(test, all(fuzzing, feature = "testing")))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

/// The crates whose types are in this crate's API, `crossbeam-channel` 0.5 and `native-tls` 0.2, so that a tool need
/// not match their versions. `Uri` is that of `http` 1.
#[doc(no_inline)]
pub use {crossbeam_channel, native_tls};

pub use ::http::Uri;
pub use auth::{TokenSource, Uaa};
pub use builder::Builder;
pub use consumer::Consumer;
pub use ending::Ending;
pub use envelope::{Body, Envelope, EnvelopeType, GaugeValue};
pub use envelopes::Envelopes;
pub use error::{BoxError, Error, ErrorKind, Gap, Result};
pub use message::{LogMessage, MessageType, sort_recent};
pub use meta::{LogCacheInfo, SourceMeta};
pub use metrics::InstanceMetrics;
pub use net::debug::DebugPrinter;
pub use net::dial::Proxy;
pub use promql::{QueryResult, QueryValue, Sample, Series, VectorSample};
pub use recent::Recent;
pub use selection::Selection;
pub use server::app_names::App;
pub use server::foundation::{Choice, Via};
pub use settings::{Polling, Reconnect};
pub use tail::{Batch, Closer, Tail};
pub use window::Window;

/// The `User-Agent` header that servers and proxies get.
const USER_AGENT: &str = concat!("loggregator-consumer/", env!("CARGO_PKG_VERSION"));

/// Makes the examples of the README doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
