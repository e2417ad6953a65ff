//! [`Admin`]: topics, and what else can be looked at and changed in a cluster.

mod alter_configs;
mod configs;
mod describe;
mod offsets;
mod partitions;
mod share;
mod topics;

pub use alter_configs::ConfigChanges;
pub use configs::{ConfigDescription, ConfigEntry, ConfigResource, ConfigSource, ConfigSynonym};
pub use describe::{BrokerDescription, ClusterDescription, PartitionDescription, TopicDescription};
pub use offsets::{DeletedRecords, ListedOffset, OffsetSpec, RecordsToDelete};
pub use partitions::NewPartitions;
pub use topics::{NewTopic, TopicListing};

use crate::{
    error::{Error, ErrorKind},
    kafka::Kafka,
};

/// How long a broker may take for what it has to wait for, in milliseconds; the call's own deadline may be earlier.
const BROKER_TIMEOUT_MS: i32 = 30_000;

/// What can be asked of a cluster as a whole, and changed in it. See [`Kafka::admin`].
///
/// A call that is about several things tells of each what became of it: one that fails does not hold up the others. What a
/// broker cannot do at the moment is tried again until the deadline of the call, which is
/// [`KafkaBuilder::call_timeout`](crate::KafkaBuilder::call_timeout). A change that ends as `Timeout` may have been made all
/// the same.
///
/// # Topics and brokers
///
/// ```
/// use ottla_client::{Kafka, admin::{NewPartitions, NewTopic}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = ottla_testing::Broker::start();
/// # let seeds = [broker.bootstrap_servers()];
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let admin = Kafka::builder(seeds).build()?.admin();
/// let orders = NewTopic::new("orders").partitions(3).replication_factor(1).setting("retention.ms", "86400000");
/// for (topic, created) in admin.create_topics([orders, NewTopic::new("events")]).await? {
///     created?;
///     println!("created {topic}");
/// }
/// for (_, grown) in admin.create_partitions([NewPartitions::increase_to("orders", 6)]).await? {
///     grown?;
/// }
/// for (_, described) in admin.describe_topics(["orders"]).await? {
///     assert_eq!(described?.partitions.len(), 6);
/// }
/// admin.delete_topics(["events"]).await?;
/// assert_eq!(admin.list_topics().await?.len(), 1);
/// println!("{} brokers", admin.describe_cluster().await?.brokers.len());
/// # Ok(())
/// # })
/// # }
/// ```
///
/// # Configurations
///
/// Those of topics, and of brokers as far as they can be changed while they run.
///
/// ```
/// use ottla_client::{Kafka, admin::{ConfigChanges, ConfigResource}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = ottla_testing::Broker::start();
/// # let seeds = [broker.bootstrap_servers()];
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # broker.create_topic("orders", 3);
/// let admin = Kafka::builder(seeds).build()?.admin();
/// let orders = ConfigResource::topic("orders");
/// let changes = ConfigChanges::of(orders.clone()).set("retention.ms", "3600000").append("cleanup.policy", "compact");
/// for (_, changed) in admin.alter_configs([changes]).await? {
///     changed?;
/// }
/// for (_, described) in admin.describe_configs([orders]).await? {
///     for entry in described?.entries.iter().filter(|entry| !entry.is_default()) {
///         println!("{} = {:?}, from {:?}", entry.name, entry.value, entry.source);
///     }
/// }
/// # Ok(())
/// # })
/// # }
/// ```
///
/// # Offsets and records
///
/// ```
/// use ottla_client::{Kafka, admin::{OffsetSpec, RecordsToDelete}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = ottla_testing::Broker::start();
/// # let seeds = [broker.bootstrap_servers()];
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # broker.create_topic("orders", 3);
/// let admin = Kafka::builder(seeds).build()?.admin();
/// let places = (0..3).map(|partition| ("orders", partition, OffsetSpec::Latest));
/// for (topic, partition, listed) in admin.list_offsets(places).await? {
///     println!("{topic} {partition} ends at {:?}", listed?.offset);
/// }
/// for (_, _, deleted) in admin.delete_records([("orders", 0, RecordsToDelete::All)]).await? {
///     println!("it begins at {} now", deleted?.low_watermark);
/// }
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    kafka: Kafka,
}

impl Admin {
    pub(crate) fn new(kafka: Kafka) -> Self {
        Self { kafka }
    }
}

/// The broker's answer leaves out something that was asked for.
fn unanswered(what: &str) -> Error {
    Error::new(ErrorKind::DataCorruption, format!("the broker's answer says nothing of {what}"))
}
