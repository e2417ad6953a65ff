//! Connections to brokers: one task drives each, and its memory is bounded.
//!
//! | module | what it holds |
//! |---|---|
//! | `address` | where a broker is, and the addresses behind a name |
//! | `versions` | which versions of which APIs a broker has |
//! | `handshake` | the steps from an open socket to a connection that can be used |
//! | `connection` | requests on their way to a broker, and their answers |
//! | `wire` | frames on a socket |
//! | `pool` | the connections of a client, opened when they are used |

pub(crate) mod address;
pub(crate) mod connection;
pub(crate) mod handshake;
pub(crate) mod pool;
#[cfg(test)]
mod tests;
pub(crate) mod versions;
pub(crate) mod wire;
