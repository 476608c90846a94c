//! For tests: a UAA with scripted responses, and tokens.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use crossbeam_channel::{Receiver, unbounded};

use crate::auth::TokenSource;
use crate::error::Result;
use crate::net::cancel::Cancel;
use crate::net::dial::{Dialer, Proxy};

/// A test that waits longer than this for something fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct ScriptedUaa {
    pub(crate) url: String,
    /// The requests it has received.
    pub(crate) requests: Receiver<Request>,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The request line and the headers, with names in lower case.
    pub(crate) head: Vec<String>,
    pub(crate) body: String,
}

impl ScriptedUaa {
    /// Starts a UAA that responds to each request, in its own thread, with the status and the body that `respond`
    /// returns.
    pub(crate) fn start(respond: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (received, requests) = unbounded();
        let respond = Arc::new(respond);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (received, respond) = (received.clone(), Arc::clone(&respond));
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(request) = Request::read(&stream) else { return };
                    let _ = received.send(request.clone());
                    let (status, body) = respond(&request);
                    let length = body.len();
                    let _ = write!(stream, "HTTP/1.1 {status} \r\nContent-Length: {length}\r\n\r\n{body}");
                });
            }
        });
        ScriptedUaa { url, requests }
    }

    /// Starts a UAA that responds to each request with this access token.
    pub(crate) fn granting(access_token: impl Into<String>) -> Self {
        let access_token = access_token.into();
        ScriptedUaa::start(move |_| granted(&access_token))
    }

    pub(crate) fn next_request(&self) -> Request {
        self.requests.recv_timeout(DEADLINE).expect("a request to the UAA")
    }
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => head.push(format!("{}: {value}", name.to_lowercase())),
                None if line.trim_end().is_empty() => break,
                None => head.push(line.trim_end().to_owned()),
            }
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let mut body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        Some(Request { head, body: String::from_utf8(body).ok()? })
    }
}

/// Returns the response that grants an access token.
pub(crate) fn granted(access_token: &str) -> (u16, String) {
    (200, format!(r#"{{"access_token":"{access_token}","token_type":"bearer","expires_in":599,"scope":"openid"}}"#))
}

/// Returns a JWT that differs from all others.
pub(crate) fn jwt(issued: u64, expiry: u64) -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let id = LAST.fetch_add(1, Ordering::Relaxed);
    let payload = format!(r#"{{"jti":"{id}","iat":{issued},"exp":{expiry}}}"#);
    format!("eyJhbGciOiJub25lIn0.{}.c2lnbmF0dXJl", BASE64_URL_SAFE_NO_PAD.encode(payload))
}

/// Returns a JWT that expires 10 minutes from now.
pub(crate) fn fresh_jwt() -> String {
    jwt(now(), now() + 600)
}

/// Returns a JWT that is about to expire, but not within the time of a test.
pub(crate) fn ending_jwt() -> String {
    jwt(now() - 575, now() + 25)
}

/// Returns the whole seconds since the epoch, as a UAA does.
pub(crate) fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

pub(crate) fn dialer() -> Arc<Dialer> {
    Arc::new(Dialer::new(None, Proxy::none()))
}

/// The app of the requests that are rejected.
pub(crate) const APP: &str = "11111111-1111-1111-1111-111111111111";

/// Requests a token in another thread. A rejected one has been accepted for the same app before.
pub(crate) fn begin(source: &TokenSource, rejected: Option<&str>, cancel: &Arc<Cancel>) -> Receiver<Result<String>> {
    let (source, rejected, cancel) = (source.clone(), rejected.map(str::to_owned), Arc::clone(cancel));
    let (done, outcome) = unbounded();
    thread::spawn(move || {
        let token = match rejected.as_deref() {
            Some(rejected) => {
                source.accepted(rejected, APP);
                source.replace(rejected, APP, &dialer(), &cancel)
            }
            None => source.token(&dialer(), &cancel),
        };
        let _ = done.send(token);
    });
    outcome
}

pub(crate) fn ask(source: &TokenSource, rejected: Option<&str>) -> Result<String> {
    begin(source, rejected, &Cancel::new()).recv_timeout(DEADLINE).expect("a token or an error in time")
}
