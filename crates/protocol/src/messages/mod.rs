//! The messages, one file for each API: its request, its response and their parts. What consumers say to each
//! other inside them is in [`consumer_protocol`].
//!
//! Every file opens with the versions and what changed in them. Fields that a version does not have hold their
//! default after decoding; a value that is not the default is an encoding error in such a version, unless the
//! field's documentation calls it ignorable. A nullable field is null by default unless it says otherwise.
//!
//! Every struct keeps the tagged fields that this code does not know in `unknown_tagged_fields`.

pub mod alter_configs;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod consumer_protocol;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;
