//! The one table from the engine's errors to Kafka's codes.

use ottla_engine::{CreateError, DeleteError, ProduceError};
use ottla_protocol::ErrorCode;
use ottla_records::{BatchError, RecordFault};
use ottla_storage::{AppendError, ReadError, StateStoreError, StorageError};

pub(crate) fn produce(error: &ProduceError) -> ErrorCode {
    match error {
        ProduceError::UnknownPartition(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ProduceError::Batch(error) => batch(error),
    }
}

fn batch(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::BadLength { .. } | BatchError::Crc { .. } => ErrorCode::CORRUPT_MESSAGE,
        BatchError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        BatchError::AppendTime | BatchError::Timestamp { .. } => ErrorCode::INVALID_TIMESTAMP,
        BatchError::Record { fault, .. } => record(fault),
        // A batch that is cut off counts as none, as it does in Kafka.
        BatchError::Torn { .. }
        | BatchError::NoBatch
        | BatchError::MoreThanOneBatch { .. }
        | BatchError::OldMagic { .. }
        | BatchError::UnknownMagic { .. }
        | BatchError::RecordCount { .. }
        | BatchError::LastOffsetDelta { .. }
        | BatchError::ControlBatch
        | BatchError::DeleteHorizon
        | BatchError::UnknownCompression { .. }
        | BatchError::Compressed { .. }
        | BatchError::Producer { .. }
        | BatchError::TransactionalWithoutProducer
        | BatchError::AfterLastRecord { .. } => ErrorCode::INVALID_RECORD,
    }
}

fn record(fault: &RecordFault) -> ErrorCode {
    match fault {
        RecordFault::Timestamp { .. } => ErrorCode::INVALID_TIMESTAMP,
        RecordFault::CutOff
        | RecordFault::Layout
        | RecordFault::NegativeLength { .. }
        | RecordFault::OffsetDelta { .. }
        | RecordFault::NoKey => ErrorCode::INVALID_RECORD,
    }
}

pub(crate) fn append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        AppendError::StaleProducerEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
        AppendError::DiskFull | AppendError::Failed(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        AppendError::Deleted => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        AppendError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
    }
}

pub(crate) fn read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        ReadError::Damaged { .. } => ErrorCode::CORRUPT_MESSAGE,
        ReadError::Deleted => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ReadError::Failed(_) => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

pub(crate) fn create(error: &CreateError) -> ErrorCode {
    match error {
        CreateError::Name(_) | CreateError::Collision(..) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        CreateError::Exists(_) => ErrorCode::TOPIC_ALREADY_EXISTS,
        CreateError::Partitions(_) => ErrorCode::INVALID_PARTITIONS,
        CreateError::ReplicationFactor(_) => ErrorCode::INVALID_REPLICATION_FACTOR,
        CreateError::Setting(_) => ErrorCode::INVALID_CONFIG,
        CreateError::Store(error) => store(error),
    }
}

pub(crate) fn delete(error: &DeleteError) -> ErrorCode {
    match error {
        DeleteError::Unknown => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        DeleteError::SwitchedOff => ErrorCode::TOPIC_DELETION_DISABLED,
        DeleteError::Store(error) => store(error),
        DeleteError::Storage(error) => storage(error),
    }
}

pub(crate) fn store(error: &StateStoreError) -> ErrorCode {
    match error {
        StateStoreError::DiskFull | StateStoreError::Failed(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        // It would be refused again, and clients retry the error of storage.
        StateStoreError::Refused(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}

fn storage(error: &StorageError) -> ErrorCode {
    match error {
        StorageError::DiskFull | StorageError::Failed(_) => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}
