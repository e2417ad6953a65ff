//! Kafka's error codes: the numbers in responses, their names, and what a client may do about them.

use std::fmt;

/// An error code. One that this crate does not know is a value like any other.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ErrorCode(pub i16);

/// What Kafka's clients do on an error.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Remedy {
    /// Nothing helps.
    Fatal,
    /// Try again.
    Retry,
    /// Ask for the metadata again, and then try again.
    Refresh,
}

macro_rules! error_codes {
    ($($constant:ident = $code:literal, $remedy:ident;)*) => {
        impl ErrorCode {
            $(
                #[doc = concat!("`", stringify!($constant), "`.")]
                pub const $constant: Self = Self($code);
            )*

            /// Every code that this crate knows, ascending.
            pub const ALL: &[Self] = &[$(Self::$constant),*];

            /// Its name in Kafka. `None` if this crate does not know the code.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some(stringify!($constant)),)*
                    _ => None,
                }
            }

            const fn remedy(self) -> Remedy {
                match self {
                    $(Self::$constant => Remedy::$remedy,)*
                    _ => Remedy::Fatal,
                }
            }
        }
    };
}

impl ErrorCode {
    /// Whether there was no error.
    pub const fn is_none(self) -> bool {
        self.0 == Self::NONE.0
    }

    /// Whether the same request may succeed later, as Kafka's own clients see it. Unknown codes do not.
    pub fn is_retriable(self) -> bool {
        self.remedy() != Remedy::Fatal
    }

    /// Whether the error says that the client's metadata is out of date. Every such error is retriable.
    pub fn is_invalid_metadata(self) -> bool {
        self.remedy() == Remedy::Refresh
    }
}

/// The name, or `unknown` and the number.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "unknown({})", self.0),
        }
    }
}

// The codes of Kafka 4.3.
error_codes! {
    UNKNOWN_SERVER_ERROR = -1, Fatal;
    NONE = 0, Fatal;
    OFFSET_OUT_OF_RANGE = 1, Fatal;
    CORRUPT_MESSAGE = 2, Retry;
    UNKNOWN_TOPIC_OR_PARTITION = 3, Refresh;
    INVALID_FETCH_SIZE = 4, Fatal;
    LEADER_NOT_AVAILABLE = 5, Refresh;
    NOT_LEADER_OR_FOLLOWER = 6, Refresh;
    REQUEST_TIMED_OUT = 7, Retry;
    BROKER_NOT_AVAILABLE = 8, Fatal;
    REPLICA_NOT_AVAILABLE = 9, Refresh;
    MESSAGE_TOO_LARGE = 10, Fatal;
    STALE_CONTROLLER_EPOCH = 11, Fatal;
    OFFSET_METADATA_TOO_LARGE = 12, Fatal;
    NETWORK_EXCEPTION = 13, Refresh;
    COORDINATOR_LOAD_IN_PROGRESS = 14, Retry;
    COORDINATOR_NOT_AVAILABLE = 15, Retry;
    NOT_COORDINATOR = 16, Retry;
    INVALID_TOPIC_EXCEPTION = 17, Fatal;
    RECORD_LIST_TOO_LARGE = 18, Fatal;
    NOT_ENOUGH_REPLICAS = 19, Retry;
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, Retry;
    INVALID_REQUIRED_ACKS = 21, Fatal;
    ILLEGAL_GENERATION = 22, Fatal;
    INCONSISTENT_GROUP_PROTOCOL = 23, Fatal;
    INVALID_GROUP_ID = 24, Fatal;
    UNKNOWN_MEMBER_ID = 25, Fatal;
    INVALID_SESSION_TIMEOUT = 26, Fatal;
    REBALANCE_IN_PROGRESS = 27, Fatal;
    INVALID_COMMIT_OFFSET_SIZE = 28, Fatal;
    TOPIC_AUTHORIZATION_FAILED = 29, Fatal;
    GROUP_AUTHORIZATION_FAILED = 30, Fatal;
    CLUSTER_AUTHORIZATION_FAILED = 31, Fatal;
    INVALID_TIMESTAMP = 32, Fatal;
    UNSUPPORTED_SASL_MECHANISM = 33, Fatal;
    ILLEGAL_SASL_STATE = 34, Fatal;
    UNSUPPORTED_VERSION = 35, Fatal;
    TOPIC_ALREADY_EXISTS = 36, Fatal;
    INVALID_PARTITIONS = 37, Fatal;
    INVALID_REPLICATION_FACTOR = 38, Fatal;
    INVALID_REPLICA_ASSIGNMENT = 39, Fatal;
    INVALID_CONFIG = 40, Fatal;
    NOT_CONTROLLER = 41, Retry;
    INVALID_REQUEST = 42, Fatal;
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43, Fatal;
    POLICY_VIOLATION = 44, Fatal;
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, Fatal;
    DUPLICATE_SEQUENCE_NUMBER = 46, Fatal;
    INVALID_PRODUCER_EPOCH = 47, Fatal;
    INVALID_TXN_STATE = 48, Fatal;
    INVALID_PRODUCER_ID_MAPPING = 49, Fatal;
    INVALID_TRANSACTION_TIMEOUT = 50, Fatal;
    CONCURRENT_TRANSACTIONS = 51, Retry;
    TRANSACTION_COORDINATOR_FENCED = 52, Fatal;
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, Fatal;
    SECURITY_DISABLED = 54, Fatal;
    OPERATION_NOT_ATTEMPTED = 55, Fatal;
    KAFKA_STORAGE_ERROR = 56, Refresh;
    LOG_DIR_NOT_FOUND = 57, Fatal;
    SASL_AUTHENTICATION_FAILED = 58, Fatal;
    UNKNOWN_PRODUCER_ID = 59, Fatal;
    REASSIGNMENT_IN_PROGRESS = 60, Fatal;
    DELEGATION_TOKEN_AUTH_DISABLED = 61, Fatal;
    DELEGATION_TOKEN_NOT_FOUND = 62, Fatal;
    DELEGATION_TOKEN_OWNER_MISMATCH = 63, Fatal;
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64, Fatal;
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65, Fatal;
    DELEGATION_TOKEN_EXPIRED = 66, Fatal;
    INVALID_PRINCIPAL_TYPE = 67, Fatal;
    NON_EMPTY_GROUP = 68, Fatal;
    GROUP_ID_NOT_FOUND = 69, Fatal;
    FETCH_SESSION_ID_NOT_FOUND = 70, Retry;
    INVALID_FETCH_SESSION_EPOCH = 71, Retry;
    LISTENER_NOT_FOUND = 72, Refresh;
    TOPIC_DELETION_DISABLED = 73, Fatal;
    FENCED_LEADER_EPOCH = 74, Refresh;
    UNKNOWN_LEADER_EPOCH = 75, Retry;
    UNSUPPORTED_COMPRESSION_TYPE = 76, Fatal;
    STALE_BROKER_EPOCH = 77, Fatal;
    OFFSET_NOT_AVAILABLE = 78, Retry;
    MEMBER_ID_REQUIRED = 79, Fatal;
    PREFERRED_LEADER_NOT_AVAILABLE = 80, Refresh;
    GROUP_MAX_SIZE_REACHED = 81, Fatal;
    FENCED_INSTANCE_ID = 82, Fatal;
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83, Refresh;
    ELECTION_NOT_NEEDED = 84, Refresh;
    NO_REASSIGNMENT_IN_PROGRESS = 85, Fatal;
    GROUP_SUBSCRIBED_TO_TOPIC = 86, Fatal;
    INVALID_RECORD = 87, Fatal;
    UNSTABLE_OFFSET_COMMIT = 88, Retry;
    THROTTLING_QUOTA_EXCEEDED = 89, Retry;
    PRODUCER_FENCED = 90, Fatal;
    RESOURCE_NOT_FOUND = 91, Fatal;
    DUPLICATE_RESOURCE = 92, Fatal;
    UNACCEPTABLE_CREDENTIAL = 93, Fatal;
    INCONSISTENT_VOTER_SET = 94, Fatal;
    INVALID_UPDATE_VERSION = 95, Fatal;
    FEATURE_UPDATE_FAILED = 96, Fatal;
    PRINCIPAL_DESERIALIZATION_FAILURE = 97, Fatal;
    SNAPSHOT_NOT_FOUND = 98, Fatal;
    POSITION_OUT_OF_RANGE = 99, Fatal;
    UNKNOWN_TOPIC_ID = 100, Refresh;
    DUPLICATE_BROKER_REGISTRATION = 101, Fatal;
    BROKER_ID_NOT_REGISTERED = 102, Fatal;
    INCONSISTENT_TOPIC_ID = 103, Refresh;
    INCONSISTENT_CLUSTER_ID = 104, Fatal;
    TRANSACTIONAL_ID_NOT_FOUND = 105, Fatal;
    FETCH_SESSION_TOPIC_ID_ERROR = 106, Retry;
    INELIGIBLE_REPLICA = 107, Fatal;
    NEW_LEADER_ELECTED = 108, Fatal;
    OFFSET_MOVED_TO_TIERED_STORAGE = 109, Fatal;
    FENCED_MEMBER_EPOCH = 110, Fatal;
    UNRELEASED_INSTANCE_ID = 111, Fatal;
    UNSUPPORTED_ASSIGNOR = 112, Fatal;
    STALE_MEMBER_EPOCH = 113, Fatal;
    MISMATCHED_ENDPOINT_TYPE = 114, Fatal;
    UNSUPPORTED_ENDPOINT_TYPE = 115, Fatal;
    UNKNOWN_CONTROLLER_ID = 116, Fatal;
    UNKNOWN_SUBSCRIPTION_ID = 117, Fatal;
    TELEMETRY_TOO_LARGE = 118, Fatal;
    INVALID_REGISTRATION = 119, Fatal;
    TRANSACTION_ABORTABLE = 120, Fatal;
    INVALID_RECORD_STATE = 121, Fatal;
    SHARE_SESSION_NOT_FOUND = 122, Retry;
    INVALID_SHARE_SESSION_EPOCH = 123, Retry;
    FENCED_STATE_EPOCH = 124, Fatal;
    INVALID_VOTER_KEY = 125, Fatal;
    DUPLICATE_VOTER = 126, Fatal;
    VOTER_NOT_FOUND = 127, Fatal;
    INVALID_REGULAR_EXPRESSION = 128, Fatal;
    REBOOTSTRAP_REQUIRED = 129, Fatal;
    STREAMS_INVALID_TOPOLOGY = 130, Fatal;
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131, Fatal;
    STREAMS_TOPOLOGY_FENCED = 132, Fatal;
    SHARE_SESSION_LIMIT_REACHED = 133, Retry;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_know_their_names_and_what_helps() {
        for (code, name, retriable, invalid_metadata) in [
            (ErrorCode(-1), "UNKNOWN_SERVER_ERROR", false, false),
            (ErrorCode(0), "NONE", false, false),
            (ErrorCode(3), "UNKNOWN_TOPIC_OR_PARTITION", true, true),
            (ErrorCode(7), "REQUEST_TIMED_OUT", true, false),
            (ErrorCode(35), "UNSUPPORTED_VERSION", false, false),
            (ErrorCode(56), "KAFKA_STORAGE_ERROR", true, true),
            (ErrorCode(133), "SHARE_SESSION_LIMIT_REACHED", true, false),
            (ErrorCode(1234), "unknown(1234)", false, false),
        ] {
            assert_eq!(code.to_string(), name);
            assert_eq!(
                (code.is_retriable(), code.is_invalid_metadata()),
                (retriable, invalid_metadata),
                "{name}"
            );
        }
        assert!(ErrorCode::NONE.is_none() && !ErrorCode::INVALID_REQUEST.is_none());
        assert!(ErrorCode::ALL.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
    }
}
