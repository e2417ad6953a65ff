//! The keys of Kafka's APIs, their names, and which headers their requests and responses have.

use std::fmt;

/// The key of an API. One that this crate does not know is a value like any other.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ApiKey(pub i16);

/// For APIs of which no version is flexible.
const NEVER: i16 = i16::MAX;

macro_rules! api_keys {
    ($($constant:ident = $key:literal, $name:literal, $flexible:expr;)*) => {
        impl ApiKey {
            $(
                #[doc = concat!($name, ".")]
                pub const $constant: Self = Self($key);
            )*

            /// Every key that this crate knows, ascending.
            pub const ALL: &[Self] = &[$(Self::$constant),*];

            /// Its name in Kafka. `None` if this crate does not know the key.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some($name),)*
                    _ => None,
                }
            }

            /// The first version of its messages that has compact lengths and tagged fields (KIP-482), as of
            /// Kafka 4.3; `i16::MAX` if none has or the key is not known.
            pub const fn flexible_from(self) -> i16 {
                match self {
                    $(Self::$constant => $flexible,)*
                    _ => NEVER,
                }
            }
        }
    };
}

impl ApiKey {
    /// The version of the header before a request in this version, which may be one that does not exist yet.
    /// `None` if this crate does not know the key.
    pub const fn request_header_version(self, version: i16) -> Option<i16> {
        match self.name() {
            Some(_) if version >= self.flexible_from() => Some(2),
            Some(_) => Some(1),
            None => None,
        }
    }

    /// The version of the header before a response in this version. `None` if this crate does not know the key.
    ///
    /// ApiVersions stays at 0 in all versions, because its client does not know the broker's versions yet
    /// (KIP-511).
    pub const fn response_header_version(self, version: i16) -> Option<i16> {
        match (self.name(), self) {
            (None, _) => None,
            (_, Self::API_VERSIONS) => Some(0),
            _ => Some((version >= self.flexible_from()) as i16),
        }
    }
}

/// The name, or `unknown` and the number.
impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "unknown({})", self.0),
        }
    }
}

// Kafka 4.0 removed the requests from 4 to 7 for good (KIP-896), so that no version of them is known.
api_keys! {
    PRODUCE = 0, "Produce", 9;
    FETCH = 1, "Fetch", 12;
    LIST_OFFSETS = 2, "ListOffsets", 6;
    METADATA = 3, "Metadata", 9;
    LEADER_AND_ISR = 4, "LeaderAndIsr", NEVER;
    STOP_REPLICA = 5, "StopReplica", NEVER;
    UPDATE_METADATA = 6, "UpdateMetadata", NEVER;
    CONTROLLED_SHUTDOWN = 7, "ControlledShutdown", NEVER;
    OFFSET_COMMIT = 8, "OffsetCommit", 8;
    OFFSET_FETCH = 9, "OffsetFetch", 6;
    FIND_COORDINATOR = 10, "FindCoordinator", 3;
    JOIN_GROUP = 11, "JoinGroup", 6;
    HEARTBEAT = 12, "Heartbeat", 4;
    LEAVE_GROUP = 13, "LeaveGroup", 4;
    SYNC_GROUP = 14, "SyncGroup", 4;
    DESCRIBE_GROUPS = 15, "DescribeGroups", 5;
    LIST_GROUPS = 16, "ListGroups", 3;
    SASL_HANDSHAKE = 17, "SaslHandshake", NEVER;
    API_VERSIONS = 18, "ApiVersions", 3;
    CREATE_TOPICS = 19, "CreateTopics", 5;
    DELETE_TOPICS = 20, "DeleteTopics", 4;
    DELETE_RECORDS = 21, "DeleteRecords", 2;
    INIT_PRODUCER_ID = 22, "InitProducerId", 2;
    OFFSET_FOR_LEADER_EPOCH = 23, "OffsetForLeaderEpoch", 4;
    ADD_PARTITIONS_TO_TXN = 24, "AddPartitionsToTxn", 3;
    ADD_OFFSETS_TO_TXN = 25, "AddOffsetsToTxn", 3;
    END_TXN = 26, "EndTxn", 3;
    WRITE_TXN_MARKERS = 27, "WriteTxnMarkers", 1;
    TXN_OFFSET_COMMIT = 28, "TxnOffsetCommit", 3;
    DESCRIBE_ACLS = 29, "DescribeAcls", 2;
    CREATE_ACLS = 30, "CreateAcls", 2;
    DELETE_ACLS = 31, "DeleteAcls", 2;
    DESCRIBE_CONFIGS = 32, "DescribeConfigs", 4;
    ALTER_CONFIGS = 33, "AlterConfigs", 2;
    ALTER_REPLICA_LOG_DIRS = 34, "AlterReplicaLogDirs", 2;
    DESCRIBE_LOG_DIRS = 35, "DescribeLogDirs", 2;
    SASL_AUTHENTICATE = 36, "SaslAuthenticate", 2;
    CREATE_PARTITIONS = 37, "CreatePartitions", 2;
    CREATE_DELEGATION_TOKEN = 38, "CreateDelegationToken", 2;
    RENEW_DELEGATION_TOKEN = 39, "RenewDelegationToken", 2;
    EXPIRE_DELEGATION_TOKEN = 40, "ExpireDelegationToken", 2;
    DESCRIBE_DELEGATION_TOKEN = 41, "DescribeDelegationToken", 2;
    DELETE_GROUPS = 42, "DeleteGroups", 2;
    ELECT_LEADERS = 43, "ElectLeaders", 2;
    INCREMENTAL_ALTER_CONFIGS = 44, "IncrementalAlterConfigs", 1;
    ALTER_PARTITION_REASSIGNMENTS = 45, "AlterPartitionReassignments", 0;
    LIST_PARTITION_REASSIGNMENTS = 46, "ListPartitionReassignments", 0;
    OFFSET_DELETE = 47, "OffsetDelete", NEVER;
    DESCRIBE_CLIENT_QUOTAS = 48, "DescribeClientQuotas", 1;
    ALTER_CLIENT_QUOTAS = 49, "AlterClientQuotas", 1;
    DESCRIBE_USER_SCRAM_CREDENTIALS = 50, "DescribeUserScramCredentials", 0;
    ALTER_USER_SCRAM_CREDENTIALS = 51, "AlterUserScramCredentials", 0;
    VOTE = 52, "Vote", 0;
    BEGIN_QUORUM_EPOCH = 53, "BeginQuorumEpoch", 1;
    END_QUORUM_EPOCH = 54, "EndQuorumEpoch", 1;
    DESCRIBE_QUORUM = 55, "DescribeQuorum", 0;
    ALTER_PARTITION = 56, "AlterPartition", 0;
    UPDATE_FEATURES = 57, "UpdateFeatures", 0;
    ENVELOPE = 58, "Envelope", 0;
    FETCH_SNAPSHOT = 59, "FetchSnapshot", 0;
    DESCRIBE_CLUSTER = 60, "DescribeCluster", 0;
    DESCRIBE_PRODUCERS = 61, "DescribeProducers", 0;
    BROKER_REGISTRATION = 62, "BrokerRegistration", 0;
    BROKER_HEARTBEAT = 63, "BrokerHeartbeat", 0;
    UNREGISTER_BROKER = 64, "UnregisterBroker", 0;
    DESCRIBE_TRANSACTIONS = 65, "DescribeTransactions", 0;
    LIST_TRANSACTIONS = 66, "ListTransactions", 0;
    ALLOCATE_PRODUCER_IDS = 67, "AllocateProducerIds", 0;
    CONSUMER_GROUP_HEARTBEAT = 68, "ConsumerGroupHeartbeat", 0;
    CONSUMER_GROUP_DESCRIBE = 69, "ConsumerGroupDescribe", 0;
    CONTROLLER_REGISTRATION = 70, "ControllerRegistration", 0;
    GET_TELEMETRY_SUBSCRIPTIONS = 71, "GetTelemetrySubscriptions", 0;
    PUSH_TELEMETRY = 72, "PushTelemetry", 0;
    ASSIGN_REPLICAS_TO_DIRS = 73, "AssignReplicasToDirs", 0;
    LIST_CONFIG_RESOURCES = 74, "ListConfigResources", 0;
    DESCRIBE_TOPIC_PARTITIONS = 75, "DescribeTopicPartitions", 0;
    SHARE_GROUP_HEARTBEAT = 76, "ShareGroupHeartbeat", 0;
    SHARE_GROUP_DESCRIBE = 77, "ShareGroupDescribe", 0;
    SHARE_FETCH = 78, "ShareFetch", 0;
    SHARE_ACKNOWLEDGE = 79, "ShareAcknowledge", 0;
    ADD_RAFT_VOTER = 80, "AddRaftVoter", 0;
    REMOVE_RAFT_VOTER = 81, "RemoveRaftVoter", 0;
    UPDATE_RAFT_VOTER = 82, "UpdateRaftVoter", 0;
    INITIALIZE_SHARE_GROUP_STATE = 83, "InitializeShareGroupState", 0;
    READ_SHARE_GROUP_STATE = 84, "ReadShareGroupState", 0;
    WRITE_SHARE_GROUP_STATE = 85, "WriteShareGroupState", 0;
    DELETE_SHARE_GROUP_STATE = 86, "DeleteShareGroupState", 0;
    READ_SHARE_GROUP_STATE_SUMMARY = 87, "ReadShareGroupStateSummary", 0;
    STREAMS_GROUP_HEARTBEAT = 88, "StreamsGroupHeartbeat", 0;
    STREAMS_GROUP_DESCRIBE = 89, "StreamsGroupDescribe", 0;
    DESCRIBE_SHARE_GROUP_OFFSETS = 90, "DescribeShareGroupOffsets", 0;
    ALTER_SHARE_GROUP_OFFSETS = 91, "AlterShareGroupOffsets", 0;
    DELETE_SHARE_GROUP_OFFSETS = 92, "DeleteShareGroupOffsets", 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_versions_follow_from_key_and_version() {
        for (key, version, request, response) in [
            (ApiKey::PRODUCE, 8, Some(1), Some(0)),
            (ApiKey::PRODUCE, 9, Some(2), Some(1)),
            (ApiKey::API_VERSIONS, 2, Some(1), Some(0)),
            (ApiKey::API_VERSIONS, 3, Some(2), Some(0)),
            (ApiKey::API_VERSIONS, 99, Some(2), Some(0)),
            (ApiKey::SASL_HANDSHAKE, 1, Some(1), Some(0)),
            (ApiKey::DESCRIBE_CLUSTER, 0, Some(2), Some(1)),
            (ApiKey(1000), 0, None, None),
        ] {
            assert_eq!(key.request_header_version(version), request, "{key} v{version}");
            assert_eq!(key.response_header_version(version), response, "{key} v{version}");
        }
    }

    #[test]
    fn keys_have_names() {
        assert_eq!(ApiKey::OFFSET_FOR_LEADER_EPOCH.to_string(), "OffsetForLeaderEpoch");
        assert_eq!(ApiKey(-1).to_string(), "unknown(-1)");
        assert!(ApiKey::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
