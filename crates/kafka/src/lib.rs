//! The Kafka door: from a socket's bytes to calls of the engine, and back.
//!
//! `socket ─ frame ─ request ─ handler ─ engine`: [`Server`] accepts connections and spreads them over network
//! threads; a connection reads frames and keeps the order of answers; `dispatch` finds the handler
//! of a request; `handlers/<api>.rs` decodes into domain types and encodes what the engine answers.
//!
//! Architecture invariants: a handler returns a response and never touches the socket; wire types and Kafka's
//! error codes exist only in this crate.

mod connection;
mod context;
mod dispatch;
mod errors;
mod fetch_session;
mod handlers;
mod memory;
#[cfg(test)]
mod page;
mod reply;
mod server;
mod subscription;

pub use connection::Patience;
pub use context::Identity;
pub use dispatch::Api;
pub use server::{Server, ServerConfig};
pub use subscription::subscription_topics;
