//! The cluster and the proxy over sockets, as a client sees them.

mod admin;
mod client;
mod configs;
mod faults;
mod proxy;
mod reading;
mod versions;
mod writing;
