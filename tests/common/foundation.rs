//! An API, a router without routes and other servers of a foundation, whose answers a test chooses.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::messages::response;
use super::{ScriptedServer, hang_up, send, tls, try_read_head};

/// A server over HTTP that answers each path as a test says, and keeps the paths of its requests.
pub struct PathServer {
    pub address: SocketAddr,
    scheme: &'static str,
    paths: Arc<Mutex<Vec<String>>>,
}

impl PathServer {
    pub fn start(respond: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::serve(false, respond)
    }

    pub fn start_tls(respond: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::serve(true, respond)
    }

    fn serve(has_tls: bool, respond: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let paths = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&paths);
        let respond = move |socket: &mut dyn ReadWrite| {
            let mut socket = socket;
            let Ok(head) = try_read_head(&mut socket) else { return };
            let path = head.split(' ').nth(1).unwrap().to_owned();
            seen.lock().unwrap().push(path.clone());
            send(&mut socket, &[&respond(&path)]);
        };
        let server = ScriptedServer::always(move |mut socket| {
            if !has_tls {
                respond(&mut socket);
                hang_up(socket);
            } else if let Some(mut stream) = tls::accept(socket) {
                respond(&mut stream);
                let _ = stream.shutdown();
            }
        });
        PathServer { address: server.address, scheme: if has_tls { "https" } else { "http" }, paths }
    }

    /// An API whose root has these links, and which has no `/v2/info`.
    pub fn api(links: &[(&str, &str)]) -> Self {
        Self::start(links_alone(links))
    }

    pub fn tls_api(links: &[(&str, &str)]) -> Self {
        Self::start_tls(links_alone(links))
    }

    /// A router that has no route to any server.
    pub fn router() -> Self {
        Self::start(|_| no_route())
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub fn websocket_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The paths of the requests since the last call.
    pub fn take_paths(&self) -> Vec<String> {
        std::mem::take(&mut self.paths.lock().unwrap())
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

fn links_alone(links: &[(&str, &str)]) -> impl Fn(&str) -> Vec<u8> + Send + Sync + 'static {
    let root = links_root(links);
    move |path| if path == "/" { response("200 OK", &[], root.as_bytes()) } else { unknown_request() }
}

/// The root of an API with these links. An empty one is null.
pub fn links_root(links: &[(&str, &str)]) -> String {
    let links = links.iter().map(|(name, href)| match href.is_empty() {
        true => format!("\"{name}\":null"),
        false => format!("\"{name}\":{{\"href\":\"{href}\"}}"),
    });
    format!("{{\"links\":{{{}}}}}", links.collect::<Vec<_>>().join(","))
}

/// What a Cloud Controller answers to a path that it does not have.
pub fn unknown_request() -> Vec<u8> {
    let body = b"{\"code\":10000,\"description\":\"Unknown request\",\"error_code\":\"CF-NotFound\"}";
    response("404 Not Found", &["Content-Type: application/json"], body)
}

/// What gorouter answers while a server has no route.
pub fn no_route() -> Vec<u8> {
    let body = b"404 Not Found: Requested route ('server.example.com') does not exist.\n";
    response("404 Not Found", &["Content-Type: text/plain; charset=utf-8", "X-Cf-Routererror: unknown_route"], body)
}

/// What gorouter answers while the server behind a route fails.
pub fn failing_endpoint() -> Vec<u8> {
    let body = b"502 Bad Gateway: Registered endpoint failed to handle the request.\n";
    response("502 Bad Gateway", &["X-Cf-Routererror: endpoint_failure"], body)
}

/// What the RLP gateway answers to every token that it cannot check, or that it rejects.
pub fn gateway_not_found() -> Vec<u8> {
    response(
        "404 Not Found",
        &["Content-Type: text/plain"],
        b"{\"error\":\"not_found\",\"message\":\"resource not found\"}",
    )
}
