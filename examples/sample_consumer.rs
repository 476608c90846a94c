//! Prints an app's recent messages, and then its live ones until interrupted, from a foundation of 2013 to September
//! 2016 (for later ones see the example `logs`):
//!
//! ```text
//! CF_ACCESS_TOKEN="$(cf oauth-token)" APP_GUID="$(cf app my-app --guid)" \
//!     cargo run --example sample_consumer wss://loggregator.example.com:443
//! ```
//!
//! The endpoint can also come from `LOGGREGATOR_ADDR`. If `CF_API` has the address of the API, such as
//! `https://api.example.com`, `APP_GUID` may also be the name of an app. Set `SKIP_SSL_VALIDATION=1` for a foundation with a self-signed
//! certificate. The token is then not protected from an attacker on the network.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use loggregator_consumer::{Builder, Consumer, sort_recent};
use native_tls::TlsConnector;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output, such as `head`, has read enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("===== Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let endpoint = env::args().nth(1).or_else(|| env::var("LOGGREGATOR_ADDR").ok()).ok_or(
        "no endpoint: pass it as the argument or in LOGGREGATOR_ADDR, such as wss://loggregator.example.com:443",
    )?;
    let token = env::var("CF_ACCESS_TOKEN").map_err(|_| "CF_ACCESS_TOKEN is not set: `cf oauth-token` prints one")?;
    let app = env::var("APP_GUID").map_err(|_| "APP_GUID is not set: `cf app NAME --guid` prints it")?;

    let skips_validation = env::var_os("SKIP_SSL_VALIDATION").is_some();
    let tls = TlsConnector::builder().danger_accept_invalid_certs(skips_validation).build()?;
    let consumer = Consumer::builder(&endpoint).tls_connector(tls.clone()).build()?;
    // Only the API knows names.
    let app = match env::var("CF_API") {
        Ok(api) => Builder::new().api(&api).tls_connector(tls).build()?.app(&app, &token)?.guid,
        Err(_) => app,
    };

    // Unlike `println!`, `writeln!` returns an error if nobody reads the output any more.
    let mut out = io::stdout();
    writeln!(out, "===== Recent logs")?;
    let mut recent = consumer.recent(&app, &token)?;
    sort_recent(&mut recent);
    for message in recent {
        writeln!(out, "{message}")?;
    }

    writeln!(out, "===== Tailing logs")?;
    let mut tail = consumer.tail(&app, &token)?;
    for message in tail.by_ref() {
        match message {
            Ok(message) => writeln!(out, "{message}")?,
            Err(error) => eprintln!("===== {error}"),
        }
    }
    match tail.ending() {
        Some(ending) if !ending.is_clean() => Err(ending.to_string().into()),
        _ => Ok(()),
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
