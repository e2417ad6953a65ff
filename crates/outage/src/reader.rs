//! Reads partitions back, without the client that is judged.

use std::net::SocketAddr;

use ottla_protocol::{
    Records, Str,
    messages::{
        fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData},
        metadata::{MetadataRequest, MetadataRequestTopic},
    },
};
use ottla_records::Batches;
use ottla_testing_internal::TestClient;

use crate::{
    failure::{Doing, Result},
    load::TOPIC,
};

/// The last versions in which topics are told by name.
const FETCH: i16 = 12;
const METADATA: i16 = 9;
const FETCH_BYTES_MAX: i32 = 8 << 20;

/// A partition's leader: its node's id, and where it is.
pub type Leader = (i32, SocketAddr);

/// The leaders of a topic's partitions, by partition.
///
/// # Errors
/// One has none.
pub fn leaders(seed: &str) -> Result<Vec<Leader>> {
    let mut client = TestClient::connect(seed.parse().doing(seed)?);
    let topic = MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let told = client.call(METADATA, &request);
    let topic = told.topics.first().ok_or("the cluster does not know the topic")?;
    let mut partitions: Vec<_> = topic.partitions.iter().collect();
    partitions.sort_by_key(|partition| partition.partition_index);
    let leader = |id: i32| {
        let broker = told.brokers.iter().find(|broker| broker.node_id == id);
        let broker = broker.ok_or_else(|| format!("nobody has the id {id}, which leads a partition"))?;
        let address = format!("{}:{}", broker.host, broker.port);
        Ok((id, address.parse().doing(address)?))
    };
    partitions.iter().map(|partition| leader(partition.leader_id)).collect()
}

/// Reads a partition from its beginning to its end: offsets and values.
///
/// # Errors
/// The leader refuses, or what it gives is damaged.
pub fn read(
    leader: SocketAddr,
    partition: i32,
    mut record: impl FnMut(i64, Option<&[u8]>) -> Result<()>,
) -> Result<()> {
    let mut client = TestClient::connect(leader);
    let mut offset = 0;
    loop {
        let data = fetch(&mut client, partition, offset)?;
        let Records::Bytes(bytes) = data.records else {
            return Err(format!("partition {partition} has no records field at {offset}").into());
        };
        let before = offset;
        // The last one may be cut off.
        for batch in Batches::new(bytes).map_while(|batch| batch.ok()) {
            let doing = || format!("partition {partition} at {offset}");
            for each in batch.records().doing(doing())? {
                let each = each.doing(doing())?;
                if each.offset.0 >= before {
                    record(each.offset.0, each.value)?;
                }
            }
            offset = offset.max(batch.header().next_offset().0);
        }
        if offset >= data.high_watermark {
            return Ok(());
        }
        if offset == before {
            return Err(format!("partition {partition} has nothing at {offset}").into());
        }
    }
}

fn fetch(client: &mut TestClient, partition: i32, offset: i64) -> Result<PartitionData> {
    let wanted = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: FETCH_BYTES_MAX,
        ..Default::default()
    };
    let topic = FetchTopic { topic: Str::from(TOPIC), partitions: vec![wanted], ..Default::default() };
    let request = FetchRequest { max_wait_ms: 100, topics: vec![topic], ..Default::default() };
    let told = client.call(FETCH, &request);
    let topic = told.responses.into_iter().next();
    let data = topic.and_then(|topic| topic.partitions.into_iter().next());
    let data =
        data.ok_or_else(|| format!("nothing of partition {partition} in an answer: {}", told.error_code))?;
    match data.error_code.is_none() {
        true => Ok(data),
        false => Err(format!("partition {partition} at {offset}: {}", data.error_code).into()),
    }
}
