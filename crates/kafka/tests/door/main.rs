//! The Kafka door over a socket: every API at every version it is served at, with what works and with every
//! error. A file for each API; [`connections`] is about requests that close theirs.

mod api_versions;
mod connections;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_topics;
mod delete_groups;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod fetch;
mod fetch_sessions;
mod find_coordinator;
mod group_memory;
mod group_restart;
mod group_store;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod members;
mod memory;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod support;
mod sync_group;
