//! Reading partitions.
//!
//! ```no_run
//! use ottla_client::{Kafka, consumer::StartAt};
//!
//! # async fn read() -> Result<(), ottla_client::Error> {
//! let kafka = Kafka::builder(["one.example.com:9092", "two.example.com:9092"]).build()?;
//! let mut consumer = kafka.consumer().build()?;
//! consumer.assign_topic("orders", StartAt::Earliest).await?;
//! loop {
//!     let records = consumer.recv_batch().await?;
//!     for record in &records {
//!         println!("{}-{} {}: {:?}", record.topic(), record.partition(), record.offset(), record.value());
//!     }
//! }
//! # }
//! ```
//!
//! [`Consumer::recv`] gives one record at a time, and a [`Consumer`] is a `Stream` of them. [`Consumer::recv_batch`] costs
//! less: it hands out what has come of a partition, and reading that allocates nothing.
//!
//! # Memory
//!
//! Records are read from the memory that the broker's answer came into, which counts against
//! [`memory_budget`](crate::KafkaBuilder::memory_budget) until the last of them is dropped: where they are kept, nothing
//! more is fetched when the budget is used up. [`Record::into_owned`] copies a record out of it. What compressed records
//! become counts as well, and is made when the reader comes to it, a batch at a time.
//!
//! # Compression
//!
//! Each codec is a feature of this crate: `gzip`, `snappy`, `lz4`, `zstd`.
//!
//! Inside:
//!
//! | module | what it holds |
//! |---|---|
//! | `builder` | settings |
//! | `reader` | [`Consumer`], which takes what was fetched |
//! | `record` | records, which share the memory of what was fetched |
//! | `chunk` | what came of a partition with an answer, and how it is opened |
//! | `aborted` | which batches belong to aborted transactions |
//! | `driver` | the future that sends requests, and waits |
//! | `state` | all that is known, and what is to be done next |
//! | `partition` | the state of one partition |
//! | `leaders` | what news of the cluster mean |
//! | `fetch` | Fetch: requests, and what answers mean |
//! | `session` | incremental fetch sessions |
//! | `offsets` | ListOffsets and OffsetForLeaderEpoch: lookups, and what answers mean |

mod aborted;
mod builder;
mod chunk;
mod driver;
mod fetch;
mod leaders;
mod offsets;
mod partition;
mod reader;
mod record;
mod session;
mod state;
#[cfg(test)]
mod tests;

pub use builder::ConsumerBuilder;
pub use partition::{StartAt, Watermarks};
pub use reader::Consumer;
pub use record::{Header, Headers, Iter, Record, RecordRef, Records};
