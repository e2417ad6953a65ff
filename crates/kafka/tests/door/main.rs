//! The Kafka door over a socket: every API at every version it is served at, with what works and with every
//! error. A file for each API; [`connections`] is about requests that close theirs.

mod api_versions;
mod connections;
mod create_topics;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod fetch;
mod fetch_sessions;
mod init_producer_id;
mod list_offsets;
mod memory;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod support;
