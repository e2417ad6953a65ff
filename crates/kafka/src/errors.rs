//! The one table from the engine's errors to Kafka's codes.

use ottla_engine::{
    CreateError, DeleteError, ProduceError,
    coordinator::{classic, consumer},
    groups::GroupError,
};
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

/// Why a group refuses. What the APIs say in their own ways is said by their handlers.
pub(crate) fn group(error: &GroupError) -> ErrorCode {
    match error {
        GroupError::Classic(refusal) => classic(refusal),
        GroupError::Consumer(refusal) => consumer(refusal),
        GroupError::Offset(refusal) => offset(refusal),
        GroupError::OtherProtocol => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        GroupError::NotFound => ErrorCode::GROUP_ID_NOT_FOUND,
        GroupError::NoMemory => ErrorCode::GROUP_MAX_SIZE_REACHED,
        // Clients wait a little and try again, without looking for another coordinator.
        GroupError::Busy => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        GroupError::Unreadable(_) | GroupError::Store(StateStoreError::Refused(_)) => {
            ErrorCode::UNKNOWN_SERVER_ERROR
        }
        // So Kafka says that a group's log cannot be written: clients of every API look for the coordinator and
        // try again.
        GroupError::Store(StateStoreError::DiskFull | StateStoreError::Failed(_)) => {
            ErrorCode::NOT_COORDINATOR
        }
        GroupError::Stopping => ErrorCode::COORDINATOR_NOT_AVAILABLE,
    }
}

pub(crate) fn classic(refusal: &classic::Refusal) -> ErrorCode {
    use classic::Refusal;
    match refusal {
        Refusal::UnknownMember => ErrorCode::UNKNOWN_MEMBER_ID,
        Refusal::IllegalGeneration => ErrorCode::ILLEGAL_GENERATION,
        Refusal::RebalanceInProgress => ErrorCode::REBALANCE_IN_PROGRESS,
        Refusal::InconsistentProtocol => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        Refusal::MemberIdRequired(_) => ErrorCode::MEMBER_ID_REQUIRED,
        Refusal::FencedInstance => ErrorCode::FENCED_INSTANCE_ID,
        Refusal::GroupMaxSizeReached => ErrorCode::GROUP_MAX_SIZE_REACHED,
        Refusal::InvalidSessionTimeout => ErrorCode::INVALID_SESSION_TIMEOUT,
        Refusal::TooManyPendingMembers => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        Refusal::CoordinatorNotAvailable => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        Refusal::NotCoordinator => ErrorCode::NOT_COORDINATOR,
        Refusal::NonEmptyGroup => ErrorCode::NON_EMPTY_GROUP,
        Refusal::GroupNotFound => ErrorCode::GROUP_ID_NOT_FOUND,
    }
}

fn consumer(refusal: &consumer::Refusal) -> ErrorCode {
    use consumer::Refusal;
    match refusal {
        Refusal::Invalid(_) => ErrorCode::INVALID_REQUEST,
        Refusal::UnsupportedAssignor { .. } => ErrorCode::UNSUPPORTED_ASSIGNOR,
        Refusal::GroupFull { .. } => ErrorCode::GROUP_MAX_SIZE_REACHED,
        Refusal::UnknownMember { .. } | Refusal::UnknownInstance { .. } => ErrorCode::UNKNOWN_MEMBER_ID,
        Refusal::FencedEpoch { .. } => ErrorCode::FENCED_MEMBER_EPOCH,
        Refusal::UnreleasedInstance { .. } => ErrorCode::UNRELEASED_INSTANCE_ID,
        Refusal::FencedInstance { .. } => ErrorCode::FENCED_INSTANCE_ID,
        Refusal::InvalidPattern { .. } => ErrorCode::INVALID_REGULAR_EXPRESSION,
        Refusal::Dead => ErrorCode::GROUP_ID_NOT_FOUND,
    }
}

fn offset(refusal: &consumer::OffsetRefusal) -> ErrorCode {
    use consumer::OffsetRefusal;
    match refusal {
        OffsetRefusal::UnknownMember { .. } => ErrorCode::UNKNOWN_MEMBER_ID,
        OffsetRefusal::StaleEpoch { .. } | OffsetRefusal::StalePartition { .. } => {
            ErrorCode::STALE_MEMBER_EPOCH
        }
        OffsetRefusal::OldVersion => ErrorCode::UNSUPPORTED_VERSION,
    }
}
