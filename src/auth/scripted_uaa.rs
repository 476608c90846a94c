//! For tests: a UAA that answers as it is told to, and the tokens it gives.

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

/// When a test has failed that waits for something.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct ScriptedUaa {
    pub(crate) url: String,
    /// What it was asked, as soon as it was.
    pub(crate) requests: Receiver<Request>,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The request line and the headers, in lower case but for their values.
    pub(crate) head: Vec<String>,
    pub(crate) body: String,
}

impl ScriptedUaa {
    /// Answers each request, in a thread of its own, with the status and the body that `answer` gives.
    pub(crate) fn start(answer: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, requests) = unbounded();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (asked, answer) = (asked.clone(), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(request) = Request::read(&stream) else { return };
                    let _ = asked.send(request.clone());
                    let (status, body) = answer(&request);
                    let length = body.len();
                    let _ = write!(stream, "HTTP/1.1 {status} \r\nContent-Length: {length}\r\n\r\n{body}");
                });
            }
        });
        ScriptedUaa { url, requests }
    }

    /// Grants each request this access token.
    pub(crate) fn granting(access_token: impl Into<String>) -> Self {
        let access_token = access_token.into();
        ScriptedUaa::start(move |_| granted(&access_token))
    }

    pub(crate) fn next_request(&self) -> Request {
        self.requests.recv_timeout(DEADLINE).expect("the UAA is asked")
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

/// The answer that grants an access token.
pub(crate) fn granted(access_token: &str) -> (u16, String) {
    (200, format!(r#"{{"access_token":"{access_token}","token_type":"bearer","expires_in":599,"scope":"openid"}}"#))
}

/// A JWT that no other call gives.
pub(crate) fn jwt(issued: u64, expiry: u64) -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let id = LAST.fetch_add(1, Ordering::Relaxed);
    let payload = format!(r#"{{"jti":"{id}","iat":{issued},"exp":{expiry}}}"#);
    format!("eyJhbGciOiJub25lIn0.{}.c2lnbmF0dXJl", BASE64_URL_SAFE_NO_PAD.encode(payload))
}

/// A JWT that lives for 10 minutes from now.
pub(crate) fn fresh_jwt() -> String {
    jwt(now(), now() + 600)
}

/// A JWT that lives for 10 minutes and is about to end, but not within a test.
pub(crate) fn ending_jwt() -> String {
    jwt(now() - 575, now() + 25)
}

/// Whole seconds since the epoch, in the way of a UAA.
pub(crate) fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

pub(crate) fn dialer() -> Arc<Dialer> {
    Arc::new(Dialer::new(None, Proxy::none()))
}

/// Asks for a token in another thread.
pub(crate) fn begin(source: &TokenSource, refused: Option<&str>, cancel: &Arc<Cancel>) -> Receiver<Result<String>> {
    let (source, refused, cancel) = (source.clone(), refused.map(str::to_owned), Arc::clone(cancel));
    let (done, outcome) = unbounded();
    thread::spawn(move || {
        let _ = done.send(source.token(refused.as_deref(), &dialer(), &cancel));
    });
    outcome
}

pub(crate) fn ask(source: &TokenSource, refused: Option<&str>) -> Result<String> {
    begin(source, refused, &Cancel::new()).recv_timeout(DEADLINE).expect("a token or an error in time")
}
