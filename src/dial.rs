//! The connection to the server: whether through a proxy, and through which.

mod proxy;

pub use proxy::Proxy;
pub(crate) use proxy::ProxyServer;
