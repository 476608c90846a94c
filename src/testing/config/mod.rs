//! What a test configures: the settings of a server, which generation it is, and the faults of a connection.

pub(crate) mod builder;
pub(crate) mod settings;
pub(crate) mod generation;
pub(crate) mod server;
pub(crate) mod spaces;
pub(crate) mod fault;
