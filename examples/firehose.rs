//! Counts the envelopes of a whole foundation by type and source, using the session of the `cf` CLI:
//!
//! ```text
//! cargo run --example firehose -- [--shard ID] [--every SECONDS]
//! ```
//!
//! It prints the counts since the start every 10 s until Ctrl-C, each time with an empty line behind them. The user needs
//! the scope `doppler.firehose`. Several processes with the same shard id share the envelopes between them, and each prints
//! its own part. The exit code is 0 on success, 1 on an error, and 2 on wrong arguments.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use loggregator_consumer::crossbeam_channel::RecvTimeoutError;
use loggregator_consumer::{Builder, Envelope, EnvelopeType, ErrorKind, Reconnect, Selection};

const USAGE: &str = "usage: firehose [--shard ID] [--every SECONDS]";

fn main() -> ExitCode {
    let mut selection = Selection::all();
    let mut every = 10;
    let mut args = env::args().skip(1);
    while let Some(option) = args.next() {
        match (&*option, args.next()) {
            ("--shard", Some(id)) => selection = selection.shard(id),
            ("--every", Some(seconds)) if seconds.parse().is_ok_and(|it: u64| it > 0) => {
                every = seconds.parse().unwrap_or(every);
            }
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    match count(&selection, Duration::from_secs(every)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output, such as `head`, has read enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("firehose: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The number of envelopes of each type and source.
type Counts = BTreeMap<(EnvelopeType, String), u64>;

fn count(selection: &Selection, every: Duration) -> Result<(), Box<dyn Error>> {
    let consumer = Builder::new().cf_cli()?.reconnect(Reconnect::default()).build()?;
    // Ctrl-C closes the stream, or interrupts the call that is connecting it.
    let closing = consumer.clone();
    ctrlc::set_handler(move || _ = closing.close())?;
    let mut tail = match consumer.stream(selection, "") {
        Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
        tail => tail?,
    };
    let mut counts = Counts::new();
    let mut next = Instant::now() + every;
    loop {
        match tail.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Ok(envelope)) => add(&mut counts, envelope),
            // The stream continues. If this reader is too slow, it says so here.
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::Gap | ErrorKind::Undecodable) => {
                eprintln!("firehose: {error}");
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(print(&counts)?),
        }
        if Instant::now() >= next {
            print(&counts)?;
            next += every;
        }
    }
}

fn add(counts: &mut Counts, envelope: Envelope) {
    *counts.entry((envelope.envelope_type(), envelope.source_id)).or_default() += 1;
}

fn print(counts: &Counts) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for ((envelope_type, source), count) in counts {
        writeln!(out, "{count:10} {:8} {source}", format!("{envelope_type:?}").to_lowercase())?;
    }
    writeln!(out)?;
    out.flush()
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
