//! [`TrafficController`]: starts and stops a foundation. Each of the other files has the methods of one subject.

mod foundation;
mod logs;
mod observation;
mod faults;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use native_tls::{TlsAcceptor, TlsConnector};
use parking_lot::Mutex;

use super::config::builder::TrafficControllerBuilder;
use super::config::generation::Generation;
use super::listener::accept_all;
use super::state::SharedState;
use super::state::waker::Waker;
use super::tls;

/// A Loggregator server, or a whole foundation, in this process. See the [module](crate::testing) for an overview.
///
/// It stops when it is dropped: every connection ends without notice, and all its threads are joined.
pub struct TrafficController {
    shared: Arc<SharedState>,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    accept_waker: Arc<Waker>,
    accept_thread: Mutex<Option<JoinHandle<()>>>,
}

impl TrafficController {
    /// Starts a server of 2015 that accepts any token, on a free port of 127.0.0.1.
    ///
    /// ```
    /// use loggregator_consumer::testing::TrafficController;
    ///
    /// let server = TrafficController::start()?;
    /// assert_eq!(server.endpoint(), format!("ws://{}", server.address()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the operating system provides no socket or thread.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Starts a server of this generation. All other settings have their defaults.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// assert_eq!(server.api(), format!("http://{}", server.address()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as those of [`start`](TrafficController::start).
    pub fn of(generation: Generation) -> io::Result<Self> {
        Self::builder().generation(generation).start()
    }

    /// Returns a builder, which has all the settings.
    pub fn builder() -> TrafficControllerBuilder {
        TrafficControllerBuilder::default()
    }

    /// Returns the endpoint for clients: `ws://127.0.0.1:<port>`, or `wss://` with
    /// [TLS](TrafficControllerBuilder::tls). The built-in certificate is valid for this address.
    pub fn endpoint(&self) -> String {
        self.shared.websocket_url()
    }

    /// Returns the address at which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a connector that trusts only the [built-in certificate](crate::testing::certificate_pem).
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    /// use loggregator_consumer::testing::TrafficController;
    ///
    /// let server = TrafficController::builder().tls().start()?;
    /// let socket = TcpStream::connect(server.address())?;
    /// let mut client = server.tls_connector().connect("localhost", socket)?;
    /// client.write_all(b"GET /recent?app=a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    /// let mut response = String::new();
    /// client.read_to_string(&mut response)?;
    /// assert!(response.starts_with("HTTP/1.1 200 OK\r\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If the operating system's TLS library rejects the certificate.
    pub fn tls_connector(&self) -> TlsConnector {
        tls::connector().expect("the TLS library must accept the built-in certificate")
    }

    /// Stops the server: every connection ends without notice, and all its threads are joined. A caller that waits in
    /// [`send`](TrafficController::send) returns. Everything that was recorded remains available. Dropping the server
    /// stops it too.
    pub fn stop(&self) {
        self.stop_thread(&mut self.accept_thread.lock());
    }

    /// Stops the server, unless it has been [stopped](TrafficController::stop), and starts it again at the same address.
    /// It still has everything that it had: messages, tokens, settings, faults and records.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use loggregator_consumer::testing::TrafficController;
    ///
    /// let server = TrafficController::start()?;
    /// server.stop();
    /// assert!(TcpStream::connect(server.address()).is_err());
    /// server.restart()?;
    /// assert!(TcpStream::connect(server.address()).is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the operating system provides no thread, or if another program has taken the port.
    pub fn restart(&self) -> io::Result<()> {
        let mut thread = self.accept_thread.lock();
        self.stop_thread(&mut thread);
        let listener = listen(self.address)?;
        self.shared.resume();
        *thread = Some(accept_in_thread(listener, self.acceptor.clone(), &self.accept_waker, &self.shared)?);
        Ok(())
    }

    /// The thread is locked while it is joined, so that no call returns before all threads have ended.
    fn stop_thread(&self, thread: &mut Option<JoinHandle<()>>) {
        self.shared.stop();
        self.accept_waker.wake();
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn accept_in_thread(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    waker: &Arc<Waker>,
    shared: &Arc<SharedState>,
) -> io::Result<JoinHandle<()>> {
    let (shared, waker) = (Arc::clone(shared), Arc::clone(waker));
    let run = move || accept_all(listener, acceptor, &waker, &shared);
    thread::Builder::new().name("traffic controller".into()).spawn(run)
}

impl TrafficControllerBuilder {
    /// Starts the server, by default on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// If the operating system provides no socket or thread, if the [address](TrafficControllerBuilder::address) is not
    /// free, or if the TLS library rejects the built-in certificate.
    pub fn start(self) -> io::Result<TrafficController> {
        let settings = self.settings;
        let acceptor = if settings.tls { Some(tls::acceptor()?) } else { None };
        let listener = listen(settings.address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(SharedState::new(settings, address));
        let accept_waker = Arc::new(Waker::new()?);
        let accept_thread = Mutex::new(Some(accept_in_thread(listener, acceptor.clone(), &accept_waker, &shared)?));
        Ok(TrafficController { shared, address, acceptor, accept_waker, accept_thread })
    }
}

impl Drop for TrafficController {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for TrafficController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrafficController")
            .field("endpoint", &self.endpoint())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;
    use crate::testing::Fault;

    #[test]
    fn stopping_leaves_no_thread_behind() {
        const DEADLINE: Duration = Duration::from_secs(10);
        let server = TrafficController::builder().tls().start().unwrap();
        server.fault([]);
        server.fault(Fault::SilentAccept);
        // One client is in the TLS handshake, the other is never answered.
        let mut clients = [(); 2].map(|()| TcpStream::connect(server.address()).unwrap());
        clients[0].write_all(b"\x16\x03\x01").unwrap();
        assert!(server.shared.wait_for(DEADLINE, |state| state.connections.len() == 2));
        server.stop();
        // Every thread had a reference to this.
        assert_eq!(Arc::strong_count(&server.shared), 1);
    }
}
