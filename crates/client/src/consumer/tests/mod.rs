//! The state of a consumer, with brokers that are made up.

mod chunks;
mod states;

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Records,
    messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData},
};
use ottla_records::{BatchBuilder, LeaderEpoch, NewRecord, Offset};

use super::partition::Key;
use crate::budget::{Budget, Consuming, Reservation};

fn key(partition: i32) -> Key {
    Key { topic: "orders".into(), partition }
}

fn consuming(bytes: usize) -> Arc<Consuming> {
    Arc::new(Arc::new(Budget::new(bytes)).consuming())
}

fn room(consuming: &Arc<Consuming>, bytes: usize) -> Reservation {
    consuming.try_reserve(bytes).unwrap()
}

fn builder(offset: i64, epoch: i32) -> BatchBuilder {
    BatchBuilder::new().base_offset(Offset(offset)).leader_epoch(LeaderEpoch(epoch))
}

/// A batch with so many records, from this offset on and of this leader epoch.
fn batch(offset: i64, count: usize, epoch: i32) -> Bytes {
    filled(builder(offset, epoch), count)
}

fn filled(mut builder: BatchBuilder, count: usize) -> Bytes {
    for _ in 0..count {
        builder.push(&NewRecord { value: Some(b"one tea"), ..NewRecord::default() }).unwrap();
    }
    builder.build().unwrap()
}

/// What an answer says of a partition.
fn told(partition_index: i32, records: impl Into<Bytes>) -> PartitionData {
    PartitionData {
        partition_index,
        high_watermark: 1000,
        records: Records::Bytes(records.into()),
        ..PartitionData::default()
    }
}

fn failed(partition_index: i32, error_code: ErrorCode) -> PartitionData {
    PartitionData { error_code, ..told(partition_index, Bytes::new()) }
}

fn answer(session_id: i32, partitions: Vec<PartitionData>) -> FetchResponse {
    let topic = FetchableTopicResponse {
        topic: "orders".into(),
        topic_id: [1; 16].into(),
        partitions,
        ..FetchableTopicResponse::default()
    };
    FetchResponse { session_id, responses: vec![topic], ..FetchResponse::default() }
}
