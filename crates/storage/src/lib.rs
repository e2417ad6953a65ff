//! What a broker needs of storage, as narrow traits, and the types they speak in.
//!
//! Here live the traits ([`Storage`], [`Log`], [`Appender`], [`TopicStore`], [`GroupStore`],
//! [`OffsetStore`]), the domain types, the byte
//! [`Budget`], and the seams through which time, chance and the disk come in ([`Clock`], [`Random`],
//! [`Disk`]). Implementations live elsewhere: on local disk in `ottla-storage-local`, in memory in
//! [`memory`].
//!
//! Architecture invariants: nothing here knows a Kafka request or error code, and nothing here does I/O
//! except [`SystemClock`] and [`SystemRandom`], which read the machine's clock and its entropy.

mod budget;
mod clock;
pub mod conformance;
mod disk;
mod groups;
mod log;
pub mod memory;
mod offsets;
mod producers;
mod random;
mod state_error;
mod topics;

pub use budget::{Budget, Reservation};
pub use clock::{Clock, ManualClock, SystemClock};
pub use disk::{Access, BLOCK, Disk, DiskFile, FileKind};
pub use groups::{GroupChange, GroupKind, GroupListing, GroupRow, GroupStore, MemberRow, StoredGroup};
pub use log::{
    AppendError, Appended, Appender, Delivery, DeliveryReceiver, EpochEnd, FileRange, Log, LogBounds,
    LogSettings, Produced, Read, ReadError, ReadPiece, ReadRequest, Stamp, Storage, StorageError, Ticket,
    TicketSender,
};
pub use offsets::{
    Expirable, Expired, ExpiringGroups, Expiry, OffsetCursor, OffsetKey, OffsetPage, OffsetRow, OffsetStore,
    OffsetTopic,
};
pub use producers::{ProducerBatch, ProducerEntry, Producers, REMEMBERED_BATCHES, Sequenced, UndoProducer};
pub use random::{Random, SeededRandom, SystemRandom};
pub use state_error::StateStoreError;
pub use topics::{CreateTopicError, NewTopic, ProducerIdBlock, TopicRow, TopicState, TopicStore};
